"""Drivers that keep everything in this process: for tests, and the model for all others.

``memory://`` is a fresh store at each open. ``memory://name`` is shared by all who open that name in this
process.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar

from milepost._struct import Struct
from milepost._words import bm25
from milepost.checkpoint import Capability, Checkpointer, HeadPage
from milepost.errors import HeadMoved, InvalidURL, PositionTaken, StorageError
from milepost.fork import PerProcess
from milepost.scans import cosine
from milepost.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from milepost.checkpoint import Head, HeadQuery, Swap
    from milepost.items import Change, StoredItem
    from milepost.scans import Query, Scan
    from milepost.store import IndexConfig, TTLConfig
    from milepost.url import URL

S = TypeVar("S")


class _Journal:
    """One thread's batches by position; below the floor, nothing is read and nothing appended."""

    def __init__(self) -> None:
        self.floor = 0
        self.batches: dict[int, bytes] = {}

    def tail(self, hint: int = 0) -> int:
        position = max(hint, self.floor)
        while position in self.batches:
            position += 1
        return position

    def drop(self, before: int) -> None:
        self.floor = max(self.floor, before)
        self.batches = {position: data for position, data in self.batches.items() if position >= self.floor}


class _Journals:
    """What a memory checkpointer keeps. A forked child has its own copy, and its own lock."""

    def __init__(self) -> None:
        self.lock = PerProcess(threading.Lock)
        self.threads: dict[str, _Journal] = {}
        self.heads: dict[str, tuple[Head, bytes]] = {}


class _Items:
    """What a memory store keeps, in the order of addresses. A forked child has its own copy, and its own lock."""

    def __init__(self) -> None:
        self.lock = PerProcess(threading.Lock)
        self.items: dict[str, StoredItem] = {}
        self.order: list[str] = []

    def change(self, change: Change) -> bool:
        """Apply a compare-and-set."""
        found = self.items.get(change.address)
        if (None if found is None else found.version) != (None if change.old is None else change.old.version):
            return False
        if change.new is not None:
            if found is None:
                insort(self.order, change.address)
            self.items[change.address] = change.new
        elif found is not None:
            del self.items[change.address]
            del self.order[bisect_left(self.order, change.address)]
        return True

    def asked(self, scan: Scan) -> Iterator[StoredItem]:
        """Yield what a scan asks for."""
        begin = max(bisect_left(self.order, scan.prefix), bisect_right(self.order, scan.after))
        for number in range(begin, len(self.order)):
            place = self.order[number]
            if not place.startswith(scan.prefix):
                return
            found = self.items[place]
            if found.is_expired(scan.now) is scan.expired:
                yield found


_journals: Final[dict[str, _Journals]] = {}
_items: Final[dict[str, _Items]] = {}


class _CheckpointerOptions(Struct):
    atomic_head: bool = True
    checked_tail: bool = True


class _StoreOptions(Struct):
    pass


