"""Without a checkpointer nothing is encoded or kept, and everything else works."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import Command, entrypoint, interrupt, task
from milepost.errors import MilepostError, NoCheckpointer

pytestmark = pytest.mark.usefixtures("plain_engine")


@task
def step(value: Any) -> Any:
    return value


def test_a_workflow_runs_without_a_thread_id():
    @entrypoint
    def body(given: int) -> int:
        return step(given).result() + step(1).result()

    assert body.invoke(41) == 42
    assert body.invoke(1, {"configurable": {"thread_id": "ignored"}}) == 2
    assert body.invoke(2, thread_id="ignored") == 3


def test_values_pass_as_they_are():
    thing = object()

    @entrypoint
    def body(given: Any) -> Any:
        return step(given).result()

    assert body.invoke(thing) is thing


def test_streams_work():
    @entrypoint
    def body(given: str) -> str:
        return step(given).result() + "!"

    assert list(body.stream("a")) == [{"step": "a"}, {"body": "a!"}]
    assert list(body.stream("a", stream_mode="values")) == ["a!"]


def test_interrupt_fails_at_once_and_says_what_to_configure():
    executed = []

    @entrypoint
    def body(given) -> Any:
        executed.append("before")
        interrupt("?")
        executed.append("after")

    with pytest.raises(NoCheckpointer, match=r"body.*checkpointer=.*MILEPOST_CHECKPOINTER"):
        body.invoke(1)
    assert executed == ["before"]


def test_interrupt_in_a_task_fails_at_once_and_names_the_task():
    @task
    def ask() -> Any:
        return interrupt("?")

    @entrypoint
    def body(given) -> Any:
        return ask().result()

    with pytest.raises(NoCheckpointer, match="'ask'"):
        body.invoke(1)


def test_there_is_nothing_to_resume_and_nothing_to_look_at():
    @entrypoint
    def body(given) -> Any:
        return given

    with pytest.raises(NoCheckpointer, match="body"):
        body.invoke(Command(resume=1))
    with pytest.raises(NoCheckpointer, match="body"):
        body.get_state(thread_id="t")


def test_none_is_an_input_like_any_other():
    @entrypoint
    def body(given: None) -> str:
        return f"got {given}"

    assert body.invoke(None) == "got None"


def test_errors_are_raised_as_they_are():
    class Local(Exception):
        pass

    @task
    def fail() -> None:
        raise Local("text")

    @entrypoint
    def body(given) -> None:
        fail().result()

    with pytest.raises(Local, match="text"):
        body.invoke(1)


def test_the_error_of_a_task_nobody_waits_for_surfaces():
    @task
    def fail() -> None:
        raise ValueError("unheard")

    @entrypoint
    def body(given) -> str:
        fail()
        return "end"

    with pytest.raises(ValueError, match="unheard"):
        body.invoke(1)


def test_nested_workflows_and_tasks_work():
    @entrypoint
    def inner(given: int) -> int:
        return step(given * 2).result()

    @task
    def through(given: int) -> int:
        return inner.invoke(given) + step(1).result()

    @entrypoint
    def outer(given: int) -> int:
        return through(given).result() + inner.invoke(given)

    assert outer.invoke(10) == 41


def test_a_nested_workflow_with_a_checkpointer_of_its_own_needs_a_thread():
    from milepost import MemorySaver

    @entrypoint(checkpointer=MemorySaver())
    def inner(given: int) -> Any:
        return [given, interrupt("?")]

    @entrypoint
    def outer(given: int) -> Any:
        return inner.invoke(given, thread_id="own")

    asked = outer.invoke(1)
    assert asked["__interrupt__"][0].value == "?"
    assert inner.invoke(Command(resume="x"), thread_id="own") == [1, "x"]


def test_an_interrupt_in_a_nested_workflow_without_a_thread_fails_at_once():
    @entrypoint
    def inner(given: int) -> Any:
        return interrupt("?")

    @entrypoint
    def outer(given: int) -> Any:
        return inner.invoke(given)

    with pytest.raises(MilepostError, match="checkpointer"):
        outer.invoke(1)
