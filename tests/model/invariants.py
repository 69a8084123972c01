"""What must hold in every state, and what in every state where nobody does anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.world import ABANDONED, DONE, RUNNING, State, View, read

if TYPE_CHECKING:
    from model.rules import Rules


def violated(state: State, rules: Rules) -> str | None:
    """Return what is wrong with a state; None where nothing is."""
    view = read(state, rules)
    if view.flaw is not None:
        return view.flaw
    if None in state.journal[state.floor :]:
        return "the journal has a gap"
    if view.status not in (None, ABANDONED, DONE) and 0 <= view.previous < state.floor:
        return "what the newest run began from was pruned"
    return _at_rest(state, view) if state.idle else None


def _at_rest(state: State, view: View) -> str | None:
    if view.status == ABANDONED:
        return "a run was closed for a new one, and none began"
    status = None if state.head is None else state.head.status
    if view.status == RUNNING and status != RUNNING:
        return f"stranded: the journal is running, the head says {status}"
    if view.status is not None and status not in (view.status, RUNNING):
        return f"the head says {status}, the journal {view.status}"
    return None
