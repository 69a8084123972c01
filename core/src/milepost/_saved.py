"""What a finished run left to the next, wherever in the journal it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost._journal import dereference
from milepost._struct import replace
from milepost.checkpoint import Finished, Started

if TYPE_CHECKING:
    from milepost.checkpoint import Checkpointer


def finished_at(checkpointer: Checkpointer, thread: str, position: int) -> Finished | None:
    """Return the ``finished`` in the batch at this position, or the one that a ``started`` there carries."""
    batch = checkpointer.at(thread, position)
    base: Finished | None = None
    for record in () if batch is None else batch.records:
        if isinstance(record, Finished):
            return record
        if isinstance(record, Started):
            base = record.base
    return base


def carried(checkpointer: Checkpointer, thread: str, finished: Finished) -> Finished:
    """Return a ``finished`` that stands for itself: without references to other records.

    Raises:
        MilepostError: a record it refers to is gone.
    """
    save = finished.save
    return replace(
        finished,
        result=dereference(checkpointer, thread, finished.result),
        save=None if save is None else dereference(checkpointer, thread, save),
    )
