"""The rules of the journal as a pure fold: records in, the state of a thread out.

What ``get_state``, replay and every decision show comes from here. A record that is illegal where it stands is
rejected, and by every reader alike: it changes nothing and is kept in ``rejected``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from milepost import _ids
from milepost._struct import replace
from milepost.checkpoint import (
    Abandoned,
    Attempted,
    Batch,
    Begun,
    Cancelled,
    Claimed,
    Deleted,
    Failed,
    Finished,
    Head,
    Interrupted,
    Keyed,
    Observed,
    Outcome,
    Owner,
    Question,
    Resumed,
    Retried,
    Started,
    Status,
    Value,
    Written,
)
from milepost.errors import OutcomeUnknown, describe
from milepost.trace import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

CLOSED: Final = frozenset({Status.DONE, Status.ABANDONED})
"""What nothing brings back to life; a new run may stand after it as it is."""
WAITING: Final = frozenset({Status.INTERRUPTED, Status.SLEEPING})
"""What goes on by itself when a time has come."""
_LEFT: Final = frozenset({Status.INTERRUPTED, Status.FAILED, Status.CANCELLED})
_RESTING: Final = _LEFT | WAITING
_UNKNOWN: Final = describe(OutcomeUnknown)


class RunState:
    """A run as its records tell it. ``rested`` is when it last paused, failed, was cancelled or closed."""

    __slots__ = (
        "actors",
        "answered",
        "answers",
        "asked",
        "attempts",
        "begun",
        "deaths",
        "expired",
        "failed",
        "finished",
        "loose",
        "observed",
        "outcomes",
        "pending",
        "planted",
        "position",
        "questions",
        "reason",
        "rested",
        "sessions",
        "started",
        "status",
        "unfinished",
        "voided",
        "written",
    )

    def __init__(self, started: Started, position: int) -> None:
        self.started = started
        self.position = position
        self.status = Status.RUNNING
        self.outcomes: dict[str, tuple[Outcome, int]] = {}
        self.attempts: dict[str, tuple[Attempted, ...]] = {}  # those that failed, by call
        self.begun: dict[str, Begun] = {}  # starts of which nothing more is known
        self.observed: dict[tuple[str, int], Observed] = {}
        self.questions: dict[str, Question] = {}
        self.pending: tuple[str, ...] = ()
        self.answers: dict[str, Value] = {}
        self.expired: set[str] = set()  # questions without a default whose time is over
        self.loose: set[str] = (
            set()
        )  # calls made on the branch of a failure that is tried again: they may differ now
        self.written: dict[str, int] = {}
        self.finished: Finished | None = None
        self.failed: Failed | None = None
        self.reason: str | None = None  # why it was cancelled
        self.planted = False  # recorded, and begun by nobody yet
        self.deaths = 0  # how many sessions in a row died or stood still, with nothing new on record
        self.rested: str | None = None
        # For those who look, no decision depends on it: who worked when, when questions were first asked and answered,
        # the names of calls that had begun at the last rest, and the failures that were tried again.
        self.sessions = [Session(how="started", began=started.at, owner=started.owner, position=position)]
        self.asked: dict[str, str] = {}
        self.answered: dict[str, str] = {}
        self.actors: dict[str, str] = {}
        self.unfinished: dict[str, str] = {}
        self.voided: dict[str, list[Outcome]] = {}

    @property
    def id(self) -> str:
        """The run's id."""
        return self.started.run

    def work(self, record: Claimed | Resumed | Retried, position: int) -> None:
        """Begin a session."""
        self.status = Status.RUNNING
        self.sessions.append(Session(how=record.kind, began=record.at, owner=record.owner, position=position))

    def rest(self, status: Status, at: str) -> None:
        """End the session, with what the run is now."""
        self.status, self.rested = status, at
        if self.sessions[-1].ended is None:
            self.sessions[-1] = replace(self.sessions[-1], ended=at, ending=status)

    @property
    def asks(self) -> tuple[str, ...]:
        """The questions that can be answered: those pending, until the run is closed; waits for a time are none."""
        if self.status is not Status.INTERRUPTED:
            return ()
        return tuple(id_ for id_ in self.pending if not self.questions[id_].sleeps)

    @property
    def wake(self) -> float | None:
        """When the first thing that it waits for is due, in seconds since the epoch; None where nothing ever is."""
        if self.status not in WAITING:
            return None
        return wake(self.questions[id_] for id_ in self.pending)


