"""Types as JSON Schema, values held against it, and values made of JSON."""
# ruff: noqa: E501 - schemas are easier to compare on one line

from __future__ import annotations

import dataclasses
import json
from datetime import date, datetime
from enum import Enum, Flag
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar

import msgspec
import pydantic
import pytest
from hypothesis import given, settings

from milepost.schema import (
    KEYWORDS,
    Undescribable,
    Unfit,
    check_schema,
    convert,
    json_schema,
    plain,
    validate,
)
from schema_cases import CASES
from typed_values import Color, Model, Pair, Shape, Struct, Tree, Typed, typed_values

T = TypeVar("T")
Bound = TypeVar("Bound", bound=int)
Chosen = TypeVar("Chosen", int, str)
Name = NewType("Name", str)


@dataclasses.dataclass
class Box(Generic[T]):
    item: T
    more: list[T] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Computed:
    value: int
    twice: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        if self.value < 0:
            raise ValueError("below zero")
        self.twice = 2 * self.value


@dataclasses.dataclass
class TypingOnly:
    value: int
    other: nowhere.Thing  # noqa: F821 - a name that only a type checker would know


@pydantic.dataclasses.dataclass
class Checked:
    level: Annotated[int, pydantic.Field(gt=0)]


class Access(Flag):
    READ = 1
    WRITE = 2


class Client:
    """No type that JSON knows."""


# -- there and back ---------------------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(typed_values())
def test_a_value_satisfies_the_schema_of_its_type_and_survives(typed):
    kind, value = typed
    schema = json_schema(kind, strict=True)
    check_schema(schema)
    sent = json.loads(json.dumps(plain(value)))
    validate(sent, schema)
    received = convert(kind, sent, plain_only=True)
    assert received == value
    assert type(received) is type(value)


@settings(max_examples=100)
@given(typed_values())
def test_a_value_of_python_is_taken_as_it_is(typed):
    kind, value = typed
    assert convert(kind, value) == value


@settings(max_examples=50)
@given(typed_values())
def test_a_schema_is_json_and_the_same_each_time(typed):
    first, second = (json.dumps(json_schema(typed[0], title="given")) for _ in range(2))
    assert first == second


# -- describing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (Any, {"title": "given"}),
        (None, {"title": "given", "type": "null"}),
        (Client, {"title": "given"}),
        (Name, {"title": "given", "type": "string"}),
        (Bound, {"title": "given", "type": "integer"}),
        (T, {"title": "given"}),
        (Chosen, {"title": "given", "anyOf": [{"type": "integer"}, {"type": "string"}]}),
        (tuple, {"title": "given", "type": "array"}),
        (tuple[()], {"title": "given", "type": "array", "minItems": 0, "maxItems": 0}),
        (dict, {"title": "given", "type": "object"}),
        (Literal["a", Color.RED], {"title": "given", "enum": ["a", "red"]}),
        (Literal[b"a"], {"title": "given", "enum": ["YQ=="]}),
        (Color, {"title": "Color", "enum": ["red", "blue"]}),
        (Shape, {"title": "Shape", "enum": ["ROUND", "FLAT"]}),
        (Annotated[int, "note", pydantic.Field(ge=1, lt=5)], {"title": "given", "type": "integer", "minimum": 1, "exclusiveMaximum": 5}),
        (Annotated[str, msgspec.Meta(max_length=3, pattern="^a")], {"title": "given", "type": "string", "maxLength": 3, "pattern": "^a"}),
        (Annotated[list[int], pydantic.Field(min_length=1)], {"title": "given", "type": "array", "items": {"type": "integer"}, "minItems": 1}),
        (Typed, {"title": "Typed", "type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer"}, "color": {"$ref": "#/$defs/Color"}}, "additionalProperties": False, "required": ["name"], "$defs": {"Color": {"title": "Color", "enum": ["red", "blue"]}}}),
        (Pair, {"title": "Pair", "type": "array", "prefixItems": [{"title": "low", "type": "integer"}, {"title": "label", "type": "string"}], "minItems": 1, "maxItems": 2}),
        (Box[int], {"title": "Box", "type": "object", "properties": {"item": {"type": "integer"}, "more": {"type": "array", "items": {"type": "integer"}}}, "additionalProperties": False, "required": ["item"]}),
        (TypingOnly, {"title": "TypingOnly", "type": "object", "properties": {"value": {"type": "integer"}, "other": {}}, "additionalProperties": False, "required": ["value", "other"]}),
    ],
)  # fmt: skip
def test_an_annotation_is_described(kind, schema):
    assert json_schema(kind, title="given") == schema


def test_a_class_that_refers_to_itself_stands_among_the_definitions():
    found = json_schema(Tree)
    assert found["$ref"] == "#/$defs/Tree"
    tree = found["$defs"]["Tree"]
    assert tree["description"] == "A tree of numbers."
    assert tree["properties"]["left"] == {
        "anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}],
        "default": None,
    }


def test_classes_of_one_name_are_told_apart():
    @dataclasses.dataclass
    class Color:
        name: str

    found = json_schema(tuple[Color, Typed])
    assert found["prefixItems"][0] == {"$ref": "#/$defs/Color"}
    (other,) = found["$defs"].keys() - {"Color", "Typed"}
    assert found["$defs"][other]["enum"] == ["red", "blue"]
    assert found["$defs"]["Typed"]["properties"]["color"] == {"$ref": f"#/$defs/{other}"}


