"""What one attempt stands under: its number, its time limits, and the fence behind which nothing counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost._signals import Fenced

if TYPE_CHECKING:
    from milepost._clock import Clock
    from milepost.timeout import TimeoutPolicy


class Guard:
    """One attempt at a call (or at a body), and through ``around`` those that it is part of.

    ``first_at`` is when the first attempt began, ISO 8601; ``began`` when the time limit did, on the clock's monotonic
    time, by default now.
    """

    __slots__ = (
        "_began",
        "_clock",
        "_heartbeats_only",
        "_limits",
        "_seen",
        "around",
        "first_at",
        "is_closed",
        "is_late",
        "number",
        "path",
    )

    def __init__(  # noqa: PLR0913 - every one a keyword
        self,
        *,
        path: str,
        number: int,
        first_at: str,
        clock: Clock,
        limits: TimeoutPolicy | None = None,
        around: Guard | None = None,
        began: float | None = None,
    ) -> None:
        self.path = path
        self.number = number
        self.first_at = first_at
        self.around = around
        self.is_closed = False
        self.is_late = False
        self._clock = clock
        self._limits = limits
        self._heartbeats_only = limits is not None and limits.refresh_on == "heartbeat"
        self._seen = clock.monotonic()
        self._began = self._seen if began is None else began

    @property
    def is_over(self) -> bool:
        """Whether this attempt, or one around it, was left behind."""
        return self.is_closed or (self.around is not None and self.around.is_over)

    def close(self) -> None:
        """Draw the fence."""
        self.is_closed = True

    def check(self) -> None:
        """Raise what ends a frame whose time is up; where it goes on, that is a sign of life."""
        guard: Guard | None = self
        while guard is not None:
            if guard.is_closed or guard._is_late():  # noqa: SLF001 - of this class
                raise Fenced
            guard = guard.around
        self.beat()

    def _is_late(self) -> bool:
        """Tell whether the time is up, and remember it: who noticed ends, so the attempt did not end in time."""
        if not self.is_late and self._limits is not None:
            self.is_late = self.left()[0] <= 0
        return self.is_late

    def pass_fence(self) -> None:
        """Raise what ends whatever comes behind the fence; what passes is a sign of life."""
        if self.is_over:
            raise Fenced
        self.beat()

    def beat(self, *, is_heartbeat: bool = False) -> None:
        """Take note of a sign of life, of this attempt and of those around it."""
        guard: Guard | None = self
        while guard is not None:
            if is_heartbeat or not guard._heartbeats_only:  # noqa: SLF001 - of this class
                guard._seen = self._clock.monotonic()  # noqa: SLF001 - likewise
            guard = guard.around

    @property
    def elapsed(self) -> float:
        """Seconds since the attempt began."""
        return self._clock.monotonic() - self._began

    def left(self) -> tuple[float, str]:
        """Return how many seconds it may go on without a further sign of life, and which limit says so."""
        now = self._clock.monotonic()
        run = None if self._limits is None else self._limits.run_timeout
        idle = None if self._limits is None else self._limits.idle_timeout
        until_end = float("inf") if run is None else self._began + run - now
        until_idle = float("inf") if idle is None else self._seen + idle - now
        return (until_idle, "idle") if until_idle < until_end else (until_end, "run")

    def deadline(self) -> float | None:
        """Return the seconds until the attempt, or one around it, has run for too long; None without a limit."""
        own = None if self._limits is None else self._limits.run_timeout
        outer = None if self.around is None else self.around.deadline()
        left = None if own is None else max(0.0, own - self.elapsed)
        known = [seconds for seconds in (left, outer) if seconds is not None]
        return min(known, default=None)
