"""An append whose answer was lost, and whose position was freed since, is neither applied nor refused: unknown."""

from __future__ import annotations

import pytest

from milepost.checkpoint import Abandoned, Batch, Head, Status, Swap
from milepost.errors import PositionTaken, StorageUnavailable
from milepost.memory import MemoryCheckpointer


def batch(name):
    return Batch(id=name, records=(Abandoned(at="now", run="r"),))


def head(version=1):
    return Head(
        thread="t", version=version, status=Status.RUNNING, workflow="w", run=0, nonce="n", updated="now"
    )


class Slow(MemoryCheckpointer):
    """Answers the first append with nothing; what happens before it is sent again is ``meanwhile``."""

    def __init__(self):
        super().__init__(atomic_head=False, checked_tail=False)
        self.silent = False
        self.meanwhile = lambda: None

    def _append(self, thread, position, data, swap):
        super()._append(thread, position, data, swap)
        if self.silent:
            self.silent = False
            raise StorageUnavailable("no answer")

    def _pause(self, seconds):
        self.meanwhile()


def test_an_append_that_was_pruned_before_its_answer_came_is_unknown():
    driver = Slow()
    driver.silent = True

    def followed_and_pruned():
        driver.append("t", 1, batch("other-1"))
        driver.prune("t", 1)

    driver.meanwhile = followed_and_pruned
    with pytest.raises(StorageUnavailable, match="whether that was applied before is unknown"):
        driver.append("t", 0, batch("mine-1"))


def test_an_append_at_a_pruned_position_that_was_never_sent_before_is_refused():
    driver = Slow()
    driver.prune("t", 3)
    with pytest.raises(PositionTaken):
        driver.append("t", 1, batch("late-1"))


def test_who_wakes_a_thread_and_finds_its_batch_nowhere_is_told_that_nobody_knows():
    """Another process freed the position after it was read; this one's driver did not know, and appended there."""
    driver = Slow()
    append = driver._append

    def landed_below(thread, position, data, swap):
        append(thread, position, data, swap)
        driver.prune("t", 1)

    driver._append = landed_below
    with pytest.raises(StorageUnavailable, match="unknown"):
        driver.wake("t", 0, batch("mine-1"), Swap(head=head(), expected=None))
