"""Across threads: which there are, what they ask; copying and deleting one."""

from __future__ import annotations

from typing import Any

import pytest

import milepost
from milepost import Command, ThreadInfo, entrypoint, interrupt, serde, task
from milepost._struct import replace
from milepost.checkpoint import Status, Swap
from milepost.errors import (
    InvalidThreadId,
    NoCheckpointer,
    SignatureInvalid,
    TargetDiffers,
    UnknownThread,
    WrongWorkflow,
)


@task
def double(number: int) -> int:
    return number * 2


@entrypoint
def adding(given: int, *, previous: int | None = None) -> int:
    if given < 0:
        raise ValueError("negative")
    return (previous or 0) + double(given).result()


@entrypoint
def asking(given: Any, *, previous: Any = None) -> Any:
    return [given, previous, interrupt({"about": given})]


@pytest.fixture
def threads(engine):
    for number in range(4):
        adding.invoke(number, thread_id=f"done-{number}")
    with pytest.raises(ValueError, match="negative"):
        adding.invoke(-1, thread_id="failed")
    for number in range(3):
        asking.invoke(number, thread_id=f"asking-{number}")
    asking.invoke(9, thread_id="cancelled")
    asking.cancel(thread_id="cancelled")


def ids(found):
    return [info.thread_id for info in found]


@pytest.mark.usefixtures("threads")
def test_a_workflow_lists_its_own_threads(checkpointer):
    assert ids(adding.list_threads()) == ["done-0", "done-1", "done-2", "done-3", "failed"]
    assert ids(asking.list_threads()) == ["asking-0", "asking-1", "asking-2", "cancelled"]
    info = next(asking.list_threads())
    head = checkpointer.load_head("asking-0")
    assert info == ThreadInfo(
        thread_id="asking-0",
        workflow="asking",
        status=Status.INTERRUPTED,
        updated=head.updated,
        pending=head.pending,
    )


@pytest.mark.usefixtures("threads")
def test_threads_are_listed_by_status():
    assert ids(adding.list_threads(status="failed")) == ["failed"]
    assert ids(asking.list_threads(status=["cancelled", "done"])) == ["cancelled"]
    assert ids(milepost.list_threads(status=("failed", "cancelled"))) == ["cancelled", "failed"]
    with pytest.raises(ValueError, match=r"'broken'.*interrupted"):
        adding.list_threads(status="broken")


@pytest.mark.usefixtures("threads")
def test_a_backend_lists_the_threads_of_all_workflows(checkpointer):
    every = ids(milepost.list_threads(checkpointer))
    assert every == sorted(every)
    assert len(every) == 9
    assert ids(milepost.list_threads(workflow="adding", status="done")) == [f"done-{n}" for n in range(4)]


@pytest.mark.usefixtures("threads")
def test_a_listing_goes_on_from_its_cursor():
    found, cursor, pages = [], None, 0
    while True:
        page = milepost.list_threads(limit=4, cursor=cursor)
        found += ids(page)
        pages, cursor = pages + 1, page.cursor
        if cursor is None:
            break
    assert (len(found), len(set(found)), pages) == (9, 9, 3)
    with pytest.raises(ValueError, match="0"):
        milepost.list_threads(limit=0)


@pytest.mark.usefixtures("threads")
def test_what_all_threads_ask_is_listed_and_can_be_answered():
    found = list(asking.pending_interrupts())
    assert [asked.thread_id for asked in found] == ["asking-0", "asking-1", "asking-2"]
    for number, asked in enumerate(found):
        (question,) = asked.interrupts
        assert question.value == {"about": number}
        assert (
            asked.checkpoint_id
            == asking.get_state(thread_id=asked.thread_id).config["configurable"]["checkpoint_id"]
        )
        assert asked.since >= asking.get_state(thread_id=asked.thread_id).created_at
    assert list(milepost.pending_interrupts()) == found
    assert list(adding.pending_interrupts()) == []
    first = found[0]
    asking.invoke(Command(resume={first.interrupts[0].id: "yes"}), thread_id=first.thread_id)
    assert list(asking.pending_interrupts()) == found[1:]


def test_a_question_counts_though_the_head_still_says_running(engine, checkpointer):
    """The process died between the append and the head's change."""
    asking.invoke(1, thread_id="t")
    head = checkpointer.load_head("t")
    running = replace(head, version=head.version + 1, status=Status.RUNNING, pending=())
    assert checkpointer.swap_head(Swap(head=running, expected=head.version))
    (asked,) = asking.pending_interrupts()
    assert [question.value for question in asked.interrupts] == [{"about": 1}]


def test_nothing_can_be_listed_where_nothing_is_kept(plain_engine):
    for attempt in (adding.list_threads, adding.pending_interrupts, milepost.list_threads):
        with pytest.raises(NoCheckpointer):
            attempt()


