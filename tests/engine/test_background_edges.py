"""Edges of runs in the background: lost races, threads that do not start, joins of what rests, closing engines."""

from __future__ import annotations

import gc
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import milepost
from manual_clock import ManualClock
from milepost import Engine, busy, entrypoint, get_stream_writer, interrupt, sleep, task
from milepost._adopt import Adopt
from milepost._claim import Settled, Start, Taken, Taker, ask_to_cancel, change, take
from milepost._ids import token
from milepost._keys import thread_of
from milepost._lease import Watch
from milepost._owner import make
from milepost._slots import Slots
from milepost._struct import replace
from milepost._travel import Cancel
from milepost.checkpoint import Status, Swap, Value
from milepost.errors import (
    EngineClosed,
    IdempotencyConflict,
    InvalidStart,
    NothingToCancel,
    NothingToResume,
    RunAbandoned,
    RunCancelled,
    StorageError,
    ThreadBusy,
    UnknownThread,
)

PATIENCE = 30
gate = threading.Event()
entered = threading.Event()


@pytest.fixture(autouse=True)
def _fresh():
    gate.clear()
    entered.clear()
    for workflow in (edge_holds, edge_asks, edge_naps):
        milepost._known.add(workflow._known)
    yield
    gate.set()


@task
def hold(number: int) -> int:
    entered.set()
    assert gate.wait(PATIENCE)
    return number


@entrypoint()
def edge_holds(number: int) -> int:
    return hold(number).result() + 1


@entrypoint()
def edge_asks(number: int) -> list:
    first = hold(number).result()
    return [first, interrupt("who?")]


@entrypoint()
def edge_naps(number: int) -> int:
    first = hold(number).result()
    sleep(0.05)
    return first


