"""What SQLite and the system refuse comes back as a typed error that names the file and the remedy."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from milepost.checkpoint import Abandoned, Batch, Capability, Head, Status, Swap
from milepost.errors import Closed, Corrupt, HeadMoved, StorageError, StorageUnavailable, TooLarge
from milepost_sqlite import CannotOpen, DiskFull, SQLiteCheckpointer, SQLiteStore, _layout

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def driver(path: Path) -> Iterator[SQLiteCheckpointer]:
    with SQLiteCheckpointer(path, timeout=0.02) as made:
        made._pause = lambda seconds: None  # type: ignore[method-assign]
        yield made


def batch(name: str, size: int = 1) -> Batch:
    return Batch(id=name, records=(Abandoned(at="now", run="r" * size),))


def connection(driver: SQLiteCheckpointer) -> sqlite3.Connection:
    made = driver._client._sessions.get().connection
    assert made is not None
    return made


def test_the_largest_batch_fits_into_a_row_and_a_larger_one_is_refused(driver: SQLiteCheckpointer) -> None:
    driver.open()
    limit = 100_000
    made = connection(driver)
    assert made.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) - driver.max_batch_bytes == _layout.ROW_BYTES
    made.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limit)
    driver.max_batch_bytes = limit - _layout.ROW_BYTES
    size = driver.max_batch_bytes - len(batch("a", 0).encode())
    longest = "é" * 256
    driver.append(longest, 0, batch("a", size))
    with pytest.raises(TooLarge):
        driver.append(longest, 1, batch("b", size + 1))
    assert [found.id for _, found in driver.read(longest)] == ["a"]


def test_a_lock_held_by_another_is_unavailability(driver: SQLiteCheckpointer, path: Path) -> None:
    driver.append("t", 0, batch("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable) as caught:
            driver.append("t", 1, batch("b"))
        assert str(path) in str(caught.value)
        assert "0.02 s" in str(caught.value)
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert driver.tail("t") == 1
        other.execute("ROLLBACK")
    driver.append("t", 1, batch("b"))


def test_a_full_disk_changes_nothing_and_can_be_mended(driver: SQLiteCheckpointer, path: Path) -> None:
    driver.append("t", 0, batch("a"))
    (pages,) = connection(driver).execute("PRAGMA page_count").fetchone()
    connection(driver).execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull, match="make room") as caught:
        driver.append("t", 1, batch("b", 100_000))
    assert str(path) in str(caught.value)
    assert not connection(driver).in_transaction
    assert [found.id for _, found in driver.read("t")] == ["a"]
    connection(driver).execute("PRAGMA max_page_count = 1000000")
    driver.append("t", 1, batch("b", 100_000))
    assert driver.tail("t") == 2


def test_an_append_that_fails_half_way_leaves_neither_batch_nor_head(driver: SQLiteCheckpointer) -> None:
    head = Head(
        thread="t", version=1, status=Status.DONE, workflow="w", run=0, nonce="n", updated="now", wake=1.0
    )
    driver.append("t", 0, batch("a"), Swap(head=head, expected=None))
    connection(driver).execute(
        "CREATE TRIGGER full BEFORE UPDATE ON milepost_heads BEGIN SELECT raise(ABORT, 'no'); END"
    )
    assert Capability.ATOMIC_HEAD in driver.capabilities
    with pytest.raises(StorageError):
        driver.append("t", 1, batch("b"), Swap(head=head, expected=1))
    assert driver.tail("t") == 1
    connection(driver).execute("DROP TRIGGER full")
    with pytest.raises(HeadMoved):
        driver.append("t", 1, batch("b"), Swap(head=head, expected=7))
    assert (driver.tail("t"), driver.load_head("t")) == (1, head)


def test_an_interrupted_transaction_is_rolled_back(driver: SQLiteCheckpointer) -> None:
    driver.append("t", 0, batch("a"))

    def cut_short(write):
        write("DELETE FROM milepost_batches", ())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        driver._client.transact(cut_short)
    assert driver.tail("t") == 1


def test_a_file_size_limit_is_a_disk_error_and_can_be_mended(path: Path) -> None:
    program = """
import resource, sys
from milepost.checkpoint import Abandoned, Batch
from milepost_sqlite import DiskError, SQLiteCheckpointer

driver = SQLiteCheckpointer(sys.argv[1]).open()
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
big = (Abandoned(at="now", run="r" * 30_000),)
position = 0
try:
    while position < 100:
        driver.append("t", position, Batch(id=f"s-{position}", records=big))
        position += 1
except DiskError as error:
    assert sys.argv[1] in str(error) and "limit" in str(error), error
else:
    sys.exit("the limit was not met")
