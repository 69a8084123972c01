"""The rules of the journal as a pure fold: records in, the state of a thread out.  (layer 5)

What ``get_state``, replay and every decision show comes from here. A record that is illegal where it stands is
rejected, and by every reader alike: it changes nothing and is kept in ``rejected``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from milepost import _ids
from milepost.checkpoint import (
    Abandoned,
    Batch,
    Claimed,
    Deleted,
    Failed,
    Finished,
    Interrupted,
    Observed,
    Outcome,
    Owner,
    Question,
    Resumed,
    Retried,
    Started,
    Status,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

CLOSED: Final = frozenset({Status.DONE, Status.ABANDONED, Status.CANCELLED})
_RESTING: Final = frozenset({Status.INTERRUPTED, Status.FAILED})


class RunState:
    """The newest run of a thread as its records tell it."""

    __slots__ = (
        "answers",
        "failed",
        "finished",
        "loose",
        "observed",
        "outcomes",
        "pending",
        "position",
        "questions",
        "started",
        "status",
        "written",
    )

    def __init__(self, started: Started, position: int) -> None:
        self.started = started
        self.position = position
        self.status = Status.RUNNING
        self.outcomes: dict[str, tuple[Outcome, int]] = {}
        self.observed: dict[tuple[str, int], Observed] = {}
        self.questions: dict[str, Question] = {}
        self.pending: tuple[str, ...] = ()
        self.answers: dict[str, Value] = {}
        self.loose: set[str] = (
            set()
        )  # calls made on the branch of a failure that is tried again: they may differ now
        self.written: dict[str, int] = {}
        self.finished: Finished | None = None
        self.failed: Failed | None = None

    @property
    def id(self) -> str:
        """The run's id."""
        return self.started.run


class ThreadState:
    """A thread as its journal tells it, up to ``tail``, the first free position.

    ``finished`` is the position of the last ``finished`` seen, ``owner`` the last session that claimed the thread.
    """

    __slots__ = ("finished", "owner", "rejected", "run", "tail", "thread")

    def __init__(self, thread: str) -> None:
        self.thread = thread
        self.tail = 0
        self.run: RunState | None = None
        self.owner: Owner | None = None
        self.finished: int | None = None
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
        if call not in found and call in run.outcomes:
            found[call] = None
            waiting.extend(run.outcomes[call][0].caused_by)
    return tuple(sorted(found))


def _started(state: ThreadState, record: Started, position: int, _session: str) -> str | None:
    if state.run is not None and state.run.status not in CLOSED:
        return f"the thread is {state.run.status}"
    state.run = RunState(record, position)
    state.owner = record.owner
    return None


def _claimed(state: ThreadState, record: Claimed, _position: int, _session: str) -> str | None:
    state.owner = record.owner
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
    if record.call in state.run.outcomes and record.call not in state.run.loose:
        return "the call has an outcome"
    _give_way(state.run, record.call)
    state.run.outcomes[record.call] = (record, position)
    return None


def _observed(state: ThreadState, record: Observed, _position: int, session: str) -> str | None:
    if reason := _unfit(state, session, _RUNNING | _RESTING):
        return reason
    assert state.run is not None  # noqa: S101
    for number in range(record.number, record.number + record.times):
        state.run.observed[record.frame, number] = record
    return None


def _interrupted(state: ThreadState, record: Interrupted, _position: int, session: str) -> str | None:
    if reason := _unfit(state, session, _RUNNING):
        return reason
    run = state.run
    assert run is not None  # noqa: S101
    run.status = Status.INTERRUPTED
    run.pending = tuple(question.id for question in record.questions)
    for question in record.questions:
        _give_way(run, question.call)
        run.questions[question.id] = question
    run.written |= record.written
    return None


def _resumed(state: ThreadState, record: Resumed, _position: int, _session: str) -> str | None:
    run = state.run
    if run is None or run.status is not Status.INTERRUPTED:
        return "nothing is asked"
    if not set(record.answers) <= set(run.pending):
        return "it answers what is not asked"
    run.answers |= record.answers
    run.pending = ()
    run.status = Status.RUNNING
    state.owner = record.owner
    return None


def _retried(state: ThreadState, record: Retried, _position: int, _session: str) -> str | None:
    run = state.run
    if run is None or run.status is not Status.FAILED:
        return "the run did not fail"
    run.loose |= _loosened(run, record.voids)
    for call in record.voids:
        run.outcomes.pop(call, None)
    _forget_races(run)
    run.status = Status.RUNNING
    run.failed = None
    state.owner = record.owner
    return None


def _forget_races(run: RunState) -> None:
    """Forget what need not be seen again, and the cancellations of calls whose awaiting was cancelled there."""
    for key, seen in list(run.observed.items()):
        if _still_binds(run, seen):
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
    return (*run.outcomes, *(question.call for question in run.questions.values()))


def _loosened(run: RunState, voids: tuple[str, ...]) -> set[str]:
    """Return the calls that were made after their caller had got one of these failures, and all within them."""
    heard = dict(run.failed.heard_at) if run.failed is not None else {}
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
        run.questions = {id_: asked for id_, asked in run.questions.items() if asked.call not in gone}
        run.loose -= gone


def _finished(state: ThreadState, record: Finished, position: int, session: str) -> str | None:
    if reason := _unfit(state, session, _RUNNING):
        return reason
    assert state.run is not None  # noqa: S101
    state.run.status = Status.DONE
    state.run.finished = record
    state.finished = position
    return None


def _failed(state: ThreadState, record: Failed, _position: int, session: str) -> str | None:
    if reason := _unfit(state, session, _RUNNING):
        return reason
    assert state.run is not None  # noqa: S101
    state.run.status = Status.FAILED
    state.run.failed = record
    state.run.written |= record.written
    return None


def _abandoned(state: ThreadState, record: Abandoned, _position: int, session: str) -> str | None:
    run = state.run
    if run is None or run.id != record.run:
        return "it closes another run"
    cut_off = run.status is Status.RUNNING and state.owned_by(session)
    if run.status not in _RESTING and not cut_off:
        return f"the run is {run.status}"
    run.status = Status.ABANDONED
    return None


def _deleted(state: ThreadState, _record: Deleted, _position: int, _session: str) -> str | None:
    state.run = None
    state.owner = None
    state.finished = None
    return None


_RULES: Final[dict[type, Callable[..., str | None]]] = {
    Started: _started,
    Claimed: _claimed,
    Outcome: _outcome,
    Observed: _observed,
    Interrupted: _interrupted,
    Resumed: _resumed,
    Retried: _retried,
    Finished: _finished,
    Failed: _failed,
    Abandoned: _abandoned,
    Deleted: _deleted,
}
