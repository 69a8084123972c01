"""What opening makes sure of: the concerns, the schema's version, the indexes; and who makes and closes the client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pymongo
import pytest
from pymongo import monitoring
from pymongo.errors import OperationFailure

from milepost.checkpoint import Abandoned, Batch, Head, Status, Swap
from milepost.drivers import open_checkpointer
from milepost.errors import Closed, InvalidURL, SchemaTooNew, StorageError, StorageUnavailable
from milepost_mongodb import MongoDBCheckpointer, MongoDBStore, _client
from mock_mongodb import REPLICA_SET, STANDALONE, serving


def batch(name):
    return Batch(id=name, records=(Abandoned(at="now", run="x"),))


def head(version=1, **changes):
    fields = {"status": Status.RUNNING, "workflow": "w", "run": 0, "nonce": f"n{version}", "updated": "now"}
    return Head(thread="t", version=version, **(fields | changes))


def keys(collection):
    return {tuple(dict(index["key"])) for index in collection.list_indexes()}


@pytest.mark.parametrize(
    ("hello", "concerns"),
    [
        (STANDALONE, ({"w": 1, "j": True}, "local")),
        (REPLICA_SET, ({"w": "majority", "j": True, "wtimeout": 2000}, "majority")),
        (STANDALONE | {"msg": "isdbgrid"}, ({"w": "majority", "j": True, "wtimeout": 2000}, "majority")),
    ],
    ids=["standalone", "replica set", "mongos"],
)
def test_concerns_follow_what_the_server_is(hello, concerns, opened, monkeypatch):
    found = []
    make = _client._collections

    def keep(client, place, names, *, replicated):
        with pymongo.MongoClient("h", connect=False) as real:  # the mocked one keeps no concerns
            found.extend(make(real, place, names, replicated=replicated).values())
        return make(client, place, names, replicated=replicated)

    monkeypatch.setattr(_client, "_collections", keep)
    with serving(hello):
        opened(timeout=2.0).open()
        MongoDBStore("mongodb://h/app", timeout=2.0).open()
    assert sorted(collection.name.removeprefix("milepost_") for collection in found) == [
        "batches", "chunks", "heads", "items", "schema", "schema",
    ]  # fmt: skip
    for collection in found:
        assert (collection.write_concern.document, collection.read_concern.level) == concerns
        assert collection.read_preference == pymongo.ReadPreference.PRIMARY


class Seen(monitoring.CommandListener):
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
def test_every_command_carries_the_concerns_on_the_wire(wire):
    seen = Seen()
    name = wire.rpartition("/")[2]
    with (
        pymongo.MongoClient(wire, event_listeners=[seen], w=1, readPreference="secondaryPreferred") as client,
        MongoDBCheckpointer(name, client=client, retention=60.0) as driver,
    ):
        driver.append("t", 0, batch("a"))
        driver.swap_head(Swap(head=head(), expected=None))
        driver.swap_head(Swap(head=head(2, status=Status.DONE), expected=1))
        driver.list_heads()
        assert len(list(driver.read("t"))) == 1
        driver.prune("t", 1, [0])
        driver.delete("t")
    writes = [
        command for name, command in seen.commands if name in {"insert", "update", "delete", "createIndexes"}
    ]
    reads = [command for name, command in seen.commands if name == "find"]
    assert len(writes) > 10
    assert len(reads) > 5
    for command in writes:
        assert command["writeConcern"] == {"w": "majority", "j": True, "wtimeout": 5000}
    for command in reads:
        assert command["readConcern"] == {"level": "majority"}
        assert command.get("$readPreference", {"mode": "primary"}) == {"mode": "primary"}
    assert not {"commitTransaction", "abortTransaction"} & {name for name, _ in seen.commands}


def test_a_later_schema_is_refused_by_name_and_nothing_is_changed(driver, database):
    database["milepost_schema"].insert_one({"_id": "checkpointer", "version": 99})
    with pytest.raises(SchemaTooNew, match=r"version 99.*up to 1: upgrade milepost-mongodb"):
        driver.open()
    assert set(database.list_collection_names()) == {"milepost_schema"}


@pytest.mark.parametrize("version", [None, "2", {}])
def test_a_version_that_is_no_number_is_refused(version, driver, database):
    database["milepost_schema"].insert_one({"_id": "checkpointer", "version": version})
    with pytest.raises(SchemaTooNew):
        driver.open()


def test_opening_creates_what_listings_need_once(driver, opened, database):
    for _ in range(2):
        driver.open()
        opened().open()
    assert keys(database["milepost_heads"]) == {("_id",), ("status", "_id"), ("workflow", "_id"), ("wake",)}
    assert database["milepost_schema"].find_one() == {"_id": "checkpointer", "version": 1}


def test_the_purge_index_exists_only_where_a_retention_was_asked_for(driver, opened, database):
    driver.append("t", 0, batch("a"))
    assert keys(database["milepost_batches"]) == {("_id",)}
    opened(retention=60.0).open()
    for name in ("batches", "chunks"):
        (index,) = [index for index in database[f"milepost_{name}"].list_indexes() if "purge" in index["key"]]
        assert (index["expireAfterSeconds"], index["sparse"]) == (0, True)
    assert ("purge",) not in keys(database["milepost_heads"])


def test_prefixes_keep_checkpointers_apart(opened, mock, database):
    one, other = opened(prefix="one."), opened(prefix="other_")
    one.append("t", 0, batch("a"))
    assert (one.tail("t"), other.tail("t")) == (1, 0)
    assert database["one.batches"].count_documents({}) == 1


@pytest.mark.wire
def test_an_index_under_another_name_will_do(wire, wired, opened):
    wired["milepost_heads"].create_index([("status", 1), ("_id", 1)], name="mine")
    driver = opened(wire).open()
    assert driver.list_heads() == ([], None)
    assert ("workflow", "_id") in keys(wired["milepost_heads"])


@pytest.mark.wire
def test_another_expiry_on_purge_is_refused_with_the_remedy(wire, wired, opened):
    wired["milepost_batches"].create_index("purge", sparse=True, expireAfterSeconds=7)
    with pytest.raises(StorageError, match=r"milepost_batches.*another index.*purge.*drop it"):
        opened(wire, retention=60.0).open()
    opened(wire).open()  # without a retention, it is none of this driver's business


def test_nothing_connects_before_the_first_use(mock, monkeypatch):
    made = []
    monkeypatch.setattr(_client, "make_client", lambda place: made.append(place) or mock.client())
    with open_checkpointer("mongodb://h/app") as driver:
        assert made == []
        assert driver.tail("t") == 0
        driver.open()
        assert len(made) == 1


def test_a_server_that_is_away_at_first_is_found_later(mock, opened, monkeypatch):
    driver = opened()
    away = [True] * 9
    hello = mock.client

    class Away:
        def __getattr__(self, name):
            if away and away.pop():
                raise pymongo.errors.ServerSelectionTimeoutError("nobody there")
            return getattr(hello(), name)

    monkeypatch.setattr(_client, "make_client", lambda place: Away())
    with pytest.raises(StorageUnavailable, match=r"mongodb://h/app.*ServerSelectionTimeoutError"):
        driver.open()
    away.clear()
    assert driver.tail("t") == 0


@pytest.mark.parametrize("closes", [True, False])
def test_a_client_is_closed_by_who_made_it(closes, mock, monkeypatch):
    closed = []
    client = mock.client()
    monkeypatch.setattr(client._wrapped, "close", lambda: closed.append(True))
    monkeypatch.setattr(_client, "make_client", lambda place: client)
    driver = open_checkpointer("mongodb://h/app") if closes else MongoDBCheckpointer("app", client=client)
    driver.open()
    driver.close()
    driver.close()
    assert closed == [True] * closes
    with pytest.raises(Closed):
        driver.tail("t")


def test_a_call_that_a_close_cut_short_says_closed(driver):
    def use(collections):
        driver.close()
        raise pymongo.errors.InvalidOperation("Cannot use MongoClient after close")

    with pytest.raises(Closed, match="was closed"):
        driver._client.use(use)


@pytest.mark.parametrize("code", [13, 18])
def test_a_user_without_rights_is_told_which_are_needed(code, driver, monkeypatch):
    def fail(collections):
        raise OperationFailure("not allowed", code)

    with pytest.raises(StorageError, match="grant the user readWrite on the database 'app'"):
        driver._client.use(fail)


OPENER = """
import sys
from milepost.checkpoint import Abandoned, Batch
from milepost.drivers import open_checkpointer

