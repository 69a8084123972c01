"""Questions that say what an answer must be: checked before the run resumes, and a value of that type in the body."""

from __future__ import annotations

import dataclasses
import pickle
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest

from milepost import Command, Interrupt, entrypoint, interrupt, task
from milepost.errors import (
    AlreadyAnswered,
    DivergenceError,
    InvalidAnswer,
    InvalidQuestion,
    NotSerializable,
)


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Line:
    text: str
    amount: Decimal = Decimal(1)


@dataclasses.dataclass
class Review:
    approved: bool
    lines: list[Line] = dataclasses.field(default_factory=list)
    color: Color | None = None
    due: date | None = None


class Typed(TypedDict):
    approved: bool


class Pair(NamedTuple):
    low: int
    high: int = 9


class Model(pydantic.BaseModel):
    name: str
    level: int = pydantic.Field(ge=1, le=5)
    when: datetime | None = None


class Careful(pydantic.BaseModel):
    name: str

    @pydantic.field_validator("name")
    @classmethod
    def known(cls, name: str) -> str:
        if name != "ada":
            raise ValueError("nobody knows that name")
        return name


class Struct(msgspec.Struct):
    name: str
    size: int = 1


class Unheard:
    """No type that JSON knows."""


def flow_of(expects: Any):
    @entrypoint
    def flow(given: str) -> str:
        answer = interrupt("what?", response_schema=expects)
        return f"{type(answer).__name__} {answer!r}"

    return flow


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)

REVIEW = {"approved": True, "lines": [{"text": "a", "amount": "1.50"}], "color": "blue", "due": "2026-01-02"}
DAY = datetime(2026, 1, 1)  # noqa: DTZ001 - pydantic has a class of its own for the zone
UUID_TEXT = "12345678123456781234567812345678"


@pytest.mark.parametrize(
    ("expects", "answer", "received"),
    [
        (Review, REVIEW, Review(True, [Line("a", Decimal("1.50"))], Color.BLUE, date(2026, 1, 2))),
        (Review, Review(False, [Line("b")]), Review(False, [Line("b")])),
        (Typed, {"approved": False}, {"approved": False}),
        (Pair, [1], Pair(1)),
        (Pair, Pair(1, 2), Pair(1, 2)),
        (Model, {"name": "a", "level": 5, "when": "2026-01-01T00:00:00"}, Model(name="a", level=5, when=DAY)),
        (Model, Model(name="a", level=1), Model(name="a", level=1)),
        (Struct, {"name": "a"}, Struct("a")),
        (Struct, Struct("a", 3), Struct("a", 3)),
        (Color, "red", Color.RED),
        (Color, Color.BLUE, Color.BLUE),
        (Literal["yes", "no"], "no", "no"),
        (int | None, None, None),
        (int | str, "3", "3"),
        (float, 3, 3.0),
        (list[Line], [{"text": "a"}], [Line("a")]),
        (dict[int, Color], {"1": "red"}, {1: Color.RED}),
        (tuple[int, ...], [1, 2], (1, 2)),
        (set[int], [1, 2], {1, 2}),
        (timedelta, "PT90S", timedelta(seconds=90)),
        (UUID, UUID_TEXT, UUID(UUID_TEXT)),
        (bytes, "AAE=", b"\0\1"),
        ({"type": "object", "required": ["a"]}, {"a": [1]}, {"a": [1]}),
        (Any, {"a": (1,)}, {"a": [1]}),
    ],
)  # fmt: skip
def test_the_body_receives_a_value_of_the_type(engine, expects, answer, received):
    flow = flow_of(expects)
    flow.invoke("x", thread_id="t")
    ended = flow.invoke(Command(resume=answer), thread_id="t")
    assert ended == f"{type(received).__name__} {received!r}"


