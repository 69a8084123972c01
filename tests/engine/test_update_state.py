"""update_state: a result written from outside, as if the workflow had returned it."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import Command, Engine, StateUpdate, entrypoint, interrupt, task
from milepost.errors import (
    AlreadyAnswered,
    InvalidUpdate,
    NothingToResume,
    NotSerializable,
    StorageUnavailable,
    ThreadBusy,
    UnknownThread,
    WrongWorkflow,
)
from milepost.memory import MemoryCheckpointer

HERE = {"configurable": {"thread_id": "t"}}


@entrypoint
def adding(given: int, *, previous: int | None = None) -> int:
    return (previous or 0) + given


@entrypoint
def asking(given: Any, *, previous: Any = None) -> Any:
    return [given, previous, interrupt("?")]


def records(checkpointer, thread="t"):
    return [record.kind for _, batch in checkpointer.read(thread) for record in batch.records]


def test_what_is_written_is_the_last_result_and_the_next_runs_previous(engine):
    adding.invoke(1, thread_id="t")
    config = adding.update_state(HERE, 100)
    state = adding.get_state(thread_id="t")
    assert (state.values, state.status, state.next, state.config) == (100, "done", (), config)
    assert state.metadata == {"source": "update", "step": 2, "parents": {}}
    assert adding.invoke(None, thread_id="t") == 100
    assert adding.invoke(1, thread_id="t") == 101


def test_a_fresh_thread_can_be_written(engine):
    adding.update_state(HERE, 5)
    assert adding.get_state(thread_id="t").values == 5
    assert adding.invoke(1, thread_id="t") == 6


def test_final_writes_the_value_and_what_is_saved_apart(engine):
    @entrypoint
    def body(given: int, *, previous: int | None = None) -> entrypoint.final[str, int]:
        return entrypoint.final(value=f"{given} after {previous}", save=given)

    body.update_state(HERE, entrypoint.final(value="written", save=41))
    assert body.get_state(thread_id="t").values == "written"
    assert body.invoke(1, thread_id="t") == "1 after 41"


def test_it_is_one_batch_and_the_head_is_laid_down(engine, checkpointer):
    adding.invoke(1, thread_id="t")
    tail = checkpointer.tail("t")
    adding.update_state(HERE, 3)
    assert checkpointer.tail("t") == tail + 1
    head = checkpointer.load_head("t")
    assert (head.status, head.owner, head.run, head.pending) == ("done", None, tail, ())


def test_an_interrupted_run_is_abandoned_and_its_answer_comes_too_late(engine):
    """LangGraph keeps the late answer for the next question (W2)."""
    (question,) = asking.invoke("first", thread_id="t")["__interrupt__"]
    asking.update_state(HERE, "written")
    for late in (Command(resume="late"), Command(resume={question.id: "late"})):
        with pytest.raises(NothingToResume):
            asking.invoke(late, thread_id="t")
    assert asking.get_state(thread_id="t").values == "written"
    again = asking.invoke("second", thread_id="t")["__interrupt__"]
    assert [asked.value for asked in again] == ["?"]
    assert asking.invoke(Command(resume="yes"), thread_id="t") == ["second", "written", "yes"]


def test_a_failed_run_is_abandoned(engine):
    @entrypoint
    def failing(given: int, *, previous: int | None = None) -> int:
        if given < 0:
            raise ValueError("negative")
        return given + (previous or 0)

    with pytest.raises(ValueError, match="negative"):
        failing.invoke(-1, thread_id="t")
    failing.update_state(HERE, 10)
    assert [snapshot.status for snapshot in failing.get_state_history(thread_id="t")] == ["done", "abandoned"]
    assert failing.invoke(5, thread_id="t") == 15


def test_a_running_thread_is_busy(engine):
    caught = []

    @task
    def meddle() -> str:
        with pytest.raises(ThreadBusy):
            body.update_state(HERE, "meddled")
        caught.append(True)
        return "done"

    @entrypoint
    def body(given) -> str:
        return meddle().result()

    assert body.invoke(1, thread_id="t") == "done"
    assert caught


def test_as_node_is_the_workflow_or_one_of_three_names(engine):
    adding.update_state(HERE, 1, as_node="adding")
    assert adding.get_state(thread_id="t").values == 1
    with pytest.raises(InvalidUpdate, match="double") as caught:
        adding.update_state(HERE, 2, as_node="double")
    assert caught.value.choices == ("adding", "__input__", "__copy__", "__end__")
    for name in ("__copy__", "__end__"):
        with pytest.raises(InvalidUpdate, match="None"):
            adding.update_state(HERE, 2, as_node=name)
    assert adding.get_state(thread_id="t").values == 1


def test_as_input_records_a_run_that_has_not_begun(engine):
    adding.update_state(HERE, 10)
    config = adding.update_state(HERE, 5, as_node="__input__")
    state = adding.get_state(thread_id="t")
    assert (state.config, state.next, state.values, state.tasks) == (config, ("adding",), 10, ())
    assert adding.invoke(None, thread_id="t") == 15
    assert adding.get_state(thread_id="t").config == config


def test_as_copy_records_a_run_with_the_same_input(engine):
    adding.invoke(3, thread_id="t")
    adding.invoke(4, thread_id="t")
    first = list(adding.get_state_history(thread_id="t"))[-1]
    adding.update_state(first.config, None, as_node="__copy__")
    state = adding.get_state(thread_id="t")
    assert (state.next, state.metadata["source"], state.parent_config) == (("adding",), "fork", first.config)
    assert adding.invoke(None, thread_id="t") == 3
    adding.update_state(HERE, None, as_node="__copy__")
    assert adding.invoke(None, thread_id="t") == 3
    with pytest.raises(UnknownThread):
        adding.update_state({"configurable": {"thread_id": "new"}}, None, as_node="__copy__")


def test_as_end_settles_what_is_pending(engine, checkpointer):
    asking.update_state(HERE, "kept")
    asking.invoke("first", thread_id="t")
    config = asking.update_state(HERE, None, as_node="__end__")
    state = asking.get_state(thread_id="t")
    assert (state.config, state.status, state.next, state.interrupts) == (config, "abandoned", (), ())
    assert state.values == "kept"
    with pytest.raises(NothingToResume):
        asking.invoke(Command(resume="late"), thread_id="t")
    tail = checkpointer.tail("t")
    assert asking.invoke(None, thread_id="t") == "kept"
    assert asking.update_state(HERE, None, as_node="__end__") == config
    assert checkpointer.tail("t") == tail
    asking.invoke("second", thread_id="t")
    assert asking.invoke(Command(resume="yes"), thread_id="t") == ["second", "kept", "yes"]


def test_a_checkpoint_id_names_the_parent(engine):
    for given in (1, 2, 3):
        adding.invoke(given, thread_id="t")
    first = list(adding.get_state_history(thread_id="t"))[-1]
    adding.update_state(first.config, 50)
    state = adding.get_state(thread_id="t")
    assert (state.values, state.parent_config) == (50, first.config)
    assert adding.invoke(1, thread_id="t") == 51


def test_what_was_written_has_no_input_to_run_again(engine):
    config = adding.update_state(HERE, 5)
    assert adding.invoke(None, config) == 5
    adding.invoke(1, thread_id="t")
    with pytest.raises(NothingToResume, match="update_state"):
        adding.invoke(None, config)
    assert adding.invoke(2, config) == 7


def test_what_cannot_be_kept_changes_nothing(engine, checkpointer):
    asking.invoke("first", thread_id="t")
    before = records(checkpointer)
    with pytest.raises(NotSerializable, match="update_state"):
        asking.update_state(HERE, object())
    assert records(checkpointer)[: len(before)] == before
    assert asking.get_state(thread_id="t").status == "interrupted"
    assert asking.invoke(Command(resume="yes"), thread_id="t") == ["first", None, "yes"]


def test_another_workflows_thread_is_left_alone(engine):
    adding.invoke(1, thread_id="t")
    with pytest.raises(WrongWorkflow):
        asking.update_state(HERE, 2)
    assert adding.get_state(thread_id="t").values == 1


def test_a_config_of_an_answered_run_takes_no_second_answer(engine):
    asking.invoke("first", thread_id="t")
    config = asking.get_state(thread_id="t").config
    asking.invoke(Command(resume="yes"), config)
    asking.update_state(HERE, "written")
    with pytest.raises(AlreadyAnswered):
        asking.invoke(Command(resume="other"), config)


def test_another_engine_reads_what_was_written(engine, checkpointer):
    adding.update_state(HERE, 8)
    other = Engine(checkpointer=checkpointer)
    with other:
        assert adding.invoke(1, thread_id="t") == 9
    other.close()


class DiesAfterTheAppend(MemoryCheckpointer):
    """Takes no change of a head any more, from the second on: as if the process had died in between."""

    left = 99

    def _swap_head(self, head, data, expected):
        self.left -= 1
        if self.left < 0:
            raise StorageUnavailable("gone")
        return super()._swap_head(head, data, expected)

    def _pause(self, seconds):
        """Send again at once."""


def test_what_is_on_record_counts_though_the_head_was_not_laid_down():
    driver = DiesAfterTheAppend(atomic_head=False, checked_tail=False)
    keeping = entrypoint(checkpointer=driver)(asking.func)
    keeping.invoke("first", thread_id="t")
    driver.left = 1
    keeping.update_state(HERE, "written")
    assert driver.load_head("t").status == "running"
    driver.left = 99
    assert keeping.get_state(thread_id="t").values == "written"
    keeping.invoke("second", thread_id="t")
    driver.left = 1
    keeping.cancel(thread_id="t")
    driver.left = 99
    assert keeping.get_state(thread_id="t").status == "cancelled"
    keeping.invoke(None, thread_id="t")
    assert keeping.invoke(Command(resume="yes"), thread_id="t") == ["second", "written", "yes"]


def test_several_updates_follow_one_another(engine):
    adding.invoke(1, thread_id="t")
    first = adding.get_state(thread_id="t").config
    adding.invoke(2, thread_id="t")
    config = adding.bulk_update_state(
        first, [[StateUpdate(10)], [StateUpdate(20, "adding")], [StateUpdate(5, as_node="__input__")]]
    )
    assert adding.invoke(None, thread_id="t") == 25
    history = list(adding.get_state_history(thread_id="t"))
    assert [snapshot.values for snapshot in history] == [25, 20, 10, 3, 1]
    assert history[0].config == config
    assert history[2].parent_config == first
    for wrong in ([], [[]], [[StateUpdate(1), StateUpdate(2)]]):
        with pytest.raises(InvalidUpdate):
            adding.bulk_update_state(HERE, wrong)
