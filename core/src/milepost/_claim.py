"""Taking a thread to work on it: read, decide, take; and again from the start when somebody came first.

What is decided is a pure function of the journal's fold and the request (:func:`decide`); everything that touches the
backend is in :func:`take`.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from milepost import _ids, _owner
from milepost._answers import Resume, answers, check_context
from milepost._fold import CLOSED, WAITING, RunState, ThreadState, expired, voided
from milepost._lease import Holding
from milepost._saved import carried, finished_at
from milepost._struct import Struct, replace
from milepost.checkpoint import (
    Abandoned,
    Batch,
    Claimed,
    Finished,
    Head,
    Parent,
    Record,
    Resumed,
    Retried,
    Started,
    Status,
    Swap,
    Value,
)
from milepost.errors import (
    HeadMoved,
    MilepostError,
    PositionTaken,
    StorageError,
    ThreadBusy,
    UnknownThread,
    WrongWorkflow,
)

if TYPE_CHECKING:
    from milepost._clock import Clock
    from milepost._lease import Watch
    from milepost.checkpoint import Checkpointer, Owner

_ATTEMPTS: Final = 32
_FAR: Final = 64
"""How many positions may lie between a run and what it began from, before a later run carries it along."""


class Origin(Struct):
    """A run to go back to: its id, and what a run that goes on from there sees as ``previous``."""

    run: str
    base: Finished | None


class Start(Struct):
    """Begin a run with an input, perhaps from another run than the newest.

    ``parent`` is set when a call of another run asks for it. ``context``, ``config`` and ``version`` are what it is to
    know whenever it goes on.
    """

    workflow: str
    input: Value
    parent: Parent | None = None
    origin: Origin | None = None
    context: Value | None = None
    config: Value | None = None
    version: int | str | None = None
    background: bool | None = None
    principal: str | None = None
    key: str | None = None
    tags: tuple[str, ...] = ()

    def is_of(self, started: Started) -> bool:
        """Tell whether a run was begun by the same request, as its idempotency key says."""
        return self.key is not None and (started.key, started.principal) == (self.key, self.principal)


class Continue(Struct):
    """Go on after an error or a crash; gives back what there is where nothing is left to do."""

    workflow: str
    context: Value | None = None


class Change(Protocol):
    """A request that decides for itself: what it writes, from the state of a thread that is its workflow's."""

    @property
    def workflow(self) -> str:
        """The workflow that the thread belongs to, or will."""
        ...

    def decide(self, state: ThreadState, owner: Owner, now: str) -> tuple[Record, ...] | Settled:
        """Return the records that carry it out, or the run that needs none."""
        ...


Request: TypeAlias = Start | Resume | Continue | Change


class Settled(Struct):
    """Nothing to execute: the run of this state is done or waits for answers."""

    run: RunState


class Taken(Struct):
    """The thread is ours: execute its newest run. ``state`` includes the batch that took it."""

    holding: Holding
    state: ThreadState

    @property
    def run(self) -> RunState:
        """The run to execute."""
        assert self.state.run is not None  # noqa: S101 - a thread is taken to execute its newest run
        return self.state.run


class Taker(Struct):
    """What taking needs besides the request."""

    checkpointer: Checkpointer
    thread: str
    clock: Clock
    watch: Watch
    lease: float


# -- deciding: pure -------------------------------------------------------------------------------------------------


def decide(state: ThreadState, request: Request, owner: Owner, now: str) -> tuple[Record, ...] | Settled:
    """Return the records that carry out a request, or the run that needs none.

    Raises:
        UnknownThread, NothingToResume, AlreadyAnswered, UnknownInterrupt, AmbiguousAnswer, WrongWorkflow,
        InvalidAnswer, InterruptExpired, ContextChanged: as they say.
    """
    run = state.run
    if run is not None and run.started.workflow != request.workflow:
        raise WrongWorkflow(
            f"thread {state.thread!r} belongs to workflow {run.started.workflow!r}, not to {request.workflow!r}: use "
            f"that workflow, or another thread id",
            thread_id=state.thread,
            bound_to=run.started.workflow,
        )
    if isinstance(request, Start):
        if run is not None and request.is_of(run.started):
            return Settled(run=run)
        if run is not None and request.parent is not None and run.started.parent == request.parent:
            return go_on(
                run, owner, now, request.context
            )  # the call that asks began it before its process died
        return begin(state, request, owner, now)
    if not isinstance(request, Resume | Continue):
        return request.decide(state, owner, now)
    if run is None:
        raise unknown_thread(state.thread)
    check_context(state.thread, run, request.context)
    if isinstance(request, Resume):
        late = expired(run, now)
        given = answers(state.thread, run, request, late)
        return (Resumed(at=now, owner=owner, answers=given, expired=late, actor=request.actor),)
    return go_on(run, owner, now, request.context)


