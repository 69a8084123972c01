"""The only file that talks to SQLite: a connection and a lock per process, transactions, its errors."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from milepost.errors import Closed, Corrupt, SchemaTooNew, StorageError, StorageUnavailable
from milepost.fork import PerProcess
from milepost_sqlite._place import MEMORY, SYNCHRONOUS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from milepost_sqlite._place import Settings

T = TypeVar("T")

_JOURNAL_SIZE_LIMIT: Final = 64 * 1024 * 1024
_CACHED_STATEMENTS: Final = 64
_WAL_RETRY_SECONDS: Final = 0.01

Step: TypeAlias = "tuple[str, Callable[[Any], None]]"
Write: TypeAlias = "Callable[[str, Sequence[Any]], int]"
"""Run a statement inside a transaction; return how many rows it changed."""


class KeyTaken(StorageError):
    """A row with this primary key exists. The checkpointer turns it into the contract's own error."""


class DiskFull(StorageError):
    """The disk, or the file's page limit, is full; nothing was written. Make room, then try again."""


class DiskError(StorageError):
    """The operating system reported an I/O error; nothing was written. Check disk, quota and limits."""


class ReadOnly(StorageError):
    """The database cannot be written: make the file and its directory writable for this process."""


class CannotOpen(StorageError):
    """The database cannot be opened: its directory is missing, or the path names something else."""


class _Session:
    """One process's connection, made at the first use under the lock."""

    __slots__ = ("__weakref__", "connection", "lock")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.connection: sqlite3.Connection | None = None


