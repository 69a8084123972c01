"""Recovery: who takes up which runs, after how long, how often, and who leaves them alone."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections import Counter
from functools import partial

import pytest

from manual_clock import ManualClock
from milepost import Engine, _known, _owner, entrypoint, interrupt, open_checkpointer, task
from milepost._ids import token
from milepost._lease import Watch
from milepost._struct import replace
from milepost.checkpoint import Batch, Owner, Started, Status, Swap, Value
from milepost.errors import Corrupt, PositionTaken, RecoveryExhausted, StorageUnavailable

ran: Counter = Counter()
LEASE = 30.0


@pytest.fixture(autouse=True)
def _fresh():
    ran.clear()


@pytest.fixture(autouse=True)
def _known_here():
    """Other modules have workflows of the same names: those of this one are known in its tests."""
    for workflow in (steps, asks):
        _known.add(workflow._known)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def engine(checkpointer, clock):
    """An engine that recovers, of a process that has not looked yet."""
    made = Engine(checkpointer=checkpointer, clock=clock, recover=True, poll=5, lease=LEASE)
    with made:
        yield made
    made.close()


@task
def step(number: int) -> int:
    ran[number] += 1
    return number


@entrypoint()
def steps(count: int) -> list:
    return [step(number).result() for number in range(count)]


@entrypoint()
def asks(_: int) -> str:
    return interrupt("who?")


def until(condition):
    """Wait for what another thread brings about."""
    for _ in range(3_000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came")


def stranger():
    """An owner on another host: only its lease tells whether it lives."""
    return Owner(host="elsewhere", boot="b", pid=1, started=1, session=token())


def orphan(checkpointer, clock, owner, thread="t", *, workflow="steps", count=3, background=None):
    """A run whose process has just begun it."""
    now = clock.now().isoformat()
    started = Started(
        run=f"{0:012d}-x",
        workflow=workflow,
        at=now,
        owner=owner,
        input=Value(raw=count),
        step=1,
        background=background,
    )
    checkpointer.append(thread, 0, Batch(id=f"{owner.session}-0", records=(started,)))
    head = _head(thread, workflow, owner, now)
    assert checkpointer.swap_head(Swap(head=head, expected=None))
    return head


def _head(thread, workflow, owner, now):
    from milepost.checkpoint import Head

    return Head(
        thread=thread,
        version=1,
        status=Status.RUNNING,
        workflow=workflow,
        run=0,
        nonce=token(),
        updated=now,
        owner=owner,
        lease=LEASE,
    )


def dead():
    """An owner that lived on this host and is provably gone."""
    here = _owner.make()
    return replace(here, pid=2**22 + 1, started=1)


def test_the_run_of_a_process_that_died_here_is_taken_up_at_once(engine, checkpointer, clock):
    orphan(checkpointer, clock, dead())
    engine.begin()
    until(lambda: engine.run("t").status == "done")  # the clock stands still
    assert engine.run("t").result() == [0, 1, 2]
    resumed = [event for event in engine.run("t").events() if event.kind == "workflow_resumed"]
    assert [event.how for event in resumed] == ["claimed"]


def test_the_run_of_a_process_elsewhere_is_taken_up_when_its_head_stood_still_for_the_whole_lease(
    engine, checkpointer, clock
):
    orphan(checkpointer, clock, stranger())
    engine.begin()
    for _ in range(5):
        until(lambda: clock.waits)
        clock.advance(5)
    assert engine.run("t").status == "running"
    until(lambda: clock.advance(5) or engine.run("t").status == "done")
    assert ran == {0: 1, 1: 1, 2: 1}


def test_an_owner_that_renews_keeps_its_thread_whatever_its_clock_says(engine, checkpointer, clock):
    head = orphan(checkpointer, clock, stranger())
    engine.begin()
    times = ["2020-01-01T00:00:00+00:00", "2030-01-01T00:00:00+00:00"]  # an hour off, or a decade
    for number in range(12):
        renewed = replace(head, version=head.version + 1, nonce=token(), updated=times[number % 2])
        assert checkpointer.swap_head(Swap(head=renewed, expected=head.version))
        head = renewed
        until(partial(_sees, engine, checkpointer, head, clock))
        clock.advance(LEASE / 3)
    assert engine.run("t").status == "running"
    assert ran == {}


def _sees(engine, checkpointer, head, clock):
    clock.advance(1)
    return engine.watch._seen.get((id(checkpointer), head.thread), (0,))[0] == head.version


def test_a_run_that_its_caller_stopped_is_left_to_its_caller(engine, checkpointer, clock):
    head = orphan(checkpointer, clock, stranger())
    left = replace(head, version=2, nonce=token(), owner=None, lease=None)
    assert checkpointer.swap_head(Swap(head=left, expected=1))
    engine.begin()
    for _ in range(20):
        until(lambda: clock.waits)
        clock.advance(5)
    assert engine.run("t").status == "running"
    assert steps.invoke(None, thread_id="t") == [0, 1, 2]


def test_a_run_that_was_handed_on_is_taken_up_at_the_next_look(engine, checkpointer, clock):
    head = orphan(checkpointer, clock, stranger())
    offered = replace(head, version=2, nonce=token(), owner=None, lease=None, offered=True)
    assert checkpointer.swap_head(Swap(head=offered, expected=1))
    engine.begin()
    until(lambda: engine.run("t").status == "done")
    assert engine.run("t").result() == [0, 1, 2]


def test_a_run_that_kills_its_process_again_and_again_is_parked(checkpointer, clock, engine):
    orphan(checkpointer, clock, dead())
    for number in range(engine.max_recoveries):
        taken = _die(engine, checkpointer)
        assert (taken.run.status, taken.run.deaths) == ("running", number + 1)
    engine.begin()
    until(lambda: engine.run("t").status == "failed")
    with pytest.raises(RecoveryExhausted, match="died 6 times in a row") as error:
        engine.run("t").result()
    assert error.value.deaths == 6
    assert ran == {}
    run = engine.run("t")
    run.retry()
    until(lambda: run.status == "done")
    assert run.result() == [0, 1, 2]


def _die(engine, checkpointer):
    """Take the thread as recovery does, and die of it."""
    from milepost._adopt import Adopt
    from milepost._claim import Taken, Taker, take

    owner = dead()
    taker = Taker(
        checkpointer=checkpointer, thread="t", clock=engine.clock, watch=engine.watch, lease=engine.lease
    )
    taken = take(taker, Adopt(workflow="steps", most=engine.max_recoveries), owner)
    assert isinstance(taken, Taken)
    return taken


def test_deaths_are_counted_anew_when_something_was_recorded(checkpointer, clock, engine):
    from milepost.checkpoint import Outcome

    orphan(checkpointer, clock, dead())
    for number in range(3 * engine.max_recoveries):
        taken = _die(engine, checkpointer)
        assert (taken.run.status, taken.run.deaths) == ("running", 1)
        outcome = Outcome(
            call=f"9.{number}", name="step", digest="", shows="", began="", ended="", result=Value(raw=0)
        )
        checkpointer.append(
            "t", taken.state.tail, Batch(id=f"{taken.holding.owner.session}-1", records=(outcome,))
        )


def test_a_run_whose_workflow_nobody_here_knows_is_named_once(engine, checkpointer, clock, caplog):
    orphan(checkpointer, clock, dead(), workflow="vanished")
    with caplog.at_level(logging.WARNING, "milepost"):
        engine.begin()
        for _ in range(5):
            until(lambda: clock.waits)
            clock.advance(5)
    told = [record.getMessage() for record in caplog.records if "vanished" in record.getMessage()]
    assert len(told) == 1
    assert "'t'" in told[0]
    assert engine.run("t").status == "running"


def test_a_head_that_lags_behind_its_journal_is_mended(engine, checkpointer, clock):
    run = asks.start(1, thread_id="t")
    until(lambda: run.status == "interrupted")
    head = checkpointer.load_head("t")
    lagging = replace(
        head,
        version=head.version + 1,
        status=Status.RUNNING,
        owner=dead(),
        lease=LEASE,
        pending=(),
        nonce=token(),
    )
    assert checkpointer.swap_head(Swap(head=lagging, expected=head.version))
    assert run.status == "interrupted"  # its journal says so
    engine.begin()
    until(lambda: checkpointer.load_head("t").status is Status.INTERRUPTED or clock.advance(5))
    assert checkpointer.load_head("t").pending == head.pending
    run.resume("ann")
    until(lambda: run.status == "done")


def test_an_engine_that_does_not_recover_leaves_orphans_alone(checkpointer, clock):
    orphan(checkpointer, clock, dead())
    engine = Engine(checkpointer=checkpointer, clock=clock)
    engine.begin()
    assert "milepost-recovery" not in {thread.name for thread in threading.enumerate()}
    engine.close()
    assert ran == {}


def test_recovery_begins_with_the_first_use_and_goes_on_when_a_backend_fails(
    checkpointer, clock, caplog, monkeypatch
):
    engine = Engine(checkpointer=checkpointer, clock=clock, recover=True, poll=5, lease=LEASE)
    orphan(checkpointer, clock, dead())
    faults, listed = iter(range(3)), checkpointer._list_heads

    def failing(*asked):
        if next(faults, None) is not None:
            raise Corrupt("a head that nobody can read")
        return listed(*asked)

    monkeypatch.setattr(checkpointer, "_list_heads", failing)
    with caplog.at_level(logging.WARNING, "milepost"), engine:
        steps.get_state(thread_id="another")
        until(lambda: clock.advance(5) or engine.run("t").status == "done")
    told = [record.getMessage() for record in caplog.records if "recovery cannot read" in record.getMessage()]
    assert len(told) == 1
    engine.close()


def test_a_workflow_of_the_same_name_that_came_later_is_the_one_that_is_known():
    @entrypoint(name="twice")
    def first(_: int) -> int:
        return 1

    @entrypoint(name="twice")
    def second(_: int) -> int:
        return 2

    assert _known.find("twice") is second._known
    del second
    gc.collect()
    assert _known.find("twice") is first._known


def test_a_forked_child_has_its_own_threads(tmp_path):
    engine = Engine(checkpointer=f"sqlite:///{tmp_path}/runs.db", recover=True, poll=0.05)
    with engine:
        steps.start(2, thread_id="parent").result(30)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if steps.start(3, thread_id="child").result(30) == [0, 1, 2] else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert engine.run("child").result(30) == [0, 1, 2]
    engine.close()


def test_who_took_the_head_without_an_answer_knows_it_also_when_word_was_left_in_it(clock):
    """The model of the journal's rules found this: the head has another version and nonce by then."""
    from milepost._claim import Start, Taken, Taker, ask_to_cancel, take

    driver = open_checkpointer("memory://?atomic_head=false&checked_tail=false")
    swap_head, lost = driver.swap_head, iter((True,))

    def answerless(swap):
        swapped = swap_head(swap)
        if next(lost, False):
            assert ask_to_cancel(driver, "t", swap.head.run, "enough")
            return False
        return swapped

    driver.swap_head = answerless
    taker = Taker(checkpointer=driver, thread="t", clock=clock, watch=Watch(clock), lease=LEASE)
    owner = _owner.begin()
    try:
        taken = take(taker, Start(workflow="steps", input=Value(raw=1)), owner)
    finally:
        _owner.end(owner)
    assert isinstance(taken, Taken)
    assert driver.load_head("t").owner == owner


