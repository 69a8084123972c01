"""Declaring workflows and tasks, calling them, and what is filled in."""

import concurrent.futures
import functools
import threading
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config, get_store, get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, StreamWriter, interrupt
from transcript import error_of, refusal_of, section, show, thread


@section
def declaring():
    """The ways to write a task and a workflow."""

    @task
    def bare(number):
        return number + 1

    @task()
    def called(number):
        return number + 2

    @task(name="renamed")
    def named(number):
        return number + 3

    class Adder:
        def __init__(self, step):
            self.step = step

        def add(self, number):
            return number + self.step

    plain = task(lambda number: number + 4, name="plain")
    method = task(Adder(5).add)
    partial = task(functools.partial(Adder(6).add), name="partial")

    @entrypoint()
    def workflow(number: int) -> list[int]:
        return [made(number).result() for made in (bare, called, named, plain, method, partial)]

    show("result", workflow.invoke(0))
    show("names", [next(iter(chunk)) for chunk in workflow.stream(0)])
    show("the function itself", bare.func(1), named.func(1))


@section
def what_cannot_be_declared():
    """Definitions that are refused; the classes of the errors differ."""

    def without_input():
        return 1

    def generator(number):
        yield number

    for function in (without_input, generator):
        show(function.__name__, refusal_of(entrypoint(), function))
    show("a task outside a workflow", refusal_of(task(generator.__call__), 1))
    show("interrupt outside a workflow", refusal_of(interrupt, "?"))
    show("get_config outside a workflow", refusal_of(get_config))


@task
def double(number):
    return 2 * number


@task
def fail(text):
    raise ValueError(text)


@section
def futures():
    """What a task call returns, and the standard library's functions over it."""

    @entrypoint()
    def workflow(numbers):
        made = [double(number) for number in numbers]
        done, pending = concurrent.futures.wait(made)
        called = threading.Event()
        made[0].add_done_callback(lambda future: called.set())
        failed = fail("no")
        return {
            "results": [future.result() for future in made],
            "with a timeout": made[0].result(timeout=10),
            "wait": [len(done), len(pending)],
            "as_completed": sorted(future.result() for future in concurrent.futures.as_completed(made)),
            "done": made[0].done(),
            "callback": called.wait(10),
            "no exception": made[0].exception(),
            "exception": repr(failed.exception()),
            "caught": error_of(failed.result),
        }

    for key, value in workflow.invoke([1, 2, 3]).items():
        show(key, value)


@section
def nesting():
    """Tasks in tasks, workflows in tasks and in workflows, recursion."""

    @task
    def factorial(number):
        return 1 if number == 0 else number * factorial(number - 1).result()

    @entrypoint()
    def inner(number):
        return double(number).result() + 1

    @task
    def calls_inner(number):
        return inner.invoke(number)

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        return {
            "factorial": factorial(number).result(),
            "workflow in a workflow": inner.invoke(number),
            "workflow in a task": calls_inner(number).result(),
        }

    show("result", workflow.invoke(3, thread()))


@section
def questions_of_nested_workflows():
    """A nested workflow asks; what the body and it did before is not done again."""
    ran = []

    @task
    def work(name):
        ran.append(name)
        return name

    @entrypoint()
    def inner(name):
        return [work(name).result(), interrupt(f"approve {name}?")]

    @entrypoint(checkpointer=InMemorySaver())
    def outer(names):
        return [inner.invoke(name) for name in names]

    config = thread()
    for given in (["a", "b"], Command(resume="yes"), Command(resume="no")):
        show("result", outer.invoke(given, config))
    show("ran", ran)


@section
def parallel():
    """Many calls at once, with and without a limit."""

    @entrypoint()
    def workflow(count):
        return sum(future.result() for future in [double(number) for number in range(count)])

    show("unlimited", workflow.invoke(50))
    show("limited", workflow.invoke(50, {"max_concurrency": 4}))


@section
def injecting():
    """What parameters of body and tasks are filled in, and the accessors."""
    store = InMemoryStore()

    @task
    def look(number, *, config: RunnableConfig, store: BaseStore, writer: StreamWriter, previous: Any):
        writer(f"task {number}")
        store.put(("seen",), str(number), {"number": number})
        return [config["configurable"]["user"], config["tags"], previous]

    @task
    def accessors():
        get_stream_writer()("by the accessor")
        return [get_config()["configurable"]["user"], get_store().get(("seen",), "1").value]

    @entrypoint(checkpointer=InMemorySaver(), store=store)
    def workflow(
        number: int,
        *,
        config: RunnableConfig,
        store: BaseStore,
        writer: StreamWriter,
        previous: Any = None,
        runtime: Runtime,
    ):
        writer(f"body {number}")
        runtime.stream_writer("by the runtime")
        seen = look(number).result()
        given = look(number, previous="given").result()
        return {
            "seen": seen,
            "given": given,
            "accessors": accessors().result(),
            "previous": previous and previous["seen"],
            "config": [config["configurable"]["user"], config["metadata"]["team"]],
            "store": store.get(("seen",), str(number)).value,
            "runtime": [runtime.store is store, runtime.previous == previous],
        }

    config = thread(user="ann") | {"tags": ["mine"], "metadata": {"team": "red"}}
    for number in (1, 2):
        for mode, chunk in workflow.stream(number, config, stream_mode=["custom", "values"]):
            show(mode, chunk)


@dataclass
class Settings:
    model: str
    limit: int = 3


@section
def context():
    """The context of a run, its schema, and what the runtime tells."""

    @task
    def in_a_task():
        return get_runtime(Settings).context.model

    @entrypoint(checkpointer=InMemorySaver(), context_schema=Settings)
    def workflow(_: str, runtime: Runtime[Settings]):
        info = runtime.execution_info
        return {
            "class": type(runtime.context).__name__,
            "model": runtime.context.model,
            "limit": runtime.context.limit,
            "task": in_a_task().result(),
            "thread": info.thread_id,
            "attempt": info.node_attempt,
        }

    config = thread()
    name = config["configurable"]["thread_id"]
    for given in (Settings(model="large"), {"model": "small", "limit": 1}):
        found = workflow.invoke("go", config, context=given)
        show("found", found | {"thread": found["thread"] == name})

    @entrypoint()
    def without(_, runtime: Runtime):
        return runtime.context

    show("without", without.invoke("go"))
