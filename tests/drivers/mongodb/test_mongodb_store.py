"""Items in MongoDB: where they lie, when the server may remove them, what is lost or refused on the way."""

from __future__ import annotations

import dataclasses
import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pymongo
import pytest
from pymongo import errors

from manual_clock import ManualClock
from milepost import items
from milepost.checkpoint import Abandoned, Batch
from milepost.errors import (
    Closed,
    Corrupt,
    InvalidItem,
    InvalidURL,
    ItemTooLarge,
    SchemaTooNew,
    SearchUnsupported,
    StorageUnavailable,
    VersionConflict,
)
from milepost.items import Change, StoredItem
from milepost.operations import GetOp, PutOp
from milepost.scans import Scan
from milepost.url import URL
from milepost_mongodb import AccessDenied, MongoDBStore, _items

STRANGE = [
    "a", "é", "\x85", "\u2028x", "\u3000", "\ufeff", "\ufffd", "\ufffe", "\uffff", "\U0010ffff", "a b/c", "\x00", "..",
    ".", "%2F", "+", " ", "!", '"', "$gt", "🦊",
]  # fmt: skip


class Ahead(ManualClock):
    """Stands in a century in which no server removes anything by itself."""

    def now(self):
        return super().now() + timedelta(days=36_525)


@pytest.fixture
def opened_store():
    """Make stores that are closed in the end and do not wait between sendings."""
    made = []

    def make(url="mongodb://h/app", **keywords):
        store = MongoDBStore(url, **keywords)
        store._pause = lambda seconds: None
        made.append(store)
        return store

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(mock, opened_store):
    """A store on the mocked server."""
    made = opened_store()
    made.clock = Ahead()
    return made


class Faulty:
    """A collection whose next calls of one method fail, before or after they were applied."""

    def __init__(self, collection, method, faults, applied):
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


def fail(store, method, *faults, applied=False):
    """Let the next calls of a method of the store's own collection fail."""
    store.open()
    session = store._client._sessions.get()
    wrapped = Faulty(session.collections.items, method, faults, applied)
    session.collections = dataclasses.replace(session.collections, items=wrapped)
    return wrapped


def keys(store):
    return [found.key for found in store.search((), limit=1000)]


def value(store, key="k"):
    found = store.get(("n",), key)
    return None if found is None else found.value


# -- layout ------------------------------------------------------------------------------------------------------------


def test_an_item_is_a_document_that_a_person_can_read(store, database):
    version = store.put(("users", "ann"), "name", {"first": "Ann"}, once="o-1")
    found = database["milepost_items"].find_one()
    assert json.loads(found.pop("data")) == {"first": "Ann"}
    assert found.pop("nonce")
    assert found == {
        "_id": "users!ann!!name",
        "namespace": ["users", "ann"],
        "key": "name",
        "version": version,
        "created": "2126-01-02T00:00:00.000000+00:00",
        "updated": "2126-01-02T00:00:00.000000+00:00",
        "applied": ["o-1"],
    }


def test_the_server_may_remove_an_item_an_hour_after_its_time_and_an_index_tells_when(store, database):
    store.clock.advance(0.0000015)
    store.put(("n",), "k", {}, ttl=timedelta(seconds=90))
    found = database["milepost_items"].find_one()
    assert found["ttl"] == 90.0
    assert found["expires"] == items.written(store.get(("n",), "k", refresh_ttl=False).expires_at)
    assert found["purge"].replace(tzinfo=UTC) - items.read_time(found["expires"]) >= timedelta(hours=1)
    assert found["purge"].microsecond == 1000  # rounded up
    (index,) = [each for each in database["milepost_items"].list_indexes() if "purge" in each["key"]]
    assert (index["expireAfterSeconds"], index["sparse"]) == (0, True)


def test_a_later_write_without_a_life_takes_the_date_away(store, database):
    store.put(("n",), "k", {}, ttl=1)
    store.put(("n",), "k", {})
    assert not {"purge", "expires", "ttl"} & database["milepost_items"].find_one().keys()