def begin(
    state: ThreadState, request: Start, owner: Owner, now: str, *, source: str | None = None
) -> tuple[Record, ...]:
    """Return the records that begin a run; one that is still open is abandoned in the same batch."""
    return (*abandoned(state, owner, now), _started(state, request, owner, now, source))


def _started(state: ThreadState, request: Start, owner: Owner, now: str, source: str | None) -> Started:
    run, origin = state.run, request.origin
    fields: dict[str, Any] = {"previous": last_finished(state)}
    if state.base is not None:
        fields = {"previous": state.tail, "base": state.base}
    if origin is not None and (run is None or run.id != origin.run or source == "fork"):
        base = origin.base
        fields = {"previous": None if base is None else state.tail, "base": base, "forked": origin.run}
    return Started(
        run=_ids.run_id(state.thread, state.tail),
        workflow=request.workflow,
        at=now,
        owner=owner,
        input=request.input,
        parent=request.parent,
        after=None if run is None else run.id,
        step=1 + ((run.started.step or 0) if run is not None else 0),
        source=source,
        context=request.context,
        config=request.config,
        version=request.version,
        background=request.background,
        principal=request.principal,
        key=request.key,
        **fields,
    )


def abandoned(state: ThreadState, owner: Owner, now: str) -> tuple[Record, ...]:
    """Return the records that close the newest run where it is open.

    Raises:
        ThreadBusy: it sleeps.
    """
    run = state.run
    if run is None or run.status in CLOSED:
        return ()
    if run.status is Status.SLEEPING:
        raise _asleep(state.thread, run)
    claim = (Claimed(at=now, owner=owner),) if run.status is Status.RUNNING else ()
    return (*claim, Abandoned(at=now, run=run.id))


def _asleep(thread: str, run: RunState) -> ThreadBusy:
    due = min(run.questions[id_].expires or "" for id_ in run.pending)
    return ThreadBusy(
        f"the run of thread {thread!r} sleeps until {due}: wait for it, or cancel it and start anew",
        thread_id=thread,
        since=run.rested,
    )


def go_on(run: RunState, owner: Owner, now: str, given: Value | None) -> tuple[Record, ...] | Settled:
    """Return the records that continue a run after an error, a cancellation or a crash.

    A run that was only recorded begins with the context that is given, if any is.
    """
    if run.status in {Status.FAILED, Status.CANCELLED}:
        calls = run.failed.caused_by if run.failed is not None else ()
        context = given if run.planted and given != run.started.context else None
        return (Retried(at=now, owner=owner, voids=voided(run, calls), context=context),)
    if run.status is Status.RUNNING:
        return (Claimed(at=now, owner=owner),)
    late = expired(run, now) if run.status in WAITING else ()
    return (Resumed(at=now, owner=owner, expired=late),) if late else Settled(run=run)


def unknown_thread(thread: str) -> UnknownThread:
    """Return what a request to go on gets where nothing is on record."""
    return UnknownThread(
        f"nothing is on record for thread {thread!r}: start it with an input", thread_id=thread
    )


def last_finished(state: ThreadState) -> int | None:
    """Return the position of the last ``finished``, in the newest run or before it."""
    if state.run is None or state.run.finished is not None:
        return state.finished
    return state.run.started.previous


# -- reading --------------------------------------------------------------------------------------------------------


def read_thread(checkpointer: Checkpointer, thread: str, head: Head | None) -> ThreadState:
    """Fold the newest run from the journal; where the head's hint misleads, the whole journal."""
    start = 0 if head is None else head.run
    state = ThreadState(thread)
    state.head = head
    for position, batch in checkpointer.read(thread, start):
        if position == start and start:
            first = [isinstance(record, Started) for record in batch.records]
            if True not in first:
                break
            # What stands before it in the batch closed the run before.
            state.apply(position, replace(batch, records=batch.records[first.index(True) :]))
        else:
            state.apply(position, batch)
    if state.tail and (state.run is not None or not start):
        return state
    return _whole(checkpointer, thread, head)