# -- copying -------------------------------------------------------------------------------------------------------


def test_a_copy_has_the_same_runs_and_goes_on_separately(engine):
    for given in (1, 2):
        adding.invoke(given, thread_id="source")
    adding.copy_thread("source", "target")
    source = [snapshot.values for snapshot in adding.get_state_history(thread_id="source")]
    assert [snapshot.values for snapshot in adding.get_state_history(thread_id="target")] == source == [6, 2]
    assert adding.invoke(10, thread_id="target") == 26
    assert adding.invoke(1, thread_id="source") == 8
    history = list(adding.get_state_history(thread_id="target"))
    assert [snapshot.values for snapshot in history] == [26, 6, 2]
    assert [snapshot.parent_config for snapshot in history] == [*(s.config for s in history[1:]), None]
    assert adding.invoke(None, history[1].config) == 6


def test_an_open_question_is_answered_in_each_copy_for_itself(engine):
    (question,) = asking.invoke("x", thread_id="source")["__interrupt__"]
    asking.copy_thread("source", "target")
    assert asking.get_state(thread_id="target").interrupts == (question,)
    assert ids(asking.list_threads(status="interrupted")) == ["source", "target"]
    assert asking.invoke(Command(resume={question.id: "here"}), thread_id="target") == ["x", None, "here"]
    assert asking.invoke(Command(resume={question.id: "there"}), thread_id="source") == ["x", None, "there"]


def test_a_run_under_way_is_cut_off_in_the_copy(engine):
    runs = []

    @task
    def copy() -> str:
        if not runs:
            body.copy_thread("source", "target")
        runs.append(1)
        return "copied"

    @entrypoint
    def body(given: int) -> Any:
        return [double(given).result(), copy().result()]

    assert body.invoke(1, thread_id="source") == [2, "copied"]
    state = body.get_state(thread_id="target")
    assert (state.status, state.owner, [shown.name for shown in state.tasks]) == ("running", None, ["double"])
    assert body.invoke(None, thread_id="target") == [2, "copied"]


def test_a_pruned_thread_is_copied_from_its_floor_on(engine):
    for given in (1, 2, 3):
        adding.invoke(given, thread_id="source")
    adding.prune(keep_last=1)
    adding.copy_thread("source", "target")
    assert [snapshot.values for snapshot in adding.get_state_history(thread_id="target")] == [12]
    assert adding.invoke(1, thread_id="target") == 14


def test_a_copy_overwrites_nothing(engine, checkpointer):
    adding.invoke(1, thread_id="source")
    adding.invoke(5, thread_id="target")
    with pytest.raises(TargetDiffers):
        adding.copy_thread("source", "target")
    assert adding.invoke(None, thread_id="target") == 10
    checkpointer.delete("target")
    with pytest.raises(TargetDiffers):
        adding.copy_thread("source", "target")
    with pytest.raises(UnknownThread):
        adding.copy_thread("nobody", "new")
    with pytest.raises(InvalidThreadId):
        adding.copy_thread("source", "source")
    with pytest.raises(WrongWorkflow):
        asking.copy_thread("source", "new")
    assert checkpointer.load_head("new") is None


class Opaque:
    """Nothing but a pickle can hold it."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_a_pickled_value_stays_on_its_thread_and_serves_a_fork_there(engine, checkpointer):
    serde.enable_pickle(b"a signing key of tests")
    try:

        @entrypoint
        def body(given: Any, *, previous: Any = None) -> Any:
            return Opaque(given.number + (previous.number if previous else 0))

        body.invoke(Opaque(1), thread_id="source")
        body.invoke(Opaque(2), thread_id="source")
        assert body.get_state(thread_id="source").values.number == 3
        assert body.invoke(None, body.get_state(thread_id="source").config).number == 3
        body.update_state({"configurable": {"thread_id": "source"}}, Opaque(10))
        assert body.invoke(Opaque(1), thread_id="source").number == 11
        with pytest.raises(SignatureInvalid, match="source"):
            body.copy_thread("source", "target")
        assert checkpointer.load_head("target") is None
    finally:
        serde.disable_pickle()


# -- deleting ------------------------------------------------------------------------------------------------------


def test_a_workflow_deletes_its_own_threads_only(engine, checkpointer):
    adding.invoke(1, thread_id="t")
    with pytest.raises(WrongWorkflow):
        asking.delete_thread("t")
    adding.delete_thread("t")
    assert adding.get_state(thread_id="t").status is None
    assert ids(adding.list_threads()) == []
    adding.delete_thread("t")
    adding.invoke(1, thread_id="t")
    checkpointer.delete_thread("t")
    assert adding.get_state(thread_id="t").status is None
