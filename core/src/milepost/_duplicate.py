"""A second thread with the journal of a first, in the same backend.

Records are copied as they are, to the same positions: references among them hold, and run ids stay, as they are only
ever used together with a thread's id. The new thread is held while it is filled, so nobody finds half of it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from milepost import _ids, _owner
from milepost._fold import ThreadState
from milepost._struct import replace
from milepost.checkpoint import Head, Status, Swap
from milepost.errors import (
    InvalidThreadId,
    MilepostError,
    PositionTaken,
    SignatureInvalid,
    SourceChanged,
    TargetDiffers,
    UnknownThread,
)

if TYPE_CHECKING:
    from milepost._clock import Clock
    from milepost.checkpoint import Batch, Checkpointer, Owner


def duplicate(
    checkpointer: Checkpointer, source: str, target: str, clock: Clock, *, lease: float
) -> ThreadState:
    """Copy a thread, up to what is on record now; return the new one's state. A run under way is cut off in the copy.

    Raises:
        UnknownThread: nothing is on record for the source.
        TargetDiffers: the target is there, or was deleted; nothing was overwritten.
        InvalidThreadId: source and target are the same.
        SignatureInvalid: a value is pickled, and signed for the source alone.
    """
    if source == target:
        raise InvalidThreadId(f"thread {source!r} cannot be copied onto itself: name another target")
    seen = checkpointer.load_head(source)
    if seen is None and next(checkpointer.read(source, 0, 1), None) is None:
        raise UnknownThread(
            f"nothing is on record for thread {source!r}, so there is nothing to copy", thread_id=source
        )
    owner = _owner.begin()
    try:
        head = _taken(checkpointer, source, target, owner, clock, lease)
        try:
            state = _fill(checkpointer, source, target)
        except BaseException:
            with suppress(MilepostError):
                checkpointer.delete(target)
            raise
        _lay_down(checkpointer, head, state, clock)
    finally:
        _owner.end(owner)
    return state


def _taken(
    checkpointer: Checkpointer, source: str, target: str, owner: Owner, clock: Clock, lease: float
) -> Head:
    head = Head(
        thread=target,
        version=_ids.first_version(),
        status=Status.RUNNING,
        workflow="",
        run=0,
        nonce=_ids.token(),
        updated=clock.now().isoformat(),
        owner=owner,
        lease=lease,
    )
    if checkpointer.tail(target) == 0 and checkpointer.swap_head(Swap(head=head, expected=None)):
        return head
    raise TargetDiffers(
        f"thread {target!r} is there already, or was deleted: copy {source!r} to an id that was never used",
        thread_id=target,
        position=None,
    )


def _fill(checkpointer: Checkpointer, source: str, target: str) -> ThreadState:
    state, tail = ThreadState(target), checkpointer.tail(source)
    for position, batch in checkpointer.read(source):
        _check_pickles(source, batch)
        if not state.tail and position:
            checkpointer.prune(target, position)  # an empty journal then begins there
        try:
            checkpointer.append(target, position, batch)
        except PositionTaken as error:
            raise TargetDiffers(
                f"somebody else wrote to thread {target!r} while {source!r} was copied to it",
                thread_id=target,
                position=position,
            ) from error
        state.apply(position, batch)
    if state.tail < tail:
        raise SourceChanged(
            f"thread {source!r} was pruned or deleted while it was copied: copy it again to another id",
            thread_id=source,
        )
    return state


def _check_pickles(source: str, batch: Batch) -> None:
    if b'"$pickle":' in batch.encode():
        raise SignatureInvalid(
            f"a value of thread {source!r} is pickled and signed for that thread, so it counts on no other"
        )


def _lay_down(checkpointer: Checkpointer, head: Head, state: ThreadState, clock: Clock) -> None:
    run = state.run
    lowered = replace(
        head,
        version=head.version + 1,
        nonce=_ids.token(),
        updated=clock.now().isoformat(),
        status=state.status or Status.ABANDONED,
        workflow="" if run is None else run.started.workflow,
        run=0 if run is None else run.position,
        pending=() if run is None else run.asks,
        wake=None if run is None else run.wake,
        owner=None,
        lease=None,
    )
    checkpointer.swap_head(Swap(head=lowered, expected=head.version))
