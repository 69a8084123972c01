"""A coroutine under a time limit: the timer looks after it, and it is cancelled when time is up."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from milepost import _async
from milepost._signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost._async import Loop, Result
    from milepost._guard import Guard
    from milepost._timer import Timer


class Limit:
    """One attempt of a coroutine, which ends by itself or because its time is up: whoever is first decides.

    ``expire(limit)`` is called, in the timer's thread, when the time is up first.
    """

    __slots__ = ("_expire", "_loop", "_name", "_open", "_timer", "guard", "task")

    def __init__(
        self, guard: Guard, timer: Timer, loop: Loop, name: str, expire: Callable[[Limit], None]
    ) -> None:
        self.guard = guard
        self.task: Any = None
        self._timer = timer
        self._loop = loop
        self._name = name
        self._expire = expire
        self._open = [True]

    def begin(self) -> None:
        """Have the timer look after it, where there is a limit."""
        left = self.guard.left()[0]
        if left < float("inf"):
            self._timer.after(left, self)

    @property
    def is_over(self) -> bool:
        """Whether it is decided how the attempt ended."""
        return not self._open

    def decide(self) -> bool:
        """Return True to exactly one caller."""
        try:
            return self._open.pop()
        except IndexError:
            return False

    def due(self) -> None:
        """Look whether there was a sign of life; where there was none, the time is up."""
        if self.guard.left()[0] > 0:
            self.begin()
        elif self.decide():
            self._expire(self)

    def dropped(self) -> bool:
        """Tell whether the coroutine has ended."""
        return self.is_over

    def cancel(self) -> None:
        """Cancel the coroutine; what it makes of that counts no longer."""
        self.guard.is_late = True
        with suppress(RuntimeError):  # the loop is closed, and the coroutine has ended with it
            self._loop.soon(self._cancel)

    def _cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def report(self, result: Result) -> None:
        """Say that a coroutine ended otherwise than as cancelled after its time was up."""
        try:
            result.get()
        except Signal:
            return
        except BaseException as error:  # noqa: BLE001 - nobody else is left who could hear of it
            if _async.is_cancellation(error):
                return
        import logging

        logging.getLogger("milepost").warning(
            "%r ended after %.1f seconds, its time being up: its result was discarded",
            self._name,
            self.guard.elapsed,
        )
