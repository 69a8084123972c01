"""What MongoDB refuses, loses or confirms late; batches over the size of a document; ids that are operators."""

from __future__ import annotations

import dataclasses

import pymongo
import pytest
from pymongo import errors

from milepost._struct import replace
from milepost.checkpoint import Abandoned, Batch, Head, HeadQuery, Status, Swap
from milepost.errors import (
    Corrupt,
    InvalidThreadId,
    PositionTaken,
    StorageError,
    StorageUnavailable,
    TooLarge,
)
from milepost_mongodb import AccessDenied, _chunks, _layout


def batch(name, size=1):
    return Batch(id=name, records=(Abandoned(at="now", run="r" * size),))


def head(version=1, **changes):
    fields = {"status": Status.RUNNING, "workflow": "w", "run": 0, "nonce": f"n{version}", "updated": "now"}
    return Head(thread="t", version=version, **(fields | changes))


def ids(driver, thread="t"):
    return [found.id for _, found in driver.read(thread)]


class Faulty:
    """A collection whose next calls of one method fail, before or after they were applied."""

    def __init__(self, collection, method, *faults, applied):
        self._collection = collection
        self._method = method
        self._faults = list(faults)
        self._applied = applied
        self.calls = 0

    def __getattr__(self, name):
        found = getattr(self._collection, name)
        if name != self._method:
            return found

        def call(*args, **keywords):
            self.calls += 1
            fault = self._faults.pop(0) if self._faults else None
            answer = found(*args, **keywords) if fault is None or self._applied else None
            if fault is not None:
                raise fault
            return answer

        return call


def wrap(driver, name, wrapper):
    """Put something before one of the driver's own collections; return it."""
    driver.open()
    session = driver._client._sessions.get()
    wrapped = wrapper(getattr(session.collections, name))
    session.collections = dataclasses.replace(session.collections, **{name: wrapped})
    return wrapped


def fail(driver, name, method, *faults, applied=False):
    """Let the next calls of a method of one of the driver's own collections fail."""
    return wrap(driver, name, lambda found: Faulty(found, method, *faults, applied=applied))


class Before:
    """A collection before whose calls of one method something happens."""

    def __init__(self, collection, method, action):
        self._collection = collection
        self._method = method
        self._action = action

    def __getattr__(self, name):
        if name == self._method:
            self._action()
        return getattr(self._collection, name)


NO_ANSWER = [
    errors.AutoReconnect("connection closed"),
    errors.NetworkTimeout("timed out"),
    errors.NotPrimaryError("not primary"),
    errors.ServerSelectionTimeoutError("no primary"),
    errors.WaitQueueTimeoutError("no connection"),
    errors.WriteConcernError("waiting for replication", 64),
    errors.WTimeoutError("waiting for replication timed out", 64),
    errors.ExecutionTimeout("operation exceeded time limit", 50),
    errors.OperationFailure("interrupted at shutdown", 11600),
    errors.OperationFailure("not primary", 10107),
    errors.OperationFailure("write conflict", 112),
    errors.OperationFailure("anything", 77, {"errorLabels": ["RetryableWriteError"]}),
]


@pytest.mark.parametrize(
    "error", NO_ANSWER, ids=lambda error: f"{type(error).__name__}-{getattr(error, 'code', '')}"
)
@pytest.mark.parametrize("applied", [True, False])
def test_an_append_without_an_answer_is_sent_again_and_lands_once(error, applied, driver, database):
    faults = [error] if applied else [error, error]
    faulty = fail(driver, "batches", "insert_one", *faults, applied=applied)
    driver.append("t", 0, batch("mine"))
    assert faulty.calls == len(faults) + 1
    assert ids(driver) == ["mine"]
    assert database["milepost_batches"].count_documents({}) == 1


@pytest.mark.parametrize(
    "error", NO_ANSWER, ids=lambda error: f"{type(error).__name__}-{getattr(error, 'code', '')}"
)
def test_one_that_never_gets_an_answer_is_unknown_and_says_where(error, driver):
    fail(driver, "batches", "insert_one", *[error] * 4)
    with pytest.raises(StorageUnavailable, match="mongodb://h/app") as caught:
        driver.append("t", 0, batch("mine"))
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("applied", [True, False])
def test_a_swap_without_an_answer_counts_as_set_where_it_was(applied, driver):
    fail(driver, "heads", "insert_one", errors.AutoReconnect("gone"), applied=applied)
    assert driver.swap_head(Swap(head=head(), expected=None))
    fail(driver, "heads", "update_one", errors.AutoReconnect("gone"), applied=applied)
    assert driver.swap_head(Swap(head=head(2), expected=1))
    assert driver.load_head("t") == head(2)


