"""Tombstones, deletions that were cut off, and threads that are kept for a time only."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import errors

from milepost.checkpoint import Abandoned, Batch, Head, Status, Swap
from milepost.errors import PositionTaken, StorageError, StorageUnavailable
from milepost_mongodb import MongoDBCheckpointer
from milepost_mongodb._heads import HeadSwap
from mock_mongodb import serving

DAY = 86_400.0
HOUR = 3600.0


class Clock:
    """Stands still, on a day so far ahead that the mock's own expiry, which follows the real clock, is out of it."""

    def __init__(self):
        self.at = datetime(2100, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.at

    def advance(self, seconds):
        self.at += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def kept(opened, mock, clock):
    """A driver that keeps finished threads for a day."""
    return opened(retention=DAY, clock=clock)


def batch(name):
    return Batch(id=name, records=(Abandoned(at="now", run="x"),))


def head(version=1, status=Status.RUNNING, thread="t", **changes):
    fields = {"workflow": "w", "run": 0, "nonce": f"n{version}{status}", "updated": "now"}
    return Head(thread=thread, version=version, status=status, **(fields | changes))


def start(driver, version=1, thread="t", **changes):
    expected = version - 1 or None
    return driver.swap_head(Swap(head=head(version, thread=thread, **changes), expected=expected))


def finish(driver, version, thread="t", **changes):
    return driver.swap_head(Swap(head=head(version, Status.DONE, thread, **changes), expected=version - 1))


def run(driver, count=3, thread="t", version=1, first=0):
    """Do a run of so many batches."""
    assert start(driver, version, thread, run=first)
    for position in range(first, first + count):
        driver.append(thread, position, batch(f"{thread}-{position}"))
    assert finish(driver, version + 1, thread, run=first)


def ids(driver, thread="t"):
    return [found.id for _, found in driver.read(thread)]


def sweep(database, clock, ahead=0.0):
    """Remove what the server would have removed by now, or a while from now."""
    for name in ("batches", "chunks"):
        at = clock.at + timedelta(seconds=ahead)
        database[f"milepost_{name}"].delete_many({"purge": {"$lte": at.replace(tzinfo=None)}})


def documents(database):
    return sorted(found["_id"] for found in database["milepost_batches"].find())


# -- tombstones ----------------------------------------------------------------------------------------------------


def test_a_pruned_thread_without_a_head_has_a_floor_and_no_head(driver, database):
    driver.prune("t", 5)
    assert (driver.tail("t"), driver.load_head("t"), driver.list_heads()) == (5, None, ([], None))
    assert database["milepost_heads"].find_one() == {"_id": "t", "floor": 5}
    assert start(driver)
    assert driver.load_head("t") == head()
    driver.prune("t", 3)
    assert driver.tail("t") == 5


def test_a_deleted_thread_leaves_a_floor_and_stubs(driver, database):
    run(driver)
    driver.prune("t", 2, keep=[1])
    driver.delete("t")
    assert database["milepost_heads"].find_one() == {"_id": "t", "floor": 4}
    assert list(database["milepost_batches"].find()) == [
        {"_id": f"t/{position:012d}", "thread": "t", "position": position, "stub": True}
        for position in (1, 2, 3)
    ]
    assert (ids(driver), driver.load_head("t"), driver.list_heads()) == ([], None, ([], None))
    with pytest.raises(PositionTaken):
        driver._append("t", 3, b"{}", None)
    run(driver, count=1, first=4)
    assert (ids(driver), driver.load_head("t").version) == (["t-4"], 2)


def test_a_kept_position_below_the_floor_stays_occupied_and_unread(driver, opened):
    for position in range(4):
        driver.append("t", position, batch(f"b{position}"))
    driver.prune("t", 3, keep=[1, 3, 7])
    assert ids(driver) == ["b3"]
    assert driver._read("t", 0, 9) == [(3, batch("b3").encode())]
    with pytest.raises(PositionTaken):
        opened()._append("t", 1, b"{}", None)
    driver.prune("t", 3)  # again, and without keep: what was kept stays
    with pytest.raises(PositionTaken):
        opened()._append("t", 1, b"{}", None)


def test_deleting_again_does_not_touch_a_thread_that_was_started_since(driver, opened):
    run(driver, count=2)
    seen = driver.load_head("t")
    driver.delete("t")
    again = head(1001)  # milepost begins at random, so that no version comes back
    assert driver.swap_head(Swap(head=again, expected=None))
    for position in (3, 4):
        driver.append("t", position, batch(f"t-{position}"))
    for version in (None, seen.version, seen.version + 1):
        driver._delete("t", 2, version)
    assert ids(driver) == ["t-3", "t-4"]
    assert driver.load_head("t") == again


class Stops:
    """A collection whose writes stop after a count that all collections share."""

    def __init__(self, collection, left):
        self._collection = collection
        self._left = left

    def __getattr__(self, name):
        if name.startswith(("insert", "update", "delete")):
            if not self._left:
                raise errors.OperationFailure("stopped", 1)
            self._left.pop()
        return getattr(self._collection, name)


def stop_after(driver, writes):
    driver.open()
    session = driver._client._sessions.get()
    left = [True] * writes
    stopping = {
        name: Stops(getattr(session.collections, name), left) for name in ("batches", "heads", "chunks")
    }
    session.collections = dataclasses.replace(session.collections, **stopping)


@pytest.mark.parametrize("writes", range(9))
@pytest.mark.parametrize("how", ["delete", "prune"])
def test_what_was_cut_off_anywhere_can_be_done_again(how, writes, driver, opened, database):
    run(driver, count=4)
    run(driver, count=2, thread="t/")
    do = {"delete": lambda on: on.delete("t"), "prune": lambda on: on.prune("t", 3, keep=[0, 2])}[how]
    cut = opened()
    stop_after(cut, writes)
    try:
        do(cut)
    except StorageError:
        left = [found.id for _, found in opened().read("t") if not found.is_tombstone]
        assert left in (["t-0", "t-1", "t-2", "t-3"], ["t-3"], [])
    do(driver)
    assert ids(driver) == ([] if how == "delete" else ["t-3"])
    assert driver.load_head("t") == (None if how == "delete" else head(2, Status.DONE))
    whole = [found for found in database["milepost_batches"].find({"thread": "t"}) if "stub" not in found]
    assert len(whole) == (0 if how == "delete" else 1)
    assert ids(driver, "t/") == ["t/-0", "t/-1"]


# -- retention -----------------------------------------------------------------------------------------------------


def test_a_finished_thread_is_whole_until_its_time_and_then_forgotten_as_a_whole(
    kept, opened, clock, database
):
    run(kept)
    clock.advance(DAY - 1)
    sweep(database, clock)
    assert ids(kept) == ["t-0", "t-1", "t-2"]
    assert [found.thread for found in kept.list_heads()[0]] == ["t"]
    clock.advance(1)
    for driver in (kept, opened(clock=clock)):  # also where no retention is set
        assert (ids(driver), driver.load_head("t"), driver.list_heads()) == ([], None, ([], None))
        assert driver.tail("t") == 3
        assert driver.at("t", 0) is None


def test_documents_go_an_hour_later_and_not_before(kept, clock, database):
    run(kept)
    sweep(database, clock, ahead=DAY + HOUR - 1)
    assert len(documents(database)) == 3
    sweep(database, clock, ahead=DAY + HOUR)
    assert documents(database) == []


def test_positions_go_on_after_a_forgotten_thread(kept, clock, database):
    run(kept)
    clock.advance(DAY)
    run(kept, count=2, first=3)
    assert ids(kept) == ["t-3", "t-4"]
    assert documents(database) == ["t/000000000003", "t/000000000004"]
    clock.advance(DAY)
    sweep(database, clock, ahead=HOUR)
    assert (documents(database), kept.tail("t")) == ([], 5)


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.DONE])
def test_only_a_finished_run_is_forgotten(status, kept, clock, database):
    start(kept)
    kept.append("t", 0, batch("a"))
    assert kept.swap_head(Swap(head=head(2, status), expected=1))
    clock.advance(10 * DAY)
    sweep(database, clock, ahead=DAY)
    assert (ids(kept), kept.load_head("t")) == (["a"], head(2, status))


