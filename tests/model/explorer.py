"""Breadth-first search through every state within a scope; what is found wrong comes with its shortest story."""

from __future__ import annotations

import gc
from collections import deque
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from model import holding, housekeeping, taking
from model.invariants import violated
from model.turn import Scope, Step, Turn, deliver, show
from model.world import (
    DONE,
    FAILED,
    IDLE,
    INTERRUPTED,
    RUNNING,
    Append,
    Backend,
    Batch,
    Head,
    Message,
    Process,
    Record,
    State,
    at,
    read,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.rules import Rules

STEPS = {
    "decide": taking.decide,
    "raise": taking.raise_head,
    "wake": taking.wake,
    "verify": taking.verify,
    "work": holding.work,
    "record": holding.record,
    "rest": holding.rest,
    "late": holding.late,
    "ask": holding.ask,
    "reclaim": taking.reclaim,
    "claim": taking.claim,
    "lower": taking.lower,
    "prune": housekeeping.prune,
    "bury": housekeeping.bury,
    "entomb": housekeeping.entomb,
    "erase": housekeeping.erase,
    "delete": housekeeping.take,
}
_UNTOUCHED = frozenset({"idle", "prune", "delete", "late", "ask"})
"""Where a crash leaves the same as if the process had never begun, or were done."""

_STATUS = {"interrupted": INTERRUPTED, "failed": FAILED, "finished": DONE}


@dataclass(frozen=True)
class Model:
    """Rules, a backend and a scope: which steps there are."""

    rules: Rules
    backend: Backend
    scope: Scope

    def begin(self) -> State:
        """Return the world to begin with. What comes from a claim on was written by another session, which is dead."""
        kinds, faults = self.scope.begin, self.scope.faults
        if not kinds:
            return State((), faults=faults)
        change = kinds.index("claimed") if "claimed" in kinds else len(kinds)
        last = int(change < len(kinds))
        journal = tuple(Batch(int(p >= change), p, (Record(kind, p),)) for p, kind in enumerate(kinds))
        status = _STATUS.get(kinds[-1], RUNNING)
        first = Head(1, RUNNING, 0, 0, 0)
        head = Head(1 + last, status, last if status == RUNNING else None, 0, last)
        processes = (IDLE, IDLE)
        if self.scope.alive:
            processes = (IDLE, Process("work", 0, "continue", first, change, number=change))
        return State(journal, head=head, processes=processes, sessions=1 + last, faults=faults)

    def steps(self, state: State) -> Iterator[Step]:
        """Return all that can happen next."""
        for index, process in enumerate(state.processes):
            if process.at != "idle":
                yield from STEPS[process.at](self._turn(state, index))
                if process.at not in _UNTOUCHED and not (process.at == "decide" and not process.raised):
                    yield Turn(state, self.rules, self.backend, self.scope, index).tell(process, "crashes")
        if state.processes[0].at == "idle" and state.sessions < self._sessions:
            for command in self.scope.commands:
                yield self._command(state, command)
        for message in sorted(state.network, key=repr):  # a set's order differs from run to run
            yield from self._landing(state, message)

    @cached_property
    def _sessions(self) -> int:
        return self.begin().sessions + self.scope.sessions

    def _turn(self, state: State, index: int) -> Turn:
        return Turn(state, self.rules, self.backend, self.scope, index)

    def _command(self, state: State, command: str) -> Step:
        turn = self._turn(state._replace(sessions=state.sessions + 1), 0)
        process = Process(session=state.sessions, command=command)
        if command in ("prune", "delete", "ask"):
            return turn.go(process, f"is to {command}", at=command, head=state.head)
        return taking.look(turn, process, f"is to {command}")

    def _landing(self, state: State, message: Message) -> Iterator[Step]:
        after, answer, violation = deliver(self._turn(state, 0), message)
        if answer == "ok":
            after = after._replace(network=after.network - {message})
            yield Step(
                f"what was held back lands: {told(message)}", after, violation, (("send", message, answer),)
            )

    def settled(self, state: State) -> State:
        """Return a state without the messages that can never land any more; equal states become one."""
        if not state.network or self.scope.removes:
            return state
        version = 0 if state.head is None else state.head.version
        alive = frozenset(
            message
            for message in state.network
            if (
                at(state, message.position) is None
                if isinstance(message, Append)
                else (message.expected or 0) >= version
            )
        )
        return state if len(alive) == len(state.network) else state._replace(network=alive)


def told(message: Message) -> str:
    """Return a message in words."""
    if isinstance(message, Append):
        both = "" if message.swap is None else " and its head"
        return f"{show(message.batch)} at {message.position}{both}"
    head = message.head
    return f"head {head.version} {head.status} of session {head.nonce}"


@dataclass(frozen=True)
class Found:
    """The end of a search: how many states there were, and what was wrong, with the steps that led there."""

    states: int
    complete: bool
    violation: str | None = None
    trace: tuple[Step, ...] = ()

    def steps(self) -> str:
        """Return the steps alone, a line each, and what was wrong."""
        return "\n".join([*(step.label for step in self.trace), f"=> {self.violation}"])

    def story(self) -> str:
        """Return the counter-example as lines to read."""
        lines = [
            f"{number:3}  {step.label}\n{'':12}{shown(step.state)}"
            for number, step in enumerate(self.trace, 1)
        ]
        return "\n".join([*lines, f"  => {self.violation}"])


def shown(state: State) -> str:
    """Return journal and head in one line."""
    slots = ["." if batch is None else show(batch) for batch in state.journal]
    slots.insert(state.floor, "|")
    head = state.head
    index = "none" if head is None else f"{head.version} {head.status}"
    if head is not None and head.owner is not None:
        index += f", owner {head.owner}"
    return f"journal {' '.join(slots)}   head {index}"


def explore(model: Model, limit: int = 5_000_000) -> Found:
    """Visit every state within the scope; stop at the first that is wrong, which is one of the nearest."""
    collecting = gc.isenabled()
    gc.disable()  # states hold no cycles, and are kept: looking for garbage among them takes longer than the search
    try:
        return _explore(model, limit)
    finally:
        if collecting:
            gc.enable()


def _explore(model: Model, limit: int) -> Found:
    start = model.begin()
    came: dict[State, State | None] = {start: None}
    waiting = deque([start])
    while waiting and len(came) <= limit:
        state = waiting.popleft()
        for step in model.steps(state):
            after = model.settled(step.state)
            wrong = step.violation
            if wrong is None:
                if after in came:
                    continue
                wrong = violated(after, model.rules) or stuck(model, after)
            if wrong is not None:
                return Found(len(came), False, wrong, (*_trace(model, came, state), step))
            came[after] = state
            waiting.append(after)
    return Found(len(came), not waiting)


def _trace(model: Model, came: dict[State, State | None], state: State) -> list[Step]:
    """Return the steps that led to a state, told anew."""
    trace = []
    while (before := came[state]) is not None:
        told_anew = (step._replace(state=model.settled(step.state)) for step in model.steps(before))
        trace.append(next(step for step in told_anew if step.state == state))
        state = before
    return trace[::-1]


_REMEDIES = {RUNNING: "continue", FAILED: "continue", INTERRUPTED: "resume"}


def stuck(model: Model, state: State) -> str | None:
    """Return what is wrong where nobody does anything and a fresh owner cannot bring the thread to a run's end."""
    if not state.idle:
        return None
    return _stuck(
        model, State(state.journal, state.floor, state.head, sessions=state.sessions, life=state.life)
    )


@lru_cache(maxsize=100_000)
def _stuck(model: Model, state: State) -> str | None:
    command = _REMEDIES.get(read(state, model.rules).status or "", "start")
    step = model._command(state, command)
    for _ in range(12):
        if step.state.idle:
            view = read(step.state, model.rules)
            done = view.status == DONE and step.state.head is not None and step.state.head.status == DONE
            return None if done else f"a fresh owner could not bring the run to its end: {step.label}"
        index = next(i for i, process in enumerate(step.state.processes) if process != IDLE)
        process = step.state.processes[index]
        turn = model._turn(step.state, index)
        step = next(
            holding.rest_with(turn, process, "finished") if process.at == "work" else STEPS[process.at](turn)
        )
    return "a fresh owner goes round in circles"
