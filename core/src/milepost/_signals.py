"""Control flow that passes through user code. Nothing here ever leaves the public API.

These derive from BaseException so that ``except Exception`` in a body or a task does not swallow them (the pattern of
trio's Cancelled). One that is swallowed all the same is latched by its frame, and raised again.
"""

from __future__ import annotations


class Signal(BaseException):
    """The root of control flow."""


class Suspended(Signal):
    """A question is pending: the frame stops here and runs again when there is an answer."""


class Restart(Signal):
    """Replay-always mode: drop what is in memory and run the body again from the journal."""


class Stopped(Signal):
    """The run is to stop at this boundary and stay resumable (Ctrl-C, abandoned stream, closed engine)."""


class Fenced(Stopped):
    """An attempt's time is up: what it still does counts no longer."""


class Aborted(Signal):
    """The run cannot go on: divergence, lost ownership or failed storage. ``error`` is what the caller gets."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))
