"""Time limits of tasks and workflows: one outcome wins, the worker is free, what comes late does not count."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta

import pytest

import milepost
from manual_clock import ManualClock
from milepost import (
    Command,
    RetryPolicy,
    TimeoutPolicy,
    entrypoint,
    get_deadline,
    get_stream_writer,
    heartbeat,
    interrupt,
    task,
)
from milepost.errors import InvalidPolicy, NodeTimeoutError, TaskTimeout, WorkflowTimeout


def records(checkpointer, kind=None, thread="t"):
    found = [record for _, batch in checkpointer.read(thread) for record in batch.records]
    return [record for record in found if kind in (None, record.kind)]


def until(condition):
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about")


class Stuck:
    """Work that does not end before somebody says so."""

    def __init__(self):
        self.begun = 0
        self.ended = 0
        self.end = threading.Event()

    def work(self):
        self.begun += 1
        assert self.end.wait(60)
        self.ended += 1
        return "late"


@pytest.fixture
def stuck():
    made = Stuck()
    yield made
    made.end.set()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def held(checkpointer, clock):
    """An engine with one worker whose clock stands still."""
    made = milepost.Engine(checkpointer=checkpointer, workers=1, clock=clock, pause_wait=0.1)
    with made:
        yield made
    made.close()


@pytest.fixture
def background(held):
    """A function that calls another in a thread of its own, under the engine; it is waited for in the end."""
    threads = []

    def begin(function, *args, **kwargs):
        found = {}

        def work():
            try:
                with held:
                    found["value"] = function(*args, **kwargs)
            except Exception as error:
                found["error"] = error

        thread = threading.Thread(target=work)
        threads.append(thread)
        thread.start()

        def result():
            thread.join(30)
            assert not thread.is_alive()
            if "error" in found:
                raise found["error"]
            return found["value"]

        return result

    yield begin
    for thread in threads:
        thread.join(30)


# -- tasks -------------------------------------------------------------------------------------------------------------


def test_w15_a_task_whose_time_is_up_fails_at_once_and_its_late_result_is_discarded(
    held, clock, background, checkpointer, stuck, caplog
):
    caplog.set_level(logging.WARNING, "milepost")

    @task(timeout=5)
    def slow() -> str:
        return stuck.work()

    @task
    def other() -> str:
        return "other"

    @entrypoint
    def body(given) -> list[str]:
        try:
            slow().result()
        except TaskTimeout as error:
            return [error.name, error.kind, str(error.limit), other().result(timeout=30)]
        return []

    result = background(body.invoke, 1, thread_id="t")
    until(lambda: stuck.begun)
    clock.advance(4.9)
    assert not records(checkpointer, "outcome")
    clock.advance(0.2)
    assert result() == ["slow", "run", "5.0", "other"]
    assert stuck.ended == 0
    assert "runs on in thread 'milepost-timed-slow' after 5.1 seconds" in caplog.text
    outcomes = records(checkpointer)
    stuck.end.set()
    until(lambda: "its result was discarded" in caplog.text)
    assert records(checkpointer) == outcomes
    assert body.invoke(None, thread_id="t") == ["slow", "run", "5.0", "other"]


def test_the_error_of_a_time_limit_is_the_same_on_replay(held, clock, background, stuck):
    errors = []

    @task(timeout=timedelta(seconds=5))
    def slow() -> str:
        return stuck.work()

    @entrypoint
    def body(given) -> str:
        try:
            slow().result()
        except TimeoutError as error:
            errors.append(error)
        return interrupt("?")

    result = background(body.invoke, 1, thread_id="t")
    until(lambda: stuck.begun)
    clock.advance(6)
    result()
    assert body.invoke(Command(resume="yes"), thread_id="t") == "yes"
    first, second = errors
    assert type(first) is type(second) is TaskTimeout
    assert issubclass(TaskTimeout, NodeTimeoutError)
    assert str(first) == str(second)
    assert vars(first) == vars(second)
    assert (second.name, second.kind, second.limit, second.elapsed) == ("slow", "run", 5.0, 6.0)


def test_a_task_that_ends_in_time_is_as_any_other(engine):
    @task
    def child(x: int) -> int:
        return x + 1

    @task(timeout=60)
    def quick(x: int) -> int:
        return child(x).result() + child(x).result()

    @entrypoint
    def body(given) -> list[int]:
        futures = [quick(number) for number in range(6)]
        return [future.result() for future in futures]

    assert body.invoke(1, thread_id="t") == [2, 4, 6, 8, 10, 12]


def test_nested_time_limits_complete_with_one_worker(held, checkpointer):
    @task(timeout=60)
    def deep(depth: int) -> int:
        return 0 if depth == 0 else 1 + sum(future.result() for future in [deep(depth - 1) for _ in range(2)])

    @entrypoint(timeout=60)
    def body(given) -> int:
        return deep(3).result()

    assert body.invoke(1, thread_id="t") == 7


def test_a_task_whose_time_is_up_is_tried_again_while_the_first_attempt_is_stuck(
    held, clock, background, checkpointer, stuck
):
    late = []

    @task
    def child(name: str) -> str:
        return name

    @task(timeout=5, retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    def slow() -> str:
        first = child("first").result()
        if stuck.begun:
            return first + child("second").result()
        writer = get_stream_writer()
        stuck.work()
        writer("late")
        for call in (child, lambda name: heartbeat(), interrupt):
            try:
                call("late")
            except BaseException as error:
                late.append(type(error).__name__)
        return "late"

    @entrypoint
    def body(given) -> str:
        return slow().result()

    written = []

    def run():
        written.extend(body.stream(1, thread_id="t", stream_mode="custom"))
        return body.invoke(None, thread_id="t")

    result = background(run)
    until(lambda: stuck.begun)
    clock.advance(6)
    assert result() == "firstsecond"
    before = records(checkpointer)
    stuck.end.set()
    until(lambda: len(late) == 3)
    assert late == ["Fenced"] * 3
    assert written == []
    assert records(checkpointer) == before
    assert [record.call for record in before if record.kind == "outcome"] == ["0.0", "0.1", "0"]
    assert [record.error.type for record in before if record.kind == "attempted"] == [
        "milepost.errors.TaskTimeout"
    ]


def test_children_of_an_attempt_whose_time_is_up_are_behind_the_fence_too(
    held, clock, background, checkpointer, stuck
):
    @task
    def child() -> str:
        return stuck.work()

    @task(timeout=5)
    def parent() -> str:
        return child().result()

    @entrypoint
    def body(given) -> str:
        try:
            return parent().result()
        except TaskTimeout:
            return interrupt("?")

    result = background(body.invoke, 1, thread_id="t")
    until(lambda: stuck.begun)
    clock.advance(6)
    assert "__interrupt__" in result()
    before = records(checkpointer)
    stuck.end.set()
    until(lambda: stuck.ended)
    assert body.invoke(Command(resume="yes"), thread_id="t") == "yes"
    assert [record.call for record in records(checkpointer, "outcome")] == ["0"]
    assert records(checkpointer)[: len(before)] == before


def test_an_idle_limit_begins_anew_with_each_sign_of_life(held, clock, background, stuck):
    steps = [threading.Event() for _ in range(4)]
    passed = []

    @task
    def child() -> None:
        return None

    @task(timeout=TimeoutPolicy(idle_timeout=5))
    def slow() -> str:
        for number, sign in enumerate(
            (heartbeat, lambda: get_stream_writer()("alive"), lambda: child().result())
        ):
            assert steps[number].wait(30)
            sign()
            passed.append(number)
        return stuck.work()

    @entrypoint
    def body(given) -> str:
        try:
            return slow().result()
        except TaskTimeout as error:
            return f"{error.kind} {error.limit}"

    result = background(body.invoke, 1, thread_id="t")
    until(lambda: held.pool._workers.get().executor)
    for number in range(3):
        clock.advance(4)
        steps[number].set()
        until(lambda number=number: number in passed)
    until(lambda: stuck.begun)
    clock.advance(5.1)
    assert result() == "idle 5.0"


def test_where_heartbeats_alone_count_nothing_else_is_a_sign_of_life(held, clock, background):
    seen: list[str] = []

    @task
    def child() -> None:
        return None

    @task(timeout=TimeoutPolicy(idle_timeout=5, refresh_on="heartbeat"))
    def slow() -> None:
        for sign in (heartbeat, lambda: get_stream_writer()("alive"), lambda: child().result()):
            clock.advance(3)
            sign()
            seen.append("passed")

    @entrypoint
    def body(given) -> str:
        try:
            slow().result()
        except TaskTimeout as error:
            return f"{error.kind} {error.limit}"
        return "in time"

    assert background(body.invoke, 1, thread_id="t")() == "idle 5.0"
    assert seen[:2] == ["passed", "passed"]
    assert len(seen) == 2


def test_the_time_that_is_left_is_readable_inside(held, clock, background):
    @task
    def inside() -> float | None:
        return get_deadline()

    @task(timeout=TimeoutPolicy(run_timeout=5, idle_timeout=3))
    def limited() -> list[float | None]:
        clock.advance(2)
        return [get_deadline(), inside().result()]

    @entrypoint
    def body(given) -> list[object]:
        return [get_deadline(), limited().result()]

    assert body.invoke(1, thread_id="t") == [None, [3.0, 3.0]]


def test_without_a_checkpointer_time_limits_hold_too(clock, stuck):
    engine = milepost.Engine(workers=1, clock=clock)

    @task(timeout=5)
    def slow() -> str:
        if stuck.begun == 0:
            clock.advance(0)
        return stuck.work()

    @entrypoint
    def body(given) -> str:
        future = slow()
        until(lambda: stuck.begun)
        clock.advance(6)
        return f"{future.exception()}"

    with engine:
        assert "more than 5 seconds" in body.invoke(1)
    engine.close()


# -- workflows ---------------------------------------------------------------------------------------------------------


def test_a_workflow_whose_time_is_up_fails_and_goes_on_when_it_is_continued(
    held, clock, background, checkpointer, stuck
):
    done = []

    @task
    def step(x: int) -> int:
        done.append(x)
        return x

    @entrypoint(timeout=5)
    def body(given) -> list[int]:
        found = [step(1).result()]
        if not stuck.begun:
            stuck.work()
        return [*found, step(2).result()]

    result = background(body.invoke, 1, thread_id="t")
    until(lambda: stuck.begun)
    clock.advance(6)
    with pytest.raises(WorkflowTimeout, match="more than 5 seconds"):
        result()
    assert body.get_state(thread_id="t").status == "failed"
    before = records(checkpointer)
    stuck.end.set()
    until(lambda: stuck.ended)
    assert records(checkpointer) == before
    assert done == [1]
    assert body.invoke(None, thread_id="t") == [1, 2]
    assert done == [1, 2]


def test_tasks_that_have_begun_are_recorded_when_the_time_of_their_workflow_is_up(
    checkpointer, clock, background, held, stuck
):
    held.pause_wait = 30
    begun = []

    @task
    def step(x: int) -> int:
        begun.append(x)
        stuck.work()
        return x

    @entrypoint(timeout=5)
    def body(given) -> list[int]:
        futures = [step(1), step(2)]
        return [future.result(timeout=50) for future in futures]

    result = background(body.invoke, 1, thread_id="t")
    until(lambda: begun)
    clock.advance(6)
    until(lambda: held.timer is not None and body.get_state(thread_id="t").status == "running")
    stuck.end.set()
    with pytest.raises(WorkflowTimeout):
        result()
    assert len(records(checkpointer, "outcome")) == len(begun)
    assert sorted(body.invoke(None, thread_id="t")) == [1, 2]


def test_the_time_while_a_workflow_is_paused_does_not_count(held, clock):
    @entrypoint(timeout=5)
    def body(given) -> str:
        assert get_deadline() == 5.0
        clock.advance(3)
        return interrupt("?")

    assert "__interrupt__" in body.invoke(1, thread_id="t")
    clock.advance(1000)
    assert body.invoke(Command(resume="yes"), thread_id="t") == "yes"


def test_a_workflow_swallowing_its_end_ends_all_the_same(held, clock, background):
    @task
    def step() -> int:
        return 1

    swallowed = []

    @entrypoint(timeout=5)
    def body(given) -> int:
        clock.advance(6)
        for _ in range(3):
            try:
                step().result()
            except BaseException as error:
                swallowed.append(error)
        return 1

    with pytest.raises(WorkflowTimeout):
        body.invoke(1, thread_id="t")
    assert body.get_state(thread_id="t").status == "failed"


def test_a_wait_for_the_next_attempt_ends_with_the_time_of_the_workflow(
    held, clock, background, checkpointer
):
    @entrypoint(timeout=5, retry_policy=RetryPolicy(initial_interval=100, jitter=False, retry_on=ValueError))
    def body(given) -> int:
        raise ValueError

    result = background(body.invoke, 1, thread_id="t")
    until(lambda: records(checkpointer, "attempted") and held.timer._state.get().heap)
    clock.advance(6)
    with pytest.raises(WorkflowTimeout):
        result()


class Interrupting(ManualClock):
    """Has Ctrl-C come to the main thread while that waits, as often as it is told."""

    times = 0

    def wait(self, event, seconds):
        if self.times and threading.current_thread() is threading.main_thread():
            self.times -= 1
            raise KeyboardInterrupt
        return super().wait(event, seconds)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_stops_a_body_under_a_time_limit_and_a_second_one_leaves_it(checkpointer, stuck, times):
    clock = Interrupting()
    engine = milepost.Engine(checkpointer=checkpointer, workers=1, clock=clock)

    @task
    def step(x: int) -> int:
        return x

    @entrypoint(timeout=60)
    def body(given) -> list[int]:
        found = [step(1).result()]
        if clock.times == 0 and not stuck.begun:
            clock.times = times
            if times == 1:
                stuck.end.set()
            stuck.begun += 1
            until(lambda: clock.advance(0.1) or clock.times == 0)
            assert stuck.end.wait(60)
        return [*found, step(2).result()]

    with engine:
        with pytest.raises(KeyboardInterrupt):
            body.invoke(1, thread_id="t")
        stuck.end.set()
        assert body.invoke(None, thread_id="t") == [1, 2]
    engine.close()
    assert [record.kind for record in records(checkpointer)].count("outcome") == 2


def test_a_nested_workflow_has_its_time_limit_too(held, clock, background, stuck):
    @entrypoint(timeout=5)
    def inner(given) -> str:
        return stuck.work()

    @entrypoint
    def body(given) -> str:
        try:
            return inner.invoke(given)
        except WorkflowTimeout as error:
            return error.name

    result = background(body.invoke, 1, thread_id="t")
    until(lambda: stuck.begun)
    clock.advance(6)
    assert result() == "inner"


# -- declaring ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [0, -1, "5", timedelta(0), float("inf"), float("nan"), True])
def test_a_time_limit_that_is_no_time_is_refused_at_the_decorator(given):
    with pytest.raises(InvalidPolicy, match="seconds"):
        task(timeout=given)
    with pytest.raises(InvalidPolicy, match="seconds"):
        entrypoint(timeout=given)
    with pytest.raises(InvalidPolicy, match="seconds"):
        TimeoutPolicy(idle_timeout=given)


def test_another_word_for_what_counts_is_refused():
    with pytest.raises(InvalidPolicy, match="heartbeat"):
        TimeoutPolicy(idle_timeout=1, refresh_on="never")


def test_a_policy_without_a_limit_is_refused():
    with pytest.raises(InvalidPolicy, match="nothing"):
        TimeoutPolicy()
