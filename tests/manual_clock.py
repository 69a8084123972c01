"""A clock that tests move by hand."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta


class ManualClock:
    """Stands still until ``advance``; whoever waits for a time is woken when it has come."""

    def __init__(self) -> None:
        self._moved = threading.Condition()
        self._seconds = 0.0
        self.waits: list[float] = []
        """Until when those wait who wait now, in seconds of this clock."""

    def now(self) -> datetime:
        """Return the wall clock in UTC: a fixed day, and the seconds since."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        """Return the seconds by which the clock was moved."""
        return self._seconds

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set, which is looked at often, or the clock was moved that far."""
        with self._moved:
            end = self._seconds + seconds
            self.waits.append(end)
            while not event.is_set() and self._seconds < end:
                self._moved.wait(0.01)
            self.waits.remove(end)
        return event.is_set()

    def advance(self, seconds: float) -> None:
        """Move the clock."""
        with self._moved:
            self._seconds += seconds
            self._moved.notify_all()