def expired(run: RunState, now: str) -> tuple[str, ...]:
    """Return the pending questions whose time is over at ``now``, ISO 8601 in UTC."""
    from datetime import datetime

    times = {id_: at for id_ in run.pending if (at := run.questions[id_].expires) is not None}
    return tuple(
        id_ for id_, at in times.items() if datetime.fromisoformat(at) <= datetime.fromisoformat(now)
    )


def wake(questions: Iterable[Question]) -> float | None:
    """Return when the first of these questions expires, in seconds since the epoch; None where none does."""
    from datetime import datetime

    times = (question.expires for question in questions)
    return min((datetime.fromisoformat(at).timestamp() for at in times if at is not None), default=None)


class ThreadState:
    """A thread as its journal tells it, up to ``tail``, the first free position.

    ``finished`` is the position of the last ``finished`` seen, ``owner`` the last session that claimed the thread.
    ``base`` is what the last finished run left, for a new run to carry; set where that lies far back. ``keyed`` is what
    a journal holds that an idempotency key names. ``head`` is the thread's head, where it was read before: a hint, and
    nothing of the journal.
    """

    __slots__ = ("base", "finished", "head", "keyed", "owner", "rejected", "run", "tail", "thread")

    def __init__(self, thread: str) -> None:
        self.thread = thread
        self.tail = 0
        self.run: RunState | None = None
        self.owner: Owner | None = None
        self.finished: int | None = None
        self.base: Finished | None = None
        self.keyed: Keyed | None = None
        self.head: Head | None = None
        self.rejected: list[tuple[int, str]] = []

    @property
    def status(self) -> Status | None:
        """The newest run's status; None where nothing was ever started."""
        return None if self.run is None else self.run.status

    def apply(self, position: int, batch: Batch) -> None:
        """Fold the next batch in."""
        for record in batch.records:
            reason = _RULES[type(record)](self, record, position, batch.session)
            if reason is not None:
                self.rejected.append((position, f"{record.kind}: {reason}"))
        self.tail = position + 1

    def owned_by(self, session: str) -> bool:
        """Tell whether a session wrote the last claim."""
        return self.owner is not None and self.owner.session == session


def voided(run: RunState, calls: Iterable[str]) -> tuple[str, ...]:
    """Return these calls and, where they failed because of calls of their own, those too; in order."""
    found: dict[str, None] = {}
    waiting = list(calls)
    while waiting:
        call = waiting.pop()
        if call not in found and call in run.outcomes and not _is_decided(run.outcomes[call][0]):
            found[call] = None
            waiting.extend(run.outcomes[call][0].caused_by)
    return tuple(sorted(found))


def _is_decided(outcome: Outcome) -> bool:
    """Tell whether an outcome stands for good: what may have done its work is not tried again."""
    return outcome.error is not None and outcome.error.type == _UNKNOWN


def _started(state: ThreadState, record: Started, position: int, _session: str) -> str | None:
    if state.run is not None and state.run.status not in CLOSED:
        return f"the thread is {state.run.status}"
    state.run = RunState(record, position)
    state.owner = record.owner
    return None


def _claimed(state: ThreadState, record: Claimed, position: int, _session: str) -> str | None:
    state.owner = record.owner
    if state.run is not None and state.run.status is Status.RUNNING:
        state.run.work(record, position)
        state.run.deaths += bool(record.died)
    return None


def _unfit(state: ThreadState, session: str, statuses: frozenset[Status]) -> str | None:
    if not state.owned_by(session):
        return "not written by the owner"
    if state.status not in statuses:
        return f"the run is {state.status}"
    return None


_RUNNING: Final = frozenset({Status.RUNNING})


