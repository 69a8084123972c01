"""A thread whose batches cannot be read any more can still be deleted, and no position of it becomes free."""

from __future__ import annotations

import pytest

from milepost.checkpoint import Abandoned, Batch, Head, Status, Swap
from milepost.errors import Corrupt, PositionTaken
from milepost.memory import MemoryCheckpointer

BATCH = Batch(id="s-1", records=(Abandoned(at="now", run="r"),))
HEAD = Head(thread="t", version=1, status=Status.DONE, workflow="w", run=0, nonce="n", updated="now")


@pytest.fixture(params=[True, False], ids=["one step", "split"])
def driver(request):
    return MemoryCheckpointer(atomic_head=request.param, checked_tail=request.param)


@pytest.mark.parametrize("damaged", [0, 1, 2])
@pytest.mark.parametrize("headless", [False, True])
def test_a_damaged_thread_can_be_deleted(driver, damaged, headless):
    for position in range(3):
        driver._append("t", position, b"{" if position == damaged else BATCH.encode(), None)
    if not headless:
        assert driver.swap_head(Swap(head=HEAD, expected=None))
    with pytest.raises(Corrupt):
        list(driver.read("t"))
    driver.delete("t")
    assert (list(driver.read("t")), driver.load_head("t"), driver.tail("t")) == ([], None, 4)
    for position in range(4):
        with pytest.raises(PositionTaken):
            driver.append("t", position, BATCH)
    driver.append("t", 4, BATCH)
    assert [position for position, _ in driver.read("t")] == [4]
