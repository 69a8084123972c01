"""Recovery: one thread per engine and process that looks for runs nobody works on, and wakes what is due.

A look lists the heads that say `running`, and those with a time. Heads are hints: whatever is done about one is decided
from its journal, by :class:`~milepost._adopt.Adopt`. A living owner is recognised by its head changing; how long it has
not is measured on our own clock, so hosts' clocks are never compared.
"""

from __future__ import annotations

import heapq
import threading
from contextlib import suppress
from functools import partial
from itertools import count
from random import shuffle
from typing import TYPE_CHECKING, Any, Final, Protocol

from milepost import _known, _owner
from milepost.checkpoint import HeadQuery, Status
from milepost.fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator
    from logging import Logger

    from milepost._clock import Clock
    from milepost._known import Known
    from milepost._lease import Watch
    from milepost._slots import Slots
    from milepost.checkpoint import Checkpointer, Head

_PAGE: Final = 256
_MOST_TOLD: Final = 10_000
_EARLY: Final = 0.8
"""After how much of ``poll`` the next look begins: the rest is for taking a thread and beginning with it."""
_AHEAD: Final = 2
"""How many looks ahead times are read, so that what is due then begins at its time, and not at the next look."""


class Engine(Protocol):
    """What recovery works with."""

    @property
    def clock(self) -> Clock:
        """The clock."""

    @property
    def slots(self) -> Slots:
        """The threads of runs."""

    @property
    def watch(self) -> Watch:
        """What is known of the leases of others."""

    @property
    def closing(self) -> bool:
        """Whether nothing further begins in this process."""

    @property
    def executions(self) -> dict[str, Any]:
        """What this process executes, by session."""


