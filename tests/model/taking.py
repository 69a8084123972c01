"""Taking the thread: look, decide, raise the head, append; and lower a head that was raised for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.world import (
    CLOSED,
    FAILED,
    INTERRUPTED,
    RUNNING,
    Append,
    Process,
    Record,
    Swap,
    View,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.turn import Step, Turn


def look(turn: Turn, process: Process, label: str) -> Step:
    """Read the head, and go on to read the journal."""
    head = turn.state.head
    raised = process.raised and process.swap is not None and head == process.swap.head
    if turn.rules.knows_own_head and head is not None and head.owner == process.session:
        raised = True  # also where somebody has left word in it since
    if not raised and head is not None and head.owner == process.session:
        return turn.tell(process, f"{label}: told busy", "told that the thread is busy, by its own head")
    return turn.go(
        process, f"{label}: head read", at="decide", head=head, raised=raised, batch=None, sent=False
    )


def decide(turn: Turn) -> Iterator[Step]:
    """Read the journal to its tail and decide from it what the command becomes."""
    process, view = turn.process, turn.view
    if process.command == "mend":
        yield _mend(turn, view)
        return
    bound = view.questions if process.bound < 0 and process.command == "resume" else process.bound
    if process.command == "start" and bound < 0 and not turn.rules.id_from_position:
        bound = view.tail
    process = process._replace(bound=bound)
    records = _records(turn, process, view)
    if isinstance(records, str):
        refused = process.session in turn.state.carried and records == "refused"
        violation = "told that a command was refused, which was carried out" if refused else None
        if process.raised:
            yield turn.go(process, f"{records}; to lower its head", violation, at="reclaim")
        else:
            yield turn.tell(process, records, violation)
        return
    starts = any(record.kind == "started" for record in records)
    batch = turn.batch(process, *records)
    run = view.tail if starts or view.run is None else view.run
    swap = Swap(
        turn.raised_head(process, process.head, run), None if process.head is None else process.head.version
    )
    first = "wake" if turn.backend.atomic or not turn.rules.wakes_head_first else "raise"
    yield turn.go(
        process, f"decides {turn.show(batch)} at {view.tail}", at=first, batch=batch, swap=swap,
        position=view.tail, number=process.number + 1, raised=False, sent=False,
    )  # fmt: skip


def _records(turn: Turn, process: Process, view: View) -> tuple[Record, ...] | str:  # noqa: PLR0911 - a table of commands
    if process.command == "start":
        return _start(turn, process, view)
    if process.command == "resume":
        if process.session in turn.state.carried and not turn.rules.resumed_claims and process.raised:
            return (Record("claimed"),)
        if view.status != INTERRUPTED or view.questions != process.bound:
            return "refused"
        return (Record("resumed", process.bound),)
    if not turn.rules.journal_decides and process.head is not None and process.head.status == RUNNING:
        return (Record("claimed"),)
    if view.status == FAILED:
        return (Record("retried"),)
    return (Record("claimed"),) if view.status == RUNNING else "settled"


def _start(turn: Turn, process: Process, view: View) -> tuple[Record, ...]:
    before: tuple[Record, ...] = ()
    if view.run is not None and view.status not in CLOSED:
        before = (Record("abandoned", view.id),)
        if view.status == RUNNING:
            before = (Record("claimed"), *before)
        if not turn.rules.closes_predecessor:
            return before
    id_ = view.tail if turn.rules.id_from_position else process.bound
    return (*before, Record("started", id_, view.finished))


def raise_head(turn: Turn) -> Iterator[Step]:
    """Set the head to running; from here on it says so, whatever becomes of the append."""
    process = turn.process
    assert process.swap is not None
    for how in turn.send(process.swap):
        label = f"raises the head to {process.swap.head.version}{how}"
        if how.answer == "unknown":
            yield how.go(process, label, sent=True)
        elif how.answer == "ok" or (turn.rules.knows_own_head and how.state.head == process.swap.head):
            yield from _raised(turn, how.turn, label)
        elif process.command == "mend":
            yield how.turn.tell(process, f"{label}: moved")
        elif process.command == "delete":
            yield how.go(process, f"{label}: moved", at="delete", head=how.state.head, sent=False)
        else:
            yield look(how.turn, process, f"{label}: moved")


def _raised(turn: Turn, now: Turn, label: str) -> Iterator[Step]:
    process = turn.process._replace(raised=True, sent=False)
    assert process.swap is not None
    if process.command in ("mend", "delete"):
        yield now.go(process, label, at="reclaim" if process.command == "mend" else "bury")
        return
    if not turn.rules.wakes_head_first:
        yield now.go(process, label, at="work", head=process.swap.head)
        return
    told = not turn.rules.started_is_existence and process.command == "start"
    violation = now.not_kept(process.position, process.batch) if told else None
    yield now.go(process, label, violation, at="wake")


def wake(turn: Turn) -> Iterator[Step]:
    """Append what takes the thread at the tail that was read; only then execute."""
    process = turn.process
    assert process.batch is not None and process.swap is not None  # noqa: PT018
    swap = process.swap if turn.backend.atomic else None
    for how in turn.send(Append(process.position, process.batch, swap)):
        label = f"appends {turn.show(process.batch)} at {process.position}{how}"
        if how.answer == "unknown" and turn.rules.unknown_is_unknown:
            yield how.go(process, label, sent=True)
        elif how.answer == "ok" or how.turn.is_own(process):
            yield _woken(how.turn, process, label)
        elif how.turn.lost_sight(process):
            yield how.turn.tell(process, f"{label}: pruned, nobody knows")
        elif not turn.rules.decides_again:
            yield how.go(process, f"{label}: taken, tries the next", position=process.position + 1)
        else:
            yield look(how.turn, process._replace(raised=not turn.backend.atomic), f"{label}: {how.answer}")


def verify(turn: Turn) -> Iterator[Step]:
    """Read back what took the thread: below the floor it was pruned, or has landed where it counts for nothing."""
    process = turn.process
    if process.position < turn.state.floor:
        yield turn.tell(process, f"finds {process.position} below the floor, nobody knows")
    else:
        yield _woken(turn, process, "reads its batch back", verified=True)


def _woken(turn: Turn, process: Process, label: str, *, verified: bool = False) -> Step:
    assert process.batch is not None and process.swap is not None  # noqa: PT018
    if turn.scope.removes and turn.rules.waker_reads_back and not turn.backend.atomic and not verified:
        return turn.go(process, label, at="verify", sent=False)
    violation = turn.not_kept(process.position, process.batch)
    kinds = {record.kind for record in process.batch.records}
    if not turn.rules.wakes_head_first and not turn.backend.atomic:
        return turn.go(process, label, violation, at="raise", position=process.position + 1, sent=False)
    unfinished = (process.command == "start" and "started" not in kinds) or (
        kinds == {"resumed"} and not turn.rules.resumed_claims
    )
    if unfinished:  # with a rule dropped: a second batch is to follow
        return turn.go(
            process, label, violation, at="decide", head=process.swap.head, raised=True, sent=False
        )
    return turn.go(
        process,
        label,
        violation,
        at="work",
        head=process.swap.head,
        position=process.position + 1,
        sent=False,
    )


# -- lowering a head that was raised for nothing -----------------------------------------------------------------------


def _mend(turn: Turn, view: View) -> Step:
    """Set about a head that says running: take it first; with rule 4 dropped, lower it from what was read."""
    process, head = turn.process, turn.process.head
    if head is None or head.status != RUNNING:
        return turn.tell(process, "nothing to mend")
    if turn.rules.claims_before_lowering:
        swap = Swap(turn.raised_head(process, head, head.run), head.version)
        return turn.go(process, "decides to take the head", at="raise", swap=swap)
    if view.status == RUNNING:
        return turn.tell(process, "nothing to mend")
    return turn.go(process, "decides to lower the head", at="lower", swap=turn.lowered(process, head, view))


def reclaim(turn: Turn) -> Iterator[Step]:
    """Read the journal to its tail, to claim it there."""
    process, view = turn.process, turn.view
    assert process.swap is not None
    swap = turn.lowered(process, process.swap.head, view)
    if not turn.rules.claims_before_lowering:
        yield turn.go(process, "decides to lower the head", at="lower", swap=swap)
        return
    yield turn.go(
        process, f"decides to claim {view.tail}", at="claim", batch=turn.batch(process, Record("claimed")),
        number=process.number + 1, position=view.tail, swap=swap, head=process.swap.head, sent=False,
    )  # fmt: skip


def claim(turn: Turn) -> Iterator[Step]:
    """Take the tail with a claim, so that no append still in flight can land there."""
    process = turn.process
    assert process.batch is not None
    for how in turn.send(Append(process.position, process.batch)):
        label = f"claims {process.position}{how}"
        if how.answer == "unknown":
            yield how.go(process, label, sent=True)
        elif how.answer == "ok" or how.turn.is_own(process):
            yield how.go(process, label, at="lower")
        elif how.turn.lost_sight(process):
            yield how.turn.tell(process, f"{label}: pruned, nobody knows")
        else:
            swap = Swap(process.head, process.head.version) if process.head is not None else None
            yield how.go(process, f"{label}: taken", at="reclaim", swap=swap)


def lower(turn: Turn) -> Iterator[Step]:
    """Lower the head at the version held; where somebody moved it and did not take it, once more."""
    process = turn.process
    assert process.swap is not None
    for how in turn.send(process.swap):
        label = f"lowers the head to {process.swap.head.status}{how}"
        head = how.state.head
        if how.answer == "moved" and head is not None and head.owner == process.session:
            again = process.swap.head._replace(version=head.version + 1)
            yield how.go(process, f"{label}: moved", swap=Swap(again, head.version))
            continue
        after = "rest" if process.batch is not None and process.command == "early" else "idle"
        if after == "rest":
            yield how.go(process, label, at="rest")
        elif process.command == "late":
            yield how.go(process, label, at="late")
        else:
            yield how.turn.tell(process, label)
