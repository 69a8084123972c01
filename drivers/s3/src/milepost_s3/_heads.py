"""Heads and floors: one object per thread, changed by compare-and-set on its ETag."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from milepost.errors import StorageUnavailable
from milepost.fork import PerProcess
from milepost_s3._layout import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from milepost.checkpoint import Head
    from milepost_s3._client import Client, Listed, Object
    from milepost_s3._layout import Keys

_REMEMBERED: Final = 4096
_SHOWN: Final = 50_000  # heads of some 500 bytes
_ATTEMPTS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """A head's object as somebody of this process saw or wrote it: None where there was no object, or no head in it."""

    etag: str | None
    floor: int
    version: int | None
    print: int
    """Tells a head from another one of the same version: that of a thread deleted and started again."""

    @classmethod
    def of(cls, etag: str | None, entry: Entry) -> _Seen:
        return cls(etag=etag, floor=entry.floor, version=entry.version, print=hash(entry.head))


class _Memory:
    """What one process saw last of each thread. It may be old: a write on an old ETag is refused, never wrong."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def get(self, thread: str) -> _Seen | None:
        with self._lock:
            return self._seen.get(thread)

    def keep(self, thread: str, seen: _Seen) -> None:
        """Remember it, unless it is certainly old: floors only grow."""
        with self._lock:
            known = self._seen.pop(thread, None)
            self._seen[thread] = seen if known is None or known.floor <= seen.floor else known
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)


class _Shown:
    """What one process read of the heads it listed, by key: as many as fit, the others are read again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heads: OrderedDict[str, tuple[str, bytes | None]] = OrderedDict()

    def get(self, key: str, etag: str) -> tuple[bytes | None] | None:
        """Return what an object with this ETag holds; None where that is not known."""
        with self._lock:
            known = self._heads.get(key)
            if known is None or known[0] != etag:
                return None
            self._heads.move_to_end(key)
            return (known[1],)

    def keep(self, key: str, etag: str, head: bytes | None) -> None:
        """Remember what was read."""
        with self._lock:
            self._heads.pop(key, None)
            self._heads[key] = (etag, head)
            while len(self._heads) > _SHOWN:
                self._heads.popitem(last=False)


class Heads:
    """The head objects below one prefix.

    What the last reading or writing saw is remembered, so that a swap on the head that was just read, and each one
    after it, is a single request.
    """

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._memory = PerProcess(_Memory)
        self._shown = PerProcess(_Shown)

    def load(self, thread: str) -> Entry:
        """Read what is kept of a thread; an entry with nothing in it where there is no object."""
        return self._load(thread)[0]

    def listed(self, found: Sequence[Listed]) -> list[tuple[str, bytes | None]]:
        """Return keys and heads of listed objects; None where there is none, or the object is gone.

        Only what changed since this process listed it last is read, which its ETag tells: who looks for orphans lists
        all heads again and again.
        """
        memory = self._shown.get()
        heads = {entry.key: known[0] for entry in found if (known := memory.get(entry.key, entry.etag))}
        stale = [entry.key for entry in found if entry.key not in heads]
        if stale:
            objects = self._client.together([partial(self._client.get, key) for key in stale])
            for key, read in zip(stale, objects, strict=True):
                heads[key] = self._decoded(key, read).head
                if read is not None:
                    memory.keep(key, read.etag, heads[key])
        return [(entry.key, heads[entry.key]) for entry in found]

    def known_floor(self, thread: str) -> int:
        """Return the highest floor that this process knows of, without asking."""
        seen = self._memory.get().get(thread)
        return 0 if seen is None else seen.floor

    def swap(self, head: Head, data: bytes, expected: int | None) -> bool:
        """Set a head if its version is the expected one (None: if there is none); the floor stays what it is.

        Raises:
            StorageUnavailable: whether it was set is unknown.
        """
        thread = head.thread
        seen = self._memory.get().get(thread)
        if seen is None or seen.version != expected:
            seen = self._load(thread)[1]
        wanted = seen.print
        for _ in range(_ATTEMPTS):
            if seen.version != expected or seen.print != wanted:
                return False
            entry = Entry(floor=seen.floor, version=head.version, head=data)
            quoted = self._client.quotes_etags
            if self._write(thread, entry, seen):
                return True
            seen = self._load_after_refusal(thread, seen, quoted=quoted)[1]
        raise self._too_fast(thread)

    def change(self, thread: str, decide: Callable[[Entry], Entry | None]) -> Entry:
        """Replace the entry by what ``decide`` makes of it, unless that is None; return the entry in force."""
        entry, seen = self._load(thread)
        for _ in range(_ATTEMPTS):
            new = decide(entry)
            if new is None:
                return entry
            quoted = self._client.quotes_etags
            if self._write(thread, new, seen):
                return new
            entry, seen = self._load_after_refusal(thread, seen, quoted=quoted)
        raise self._too_fast(thread)

    def _load(self, thread: str) -> tuple[Entry, _Seen]:
        key = self._keys.head(thread)
        found = self._client.get(key)
        entry = self._decoded(key, found)
        seen = _Seen.of(None if found is None else found.etag, entry)
        self._memory.get().keep(thread, seen)
        return entry, seen

    def _decoded(self, key: str, found: Object | None) -> Entry:
        return Entry() if found is None else Entry.decode(found.data, f"{key!r} in {self._client.place}")

    def _load_after_refusal(self, thread: str, refused: _Seen, *, quoted: bool) -> tuple[Entry, _Seen]:
        """Read again; where nobody changed the entry and yet its ETag did not match, send it in the other form."""
        entry, seen = self._load(thread)
        if seen.etag is not None and seen.etag == refused.etag:
            self._client.quotes_etags = not quoted
        return entry, seen

    def _write(self, thread: str, entry: Entry, seen: _Seen) -> bool:
        """Write an entry over exactly what was seen; return whether that was still there."""
        key = self._keys.head(thread)
        if seen.etag is None:
            etag = self._client.create(key, entry.encode())
        else:
            etag = self._client.replace(key, entry.encode(), seen.etag)
        if etag is None:
            return False
        self._memory.get().keep(thread, _Seen.of(etag, entry))
        return True

    def _too_fast(self, thread: str) -> StorageUnavailable:
        return StorageUnavailable(
            f"the head of thread {thread!r} in {self._client.place} changes too fast, or its ETag never matches"
        )
