"""Calling tasks: once per run, with what arguments, on which thread, and what comes back."""

from __future__ import annotations

import contextvars
import threading
from collections import Counter
from concurrent.futures import Future
from typing import Any

import pytest

from milepost import Command, Engine, MemorySaver, entrypoint, interrupt, task
from milepost.errors import OutsideWorkflow

PATIENCE = 20

colour = contextvars.ContextVar("colour", default="none")


@pytest.fixture
def one_worker():
    """The current engine, with a single worker and a memory backend."""
    made = Engine(checkpointer=MemorySaver(), workers=1)
    with made:
        yield made
    made.close()


def outcomes(checkpointer, thread="t"):
    """Return the outcome records of a thread, in order."""
    return [
        record
        for _, batch in checkpointer.read(thread)
        for record in batch.records
        if record.kind == "outcome"
    ]


# -- what a call is ------------------------------------------------------------------------------------------------


def test_a_call_returns_a_future_at_once(one_worker):
    go, begun = threading.Event(), threading.Event()

    @task
    def slow() -> str:
        begun.set()
        assert go.wait(PATIENCE)
        return "done"

    @entrypoint
    def body(given):
        future = slow()
        assert isinstance(future, Future)
        assert begun.wait(PATIENCE)
        assert not future.done()
        go.set()
        return future.result()

    assert body.invoke(1, thread_id="t") == "done"


def test_a_task_outside_a_workflow_says_how_to_call_it():
    @task
    def step(number: int) -> int:
        return number

    with pytest.raises(OutsideWorkflow, match=r"'step'.*@entrypoint.*step\.func"):
        step(1)
    assert step.func(1) == 1


def test_a_task_called_on_a_thread_of_the_users_own_says_so(engine):
    caught = []

    @task
    def step() -> None: ...

    def elsewhere() -> None:
        try:
            step()
        except OutsideWorkflow as error:
            caught.append(str(error))

    @entrypoint
    def body(given) -> None:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    body.invoke(1, thread_id="t")
    assert "thread" in caught[0]


def test_a_task_runs_once_however_often_the_body_runs_again(engine, checkpointer):
    executed = Counter()

    @task
    def step(name: str) -> str:
        executed[name] += 1
        return name.upper()

    @entrypoint
    def body(given) -> list[str]:
        first = step("a").result()
        answers = [interrupt("one"), step("b").result(), interrupt("two")]
        return [first, *answers, step("c").result()]

    body.invoke(1, thread_id="t")
    body.invoke(Command(resume="x"), thread_id="t")
    assert body.invoke(Command(resume="y"), thread_id="t") == ["A", "x", "B", "y", "C"]
    assert executed == {"a": 1, "b": 1, "c": 1}
    assert [record.name for record in outcomes(checkpointer)] == ["step"] * 3


def test_the_same_call_in_a_loop_is_a_call_each_time(engine):
    numbers = iter(range(100))

    @task
    def draw() -> int:
        return next(numbers)

    @entrypoint
    def body(given) -> list[int]:
        drawn = [draw().result() for _ in range(20)]
        interrupt("look")
        return drawn

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=None), thread_id="t") == list(range(20))


def test_hundreds_of_calls_side_by_side_give_their_results_in_order(engine):
    executed = Counter()

    @task
    def square(number: int) -> int:
        executed[number] += 1
        return number * number

    @entrypoint
    def body(given: int) -> int:
        futures = [square(number) for number in range(given)]
        interrupt("sure?")
        return sum(future.result() for future in futures)

    body.invoke(200, thread_id="t")
    assert body.invoke(Command(resume=True), thread_id="t") == sum(n * n for n in range(200))
    assert set(executed.values()) == {1}


