"""The rows of a picture: calls nested by who made them, each with its bars.  (timeline: layer 2)"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from milepost import _ids
from milepost._struct import Struct, replace
from milepost.timeline._moments import instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from milepost.trace import Session, TaskState

_REPLAYS: Final = 12  # of a row that are drawn
DEPTH: Final = 24
"""Calls nested deeper are counted in the row they are in."""

Place = tuple[tuple[tuple[bool, int], ...], ...]
"""For each of the calls that a call is within, and for itself, its number; before it, those of the strands it is in."""


class Bar(Struct):
    """A stretch of a row, in seconds since 1970; ``open`` where it is not over.

    ``kind``: ``work``; ``failed``, an attempt that failed; ``cancelled``; ``retry``, waiting for the next attempt;
    ``wait``, waiting for an answer; ``sleep``, asleep; ``gap``, nobody worked on the run; ``span``, begun here and
    executed again later; ``replay``, a moment: a session began, which was given the outcome from the record.
    """

    kind: str
    began: float
    ended: float
    open: bool = False


class Row(Struct):
    """A call, or ``count`` equal ones, with the calls it made.

    ``status`` is that of a ``TaskState``, or ``unfinished`` for a call that is known by what it called only.
    ``replays`` is in how many later sessions the call was answered from the record. ``hidden`` counts calls within it
    that are not shown. ``began`` and ``ended`` are seconds since 1970, None where nothing is known.
    """

    id: str
    name: str
    kind: str
    status: str
    began: float | None = None
    ended: float | None = None
    bars: tuple[Bar, ...] = ()
    attempts: int = 1
    error: str | None = None
    cached: bool = False
    replays: int = 0
    count: int = 1
    hidden: int = 0
    children: tuple[Row, ...] = ()

    @property
    def seconds(self) -> float | None:
        """How long it took, waits included; None where nothing is known."""
        if self.began is None or self.ended is None:
            return None
        return self.ended - self.began


class Gap(Struct):
    """A time in which nobody worked on the run; ``after`` is the number of the session before it."""

    began: float
    ended: float
    why: str
    after: int
    open: bool = False


class Work(Struct):
    """A session in seconds since 1970, and how many calls it executed and replayed."""

    how: str
    began: float
    ended: float
    ending: str | None
    executed: int = 0
    replayed: int = 0
    open: bool = False


_WHY: Final = {
    "interrupted": "waiting for an answer",
    "failed": "until it was tried again",
    "sleeping": "asleep",
    None: "nobody at work",
}


# -- calls ----------------------------------------------------------------------------------------------------------


def rows(
    calls: Iterable[TaskState], works: Sequence[Work], *, status: str, horizon: float
) -> tuple[Row, ...]:
    """Return the calls of the body, each with its own calls within it."""
    known: dict[Place, TaskState] = {}
    for call in calls:
        known.setdefault(place(call.id), call)
    bounds = _bounds(known, len(works))
    children: dict[Place, list[Row]] = {}
    hidden: dict[Place, int] = {}
    for spot in sorted(_with_callers(known), key=lambda spot: (len(spot), spot), reverse=True):
        if len(spot) > DEPTH:
            hidden[spot[:-1]] = hidden.get(spot[:-1], 0) + hidden.pop(spot, 0) + 1
            continue
        inner = tuple(reversed(children.pop(spot, [])))
        if spot not in known:
            row = _caller(spot, inner, live=status == "running", horizon=horizon)
        else:
            call = known[spot]
            own = bounds[spot] if call.session is None else call.session
            row = _row(call, inner, works[own + 1 : bounds[spot] + 1], status, horizon)
        found = replace(row, hidden=hidden.pop(spot, 0))
        children.setdefault(spot[:-1], []).append(found)
    return tuple(reversed(children.get((), [])))


def place(id_: str) -> Place:
    """Return a call's place, which sorts as the calls were made; those of a strand come after those of its frame."""
    found: list[tuple[tuple[bool, int], ...]] = []
    strands: tuple[tuple[bool, int], ...] = ()
    for part in _ids.order(id_):
        strands += (part,)
        if not part[0]:
            found.append(strands)
            strands = ()
    return tuple(found)


def _id(spot: Place) -> str:
    return ".".join("~" * in_strand + str(number) for parts in spot for in_strand, number in parts)


def replayed(calls: Iterable[TaskState], number: int) -> list[int]:
    """Return for each of so many sessions how many calls it was answered from the record."""
    known = {place(call.id): call for call in calls}
    bounds = _bounds(known, number)
    steps = [0] * (number + 1)
    for spot, call in known.items():
        if call.session is not None and bounds[spot] > call.session:
            steps[call.session + 1] += 1
            steps[bounds[spot] + 1] -= 1
    totals, total = [], 0
    for step in steps[:number]:
        total += step
        totals.append(total)
    return totals


def _bounds(known: dict[Place, TaskState], sessions: int) -> dict[Place, int]:
    """Return the last session in which each call was made: once its caller is on record, it is made no more."""
    bounds: dict[Place, int] = {}
    for spot in sorted(known, key=len):
        bound = sessions - 1
        for depth in range(1, len(spot)):
            caller = known.get(spot[:depth])
            if caller is not None and caller.session is not None:
                bound = min(bound, caller.session)
        own = known[spot].session
        bounds[spot] = 0 if own is None else max(own, bound)
    return bounds


def _with_callers(known: dict[Place, TaskState]) -> set[Place]:
    found: set[Place] = set()
    for spot in known:
        while spot and spot not in found:
            found.add(spot)
            spot = spot[:-1]  # noqa: PLW2901 - up the lineage
    return found


