"""``interrupt(expires_in=…)``: a question that nobody answers in time goes on with its default, or an error."""

from __future__ import annotations

import dataclasses
import os
from datetime import UTC, datetime, timedelta

import pytest

import milepost
from manual_clock import ManualClock
from milepost import Command, entrypoint, interrupt, task
from milepost.checkpoint import HeadQuery
from milepost.errors import (
    AlreadyAnswered,
    AmbiguousAnswer,
    InterruptExpired,
    InvalidQuestion,
    NotSerializable,
    RunCancelled,
)

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def engine(checkpointer, clock):
    """The current engine, whose clock stands still until it is moved."""
    replay = os.environ.get("MILEPOST_TEST_REPLAY") == "always"
    made = milepost.Engine(checkpointer=checkpointer, workers=2, clock=clock, replay_always=replay)
    with made:
        yield made
    made.close()


@dataclasses.dataclass
class Decision:
    approved: bool


@entrypoint
def defaulting(given: str) -> object:
    return interrupt("ok?", expires_in=60, default="nobody said no")


@entrypoint
def failing(given: str) -> object:
    try:
        return interrupt("ok?", expires_in=timedelta(minutes=1))
    except InterruptExpired as expired:
        later = interrupt("somebody else?")
        return [expired.id, expired.thread_id, later]


def test_a_question_shows_when_it_expires(engine):
    (asked,) = defaulting.invoke("x", thread_id="t")["__interrupt__"]
    assert asked.expires_at == START + timedelta(seconds=60)


def test_before_its_time_a_question_waits_and_takes_an_answer(engine, clock):
    asked = defaulting.invoke("x", thread_id="t")
    clock.advance(59)
    assert defaulting.invoke(None, thread_id="t") == asked
    assert defaulting.invoke(Command(resume="yes"), thread_id="t") == "yes"


def test_after_its_time_going_on_gives_the_default(engine, clock):
    defaulting.invoke("x", thread_id="t")
    clock.advance(60)
    assert defaulting.invoke(None, thread_id="t") == "nobody said no"
    assert defaulting.invoke(None, thread_id="t") == "nobody said no"


def test_an_answer_that_comes_too_late_is_refused_and_changes_nothing(engine, clock):
    (asked,) = defaulting.invoke("x", thread_id="t")["__interrupt__"]
    clock.advance(60)
    for answer in ("yes", {asked.id: "yes"}):
        with pytest.raises(InterruptExpired, match=r"until 2026-01-01T00:01:00.*invoke\(None\)") as caught:
            defaulting.invoke(Command(resume=answer), thread_id="t")
        assert caught.value.id == asked.id
    assert defaulting.get_state(thread_id="t").interrupts == (asked,)
    assert defaulting.invoke(None, thread_id="t") == "nobody said no"


def test_without_a_default_the_body_gets_an_error_that_it_can_catch_and_replay_raises_it_again(engine, clock):
    (asked,) = failing.invoke("x", thread_id="t")["__interrupt__"]
    clock.advance(61)
    (other,) = failing.invoke(None, thread_id="t")["__interrupt__"]
    assert other.value == "somebody else?"
    with pytest.raises(InterruptExpired):
        failing.invoke(Command(resume={asked.id: "late"}), thread_id="t")
    assert failing.invoke(Command(resume="yes"), thread_id="t") == [asked.id, "t", "yes"]


def test_an_expiry_that_nobody_catches_fails_the_run(engine, clock):
    @entrypoint
    def flow(given: str) -> object:
        return interrupt("ok?", expires_in=1)

    flow.invoke("x", thread_id="t")
    clock.advance(1)
    with pytest.raises(InterruptExpired, match="nobody answered"):
        flow.invoke(None, thread_id="t")
    assert flow.get_state(thread_id="t").status == "failed"
    with pytest.raises(InterruptExpired, match="nobody answered"):
        flow.invoke(None, thread_id="t")


def test_a_default_of_a_typed_question_reaches_the_body_as_that_type(engine, clock):
    @entrypoint
    def flow(given: str) -> str:
        return repr(interrupt("ok?", response_schema=Decision, expires_in=1, default=Decision(False)))

    flow.invoke("x", thread_id="t")
    clock.advance(1)
    assert flow.invoke(None, thread_id="t") == "Decision(approved=False)"


def test_none_is_a_default_like_any_other(engine, clock):
    @entrypoint
    def flow(given: str) -> list[object]:
        return ["went on", interrupt("ok?", expires_in=1, default=None)]

    flow.invoke("x", thread_id="t")
    clock.advance(1)
    assert flow.invoke(None, thread_id="t") == ["went on", None]


def test_a_question_that_is_asked_again_keeps_its_time(engine, clock):
    @task
    def ask(name: str, seconds: float) -> object:
        return interrupt(name, expires_in=seconds, default="late")

    @entrypoint
    def flow(given: str) -> list[object]:
        return [future.result() for future in [ask("a", 10), ask("b", 20)]]

    first, second = flow.invoke("x", thread_id="t")["__interrupt__"]
    clock.advance(5)
    (left,) = flow.invoke(Command(resume={first.id: "yes"}), thread_id="t")["__interrupt__"]
    assert left == second
    clock.advance(15)
    assert flow.invoke(None, thread_id="t") == ["yes", "late"]


