"""Which closed runs a thread keeps, and pruning the others while everything goes on.

Only a prefix of closed runs goes. The newest run stays, and while it is not done, so does what it began from: the
next run's ``previous`` comes from there. A run that goes back to an older one carries what it saw, so a start that
races with pruning names nothing that pruning may take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from milepost import _ids
from milepost._fold import RunState, ThreadState
from milepost._struct import Struct
from milepost.checkpoint import Status, contested

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta

    from milepost._clock import Clock
    from milepost.checkpoint import Batch, Checkpointer

_EVERY: Final = 16
"""After how many runs a retention by age alone looks again."""


class Pruned(Struct):
    """What pruning did: how many threads it looked at, how many runs and batches it dropped.

    ``failed`` names the threads that could not be read or written; the log says why.
    """

    threads: int = 0
    runs: int = 0
    batches: int = 0
    failed: tuple[str, ...] = ()


class Retention(Struct):
    """Which runs a thread keeps: the newest ``keep_last``, and those that ended since ``older_than`` ago.

    A run goes when both say so. ``older_than`` is a timedelta or seconds (for pruning by hand, a datetime, too).
    Without ``keep_last``, one. The newest run always stays, and what it began from while it is not done.

    Given to a workflow, it is applied when a run finishes or pauses, whenever as many runs as it keeps have begun once
    more: a thread then holds less than twice ``keep_last`` closed runs.

    Raises:
        ValueError: nothing is said, ``keep_last`` is below 1, or ``older_than`` is negative or has no time zone.
        TypeError: ``older_than`` is of another type.
    """

    keep_last: int | None
    older_than: timedelta | float | datetime | None

    def __init__(
        self, *, keep_last: int | None = None, older_than: timedelta | float | datetime | None = None
    ) -> None:
        if keep_last is None and older_than is None:
            raise ValueError("say which runs to keep: keep_last=…, older_than=…, or both")
        if keep_last is not None and keep_last < 1:
            raise ValueError(
                f"keep_last is how many of a thread's runs stay, at least 1; not {keep_last!r}. To drop all of a "
                f"thread, delete it"
            )
        if older_than is not None:
            _check_age(older_than)
        super().__init__(keep_last=keep_last, older_than=older_than)

    def limit(self, now: datetime) -> datetime | None:
        """Return the time before which a run has ended that may go; None where age does not matter."""
        from datetime import datetime, timedelta

        age = self.older_than
        if age is None or isinstance(age, datetime):
            return age
        return now - (age if isinstance(age, timedelta) else timedelta(seconds=age))

    def apply(
        self, checkpointer: Checkpointer, run: RunState, thread: str, clock: Clock, *, finished: bool
    ) -> None:
        """Prune a thread whose run has just finished or paused, if it is time to; what goes wrong is logged."""
        if not self._is_due(run, finished=finished):
            return
        try:
            prune_thread(checkpointer, thread, self, clock.now())
        except Exception as error:  # noqa: BLE001 - the run has ended, whatever becomes of older ones
            _warn(thread, error)

    def _is_due(self, run: RunState, *, finished: bool) -> bool:
        """Tell whether as many runs as are kept have begun once more, or may have between two that finished."""
        started = run.started
        if started.after is None:
            return False
        if (started.step or 0) % (self.keep_last or _EVERY) == 0:
            return True
        before = _ids.run_position(started.after)
        followed = None not in {before, started.previous} and (started.previous or 0) >= (before or 0)
        return finished and not followed


def _check_age(age: Any) -> None:
    from datetime import datetime, timedelta

    if isinstance(age, datetime):
        if age.tzinfo is None:
            raise ValueError("older_than is a datetime without a time zone: give it one, such as UTC")
    elif isinstance(age, bool) or not isinstance(age, int | float | timedelta):
        raise TypeError(f"older_than is a timedelta, seconds or a datetime; not {age!r}")
    elif (age.total_seconds() if isinstance(age, timedelta) else age) < 0:
        raise ValueError(f"older_than is how long ago a run ended, so it is not negative; not {age!r}")


def prune_thread(
    checkpointer: Checkpointer, thread: str, retention: Retention, now: datetime
) -> tuple[int, int]:
    """Drop what a retention does not keep of one thread; return how many runs and batches those were."""
    survey = _Survey(thread)
    keep = contested(survey.looking(checkpointer.read(thread)))
    before, runs = survey.end(retention.keep_last or 1, retention.limit(now))
    if not runs:
        return 0, 0
    checkpointer.prune(thread, before, frozenset(position for position in keep if position < before))
    return runs, before - survey.floor


class _Survey:
    """Where the runs of a thread began and when they ended, read in one pass."""

    def __init__(self, thread: str) -> None:
        self.floor = 0
        self.state = ThreadState(thread)
        self.runs: list[RunState] = []

    def looking(self, journal: Iterator[tuple[int, Batch]]) -> Iterator[tuple[int, Batch]]:
        """Pass a journal through, and look at it."""
        state = self.state
        for position, batch in journal:
            if not state.tail:
                self.floor = position
            state.apply(position, batch)
            if state.run is None:
                self.runs.clear()  # a tombstone: what is before it is going already
            elif not self.runs or state.run is not self.runs[-1]:
                self._forget_values()
                self.runs.append(state.run)
            yield position, batch

    def _forget_values(self) -> None:
        """Keep only the dates of a run that has ended."""
        if self.runs:
            ended = self.runs[-1]
            ended.outcomes, ended.observed, ended.questions, ended.answers = {}, {}, {}, {}

    def end(self, keep_last: int, limit: datetime | None) -> tuple[int, int]:
        """Return the position before which everything may go, and how many runs that are."""
        from datetime import datetime

        needed = self._needed()
        count = 0
        for run, after in zip(self.runs, self.runs[1:], strict=False):
            ended = run.rested
            recent = limit is not None and (ended is None or datetime.fromisoformat(ended) >= limit)
            if recent or count >= len(self.runs) - keep_last or after.position > needed:
                break
            count += 1
        return (self.runs[count].position if count else 0), count

    def _needed(self) -> int:
        """Return the first position that the newest run, or the run after it, may still read."""
        newest = self.runs[-1] if self.runs else None
        if newest is None:
            return 0
        if newest.status is Status.DONE or newest.started.previous is None:
            return newest.position
        return min(newest.position, newest.started.previous)


def _warn(thread: str, error: Exception) -> None:
    from milepost import log

    log.logger.warning("thread %r was not pruned: %s", thread, error, extra={"thread_id": thread})


def prune_threads(
    checkpointer: Checkpointer, threads: Iterator[str], retention: Retention, now: datetime
) -> Pruned:
    """Prune these threads one after another; one that cannot be read does not keep the others.

    Raises:
        StorageUnavailable: the backend does not answer.
    """
    from milepost.errors import MilepostError, StorageUnavailable

    looked = runs = batches = 0
    failed: list[str] = []
    for thread in threads:
        looked += 1
        try:
            found = prune_thread(checkpointer, thread, retention, now)
        except StorageUnavailable:
            raise
        except MilepostError as error:
            _warn(thread, error)
            failed.append(thread)
        else:
            runs, batches = runs + found[0], batches + found[1]
    return Pruned(threads=looked, runs=runs, batches=batches, failed=tuple(failed))