@pytest.mark.parametrize("method", ["find", "find_one"])
def test_a_read_outlives_an_election(method, driver):
    driver.append("t", 0, batch("a"))
    fail(driver, "batches" if method == "find" else "heads", method, errors.NotPrimaryError("not primary"))
    assert ids(driver) == ["a"]


def test_a_rival_that_a_majority_does_not_have_yet_takes_nothing(driver, opened):
    """On a replica set, a duplicate that a majority read does not show may still be rolled back."""
    opened().append("t", 0, batch("rival"))
    driver.open()
    session = driver._client._sessions.get()
    confirmed, unseen = session.collections, []

    class Unconfirmed(Faulty):
        def __getattr__(self, name):
            if name == "find_one" and not unseen:
                return lambda *args: unseen.append(args)
            return super().__getattr__(name)

    wrap(driver, "batches", lambda found: Unconfirmed(found, "", applied=False))
    with pytest.raises(StorageUnavailable, match="not confirmed yet"):
        driver._append("t", 0, b"{}", None)
    session.collections, unseen[:] = confirmed, []
    wrap(driver, "batches", lambda found: Unconfirmed(found, "", applied=False))
    with pytest.raises(PositionTaken):
        driver.append("t", 0, batch("mine"))
    assert len(unseen) == 1


@pytest.mark.parametrize(
    ("error", "cls", "said"),
    [
        (errors.OperationFailure("not authorized", 13), AccessDenied, "grant the user readWrite"),
        (errors.OperationFailure("Authentication failed.", 18), AccessDenied, "authSource"),
        (errors.OperationFailure("out of disk", 14031), StorageError, "make room"),
        (
            errors.OperationFailure("Document failed validation", 121),
            StorageError,
            "code 121.*failed validation",
        ),
        (errors.ConfigurationError("Server requires TLS"), StorageError, "ConfigurationError"),
        (errors.InvalidDocument("cannot encode"), StorageError, "as BSON"),
        (OverflowError("MongoDB can only handle up to 8-byte ints"), StorageError, "as BSON"),
    ],
)
def test_what_sending_again_cannot_mend_is_sent_once(error, cls, said, driver):
    faulty = fail(driver, "batches", "insert_one", error)
    with pytest.raises(cls, match=said) as caught:
        driver.append("t", 0, batch("mine"))
    assert not isinstance(caught.value, StorageUnavailable)
    assert faulty.calls == 1


@pytest.mark.parametrize(
    "error", [errors.DocumentTooLarge("too large"), errors.WriteError("too large", 10334)]
)
def test_a_server_with_a_smaller_limit_is_named_by_size(error, driver):
    fail(driver, "batches", "insert_one", error)
    with pytest.raises(TooLarge) as caught:
        driver.append("t", 0, batch("mine"))
    assert caught.value.size == len(batch("mine").encode())


def test_a_name_server_that_does_not_answer_is_asked_again(driver):
    error = errors.ConfigurationError("The resolution lifetime expired")
    error.__cause__ = type("LifetimeTimeout", (Exception,), {"__module__": "dns.resolver"})()
    fail(driver, "batches", "insert_one", error)
    driver.append("t", 0, batch("mine"))
    assert ids(driver) == ["mine"]


# -- ids that are operators ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("thread", [{"$ne": ""}, {"$gt": ""}, ["t"], b"t", None, 3], ids=repr)
def test_what_is_no_text_never_reaches_a_query(thread, driver):
    driver.append("t", 0, batch("a"))
    driver.swap_head(Swap(head=head(), expected=None))
    calls = [
        lambda: driver.append(thread, 1, batch("b")),
        lambda: driver.tail(thread),
        lambda: list(driver.read(thread)),
        lambda: driver.load_head(thread),
        lambda: driver._swap_head(replace(head(), thread=thread), b"{}", None),
        lambda: driver.prune(thread, 1),
        lambda: driver.delete(thread),
        lambda: driver._delete(thread, 0, 1),
    ]
    for call in calls:
        with pytest.raises(InvalidThreadId):
            call()
    assert (ids(driver), driver.load_head("t")) == (["a"], head())


def test_a_listing_takes_only_text(driver):
    driver.swap_head(Swap(head=head(), expected=None))
    for query, cursor in ((HeadQuery(workflow={"$ne": ""}), None), (HeadQuery(), {"$gt": ""})):
        with pytest.raises(StorageError, match="takes a str"):
            driver.list_heads(query, cursor=cursor)


# -- floors ----------------------------------------------------------------------------------------------------------


