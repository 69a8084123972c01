"""Threads for runs that nobody waits for: a bounded number at once, each ending when nothing is left to do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from milepost import _context
from milepost.fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from logging import Logger

Work: TypeAlias = "Callable[[], None]"
_MOST_WAITING: Final = 10_000
"""How many runs wait here at most for a thread; what is beyond is found again at the next look at the backend."""


class _Busy:
    """One process's runs under way and those that wait for a thread."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active: set[Hashable] = set()
        self.waiting: dict[Hashable, Work] = {}
        self.closed = False


class Slots:
    """At most ``size`` runs at once, in threads outside the pool of tasks, for which bodies wait.

    A run is named by a key, and is here once, however often it is brought.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._state: PerProcess[_Busy] = PerProcess(_Busy)

    @property
    def active(self) -> int:
        """How many runs are under way here."""
        return len(self._state.get().active)

    def reserve(self, key: Hashable) -> bool:
        """Take a slot for a run, if one is free; :meth:`begin` or :meth:`free` follows."""
        busy = self._state.get()
        with busy.lock:
            if busy.closed or len(busy.active) >= self.size or key in busy.active:
                return False
            busy.active.add(key)
            return True

    def free(self, key: Hashable, engine: Any) -> None:
        """Give a reserved slot back."""
        busy = self._state.get()
        with busy.lock:
            busy.active.discard(key)
            waits = next(iter(busy.waiting), None)
            work = None if waits is None else busy.waiting.pop(waits)
        if work is not None:
            self.submit(waits, work, engine)

    def begin(self, key: Hashable, work: Work, engine: Any) -> None:
        """Begin a run in a reserved slot, in a thread of its own.

        Raises:
            RuntimeError: there is no new thread, as the interpreter ends; the slot is free again.
        """
        busy = self._state.get()
        target = _Worker(self, busy, key, work, engine)
        thread = threading.Thread(
            target=_context.run_apart, args=(None, engine, target), name="milepost-run", daemon=False
        )
        try:
            thread.start()
        except RuntimeError:
            with busy.lock:
                busy.active.discard(key)
            raise

    def submit(self, key: Hashable, work: Work, engine: Any) -> None:
        """Begin a run when a slot is free. One that is under way or waits already is left as it is."""
        busy = self._state.get()
        with busy.lock:
            if busy.closed or self.size == 0 or key in busy.active or len(busy.waiting) >= _MOST_WAITING:
                return
            if len(busy.active) >= self.size:
                busy.waiting.setdefault(key, work)
                return
            busy.active.add(key)
        try:
            self.begin(key, work, engine)
        except RuntimeError:
            return  # another process finds it

    def close(self) -> None:
        """Begin nothing any more."""
        busy = self._state.get()
        with busy.lock:
            busy.closed = True
            busy.waiting.clear()

    def next(self, busy: _Busy, done: Hashable) -> tuple[Hashable, Work] | None:
        """Return what comes after a run that is over; None where nothing waits."""
        with busy.lock:
            busy.active.discard(done)
            for key in list(busy.waiting):
                work = busy.waiting.pop(key)
                if key not in busy.active:
                    busy.active.add(key)
                    return key, work
            return None


def _logger() -> Logger:
    import logging

    return logging.getLogger("milepost")


class _Worker:
    """A thread's work: one run after the other, while any waits."""

    def __init__(self, slots: Slots, busy: _Busy, key: Hashable, work: Work, engine: Any) -> None:
        self._slots = slots
        self._busy = busy
        self._next: tuple[Hashable, Work] | None = (key, work)
        self._engine = engine

    def __call__(self) -> None:
        while self._next is not None:
            key, work = self._next
            try:
                _context.run_apart(None, self._engine, work)
            except BaseException:  # noqa: BLE001 - nobody joins this thread, and the next run is to begin
                _logger().exception("a run in the background ended with an error of milepost's own")
            self._next = self._slots.next(self._busy, key)
