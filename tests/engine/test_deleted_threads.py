"""A thread that was deleted is as if nobody had ever started it, also for a process that still works on it."""

from __future__ import annotations

import pytest

from milepost import Command, entrypoint, interrupt, task
from milepost.checkpoint import Batch, Checkpointer, Deleted
from milepost.errors import NothingToResume, OwnershipLost, UnknownThread


@entrypoint
def asking(given, *, previous=None):
    return [given, previous, interrupt("?")]


@entrypoint
def counting(given, *, previous=None):
    return (previous or 0) + given


def test_a_deleted_thread_has_no_state_and_begins_anew(engine, checkpointer):
    assert counting.invoke(1, thread_id="t") == 1
    assert counting.invoke(1, thread_id="t") == 2
    checkpointer.delete("t")
    assert counting.get_state(thread_id="t").status is None
    with pytest.raises(UnknownThread):
        counting.invoke(None, thread_id="t")
    assert counting.invoke(5, thread_id="t") == 5
    assert counting.invoke(1, thread_id="t") == 6


def test_a_deleted_question_cannot_be_answered(engine, checkpointer):
    asking.invoke("first", thread_id="t")
    checkpointer.delete("t")
    with pytest.raises((UnknownThread, NothingToResume)):
        asking.invoke(Command(resume="late"), thread_id="t")
    asking.invoke("second", thread_id="t")
    assert asking.invoke(Command(resume="yes"), thread_id="t") == ["second", None, "yes"]


def test_another_workflow_may_take_the_name_of_a_deleted_thread(engine, checkpointer):
    counting.invoke(1, thread_id="t")
    checkpointer.delete("t")
    asking.invoke("x", thread_id="t")
    assert asking.get_state(thread_id="t").status == "interrupted"


def test_an_owner_whose_thread_is_deleted_is_told_at_its_next_write(engine, checkpointer):
    @task
    def erase():
        checkpointer.delete("t")

    @entrypoint
    def flow(_):
        erase().result()
        return "done"

    with pytest.raises(OwnershipLost):
        flow.invoke(1, thread_id="t")
    assert list(checkpointer.read("t")) == []
    assert flow.get_state(thread_id="t").status is None


def test_a_deletion_that_was_cut_off_after_its_tombstone_counts(engine, checkpointer):
    counting.invoke(1, thread_id="t")
    tombstone = Batch(id="x-1", records=(Deleted(at="2030-01-01T00:00:00+00:00"),))
    checkpointer.append("t", checkpointer.tail("t"), tombstone)
    with pytest.raises(UnknownThread):
        counting.invoke(None, thread_id="t")
    assert counting.invoke(7, thread_id="t") == 7
    checkpointer.delete("t")
    assert list(checkpointer.read("t")) == []


def test_a_pruned_thread_goes_on(engine, checkpointer: Checkpointer):
    for _ in range(3):
        counting.invoke(1, thread_id="t")
    checkpointer.prune(
        "t", checkpointer.load_head("t").run - 1
    )  # its last result stays: the next run asks for it
    assert counting.invoke(None, thread_id="t") == 3
    assert counting.invoke(1, thread_id="t") == 4
    assert next(position for position, _ in checkpointer.read("t")) == 3
