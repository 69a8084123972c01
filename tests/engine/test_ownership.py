"""One writer per thread: owners alive, dead, thawed, of other hosts, racing, and owners whose disk fails."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import threading

import pytest

import milepost
from manual_clock import ManualClock
from milepost import Command, entrypoint, interrupt, task
from milepost._claim import read_thread
from milepost._ids import token
from milepost._struct import replace
from milepost.checkpoint import Claimed, Outcome, Status, Swap
from milepost.errors import (
    AlreadyAnswered,
    MilepostError,
    NothingToResume,
    StorageError,
    StorageUnavailable,
    ThreadBusy,
    UnknownThread,
)
from milepost.memory import MemoryCheckpointer
from milepost.testing import Faulty
from other_process import OtherProcess

REPLAY_ALWAYS = os.environ.get("MILEPOST_TEST_REPLAY") == "always"
WORKERS = int(os.environ.get("MILEPOST_TEST_WORKERS", "4"))

FLOW = """
    @task
    def first():
        note("first")
        return 1

    @task
    def hold():
        note("hold")
        say("holding")
        wait_for("go")
        return 2

    @task
    def last():
        note("last")
        return 3

    @entrypoint()
    def flow(_):
        return [first().result(), hold().result(), last().result()]
"""

RUN = (
    FLOW
    + """
    with make_engine(checkpointer="sqlite:///flow.db", lease=float(sys.argv[1])):
        try:
            say(flow.invoke("go", thread_id="t"))
        except milepost.errors.MilepostError as error:
            say(type(error).__name__)
