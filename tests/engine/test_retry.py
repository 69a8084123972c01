"""Attempts: counted, recorded, waited for without a worker, and continued after a crash."""

from __future__ import annotations

import signal
import threading
from collections import Counter

import pytest

import milepost
from manual_clock import ManualClock
from milepost import Command, RetryPolicy, entrypoint, interrupt, task
from milepost._context import required
from milepost.errors import EngineClosed, InvalidPolicy, NotSerializable

AT_ONCE = RetryPolicy(initial_interval=0, jitter=False, retry_on=ValueError)


class Lab:
    """Counts executions, and fails as often as it is told."""

    def __init__(self):
        self.executed = Counter()
        self.failures = {}

    def fail(self, name, *errors):
        self.failures[name] = list(errors)

    def run(self, name):
        self.executed[name] += 1
        if self.failures.get(name):
            raise self.failures[name].pop(0)
        return name.upper()


@pytest.fixture
def lab():
    return Lab()


def records(checkpointer, kind=None, thread="t"):
    found = [record for _, batch in checkpointer.read(thread) for record in batch.records]
    return [record for record in found if kind in (None, record.kind)]


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def held(checkpointer, clock):
    """An engine with one worker whose clock stands still."""
    made = milepost.Engine(checkpointer=checkpointer, workers=1, clock=clock)
    with made:
        yield made
    made.close()


@pytest.fixture
def two_workers(checkpointer):
    """An engine for tasks that wait for one another outside milepost."""
    made = milepost.Engine(checkpointer=checkpointer, workers=2)
    with made:
        yield made
    made.close()


class Background:
    """A call in a thread of its own."""

    def __init__(self, function, *args, **kwargs):
        self.value = self.error = None
        self.engine = milepost._engine.current_engine()
        self.thread = threading.Thread(target=self._run, args=(function, args, kwargs))
        self.thread.start()

    def _run(self, function, args, kwargs):
        try:
            with self.engine:
                self.value = function(*args, **kwargs)
        except BaseException as error:
            self.error = error

    def result(self):
        self.thread.join(30)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error
        return self.value


def until(condition):
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about")


# -- attempts --------------------------------------------------------------------------------------------------------


def test_a_task_is_tried_again_until_it_succeeds_and_each_attempt_is_on_record(engine, checkpointer, lab):
    lab.fail("a", ValueError("one"), ValueError("two"))

    @task(retry_policy=AT_ONCE)
    def step(name: str) -> str:
        return lab.run(name)

    @entrypoint
    def body(given) -> str:
        return step("a").result()

    assert body.invoke(1, thread_id="t") == "A"
    assert lab.executed == {"a": 3}
    failed = records(checkpointer, "attempted")
    assert [(record.call, record.name, record.number) for record in failed] == [
        ("0", "step", 1),
        ("0", "step", 2),
    ]
    assert [(record.error.type, record.error.message) for record in failed] == [
        ("ValueError", "one"),
        ("ValueError", "two"),
    ]
    (outcome,) = records(checkpointer, "outcome")
    assert outcome.attempts == 3
    (state,) = body.get_state(thread_id="t").tasks
    assert (state.status, state.attempts) == ("done", 3)


def test_the_last_failure_is_the_outcome(engine, checkpointer, lab):
    lab.fail("a", *(ValueError(str(number)) for number in range(1, 10)))

    @task(retry_policy=AT_ONCE)
    def step(name: str) -> str:
        return lab.run(name)

    @entrypoint
    def body(given) -> str:
        return step("a").result()

    with pytest.raises(ValueError, match="3"):
        body.invoke(1, thread_id="t")
    assert lab.executed == {"a": 3}
    assert records(checkpointer, "outcome")[0].attempts == 3
    with pytest.raises(ValueError, match="6"):  # who goes on by hand gets all attempts anew
        body.invoke(None, thread_id="t")
    assert records(checkpointer, "outcome")[1].attempts == 3


@pytest.mark.parametrize("error", [KeyError("x"), NotSerializable("no", where="w", path="$", type_name="x")])
def test_what_the_policy_does_not_name_is_not_tried_again(engine, lab, error):
    lab.fail("a", error)

    @task(retry_policy=AT_ONCE)
    def step() -> str:
        return lab.run("a")

    @entrypoint
    def body(given) -> str:
        return step().result()

    with pytest.raises(type(error)):
        body.invoke(1, thread_id="t")
    assert lab.executed == {"a": 1}