def until(condition):
    """Wait for what another thread brings about."""
    for _ in range(3_000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came")


def dead():
    """An owner that lived on this host and is provably gone."""
    return replace(make(), pid=2**22 + 1, started=1)


def taker(checkpointer, thread="t"):
    clock = ManualClock()
    return Taker(checkpointer=checkpointer, thread=thread, clock=clock, watch=Watch(clock), lease=30.0)


def started_by(owner, checkpointer, workflow="edge_holds", **said):
    """Take a thread with a start, as a process that then does nothing more."""
    taken = take(taker(checkpointer), Start(workflow=workflow, input=Value(raw=1), **said), owner)
    assert isinstance(taken, Taken)
    return taken


# -- adopting ----------------------------------------------------------------------------------------------------------


def test_whoever_takes_up_a_run_whose_cancellation_was_asked_for_cancels_it(checkpointer):
    started_by(dead(), checkpointer)
    head = checkpointer.load_head("t")
    assert ask_to_cancel(checkpointer, "t", head.run, "enough")
    assert ask_to_cancel(checkpointer, "t", head.run, "again")  # once is enough
    assert not ask_to_cancel(checkpointer, "t", head.run + 7, "another run")
    assert checkpointer.load_head("t").version == head.version + 1
    engine = Engine(checkpointer=checkpointer, recover=True, poll=0.02)
    run = engine.run("t")
    until(lambda: run.status == "cancelled")
    with pytest.raises(RunCancelled) as error:
        run.result()
    assert error.value.reason == "enough"
    engine.close()


def test_what_needs_nobody_is_left_alone(checkpointer):
    with pytest.raises(UnknownThread):
        change(taker(checkpointer), Adopt(workflow="edge_holds", most=5))
    first = started_by(dead(), checkpointer)
    other = take(taker(checkpointer), Adopt(workflow="edge_holds", most=5, run="another"), dead())
    assert isinstance(other, Settled)
    head = checkpointer.load_head("t")
    left = replace(head, version=head.version + 1, owner=None, lease=None, nonce=token())
    assert checkpointer.swap_head(Swap(head=left, expected=head.version))
    assert isinstance(take(taker(checkpointer), Adopt(workflow="edge_holds", most=5), dead()), Settled)
    eager = take(taker(checkpointer), Adopt(workflow="edge_holds", most=5, eager=True), dead())
    assert isinstance(eager, Taken)
    assert (eager.run.id, eager.run.deaths) == (first.run.id, 0)


def test_a_thread_that_cannot_be_taken_up_is_named(checkpointer, caplog, monkeypatch):
    engine = Engine(checkpointer=checkpointer)
    started_by(dead(), checkpointer)
    monkeypatch.setattr(checkpointer, "load_head", lambda _: (_ for _ in ()).throw(StorageError("broken")))
    with caplog.at_level(logging.WARNING, "milepost"):
        edge_holds._known.adopt(engine, checkpointer, "t")
    assert "'t' was not taken up: broken" in caplog.text
    engine.close()
    monkeypatch.undo()
    edge_holds._known.adopt(engine, checkpointer, "t")  # a closed engine takes nothing up
    assert checkpointer.load_head("t").owner is not None


def test_a_workflow_that_is_gone_does_nothing(checkpointer, engine):
    @entrypoint()
    def passing(_: int) -> int:
        return 1

    adopter = passing._known
    assert adopter.backend(engine) is checkpointer
    del passing
    gc.collect()
    assert adopter.backend(engine) is None
    adopter.adopt(engine, checkpointer, "t")
    adopter.go_on(engine, checkpointer, "t", None)


# -- joining -----------------------------------------------------------------------------------------------------------


def test_joining_what_comes_to_ask_or_to_sleep(engine):
    for workflow, expected in ((edge_asks, "who?"), (edge_naps, 3)):
        gate.clear()
        entered.clear()
        run = workflow.start(3, thread_id=workflow.name)
        assert entered.wait(PATIENCE)

        def join(workflow=workflow):
            with engine:
                return workflow.invoke(None, thread_id=workflow.name, busy=busy.join)

        with ThreadPoolExecutor(1) as other:
            joined = other.submit(join)
            gate.set()
            found = joined.result(PATIENCE)
        if workflow is edge_asks:
            (question,) = found["__interrupt__"]
            assert (question.value, run.status) == (expected, "interrupted")
        else:
            assert found == expected


def test_joining_what_is_cancelled_raises_that(engine, monkeypatch):
    run, attached = edge_holds.start(3, thread_id="t"), threading.Event()
    assert entered.wait(PATIENCE)
    joining = milepost.Workflow._join

    def join_and_say(*given):
        attached.set()
        return joining(*given)

    monkeypatch.setattr(milepost.Workflow, "_join", join_and_say)

    def join():
        with engine:
            return edge_holds.invoke(3, thread_id="t", busy="join")

    with ThreadPoolExecutor(1) as other:
        joined = other.submit(join)
        assert attached.wait(PATIENCE)
        run.cancel("enough")
        gate.set()
        with pytest.raises(RunCancelled):
            joined.result(PATIENCE)


def test_a_closing_engine_ends_waits_for_busy_threads(checkpointer):
    holder = Engine(checkpointer=checkpointer)
    holder.start(edge_holds, 3, thread_id="t")
    assert entered.wait(PATIENCE)
    for policy in (busy.wait(), busy.join):
        waiter, told = Engine(checkpointer=checkpointer), []

        def call(waiter=waiter, told=told, policy=policy):
            with waiter:
                try:
                    edge_holds.invoke(4, thread_id="t", busy=policy)
                except EngineClosed as error:
                    told.append(error)

        calling = threading.Thread(target=call)
        calling.start()
        waiter.drain()
        calling.join(PATIENCE)
        assert len(told) == 1
        waiter.close()
    gate.set()
    holder.close()


# -- starting ----------------------------------------------------------------------------------------------------------


def test_start_goes_back_to_no_run(engine):
    with pytest.raises(InvalidStart, match="checkpoint_id"):
        edge_holds.start(1, {"configurable": {"checkpoint_id": "000000000000-x"}})


def test_where_no_thread_can_begin_the_run_is_handed_on(engine, checkpointer, monkeypatch):
    begin = threading.Thread.start

    def refuse(thread):
        if thread.name == "milepost-run":
            raise RuntimeError("can't start new thread")
        begin(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        edge_holds.start(1, thread_id="t")
    head = checkpointer.load_head("t")
    assert (head.status, head.owner, head.offered) == (Status.RUNNING, None, True)
    assert engine.slots.active == 0


def test_what_an_engine_may_be_made_with():
    for wrong in ({"poll": 0}, {"background": -1}, {"max_recoveries": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Engine(**wrong)


def test_of_two_that_bring_one_key_for_two_threads_one_is_refused(engine, checkpointer, monkeypatch):
    """The second one's record of the key comes too late by one append."""
    append, anchor = checkpointer.append, thread_of(None, "k")

    def late(thread, position, batch, swap=None):
        if thread == anchor:
            monkeypatch.setattr(checkpointer, "append", append)
            gate.set()
            edge_holds.start(1, thread_id="first", idempotency_key="k").result(PATIENCE)
        return append(thread, position, batch, swap)

    monkeypatch.setattr(checkpointer, "append", late)
    with pytest.raises(IdempotencyConflict, match="first"):
        edge_holds.start(1, thread_id="second", idempotency_key="k")
    assert checkpointer.load_head("second") is None


# -- handles -----------------------------------------------------------------------------------------------------------


def test_a_handle_of_a_thread_that_was_deleted_says_so(engine, checkpointer):
    gate.set()
    run = edge_holds.start(1, thread_id="t")
    assert run.result(PATIENCE) == 2
    assert "edge_holds" in repr(run)
    checkpointer.delete("t")
    for look in (lambda: run.status, lambda: run.interrupts, run.result):
        with pytest.raises(UnknownThread):
            look()


def test_an_older_run_is_told_of_to_its_end_and_forked(engine):
    run = edge_asks.start(1, thread_id="t")
    gate.set()
    until(lambda: run.status == "interrupted")
    newer = edge_holds_on(engine, run)
    kinds = [event.kind for event in run.events(follow=True)]
    assert (kinds[0], kinds[-1]) == ("workflow_started", "workflow_abandoned")
    assert next(event.kind for event in newer.events()) == "workflow_started"
    with pytest.raises(RunAbandoned):
        run.result()
    for act in (run.cancel, run.retry):
        with pytest.raises((NothingToCancel, NothingToResume)):
            act()
    forked = run.fork("elsewhere")
    until(lambda: forked.status == "interrupted")
    assert (forked.thread_id, forked.interrupts[0].value) == ("elsewhere", "who?")


def edge_holds_on(engine, run):
    newer = edge_asks.start(2, thread_id=run.thread_id)
    until(lambda: newer.status == "interrupted")
    return newer


def test_a_plain_answer_to_a_busy_thread_is_refused_at_once(engine):
    run = edge_asks.start(1, thread_id="t")
    assert entered.wait(PATIENCE)
    with pytest.raises(ThreadBusy):
        run.resume("ann")
    gate.set()
    until(lambda: run.status == "interrupted")


# -- slots -------------------------------------------------------------------------------------------------------------


def test_a_slot_outlives_what_goes_wrong_in_it(caplog):
    slots, done = Slots(1), threading.Event()

    def fails():
        raise RuntimeError("of milepost's own")

    with caplog.at_level(logging.ERROR, "milepost"):
        slots.submit("a", fails, None)
        slots.submit("b", done.set, None)
        assert done.wait(PATIENCE)
    assert "error of milepost's own" in caplog.text
    until(lambda: slots.active == 0)
    slot = slots.reserve()
    assert slots.reserve() is None
    again = threading.Event()
    slots.submit("c", again.set, None)
    slots.free(slot, None)
    assert again.wait(PATIENCE)
    slots.close()
    assert slots.reserve() is None
    slots.submit("d", fails, None)


# -- waiting for one run, going on as it began, failing before it begins -----------------------------------------------


def test_invoke_that_waits_for_a_sleeping_run_gets_what_that_run_comes_to(checkpointer):
    clock = ManualClock()
    engine = Engine(checkpointer=checkpointer, clock=clock, poll=0.1)
    told = []

    @entrypoint()
    def naps(number: int) -> int:
        sleep(3600 if number == 1 else 0)
        return number

    def call():
        with engine:
            try:
                told.append(naps.invoke(1, thread_id="t"))
            except (RunCancelled, RunAbandoned) as error:
                told.append(type(error))

    calling = threading.Thread(target=call)
    calling.start()
    until(
        lambda: checkpointer.load_head("t") is not None and checkpointer.load_head("t").status == "sleeping"
    )
    with engine:
        sleeping = engine.run("t")
        sleeping.cancel("no time")
        assert naps.invoke(2, thread_id="t", busy=busy.wait(PATIENCE)) == 2
        calling.join(PATIENCE)  # long before its time
    assert told in ([RunCancelled], [RunAbandoned])  # the second where the new run had begun before it looked
    engine.close()


def test_a_run_goes_on_with_as_many_tasks_at_once_as_it_was_started_with(engine):
    now, most, lock = [0], [0], threading.Lock()

    @task
    def counted(number: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.02)
        with lock:
            now[0] -= 1
        return number

    @entrypoint()
    def wide(_: int) -> list:
        interrupt("go on?")
        return [future.result() for future in [counted(number) for number in range(6)]]

    run = wide.start(1, {"max_concurrency": 1}, durability="async", thread_id="t")
    until(lambda: run.status == "interrupted")
    run.resume(True)
    assert run.result(PATIENCE) == list(range(6))
    assert most == [1]


def test_a_run_that_cannot_even_begin_fails(engine, checkpointer, monkeypatch):
    def broken(*_):
        raise TypeError("its context has a field that is gone")

    with monkeypatch.context() as patch:
        patch.setattr(milepost.Workflow, "_execution_of", broken)
        run = edge_holds.start(1, thread_id="t")
        until(lambda: run.status == "failed")
    with pytest.raises(TypeError, match="a field that is gone"):
        run.result()
    assert checkpointer.load_head("t").owner is None
    gate.set()
    run.retry()
    assert run.result(PATIENCE) == 2


def test_a_coroutine_without_a_checkpointer_does_not_block_its_loop(plain_engine):
    import asyncio

    @entrypoint()
    async def naps(_: int) -> int:
        sleep(0.01)
        return 1

    with pytest.raises(milepost.errors.WouldBlock, match=r"asyncio\.sleep"):
        asyncio.run(naps.ainvoke(1))


def test_a_custom_event_over_the_limit_of_the_backend_is_told_by_its_size(checkpointer, monkeypatch):
    @entrypoint()
    def writes(_: int) -> str:
        get_stream_writer()("x" * 5_000)
        return "done"

    monkeypatch.setattr(checkpointer, "max_batch_bytes", 2_000)
    engine = Engine(checkpointer=checkpointer)
    with engine:
        run = writes.start(1)
        assert run.result(PATIENCE) == "done"
    (told,) = [event.value for event in run.events() if event.kind == "custom_written"]
    assert "over the backend's limit of 2000" in told
    engine.close()


def test_what_a_handle_asks_of_a_thread_that_is_gone(engine, checkpointer):
    gate.set()
    run = edge_holds.start(1, thread_id="t")
    run.result(PATIENCE)
    with pytest.raises(NothingToCancel):
        change(taker(checkpointer), Cancel(workflow="edge_holds", reason=None, run="another"))
    checkpointer.delete("t")
    for act in (run.retry, run.cancel):
        with pytest.raises(UnknownThread):
            act()


def test_a_call_that_was_cancelled_is_told_of(engine):
    @entrypoint()
    def cancels(_: int) -> bool:
        futures = [hold(number) for number in range(8)]
        entered.wait(PATIENCE)
        cancelled = futures[-1].cancel()
        gate.set()
        return cancelled

    run = cancels.start(1)
    assert run.result(PATIENCE) in {True, False}
    kinds = {event.kind for event in run.events()}
    assert ("task_cancelled" in kinds) is run.result()


def test_a_thread_that_changes_hands_all_the_time_is_busy(engine, monkeypatch):
    run = edge_holds.start(1, thread_id="t")
    assert entered.wait(PATIENCE)
    monkeypatch.setattr("milepost._claim.ask_to_cancel", lambda *_: False)
    with pytest.raises(ThreadBusy, match="too fast"):
        run.cancel()
    gate.set()
    assert run.result(PATIENCE) == 2


def test_a_result_is_asked_for_again_where_the_run_went_on_meanwhile(engine, monkeypatch):
    gate.set()
    run = edge_asks.start(1, thread_id="t")
    until(lambda: run.status == "interrupted")
    looked, status = iter([Status.FAILED]), milepost.Run.status.fget
    monkeypatch.setattr(milepost.Run, "status", property(lambda self: next(looked, None) or status(self)))
    with pytest.raises(milepost.errors.NotFinished) as error:
        run.result(0.01)
    assert error.value.status == "interrupted"


def test_what_is_beyond_the_runs_that_may_wait_is_left_to_the_next_look(monkeypatch):
    monkeypatch.setattr("milepost._slots._MOST_WAITING", 1)
    slots, done = Slots(1), []
    slot = slots.reserve()
    for name in "ab":
        slots.submit(name, lambda name=name: done.append(name), None)
    slots.free(slot, None)
    until(lambda: slots.active == 0)
    assert done == ["a"]