@pytest.mark.parametrize(
    ("expects", "answer", "path", "expected"),
    [
        (Review, {"approved": "yes"}, "$.approved", "true or false"),
        (Review, {"approved": True, "lines": [{"text": "a"}, {"text": 3}]}, "$.lines[1].text", "a string"),
        (Review, {"approved": True, "why": "x"}, "$", "an object without 'why'"),
        (Review, {}, "$", "an object with 'approved'"),
        (Review, {"approved": True, "due": "soon"}, "$.due", "a date in ISO form or null"),
        (Model, {"name": "a", "level": 6}, "$.level", "a number of at most 5"),
        (Model, Struct("a"), "$", "an object with 'level'"),
        (Struct, {"name": None}, "$.name", "a string"),
        (Color, "green", "$", "one of 'red', 'blue'"),
        (Literal["yes", "no"], True, "$", "one of 'yes', 'no'"),
        (int, True, "$", "an integer"),
        (int, 1.5, "$", "an integer"),
        (float, float("nan"), "$", "what JSON can say"),
        (int | str, None, "$", "an integer or a string"),
        (dict[int, str], {"a": "b"}, "$.a", "a string that matches ^-?\\d+$"),
        (set[int], [1, 1], "$", "items that differ"),
        (tuple[int, str], [1], "$", "at least 2 items"),
        (Any, Unheard(), "$", "what JSON can say"),
        (Any, ENDLESS, "$", "a value that is nested less deeply"),
        ({"type": "string", "minLength": 2}, "a", "$", "at least 2 characters"),
    ],
)
def test_a_bad_answer_is_a_typed_error_that_records_nothing_and_leaves_the_question_pending(
    engine, expects, answer, path, expected
):
    flow = flow_of(expects)
    (asked,) = flow.invoke("x", thread_id="t")["__interrupt__"]
    batches = list(engine._checkpointer.read("t"))
    with pytest.raises(InvalidAnswer) as caught:
        flow.invoke(Command(resume=answer), thread_id="t")
    error = caught.value
    assert (error.thread_id, error.id, error.path, error.expected) == ("t", asked.id, path, expected)
    assert list(engine._checkpointer.read("t")) == batches
    state = flow.get_state(thread_id="t")
    assert (state.status, state.interrupts) == ("interrupted", (asked,))


def test_after_a_bad_answer_a_good_one_is_taken(engine):
    flow = flow_of(int)
    flow.invoke("x", thread_id="t")
    for bad in ("1", None, [1]):
        with pytest.raises(InvalidAnswer):
            flow.invoke(Command(resume=bad), thread_id="t")
    assert flow.invoke(Command(resume=1), thread_id="t") == "int 1"


def test_of_several_answers_one_that_is_bad_stops_all(engine):
    @task
    def ask(name: str) -> int:
        return interrupt(name, response_schema=int)

    @entrypoint
    def flow(given: str) -> list[int]:
        return [future.result() for future in [ask("a"), ask("b")]]

    first, second = flow.invoke("x", thread_id="t")["__interrupt__"]
    with pytest.raises(InvalidAnswer) as caught:
        flow.invoke(Command(resume={first.id: 1, second.id: "2"}), thread_id="t")
    assert caught.value.id == second.id
    assert len(flow.get_state(thread_id="t").interrupts) == 2
    assert flow.invoke(Command(resume={first.id: 1, second.id: 2}), thread_id="t") == [1, 2]


# -- what only the body can tell -------------------------------------------------------------------------------------


def test_what_a_class_refuses_in_the_body_goes_to_whoever_answered_and_the_question_is_pending_again(engine):
    @task
    def before() -> str:
        return "before"

    @entrypoint
    def flow(given: str) -> list[str]:
        made = before().result()
        return [made, interrupt("who?", response_schema=Careful).name]

    (asked,) = flow.invoke("x", thread_id="t")["__interrupt__"]
    for _ in range(2):
        with pytest.raises(InvalidAnswer, match="nobody knows that name") as caught:
            flow.invoke(Command(resume={"name": "eve"}), thread_id="t")
        assert (caught.value.id, caught.value.thread_id) == (asked.id, "t")
        state = flow.get_state(thread_id="t")
        assert (state.status, state.interrupts) == ("interrupted", (asked,))
    assert flow.invoke(None, thread_id="t") == {"__interrupt__": [asked]}
    assert flow.invoke(Command(resume={"name": "ada"}), thread_id="t") == ["before", "ada"]


def test_answers_beside_one_that_a_class_refuses_stay_answered(engine):
    @task
    def ask(name: str) -> str:
        return interrupt(name, response_schema=Careful).name

    @entrypoint
    def flow(given: str) -> list[str]:
        return [future.result() for future in [ask("a"), ask("b")]]

    first, second = flow.invoke("x", thread_id="t")["__interrupt__"]
    good, bad = {"name": "ada"}, {"name": "eve"}
    with pytest.raises(InvalidAnswer):
        flow.invoke(Command(resume={first.id: bad, second.id: good}), thread_id="t")
    assert flow.get_state(thread_id="t").interrupts == (first,)
    with pytest.raises(AlreadyAnswered):
        flow.invoke(Command(resume={second.id: good}), thread_id="t")
    assert flow.invoke(Command(resume=good), thread_id="t") == ["ada", "ada"]


