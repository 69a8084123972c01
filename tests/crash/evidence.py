"""What is on record after a kill: journals as a driver reads them, and a ledger that no driver wrote."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crash.rig import THREAD
from milepost._fold import ThreadState
from milepost.checkpoint import (
    Attempted,
    Batch,
    Begun,
    Cancelled,
    Capability,
    Failed,
    Finished,
    Head,
    Interrupted,
    Outcome,
    Retried,
    Started,
)

if TYPE_CHECKING:
    from pathlib import Path

    from crash.places import Place
    from milepost.checkpoint import Checkpointer

ONCE = ("pay_once(", "pay_once_soon(")
"""How the ledger names what may be executed at most once, whatever is killed."""

_WAITING = (Begun, Cancelled, Failed, Finished, Interrupted)
"""What is written, in every mode, after all that was before it."""

_WRITING = (*_WAITING, Attempted, Outcome)
"""What mode ``exit`` writes together with all that was before it."""

Call = tuple[str, str, str]
"""Thread, run and path: what names a call for ever."""


@dataclass(slots=True)
class Evidence:
    """A place's journals and ledger at one moment. ``findings`` tells what they alone have wrong."""

    batches: dict[str, list[Batch]] = field(default_factory=dict)
    heads: dict[str, Head] = field(default_factory=dict)
    atomic: bool = False
    standing: dict[Call, str] = field(default_factory=dict)
    ever: set[Call] = field(default_factory=set)
    voids: Counter[Call] = field(default_factory=Counter)
    attempts: Counter[Call] = field(default_factory=Counter)
    begun: Counter[Call] = field(default_factory=Counter)
    causes: dict[Call, tuple[str, ...]] = field(default_factory=dict)
    ledger: list[tuple[str, Call, str, int]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def collect(place: Place, *, lines: int | None = None, tail: int | None = None) -> Evidence:
    """Read what is in a place.

    With ``lines`` and ``tail``: what was there when the ledger had so many lines and the main thread so many batches.
    """
    found = Evidence(ledger=_ledger(place.folder), findings=place.complaints())
    with place.look() as driver:
        _read(found, driver)
    if tail is not None:
        found.ledger = found.ledger[:lines]
        found.batches[THREAD] = found.batches.get(THREAD, [])[:tail]
    for thread in found.batches:
        _scan(found, thread)
        _fold(found, thread)
    _hold_to_promises(found)
    return found


def _ledger(folder: Path) -> list[tuple[str, Call, str, int]]:
    lines = (folder / "ledger").read_text().splitlines() if (folder / "ledger").exists() else []
    parsed = [json.loads(line) for line in lines]
    return [(event, (thread, run, path), what, pid) for event, thread, run, path, what, pid in parsed]


def _read(found: Evidence, driver: Checkpointer) -> None:
    found.atomic = Capability.ATOMIC_HEAD in driver.capabilities
    promised: Counter[str] = Counter()
    for event, (thread, _, position), _, _ in found.ledger:
        promised[thread] = max(promised[thread], int(position) + 1 if event == "acknowledged" else 0)
    for thread, length in sorted(promised.items()):
        head = driver.load_head(thread)
        # What must be there is asked for by its number, so that a driver that reads ahead need not guess.
        batches = list(driver.read(thread, 0, length))
        if len(batches) == length:
            batches += driver.read(thread, length)
        if head is not None:
            found.heads[thread] = head
        if batches:
            found.batches[thread] = [batch for _, batch in batches]
        if batches and head is None:
            found.findings.append(f"thread {thread} has a journal and no head")
        if [position for position, _ in batches] != list(range(len(batches))):
            found.findings.append(f"thread {thread} has positions {[position for position, _ in batches]}")


def _scan(found: Evidence, thread: str) -> None:
    """Check by hand what the journal promises: one outcome for each call, unless it was voided."""
    run = "?"
    for record in (record for batch in found.batches[thread] for record in batch.records):
        if isinstance(record, Started):
            run = record.run
        elif isinstance(record, Outcome):
            call = (thread, run, record.call)
            if call in found.standing:
                found.findings.append(f"{call} has two outcomes")
            found.standing[call] = "error" if record.result is None else "result"
            found.causes[call] = record.caused_by
            found.ever.add(call)
        elif isinstance(record, Begun):
            found.begun[thread, run, record.call] += 1
        elif isinstance(record, Attempted):
            found.attempts[thread, run, record.call] += 1
            for path in record.caused_by:
                _void_within(found, (thread, run, path))
        elif isinstance(record, Retried):
            for path in record.voids:
                call = (thread, run, path)
                if found.standing.pop(call, None) != "error":
                    found.findings.append(f"{call} was voided and has no error on record")
                found.voids[call] += 1


def _void_within(found: Evidence, call: Call) -> None:
    """Take note that a call is tried again because the attempt around it failed by it; and those it failed by."""
    if found.standing.pop(call, None) != "error":
        found.findings.append(f"{call} was voided by an attempt and has no error on record")
    found.voids[call] += 1
    for path in found.causes.get(call, ()):
        if (*call[:2], path) in found.standing:
            _void_within(found, (*call[:2], path))


def _fold(found: Evidence, thread: str) -> None:
    state = ThreadState(thread=thread)
    for position, batch in enumerate(found.batches[thread]):
        state.apply(position, batch)
    found.findings += [f"thread {thread}: the fold rejects {rejected}" for rejected in state.rejected]


def _hold_to_promises(found: Evidence) -> None:
    """Check that every append that a driver acknowledged is on record, at its position; a gap hides those after it."""
    for event, (thread, _, position), batch, _ in found.ledger:
        if event != "acknowledged":
            continue
        there = found.batches.get(thread, [])[int(position) :][:1]
        if not there:
            found.findings.append(f"thread {thread}: position {position} is missing, and was acknowledged")
        elif there[0].id != batch:
            found.findings.append(
                f"thread {thread}: position {position} holds another batch than acknowledged"
            )


# -- what may not have happened --------------------------------------------------------------------------------------


def at_kill(snapshot: Evidence, durability: str = "sync") -> list[str]:
    """Return what is wrong with a place as a killed process left it, whose runs asked for this durability."""
    unkept = _wrongly_lost(snapshot, durability)
    starts = Counter(call for event, call, _, _ in snapshot.ledger if event == "start")
    once = {call for _, call, what, _ in snapshot.ledger if what.startswith(ONCE)}
    return [
        *snapshot.findings,
        *(f"{call} had resolved and is not on record" for call in sorted(unkept)),
        *(
            f"{call} ran {starts[call]} times and has {times} starts on record"
            for call, times in snapshot.begun.items()
            if starts[call] > times
        ),
        *(f"{call} ran {starts[call]} times" for call in sorted(once) if starts[call] > 1),
    ]


def _wrongly_lost(snapshot: Evidence, durability: str) -> set[Call]:
    """Return the calls that had resolved, are not on record, and should be."""
    if durability in {"sync", "over"}:
        lost = {call for event, call, _, _ in snapshot.ledger if event == "seen"} - snapshot.ever
        return lost if durability == "sync" else {call for call in lost if not _is_settled(snapshot, call)}
    wrong: set[Call] = set()
    for process in {pid for *_, pid in snapshot.ledger}:
        seen, queued = _seen_by(snapshot, process, _WAITING if durability == "async" else _WRITING)
        wrong |= {call for call in seen if call not in snapshot.ever}
        queued = [
            call for call in queued if not snapshot.voids[call]
        ]  # of those, one may be there and one not
        kept = [call in snapshot.ever for call in queued]
        if durability == "exit" and any(kept) and not all(kept):
            wrong |= set(queued) - snapshot.ever  # all of them were to be written together
        elif sorted(kept, reverse=True) != kept:
            wrong |= set(queued) - snapshot.ever  # a later one was written, and an earlier one was not
    return wrong


def _seen_by(snapshot: Evidence, process: int, waiting: tuple[type, ...]) -> tuple[list[Call], list[Call]]:
    """Return what a process saw resolve before its last append that waits for all before it, and after that."""
    seen: list[Call] = []
    queued: list[Call] = []
    ended: set[Call] = set()  # a call that only resolves was on record before, or came from a cache
    for event, call, _, pid in snapshot.ledger:
        if pid == process and event in {"end", "fail"}:
            ended.add(call)
        elif pid == process and event == "seen" and call in ended:
            ended.discard(call)
            queued.append(call)
        elif pid == process and event == "acknowledged":
            batches = snapshot.batches.get(call[0], [])[int(call[2]) :][:1]
            if any(isinstance(record, waiting) for batch in batches for record in batch.records):
                seen, queued = seen + queued, []
    return seen, queued


def _is_settled(snapshot: Evidence, call: Call) -> bool:
    """Tell whether a call around this one is on record: its next execution found its result in a cache."""
    thread, run, path = call
    while path := path.rpartition(".")[0]:
        if (thread, run, path) in snapshot.ever:
            return True
    return False


def lost(snapshot: Evidence) -> int:
    """Return how many calls had resolved that are not on record."""
    return len({call for event, call, _, _ in snapshot.ledger if event == "seen"} - snapshot.ever)


def between(snapshot: Evidence, last: Evidence) -> list[str]:
    """Return what ran after a kill although its outcome was on record when the process died, and what was lost."""
    voided = last.voids - snapshot.voids
    again = [
        f"{call} ran again: its {snapshot.standing[call]} was on record at the kill"
        for event, call, _, _ in last.ledger[len(snapshot.ledger) :]
        if event == "start" and call in snapshot.standing and not voided[call]
    ]
    lost = [
        f"thread {thread}: what was on record at the kill has changed"
        for thread, batches in snapshot.batches.items()
        if last.batches.get(thread, [])[: len(batches)] != batches
    ]
    return again + lost


def at_end(last: Evidence, *, kills: int, atomic: bool, durability: str = "sync") -> list[str]:
    """Return what is wrong with a place whose case was seen through; ``atomic`` if heads never lag behind.

    Where outcomes wait to be written a kill may cost all attempts at a call, else the last one.
    """
    ended = Counter(call for event, call, _, _ in last.ledger if event in {"end", "fail"})
    often = [
        f"{call} ended {times} times after {kills} kills"
        for call, times in ended.items()
        if times > _most_ends(1 + last.voids[call] + last.attempts[call], kills, durability)
    ]
    lagging = [
        f"the head of {thread} says {head.status}, owned by {head.owner}"
        for thread, head in last.heads.items()
        if atomic and (head.status != "done" or head.owner is not None)
    ]
    return at_kill(last, "sync" if durability == "sync" else "over") + often + lagging


def _most_ends(on_record: int, kills: int, durability: str) -> int:
    return on_record + kills * (1 if durability == "sync" else on_record)


def unsure(last: Evidence) -> set[tuple[str, str]]:
    """Return the calls, without their runs, that may have been cut off for good: their starts are on record."""
    return {(call[0], call[2]) for call in last.begun}


def effects(last: Evidence) -> set[tuple[str, str, str, str]]:
    """Return which side effects there were, but for how often and in which run: kills move a run's id."""
    return {
        (event, call[0], call[2], what) for event, call, what, _ in last.ledger if event in {"end", "fail"}
    }


def pragmas(folder: Path) -> list[list[object]]:
    """Return journal mode and synchronous as they were in force on each connection, as the processes read them."""
    file = folder / "pragmas"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
