"""The handle of a run: what it does, what it asks, what it comes to; to be had again in any process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

from milepost import _claim, _following, _known, _outcome, _owner, _runs, _travel
from milepost._answers import Resume, check_unanswered
from milepost._run import Returned, pending
from milepost._twin import iterated_twin, twin
from milepost.checkpoint import Status, check_thread_id
from milepost.errors import NotFinished, NothingToCancel, ThreadBusy, UnknownThread
from milepost.question import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from milepost._clock import Clock
    from milepost._fold import RunState
    from milepost._lease import Watch
    from milepost._pool import Pool
    from milepost.checkpoint import Checkpointer, Head
    from milepost.events import Event
    from milepost.question import Interrupt

_OVER: Final = frozenset({Status.DONE, Status.FAILED, Status.CANCELLED, Status.ABANDONED})
_SHORTEST: Final = 0.005
_LONGEST: Final = 0.25
_GROWS: Final = 1.3
_ATTEMPTS: Final = 16
_MEANWHILE: Final = 5.0
"""Seconds for which an answer by id waits while the run goes on with another one."""


class Engine(Protocol):
    """What a handle works with."""

    lease: float

    @property
    def clock(self) -> Clock:
        """The clock."""

    @property
    def watch(self) -> Watch:
        """What is known of the leases of others."""

    @property
    def pool(self) -> Pool:
        """The workers."""

    @property
    def executions(self) -> dict[str, Any]:
        """What this process executes, by session."""


def found(engine: Engine, checkpointer: Checkpointer, thread_id: str, run_id: str | None = None) -> Run:
    """Return a run of a thread: the newest, or the one with this id.

    Raises:
        UnknownThread: nothing is on record.
        UnknownCheckpoint: the thread has no such run.
    """
    thread = check_thread_id(thread_id)
    if run_id is not None:
        return Run(engine, checkpointer, thread, _runs.find(checkpointer, thread, run_id))
    state = _claim.read_thread(checkpointer, thread, checkpointer.load_head(thread))
    if state.run is None:
        raise UnknownThread(f"nothing is on record for thread {thread!r}", thread_id=thread)
    return Run(engine, checkpointer, thread, state.run)


class Run:
    """One run of a workflow, wherever it executes. ``Workflow.start`` and ``Engine.run`` give it.

    It holds nothing open. Each question to it is answered from the backend, so that all processes see the same.
    """

    def __init__(
        self,
        engine: Engine,
        checkpointer: Checkpointer,
        thread: str,
        state: RunState,
        workflow: _known.Known | None = None,
    ) -> None:
        self._known = workflow
        self._engine = engine
        self._checkpointer = checkpointer
        self._started = state.started
        self._position = state.position
        self._thread = thread

    @property
    def thread_id(self) -> str:
        """The thread's id."""
        return self._thread

    @property
    def id(self) -> str:
        """The run's id: the ``checkpoint_id`` that addresses it."""
        return self._started.run

    @property
    def workflow(self) -> str:
        """The workflow's name."""
        return self._started.workflow

    @property
    def owner(self) -> str | None:
        """For whom it was started; None where that was not said."""
        return self._started.principal

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags it was started with."""
        raw = None if self._started.config is None else self._started.config.raw
        return tuple(raw.get("tags", ())) if isinstance(raw, dict) else ()

    def __repr__(self) -> str:
        return f"<Run {self.id} of {self.workflow!r} on thread {self._thread!r}>"

    # -- looking -------------------------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """What the run is doing now.

        Raises:
            UnknownThread: the thread was deleted.
            UnknownCheckpoint: the run was pruned.
        """
        head = self._checkpointer.load_head(self._thread)
        if head is not None and head.run == self._position:
            alive = head.owner is not None and not _owner.is_dead(head.owner)
            if alive or head.status is not Status.RUNNING:
                return head.status
        return self._read(head).status

    @property
    def interrupts(self) -> tuple[Interrupt, ...]:
        """The questions that it waits for; empty while it does not.

        Raises:
            UnknownThread, UnknownCheckpoint: as for :attr:`status`.
        """
        run = self._read(self._checkpointer.load_head(self._thread))
        return pending(run) if run.status is Status.INTERRUPTED else ()

    def _read(self, head: Head | None) -> RunState:
        state = _claim.read_thread(self._checkpointer, self._thread, head)
        if state.run is None:
            raise UnknownThread(f"nothing is on record for thread {self._thread!r}", thread_id=self._thread)
        if state.run.id == self.id:
            return state.run
        return _runs.find(self._checkpointer, self._thread, self.id)

    def result(self, timeout: float | None = None) -> Any:
        """Wait until the run is over, and return what it returned.

        A run that waits for a person, or sleeps, is not over: give a ``timeout`` where that may be.

        Args:
            timeout: seconds to wait at most; None for as long as it takes.

        Raises:
            NotFinished: it is not over yet; a ``TimeoutError``.
            RunCancelled, RunAbandoned: it has no result.
            UnknownThread, UnknownCheckpoint: it was deleted, or pruned.
            Exception: what it failed with.
        """
        end = None if timeout is None else self._engine.clock.monotonic() + timeout
        pause = _SHORTEST
        while (status := self.status) not in _OVER:
            left = pause if end is None else min(pause, end - self._engine.clock.monotonic())
            if left <= 0:
                raise self._not_finished(status, timeout)
            self._wait(left)
            pause = min(pause * _GROWS, _LONGEST)
        run = self._read(self._checkpointer.load_head(self._thread))
        rested = _outcome.outcome(self._checkpointer, self._thread, run, self._types[0])
        if isinstance(rested, Returned):
            return rested.value
        return self.result(None if end is None else end - self._engine.clock.monotonic())  # it goes on

    aresult = twin(result)

    @property
    def _types(self) -> tuple[Any, Any]:
        """The declared types of the result and the input, where this process knows the workflow."""
        workflow = self._known or _known.find(self.workflow)
        return (Any, Any) if workflow is None else (workflow.returns, workflow.accepts)

    def _wait(self, seconds: float) -> None:
        self._engine.pool.begin_wait()
        try:
            threading.Event().wait(seconds)
        finally:
            self._engine.pool.end_wait()

    def _not_finished(self, status: Status, timeout: float | None) -> NotFinished:
        head = self._checkpointer.load_head(self._thread)
        asked = () if head is None or head.run != self._position else head.pending
        for_whom = f", and waits for an answer to {', '.join(asked)}" if asked else ""
        return NotFinished(
            f"the run on thread {self._thread!r} was not over after {timeout} s: it is {status}{for_whom}",
            thread_id=self._thread,
            status=status,
            pending=asked,
        )

    def events(
        self, after: int = 0, *, follow: bool = False, timeout: float | None = None
    ) -> Iterator[Event]:
        """Yield what is on record of the run, in its order: the events after a position.

        They are those of :mod:`milepost.events`; each has a ``position``, to go on from in any process, and
        ``as_json()``. Starts of tasks are not recorded, so there are none. What body and tasks wrote is there for runs
        that were started in the background.

        Args:
            after: the position of the last event that is known; 0 for all.
            follow: go on with what comes, until the run is over or waits for a person.
            timeout: with ``follow``, seconds after which to stop in any case.

        Raises:
            UnknownThread, UnknownCheckpoint: it was deleted, or pruned.
        """
        result, given = self._types
        reader = _following.Reader(
            self._checkpointer, self._thread, self._started, self._position, result=result, given=given
        )
        clock = self._engine.clock
        end = None if timeout is None else clock.monotonic() + timeout
        pause = _SHORTEST
        while True:
            rests = not follow or self.status not in {Status.RUNNING, Status.SLEEPING}  # before reading
            for event in reader.read(after):
                after, pause = event.position or after, _SHORTEST
                yield event
            left = pause if end is None else min(pause, end - clock.monotonic())
            if rests or left <= 0:
                return
            self._wait(left)
            pause = min(pause * _GROWS, _LONGEST)

    aevents = iterated_twin(events)

    # -- acting --------------------------------------------------------------------------------------------------

    def resume(self, answers: Any, *, actor: str | None = None) -> None:
        """Answer what the run asks, and have it go on; the answer is on record when this returns.

        The run goes on in this process, where that knows its workflow and has a slot free; else wherever an engine with
        ``recover=True`` does.

        Args:
            answers: the answer, or a dict of answers by interrupt id, as ``Command(resume=…)`` takes them.
            actor: who answers; recorded with the answer.

        Raises:
            AlreadyAnswered, NothingToResume, UnknownInterrupt, AmbiguousAnswer, InvalidAnswer, InterruptExpired: as
            they say; nothing was changed.
            ThreadBusy: somebody works on the thread. An answer by id is tried for some seconds before, so that people
                who answer questions side by side do not meet each other.
        """
        run = self._read(self._checkpointer.load_head(self._thread))
        request = Resume(
            workflow=self.workflow,
            command=Command(resume=answers),
            run=self.id,
            answered=bool(run.answers),
            actor=actor,
        )
        clock, pause = self._engine.clock, _SHORTEST
        end = clock.monotonic() + (
            _MEANWHILE if request.command.by_id else 0
        )  # others may be answers to a later question
        while True:
            try:
                return self._go_on(request)
            except ThreadBusy:
                run = self._read(self._checkpointer.load_head(self._thread))
                check_unanswered(self._thread, run, request)
                left = min(pause, end - clock.monotonic())
                if left <= 0:
                    raise
            self._wait(left)
            pause = min(pause * _GROWS, _LONGEST)

    aresume = twin(resume)

    def retry(self) -> None:
        """Go on with the run after it failed, was cancelled or was cut off; what has finished is not repeated.

        Raises:
            NothingToResume: it is over, waits, or is not the thread's newest.
            ThreadBusy: somebody works on it.
        """
        self._go_on(_travel.Retry(workflow=self.workflow, run=self.id))

    aretry = twin(retry)

    def fork(self, thread_id: str | None = None) -> Run:
        """Begin a new run with this one's input, and what it saw as ``previous``; an open run there is abandoned.

        Args:
            thread_id: where; on this run's thread by default.

        Raises:
            ThreadBusy: somebody works on that thread.
            WrongWorkflow: it belongs to another workflow.
            UnknownCheckpoint: what this run saw was pruned.
        """
        thread = self._thread if thread_id is None else check_thread_id(thread_id)
        started, state = self._started, _runs.find(self._checkpointer, self._thread, self.id)
        origin = _claim.Origin(run=self.id, base=_runs.seen(self._checkpointer, self._thread, state))
        start = _claim.Start(
            workflow=self.workflow,
            input=started.input,
            origin=origin,
            context=started.context,
            config=started.config,
            version=started.version,
            background=True,
            principal=started.principal,
            tags=self.tags,
        )
        self._go_on(_travel.Fork(start=start), thread)
        return found(self._engine, self._checkpointer, thread)

    afork = twin(fork)

    def _go_on(self, request: _claim.Request, thread: str | None = None) -> None:
        thread = self._thread if thread is None else thread
        for workflow in (self._known, _known.find(self.workflow)):
            if workflow is not None and workflow.go_on(self._engine, self._checkpointer, thread, request):
                return
        owner = _owner.make()
        end = _owner.ending(owner)
        try:
            _owner.enter(owner)
            taken = _claim.take(self._taker(thread), request, owner)
            if isinstance(taken, _claim.Taken):
                taken.holding.release(offer=True)
        finally:
            end()

    def _taker(self, thread: str) -> _claim.Taker:
        return _claim.Taker(
            checkpointer=self._checkpointer,
            thread=thread,
            clock=self._engine.clock,
            watch=self._engine.watch,
            lease=self._engine.lease,
        )

    def cancel(self, reason: str | None = None) -> None:
        """Ask for the run to be cancelled, wherever it executes; the request is on record when this returns.

        A run that rests is cancelled at once. One under way begins no further task where it is; what has begun is
        recorded, and then it is cancelled. The process that runs it learns of it at its next look (``poll``), or when
        it renews its lease. Should it die before, whoever takes the run up cancels it. ``retry()`` goes on with it.

        Args:
            reason: why; recorded.

        Raises:
            NothingToCancel: it is over.
            UnknownThread: the thread was deleted.
        """
        for _ in range(_ATTEMPTS):
            head = self._checkpointer.load_head(self._thread)
            if head is not None and head.run != self._position and self._read(head).status in _OVER:
                raise NothingToCancel(
                    f"run {self.id} of thread {self._thread!r} is over: there is nothing to cancel",
                    thread_id=self._thread,
                )
            try:
                _claim.change(
                    self._taker(self._thread),
                    _travel.Cancel(workflow=self.workflow, reason=reason, run=self.id),
                )
            except ThreadBusy:
                if _claim.ask_to_cancel(self._checkpointer, self._thread, self._position, reason):
                    self._tell_here(reason)
                    return
            else:
                return
            self._wait(_SHORTEST)
        raise ThreadBusy(f"thread {self._thread!r} changes hands too fast: try again", thread_id=self._thread)

    acancel = twin(cancel)

    def _tell_here(self, reason: str | None) -> None:
        """Tell an execution of this process at once of a request that is on record."""
        head = self._checkpointer.load_head(self._thread)
        if head is not None and head.owner is not None and head.run == self._position:
            execution = self._engine.executions.get(head.owner.session)
            if execution is not None:
                execution.cancel(reason)
