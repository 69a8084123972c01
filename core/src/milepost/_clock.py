"""Time, read in one place so that tests can hold it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

LOOK_SECONDS: Final = 0.5
"""The longest that a thread of the user's waits at once.

Python runs a signal's handler between two instructions of the main thread. A Ctrl-C that comes just before a wait
begins, or that the system hands to another thread, does not end the wait: so waits end by themselves now and then, and
begin anew.
"""


class Clock(Protocol):
    """What the engine asks of time."""

    def now(self) -> datetime:
        """Return the wall clock in UTC; for records only, never compared between hosts."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock of this process that never goes back."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set or the seconds have passed; return whether it is set."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the wall clock in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return ``time.monotonic()``."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait on the event for so many seconds at most."""
        return event.wait(seconds)


def wait_for(condition: threading.Condition, holds: Callable[[], bool], timeout: float | None = None) -> bool:
    """Wait, with the condition held, until ``holds()`` or so many seconds have passed; return whether it holds."""
    end = None if timeout is None else time.monotonic() + timeout
    while not holds():
        left = LOOK_SECONDS if end is None else min(LOOK_SECONDS, end - time.monotonic())
        if left <= 0:
            return False
        condition.wait(left)
    return True
