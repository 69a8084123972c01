"""What is in force on every connection, and how a file gets its schema."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlite_utils

from milepost.checkpoint import Abandoned, Batch, HeadQuery, Status
from milepost.errors import SchemaTooNew, StorageError, StorageUnavailable
from milepost_sqlite import CannotOpen, SQLiteCheckpointer, _client, _layout

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def connection(driver: SQLiteCheckpointer) -> sqlite3.Connection:
    made = driver._client._sessions.get().connection
    assert made is not None
    return made


@pytest.mark.parametrize(("synchronous", "level"), [("full", 2), ("normal", 1)])
def test_the_pragmas_in_force_are_those_that_were_asked_for(path: Path, synchronous: Any, level: int) -> None:
    with SQLiteCheckpointer(path, synchronous=synchronous, timeout=1.5).open() as driver:
        found = {
            name: connection(driver).execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "fullfsync", "busy_timeout", "journal_size_limit")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": level,
        "fullfsync": level - 1,
        "busy_timeout": 1500,
        "journal_size_limit": 64 * 2**20,
    }


def test_durability_is_full_unless_asked_otherwise(path: Path) -> None:
    with SQLiteCheckpointer(path).open() as driver:
        assert connection(driver).execute("PRAGMA synchronous").fetchone() == (2,)


def stubborn(answers: dict[str, str]) -> type[sqlite3.Connection]:
    """Return a connection class that answers some statements with another one's rows."""

    class Stubborn(sqlite3.Connection):
        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:  # type: ignore[override]
            return super().execute(answers.get(statement, statement), *values)

    return Stubborn


def connect_as(monkeypatch: pytest.MonkeyPatch, factory: type[sqlite3.Connection]) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(_client.sqlite3, "connect", lambda *a, **k: connect(*a, **k, factory=factory))


def test_a_file_system_without_shared_memory_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect_as(monkeypatch, stubborn({"PRAGMA journal_mode = WAL": "SELECT 'delete'"}))
    with SQLiteCheckpointer(path) as driver, pytest.raises(CannotOpen, match="network file systems"):
        driver.open()


def test_a_pragma_that_was_not_taken_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect_as(monkeypatch, stubborn({"PRAGMA synchronous": "SELECT 0"}))
    with SQLiteCheckpointer(path) as driver, pytest.raises(StorageError, match="did not take synchronous=2"):
        driver.open()


def test_switching_to_wal_gives_up_after_the_timeout(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.execute("BEGIN")
        other.execute("SELECT * FROM theirs").fetchall()
        with SQLiteCheckpointer(path, timeout=0.03) as driver:
            driver._pause = lambda seconds: None  # type: ignore[method-assign]
            with pytest.raises(StorageUnavailable, match=r"locked for 0\.03 s"):
                driver.open()


def test_switching_to_wal_is_tried_again_where_sqlite_does_not_wait(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    class Contended(sqlite3.Connection):
        def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
            if "journal_mode" in statement and len(tries) < 3:
                tries.append(statement)
                error = sqlite3.OperationalError("database is locked")
                error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
                raise error
            return super().execute(statement, *values)

    connect_as(monkeypatch, Contended)
    with SQLiteCheckpointer(path).open() as driver:
        assert len(tries) == 3
        assert connection(driver).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_fault_while_switching_to_wal_is_no_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect_as(monkeypatch, stubborn({"PRAGMA journal_mode = WAL": "SELECT * FROM nowhere"}))
    with SQLiteCheckpointer(path) as driver, pytest.raises(StorageError, match="nowhere"):
        driver.open()


def test_the_schema_is_strict_indexed_and_has_a_version(path: Path) -> None:
    with SQLiteCheckpointer(path).open():
        pass
    with closing(sqlite_utils.Database(path)) as db:
        assert set(db.table_names()) == {
            "milepost_batches", "milepost_heads", "milepost_schema", "_sqlite_migrations",
        }  # fmt: skip
        assert (
            db["milepost_batches"].strict
            == db["milepost_heads"].strict
            == (sqlite3.sqlite_version_info >= (3, 37))
        )
        assert db["milepost_batches"].pks == ["thread", "position"]
        assert list(db["milepost_schema"].rows) == [
            {"component": "checkpointer", "version": len(_layout.STEPS)}
        ]


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        (_layout.TAIL, ("t",)),
        (_layout.READ, ("t", 0, 10)),
        _layout.list_heads(HeadQuery(statuses=(Status.RUNNING,)), "a", 10),
        _layout.list_heads(HeadQuery(wake_before=1.0), None, 10),
    ],
)
def test_what_is_asked_often_is_answered_by_an_index(
    path: Path, statement: str, values: tuple[Any, ...]
) -> None:
    with SQLiteCheckpointer(path).open() as driver:
        plan = connection(driver).execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    assert "SEARCH" in plan[0][-1], plan


def test_a_file_with_other_tables_is_shared_and_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.execute("INSERT INTO theirs VALUES (7)")
        other.execute("PRAGMA user_version = 41")
        other.commit()
    with SQLiteCheckpointer(path).open():
        pass
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT x FROM theirs").fetchall() == [(7,)]
        assert other.execute("PRAGMA user_version").fetchone() == (41,)


def test_a_newer_schema_is_refused_and_nothing_is_written(path: Path) -> None:
    with SQLiteCheckpointer(path).open() as driver:
        driver._client.transact(lambda write: write("UPDATE milepost_schema SET version = ?", (99,)))
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with SQLiteCheckpointer(path) as driver:
        for call in (driver.open, lambda: driver.tail("t")):
            with pytest.raises(
                SchemaTooNew, match=r"version 99, this driver knows up to 1: upgrade milepost-sqlite"
            ):
                call()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_a_schema_that_another_process_made_meanwhile_is_not_made_again(path: Path) -> None:
    with SQLiteCheckpointer(path).open() as driver:
        driver._client._migrate(connection(driver))
        assert not connection(driver).in_transaction
    with closing(sqlite_utils.Database(path)) as db:
        assert db["_sqlite_migrations"].count == 1


def test_a_migration_that_fails_leaves_no_trace(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(db: Any) -> None:
        db.create_table("half_made", {"x": int})
        raise RuntimeError("half way")

    monkeypatch.setattr(_layout, "STEPS", (*_layout.STEPS, ("broken", broken)))
    with SQLiteCheckpointer(path) as driver, pytest.raises(RuntimeError, match="half way"):
        driver.open()
    with closing(sqlite_utils.Database(path)) as db:
        assert db.table_names() == []


def test_a_plain_reopen_does_not_load_the_migration_library(path: Path) -> None:
    with SQLiteCheckpointer(path).open():
        pass
    program = (
        "import sys; from milepost_sqlite import SQLiteCheckpointer;"
        f"SQLiteCheckpointer({str(path)!r}).open().close(); sys.exit('sqlite_utils' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_journal_can_be_read_with_plain_sql(path: Path) -> None:
    with SQLiteCheckpointer(path) as driver:
        driver.append("t", 0, Batch(id="s-1", records=(Abandoned(at="now", run="r"),)))
    with closing(sqlite3.connect(path)) as db:
        ((kind,),) = db.execute(
            "SELECT json_extract(CAST(data AS TEXT), '$.records[0].kind') FROM milepost_batches"
        )
    assert kind == "abandoned"
