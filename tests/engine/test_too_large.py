"""What is over a backend's limit: the run says so, and what it was about to say is not lost with it."""

from __future__ import annotations

import pytest

from milepost import Command, entrypoint, interrupt, task
from milepost.errors import TaskFailed, TooLarge

LIMIT = 8_000
TEXT = "x" * 20_000


@pytest.fixture(autouse=True)
def _limited(checkpointer, monkeypatch):
    monkeypatch.setattr(checkpointer, "max_batch_bytes", LIMIT)


@task
def small() -> int:
    return 1


def test_a_task_whose_failure_is_too_large_fails_with_a_shorter_one(engine):
    ran = []

    @task
    def broken() -> int:
        ran.append(1)
        raise ValueError(TEXT)

    @entrypoint
    def flow(_):
        try:
            return broken().result()
        except (TaskFailed, ValueError) as error:
            caught = type(error).__name__, len(str(error)) < LIMIT
        return [*caught, small().result(), interrupt("?")]

    (asked,) = flow.invoke(1, thread_id="t")["__interrupt__"]
    assert asked.value == "?"
    (shown, *_) = flow.get_state(thread_id="t").tasks
    assert shown.error.startswith("ValueError: xxx")
    assert ran == [1]


def test_a_shorter_failure_is_the_same_on_replay(engine):
    @task
    def broken() -> int:
        raise ValueError(TEXT)

    @entrypoint
    def flow(_):
        try:
            broken().result()
        except Exception as error:
            seen.append((type(error), str(error)))
        return interrupt("?")

    seen = []
    flow.invoke(1, thread_id="t")
    assert flow.invoke(Command(resume="yes"), thread_id="t") == "yes"
    assert {kind for kind, _ in seen} == {TaskFailed}
    assert len(seen) >= 2
    assert len(set(seen)) == 1


def test_a_run_whose_failure_is_too_large_has_failed_and_raises_what_it_raised(engine, checkpointer):
    failing = [True]

    @entrypoint
    def flow(_):
        found = small().result()
        if failing:
            raise ValueError(TEXT)
        return found

    with pytest.raises(ValueError, match="xxx") as raised:
        flow.invoke(1, thread_id="t")
    assert str(raised.value) == TEXT
    state = flow.get_state(thread_id="t")
    assert (state.status, state.owner) == ("failed", None)
    assert state.error.startswith("ValueError: xxx")
    assert checkpointer.load_head("t").status == "failed"
    failing.clear()
    assert flow.invoke(None, thread_id="t") == 1


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_run_whose_question_is_too_large_has_failed_and_can_go_on(engine, checkpointer, durability):
    size = [len(TEXT)]

    @entrypoint
    def flow(_):
        return [small().result(), interrupt("x" * size[0])]

    with pytest.raises(TooLarge):
        flow.invoke(1, thread_id="t", durability=durability)
    state = flow.get_state(thread_id="t")
    assert (state.status, state.owner, state.interrupts) == ("failed", None, ())
    assert [shown.name for shown in state.tasks] == ["small"]
    size[0] = 1
    (asked,) = flow.invoke(None, thread_id="t")["__interrupt__"]
    assert asked.value == "x"