def _outcome(state: ThreadState, record: Outcome, position: int, session: str) -> str | None:
    # A call that was still running when its run paused or failed may be recorded until somebody takes the thread.
    if reason := _unfit(state, session, _RUNNING | _RESTING):
        return reason
    assert state.run is not None  # noqa: S101 - a status was found
    if _is_settled(state.run, record.call):
        return "the call has an outcome"
    _give_way(state.run, record.call)
    state.run.outcomes[record.call] = (record, position)
    state.run.deaths = 0
    if state.run.written:  # of a call that never runs again, or anew
        state.run.written = {f: n for f, n in state.run.written.items() if not _is_in(f, record.call)}
    if state.run.unfinished:
        state.run.unfinished.pop(record.call, None)
    state.run.begun.pop(record.call, None)
    return None


def _is_settled(run: RunState, call: str) -> bool:
    return call in run.outcomes and call not in run.loose


def _attempt(state: ThreadState, record: Attempted | Begun, session: str) -> str | None:
    """Check what is said of an attempt: it is the one that is next."""
    if reason := _unfit(state, session, _RUNNING | _RESTING):
        return reason
    run = state.run
    assert run is not None  # noqa: S101
    if _is_settled(run, record.call):
        return "the call has an outcome"
    before = 0 if record.call in run.loose else len(run.attempts.get(record.call, ()))
    return None if record.number == before + 1 else f"{before} attempts are on record"


def _attempted(state: ThreadState, record: Attempted, _position: int, session: str) -> str | None:
    if reason := _attempt(state, record, session):
        return reason
    run = state.run
    assert run is not None  # noqa: S101
    _give_way(run, record.call)
    voids = tuple(call for call in voided(run, record.caused_by) if _is_part(call, record.call))
    _void(run, voids, record.heard_at, within=record.call)
    run.attempts[record.call] = (*run.attempts.get(record.call, ()), record)
    run.begun.pop(record.call, None)
    if (
        record.call != _ids.ROOT
    ):  # what an attempt at a task writes is new; a body that is replayed repeats itself
        run.written = {frame: n for frame, n in run.written.items() if not _is_in(frame, record.call)}
    return None


def _begun(state: ThreadState, record: Begun, _position: int, session: str) -> str | None:
    if reason := _attempt(state, record, session):
        return reason
    run = state.run
    assert run is not None  # noqa: S101
    if record.call in run.begun and record.call not in run.loose:
        return "the attempt has begun"
    _give_way(run, record.call)
    run.begun[record.call] = record
    return None


def _is_part(call: str, of: str) -> bool:
    """Tell whether a call was made by another, or by one that it made; everything is part of the body."""
    return of == _ids.ROOT or call.startswith(f"{of}.")


def _is_in(frame: str, call: str) -> bool:
    return frame == call or _is_part(frame, call)


def _observed(state: ThreadState, record: Observed, _position: int, session: str) -> str | None:
    if reason := _unfit(state, session, _RUNNING | _RESTING):
        return reason
    assert state.run is not None  # noqa: S101
    for number in range(record.number, record.number + record.times):
        state.run.observed[record.frame, number] = record
    return None


def _written(state: ThreadState, record: Written, _position: int, session: str) -> str | None:
    if reason := _unfit(state, session, _RUNNING | _RESTING):
        return reason
    run = state.run
    assert run is not None  # noqa: S101
    if record.number <= run.written.get(record.call, 0):
        return "it is on record"
    run.written[record.call] = record.number
    return None


def _count(run: RunState, written: Mapping[str, int]) -> None:
    """Take over how much was written up to a rest: who had not come as far as somebody before takes nothing back."""
    run.written |= {frame: max(number, run.written.get(frame, 0)) for frame, number in written.items()}


def _interrupted(state: ThreadState, record: Interrupted, _position: int, session: str) -> str | None:
    if reason := _unfit(state, session, _RUNNING):
        return reason
    run = state.run
    assert run is not None  # noqa: S101
    sleeps = bool(record.questions) and all(question.sleeps for question in record.questions)
    run.rest(Status.SLEEPING if sleeps else Status.INTERRUPTED, record.at)
    run.deaths = 0
    run.pending = tuple(question.id for question in record.questions)
    for question in record.questions:
        _give_way(run, question.call)
        run.questions[question.id] = question
        run.asked.setdefault(question.id, record.at)
        if question.refused is not None:
            run.answers.pop(question.id, None)
            run.answered.pop(question.id, None)
        _suspend(run, question.call)
    _count(run, record.written)
    run.unfinished = dict(record.unfinished)
    return None


