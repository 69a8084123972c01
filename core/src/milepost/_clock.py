"""Time, read in one place so that tests can hold it.  (layer 1)"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading


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
