"""Faults of LangGraph in modes of durability and limits, each by the number it has in our list of them."""

from __future__ import annotations

import sys

import pytest

import milepost
from milepost import Command, InMemoryCache, entrypoint, interrupt, task
from milepost.checkpoint import Outcome
from milepost.errors import InvalidConfig, InvalidDurability, StorageUnavailable

MODES = ("sync", "async", "exit")


@pytest.mark.parametrize("most", [1, 2, 3])
def test_w01_no_limit_makes_a_run_hang(engine, most):
    """There, a limit of one or two hangs with one flat task, and nested ones with any."""

    @task
    def leaf(number):
        return number

    @task
    def pair(number):
        return sum(future.result() for future in [leaf(number), leaf(number)])

    @entrypoint
    def flow(_):
        return [leaf(0).result(), *(future.result() for future in [pair(number) for number in range(10)])]

    config = {"configurable": {"thread_id": "t"}, "max_concurrency": most}
    assert flow.invoke(0, config) == [0, *range(0, 20, 2)]


def test_w01_a_limit_that_cannot_be_is_refused(engine):
    @entrypoint
    def flow(_):
        return None

    with pytest.raises(InvalidConfig, match="an int from 1"):
        flow.invoke(0, {"configurable": {"thread_id": "t"}, "max_concurrency": 0})


def test_w06_sync_means_durable_when_the_future_resolves(engine, checkpointer):
    seen = []

    @task
    def pay(number):
        return number

    @entrypoint
    def flow(number):
        pay(number).result()
        records = [record for _, batch in checkpointer.read("t") for record in batch.records]
        seen.append(any(isinstance(record, Outcome) for record in records))
        return interrupt("sure?")

    flow.invoke(1, thread_id="t", durability="sync")
    assert seen[-1]


@pytest.mark.parametrize("mode", MODES)
def test_w06_no_mode_reports_as_finished_what_could_not_be_saved(checkpointer, monkeypatch, mode):
    """There, a failing saver lets the body and further tasks run, and shows at the end."""
    append = checkpointer.append

    def failing(thread, position, batch, *rest):
        if any(isinstance(record, Outcome) for record in batch.records):
            raise StorageUnavailable("the disk is gone")
        return append(thread, position, batch, *rest)

    @task
    def pay(number):
        return number

    @entrypoint
    def flow(number):
        return pay(number).result()

    with milepost.Engine(checkpointer=checkpointer), monkeypatch.context() as patch:
        patch.setattr(checkpointer, "append", failing)
        with pytest.raises(StorageUnavailable):
            flow.invoke(1, thread_id="t", durability=mode)
        patch.undo()
        assert flow.invoke(None, thread_id="t") == 1


@pytest.mark.parametrize("mode", MODES)
def test_w07_what_the_body_does_to_a_result_is_not_recorded_however_late_it_is_written(engine, mode):
    @task
    def listed(number):
        return [number]

    @entrypoint
    def flow(number):
        found = listed(number).result()
        found.append("changed")
        return [found, interrupt("go on?")]

    flow.invoke(1, thread_id="t", durability=mode)
    assert flow.invoke(Command(resume="yes"), thread_id="t", durability=mode) == [[1, "changed"], "yes"]


@pytest.mark.parametrize("mode", MODES)
def test_w08_no_result_is_lost_where_many_threads_bring_them_at_once(checkpointer, mode):
    """There, in mode exit, 19 of 1,440 results were lost where threads changed often."""
    ran = []

    @task
    def numbered(number):
        ran.append(number)
        return number

    @entrypoint
    def flow(count):
        found = [future.result() for future in [numbered(number) for number in range(count)]]
        return [sum(found), interrupt("go on?")]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with milepost.Engine(checkpointer=checkpointer, workers=8) as made:
            flow.invoke(200, thread_id="t", durability=mode)
            assert flow.invoke(Command(resume="yes"), thread_id="t", durability=mode) == [19900, "yes"]
        made.close()
    finally:
        sys.setswitchinterval(interval)
    assert sorted(ran) == list(range(200))


def multiplied(tasks, number):
    @entrypoint(cache=InMemoryCache())
    def flow(given):
        return [made(given).result() for made in tasks]

    return flow.invoke(number, thread_id="t")


def test_w21_a_durability_that_nobody_knows_is_refused(engine):
    @entrypoint
    def flow(_):
        return None

    with pytest.raises(InvalidDurability, match="unknown durability 'bogus'"):
        flow.invoke(0, thread_id="t", durability="bogus")