@pytest.mark.parametrize("retention", [DAY, None, 3 * DAY])
def test_a_thread_that_is_taken_up_again_loses_nothing(retention, kept, opened, clock, database):
    run(kept)
    clock.advance(DAY - 1)
    later = opened(retention=retention, clock=clock)
    assert start(later, 3)
    later.append("t", 3, batch("more"))
    clock.advance(100 * DAY)
    sweep(database, clock, ahead=100 * DAY)
    assert ids(kept) == ["t-0", "t-1", "t-2", "more"]
    assert kept.load_head("t").version == 3


def test_deleting_a_forgotten_thread_that_is_revived_meanwhile_takes_nothing_of_it(kept, opened, clock):
    run(kept)
    behind = Clock()
    other = opened(
        retention=DAY, clock=behind
    )  # its host's clock is slow: there the thread is not forgotten yet
    clock.advance(DAY + 1)
    bury, revived = kept._is_buried, []

    def revived_first(*given):
        if not revived:
            revived.append(start(other, 3))
        return bury(*given)

    kept._is_buried = revived_first
    kept.delete("t")
    assert revived == [True]
    assert ids(other) == ["t-0", "t-1", "t-2"]
    assert other.load_head("t").version == 3


def test_what_a_deletion_leaves_occupied_is_not_scheduled(kept, clock, database):
    run(kept)
    clock.advance(DAY + 1)
    kept.delete("t")
    (stub,) = database["milepost_batches"].find()
    assert "purge" not in stub


