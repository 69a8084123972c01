"""One process's turn: sending with every answer there can be, and judging what the process is told."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from model.world import (
    ABANDONED,
    IDLE,
    RUNNING,
    STUB,
    Append,
    Backend,
    Batch,
    Head,
    Message,
    Process,
    Record,
    State,
    Swap,
    View,
    at,
    land,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.rules import Rules

_CARRY = frozenset({"started", "resumed", "retried"})
_LETTERS = {"started": "S", "claimed": "C", "outcome": "O", "interrupted": "I", "resumed": "R", "retried": "T",
            "finished": "F", "failed": "X", "abandoned": "A", "deleted": "D"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Where to look: a world to begin with, the commands that processes give, and how much of each there may be.

    ``sessions`` counts commands, ``faults`` lost answers and sendings that are held back, ``calls`` the outcomes of a
    run, ``questions`` its pauses. ``alive``: the owner of what there is at the beginning works on.
    """

    name: str
    begin: tuple[str, ...] = ()
    commands: tuple[str, ...]
    sessions: int
    faults: int = 1
    calls: int = 0
    questions: int = 1
    ends: tuple[str, ...] = ("interrupted", "finished")
    renewals: bool = False
    alive: bool = False
    releases: bool = False
    late: bool = False

    @property
    def removes(self) -> bool:
        """Whether positions can become free again."""
        return "prune" in self.commands or "delete" in self.commands


class Step(NamedTuple):
    """What can happen next: in words, the world after it, and what was wrong. ``effects`` is for real drivers."""

    label: str
    state: State
    violation: str | None = None
    effects: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Turn:
    """A process (``process``, at ``index``) acting in a world. ``effects`` is what its step did to the backend."""

    state: State
    rules: Rules
    backend: Backend
    scope: Scope
    index: int = 0
    effects: tuple[Any, ...] = ()
    violation: str | None = None

    @property
    def process(self) -> Process:
        """The process whose turn it is."""
        return self.state.processes[self.index]

    @cached_property
    def view(self) -> View:
        """What it finds in the journal when it reads to the tail."""
        return read(self.state, self.rules)

    # -- going on ------------------------------------------------------------------------------------------------

    def go(self, process: Process, label: str, violation: str | None = None, **changes: Any) -> Step:
        """Return the step after which the process is so."""
        return self._step(label, violation, process._replace(**changes))

    def tell(self, process: Process, label: str, violation: str | None = None) -> Step:
        """Return the step that ends the process's session: its caller is told."""
        return self._step(label, violation, IDLE, process)

    def _step(self, label: str, violation: str | None, after: Process, by: Process | None = None) -> Step:
        processes = list(self.state.processes)
        processes[self.index] = after
        state = self.state._replace(processes=tuple(sorted(processes, key=_session)))
        session = (by or after).session
        return Step(f"session {session} {label}", state, self.violation or violation, self.effects)

    def after(self, state: State, effect: tuple[Any, ...]) -> Turn:
        """Return the turn in the world that a step of housekeeping has made."""
        return self._now(state, (*self.effects, effect) if effect else self.effects, None)

    def send(self, message: Message) -> Iterator[How]:
        """Send a message: it arrives; it arrives and the answer is lost; it is on its way for as long as it likes."""
        state, answer, violation = deliver(self, message)
        effects = (*self.effects, ("send", message, answer))
        yield How(self._now(state, effects, violation), answer, "")
        if answer == "ok" and self.state.faults:
            lost = state._replace(faults=state.faults - 1)
            yield How(self._now(lost, effects, violation), "unknown", ", the answer is lost")
            network = self.state.network | {message}
            held = self.state._replace(faults=self.state.faults - 1, network=network)
            yield How(self._now(held, self.effects, None), "unknown", ", which is held back")

    def _now(self, state: State, effects: tuple[Any, ...], violation: str | None) -> Turn:
        return Turn(
            state, self.rules, self.backend, self.scope, self.index, effects, self.violation or violation
        )

    # -- making --------------------------------------------------------------------------------------------------

    def batch(self, process: Process, *records: Record) -> Batch:
        """Make the session's next batch."""
        return Batch(process.session, process.number, records)

    def raised_head(self, process: Process, head: Head | None, run: int) -> Head:
        """Make the head of a session that takes the thread."""
        first = 1 + (100 * self.state.life if self.rules.versions_never_return else 0)
        version = first if head is None else head.version + 1
        return Head(version, RUNNING, process.session, run, process.session)

    def lowered(self, process: Process, head: Head, view: View) -> Swap:
        """Make the swap that shows what the journal says, nobody's."""
        status = view.status or ABANDONED
        return Swap(Head(head.version + 1, status, None, view.run or 0, process.session), head.version)

    def next_swap(self, process: Process, **changes: Any) -> Swap:
        """Make the next change of the head that the process holds."""
        head = process.head
        assert head is not None
        return Swap(head._replace(version=head.version + 1, nonce=process.session, **changes), head.version)

    def looked(self, process: Process) -> Process:
        """Read the head after a renewal that was not answered; one that is somebody else's changes nothing here."""
        head = self.state.head
        if head is not None and head.owner == process.session:
            return process._replace(head=head, unsure=False)
        return process._replace(unsure=False)

    def view_as_known(self) -> View:
        """Return the journal as an owner knows it: what stands before the position where it appends next."""
        known = self.state._replace(journal=self.state.journal[: self.process.position])
        return read(known, self.rules)

    def show(self, batch: Batch) -> str:
        """Return a batch in letters."""
        return show(batch)

    def lost_sight(self, process: Process) -> bool:
        """Whether what was sent before can no longer be seen, so that nobody knows whether it was applied."""
        below = process.position < self.state.floor
        return below and process.sent and self.rules.pruned_is_unknown

    # -- judging -------------------------------------------------------------------------------------------------

    def is_own(self, process: Process) -> bool:
        """Whether the batch at the position is the process's own, sent before."""
        found, batch = at(self.state, process.position), process.batch
        if found is None or batch is None or process.position < self.state.floor:
            return False
        return self.rules.knows_own_batch and found[:2] == batch[:2]

    def not_kept(self, position: int, batch: Batch | None) -> str | None:
        """Return what is wrong with telling that a batch is durable."""
        assert batch is not None
        if batch[:2] in self.state.gone:
            return None
        if position < self.state.floor:
            return "an append below the floor was acknowledged"
        view = read(self.state, self.rules)
        kept = at(self.state, position) == batch and position < view.tail and position not in view.rejected
        return None if kept else "what was acknowledged does not count in the journal"

    def was_fenced(self, process: Process) -> bool:
        """Whether somebody has taken the thread, or its head, from the process."""
        head = self.state.head
        if head is None or head.owner not in (process.session, None) or process.position < self.state.floor:
            return True
        after = self.state.journal[process.position :]
        return any(batch is not None and batch.session != process.session for batch in after)


