"""The contract of a checkpointer: final methods above, a driver's hooks below.

A thread's journal is a sequence of batches at positions 0, 1, 2, …; one head per thread is an index to it. One idea
carries the guarantees on every backend: **an append at an expected position succeeds only if that position is free**.
A primary key gives that in SQLite, ``If-None-Match: *`` in S3, a unique ``_id`` in MongoDB. No hook needs a transaction
over several records.

A driver subclasses :class:`Checkpointer` and fills in the hooks (``_append``, ``_read``, …) on bytes and the frozen
records of :mod:`milepost.records`, which are named here too. Validation, encoding, numbering, resending and the order
of journal and head live here.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final

from milepost import _ids
from milepost._clock import SystemClock
from milepost._struct import Struct
from milepost.backend import Backend, Capability
from milepost.errors import (
    Corrupt,
    HeadMoved,
    InvalidThreadId,
    PositionTaken,
    StorageUnavailable,
    TooLarge,
)
from milepost.records import (
    FORMAT,
    Abandoned,
    Attempted,
    Batch,
    Begun,
    Cancelled,
    Claimed,
    Deleted,
    Failed,
    Failure,
    Finished,
    Head,
    Interrupted,
    Keyed,
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
    Written,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

__all__ = [
    "FORMAT",
    "MAX_THREAD_ID_BYTES",
    "Abandoned",
    "Attempted",
    "Batch",
    "Begun",
    "Cancelled",
    "Capability",
    "Checkpointer",
    "Claimed",
    "Deleted",
    "Failed",
    "Failure",
    "Finished",
    "Head",
    "HeadPage",
    "HeadQuery",
    "Interrupted",
    "Keyed",
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
    "Written",
    "check_thread_id",
    "contested",
]

MAX_THREAD_ID_BYTES: Final = 512

_PAGE: Final = 256


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


def contested(journal: Iterable[tuple[int, Batch]]) -> frozenset[int]:
    """Return the positions at which the append of a former owner may still be on its way.

    They are those where a session wrote after another one that had not finished its run, and the first one where what
    was before it is pruned. Pruning keeps them occupied.
    """
    found: set[int] = set()
    before: Batch | None = None
    for position, batch in journal:
        follows = position > 0 if before is None else before.session != batch.session and not before.is_final
        if follows:
            found.add(position)
        before = batch
    return frozenset(found)


class Checkpointer(Backend):
    """A driver that keeps journals and heads. Public methods are final; a driver fills in the hooks.

    Positions only grow. A journal begins at its *floor*: what was before was pruned, or deleted with the thread.
    ``max_batch_bytes`` is the largest batch that the backend takes, None where only memory limits it.
    """

    max_batch_bytes: int | None = None

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
        sent = False
        for again in self._sendings():
            try:
                self._append(thread, position, data, swap)
            except (PositionTaken, HeadMoved):
                if not self._was_applied(thread, position, batch.id, sent=sent):
                    raise
                return
            except StorageUnavailable:
                sent = True
                if not again:
                    raise
            else:
                return

    def wake(self, thread: str, position: int, batch: Batch, swap: Swap) -> None:
        """Take a thread to work on it: the head first, then the append; in one step where the backend can.

        Raises:
            HeadMoved: somebody else moved the head; nothing was applied.
            PositionTaken: the head is taken, the batch is not applied: read again and decide again.
            StorageUnavailable: whether it was applied is unknown.
        """
        if Capability.ATOMIC_HEAD in self.capabilities:
            self.append(thread, position, batch, swap)
            return
        if not self.swap_head(swap):
            raise HeadMoved(thread_id=thread, expected=swap.expected)
        self.append(thread, position, batch)
        if self.at(thread, position) is None:  # it landed in a position that somebody freed since it was read
            raise self._lost_sight(thread, position)

    def rest(self, thread: str, position: int, batch: Batch, swap: Swap) -> bool:
        """Lay a thread down: the append first, then the head; in one step where the backend can.

        A head that somebody else moved is left alone, which is told by False: the journal holds what matters.

        Raises:
            PositionTaken: somebody else's batch is there: the thread was taken over.
        """
        if Capability.ATOMIC_HEAD in self.capabilities:
            try:
                self.append(thread, position, batch, swap)
            except HeadMoved:
                self.append(thread, position, batch)
                return False
            return True
        self.append(thread, position, batch)
        return self.swap_head(swap)

    def read(self, thread: str, start: int = 0, limit: int | None = None) -> Iterator[tuple[int, Batch]]:
        """Yield the batches from a position on, in order, up to the first gap; page by page, holding no lock.

        What is before the journal's floor is passed over.

        Raises:
            Corrupt: a batch cannot be read.
        """
        position, left, begun = start, limit, False
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            page = self._retrying(self._read, thread, position, size)
            for found, data in page:
                if found != position and begun:
                    return
                yield found, Batch.decode(data, thread=thread, position=found)
                position, begun = found + 1, True
            if len(page) < size:
                return
            left = None if left is None else left - len(page)

    def at(self, thread: str, position: int) -> Batch | None:
        """Return the batch at a position; None where there is none, or where it was pruned.

        Raises:
            Corrupt: it cannot be read.
        """
        return next((batch for found, batch in self.read(thread, position, 1) if found == position), None)

    def tail(self, thread: str, hint: int = 0) -> int:
        """Return the first free position.

        ``hint`` is a position that the journal has reached, such as a head's ``run``: what is before is not looked at.
        """
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
        for again in self._sendings():
            try:
                swapped = self._swap_head(head, data, swap.expected)
            except StorageUnavailable:
                if not again:
                    raise
            else:
                return swapped or self._is_head(head)
        raise AssertionError  # pragma: no cover - the last sending returns or raises

    def list_heads(
        self, query: HeadQuery | None = None, *, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[Head], str | None]:
        """Return a page of heads and the cursor of the next. Heads are hints; check the journal before acting."""
        page: HeadPage = self._retrying(self._list_heads, query or HeadQuery(), cursor, limit)
        return [Head.decode(data, thread="(listed)") for data in page.heads], page.cursor

    def prune(self, thread: str, before: int, keep: Collection[int] = ()) -> None:
        """Drop the batches before a position, which becomes the journal's floor; an empty journal then begins there.

        The caller answers for what may go: only closed runs, never the newest, nor the result that the newest names as
        its ``previous``. ``keep`` names the positions where a former owner's append may still be on its way: they stay
        occupied, by an empty stub.
        """
        self._retrying(self._prune, thread, before, frozenset(keep))

    def delete(self, thread: str) -> None:
        """Delete exactly this thread: its journal and its head. Deleting an unknown thread does nothing.

        It is done as everything is: the head is taken, so that whoever holds it is told; a tombstone takes the tail, so
        that no append on its way can land there; then head and batches go. A thread that is started again goes on after
        the tombstone, on every backend: positions that were free again would be open to a former owner.
        """
        head = self._take_to_delete(thread)
        if head is None:
            self._retrying(self._delete, thread, None, None)
            return
        grave = self._bury(thread, head.run)
        if Capability.CHECKED_TAIL not in self.capabilities:
            self.prune(thread, grave, self._contested(thread, grave))
        self._retrying(self._delete, thread, grave, head.version)

    def delete_thread(self, thread_id: str) -> None:
        """Do what :meth:`delete` does, under LangGraph's name."""
        self.delete(check_thread_id(thread_id))

    # -- for drivers: hooks ------------------------------------------------------------------------------------

    @abstractmethod
    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        """Create the batch at the position if and only if that position is free, and not below the floor.

        All or nothing, and durable when it returns; ``data`` is never empty. With ``CHECKED_TAIL`` declared, a
        position that would leave a gap is refused too. With ``swap`` (only if ``ATOMIC_HEAD`` is declared) both batch
        and head are set, or neither.

        S3: ``PUT`` with ``If-None-Match: *`` on a key made of thread and position; 412 is :class:`PositionTaken`; 409,
        5xx and time-outs are :class:`StorageUnavailable`. MongoDB: ``insert_one`` with ``_id`` from thread and
        position, write concern ``majority`` (or ``w=1, j=True`` on a standalone); a duplicate key is
        :class:`PositionTaken`.

        Raises:
            PositionTaken: the position holds a batch or a stub, whoever's it is. (The base class finds out whose.)
            HeadMoved: the swap's expected version is not the head's.
            StorageUnavailable: whether it was applied is unknown.
        """

    @abstractmethod
    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Return up to ``limit`` batches from ``start`` or the floor on, in order, never half a batch, never a stub.

        No lock outlives it. S3: ``GET`` of consecutive keys until 404. MongoDB: a range of ``_id``, from the primary.
        """

    @abstractmethod
    def _tail(self, thread: str, hint: int) -> int:
        """Return the first free position, at a cost that does not grow with what is before ``hint``.

        It is never below the floor, also where the journal is empty.
        """

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
    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:
        """Drop what is before a position; the floor first, so that it can be cut off midway and be done again.

        A floor never falls. It may rise above what there is: the next append is then at the floor. Without
        ``CHECKED_TAIL``, the positions of ``keep`` stay occupied; with it, they may go.
        """

    @abstractmethod
    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        """Delete a thread's batches and head, and no other thread's; restartable when cut off midway.

        The batch at ``grave`` was appended to stay. The floor rises to the position after it, and in the same step the
        head goes if its version is ``version``: at another one, somebody has started the thread again. Then the
        batches before ``grave`` go, while its own position and stubs stay occupied. ``grave`` is None where there was
        nothing to bury: only what an earlier deletion left is swept away.
        """

    # -- helpers -------------------------------------------------------------------------------------------------

    def _take_to_delete(self, thread: str) -> Head | None:
        """Raise the thread's head, so that whoever holds it is told; None where there is nothing to delete."""
        while True:
            head = self.load_head(thread)
            if head is None and not self._retrying(self._read, thread, 0, 1):
                return None
            raised = Head(
                thread=thread,
                version=_ids.first_version() if head is None else head.version + 1,
                status=Status.RUNNING,
                workflow="" if head is None else head.workflow,
                run=0 if head is None else head.run,
                nonce=_ids.token(),
                updated=SystemClock().now().isoformat(),
            )
            if self.swap_head(Swap(head=raised, expected=None if head is None else head.version)):
                return raised

    def _bury(self, thread: str, hint: int) -> int:
        """Take the tail with a tombstone, unless one is there, and return its position."""
        while True:
            tail = self.tail(thread, hint)
            if tail and self._is_grave(thread, tail - 1):
                return tail - 1
            tombstone = Batch(id=f"{_ids.token()}-1", records=(Deleted(at=SystemClock().now().isoformat()),))
            try:
                self.append(thread, tail, tombstone)
            except PositionTaken:
                continue
            return tail

    def _is_grave(self, thread: str, position: int) -> bool:
        try:
            found = self.at(thread, position)
        except Corrupt:
            return False
        return found is not None and found.is_tombstone

    def _contested(self, thread: str, grave: int) -> Collection[int]:
        """Return the positions to keep occupied; all of them where a batch no longer tells whose it was."""
        try:
            return contested(self.read(thread))
        except Corrupt:
            return range(grave)

    def _was_applied(self, thread: str, position: int, batch_id: str, *, sent: bool) -> bool:
        """Tell whether a batch is at its position after all; ``sent`` says that an earlier sending had no answer.

        Raises:
            StorageUnavailable: the position was pruned or deleted since that sending, so nobody can tell any more.
        """
        found = self.at(thread, position)
        if found is None and sent and position < self.tail(thread):
            raise self._lost_sight(thread, position)
        return found is not None and found.id == batch_id

    def _lost_sight(self, thread: str, position: int) -> StorageUnavailable:
        return StorageUnavailable(
            f"thread {thread!r} was pruned or deleted while position {position} was being written: whether that was "
            f"applied before is unknown; look at the thread's state"
        )

    def _is_head(self, head: Head) -> bool:
        now = self.load_head(head.thread)
        return now is not None and (now.version, now.nonce) == (head.version, head.nonce)
