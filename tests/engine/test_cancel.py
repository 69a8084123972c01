"""cancel: a run stops at its next boundary, is on record as cancelled, and can go on later."""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import Any

import pytest

from milepost import Command, Engine, entrypoint, interrupt, task
from milepost._struct import replace
from milepost.checkpoint import Cancelled, Owner, Status, Swap
from milepost.errors import (
    NothingToCancel,
    NothingToResume,
    RunCancelled,
    UnknownThread,
    WrongWorkflow,
)
from milepost.events import CheckpointSaved

REPLAY_ALWAYS = os.environ.get("MILEPOST_TEST_REPLAY") == "always"
ran: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _forget():
    ran.clear()


@task
def work(name: str) -> str:
    ran[name] += 1
    return f"{name}!"


@entrypoint
def asking(given: Any) -> Any:
    return [work("first").result(), interrupt("?")]


class Held:
    """A workflow whose first task waits to be let go, running in a thread of the test."""

    def __init__(self, engine) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self.result: Any = None

        @task
        def slow() -> str:
            ran["slow"] += 1
            self.begun.set()
            assert self.go.wait(30)
            return "slow!"

        @entrypoint
        def held(given: Any) -> Any:
            return [slow().result(), work("after").result()]

        self.workflow = held
        self._engine = engine
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        with self._engine:
            try:
                self.result = self.workflow.invoke(1, thread_id="t")
            except Exception as error:
                self.result = error

    def start(self) -> None:
        self._thread.start()
        assert self.begun.wait(30)

    def end(self) -> Any:
        self.go.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.result


@pytest.fixture
def held(engine):
    made = Held(engine)
    made.start()
    yield made
    made.end()


def cancel_under_way(workflow, go: threading.Event, reason: str | None = None) -> None:
    """Cancel a run whose task waits for ``go``, which comes only when the run knows; return when it is cancelled."""
    with pytest.raises(TimeoutError):
        workflow.cancel(thread_id="t", reason=reason, timeout=0)
    threading.Timer(0.05, go.set).start()
    workflow.cancel(thread_id="t")


def kinds(checkpointer):
    return [record.kind for _, batch in checkpointer.read("t") for record in batch.records]


def test_a_run_under_way_begins_no_further_task_and_is_cancelled(engine, checkpointer, held):
    cancel_under_way(held.workflow, held.go, reason="enough")
    state = held.workflow.get_state(thread_id="t")
    assert (state.status, state.next, state.owner) == ("cancelled", ("held",), None)
    assert [(shown.name, shown.status) for shown in state.tasks] == [("slow", "done")]
    assert checkpointer.load_head("t").status == "cancelled"
    error = held.end()
    assert isinstance(error, RunCancelled)
    assert (error.thread_id, error.reason) == ("t", "enough")
    assert "enough" in str(error)
    assert ran == {"slow": 1}


def test_a_cancelled_run_goes_on_where_it_stopped(engine, held):
    with pytest.raises(TimeoutError):
        held.workflow.cancel(thread_id="t", timeout=0.01)
    assert isinstance(held.end(), RunCancelled)
    assert held.workflow.invoke(None, thread_id="t") == ["slow!", "after!"]
    assert ran == {"slow": 1, "after": 1}


def test_cancelling_waits_no_longer_than_it_is_told(engine, held):
    with pytest.raises(TimeoutError, match="tasks"):
        held.workflow.cancel(thread_id="t", timeout=0.01)
    assert held.workflow.get_state(thread_id="t").status == "running"
    assert isinstance(held.end(), RunCancelled)
    assert held.workflow.get_state(thread_id="t").status == "cancelled"


def test_a_run_of_another_engine_in_this_process_is_found(engine, checkpointer, held):
    other = Engine(checkpointer=checkpointer)
    with other:
        cancel_under_way(held.workflow, held.go)
    other.close()
    assert isinstance(held.end(), RunCancelled)