def test_an_outcome_tells_name_place_arguments_and_times(engine, checkpointer):
    @task(name="multiply")
    def step(left: int, right: int) -> int:
        return left * right

    @entrypoint
    def body(given) -> int:
        return step(6, right=7).result()

    body.invoke(1, thread_id="t")
    (record,) = outcomes(checkpointer)
    assert (record.name, record.call, record.shows) == ("multiply", "0", "6, 7")
    assert record.result.raw == 42
    assert record.began <= record.ended


# -- arguments -----------------------------------------------------------------------------------------------------


def test_arguments_need_not_be_serializable(engine):
    class Client:
        def get(self) -> str:
            return "got"

    @task
    def fetch(client: Client, key: Any, turn: Any) -> str:
        return turn(client.get())

    @entrypoint
    def body(given) -> list[str]:
        # Each replay makes new ones.
        return [fetch(Client(), threading.Lock(), str.upper).result(), interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="x"), thread_id="t") == ["GOT", "x"]


def test_changing_an_argument_after_the_call_is_no_divergence(engine):
    @task
    def count(items: list[int]) -> int:
        return len(items)

    @entrypoint
    def body(given) -> list[int]:
        items = [1]
        first = count(items).result()
        items.append(2)
        second = count(items).result()
        items.clear()
        return [first, second, interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=3), thread_id="t") == [1, 2, 3]


def test_a_task_may_change_its_argument_without_divergence(engine):
    @task
    def fill(items: list[int]) -> int:
        items.append(len(items))
        return len(items)

    @entrypoint
    def body(given) -> list[int]:
        items: list[int] = []
        return [fill(items).result(), interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=2), thread_id="t") == [1, 2]


def test_an_argument_by_position_and_by_name_is_the_same_call(engine):
    by_name = iter([False, True, True, True])

    @task
    def step(number: int, factor: int = 2) -> int:
        return number * factor

    @entrypoint
    def body(given) -> list[int]:
        made = step(number=3, factor=4) if next(by_name) else step(3, 4)
        return [made.result(), interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume=1), thread_id="t") == [12, 1]


def test_a_wrong_call_is_the_tasks_own_type_error(engine):
    @task
    def step(number: int) -> int:
        return number

    @entrypoint
    def body(given) -> str:
        try:
            step(1, 2, 3).result()
        except TypeError as error:
            return str(error)
        return "no error"

    assert "step" in body.invoke(1, thread_id="t")


# -- results -------------------------------------------------------------------------------------------------------


def test_a_mutable_result_reaches_the_body_as_a_copy(engine):
    kept: list[list[int]] = []

    @task
    def make() -> list[int]:
        kept.append([1, 2])
        return kept[-1]

    @entrypoint
    def body(given) -> list[Any]:
        items = make().result()
        kept[-1].append(99)  # the task's own object: the record is not changed by this
        seen = list(items)
        items.append(3)
        return [seen, items, interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="x"), thread_id="t") == [[1, 2], [1, 2, 3], "x"]
    assert len(kept) == 1


def test_a_result_changed_by_the_body_is_unchanged_on_replay(engine):
    seen = []

    @task
    def make() -> dict[str, list[int]]:
        return {"items": [1]}

    @entrypoint
    def body(given) -> Any:
        value = make().result()
        seen.append(len(value["items"]))
        value["items"].append(2)
        interrupt("one")
        value["items"].append(3)
        interrupt("two")
        return value

    body.invoke(1, thread_id="t")
    body.invoke(Command(resume=1), thread_id="t")
    assert body.invoke(Command(resume=1), thread_id="t") == {"items": [1, 2, 3]}
    assert set(seen) == {1}


def test_values_come_back_in_value_and_type(engine):
    import datetime as dt
    from decimal import Decimal
    from uuid import UUID

    values = [
        None,
        True,
        -(2**70),
        1.5,
        float("inf"),
        "text",
        b"bytes",
        (1, (2, 3)),
        {1, 2},
        frozenset({"a"}),
        {1: "one", (2, 3): "pair"},
        Decimal("1.20"),
        UUID(int=5),
        dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        dt.date(2026, 1, 2),
        dt.timedelta(seconds=1.5),
    ]
    seen = []

    @task
    def give(index: int) -> Any:
        return values[index]

    @entrypoint
    def body(given) -> None:
        seen.append([give(index).result() for index in range(len(values))])
        interrupt("?")

    body.invoke(1, thread_id="t")
    body.invoke(Command(resume=1), thread_id="t")
    assert len(seen) >= 2
    for got in seen:
        assert got == values
        assert [type(value) for value in got] == [type(value) for value in values]


