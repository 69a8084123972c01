"""Classes of users: found from annotations and the registry, never from names in the data."""

from __future__ import annotations

import enum
import json
import typing
from collections import namedtuple
from dataclasses import InitVar, dataclass, field, make_dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import msgspec
import pydantic
import pytest

from milepost import serde
from milepost.errors import InvalidCodec, NotSerializable, UnknownType
from milepost.question import Interrupt
from milepost.serde import _types

if TYPE_CHECKING:
    from nowhere import Ghost

T = TypeVar("T")


class Color(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796 - an alias is meant
    BLUE = "b"


class Rank(enum.IntEnum):
    LOW = 1


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Line:
    text: str
    color: Color | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    id: int
    lines: list[Line]
    checked: bool = field(default=False, init=False)

    def __post_init__(self):
        if self.id < 0:
            raise ValueError("negative")


@dataclass
class Loud:
    path: InitVar[str]
    size: int = field(init=False)
    made: typing.ClassVar[int] = 0

    def __post_init__(self, path):
        type(self).made += 1
        self.size = len(path)
        self.note = "beside the fields"

    @cached_property
    def opened(self):
        return object()


@dataclass
class Node:
    name: str
    next: Node | None = None


@dataclass
class Box(Generic[T]):
    item: T


@dataclass
class Half:
    color: Color
    ghost: Ghost | None = None


class Point(NamedTuple):
    x: int
    color: Color = Color.RED


Pair = namedtuple("Pair", "a b", defaults=(7,))  # noqa: PYI024 - the old spelling is meant


class Wide(Pair):
    pass


class Order(TypedDict):
    claim: Claim
    note: typing.NotRequired[Rank]


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")

    id: int
    color: Color = Color.RED
    parts: list[Model] = []
    _secret: int = pydantic.PrivateAttr(default=1)


class Strict(pydantic.BaseModel):
    id: int
    name: str = "n"


class Shape(msgspec.Struct, frozen=True):
    id: int
    color: Color = Color.RED
    sides: list[int] = []

    def __post_init__(self):
        self.sides.append(len(self.sides))


UserId = NewType("UserId", int)


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(_types, "_by_tag", dict(_types._by_tag))
    monkeypatch.setattr(_types, "_by_class", dict(_types._by_class))


def trip(value, declared):
    text = serde.encode(value, declared, where="task 'make'")
    again = serde.decode(json.loads(text), declared, where="task 'make'")
    assert type(again) is type(value)
    assert serde.encode(again, declared, where="w") == text
    return again


CLAIM = Claim(1, [Line("a", Color.BLUE), Line("b")])


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (CLAIM, Claim),
        ([CLAIM], list[Claim]),
        ({"a": CLAIM}, dict[str, Claim]),
        ({Color.RED: (CLAIM, None)}, "dict[Color, tuple[Claim | None, ...]]"),
        (CLAIM, typing.Optional[Claim]),  # noqa: UP045 - the old spelling is meant
        (CLAIM, Annotated[Claim, {"unhashable": []}]),
        ({"claim": CLAIM, "note": Rank.LOW}, Order),
        (Point(1), Point),
        (Point(1, Color.BLUE), Point | int),
        (Pair(1, [2]), Pair),
        (Node("a", Node("b")), Node),
        (Box(CLAIM), Box[Claim]),
        (Box[int](3), Box[int]),
        (Color.RED, Color),
        (Color.RED, Literal[Color.RED]),
        (Rank.LOW, Rank),
        (Right.READ | Right.WRITE, Right),
        (Right(0), Right),
        (Half(Color.BLUE), Half),
        (make_dataclass("Made", [("x", int)])(3), None),
        (Strict(id=1), Strict),
        (Model(id=1, more="x", parts=[Model(id=2, color=Color.BLUE)]), Model),
    ],
)
def test_a_class_that_the_annotation_names_comes_back(value, declared):
    if isinstance(declared, str):
        declared = eval(declared)
    assert trip(value, declared or type(value)) == value


def test_the_text_names_the_class_and_its_fields():
    text = serde.encode(CLAIM, Claim, where="w")
    assert text == (
        '{"$dataclass":["Claim",{"id":1,"lines":[{"$dataclass":["Line",{"text":"a","color":{"$enum":'
        '["Color","BLUE"]}}]},{"$dataclass":["Line",{"text":"b","color":null}]}],"checked":false}]}'
    )


def test_aliases_new_types_and_bounds_are_looked_through():
    bound = TypeVar("bound", bound=Claim)
    either = TypeVar("either", Claim, Line)
    wrapped = NewType("wrapped", Claim)
    for declared in (wrapped, list[bound], either, typing.Callable[[Claim], UserId]):
        assert trip(CLAIM, declared) == CLAIM


