"""Threads from one backend to another: journals first, each head last, read back and compared.

Nothing is overwritten. A copy that was cut off anywhere goes on when it is started again: what is there already and
equal is passed over. A thread's head comes last, so nobody finds a thread in the new place before all of it is there.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from milepost._struct import Struct
from milepost.checkpoint import Status, Swap
from milepost.errors import (
    Corrupt,
    InvalidThreadId,
    PositionTaken,
    SourceChanged,
    TargetDiffers,
    ThreadBusy,
    TooLarge,
    UnknownThread,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from milepost.checkpoint import Batch, Checkpointer, Head
    from milepost.errors import MilepostError

_PAGE: Final = 100
_REFUSALS: Final = (
    Corrupt, InvalidThreadId, PositionTaken, SourceChanged, TargetDiffers, ThreadBusy, TooLarge, UnknownThread,
)  # fmt: skip
"""What concerns one thread; the others can still be copied."""


class CopyState(StrEnum):
    """What became of a thread."""

    COPIED = "copied"
    EQUAL = "equal"
    """It was there already, equal; nothing was written."""
    MISSING = "missing"
    """A dry run would copy it, or the rest of it."""
    REFUSED = "refused"


class Copied(Struct):
    """The report about one thread.

    ``batches`` and ``size``, in bytes, are what was written, or what a dry run found missing. ``error`` says why a
    thread was refused.
    """

    thread: str
    state: CopyState
    batches: int = 0
    size: int = 0
    error: MilepostError | None = None


class _Plan(Struct):
    """What is to be done about a thread: append from ``start`` up to ``tail``, then set ``head``.

    ``floor`` is where the source's journal begins; ``start`` is None where no batch is missing. ``digest`` is that of
    the source's whole journal.
    """

    thread: str
    head: Head | None
    floor: int
    start: int | None
    tail: int
    batches: int
    size: int
    digest: bytes
    sets_head: bool

    @property
    def is_done(self) -> bool:
        return self.start is None and not self.sets_head


def copy_threads(
    source: Checkpointer,
    target: Checkpointer,
    threads: Iterable[str] | None = None,
    *,
    dry_run: bool = False,
    wrote: Callable[[int], None] = lambda _: None,
) -> Iterator[Copied]:
    """Copy these threads, or all that have a head, one after another; yield a report about each.

    ``wrote`` is told the size of each batch, in bytes, when it has been acknowledged. A dry run writes nothing.

    Raises:
        StorageError: one of the backends failed; starting again goes on where this ended.
    """
    for thread in listed_threads(source) if threads is None else threads:
        try:
            report = copy_thread(source, target, thread, dry_run=dry_run, wrote=wrote)
        except _REFUSALS as error:
            report = Copied(thread=thread, state=CopyState.REFUSED, error=error)
        yield report


def listed_threads(source: Checkpointer) -> Iterator[str]:
    """Yield the threads that have a head, page by page."""
    heads, cursor = source.list_heads(limit=_PAGE)
    while True:
        yield from (head.thread for head in heads)
        if cursor is None:
            return
        heads, cursor = source.list_heads(cursor=cursor, limit=_PAGE)


def copy_thread(
    source: Checkpointer,
    target: Checkpointer,
    thread: str,
    *,
    dry_run: bool = False,
    wrote: Callable[[int], None] = lambda _: None,
) -> Copied:
    """Copy one thread, or the rest of it, batch by batch to the same positions.

    Raises:
        ThreadBusy: somebody works on it.
        UnknownThread: the source has neither journal nor head of it.
        TargetDiffers: the target has something else at a position, or another head; nothing was overwritten.
        TooLarge: a batch is over the target's limit; nothing of this thread was written.
        SourceChanged: it went on in the source meanwhile.
        Corrupt: a batch or the head cannot be read.
        StorageError: one of the backends failed.
    """
    plan = _plan(source, target, thread)
    if dry_run or plan.is_done:
        state = CopyState.EQUAL if plan.is_done else CopyState.MISSING
        return Copied(thread=thread, state=state, batches=plan.batches, size=plan.size)
    _append_missing(source, target, plan, wrote)
    _compare(source, target, plan)
    _set_head(source, target, plan)
    return Copied(thread=thread, state=CopyState.COPIED, batches=plan.batches, size=plan.size)


# -- looking ------------------------------------------------------------------------------------------------------


def _plan(source: Checkpointer, target: Checkpointer, thread: str) -> _Plan:
    """Walk both journals side by side, the source's to its end."""
    head = source.load_head(thread)
    if head is not None and head.status is Status.RUNNING:
        raise _busy(head)
    digest, theirs = _Digest(), target.read(thread)
    floor, start, batches, size = 0, None, 0, 0
    position = -1
    for position, batch in source.read(thread):
        floor = position if not digest.count else floor
        data = digest.add(position, batch)
        other = next(theirs, None)
        if other is None:
            _check_size(target, thread, position, len(data))
            start = position if start is None else start
            batches, size = batches + 1, size + len(data)
        elif other[0] != position or other[1].encode() != data:
            raise _differs(thread, min(position, other[0]))
    if head is None and not digest.count:
        raise UnknownThread(f"the source has nothing on record for thread {thread!r}", thread_id=thread)
    if (extra := next(theirs, None)) is not None:
        raise _differs(thread, extra[0])
    if start == floor:
        _check_beginning(target, thread, floor)
    return _Plan(
        thread=thread,
        head=head,
        floor=floor,
        start=start,
        tail=position + 1,
        batches=batches,
        size=size,
        digest=digest.value,
        sets_head=_lacks_head(target, thread, head, start),
    )


