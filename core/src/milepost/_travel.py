"""Requests that change a thread without an input for a new run: go back, write a state, cancel, close.

They are decided and taken by the same rules as a start, an answer or a retry (see ``_claim``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost._answers import check_context
from milepost._claim import Origin, Settled, Start, abandoned, begin, go_on, unknown_thread
from milepost._fold import CLOSED
from milepost._struct import Struct
from milepost.checkpoint import Cancelled, Claimed, Finished, Status, Value
from milepost.errors import NothingToCancel, NothingToResume

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost._fold import RunState, ThreadState
    from milepost.checkpoint import Owner, Record

NOT_BEGUN = "recorded by update_state; invoke(None) begins it"
_NULL = Value(text="null")


class Replay(Struct):
    """Go on with a run where it is the newest and open; otherwise run it anew, from its input, at the tail."""

    start: Start
    origin: Origin
    context: Value | None = None  # what the caller gives; a run that goes on keeps its own
    has_input: bool = True

    @property
    def workflow(self) -> str:
        """The workflow of the run."""
        return self.start.workflow

    def decide(self, state: ThreadState, owner: Owner, now: str) -> tuple[Record, ...] | Settled:
        """Return the records.

        Raises:
            NothingToResume: the run was written by ``update_state``, and others followed it.
            ContextChanged: the run is to go on with another context.
        """
        run = state.run
        if run is not None:
            parent = self.start.parent
            asked_before = parent is not None and run.started.parent == parent
            if asked_before or (run.id == self.origin.run and run.status not in CLOSED):
                check_context(state.thread, run, self.context)
                return go_on(run, owner, now, self.context)
            if not self.has_input:
                return self._written(state.thread, run)
        return begin(state, self.start, owner, now, source="fork")

    def _written(self, thread: str, newest: RunState) -> Settled:
        if newest.id == self.origin.run:
            return Settled(run=newest)
        raise NothingToResume(
            f"run {self.origin.run} of thread {thread!r} was written by update_state, so there is no input to run it "
            f"again with: give one",
            thread_id=thread,
        )


class Update(Struct):
    """Write a result as if the workflow had returned it: a run that starts and finishes in one batch.

    ``encode(run)`` makes what is written, and what is saved where that differs; it is bound to the run's id.
    """

    workflow: str
    encode: Callable[[str], tuple[Value, Value | None]]
    forked: str | None = None

    def decide(self, state: ThreadState, owner: Owner, now: str) -> tuple[Record, ...]:
        """Return the records."""
        origin = None if self.forked is None else Origin(run=self.forked, base=None)
        start = Start(workflow=self.workflow, input=_NULL, origin=origin)
        records = begin(state, start, owner, now, source="update")
        run: str = records[-1].run  # type: ignore[union-attr]  # `begin` ends with the `started`
        result, save = self.encode(run)
        return (*records, Finished(run=run, at=now, result=result, save=save))


class Plant(Struct):
    """Record a run that has not begun: ``invoke(None)`` runs it. ``source`` is ``"fork"`` where it is one."""

    start: Start
    source: str | None

    @property
    def workflow(self) -> str:
        """The workflow of the run."""
        return self.start.workflow

    def decide(self, state: ThreadState, owner: Owner, now: str) -> tuple[Record, ...]:
        """Return the records."""
        records = begin(state, self.start, owner, now, source=self.source)
        return (*records, Cancelled(at=now, reason=NOT_BEGUN, planted=True))


class Cancel(Struct):
    """Put an open run to rest; its questions are withdrawn. ``run`` is the run meant, where it must be this one."""

    workflow: str
    reason: str | None
    run: str | None = None

    def decide(self, state: ThreadState, owner: Owner, now: str) -> tuple[Record, ...] | Settled:
        """Return the records.

        Raises:
            UnknownThread, NothingToCancel: as they say.
        """
        run = state.run
        if run is None:
            raise unknown_thread(state.thread)
        if self.run is not None and run.id != self.run:
            raise NothingToCancel(
                f"run {self.run} of thread {state.thread!r} is over: there is nothing to cancel",
                thread_id=state.thread,
            )
        if run.status is Status.CANCELLED:
            return Settled(run=run)
        if run.status in CLOSED:
            raise NothingToCancel(
                f"the newest run of thread {state.thread!r} is {run.status}: there is nothing to cancel",
                thread_id=state.thread,
            )
        return (Claimed(at=now, owner=owner), Cancelled(at=now, reason=self.reason))


class Retry(Struct):
    """Go on with this run after it failed, was cancelled, or was cut off."""

    workflow: str
    run: str

    def decide(self, state: ThreadState, owner: Owner, now: str) -> tuple[Record, ...] | Settled:
        """Return the records.

        Raises:
            UnknownThread: nothing is on record.
            NothingToResume: it is over, waits, or is not the newest.
        """
        run = state.run
        if run is None:
            raise unknown_thread(state.thread)
        if run.id != self.run or run.status not in {Status.FAILED, Status.CANCELLED, Status.RUNNING}:
            what = f"is {run.status}" if run.id == self.run else "is not its newest"
            raise NothingToResume(
                f"run {self.run} of thread {state.thread!r} {what}: only one that failed, was cancelled or was cut off "
                f"can be tried again",
                thread_id=state.thread,
            )
        return go_on(run, owner, now, None)


class Fork(Struct):
    """Begin a run with the input of an earlier one, of this thread or another; an open run is abandoned."""

    start: Start

    @property
    def workflow(self) -> str:
        """The workflow of both."""
        return self.start.workflow

    def decide(self, state: ThreadState, owner: Owner, now: str) -> tuple[Record, ...]:
        """Return the records."""
        return begin(state, self.start, owner, now, source="fork")


class Close(Struct):
    """Abandon the newest run where it is open."""

    workflow: str

    def decide(self, state: ThreadState, owner: Owner, now: str) -> tuple[Record, ...] | Settled:
        """Return the records.

        Raises:
            UnknownThread: nothing is on record.
        """
        if state.run is None:
            raise unknown_thread(state.thread)
        return abandoned(state, owner, now) or Settled(run=state.run)
