"""The store for SQLite: an item is a row, its words and its vectors change in the same transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from milepost.backend import Capability
from milepost.store import Store
from milepost_sqlite import _fields, _items, _nearness, _ranking
from milepost_sqlite._client import CannotOpen, Client, immediate
from milepost_sqlite._place import SQLiteOptions, path_of, settings

if TYPE_CHECKING:
    import os
    import sqlite3
    from collections.abc import Iterable, Sequence

    from milepost.filters import Path
    from milepost.items import Change, StoredItem
    from milepost.scans import Query, Scan
    from milepost.store import IndexConfig, TTLConfig
    from milepost.url import URL
    from milepost_sqlite._client import Write

_IN_MEMORY: Final = frozenset({
    Capability.FILTERS, Capability.VECTORS, Capability.EXPIRY,
    *([Capability.FULL_TEXT] if _items.finds_words() else []),
})  # fmt: skip

_CACHE_KIB: Final = 64 * 1024
"""What a connection may keep of the file in memory: a search with a filter reads many items."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLiteStoreOptions(SQLiteOptions):
    """The options of a store's ``sqlite:`` URL; ``fields`` are paths with commas between."""

    fields: str = ""


class SQLiteStore(Store):
    """Keeps items in one SQLite file that any number of processes of one host may share, also with a checkpointer.

    ``path``, ``synchronous``, ``timeout`` and ``mkdir`` are as in
    :class:`~milepost_sqlite.checkpointer.SQLiteCheckpointer`, ``index`` and ``ttl`` as in
    :class:`~milepost.store.Store`. ``fields`` are paths such as ``author.name`` that the file gets an index of: a
    search whose filter asks for a text there then reads what has it, and not all below its prefix.

    Raises:
        InvalidURL: ``synchronous`` or ``timeout`` has no such value, or ``fields`` has something else than paths.
        InvalidIndex: ``index`` or ``ttl`` is malformed.
    """

    DRIVER_API = 1
    options = SQLiteStoreOptions
    capabilities = _IN_MEMORY | {Capability.DURABLE, Capability.MULTI_PROCESS}
    max_item_bytes: int | None = _items.LARGEST_VALUE

    def __init__(  # noqa: PLR0913 - the options of the URL, and a store's own
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["full", "normal"] = "full",
        timeout: float = 30.0,
        mkdir: bool = False,
        fields: Iterable[str] = (),
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        place = settings(path, synchronous=synchronous, timeout=timeout, mkdir=mkdir)
        self.path = place.path
        self._client = Client(place, component=_items.COMPONENT, steps=_items.STEPS, prepare=self._prepare)
        if self._client.in_memory:
            self.capabilities = _IN_MEMORY
        self._cosine = _nearness.IN_PYTHON
        self._declared = _fields.checked(fields)
        self._fields: frozenset[Path] = frozenset()
        super().__init__(index=index, ttl=ttl)

    @classmethod
    def from_url(cls, url: URL) -> SQLiteStore:
        """Make a driver for ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``sqlite://`` (memory).

        Raises:
            InvalidURL: the path is missing or stands where a host would, or an option is not understood.
        """
        options = url.options(SQLiteStoreOptions)
        return cls(
            path_of(url),
            synchronous=options.synchronous,
            timeout=options.timeout,
            mkdir=options.mkdir,
            fields=[field for field in options.fields.split(",") if field],
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def _open(self) -> None:
        self._client.open()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (encoding,) = connection.execute("PRAGMA encoding").fetchone()
        if encoding != "UTF-8":
            raise CannotOpen(
                f"the SQLite database {self.path!r} keeps text as {encoding}, which does not sort as a store needs it; "
                f"give another path"
            )
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        if _items.lacks_words(connection):
            immediate(connection, lambda write: _items.index_words(connection, write))
        self._fields = _fields.prepare(connection, self._declared)
        self._cosine = _nearness.prepare(connection)

    def _load(self, addresses: Sequence[str]) -> Sequence[StoredItem | None]:
        found: dict[str, StoredItem] = {}
        for begin in range(0, len(addresses), _items.LOADED):
            rows = self._client.query(*_items.load(addresses[begin : begin + _items.LOADED]))
            found.update((item.address, item) for item, _ in _items.read(rows))
        return [found.get(place) for place in addresses]

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        def write_all(write: Write) -> list[bool]:
            return [_apply(write, change) for change in changes]

        return self._client.transact(write_all)

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        # The statement is made when there is a connection: only then is known which indexes there are.
        rows = self._client.use(
            lambda connection: connection.execute(*_items.scan(scan, self._fields)).fetchall()
        )
        return [item for item, _ in _items.read(rows)]

    def _rank(self, scan: Scan, query: Query, offset: int) -> Sequence[tuple[StoredItem, float]]:
        def run(connection: sqlite3.Connection) -> list[Any]:
            if query.vector:
                asked = _ranking.near(scan, query.vector, offset, self._cosine)
            else:
                asked = _ranking.worded(scan, query.words, offset)
            return connection.execute(*asked).fetchall()

        return list(_items.read(self._client.use(run)))

    def _close(self) -> None:
        self._client.close()


def _apply(write: Write, change: Change) -> bool:
    if not write(*_items.change(change)):
        return False
    for statement in _items.vectors(change):
        write(*statement)
    return True