def _whole(checkpointer: Checkpointer, thread: str, head: Head | None) -> ThreadState:
    """Fold the whole journal; where there is nothing to read, find its tail: it goes on after a tombstone."""
    tail = checkpointer.tail(thread)  # before reading, so that no position is passed that was not read
    state = ThreadState(thread)
    state.head = head
    for position, batch in checkpointer.read(thread):
        state.apply(position, batch)
    state.tail = state.tail or tail
    return state


# -- taking ---------------------------------------------------------------------------------------------------------


def take(taker: Taker, request: Request, owner: Owner) -> Taken | Settled:
    """Carry a request out as far as its records; what comes back is ours to execute, or needs no execution.

    ``owner`` is a session that has begun, and that the caller ends.

    Raises:
        ThreadBusy: somebody alive holds the thread.
        MilepostError: what :func:`decide` raises, or the driver.
    """
    taken = None
    mine: Head | None = None
    found: Head | None = None  # the head as others left it
    try:
        for attempt in range(_ATTEMPTS):
            head = taker.checkpointer.load_head(taker.thread)
            # Raised before, perhaps without an answer; somebody may have left word in it since.
            mine = head if head is not None and head.owner == owner else None
            found = _as_left(taker, head, mine, found)
            state = read_thread(taker.checkpointer, taker.thread, head)
            state.head = found
            _bring_near(taker.checkpointer, state, request)
            try:
                decided = _decided(taker, head, state, request, owner)
            except HeadMoved:
                continue
            if isinstance(decided, Settled):
                return decided
            batch = Batch(id=f"{owner.session}-t{attempt}", records=decided)
            swap = _raised(taker, head, state, batch, owner, request)
            try:
                taker.checkpointer.wake(taker.thread, state.tail, batch, swap)
            except HeadMoved:
                continue
            except PositionTaken:
                mine = taker.checkpointer.load_head(taker.thread)
                mine = swap.head if mine == swap.head else None
                continue
            mine = None
            state.apply(state.tail, batch)
            taker.watch.forget(taker.checkpointer, taker.thread)
            taken = Taken(holding=Holding(taker.checkpointer, swap.head, owner, taker.clock), state=state)
            return taken
        raise ThreadBusy(
            f"thread {taker.thread!r} changes hands too fast: try again",
            thread_id=taker.thread,
            retry_after=0.0,
        )
    finally:
        if taken is None and mine is not None:
            _lower(taker, mine, owner, found)


def change(taker: Taker, request: Request) -> RunState | None:
    """Take a thread, write what the request says, and lay the thread down again; return its newest run.

    Raises:
        ThreadBusy: somebody alive holds the thread.
        MilepostError: what :func:`decide` raises, or the driver.
    """
    owner = _owner.make()
    end = _owner.ending(owner)
    try:
        _owner.enter(owner)
        taken = take(taker, request, owner)
        if isinstance(taken, Taken):
            with suppress(
                StorageError
            ):  # the session ends with this call, so the thread can be taken all the same
                settle(taken)
        return taken.run
    finally:
        end()


def ask_to_cancel(checkpointer: Checkpointer, thread: str, run: int, reason: str | None) -> bool:
    """Leave word in the head of a thread that somebody holds; False where the run at this position is not under way."""
    head = checkpointer.load_head(thread)
    if head is None or head.status is not Status.RUNNING or head.run != run:
        return False
    if head.cancel is not None:
        return True  # once: each change of the head is a sign of life to those who watch it
    asked = replace(head, version=head.version + 1, nonce=_ids.token(), cancel=reason or "")
    return checkpointer.swap_head(Swap(head=asked, expected=head.version))


def settle(taken: Taken) -> None:
    """Lay a thread down whose run the batch that took it ended or paused, or found so."""
    run = taken.run
    taken.holding.settle(run.status, run.position, run.asks, run.wake)


def _bring_near(checkpointer: Checkpointer, state: ThreadState, request: Request) -> None:
    """Let a new run carry what the last finished one left, where many were abandoned since: else none could go."""
    run = state.run if isinstance(request, Start) else None
    previous = None if run is None or run.finished is not None else run.started.previous
    if run is not None and previous is not None and run.position - previous > _FAR:
        found = finished_at(checkpointer, state.thread, previous)
        state.base = None if found is None else carried(checkpointer, state.thread, found)


