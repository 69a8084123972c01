"""What is on record of a run, as plain facts for printing."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from milepost import state
from milepost._claim import read_thread
from milepost._run import pending
from milepost._runs import find
from milepost.checkpoint import Status

if TYPE_CHECKING:
    from milepost._fold import RunState
    from milepost.checkpoint import Checkpointer, Head
    from milepost.question import Interrupt
    from milepost.run import Run


def read(run: Run) -> tuple[RunState, Head | None]:
    """Return a run as its journal tells it, and the head where it is the thread's newest."""
    checkpointer, thread = run._checkpointer, run._thread  # noqa: SLF001 - a command looks behind the handle
    head = checkpointer.load_head(thread)
    newest = read_thread(checkpointer, thread, head).run
    if newest is not None and newest.id == run.id:
        return newest, head
    return find(checkpointer, thread, run.id), None


def facts_of(run: Run) -> dict[str, Any]:
    """Return the facts of a run."""
    found, head = read(run)
    failed = found.failed.error if found.failed is not None and found.status is Status.FAILED else None
    held = head is not None and head.status is Status.RUNNING and head.owner is not None
    return {
        "thread": run.thread_id,
        "run": run.id,
        "workflow": run.workflow,
        "version": found.started.version,
        "status": str(found.status),
        "owner": run.owner,
        "tags": list(run.tags),
        "started": found.started.at,
        "held_by": str(head.owner) if head is not None and held else None,
        "since": head.since if head is not None and held else None,
        "last_sign_of_life": head.updated if head is not None and held else None,
        "handed_on": bool(head is not None and head.offered) or None,
        "asked_to_cancel": None if head is None or head.cancel is None else head.cancel or True,
        "sleeps_until": _times(found) if found.status is Status.SLEEPING else None,
        "reason": found.reason if found.status is Status.CANCELLED else None,
        "error": None if failed is None else f"{failed.type}: {failed.message}",
        "deaths_in_a_row": found.deaths or None,
        "sessions": len(found.sessions),
        "questions": [question(asked) for asked in asked_by(found)],
    }


def _times(run: RunState) -> str:
    return min(run.questions[id_].expires or "" for id_ in run.pending)


def asked_by(run: RunState) -> tuple[Interrupt, ...]:
    """Return the questions that a run waits for."""
    return pending(run) if run.status is Status.INTERRUPTED else ()


def question(asked: Interrupt) -> dict[str, Any]:
    """Return the facts of a question."""
    return {
        "id": asked.id,
        "value": asked.value,
        "key": asked.key,
        "expires": None if asked.expires_at is None else asked.expires_at.isoformat(),
        "schema": asked.response_schema,
    }


def calls_of(run: Run) -> list[dict[str, Any]]:
    """Return what is on record of a run's calls, in the order of their places."""
    found, _ = read(run)
    calls = chain(state.tasks(found, asked_by(found)), state.answered(found), state.unfinished(found))
    return [
        {
            "call": call.id,
            "name": call.name,
            "kind": call.kind,
            "status": call.status,
            "attempts": call.attempts or None,
            "began": call.began,
            "ended": call.ended,
            "error": call.error,
            "actor": call.actor,
        }
        for call in calls
    ]


def heads(checkpointer: Checkpointer) -> Any:
    """Yield all heads of a backend."""
    cursor = None
    while True:
        page, cursor = checkpointer.list_heads(cursor=cursor, limit=256)
        yield from page
        if cursor is None:
            return
