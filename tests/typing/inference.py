"""What a user's type checker infers from milepost. Read by mypy, never run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, TypedDict, assert_type

from milepost import (
    BaseStore,
    CachePolicy,
    Command,
    Decision,
    Engine,
    InMemoryCache,
    InMemoryStore,
    Interrupt,
    MemorySaver,
    RetryPolicy,
    Run,
    RunnableConfig,
    Runtime,
    StateSnapshot,
    StreamWriter,
    TaskFuture,
    ThreadInfo,
    TimeoutPolicy,
    Workflow,
    as_completed,
    busy,
    entrypoint,
    events,
    get_config,
    get_deadline,
    get_idempotency_key,
    get_runtime,
    get_store,
    get_stream_writer,
    get_version,
    heartbeat,
    interrupt,
    open_checkpointer,
    open_store,
    sleep,
    task,
)
from milepost.checkpoint import Checkpointer, Status
from milepost.store import Item, Store


@task
def length(text: str, *, times: int = 1) -> int:
    return times * len(text)


@task(retry_policy=RetryPolicy(retry_on=[ValueError]), timeout=timedelta(seconds=5), on_unknown="fail")
def careful(text: str) -> int:
    assert_type(get_deadline(), float | None)
    assert_type(get_idempotency_key(), str)
    heartbeat()
    return len(text)


@entrypoint(retry_policy=[RetryPolicy(), RetryPolicy(max_attempts=9)], timeout=TimeoutPolicy(run_timeout=5))
def patient(text: str) -> int:
    assert_type(careful(text), TaskFuture[int])
    assert_type(Decision.result(3), dict[str, Any])
    return careful(text).result()


@task(cache_policy=CachePolicy(key_func=len, ttl=timedelta(hours=1)))
def costly(text: str) -> int:
    return len(text)


@entrypoint(cache=InMemoryCache(), cache_policy=CachePolicy(ttl=60))
def cheap(text: str) -> int:
    assert_type(costly(text), TaskFuture[int])
    return costly(text).result()


def writing() -> None:
    cheap.invoke("text", thread_id="t", durability="exit")
    cheap.invoke("text", {"max_concurrency": 2, "durability": "async"}, thread_id="t")
    cheap.invoke("text", durability="later")  # type: ignore[arg-type]
    run = cheap.start("text", owner="ann", idempotency_key="k", tags=["a"], busy=busy.wait(5))
    assert_type(run, Run)
    assert_type(run.status, Status)
    assert_type(run.interrupts, tuple[Interrupt, ...])
    assert_type(next(run.events(after=3)).position, int | None)
    assert_type(cheap.invoke("text", thread_id="t", busy="join"), Any)
    sleep(timedelta(days=1))
    sleep(1.5)
    sleep("a day")  # type: ignore[arg-type]


def forgetting(cache: InMemoryCache) -> None:
    assert_type(costly.clear_cache(cache), None)
    assert_type(cheap.clear_cache(), None)
    assert_type(CachePolicy().ttl, float | None)


@task()
def nothing() -> None:
    return


@task(name="shout")
def upper(text: str) -> str:
    return text.upper()


class Client:
    @task
    def fetch(self, key: str) -> bytes:
        return key.encode()

    @task
    async def load(self, key: str) -> bytes:
        return key.encode()


@task
async def fetch(text: str) -> int:
    return len(text)


@task(name="get")
async def named(text: str) -> str:
    return text


@entrypoint
async def asynchronous(text: str) -> int:
    assert_type(fetch(text), TaskFuture[int])
    assert_type(await fetch(text), int)
    assert_type(fetch(text).result(), int)
    assert_type(await named(text), str)
    assert_type(await length(text), int)
    assert_type(await Client().load(text), bytes)
    assert_type(await asyncio.gather(fetch(text), named(text)), tuple[int, str])
    assert_type(await asyncio.wait_for(fetch(text), 1), int)
    async for future in as_completed([fetch(text), length(text)]):
        assert_type(await future, int)
    return 1


@entrypoint(checkpointer="memory://")
async def configured_asynchronous(text: str) -> entrypoint.final[str, int]:
    return entrypoint.final(value=text, save=1)


async def async_calls(workflow: Workflow[Any, int], config: RunnableConfig, store: Store) -> None:
    assert_type(await workflow.ainvoke("text", config), Any)
    assert_type(await workflow.aget_state(config), StateSnapshot)
    assert_type(await workflow.aupdate_state(config, 3), dict[str, Any])
    assert_type([each async for each in workflow.aget_state_history(config, limit=2)], list[StateSnapshot])
    assert_type([each async for each in workflow.alist_threads()], list[ThreadInfo])
    assert_type(await workflow.acancel(thread_id="t"), None)
    assert_type(workflow.astream("text", config), AsyncGenerator[Any, None])
    assert_type(await store.aget(("a",), "key"), Item | None)
    assert_type(await fetch.func("text"), int)
    assert_type(await asynchronous.func("text"), int)
    started: Workflow[Any, int] = asynchronous
    await started.ainvoke("text")


halve = task(partial(divmod, 10), name="halve")


@entrypoint
def bare(text: str) -> int:
    return length(text).result()


@entrypoint(checkpointer=MemorySaver(), store=InMemoryStore())
def configured(
    text: str,
    *,
    previous: int | None = None,
    store: BaseStore,
    writer: StreamWriter,
    config: RunnableConfig,
) -> entrypoint.final[str, int]:
    assert_type(length(text), TaskFuture[int])
    assert_type(length(text, times=2).result(), int)
    assert_type(length(text).exception(), BaseException | None)
    assert_type(upper(text).result(timeout=1.5), str)
    assert_type(Client().fetch("key").result(), bytes)
    for future in as_completed([length(text), length(text)]):
        assert_type(future, TaskFuture[int])
    writer(f"{previous} {config} {store}")
    return entrypoint.final(value=text, save=1)


@dataclass
class Review:
    approved: bool


class Typed(TypedDict):
    approved: bool


def questions() -> None:
    assert_type(interrupt("ok?"), Any)
    assert_type(interrupt("ok?", response_schema=Review), Review)
    assert_type(interrupt("ok?", response_schema=Typed), Typed)
    assert_type(interrupt("ok?", response_schema=bool, key="ok", expires_in=60, default=False), bool)
    assert_type(interrupt("ok?", response_schema=list[int], expires_in=timedelta(days=1)), list[int])
    assert_type(interrupt("ok?", response_schema=Literal["yes", "no"]), Any)  # no class: say it with a cast
    assert_type(interrupt("ok?", response_schema={"type": "string"}), Any)
    assert_type(Interrupt("ok?", "int_1").response_schema, dict[str, Any] | None)


@entrypoint(context_schema=Review, name="reviews", version=2)
def in_context(text: str, runtime: Runtime[Review]) -> str:
    assert_type(runtime.context, Review)
    assert_type(get_runtime(Review).context, Review)
    assert_type(get_runtime().context, Any)
    assert_type(runtime.store, Store | None)
    assert_type(runtime.stream_writer, StreamWriter)
    assert_type(runtime.execution_info.node_attempt, int)
    assert_type(runtime.execution_info.deadline, datetime | None)
    assert_type(get_version(), int | str | None)
    assert_type(get_version(1), int)
    assert_type(get_version("v1"), str)
    return text


def in_context_calls() -> None:
    assert_type(in_context, Workflow[Any, str])
    assert_type(in_context.with_config({"tags": ["a"]}), Workflow[Any, str])
    assert_type(in_context.invoke("text", thread_id="t", context=Review(approved=True)), Any)
    assert_type(in_context.get_input_jsonschema(), dict[str, Any])
    assert_type(in_context.get_context_jsonschema(), dict[str, Any] | None)
    assert_type(in_context.version, int | str | None)


def calls(workflow: Workflow[Any, int], config: RunnableConfig) -> None:
    assert_type(workflow.get_state(config), StateSnapshot)
    assert_type(workflow.get_state(thread_id="t").interrupts, tuple[Interrupt, ...])
    assert_type(workflow.stream("text", config, stream_mode=["updates", "custom"]), Iterator[Any])
    assert_type(workflow.invoke("text", config), Any)  # the result, or the questions
    assert_type(workflow.invoke(Command(resume={"any": "value"}), thread_id="t"), Any)
    assert_type(workflow.func("text"), int)


def told(event: events.Event) -> None:
    assert_type(event.call, str)
    if isinstance(event, events.TaskFailed):
        assert_type(event.error, BaseException)
    if isinstance(event, events.WorkflowInterrupted):
        assert_type(event.interrupts, tuple[Interrupt, ...])


def names() -> None:
    assert_type(length.func("text"), int)
    assert_type(bare, Workflow[Any, int])
    assert_type(get_config(), RunnableConfig)
    assert_type(get_store(), Store)
    assert_type(get_stream_writer(), StreamWriter)
    assert_type(open_checkpointer("memory://"), Checkpointer)
    assert_type(open_store("memory://"), Store)
    with Engine(checkpointer="memory://", workers=2) as engine:
        assert_type(engine, Engine)


def mistakes() -> None:
    length(3)  # type: ignore[arg-type]
    length("text", often=2)  # type: ignore[call-arg]
    nothing("text")  # type: ignore[call-arg]
    bare.invoke("text", thread=3)  # type: ignore[call-arg]
    Command(3)  # type: ignore[call-arg]
