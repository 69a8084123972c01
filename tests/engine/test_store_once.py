"""Writes to a store that count once for a call: retries, replays and a second owner do not repeat them."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import InMemoryStore, RetryPolicy, entrypoint, get_store, task
from milepost.errors import InvalidItem, OutsideWorkflow

TOTAL = ("totals",)


@pytest.fixture
def store():
    return InMemoryStore()


def add(store, amount, *, once):
    """Add to a sum as a task would; what is read may be what the same call wrote before."""
    item = store.get(TOTAL, "sum")
    before = 0 if item is None else item.value["n"]
    return store.put(TOTAL, "sum", {"n": before + amount}, once=once)


@pytest.mark.parametrize(("once", "total"), [(True, 3), (False, 6)])
def test_a_task_that_is_tried_again_writes_once(engine, store, once, total):
    tries = []

    @task(retry_policy=RetryPolicy(max_attempts=3, initial_interval=0.001, retry_on=ValueError))
    def count(amount: int) -> int:
        add(get_store(), amount, once=once)
        tries.append(1)
        if len(tries) % 2:
            raise ValueError("cut off")
        return amount

    @entrypoint(store=store)
    def body(amount: int) -> Any:
        return count(amount).result()

    body.invoke(3, thread_id="t")
    assert store.get(TOTAL, "sum").value == {"n": total}


def test_several_writes_of_a_call_to_one_item_count_each(engine, store):
    @task
    def count() -> None:
        for amount in (1, 2, 4):
            add(get_store(), amount, once=True)

    @entrypoint(store=store)
    def body(_: Any) -> None:
        count().result()

    body.invoke(0, thread_id="t")
    assert store.get(TOTAL, "sum").value == {"n": 7}
    body.invoke(0, thread_id="t")
    assert store.get(TOTAL, "sum").value == {"n": 14}


def test_a_body_that_is_replayed_writes_once(engine, store):
    from milepost import Command, interrupt

    @entrypoint(store=store)
    def body(_: Any) -> Any:
        add(get_store(), 1, once=True)
        return interrupt("go on?")

    body.invoke(0, thread_id="t")
    body.invoke(Command(resume="yes"), thread_id="t")
    assert store.get(TOTAL, "sum").value == {"n": 1}


def test_an_older_owner_does_not_write_over_what_came_later(store):
    store.put(TOTAL, "sum", {"n": 1}, once="call-7")
    version = store.put(TOTAL, "sum", {"n": 2})
    assert store.put(TOTAL, "sum", {"n": 1}, once="call-7") == version
    assert store.get(TOTAL, "sum").value == {"n": 2}


def test_outside_a_workflow_a_key_of_ones_own_is_needed(store):
    with pytest.raises(OutsideWorkflow, match="once=True"):
        store.put(TOTAL, "sum", {"n": 1}, once=True)
    with pytest.raises(InvalidItem, match="once="):
        store.put(TOTAL, "sum", {"n": 1}, once="")