def meets_a_writer(checkpointer, monkeypatch, *, fails=False):
    """Let the first who takes the thread find its position taken, with the head raised, as where these are two steps.

    Where it ``fails``, the backend does not answer when it reads again.
    """
    wake, load_head, left = checkpointer.wake, checkpointer.load_head, [1, 0]

    def taken(thread, position, batch, swap):
        if left[0]:
            left[0] -= 1
            assert checkpointer.swap_head(swap)
            left[1] = 2 if fails else 0
            raise PositionTaken(thread_id=thread, position=position)
        return wake(thread, position, batch, swap)

    def loaded(thread):
        if threading.current_thread().name != "milepost-run":
            return load_head(thread)
        left[1] -= 1
        if left[1] == 0:
            raise StorageUnavailable("no answer")
        return load_head(thread)

    monkeypatch.setattr(checkpointer, "wake", taken)
    monkeypatch.setattr(checkpointer, "load_head", loaded)


def test_a_request_to_cancel_survives_that_its_reader_meets_a_late_writer(
    engine, checkpointer, clock, monkeypatch
):
    head = orphan(checkpointer, clock, dead())
    asked = replace(head, version=2, nonce=token(), cancel="enough")
    assert checkpointer.swap_head(Swap(head=asked, expected=1))
    meets_a_writer(checkpointer, monkeypatch)
    engine.begin()
    until(lambda: engine.run("t").status in {"done", "cancelled"})
    assert (engine.run("t").status, ran) == ("cancelled", {})