def test_an_item_that_lives_to_the_end_of_time_has_no_date(store):
    stored = store_item(expires_at=datetime.max.replace(tzinfo=UTC))
    document = _items.document(stored)
    assert "purge" not in document
    assert _items.item(document, "here") == stored


def store_item(**changes):
    fields = {
        "address": "n!!k",
        "namespace": ("n",),
        "key": "k",
        "data": b"{}",
        "created_at": datetime(2030, 1, 1, tzinfo=UTC),
        "updated_at": datetime(2030, 1, 1, tzinfo=UTC),
        "version": 1,
        "nonce": "o",
    }
    return StoredItem(**(fields | changes))


def test_one_url_serves_a_checkpointer_and_a_store_side_by_side(store, driver, database):
    driver.append("t", 0, Batch(id="a", records=(Abandoned(at="now", run="x"),)))
    store.put(("n",), "k", {"v": 1})
    assert {"milepost_batches", "milepost_items"} <= set(database.list_collection_names())
    versions = {found["_id"]: found["version"] for found in database["milepost_schema"].find()}
    assert versions == {"checkpointer": 1, "store": 1}
    driver.delete("t")
    assert keys(store) == ["k"]


def test_the_options_of_a_checkpointers_url_are_taken(mock, database):
    url = "mongodb://h/app?milepost.prefix=mine_&milepost.retention=72h&milepost.timeout=2s"
    with MongoDBStore.from_url(URL.parse(url)) as store:
        store.put(("n",), "k", {})
        assert repr(store) == "MongoDBStore('mongodb://h/app')"
    assert {"mine_items", "mine_schema"} <= set(database.list_collection_names())
    with pytest.raises(InvalidURL, match="retentoin"):
        MongoDBStore.from_url(URL.parse("mongodb://h/app?milepost.retentoin=72h"))


def test_a_client_of_ones_own_is_used_and_not_closed(mock):
    client = mock.client()
    with MongoDBStore("app", client=client) as store:
        store.put(("n",), "k", {"v": 1})
    assert client["app"]["milepost_items"].find_one()["key"] == "k"


def test_a_later_schema_is_refused_and_the_checkpointers_does_not_matter(store, database):
    database["milepost_schema"].insert_one({"_id": "checkpointer", "version": 99})
    store.open()
    database["milepost_schema"].update_one({"_id": "store"}, {"$set": {"version": 2}})
    with (
        MongoDBStore("mongodb://h/app") as later,
        pytest.raises(SchemaTooNew, match=r"store schema.*version 2"),
    ):
        later.open()


# -- names -------------------------------------------------------------------------------------------------------------


def check_names(store):
    for name in STRANGE:
        store.put(("n", name), name, {"v": name})
    for name in STRANGE:
        assert store.get(("n", name), name).value == {"v": name}
        assert [found.key for found in store.search(("n", name))] == [name]
    assert keys(store) == sorted(STRANGE)
    assert store.list_namespaces() == [("n", name) for name in sorted(STRANGE)]
    page, cursor = [], None
    for _ in STRANGE:
        found = store.search((), limit=1, cursor=cursor)
        page += [each.key for each in found]
        cursor = found.cursor
    assert (page, cursor) == (sorted(STRANGE), None)
    for name in STRANGE:
        store.delete(("n", name), name)
    assert (keys(store), store.list_namespaces()) == ([], [])


def test_names_of_any_characters_are_kept_listed_and_deleted(store):
    check_names(store)


@pytest.mark.wire
def test_names_of_any_characters_are_kept_listed_and_deleted_by_a_server(wire, opened_store):
    check_names(opened_store(wire))


@pytest.mark.parametrize("name", [{"$ne": ""}, {"$gt": ""}, ["t"], b"t", None, 3], ids=repr)
def test_what_is_no_text_never_reaches_a_query(name, store):
    store.put(("n",), "k", {"v": 1})
    for call in (
        lambda: store.get(("n",), name),
        lambda: store.get((name,), "k"),
        lambda: store.put((name,), "k", {}),
        lambda: store.delete(("n",), name),
        lambda: store.search((name,)),
        lambda: store.list_namespaces(prefix=(name,)),
    ):
        with pytest.raises(InvalidItem):
            call()
    assert value(store) == {"v": 1}
    assert store.search((), filter={"v": {"w": 1}}) == []