assert driver.tail("t") == position > 0
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
driver.append("t", position, Batch(id=f"s-{position}", records=big))
assert [found.id for _, found in driver.read("t")] == [f"s-{n}" for n in range(position + 1)]
driver.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def as_plain_user(program: str, place: Path) -> None:
    """Run a program in a process that file permissions hold for: root gives its rights up first."""
    prelude = """
import os, sys, difflib, json, sqlite_utils.migrations, unicodedata
import milepost._embedding, milepost.checkpoint, milepost_sqlite
from milepost.checkpoint import Abandoned, Batch
from milepost_sqlite import CannotOpen, ReadOnly, SQLiteCheckpointer, SQLiteStore
driver, store = SQLiteCheckpointer(sys.argv[1]), SQLiteStore(sys.argv[1])
a_batch = Batch(id="s-1", records=(Abandoned(at="now", run="r"),))
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
"""
    done = subprocess.run(
        [sys.executable, "-c", prelude + program, str(place)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that any user may enter, which pytest's own is not, nor a checkout in a private directory."""
    place = Path(tempfile.mkdtemp(dir="/tmp" if Path("/tmp").is_dir() else None))
    place.chmod(0o755)
    yield place
    place.chmod(0o755)
    shutil.rmtree(place)


def test_a_file_that_may_not_be_written_is_read_only(open_place: Path) -> None:
    path = open_place / "runs.db"
    with SQLiteCheckpointer(path) as driver:
        driver.append("t", 0, batch("a"))
    open_place.chmod(0o777)
    path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    program = """
try:
    driver.append("t", 1, a_batch)
except ReadOnly as error:
    assert sys.argv[1] in str(error) and "writable" in str(error), error
else:
    sys.exit("it was written")
"""
    as_plain_user(program, path)


def test_a_store_in_a_file_that_may_not_be_written_is_read_only_and_can_be_searched(open_place: Path) -> None:
    path = open_place / "app.db"
    with SQLiteStore(path) as store:
        store.put(("a",), "k", {"text": "green tea"})
    open_place.chmod(0o777)
    path.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    program = """
try:
    store.put(("a",), "k", {"text": "coffee"})
except ReadOnly as error:
    assert sys.argv[1] in str(error) and "writable" in str(error), error
else:
    sys.exit("it was written")
assert [item.key for item in store.search((), query="tea")] == ["k"]
"""
    as_plain_user(program, path)


def test_a_directory_that_may_not_be_written_cannot_hold_a_new_file(open_place: Path) -> None:
    open_place.chmod(0o555)
    program = """
try:
    driver.append("t", 0, a_batch)
except CannotOpen as error:
    assert sys.argv[1] in str(error) and "writable" in str(error), error
else:
    sys.exit("it was written")
"""
    as_plain_user(program, open_place / "runs.db")


def test_a_path_below_a_directory_that_is_closed_to_us_is_a_typed_error_too(open_place: Path) -> None:
    closed = open_place / "closed"
    closed.mkdir(mode=0o000)
    program = """
try:
    driver.append("t", 0, a_batch)
except CannotOpen as error:
    assert sys.argv[1] in str(error) and "writable" in str(error), error
else:
    sys.exit("it was written")
"""
    try:
        as_plain_user(program, closed / "runs.db")
    finally:
        closed.chmod(0o755)


def test_a_refusal_without_a_visible_reason_points_at_permissions(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with SQLiteCheckpointer(path) as driver, pytest.raises(CannotOpen, match="readable and writable"):
        driver.open()


def test_a_directory_is_no_database(tmp_path: Path) -> None:
    with SQLiteCheckpointer(tmp_path) as driver, pytest.raises(CannotOpen, match="it is a directory"):
        driver.open()


def test_another_kind_of_file_is_no_database_and_stays_as_it_is(path: Path) -> None:
    path.write_bytes(b"id,amount\n" * 1000)
    with SQLiteCheckpointer(path) as driver, pytest.raises(CannotOpen, match="is no SQLite database"):
        driver.open()
    assert path.read_bytes() == b"id,amount\n" * 1000


def test_a_damaged_file_is_corrupt(path: Path) -> None:
    with SQLiteCheckpointer(path) as driver:
        for position in range(50):
            driver.append("t", position, batch(f"s-{position}", 3000))
    content = bytearray(path.read_bytes())
    content[2 * 4096 :] = os.urandom(len(content) - 2 * 4096)
    path.write_bytes(content)
    with SQLiteCheckpointer(path) as driver, pytest.raises(Corrupt, match="damaged"):
        list(driver.read("t"))


def test_other_faults_of_sqlite_are_storage_errors(driver: SQLiteCheckpointer) -> None:
    with pytest.raises(StorageError, match="no such table") as caught:
        driver._client.query("SELECT * FROM nowhere", ())
    assert type(caught.value) is StorageError
    with pytest.raises(StorageError):
        driver._client.query("SELECT ?", ())


def test_a_client_that_was_closed_does_not_open_again(driver: SQLiteCheckpointer) -> None:
    driver.open()
    driver._client.close()
    with pytest.raises(Closed):
        driver._client.query("SELECT 1", ())
    driver._client.close()


def test_closing_does_not_wait_for_a_reader(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        with SQLiteCheckpointer(path) as driver:
            driver.append("t", 0, batch("a"))
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM milepost_batches").fetchall()
            driver.append("t", 1, batch("b"))
        assert reader.execute("SELECT count(*) FROM milepost_batches").fetchone() == (1,)
    with SQLiteCheckpointer(path) as driver:
        assert driver.tail("t") == 2