def test_neither_init_nor_post_init_runs_on_the_way_back():
    loud = Loud("abc")
    assert loud.opened is loud.opened
    made = Loud.made
    again = trip(loud, Loud)
    assert (again.size, again.note, Loud.made) == (3, "beside the fields", made)
    assert "opened" not in vars(again)
    broken = Claim(1, [])
    object.__setattr__(broken, "id", -1)
    assert trip(broken, Claim).id == -1


def test_a_model_keeps_what_was_set_its_extras_and_private_attributes():
    model = Model(id=1, more=[1])
    model._secret = 5
    again = trip(model, Model)
    assert again == model
    assert (again._secret, again.more, again.model_fields_set) == (5, [1], {"id", "more"})
    model.__dict__["beside"] = 7
    assert trip(model, Model).__dict__["beside"] == 7
    unchecked = Strict.model_construct(id="not an int")
    assert trip(unchecked, Strict).id == "not an int"


def test_a_struct_comes_back_as_it_was():
    shape = Shape(1, Color.BLUE, [9])
    assert shape.sides == [9, 1]
    assert trip(shape, Shape) == shape


def test_a_subclass_of_a_named_tuple_keeps_its_attributes():
    wide = Wide(1, 2)
    wide.extra = "x"
    again = trip(wide, Wide)
    assert (again, again.extra) == ((1, 2), "x")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (CLAIM, "Claim"),
        (Color.RED, "Color"),
        (Point(1), "Point"),
        (Strict(id=1), "Strict"),
        (Shape(1), "Shape"),
    ],
)
def test_a_class_that_is_not_declared_is_refused_with_both_remedies(value, name):
    with pytest.raises(NotSerializable) as caught:
        serde.encode({"x": value}, where="task 'make'")
    assert caught.value.path == "$.x"
    assert f"'-> {name}'" in str(caught.value)
    assert f"milepost.serde.register('{name.lower()}', {name})" in str(caught.value)


def test_a_field_that_cannot_be_kept_is_named():
    with pytest.raises(NotSerializable) as caught:
        serde.encode(Claim(1, [Line(object())]), Claim, where="w")  # type: ignore[arg-type]
    assert caught.value.path == "$.lines[0].text"


def test_a_subclass_of_the_declared_class_is_refused():
    @dataclass
    class Fancy(Line):
        pass

    with pytest.raises(NotSerializable):
        serde.encode(Fancy("a"), Line, where="w")


def test_two_classes_of_one_name_are_refused_rather_than_confused():
    first = make_dataclass("Twin", [("x", int)])
    second = make_dataclass("Twin", [("x", int)])
    with pytest.raises(NotSerializable):
        serde.encode(first(1), first | second, where="w")


def test_a_cycle_through_fields_is_refused():
    node = Node("a")
    node.next = node
    with pytest.raises(NotSerializable) as caught:
        serde.encode(node, Node, where="w")
    assert caught.value.path == "$.next"


def test_dataclasses_that_extend_built_in_types_are_refused():
    @dataclass
    class Table(dict):
        x: int = 1

    with pytest.raises(NotSerializable):
        serde.encode(Table(), Table, where="w")


@pytest.mark.parametrize(
    ("raw", "declared"),
    [
        ({"$dataclass": ["Line", {}]}, Line),
        ({"$dataclass": ["Line", {"text": "a", "gone": 1}]}, Line),
        ({"$dataclass": ["Line", 5]}, Line),
        ({"$dataclass": ["Line"]}, Line),
        ({"$dataclass": ["Color", {}]}, Color),
        ({"$dataclass": ["Claim", {"id": 1}]}, Line),
        ({"$enum": ["Color", "GREEN"]}, Color),
        ({"$enum": ["Color", 55]}, Color),
        ({"$model": ["Strict", {}]}, Strict),
        ({"$struct": ["Shape", {}]}, Shape),
        ({"$namedtuple": ["Point", {"color": None}]}, Point),
    ],
)
def test_a_record_that_does_not_fit_its_class_is_a_typed_error(raw, declared):
    with pytest.raises(UnknownType):
        serde.decode(raw, declared, where="w")


def test_a_field_added_since_takes_its_default():
    assert serde.decode({"$dataclass": ["Line", {"text": "a"}]}, Line, where="w") == Line("a")
    assert serde.decode({"$namedtuple": ["Pair", {"a": 1}]}, Pair, where="w") == Pair(1)
    assert serde.decode({"$model": ["Strict", {"id": 1}]}, Strict, where="w") == Strict(id=1)
    assert serde.decode({"$struct": ["Shape", {"id": 1}]}, Shape, where="w").color is Color.RED
    made = make_dataclass("Made", [("x", list, field(default_factory=list)), ("y", int, field(init=False))])
    again = serde.decode({"$dataclass": ["Made", {}]}, made, where="w")
    assert (again.x, hasattr(again, "y")) == ([], False)