def test_the_next_finish_begins_the_time_anew(kept, clock, database):
    run(kept)
    clock.advance(DAY / 2)
    run(kept, count=1, version=3, first=3)
    clock.advance(DAY - 1)
    sweep(database, clock, ahead=HOUR)
    assert len(ids(kept)) == 4
    clock.advance(1)
    sweep(database, clock, ahead=HOUR)
    assert (documents(database), kept.load_head("t")) == ([], None)


def test_a_changed_retention_holds_from_the_next_finish_on(kept, opened, clock):
    run(kept)
    shorter = opened(retention=60.0, clock=clock)
    clock.advance(120)
    assert len(ids(shorter)) == 3
    run(shorter, count=1, version=3, first=3)
    clock.advance(60)
    assert ids(kept) == []


def test_only_its_own_thread_is_scheduled(kept, clock, database):
    start(kept, thread="t/")
    kept.append("t/", 0, batch("mine"))
    run(kept)
    sweep(database, clock, ahead=10 * DAY)
    assert documents(database) == ["t%2F/000000000000"]


def test_chunks_go_and_stay_with_their_batch(kept, clock, database, monkeypatch):
    monkeypatch.setattr("milepost_mongodb._chunks.LARGEST_DOCUMENT", 50)
    run(kept)
    assert database["milepost_chunks"].count_documents({}) == 3
    assert start(kept, 3)
    sweep(database, clock, ahead=10 * DAY)
    assert len(ids(kept)) == 3
    assert finish(kept, 4)
    sweep(database, clock, ahead=10 * DAY)
    assert database["milepost_chunks"].count_documents({}) == 0


def scheduling_later(monkeypatch):
    """Hold all scheduling back; return what does it."""
    held = []
    schedule = HeadSwap._schedule
    monkeypatch.setattr(HeadSwap, "_schedule", lambda *args: held.append(lambda: schedule(*args)))
    return held


def test_a_scheduling_that_comes_late_spares_a_thread_in_use(kept, clock, database, monkeypatch):
    held = scheduling_later(monkeypatch)
    run(kept)
    assert start(kept, 3)
    kept.append("t", 3, batch("more"))
    held[0]()
    sweep(database, clock, ahead=10 * DAY)
    assert len(ids(kept)) == 4


def test_a_scheduling_that_comes_two_runs_late_spares_it_too(kept, opened, clock, database, monkeypatch):
    held = scheduling_later(monkeypatch)
    run(kept)
    run(kept, count=1, version=3, first=3)
    assert start(opened(clock=clock), 5)
    kept.append("t", 4, batch("more"))
    held[1]()
    held[0]()
    sweep(database, clock, ahead=10 * DAY)
    assert len(ids(kept)) == 5


