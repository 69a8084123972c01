"""``Runtime``: what bodies and tasks may ask of their run."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest

import milepost
from backends import CHOSEN
from manual_clock import ManualClock
from milepost import (
    Command,
    ExecutionInfo,
    InMemoryStore,
    Runtime,
    entrypoint,
    get_runtime,
    interrupt,
    task,
)
from milepost.errors import OutsideWorkflow


@dataclasses.dataclass
class Context:
    name: str


def test_a_runtime_gives_context_store_writer_and_previous_to_bodies_and_tasks(engine):
    @task
    def look(runtime: Runtime[Context]) -> list[Any]:
        runtime.stream_writer("task")
        runtime.store.put(("a",), "k", {"v": 1})
        return [runtime.context.name, runtime.previous, runtime.version]

    @entrypoint(context_schema=Context, store=InMemoryStore(), version=3)
    def flow(given: str, runtime: Runtime[Context]) -> list[Any]:
        runtime.stream_writer("body")
        seen = look().result()
        return [seen, runtime.previous, runtime.store.get(("a",), "k").value, runtime.version]

    first = flow.invoke("x", thread_id="t", context=Context("ada"))
    assert first == [["ada", None, 3], None, {"v": 1}, 3]
    chunks = list(flow.stream("x", thread_id="t", context=Context("eve"), stream_mode="custom"))
    assert chunks == ["body", "task"]
    assert flow.get_state(thread_id="t").values[:2] == [["eve", first, 3], first]


@task
def by_name(runtime) -> str:
    return type(runtime).__name__


@task
def optional(runtime: Runtime | None = None) -> str:
    return type(runtime).__name__


@task
def text(runtime: str = "mine") -> str:
    return runtime


@task
def by_position(first: int, runtime: Runtime) -> str:
    return type(runtime).__name__


def test_a_runtime_is_filled_in_by_name_unless_the_annotation_or_the_caller_says_otherwise(engine):
    @entrypoint
    def flow(given: str) -> list[str]:
        calls = [by_name(), optional(), text(), by_position(1), text(runtime="yours"), by_name(runtime=1)]
        return [call.result() for call in calls]

    injected = ["FrameRuntime", "FrameRuntime", "mine", "FrameRuntime", "yours", "int"]
    assert flow.invoke("x", thread_id="t") == injected


@pytest.fixture(params=CHOSEN[:1])
def clock(request):
    return ManualClock()


def test_execution_info_tells_where_code_runs(clock):
    @task
    def inside() -> ExecutionInfo:
        return get_runtime().execution_info

    @task
    def outside(kept: list[Any]) -> None:
        kept.append(get_runtime().execution_info)
        kept.append(inside.func())

    @entrypoint(version="v2")
    def inner(kept: list[Any], runtime: Runtime) -> None:
        kept.append(runtime.execution_info)

    @entrypoint(checkpointer="memory://", version="v1")
    def flow(given: str, runtime: Runtime) -> None:
        kept.append(runtime.execution_info)
        outside(kept).result()
        inner.invoke(kept)

    kept: list[ExecutionInfo] = []
    with milepost.Engine(clock=clock) as engine:
        flow.invoke("x", thread_id="t")
    engine.close()
    body, called, again, nested = kept
    run = body.run_id
    began = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert body == ExecutionInfo(
        workflow="flow",
        task_id="",
        thread_id="t",
        run_id=run,
        checkpoint_id=run,
        node_first_attempt_time=began,
        version="v1",
        idempotency_key=body.idempotency_key,
    )
    assert called == again
    assert (called.task_id, called.node_attempt, called.node_first_attempt_time) == ("0", 1, began)
    assert (nested.task_id, nested.checkpoint_ns, nested.workflow) == ("1", "inner:1", "flow")
    assert len({body.idempotency_key, called.idempotency_key, nested.idempotency_key}) == 3


def test_an_idempotency_key_is_the_same_at_every_execution_of_a_call_and_differs_between_runs(engine):
    keys: list[str] = []

    @task
    def pay() -> None:
        keys.append(get_runtime().execution_info.idempotency_key)
        interrupt("sure?")

    @entrypoint
    def flow(given: str) -> None:
        pay().result()

    flow.invoke("x", thread_id="t")
    flow.invoke(Command(resume=1), thread_id="t")
    assert len(keys) >= 2
    assert len(set(keys)) == 1
    flow.invoke("x", thread_id="t")
    assert len(set(keys)) == 2


def test_without_a_checkpointer_there_is_no_run_to_name(plain_engine):
    @entrypoint(version=1)
    def flow(given: str, runtime: Runtime) -> ExecutionInfo:
        return runtime.execution_info

    told = flow.invoke("x")
    assert (told.workflow, told.task_id, told.version) == ("flow", "", 1)
    assert (told.thread_id, told.run_id, told.checkpoint_id) == (None, None, None)


def test_a_heartbeat_stops_a_long_task_when_the_run_is_to_stop(plain_engine):
    beats: list[int] = []

    @task
    def long(runtime: Runtime) -> None:
        runtime.heartbeat()
        beats.append(1)
        plain_engine.drain()
        runtime.heartbeat()
        beats.append(2)

    @entrypoint
    def flow(given: str) -> None:
        long().result()

    with pytest.raises(milepost.errors.EngineClosed):
        flow.invoke("x")
    assert beats == [1]


def test_a_runtime_made_by_hand_serves_a_body_that_is_called_as_a_function():
    @entrypoint(context_schema=Context)
    def flow(given: str, runtime: Runtime[Context]) -> str:
        runtime.stream_writer("dropped")
        runtime.heartbeat()
        return f"{given} {runtime.context.name} {runtime.previous} {runtime.store} {runtime.version}"

    made = Runtime(context=Context("ada"), previous=3)
    assert flow.func("x", runtime=made) == "x ada 3 None None"
    assert repr(made) == "<Runtime context=Context(name='ada')>"
    with pytest.raises(OutsideWorkflow, match="made by hand"):
        _ = made.execution_info


def test_outside_a_workflow_there_is_no_runtime():
    with pytest.raises(OutsideWorkflow, match=r"get_runtime\(\)"):
        get_runtime()
    with pytest.raises(OutsideWorkflow, match=r"get_version\(\)"):
        milepost.get_version()
