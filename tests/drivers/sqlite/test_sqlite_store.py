"""How items lie in SQLite, beside what, and how a file is opened and refused."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import sqlite_utils

from milepost.backend import Capability
from milepost.checkpoint import Abandoned, Batch
from milepost.drivers import open_store, register_driver
from milepost.errors import Closed, Corrupt, InvalidItem, InvalidURL, SchemaTooNew, StorageUnavailable
from milepost.filters import parse
from milepost.scans import Scan
from milepost_sqlite import CannotOpen, DiskFull, SQLiteCheckpointer, SQLiteStore, _items

if TYPE_CHECKING:
    from pathlib import Path

NASTY = [
    "a",
    "A",
    "é",
    "e\u0301",
    "🦊",
    "\0",
    "a\0b",
    "\uffff",
    "'; --",
    "!",
    "~",
    "%",
    "_",
    "\n",
    "a!b",
    "ab",
    "\ud7ff",
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.fixture
def store(path: Path) -> Any:
    with SQLiteStore(path, synchronous="normal", timeout=0.05) as made:
        made._pause = lambda seconds: None  # type: ignore[method-assign]
        yield made


def connection(store: SQLiteStore) -> sqlite3.Connection:
    made = store._client._sessions.get().connection
    assert made is not None
    return made


def test_an_item_can_be_read_with_plain_sql(store: SQLiteStore, path: Path) -> None:
    version = store.put(("users", "Ann"), "likes", {"drink": "tea", "cups": 2}, ttl=5)
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        (row,) = db.execute(
            "SELECT address, namespace, key, json_extract(data, '$.drink') AS drink, created, expires, ttl, version "
            "FROM milepost_items WHERE json_extract(namespace, '$[0]') = 'users'"
        ).fetchall()
    assert (row["address"], row["namespace"]) == (
        "users!Ann!!likes",
        '["users", "Ann"]',
    )
    assert (row["key"], row["drink"], row["ttl"], row["version"]) == ("likes", "tea", 300.0, version)
    assert datetime.fromisoformat(row["created"]) < datetime.fromisoformat(row["expires"])


def test_the_schema_is_strict_indexed_and_has_a_version_of_its_own(path: Path) -> None:
    with SQLiteStore(path).open():
        pass
    with closing(sqlite_utils.Database(path)) as db:
        assert {"milepost_items", "milepost_vectors", "milepost_words", "milepost_schema"} <= set(
            db.table_names()
        )
        strict = sqlite3.sqlite_version_info >= (3, 37)
        assert db["milepost_items"].strict == db["milepost_vectors"].strict == strict
        assert list(db["milepost_schema"].rows) == [{"component": "store", "version": len(_items.STEPS)}]


def test_a_checkpointer_and_a_store_share_a_file(path: Path) -> None:
    with SQLiteCheckpointer(path) as journals, SQLiteStore(path) as store:
        store.put(("a",), "k", {"n": 1})
        journals.append("t", 0, Batch(id="s-1", records=(Abandoned(at="now", run="r"),)))
        store.put(("a",), "k", {"n": 2})
        assert journals.tail("t") == 1
    with SQLiteStore(path) as store, SQLiteCheckpointer(path) as journals:
        found = store.get(("a",), "k")
        assert found is not None
        assert found.value == {"n": 2}
        assert journals.tail("t") == 1
    with closing(sqlite_utils.Database(path)) as db:
        assert {row["component"] for row in db["milepost_schema"].rows} == {"checkpointer", "store"}


def test_a_newer_schema_of_one_does_not_keep_the_other_out(path: Path) -> None:
    with SQLiteCheckpointer(path).open(), SQLiteStore(path).open() as store:
        newer = "UPDATE milepost_schema SET version = 99 WHERE component = 'store'"
        store._client.transact(lambda write: write(newer, ()))
    with SQLiteStore(path) as store, pytest.raises(SchemaTooNew, match=r"the store schema in .* upgrade"):
        store.open()
    with SQLiteCheckpointer(path) as journals:
        assert journals.tail("t") == 0


def test_a_file_whose_text_does_not_sort_by_code_point_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA encoding = 'UTF-16le'")
        other.execute("CREATE TABLE theirs (x)")
    with SQLiteStore(path) as store, pytest.raises(CannotOpen, match="UTF-16le"):
        store.open()


def test_names_of_any_characters_come_back_in_the_order_of_code_points(store: SQLiteStore) -> None:
    for name in NASTY:
        store.put((name,), name, {"name": name})
        store.put(("below", name), name, {"name": name})
    assert [item.namespace[1] for item in store.search(("below",), limit=100)] == sorted(NASTY)
    for name in NASTY:
        assert [item.key for item in store.search((name,), limit=100)] == [name]
        found = store.get((name,), name)
        assert found is not None
        assert (found.namespace, found.key, found.value) == ((name,), name, {"name": name})


def test_what_was_put_is_there_after_opening_again(path: Path) -> None:
    with SQLiteStore(path, mkdir=True) as store:
        store.put(("a",), "k", {"text": "green tea"}, ttl=60)
        before = store.get(("a",), "k", refresh_ttl=False)
    with pytest.raises(Closed):
        store.get(("a",), "k")
    with SQLiteStore(path) as store:
        assert store.get(("a",), "k", refresh_ttl=False) == before
        assert [item.key for item in store.search((), query="tea")] == ["k"]


def test_more_items_than_one_statement_takes_are_read_at_once(store: SQLiteStore) -> None:
    from milepost.operations import GetOp, PutOp

    names = [f"{number:04}" for number in range(2 * _items.LOADED + 3)]
    store.batch([PutOp(("a",), name, {"name": name}) for name in names])
    found = store.batch([GetOp(("a",), name) for name in [*names, "missing"]])
    assert [item and item.value["name"] for item in found] == [*names, None]


@pytest.mark.parametrize(
    ("prefix", "expired", "used"),
    [
        ("users!", False, "idx_milepost_items_address (address>? AND address<?)"),
        ("", True, "idx_milepost_items_expires"),
    ],
)
def test_a_scan_reads_a_range_of_an_index(store: SQLiteStore, prefix: str, expired: bool, used: str) -> None:
    store.open()
    now = datetime(2030, 1, 1, tzinfo=UTC)
    scan = Scan(prefix=prefix, after="", limit=10, now=now, filter=parse({"kind": "x"}), expired=expired)
    statement, values = _items.scan(scan)
    plan = [row[-1] for row in connection(store).execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert any(used in line for line in plan), plan
    assert not any(line.startswith("SCAN milepost_items") for line in plan), plan


def test_a_row_that_somebody_else_spoilt_is_corrupt(store: SQLiteStore) -> None:
    store.put(("a",), "k", {"n": 1})
    store._client.transact(lambda write: write("UPDATE milepost_items SET created = 'yesterday'", ()))
    with pytest.raises(Corrupt, match="a!!k"):
        store.get(("a",), "k")


def test_a_url_opens_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    register_driver("store", "sqlite-under-test", SQLiteStore)
    with open_store("sqlite-under-test:///sub/app.db?synchronous=normal&timeout=2s&mkdir=yes") as store:
        store.put(("a",), "k", {"n": 1})
        assert (tmp_path / "sub/app.db").exists()
        assert repr(store) == f"SQLiteStore('{tmp_path}/sub/app.db')"
    with pytest.raises(InvalidURL, match="unknown option"):
        open_store("sqlite-under-test:///app.db?sync=full")
    with open_store("sqlite-under-test://") as private:
        assert private.capabilities == SQLiteStore.capabilities - {
            Capability.DURABLE,
            Capability.MULTI_PROCESS,
        }


def test_a_full_disk_changes_nothing_and_can_be_mended(store: SQLiteStore) -> None:
    store.put(("a",), "k", {"text": "small"})
    (pages,) = connection(store).execute("PRAGMA page_count").fetchone()
    connection(store).execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull, match="make room"):
        store.put(("a",), "k", {"text": "large " * 50_000})
    found = store.get(("a",), "k")
    assert found is not None
    assert found.value == {"text": "small"}
    assert [item.key for item in store.search((), query="small")] == ["k"]
    connection(store).execute("PRAGMA max_page_count = 1000000")
    store.put(("a",), "k", {"text": "large " * 50_000})
    assert store.search((), query="small") == []


def test_a_lock_held_by_another_is_unavailability(store: SQLiteStore, path: Path) -> None:
    store.put(("a",), "k", {"n": 1})
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="locked"):
            store.put(("a",), "k", {"n": 2})
        other.execute("ROLLBACK")
    found = store.get(("a",), "k")
    assert found is not None
    assert found.value == {"n": 1}


def test_writes_side_by_side_are_one_transaction_and_each_for_itself(store: SQLiteStore) -> None:
    from milepost.errors import VersionConflict
    from milepost.operations import PutOp

    begun: list[str] = []
    store.open()
    connection(store).set_trace_callback(
        lambda text: begun.append(text) if text.startswith("BEGIN") else None
    )
    with pytest.raises(VersionConflict):
        store.batch(
            [
                PutOp(("a",), "k", {"n": 1}),
                PutOp(("a",), "l", {"n": 2}, if_version=7),
                PutOp(("a",), "m", {"n": 3}),
            ]
        )
    assert len([text for text in begun if "IMMEDIATE" in text]) <= 2  # the writes, and perhaps a sweep
    assert [item.key for item in store.search(("a",))] == ["k", "m"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_and_its_parent_both_go_on(path: Path) -> None:
    with SQLiteStore(path) as store:
        store.put(("a",), "before", {"n": 1})
        child = os.fork()
        if child == 0:
            try:
                store.put(("a",), "child", {"n": 2})
                os._exit(0 if store.get(("a",), "before") else 1)
            finally:
                os._exit(2)
        store.put(("a",), "parent", {"n": 3})
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [item.key for item in store.search(("a",))] == ["before", "child", "parent"]


def test_a_malformed_filter_never_reaches_sqlite(store: SQLiteStore) -> None:
    with pytest.raises(InvalidItem):
        store.search((), filter={"a": {"$where": "1=1"}})
