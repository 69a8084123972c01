"""``name=`` and ``version=``: what a thread is bound to, and code that changed under runs that are under way."""

from __future__ import annotations

import pytest

from milepost import Command, entrypoint, get_version, interrupt, task
from milepost.errors import DivergenceError, InvalidDefinition, OutsideWorkflow, WrongWorkflow


@task
def old(given: str) -> str:
    return f"old {given}"


@task
def new(given: str) -> str:
    return f"new {given}"


def flow_of(version, first):
    @entrypoint(name="flow", version=version)
    def flow(given: str) -> list[object]:
        return [first(given).result(), interrupt("go on?"), get_version(), flow.version]

    return flow


def test_a_workflow_is_named_as_it_says_and_its_threads_are_bound_to_that_name(engine):
    @entrypoint(name="payments")
    def flow(given: str) -> str:
        return given

    @entrypoint
    def payments(given: str) -> str:
        return "the same name"

    assert (flow.name, flow.__name__, repr(flow)) == ("payments", "payments", "<workflow payments>")
    assert list(flow.stream("x", thread_id="t")) == [{"payments": "x"}]
    assert payments.invoke("y", thread_id="t") == "the same name"
    with pytest.raises(WrongWorkflow) as caught:
        entrypoint(name="other")(flow.func).invoke("x", thread_id="t")
    assert caught.value.bound_to == "payments"


@pytest.mark.parametrize("name", ["", 3])
def test_a_name_is_a_text(name):
    with pytest.raises(InvalidDefinition, match="name="):
        entrypoint(name=name)(lambda given: given)


@pytest.mark.parametrize("version", [1.5, True, ()])
def test_a_version_is_an_int_or_a_str(version):
    with pytest.raises(InvalidDefinition, match="version="):
        entrypoint(version=version)(lambda given: given)


@pytest.mark.parametrize("began", [1, "1", None])
def test_a_run_keeps_the_version_that_it_began_under(engine, began):
    flow_of(began, old).invoke("x", thread_id="t")
    assert flow_of(2, old).invoke(Command(resume="yes"), thread_id="t") == ["old x", "yes", began, 2]
    flow_of(2, old).invoke("x", thread_id="t")
    assert flow_of(3, old).invoke(Command(resume="yes"), thread_id="t") == ["old x", "yes", 2, 3]


def test_changed_code_says_which_call_and_both_versions(engine):
    flow_of(1, old).invoke("x", thread_id="t")
    with pytest.raises(DivergenceError, match="began under version 1, and this code is version 2") as caught:
        flow_of(2, new).invoke(Command(resume="yes"), thread_id="t")
    error = caught.value
    assert (error.call, error.began_under, error.version) == ("0", 1, 2)
    assert "old" in error.recorded
    assert "new" in error.made
    assert flow_of(1, old).invoke(None, thread_id="t")[:2] == ["old x", "yes"]


def test_divergence_of_one_version_speaks_of_none(engine):
    flow_of(2, old).invoke("x", thread_id="t")
    with pytest.raises(DivergenceError) as caught:
        flow_of(2, new).invoke(Command(resume="yes"), thread_id="t")
    assert "version" not in str(caught.value)


def branching(version):
    @entrypoint(name="flow", version=version)
    def flow(given: str) -> str:
        made = old(given) if get_version(1) < 2 else new(given)
        return f"{made.result()} {interrupt('go on?')}"

    return flow


@pytest.mark.parametrize("began", [None, 1])
def test_code_that_branches_on_the_version_serves_runs_under_way_and_new_ones(engine, began):
    flow_of(began, old).invoke("x", thread_id="before")
    branching(2).invoke("x", thread_id="after")
    assert branching(2).invoke(Command(resume="yes"), thread_id="before") == "old x yes"
    assert branching(3).invoke(Command(resume="yes"), thread_id="after") == "new x yes"


def test_tasks_and_nested_workflows_see_the_version_of_the_run(engine):
    @task
    def seen() -> object:
        return get_version()

    @entrypoint(version=7)
    def inner(given: str) -> object:
        return get_version()

    @entrypoint(version=2)
    def flow(given: str) -> list[object]:
        return [seen().result(), inner.invoke("x"), get_version()]

    assert flow.invoke("x", thread_id="t") == [2, 2, 2]


def test_without_a_checkpointer_a_run_is_of_the_code_that_runs_it(plain_engine):
    @entrypoint(version=2)
    def flow(given: str) -> object:
        return get_version()

    assert flow.invoke("x") == 2


def test_there_is_no_version_outside_a_workflow():
    with pytest.raises(OutsideWorkflow):
        get_version()
