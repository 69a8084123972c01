"""Caches: an equal call takes the result of an earlier one; what is equal, for how long, and one call at a time."""

from __future__ import annotations

import dataclasses
import enum
import functools
import logging
import math
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

import milepost
from manual_clock import ManualClock
from milepost import (
    CachePolicy,
    Command,
    InMemoryCache,
    InMemoryStore,
    RetryPolicy,
    Runtime,
    entrypoint,
    interrupt,
    task,
)
from milepost.cache import Cache
from milepost.errors import InvalidCacheKey, InvalidPolicy, NoCache, RunCancelled, StorageUnavailable

ran: Counter[Any] = Counter()
POLICY = CachePolicy()


@pytest.fixture(autouse=True)
def _forget():
    ran.clear()


@pytest.fixture
def cache():
    return InMemoryCache()


@task(cache_policy=POLICY)
def double(number: int) -> int:
    ran["double", number] += 1
    return 2 * number


def calling(function, cache, **options):
    """Return a workflow whose body calls a task with what it is given."""

    @entrypoint(cache=cache, **options)
    def workflow(given: Any) -> Any:
        return function(*given).result()

    return workflow


def until(condition):
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about")


# -- a result is found again -------------------------------------------------------------------------------------------


def test_an_equal_call_in_the_same_run_or_another_takes_the_result(engine, cache):
    @entrypoint(cache=cache)
    def body(number: int) -> list[int]:
        return [double(number).result(), double(number=number).result()]

    assert body.invoke(4, thread_id="a") == [8, 8]
    assert body.invoke(4, thread_id="b") == [8, 8]
    assert body.invoke(5, thread_id="b") == [10, 10]
    assert ran == {("double", 4): 1, ("double", 5): 1}


def test_what_was_taken_from_the_cache_is_on_record_and_stays_when_the_cache_is_cleared(engine, cache):
    @entrypoint(cache=cache)
    def body(number: int) -> list[Any]:
        return [double(number).result(), interrupt("?")]

    calling(double, cache).invoke((4,), thread_id="first")
    body.invoke(4, thread_id="t")
    found = [(each.name, each.status, each.cached) for each in body.get_state(thread_id="t").tasks]
    assert found[0] == ("double", "done", True)
    double.clear_cache(cache)
    assert body.invoke(Command(resume="yes"), thread_id="t") == [8, "yes"]
    assert ran == {("double", 4): 1}
    assert "cached" in str(body.get_state(thread_id="t").timeline())


def test_streams_say_what_was_taken_from_the_cache(engine, cache):
    workflow = calling(double, cache)
    assert list(workflow.stream((4,), thread_id="a")) == [{"double": 8}, {"workflow": 8}]
    chunks = list(workflow.stream((4,), thread_id="b", stream_mode=["updates", "events"]))
    assert [chunk for mode, chunk in chunks if mode == "updates"] == [
        {"double": 8, "__metadata__": {"cached": True}},
        {"workflow": 8},
    ]
    told = [event.cached for mode, event in chunks if type(event).__name__ == "TaskFinished"]
    assert told == [True]


def test_each_caller_gets_a_copy(engine, cache):
    @task(cache_policy=POLICY)
    def make() -> list[int]:
        ran["make"] += 1
        return [1]

    @entrypoint(cache=cache)
    def body(_: int) -> list[int]:
        made = make().result()
        made.append(2)
        return make().result()

    assert body.invoke(1, thread_id="a") == [1]
    assert body.invoke(1, thread_id="b") == [1]
    assert ran["make"] == 1


def test_a_run_without_a_checkpointer_uses_the_cache_too(plain_engine, cache):
    assert [calling(double, cache).invoke((4,)) for _ in range(2)] == [8, 8]
    assert ran == {("double", 4): 1}


def test_failures_are_not_kept(engine, cache):
    @task(cache_policy=POLICY)
    def flaky() -> str:
        ran["flaky"] += 1
        if ran["flaky"] == 1:
            raise ValueError("no")
        return "yes"

    workflow = calling(flaky, cache)
    with pytest.raises(ValueError, match="no"):
        workflow.invoke((), thread_id="a")
    assert workflow.invoke((), thread_id="b") == "yes"
    assert workflow.invoke((), thread_id="c") == "yes"
    assert ran["flaky"] == 2


