"""What a call does when a live run holds its thread: give up, wait for it, or join it."""

from __future__ import annotations

from typing import Any, Final

from milepost._struct import Struct
from milepost.errors import InvalidStart


class Busy(Struct):
    """A policy for a busy thread; ``timeout`` is in seconds, None for ever."""

    name: str
    timeout: float | None = 0.0


reject: Final = Busy(name="reject")
"""Raise :class:`~milepost.errors.ThreadBusy` at once; the default."""
join: Final = Busy(name="join", timeout=None)
"""Attach to the run under way, whatever it was started with: its result, or its questions, are the call's."""


def wait(timeout: float | None = None) -> Busy:
    """Wait until the thread is free, then do what was asked; ``ThreadBusy`` after so many seconds.

    Raises:
        InvalidStart: ``timeout`` is no number of seconds from 0.
    """
    good = isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout >= 0
    if timeout is not None and not good:
        raise InvalidStart(f"busy.wait() takes how many seconds to wait at most, not {timeout!r}")
    return Busy(name="wait", timeout=timeout)


def policy(given: Any) -> Busy:
    """Return the policy that ``busy=`` names.

    Raises:
        InvalidStart: there is no such policy.
    """
    if isinstance(given, Busy):
        return given
    named = {"reject": reject, "join": join, "wait": Busy(name="wait", timeout=None)}
    if isinstance(given, str) and given in named:
        return named[given]
    raise InvalidStart(f'busy= is "reject", "join" or busy.wait(seconds), not {given!r}')