def test_a_hold_that_comes_late_does_not_undo_a_later_one(kept, opened, clock, database, monkeypatch):
    schedulings = scheduling_later(monkeypatch)
    run(kept)
    slow, paused, hold = opened(clock=clock), [], HeadSwap._hold
    with monkeypatch.context() as patch:
        patch.setattr(HeadSwap, "_hold", lambda *args: paused.append(lambda: hold(*args)) or 0)
        patch.setattr(HeadSwap, "_is_updated", lambda *args, **keywords: False)
        assert not start(slow, 3)
    run(kept, count=1, version=3, first=3)
    assert start(kept, 5)
    paused[0]()
    for late in schedulings:
        late()
    sweep(database, clock, ahead=10 * DAY)
    assert len(ids(kept)) == 4


def test_what_a_cut_off_finish_left_goes_with_the_next(kept, clock, database, monkeypatch):
    with monkeypatch.context() as patch:
        scheduling_later(patch)
        run(kept)
    sweep(database, clock, ahead=10 * DAY)
    assert len(documents(database)) == 3
    run(kept, count=1, version=3, first=3)
    sweep(database, clock, ahead=10 * DAY)
    assert documents(database) == []


def test_what_a_cut_off_finish_left_goes_when_the_thread_is_started_anew_or_deleted(
    kept, clock, database, monkeypatch
):
    scheduling_later(monkeypatch)
    run(kept)
    run(kept, thread="u")
    clock.advance(DAY)
    start(kept, run=3)
    kept.delete("u")
    assert documents(database) == ["u/000000000002"]
    assert database["milepost_heads"].find_one({"_id": "u"}) == {"_id": "u", "floor": 3, "epoch": 0}
    assert kept.tail("u") == 3


def test_a_lost_answer_does_not_lose_the_scheduling(kept, clock, database):
    start(kept)
    kept.append("t", 0, batch("a"))
    swap, lost = kept._swap_head, []

    def lose_the_answer(*args):
        with pytest.MonkeyPatch.context() as patch:
            if not lost:
                scheduling_later(patch)
            answer = swap(*args)
        if not lost:
            lost.append(answer)
            raise StorageUnavailable("no answer")
        return answer

    kept._swap_head = lose_the_answer
    assert finish(kept, 2)
    assert lost == [True]
    sweep(database, clock, ahead=10 * DAY)
    assert documents(database) == []


def test_a_takeover_that_was_paused_past_the_time_does_not_get_the_thread(kept, opened, clock, database):
    run(kept)
    slow = opened(retention=DAY, clock=clock)
    slow.open()
    session = slow._client._sessions.get()

    class Pausing:
        def __getattr__(self, name):
            if name == "update_many":
                clock.advance(2 * DAY)
                sweep(database, clock)
            return getattr(batches, name)

    batches = session.collections.batches
    session.collections = dataclasses.replace(session.collections, batches=Pausing())
    assert not start(slow, 3)
    assert kept.load_head("t") is None
    assert kept.tail("t") == 3
    assert start(kept, run=3)


def test_a_former_owner_of_an_earlier_life_does_not_lower_the_next(kept, opened, clock):
    former = opened(retention=DAY, clock=clock)
    run(former)
    clock.advance(DAY)
    assert start(kept, run=3)
    kept.append("t", 3, batch("new"))
    assert not finish(former, 4)
    assert kept.load_head("t") == head(run=3)


def test_of_two_that_start_a_forgotten_thread_the_later_does_not_undo_the_first(kept, opened, clock):
    run(kept)
    clock.advance(DAY)
    slow = opened(clock=clock).open()
    session = slow._client._sessions.get()
    heads = session.collections.heads

    class Overtaken:
        def __getattr__(self, name):
            if name == "update_one":  # the first gets as far as the version that the forgotten head has
                assert start(kept, run=3)
                assert start(kept, 2, run=3)
            return getattr(heads, name)

    session.collections = dataclasses.replace(session.collections, heads=Overtaken())
    assert not start(slow, run=3, nonce="slow")
    assert kept.load_head("t") == head(2, run=3)