def test_a_result_that_cannot_be_kept_is_not_tried_again(engine, lab):
    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=Exception))
    def step() -> object:
        lab.run("a")
        return object()

    @entrypoint
    def body(given) -> str:
        return step().result()

    with pytest.raises(NotSerializable):
        body.invoke(1, thread_id="t")
    assert lab.executed == {"a": 1}


def test_of_several_policies_the_first_that_matches_decides_and_each_counts_its_own(engine, lab):
    lab.fail("a", ValueError(), KeyError(), ValueError(), KeyError(), KeyError())

    @task(
        retry_policy=[
            RetryPolicy(initial_interval=0, jitter=False, max_attempts=3, retry_on=ValueError),
            RetryPolicy(initial_interval=0, jitter=False, max_attempts=3, retry_on=(KeyError, ValueError)),
        ]
    )
    def step() -> str:
        return lab.run("a")

    @entrypoint
    def body(given) -> str:
        return step().result()

    with pytest.raises(KeyError):
        body.invoke(1, thread_id="t")
    assert lab.executed == {"a": 5}


def test_a_predicate_decides_and_one_that_fails_fails_the_task(engine, lab):
    lab.fail("a", ValueError("again"), ValueError("stop"))

    def predicate(error):
        if str(error) == "stop":
            raise RuntimeError("the predicate fails")
        return True

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=predicate))
    def step() -> str:
        return lab.run("a")

    @entrypoint
    def body(given) -> str:
        return step().result()

    with pytest.raises(RuntimeError, match="the predicate fails"):
        body.invoke(1, thread_id="t")
    assert lab.executed == {"a": 2}


def test_the_number_of_the_attempt_is_readable_inside(engine):
    seen = []

    @task(retry_policy=AT_ONCE)
    def step() -> int:
        frame = required("test")
        seen.append((frame.attempt, frame.first_attempt_at))
        if frame.attempt < 3:
            raise ValueError
        return frame.attempt

    @entrypoint
    def body(given) -> int:
        assert required("test").attempt == 1
        return step().result()

    assert body.invoke(1, thread_id="t") == 3
    assert [number for number, _ in seen] == [1, 2, 3]
    assert len({first for _, first in seen}) == 1


def test_without_a_checkpointer_tasks_and_bodies_are_tried_again_too(plain_engine, lab):
    lab.fail("a", ValueError(), ValueError())
    lab.fail("body", ValueError())

    @task(retry_policy=AT_ONCE)
    def step() -> str:
        return lab.run("a")

    @entrypoint(retry_policy=AT_ONCE)
    def body(given) -> list[str]:
        return [step().result(), lab.run("body")]

    assert body.invoke(1) == ["A", "BODY"]
    assert lab.executed == {"a": 4, "body": 2}


# -- what an attempt had done already ------------------------------------------------------------------------------


def test_children_that_finished_do_not_run_again_with_their_parent(engine, lab):
    lab.fail("c", ValueError(), ValueError())

    @task
    def child(name: str) -> str:
        return lab.run(name)

    @task(retry_policy=AT_ONCE)
    def parent() -> list[str]:
        lab.executed["parent"] += 1
        return [child("a").result(), child("b").result(), child("c").result()]

    @entrypoint
    def body(given) -> list[str]:
        return parent().result()

    assert body.invoke(1, thread_id="t") == ["A", "B", "C"]
    assert (lab.executed["a"], lab.executed["b"], lab.executed["c"]) == (1, 1, 3)
    assert lab.executed["parent"] >= 3
    assert body.invoke(None, thread_id="t") == ["A", "B", "C"]


def test_an_error_of_the_parent_itself_runs_none_of_its_children_again(engine, lab):
    lab.fail("own", ValueError())

    @task
    def child(name: str) -> str:
        return lab.run(name)

    @task(retry_policy=AT_ONCE)
    def parent() -> list[str]:
        found = [child(name).result() for name in "ab"]
        lab.run("own")
        return found

    @entrypoint
    def body(given) -> list[str]:
        return parent().result()

    assert body.invoke(1, thread_id="t") == ["A", "B"]
    assert (lab.executed["a"], lab.executed["b"]) == (1, 1)


