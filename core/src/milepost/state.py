"""Snapshots of a thread, folded from its journal."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from milepost import _config, _ids
from milepost._struct import Struct, replace
from milepost.trace import Session, TaskState, Try

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from milepost._fold import RunState
    from milepost.checkpoint import Attempted, Failure, Outcome, Owner, Question, Status, Value
    from milepost.question import Interrupt
    from milepost.timeline import Timeline

__all__ = ["Session", "StateSnapshot", "StateUpdate", "TaskState", "Try"]

_PREVIEW: Final = 120  # characters of a question


class StateUpdate(Struct):
    """One of the updates of ``bulk_update_state`` (LangGraph's name): what ``update_state`` takes."""

    values: Any
    as_node: str | None

    def __init__(self, values: Any, as_node: str | None = None) -> None:
        super().__init__(values=values, as_node=as_node)


class StateSnapshot(Struct):
    """What is on record for a thread (the name and most fields are LangGraph's).

    ``values`` is the run's result or, while it has none, the last one returned before it; None before the first.
    ``next`` holds the workflow's name while the run is not over. ``status`` is None for a thread nobody has started.
    ``config`` addresses the run, ``parent_config`` the one it followed or went back to. ``metadata`` has its
    ``source`` (``"input"``, ``"fork"`` or ``"update"``), ``step`` (its number on the thread) and ``parents``.
    ``error`` is what a failed run failed with. ``owner`` says who works on it now.

    ``tasks`` are the calls that have an outcome and the questions that wait for an answer. Beside them ``answered``
    holds the questions that were answered, ``unfinished`` the calls that had begun at the last rest and have no outcome
    (status ``running``, or ``interrupted`` where a question within them waits), ``sessions`` who worked on it when.
    """

    values: Any
    next: tuple[str, ...]
    config: dict[str, Any]
    status: Status | None = None
    created_at: str | None = None
    tasks: tuple[TaskState, ...] = ()
    interrupts: tuple[Interrupt, ...] = ()
    error: str | None = None
    owner: Owner | None = None
    metadata: dict[str, Any] | None = None
    parent_config: dict[str, Any] | None = None
    workflow: str | None = None
    answered: tuple[TaskState, ...] = ()
    unfinished: tuple[TaskState, ...] = ()
    sessions: tuple[Session, ...] = ()

    def timeline(self, *, now: datetime | None = None) -> Timeline:
        """Return the picture of the run: what ran, waited and failed, and when.

        Args:
            now: where bars end that are not over; by default the machine's time.
        """
        from milepost.timeline import Timeline

        return Timeline.of(
            workflow=self.workflow or "",
            status=self.status or "",
            calls=(*self.tasks, *self.answered, *self.unfinished),
            sessions=self.sessions,
            error=self.error,
            now=now,
        )

    def _repr_html_(self) -> str:
        """Return the picture and a table, for notebooks."""
        return self.timeline()._repr_html_()


def address(thread: str, run: str) -> dict[str, Any]:
    """Return the config that addresses a run."""
    return {"configurable": {"thread_id": thread, "checkpoint_id": run}}


def metadata(run: RunState) -> dict[str, Any]:
    """Return what is told of how a run came about."""
    started = run.started
    told = {**_config.metadata(started), "source": started.source or "input", "parents": {}}
    if started.step is not None:
        told["step"] = started.step
    return told


def parent_config(thread: str, run: RunState) -> dict[str, Any] | None:
    """Return the config of the run that this one followed, or went back to."""
    parent = run.started.forked or run.started.after
    return None if parent is None else address(thread, parent)


def tasks(run: RunState, interrupts: tuple[Interrupt, ...]) -> tuple[TaskState, ...]:
    """Return the calls of a run, in the order of their places."""
    starts = _starts(run)
    outcomes = list(run.outcomes.values())  # those of a run that pauses may still grow
    found = [_task(run, outcome, _session(starts, position)) for outcome, position in outcomes]
    by_id = {interrupt.id: interrupt for interrupt in interrupts}
    for id_ in run.pending:
        question = run.questions[id_]
        shown = () if question.sleeps else (by_id[id_],)
        found.append(_question(run, question, "sleeping" if question.sleeps else "interrupted", shown))
    found += [
        _waiting(run, call, attempts)
        for call, attempts in run.attempts.items()
        if call and call not in run.outcomes and call not in run.loose
    ]
    return _ordered(found)


def answered(run: RunState) -> tuple[TaskState, ...]:
    """Return the questions of a run that were answered, in the order of their places."""
    return _ordered(
        _question(run, question, "answered", ())
        for id_, question in run.questions.items()
        if id_ in run.answers and not question.sleeps
    )


def unfinished(run: RunState) -> tuple[TaskState, ...]:
    """Return the calls that had begun at the last rest and have no outcome, in the order of their places."""
    asking = [run.questions[id_].call for id_ in run.pending]
    return _ordered(
        TaskState(
            id=call,
            name=name,
            status="interrupted" if any(asks.startswith(f"{call}.") for asks in asking) else "running",
        )
        for call, name in run.unfinished.items()
    )


def sessions(run: RunState) -> tuple[Session, ...]:
    """Return who worked on a run when, each with the last time on record from it."""
    starts = _starts(run)
    seen = [session.ended or session.began for session in run.sessions]
    for outcome, position in run.outcomes.values():
        number = _session(starts, position)
        seen[number] = max(seen[number], outcome.ended)
    return tuple(replace(session, seen=last) for session, last in zip(run.sessions, seen, strict=True))


def _starts(run: RunState) -> list[int]:
    return [session.position for session in run.sessions]


def _session(starts: list[int], position: int) -> int:
    return bisect_right(starts, position) - 1


def _ordered(found: Iterable[TaskState]) -> tuple[TaskState, ...]:
    return tuple(sorted(found, key=lambda task: _ids.order(task.id)))


def _waiting(run: RunState, call: str, attempts: tuple[Attempted, ...]) -> TaskState:
    last = attempts[-1]
    return TaskState(
        id=call,
        name=last.name,
        status="waiting",
        attempts=last.number,
        began=attempts[0].began,
        error=_failure(last.error),
        tries=_tries(run, call, last.name),
    )


def _task(run: RunState, outcome: Outcome, session: int) -> TaskState:
    status = "done" if outcome.result is not None else "cancelled" if outcome.cancelled else "failed"
    return TaskState(
        id=outcome.call,
        name=outcome.name,
        status=status,
        attempts=outcome.attempts,
        cached=bool(outcome.cached),
        began=outcome.began,
        ended=outcome.ended,
        error=_failure(outcome.error),
        kind="workflow" if outcome.workflow else "task",
        tries=_tries(run, outcome.call, outcome.name),
        session=session,
    )


def _tries(run: RunState, call: str, name: str) -> tuple[Try, ...]:
    """Return the failures of a call before its last attempt: of those that ended the run, too."""
    before = [*run.voided.get(call, ()), *run.attempts.get(call, ())]
    failed = [found for found in before if found.name == name and found.error is not None]
    return tuple(
        Try(number=number, began=found.began, ended=found.ended, error=_failure(found.error))
        for number, found in enumerate(failed, start=1)
    )


def _failure(error: Failure | None) -> str | None:
    return None if error is None else f"{error.type}: {error.message}"


def _question(run: RunState, question: Question, status: str, interrupts: tuple[Interrupt, ...]) -> TaskState:
    return TaskState(
        id=question.call,
        name="sleep" if question.sleeps else "interrupt",
        status=status,
        began=run.asked.get(question.id),
        ended=run.answered.get(question.id),
        interrupts=interrupts,
        kind="sleep" if question.sleeps else "question",
        answered=run.answered.get(question.id),
        actor=run.actors.get(question.id),
        asks=_preview(question.value),
    )


def _preview(value: Value) -> str:
    """Return the beginning of a value as text; only that much of it is written out."""
    import json

    raw = value.raw
    if isinstance(raw, str):
        return raw[:_PREVIEW]
    parts = json.JSONEncoder(ensure_ascii=False).iterencode(raw)
    return "".join(islice(parts, _PREVIEW))[:_PREVIEW]