def test_a_result_comes_after_all_attempts_and_is_kept_once(engine, cache):
    @task(
        cache_policy=POLICY, retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=ValueError)
    )
    def flaky() -> str:
        ran["flaky"] += 1
        if ran["flaky"] == 1:
            raise ValueError("no")
        return "yes"

    workflow = calling(flaky, cache)
    assert [workflow.invoke((), thread_id=thread) for thread in "ab"] == ["yes", "yes"]
    assert ran["flaky"] == 2


def test_what_a_person_answered_is_for_one_run_alone(engine, cache):
    @task(cache_policy=POLICY)
    def ask() -> str:
        return interrupt("who?")

    workflow = calling(ask, cache)
    for thread, name in (("a", "ann"), ("b", "ben")):
        assert "__interrupt__" in workflow.invoke((), thread_id=thread)
        assert workflow.invoke(Command(resume=name), thread_id=thread) == name


def test_a_coroutine_is_kept_too(engine, cache):
    @task(cache_policy=POLICY)
    async def slow(number: int) -> int:
        ran["slow"] += 1
        return number

    workflow = calling(slow, cache)
    assert [workflow.invoke((1,), thread_id=thread) for thread in "ab"] == [1, 1]
    assert ran["slow"] == 1


def test_a_task_that_takes_its_result_from_the_cache_has_not_begun(engine, cache, checkpointer):
    @task(cache_policy=POLICY, on_unknown="fail")
    def pay() -> str:
        ran["pay"] += 1
        return "paid"

    workflow = calling(pay, cache)
    workflow.invoke((), thread_id="a")
    workflow.invoke((), thread_id="b")
    kinds = [record.kind for _, batch in checkpointer.read("b") for record in batch.records]
    assert "begun" not in kinds
    assert ran["pay"] == 1


# -- what is equal -----------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


@task(cache_policy=POLICY)
def look(*args: Any, **kwargs: Any) -> int:
    ran["look"] += 1
    return ran["look"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}),
        ({1, 2, 3}, {3, 1, 2}),
        (str(b"text", "ascii"), "text"),
        (Point(1), Point(1)),
        (Colour.RED, Colour.RED),
        (int, int),
    ],
)
def test_w14_equal_arguments_are_equal_however_they_were_made(engine, cache, one, other):
    @entrypoint(cache=cache)
    def body(which: int) -> int:
        return look(one if which == 1 else other).result()

    assert [body.invoke(which, thread_id=f"t{which}") for which in (1, 2)] == [1, 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        ((1,), [1]),
        (Point(1), Point(2)),
        (Point(1), {"x": 1, "y": 0}),
        (Colour.RED, Colour.BLUE),
        (int, float),
        ("a,b", ("a", "b")),
        (None, "null"),
    ],
)
def test_arguments_that_differ_in_value_or_type_are_not_equal(engine, cache, one, other):
    @entrypoint(cache=cache)
    def body(which: int) -> int:
        return look(one if which == 1 else other).result()

    assert [body.invoke(which, thread_id=f"t{which}") for which in (1, 2)] == [1, 2]


def test_a_default_is_an_argument_like_any_other(engine, cache):
    @task(cache_policy=POLICY)
    def scaled(number: int, factor: int = 2) -> int:
        ran["scaled"] += 1
        return number * factor

    @entrypoint(cache=cache)
    def body(_: int) -> list[int]:
        return [
            scaled(1).result(),
            scaled(1, 2).result(),
            scaled(1, factor=2).result(),
            scaled(1, 3).result(),
        ]

    assert body.invoke(1, thread_id="t") == [2, 2, 2, 3]
    assert ran["scaled"] == 2


def times(factor):
    @task(cache_policy=POLICY)
    def multiply(number: int) -> int:
        ran["multiply"] += 1
        return factor * number

    return multiply