def _suspend(run: RunState, asked: str) -> None:
    """A call that waits for an answer has stopped where it knows: how it goes on is not in doubt."""
    for call in [call for call in run.begun if _is_part(asked, call) and asked != _ids.review(call)]:
        del run.begun[call]


def _resumed(state: ThreadState, record: Resumed, position: int, _session: str) -> str | None:
    run = state.run
    if run is None or run.status not in WAITING:
        return "nothing is asked"
    if not {*record.answers, *record.expired} <= set(run.pending):
        return "it answers what is not asked"
    if any(run.questions[id_].expires is None for id_ in record.expired):
        return "it ends what does not expire"
    run.answers |= record.answers
    run.answered |= dict.fromkeys(record.answers, record.at)
    if record.actor is not None:
        run.actors |= dict.fromkeys(record.answers, record.actor)
    for id_ in record.expired:
        default = run.questions[id_].default
        if default is None:
            run.expired.add(id_)
        else:
            run.answers[id_] = default
    run.pending = ()
    run.work(record, position)
    state.owner = record.owner
    return None


def _retried(state: ThreadState, record: Retried, position: int, _session: str) -> str | None:
    run = state.run
    if run is None or run.status not in {Status.FAILED, Status.CANCELLED}:
        return "the run neither failed nor was cancelled"
    if record.context is not None:
        if not run.planted:
            return "the run has begun, with the context it has"
        run.started = replace(run.started, context=record.context)
    run.planted = False
    _void(run, record.voids, {} if run.failed is None else run.failed.heard_at)
    run.attempts.pop(_ids.ROOT, None)
    run.work(record, position)
    run.failed = None
    run.deaths = 0
    state.owner = record.owner
    return None


def _void(
    run: RunState, voids: tuple[str, ...], heard_at: Mapping[str, int], within: str = _ids.ROOT
) -> None:
    """Let calls be tried again: what was done about their failures no longer binds, nor what was seen after it."""
    run.loose |= _loosened(run, voids, heard_at)
    for call in voids:
        if call in run.outcomes:
            run.voided.setdefault(call, []).append(run.outcomes.pop(call)[0])
        run.attempts.pop(call, None)
    _forget_races(run, within)


def _forget_races(run: RunState, within: str) -> None:
    """Forget what need not be seen again, and the cancellations of calls whose awaiting was cancelled there."""
    for key, seen in list(run.observed.items()):
        if not _is_in(seen.frame, within) or _still_binds(run, seen):
            continue
        del run.observed[key]
        outcome = run.outcomes.get(seen.call)
        if seen.what == "await" and outcome is not None and outcome[0].cancelled:
            del run.outcomes[seen.call]


def _still_binds(run: RunState, seen: Observed) -> bool:
    """Tell whether a recorded call came after an observation; only then must a retry see the same again."""
    made, frame = {}, seen.frame
    for count in (seen.made, *seen.above):
        made[frame] = count
        frame = frame.rpartition(".")[0]
    places = (_ids.split(call) for call in _calls(run) if call not in run.loose)
    return any(parent in made and ordinal >= made[parent] for parent, ordinal in places)


def _calls(run: RunState) -> tuple[str, ...]:
    tried = (call for call in (*run.attempts, *run.begun) if call not in run.outcomes and call != _ids.ROOT)
    return (*run.outcomes, *tried, *(question.call for question in run.questions.values()))


