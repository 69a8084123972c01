"""One run's journal: is a call known, what was seen, and group commit of what is new.

One append is in flight at a time. What comes meanwhile goes together into the next batch; whoever finds nobody
appending does it for all. Nothing resolves before the backend has acknowledged it.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import contextmanager
from contextvars import Context
from math import inf
from typing import TYPE_CHECKING, TypeAlias

from milepost import _ids
from milepost._clock import LOOK_SECONDS, wait_for
from milepost._struct import Struct, replace
from milepost.checkpoint import Attempted, Batch, Begun, Observed, Outcome, Record, Value, Written
from milepost.errors import MilepostError, OwnershipLost, PositionTaken, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from milepost._fold import RunState
    from milepost._guard import Guard
    from milepost.checkpoint import Checkpointer

_SHORTEST_REFERENCE = 128
_HANDOVER = 64


class Entry(Struct):
    """A record on its way: ``done(order)`` once it is durable, ``failed(error)`` if it never will be.

    ``done`` gets the outcome's place among the run's outcomes. ``shrunk(error)`` makes the record to write instead
    when the backend finds this one too large. Behind the fence of ``guard`` nothing is written.
    """

    record: Outcome | Attempted | Begun | Written
    done: Callable[[int], None]
    failed: Callable[[Exception], None]
    shrunk: Callable[[TooLarge], Outcome | Written] | None = None
    guard: Guard | None = None


class Tried(Struct):
    """A call without an outcome of which there is something on record: attempts that failed, or that one began."""

    name: str
    digest: str
    shows: str
    attempts: tuple[Attempted, ...] = ()
    begun: Begun | None = None


Recorded: TypeAlias = tuple[Outcome, int]


class Journal:
    """The journal of the run that this session executes."""

    def __init__(self, checkpointer: Checkpointer, thread: str, session: str, position: int) -> None:
        self.checkpointer = checkpointer
        self.thread = thread
        self.session = session
        self._process = os.getpid()
        self.position = position
        self._batches = 0
        self._lock = threading.Lock()
        self._idle = threading.Condition(self._lock)  # entered by its lock: that is safe from Ctrl-C
        self._queue: deque[Entry] = deque()
        self._seen: list[Observed] = []
        self._sent = 0  # how many of them the append in flight takes along
        self._flying: list[Entry] = []
        self._appending = False
        self._broken: Exception | None = None
        self._known: dict[str, dict[int, Recorded]] = {}
        self._strands: list[str] = []
        self._loose: frozenset[str] = frozenset()
        self.unsettled: dict[str, Tried] = {}
        """The calls without an outcome of which there is something on record, and that have not been made."""
        self.broken_off: set[str] = set()  # calls that this process began, and stopped where it knows
        self._observed: dict[tuple[str, int], Observed] = {}
        self._long: dict[int, tuple[int, str]] = {}
        self._unindexed: list[tuple[Outcome, int]] = []
        self.outcomes = 0
        self.follow: Callable[[int, Batch], None] | None = None  # is given each batch that is durable

    def load(self, run: RunState) -> None:
        """Take over what a run has on record; what was known before is dropped."""
        self._known = {}
        for order, (call, (outcome, _)) in enumerate(run.outcomes.items()):
            parent, ordinal = _ids.split(call)
            self._known.setdefault(parent, {})[ordinal] = (outcome, order)
        self._loose = frozenset(run.loose)
        self.unsettled = {call: tried for call, tried in _all_tried(run) if call not in run.outcomes}
        self._find_strands()
        self._observed = dict(run.observed)
        self._unindexed = list(run.outcomes.values())
        self.outcomes = len(run.outcomes)

    def load_within(self, run: RunState, call: str) -> None:
        """Take over what is on record within a call that is tried again; what is known of the rest stays."""

        def is_in(path: str) -> bool:
            return path == call or path.startswith(f"{call}.")

        self._known = {parent: known for parent, known in self._known.items() if not is_in(parent)}
        for order, (path, (outcome, _)) in enumerate(run.outcomes.items()):
            parent, ordinal = _ids.split(path)
            if is_in(parent):
                self._known.setdefault(parent, {})[ordinal] = (outcome, order)
        self.unsettled = {path: tried for path, tried in self.unsettled.items() if not is_in(path)}
        self.unsettled |= {
            path: tried
            for path, tried in _all_tried(run)
            if path not in run.outcomes and is_in(path) and path != call
        }
        self._loose = frozenset(
            {path for path in self._loose if not is_in(path)} | {path for path in run.loose if is_in(path)}
        )
        self._observed = {key: seen for key, seen in self._observed.items() if not is_in(key[0])}
        self._observed |= {key: seen for key, seen in run.observed.items() if is_in(key[0])}
        self._find_strands()

    def _find_strands(self) -> None:
        parents = dict.fromkeys((*self._known, *(_ids.split(call)[0] for call in self.unsettled if call)))
        self._strands = [path for path in parents if _ids.frame_of(path) != path]

    # -- what is known -------------------------------------------------------------------------------------------

    def recall(self, parent: str, ordinal: int) -> Recorded | None:
        """Return a call's outcome on record and its place among the outcomes; a second time, None."""
        known = self._known.get(parent)
        return None if known is None else known.pop(ordinal, None)

    def forgotten(self, parent: str) -> list[Outcome]:
        """Return the recorded calls of a frame that it has not made, in order."""
        known = self._known.get(parent)
        outcomes = [known[ordinal][0] for ordinal in sorted(known)] if known else []
        return [outcome for outcome in outcomes if outcome.call not in self._loose]

    def tried(self, call: str) -> Tried | None:
        """Return what is on record of a call without an outcome; a second time, None."""
        return self.unsettled.pop(call, None)

    def forgotten_attempts(self, parent: str) -> dict[str, Tried]:
        """Return the calls of a frame that were tried and have no outcome, and that it has not made."""
        return {
            call: tried
            for call, tried in self.unsettled.items()
            if _ids.split(call)[0] == parent and call not in self._loose
        }

    def strands_of(self, frame: str) -> list[str]:
        """Return the paths of a frame and of its strands that have calls on record."""
        return [frame, *(path for path in self._strands if _ids.frame_of(path) == frame)]

    def is_loose(self, call: str) -> bool:
        """Tell whether a recorded call may give way to another: it was made on the branch of a retried failure."""
        return call in self._loose

    def give_way(self, call: str) -> None:
        """Forget what is on record within a loose call: another call takes its place."""
        self.unsettled = {
            path: tried
            for path, tried in self.unsettled.items()
            if path not in self._loose or not path.startswith(f"{call}.")
        }
        for parent in list(self._known):
            if parent == call or parent.startswith(f"{call}."):
                known = self._known[parent]
                for ordinal in [o for o, (outcome, _) in known.items() if outcome.call in self._loose]:
                    del known[ordinal]

    def observed(self, frame: str, number: int) -> Observed | None:
        """Return what a frame saw at its observation of this number."""
        return self._observed.get((frame, number))

    # -- what is new ---------------------------------------------------------------------------------------------

    def observe(self, seen: Observed) -> None:
        """Keep an observation; it is written before any later record, so no write of its own is needed."""
        with self._lock:
            last = self._seen[-1] if len(self._seen) > self._sent else None
            following = last is not None and last.number + last.times == seen.number
            if last is not None and following and replace(last, number=seen.number, times=1) == seen:
                self._seen[-1] = replace(last, times=last.times + 1)
                return
            self._seen.append(seen)

    def note(self, record: Written) -> bool:
        """Queue a record that nobody waits for, and return whether somebody is to see that it is written soon.

        It is written with the next record that somebody waits for, or by :meth:`write_soon`.
        """

        def shrunk(error: TooLarge) -> Written:
            text = f"a custom event of {error.size} bytes is over the backend's limit of {error.limit}"
            return replace(record, value=Value(raw=text))

        with self._lock:
            if self._broken is None:
                self._queue.append(Entry(record=record, done=nothing, failed=nothing, shrunk=shrunk))
            return len(self._queue) == 1 and not self._appending

    def write_soon(self) -> None:
        """Write what is queued in another thread, unless somebody writes already."""
        with self._lock:
            if not self._queue or self._appending:
                return
            self._appending = True
        self._hand_over()

    def record(self, entry: Entry) -> None:
        """Write a record: returns when it is durable, or when whoever appends now has taken it along.

        Raises:
            Fenced: its guard's time is up.
        """
        ours = False
        try:
            with self._lock:
                broken = self._broken
                if entry.guard is not None:
                    entry.guard.pass_fence()
                if broken is None:
                    self._queue.append(entry)
                    if self._appending:
                        return
                    self._appending = ours = True
            if broken is not None:
                entry.failed(broken)
                return
            self._append_all()
        except BaseException as cause:
            if ours:
                self._cut(cause)
            raise

    def keep(self, record: Attempted | Begun, guard: Guard | None = None) -> None:
        """Write a record and wait until it is durable.

        Raises:
            MilepostError: it never will be.
            Fenced: its guard's time is up.
        """
        written = threading.Event()
        failed: list[Exception] = []

        def fail(error: Exception) -> None:
            failed.append(error)
            written.set()

        self.record(Entry(record=record, done=lambda _: written.set(), failed=fail, guard=guard))
        while not written.wait(LOOK_SECONDS):
            pass
        if failed:
            raise failed[0]

    def fence(self, guard: Guard) -> None:
        """Draw the fence of a guard: what is to be written before now is on its way, and nothing behind it follows."""
        with self._lock:
            guard.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep everybody else from appending for a block; what comes meanwhile is written after it.

        A block that fails leaves open what is at its position, so nothing is written after it; too large a batch
        changes nothing.

        Raises:
            OwnershipLost: the block met a batch of somebody else.
        """
        with self._lock:
            wait_for(self._idle, lambda: not self._appending)
            self._appending = True
        try:
            yield
        except TooLarge:
            raise
        except PositionTaken as error:
            lost = self._explain(error, self.position)
            self._refuse([], lost)
            raise lost from error
        except BaseException as cause:
            self._refuse([], self._cut_short(cause))
            raise
        finally:
            self._append_all()

    def closing(self, *records: Record) -> tuple[int, Batch]:
        """Return the position and the batch that ends or pauses the run; the caller appends it.

        Raises:
            MilepostError: an earlier append failed.
        """
        with self._lock:
            if self._broken is not None:
                raise self._broken
            if os.getpid() != self._process:
                raise self._lost("was forked while it ran: only the parent process runs it on")
            self._batches += 1
            self._sent = len(self._seen)
            batch = Batch(id=f"{self.session}-{self._batches}", records=(*self._seen, *records))
            return self.position, batch

    def closed(self, batch: Batch) -> None:
        """Tell that the closing batch is durable."""
        with self._lock:
            if self.follow is not None:
                self.follow(self.position, batch)
            self.position += 1
            written = [record for record in batch.records if isinstance(record, Observed)]
            self._seen = self._seen[len(written) :]
            self._sent = 0

    def flush(self) -> None:
        """Write what waits to be written, and the observations that no record has taken along yet."""
        self.drain()
        with self.alone():
            if self._seen:
                position, batch = self.closing()
                self.checkpointer.append(self.thread, position, batch)
                self.closed(batch)

    def rest(self, record: Record, write: Callable[[int, Batch], None]) -> None:
        """Write the record that ends or pauses the run: ``write`` appends its batch.

        Raises:
            TooLarge: its batch is over the backend's limit; what was to be written before it, is.
            MilepostError: an append failed, this one or an earlier one.
        """
        self.drain()
        with self.alone():
            self._close(record, write)

    def _close(self, record: Record, write: Callable[[int, Batch], None]) -> None:
        position, batch = self.closing(record)
        write(position, batch)
        self.closed(batch)

    def drain(self) -> None:
        """Write what is queued, and wait for it."""
        ours = False
        try:
            with self._lock:
                if self._queue and not self._appending:
                    self._appending = ours = True
            if ours:
                self._append_all(inf)
        except BaseException as cause:
            if ours:
                self._cut(cause)
            raise
        with self._lock:
            wait_for(self._idle, lambda: not self._appending)

    def before_end(self, *, rests: bool) -> None:  # noqa: ARG002 - for journals that write at rest
        """Write what is queued, but for what goes into the batch with which the run ``rests``."""
        self.drain()

    def over(self) -> None:
        """The execution is over; tasks that it left behind may still bring their outcomes."""

    def repeats(self, text: str) -> Value:
        """Return a value for this text: a reference where a recorded result has the same."""
        if len(text) >= _SHORTEST_REFERENCE:
            while self._unindexed:
                self._remember(*self._unindexed.pop())
            found = self._long.get(hash(text))
            if found is not None and self._text_at(*found) == text:
                return Value.reference(*found)
        return Value(text=text)

    def resolve(self, value: Value) -> Value:
        """Return what a value stands for."""
        return dereference(self.checkpointer, self.thread, value)

    # -- appending -----------------------------------------------------------------------------------------------

    def _text_at(self, position: int, call: str) -> str | None:
        value = _result_at(self.checkpointer, self.thread, position, call)
        return None if value is None else value.text

    def _remember(self, outcome: Outcome, position: int) -> None:
        if outcome.result is not None and outcome.result.target is None:
            text = outcome.result.text
            if len(text) >= _SHORTEST_REFERENCE:
                self._long[hash(text)] = (position, outcome.call)

    def _append_all(self, turns: float = _HANDOVER) -> None:
        """Append until nothing waits. After so many turns another thread goes on, and this one gets to its own work."""
        try:
            while self._append_next():
                turns -= 1
                if turns <= 0:
                    self._hand_over()
                    return
        except BaseException as cause:
            self._cut(cause)
            raise

    def _cut(self, cause: BaseException) -> None:
        """Stop writing for ever: what was being written may have been applied."""
        flying, self._flying = self._flying, []
        self._refuse(flying, self._cut_short(cause))
        with self._lock:
            self._appending = False
            self._idle.notify_all()

    def _hand_over(self) -> None:
        thread = threading.Thread(target=self._append_all, args=(inf,), name="milepost-journal")
        try:
            thread.start()
        except RuntimeError:  # no new thread while the interpreter ends
            self._append_all(inf)

    def _cut_short(self, cause: BaseException) -> Exception:
        """Return what a write that ended so means for those after it: it may have been applied, nothing may follow."""
        if isinstance(cause, Exception):
            return cause
        error = MilepostError(f"writing to thread {self.thread!r} was cut short")
        error.__cause__ = cause
        return error

    def _append_next(self) -> bool:
        with self._lock:
            if not self._queue:
                self._appending = False
                self._idle.notify_all()
                return False
            self._flying = list(self._queue)
            self._queue.clear()
        self._write(self._flying)
        self._flying = []
        return True

    def _write(self, entries: list[Entry]) -> None:
        try:
            position, batch = self.closing(*(entry.record for entry in entries))
        except Exception as error:  # noqa: BLE001 - what broke an earlier append, or a fork
            self._refuse(entries, error)
            return
        try:
            self.checkpointer.append(self.thread, position, batch)
        except TooLarge as error:
            self._write_smaller(entries, error)
            return
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, nothing after it may be written
            self._refuse(entries, self._explain(error, position))
            return
        self.closed(batch)
        for entry in entries:
            if isinstance(entry.record, Outcome):
                self._remember(entry.record, position)
        first, self.outcomes = self.outcomes, self.outcomes + len(entries)
        Context().run(acknowledge, entries, first)

    def _write_smaller(self, entries: list[Entry], error: TooLarge) -> None:
        if len(entries) > 1:
            middle = len(entries) // 2
            self._write(entries[:middle])
            self._write(entries[middle:])
        elif (shrunk := entries[0].shrunk) is not None:
            self._write([replace(entries[0], record=shrunk(error), shrunk=None)])
        else:
            self._refuse(entries, error)

    def _explain(self, error: Exception, position: int) -> Exception:
        if not isinstance(error, PositionTaken):
            return error
        lost = self._lost(f"was taken over by another process (position {position} is theirs)")
        lost.__cause__ = error
        return lost

    def _lost(self, why: str) -> OwnershipLost:
        return OwnershipLost(
            f"thread {self.thread!r} {why}; nothing further was written here: look at the thread's state",
            thread_id=self.thread,
            position=self.position,
        )

    def _refuse(self, entries: list[Entry], error: Exception) -> None:
        with self._lock:
            if self._broken is None:
                self._broken = error
            waiting = list(self._queue)
            self._queue.clear()
        for entry in (*entries, *waiting):
            Context().run(entry.failed, error)


def nothing(_told: object) -> None:
    """Nobody waits for the record."""


def _all_tried(run: RunState) -> Iterator[tuple[str, Tried]]:
    for call in dict.fromkeys((*run.attempts, *run.begun)):
        if call == _ids.ROOT:  # the body looks after its own
            continue
        attempts, begun = run.attempts.get(call, ()), run.begun.get(call)
        last = attempts[-1] if begun is None else begun
        shows = "…" if begun is None else begun.shows
        yield (
            call,
            Tried(name=last.name, digest=last.digest, shows=shows, attempts=attempts, begun=begun),
        )


def acknowledge(entries: list[Entry], first: int) -> None:
    for order, entry in enumerate(entries, first):
        entry.done(order)


def _result_at(checkpointer: Checkpointer, thread: str, position: int, call: str) -> Value | None:
    batch = checkpointer.at(thread, position)
    for record in () if batch is None else batch.records:
        if isinstance(record, Outcome) and record.call == call:
            return record.result
    return None


def dereference(checkpointer: Checkpointer, thread: str, value: Value) -> Value:
    """Return what a value stands for: itself, or the recorded result it refers to.

    Raises:
        MilepostError: the record it refers to is gone.
    """
    target = value.target
    if target is None:
        return value
    found = _result_at(checkpointer, thread, *target)
    if found is None:
        raise MilepostError(
            f"thread {thread!r} refers to call {target[1]} at position {target[0]}, which is gone"
        )
    return found