def test_what_was_done_about_a_childs_failure_does_not_bind_the_next_attempt(engine, lab):
    lab.fail("a", ValueError())

    @task
    def child(name: str) -> str:
        return lab.run(name)

    @task(retry_policy=AT_ONCE)
    def parent() -> list[str]:
        try:
            first = child("a").result()
        except ValueError:
            child("clean up").result()
            raise
        return [first, child("b").result()]

    @entrypoint
    def body(given) -> list[str]:
        return parent().result()

    assert body.invoke(1, thread_id="t") == ["A", "B"]
    assert lab.executed == {"a": 2, "clean up": 1, "b": 1}
    assert body.invoke(None, thread_id="t") == ["A", "B"]
    assert [state.name for state in body.get_state(thread_id="t").tasks] == ["parent", "child", "child"]


def test_an_answer_given_inside_an_attempt_stays_valid(engine, lab):
    lab.fail("a", ValueError())

    @task(retry_policy=AT_ONCE)
    def asking() -> list[str]:
        answer = interrupt("which?")
        return [answer, lab.run("a")]

    @entrypoint
    def body(given) -> list[str]:
        return asking().result()

    assert "__interrupt__" in body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="this"), thread_id="t") == ["this", "A"]
    assert lab.executed == {"a": 2}


def test_a_second_attempt_may_ask_and_goes_on_as_the_second(engine, checkpointer):
    seen = []

    @task(retry_policy=AT_ONCE)
    def asking() -> str:
        number = required("test").attempt
        seen.append(number)
        if number == 1:
            raise ValueError
        return interrupt("which?")

    @entrypoint
    def body(given) -> str:
        return asking().result()

    assert "__interrupt__" in body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="this"), thread_id="t") == "this"
    assert seen == [1, 2, 2]
    assert records(checkpointer, "outcome")[0].attempts == 2


def test_what_a_failed_attempt_asked_is_asked_by_the_next_or_not_at_all(two_workers, lab):
    lab.fail("a", ValueError())
    asked = threading.Event()

    @task
    def asking() -> str:
        try:
            return interrupt("which?")
        finally:
            asked.set()

    @task(retry_policy=AT_ONCE)
    def parent() -> str:
        if required("test").attempt == 1:
            asking()
            assert asked.wait(30)
        return lab.run("a")

    @entrypoint
    def body(given) -> list[str]:
        return [parent().result(), interrupt("go on?")]

    (question,) = body.invoke(1, thread_id="t")["__interrupt__"]
    assert question.value == "go on?"
    assert body.invoke(Command(resume="yes"), thread_id="t") == ["A", "yes"]


def test_a_nested_workflow_is_tried_again_as_a_task_is(engine, lab):
    lab.fail("b", ValueError())

    @task
    def child(name: str) -> str:
        return lab.run(name)

    @entrypoint(retry_policy=AT_ONCE)
    def inner(given) -> list[str]:
        return [child("a").result(), child("b").result()]

    @entrypoint
    def body(given) -> list[str]:
        return inner.invoke(given)

    assert body.invoke(1, thread_id="t") == ["A", "B"]
    assert lab.executed == {"a": 1, "b": 2}


# -- the whole workflow ----------------------------------------------------------------------------------------------


def test_w10_a_body_that_is_tried_again_does_not_run_finished_tasks_again(engine, checkpointer, lab):
    lab.fail("b", ValueError("one"))
    lab.fail("body", ValueError("two"))

    @task
    def step(name: str) -> str:
        return lab.run(name)

    @entrypoint(retry_policy=AT_ONCE)
    def body(given) -> list[str]:
        found = [step("a").result(), step("b").result()]
        lab.run("body")
        return found

    assert body.invoke(1, thread_id="t") == ["A", "B"]
    assert (lab.executed["a"], lab.executed["b"]) == (1, 2)
    assert [(record.call, record.number) for record in records(checkpointer, "attempted")] == [
        ("", 1),
        ("", 2),
    ]
    kinds = {record.kind for record in records(checkpointer)}
    assert not kinds & {"failed", "retried"}


