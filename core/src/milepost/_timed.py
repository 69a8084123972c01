"""A function under a time limit: it runs in a thread of its own, and is left when time is up.

Python cannot end a thread. One whose time is up is left behind: its result is discarded, and it is reported, when that
happens and when it ends at last. It is a daemon thread, so that it does not keep the interpreter from ending.
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from milepost._clock import LOOK_SECONDS
from milepost._signals import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable
    from logging import Logger

    from milepost._clock import Clock
    from milepost._guard import Guard
    from milepost._pool import Pool


class Timed:
    """One execution of a function in a thread of its own, which works in the slot of the worker that waits for it."""

    def __init__(
        self, function: Callable[[], Any], guard: Guard, clock: Clock, pool: Pool, name: str
    ) -> None:
        self._function = function
        self._guard = guard
        self._clock = clock
        self._loan = pool.lend()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._left_behind = False
        self._value: Any = None
        self._error: BaseException | None = None
        self.name = name
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._work,), name=f"milepost-timed-{name}", daemon=True
        )
        try:
            self._thread.start()
        except RuntimeError as error:  # no new thread while the interpreter ends
            raise Stopped from error

    def wait(self) -> bool:
        """Wait until the function has ended; return False if its time was up before."""
        while not self._done.is_set() and (left := self._guard.left()[0]) > 0:
            self._clock.wait(self._done, min(left, LOOK_SECONDS))
        with self._lock:
            return self._done.is_set()

    def leave(self) -> bool:
        """Leave the function behind; return False if it has just ended, and so counts."""
        with self._lock:
            if self._done.is_set():
                return False
            self._left_behind = True
        self._loan.call_back()
        self._report(
            "runs on in thread %r after %.1f seconds: its time is up, and its result will be discarded"
        )
        return True

    @property
    def value(self) -> Any:
        """What the function returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._value

    def _work(self) -> None:
        value, error = None, None
        with self._loan:
            try:
                value = self._function()
            except BaseException as raised:  # noqa: BLE001 - handed to whoever waits
                error = raised
        with self._lock:
            late = self._left_behind
            self._value, self._error = value, error
            self._done.set()
        if late:
            self._report("in thread %r ended after %.1f seconds, its time being up: its result was discarded")

    def _report(self, text: str) -> None:
        _logger().warning("%r " + text, self.name, self._thread.name, self._guard.elapsed)


def _logger() -> Logger:
    import logging

    return logging.getLogger("milepost")