# -- lives -------------------------------------------------------------------------------------------------------------


def check_lives(store):
    store.put(("n",), "a", {}, ttl=1)
    store.put(("n",), "b", {}, ttl=10)
    store.put(("n",), "c", {})
    store.clock.advance(60)
    assert (keys(store), store.get(("n",), "a")) == (["b", "c"], None)
    assert (store.sweep_ttl(), store.sweep_ttl()) == (1, 0)
    assert store.put(("n",), "a", {}, if_version=0)


def test_what_expired_is_never_found_and_swept(store, database):
    check_lives(store)
    assert database["milepost_items"].count_documents({}) == 3


@pytest.mark.wire
def test_what_expired_is_never_found_and_swept_on_a_server(wire, wired, opened_store):
    store = opened_store(wire)
    store.clock = Ahead()
    check_lives(store)
    (index,) = [each for each in wired["milepost_items"].list_indexes() if "purge" in each["key"]]
    assert index["expireAfterSeconds"] == 0


def test_writing_now_and_then_sweeps(store, database):
    store.put(("n",), "a", {}, ttl=1)
    store.clock.advance(100)
    store.put(("n",), "b", {})
    assert [found["key"] for found in database["milepost_items"].find()] == ["b"]


def test_what_was_given_a_new_life_meanwhile_is_not_swept(store):
    store.put(("n",), "k", {}, ttl=1)
    now = store.clock.now()
    (old,) = store._scan(Scan(prefix="", after="", limit=9, now=now + timedelta(hours=1), expired=True))
    store.clock.advance(30)
    assert store.get(("n",), "k") is not None  # which renews its life, and leaves its version
    assert store._swap([Change(address=old.address, old=old, new=None)]) == [False]
    assert value(store) == {}


def test_what_a_server_removed_between_reading_and_writing_is_written_anew(store, opened_store, database):
    store.put(("n",), "k", {"v": 1}, ttl=1)
    (old,) = store._load(["n!!k"])
    database["milepost_items"].delete_one({"_id": "n!!k"})
    changed = Change(address="n!!k", old=old, new=store_item(version=old.version + 1))
    assert store._swap([changed]) == [False]
    assert store.put(("n",), "k", {"v": 2})
    assert value(store) == {"v": 2}


# -- hooks -------------------------------------------------------------------------------------------------------------


def test_nothing_is_found_where_nothing_is_wanted(store):
    store.put(("n",), "k", {})
    assert store._scan(Scan(prefix="", after="", limit=0, now=store.clock.now())) == []
    assert (list(store._load([])), list(store._swap([]))) == ([], [])


def test_a_change_from_nothing_to_nothing_tells_whether_nothing_is_there(store):
    change = Change(address="n!!k", old=None, new=None)
    assert list(store._swap([change])) == [True]
    store.put(("n",), "k", {})
    assert list(store._swap([change])) == [False]


@pytest.mark.parametrize(
    "change",
    [
        {"$unset": {"data": ""}},
        {"$set": {"data": 3}},
        {"$set": {"created": "yesterday"}},
        {"$unset": {"version": ""}},
        {"$set": {"namespace": 3}},
        {"$set": {"key": "other"}},
        {"$set": {"key": "x" * 900}},
    ],
    ids=str,
)
def test_a_damaged_document_is_corrupt_and_named(change, store, database):
    store.put(("n",), "k", {})
    store.put(("n",), "l", {"v": 1})
    database["milepost_items"].update_one({"_id": "n!!k"}, change)
    with pytest.raises(Corrupt, match=r"'n!!k' in the MongoDB database 'mongodb://h/app'"):
        store.get(("n",), "k")
    assert value(store, "l") == {"v": 1}


