"""The world: one thread's journal and head, two processes, and what is still on its way between them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from model.rules import Rules

RUNNING, INTERRUPTED, FAILED, DONE, ABANDONED = "running", "interrupted", "failed", "done", "abandoned"
CLOSED = frozenset({DONE, ABANDONED})
RESTING = frozenset({INTERRUPTED, FAILED})
TAKES = frozenset({"started", "claimed", "resumed", "retried", "deleted"})
"""Records where ownership changes: a former owner's append may be on its way to their positions."""


class Record(NamedTuple):
    """A record: its kind, and the number of the run, question or call that it is about."""

    kind: str
    about: int = -1
    previous: int = -1


class Batch(NamedTuple):
    """Records appended together, known by session and number."""

    session: int
    number: int
    records: tuple[Record, ...]


STUB = Batch(-1, 0, ())


class Head(NamedTuple):
    """The index; ``nonce`` is the session that set it, which sets each version once."""

    version: int
    status: str
    owner: int | None
    run: int
    nonce: int


class Swap(NamedTuple):
    """A compare-and-set of the head: None stands for no head."""

    head: Head
    expected: int | None


class Append(NamedTuple):
    """A batch on its way to a position, with a swap where the backend takes both at once."""

    position: int
    batch: Batch
    swap: Swap | None = None


Message: TypeAlias = Swap | Append


class Process(NamedTuple):
    """What a process knows, and what it does next (``at``)."""

    at: str = "idle"
    session: int = -1
    command: str = ""
    head: Head | None = None
    position: int = -1
    batch: Batch | None = None
    swap: Swap | None = None
    raised: bool = False
    bound: int = -1
    number: int = 0
    unsure: bool = False
    renewed: bool = False
    sent: bool = False


IDLE = Process()


class State(NamedTuple):
    """Everything at one moment.

    What is only there to judge by: ``carried`` are the sessions whose start, answer or retry the journal has taken,
    ``gone`` the batches that were read until they were pruned or deleted, ``life`` counts deletions.
    """

    journal: tuple[Batch | None, ...]
    floor: int = 0
    head: Head | None = None
    network: frozenset[Message] = frozenset()
    processes: tuple[Process, ...] = (IDLE, IDLE)
    sessions: int = 1
    faults: int = 0
    carried: frozenset[int] = frozenset()
    gone: frozenset[tuple[int, int]] = frozenset()
    life: int = 0

    @property
    def idle(self) -> bool:
        """Whether no process does anything."""
        return all(process.at == "idle" for process in self.processes)


class View(NamedTuple):
    """What a reader makes of a journal."""

    tail: int
    run: int | None = None
    id: int = -1
    previous: int = -1
    status: str | None = None
    owner: int | None = None
    questions: int = 0
    answered: int = 0
    calls: frozenset[int] = frozenset()
    finished: int = -1
    ids: frozenset[int] = frozenset()
    rejected: frozenset[int] = frozenset()
    flaw: str | None = None


def read(state: State, rules: Rules) -> View:
    """Read a journal from its floor on, as every reader does."""
    return _fold(state.journal, state.floor, rules)


@lru_cache(maxsize=200_000)
def _fold(journal: tuple[Batch | None, ...], floor: int, rules: Rules) -> View:
    view = View(tail=floor)
    for position in range(floor, len(journal)):
        batch = journal[position]
        if batch is None:
            if rules.stops_at_gap:
                break
            continue
        for record in _readable(batch, first=position == floor):
            view = _applied(view, position, batch, record, rules)
        view = view._replace(tail=position + 1)
    return view


def _readable(batch: Batch, *, first: bool) -> tuple[Record, ...]:
    """Return a batch's records; at the floor, without what closed the run that was pruned."""
    starts = [number for number, record in enumerate(batch.records) if record.kind == "started"]
    return batch.records[starts[0] :] if first and starts else batch.records