def test_of_several_questions_those_that_expired_go_on_and_the_others_wait(engine, clock):
    @task
    def ask(name: str, seconds: float | None) -> object:
        return interrupt(name, expires_in=seconds)

    @task
    def patient(name: str, seconds: float) -> object:
        return interrupt(name, expires_in=seconds, default="late")

    @entrypoint
    def flow(given: str) -> list[object]:
        return [future.result() for future in [patient("a", 10), ask("b", None), patient("c", 10)]]

    first, second, third = flow.invoke("x", thread_id="t")["__interrupt__"]
    with pytest.raises(AmbiguousAnswer):
        flow.invoke(Command(resume="yes"), thread_id="t")
    clock.advance(10)
    assert flow.invoke(None, thread_id="t") == {"__interrupt__": [second]}
    for late in (first, third):
        with pytest.raises((AlreadyAnswered, InterruptExpired)):
            flow.invoke(Command(resume={late.id: "yes"}), thread_id="t")
    assert flow.invoke(Command(resume="yes"), thread_id="t") == ["late", "yes", "late"]


def test_an_answer_takes_along_what_has_expired_beside_it(engine, clock):
    @task
    def ask(name: str, seconds: float) -> object:
        return interrupt(name, expires_in=seconds, default=f"late {name}")

    @entrypoint
    def flow(given: str) -> list[object]:
        return [future.result() for future in [ask("a", 10), ask("b", 20)]]

    flow.invoke("x", thread_id="t")
    clock.advance(10)
    assert flow.invoke(Command(resume="yes"), thread_id="t") == ["late a", "yes"]


def test_a_head_says_when_the_first_of_its_questions_expires(engine, clock, checkpointer):
    @task
    def ask(seconds: float | None) -> object:
        return interrupt("ok?", expires_in=seconds)

    @entrypoint
    def flow(given: list[float | None]) -> list[object]:
        return [future.result() for future in [ask(seconds) for seconds in given]]

    flow.invoke([30, 20, None], thread_id="soon")
    flow.invoke([90], thread_id="later")
    flow.invoke([None], thread_id="never")
    heads = {thread: checkpointer.load_head(thread).wake for thread in ("soon", "later", "never")}
    assert heads == {"soon": START.timestamp() + 20, "later": START.timestamp() + 90, "never": None}
    due, _ = checkpointer.list_heads(HeadQuery(wake_before=START.timestamp() + 60))
    assert [head.thread for head in due] == ["soon"]
    clock.advance(20)
    flow.invoke(None, thread_id="soon")
    assert checkpointer.load_head("soon").wake == START.timestamp() + 30
    flow.invoke([1], thread_id="later")
    clock.advance(1)
    with pytest.raises(InterruptExpired):
        flow.invoke(None, thread_id="later")
    assert checkpointer.load_head("later").wake is None


@pytest.mark.parametrize("expires_in", [0, -1, True, "60", timedelta(0), float("nan"), float("inf"), 1e30])
def test_a_question_lasts_for_some_time(engine, expires_in):
    @entrypoint
    def flow(given: str) -> object:
        return interrupt("ok?", expires_in=expires_in)

    with pytest.raises(InvalidQuestion, match="expires_in="):
        flow.invoke("x", thread_id="t")


def test_a_default_without_a_time_is_an_error(engine):
    @entrypoint
    def flow(given: str) -> object:
        return interrupt("ok?", default="yes")

    with pytest.raises(InvalidQuestion, match="say when, with expires_in="):
        flow.invoke("x", thread_id="t")


def test_a_default_that_is_no_answer_is_an_error(engine):
    @entrypoint
    def flow(given: str) -> object:
        return interrupt("ok?", response_schema=bool, expires_in=1, default="yes")

    with pytest.raises(
        InvalidQuestion, match=r"the default is no answer to it: at \$: expected true or false"
    ):
        flow.invoke("x", thread_id="t")


def test_a_default_that_cannot_be_kept_is_refused(engine):
    @entrypoint
    def flow(given: str) -> object:
        return interrupt("ok?", expires_in=1, default=object())

    with pytest.raises(NotSerializable, match="the default of"):
        flow.invoke("x", thread_id="t")


def test_a_cancelled_run_asks_anew_and_its_time_begins_anew(engine, clock):
    defaulting.invoke("x", thread_id="t")
    clock.advance(59)
    defaulting.cancel(thread_id="t")
    clock.advance(59)
    (asked,) = defaulting.invoke(None, thread_id="t")["__interrupt__"]
    assert defaulting.invoke(Command(resume="yes"), thread_id="t") == "yes"
    assert asked.expires_at is not None


def test_what_another_one_was_answered_beside_has_its_time_anew_too_if_the_run_was_cancelled(engine, clock):
    @task
    def ask(what: str) -> object:
        return interrupt(what, expires_in=60, default="nobody said no")

    @task
    def stop(answer: object) -> None:
        if not stopped:
            stopped.append(answer)
            flow.cancel(thread_id="t")

    @entrypoint
    def flow(_: str) -> list[object]:
        first, second = ask("first"), ask("second")
        stop(first.result()).result()
        return [first.result(), second.result()]

    stopped: list[object] = []
    asked = flow.invoke("x", thread_id="t")["__interrupt__"]
    clock.advance(50)
    with pytest.raises(RunCancelled):
        flow.invoke(Command(resume={asked[0].id: "yes"}), thread_id="t")
    clock.advance(50)
    (again,) = flow.invoke(None, thread_id="t")["__interrupt__"]
    assert (again.value, again.expires_at) == ("second", START + timedelta(seconds=160))
    clock.advance(60)
    assert flow.invoke(None, thread_id="t") == ["yes", "nobody said no"]