def _caller(spot: Place, inner: tuple[Row, ...], *, live: bool, horizon: float) -> Row:
    """Return the row of a call that is known by its calls only."""
    asks = any(row.status == "interrupted" for row in inner)
    state = "interrupted" if asks else "running" if live else "unfinished"
    id_ = _id(spot)
    return _spanning(Row(id=id_, name=f"call {id_}", kind="task", status=state, children=inner), horizon)


def _row(call: TaskState, inner: tuple[Row, ...], later: Sequence[Work], status: str, horizon: float) -> Row:
    row = Row(
        id=call.id,
        name=call.name if call.asks is None else call.asks,
        kind=call.kind,
        status=_live(call.status, status),
        attempts=max(call.attempts, len(call.tries) + 1),
        error=call.error,
        cached=call.cached,
        replays=len(later),
        children=inner,
    )
    bars = _asked(call, horizon) if call.kind == "question" else _attempts(call, horizon)
    if not bars:
        return _spanning(row, horizon)
    began = min(bar.began for bar in bars)
    first = min((child.began for child in inner if child.began is not None), default=began)
    if first < began:
        bars = (Bar(kind="span", began=first, ended=began), *bars)
    again = tuple(Bar(kind="replay", began=work.began, ended=work.began) for work in later[-_REPLAYS:])
    return replace(row, began=min(first, began), ended=max(bar.ended for bar in bars), bars=(*bars, *again))


def _live(call: str, run: str) -> str:
    """A call that still ran at the last rest may have ended since, where the run does not work now."""
    return "unfinished" if call == "running" and run != "running" else call


def _spanning(row: Row, horizon: float) -> Row:
    """Give a row without times of its own those of its calls."""
    began = min((child.began for child in row.children if child.began is not None), default=None)
    if began is None:
        return row
    ended = max(child.ended for child in row.children if child.ended is not None)
    live = row.status in ("running", "interrupted")
    ended = max(ended, horizon) if live else ended
    kind = "work" if row.status == "running" else "span"
    bar = Bar(kind=kind, began=began, ended=ended, open=live)
    return replace(row, began=began, ended=ended, bars=(bar,))


def _asked(call: TaskState, horizon: float) -> tuple[Bar, ...]:
    began, answered = instant(call.began), instant(call.answered)
    if began is None:
        return ()
    ended = horizon if answered is None else answered
    return (Bar(kind="wait", began=began, ended=max(began, ended), open=answered is None),)


def _attempts(call: TaskState, horizon: float) -> tuple[Bar, ...]:
    """Return a bar for each attempt, and for each wait between two."""
    tried: list[Bar] = []
    for one in sorted(call.tries, key=lambda one: one.number):
        began, ended = instant(one.began), instant(one.ended)
        if began is not None:
            tried.append(Bar(kind="failed", began=began, ended=max(began, ended or began)))
    began, ended = instant(call.began), instant(call.ended)
    if began is not None:
        running = ended is None and call.status == "running"
        last = max(began, tried[-1].ended) if tried else began
        kind = call.status if call.status in ("failed", "cancelled") else "work"
        end = horizon if running else last if ended is None else ended
        tried.append(Bar(kind=kind, began=last, ended=max(last, end), open=running))
    return tuple(_with_waits(tried))


def _with_waits(tried: list[Bar]) -> list[Bar]:
    waits = [
        Bar(kind="retry", began=one.ended, ended=following.began)
        for one, following in pairwise(tried)
        if following.began > one.ended
    ]
    return sorted([*tried, *waits], key=lambda bar: (bar.began, bar.ended))


# -- sessions -------------------------------------------------------------------------------------------------------


def works(
    sessions: Sequence[Session], counts: Sequence[tuple[int, int]], *, status: str, horizon: float
) -> tuple[Work, ...]:
    """Return the sessions in seconds; ``counts`` are what each executed and replayed."""
    found: list[Work] = []
    for number, session in enumerate(sessions):
        began = instant(session.began)
        if began is None:
            began = found[-1].ended if found else horizon
        running = session.ended is None and status == "running" and number == len(sessions) - 1
        ended = horizon if running else instant(session.ended) or instant(session.seen) or began
        executed, again = counts[number]
        found.append(
            Work(
                how=session.how,
                began=began,
                ended=max(began, ended),
                ending=session.ending,
                executed=executed,
                replayed=again,
                open=running,
            )
        )
    return tuple(found)


def gaps(found: Sequence[Work], *, status: str, horizon: float) -> tuple[Gap, ...]:
    """Return the times in which nobody worked: between sessions, and since the last where the run is not over."""
    between = [
        Gap(began=one.ended, ended=following.began, why=_WHY.get(one.ending, str(one.ending)), after=number)
        for number, (one, following) in enumerate(pairwise(found))
        if following.began > one.ended
    ]
    if found and status in ("interrupted", "sleeping") and horizon > found[-1].ended:
        last = Gap(began=found[-1].ended, ended=horizon, why=_WHY[status], after=len(found) - 1, open=True)
        between.append(last)
    return tuple(between)


def body(row: Row, found: Sequence[Work], idle: Sequence[Gap]) -> Row:
    """Return the row of the body with its bars: the sessions, and what is between."""
    bars = [Bar(kind="work", began=work.began, ended=work.ended, open=work.open) for work in found]
    kinds = {_WHY["interrupted"]: "wait", _WHY["sleeping"]: "sleep"}
    bars += [
        Bar(kind=kinds.get(gap.why, "gap"), began=gap.began, ended=gap.ended, open=gap.open) for gap in idle
    ]
    if not bars:
        return _spanning(row, 0.0)
    bars.sort(key=lambda bar: (bar.began, bar.ended))
    return replace(row, began=bars[0].began, ended=max(bar.ended for bar in bars), bars=tuple(bars))