def test_w14_what_a_function_closes_over_is_a_part_of_the_key(engine, cache):
    @entrypoint(cache=cache)
    def body(number: int) -> list[int]:
        return [times(factor)(number).result() for factor in (2, 3, 2)]

    assert body.invoke(10, thread_id="a") == [20, 30, 20]
    assert ran["multiply"] == 2


def test_functions_that_close_over_what_may_change_share_nothing(engine, cache):
    def listing(kept: list[int]):
        @task(cache_policy=POLICY)
        def add(number: int) -> int:
            kept.append(number)
            return len(kept)

        return add

    one, other = listing([]), listing([])

    @entrypoint(cache=cache)
    def body(_: int) -> list[int]:
        return [add(7).result() for add in (one, one, other)]

    assert body.invoke(1, thread_id="t") == [1, 1, 1]
    kept = listing([0, 0])
    assert calling(kept, cache).invoke((7,), thread_id="b") == 3


class Adder:
    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, other: int) -> int:
        ran["adder"] += 1
        return self.number + other


def test_modules_tuples_tasks_and_objects_that_can_be_called_are_bound_like_anything_else(engine, cache):
    def made(parts: tuple[int, ...]):
        maths = math

        @task(cache_policy=POLICY)
        def floor(number: float) -> int:
            ran["floor"] += 1
            return maths.floor(number) + sum(parts) + double(1).result()

        return floor

    floors = [made(parts) for parts in ((1, 2), (1, 2), (3,))]
    adders = [task(Adder(number), name="add", cache_policy=POLICY) for number in (1, 2)]

    @entrypoint(cache=cache)
    def body(_: int) -> list[int]:
        return [each(0.5).result() for each in floors] + [each(5).result() for each in adders]

    assert body.invoke(1, thread_id="t") == [5, 5, 5, 6, 7]
    assert ran["adder"] == 2
    # In replay-always mode a function begins anew when one that it has called comes to an outcome: once each.
    assert ran["floor"] == 2 or (engine.replay_always and ran["floor"] <= 4)


def test_a_workflow_with_a_policy_and_no_cache_runs_each_time(plain_engine):
    @entrypoint(cache_policy=POLICY)
    def body(_: int) -> None:
        ran["body"] += 1

    body.invoke(1)
    body.invoke(1)
    assert ran["body"] == 2


def test_one_decorator_on_two_functions_of_one_code_makes_two_keys(engine, cache):
    cached = task(cache_policy=POLICY)

    def listing(kept: list[str]):
        def first() -> str:
            return kept[0]

        return first

    one, other = cached(listing(["one"])), cached(listing(["other"]))

    @entrypoint(cache=cache)
    def body(_: int) -> list[str]:
        return [one().result(), other().result()]

    assert body.invoke(1, thread_id="t") == ["one", "other"]


def test_lambdas_of_one_line_are_told_apart_by_their_code(engine, cache):
    add, subtract = task(lambda n: n + 1, cache_policy=POLICY), task(lambda n: n - 1, cache_policy=POLICY)

    @entrypoint(cache=cache)
    def body(_: int) -> list[int]:
        return [add(1).result(), subtract(1).result()]

    assert body.invoke(1, thread_id="t") == [2, 0]


@dataclasses.dataclass(frozen=True)
class Shop:
    name: str

    def greet(self, who: str) -> str:
        ran[self.name] += 1
        return f"{self.name} greets {who}"

    @task(cache_policy=POLICY)
    def welcome(self, who: str) -> str:
        ran[self.name] += 1
        return f"{self.name} welcomes {who}"


class Client:
    @task(cache_policy=POLICY)
    def fetch(self) -> int:
        return 1


def test_w14_methods_of_different_instances_share_nothing_and_of_equal_ones_do(engine, cache):
    greets = [task(Shop(name).greet, cache_policy=POLICY) for name in ("A", "B", "A")]

    @entrypoint(cache=cache)
    def body(_: int) -> list[str]:
        found = [greet("ann").result() for greet in greets]
        return found + [Shop(name).welcome("ann").result() for name in ("A", "B", "A")]

    found = body.invoke(1, thread_id="t")
    assert found[:3] == ["A greets ann", "B greets ann", "A greets ann"]
    assert found[3:] == ["A welcomes ann", "B welcomes ann", "A welcomes ann"]
    assert ran == {"A": 2, "B": 2}


