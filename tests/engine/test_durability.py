"""Durability: when outcomes are written, how often, what waits for them, and what a failing write means."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter

import pytest

import milepost
from milepost import Command, RetryPolicy, entrypoint, interrupt, task
from milepost.checkpoint import Attempted, Batch, Claimed, Failed, Finished, Interrupted, Outcome, Started
from milepost.errors import (
    EngineClosed,
    InvalidDurability,
    OwnershipLost,
    RunCancelled,
    StorageError,
    StorageUnavailable,
    TooLarge,
)

PATIENCE = 20
MODES = ("sync", "async", "exit")


def batches(checkpointer, thread="t"):
    return [batch.records for _, batch in checkpointer.read(thread)]


def kinds(checkpointer, thread="t"):
    """Return the kinds of the records of each append."""
    return [[record.kind for record in records] for records in batches(checkpointer, thread)]


class Held:
    """Lets the appends that have an outcome wait until they are let go; fails those that it is told to."""

    def __init__(self, monkeypatch, checkpointer):
        self.begun, self.go = threading.Event(), threading.Event()
        self.error = None
        append = checkpointer.append

        def held(thread, position, batch, *rest):
            if any(isinstance(record, Outcome) for record in batch.records):
                self.begun.set()
                assert self.go.wait(PATIENCE)
                if self.error is not None:
                    raise self.error
            return append(thread, position, batch, *rest)

        monkeypatch.setattr(checkpointer, "append", held)


@pytest.fixture
def hold(monkeypatch, checkpointer):
    return Held(monkeypatch, checkpointer)


@pytest.fixture
def ordinary(checkpointer):
    """An engine that replays only where a run goes on: replaying after each outcome writes each outcome."""
    made = milepost.Engine(checkpointer=checkpointer, workers=2)
    with made:
        yield made
    made.close()


@task
def double(number):
    return 2 * number


@entrypoint
def five(number):
    return [double(number + step).result() for step in range(5)]


@entrypoint
def asking(number):
    first = double(number).result()
    answer = interrupt("go on?")
    return [first, answer, double(first).result()]


# -- how often is written ----------------------------------------------------------------------------------------------


def test_sync_writes_each_outcome_before_the_next_call(ordinary, checkpointer):
    seen = []

    @entrypoint
    def flow(number):
        for step in range(3):
            double(number + step).result()
            seen.append(len(kinds(checkpointer)))

    flow.invoke(1, thread_id="t", durability="sync")
    assert seen == [2, 3, 4]
    five.invoke(1, thread_id="u")
    assert kinds(checkpointer, "u") == [["started"], *[["outcome"]] * 5, ["finished"]]


def test_exit_writes_all_outcomes_at_once_when_the_run_ends(ordinary, checkpointer):
    seen = []

    @entrypoint
    def flow(number):
        for step in range(3):
            double(number + step).result()
            seen.append(len(kinds(checkpointer)))

    flow.invoke(1, thread_id="t", durability="exit")
    assert seen == [1, 1, 1]
    assert kinds(checkpointer) == [["started"], ["outcome", "outcome", "outcome", "finished"]]


def test_async_goes_on_while_one_write_is_under_way_and_writes_the_rest_together(
    ordinary, checkpointer, hold
):
    seen = []

    @entrypoint
    def flow(number):
        found = [double(number).result()]
        assert hold.begun.wait(PATIENCE)
        found += [double(number + step).result() for step in range(1, 5)]
        seen.append(len(kinds(checkpointer)))
        hold.go.set()
        return found

    assert flow.invoke(1, thread_id="t", durability="async") == [2, 4, 6, 8, 10]
    assert seen == [1]
    assert kinds(checkpointer) == [["started"], ["outcome"], ["outcome"] * 4, ["finished"]]


def test_the_order_on_record_is_the_order_of_the_outcomes(ordinary, checkpointer):
    @entrypoint
    def flow(number):
        order = [future.result() for future in milepost.as_completed([double(step) for step in range(20)])]
        return [order, interrupt("go on?")]

    for mode in MODES:
        flow.invoke(1, thread_id=mode, durability=mode)
        order, _ = flow.invoke(Command(resume=1), thread_id=mode)
        found = [r for records in batches(checkpointer, mode) for r in records if isinstance(r, Outcome)]
        assert [record.result.raw for record in found] == order


# -- what is durable when ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_the_same_and_can_be_resumed(engine, checkpointer, mode):
    config = {"configurable": {"thread_id": "t"}, "durability": mode}
    assert "__interrupt__" in asking.invoke(1, config)
    assert isinstance(batches(checkpointer)[-1][-1], Interrupted)
    assert [call.name for call in asking.get_state(thread_id="t").tasks] == ["double", "interrupt"]
    assert asking.invoke(Command(resume="yes"), config) == [2, "yes", 4]
    assert isinstance(batches(checkpointer)[-1][-1], Finished)


@pytest.mark.parametrize("mode", MODES)
def test_a_pause_and_a_failure_come_after_all_outcomes_before_them(ordinary, checkpointer, mode):
    @entrypoint
    def failing(number):
        double(number).result()
        raise ValueError

    asking.invoke(1, thread_id="pauses", durability=mode)
    with pytest.raises(ValueError):
        failing.invoke(1, thread_id="fails", durability=mode)
    for thread, last in (("pauses", Interrupted), ("fails", Failed)):
        records = [record for records in batches(checkpointer, thread) for record in records]
        assert isinstance(records[-1], last)
        assert isinstance(records[-2], Outcome)


def stops_by_closing(engine):
    engine.drain()


def stops_by_control_c(_engine):
    raise KeyboardInterrupt


def stops_by_cancelling(engine):
    (execution,) = engine.executions.values()
    execution.cancel("enough")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("stop", "error"),
    [
        (stops_by_closing, EngineClosed),
        (stops_by_control_c, KeyboardInterrupt),
        (stops_by_cancelling, RunCancelled),
    ],
)
def test_whatever_stops_a_run_leaves_its_outcomes_on_record(checkpointer, mode, stop, error):
    ran = []

    @task
    def noted(number):
        ran.append(number)
        return number

    @entrypoint
    def flow(count):
        found = [noted(number).result() for number in range(count)]
        if len(ran) == count:
            stop(first)
        return [*found, noted(count).result()]

    first = milepost.Engine(checkpointer=checkpointer, workers=2)
    with first, pytest.raises(error):
        flow.invoke(3, thread_id="t", durability=mode)
    first.close()
    assert [kind for found in kinds(checkpointer) for kind in found][:4] == ["started", *["outcome"] * 3]
    ran.append("again")
    with milepost.Engine(checkpointer=checkpointer, workers=2) as second:
        assert flow.invoke(None, thread_id="t", durability=mode) == [0, 1, 2, 3]
    second.close()
    assert ran == [0, 1, 2, "again", 3]


@pytest.mark.parametrize("mode", ["async", "exit"])
def test_a_stop_whose_outcomes_cannot_be_written_is_reported_as_that(checkpointer, hold, mode):
    """Else it would say that what had begun is recorded."""
    hold.error = StorageUnavailable("the disk is gone")
    hold.go.set()

    @entrypoint
    def flow(number):
        found = double(number).result()
        engine.drain()
        return double(found).result()

    engine = milepost.Engine(checkpointer=checkpointer, workers=2)
    with engine, pytest.raises(StorageUnavailable, match="the disk is gone"):
        flow.invoke(1, thread_id="t", durability=mode)
    engine.close()


# -- how large a batch may be ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_what_does_not_fit_into_one_batch_is_written_in_several_in_order(
    ordinary, checkpointer, monkeypatch, mode
):
    @entrypoint
    def flow(count):
        return [sum(double(number).result() for number in range(count)), interrupt("go on?")]

    monkeypatch.setattr(checkpointer, "max_batch_bytes", 2_000)
    flow.invoke(30, thread_id="t", durability=mode)
    found = [record for records in batches(checkpointer) for record in records]
    assert [record.result.raw for record in found[1:-1]] == [2 * number for number in range(30)]
    assert isinstance(found[-1], Interrupted)
    if mode == "exit":
        assert 3 <= len(kinds(checkpointer)) < 30
    assert flow.invoke(Command(resume="yes"), thread_id="t", durability=mode) == [870, "yes"]


@pytest.mark.parametrize("mode", ["async", "exit"])
def test_a_result_too_large_for_a_batch_fails_the_run_and_with_sync_its_task(
    ordinary, checkpointer, monkeypatch, mode
):
    @task
    def large(number):
        return "x" * number

    @entrypoint
    def flow(number):
        first = double(1).result()
        try:
            return [first, len(large(number).result())]
        except TooLarge:
            return [first, "too large"]

    monkeypatch.setattr(checkpointer, "max_batch_bytes", 3_000)
    with pytest.raises(TooLarge) as found:
        flow.invoke(9_000, thread_id="t", durability=mode)
    assert any("not durable" in note for note in found.value.__notes__)
    assert flow.get_state(thread_id="t").status == "running"
    assert flow.invoke(None, thread_id="t", durability="sync") == [2, "too large"]


def test_a_return_value_too_large_fails_the_run_after_what_it_did(ordinary, checkpointer, monkeypatch):
    @entrypoint
    def flow(number):
        return "x" * double(number).result()

    monkeypatch.setattr(checkpointer, "max_batch_bytes", 3_000)
    with pytest.raises(TooLarge):
        flow.invoke(4_500, thread_id="t", durability="exit")
    assert [kind for found in kinds(checkpointer) for kind in found] == ["started", "outcome", "failed"]


@pytest.mark.parametrize("mode", MODES)
def test_the_start_of_a_task_that_must_not_run_twice_is_written_before_its_effect(
    ordinary, checkpointer, mode
):
    seen = []

    @task(on_unknown="fail")
    def pay(number):
        seen.extend(kinds(checkpointer))
        return number

    @entrypoint
    def flow(number):
        return pay(double(number).result()).result()

    assert flow.invoke(1, thread_id="t", durability=mode) == 2
    assert [kind for found in seen for kind in found] == ["started", "outcome", "begun"]


@pytest.mark.parametrize("mode", ["async", "exit"])
def test_failed_attempts_wait_in_the_queue_like_outcomes(ordinary, checkpointer, mode):
    tries = Counter()

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=ValueError))
    def shaky(number):
        inner = double(number).result()
        tries[number] += 1
        if tries[number] < 3:
            raise ValueError
        return inner

    @entrypoint
    def flow(number):
        return [shaky(number).result(), double(5).result()]

    assert flow.invoke(1, thread_id="t", durability=mode) == [2, 10]
    found = [record for records in batches(checkpointer) for record in records]
    assert [type(record) for record in found if not isinstance(record, Started | Finished)] == [
        Outcome,
        Attempted,
        Attempted,
        Outcome,
        Outcome,
    ]
    assert [call.attempts for call in flow.get_state(thread_id="t").tasks if call.name == "shaky"] == [3]


def test_what_tasks_left_behind_bring_after_a_pause_is_written_as_it_comes(checkpointer):
    begun, let_go, ended = threading.Event(), threading.Event(), threading.Event()

    @task
    def slow(number):
        begun.set()
        assert let_go.wait(PATIENCE)
        return number

    @entrypoint
    def flow(number):
        future = slow(number)
        future.add_done_callback(lambda _: ended.set())
        assert begun.wait(PATIENCE)
        return [interrupt("go on?"), future.result()]

    with milepost.Engine(checkpointer=checkpointer, workers=2, pause_wait=0) as made:
        flow.invoke(1, thread_id="t", durability="exit")
        let_go.set()
        assert ended.wait(PATIENCE)
        assert kinds(checkpointer) == [["started"], ["interrupted"], ["outcome"]]
        assert flow.invoke(Command(resume="yes"), thread_id="t") == ["yes", 1]
    made.close()


# -- writes that fail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["async", "exit"])
def test_a_write_that_fails_fails_the_run_and_nothing_is_reported_as_finished(
    ordinary, checkpointer, hold, mode
):
    hold.error = StorageUnavailable("the disk is gone")
    hold.go.set()
    with pytest.raises(StorageUnavailable, match="the disk is gone") as found:
        five.invoke(1, thread_id="t", durability=mode)
    assert any("not durable" in note for note in found.value.__notes__)
    assert kinds(checkpointer) == [["started"]]
    assert five.get_state(thread_id="t").status == "running"
    hold.error = None
    assert five.invoke(None, thread_id="t") == [2, 4, 6, 8, 10]


def test_a_write_that_fails_in_the_background_stops_the_body_at_its_next_call(ordinary, checkpointer, hold):
    hold.error = StorageUnavailable("the disk is gone")
    ran = []

    @task
    def noted(number):
        ran.append(number)
        return number

    @entrypoint
    def flow(number):
        first = noted(0)
        first.result()
        assert hold.begun.wait(PATIENCE)
        hold.go.set()
        journal = milepost._context.frame().execution.journal
        journal.drain()
        return noted(1).result()

    with pytest.raises(StorageError):
        flow.invoke(1, thread_id="t", durability="async")
    assert ran == [0]


def test_who_lost_the_thread_learns_it_and_what_was_queued_is_not_written(checkpointer):
    ran = []

    @entrypoint
    def flow(number):
        first = double(number).result()
        if not ran:
            ran.append(number)
            (started,) = batches(checkpointer)[0]
            claim = Batch(id="ffffffffffffffff-1", records=(Claimed(at=started.at, owner=started.owner),))
            checkpointer.append("t", 1, claim)
        return [first, double(first).result()]

    with milepost.Engine(checkpointer=checkpointer) as made, pytest.raises(OwnershipLost):
        flow.invoke(1, thread_id="t", durability="exit")
    made.close()
    assert kinds(checkpointer) == [["started"], ["claimed"]]


@pytest.mark.parametrize("room", [1, 1_000])
def test_no_event_loop_waits_for_a_write_or_for_room_in_the_queue(
    ordinary, checkpointer, monkeypatch, hold, room
):
    """What lets the write go on happens on the loop, so a loop that waited for it would wait for ever."""
    monkeypatch.setattr("milepost._durability.MOST_QUEUED", room)

    @task
    async def soon(number):
        await asyncio.sleep(0)
        return number

    @entrypoint
    async def flow(count):
        futures = [soon(number) for number in range(count)]
        assert await asyncio.to_thread(hold.begun.wait, PATIENCE)
        for _ in range(20):
            await asyncio.sleep(0)
        hold.go.set()
        return await asyncio.gather(*futures)

    assert asyncio.run(flow.ainvoke(8, thread_id="t", durability="async")) == list(range(8))
    assert [kind for found in kinds(checkpointer) for kind in found].count("outcome") == 8


# -- what is asked for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["bogus", "", "SYNC", 1, True])
def test_a_mode_that_nobody_knows_is_refused(engine, checkpointer, given):
    with pytest.raises(InvalidDurability, match="the modes are sync, async, exit") as found:
        five.invoke(1, thread_id="t", durability=given)
    assert found.value.modes == MODES
    with pytest.raises(InvalidDurability):
        five.stream(1, thread_id="t", durability=given)
    config = {"configurable": {"thread_id": "t"}, "durability": given}
    for call in (five.invoke, five.stream, five.astream):
        with pytest.raises(InvalidDurability):
            call(1, config)
    with pytest.raises(InvalidDurability):
        five.with_config(config)
    assert kinds(checkpointer) == []


@pytest.mark.parametrize("mode", MODES)
def test_without_a_checkpointer_there_is_nothing_to_write(plain_engine, mode):
    assert five.invoke(1, durability=mode) == [2, 4, 6, 8, 10]


def test_a_nested_workflow_is_written_with_its_run_and_one_elsewhere_as_it_asks(ordinary, checkpointer):
    @entrypoint
    def flow(number):
        five.invoke(number, durability="sync")
        five.invoke(number, thread_id="other", durability="exit")
        return double(number).result()

    flow.invoke(1, thread_id="t", durability="exit")
    assert kinds(checkpointer) == [["started"], [*["outcome"] * 8, "finished"]]
    assert kinds(checkpointer, "other") == [["started"], [*["outcome"] * 5, "finished"]]


@pytest.mark.parametrize("mode", MODES)
def test_a_nested_workflow_on_another_thread_has_the_mode_of_the_run_around_it(ordinary, checkpointer, mode):
    @entrypoint
    def flow(number):
        five.invoke(number, thread_id="other")
        five.with_config({"durability": "sync"}).invoke(number, thread_id="own")

    flow.invoke(1, {"configurable": {"thread_id": "t"}}, durability=mode)
    written = {"sync": [*[["outcome"]] * 5, ["finished"]], "exit": [[*["outcome"] * 5, "finished"]]}
    assert kinds(checkpointer, "own") == [["started"], *written["sync"]]
    if mode == "async":
        assert kinds(checkpointer, "other")[-1] == ["finished"]
    else:
        assert kinds(checkpointer, "other") == [["started"], *written[mode]]
    assert five.get_state(thread_id="other").values == [2, 4, 6, 8, 10]


def test_async_of_the_run_around_it_is_the_mode_of_a_nested_workflow_elsewhere(ordinary, checkpointer, hold):
    seen = []

    @entrypoint
    def inner(number):
        found = double(number).result()
        assert hold.begun.wait(PATIENCE)
        seen.append(kinds(checkpointer, "other"))
        hold.go.set()
        return found

    @entrypoint
    def flow(number):
        return inner.invoke(number, thread_id="other")

    assert flow.invoke(1, thread_id="t", durability="async") == 2
    assert seen == [[["started"]]]


def test_many_outcomes_wait_for_room_and_none_is_lost(ordinary, checkpointer, monkeypatch, hold):
    monkeypatch.setattr("milepost._durability.MOST_QUEUED", 5)
    threading.Timer(0.05, hold.go.set).start()

    @entrypoint
    def flow(number):
        return sum(future.result() for future in [double(step) for step in range(40)])

    assert flow.invoke(1, thread_id="t", durability="async") == 1560
    sizes = [found.count("outcome") for found in kinds(checkpointer)]
    assert sum(sizes) == 40
    assert max(sizes) <= 5 + 3
