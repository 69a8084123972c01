"""Holding the thread: record outcomes, rest, renew the lease, hand it back; and what it does about faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.world import (
    DONE,
    FAILED,
    INTERRUPTED,
    Append,
    Process,
    Record,
    Swap,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.turn import Step, Turn

LATE = 99
"""The call that still runs when its run rests, and whose outcome comes after."""


def work(turn: Turn) -> Iterator[Step]:
    """Execute: record an outcome, rest, renew the lease, or hand the thread back."""
    process, scope = turn.process, turn.scope
    view = turn.view_as_known()
    if len(view.calls - {LATE}) < scope.calls:
        yield from _send_outcome(turn, process, len(view.calls - {LATE}))
    for kind in ("interrupted", "finished", "failed"):
        if kind in scope.ends and not (kind == "interrupted" and view.questions >= scope.questions):
            yield from rest_with(turn, process, kind)
    if scope.renewals and not process.renewed:
        yield from _send_renewal(turn, process)
    if scope.releases:
        yield from _send_release(turn, process)


def _send_outcome(turn: Turn, process: Process, call: int) -> Iterator[Step]:
    batch = turn.batch(process, Record("outcome", call))
    yield from _record(turn, process._replace(batch=batch, number=process.number + 1, sent=False))


def record(turn: Turn) -> Iterator[Step]:
    """Send an outcome again whose append was not answered; nothing else is sent meanwhile."""
    process = turn.process
    assert process.batch is not None
    if turn.rules.frozen_bytes:
        yield from _record(turn, process)
    else:
        more = Record("outcome", process.batch.records[-1].about + 1)
        yield from _record(
            turn, process._replace(batch=process.batch._replace(records=(*process.batch.records, more)))
        )
    if not turn.rules.one_in_flight:
        ahead = process._replace(position=process.position + 1)
        yield from _send_outcome(turn, ahead, process.batch.records[-1].about + 1)
    if turn.scope.releases:
        yield from _send_release(turn, process)


def _record(turn: Turn, process: Process) -> Iterator[Step]:
    assert process.batch is not None
    for how in turn.send(Append(process.position, process.batch)):
        label = f"appends {turn.show(process.batch)} at {process.position}{how}"
        if how.answer == "unknown" and turn.rules.unknown_is_unknown:
            yield how.go(process, label, at="record", sent=True)
        elif how.answer == "ok" or how.turn.is_own(process):
            violation = how.turn.not_kept(process.position, process.batch)
            after = "idle" if process.command == "late" else "work"
            yield how.go(
                process, label, violation, at=after, position=process.position + 1, batch=None, sent=False
            )
        elif how.turn.lost_sight(process):
            yield how.turn.tell(process, f"{label}: pruned, nobody knows")
        else:
            yield _fenced(how.turn, process, label)


def _fenced(turn: Turn, process: Process, label: str) -> Step:
    honest = turn.was_fenced(process)
    violation = None if honest else "told that it was taken over, though nobody had"
    return turn.tell(process, f"{label}: fenced", violation)


def rest_with(turn: Turn, process: Process, kind: str) -> Iterator[Step]:
    """Append the record that ends or pauses the run, then lower the head."""
    status = {"interrupted": INTERRUPTED, "finished": DONE, "failed": FAILED}[kind]
    if process.unsure:
        process = turn.looked(process)
    assert process.head is not None
    batch = turn.batch(process, Record(kind))
    swap = turn.next_swap(process, status=status, owner=None)
    process = process._replace(batch=batch, number=process.number + 1, swap=swap, sent=False)
    if not turn.rules.rests_journal_first and not turn.backend.atomic:
        yield turn.go(process, f"rests ({kind}), head first", at="lower", command="early")
        return
    yield from _rest(turn, process, swap if turn.backend.atomic else None)


def rest(turn: Turn) -> Iterator[Step]:
    """Send the batch that ends or pauses the run again."""
    yield from _rest(turn, turn.process, turn.process.swap if turn.backend.atomic else None)


def _rest(turn: Turn, process: Process, swap: Swap | None) -> Iterator[Step]:
    assert process.batch is not None
    for how in turn.send(Append(process.position, process.batch, swap)):
        label = f"appends {turn.show(process.batch)} at {process.position}{how}"
        if how.answer == "unknown" and turn.rules.unknown_is_unknown:
            yield how.go(process, label, at="rest", sent=True)
        elif how.answer == "moved" and not how.turn.is_own(process):
            yield from _rest(turn, process, None)
        elif how.answer == "ok" or how.turn.is_own(process):
            yield _rested(how.turn, process, label, moved=swap is None)
        elif how.turn.lost_sight(process):
            yield how.turn.tell(process, f"{label}: pruned, nobody knows")
        else:
            yield _fenced(how.turn, process, label)


def _rested(turn: Turn, process: Process, label: str, *, moved: bool = False) -> Step:
    violation = turn.not_kept(process.position, process.batch)
    paused = process.batch is not None and process.batch.records[-1].kind != "finished"
    command = "late" if turn.scope.late and paused else "rested"
    apart = not turn.backend.atomic or (moved and "ask" in turn.scope.commands)
    after = "lower" if apart and process.command != "early" else command
    if after == "rested":
        return turn.tell(process, label, violation)
    return turn.go(
        process,
        label,
        violation,
        at=after,
        command=command,
        position=process.position + 1,
        batch=None,
        sent=False,
    )


def late(turn: Turn) -> Iterator[Step]:
    """Record what a call came to that still ran when its run paused; or nothing, and be done."""
    yield from _send_outcome(turn, turn.process, LATE)
    yield turn.tell(turn.process, "has nothing more to record")


def _send_renewal(turn: Turn, process: Process) -> Iterator[Step]:
    if process.unsure:
        process = turn.looked(process)
    swap = turn.next_swap(process)
    process = process._replace(renewed=True)
    for how in turn.send(swap):
        label = f"renews its lease to {swap.head.version}{how}"
        if how.answer == "ok" or not turn.rules.renewal_looks:
            yield how.go(process, label, head=swap.head)
        elif how.answer == "unknown":
            yield how.go(process, label, unsure=True)
        elif (head := how.state.head) is not None and head.owner == process.session:
            yield how.go(process, label, head=head)
        else:
            yield _fenced(how.turn, process, f"{label}: moved")


def ask(turn: Turn) -> Iterator[Step]:
    """Leave word for the owner in the head: a change that does not take the thread."""
    process, head = turn.process, turn.process.head
    if head is None or head.owner is None:
        yield turn.tell(process, "finds nobody to ask")
        return
    swap = Swap(head._replace(version=head.version + 1, nonce=process.session), head.version)
    for how in turn.send(swap):
        yield how.turn.tell(process, f"asks session {head.owner} to stop{how}")


def _send_release(turn: Turn, process: Process) -> Iterator[Step]:
    if process.unsure:
        process = turn.looked(process)
    for how in turn.send(turn.next_swap(process, owner=None)):
        yield how.turn.tell(process, f"hands the thread back{how}")
