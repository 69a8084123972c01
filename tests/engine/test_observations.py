"""What a body sees of a race (``done()``, time-outs, cancellation, order) is recorded, and seen again on replay."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

import milepost
from milepost import Command, Engine, entrypoint, interrupt, task
from milepost.errors import DivergenceError

PATIENCE = 20


@pytest.fixture
def one_worker(checkpointer):
    """The current engine, with a single worker, so that a test decides what runs when."""
    made = Engine(checkpointer=checkpointer, workers=1)
    with made:
        yield made
    made.close()


class Gate:
    """A task that keeps a worker busy until it is let go."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()
        self.executed = 0

    @task(name="gate")
    def pass_through(self, value: Any = None) -> Any:
        self.executed += 1
        self.begun.set()
        assert self.go.wait(PATIENCE)
        return value

    def close(self, value=None):
        """Occupy a worker; return the future once the worker is inside, or at once where it is on record."""
        future = self.pass_through(value)
        if not self.go.is_set():
            assert self.begun.wait(PATIENCE)
        return future

    def open(self):
        self.go.set()


@task
def double(number: int) -> int:
    return number * 2


def records(checkpointer, kind, thread="t"):
    return [
        record
        for _, batch in checkpointer.read(thread)
        for record in batch.records
        if kind in {record.kind, "any"}
    ]


def test_done_is_seen_the_same_on_replay(one_worker):
    gate, live = Gate(), []

    @entrypoint
    def body(given) -> Any:
        future = gate.close()
        seen = [future.done(), future.running()]
        gate.open()
        future.result()
        seen += [future.done(), future.running()]
        live.append(seen)
        return [seen, interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="x"), thread_id="t") == [[False, True, True, False], "x"]
    assert live[0] == live[1]


def test_a_branch_taken_on_done_is_taken_again(one_worker):
    gate, executed = Gate(), Counter()

    @task
    def meanwhile() -> str:
        executed["meanwhile"] += 1
        return "meanwhile"

    @entrypoint
    def body(given) -> list[Any]:
        future, did = gate.close("value"), []
        if not future.done():
            did.append(meanwhile().result())
        gate.open()
        return [*did, future.result(), interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="x"), thread_id="t") == ["meanwhile", "value", "x"]
    assert executed == {"meanwhile": 1}


def test_a_loop_that_polls_turns_as_often_on_replay_and_costs_one_record(one_worker, checkpointer):
    gate, turns = Gate(), []

    @entrypoint
    def body(given) -> int:
        future, turned = gate.close(), 0
        while not future.done():
            turned += 1
            if turned == 1000:
                gate.open()
                future.add_done_callback(lambda _: None)
        turns.append(turned)
        interrupt("?")
        return turned

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=1), thread_id="t") == turns[0] == turns[1]
    assert turns[0] >= 1000
    assert sum(record.times for record in records(checkpointer, "observed")) == turns[0] + 1
    assert len(records(checkpointer, "observed")) <= 4


def test_a_time_out_is_seen_again_on_replay(one_worker):
    gate, executed = Gate(), Counter()

    @task
    def instead() -> str:
        executed["instead"] += 1
        return "instead"

    @entrypoint
    def body(given) -> list[Any]:
        future = gate.close("late")
        try:
            first = future.result(timeout=0)
        except TimeoutError:
            first = instead().result()
        gate.open()
        return [first, future.result(), interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="x"), thread_id="t") == ["instead", "late", "x"]
    assert executed == {"instead": 1}
    assert gate.executed == 1


def test_a_wait_that_was_in_time_is_in_time_on_replay(engine):
    @entrypoint
    def body(given) -> list[Any]:
        return [double(1).result(timeout=PATIENCE), double(2).exception(timeout=PATIENCE), interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="x"), thread_id="t") == [2, None, "x"]


def test_a_run_that_failed_by_a_time_out_can_be_tried_again_for_real(checkpointer):
    gate, kept = Gate(), []

    @entrypoint
    def body(given) -> Any:
        kept.append(gate.close("value"))
        return kept[-1].result(timeout=0)

    engine = Engine(checkpointer=checkpointer, workers=1, pause_wait=0.01)
    with engine:
        with pytest.raises(TimeoutError, match="'gate'"):
            body.invoke(1, thread_id="t")
        assert body.get_state(thread_id="t").status == "failed"
        gate.open()
        assert kept[0].result(PATIENCE) == "value"  # recorded after the run had failed
        assert body.invoke(None, thread_id="t") == "value"
    engine.close()
    assert gate.executed == 1