def test_below_a_known_floor_nothing_is_sent(driver):
    for position in range(3):
        driver.append("t", position, batch(f"b{position}"))
    driver.prune("t", 2)
    faulty = fail(driver, "batches", "insert_one")
    with pytest.raises(PositionTaken):
        driver.append("t", 0, batch("late"))
    assert faulty.calls == 0


def test_a_late_batch_below_the_floor_is_never_read(driver, opened):
    former = opened()
    for position in range(4):
        former.append("t", position, batch(f"b{position}"))
    driver.prune("t", 2)
    former.append("t", 1, batch("late"))  # that driver does not know the floor
    former.append("t", 0, batch("later"))
    for reader in (driver, former, opened()):
        assert ids(reader) == ["b2", "b3"]
        assert reader.at("t", 0) is None
        assert reader.tail("t") == 4
        assert reader._read("t", 0, 1) == [(2, batch("b2").encode())]


def test_floors_of_many_threads_are_forgotten_in_turn(driver, monkeypatch):
    monkeypatch.setattr(type(driver._floors), "_MOST", 2)
    for thread in ("a", "b", "c"):
        driver._floors.learn(thread, 5)
    assert [driver._floors.get(thread) for thread in "abc"] == [0, 5, 5]
    driver._floors.learn("b", 3)
    assert driver._floors.get("b") == 5


# -- batches over the size of a document -----------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """Limits at which a batch is cut that are quick to reach."""
    monkeypatch.setattr(_chunks, "LARGEST_DOCUMENT", 1000)
    monkeypatch.setattr(_chunks, "CHUNK", 300)


@pytest.mark.parametrize(("size", "chunks"), [(1000, 0), (1001, 4), (1200, 4), (1201, 5), (9000, 30)])
@pytest.mark.parametrize("byte", [b"x", b"\xff"])
def test_a_batch_over_the_limit_lies_in_chunks(size, chunks, byte, small, driver, database):
    data = byte * size
    driver._append("t", 0, data, None)
    assert driver._read("t", 0, 10) == [(0, data)]
    assert database["milepost_chunks"].count_documents({}) == chunks
    assert all(
        _layout.position_of(found["_id"].rsplit("/", 2)[0]) == 0
        for found in database["milepost_chunks"].find()
    )


def test_a_second_sending_finds_the_chunks_of_the_first(small, driver, database):
    fail(driver, "batches", "insert_one", errors.AutoReconnect("gone"))
    driver.append("t", 0, batch("mine", 2000))
    assert ids(driver) == ["mine"]
    assert database["milepost_chunks"].count_documents({}) == 7


def test_a_taken_position_costs_no_chunks(small, driver, opened, database):
    opened().append("t", 0, batch("rival"))
    with pytest.raises(PositionTaken):
        driver.append("t", 0, batch("mine", 2000))
    assert database["milepost_chunks"].count_documents({}) == 0


@pytest.mark.parametrize("how", ["delete", "prune"])
def test_chunks_that_lost_a_race_go_with_the_thread(how, small, driver, opened, database):
    faulty = fail(driver, "batches", "insert_one", errors.AutoReconnect("gone"))
    driver._pause = lambda seconds: opened().append("t", 0, batch("rival"))
    with pytest.raises(PositionTaken):
        driver.append("t", 0, batch("mine", 2000))
    assert faulty.calls == 1
    opened().append("t/0", 0, batch("neighbour", 2000))
    assert database["milepost_chunks"].count_documents({}) == 14
    assert ids(driver) == ["rival"]
    if how == "delete":
        driver.delete("t")
    else:
        driver.prune("t", 1)
    assert database["milepost_chunks"].count_documents({}) == 7
    assert ids(driver, "t/0") == ["neighbour"]


def damage_missing(chunks):
    chunks.delete_one({"_id": next(iter(chunks.find()))["_id"]})


def damage_changed(chunks):
    found = next(iter(chunks.find()))
    chunks.update_one({"_id": found["_id"]}, {"$set": {"data": found["data"][::-1]}})


def damage_shortened(chunks):
    found = next(iter(chunks.find()))
    chunks.update_one({"_id": found["_id"]}, {"$set": {"data": found["data"][1:]}})


def damage_emptied(chunks):
    chunks.update_one({"_id": next(iter(chunks.find()))["_id"]}, {"$unset": {"data": ""}})


def damage_added(chunks):
    found = next(iter(chunks.find()))
    chunks.insert_one({"_id": f"{found['_id']}9", "data": ""})


@pytest.mark.parametrize(
    "damage", [damage_missing, damage_changed, damage_shortened, damage_emptied, damage_added]
)
def test_damaged_chunks_are_corrupt_and_others_stay_readable(damage, small, driver, database):
    driver.append("t", 0, batch("big", 2000))
    damage(database["milepost_chunks"])
    driver.append("u", 0, batch("other", 2000))
    with pytest.raises(Corrupt, match=r"batch 0 of thread 't' in the MongoDB database 'mongodb://h/app'"):
        ids(driver)
    assert ids(driver, "u") == ["other"]


