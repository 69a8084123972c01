"""Snapshots: what is on record for a thread at each moment of its life; and how results lie in the journal."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
from typing import Any

import pytest

from milepost import Command, Engine, StateSnapshot, entrypoint, interrupt, task
from milepost.errors import MissingThreadId


@task
def double(number: int) -> int:
    return number * 2


@task
def fail(text: str) -> None:
    raise ValueError(text)


def raw_batches(checkpointer, thread="t"):
    """Return a thread's batches as a person would read them at rest."""
    return [json.loads(data) for _, data in checkpointer._read(thread, 0, 1000)]


# -- snapshots -----------------------------------------------------------------------------------------------------


def test_a_thread_nobody_has_started_has_an_empty_snapshot(engine):
    @entrypoint
    def body(given) -> Any:
        return given

    state = body.get_state({"configurable": {"thread_id": "nobody"}})
    assert isinstance(state, StateSnapshot)
    assert state == StateSnapshot(values=None, next=(), config={"configurable": {"thread_id": "nobody"}})
    assert (state.status, state.tasks, state.interrupts, state.owner) == (None, (), (), None)


def test_a_finished_run_shows_its_result_and_its_tasks(engine):
    @entrypoint
    def body(given: int) -> list[int]:
        return [double(given).result(), double(given + 1).result()]

    body.invoke(1, thread_id="t")
    state = body.get_state(thread_id="t")
    assert state.values == [2, 4]
    assert state.next == ()
    assert (state.status, state.error, state.owner, state.interrupts) == ("done", None, None, ())
    assert [(task.id, task.name, task.status, task.attempts) for task in state.tasks] == [
        ("0", "double", "done", 1),
        ("1", "double", "done", 1),
    ]
    times = [dt.datetime.fromisoformat(time) for task in state.tasks for time in (task.began, task.ended)]
    created = dt.datetime.fromisoformat(state.created_at)
    assert [created, *times] == sorted([created, *times])
    assert created.utcoffset() == dt.timedelta(0)


def test_an_interrupted_run_shows_its_questions_where_they_were_asked(engine):
    @task
    def ask(text: str) -> Any:
        return interrupt(text)

    @entrypoint
    def body(given) -> Any:
        double(1).result()
        future = ask("task")
        return [interrupt("body"), future.result()]

    paused = body.invoke(1, thread_id="t")
    state = body.get_state(thread_id="t")
    assert (state.status, state.next, state.values) == ("interrupted", ("body",), None)
    assert state.interrupts == tuple(paused["__interrupt__"])
    asked = [(task.name, task.status, [q.value for q in task.interrupts]) for task in state.tasks[1:]]
    assert asked == [("interrupt", "interrupted", ["task"]), ("interrupt", "interrupted", ["body"])]
    assert [task.id for task in state.tasks] == ["0", "1.0", "2"]


def test_a_failed_run_shows_its_error_and_which_task_failed(engine):
    @entrypoint
    def body(given) -> None:
        double(1).result()
        fail("no good").result()

    with pytest.raises(ValueError, match="no good"):
        body.invoke(1, thread_id="t")
    state = body.get_state(thread_id="t")
    assert (state.status, state.next) == ("failed", ("body",))
    assert state.error == "ValueError: no good"
    assert [(task.status, task.error) for task in state.tasks] == [
        ("done", None),
        ("failed", "ValueError: no good"),
    ]


def test_a_running_run_shows_its_owner(engine):
    seen = []

    @entrypoint
    def body(given) -> None:
        double(1).result()
        seen.append(body.get_state(thread_id="t"))

    body.invoke(1, thread_id="t")
    state = seen[-1]
    assert (state.status, state.next) == ("running", ("body",))
    assert state.owner.pid == os.getpid()
    assert [task.name for task in state.tasks] == ["double"]


def test_values_are_the_last_result_also_while_a_later_run_is_not_over(engine):
    @entrypoint
    def body(given: int) -> Any:
        return {"given": given} if given < 2 else interrupt("?")

    body.invoke(1, thread_id="t")
    body.invoke(2, thread_id="t")
    state = body.get_state(thread_id="t")
    assert (state.status, state.values) == ("interrupted", {"given": 1})
    body.invoke(Command(resume="answer"), thread_id="t")
    assert body.get_state(thread_id="t").values == "answer"


def test_tasks_are_in_the_order_of_their_places(engine):
    @task
    def parent(number: int) -> int:
        return double(number).result()

    @entrypoint
    def body(given) -> int:
        return sum(future.result() for future in [parent(number) for number in range(12)])

    body.invoke(1, thread_id="t")
    ids = [task.id for task in body.get_state(thread_id="t").tasks]
    assert ids == [id_ for number in range(12) for id_ in (str(number), f"{number}.0")]


