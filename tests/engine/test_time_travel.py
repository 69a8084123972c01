"""Going back: a run is run again from its input, or a new input goes on from what it left."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from milepost import Command, Runtime, entrypoint, get_config, interrupt, task
from milepost.errors import AlreadyAnswered, ContextChanged, NothingToResume, UnknownCheckpoint

ran: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def _forget():
    ran.clear()


@task
def work(name: str) -> str:
    ran[name] += 1
    return f"{name}!"


@entrypoint
def adding(given: int, *, previous: int | None = None) -> int:
    work(str(given)).result()
    return (previous or 0) + given


@entrypoint
def asking(given: Any, *, previous: Any = None) -> Any:
    return [work(given).result(), previous, interrupt("?")]


def history(workflow):
    """Return the snapshots of the thread, oldest first."""
    return list(workflow.get_state_history(thread_id="t"))[::-1]


def test_a_closed_run_runs_again_with_its_input_and_what_it_saw(engine):
    for given in (1, 2, 3):
        adding.invoke(given, thread_id="t")
    first, second, third = history(adding)
    assert adding.invoke(None, second.config) == 3
    assert ran["2"] == 2
    forked = adding.get_state(thread_id="t")
    assert forked.metadata == {"source": "fork", "step": 4, "parents": {}}
    assert forked.parent_config == second.config
    assert history(adding)[:3] == [first, second, third]
    assert adding.invoke(10, thread_id="t") == 13
    assert adding.invoke(None, first.config) == 1
    assert adding.invoke(None, forked.config) == 3


def test_the_newest_run_runs_again_when_it_is_named(engine):
    adding.invoke(1, thread_id="t")
    adding.invoke(2, thread_id="t")
    assert adding.invoke(None, thread_id="t") == 3
    assert ran["2"] == 1
    assert adding.invoke(None, adding.get_state(thread_id="t").config) == 3
    assert ran["2"] == 2


def test_a_new_input_goes_on_from_what_a_run_left(engine):
    for given in (1, 2, 3):
        adding.invoke(given, thread_id="t")
    first, second, third = history(adding)
    assert adding.invoke(100, first.config) == 101
    assert adding.get_state(thread_id="t").parent_config == first.config
    assert (
        adding.invoke(100, thread_id="t", checkpoint_id=second.config["configurable"]["checkpoint_id"]) == 103
    )
    assert adding.invoke(100, third.config) == 106
    assert adding.invoke(1, thread_id="t") == 107


def test_a_new_input_goes_on_from_what_an_unfinished_run_saw(engine):
    asking.update_state({"configurable": {"thread_id": "t"}}, "base")
    asking.invoke("left", thread_id="t")
    left = asking.get_state(thread_id="t")
    asking.update_state({"configurable": {"thread_id": "t"}}, "newer")
    asking.invoke("again", left.config)
    assert asking.invoke(Command(resume="yes"), thread_id="t") == ["again!", "base", "yes"]


def test_a_run_from_an_abandoned_fork_sees_what_the_fork_saw(engine):
    for value in ("old", "new"):
        asking.update_state({"configurable": {"thread_id": "t"}}, value)
    old, _ = history(asking)
    asking.invoke("fork", old.config)
    assert asking.get_state(thread_id="t").values == "old"
    asking.invoke("after", thread_id="t")
    assert asking.invoke(Command(resume="yes"), thread_id="t") == ["after!", "old", "yes"]


def test_questions_are_asked_anew_in_a_run_that_runs_again(engine):
    """LangGraph returns the old answer and ignores the new one."""
    (question,) = asking.invoke("x", thread_id="t")["__interrupt__"]
    config = asking.get_state(thread_id="t").config
    assert asking.invoke(Command(resume="first"), thread_id="t") == ["x!", None, "first"]
    with pytest.raises(AlreadyAnswered):
        asking.invoke(Command(resume={question.id: "late"}), config)
    (again,) = asking.invoke(None, config)["__interrupt__"]
    assert again.id != question.id
    assert ran["x"] == 2
    with pytest.raises(AlreadyAnswered):
        asking.invoke(Command(resume="late"), config)
    with pytest.raises(NothingToResume):
        asking.invoke(Command(resume={question.id: "late"}), config)
    assert asking.invoke(Command(resume="second"), thread_id="t") == ["x!", None, "second"]


def test_the_newest_run_while_it_is_open_goes_on(engine):
    asking.invoke("x", thread_id="t")
    config = asking.get_state(thread_id="t").config
    (question,) = asking.invoke(None, config)["__interrupt__"]
    assert asking.get_state(thread_id="t").config == config
    assert asking.invoke(Command(resume={question.id: "yes"}), config) == ["x!", None, "yes"]
    assert ran["x"] == 1
    assert len(history(asking)) == 1


def test_an_answer_to_a_run_that_was_left_behind_is_refused(engine):
    asking.invoke("left", thread_id="t")
    left = asking.get_state(thread_id="t").config
    asking.invoke("newest", thread_id="t")
    with pytest.raises(NothingToResume, match="newest"):
        asking.invoke(Command(resume="late"), left)
    assert asking.invoke(Command(resume="yes"), thread_id="t") == ["newest!", None, "yes"]


def test_a_fork_abandons_an_open_run(engine):
    asking.update_state({"configurable": {"thread_id": "t"}}, 1)
    asking.invoke("done", thread_id="t")
    asking.invoke(Command(resume=1), thread_id="t")
    asking.invoke("open", thread_id="t")
    *_, done, _open = history(asking)
    asking.invoke(None, done.config)
    assert [snapshot.status for snapshot in history(asking)] == ["done", "done", "abandoned", "interrupted"]


def test_a_failed_run_that_is_named_is_tried_again_in_place(engine):
    broken = [True]

    @task
    def fragile() -> str:
        if broken:
            raise ValueError("broken")
        return "mended"

    @entrypoint
    def body(given) -> str:
        return work("before").result() + fragile().result()

    with pytest.raises(ValueError, match="broken"):
        body.invoke(1, thread_id="t")
    broken.clear()
    assert body.invoke(None, body.get_state(thread_id="t").config) == "before!mended"
    assert ran["before"] == 1
    assert len(history(body)) == 1


def test_what_a_pruned_run_saw_is_no_empty_previous(engine):
    for given in (1, 2, 3):
        adding.invoke(given, thread_id="t")
    config = adding.get_state(thread_id="t").config
    adding.prune(keep_last=1)
    with pytest.raises(UnknownCheckpoint, match="pruned"):
        adding.invoke(None, config)
    assert adding.invoke(4, config) == 10


def test_a_fork_carries_what_it_saw_through_pruning(engine, checkpointer):
    large = "x" * 5000

    @task
    def write(given: str) -> str:
        return given

    @entrypoint
    def body(given: Any, *, previous: Any = None) -> Any:
        if given == "ask":
            return [previous, interrupt("?")]
        return write(given).result()

    body.invoke(large, thread_id="t")
    first = body.get_state(thread_id="t").config
    body.invoke("second", thread_id="t")
    body.invoke("ask", first)
    body.prune(keep_last=1)
    assert len(history(body)) == 1
    assert body.get_state(thread_id="t").values == large
    assert body.invoke(Command(resume="yes"), thread_id="t") == [large, "yes"]


def test_a_streamed_call_goes_back_too(engine):
    for given in (1, 2):
        adding.invoke(given, thread_id="t")
    first = history(adding)[0]
    assert list(adding.stream(None, first.config)) == [{"work": "1!"}, {"adding": 1}]
    assert list(
        adding.stream(5, thread_id="t", checkpoint_id=first.config["configurable"]["checkpoint_id"])
    ) == [
        {"work": "5!"},
        {"adding": 6},
    ]


def test_the_body_does_not_read_which_run_was_addressed(engine):
    seen = []

    @entrypoint
    def body(given, *, config) -> int:
        seen.append(dict(config["configurable"]))
        return given

    body.invoke(1, thread_id="t")
    body.invoke(None, body.get_state(thread_id="t").config)
    assert all(configurable == {"thread_id": "t"} for configurable in seen)


def test_a_nested_call_goes_back_on_its_own_thread_once(engine):
    adding.invoke(1, thread_id="inner")
    adding.invoke(2, thread_id="inner")
    first = list(adding.get_state_history(thread_id="inner"))[-1]

    @entrypoint
    def outer(given) -> Any:
        value = adding.invoke(None, first.config)
        return [value, interrupt("?")]

    outer.invoke(0, thread_id="outer")
    assert outer.invoke(Command(resume="yes"), thread_id="outer") == [1, "yes"]
    assert len(list(adding.get_state_history(thread_id="inner"))) == 3


@entrypoint(version=2)
def knowing(given: str, runtime: Runtime) -> list[Any]:
    config = get_config()
    return [given, runtime.context, config["configurable"].get("user"), config.get("tags"), runtime.version]


def test_a_run_that_runs_again_has_its_context_and_config_unless_others_are_given(engine):
    config = {"tags": ["red"], "configurable": {"thread_id": "t", "user": "ann"}}
    assert knowing.invoke("a", config, context={"limit": 1}) == ["a", {"limit": 1}, "ann", ["red"], 2]
    knowing.invoke("b", thread_id="t", context={"limit": 2})
    first, _ = history(knowing)
    assert knowing.invoke(None, first.config) == ["a", {"limit": 1}, "ann", ["red"], 2]
    again = knowing.get_state(thread_id="t")
    assert (again.metadata["user"], again.metadata["tags"], again.metadata["source"]) == (
        "ann",
        ["red"],
        "fork",
    )
    assert knowing.invoke(None, first.config, context={"limit": 3})[1] == {"limit": 3}


def test_a_run_that_goes_on_keeps_its_context_when_it_is_named(engine):
    @entrypoint
    def flow(given: str, runtime: Runtime) -> list[Any]:
        return [runtime.context, interrupt("?")]

    flow.invoke("a", thread_id="t", context="mine")
    (asking,) = history(flow)
    with pytest.raises(ContextChanged):
        flow.invoke(Command(resume=1), asking.config, context="another")
    with pytest.raises(ContextChanged):
        flow.invoke(None, asking.config, context="another")
    assert flow.invoke(Command(resume=1), asking.config) == ["mine", 1]