def test_tasks_do_not_inherit_the_policy_of_their_workflow(engine, lab):
    lab.fail("a", *(ValueError() for _ in range(20)))

    @task
    def step() -> str:
        return lab.run("a")

    @entrypoint(retry_policy=AT_ONCE)
    def body(given) -> str:
        return step().result()

    with pytest.raises(ValueError):
        body.invoke(1, thread_id="t")
    assert lab.executed == {"a": 3}
    with pytest.raises(ValueError):
        body.invoke(None, thread_id="t")
    assert lab.executed == {"a": 6}


def test_answers_stay_when_the_body_is_tried_again(engine, lab):
    lab.fail("a", ValueError())

    @entrypoint(retry_policy=AT_ONCE)
    def body(given) -> list[str]:
        return [interrupt("which?"), lab.run("a")]

    assert "__interrupt__" in body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="this"), thread_id="t") == ["this", "A"]


# -- the wait --------------------------------------------------------------------------------------------------------

SLOWLY = RetryPolicy(initial_interval=10, jitter=False, retry_on=ValueError)


def test_a_wait_holds_no_worker_and_nobody_runs_the_task_before_its_time(held, clock, checkpointer, lab):
    lab.fail("a", ValueError())

    @task(retry_policy=SLOWLY)
    def slow() -> str:
        return lab.run("a")

    @task
    def other(number: int) -> int:
        return number

    @entrypoint
    def body(given) -> list[object]:
        waiting = slow()
        until(lambda: records(checkpointer, "attempted"))
        found = [other(number).result(timeout=30) for number in range(3)]
        return [*found, waiting.result()]

    running = Background(body.invoke, 1, thread_id="t")
    until(lambda: len(records(checkpointer, "outcome")) == 3)
    (state, *_) = body.get_state(thread_id="t").tasks
    assert (state.name, state.status, state.attempts) == ("slow", "waiting", 1)
    clock.advance(9.9)
    assert lab.executed == {"a": 1}
    clock.advance(0.2)
    assert running.result() == [0, 1, 2, "A"]
    assert lab.executed == {"a": 2}


def test_the_waits_grow_by_the_factor(held, clock, checkpointer, lab):
    lab.fail("a", ValueError(), ValueError(), ValueError())

    @task(retry_policy=RetryPolicy(10, 3.0, 50, 4, jitter=False, retry_on=ValueError))
    def slow() -> str:
        return lab.run("a")

    @entrypoint
    def body(given) -> str:
        return slow().result()

    running = Background(body.invoke, 1, thread_id="t")
    for number, seconds in enumerate((10, 30, 50), 1):
        until(lambda number=number: len(records(checkpointer, "attempted")) == number)
        clock.advance(seconds)
    assert running.result() == "A"


@pytest.mark.parametrize("where", ["task", "body"])
def test_closing_stops_a_run_that_waits_at_once_and_another_goes_on_where_it_was(
    checkpointer, clock, lab, where
):
    lab.fail("a", ValueError(), ValueError())
    limit = SLOWLY if where == "task" else None

    @task(retry_policy=limit)
    def slow() -> str:
        return lab.run("a")

    @entrypoint(retry_policy=SLOWLY if where == "body" else None)
    def body(given) -> str:
        return slow().result()

    def attempt(given):
        engine = milepost.Engine(checkpointer=checkpointer, workers=1, clock=clock)
        with engine:
            return engine, Background(body.invoke, given, thread_id="t")

    engine, running = attempt(1)
    until(lambda: len(records(checkpointer, "attempted")) == 1)
    engine.close()
    with pytest.raises(EngineClosed):
        running.result()
    clock.advance(4)
    engine, running = attempt(None)
    until(lambda: engine.timer._state.get().heap)
    clock.advance(5.9)
    assert lab.executed == {"a": 1}
    clock.advance(0.2)  # what was left of ten seconds
    until(lambda: len(records(checkpointer, "attempted")) == 2)
    clock.advance(20)
    assert running.result() == "A"
    assert lab.executed == {"a": 3}
    engine.close()