class Stepped:
    """A collection whose calls wait until the actor of this thread is told to take a step."""

    def __init__(self, collection, actors):
        self._collection = collection
        self._actors = actors

    def __getattr__(self, name):
        found = getattr(self._collection, name)

        def call(*args, **keywords):
            self._actors[threading.current_thread()].wait_for_turn()
            return found(*args, **keywords)

        return call if callable(found) else found


class Actor:
    """A process that goes on to its next operation on the database only when told."""

    def __init__(self, work):
        self._work = work
        self._turn = threading.Semaphore(0)
        self._rests = threading.Semaphore(0)
        self.is_done = False
        self.thread = threading.Thread(target=self._run)

    def start(self):
        self.thread.start()
        self._rests.acquire()

    def _run(self):
        try:
            self._work()
        finally:
            self.is_done = True
            self._rests.release()

    def wait_for_turn(self):
        self._rests.release()
        self._turn.acquire()

    def step(self):
        if not self.is_done:
            self._turn.release()
            self._rests.acquire()


def take_up(driver, *, then_finish):
    """Do what the engine does to work on a thread: take the head, take the tail; then perhaps lay it down."""
    found = driver.load_head("t")
    version = 1 if found is None else found.version + 1
    nonce = f"{id(driver)}-{version}"
    raised = head(version, nonce=nonce)
    if not driver.swap_head(Swap(head=raised, expected=None if found is None else found.version)):
        return
    try:
        driver.append("t", driver.tail("t"), batch(nonce))
        if then_finish:
            driver.append("t", driver.tail("t"), batch(f"{nonce}-end"))
    except PositionTaken:
        return
    if then_finish:
        driver.swap_head(Swap(head=head(version + 1, Status.DONE, nonce=f"{nonce}-end"), expected=version))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=120), st.sampled_from([None, DAY]))
def test_however_processes_interleave_no_document_of_a_thread_in_use_is_scheduled(turns, other):
    clock = Clock()
    with serving() as server:
        actors = {}
        drivers = [
            MongoDBCheckpointer("mongodb://h/app", retention=kept, clock=clock)
            for kept in (DAY, DAY, DAY, other)
        ]
        run(drivers[0], count=2)
        assert start(drivers[0], 3)
        work = [
            lambda: finish(drivers[0], 4),
            lambda: take_up(drivers[1], then_finish=True),
            lambda: take_up(drivers[2], then_finish=True),
            lambda: take_up(drivers[3], then_finish=False),
        ]
        for driver in drivers:
            driver.open()
            session = driver._client._sessions.get()
            stepped = {
                name: Stepped(getattr(session.collections, name), actors)
                for name in ("batches", "heads", "chunks", "schema")
            }
            session.collections = dataclasses.replace(session.collections, **stepped)
        players = [Actor(each) for each in work]
        actors.update({player.thread: player for player in players})
        for player in players:
            player.start()
        for turn in turns:
            players[turn].step()
        for player in players:
            while not player.is_done:
                player.step()
            player.thread.join()
        database = server.client()["app"]
        found = database["milepost_heads"].find_one({"_id": "t"})
        scheduled = [each for each in database["milepost_batches"].find() if "purge" in each]
        if "expires" not in found:
            assert scheduled == []
        positions = [each["position"] for each in database["milepost_batches"].find(sort=[("_id", 1)])]
        assert positions == list(range(len(positions)))
        for each in scheduled:
            assert each["position"] < found["end"]


@pytest.mark.wire
def test_the_server_gets_dates_and_an_index_that_removes_by_them(wire, wired, opened):
    driver = opened(wire, retention=DAY, clock=Clock())
    run(driver)
    purge = {found["purge"] for found in wired["milepost_batches"].find()}
    (index,) = [index for index in wired["milepost_batches"].list_indexes() if "purge" in index["key"]]
    assert index["expireAfterSeconds"] == 0
    (at,) = purge
    assert at == Clock().at.replace(tzinfo=None) + timedelta(seconds=DAY + HOUR)
    assert start(driver, 3)
    assert wired["milepost_batches"].count_documents({"purge": {"$exists": True}}) == 0
    assert driver.load_head("t").version == 3