class _Forks:
    """Closes every connection to a file just before a fork; it opens again at the next use.

    SQLite's file locks belong to a process, while its table of them is copied by a fork: a child that opens
    a file which its parent has open would believe that it holds the parent's locks. Servers that fork
    without telling Python get a new connection in the child by the process id alone.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._sessions: weakref.WeakSet[_Session] = weakref.WeakSet()
        self._held: list[_Session] = []
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
            )

    def new_session(self) -> _Session:
        session = _Session()
        with self._guard:
            self._sessions.add(session)
        return session

    def _before(self) -> None:
        self._guard.acquire()
        self._held = list(self._sessions)
        for session in self._held:
            session.lock.acquire()
            if session.connection is not None and not session.connection.in_transaction:
                session.connection.close()
                session.connection = None

    def _in_parent(self) -> None:
        for session in self._held:
            session.lock.release()
        self._held = []
        self._guard.release()

    def _in_child(self) -> None:
        self._guard = threading.Lock()
        self._held = []


_forks: Final = _Forks()


class Client:
    """Runs statements on one database, from any thread, one at a time.

    ``component`` and ``steps`` are the name and the migrations of the schema that it brings up to date when
    it opens. ``prepare`` is given each new connection, before all others use it.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        component: str,
        steps: Sequence[Step],
        prepare: Callable[[sqlite3.Connection], None] = lambda _connection: None,
    ) -> None:
        self._settings = settings
        self._prepare_more = prepare
        self._component = component
        self._steps = steps
        self._sessions = PerProcess(_Session if self.in_memory else _forks.new_session)
        self._opened_in: int | None = None
        self._closed = False

    @property
    def in_memory(self) -> bool:
        """Whether the database dies with its connection."""
        return self._settings.path == MEMORY

    def open(self) -> None:
        """Connect, check what is in force, and bring the schema up to date."""
        self.use(lambda _connection: None)

    def query(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Return all rows of a reading statement. Nothing stays open: reading never blocks writing."""
        return self.use(lambda connection: connection.execute(statement, values).fetchall())

    def transact(self, block: Callable[[Write], T]) -> T:
        """Run a block in one ``BEGIN IMMEDIATE``: committed at its end, rolled back if anything was raised.

        The lock is held meanwhile: the block must not wait for anything else.
        """
        return self.use(lambda connection: immediate(connection, block))

    def use(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the connection, alone; what SQLite raises is translated.

        A function and not a ``with`` block of our own: Ctrl-C inside the machinery of one would keep the lock.
        """
        session = self._sessions.get()
        with session.lock:
            if self._closed:
                raise Closed(f"the SQLite database {self._settings.path!r} was closed")
            try:
                if session.connection is None:
                    session.connection = self._connect()
                return action(session.connection)
            except sqlite3.Error as error:
                raise _translated(error, self._settings) from error

    def close(self) -> None:
        """Close this process's connection, after moving the log into the file where nobody is in the way."""
        self._closed = True
        session = self._sessions.peek()
        if session is None:
            return
        with session.lock:
            if session.connection is None:
                return
            with suppress(sqlite3.Error):
                session.connection.execute("PRAGMA busy_timeout = 0")
                session.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            session.connection.close()
            session.connection = None

    def _connect(self) -> sqlite3.Connection:
        settings = self._settings
        if self.in_memory:
            self._check_same_process()
        elif settings.mkdir:
            _make_directory(settings.path)
        connection = sqlite3.connect(
            settings.path,
            timeout=settings.timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_CACHED_STATEMENTS,
        )
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check_same_process(self) -> None:
        """Refuse an in-memory database that was opened before a fork: what it held is out of reach."""
        if self._opened_in is None:
            self._opened_in = os.getpid()
        elif self._opened_in != os.getpid():
            raise CannotOpen(
                "this in-memory SQLite database was opened before a fork and exists only in the parent "
                "process: use a file, such as sqlite:///runs.db"
            )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = self._version(connection)
        if not self.in_memory:
            self._use_wal(connection)
        wanted = {
            "synchronous": SYNCHRONOUS[self._settings.synchronous],
            "fullfsync": int(self._settings.synchronous == "full"),  # macOS; elsewhere it changes nothing
            "journal_size_limit": _JOURNAL_SIZE_LIMIT,
            "busy_timeout": int(self._settings.timeout * 1000),
        }
        for name, value in wanted.items():
            connection.execute(f"PRAGMA {name} = {value}")
            (found,) = connection.execute(f"PRAGMA {name}").fetchone()
            if found != value:
                raise StorageError(
                    f"SQLite did not take {name}={value} for {self._settings.path!r}, it has {found}"
                )
        if version < len(self._steps):
            self._migrate(connection)
        self._prepare_more(connection)

    def _version(self, connection: sqlite3.Connection) -> int:
        """Return the version of the schema in the file, 0 where there is none.

        Raises:
            SchemaTooNew: a later version of the driver wrote it; nothing was changed.
        """
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'milepost_schema'").fetchone()
        if known is None:
            return 0
        row = connection.execute(
            "SELECT version FROM milepost_schema WHERE component = ?", (self._component,)
        ).fetchone()
        version: int = 0 if row is None else row[0]
        if version > len(self._steps):
            raise SchemaTooNew(
                f"the {self._component} schema in {self._settings.path!r} has version {version}, this driver "
                f"knows up to {len(self._steps)}: upgrade milepost-sqlite"
            )
        return version

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """Switch to write-ahead logging; SQLite does not wait by itself where several do so at once."""
        deadline = time.monotonic() + self._settings.timeout
        mode = _switched_to_wal(connection)
        while mode is None and time.monotonic() < deadline:
            threading.Event().wait(_WAL_RETRY_SECONDS)
            mode = _switched_to_wal(connection)
        if mode is None:
            raise StorageUnavailable(_locked(self._settings))
        if mode != "wal":
            raise CannotOpen(
                f"SQLite cannot use write-ahead logging for {self._settings.path!r} (its journal mode stays "
                f"{mode!r}): network file systems do not support it; put the file on a local disk"
            )

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Apply the missing steps. The lock is taken first: of several processes one does the work."""
        from sqlite_utils import Database
        from sqlite_utils.migrations import Migrations

        def apply(write: Write) -> None:
            if self._version(connection) == len(self._steps):
                return
            migrations = Migrations(f"milepost.{self._component}")
            for name, step in self._steps:
                migrations(name=name)(step)
            database = Database(connection, recursive_triggers=False, execute_plugins=False)
            migrations.apply(database)
            columns = {"component": str, "version": int}
            database.create_table("milepost_schema", columns, pk="component", if_not_exists=True)
            write(
                "INSERT INTO milepost_schema (component, version) VALUES (?, ?) "
                "ON CONFLICT (component) DO UPDATE SET version = excluded.version",
                (self._component, len(self._steps)),
            )

        immediate(connection, apply)


def _switched_to_wal(connection: sqlite3.Connection) -> str | None:
    """Return the journal mode after asking for WAL; None where another connection is in the way."""
    try:
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except sqlite3.OperationalError as error:
        if _primary_code(error) == sqlite3.SQLITE_BUSY:
            return None
        raise
    return str(mode)


def immediate(connection: sqlite3.Connection, block: Callable[[Write], T]) -> T:
    """Run a block in one ``BEGIN IMMEDIATE``, where the connection is ours alone."""
    if connection.in_transaction:  # left by a Ctrl-C between its begin and its block; the lock is ours
        connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = block(lambda statement, values: connection.execute(statement, values).rowcount)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return done


def _make_directory(path: str) -> None:
    directory = Path(path).parent
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotOpen(f"the directory {str(directory)!r} cannot be made: {error.strerror}") from error


def _primary_code(error: sqlite3.Error) -> int:
    """Return the result code without its extension; 0 where Python raised by itself."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _locked(settings: Settings) -> str:
    return f"another connection kept the SQLite database {settings.path!r} locked for {settings.timeout:g} s"


def _translated(error: sqlite3.Error, settings: Settings) -> StorageError:
    path = repr(settings.path)
    code = _primary_code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StorageUnavailable(_locked(settings))
    if code == sqlite3.SQLITE_CONSTRAINT:
        return KeyTaken(f"a row in {path} breaks a constraint: {error}")
    if code == sqlite3.SQLITE_CANTOPEN:
        return CannotOpen(f"the SQLite database {path} cannot be opened: {_why(settings.path)}")
    cls, text = _FAULTS.get(code, (StorageError, "reported"))
    return cls(f"the SQLite database {path} {text}: {error}")


_FAULTS: Final[dict[int, tuple[type[StorageError], str]]] = {
    sqlite3.SQLITE_FULL: (DiskFull, "cannot grow; make room on its disk"),
    sqlite3.SQLITE_IOERR: (DiskError, "met an I/O error; check its disk, quota and file size limit"),
    sqlite3.SQLITE_READONLY: (
        ReadOnly,
        "cannot be written; make file and directory writable, or restore the file",
    ),
    sqlite3.SQLITE_CORRUPT: (Corrupt, "is damaged; restore a backup, or recover it with sqlite3's .recover"),
    sqlite3.SQLITE_NOTADB: (CannotOpen, "is no SQLite database; give another path"),
}


def _why(path: str) -> str:
    """Say why SQLite could not open a path, but never open it: closing it would drop SQLite's locks."""
    place = Path(path)
    # A directory above may be closed to this process: then nothing can be told.
    with suppress(PermissionError):
        if place.is_dir():
            return "it is a directory; add a file name"
        if not place.parent.is_dir():
            return f"the directory {str(place.parent)!r} does not exist; make it, or set mkdir=true"
    return "make the file and its directory readable and writable for this process"
