"""Tasks in tasks, workflows in tasks, workflows in workflows, on the same thread and on others, to any depth."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest

from milepost import Command, Engine, MemorySaver, entrypoint, interrupt, task
from milepost.errors import InvalidCommand, MissingThreadId, StorageError, ThreadBusy
from milepost.memory import MemoryCheckpointer

PATIENCE = 20


def records(checkpointer, thread="t"):
    return [record for _, batch in checkpointer.read(thread) for record in batch.records]


def kinds(checkpointer, thread):
    return [record.kind for record in records(checkpointer, thread)]


# -- tasks in tasks ------------------------------------------------------------------------------------------------


def test_tasks_call_tasks_and_every_outcome_is_recorded_with_its_lineage(engine, checkpointer):
    @task
    def leaf(number: int) -> int:
        return number

    @task
    def branch(number: int) -> int:
        futures = [leaf(number), leaf(number + 1)]
        return sum(future.result() for future in futures)

    @entrypoint
    def body(given) -> int:
        futures = [branch(10), branch(20)]
        return sum(future.result() for future in futures)

    assert body.invoke(1, thread_id="t") == 62
    calls = {record.call: record.name for record in records(checkpointer) if record.kind == "outcome"}
    assert calls == {
        "0": "branch",
        "0.0": "leaf",
        "0.1": "leaf",
        "1": "branch",
        "1.0": "leaf",
        "1.1": "leaf",
    }


@pytest.mark.parametrize("depth", [1, 20, 200])
def test_recursion_completes_with_any_pool(engine, depth):
    @task
    def down(level: int) -> int:
        return 0 if level == 0 else down(level - 1).result() + 1

    @entrypoint
    def body(given: int) -> int:
        return down(given).result()

    assert body.invoke(depth, thread_id="t") == depth


def test_recursion_over_two_branches_completes_with_any_pool(engine):
    @task
    def fibonacci(number: int) -> int:
        if number < 2:
            return number
        futures = [fibonacci(number - 1), fibonacci(number - 2)]
        return sum(future.result() for future in futures)

    @entrypoint
    def body(given: int) -> int:
        return fibonacci(given).result()

    assert body.invoke(9, thread_id="t") == 34


@pytest.mark.parametrize("depth", [60])
def test_recursion_over_workflows_completes_with_any_pool(engine, depth):
    @task
    def through(level: int) -> int:
        return down.invoke(level)

    @entrypoint
    def down(level: int) -> int:
        if level == 0:
            return 0
        return (through(level - 1).result() if level % 2 else down.invoke(level - 1)) + 1

    assert down.invoke(depth, thread_id="t") == depth


def test_a_wide_and_deep_tree_completes_with_any_pool(engine):
    executed = Counter()

    @task
    def leaf(name: str) -> int:
        executed[name] += 1
        return 1

    @task
    def node(name: str, level: int) -> int:
        if level == 0:
            return leaf(name).result()
        return sum(future.result() for future in [node(f"{name}{i}", level - 1) for i in range(4)])

    @entrypoint
    def body(given: int) -> int:
        return node("", given).result()

    assert body.invoke(3, thread_id="t") == 64
    assert set(executed.values()) == {1}


def test_many_runs_at_once_complete_with_one_worker():
    engine = Engine(checkpointer=MemorySaver(), workers=1)

    @task
    def leaf(number: int) -> int:
        return number

    @task
    def branch(number: int) -> int:
        return sum(future.result() for future in [leaf(number), leaf(number)])

    @entrypoint
    def body(given: int) -> int:
        return sum(future.result() for future in [branch(given) for _ in range(5)])

    results = {}

    def run(number: int) -> None:
        with engine:
            results[number] = body.invoke(number, thread_id=f"t{number}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == {number: number * 10 for number in range(8)}
    engine.close()


# -- workflows on the same thread ----------------------------------------------------------------------------------


def test_a_nested_workflow_is_part_of_the_run_around_it(engine, checkpointer):
    executed = Counter()

    @task
    def leaf(number: int) -> int:
        executed[number] += 1
        return number

    @entrypoint
    def inner(number: int) -> int:
        return leaf(number).result() * 2

    @entrypoint
    def outer(number: int) -> list[Any]:
        return [inner.invoke(number), inner.invoke(number + 1, thread_id="t"), interrupt("?")]

    outer.invoke(1, thread_id="t")
    assert outer.invoke(Command(resume="x"), thread_id="t") == [2, 4, "x"]
    assert executed == {1: 1, 2: 1}
    outcomes = [(record.call, record.name) for record in records(checkpointer) if record.kind == "outcome"]
    assert outcomes == [("0.0", "leaf"), ("0", "inner"), ("1.0", "leaf"), ("1", "inner")]
    assert kinds(checkpointer, "t").count("started") == 1


def test_a_nested_workflow_with_a_checkpointer_of_its_own_and_no_thread_is_part_of_the_run_too(
    engine, checkpointer
):
    own = MemorySaver()

    @entrypoint(checkpointer=own)
    def inner(given: int) -> Any:
        return [given, interrupt("inside")]

    @entrypoint
    def outer(given: int) -> Any:
        return inner.invoke(given)

    assert outer.invoke(1, thread_id="t")["__interrupt__"][0].value == "inside"
    assert outer.invoke(Command(resume="x"), thread_id="t") == [1, "x"]
    assert own.load_head("t") is None


def test_a_workflow_in_a_task_is_part_of_the_run_around_it(engine, checkpointer):
    @entrypoint
    def inner(number: int) -> int:
        return number * 2

    @task
    def through(number: int) -> int:
        return inner.invoke(number) + 1

    @entrypoint
    def outer(number: int) -> int:
        return sum(future.result() for future in [through(number), through(number * 10)])

    assert outer.invoke(1, thread_id="t") == 24
    outcomes = {record.call: record.name for record in records(checkpointer) if record.kind == "outcome"}
    assert outcomes == {"0": "through", "0.0": "inner", "1": "through", "1.0": "inner"}


def test_an_error_in_a_nested_workflow_reaches_the_body_around_it(engine):
    @entrypoint
    def inner(given: int) -> int:
        raise LookupError(f"no {given}")

    @entrypoint
    def outer(given: int) -> str:
        try:
            return inner.invoke(given)
        except LookupError as error:
            interrupt("?")
            return str(error)

    outer.invoke(1, thread_id="t")
    assert outer.invoke(Command(resume=1), thread_id="t") == "no 1"


def test_a_nested_workflow_gets_the_store_of_its_own_decorator_or_the_one_around_it(engine):
    from milepost import BaseStore, InMemoryStore

    around, own = InMemoryStore(), InMemoryStore()
    seen = []

    @entrypoint
    def plain(given, *, store: BaseStore) -> None:
        seen.append(store)

    @entrypoint(store=own)
    def with_own(given, *, store: BaseStore) -> None:
        seen.append(store)

    @entrypoint(store=around)
    def outer(given) -> None:
        plain.invoke(given)
        with_own.invoke(given)

    outer.invoke(1, thread_id="t")
    assert {id(store) for store in seen} == {id(around), id(own)}


def test_an_answer_cannot_go_to_a_nested_workflow_on_the_same_thread(engine):
    @entrypoint
    def inner(given: int) -> int:
        return given

    @entrypoint
    def outer(given: int) -> Any:
        return inner.invoke(Command(resume=1))

    with pytest.raises(InvalidCommand, match="inner"):
        outer.invoke(1, thread_id="t")


# -- workflows on another thread -----------------------------------------------------------------------------------


def test_a_workflow_on_another_thread_is_a_run_of_its_own_and_is_not_run_twice(engine, checkpointer):
    executed = Counter()

    @task
    def leaf(number: int) -> int:
        executed[number] += 1
        return number

    @entrypoint
    def inner(number: int, *, previous: int | None = None) -> int:
        return leaf(number).result() + (previous or 0)

    @entrypoint
    def outer(number: int) -> list[Any]:
        first = inner.invoke(number, thread_id="other")
        second = inner.invoke(number + 1, thread_id="other")
        return [first, second, interrupt("?")]

    outer.invoke(1, thread_id="t")
    assert outer.invoke(Command(resume="x"), thread_id="t") == [1, 3, "x"]
    assert executed == {1: 1, 2: 1}
    assert kinds(checkpointer, "other").count("started") == 2
    assert kinds(checkpointer, "other").count("finished") == 2
    started = records(checkpointer, "other")[0]
    assert (started.parent.thread, started.parent.call) == ("t", "0")
    assert inner.get_state(thread_id="other").values == 3


class ForgetsOnce(MemoryCheckpointer):
    """Refuses the first batch that holds some text, as a backend that fails at that moment."""

    def __init__(self, text):
        super().__init__()
        self.texts = [text]

    def _append(self, thread, position, data, swap):
        if self.texts and self.texts[0] in data:
            self.texts.clear()
            raise StorageError("the backend failed")
        super()._append(thread, position, data, swap)


def test_a_run_on_another_thread_is_found_again_when_its_result_was_not_recorded_here():
    backend, executed = ForgetsOnce(b'"name":"inner"'), Counter()

    @task
    def leaf(number: int) -> int:
        executed[number] += 1
        return number

    @entrypoint
    def inner(number: int) -> int:
        return leaf(number).result() * 2

    @entrypoint
    def outer(number: int) -> int:
        return inner.invoke(number, thread_id="other") + 1

    engine = Engine(checkpointer=backend, workers=2)
    with engine:
        with pytest.raises(StorageError, match="the backend failed"):
            outer.invoke(5, thread_id="t")
        assert inner.get_state(thread_id="other").status == "done"
        assert outer.invoke(None, thread_id="t") == 11
    engine.close()
    assert executed == {5: 1}
    assert kinds(backend, "other") == ["started", "outcome", "finished"]


def test_a_question_on_another_thread_is_given_back_as_that_threads_pause(engine):
    @entrypoint
    def inner(number: int) -> Any:
        return [number, interrupt("inside")]

    @entrypoint
    def outer(number: int) -> Any:
        return inner.invoke(number, thread_id="other")

    result = outer.invoke(1, thread_id="t")
    assert result["__interrupt__"][0].value == "inside"
    assert outer.get_state(thread_id="t").status == "done"
    assert inner.invoke(Command(resume="x"), thread_id="other") == [1, "x"]


def test_a_body_can_answer_a_run_on_another_thread(engine):
    @entrypoint
    def inner(number: int) -> Any:
        return [number, interrupt("inside")]

    @entrypoint
    def outer(number: int) -> Any:
        inner.invoke(number, thread_id="other")
        answered = inner.invoke(Command(resume="from outer"), thread_id="other")
        interrupt("?")
        return answered

    outer.invoke(1, thread_id="t")
    assert outer.invoke(Command(resume=1), thread_id="t") == [1, "from outer"]


def test_an_error_on_another_thread_is_recorded_there_and_here(engine, checkpointer):
    @entrypoint
    def inner(number: int) -> Any:
        raise LookupError("inside")

    @entrypoint
    def outer(number: int) -> str:
        try:
            return inner.invoke(number, thread_id="other")
        except LookupError as error:
            interrupt("?")
            return str(error)

    outer.invoke(1, thread_id="t")
    assert outer.invoke(Command(resume=1), thread_id="t") == "inside"
    assert inner.get_state(thread_id="other").status == "failed"
    assert kinds(checkpointer, "other").count("started") == 1


def test_a_cycle_between_threads_is_thread_busy(engine):
    @entrypoint
    def first(level: int) -> Any:
        return second.invoke(level + 1, thread_id="b")

    @entrypoint
    def second(level: int) -> Any:
        return first.invoke(level + 1, thread_id="a")

    with pytest.raises(ThreadBusy, match="'a'") as caught:
        first.invoke(0, thread_id="a")
    assert caught.value.thread_id == "a"


def test_a_workflow_may_ask_itself_on_other_threads(engine):
    @entrypoint
    def down(level: int) -> int:
        return 0 if level == 0 else down.invoke(level - 1, thread_id=f"level-{level - 1}") + 1

    assert down.invoke(10, thread_id="level-10") == 10
    assert down.get_state(thread_id="level-3").values == 3


def test_tasks_side_by_side_run_workflows_on_threads_of_their_own(engine):
    executed = Counter()

    @task
    def leaf(number: int) -> int:
        executed[number] += 1
        return number

    @entrypoint
    def inner(number: int) -> int:
        return leaf(number).result()

    @task
    def through(number: int) -> int:
        return inner.invoke(number, thread_id=f"item-{number}")

    @entrypoint
    def outer(given: int) -> int:
        values = [future.result() for future in [through(number) for number in range(given)]]
        interrupt("?")
        return sum(values)

    outer.invoke(10, thread_id="t")
    assert outer.invoke(Command(resume=1), thread_id="t") == 45
    assert set(executed.values()) == {1}


def test_a_workflow_of_another_backend_needs_a_thread_id_only_when_it_is_called_from_outside():
    engine = Engine(workers=2)

    @entrypoint(checkpointer=MemorySaver())
    def inner(given: int) -> int:
        return given

    @entrypoint
    def outer(given: int) -> int:
        return inner.invoke(given, thread_id="x")

    with engine:
        assert outer.invoke(1) == 1
        with pytest.raises(MissingThreadId):
            inner.invoke(1)
    engine.close()
