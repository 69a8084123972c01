"""Task futures: waiting, looking, cancelling, callbacks, and the tools of ``concurrent.futures``."""

from __future__ import annotations

import concurrent.futures
import threading
from collections import Counter
from typing import Any

import pytest

import milepost
from milepost import Command, Engine, MemorySaver, entrypoint, interrupt, task
from milepost.errors import TaskFailed

PATIENCE = 20


@pytest.fixture
def one_worker():
    """The current engine, with a single worker and a memory backend."""
    made = Engine(checkpointer=MemorySaver(), workers=1)
    with made:
        yield made
    made.close()


@pytest.fixture
def four_workers():
    """The current engine, with four workers and a memory backend."""
    made = Engine(checkpointer=MemorySaver(), workers=4)
    with made:
        yield made
    made.close()


class Gate:
    """A task that keeps a worker busy until it is let go."""

    def __init__(self):
        self.begun, self.go = threading.Event(), threading.Event()

    @task(name="gate")
    def pass_through(self, value: Any = None) -> Any:
        self.begun.set()
        assert self.go.wait(PATIENCE)
        return value

    def close(self, value=None):
        """Occupy a worker; return the future once the worker is inside."""
        future = self.pass_through(value)
        if not self.go.is_set():
            assert self.begun.wait(PATIENCE)
        return future

    def open(self):
        self.go.set()


@task
def double(number: int) -> int:
    return number * 2


@task
def fail(text: str) -> None:
    raise ValueError(text)


# -- results and exceptions ----------------------------------------------------------------------------------------


def test_futures_can_be_awaited_in_any_order_and_twice(engine):
    @entrypoint
    def body(given) -> list[int]:
        futures = [double(number) for number in range(4)]
        backwards = [future.result() for future in reversed(futures)]
        return backwards + [future.result() for future in futures] + [interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=9), thread_id="t") == [6, 4, 2, 0, 0, 2, 4, 6, 9]


def test_exception_returns_the_failure_or_none(engine):
    @entrypoint
    def body(given) -> list[Any]:
        failed, done = fail("no"), double(1)
        return [repr(failed.exception()), done.exception(), interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=1), thread_id="t") == ["ValueError('no')", None, 1]


def test_result_raises_what_the_task_raised_each_time(engine):
    @entrypoint
    def body(given) -> list[str]:
        future, seen = fail("no"), []
        for _ in range(2):
            try:
                future.result()
            except ValueError as error:
                seen.append(str(error))
        interrupt("?")
        return seen

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=1), thread_id="t") == ["no", "no"]


def test_result_with_a_timeout_returns_in_time(engine):
    @entrypoint
    def body(given) -> int:
        return double(4).result(timeout=PATIENCE) + double(5).result(PATIENCE)

    assert body.invoke(1, thread_id="t") == 18


def test_result_with_a_timeout_raises_timeout_error_and_the_task_goes_on(one_worker):
    gate = Gate()

    @entrypoint
    def body(given) -> list[Any]:
        future = gate.close("late")
        try:
            future.result(timeout=0)
        except TimeoutError as error:
            said = str(error)
        gate.open()
        return [said, future.result()]

    said, value = body.invoke(1, thread_id="t")
    assert "'gate'" in said
    assert value == "late"


def test_exception_with_a_timeout_raises_timeout_error(one_worker):
    gate = Gate()

    @entrypoint
    def body(given) -> Any:
        future = gate.close("late")
        with pytest.raises(TimeoutError):
            future.exception(timeout=0.01)
        gate.open()
        return future.exception()

    assert body.invoke(1, thread_id="t") is None


def test_a_wait_with_a_timeout_in_a_worker_lets_another_worker_run_the_task(one_worker):
    @task
    def inner() -> int:
        return threading.get_ident()

    @task
    def outer() -> bool:
        return inner().result(timeout=PATIENCE) != threading.get_ident()

    @entrypoint
    def body(given) -> bool:
        return outer().result(timeout=PATIENCE)

    assert body.invoke(1, thread_id="t") is True


def test_a_future_shows_its_task_and_whether_it_is_done(one_worker):
    gate = Gate()

    @entrypoint
    def body(given) -> list[str]:
        future = gate.close()
        before = repr(future)
        gate.open()
        future.result()
        return [before, repr(future)]

    assert body.invoke(1, thread_id="t") == [
        "<TaskFuture gate call 0 pending>",
        "<TaskFuture gate call 0 done>",
    ]


# -- looking -------------------------------------------------------------------------------------------------------


