"""The contract of a checkpointer: final methods above, a driver's hooks below.  (layer 4)

A thread's journal is a sequence of batches at positions 0, 1, 2, …; one head per thread is an index to it. One idea
carries the guarantees on every backend: **an append at an expected position succeeds only if that position is free**.
A primary key gives that in SQLite, ``If-None-Match: *`` in S3, a unique ``_id`` in MongoDB. No hook needs a transaction
over several records.

A driver subclasses :class:`Checkpointer` and fills in the hooks (``_append``, ``_read``, …) on bytes and the frozen
records of :mod:`milepost.records`, which are named here too. Validation, encoding, numbering, resending and the order
of journal and head live here.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final

from milepost._struct import Struct
from milepost.errors import (
    Closed,
    HeadMoved,
    InvalidThreadId,
    PositionTaken,
    StorageUnavailable,
    TooLarge,
)
from milepost.records import (
    FORMAT,
    Abandoned,
    Batch,
    Claimed,
    Failed,
    Failure,
    Finished,
    Head,
    Interrupted,
    Observed,
    Outcome,
    Owner,
    Parent,
    Question,
    Record,
    Resumed,
    Retried,
    Started,
    Status,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Self

    from milepost.url import URL
__all__ = [
    "FORMAT",
    "MAX_THREAD_ID_BYTES",
    "Abandoned",
    "Batch",
    "Capability",
    "Checkpointer",
    "Claimed",
    "Failed",
    "Failure",
    "Finished",
    "Head",
    "HeadPage",
    "HeadQuery",
    "Interrupted",
    "Observed",
    "Outcome",
    "Owner",
    "Parent",
    "Question",
    "Record",
    "Resumed",
    "Retried",
    "Started",
    "Status",
    "Swap",
    "Value",
    "check_thread_id",
]

MAX_THREAD_ID_BYTES: Final = 512

_PAGE: Final = 256
_RESENDS: Final = (0.05, 0.2, 0.8)


class Swap(Struct):
    """A compare-and-set of a head: ``head`` replaces version ``expected`` (None: there is no head yet)."""

    head: Head
    expected: int | None


class HeadQuery(Struct):
    """Which heads to list; None means any. ``wake_before`` is in seconds since the epoch."""

    statuses: tuple[Status, ...] | None = None
    workflow: str | None = None
    wake_before: float | None = None

    def matches(self, head: Head) -> bool:
        """Tell whether a head is asked for; for drivers whose backend cannot filter."""
        return (
            (self.statuses is None or head.status in self.statuses)
            and (self.workflow is None or head.workflow == self.workflow)
            and (self.wake_before is None or (head.wake is not None and head.wake < self.wake_before))
        )


class HeadPage(Struct):
    """A page of a listing, in the order of thread ids; ``cursor`` continues it, None ends it."""

    heads: tuple[bytes, ...]
    cursor: str | None


class Capability(StrEnum):
    """What a driver does beyond the required hooks. Declared, never guessed."""

    ATOMIC_HEAD = "atomic-head"
    """``_append`` applies a head swap in the same step as the batch: both or neither."""
    DURABLE = "durable"
    """What was acknowledged survives the process."""
    MULTI_PROCESS = "multi-process"
    """Several processes may use one backend at once."""
    MULTI_HOST = "multi-host"
    """Several hosts may."""


def check_thread_id(value: object) -> str:
    """Return a thread id as milepost keeps it.

    Raises:
        InvalidThreadId: it is no non-empty str (or int or UUID, which are converted), not valid Unicode, or too long.
    """
    from uuid import UUID

    if isinstance(value, (int, UUID)) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidThreadId(f"a thread id is a str, not {type(value).__name__}: {value!r}")
    if not value:
        raise InvalidThreadId("a thread id must not be empty")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise InvalidThreadId(f"thread id {value!r} is not valid Unicode: {error.reason}") from error
    if size > MAX_THREAD_ID_BYTES:
        raise InvalidThreadId(
            f"thread id {value[:40]!r}… has {size} bytes in UTF-8; the limit is {MAX_THREAD_ID_BYTES}"
        )
    return value


class Checkpointer(ABC):
    """A driver that keeps journals and heads. Public methods are final; a driver fills in the hooks.

    Hooks are called from any worker thread, also at the same time. They translate what their backend raises into
    :class:`~milepost.errors.StorageError` and its subclasses: :class:`StorageUnavailable` when the outcome is
    unknown or the backend cannot now (time-out, throttling, 5xx; the identical call is sent again), anything else
    when trying again cannot help. They never log or show secrets.

    Nothing opens or connects before the first use; ``close()`` may be called twice; after a fork a driver opens
    again by itself (:class:`milepost.fork.PerProcess`).
    """

    DRIVER_API: ClassVar[int] = 1
    """The version of this contract that the driver was written for."""

    capabilities: frozenset[Capability] = frozenset()
    max_batch_bytes: int | None = None

    _closed = False

    # -- for the engine: final ---------------------------------------------------------------------------------

    def append(self, thread: str, position: int, batch: Batch, swap: Swap | None = None) -> None:
        """Append a batch at the expected position, once, whatever happens to answers on the way.

        A batch found at the position under this batch's id is this batch: an earlier sending was applied.
        ``swap`` is only for drivers with ``ATOMIC_HEAD``; others get it through :meth:`wake` and :meth:`rest`.

        Raises:
            PositionTaken: somebody else's batch is there; nothing was applied.
            HeadMoved: the swap lost; nothing was applied.
            TooLarge: the batch is over the backend's limit; nothing was sent.
            StorageUnavailable: after several sendings of the identical bytes; whether it was applied is unknown.
        """
        data = batch.encode()
        if self.max_batch_bytes is not None and len(data) > self.max_batch_bytes:
            raise TooLarge(thread_id=thread, size=len(data), limit=self.max_batch_bytes)
        for delay in (*_RESENDS, None):
            self._check_open()
            try:
                self._append(thread, position, data, swap)
            except (PositionTaken, HeadMoved):
                if self._is_at(thread, position, batch.id):
                    return
                raise
            except StorageUnavailable:
                if delay is None:
                    raise
                self._pause(delay)
            else:
                return

    def wake(self, thread: str, position: int, batch: Batch, swap: Swap) -> None:
        """Take a thread to work on it: the head first, then the append; in one step where the backend can.

        Raises:
            HeadMoved: somebody else moved the head; nothing was applied.
            PositionTaken: the head is taken, the batch is not applied: read again and decide again.
        """
        if Capability.ATOMIC_HEAD in self.capabilities:
            self.append(thread, position, batch, swap)
            return
        if not self.swap_head(swap):
            raise HeadMoved(thread_id=thread, expected=swap.expected)
        self.append(thread, position, batch)

    def rest(self, thread: str, position: int, batch: Batch, swap: Swap) -> None:
        """Lay a thread down: the append first, then the head; in one step where the backend can.

        A head that somebody else moved is left alone: the journal holds what matters.

        Raises:
            PositionTaken: somebody else's batch is there: the thread was taken over.
        """
        if Capability.ATOMIC_HEAD in self.capabilities:
            try:
                self.append(thread, position, batch, swap)
            except HeadMoved:
                self.append(thread, position, batch)
            return
        self.append(thread, position, batch)
        self.swap_head(swap)

    def read(self, thread: str, start: int = 0, limit: int | None = None) -> Iterator[tuple[int, Batch]]:
        """Yield the batches from a position on, in order, up to the first gap; page by page, holding no lock.

        Raises:
            Corrupt: a batch cannot be read.
        """
        position, left = start, limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            page = self._retrying(self._read, thread, position, size)
            for found, data in page:
                if found != position:
                    return
                yield found, Batch.decode(data, thread=thread, position=found)
                position += 1
            if len(page) < size:
                return
            left = None if left is None else left - len(page)

    def tail(self, thread: str, hint: int = 0) -> int:
        """Return the first free position at or after ``hint``, where ``hint`` is a position known to be taken, or 0."""
        tail: int = self._retrying(self._tail, thread, hint)
        return tail

    def load_head(self, thread: str) -> Head | None:
        """Return the thread's head, or None where there is none."""
        data = self._retrying(self._load_head, thread)
        return None if data is None else Head.decode(data, thread=thread)

    def swap_head(self, swap: Swap) -> bool:
        """Compare and set a head; return whether it was set. One's own swap whose answer was lost counts as set."""
        head = swap.head
        data = head.encode()
        for delay in (*_RESENDS, None):
            self._check_open()
            try:
                swapped = self._swap_head(head, data, swap.expected)
            except StorageUnavailable:
                if delay is None:
                    raise
                self._pause(delay)
            else:
                return swapped or self._is_head(head)
        raise AssertionError  # pragma: no cover - the last delay is None

    def list_heads(
        self, query: HeadQuery | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[Head], str | None]:
        """Return a page of heads and the cursor of the next. Heads are hints; check the journal before acting."""
        page: HeadPage = self._retrying(self._list_heads, query or HeadQuery(), cursor, limit)
        return [Head.decode(data, thread="(listed)") for data in page.heads], page.cursor

    def delete(self, thread: str) -> None:
        """Delete exactly this thread: its journal and its head. Deleting an unknown thread does nothing."""
        self._retrying(self._delete, thread)

    def open(self) -> Self:
        """Connect and check the schema now, instead of at the first use.

        Raises:
            SchemaTooNew: the data was written by a later version.
            Closed: the driver was closed.
        """
        self._check_open()
        self._retrying(self._open)
        return self

    def close(self) -> None:
        """Close what this driver opened. Later calls raise :class:`~milepost.errors.Closed`."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- for drivers: hooks ------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def from_url(cls, url: URL) -> Self:
        """Make a driver from a parsed URL; do not connect.

        Raises:
            InvalidURL: an option or a part is not understood.
        """

    def _open(self) -> None:
        """Connect and check or create the schema. Idempotent, thread-safe, safe for several processes at once."""

    @abstractmethod
    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        """Create the batch at the position if and only if that position is free.

        All or nothing, and durable when it returns. A backend that can tell must also refuse a position that would
        leave a gap. With ``swap`` (only if ``ATOMIC_HEAD`` is declared) the head changes in the same step, or neither.

        S3: ``PUT`` with ``If-None-Match: *`` on a key made of thread and position; 412 is :class:`PositionTaken`; 409,
        5xx and time-outs are :class:`StorageUnavailable`. MongoDB: ``insert_one`` with ``_id`` from thread and
        position, write concern ``majority`` (or ``w=1, j=True`` on a standalone); a duplicate key is
        :class:`PositionTaken`.

        Raises:
            PositionTaken: the position holds a batch, whoever's it is. (The base class finds out whose.)
            HeadMoved: the swap's expected version is not the head's.
            StorageUnavailable: whether it was applied is unknown.
        """

    @abstractmethod
    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Return up to ``limit`` batches from ``start`` on, in order, never half a batch; no lock outlives it.

        S3: ``GET`` of consecutive keys until 404. MongoDB: a range of ``_id`` read from the primary.
        """

    def _tail(self, thread: str, hint: int) -> int:
        """Return the first free position at or after ``hint``, at a cost that does not grow with what is before."""
        position = hint
        while page := self._read(thread, position, _PAGE):
            position = page[-1][0] + 1
            if len(page) < _PAGE:
                break
        return position

    @abstractmethod
    def _load_head(self, thread: str) -> bytes | None:
        """Return the head's bytes as they were last set, or None. Read-your-writes: a stale answer is a fault."""

    @abstractmethod
    def _swap_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        """Set the head if its version is ``expected`` (None: if there is none); return whether it was set.

        ``data`` is what is stored; the fields of ``head`` are there to be indexed. S3: ``If-Match`` with the ETag
        that was read together with that version. MongoDB: a filter on ``_id`` and ``version``.
        """

    @abstractmethod
    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        """Return up to ``limit`` matching heads after the cursor, filtered before limited."""

    @abstractmethod
    def _delete(self, thread: str) -> None:
        """Delete a thread's batches and head, and no other thread's; restartable when cut off midway.

        A backend whose append does not check the tail in the same step leaves a tombstone, so that a former owner's
        late append cannot land in a freed position.
        """

    def _close(self) -> None:
        """Release connections and files."""

    # -- helpers -------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"{self!r} was closed")

    def _is_at(self, thread: str, position: int, batch_id: str) -> bool:
        for _, batch in self.read(thread, position, 1):
            return batch.id == batch_id
        return False

    def _is_head(self, head: Head) -> bool:
        now = self.load_head(head.thread)
        return now is not None and (now.version, now.nonce) == (head.version, head.nonce)

    def _retrying(self, hook: Any, *args: Any) -> Any:
        """Call a hook whose repetition is harmless, again after a fault."""
        for delay in _RESENDS:
            self._check_open()
            try:
                return hook(*args)
            except StorageUnavailable:
                self._pause(delay)
        self._check_open()
        return hook(*args)

    def _pause(self, seconds: float) -> None:
        threading.Event().wait(seconds)