class MemoryCheckpointer(Checkpointer):
    """Keeps journals and heads in this process, as bytes, as every driver does.

    ``atomic_head=False`` makes it behave as backends that cannot change head and journal in one step,
    ``checked_tail=False`` as those that cannot tell whether an append would leave a gap.
    """

    DRIVER_API = 1
    options = _CheckpointerOptions
    capabilities = frozenset({Capability.ATOMIC_HEAD, Capability.CHECKED_TAIL, Capability.INDEXED_HEADS})

    def __init__(self, *, atomic_head: bool = True, checked_tail: bool = True) -> None:
        able = {Capability.ATOMIC_HEAD: atomic_head, Capability.CHECKED_TAIL: checked_tail}
        self.capabilities = frozenset({Capability.INDEXED_HEADS, *(name for name in able if able[name])})
        self._data = _Journals()
        self._name = ""

    @classmethod
    def from_url(cls, url: URL) -> MemoryCheckpointer:
        """Make a driver for ``memory://`` or ``memory://name``, with ``atomic_head`` and ``checked_tail``.

        Raises:
            InvalidURL: the URL has a path or an unknown option.
        """
        options = url.options(_CheckpointerOptions)
        driver = cls(atomic_head=options.atomic_head, checked_tail=options.checked_tail)
        driver._name = _name(url)
        driver._data = _shared(_journals, driver._name, _Journals)
        return driver

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_shown(self._name)!r})"

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        if swap is not None and Capability.ATOMIC_HEAD not in self.capabilities:
            raise StorageError(f"{self!r} cannot change a head together with an append")
        with self._data.lock.get():
            journal = self._data.threads.get(thread) or _Journal()
            self._check_free(thread, journal, position)
            if swap is not None and not self._set_head(swap.head, swap.head.encode(), swap.expected):
                raise HeadMoved(thread_id=thread, expected=swap.expected)
            self._data.threads.setdefault(thread, journal).batches[position] = bytes(data)

    def _check_free(self, thread: str, journal: _Journal, position: int) -> None:
        if position < journal.floor or position in journal.batches:
            raise PositionTaken(thread_id=thread, position=position)
        if Capability.CHECKED_TAIL in self.capabilities and position > journal.tail():
            raise PositionTaken(thread_id=thread, position=position, tail=journal.tail())

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        with self._data.lock.get():
            journal = self._data.threads.get(thread) or _Journal()
            first = max(start, journal.floor)
            last = min(journal.tail(first), first + limit)
            return [(position, journal.batches[position]) for position in range(first, last)]

    def _tail(self, thread: str, hint: int) -> int:
        with self._data.lock.get():
            return (self._data.threads.get(thread) or _Journal()).tail(hint)

    def _load_head(self, thread: str) -> bytes | None:
        with self._data.lock.get():
            found = self._data.heads.get(thread)
        return None if found is None else found[1]

    def _swap_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        with self._data.lock.get():
            return self._set_head(head, data, expected)

    def _set_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        found = self._data.heads.get(head.thread)
        if (None if found is None else found[0].version) != expected:
            return False
        self._data.heads[head.thread] = (head, bytes(data))
        return True

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        with self._data.lock.get():
            heads = sorted(self._data.heads.items())
        begin = 0 if cursor is None else bisect_right(heads, cursor, key=lambda entry: entry[0])
        found = [entry for entry in heads[begin:] if query.matches(entry[1][0])]
        page = found[:limit]
        more = len(found) > limit
        return HeadPage(heads=tuple(data for _, (_, data) in page), cursor=page[-1][0] if more else None)

    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:  # noqa: ARG002 - all stay refused
        with self._data.lock.get():
            self._data.threads.setdefault(thread, _Journal()).drop(before)

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        with self._data.lock.get():
            if grave is not None:
                self._data.threads[thread].drop(grave + 1)
                if thread in self._data.heads and self._data.heads[thread][0].version == version:
                    del self._data.heads[thread]


class MemoryStore(Store):
    """Keeps items in this process, as bytes: what is read is never the object that was put.

    ``index`` and ``ttl`` are as in :class:`~milepost.store.Store`.
    """

    DRIVER_API = 1
    options = _StoreOptions
    capabilities = frozenset({Capability.FULL_TEXT, Capability.VECTORS, Capability.EXPIRY})

    def __init__(self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> None:
        super().__init__(index=index, ttl=ttl)
        self._data = _Items()
        self._name = ""

    @classmethod
    def from_url(cls, url: URL) -> MemoryStore:
        """Make a driver for ``memory://`` or ``memory://name``; there are no options.

        Raises:
            InvalidURL: the URL has a path or an option.
        """
        url.options(_StoreOptions)
        driver = cls()
        driver._name = _name(url)
        driver._data = _shared(_items, driver._name, _Items)
        return driver

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_shown(self._name)!r})"

    def _load(self, addresses: Sequence[str]) -> Sequence[StoredItem | None]:
        with self._data.lock.get():
            return [self._data.items.get(place) for place in addresses]

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        with self._data.lock.get():
            return [self._data.change(change) for change in changes]

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        with self._data.lock.get():
            return list(islice(self._data.asked(scan), scan.limit))

    def _rank(self, scan: Scan, query: Query, offset: int) -> Sequence[tuple[StoredItem, float]]:
        with self._data.lock.get():
            asked = list(self._data.asked(scan))
            texts = [each.text.split() for each in self._data.items.values() if each.text]
        if query.vector:
            scored = (
                (each, max(cosine(query.vector, vector) for vector in each.vectors))
                for each in asked
                if each.vectors
            )
        else:
            weigh = bm25(texts, query.words)
            scored = (
                (each, weigh(each.text.split())) for each in asked if {*query.words} <= {*each.text.split()}
            )
        ranked = sorted(scored, key=lambda entry: (-entry[1], entry[0].address))
        return ranked[offset : offset + scan.limit]


def _name(url: URL) -> str:
    if url.path.strip("/"):
        raise InvalidURL(f"{str(url)!r}: memory:// takes a name and no path: write memory://name")
    from milepost.url import unquote

    return unquote(url.netloc)


def _shown(name: str) -> str:
    """Return a name as it may be shown: one that looks like ``user:password@host`` was meant for another scheme."""
    from milepost.url import mask

    return mask(name)


def _shared(spaces: dict[str, S], name: str, make: Callable[[], S]) -> S:
    return spaces.setdefault(name, make()) if name else make()


MemorySaver = InMemorySaver = MemoryCheckpointer
InMemoryStore = MemoryStore