def test_what_a_partial_binds_is_a_part_of_the_key(engine, cache):
    halves = [
        task(functools.partial(divmod, number), name="divide", cache_policy=POLICY) for number in (10, 20)
    ]

    @entrypoint(cache=cache)
    def body(_: int) -> list[Any]:
        return [divide(3).result() for divide in halves]

    assert body.invoke(1, thread_id="t") == [(3, 1), (6, 2)]


def test_an_argument_without_a_value_is_an_error_that_names_it_and_is_on_record(engine, cache):
    def body(given: Any) -> Any:
        try:
            return look(given=object()).result()
        except InvalidCacheKey as error:
            return [str(error), interrupt("?")]

    workflow = entrypoint(cache=cache)(body)
    workflow.invoke(1, thread_id="t")
    text, _ = workflow.invoke(Command(resume=1), thread_id="t")
    assert "'given'" in text or "'kwargs'" in text
    assert "key_func" in text
    assert ran["look"] == 0
    with pytest.raises(InvalidCacheKey, match="'self'"):
        calling(Client().fetch, cache).invoke((), thread_id="self")


def test_key_func_says_what_makes_calls_equal(engine, cache):
    @task(cache_policy=CachePolicy(key_func=lambda text, **_: text.lower()))
    def shout(text: str, client: object = None) -> str:
        ran["shout"] += 1
        return text

    @entrypoint(cache=cache)
    def body(_: int) -> list[str]:
        return [shout("One", client=object()).result(), shout("ONE", client=object()).result()]

    assert body.invoke(1, thread_id="t") == ["One", "One"]
    assert ran["shout"] == 1