def _decided(
    taker: Taker, head: Head | None, state: ThreadState, request: Request, owner: Owner
) -> tuple[Record, ...] | Settled:
    """Decide; a refusal stands only if the thread did not change hands between reading its head and its journal."""
    try:
        return decide(state, request, owner, taker.clock.now().isoformat())
    except MilepostError as error:
        if taker.checkpointer.load_head(taker.thread) == head:
            raise
        raise HeadMoved(thread_id=taker.thread, expected=None if head is None else head.version) from error


def _as_left(taker: Taker, head: Head | None, mine: Head | None, found: Head | None) -> Head | None:
    """Return the head as others left it, with what they have asked since in the one that is raised: ``mine``.

    Raises:
        ThreadBusy: somebody alive holds the thread.
    """
    if mine is None:
        _check_free(taker, head)
        return head
    return found if found is None or mine.cancel is None else replace(found, cancel=mine.cancel)


def _check_free(taker: Taker, head: Head | None) -> None:
    if head is None or head.status is not Status.RUNNING or head.owner is None:
        return
    owner = head.owner
    if _owner.is_dead(owner):
        return
    since = head.since or head.updated
    if _owner.is_here(owner):
        raise ThreadBusy(
            f"thread {taker.thread!r} is being run by another call in this process since {since}",
            thread_id=taker.thread,
            owner=str(owner),
            since=since,
        )
    left = taker.watch.remaining(taker.checkpointer, head)
    if left > 0:
        raise ThreadBusy(
            f"thread {taker.thread!r} is held by {owner} since {since}; if it does not renew its lease, it "
            f"can be taken over in {left:.1f} s",
            thread_id=taker.thread,
            owner=str(owner),
            since=since,
            retry_after=left,
        )


def _raised(
    taker: Taker, head: Head | None, state: ThreadState, batch: Batch, owner: Owner, request: Request
) -> Swap:
    """Return the swap that shows the thread as running and ours."""
    starts = any(isinstance(record, Started) for record in batch.records)
    run = state.run
    position = state.tail if starts or run is None else run.position
    first = next((record for record in batch.records if isinstance(record, Started)), None)
    started = first if first is not None else None if run is None else run.started
    tags: tuple[str, ...] = () if head is None else head.tags
    now = taker.clock.now().isoformat()
    return Swap(
        head=Head(
            thread=taker.thread,
            version=_ids.first_version() if head is None else head.version + 1,
            status=Status.RUNNING,
            workflow="" if started is None else started.workflow,
            run=position,
            nonce=_ids.token(),
            updated=now,
            owner=owner,
            lease=taker.lease,
            since=now,
            principal=None if started is None else started.principal,
            tags=tags if first is None else _tags(request),
        ),
        expected=None if head is None else head.version,
    )


def _tags(request: Request) -> tuple[str, ...]:
    """Return the tags of the run that a request begins."""
    start = getattr(request, "start", request)
    return start.tags if isinstance(start, Start) else ()


def _lower(taker: Taker, head: Head, owner: Owner, found: Head | None) -> None:
    """Lay a head down that we raised for nothing: claim the tail first, so that no append still in flight can land.

    A run that others could have gone on with, as its head was ``found``, is offered to them again.
    """
    try:
        for attempt in range(_ATTEMPTS):
            state = read_thread(taker.checkpointer, taker.thread, None)
            claim = Claimed(at=taker.clock.now().isoformat(), owner=owner)
            batch = Batch(id=f"{owner.session}-l{attempt}", records=(claim,))
            try:
                taker.checkpointer.append(taker.thread, state.tail, batch)
            except PositionTaken:
                continue
            lowered = replace(
                head,
                version=head.version + 1,
                nonce=_ids.token(),
                status=state.status or Status.ABANDONED,
                run=0 if state.run is None else state.run.position,
                pending=() if state.run is None else state.run.asks,
                wake=None if state.run is None else state.run.wake,
                owner=None,
                lease=None,
                since=None,
                **_left_for_others(state, head, found),
            )
            taker.checkpointer.swap_head(Swap(head=lowered, expected=head.version))
            return
    except StorageError:
        return  # the session ends with this call; whoever comes next may take the thread


def _left_for_others(state: ThreadState, head: Head, found: Head | None) -> dict[str, Any]:
    """Return what a lowered head says to whoever may go on: that they may, and that somebody asked to cancel."""
    if state.status is not Status.RUNNING:
        return {"offered": None, "cancel": None}
    raised = found is not None and found.status is Status.RUNNING
    offered = raised and found is not None and (found.offered or found.owner is not None)
    cancel = found.cancel if raised and found is not None and head.cancel is None else head.cancel
    return {"offered": offered or None, "cancel": cancel}
