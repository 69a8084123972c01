"""What became of a run, from its record: its value, or what it raises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from milepost._call import raised
from milepost._run import Asleep, Paused, Returned, pending, returned
from milepost.checkpoint import Status
from milepost.errors import RunAbandoned, RunCancelled

if TYPE_CHECKING:
    from milepost._fold import RunState
    from milepost._run import Rested
    from milepost.checkpoint import Checkpointer


def outcome(checkpointer: Checkpointer, thread: str, run: RunState, declared: Any) -> Rested | None:
    """Return how a run rests; None while it runs. ``declared`` is the type of what it returns.

    Raises:
        RunCancelled, RunAbandoned: it has no result.
        Exception: what it failed with.
    """
    if run.finished is not None:
        return Returned(value=returned(checkpointer, thread, run.finished, declared))
    if run.status is Status.FAILED and run.failed is not None:
        raise raised(run.failed.error)
    if run.status is Status.CANCELLED:
        raise RunCancelled(f"the run on thread {thread!r} was cancelled", thread_id=thread, reason=run.reason)
    if run.status is Status.ABANDONED:
        raise RunAbandoned(
            f"run {run.id} of thread {thread!r} was closed by a newer input: it has no result",
            thread_id=thread,
        )
    if run.status is Status.SLEEPING and run.wake is not None:
        return Asleep(until=run.wake, run=run.id)
    return Paused(interrupts=pending(run)) if run.status is Status.INTERRUPTED else None