# -- faults ------------------------------------------------------------------------------------------------------------

NO_ANSWER = [
    errors.AutoReconnect("connection closed"),
    errors.NotPrimaryError("not primary"),
    errors.WTimeoutError("waiting for replication timed out", 64),
    errors.OperationFailure("write conflict", 112),
]


@pytest.mark.parametrize("error", NO_ANSWER, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("applied", [True, False])
def test_a_write_whose_answer_was_lost_counts_once(error, applied, store):
    fail(store, "insert_one", error, applied=applied)
    version = store.put(("n",), "k", {"v": 1}, if_version=0)
    fail(store, "replace_one", error, applied=applied)
    assert store.put(("n",), "k", {"v": 2}, if_version=version) == version + 1
    fail(store, "replace_one", error, applied=applied)
    assert store.put(("n",), "k", {"v": 3}) == version + 2
    assert value(store) == {"v": 3}
    fail(store, "delete_one", error, applied=applied)
    store.delete(("n",), "k", if_version=version + 2)
    assert value(store) is None


@pytest.mark.parametrize("method", ["find"])
def test_a_read_outlives_an_election(method, store):
    store.put(("n",), "k", {"v": 1})
    fail(store, method, errors.NotPrimaryError("not primary"))
    assert value(store) == {"v": 1}
    fail(store, method, errors.AutoReconnect("gone"), errors.AutoReconnect("gone"))
    assert keys(store) == ["k"]


def test_of_many_puts_each_counts_once_though_answers_are_lost(store):
    writes = [PutOp(("n",), f"k{number}", {"v": number}) for number in range(5)]
    fail(store, "insert_one", errors.AutoReconnect("gone"), applied=True)
    store.batch(writes)
    versions = [found.version for found in store.search(())]
    fail(store, "replace_one", errors.AutoReconnect("gone"), applied=True)
    store.batch(writes)
    assert [found.version for found in store.search(())] == [version + 1 for version in versions]
    assert [each.value["v"] for each in store.batch([GetOp(("n",), f"k{n}") for n in range(5)])] == [
        *range(5)
    ]


def test_what_never_gets_an_answer_is_unavailable(store):
    faulty = fail(store, "insert_one", *[errors.AutoReconnect("gone")] * 9)
    with pytest.raises(StorageUnavailable, match="mongodb://h/app"):
        store.put(("n",), "k", {})
    assert faulty.calls == 4


def test_what_is_not_permitted_says_which_right_is_missing(store):
    faulty = fail(store, "insert_one", errors.OperationFailure("not authorized", 13))
    with pytest.raises(AccessDenied, match="readWrite"):
        store.put(("n",), "k", {})
    assert faulty.calls == 1


@pytest.mark.parametrize(
    "error", [errors.DocumentTooLarge("too large"), errors.WriteError("too large", 10334)]
)
@pytest.mark.parametrize("method", ["insert_one", "replace_one"])
def test_a_server_with_a_smaller_limit_is_named_by_size(error, method, store):
    if method == "replace_one":
        store.put(("n",), "k", {})
    fail(store, method, error)
    with pytest.raises(ItemTooLarge) as caught:
        store.put(("n",), "k", {"v": 1})
    assert (caught.value.key, caught.value.size, caught.value.limit) == ("k", 7, 6)


def test_a_value_over_the_limit_is_refused_before_it_is_sent(store):
    faulty = fail(store, "insert_one")
    with pytest.raises(ItemTooLarge) as caught:
        store.put(("n",), "k", {"v": "x" * _items.LARGEST})
    assert (caught.value.limit, faulty.calls) == (15 * 1024 * 1024, 0)


def test_a_deletion_that_is_refused_for_its_size_is_passed_on(store):
    store.put(("n",), "k", {})
    fail(store, "delete_one", errors.WriteError("too large", 10334))
    with pytest.raises(Exception, match="no document of this size"):
        store.delete(("n",), "k")


@pytest.mark.wire
def test_the_largest_value_is_kept_by_a_server(wire, opened_store):
    store = opened_store(wire)
    large = "x" * (_items.LARGEST - len(b'{"v": ""}'))
    store.put(("n",), "k", {"v": large})
    assert store.get(("n",), "k").value == {"v": large}
    with pytest.raises(ItemTooLarge):
        store.put(("n",), "k", {"v": large + "xx"})


def test_an_index_is_refused_and_a_query_too(store):
    with pytest.raises(SearchUnsupported, match="index="):
        MongoDBStore("mongodb://h/app", index={"dims": 1, "embed": lambda texts: [[0.0] for _ in texts]})
    with pytest.raises(SearchUnsupported, match="full-text"):
        store.search((), query="x")


def test_a_closed_store_says_so(store):
    store.put(("n",), "k", {})
    store.close()
    store.close()
    for call in (lambda: store.get(("n",), "k"), lambda: store.search(()), store._open):
        with pytest.raises(Closed):
            call()


# -- a server ----------------------------------------------------------------------------------------------------------


@pytest.mark.wire
def test_of_writers_at_once_each_counts_on_a_server(wire, opened_store):
    stores = [opened_store(wire) for _ in range(3)]

    def count(store):
        done = 0
        while done < 10:
            found = store.get(("n",), "k")
            version, seen = (0, 0) if found is None else (found.version, found.value["v"])
            try:
                store.put(("n",), "k", {"v": seen + 1}, if_version=version)
            except VersionConflict:
                continue
            done += 1
        return done

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(count, stores)) == 30
    assert value(stores[0]) == {"v": 30}