def test_done_and_running_tell_what_is(one_worker):
    gate = Gate()

    @entrypoint
    def body(given) -> list[bool]:
        future = gate.close()
        before = [future.done(), future.running(), future.cancelled()]
        gate.open()
        future.result()
        return [*before, future.done(), future.running(), future.cancelled()]

    assert body.invoke(1, thread_id="t") == [False, True, False, True, False, False]


def test_a_future_may_leave_the_run_and_still_tell_its_result(engine):
    kept = []

    @entrypoint
    def body(given) -> int:
        kept.append(double(21))
        return kept[-1].result()

    body.invoke(1, thread_id="t")
    assert kept[-1].result() == 42
    assert kept[-1].done()
    assert kept[-1].exception() is None


def test_a_thread_of_the_users_own_may_wait_for_a_future(engine):
    @entrypoint
    def body(given) -> int:
        future, seen = double(21), []
        thread = threading.Thread(target=lambda: seen.append(future.result()))
        thread.start()
        thread.join(PATIENCE)
        return seen[0]

    assert body.invoke(1, thread_id="t") == 42


def test_a_future_can_be_given_to_another_task(engine):
    @task
    def add_one(future: Any) -> int:
        return future.result() + 1

    @entrypoint
    def body(given) -> int:
        return add_one(double(20)).result() + interrupt("?")

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=1), thread_id="t") == 42


# -- cancelling ----------------------------------------------------------------------------------------------------


def test_a_task_that_nobody_has_begun_can_be_cancelled_and_never_runs(one_worker):
    gate, executed = Gate(), []

    @task
    def never() -> None:
        executed.append("never")

    @entrypoint
    def body(given) -> list[Any]:
        busy = gate.close()
        future = never()
        seen = [future.cancel(), future.cancelled(), future.done(), future.running()]
        try:
            future.result()
        except concurrent.futures.CancelledError:
            seen.append("cancelled")
        gate.open()
        busy.result()
        return [*seen, interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=1), thread_id="t") == [True, True, True, False, "cancelled", 1]
    assert executed == []
    (cancelled,) = [task for task in body.get_state(thread_id="t").tasks if task.name == "never"]
    assert cancelled.status == "cancelled"


def test_a_task_that_runs_or_has_ended_cannot_be_cancelled(one_worker):
    gate = Gate()

    @entrypoint
    def body(given) -> list[Any]:
        future = gate.close("value")
        running = future.cancel()
        gate.open()
        value = future.result()
        return [running, value, future.cancel(), future.cancelled()]

    assert body.invoke(1, thread_id="t") == [False, "value", False, False]


def test_cancelled_futures_count_as_completed(one_worker):
    gate = Gate()

    @entrypoint
    def body(given) -> list[bool]:
        busy = gate.close()
        future = double(1)
        future.cancel()
        done, _ = concurrent.futures.wait([future], timeout=PATIENCE)
        ordered = list(milepost.as_completed([future]))
        gate.open()
        busy.result()
        return [future in done, ordered == [future]]

    assert body.invoke(1, thread_id="t") == [True, True]


# -- callbacks -----------------------------------------------------------------------------------------------------


def test_a_callback_is_called_once_with_the_future(engine):
    called = []

    @entrypoint
    def body(given) -> int:
        future = double(21)
        future.add_done_callback(called.append)
        value = future.result()
        future.add_done_callback(called.append)  # at once: it is done
        assert called[-2:] == [future, future]
        return value

    assert body.invoke(1, thread_id="t") == 42


def test_a_callback_is_called_on_replay_too(engine):
    called = []

    @entrypoint
    def body(given) -> int:
        future = double(21)
        future.add_done_callback(lambda done: called.append(done.exception()))
        future.result()
        count = len(called)
        interrupt("?")
        return count

    body.invoke(1, thread_id="t")
    before = len(called)
    body.invoke(Command(resume=1), thread_id="t")
    assert len(called) > before
    assert set(called) == {None}


# -- concurrent.futures --------------------------------------------------------------------------------------------


def test_concurrent_futures_wait_returns_all(engine):
    @entrypoint
    def body(given) -> list[int]:
        futures = [double(number) for number in range(5)]
        done, pending = concurrent.futures.wait(futures, timeout=PATIENCE)
        interrupt("?")
        return [len(done), len(pending), *sorted(future.result() for future in done)]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=1), thread_id="t") == [5, 0, 0, 2, 4, 6, 8]


def test_concurrent_futures_wait_returns_on_the_first_exception(engine):
    @entrypoint
    def body(given) -> list[str]:
        futures = [fail("one"), double(1)]
        done, _ = concurrent.futures.wait(futures, PATIENCE, concurrent.futures.FIRST_EXCEPTION)
        return sorted(str(future.exception()) for future in done if future.exception())

    assert body.invoke(1, thread_id="t") == ["one"]


