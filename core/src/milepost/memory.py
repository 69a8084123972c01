"""Drivers that keep everything in this process: for tests, and the model for all others.

``memory://`` is a fresh store at each open. ``memory://name`` is shared by all who open that name in this
process.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, TypeVar

from milepost._struct import Struct
from milepost.checkpoint import Capability, Checkpointer, HeadPage
from milepost.errors import HeadMoved, InvalidURL, PositionTaken, StorageError
from milepost.fork import PerProcess
from milepost.store import Store, StoredItem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from milepost.checkpoint import Head, HeadQuery, Swap
    from milepost.store import Namespace
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
    """What a memory store keeps. A forked child has its own copy, and its own lock."""

    def __init__(self) -> None:
        self.lock = PerProcess(threading.Lock)
        self.items: dict[tuple[Namespace, str], StoredItem] = {}


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
    """Keeps items in this process, as bytes: what is read is never the object that was put."""

    DRIVER_API = 1
    options = _StoreOptions

    def __init__(self) -> None:
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

    def _get(self, namespace: Namespace, key: str) -> StoredItem | None:
        with self._data.lock.get():
            return self._data.items.get((namespace, key))

    def _put(self, namespace: Namespace, key: str, data: bytes, now: datetime) -> None:
        with self._data.lock.get():
            old = self._data.items.get((namespace, key))
            created = now if old is None else old.created_at
            self._data.items[namespace, key] = StoredItem(
                namespace=namespace, key=key, data=data, created_at=created, updated_at=now
            )

    def _delete(self, namespace: Namespace, key: str) -> None:
        with self._data.lock.get():
            self._data.items.pop((namespace, key), None)

    def _scan(
        self, prefix: Namespace, after: tuple[Namespace, str] | None, limit: int
    ) -> Sequence[StoredItem]:
        with self._data.lock.get():
            found = [entry for entry in self._data.items.items() if entry[0][0][: len(prefix)] == prefix]
        found.sort(key=lambda entry: entry[0])
        begin = 0 if after is None else bisect_right(found, after, key=lambda entry: entry[0])
        return [item for _, item in found[begin : begin + limit]]

    def _namespaces(self) -> Sequence[Namespace]:
        with self._data.lock.get():
            return sorted({namespace for namespace, _ in self._data.items})


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
