"""The asyncio Tasks of a run that are under way, so that they can be cancelled when it stops."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio


class Coroutines:
    """The coroutines of a run, and of those that its calls began, that are under way."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._cancelled = False

    def add(self, task: asyncio.Task[Any]) -> None:
        """Keep a Task until it has ended; called on its loop."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._cancelled:
            task.cancel()

    def cancel(self) -> None:
        """Cancel them all, and those to come, because the run stops: that is no outcome of theirs."""
        self._cancelled = True
        for task in list(self._tasks):
            with suppress(RuntimeError):  # its loop is closed
                task.get_loop().call_soon_threadsafe(task.cancel)
