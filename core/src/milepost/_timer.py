"""What is due later, without a worker that waits for it: one thread with a heap."""

from __future__ import annotations

import heapq
import threading
from itertools import count
from typing import TYPE_CHECKING, Protocol

from milepost._clock import LOOK_SECONDS
from milepost.fork import PerProcess

if TYPE_CHECKING:
    from milepost._clock import Clock


class Wake(Protocol):
    """What waits. Both methods return soon and raise nothing."""

    def due(self) -> None:
        """Go on: the time has come."""

    def dropped(self) -> bool:
        """Return whether the wait is over for another reason, and see to whatever that means."""


class _Waiting:
    """One process's waits and the thread that looks after them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.heap: list[tuple[float, int, Wake]] = []
        self.numbers = count()
        self.look = threading.Event()
        self.thread: threading.Thread | None = None
        self.closed = False


class Timer:
    """Wakes what is due, on the engine's clock. The thread begins with the first wait and ends with the last."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._state: PerProcess[_Waiting] = PerProcess(_Waiting)

    def after(self, seconds: float, wake: Wake) -> None:
        """Wake somebody after so many seconds, unless the wait is dropped before."""
        state = self._state.get()
        with state.lock:
            heapq.heappush(
                state.heap, (self._clock.monotonic() + max(0.0, seconds), next(state.numbers), wake)
            )
            if state.thread is None:
                state.thread = threading.Thread(
                    target=self._watch, args=(state,), name="milepost-timer", daemon=True
                )
                thread = state.thread
            else:
                thread = None
        state.look.set()
        if thread is not None:
            try:
                thread.start()
            except RuntimeError:  # no new thread while the interpreter ends: every run stops
                self._turn(state)

    def look(self) -> None:
        """Look at once whether a wait is to be dropped: something stops."""
        state = self._state.peek()
        if state is not None:
            state.look.set()

    def _watch(self, state: _Waiting) -> None:
        while (seconds := self._turn(state)) is not None:
            self._clock.wait(state.look, min(seconds, LOOK_SECONDS))

    def _turn(self, state: _Waiting) -> float | None:
        """Wake what is due and let go of what is dropped; return the seconds until the next, if there is one."""
        state.look.clear()
        now = self._clock.monotonic()
        with state.lock:
            waiting = list(state.heap)
        over = {number for due, number, wake in waiting if due <= now or wake.dropped()}
        with state.lock:
            state.heap = [entry for entry in state.heap if entry[1] not in over]
            heapq.heapify(state.heap)
            left = state.heap[0][0] - now if state.heap else None
            if left is None:
                state.thread = None
        for due, number, wake in waiting:
            if number in over and due <= now:
                wake.due()
        return left