def test_definitions_of_models_that_share_a_name_are_told_apart():
    class Part(pydantic.BaseModel):
        color: int

    class Whole(pydantic.BaseModel):
        part: Part

    other = Whole

    class Part(pydantic.BaseModel):  # noqa: F811 - the same name on purpose
        size: str

    class Whole(pydantic.BaseModel):
        part: Part

    found = json_schema(tuple[other, Whole])
    check_schema(found)
    validate([{"part": {"color": 1}}, {"part": {"size": "a"}}], found)
    with pytest.raises(Unfit):
        validate([{"part": {"size": "a"}}, {"part": {"color": 1}}], found)


@pytest.mark.parametrize(
    "kind", [Client, list[Client], dict[str, Client], dict[float, int], complex, TypingOnly]
)
def test_strictly_what_has_no_form_is_refused(kind):
    with pytest.raises(Undescribable, match="no form in JSON"):
        json_schema(kind, strict=True)


# -- plain ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({Color.RED: 1, 2: 3}, {"red": 1, "2": 3}),
        (Access.READ | Access.WRITE, 3),
        (Checked(3), {"level": 3}),
        (Computed(3), {"value": 3}),
        (frozenset({"b", "a"}), ["a", "b"]),
        (type("Text", (str,), {})("a"), "a"),
        (Shape.FLAT, "FLAT"),
    ],
)
def test_a_value_has_a_plain_form(value, found):
    assert plain(value) == found


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (Client(), "$"),
        ({"a": [Client()]}, "$.a[0]"),
        (float("inf"), "$"),
        (Box(Client()), "$.item"),
        ({1.5: 1}, "$"),
        (msgspec.defstruct("Holding", ["client"])(Client()), "$"),
    ],
)
def test_a_value_without_a_plain_form_is_refused_where_it_is(value, path):
    with pytest.raises(Unfit) as caught:
        plain(value)
    assert caught.value.path == path


# -- converting -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given_", "found"),
    [
        (int, 2.0, 2),
        (float, 2, 2.0),
        (int | float, 2.5, 2.5),
        (float | int, 2, 2),
        (str | int, 2, 2),
        (Box[Color], {"item": "red"}, Box(Color.RED)),
        (Pair, {"low": 1}, Pair(1)),
        (set[int], [1, 2], {1, 2}),
        (Computed, {"value": 2}, Computed(2)),
        (Client, "client", None),
        (Literal[1, True], True, True),
        (Name, "a", "a"),
        (Annotated[date, "when"], "2026-01-02", date(2026, 1, 2)),
    ],
)
def test_a_value_is_made_of_the_type(kind, given_, found):
    if kind is Client:
        client = Client()
        assert convert(kind, client) is client
        return
    received = convert(kind, given_)
    assert (type(received), received) == (type(found), found)


@pytest.mark.parametrize(
    ("kind", "given_", "path"),
    [
        (int, "2", "$"),
        (int, True, "$"),
        (str, 2, "$"),
        (datetime, "2026-01-02", "$"),
        (Color, "green", "$"),
        (Literal[1], True, "$"),
        (list[int], "12", "$"),
        (list[int], {"a": 1}, "$"),
        (dict[int, int], {"a": 1}, "$"),
        (dict[str, int], [1], "$"),
        (tuple[int, str], [1], "$"),
        (Pair, [1, "a", 2], "$"),
        (Pair, [], "$"),
        (Tree | None, {"value": 1, "left": {"value": "a"}}, "$.left.value"),
        (int | str, None, "$"),
        (Computed, {"value": -1}, "$"),
        (Computed, {"value": 1, "twice": 2}, "$"),
        (Checked, {"level": 0}, "$"),
        (Model, {"name": "a", "level": 11}, "$"),
        (Struct, {"name": 1}, "$"),
        (Client, "client", "$"),
        (Typed, {}, "$"),
        (set[list[int]], [[1]], "$"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_where_it_is(kind, given_, path):
    with pytest.raises(Unfit) as caught:
        convert(kind, given_)
    assert caught.value.path == path


# -- validating -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("schema", "good", "bad"), CASES)
def test_a_schema_takes_what_fits_and_nothing_else(schema, good, bad):
    check_schema(schema)
    for value in good:
        validate(value, schema)
    for value in bad:
        with pytest.raises(Unfit):
            validate(value, schema)


def test_every_keyword_that_checks_something_is_tried_above():
    tried: set[str] = set()

    def look(part: Any) -> None:
        if isinstance(part, dict):
            tried.update(part)
            for inner in part.values():
                look(inner)
        elif isinstance(part, list):
            for inner in part:
                look(inner)

    look([schema for schema, _, _ in CASES])
    annotations = {
        "$comment",
        "$id",
        "$schema",
        "contentEncoding",
        "contentMediaType",
        "default",
        "definitions",
    }
    annotations |= {
        "deprecated",
        "description",
        "discriminator",
        "examples",
        "readOnly",
        "title",
        "writeOnly",
    }
    assert KEYWORDS - tried == annotations


def test_what_is_wrong_inside_the_only_option_that_fits_is_named_there():
    schema = json_schema(Tree | None)
    with pytest.raises(Unfit) as caught:
        validate({"value": 1, "left": {"value": "a"}}, schema)
    assert (caught.value.path, caught.value.expected) == ("$.left.value", "an integer")


def test_a_value_that_is_nested_without_end_is_refused():
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(Unfit, match="nested less deeply"):
        validate(value, {"items": {"$ref": "#"}})


class Odd(Enum):
    FIRST = 1.5


def test_numbers_among_the_values_of_an_enum_are_values():
    assert json_schema(Odd)["enum"] == [1.5]
    assert convert(Odd, 1.5) is Odd.FIRST


def test_multiples_are_those_of_the_numbers_as_they_are_written():
    validate(0.3, {"multipleOf": 0.1})
    with pytest.raises(Unfit):
        validate(0.35, {"multipleOf": 0.1})
