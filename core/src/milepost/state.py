"""Snapshots of a thread, folded from its journal.  (layer 7)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def address(thread: str, run: str) -> dict[str, Any]:
    """Return the config that addresses a run."""
    return {"configurable": {"thread_id": thread, "checkpoint_id": run}}


def metadata(run: RunState) -> dict[str, Any]:
    """Return what is told of how a run came about."""
    started = run.started
    told: dict[str, Any] = {"source": started.source or "input", "parents": {}}
    if started.step is not None:
        told["step"] = started.step
    return told


def parent_config(thread: str, run: RunState) -> dict[str, Any] | None:
    """Return the config of the run that this one followed, or went back to."""
    parent = run.started.forked or run.started.after
    return None if parent is None else address(thread, parent)


def tasks(run: RunState, interrupts: tuple[Interrupt, ...]) -> tuple[TaskState, ...]:
    """Return the calls of a run, in the order of their places."""
    found = [_task(outcome) for outcome, _ in run.outcomes.values()]
    by_id = {interrupt.id: interrupt for interrupt in interrupts}
    for id_ in run.pending:
        question = run.questions[id_]
        found.append(
            TaskState(id=question.call, name="interrupt", status="interrupted", interrupts=(by_id[id_],))
        )
    return tuple(sorted(found, key=lambda task: tuple(map(int, task.id.split(".")))))


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