class Seen(pymongo.monitoring.CommandListener):
    """Keeps the commands that a client sends."""

    def __init__(self):
        self.commands = []

    def started(self, event):
        self.commands.append((event.command_name, dict(event.command)))

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


@pytest.mark.wire
def test_every_command_carries_the_concerns_and_is_needed(wire):
    seen = Seen()
    with (
        pymongo.MongoClient(wire, event_listeners=[seen], w=1, readPreference="secondaryPreferred") as client,
        MongoDBStore(wire.rpartition("/")[2], client=client) as store,
    ):
        store.open()
        store.put(("n",), "first", {})  # which sweeps, too

        def sent(_):
            names, seen.commands[:] = [name for name, _ in seen.commands], []
            return names

        seen.commands.clear()
        assert sent(store.put(("n",), "k", {})) == ["find", "insert"]
        assert sent(store.put(("n",), "k", {"v": 1}, ttl=5)) == ["find", "update"]
        assert sent(store.get(("n",), "k")) == ["find", "update"]
        assert sent(store.get(("n",), "k", refresh_ttl=False)) == ["find"]
        assert sent(store.search((), refresh_ttl=False)) == ["find"]
        assert sent(store.list_namespaces()) == ["find"] * 2
        assert sent(store.batch([GetOp(("n",), "first"), GetOp(("n",), "absent")])) == ["find"]
        writes = [PutOp(("n",), "a", {}), PutOp(("n",), "b", {})]
        assert sent(store.batch(writes)) == ["find", "insert", "insert"]
        store.put(("n",), "k", {})
        store.delete(("n",), "k")
        names = [name for name, _ in seen.commands]
        assert names == ["find", "update", "find", "delete"]
    for name, command in seen.commands[: len(names)]:
        if name == "find":
            assert command["readConcern"] == {"level": "majority"}
            assert command.get("$readPreference", {"mode": "primary"}) == {"mode": "primary"}
        else:
            assert command["writeConcern"] == {"w": "majority", "j": True, "wtimeout": 5000}


@pytest.mark.wire
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_connects_anew(wire, opened_store):
    store = opened_store(wire)
    store.put(("n",), "parent", {})
    child = os.fork()
    if not child:
        done = 1
        try:
            store.put(("n",), "child", {})
            done = 0 if keys(store) == ["child", "parent"] else 1
        finally:
            os._exit(done)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.put(("n",), "parent again", {})
    assert keys(store) == ["child", "parent", "parent again"]
