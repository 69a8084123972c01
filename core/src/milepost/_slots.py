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
        self.threads: set[threading.Thread] = set()
        self.closed = False


class Slots:
    """At most ``size`` runs at once, in threads outside the pool of tasks, for which bodies wait.

    A run that waits for a slot is named by a key, and waits once, however often it is brought.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._state: PerProcess[_Busy] = PerProcess(_Busy)

    @property
    def active(self) -> int:
        """How many runs are under way here."""
        return len(self._state.get().active)

    @property
    def is_alive(self) -> bool:
        """Whether a thread of runs, other than this one, has not ended."""
        threads, here = list(self._state.get().threads), threading.current_thread()
        return any(thread.is_alive() for thread in threads if thread is not here)

    def reserve(self) -> Hashable | None:
        """Take a slot, if one is free, and return its name; :meth:`begin` or :meth:`free` follows."""
        busy = self._state.get()
        with busy.lock:
            if busy.closed or len(busy.active) >= self.size:
                return None
            name = object()
            busy.active.add(name)
            return name

    def free(self, name: Hashable, engine: Any) -> None:
        """Give a reserved slot back."""
        busy = self._state.get()
        following = self.next(busy, name)
        if following is not None:
            self.begin(*following, engine)

    def begin(self, name: Hashable, work: Work, engine: Any) -> bool:
        """Begin a run in a slot, in a thread of its own; False where there is none, as the interpreter ends."""
        busy = self._state.get()
        target = _Worker(self, busy, name, work, engine)
        thread = threading.Thread(
            target=_context.run_apart, args=(None, engine, target), name="milepost-run", daemon=False
        )
        with busy.lock:
            busy.threads = {other for other in busy.threads if other.ident is None or other.is_alive()} | {
                thread
            }
        try:
            thread.start()
        except RuntimeError:
            with busy.lock:
                busy.active.discard(name)
            return False
        return True

    def submit(self, key: Hashable, work: Work, engine: Any) -> None:
        """Begin a run when a slot is free. One that is under way under this key is begun again after it."""
        busy = self._state.get()
        with busy.lock:
            if busy.closed or self.size == 0:
                return
            if key in busy.active or len(busy.active) >= self.size:
                if len(busy.waiting) < _MOST_WAITING:
                    busy.waiting.setdefault(key, work)
                return
            busy.active.add(key)
        self.begin(key, work, engine)

    def close(self) -> None:
        """Begin nothing any more."""
        busy = self._state.get()
        with busy.lock:
            busy.closed = True
            busy.waiting.clear()

    def next(self, busy: _Busy, done: Hashable) -> tuple[Hashable, Work] | None:
        """Return what comes after a run that is over; None where nothing waits that can begin."""
        with busy.lock:
            busy.active.discard(done)
            key = next((key for key in busy.waiting if key not in busy.active), None)
            if key is None or len(busy.active) >= self.size:
                return None
            busy.active.add(key)
            return key, busy.waiting.pop(key)


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
