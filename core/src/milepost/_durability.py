"""When what is recorded is written: before anybody sees it, a little later, or when the run rests.

A :class:`Deferred` journal is the journal with a queue in front of its appends: it acknowledges a record when it is
queued, and writes the queue, in order, through the same code. What it has not written a crash loses: those tasks run
again. Two things never wait in it: the start of a task whose outcome must not be guessed is written, with all before
it, before the task runs; and a run's end or pause is written after everything that led to it.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from milepost._clock import wait_for
from milepost._journal import Entry, Journal
from milepost._struct import replace
from milepost.checkpoint import Attempted, Begun, Cancelled, Failed, Finished, Interrupted
from milepost.errors import InvalidDurability

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from milepost._fold import RunState
    from milepost._guard import Guard
    from milepost.checkpoint import Batch, Checkpointer

Durability: TypeAlias = Literal["sync", "async", "exit"]
MODES: Final[tuple[str, ...]] = get_args(Durability)
MOST_QUEUED: Final = 1_000
"""How many records wait at most in mode ``async``; whoever brings one more waits for room."""
_NOTE: Final = (
    "a record that was to be written in the background could not be: the run stops, and what it did since its last "
    "written record is not durable"
)
_RESTS: Final = (Cancelled, Failed, Finished, Interrupted)


def checked(given: Any) -> Durability:
    """Return a mode of durability.

    Raises:
        InvalidDurability: there is no such mode.
    """
    if isinstance(given, str) and given in MODES:
        return given  # type: ignore[return-value]  # mypy does not narrow by a tuple
    raise InvalidDurability(given, MODES)


def in_config(config: Mapping[str, Any] | None, durability: str | None) -> Mapping[str, Any] | None:
    """Return a config that names the mode asked for; a mode that nobody names is the default.

    Raises:
        InvalidDurability: there is no such mode.
    """
    return config if durability is None else {**(config or {}), "durability": checked(durability)}


def chosen(config: Mapping[str, Any]) -> Durability:
    """Return the mode that a config names; ``"sync"`` where it names none."""
    given = config.get("durability")
    return "sync" if given is None else checked(given)


def journal_of(
    durability: Durability, checkpointer: Checkpointer, thread: str, session: str, position: int
) -> Journal:
    """Return the journal of a run, for a mode."""
    if durability == "sync":
        return Journal(checkpointer, thread, session, position)
    return Deferred(checkpointer, thread, session, position, at_rest=durability == "exit")


class Deferred(Journal):
    """A journal whose records are written after they were acknowledged."""

    def __init__(
        self, checkpointer: Checkpointer, thread: str, session: str, position: int, *, at_rest: bool
    ) -> None:
        super().__init__(checkpointer, thread, session, position)
        self._at_rest = at_rest
        self._rested = False
        self._numbered = 0
        self._taken: deque[tuple[Entry, int]] = deque()  # queued, and not yet acknowledged
        self._acknowledging = False

    def load(self, run: RunState) -> None:
        """Take over what a run has on record."""
        super().load(run)
        self._numbered = self.outcomes

    def record(self, entry: Entry) -> None:
        """Queue a record and acknowledge it.

        Raises:
            Fenced: its guard's time is up.
        """
        if self._rested or isinstance(entry.record, Begun):
            super().record(entry)  # with all that is queued before it
            return
        self._await_room()
        with self._lock:
            broken = self._broken
            if entry.guard is not None:
                entry.guard.pass_fence()
            starts = broken is None and self._take(entry)
            acknowledges = broken is None and not self._acknowledging
            self._acknowledging |= acknowledges
        if broken is not None:
            entry.failed(broken)
            return
        try:
            if starts:
                self._hand_over()
            if acknowledges:
                self._acknowledge_all()
        except BaseException as cause:
            self._give_up(cause)
            raise

    def _take(self, entry: Entry) -> bool:
        """Queue a record; return whether somebody is to begin writing. The lock is held."""
        self._queue.append(replace(entry, done=_nothing, failed=_told(entry), shrunk=None))
        self._taken.append((entry, self._numbered))
        self._numbered += 1
        starts = not self._at_rest and not self._appending
        self._appending |= starts
        return starts

    def _acknowledge_all(self) -> None:
        """Acknowledge what was queued, one after the other: replay gives outcomes in the order of the queue, too."""
        while True:
            with self._lock:
                if not self._taken:
                    self._acknowledging = False
                    return
                entry, order = self._taken.popleft()
            Context().run(entry.done, order)

    def _give_up(self, cause: BaseException) -> None:
        self._cut(cause)
        with self._lock:
            taken = list(self._taken)
            self._taken.clear()
            self._acknowledging = False
        for entry, _ in taken:
            Context().run(entry.failed, self._cut_short(cause))

    def keep(self, record: Attempted | Begun, guard: Guard | None = None) -> None:
        """Queue a failed attempt; write the start of one and wait until it is durable."""
        if isinstance(record, Begun) or self._rested:
            super().keep(record, guard)
            return
        failed: list[Exception] = []
        self.record(Entry(record=record, done=_nothing, failed=failed.append, guard=guard))
        if failed:
            raise failed[0]

    def drain(self) -> None:
        """Write what is queued, and wait for it."""
        with self._lock:
            ours = bool(self._queue) and not self._appending
            self._appending |= ours
        if ours:
            self._append_all(inf)
        with self._lock:
            wait_for(self._idle, lambda: not self._appending)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Write what is queued; then keep everybody else from appending for a block."""
        self.drain()
        with super().alone():
            yield

    def closed(self, batch: Batch) -> None:
        """Tell that a closing batch is durable. What comes after a rest has no later one to be written with."""
        super().closed(batch)
        self._rested = self._rested or any(isinstance(record, _RESTS) for record in batch.records)

    def over(self) -> None:
        """The execution is over: what its last tasks still bring is written as it comes."""
        self._rested = True
        self.drain()

    def _await_room(self) -> None:
        if not self._at_rest and len(self._queue) >= MOST_QUEUED:
            with self._lock:
                wait_for(self._idle, lambda: len(self._queue) < MOST_QUEUED)

    def _append_next(self) -> bool:
        more = super()._append_next()
        with self._lock:
            self._idle.notify_all()  # there is room
        return more


def _nothing(_order: int) -> None:
    """Whoever brought the record was told when it was queued."""


def _told(entry: Entry) -> Callable[[Exception], None]:
    def failed(error: Exception) -> None:
        if _NOTE not in getattr(error, "__notes__", ()):
            error.add_note(_NOTE)
        entry.failed(error)

    return failed
