"""Several writers through the same step at the same moment: who won, and what the others were told."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from milepost._struct import Struct
from milepost.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from milepost.checkpoint import Checkpointer


class Race(Struct):
    """What became of each writer, by number: a result, or the :class:`StorageError` that it got."""

    results: Mapping[int, Any]
    errors: Mapping[int, StorageError]

    @property
    def winners(self) -> list[int]:
        """Who got through: those whose step returned anything but False."""
        return [number for number, result in self.results.items() if result is not False]

    @property
    def winner(self) -> int:
        """The only one who got through; an AssertionError where it was not exactly one."""
        winners = self.winners
        assert len(winners) == 1, f"writers {winners} all got through; the others: {dict(self.errors)}"
        return winners[0]


def race(*steps: Callable[[], Any]) -> Race:
    """Make the calls at the same moment, each in a thread of its own. Errors other than StorageError are raised."""
    barrier = threading.Barrier(len(steps))

    def run(step: Callable[[], Any]) -> tuple[Any, StorageError | None]:
        barrier.wait()
        try:
            return step(), None
        except StorageError as error:
            return None, error

    with ThreadPoolExecutor(len(steps)) as pool:
        outcomes = list(pool.map(run, steps))
    return Race(
        results={number: result for number, (result, error) in enumerate(outcomes) if error is None},
        errors={number: error for number, (_, error) in enumerate(outcomes) if error is not None},
    )


def two_writers(
    step: Callable[[Checkpointer, int], Any], first: Checkpointer, second: Checkpointer | None = None
) -> Race:
    """Let two writers do ``step(driver, number)`` at the same moment, with one driver or with one each."""
    other = first if second is None else second
    return race(lambda: step(first, 0), lambda: step(other, 1))