"""
)


class Here:
    """The same workflow in this process, whose tasks do not wait."""

    def __init__(self, directory, engine):
        self.engine = engine
        self.checkpointer = engine.checkpointer_for(self, None)

        def note(text):
            with (directory / "ledger").open("a") as ledger:
                ledger.write(f"{text}\n")

        @task
        def first():
            note("first")
            return 1

        @task
        def hold():
            note("hold")
            return 2

        @task
        def last():
            note("last")
            return 3

        @entrypoint()
        def flow(_):
            return [first().result(), hold().result(), last().result()]

        self.flow = flow
        self.ledger = lambda: (directory / "ledger").read_text().split()


@pytest.fixture
def here(tmp_path):
    engine = milepost.Engine(
        checkpointer=f"sqlite:///{tmp_path}/flow.db", workers=WORKERS, replay_always=REPLAY_ALWAYS
    )
    with engine:
        yield Here(tmp_path, engine)
    engine.close()


def records(checkpointer, thread="t"):
    """Return each record with its position and session; checks that there is no gap and nothing illegal."""
    batches = list(checkpointer.read(thread))
    tail = checkpointer.tail(thread)
    assert [position for position, _ in batches] == list(range(tail - len(batches), tail))
    assert read_thread(checkpointer, thread, None).rejected == []
    return [(position, batch.session, record) for position, batch in batches for record in batch.records]


def outcomes(checkpointer, thread="t"):
    return [record.call for _, _, record in records(checkpointer, thread) if type(record) is Outcome]


def watch_until_taken(flow, deadline=60.0):
    """Go on as somebody does who is told when to come again; return the result."""
    clock = milepost._clock.SystemClock()
    end = clock.monotonic() + deadline
    while clock.monotonic() < end:
        try:
            return flow.invoke(None, thread_id="t")
        except ThreadBusy as busy:
            threading.Event().wait(busy.retry_after)
    raise AssertionError("the lease never ended")


# -- two processes, one SQLite file ------------------------------------------------------------


def test_a_second_process_is_told_who_holds_the_thread(here, tmp_path):
    with OtherProcess(RUN, tmp_path, "30") as owner:
        owner.until("holding")
        before = here.checkpointer.tail("t")
        for given in ("new", None, Command(resume="yes")):
            with pytest.raises(ThreadBusy) as caught:
                here.flow.invoke(given, thread_id="t")
            assert f"process {owner.pid}" in caught.value.owner
            assert caught.value.owner in str(caught.value)
            assert 0 < caught.value.retry_after <= 30
        assert here.checkpointer.tail("t") == before
        assert here.flow.get_state(thread_id="t").owner.pid == owner.pid
        owner.tell("go")
        assert owner.end()[-1] == "[1, 2, 3]"
    assert here.flow.invoke(None, thread_id="t") == [1, 2, 3]
    assert here.ledger() == ["first", "hold", "last"]


@pytest.mark.parametrize("reap", [True, False], ids=["gone", "unreaped zombie"])
def test_the_thread_of_a_killed_process_is_taken_over_at_once(here, tmp_path, reap):
    with OtherProcess(RUN, tmp_path, "3600") as owner:
        owner.until("holding")
        owner.kill(reap=reap)
        assert here.flow.invoke(None, thread_id="t") == [1, 2, 3]
    assert here.ledger() == ["first", "hold", "hold", "last"]
    assert sorted(outcomes(here.checkpointer)) == ["0", "1", "2"]


def test_new_input_closes_the_run_of_a_killed_process(here, tmp_path):
    with OtherProcess(RUN, tmp_path, "3600") as owner:
        owner.until("holding")
        owner.kill()
    assert here.flow.invoke("new", thread_id="t") == [1, 2, 3]
    kinds = [record.kind for _, _, record in records(here.checkpointer)]
    assert kinds.count("started") == 2
    assert kinds[2:5] == ["claimed", "abandoned", "started"]


def test_a_thawed_owner_is_told_that_it_lost_and_writes_nothing(here, tmp_path):
    with OtherProcess(RUN, tmp_path, "0.6") as owner:
        owner.until("holding")
        owner.signal(signal.SIGSTOP)
        assert watch_until_taken(here.flow) == [1, 2, 3]
        taken = here.checkpointer.load_head("t")
        owner.signal(signal.SIGCONT)
        owner.tell("go")
        assert owner.end()[-1] == "OwnershipLost"
    found = records(here.checkpointer)
    former = found[0][1]
    (claimed,) = [position for position, _, record in found if type(record) is Claimed]
    assert all(position < claimed for position, session, _ in found if session == former)
    assert sorted(outcomes(here.checkpointer)) == ["0", "1", "2"]
    assert here.ledger() == ["first", "hold", "hold", "last"]
    assert here.checkpointer.load_head("t") == taken


def test_a_lease_is_renewed_for_as_long_as_one_task_runs(here, tmp_path):
    lease = 0.6
    with OtherProcess(RUN, tmp_path, str(lease)) as owner:
        owner.until("holding")
        versions = set()
        clock = milepost._clock.SystemClock()
        end = clock.monotonic() + 4 * lease
        while clock.monotonic() < end:
            with pytest.raises(ThreadBusy):
                here.flow.invoke(None, thread_id="t")
            versions.add(here.checkpointer.load_head("t").version)
            threading.Event().wait(lease / 12)
        assert len(versions) >= 4
        owner.tell("go")
        assert owner.end()[-1] == "[1, 2, 3]"
    assert here.ledger() == ["first", "hold", "last"]


# -- owners elsewhere, on a clock that stands still ------------------------------------------------------------


@task
def work(number):
    return number


class Crash(BaseException):
    """Stands for the end of the process at this point."""


@pytest.fixture
def cut_off(checkpointer):
    """A thread whose run was cut off, with an engine on a manual clock, and the means to edit its head."""
    clock, crashed = ManualClock(), []

    @entrypoint()
    def flow(_):
        found = work(1).result()
        if not crashed:
            crashed.append(1)
            raise Crash
        return found

    engine = milepost.Engine(
        checkpointer=checkpointer, workers=WORKERS, replay_always=REPLAY_ALWAYS, clock=clock, lease=30.0
    )
    with engine:
        with pytest.raises(Crash):
            flow.invoke("go", thread_id="t")
        (owner,) = {record.owner for _, _, record in records(checkpointer) if hasattr(record, "owner")}

        def edit(**changes):
            head = checkpointer.load_head("t")
            owned = replace(
                head, version=head.version + 1, nonce=token(), owner=replace(owner, **changes), lease=30.0
            )
            assert checkpointer.swap_head(Swap(head=owned, expected=head.version))

        yield flow, clock, edit
    engine.close()


def busy(flow):
    with pytest.raises(ThreadBusy) as caught:
        flow.invoke(None, thread_id="t")
    return caught.value.retry_after


@pytest.mark.parametrize(
    "elsewhere",
    [{"host": "another-host"}, {"boot": "another-boot/pid:[1]"}, {"boot": ""}],
    ids=["another host", "another boot or namespace", "no boot id"],
)
def test_an_owner_elsewhere_is_replaced_when_its_lease_has_not_changed_for_its_whole_length(
    cut_off, elsewhere
):
    flow, clock, edit = cut_off
    edit(**elsewhere)
    assert busy(flow) == 30.0
    clock.advance(29.0)
    assert busy(flow) == 1.0
    clock.advance(1.0)
    assert flow.invoke(None, thread_id="t") == 1


def test_an_owner_elsewhere_that_renews_is_watched_from_the_start(cut_off):
    flow, clock, edit = cut_off
    edit(host="another-host")
    for _ in range(5):
        assert busy(flow) == 30.0
        clock.advance(29.0)
        edit(host="another-host")
    clock.advance(100.0)
    assert busy(flow) == 30.0


@pytest.mark.parametrize(
    "change", [{"started": 1}, {"session": "never-begun"}], ids=["id used again", "ended"]
)
def test_an_owner_of_this_host_whose_process_or_session_is_gone_is_replaced_at_once(cut_off, change):
    flow, _, edit = cut_off
    edit(**change)
    assert flow.invoke(None, thread_id="t") == 1


def test_another_live_process_of_this_host_is_not_replaced(cut_off):
    flow, _, edit = cut_off
    parent = os.getppid()
    edit(pid=parent, started=milepost._owner._started(parent), session="theirs")
    assert busy(flow) == 30.0


def test_a_call_in_this_process_is_busy_until_it_ends(engine):
    entered, leave = threading.Event(), threading.Event()

    @entrypoint()
    def flow(_):
        entered.set()
        leave.wait(30)
        return "done"

    def run():
        with engine:
            flow.invoke("go", thread_id="t")

    thread = threading.Thread(target=run)
    thread.start()
    entered.wait(30)
    try:
        with pytest.raises(ThreadBusy, match="in this process") as caught:
            flow.invoke(None, thread_id="t")
        assert caught.value.retry_after is None
    finally:
        leave.set()
        thread.join()
    assert flow.invoke(None, thread_id="t") == "done"


# -- races ------------------------------------------------------------

ROUNDS = 200


def race(engine, calls):
    """Make the calls at the same moment, each in a thread; return results and errors in the order of the calls."""
    barrier = threading.Barrier(len(calls))
    found = [None] * len(calls)

    def run(number):
        with engine:
            barrier.wait()
            try:
                found[number] = calls[number]()
            except MilepostError as error:
                found[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_of_two_resumes_at_once_one_wins_and_the_other_is_told(engine, checkpointer, every):
    ran = []

    @task
    def act(answer):
        ran.append(answer)
        return answer

    @entrypoint()
    def flow(_):
        return act(interrupt("?")).result()

    for number in range(0, ROUNDS, every):
        ran.clear()
        thread = f"t{number}"
        flow.invoke("go", thread_id=thread)
        found = race(
            engine, [lambda n=n, id_=thread: flow.invoke(Command(resume=n), thread_id=id_) for n in (1, 2)]
        )
        (winner,) = [result for result in found if not isinstance(result, MilepostError)]
        (loser,) = [result for result in found if isinstance(result, MilepostError)]
        assert type(loser) in (ThreadBusy, AlreadyAnswered, NothingToResume)
        assert ran == [winner]
        assert [record.kind for _, _, record in records(checkpointer, thread)] == [
            "started",
            "interrupted",
            "resumed",
            "outcome",
            "finished",
        ]


def test_of_two_starts_at_once_one_wins_and_the_other_is_told(engine, checkpointer, every):
    current = {}

    @entrypoint()
    def flow(number):
        current["lost"].wait(30)
        return number

    def start(number, id_):
        try:
            return flow.invoke(number, thread_id=id_)
        except ThreadBusy:
            current["lost"].set()
            raise

    for number in range(0, ROUNDS, every):
        thread = f"t{number}"
        current["lost"] = threading.Event()
        found = race(engine, [lambda n=n, id_=thread: start(n, id_) for n in (1, 2)])
        assert sorted(type(result).__name__ for result in found) == ["ThreadBusy", "int"]
        assert [record.kind for _, _, record in records(checkpointer, thread)] == ["started", "finished"]


def test_of_a_resume_and_a_new_start_at_once_the_journal_knows_which_came_first(engine, checkpointer, every):
    @entrypoint()
    def flow(name):
        return [name, interrupt("?")]

    for number in range(0, ROUNDS // 4, every):
        thread = f"t{number}"
        flow.invoke("old", thread_id=thread)
        found = race(
            engine,
            [
                lambda id_=thread: flow.invoke(Command(resume="yes"), thread_id=id_),
                lambda id_=thread: flow.invoke("new", thread_id=id_),
            ],
        )
        resumed, began = found
        kinds = [record.kind for _, _, record in records(checkpointer, thread)]
        if isinstance(began, ThreadBusy):
            assert kinds == ["started", "interrupted", "resumed", "finished"]
            assert resumed == ["old", "yes"]
        elif isinstance(resumed, MilepostError):
            assert kinds == ["started", "interrupted", "abandoned", "started", "interrupted"]
        elif resumed == ["old", "yes"]:
            assert kinds == ["started", "interrupted", "resumed", "finished", "started", "interrupted"]
        else:
            assert resumed == ["new", "yes"]
            assert kinds[-2:] == ["resumed", "finished"]


# -- disks that fail ------------------------------------------------------------


class Story:
    """A workflow with a task, a question, a failing task and another task; ``drive`` brings it to its end."""

    def __init__(self, checkpointer):
        self.ran = ran = []
        failed = []

        @task
        def step(name):
            ran.append(name)
            if name == "fails once" and not failed:
                failed.append(1)
                raise ConnectionError("try again")
            return name

        @entrypoint()
        def flow(_):
            first = step("first").result()
            answer = interrupt("?")
            retried = step("fails once").result()
            return [first, answer, retried, step("last").result()]

        self.flow = flow
        self.faulty = Faulty(checkpointer)
        self.engine = milepost.Engine(
            checkpointer=self.faulty, workers=WORKERS, replay_always=REPLAY_ALWAYS, lease=3600.0
        )

    def _next(self):
        """Return what is to be done next, as somebody finds out who knows nothing but the thread."""
        state = self.flow.get_state(thread_id="t")
        if state.status is None:
            return "go"
        return Command(resume="yes") if state.status is Status.INTERRUPTED else None

    def drive(self, meet, *, until_fault=False):
        """Go on until the end; with a fault, until it has shown, and then without it."""
        errors = []
        self.faulty.calls, self.faulty.meet = 0, meet
        with self.engine:
            for _ in range(20):
                try:
                    result = self.flow.invoke(self._next(), thread_id="t")
                except ConnectionError:
                    continue
                except (StorageError, Crash) as error:
                    errors.append(error)
                    self.faulty.meet = lambda number, when: None
                    continue
                except UnknownThread:
                    continue
                if isinstance(result, list):
                    return result, errors
        raise AssertionError(f"it never ended, after {errors}")


def once(number, when, error):
    def meet(call, moment):
        if (call, moment) == (number, when):
            raise error

    return meet


def from_then_on(number, when, error):
    def meet(call, moment):
        if call > number or (call, moment) == (number, when):
            raise error

    return meet


FAULTS = {
    "an error": (once, "before", StorageError("I/O error")),
    "an error after it was written": (once, "after", StorageError("I/O error")),
    "a lost answer": (once, "after", StorageUnavailable("no answer")),
    "a dead disk": (from_then_on, "before", StorageError("I/O error")),
    "a backend that went away": (from_then_on, "before", StorageUnavailable("no answer")),
    "a backend that went away after writing": (from_then_on, "after", StorageUnavailable("no answer")),
    "a driver that ends the process": (once, "before", Crash()),
    "a driver that ends the process after writing": (once, "after", Crash()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_disk_that_fails_at_any_point_leaves_the_thread_resumable(checkpointer, fault, every):
    """Every hook call of a whole run fails in turn: wake, outcome, rest, head, release, and what is read."""
    kind, when, error = FAULTS[fault]
    shown = 0
    for number in itertools.count(0, every):
        story = Story(checkpointer)
        result, errors = story.drive(kind(number, when, error))
        calls = story.faulty.calls
        story.engine.close()
        assert result == ["first", "yes", "fails once", "last"]
        assert set(map(type, errors)) <= {type(error)}
        # Call 2 has two outcomes, its failure and the one after the retry; one, if the failure was not recorded.
        recorded = sorted(outcomes(checkpointer))
        assert recorded in (["0", "2", "2", "3"], ["0", "2", "3"])
        # Only a task whose outcome could not be recorded has run once more.
        assert len(story.ran) in (4, 5)
        assert [name for name, _ in itertools.groupby(story.ran)] == ["first", "fails once", "last"]
        shown += bool(errors)
        checkpointer.delete("t")
        if number >= calls:
            break
    assert number > 10
    assert shown >= 5 // every or fault == "a lost answer"


def test_a_crash_between_head_and_journal_strands_nobody():
    """Where head and journal are two steps, the process ends between them, at every such place of a run."""
    for number in itertools.count():
        checkpointer = MemoryCheckpointer(atomic_head=False)
        story = Story(checkpointer)
        steps = itertools.count()
        original = {name: getattr(story.faulty, name) for name in ("_append", "_swap_head")}

        def between(name, *arguments, steps=steps, crash_after=number, original=original):
            found = original[name](*arguments)
            if next(steps) == crash_after:
                raise Crash
            return found

        for name in original:
            setattr(story.faulty, name, functools.partial(between, name))
        result, errors = story.drive(lambda number, when: None)
        for name, hook in original.items():
            setattr(story.faulty, name, hook)
        with story.engine:
            assert "__interrupt__" in story.flow.invoke("again", thread_id="t")
        story.engine.close()
        assert result == ["first", "yes", "fails once", "last"]
        records(checkpointer)
        assert checkpointer.load_head("t").status is Status.INTERRUPTED
        if not errors:
            break
    assert number > 10
