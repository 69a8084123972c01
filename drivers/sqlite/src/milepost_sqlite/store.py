"""The store for SQLite: an item is a row, found by its address, its words or its embeddings."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from functools import cache
from heapq import nsmallest
from typing import TYPE_CHECKING, Literal

from milepost.backend import Capability
from milepost.scans import cosine
from milepost.store import Store
from milepost_sqlite import _items, _layout
from milepost_sqlite._client import MEMORY, Client
from milepost_sqlite._place import SQLiteOptions, path_of, settings

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from milepost.items import Change, StoredItem
    from milepost.scans import Query, Scan
    from milepost.store import IndexConfig, TTLConfig
    from milepost.url import URL
    from milepost_sqlite._client import Write

_ALWAYS = frozenset({Capability.FILTERS, Capability.VECTORS, Capability.EXPIRY})


@cache
def _has_words() -> bool:
    with closing(sqlite3.connect(MEMORY)) as connection:
        return _items.has_words(connection)


class SQLiteStore(Store):
    """Keeps items in one SQLite file that any number of processes of one host may share, beside a checkpointer or not.

    ``path``, ``synchronous``, ``timeout`` and ``mkdir`` are as in
    :class:`~milepost_sqlite.checkpointer.SQLiteCheckpointer`, ``index`` and ``ttl`` as in
    :class:`~milepost.store.Store`. Where the package ``sqlite-vec`` is installed, and this Python can load extensions,
    it compares embeddings.

    Raises:
        InvalidURL: ``synchronous`` or ``timeout`` has no such value.
        InvalidIndex: ``index`` or ``ttl`` is malformed.
    """

    DRIVER_API = 1
    options = SQLiteOptions
    capabilities = _ALWAYS | {Capability.FULL_TEXT, Capability.DURABLE, Capability.MULTI_PROCESS}
    max_item_bytes: int | None = (_layout.LARGEST_ROW - _layout.ROW_BYTES) // 2  # it is bound twice

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["full", "normal"] = "full",
        timeout: float = 30.0,
        mkdir: bool = False,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        place = settings(path, SQLiteOptions(synchronous=synchronous, timeout=timeout, mkdir=mkdir))
        self.path = place.path
        shared = {Capability.DURABLE, Capability.MULTI_PROCESS} if self.path != MEMORY else set()
        self.capabilities = _ALWAYS | shared | ({Capability.FULL_TEXT} if _has_words() else set())
        super().__init__(index=index, ttl=ttl)
        self._client = Client(place, component=_items.COMPONENT, steps=_items.STEPS, prepare=_load_extension)

    @classmethod
    def from_url(cls, url: URL) -> SQLiteStore:
        """Make a driver for ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``sqlite://`` (memory).

        Raises:
            InvalidURL: the path is missing or stands where a host would, or an option is not understood.
        """
        options = url.options(SQLiteOptions)
        return cls(
            path_of(url), synchronous=options.synchronous, timeout=options.timeout, mkdir=options.mkdir
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def _open(self) -> None:
        self._client.open()

    def _close(self) -> None:
        self._client.close()

    # -- hooks -----------------------------------------------------------------------------------------------------

    def _load(self, addresses: Sequence[str]) -> Sequence[StoredItem | None]:
        found: dict[str, StoredItem] = {}
        for begin in range(0, len(addresses), _items.AT_ONCE):
            part = addresses[begin : begin + _items.AT_ONCE]
            for row in self._client.query(_items.load(part), part):
                found[row[0]] = _items.read(row, self.path)
        return [found.get(place) for place in addresses]

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        return self._client.transact(lambda write: [self._change(write, change) for change in changes])

    def _change(self, write: Write, change: Change) -> bool:
        place, old, new = change.address, change.old, change.new
        if old is None:
            done = new is None or write(_items.INSERT, (*_items.row(new), place)) > 0
        elif new is not None and new.version == old.version:  # only its life begins anew
            return write(_items.REFRESH, (_items.expiry(new), place, old.version)) > 0
        else:
            self._forget(write, place, old.version)
            kept = (_items.DELETE, ()) if new is None else (_items.UPDATE, _items.row(new))
            done = write(kept[0], (*kept[1], place, old.version)) > 0
        if done and new is not None:
            self._keep(write, new)
        return done

    def _forget(self, write: Write, place: str, version: int) -> None:
        """Forget what finds an item by a query, where it is still at this version."""
        if Capability.FULL_TEXT in self.capabilities:
            write(_items.FORGET_WORDS, (place, version))
        write(_items.FORGET_VECTORS, (place, version))

    def _keep(self, write: Write, item: StoredItem) -> None:
        if item.text:
            write(_items.KEEP_WORDS, (item.address, item.text))
        for vector in item.vectors:
            write(_items.KEEP_VECTOR, (item.address, _items.packed(vector)))

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        return [_items.read(row, self.path) for row in self._client.query(*_items.scan(scan))]

    def _rank(self, scan: Scan, query: Query, offset: int) -> Sequence[tuple[StoredItem, float]]:
        if query.words:
            statement = _items.with_words(scan, query.words, offset)
        elif self._client.query(_items.HAS_VEC, ()):
            statement = _items.nearest(scan, query.vector, offset)
        else:
            return self._nearest(scan, query.vector, offset)
        return [(_items.read(row, self.path), row[-1]) for row in self._client.query(*statement)]

    def _nearest(
        self, scan: Scan, vector: Sequence[float], offset: int
    ) -> Sequence[tuple[StoredItem, float]]:
        """Compare each embedding here, and read the items of the page."""
        scores: dict[str, float] = {}
        for place, data in self._client.query(*_items.vectors(scan)):
            score = cosine(vector, _items.unpacked(data))
            scores[place] = max(score, scores.get(place, score))
        best = nsmallest(offset + scan.limit, scores.items(), key=lambda entry: (-entry[1], entry[0]))[
            offset:
        ]
        found = self._load([place for place, _ in best])
        return [(item, score) for item, (_, score) in zip(found, best, strict=True) if item is not None]


def _load_extension(connection: sqlite3.Connection) -> None:
    """Load sqlite-vec, where it is installed and this Python loads extensions; without it, Python compares."""
    with suppress(ImportError, AttributeError, sqlite3.Error):
        import sqlite_vec

        connection.enable_load_extension(True)
        try:
            sqlite_vec.load(connection)
        finally:
            connection.enable_load_extension(False)