@pytest.mark.parametrize("fails", [False, True], ids=["", "fails"])
def test_a_run_that_was_handed_on_stays_so_where_its_taker_meets_a_late_writer(
    checkpointer, clock, monkeypatch, fails
):
    """Nobody has died, so none of the deaths is used up that a run may have."""
    head = orphan(checkpointer, clock, stranger())
    offered = replace(head, version=2, nonce=token(), owner=None, lease=None, offered=True)
    assert checkpointer.swap_head(Swap(head=offered, expected=1))
    meets_a_writer(checkpointer, monkeypatch, fails=fails)
    with Engine(checkpointer=checkpointer, clock=clock, recover=True, max_recoveries=0) as engine:
        engine.begin()
        until(lambda: clock.advance(5) or checkpointer.load_head("t").status is not Status.RUNNING)
        assert engine.run("t").status == "done"
    engine.close()


def test_an_engine_is_used_and_closed_where_no_thread_can_begin(checkpointer, clock, monkeypatch):
    """As when the interpreter ends."""
    start = threading.Thread.start

    def refused(thread):
        if thread.name == "milepost-recovery":
            raise RuntimeError("can't create new thread at interpreter shutdown")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refused)
    with Engine(checkpointer=checkpointer, clock=clock, recover=True) as engine:
        assert steps.invoke(2, thread_id="t") == [0, 1]
    engine.close()