def _loosened(run: RunState, voids: tuple[str, ...], heard_at: Mapping[str, int]) -> set[str]:
    """Return the calls that were made after their caller had got one of these failures, and all within them."""
    heard = dict(heard_at)
    for call in voids:
        if call in run.outcomes:
            heard |= run.outcomes[call][0].heard_at
    after: dict[str, dict[str, int]] = {call: {} for call in voids if call in heard}
    for key, made in heard.items():
        call, strand, path = key.partition("@")
        if call in after:
            after[call][path if strand else _ids.split(call)[0]] = made
    return {call for call in _calls(run) if any(_is_after(call, *each) for each in after.items())} - set(
        voids
    )


def _is_after(call: str, failed: str, made: dict[str, int]) -> bool:
    """Tell whether a call was made after its caller, a frame with its strands, got the failure of another call."""
    place = _ids.place_in(call, _ids.frame_of(_ids.split(failed)[0]))
    return place is not None and place[1] >= made.get(place[0], 0)


def _give_way(run: RunState, call: str) -> None:
    """Forget what a loose call was, and all within it: another call has taken its place."""
    gone = {path for path in run.loose if path == call or path.startswith(f"{call}.")}
    if gone:
        for path in gone:
            run.outcomes.pop(path, None)
            run.attempts.pop(path, None)
            run.begun.pop(path, None)
        run.questions = {id_: asked for id_, asked in run.questions.items() if asked.call not in gone}
        run.asked = {id_: at for id_, at in run.asked.items() if id_ in run.questions}
        run.loose -= gone


def _finished(state: ThreadState, record: Finished, position: int, session: str) -> str | None:
    if reason := _unfit(state, session, _RUNNING):
        return reason
    assert state.run is not None  # noqa: S101
    state.run.rest(Status.DONE, record.at)
    state.run.unfinished = {}
    state.run.finished = record
    state.finished = position
    return None


_STOPPABLE: Final = frozenset({Status.RUNNING, Status.INTERRUPTED, Status.FAILED, Status.SLEEPING})


def _failed(state: ThreadState, record: Failed, _position: int, session: str) -> str | None:
    if reason := _unfit(state, session, _RUNNING):
        return reason
    assert state.run is not None  # noqa: S101
    state.run.rest(Status.FAILED, record.at)
    state.run.failed = record
    _count(state.run, record.written)
    state.run.unfinished = dict(record.unfinished)
    return None


def _cancelled(state: ThreadState, record: Cancelled, _position: int, session: str) -> str | None:
    if reason := _unfit(state, session, _STOPPABLE):
        return reason
    run = state.run
    assert run is not None  # noqa: S101
    run.rest(Status.CANCELLED, record.at)
    for id_, question in run.questions.items():
        if id_ not in run.answers and id_ not in run.expired and not question.sleeps:
            # Withdrawn, also if it went on waiting beside an answer: whoever asks it again gives it its time anew.
            run.questions[id_] = replace(question, expires=None)
    run.pending = ()
    run.planted, run.reason = record.planted, record.reason
    _count(run, record.written)
    return None


def _abandoned(state: ThreadState, record: Abandoned, _position: int, session: str) -> str | None:
    run = state.run
    if run is None or run.id != record.run:
        return "it closes another run"
    cut_off = run.status is Status.RUNNING and state.owned_by(session)
    if run.status not in _LEFT and not cut_off:
        return f"the run is {run.status}"
    run.rest(Status.ABANDONED, record.at)
    return None


def _keyed(state: ThreadState, record: Keyed, _position: int, _session: str) -> str | None:
    if state.run is not None or state.keyed is not None:
        return "the journal is in use"
    state.keyed = record
    return None


def _deleted(state: ThreadState, _record: Deleted, _position: int, _session: str) -> str | None:
    state.run = None
    state.owner = None
    state.finished = None
    state.keyed = None
    return None


_RULES: Final[dict[type, Callable[..., str | None]]] = {
    Started: _started,
    Claimed: _claimed,
    Outcome: _outcome,
    Attempted: _attempted,
    Begun: _begun,
    Observed: _observed,
    Written: _written,
    Interrupted: _interrupted,
    Resumed: _resumed,
    Retried: _retried,
    Finished: _finished,
    Failed: _failed,
    Cancelled: _cancelled,
    Abandoned: _abandoned,
    Keyed: _keyed,
    Deleted: _deleted,
}
