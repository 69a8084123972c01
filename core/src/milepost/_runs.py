"""The runs of a thread, read from its journal one by one: by id, and from the newest back.

Each ``started`` names the run before it, so nothing older is read than what is asked for. In journals without these
names the positions are found by reading the whole journal once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from milepost import _claim, _ids
from milepost._fold import CLOSED, RunState, ThreadState
from milepost._saved import carried, finished_at
from milepost._struct import replace
from milepost.checkpoint import Started
from milepost.errors import MilepostError, UnknownCheckpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from milepost.checkpoint import Batch, Checkpointer, Finished


def find(checkpointer: Checkpointer, thread: str, run: Any) -> RunState:
    """Return the run with this id, as it is or was at its end.

    Raises:
        UnknownCheckpoint: the thread has no such run, or it was pruned.
    """
    position = _ids.run_position(run)
    found = None if position is None else _run_at(checkpointer, thread, position)
    if found is None or found.id != run:
        raise UnknownCheckpoint(
            f"thread {thread!r} has no run {run!r}: it never had, or it was pruned; get_state_history lists those "
            f"that there are",
            thread_id=thread,
            checkpoint_id=str(run),
        )
    return found


def walk(checkpointer: Checkpointer, thread: str) -> Iterator[RunState]:
    """Yield the runs of a thread, newest first, down to the journal's floor."""
    newest = _claim.read_thread(checkpointer, thread, checkpointer.load_head(thread)).run
    if newest is not None:
        yield newest
        yield from walk_before(checkpointer, thread, newest)


def walk_before(checkpointer: Checkpointer, thread: str, run: RunState) -> Iterator[RunState]:
    """Yield the runs before this one, newest first, down to the journal's floor."""
    while True:
        if run.started.step is None:  # written before runs named each other
            yield from _walk_unlinked(checkpointer, thread, run.position)
            return
        before = None if run.started.after is None else _ids.run_position(run.started.after)
        found = None if before is None else _run_at(checkpointer, thread, before, run.position)
        if found is None:
            return
        yield found
        run = found


def _walk_unlinked(checkpointer: Checkpointer, thread: str, before: int) -> Iterator[RunState]:
    starts: list[int] = []
    state = ThreadState(thread)
    for position, batch in checkpointer.read(thread):
        if position >= before:
            break
        known = state.run
        state.apply(position, batch)
        if state.run is None:
            starts.clear()  # a tombstone: what is before it counts no longer
        elif state.run is not known:
            starts.append(position)
    for position in reversed(starts):
        found = _run_at(checkpointer, thread, position, before)
        if found is None:
            return
        yield found
        before = position


def _run_at(
    checkpointer: Checkpointer, thread: str, position: int, end: int | None = None
) -> RunState | None:
    """Fold the run that started at a position; ``end`` is where the next one did, if that is known."""
    state = ThreadState(thread)
    limit = None if end is None else end - position + 1
    for found, batch in checkpointer.read(thread, position, limit):
        first = next((i for i, record in enumerate(batch.records) if isinstance(record, Started)), None)
        if state.run is None:
            if found != position or first is None:
                return None  # pruned, or no run's beginning
            state.apply(found, _part(batch, first, None))
        elif first is None:
            if batch.is_tombstone:
                break
            state.apply(found, batch)
        else:
            state.apply(found, _part(batch, 0, first))
            if state.run.status in CLOSED:
                break
    return state.run


def _part(batch: Batch, start: int, end: int | None) -> Batch:
    return replace(batch, records=batch.records[start:end])


# -- what a run leaves to the next ---------------------------------------------------------------------------------


def seen(checkpointer: Checkpointer, thread: str, run: RunState) -> Finished | None:
    """Return what a run saw as ``previous``, to be carried elsewhere; None where there was nothing.

    Raises:
        UnknownCheckpoint: it was pruned.
    """
    if run.started.previous is None:
        return None
    found = finished_at(checkpointer, thread, run.started.previous)
    if found is None:
        raise UnknownCheckpoint(
            f"run {run.id} of thread {thread!r} cannot be run again: what it saw as previous was pruned",
            thread_id=thread,
            checkpoint_id=run.id,
        )
    return _whole(checkpointer, thread, run, found)


def left(checkpointer: Checkpointer, thread: str, run: RunState) -> Finished | None:
    """Return what a run that goes on from this one sees: what it saved, or what it saw where it did not finish.

    Raises:
        UnknownCheckpoint: what it saw was pruned.
    """
    if run.finished is not None:
        return _whole(checkpointer, thread, run, run.finished)
    return seen(checkpointer, thread, run)


def _whole(checkpointer: Checkpointer, thread: str, run: RunState, finished: Finished) -> Finished:
    """Return what is carried; what was pruned between two readings is unknown, and not broken."""
    try:
        return carried(checkpointer, thread, finished)
    except MilepostError as error:
        if is_kept(checkpointer, thread, run):
            raise
        raise UnknownCheckpoint(
            f"run {run.id} of thread {thread!r} was pruned just now", thread_id=thread, checkpoint_id=run.id
        ) from error


def is_kept(checkpointer: Checkpointer, thread: str, run: RunState) -> bool:
    """Tell whether a run, and what it saw, is still there."""
    first = run.position if run.started.previous is None else min(run.position, run.started.previous)
    return checkpointer.at(thread, first) is not None