# -- the registry ---------------------------------------------------------------------------------------


class Money:
    def __init__(self, cents):
        self.cents = cents

    def __eq__(self, other):
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None


def test_a_registered_class_is_kept_anywhere_under_its_tag(registry):
    serde.register("money", Money, encode=lambda m: (m.cents, "EUR"), decode=lambda parts: Money(parts[0]))
    value = {"price": [Money(5)]}
    text = serde.encode(value, where="w")
    assert text == '{"price":[{"$money":{"$tuple":[5,"EUR"]}}]}'
    assert serde.decode(json.loads(text), where="w") == value


def test_registered_kinds_need_no_functions_and_bring_their_fields_along(registry):
    serde.register("acme.claim/1", Claim)
    serde.register("acme.color", Color)
    serde.register("acme.wide", Wide)
    wide = Wide(Color.RED, 2)
    wide.extra = CLAIM
    value = [CLAIM, wide]
    text = serde.encode(value, where="w")
    assert '{"$acme.claim/1":{"id":1,"lines":[{"$dataclass":["Line",' in text
    assert '{"$acme.color":["RED"]}' in text or '{"$acme.color":"RED"}' in text
    again = serde.decode(json.loads(text), where="w")
    assert again == value
    assert again[1].extra == CLAIM


def test_questions_are_registered_and_hold_any_value():
    value = (Interrupt(value={"a": (1,)}, id="int_1"),)
    again = serde.decode(json.loads(serde.encode(value, where="w")), where="w")
    assert again == value


def test_a_record_from_before_the_registration_is_still_read(registry):
    raw = json.loads(serde.encode(Line("a"), Line, where="w"))
    with pytest.raises(UnknownType, match=r"register\('line', Line\)"):
        serde.decode(raw, where="w")
    serde.register("line", Line)
    assert serde.decode(raw, where="w") == Line("a")


def test_registering_the_same_again_is_fine_and_a_redefined_class_replaces_the_old(registry):
    def define():
        @dataclass
        class Thing:
            x: int

        return Thing

    first, second = define(), define()
    serde.register("thing", first)
    serde.register("thing", first)
    serde.register("thing", second)
    again = serde.decode({"$thing": {"x": 1}}, where="w")
    assert type(again) is second
    with pytest.raises(NotSerializable):
        serde.encode(first(1), where="w")


@pytest.mark.parametrize(
    ("tag", "cls", "functions", "problem"),
    [
        ("tuple", Line, {}, "codec's own"),
        ("ref", Line, {}, "codec's own"),
        ("pickle", Line, {}, "codec's own"),
        ("$line", Line, {}, "no tag"),
        ("", Line, {}, "no tag"),
        (5, Line, {}, "no tag"),
        ("line", "Line", {}, "takes a class"),
        ("mine", dict, {"encode": list, "decode": dict}, "form of its own"),
        ("mine", bool, {"encode": int, "decode": bool}, "form of its own"),
        ("mine", Money, {}, "give encode= and decode="),
        ("mine", Line, {"encode": str}, "both"),
        ("taken", Claim, {}, "taken by"),
        ("other", Line, {}, "registered already"),
    ],
)
def test_a_registration_that_clashes_is_an_error(registry, tag, cls, functions, problem):
    serde.register("taken", Line)
    with pytest.raises(InvalidCodec, match=problem):
        serde.register(tag, cls, **functions)


def test_functions_that_fail_are_reported_with_the_place(registry):
    def fail(_):
        raise KeyError("no")

    serde.register("money", Money, encode=fail, decode=fail)
    with pytest.raises(NotSerializable, match="raised KeyError") as caught:
        serde.encode([Money(1)], where="w")
    assert caught.value.path == "$[0]"
    with pytest.raises(UnknownType, match="KeyError") as unread:
        serde.decode([{"$money": 1}], where="w")
    assert unread.value.path == "$[0]"
    assert isinstance(unread.value.__cause__, KeyError)


def test_a_registered_class_that_contains_itself_is_refused(registry):
    serde.register("money", Money, encode=lambda m: [m.cents], decode=lambda parts: Money(*parts))
    loop = Money(None)
    loop.cents = loop
    with pytest.raises(NotSerializable, match="contains itself"):
        serde.encode(loop, where="w")


def test_any_says_nothing():
    with pytest.raises(NotSerializable):
        serde.encode(Line("a"), Any, where="w")
