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
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from milepost._clock import wait_for
from milepost._journal import Entry, Journal, acknowledge, nothing
from milepost._struct import replace
from milepost.checkpoint import Attempted, Begun, Cancelled, Failed, Finished, Interrupted
from milepost.errors import InvalidDurability, PositionTaken, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from milepost._fold import RunState
    from milepost._guard import Guard
    from milepost.checkpoint import Batch, Checkpointer, Record, Written

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


def in_config(config: Mapping[str, Any] | None, durability: Durability | None) -> Mapping[str, Any] | None:
    """Return a config that names the mode asked for, by keyword or in itself; one that nobody names is the default.

    Raises:
        InvalidDurability: there is no such mode.
    """
    if config and config.get("durability") is not None:
        checked(config["durability"])
    return config if durability is None else {**(config or {}), "durability": checked(durability)}


def inherited(config: Mapping[str, Any], around: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of a run on another thread that begins within this one: in its mode, unless it says its own."""
    if config.get("durability") is not None or around.get("durability") is None:
        return config
    return {**config, "durability": around["durability"]}


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


class _Duties:
    """What a thread that has queued a record must see to, or leave to nobody: it alone may do it."""

    __slots__ = ("acknowledges", "writes")

    def __init__(self) -> None:
        self.acknowledges = self.writes = False


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
        duties = _Duties()
        try:
            broken = self._take(entry, duties)
            if broken is not None:
                entry.failed(broken)
            if duties.writes:
                self._hand_over()
                duties.writes = False
            if duties.acknowledges:
                self._acknowledge_all()
        except BaseException as cause:
            self._give_up(cause, duties)
            raise

    def _take(self, entry: Entry, duties: _Duties) -> Exception | None:
        """Queue a record and say what is to be done then; return what broke the journal, if it is broken."""
        with self._lock:
            if entry.guard is not None:
                entry.guard.pass_fence()
            if self._broken is None:
                self._queue.append(replace(entry, done=nothing, failed=_told(entry), shrunk=None))
                self._taken.append((entry, self._numbered))
                self._numbered += 1
                if not self._at_rest and not self._appending:
                    self._appending = duties.writes = True
                if not self._acknowledging:
                    self._acknowledging = duties.acknowledges = True
            return self._broken

    def _acknowledge_all(self) -> None:
        """Acknowledge what was queued, one after the other: replay gives outcomes in the order of the queue, too."""
        while True:
            with self._lock:
                if not self._taken:
                    self._acknowledging = False
                    return
                entry, order = self._taken[0]
            Context().run(entry.done, order)
            self._taken.popleft()

    def _give_up(self, cause: BaseException, duties: _Duties) -> None:
        """Leave nobody waiting for what Ctrl-C kept this thread from doing; what is queued can still be written."""
        if duties.writes:
            self._cut(cause)
        if duties.acknowledges:
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
        self.record(Entry(record=record, done=nothing, failed=failed.append, guard=guard))
        if failed:
            raise failed[0]

    def note(self, record: Written) -> bool:
        """Queue a record that nobody waits for; at rest it is written with the others."""
        return super().note(record) and not self._at_rest

    def before_end(self, *, rests: bool) -> None:
        """Write what is queued, but for what goes into the batch with which the run ``rests``."""
        if not (rests and self._at_rest):
            self.drain()

    def rest(self, record: Record, write: Callable[[int, Batch], None]) -> None:
        """Write the record that ends or pauses the run, in one batch with what is queued at rest, where that fits."""
        if not self._at_rest:
            super().rest(record, write)
            return
        with super().alone():
            with self._lock:
                entries = list(self._queue)
                self._queue.clear()
            try:
                if not self._close_with(entries, record, write):
                    self._write(entries)  # in as many batches as it takes
                    entries = []
                    self._close(record, write)
            except TooLarge:
                raise  # nothing of it was sent: the run may end otherwise
            except PositionTaken as error:
                lost = self._explain(error, self.position)
                self._refuse(entries, lost)
                raise lost from error
            except BaseException as cause:
                self._refuse(entries, self._cut_short(cause))
                raise

    def _close_with(self, entries: list[Entry], record: Record, write: Callable[[int, Batch], None]) -> bool:
        """Write what is queued and the last record in one batch; return whether that was possible."""
        if not entries:
            self._close(record, write)
            return True
        position, batch = self.closing(*(entry.record for entry in entries), record)
        try:
            write(position, batch)
        except TooLarge:
            return False
        self.closed(batch)
        first, self.outcomes = self.outcomes, self.outcomes + len(entries)
        Context().run(acknowledge, entries, first)
        return True

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


def _told(entry: Entry) -> Callable[[Exception], None]:
    def failed(error: Exception) -> None:
        _note(error)
        entry.failed(error)

    return failed


def _note(error: Exception) -> None:
    if _NOTE not in getattr(error, "__notes__", ()):
        error.add_note(_NOTE)
