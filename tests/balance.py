"""Whether a stream of events is balanced: every start has one end, every end has a start, and inner ends come first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost import events

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_balanced(told: Iterable[events.Event], *, whole: bool = True, root: str = "") -> None:
    """Check the events of one stream, of the body or of a call; one that its consumer left is not ``whole``."""
    opened: dict[str, events.Started] = {}
    over: set[str] = set()
    for event in told:
        assert isinstance(event, events.Event)
        if isinstance(event, events.Started):
            _check_start(event, opened, over, root)
            opened[event.call] = event
        elif isinstance(event, events.Ended):
            _check_end(event, opened)
            over.add(event.call)
            del opened[event.call]
    if whole:
        assert not opened, f"never ended: {list(opened)}"


def caller(call: str) -> str | None:
    """Return the place of the call that made a call."""
    if not call:
        return None
    cut = max(call.rfind("."), call.rfind("/"))
    return call[:cut] if cut > 0 else ""


def _check_start(event: events.Started, opened: dict[str, events.Started], over: set[str], root: str) -> None:
    assert event.call not in opened, f"began twice: {event}"
    assert event.call not in over, f"began after its end: {event}"
    around = None if event.call == root else caller(event.call)
    assert around is None or around in opened, f"began outside the call that made it: {event}"
    if event.replayed and around:
        assert not opened[around].replayed, f"a call on record made no call: {event}"


def _check_end(event: events.Ended, opened: dict[str, events.Started]) -> None:
    assert event.call in opened, f"ended without a start: {event}"
    start = opened[event.call]
    assert (event.namespace, event.name) == (start.namespace, start.name)
    assert event.replayed == start.replayed or not event.call, f"only the body is both: {event}"
    assert type(event).__name__.startswith("Task") == isinstance(start, events.TaskStarted)
    inside = [call for call in opened if caller(call) == event.call]
    assert not inside, f"ended before what it began: {event} before {inside}"
    assert start.at <= event.at
    assert event.attempt >= start.attempt
