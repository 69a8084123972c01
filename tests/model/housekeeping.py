"""What removes batches: pruning closed runs, and deleting the thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.turn import contested
from model.world import CLOSED, STUB, Append, Record, State, Swap, at, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.turn import Step, Turn


def prune(turn: Turn) -> Iterator[Step]:
    """Raise the floor to the newest run, or to what it began from; all that is before is closed."""
    state, view = turn.state, turn.view
    if view.run is None:
        yield turn.tell(turn.process, "finds nothing to prune")
        return
    before = view.run if turn.rules.newest_stays else view.tail
    if turn.rules.previous_stays and view.previous >= 0 and view.status not in CLOSED:
        before = min(before, _run_of(state, view.previous))
    if before <= state.floor:
        yield turn.tell(turn.process, "finds nothing to prune")
        return
    keep = contested(state) if turn.rules.keeps_stubs else frozenset()
    pruned = removed(state, before, keep)
    now = turn.after(pruned, ("prune", before, keep))
    lost = read(pruned, turn.rules).run != view.run
    yield now.tell(
        turn.process, f"prunes what is before {before}", "the newest run was pruned" if lost else None
    )


def _run_of(state: State, position: int) -> int:
    """Return where the run begins that a position belongs to."""
    while not any(record.kind == "started" for record in (at(state, position) or STUB).records):
        position -= 1
    return position


def removed(state: State, before: int, keep: frozenset[int]) -> State:
    """Return the world with the floor at a position; of what is before, some positions stay occupied."""
    old = state.journal[:before]
    kept = tuple(STUB if position in keep else None for position in range(len(old)))
    gone = {batch[:2] for batch in old[state.floor :] if batch is not None and batch is not STUB}
    return state._replace(
        journal=kept + state.journal[before:], floor=max(state.floor, before), gone=state.gone | gone
    )


def take(turn: Turn) -> Iterator[Step]:
    """Begin a deletion: take the head as everybody does."""
    state, process = turn.state, turn.process
    if state.head is None and turn.view.tail == state.floor:
        yield turn.tell(process, "finds nothing to delete")
    else:
        head = process.head
        swap = Swap(turn.raised_head(process, head, 0 if head is None else head.run), head and head.version)
        yield turn.go(process, "decides to take the head", at="raise", swap=swap)


def bury(turn: Turn) -> Iterator[Step]:
    """Find the tail, for a tombstone."""
    state, view, process = turn.state, turn.view, turn.process
    last = at(state, view.tail - 1) if view.tail > state.floor else None
    if last is not None and last.records[-1].kind == "deleted":
        yield turn.go(process, f"finds a tombstone at {view.tail - 1}", at="erase", position=view.tail - 1)
    elif not turn.rules.leaves_tombstone:
        yield turn.go(process, f"finds the tail {view.tail}", at="erase", position=view.tail - 1)
    else:
        yield turn.go(
            process,
            f"finds the tail {view.tail}",
            at="entomb",
            position=view.tail,
            batch=turn.batch(process, Record("deleted")),
            number=process.number + 1,
            sent=False,
        )


def entomb(turn: Turn) -> Iterator[Step]:
    """Take the tail with the tombstone."""
    process = turn.process
    assert process.batch is not None
    for how in turn.send(Append(process.position, process.batch)):
        label = f"appends a tombstone at {process.position}{how}"
        if how.answer == "unknown":
            yield how.go(process, label, sent=True)
        elif how.answer == "ok" or how.turn.is_own(process):
            yield how.go(process, label, at="erase")
        elif how.turn.lost_sight(process):
            yield how.turn.tell(process, f"{label}: pruned, nobody knows")
        else:
            yield how.go(process, f"{label}: taken", at="bury")


def erase(turn: Turn) -> Iterator[Step]:
    """Raise the floor past the tombstone, remove the head at the version held, and then the batches before."""
    process, state, head = turn.process, turn.state, turn.state.head
    assert process.swap is not None
    grave = process.position
    keep = contested(state) if turn.rules.deletion_keeps_stubs else frozenset()
    if turn.rules.leaves_tombstone:
        keep |= {grave}
    mine = head is not None and head.version == process.swap.head.version
    erased = removed(state, grave + 1, keep & set(range(grave + 1)))
    erased = erased._replace(
        head=None if mine or not turn.rules.deletes_own_head_only else head,
        life=state.life + 1,
        carried=frozenset(),
    )
    if not turn.rules.positions_never_return:
        erased = erased._replace(journal=(), floor=0)
    effect = ("erase", grave, process.swap.head.version)
    yield turn.after(erased, effect).tell(process, f"erases what is before {grave + 1}")