def test_a_workflow_whose_backend_does_not_open_is_left_out_and_named_once(
    engine, checkpointer, clock, caplog
):
    @entrypoint(checkpointer="nosuch://place")
    def elsewhere(_: int) -> int:
        return 1

    orphan(checkpointer, clock, dead())
    with caplog.at_level(logging.WARNING, "milepost"):
        engine.begin()
        until(lambda: engine.run("t").status == "done")
        until(lambda: clock.advance(5) or len(clock.waits) > 0)
        clock.advance(5)
    told = [record.getMessage() for record in caplog.records if "'elsewhere' out" in record.getMessage()]
    assert len(told) == 1
    assert elsewhere.name == "elsewhere"


def test_a_request_to_cancel_a_run_that_paused_before_its_process_died_is_carried_out(
    engine, checkpointer, clock
):
    run = asks.start(1, thread_id="t")
    until(lambda: run.status == "interrupted")
    head = checkpointer.load_head("t")
    lagging = replace(
        head,
        version=head.version + 1,
        status=Status.RUNNING,
        owner=dead(),
        lease=LEASE,
        nonce=token(),
        cancel="enough",
    )
    assert checkpointer.swap_head(Swap(head=lagging, expected=head.version))
    engine.begin()
    until(lambda: clock.advance(5) or checkpointer.load_head("t").status is Status.CANCELLED)
    assert run.status == "cancelled"
