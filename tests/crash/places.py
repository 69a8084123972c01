"""Where the journals of a case are: a place of its own on some backend, that can be copied, looked into and dropped."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
from contextlib import closing, contextmanager
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from crash import served
from crash.rig import DATABASE
from milepost import open_checkpointer
from milepost.url import URL
from milepost_s3 import S3Checkpointer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from milepost.checkpoint import Checkpointer, Head
    from servers import MongoServer, S3Server

_numbers = itertools.count()


def heads(driver: Checkpointer) -> Iterator[Head]:
    """Yield every head."""
    cursor = None
    while True:
        page, cursor = driver.list_heads(cursor=cursor)
        yield from page
        if cursor is None:
            return


class Place:
    """A URL that several processes open, and a folder for what they write down beside it."""

    has_pragmas = False
    """Whether the processes write down which pragmas are in force."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        folder.mkdir(exist_ok=True)
        self._driver: Checkpointer | None = None

    @contextmanager
    def look(self) -> Iterator[Checkpointer]:
        """Give a driver on what is here now."""
        if self._driver is None:
            self._driver = self._open()
        yield self._driver

    def _open(self) -> Checkpointer:
        return open_checkpointer(self.url)

    def complaints(self) -> list[str]:
        """Return what is wrong here that no driver tells."""
        return []

    def copy(self, origin: Place) -> None:
        """Take over the journals and heads of another place, and what was written down beside them."""
        shutil.copytree(origin.folder, self.folder, dirs_exist_ok=True)
        with origin.look() as old, self.look() as new:
            for head in heads(old):
                for position, batch in old.read(head.thread):
                    new._append(head.thread, position, batch.encode(), None)
                new._swap_head(head, head.encode(), None)

    def drop(self) -> None:
        """Remove everything."""
        if self._driver is not None:
            self._driver.close()
        shutil.rmtree(self.folder)


class Ground:
    """A backend that has places."""

    apart = ""
    """The options of a URL whose driver writes journal and head one after the other; "" where all do, or none."""

    def __init__(self, name: str) -> None:
        self.name = name

    def place(self, folder: Path, options: str = "") -> Place:
        """Return a place where nothing is on record yet."""
        raise NotImplementedError

    def untouched(self, folder: Path) -> Place:
        """Return a place that nobody has opened yet."""
        return self.place(folder)

    def _fresh(self) -> str:
        return f"c{os.getpid()}-{next(_numbers)}"


class Memory(Ground):
    """The memory driver, in a server that survives its clients."""

    apart = "atomic_head=false&checked_tail=false"

    def __init__(self, address: str) -> None:
        super().__init__("memory")
        self._address = address

    def place(self, folder: Path, options: str = "") -> Place:
        return _Served(folder, f"served://{self._address}/{self._fresh()}?{options}")


class _Served(Place):
    @contextmanager
    def look(self) -> Iterator[Checkpointer]:
        with super().look() as driver:
            served.ask(driver.address, served.SETTLE)
            yield driver

    def drop(self) -> None:
        url = URL.parse(self.url)
        driver = served.ServedCheckpointer.from_url(url)
        served.ask(driver.address, served.FORGET, driver.place)
        super().drop()


class SQLite(Ground):
    """A file in the folder of each place, copied from one whose tables are there."""

    def __init__(self, folder: Path) -> None:
        super().__init__("sqlite")
        self._template = folder / DATABASE
        open_checkpointer(f"sqlite:///{self._template}").open().close()

    def place(self, folder: Path, options: str = "") -> Place:
        place = File(folder, f"sqlite:///{folder}/{DATABASE}?{options}")
        shutil.copy(self._template, folder)
        return place

    def untouched(self, folder: Path) -> Place:
        return File(folder, f"sqlite:///{folder}/{DATABASE}")


class File(Place):
    """A place whose files are looked at as a copy, so that it is the next process that recovers the originals."""

    has_pragmas = True

    @contextmanager
    def look(self) -> Iterator[Checkpointer]:
        with self._copy() as file, open_checkpointer(f"sqlite:///{file}") as driver:
            yield driver

    @contextmanager
    def _copy(self) -> Iterator[Path]:
        with TemporaryDirectory(dir=self.folder) as copy:
            for name in (DATABASE, f"{DATABASE}-wal"):
                if (self.folder / name).exists():
                    shutil.copy(self.folder / name, copy)
            yield self.folder / copy / DATABASE

    def complaints(self) -> list[str]:
        with self._copy() as file, closing(sqlite3.connect(file)) as connection:
            return list(_complaints(connection))

    def copy(self, origin: Place) -> None:
        shutil.copytree(origin.folder, self.folder, dirs_exist_ok=True)


def _complaints(connection: sqlite3.Connection) -> Iterator[str]:
    (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    if verdict != "ok":
        yield f"integrity_check: {verdict}"
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal":
        yield f"the database's journal mode is {mode}"
    counted = connection.execute(
        "SELECT thread, count(*), max(position) + 1 FROM milepost_batches GROUP BY thread"
    )
    yield from (
        f"thread {thread}: {rows} rows up to {tail}" for thread, rows, tail in counted if rows != tail
    )


class S3(Ground):
    """A prefix for each place. A server may be one of several that share the load."""

    def __init__(self, server: S3Server) -> None:
        super().__init__("s3")
        self._server = server
        self._client = server.client()

    def place(self, folder: Path, options: str = "") -> Place:
        prefix = self._fresh()
        place = _Prefix(folder, self._server.url(prefix, f"&{options}" if options else ""))
        place.driver = S3Checkpointer(self._server.bucket, prefix, client=self._client)
        return place

    def close(self) -> None:
        """Close what looks into the prefixes."""
        self._client.close()


class _Prefix(Place):
    driver: S3Checkpointer

    def _open(self) -> Checkpointer:
        self.driver._bucket.openings.get().done = True  # those who write here have probed the server
        return self.driver


class MongoDB(Ground):
    """A database for each place."""

    def __init__(self, server: MongoServer) -> None:
        super().__init__("mongodb")
        self._server = server
        self._client = server.client()

    def place(self, folder: Path, options: str = "") -> Place:
        return _Database(folder, self._server.url(self._fresh(), options), self._client)

    def close(self) -> None:
        """Close what drops the databases."""
        self._client.close()


class _Database(Place):
    def __init__(self, folder: Path, url: str, client) -> None:
        super().__init__(folder, url)
        self._client = client

    def drop(self) -> None:
        super().drop()
        self._client.drop_database(URL.parse(self.url).path.strip("/"))