def test_a_class_that_refuses_later_what_it_took_is_a_divergence(engine):
    strict = [False]

    class Moody(pydantic.BaseModel):
        name: str

        def model_post_init(self, _: object) -> None:
            if strict[0]:
                raise ValueError("not any more")

    @task
    def after() -> None:
        """Its outcome is on record, so the question before it cannot be asked again."""

    @entrypoint
    def flow(given: str) -> str:
        name = interrupt("who?", response_schema=Moody).name
        after().result()
        interrupt("on?")
        return name

    flow.invoke("x", thread_id="t")
    flow.invoke(Command(resume={"name": "a"}), thread_id="t")
    strict[0] = True
    with pytest.raises(DivergenceError):
        flow.invoke(Command(resume=1), thread_id="t")


# -- what is shown ---------------------------------------------------------------------------------------------------


def test_whoever_shows_a_question_can_read_its_schema(engine):
    flow = flow_of(Review)
    (asked,) = flow.invoke("x", thread_id="t")["__interrupt__"]
    assert asked.response_schema["title"] == "Review"
    assert asked.response_schema["required"] == ["approved"]
    assert flow.get_state(thread_id="t").interrupts == (asked,)
    assert (asked.key, asked.expires_at) == (None, None)


def test_an_untyped_question_says_nothing_of_answers(engine):
    @entrypoint
    def flow(given: str) -> Any:
        return interrupt("what?")

    (asked,) = flow.invoke("x", thread_id="t")["__interrupt__"]
    assert asked == Interrupt("what?", asked.id)
    assert repr(asked) == f"Interrupt(value='what?', id={asked.id!r})"
    assert asked.response_schema is None


def test_a_question_with_more_to_say_is_equal_by_it_shows_it_and_survives_pickling():
    plain = Interrupt("what?", "int_1")
    full = Interrupt("what?", "int_1", response_schema={"type": "null"}, key="k")
    assert plain != full
    assert hash(plain) == hash(full)
    assert repr(full) == "Interrupt(value='what?', id='int_1', response_schema={'type': 'null'}, key='k')"
    assert pickle.loads(pickle.dumps(full)) == full


def test_a_question_of_another_thread_comes_back_whole(engine):
    @entrypoint
    def inner(given: str) -> str:
        return interrupt("what?", response_schema=Review, key="k", expires_in=60)

    @entrypoint
    def outer(given: str) -> Any:
        asked = inner.invoke("x", thread_id="there")["__interrupt__"]
        interrupt("on?")
        return asked

    outer.invoke("x", thread_id="t")
    (asked,) = outer.invoke(Command(resume=1), thread_id="t")
    assert asked == inner.get_state(thread_id="there").interrupts[0]
    assert asked.details.keys() == {"response_schema", "key", "expires_at"}


# -- questions that cannot be asked ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expects", "why"),
    [
        (Unheard, "Unheard has no form in JSON"),
        (list[Unheard], "Unheard has no form in JSON"),
        (complex, "complex has no form in JSON"),
        ({"type": "string", "dependentRequired": {}}, "'dependentRequired', which is not checked"),
        ({"type": "text"}, "#/type cannot be 'text'"),
        ({"properties": {"a": {"pattern": "("}}}, "#/properties/a/pattern"),
        ({"$ref": "https://example.org/schema"}, "leads out of the schema"),
        ({"$ref": "#/$defs/a"}, "leads nowhere"),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "leads back to itself"),
        ({"anyOf": {"type": "null"}}, "#/anyOf is no schema"),
        ({"items": 3}, "#/items is no schema"),
        ({"minimum": "3"}, "#/minimum cannot be '3'"),
    ],
)
def test_a_schema_that_could_not_be_checked_is_refused_when_it_is_asked(engine, expects, why):
    with pytest.raises(InvalidQuestion) as caught:
        flow_of(expects).invoke("x", thread_id="t")
    assert why in str(caught.value)


def test_w17_an_untyped_answer_is_kept_exactly_or_refused(engine):
    @entrypoint
    def flow(given: str) -> Any:
        return interrupt("what?")

    flow.invoke("x", thread_id="t")
    with pytest.raises(NotSerializable):
        flow.invoke(Command(resume=Unheard()), thread_id="t")
    assert flow.invoke(Command(resume=(1, {2})), thread_id="t") == (1, {2})


def test_w13_a_typed_question_under_except_exception_is_asked_all_the_same(engine):
    @entrypoint
    def flow(given: str) -> Any:
        try:
            return interrupt("what?", response_schema=Careful).name
        except Exception:
            return "swallowed"

    flow.invoke("x", thread_id="t")
    with pytest.raises(InvalidAnswer):
        flow.invoke(Command(resume={"name": "eve"}), thread_id="t")
    assert flow.invoke(Command(resume={"name": "ada"}), thread_id="t") == "ada"