def test_a_time_out_that_was_acted_on_stays_when_a_later_failure_is_tried_again(one_worker):
    gate, executed = Gate(), Counter()
    failures = iter([ValueError("no")])

    @task
    def shaky(name: str) -> str:
        executed[name] += 1
        for error in failures:
            raise error
        return name

    @task
    def instead() -> str:
        executed["instead"] += 1
        return "instead"

    @entrypoint
    def body(given) -> list[Any]:
        future = gate.close("late")
        try:
            first = future.result(timeout=0)
        except TimeoutError:
            first = instead().result()
        gate.open()
        return [first, future.result(), shaky("shaky").result()]

    with pytest.raises(ValueError, match="no"):
        body.invoke(1, thread_id="t")
    assert body.invoke(None, thread_id="t") == ["instead", "late", "shaky"]
    assert executed == {"instead": 1, "shaky": 2}


def test_cancelling_is_seen_the_same_on_replay(one_worker):
    gate, executed = Gate(), Counter()

    @task
    def never() -> None:
        executed["never"] += 1

    @entrypoint
    def body(given) -> list[Any]:
        busy = gate.close()
        future = never()
        seen = [busy.cancel(), future.cancel(), future.cancelled(), future.done()]
        gate.open()
        busy.result()
        return [*seen, interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="x"), thread_id="t") == [False, True, True, True, "x"]
    assert executed == {}


def test_a_time_out_of_as_completed_is_seen_again_on_replay(one_worker):
    gate, live = Gate(), []

    @entrypoint
    def body(given) -> list[Any]:
        early = double(1)
        early.result()
        late, got = gate.close(5), []
        try:
            for future in milepost.as_completed([late, early], timeout=0):
                got.append(future.result())  # noqa: PERF401 - what came before the time-out counts
        except TimeoutError:
            got.append("time out")
        gate.open()
        got.append(late.result())
        live.append(got)
        return [got, interrupt("?")]

    body.invoke(1, thread_id="t")
    body.invoke(Command(resume="x"), thread_id="t")
    assert live[0] == live[1]
    assert live[0][-2:] == ["time out", 5]


def test_what_a_task_observed_is_seen_again_when_the_task_runs_again(checkpointer):
    gate = Gate()

    @task
    def observing() -> list[Any]:
        future = gate.close("value")
        seen = [future.done()]
        gate.open()
        return [*seen, future.result(), interrupt("?")]

    @entrypoint
    def body(given) -> Any:
        return observing().result()

    engine = Engine(checkpointer=checkpointer, workers=2)
    with engine:
        body.invoke(1, thread_id="t")
        assert body.invoke(Command(resume="x"), thread_id="t") == [False, "value", "x"]
    engine.close()


def test_looking_at_another_future_than_before_is_a_divergence(engine):
    code = [0]

    @entrypoint
    def body(given) -> Any:
        futures = [double(1), double(2)]
        for future in futures:
            future.result()
        futures[code[-1]].done()
        return interrupt("?")

    body.invoke(1, thread_id="t")
    code.append(1)
    with pytest.raises(DivergenceError, match="done"):
        body.invoke(Command(resume=1), thread_id="t")


def test_looking_costs_no_write_of_its_own(one_worker, checkpointer):
    @entrypoint
    def body(given) -> int:
        future = double(1)
        future.result()
        return sum(future.done() for _ in range(10))

    assert body.invoke(1, thread_id="t") == 10
    batches = [[record.kind for record in batch.records] for _, batch in checkpointer.read("t")]
    assert batches == [["started"], ["outcome"], ["observed", "finished"]]


def test_looking_from_outside_is_not_recorded(one_worker, checkpointer):
    kept = []

    @entrypoint
    def body(given) -> None:
        future = double(1)
        future.result()
        kept.append(future)
        interrupt("?")

    body.invoke(1, thread_id="t")
    before = len(records(checkpointer, "any"))
    assert kept[0].done()
    assert len(records(checkpointer, "any")) == before
    assert body.invoke(Command(resume=1), thread_id="t") is None