class How:
    """One way in which sending went: the answer, and the world and the turn after it."""

    def __init__(self, turn: Turn, answer: str, words: str) -> None:
        self.turn = turn
        self.answer = answer
        self._words = words
        self.go = turn.go

    @property
    def state(self) -> State:
        """The world after it."""
        return self.turn.state

    def __str__(self) -> str:
        return self._words


def deliver(turn: Turn, message: Message) -> tuple[State, str, str | None]:
    """Let a message arrive, and note which commands the journal has taken."""
    state, answer = land(turn.state, message, turn.backend)
    if answer != "ok" or not isinstance(message, Append):
        return state, answer, None
    batch = message.batch
    if not any(record.kind in _CARRY for record in batch.records) or message.position < state.floor:
        return state, answer, None
    view = read(state, turn.rules)
    if message.position in view.rejected or message.position >= view.tail:
        return state, answer, None
    violation = "one command was carried out twice" if batch.session in state.carried else None
    return state._replace(carried=state.carried | {batch.session}), answer, violation


def contested(state: State) -> frozenset[int]:
    """Return the positions where a former owner's append may be on its way, as the code finds them, and all stubs.

    They are those where a session wrote after another that had not finished, and the first one after what was pruned.
    """
    found = {position for position, batch in enumerate(state.journal) if batch is STUB}
    before: Batch | None = None
    for position in range(state.floor, len(state.journal)):
        batch = state.journal[position]
        if batch is None:
            break
        if before is None:
            follows = position > 0
        else:
            final = any(record.kind == "finished" for record in before.records)
            follows = before.session != batch.session and not final
        if follows:
            found.add(position)
        before = batch
    return frozenset(found)


def show(batch: Batch) -> str:
    """Return a batch in letters: S started, C claimed, O outcome, and so on, with its session."""
    if not batch.records:
        return "stub"
    return "".join(_LETTERS[record.kind] for record in batch.records) + f"({batch.session})"


def _session(process: Process) -> int:
    return process.session