def test_a_key_func_that_fails_fails_the_call(engine, cache):
    @task(cache_policy=CachePolicy(key_func=lambda number: 1 // number))
    def anything(number: int) -> int:
        ran["anything"] += 1
        return number

    with pytest.raises(ZeroDivisionError):
        calling(anything, cache).invoke((0,), thread_id="t")
    assert ran["anything"] == 0


def test_the_key_is_made_at_the_call_whatever_becomes_of_the_arguments(engine, cache):
    gate = threading.Event()

    @task(cache_policy=POLICY)
    def total(numbers: list[int]) -> int:
        assert gate.wait(30)
        return sum(numbers)

    @entrypoint(cache=cache)
    def body(_: int) -> int:
        numbers = [1, 2]
        future = total(numbers)
        numbers.append(10)
        gate.set()
        return future.result()

    body.invoke(1, thread_id="a")

    @entrypoint(cache=cache)
    def again(_: int) -> int:
        return total([1, 2, 10]).result()

    assert again.invoke(1, thread_id="b") == 13


def test_a_task_that_is_given_the_context_or_previous_is_cached_for_each_apart(engine, cache):
    @task(cache_policy=POLICY)
    def who(runtime: Runtime) -> str:
        return runtime.context

    @task(cache_policy=POLICY)
    def before(previous: Any = None) -> Any:
        return previous

    @entrypoint(cache=cache)
    def body(given: int) -> Any:
        return entrypoint.final(value=[who().result(), before().result()], save=given)

    assert body.invoke(1, thread_id="t", context="ann") == ["ann", None]
    assert body.invoke(2, thread_id="t", context="ben") == ["ben", 1]
    assert body.invoke(3, thread_id="t", context="ann") == ["ann", 2]


# -- for how long ------------------------------------------------------------------------------------------------------


def test_a_result_is_found_for_as_long_as_the_policy_says(checkpointer, cache):
    clock = ManualClock()

    @task(cache_policy=CachePolicy(ttl=timedelta(minutes=1)))
    def fetch() -> int:
        ran["fetch"] += 1
        return ran["fetch"]

    workflow = calling(fetch, cache)
    engine = milepost.Engine(checkpointer=checkpointer, workers=1, clock=clock)
    with engine:
        assert workflow.invoke((), thread_id="a") == 1
        clock.advance(59.9)
        assert workflow.invoke((), thread_id="b") == 1
        clock.advance(0.1)
        assert workflow.invoke((), thread_id="c") == 2
        assert workflow.invoke((), thread_id="d") == 2
    engine.close()


def test_clearing_forgets_one_function_and_no_other(engine, cache):
    @entrypoint(cache=cache)
    def body(_: int) -> list[int]:
        return [double(1).result(), look().result()]

    body.invoke(1, thread_id="a")
    double.clear_cache(cache)
    body.invoke(1, thread_id="b")
    assert (ran["double", 1], ran["look"]) == (2, 1)
    cache.clear()
    body.invoke(1, thread_id="c")
    assert (ran["double", 1], ran["look"]) == (3, 2)


def test_more_results_than_a_page_are_cleared(cache):
    for number in range(600):
        cache.set(("task", "many"), str(number), "[1]")
    cache.set(("task", "other"), "1", "[1]")
    cache.clear([("task", "many")])
    assert [item.namespace[-1] for item in cache.store.search((), limit=1000)] == ["other"]


# -- one call at a time ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 4])
def test_w14_equal_calls_side_by_side_run_once(checkpointer, cache, workers):
    inside, most = [], []

    @task(cache_policy=POLICY)
    def slow() -> int:
        inside.append(1)
        most.append(len(inside))
        ran["slow"] += 1
        inside.pop()
        return 7

    @entrypoint(cache=cache)
    def body(width: int) -> list[int]:
        return [future.result() for future in [slow() for _ in range(width)]]

    engine = milepost.Engine(checkpointer=checkpointer, workers=workers)
    with engine:
        assert body.invoke(20, thread_id="t") == [7] * 20
    engine.close()
    assert ran["slow"] == 1


def test_equal_calls_of_different_runs_run_once_and_none_holds_a_worker_while_it_waits(checkpointer, cache):
    gate = threading.Event()

    @task(cache_policy=POLICY)
    def slow() -> int:
        ran["slow"] += 1
        assert gate.wait(30)
        return 7

    @task
    def other() -> None:
        ran["other"] += 1

    @entrypoint(cache=cache)
    def body(_: int) -> int:
        future = slow()
        other().result()
        return future.result()

    engine = milepost.Engine(checkpointer=checkpointer, workers=2)
    with engine, ThreadPoolExecutor(4) as callers:

        def call(number: int) -> int:
            with engine:
                return body.invoke(1, thread_id=str(number))

        runs = [callers.submit(call, number) for number in range(4)]
        until(lambda: ran["other"] == 4)
        gate.set()
        assert [run.result(30) for run in runs] == [7] * 4
    engine.close()
    assert ran["slow"] == 1


def test_when_the_first_of_equal_calls_fails_the_next_one_tries(checkpointer, cache):
    @task(cache_policy=POLICY)
    def flaky() -> int:
        ran["flaky"] += 1
        if ran["flaky"] == 1:
            raise ValueError("no")
        return 7

    @entrypoint(cache=cache)
    def body(width: int) -> list[Any]:
        found = [flaky() for _ in range(width)]
        return [7 if future.exception() is None else "failed" for future in found]

    engine = milepost.Engine(checkpointer=checkpointer, workers=4)
    with engine:
        assert sorted(map(str, body.invoke(8, thread_id="t"))) == ["7"] * 7 + ["failed"]
    engine.close()
    assert ran["flaky"] == 2


def test_a_call_that_asks_lets_the_equal_ones_ask_too(engine, cache):
    @task(cache_policy=POLICY)
    def ask() -> str:
        return interrupt("who?")

    @entrypoint(cache=cache)
    def body(width: int) -> list[str]:
        return [future.result() for future in [ask() for _ in range(width)]]

    asked = body.invoke(3, thread_id="t")["__interrupt__"]
    assert len(asked) == 3
    answers = {each.id: str(number) for number, each in enumerate(asked)}
    assert body.invoke(Command(resume=answers), thread_id="t") == ["0", "1", "2"]


def test_a_run_that_is_cancelled_stops_waiting_for_an_equal_call(checkpointer, cache):
    gate, begun = threading.Event(), threading.Event()

    @task(cache_policy=POLICY)
    def slow() -> int:
        begun.set()
        assert gate.wait(30)
        return 7

    @task
    def mark() -> None:
        ran["waits"] += 1

    @entrypoint(cache=cache)
    def body(waits: bool) -> int:
        if waits:
            future = slow()
            mark().result()
            return future.result()
        return slow().result()

    engine = milepost.Engine(checkpointer=checkpointer, workers=3)
    with engine, ThreadPoolExecutor(2) as callers:

        def call(thread: str, *, waits: bool) -> Any:
            with engine:
                return body.invoke(waits, thread_id=thread)

        first = callers.submit(call, "first", waits=False)
        assert begun.wait(30)
        second = callers.submit(call, "second", waits=True)
        until(lambda: ran["waits"] == 1)
        body.cancel(thread_id="second")
        with pytest.raises(RunCancelled):
            second.result(30)
        gate.set()
        assert first.result(30) == 7
        assert body.invoke(None, thread_id="second") == 7
    engine.close()


def test_a_call_that_waits_can_be_cancelled(checkpointer, cache):
    gate = threading.Event()

    @task(cache_policy=POLICY)
    def slow() -> int:
        ran["slow"] += 1
        assert gate.wait(30)
        return 7

    @entrypoint(cache=cache)
    def body(_: int) -> list[Any]:
        first = slow()
        until(lambda: ran["slow"] == 1)
        second = slow()
        until(lambda: second._call is not None and not second._call.begun)
        cancelled = second.cancel()
        gate.set()
        return [first.result(), cancelled]

    engine = milepost.Engine(checkpointer=checkpointer, workers=2)
    with engine:
        assert body.invoke(1, thread_id="t") == [7, True]
    engine.close()
    assert ran["slow"] == 1


def test_a_variable_that_the_function_assigns_is_its_memory(engine):
    count = 0

    @task(cache_policy=CachePolicy())
    def counting(number):
        nonlocal count
        count += 1
        return number

    @entrypoint(cache=InMemoryCache())
    def flow(number):
        return [counting(number).result() for _ in range(3)]

    assert flow.invoke(1, thread_id="t") == [1, 1, 1]
    assert count == 1


def test_a_function_that_closes_over_itself_can_be_keyed(engine):
    ran = []

    @task(cache_policy=CachePolicy())
    def factorial(number):
        ran.append(number)
        return number * factorial(number - 1).result() if number else 1

    @entrypoint(cache=InMemoryCache())
    def flow(number):
        return [factorial(number).result(), factorial(number - 1).result()]

    assert flow.invoke(5, thread_id="t") == [120, 24]
    assert sorted(set(ran)) == list(range(6))
    assert ran.count(0) == 1  # the others may run again where the run replays after each outcome


@pytest.mark.parametrize("workers", [1, 3])
def test_a_call_within_an_equal_one_does_not_wait_for_it(checkpointer, workers):
    """With its key widened by key_func, a task calls itself: waiting for the outer call would never end."""
    ran = []

    @task(cache_policy=CachePolicy(key_func=lambda number: "any"))
    def down(number):
        ran.append(number)
        return down(number - 1).result() + 1 if number else 0

    @entrypoint(cache=InMemoryCache())
    def flow(number):
        return down(number).result()

    engine = milepost.Engine(checkpointer=checkpointer, workers=workers)
    with engine:
        assert flow.invoke(3, thread_id="t") == 3
    engine.close()
    assert ran == [3, 2, 1, 0]


def test_calls_that_would_wait_for_each_other_do_not(checkpointer):
    both = threading.Barrier(2, timeout=20)

    @task(cache_policy=CachePolicy(key_func=lambda outer: "left"))
    def left(outer):
        if not outer:
            return ["left"]
        both.wait()
        return ["left", *right(False).result()]

    @task(cache_policy=CachePolicy(key_func=lambda outer: "right"))
    def right(outer):
        if not outer:
            return ["right"]
        both.wait()
        return ["right", *left(False).result()]

    @entrypoint(cache=InMemoryCache())
    def flow(_):
        return [future.result() for future in (left(True), right(True))]

    engine = milepost.Engine(checkpointer=checkpointer, workers=2)
    with engine:
        first, second = flow.invoke(0, thread_id="t")
    engine.close()
    assert (first[0], second[0]) == ("left", "right")


# -- workflows ---------------------------------------------------------------------------------------------------------


def test_a_run_with_equal_input_previous_and_context_takes_the_result(engine, cache):
    @entrypoint(cache=cache, cache_policy=POLICY)
    def body(number: int, runtime: Runtime) -> list[Any]:
        ran["body"] += 1
        return [number, runtime.context]

    assert body.invoke(1, thread_id="a") == [1, None]
    assert list(body.stream(1, thread_id="b")) == [{"body": [1, None], "__metadata__": {"cached": True}}]
    assert ran["body"] == 1
    assert body.invoke(1, thread_id="c", context="ann") == [1, "ann"]
    assert body.invoke(2, thread_id="d") == [2, None]
    assert ran["body"] == 3
    body.clear_cache()
    assert body.invoke(1, thread_id="e") == [1, None]
    assert ran["body"] == 4


def test_w14_a_workflows_cache_does_not_ignore_previous(engine, cache):
    @entrypoint(cache=cache, cache_policy=POLICY)
    def adding(number: int, *, previous: int | None = None) -> int:
        ran["adding"] += 1
        return (previous or 0) + number

    assert [adding.invoke(1, thread_id="a") for _ in range(3)] == [1, 2, 3]
    assert [adding.invoke(1, thread_id="b") for _ in range(3)] == [1, 2, 3]
    assert ran["adding"] == 3


def test_a_workflow_that_does_not_ask_for_previous_is_cached_whatever_came_before(engine, cache):
    @entrypoint(cache=cache, cache_policy=POLICY)
    def body(number: int) -> int:
        ran["body"] += 1
        return number

    assert [body.invoke(number, thread_id="t") for number in (1, 2, 1)] == [1, 2, 1]
    assert ran["body"] == 2


def test_what_a_workflow_saves_is_taken_with_its_result(engine, cache):
    @entrypoint(cache=cache, cache_policy=POLICY)
    def body(number: int, *, previous: Any = None) -> Any:
        ran["body"] += 1
        return entrypoint.final(value=[number, previous], save=f"saved {number}")

    for thread in ("a", "b"):
        assert body.invoke(1, thread_id=thread) == [1, None]
        assert body.invoke(2, thread_id=thread) == [2, "saved 1"]
    assert ran["body"] == 2


def test_a_run_that_was_asked_something_is_not_kept(engine, cache):
    @entrypoint(cache=cache, cache_policy=POLICY)
    def body(_: int) -> str:
        return interrupt("who?")

    for thread, name in (("a", "ann"), ("b", "ben")):
        body.invoke(1, thread_id=thread)
        assert body.invoke(Command(resume=name), thread_id=thread) == name


def test_equal_runs_side_by_side_run_once(engine, cache):
    gate = threading.Event()

    @entrypoint(cache=cache, cache_policy=POLICY)
    def body(_: int) -> int:
        ran["body"] += 1
        assert gate.wait(30)
        return 7

    def call(number: int) -> int:
        with engine:
            return body.invoke(1, thread_id=str(number))

    with ThreadPoolExecutor(4) as callers:
        runs = [callers.submit(call, number) for number in range(4)]
        until(lambda: ran["body"] == 1)
        gate.set()
        assert [run.result(30) for run in runs] == [7] * 4
    assert ran["body"] == 1 or engine.replay_always


def test_a_nested_workflow_uses_the_cache_around_it_and_its_own_policy(engine, cache):
    @entrypoint(cache_policy=POLICY)
    def inner(number: int) -> int:
        ran["inner"] += 1
        return double(number).result()

    @entrypoint(cache=cache)
    def outer(number: int) -> list[int]:
        return [inner.invoke(number), inner.invoke(number), double(number).result()]

    assert outer.invoke(4, thread_id="a") == [8, 8, 8]
    assert outer.invoke(4, thread_id="b") == [8, 8, 8]
    assert ran["double", 4] == 1
    assert ran["inner"] == 1 or engine.replay_always


# -- caches ------------------------------------------------------------------------------------------------------------


def test_a_policy_without_a_cache_is_told_once_and_the_task_runs(plain_engine, caplog):
    @task(cache_policy=POLICY)
    def alone() -> None:
        ran["alone"] += 1

    @entrypoint
    def body(_: int) -> None:
        alone().result()
        alone().result()

    with caplog.at_level(logging.WARNING, "milepost"):
        body.invoke(1)
        body.invoke(1)
    assert ran["alone"] == 4
    assert [
        record.getMessage().count("has no") + record.getMessage().count("no cache")
        for record in caplog.records
    ] == [1]


class Broken(InMemoryStore):
    """A store that fails, one way or the other."""

    fails: tuple[str, ...] = ()

    def _get(self, *args: Any) -> Any:
        if "get" in self.fails:
            raise StorageUnavailable("the disk is gone")
        return super()._get(*args)

    def _put(self, *args: Any) -> Any:
        if "put" in self.fails:
            raise StorageUnavailable("the disk is full")
        return super()._put(*args)


@pytest.mark.parametrize("fails", [("get",), ("put",), ("get", "put")])
def test_a_cache_that_fails_is_as_one_that_has_nothing(engine, caplog, fails):
    store = Broken()
    store.fails = fails
    workflow = calling(double, Cache(store))
    with caplog.at_level(logging.WARNING, "milepost"):
        assert [workflow.invoke((4,), thread_id=thread) for thread in "ab"] == [8, 8]
    assert ran["double", 4] == 2
    assert caplog.records


def test_a_damaged_text_in_the_cache_is_as_none(engine, cache, caplog):
    workflow = calling(double, cache)
    workflow.invoke((4,), thread_id="a")
    (item,) = cache.store.search(())
    cache.store.put(item.namespace, item.key, {"text": "not json", "expires": None})
    with caplog.at_level(logging.WARNING, "milepost"):
        assert workflow.invoke((4,), thread_id="b") == 8
    assert ran["double", 4] == 2


def test_a_result_that_cannot_be_written_fails_as_without_a_cache(engine, cache):
    @task(cache_policy=POLICY)
    def odd() -> object:
        return object()

    with pytest.raises(milepost.errors.NotSerializable):
        calling(odd, cache).invoke((), thread_id="t")


def test_a_cache_may_be_named_by_the_url_of_a_store_and_an_engine_may_have_one(checkpointer, tmp_path):
    url = f"memory://{tmp_path.name}"
    engine = milepost.Engine(checkpointer=checkpointer, cache=url)
    with engine:
        for thread, options in (("a", {}), ("b", {"cache": url})):
            calling(double, options.get("cache")).invoke((4,), thread_id=thread)
    engine.close()
    assert ran["double", 4] == 1


def test_what_is_no_cache_and_no_policy_is_refused():
    with pytest.raises(InvalidPolicy, match="CachePolicy"):
        task(cache_policy=60)
    with pytest.raises(InvalidPolicy, match="ttl"):
        CachePolicy(ttl=0)
    with pytest.raises(InvalidPolicy, match="key_func"):
        CachePolicy(key_func="lower")
    with pytest.raises(TypeError, match="InMemoryCache"):
        calling(double, 3).invoke((1,), thread_id="t")
    with pytest.raises(TypeError, match="store"):
        Cache({})


def test_clearing_where_there_is_no_cache_is_an_error(plain_engine):
    @entrypoint
    def body(_: int) -> None:
        return None

    with pytest.raises(NoCache):
        body.clear_cache()