def test_the_config_of_a_snapshot_addresses_its_run(engine):
    @entrypoint
    def body(given) -> Any:
        return given

    runs = []
    for given in range(3):
        body.invoke(given, thread_id="t")
        configurable = body.get_state(thread_id="t").config["configurable"]
        assert configurable["thread_id"] == "t"
        runs.append(configurable["checkpoint_id"])
    assert runs == sorted(set(runs))


def test_a_snapshot_needs_a_thread_id_and_is_frozen(engine):
    @entrypoint
    def body(given) -> Any:
        return given

    with pytest.raises(MissingThreadId):
        body.get_state()
    with pytest.raises((AttributeError, dataclasses.FrozenInstanceError)):
        body.get_state(thread_id="t").values = 1


def test_another_engine_on_the_same_backend_sees_the_same(engine, checkpointer):
    @entrypoint
    def body(given) -> Any:
        return [double(given).result(), interrupt("?")]

    body.invoke(1, thread_id="t")
    here = body.get_state(thread_id="t")
    other = Engine(checkpointer=checkpointer)
    with other:
        assert body.get_state(thread_id="t") == here
        assert body.invoke(Command(resume="x"), thread_id="t") == [2, "x"]
    other.close()


def test_a_database_that_is_opened_again_tells_the_same(tmp_path):
    @entrypoint
    def body(given) -> Any:
        return [double(given).result(), interrupt("?")]

    url = f"sqlite:///{tmp_path}/journal.db"
    for step in (1, Command(resume="x"), None):
        engine = Engine(checkpointer=url)
        with engine:
            result = body.invoke(step, thread_id="t")
        engine.close()
    assert result == [2, "x"]


# -- at rest -------------------------------------------------------------------------------------------------------


def test_a_return_value_that_is_a_tasks_result_is_stored_once(engine, checkpointer):
    text = "x" * 5000

    @task
    def write() -> dict[str, str]:
        return {"essay": text}

    @entrypoint
    def body(given) -> dict[str, str]:
        return write().result()

    assert body.invoke(1, thread_id="t") == {"essay": text}
    finished = raw_batches(checkpointer)[-1]["records"][-1]
    assert finished["kind"] == "finished"
    assert finished["result"] == {"$ref": {"position": 1, "call": "0"}}
    assert b"".join(data for _, data in checkpointer._read("t", 0, 100)).count(text.encode()) == 1
    assert body.invoke(None, thread_id="t") == {"essay": text}
    assert body.get_state(thread_id="t").values == {"essay": text}


def test_a_result_passed_up_through_tasks_and_saved_is_stored_once(engine, checkpointer):
    text = "y" * 5000

    @task
    def write() -> str:
        return text

    @task
    def outer() -> str:
        return write().result()

    @entrypoint
    def inner(given) -> str:
        return outer().result()

    @entrypoint
    def body(given, *, previous: str | None = None) -> entrypoint.final[str, str]:
        value = inner.invoke(given)
        if given == "ask":
            interrupt("?")
        return entrypoint.final(value=value if previous is None else previous, save=value)

    assert body.invoke("ask", thread_id="t")["__interrupt__"]
    assert body.invoke(Command(resume=1), thread_id="t") == text
    data = b"".join(data for _, data in checkpointer._read("t", 0, 100))
    assert data.count(text.encode()) == 1
    assert body.invoke("again", thread_id="t") == text


def test_a_journal_can_be_read_at_rest(engine, checkpointer):
    @entrypoint
    def body(given: int) -> Any:
        return [double(given).result(), interrupt({"approve": given})]

    body.invoke(4, thread_id="t")
    body.invoke(Command(resume={"by": "Ada"}), thread_id="t")
    batches = raw_batches(checkpointer)
    records = [record for batch in batches for record in batch["records"]]
    kinds = [record["kind"] for record in records]
    assert kinds == ["started", "outcome", "interrupted", "resumed", "finished"]
    started, outcome, interrupted, resumed, finished = records
    assert (started["workflow"], started["input"]) == ("body", 4)
    assert (outcome["name"], outcome["result"]) == ("double", 8)
    (question,) = interrupted["questions"]
    assert question["value"] == {"approve": 4}
    assert resumed["answers"] == {question["id"]: {"by": "Ada"}}
    assert finished["result"] == [8, {"by": "Ada"}]


def test_storage_grows_with_the_outcomes_and_not_with_their_square(engine, checkpointer):
    @entrypoint
    def body(given: int) -> int:
        return sum(double(number).result() for number in range(given))

    def size(thread: str) -> int:
        return sum(len(data) for _, data in checkpointer._read(thread, 0, 10_000))

    body.invoke(40, thread_id="small")
    body.invoke(160, thread_id="large")
    assert size("large") <= size("small") * 4 * 1.1
