"""Snapshots of a thread, folded from its journal.  (layer 7)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from milepost import _ids
from milepost._struct import Struct

if TYPE_CHECKING:
    from milepost._fold import RunState
    from milepost.checkpoint import Outcome, Owner, Status
    from milepost.question import Interrupt


class TaskState(Struct):
    """A call of the run that has an outcome, or asks a question.

    ``id`` is the call's place (``"0"``, ``"1.2"``), ``status`` one of ``done``, ``failed``, ``cancelled``,
    ``interrupted``. Times are ISO 8601 in UTC. ``error`` is ``"ValueError: text"``.
    """

    id: str
    name: str
    status: str
    attempts: int = 0
    began: str | None = None
    ended: str | None = None
    error: str | None = None
    interrupts: tuple[Interrupt, ...] = ()


class StateSnapshot(Struct):
    """What is on record for a thread (the name and most fields are LangGraph's).

    ``values`` is the last result returned on the thread, None before the first. ``next`` holds the workflow's name
    while the newest run is not over. ``status`` is None for a thread nobody has started. ``config`` addresses the
    newest run. ``error`` is what a failed run failed with. ``owner`` says who works on it now.
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


def tasks(run: RunState, interrupts: tuple[Interrupt, ...]) -> tuple[TaskState, ...]:
    """Return the calls of a run, in the order of their places."""
    found = [_task(outcome) for outcome, _ in run.outcomes.values()]
    by_id = {interrupt.id: interrupt for interrupt in interrupts}
    for id_ in run.pending:
        question = run.questions[id_]
        found.append(
            TaskState(id=question.call, name="interrupt", status="interrupted", interrupts=(by_id[id_],))
        )
    return tuple(sorted(found, key=lambda task: _ids.order(task.id)))


def _task(outcome: Outcome) -> TaskState:
    status = "done" if outcome.result is not None else "cancelled" if outcome.cancelled else "failed"
    return TaskState(
        id=outcome.call,
        name=outcome.name,
        status=status,
        attempts=outcome.attempts,
        began=outcome.began,
        ended=outcome.ended,
        error=None if outcome.error is None else f"{outcome.error.type}: {outcome.error.message}",
    )