class _Looking:
    """One process's thread, and what it knows to be due."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.look = threading.Event()
        self.thread: threading.Thread | None = None
        self.due: list[tuple[float, int, _Due]] = []
        self.known: set[_Due] = set()
        self.numbers = count()
        self.told: set[tuple[str, str]] = set()
        self.over = False


class _Due:
    """A thread of work to look at when its time has come."""

    __slots__ = ("at", "checkpointer", "thread", "workflow")

    def __init__(self, at: float, workflow: Known, checkpointer: Checkpointer, thread: str) -> None:
        self.at = at
        self.workflow = workflow
        self.checkpointer = checkpointer
        self.thread = thread

    def _key(self) -> tuple[float, int, str]:
        return self.at, id(self.checkpointer), self.thread

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Due) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


class Recovery:
    """Finds runs that nobody works on, and has the engine's slots go on with them.

    Args:
        engine: whose clock, slots and drivers to use.
        poll: seconds between two looks at a backend.
        adopts: whether to look; without it, only what this process itself put to sleep is woken.
    """

    def __init__(self, engine: Engine, *, poll: float, adopts: bool) -> None:
        self.poll = poll
        self.adopts = adopts
        self._engine = engine
        self._state: PerProcess[_Looking] = PerProcess(_Looking)

    def begin(self) -> None:
        """Begin to look, in this process; a second time does nothing."""
        state = self._state.get()
        with state.lock:
            if state.thread is None and not self._is_over(state):
                made = threading.Thread(
                    target=self._watch, args=(state,), name="milepost-recovery", daemon=True
                )
                with suppress(RuntimeError):  # no new thread while the interpreter ends
                    made.start()
                    state.thread = made

    def used(self) -> None:
        """Tell that the engine is used in this process: from its first use on it looks, if it is to."""
        if self.adopts and self._engine.slots.size:
            self.begin()

    def wake_at(self, at: float, workflow: Known, checkpointer: Checkpointer, thread: str) -> None:
        """Go on with a thread at a time, in seconds since the epoch."""
        state = self._state.get()
        self._remember(state, _Due(at, workflow, checkpointer, thread))
        self.begin()
        state.look.set()

    def look_again(self, workflow: Known, checkpointer: Checkpointer, thread: str) -> None:
        """Go on with a thread after a while, whose backend did not answer."""
        self.wake_at(self._engine.clock.now().timestamp() + self.poll, workflow, checkpointer, thread)

    def close(self) -> None:
        """End the thread."""
        state = self._state.peek()
        if state is None:
            return
        with state.lock:
            state.over = True
            thread = state.thread
        state.look.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _is_over(self, state: _Looking) -> bool:
        return state.over or self._engine.closing

    # -- looking ---------------------------------------------------------------------------------------------------

    def _watch(self, state: _Looking) -> None:
        clock, next_look = self._engine.clock, 0.0
        while not self._is_over(state):
            state.look.clear()
            if self.adopts and clock.monotonic() >= next_look:
                left = self._look(state)
                next_look = clock.monotonic() + min(_EARLY * self.poll, left)
            due = self._wake(state)
            until = next_look - clock.monotonic() if self.adopts else self.poll
            clock.wait(state.look, max(0.0, min(until, due)))

    def _look(self, state: _Looking) -> float:
        """Look at every backend; return the seconds until a lease known to us is over."""
        left = self.poll
        for checkpointer, known in self._backends(state):
            try:
                left = min(left, self._look_at(state, checkpointer, known))
            except Exception as error:  # noqa: BLE001 - whatever a driver raises, the next look comes
                self._tell_once(
                    state, "look", repr(checkpointer), "recovery cannot read %r: %s", checkpointer, error
                )
            else:
                state.told.discard(("look", repr(checkpointer)))
        return left

    def _backends(self, state: _Looking) -> Iterator[tuple[Checkpointer, dict[str, Known]]]:
        found: dict[int, tuple[Checkpointer, dict[str, Known]]] = {}
        for name, workflow in _known.known().items():
            try:
                checkpointer = workflow.backend(self._engine)
            except Exception as error:  # noqa: BLE001 - a URL that does not open; its workflow says so when it is called
                if self._is_over(state):
                    return
                self._tell_once(
                    state,
                    "open",
                    name,
                    "recovery leaves workflow %r out, its backend does not open: %s",
                    name,
                    error,
                )
                continue
            if checkpointer is not None:
                found.setdefault(id(checkpointer), (checkpointer, {}))[1][name] = workflow
        yield from found.values()

    def _look_at(self, state: _Looking, checkpointer: Checkpointer, known: dict[str, Known]) -> float:
        left, orphans, running = self.poll, list[tuple["Known", str]](), set[str]()
        for head in _heads(checkpointer, HeadQuery(statuses=(Status.RUNNING,))):
            running.add(head.thread)
            wait = self._remaining(checkpointer, head)
            if wait is None:
                continue
            if wait > 0:
                left = min(left, wait)
            elif head.workflow in known:
                orphans.append((known[head.workflow], head.thread))
            else:
                self._tell_unknown(state, head)
        self._engine.watch.keep_only(checkpointer, running)
        horizon = self._engine.clock.now().timestamp() + _AHEAD * self.poll
        for head in _heads(checkpointer, HeadQuery(wake_before=horizon)):
            workflow = known.get(head.workflow)
            if head.wake is not None and workflow is not None:
                self._remember(state, _Due(head.wake, workflow, checkpointer, head.thread))
        shuffle(orphans)  # several processes that look at once do not all begin with the same
        for workflow, thread in orphans:
            self._submit(workflow, checkpointer, thread)
        return left

    def _remaining(self, checkpointer: Checkpointer, head: Head) -> float | None:
        """Return the seconds until a thread may be taken; None where its owner lives, or it was not handed on."""
        owner = head.owner
        if owner is None:
            return 0.0 if head.offered else None
        if _owner.is_here(owner):
            execution = self._engine.executions.get(owner.session)
            if head.cancel is not None and execution is not None:
                execution.cancel(head.cancel or None)
            return None
        return 0.0 if _owner.is_dead(owner) else self._engine.watch.remaining(checkpointer, head)

    # -- going on --------------------------------------------------------------------------------------------------

    def _remember(self, state: _Looking, due: _Due) -> None:
        with state.lock:
            if due not in state.known:
                state.known.add(due)
                heapq.heappush(state.due, (due.at, next(state.numbers), due))

    def _wake(self, state: _Looking) -> float:
        """Go on with what is due; return the seconds until the next, by the wall clock as it is now."""
        now = self._engine.clock.now().timestamp()
        while True:
            with state.lock:
                if not state.due:
                    return self.poll
                if state.due[0][0] > now:
                    return state.due[0][0] - now
                due = heapq.heappop(state.due)[2]
                state.known.discard(due)
            self._submit(due.workflow, due.checkpointer, due.thread)

    def _submit(self, workflow: Known, checkpointer: Checkpointer, thread: str) -> None:
        work = partial(workflow.adopt, self._engine, checkpointer, thread)
        self._engine.slots.submit((id(checkpointer), thread), work, self._engine)

    # -- saying ----------------------------------------------------------------------------------------------------

    def _tell_unknown(self, state: _Looking, head: Head) -> None:
        self._tell_once(
            state,
            head.workflow,
            head.thread,
            "nobody works on thread %r, and its workflow %r is not known in this process: import the module that "
            "defines it here, or have a process that does with recover=True",
            head.thread,
            head.workflow,
        )

    @staticmethod
    def _tell_once(state: _Looking, kind: str, about: str, text: str, *args: object) -> None:
        if (kind, about) not in state.told:
            if len(state.told) >= _MOST_TOLD:
                state.told.clear()
            state.told.add((kind, about))
            _logger().warning(text, *args)


def _heads(checkpointer: Checkpointer, query: HeadQuery) -> Iterator[Head]:
    cursor: str | None = None
    while True:
        heads, cursor = checkpointer.list_heads(query, cursor=cursor, limit=_PAGE)
        yield from heads
        if cursor is None:
            return


def _logger() -> Logger:
    import logging

    return logging.getLogger("milepost")