url, thread = sys.argv[1:]
with open_checkpointer(url) as driver:
    sys.stdin.read()  # until all are there
    driver.append(thread, 0, Batch(id=thread, records=(Abandoned(at="now", run="x"),)))
"""


@pytest.mark.wire
def test_processes_that_open_a_new_database_at_once_all_succeed(wire, wired):
    url = f"{wire}?milepost.retention=24h"
    processes = [
        subprocess.Popen([sys.executable, "-c", OPENER, url, f"t{number}"], stdin=subprocess.PIPE)
        for number in range(6)
    ]
    for process in processes:
        process.stdin.close()
    assert [process.wait() for process in processes] == [0] * 6
    assert wired["milepost_batches"].count_documents({}) == 6
    assert wired["milepost_schema"].count_documents({}) == 1
    assert len(keys(wired["milepost_heads"])) == 4


def _in_child(work):
    """Run a function in a forked child and return what it returns, as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            answer = str(work())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    return answer


@pytest.mark.wire
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_connects_anew(wire, opened):
    driver = opened(wire)
    driver.append("t", 0, batch("parent"))

    def work():
        driver.append("t", 1, batch("child"))
        return driver.tail("t")

    assert _in_child(work) == "2"
    driver.append("t", 2, batch("parent again"))
    assert [found.id for _, found in driver.read("t")] == ["parent", "child", "parent again"]