# -- where a task runs ---------------------------------------------------------------------------------------------


def test_a_task_that_nobody_has_begun_runs_in_the_thread_that_waits_for_it(one_worker):
    go, begun = threading.Event(), threading.Event()

    @task
    def occupy() -> None:
        begun.set()
        assert go.wait(PATIENCE)

    @task
    def where() -> int:
        return threading.get_ident()

    @entrypoint
    def body(given) -> bool:
        occupied = occupy()
        assert begun.wait(PATIENCE)
        here = where().result() == threading.get_ident()
        go.set()
        occupied.result()
        return here

    assert body.invoke(1, thread_id="t") is True


def test_the_body_runs_in_the_callers_thread_and_context(plain_engine):
    @entrypoint
    def body(given) -> tuple[int, str]:
        return threading.get_ident(), colour.get()

    token = colour.set("red")
    try:
        assert body.invoke(1) == (threading.get_ident(), "red")
    finally:
        colour.reset(token)


def test_the_callers_context_variables_do_not_reach_tasks(engine):
    @task
    def see() -> str:
        return colour.get()

    @task
    def change() -> None:
        colour.set("green")

    @entrypoint
    def body(given) -> list[str]:
        change().result()
        return [see().result(), colour.get()]

    token = colour.set("red")
    try:
        assert body.invoke(1, thread_id="t") == ["none", "red"]
    finally:
        colour.reset(token)


def test_tasks_run_side_by_side():
    together = threading.Barrier(3)

    @task
    def meet(number: int) -> int:
        together.wait(PATIENCE)
        return number

    @entrypoint
    def body(given) -> list[int]:
        futures = [meet(number) for number in range(3)]
        return [future.result() for future in futures]

    engine = Engine(checkpointer=MemorySaver(), workers=3)
    with engine:
        assert body.invoke(1, thread_id="t") == [0, 1, 2]
    engine.close()


def test_tasks_begin_before_anybody_waits_for_them(one_worker):
    begun = threading.Event()

    @task
    def start() -> str:
        begun.set()
        return "started"

    @entrypoint
    def body(given) -> str:
        future = start()
        assert begun.wait(PATIENCE)
        return future.result()

    assert body.invoke(1, thread_id="t") == "started"


# -- calls nobody waits for ----------------------------------------------------------------------------------------


def test_a_run_ends_only_when_the_calls_nobody_waits_for_have_ended(engine, checkpointer):
    executed = []

    @task
    def step(number: int) -> None:
        executed.append(number)

    @entrypoint
    def body(given) -> str:
        for number in range(5):
            step(number)
        return "returned"

    assert body.invoke(1, thread_id="t") == "returned"
    assert sorted(executed) == [0, 1, 2, 3, 4]
    assert len(outcomes(checkpointer)) == 5
    records = [record.kind for _, batch in checkpointer.read("t") for record in batch.records]
    assert records[-1] == "finished"


def test_a_task_ends_only_when_the_calls_it_does_not_wait_for_have_ended(engine, checkpointer):
    executed = []

    @task
    def leaf(number: int) -> None:
        executed.append(number)

    @task
    def parent() -> str:
        leaf(1)
        leaf(2)
        return "parent"

    @entrypoint
    def body(given) -> list[Any]:
        value = parent().result()
        return [value, sorted(executed)]

    assert body.invoke(1, thread_id="t") == ["parent", [1, 2]]
    assert [record.call for record in outcomes(checkpointer)][-1] == "0"