def test_the_questions_of_a_cancelled_run_are_withdrawn_and_asked_again(engine):
    (question,) = asking.invoke(1, thread_id="t")["__interrupt__"]
    asking.cancel(thread_id="t", reason="changed my mind")
    state = asking.get_state(thread_id="t")
    assert (state.status, state.interrupts, state.next) == ("cancelled", (), ("asking",))
    for answer in (Command(resume="late"), Command(resume={question.id: "late"})):
        with pytest.raises(NothingToResume, match="cancelled"):
            asking.invoke(answer, thread_id="t")
    assert asking.invoke(None, thread_id="t") == {"__interrupt__": [question]}
    assert asking.invoke(Command(resume={question.id: "yes"}), thread_id="t") == ["first!", "yes"]
    assert ran == {"first": 1}


def test_a_new_input_abandons_a_cancelled_run(engine):
    asking.invoke(1, thread_id="t")
    asking.cancel(thread_id="t")
    asking.invoke(2, thread_id="t")
    assert [snapshot.status for snapshot in asking.get_state_history(thread_id="t")] == [
        "interrupted",
        "abandoned",
    ]


def test_a_failed_run_that_is_cancelled_tries_the_failure_again_when_it_goes_on(engine):
    broken = [True]

    @task
    def fragile() -> str:
        if broken:
            raise ValueError("broken")
        return "mended"

    @entrypoint
    def body(given) -> str:
        return work("before").result() + fragile().result()

    with pytest.raises(ValueError, match="broken"):
        body.invoke(1, thread_id="t")
    body.cancel(thread_id="t")
    state = body.get_state(thread_id="t")
    assert (state.status, state.error) == ("cancelled", None)
    broken.clear()
    assert body.invoke(None, thread_id="t") == "before!mended"
    assert ran == {"before": 1}


def test_a_run_that_was_cut_off_can_be_cancelled(engine):
    stream = asking.stream(1, thread_id="t")
    next(stream)
    stream.close()
    cut_off = asking.get_state(thread_id="t").status
    asking.cancel(thread_id="t")
    assert cut_off in {"running", "interrupted"}
    assert asking.get_state(thread_id="t").status == "cancelled"
    (question,) = asking.invoke(None, thread_id="t")["__interrupt__"]
    assert asking.invoke(Command(resume={question.id: 1}), thread_id="t") == ["first!", 1]


def test_what_is_over_cannot_be_cancelled(engine, checkpointer):
    with pytest.raises(UnknownThread):
        asking.cancel(thread_id="t")
    asking.invoke(1, thread_id="t")
    asking.invoke(Command(resume="yes"), thread_id="t")
    tail = checkpointer.tail("t")
    with pytest.raises(NothingToCancel, match="done"):
        asking.cancel(thread_id="t")
    assert checkpointer.tail("t") == tail


def test_cancelling_again_does_nothing(engine, checkpointer):
    asking.invoke(1, thread_id="t")
    asking.cancel(thread_id="t")
    before = kinds(checkpointer)
    asking.cancel(thread_id="t")
    assert kinds(checkpointer) == before
    assert before[-2:] == ["claimed", "cancelled"]


def test_the_reason_is_on_record(engine, checkpointer):
    asking.invoke(1, thread_id="t")
    asking.cancel(thread_id="t", reason="too late")
    *_, (_, last) = checkpointer.read("t")
    record = last.records[-1]
    assert isinstance(record, Cancelled)
    assert record.reason == "too late"


def test_another_workflows_run_is_left_alone(engine):
    @entrypoint
    def other(given) -> int:
        return given

    asking.invoke(1, thread_id="t")
    with pytest.raises(WrongWorkflow):
        other.cancel(thread_id="t")
    assert asking.get_state(thread_id="t").status == "interrupted"


def test_a_run_that_another_process_holds_is_asked_to_stop(engine, checkpointer):
    asking.invoke(1, thread_id="t")
    head = checkpointer.load_head("t")
    owner = Owner(host="elsewhere", boot="b", pid=1, started=1, session="s")
    held = replace(head, version=head.version + 1, status=Status.RUNNING, nonce="n", owner=owner, lease=60.0)
    assert checkpointer.swap_head(Swap(head=held, expected=head.version))
    with pytest.raises(TimeoutError, match="was asked to"):
        asking.cancel(thread_id="t", reason="enough", timeout=0.05)
    asked = checkpointer.load_head("t")
    assert (asked.cancel, asked.owner, asked.version) == ("enough", owner, head.version + 2)
    down = replace(asked, version=asked.version + 1, owner=None, lease=None, nonce="m", cancel=None)
    assert checkpointer.swap_head(Swap(head=down, expected=asked.version))
    asking.cancel(thread_id="t", reason="enough")
    assert asking.get_state(thread_id="t").status == "cancelled"


