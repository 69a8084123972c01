"""The runs of a thread, read from its journal one by one; also of journals from before runs named each other."""

from __future__ import annotations

import pytest

from milepost import open_checkpointer
from milepost._ids import run_id
from milepost._owner import make
from milepost._runs import find, walk
from milepost.checkpoint import Abandoned, Batch, Deleted, Finished, Head, Started, Status, Swap, Value
from milepost.errors import UnknownCheckpoint

NULL = Value(text="null")
OWNER = make()


@pytest.fixture
def driver():
    with open_checkpointer("memory://") as opened:
        yield opened


def started(position, step=None, after=None):
    return Started(
        run=run_id("t", position), workflow="w", at="now", owner=OWNER, input=NULL, step=step, after=after
    )


def finished(position):
    return Finished(run=run_id("t", position), at="now", result=NULL)


def written(driver, *batches, run):
    """Write a journal, and a head that says where its newest run began."""
    for position, records in enumerate(batches):
        driver.append("t", position, Batch(id=f"{OWNER.session}-{position}", records=tuple(records)))
    head = Head(thread="t", version=1, status=Status.DONE, workflow="w", run=run, nonce="n", updated="now")
    assert driver.swap_head(Swap(head=head, expected=None))


def ids(driver):
    return [run.id for run in walk(driver, "t")]


def test_runs_that_do_not_name_each_other_are_found_from_the_newest_back(driver):
    written(
        driver,
        [started(0)],
        [finished(0)],
        [started(2), finished(2)],
        [started(3)],
        [Abandoned(at="now", run=run_id("t", 3)), started(4)],
        run=4,
    )
    assert ids(driver) == [run_id("t", position) for position in (4, 3, 2, 0)]


def test_what_is_before_a_tombstone_counts_no_longer(driver):
    written(
        driver, [started(0), finished(0)], [Deleted(at="now")], [started(2), finished(2)], [started(3)], run=3
    )
    assert ids(driver) == [run_id("t", 3), run_id("t", 2)]


def test_a_run_ends_at_the_tombstone_of_its_thread(driver):
    written(driver, [started(0, step=1)], [finished(0)], [Deleted(at="now")], run=0)
    assert find(driver, "t", run_id("t", 0)).status is Status.DONE


def test_a_position_where_no_run_began_names_none(driver):
    written(driver, [started(0, step=1)], [finished(0)], run=0)
    for wrong in (run_id("t", 1), run_id("t", 7), "nonsense"):
        with pytest.raises(UnknownCheckpoint):
            find(driver, "t", wrong)


def test_a_run_whose_predecessor_was_pruned_is_the_last_to_be_found(driver):
    first, second = started(0, step=1), started(2, step=2, after=run_id("t", 0))
    written(driver, [first], [finished(0)], [second], [finished(2)], run=2)
    assert ids(driver) == [run_id("t", 2), run_id("t", 0)]
    driver.prune("t", 2)
    assert ids(driver) == [run_id("t", 2)]
