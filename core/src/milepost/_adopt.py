"""The request to go on with a run that nobody works on: orphaned, handed back, or due.

It is decided and taken by the same rules as a start, an answer or a retry (see ``_claim``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost._call import failure
from milepost._claim import Settled, unknown_thread
from milepost._fold import WAITING, expired
from milepost._struct import Struct
from milepost.checkpoint import Cancelled, Claimed, Failed, Resumed, Status
from milepost.errors import RecoveryExhausted

if TYPE_CHECKING:
    from milepost._fold import RunState, ThreadState
    from milepost.checkpoint import Head, Owner, Record


class Adopt(Struct):
    """Go on with the newest run where nobody else does.

    ``most`` is how many sessions in a row may die with nothing new on record, before the run is parked as failed.
    ``eager`` goes on with a run, too, that its caller stopped and did not hand on: somebody waits for it. ``run`` is
    the run meant, where it must be this one.
    """

    workflow: str
    most: int
    eager: bool = False
    run: str | None = None

    def decide(self, state: ThreadState, owner: Owner, now: str) -> tuple[Record, ...] | Settled:
        """Return the records.

        Raises:
            UnknownThread: nothing is on record.
        """
        run, head = state.run, state.head
        if run is None:
            raise unknown_thread(state.thread)
        raised = head is not None and head.status is Status.RUNNING
        if self.run is not None and run.id != self.run:
            return Settled(run=run)
        if run.status is Status.RUNNING:
            return self._running(run, head if raised else None, owner, now, state.thread)
        if raised and head is not None and head.cancel is not None and run.status in WAITING:
            return (Claimed(at=now, owner=owner), Cancelled(at=now, reason=head.cancel or None))
        late = expired(run, now) if run.status in WAITING else ()
        if late:
            return (Resumed(at=now, owner=owner, expired=late),)
        # A process died between the record that ended or paused the run and the head's change: the head is mended.
        return (Claimed(at=now, owner=owner),) if raised else Settled(run=run)

    def _running(
        self, run: RunState, head: Head | None, owner: Owner, now: str, thread: str
    ) -> tuple[Record, ...] | Settled:
        died = head is not None and head.owner is not None
        if not died and not self.eager and (head is None or not head.offered):
            return Settled(run=run)
        claim = Claimed(at=now, owner=owner, died=died or None)
        if head is not None and head.cancel is not None:
            return (claim, Cancelled(at=now, reason=head.cancel or None))
        if died and run.deaths >= self.most:
            return (claim, self._parked(run, thread, now))
        return (claim,)

    def _parked(self, run: RunState, thread: str, now: str) -> Failed:
        deaths = run.deaths + 1
        error = RecoveryExhausted(
            f"the process that ran {run.started.workflow!r} on thread {thread!r} died {deaths} times in a row, with "
            f"nothing new on record: find out what kills it, then retry the run",
            thread_id=thread,
            deaths=deaths,
        )
        return Failed(at=now, error=failure(error, where=f"workflow {run.started.workflow!r}"))