def _busy(head: Head) -> ThreadBusy:
    if head.owner is None:
        text, owner = "is being deleted, or its deletion was cut off: delete it again", None
    else:
        owner = str(head.owner)
        text = (
            f"runs, held by {owner}, which would write on in the old place: copy it once it pauses or ends; if that "
            f"process died, let invoke(None) finish the run first"
        )
    return ThreadBusy(f"thread {head.thread!r} {text}", thread_id=head.thread, owner=owner)


def _check_size(target: Checkpointer, thread: str, position: int, size: int) -> None:
    limit = target.max_batch_bytes
    if limit is not None and size > limit:
        raise TooLarge(thread_id=thread, size=size, limit=limit, position=position)


def _check_beginning(target: Checkpointer, thread: str, floor: int) -> None:
    tail = target.tail(thread)
    if tail > floor:
        raise TargetDiffers(
            f"thread {thread!r} was deleted in the target, where its positions go on at {tail}; the source's begin "
            f"at {floor}: copy it to another place",
            thread_id=thread,
            position=floor,
        )


def _lacks_head(target: Checkpointer, thread: str, head: Head | None, missing_from: int | None) -> bool:
    there = target.load_head(thread)
    if there is None:
        return head is not None
    if head is None or there.encode() != head.encode():
        raise _differs(thread, missing_from)
    return False


def _differs(thread: str, position: int | None) -> TargetDiffers:
    place = "has another head" if position is None else f"differs from the source at position {position}"
    return TargetDiffers(
        f"thread {thread!r} {place} in the target, and was left alone there: delete it in the target, or copy to "
        f"another place",
        thread_id=thread,
        position=position,
    )


class _Digest:
    """What a journal holds, batch for batch and position for position, in 32 bytes."""

    def __init__(self) -> None:
        from hashlib import sha256

        self._hash = sha256()
        self.count = 0

    def add(self, position: int, batch: Batch) -> bytes:
        """Take in a batch and return its bytes."""
        data = batch.encode()
        self._hash.update(b"%d %d " % (position, len(data)))
        self._hash.update(data)
        self.count += 1
        return data

    @property
    def value(self) -> bytes:
        return self._hash.digest()

    @classmethod
    def of(cls, driver: Checkpointer, thread: str) -> bytes:
        """Return that of a thread's journal."""
        made = cls()
        for position, batch in driver.read(thread):
            made.add(position, batch)
        return made.value


# -- writing ------------------------------------------------------------------------------------------------------


def _append_missing(
    source: Checkpointer, target: Checkpointer, plan: _Plan, wrote: Callable[[int], None]
) -> None:
    if plan.start is None:
        return
    if plan.start == plan.floor and target.tail(plan.thread) < plan.floor:
        target.prune(plan.thread, before=plan.floor)  # an empty journal then begins there
    expected = plan.start
    for position, batch in source.read(plan.thread, plan.start, plan.tail - plan.start):
        if position != expected:
            raise _changed(plan.thread)
        try:
            target.append(plan.thread, position, batch)
        except PositionTaken:
            raise _differs(plan.thread, position) from None
        wrote(len(batch.encode()))
        expected += 1


def _compare(source: Checkpointer, target: Checkpointer, plan: _Plan) -> None:
    """Read both again, before a head makes the thread known in the target."""
    if _Digest.of(source, plan.thread) != plan.digest or source.load_head(plan.thread) != plan.head:
        raise _changed(plan.thread)
    if _Digest.of(target, plan.thread) == plan.digest:
        return
    ours, theirs = source.read(plan.thread), target.read(plan.thread)
    for position, batch in ours:
        other = next(theirs, None)
        if other != (position, batch):
            raise _differs(plan.thread, position)
    raise _differs(plan.thread, plan.tail)


def _set_head(source: Checkpointer, target: Checkpointer, plan: _Plan) -> None:
    """Set the head where there is none, read it back, and look at the source a last time."""
    if plan.head is not None and plan.sets_head:
        target.swap_head(Swap(head=plan.head, expected=None))
    there = target.load_head(plan.thread)
    if there != plan.head:
        raise _differs(plan.thread, None)
    if source.load_head(plan.thread) != plan.head or source.tail(plan.thread, plan.tail) != plan.tail:
        raise SourceChanged(
            f"thread {plan.thread!r} went on in the source while its copy was completed: let one of them rest, "
            f"delete it in the target, and copy it again",
            thread_id=plan.thread,
        )


def _changed(thread: str) -> SourceChanged:
    return SourceChanged(
        f"thread {thread!r} changed in the source while it was copied, and has no head in the target yet: copy it "
        f"again when it rests",
        thread_id=thread,
    )