@pytest.mark.wire
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_given_client_does_not_cross_a_fork(wire):
    with (
        pymongo.MongoClient(wire) as client,
        MongoDBCheckpointer(wire.rpartition("/")[2], client=client) as driver,
    ):
        driver.append("t", 0, batch("a"))
        assert "does not survive a fork: give a URL" in _in_child(lambda: driver.tail("t"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_amid_the_learning_of_a_floor_does_not_block_the_child():
    driver = MongoDBCheckpointer("mongodb://localhost/unused")

    def work():
        signal.alarm(20)  # ends a child that hangs
        driver._floors.learn("t", 5)
        return driver._floors.get("t")

    with driver._floors._lock:
        assert _in_child(work) == "5"


class Conflicting:
    """A collection that refuses new indexes with one code, and has those it is given."""

    full_name = "app.milepost_heads"

    def __init__(self, code, *indexes):
        self._code = code
        self._indexes = indexes

    def create_indexes(self, indexes):
        raise OperationFailure("refused", self._code)

    def create_index(self, wanted, **options):
        raise OperationFailure("refused", self._code)

    def list_indexes(self):
        return [{"key": {"_id": 1}}, *self._indexes]


@pytest.mark.parametrize("code", [85, 86])
def test_only_an_index_that_does_the_same_stands_in_for_another(code):
    wanted = [([("status", 1), ("_id", 1)], {})]
    same = {"key": {"status": 1, "_id": 1}}
    _client._ensure_indexes(Conflicting(code, same), wanted)
    for other in (
        same | {"partialFilterExpression": {}},
        same | {"expireAfterSeconds": 3},
        {"key": {"_id": 1, "status": 1}},
    ):
        with pytest.raises(StorageError, match=r"app\.milepost_heads.*no options.*drop it"):
            _client._ensure_indexes(Conflicting(code, other), wanted)
    with pytest.raises(OperationFailure):
        _client._ensure_indexes(Conflicting(13, same), wanted)


@pytest.mark.parametrize("seen_later", [True, False])
def test_a_version_that_another_process_just_wrote_is_waited_for(seen_later, driver):
    class Racing:
        asked = 0

        def find_one(self, asked):
            self.asked += 1
            return {"version": 1} if seen_later and self.asked > 1 else None

        def insert_one(self, document):
            raise pymongo.errors.DuplicateKeyError("there")

    if seen_later:
        _client._check_schema(Racing(), driver._place, "checkpointer", 1)
    else:
        with pytest.raises(StorageUnavailable, match="another process"):
            _client._check_schema(Racing(), driver._place, "checkpointer", 1)


@pytest.mark.parametrize("by_dns", [True, False])
def test_a_client_that_cannot_be_made_is_an_invalid_url_unless_a_name_server_failed(
    by_dns, opened, monkeypatch
):
    def refuse(*args, **keywords):
        error = pymongo.errors.ConfigurationError("no such thing as s3cret")
        if by_dns:
            raise error from type("NoNameservers", (Exception,), {"__module__": "dns.resolver"})()
        raise error

    monkeypatch.setattr(pymongo, "MongoClient", refuse)
    with pytest.raises(StorageUnavailable if by_dns else InvalidURL) as caught:
        opened("mongodb+srv://u:s3cret@db.example/app").open()
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__!r} {caught.value.__context__!r}"