def _applied(view: View, position: int, batch: Batch, record: Record, rules: Rules) -> View:
    flaw = _flaw(view, batch, record)
    if flaw is not None:
        if rules.rejects_illegal:
            return view._replace(rejected=view.rejected | {position})
        view = view._replace(flaw=view.flaw or flaw)
    if record.kind == "started":
        if record.about in view.ids:
            view = view._replace(flaw=view.flaw or "two runs have one id")
        return view._replace(
            run=position, id=record.about, previous=record.previous, status=RUNNING, owner=batch.session, questions=0,
            answered=0, calls=frozenset(), ids=view.ids | {record.about},
        )  # fmt: skip
    return _CHANGES[record.kind](view, position, batch, record, rules)


def _flaw(view: View, batch: Batch, record: Record) -> str | None:  # noqa: PLR0911 - a table of kinds
    """Return what is wrong with a record where it stands."""
    match record.kind:
        case "started":
            wrong = view.status not in CLOSED | {None}
            return "two runs are open" if wrong else None
        case "resumed":
            wrong = view.status != INTERRUPTED or record.about != view.questions
            return "an answer was consumed twice, or where nothing was asked" if wrong else None
        case "retried":
            return "a run was retried that had not failed" if view.status != FAILED else None
        case "claimed" | "deleted":
            return None
        case "abandoned":
            wrong = view.run is None or view.id != record.about or view.status in CLOSED
            return "a run was closed that was not open" if wrong else None
    if view.owner != batch.session:
        return "a fenced owner's record was accepted"
    if record.kind == "outcome":
        if record.about in view.calls:
            return "an outcome was recorded twice"
        return None if view.status == RUNNING or view.status in RESTING else "an outcome came after the end"
    return None if view.status == RUNNING else f"{record.kind} while {view.status}"


_CHANGES = {
    "claimed": lambda view, _p, batch, _r, _rules: view._replace(owner=batch.session),
    "deleted": lambda view, _p, _b, _r, _rules: View(tail=view.tail, rejected=view.rejected, flaw=view.flaw),
    "outcome": lambda view, _p, _b, record, _rules: view._replace(calls=view.calls | {record.about}),
    "interrupted": lambda view, _p, _b, _r, _rules: view._replace(
        status=INTERRUPTED, questions=view.questions + 1
    ),
    "resumed": lambda view, _p, batch, record, rules: view._replace(
        status=RUNNING, answered=record.about, owner=batch.session if rules.resumed_claims else view.owner
    ),
    "retried": lambda view, _p, batch, _r, _rules: view._replace(status=RUNNING, owner=batch.session),
    "finished": lambda view, position, _b, _r, _rules: view._replace(status=DONE, finished=position),
    "failed": lambda view, _p, _b, _r, _rules: view._replace(status=FAILED),
    "abandoned": lambda view, _p, _b, _r, _rules: view._replace(status=ABANDONED),
}


class Backend(NamedTuple):
    """What a backend can do. ``knows_floor``: an append below the floor is refused although its position is free."""

    name: str
    atomic: bool
    knows_floor: bool


ATOMIC = Backend("atomic", atomic=True, knows_floor=True)
SPLIT = Backend("split", atomic=False, knows_floor=False)


def land(state: State, message: Message, backend: Backend) -> tuple[State, str]:
    """Let a message arrive; return the world after it and the backend's answer."""
    if isinstance(message, Swap):
        if not _matches(state, message):
            return state, "moved"
        return state._replace(head=message.head), "ok"
    if not _is_free(state, message.position, backend):
        return state, "taken"
    if message.swap is not None:
        if not _matches(state, message.swap):
            return state, "moved"
        state = state._replace(head=message.swap.head)
    return state._replace(journal=put(state.journal, message.position, message.batch)), "ok"


def put(journal: tuple[Batch | None, ...], position: int, batch: Batch | None) -> tuple[Batch | None, ...]:
    """Return a journal with a batch at a position."""
    journal += (None,) * (position + 1 - len(journal))
    return (*journal[:position], batch, *journal[position + 1 :])


def at(state: State, position: int) -> Batch | None:
    """Return what a position holds, whether it can be read or not."""
    return state.journal[position] if position < len(state.journal) else None


def _matches(state: State, swap: Swap) -> bool:
    return (None if state.head is None else state.head.version) == swap.expected


def _is_free(state: State, position: int, backend: Backend) -> bool:
    if at(state, position) is not None or (backend.knows_floor and position < state.floor):
        return False
    return not backend.atomic or position == max(state.floor, len(state.journal))