@pytest.mark.parametrize("where", ["task", "body"])
def test_ctrl_c_ends_a_wait_at_once(checkpointer, clock, lab, where):
    lab.fail("a", ValueError())
    engine = milepost.Engine(checkpointer=checkpointer, workers=1, clock=clock)

    @task(retry_policy=SLOWLY if where == "task" else None)
    def slow() -> str:
        return lab.run("a")

    @entrypoint(retry_policy=SLOWLY if where == "body" else None)
    def body(given) -> str:
        return slow().result()

    def press():
        until(lambda: engine.timer._state.get().heap)
        signal.raise_signal(signal.SIGINT)

    pressing = threading.Thread(target=press)
    with engine:
        pressing.start()
        with pytest.raises(KeyboardInterrupt):
            body.invoke(1, thread_id="t")
        pressing.join()
        clock.advance(60)
        assert body.invoke(None, thread_id="t") == "A"
    engine.close()
    assert lab.executed == {"a": 2}


def test_a_call_that_waits_for_its_next_attempt_can_be_cancelled(held, clock, checkpointer, lab):
    lab.fail("a", ValueError())

    @task(retry_policy=SLOWLY)
    def slow() -> str:
        return lab.run("a")

    @entrypoint
    def body(given) -> bool:
        future = slow()
        until(lambda: records(checkpointer, "attempted"))
        return future.cancel()

    assert body.invoke(1, thread_id="t") is True
    assert lab.executed == {"a": 1}
    assert records(checkpointer, "outcome")[0].cancelled


def test_a_body_that_fails_does_not_wait_for_a_task_that_waits(held, clock, checkpointer, lab):
    lab.fail("a", ValueError())

    @task(retry_policy=SLOWLY)
    def slow() -> str:
        return lab.run("a")

    fails = [True]

    @entrypoint
    def body(given) -> str:
        future = slow()
        until(lambda: records(checkpointer, "attempted"))
        if fails:
            raise KeyError(fails.pop())
        return future.result()

    with pytest.raises(KeyError):
        body.invoke(1, thread_id="t")
    clock.advance(60)
    assert body.invoke(None, thread_id="t") == "A"
    assert records(checkpointer, "outcome")[0].attempts == 2


def test_a_call_on_record_with_attempts_is_compared_like_any_other(engine, checkpointer, lab):
    lab.fail("a", *(ValueError() for _ in range(9)))

    @task(retry_policy=RetryPolicy(initial_interval=100, jitter=False, retry_on=ValueError))
    def slow(x: int) -> str:
        return lab.run("a")

    given_to_task = [1]

    @entrypoint
    def body(given) -> str:
        future = slow(given_to_task[-1])
        until(lambda: records(checkpointer, "attempted"))
        raise KeyError(future)

    with pytest.raises(KeyError):
        body.invoke(1, thread_id="t")
    given_to_task.append(2)
    with pytest.raises(milepost.errors.DivergenceError, match="slow"):
        body.invoke(None, thread_id="t")


# -- deciding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [3, "x", [], [ValueError, 3], int, KeyboardInterrupt, None])
def test_a_retry_on_that_cannot_be_is_refused_when_it_is_written(given):
    with pytest.raises(InvalidPolicy, match="retry_on"):
        RetryPolicy(retry_on=given)


@pytest.mark.parametrize(
    "given",
    [
        {"max_attempts": 0},
        {"max_attempts": 1.5},
        {"initial_interval": -1},
        {"max_interval": float("nan")},
        {"backoff_factor": 0},
    ],
)
def test_numbers_out_of_range_are_refused(given):
    with pytest.raises(InvalidPolicy, match=next(iter(given))):
        RetryPolicy(**given)


def test_what_is_no_policy_is_refused_at_the_decorator():
    with pytest.raises(InvalidPolicy, match=r"retry_policy="):
        task(retry_policy=3)
    with pytest.raises(InvalidPolicy, match=r"retry_policy="):
        entrypoint(retry_policy=[3])


def test_the_former_name_of_the_argument_is_taken_with_a_warning(engine, lab):
    lab.fail("a", ValueError())
    with pytest.warns(DeprecationWarning, match="retry_policy"):

        @task(retry=AT_ONCE)
        def step() -> str:
            return lab.run("a")

    @entrypoint
    def body(given) -> str:
        return step().result()

    assert body.invoke(1, thread_id="t") == "A"