def test_concurrent_futures_as_completed_yields_each_once(engine):
    @entrypoint
    def body(given) -> list[int]:
        futures = [double(number) for number in range(10)]
        found = sorted(future.result() for future in concurrent.futures.as_completed(futures, PATIENCE))
        return [*found, interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=1), thread_id="t") == [*range(0, 20, 2), 1]


@pytest.mark.parametrize("tool", ["wait", "as_completed", "milepost", "timeout"])
def test_waiting_inside_tasks_blocks_no_pool_of_any_size(engine, tool):
    @task
    def leaf(number: int) -> int:
        return number

    @task
    def parent(number: int) -> int:
        futures = [leaf(number), leaf(number * 10)]
        if tool == "wait":
            concurrent.futures.wait(futures, PATIENCE)
        elif tool == "as_completed":
            list(concurrent.futures.as_completed(futures, PATIENCE))
        elif tool == "milepost":
            list(milepost.as_completed(futures))
        else:
            return sum(future.result(timeout=PATIENCE) for future in futures)
        return sum(future.result() for future in futures)

    @entrypoint
    def body(given) -> int:
        futures = [parent(number) for number in range(12)]
        concurrent.futures.wait(futures, PATIENCE)
        return sum(future.result() for future in futures)

    assert body.invoke(1, thread_id="t") == sum(11 * number for number in range(12))


# -- milepost.as_completed -----------------------------------------------------------------------------------------


def test_as_completed_delivers_in_recorded_order_and_the_same_on_replay(four_workers):
    gates = {name: Gate() for name in "abc"}
    order = iter("cab")
    seen = []

    def open_next() -> None:
        name = next(order, None)
        if name is not None:
            gates[name].open()

    @entrypoint
    def body(given) -> list[str]:
        futures = [gates[name].close(name) for name in "abc"]
        open_next()
        got = []
        for future in milepost.as_completed(futures):
            got.append(future.result())
            open_next()
        seen.append(got)
        return [*got, interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="x"), thread_id="t") == ["c", "a", "b", "x"]
    assert seen == [["c", "a", "b"], ["c", "a", "b"]]


def test_calls_chosen_by_as_completed_do_not_diverge_on_replay(engine):
    executed = Counter()

    @task
    def follow(number: int) -> int:
        executed[number] += 1
        return number

    @entrypoint
    def body(given) -> list[int]:
        futures = [double(number) for number in range(12)]
        followed = [follow(future.result()).result() for future in milepost.as_completed(futures)]
        interrupt("?")
        return sorted(followed)

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=1), thread_id="t") == list(range(0, 24, 2))
    assert set(executed.values()) == {1}


def test_as_completed_yields_failed_tasks_too(engine):
    @entrypoint
    def body(given) -> list[str]:
        futures = [fail("no"), double(1)]
        return sorted(repr(future.exception()) for future in milepost.as_completed(futures))

    assert body.invoke(1, thread_id="t") == ["None", "ValueError('no')"]


def test_as_completed_of_nothing_is_empty_and_of_one_twice_is_one(engine):
    @entrypoint
    def body(given) -> list[int]:
        future = double(1)
        return [len(list(milepost.as_completed([]))), len(list(milepost.as_completed([future, future])))]

    assert body.invoke(1, thread_id="t") == [0, 1]


def test_as_completed_times_out_after_what_came_in_time(one_worker):
    gate = Gate()

    @entrypoint
    def body(given) -> list[Any]:
        early = double(1)
        early.result()
        late = gate.close()
        got = []
        try:
            for future in milepost.as_completed([late, early], timeout=0.01):
                got.append(future is early)  # noqa: PERF401 - what came before the time-out counts
        except TimeoutError as error:
            got.append(str(error))
        gate.open()
        late.result()
        return [*got, interrupt("?")]

    body.invoke(1, thread_id="t")
    found = body.invoke(Command(resume=1), thread_id="t")
    assert found == [True, "1 of 2 tasks did not end within 0.01 seconds", 1]


def test_a_failure_that_cannot_be_rebuilt_is_task_failed_for_every_way_to_look(engine):
    class Local(Exception):
        pass

    @task
    def broken() -> None:
        raise Local("text")

    @entrypoint
    def body(given) -> list[str]:
        future = broken()
        seen = [
            type(future.exception()).__name__,
            type(next(milepost.as_completed([future])).exception()).__name__,
        ]
        try:
            future.result()
        except TaskFailed as error:
            seen.append(error.message)
        return [*seen, interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="x"), thread_id="t") == ["TaskFailed", "TaskFailed", "text", "x"]
