"""Sleeping: a run that waits for a time, holding nothing, woken by whoever sees it due."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from manual_clock import ManualClock
from milepost import Command, Engine, _known, entrypoint, interrupt, sleep, sleep_until, task
from milepost.checkpoint import Status
from milepost.errors import (
    DivergenceError,
    EngineClosed,
    InvalidSleep,
    NotFinished,
    NothingToResume,
    StorageUnavailable,
    ThreadBusy,
)

PATIENCE = 30
ran: Counter = Counter()


@pytest.fixture(autouse=True)
def _fresh():
    ran.clear()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def engine(checkpointer, clock):
    made = Engine(checkpointer=checkpointer, clock=clock)
    with made:
        yield made
    made.close()


@task
def step(name: str) -> str:
    ran[name] += 1
    return name


@entrypoint()
def naps(seconds: float) -> list:
    first = step("before").result()
    sleep(seconds)
    return [first, step("after").result()]


@pytest.fixture(autouse=True)
def _known_here():
    """Other modules may have a workflow of the same name: that of this one is known in its tests."""
    _known.add(naps._known)


def until(condition):
    """Wait for what another thread brings about."""
    for _ in range(3_000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it never came")


def test_a_run_sleeps_and_goes_on_when_the_time_has_come(engine, checkpointer, clock):
    run = naps.start(3600, thread_id="t")
    until(lambda: run.status == "sleeping")
    head = checkpointer.load_head("t")
    assert (head.owner, head.pending) == (None, ())
    assert head.wake == (clock.now() + timedelta(hours=1)).timestamp()
    with pytest.raises(NotFinished, match="sleeping"):
        run.result(0)
    (asleep,) = [call for call in naps.get_state(thread_id="t").tasks if call.status == "sleeping"]
    assert (asleep.name, asleep.kind) == ("sleep", "sleep")
    assert run.interrupts == ()
    clock.advance(3599)
    assert run.status == "sleeping"
    clock.advance(1)
    until(lambda: run.status == "done")
    assert run.result() == ["before", "after"]
    assert ran == {"before": 1, "after": 1}
    assert [event.kind for event in run.events()].count("workflow_sleeping") == 1


def test_invoke_waits_for_a_run_that_sleeps(engine, clock):
    from concurrent.futures import ThreadPoolExecutor

    def call():
        with engine:
            return naps.invoke(60, thread_id="t")

    with ThreadPoolExecutor(1) as caller:
        called = caller.submit(call)
        until(lambda: naps.get_state(thread_id="t").status == "sleeping")
        clock.advance(60)
        assert called.result(PATIENCE) == ["before", "after"]


def test_stream_goes_on_after_the_sleep_and_tells_each_thing_once(engine, clock):
    chunks = naps.stream(60, thread_id="t")
    assert next(chunks) == {"step": "before"}
    until(lambda: naps.get_state(thread_id="t").status == "sleeping")
    clock.advance(60)
    assert list(chunks) == [{"step": "after"}, {"naps": ["before", "after"]}]


def test_a_stream_that_is_left_while_the_run_sleeps_ends(engine, clock):
    chunks = naps.stream(60, thread_id="t")
    next(chunks)
    until(lambda: naps.get_state(thread_id="t").status == "sleeping")
    chunks.close()
    assert naps.get_state(thread_id="t").status == "sleeping"


def test_closing_the_engine_ends_an_invoke_that_waits(checkpointer, clock):
    engine, told = Engine(checkpointer=checkpointer, clock=clock), []

    def call():
        with engine:
            try:
                naps.invoke(60, thread_id="t")
            except EngineClosed as error:
                told.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    until(
        lambda: (
            checkpointer.load_head("t") is not None and checkpointer.load_head("t").status is Status.SLEEPING
        )
    )
    closing = threading.Thread(target=engine.close)
    closing.start()
    until(lambda: clock.advance(1) or not caller.is_alive())
    closing.join()
    assert len(told) == 1
    assert checkpointer.load_head("t").status is Status.SLEEPING


def test_another_process_wakes_what_this_one_put_to_sleep(checkpointer, clock):
    first = Engine(checkpointer=checkpointer, clock=clock)
    with first:
        run = naps.start(60, thread_id="t")
        until(lambda: run.status == "sleeping")
    first.close()
    second = Engine(checkpointer=checkpointer, clock=clock, recover=True, poll=5)
    second.begin()
    for _ in range(13):
        clock.advance(5)
    until(lambda: clock.advance(5) or second.run("t").status == "done")
    assert ran == {"before": 1, "after": 1}
    second.close()


def test_a_wake_up_is_at_its_time_and_not_at_the_next_look(checkpointer, clock):
    sleeper = Engine(checkpointer=checkpointer, clock=clock)
    with sleeper:
        run = naps.start(130, thread_id="t")
        until(lambda: run.status == "sleeping")
    sleeper.close()
    watcher = Engine(checkpointer=checkpointer, clock=clock, recover=True, poll=100)
    watcher.begin()
    until(lambda: 80 in clock.waits)  # the first look saw what is due before the third
    clock.advance(80)
    until(lambda: 130 in clock.waits)  # and the second is not the last word
    clock.advance(49)
    assert watcher.run("t").status == "sleeping"
    clock.advance(1)
    until(lambda: watcher.run("t").status == "done")  # nothing moves the clock to the next look
    watcher.close()


def test_a_question_and_a_sleep_side_by_side(engine, checkpointer, clock):
    @task
    def asks() -> str:
        return interrupt("who?")

    @task
    def naps_and_works() -> str:
        sleep(60)
        ran["woken"] += 1
        return "awake"

    @entrypoint()
    def both(_: int) -> list:
        one, two = asks(), naps_and_works()
        return [one.result(), two.result()]

    run = both.start(1, thread_id="t")
    until(lambda: run.status == "interrupted")
    (question,) = run.interrupts
    assert question.value == "who?"
    assert checkpointer.load_head("t").wake is not None
    watcher = Engine(checkpointer=checkpointer, clock=clock, recover=True, poll=5)
    watcher.begin()
    until(lambda: clock.advance(5) or ran["woken"] == 1)
    until(lambda: run.status == "interrupted")
    assert [asked.id for asked in run.interrupts] == [question.id]
    run.resume("ann")
    until(lambda: run.status == "done")
    assert run.result() == ["ann", "awake"]
    assert ran["woken"] == 1
    watcher.close()


def test_an_answer_while_another_part_sleeps_leaves_it_asleep(engine, clock):
    @task
    def asks() -> str:
        return interrupt("who?")

    @task
    def dozes() -> str:
        sleep(60)
        return "awake"

    @entrypoint()
    def both(_: int) -> list:
        one, two = asks(), dozes()
        return [one.result(), two.result()]

    run = both.start(1, thread_id="t")
    until(lambda: run.status == "interrupted")
    began = clock.now()
    clock.advance(30)
    run.resume("ann")
    until(lambda: run.status == "sleeping")
    until(lambda: [event for event in run.events() if event.kind == "workflow_sleeping"])
    (asleep,) = [event for event in run.events() if event.kind == "workflow_sleeping"]
    assert asleep.until == (began + timedelta(seconds=60)).isoformat()
    clock.advance(30)
    until(lambda: run.status == "done")


def test_a_question_that_expires_goes_on_by_itself(checkpointer, clock):
    engine = Engine(checkpointer=checkpointer, clock=clock, recover=True, poll=5)

    @entrypoint()
    def asks(_: int) -> str:
        return interrupt("who?", expires_in=60, default="nobody")

    with engine:
        run = asks.start(1, thread_id="t")
        until(lambda: run.status == "interrupted")
        until(lambda: clock.advance(5) or run.status == "done")
        assert run.result() == "nobody"
    engine.close()


def test_a_sleeping_run_takes_no_new_input_and_no_answer(engine, clock):
    run = naps.start(60, thread_id="t")
    until(lambda: run.status == "sleeping")
    for call in (naps.invoke, naps.start):
        with pytest.raises(ThreadBusy, match="sleeps until") as error:
            call(1, thread_id="t")
        assert error.value.since is not None
        assert error.value.owner is None
    with pytest.raises(NothingToResume, match="sleeps"):
        run.resume("wake up")
    assert run.status == "sleeping"


def test_a_sleeping_run_is_cancelled_and_sleeps_on_when_it_is_retried(engine, clock):
    run = naps.start(60, thread_id="t")
    until(lambda: run.status == "sleeping")
    run.cancel()
    assert run.status == "cancelled"
    clock.advance(59)
    run.retry()
    until(lambda: run.status == "sleeping")
    clock.advance(1)
    until(lambda: run.status == "done")
    assert ran == {"before": 1, "after": 1}


def test_sleep_until_a_time_in_any_zone(engine, clock):
    @entrypoint()
    def waits(_: int) -> str:
        zone = datetime(2026, 1, 1, tzinfo=UTC).astimezone().tzinfo
        sleep_until((datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=1)).astimezone(zone))
        return "morning"

    run = waits.start(1)
    until(lambda: run.status == "sleeping")
    clock.advance(60)
    until(lambda: run.status == "done")


def test_what_is_over_already_does_not_pause(engine):
    @entrypoint()
    def hurries(_: int) -> str:
        sleep(0)
        sleep(timedelta(0))
        sleep_until(datetime(2020, 1, 1, tzinfo=UTC))
        return "done"

    run = hurries.start(1)
    until(lambda: run.status == "done")
    assert [event.kind for event in run.events()] == ["workflow_started", "workflow_finished"]


def test_a_time_that_cannot_be_is_refused(engine):
    @entrypoint()
    def wrong(_: int) -> int:
        count = 0
        for bad in (-1, "soon", True, float("nan"), timedelta(-1)):
            with pytest.raises(InvalidSleep):
                sleep(bad)
            count += 1
        for bad in (60, datetime(2026, 1, 1)):  # noqa: DTZ001 - what is refused
            with pytest.raises(InvalidSleep):
                sleep_until(bad)
            count += 1
        return count

    assert wrong.invoke(1, thread_id="t") == 7


def test_another_sleep_in_its_place_is_divergence(engine, clock):
    length = [60]

    @entrypoint()
    def changes(_: int) -> str:
        sleep(length[0])
        return "done"

    run = changes.start(1)
    until(lambda: run.status == "sleeping")
    length[0] = 90
    clock.advance(60)
    until(lambda: run.status == "failed")
    with pytest.raises(DivergenceError, match=r"sleep\("):
        run.result()


def test_without_a_checkpointer_the_thread_sleeps(clock):
    engine = Engine(clock=clock)
    over = threading.Event()

    def pass_time():
        while not over.wait(0.001):
            clock.advance(1)

    @entrypoint()
    def short(_: int) -> float:
        began = clock.monotonic()
        sleep(60)
        return clock.monotonic() - began

    passing = threading.Thread(target=pass_time)
    passing.start()
    with engine:
        assert short.invoke(1) >= 60
    over.set()
    passing.join()
    engine.close()


def test_an_interrupted_run_that_slept_before_goes_on(engine, clock):
    @entrypoint()
    def sleeps_then_asks(_: int) -> str:
        sleep(10)
        return interrupt("who?")

    run = sleeps_then_asks.start(1, thread_id="t")
    until(lambda: run.status == "sleeping")
    clock.advance(10)
    until(lambda: run.status == "interrupted")
    assert sleeps_then_asks.invoke(Command(resume="ann"), thread_id="t") == "ann"


def test_a_nested_run_that_sleeps_on_another_thread_has_no_outcome_when_the_run_around_it_stops(
    engine, clock
):
    @entrypoint()
    def around(_: int) -> list:
        return naps.invoke(3600, thread_id="inner")

    run = around.start(0, thread_id="outer")
    until(lambda: engine.checkpointer_for(engine, None).load_head("inner") is not None)
    until(lambda: engine.run("inner").status == "sleeping")
    run.cancel("later")
    until(lambda: run.status == "cancelled")
    run.retry()
    clock.advance(3600)
    assert run.result(PATIENCE) == ["before", "after"]


def test_a_copied_thread_that_sleeps_is_woken_too(engine, checkpointer, clock):
    run = naps.start(3600, thread_id="t")
    until(lambda: run.status == "sleeping")
    naps.copy_thread("t", "u")
    assert checkpointer.load_head("u").wake == checkpointer.load_head("t").wake


def test_a_backend_that_does_not_answer_when_a_run_is_due_is_asked_again(
    engine, checkpointer, clock, monkeypatch
):
    """No engine recovers here: only the process that put the run to sleep wakes it."""
    run = naps.start(60, thread_id="t")
    until(lambda: run.status == "sleeping")
    load_head, failed = checkpointer.load_head, threading.Event()

    def fails_once(thread):
        if threading.current_thread().name == "milepost-run" and not failed.is_set():
            failed.set()
            raise StorageUnavailable("no answer")
        return load_head(thread)

    monkeypatch.setattr(checkpointer, "load_head", fails_once)
    until(lambda: clock.advance(60) or failed.is_set())
    until(lambda: clock.advance(1) or run.status == "done")