def test_a_run_may_cancel_itself(engine):
    @task
    def give_up() -> str:
        body.cancel(thread_id="t", reason="given up")
        return "recorded"

    @entrypoint
    def body(given) -> Any:
        return [give_up().result(), work("after").result()]

    with pytest.raises(RunCancelled, match="given up"):
        body.invoke(1, thread_id="t")
    state = body.get_state(thread_id="t")
    assert state.status == "cancelled"
    assert ran == {}
    assert [shown.name for shown in state.tasks] == ["give_up"]
    assert body.invoke(None, thread_id="t") == ["recorded", "after!"]


def test_a_run_on_another_thread_stops_with_the_run_that_waits_for_it(engine):
    @entrypoint
    def inner(given) -> Any:
        outer.cancel(thread_id="outer")
        return work("inner").result()

    @entrypoint
    def outer(given) -> Any:
        return inner.invoke(given, thread_id="inner")

    with pytest.raises(RunCancelled):
        outer.invoke(1, thread_id="outer")
    assert outer.get_state(thread_id="outer").status == "cancelled"
    assert inner.get_state(thread_id="inner").status == "running"
    assert ran == {}


def test_a_streamed_run_tells_its_consumer(engine):
    @task
    def give_up() -> str:
        body.cancel(thread_id="t")
        return "recorded"

    @entrypoint
    def body(given) -> Any:
        return [give_up().result(), work("after").result()]

    chunks = []
    with pytest.raises(RunCancelled):
        chunks.extend(body.stream(1, thread_id="t"))
    assert body.get_state(thread_id="t").status == "cancelled"


def test_custom_events_from_before_are_not_shown_again(engine):
    cancelling = [True]

    @task
    def give_up() -> str:
        if cancelling:
            body.cancel(thread_id="t")
        return "recorded"

    @entrypoint
    def body(given, *, writer) -> str:
        writer("once")
        give_up().result()
        writer("then")
        return "done"

    seen = []
    with pytest.raises(RunCancelled):
        seen.extend(body.stream(1, thread_id="t", stream_mode="custom"))
    cancelling.clear()
    seen += body.stream(None, thread_id="t", stream_mode="custom")
    assert seen == ["once", "then"]


def test_a_consumer_may_cancel_the_run_that_it_streams(engine):
    waiting, go = threading.Event(), threading.Event()

    @task
    def wait() -> str:
        waiting.set()
        assert go.wait(30)
        return "waited"

    @entrypoint
    def body(given) -> Any:
        return [work("before").result(), wait().result(), work("after").result()]

    stream = body.stream(1, thread_id="t")
    assert next(stream) == {"work": "before!"}
    assert waiting.wait(30)
    cancel_under_way(body, go)
    with pytest.raises(RunCancelled):
        list(stream)
    assert body.get_state(thread_id="t").status == "cancelled"
    assert body.invoke(None, thread_id="t") == ["before!", "waited", "after!"]
    assert ran == {"before": 1, "after": 1}


class Watched(Held):
    """Likewise, streamed."""

    def _run(self) -> None:
        self.seen: list[str] = []
        with self._engine:
            try:
                for event in self.workflow.stream(1, thread_id="t", stream_mode="events"):
                    if not isinstance(event, CheckpointSaved):
                        self.seen.append(type(event).__name__)
            except Exception as error:
                self.result = error


def test_those_who_watch_are_told_that_the_run_was_cancelled(engine):
    watched = Watched(engine)
    watched.start()
    cancel_under_way(watched.workflow, watched.go)
    assert isinstance(watched.end(), RunCancelled)
    assert watched.seen == ["WorkflowStarted", "TaskStarted", "TaskFinished", "WorkflowCancelled"]
