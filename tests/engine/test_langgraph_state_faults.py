"""Faults of LangGraph around state, history and storage that do not happen here, by their numbers in our list."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from milepost import Command, entrypoint, interrupt, task
from milepost.errors import AlreadyAnswered, NothingToResume, UnknownCheckpoint

HERE = {"configurable": {"thread_id": "t"}}


@task
def fetch(name: str) -> dict[str, str]:
    return {"name": name}


@entrypoint
def approving(name: str) -> Any:
    found = fetch(name).result()
    return {**found, "approved": interrupt(f"approve {name}?")}


def test_w02_a_late_answer_after_an_update_answers_no_later_question(engine):
    """An answer to a run that update_state has settled is refused, and the next run asks."""
    (late,) = approving.invoke("first", thread_id="t")["__interrupt__"]
    approving.update_state(HERE, {"name": "written"})
    for answer in (Command(resume=True), Command(resume={late.id: True})):
        with pytest.raises(NothingToResume):
            approving.invoke(answer, thread_id="t")
    (asked,) = approving.invoke("second", thread_id="t")["__interrupt__"]
    assert asked.value == "approve second?"


def test_w02_an_answer_to_an_older_checkpoint_is_refused(engine):
    """LangGraph returns the old answer and drops the new one."""
    approving.invoke("first", thread_id="t")
    config = approving.get_state(thread_id="t").config
    approving.invoke(Command(resume=True), thread_id="t")
    approving.invoke("second", thread_id="t")
    with pytest.raises(AlreadyAnswered):
        approving.invoke(Command(resume=False), config)
    assert approving.invoke(Command(resume=False), thread_id="t") == {"name": "second", "approved": False}


def test_w09_no_value_of_an_earlier_run_is_in_the_output(engine):
    approving.invoke("first", thread_id="t")
    approving.invoke(Command(resume=True), thread_id="t")
    first = approving.get_state(thread_id="t").config
    assert list(approving.invoke("second", thread_id="t")) == ["__interrupt__"]
    (chunk,) = approving.stream(Command(resume=False), thread_id="t", stream_mode="values")
    assert chunk == {"name": "second", "approved": False}
    (chunk,) = approving.stream(None, first, stream_mode="values")
    assert list(chunk) == ["__interrupt__"]


def test_w19_a_large_state_is_stored_once_a_run_and_pruning_returns_the_space(engine, checkpointer):
    size = 200_000

    @task
    def grow(given: int) -> str:
        return str(given) * size

    @entrypoint
    def keeping(given: int, *, previous: str | None = None) -> str:
        return grow(given).result()

    def stored() -> int:
        return sum(len(batch.encode()) for _, batch in checkpointer.read("t"))

    for given in range(5):
        keeping.invoke(given, thread_id="t")
    assert stored() < 5 * size * 1.05
    keeping.prune(keep_last=1)
    assert stored() < size * 1.05
    assert keeping.get_state(thread_id="t").values == "4" * size


def test_w19_threads_can_be_listed_copied_and_deleted(engine):
    for thread in ("a", "b"):
        approving.invoke(thread, thread_id=thread)
    approving.copy_thread("a", "c")
    approving.delete_thread("b")
    assert [info.thread_id for info in approving.list_threads(status="interrupted")] == ["a", "c"]


def test_w21_an_unknown_checkpoint_id_never_starts_over(engine):
    approving.update_state(HERE, {"name": "kept"})
    unknown = {"configurable": {"thread_id": "t", "checkpoint_id": "1ef4f797-8335-6428-8001-8a1503f9b875"}}
    for given in ("new", None, Command(resume=True)):
        with pytest.raises(UnknownCheckpoint):
            approving.invoke(given, unknown)
    assert len(list(approving.get_state_history(HERE))) == 1


def test_w22_state_and_history_show_tasks_attempts_and_times(engine):
    for name in ("first", "second"):
        approving.invoke(name, thread_id="t")
        approving.invoke(Command(resume=True), thread_id="t")
    for snapshot in approving.get_state_history(thread_id="t"):
        (shown,) = snapshot.tasks
        assert (shown.name, shown.status, shown.attempts) == ("fetch", "done", 1)
        began, ended = (dt.datetime.fromisoformat(time) for time in (shown.began, shown.ended))
        assert dt.timedelta() <= ended - began < dt.timedelta(minutes=5)