@pytest.mark.parametrize(
    "change", [{"$unset": {"data": ""}}, {"$set": {"data": 3}}, {"$set": {"chunks": {"count": 1}}}]
)
def test_a_damaged_document_is_corrupt(change, driver, database):
    driver.append("t", 0, batch("a"))
    database["milepost_batches"].update_one({"_id": "t/000000000000"}, change)
    with pytest.raises(Corrupt, match="batch 0 of thread 't'"):
        ids(driver)


def test_a_batch_that_was_pruned_while_its_chunks_were_read_is_gone_and_not_corrupt(small, driver, opened):
    driver.append("t", 0, batch("big", 2000))
    driver.append("t", 1, batch("next"))
    wrap(driver, "chunks", lambda found: Before(found, "find", lambda: opened().prune("t", 1)))
    assert ids(driver) == ["next"]


@pytest.mark.wire
def test_a_batch_of_many_megabytes_comes_back_and_the_server_would_not_take_it_whole(wire, wired, opened):
    driver = opened(wire)
    large = bytes(range(256)) * 4096 * 17
    driver._append("t", 0, b"x" * _chunks.LARGEST_DOCUMENT, None)
    driver._append("t", 1, large, None)
    assert [len(data) for _, data in driver._read("t", 0, 9)] == [_chunks.LARGEST_DOCUMENT, len(large)]
    assert driver._read("t", 1, 1) == [(1, large)]
    assert wired["milepost_chunks"].count_documents({}) == 3
    with pytest.raises((errors.DocumentTooLarge, errors.WriteError)):
        wired["other"].insert_one({"data": large})


@pytest.mark.wire
def test_a_server_that_is_not_there_is_reported_within_the_time_out(opened):
    driver = opened("mongodb://127.0.0.1:1/app?milepost.timeout=50ms")
    with pytest.raises(StorageUnavailable, match="did not answer") as caught:
        driver.open()
    assert isinstance(caught.value.__cause__, pymongo.errors.ServerSelectionTimeoutError)


# -- small things ----------------------------------------------------------------------------------------------------


def test_a_tail_is_found_over_several_pages_and_at_a_gap(driver, monkeypatch):
    monkeypatch.setattr("milepost_mongodb.checkpointer._TAIL_PAGE", 2)
    for position in (0, 1, 2, 3, 5, 6):
        driver._append("t", position, b"{}", None)
    assert [driver.tail("t", hint) for hint in (0, 1, 4, 5, 9)] == [4, 4, 4, 7, 9]
    assert [position for position, _ in driver._read("t", 0, 9)] == [0, 1, 2, 3]
    assert driver._read("t", 0, 0) == []


@pytest.mark.parametrize("times", [2, 3])
def test_of_two_that_make_a_document_at_once_one_updates(times, driver):
    fail(driver, "heads", "update_one", *[errors.DuplicateKeyError("there")] * times)
    if times == 2:
        driver._prune("t", 3, frozenset())
        assert driver.tail("t") == 3
    else:
        with pytest.raises(StorageUnavailable, match="could not decide"):
            driver._prune("t", 3, frozenset())


def test_a_head_does_not_change_together_with_an_append(driver):
    with pytest.raises(StorageError, match="cannot change a head together"):
        driver.append("t", 0, batch("a"), Swap(head=head(), expected=None))
    assert (driver.tail("t"), driver.load_head("t")) == (0, None)


def test_a_listing_filters_and_goes_on_from_its_cursor(driver):
    for number in range(6):
        status = (Status.DONE, Status.SLEEPING)[number % 2]
        wake = float(number) if number % 2 else None
        listed = head(status=status, workflow="wx"[number // 3], wake=wake)
        driver.swap_head(Swap(head=replace(listed, thread=f"t{number}"), expected=None))

    def threads(cursor=None, **asked):
        page, cursor = driver.list_heads(HeadQuery(**asked), cursor=cursor, limit=2)
        return [found.thread for found in page], cursor

    assert threads() == (["t0", "t1"], "t1")
    assert threads("t3") == (["t4", "t5"], None)
    assert threads(statuses=(Status.SLEEPING,)) == (["t1", "t3"], "t3")
    assert threads(workflow="x", statuses=(Status.SLEEPING,)) == (["t3", "t5"], None)
    assert threads(wake_before=3.5) == (["t1", "t3"], None)
    assert threads(statuses=()) == ([], None)
