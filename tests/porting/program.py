"""A program for LangGraph that uses all of its Functional API and prints what it gets.

It runs as it stands under LangGraph (``python program.py``). ``porting.py`` runs it under milepost, too, with the block
of imports below replaced by that of ``imports_milepost.py`` and nothing else changed.

Each section is a function, runs on its own, and prints lines in which ids are numbered by their appearance. The sections
named ``w…`` show faults of LangGraph that do not happen in milepost: there, and only there, the two print different lines.
"""

# -- imports: all that porting changes ------------------------------------------------------------------------------
from langchain_core.runnables import RunnableConfig
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config, get_store, get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.runtime import Runtime, get_runtime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import (
    CachePolicy,
    Command,
    Interrupt,
    RetryPolicy,
    StreamWriter,
    TimeoutPolicy,
    interrupt,
)

# -- end of the imports ---------------------------------------------------------------------------------------------

import asyncio
import concurrent.futures
import functools
import itertools
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECTIONS: dict[str, Callable[[], None]] = {}
IDS: dict[str, str] = {}
THREADS = itertools.count(1)


def section(function):
    """Make a function a part of the program; parts run and print on their own, in the order in which they stand."""
    SECTIONS[function.__name__] = function
    return function


def thread(**more):
    """Return the config of a thread that nobody has used."""
    return {"configurable": {"thread_id": f"thread-{next(THREADS)}", **more}}


def tidy(value):
    """Return a value's text, with the ids of interrupts numbered by their appearance."""
    if isinstance(value, Interrupt):
        number = IDS.setdefault(value.id, f"id {len(IDS) + 1}")
        return f"Interrupt({tidy(value.value)}, {number})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{tidy(key)}: {tidy(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(tidy, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(tidy, value)) + ")"
    return repr(value)


def show(label, *values):
    """Print a line."""
    print(f"{label}:", *map(tidy, values), flush=True)


def error_of(function, *args, **kwargs):
    """Call, and return the error that it raises as text, or else what it returns."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def refusal_of(function, *args, **kwargs):
    """Call, and return ``refused`` where it raises, or else what it returns; for errors whose classes differ."""
    try:
        return function(*args, **kwargs)
    except Exception:
        return "refused"


def asked(answer):
    """Return the questions of an answer."""
    return answer["__interrupt__"]


def run(*names):
    """Run the sections, or those named; an error in one is printed, and does not touch the others."""
    for name in names or SECTIONS:
        IDS.clear()
        print(f"== {name}", flush=True)
        try:
            SECTIONS[name]()
        except Exception as error:
            print(f"! {type(error).__name__}: {error}".splitlines()[0], flush=True)


# == declaring ======================================================================================================


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


# == futures ========================================================================================================


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
def parallel():
    """Many calls at once, with and without a limit."""

    @entrypoint()
    def workflow(count):
        return sum(future.result() for future in [double(number) for number in range(count)])

    show("unlimited", workflow.invoke(50))
    show("limited", workflow.invoke(50, {"max_concurrency": 4}))


# == injecting ======================================================================================================


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


# == remembering ====================================================================================================


@section
def previous_and_final():
    """What a workflow sees of its run before, and what it keeps apart from what it returns."""

    @entrypoint(checkpointer=InMemorySaver())
    def total(number: int, *, previous: Any = None) -> int:
        return number + (previous or 0)

    @entrypoint(checkpointer=InMemorySaver())
    def last(number: int, *, previous: Any = None) -> entrypoint.final[int, int]:
        return entrypoint.final(value=previous or 0, save=2 * number)

    config, other = thread(), thread()
    show("total", [total.invoke(number, config) for number in (1, 2, 3)], total.invoke(1, other))
    config = thread()
    show("last", [last.invoke(number, config) for number in (3, 1, 4)])
    show("state", last.get_state(config).values)

    @entrypoint()
    def nothing_kept(number, *, previous=None):
        return entrypoint.final(value=previous, save=number)

    show("nothing kept", [nothing_kept.invoke(number) for number in (1, 2)])


# == asking =========================================================================================================


@section
def one_question():
    """A question, and the work before it that is not done again."""
    ran = []

    @task
    def write(topic):
        ran.append(topic)
        return f"essay on {topic}"

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(topic):
        essay = write(topic).result()
        return {"essay": essay, "approved": interrupt({"essay": essay, "action": "approve?"})}

    config = thread()
    for chunk in workflow.stream("cats", config):
        show("chunk", chunk)
    show("next", workflow.get_state(config).next)
    show("pending", workflow.get_state(config).interrupts)
    for chunk in workflow.stream(Command(resume=True), config):
        show("chunk", chunk)
    show("next", workflow.get_state(config).next)
    show("ran", ran)


@section
def several_questions():
    """Questions one after the other, in a loop, and in tasks; every kind of answer."""

    @task
    def ask(text):
        return interrupt(text)

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(name):
        first = interrupt(f"first of {name}?")
        second = ask("second?").result()
        while not isinstance(number := interrupt("a number?"), int):
            pass
        return [first, second, number]

    config = thread()
    for given in ("ann", Command(resume={"any": "dict"}), Command(resume=""), Command(resume="no"), Command(resume=7)):
        show("result", workflow.invoke(given, config))

    @entrypoint(checkpointer=InMemorySaver())
    def one(_):
        return [interrupt("?")]

    for answer in (False, 0, "", []):
        config = thread()
        one.invoke("go", config)
        show("answer", one.invoke(Command(resume=answer), config))


@section
def answers_by_id():
    """An answer that names its question."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return [interrupt("one?"), interrupt("two?")]

    config = thread()
    (question,) = asked(workflow.invoke("go", config))
    show("question", question)
    (question,) = asked(workflow.invoke(Command(resume={question.id: "by id"}), config))
    show("question", question)
    show("none asks again", workflow.invoke(None, thread_of := config) and "yes", len(thread_of))
    show("result", workflow.invoke(Command(resume={question.id: None}), config))


@section
def typed_questions():
    """An answer that must fit a type; one that does not is refused, and the question stays."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return 2 * interrupt("how many?", response_schema=int)

    config = thread()
    (question,) = asked(workflow.invoke("go", config))
    show("question", question)
    show("a text", refusal_of(workflow.invoke, Command(resume="many"), config))
    show("still pending", [pending.value for pending in workflow.get_state(config).interrupts])
    show("a number", workflow.invoke(Command(resume=4), config))


# == failing ========================================================================================================


@section
def errors():
    """An error ends the run; ``None`` goes on with what has not been done."""
    ran, broken = [], [True]

    @task
    def work(name):
        ran.append(name)
        return name

    @task
    def flaky():
        ran.append("flaky")
        if broken:
            broken.clear()
            raise ConnectionError("down")
        return "up"

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_, *, previous=None):
        return [work("before").result(), flaky().result(), work("after").result(), previous]

    config = thread()
    show("error", error_of(workflow.invoke, "go", config))
    show("next", workflow.get_state(config).next)
    show("again", workflow.invoke(None, config))
    show("ran", ran)
    show("finished", workflow.invoke(None, config))

    broken.append(True)
    show("error", error_of(workflow.invoke, "go", config))
    show("a new input", workflow.invoke("new", config)[-1] is not None)
    show("none on a fresh thread", refusal_of(workflow.invoke, None, thread()))

    @entrypoint()
    def catches(_):
        return [error_of(fail("caught").result), double(1).result()]

    show("caught in the body", catches.invoke("go"))


@section
def retrying():
    """Retry policies of tasks and of workflows."""
    quick = {"initial_interval": 0.001, "jitter": False}
    tries = []

    def failing(error, times):
        tries.append(error.__name__)
        if len(tries) < times:
            raise error("not yet")
        return len(tries)

    def retried(policy, error, times):
        tries.clear()
        made = task(failing, name="failing", retry_policy=policy)

        @entrypoint()
        def workflow(_):
            return made(error, times).result()

        return [error_of(workflow.invoke, "go"), len(tries)]

    show("by default", retried(RetryPolicy(**quick), ConnectionError, 3))
    show("too often", retried(RetryPolicy(**quick), ConnectionError, 9))
    show("at most twice", retried(RetryPolicy(max_attempts=2, **quick), ConnectionError, 3))
    show("not retried by default", retried(RetryPolicy(**quick), ValueError, 2))
    show("a class", retried(RetryPolicy(retry_on=ValueError, **quick), ValueError, 2))
    show("classes", retried(RetryPolicy(retry_on=(KeyError, ValueError), **quick), ValueError, 2))
    show("a predicate", retried(RetryPolicy(retry_on=lambda error: "yet" in str(error), **quick), KeyError, 2))
    both = [RetryPolicy(retry_on=KeyError, **quick), RetryPolicy(retry_on=ValueError, **quick)]
    show("several policies", retried(both, ValueError, 2))
    show("none fits", retried(both, TypeError, 2))

    attempts = []

    @entrypoint(retry_policy=RetryPolicy(**quick))
    def body_retried(_, runtime: Runtime):
        attempts.append(runtime.execution_info.node_attempt)
        if len(attempts) < 3:
            raise ConnectionError("not yet")
        return "done"

    show("a workflow", body_retried.invoke("go"), attempts)

    tries.clear()
    inherits = task(failing, name="failing")

    @entrypoint(retry_policy=RetryPolicy(**quick))
    def workflow(_):
        return inherits(ConnectionError, 3).result()

    show("a task of a workflow with a policy", workflow.invoke("go"), len(tries))


@section
def caching():
    """Results that other runs use; how a hit shows; forgetting them."""
    ran = []

    @task(cache_policy=CachePolicy())
    def slow(number):
        ran.append(number)
        return 10 * number

    @task(cache_policy=CachePolicy(key_func=str.lower, ttl=60))
    def keyed(text):
        ran.append(text)
        return text

    cache = InMemoryCache()

    @entrypoint(cache=cache, checkpointer=InMemorySaver())
    def workflow(number):
        return [slow(number).result(), keyed("One" if number == 1 else "ONE").result()]

    show("first", workflow.invoke(1, thread()), list(ran))
    show("same arguments", list(workflow.stream(1, thread())))
    show("other arguments", workflow.invoke(2, thread()), list(ran))
    slow.clear_cache(cache)
    show("cleared", workflow.invoke(1, thread()), list(ran))

    @entrypoint()
    def without_cache(number):
        return slow(number).result()

    ran.clear()
    show("without a cache", [without_cache.invoke(1) for _ in range(2)], list(ran))

    bodies = []

    @entrypoint(cache=InMemoryCache(), cache_policy=CachePolicy())
    def cached(number):
        bodies.append(number)
        return number

    show("a workflow", [cached.invoke(number) for number in (1, 1, 2)], list(bodies))
    cached.clear_cache()
    show("a workflow, cleared", cached.invoke(1), list(bodies))


# == asynchronous ===================================================================================================


@task
async def async_double(number):
    await asyncio.sleep(0)
    return 2 * number


@section
def asynchronous():
    """The same with ``async def``: gather, tasks of both kinds, streams, questions, state."""

    @entrypoint(checkpointer=InMemorySaver())
    async def workflow(number, *, previous=None):
        both = await asyncio.gather(async_double(number), async_double(number + 1))
        return {"async": both, "sync": await double(number), "answer": interrupt("go on?"), "previous": previous}

    @entrypoint()
    def synchronous(number):
        return double(number).result()

    async def main():
        config = thread()
        show("question", await workflow.ainvoke(1, config))
        state = await workflow.aget_state(config)
        show("state", state.next, state.interrupts)
        async for chunk in workflow.astream(Command(resume="yes"), config):
            show("chunk", chunk)
        show("history", [found.values async for found in workflow.aget_state_history(config) if not found.next])
        show("a synchronous workflow", await synchronous.ainvoke(3))
        async for mode, chunk in synchronous.astream(3, stream_mode=["updates", "values"]):
            show(mode, chunk)

    asyncio.run(main())


@section
def asynchronous_errors():
    """Errors of async tasks, and going on after them."""
    ran, broken = [], [True]

    @task
    async def flaky(name):
        ran.append(name)
        if broken and name == "b":
            broken.clear()
            raise ConnectionError("down")
        return name

    @entrypoint(checkpointer=InMemorySaver())
    async def workflow(_):
        return [await flaky("a"), await flaky("b"), await flaky("c")]

    async def main():
        config = thread()
        try:
            await workflow.ainvoke("go", config)
        except ConnectionError as error:
            show("error", str(error))
        show("again", await workflow.ainvoke(None, config), ran)

    asyncio.run(main())


@section
def timeouts():
    """An async task that takes too long; one that shows that it is alive."""

    @task(timeout=0.05)
    async def hangs():
        await asyncio.sleep(60)

    @task(timeout=TimeoutPolicy(idle_timeout=5, refresh_on="heartbeat"))
    async def alive(runtime: Runtime):
        for _ in range(3):
            runtime.heartbeat()
            await asyncio.sleep(0)
        return "alive"

    tries = []

    @task(timeout=0.05, retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))
    async def hangs_once():
        tries.append(1)
        if len(tries) == 1:
            await asyncio.sleep(60)
        return "second attempt"

    @entrypoint()
    async def workflow(_):
        try:
            await hangs()
        except Exception as error:
            late = type(error).__name__
        return [late, await alive(), await hangs_once()]

    show("result", asyncio.run(workflow.ainvoke("go")))


# == streaming ======================================================================================================


def streamed():
    """Return a workflow that shows something in every mode."""

    @task
    def first(number, *, writer: StreamWriter):
        writer({"progress": number})
        return number + 1

    @task
    def second(number):
        return number * 2

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number: int):
        get_stream_writer()("from the body")
        return second(first(number).result()).result()

    return workflow


@section
def stream_modes():
    """The modes of a stream, alone and together."""
    workflow = streamed()
    for mode in ("updates", "values", "custom", ["updates", "custom", "values"]):
        show(f"mode {mode}", list(workflow.stream(1, thread(), stream_mode=mode)))
    show("by default", list(workflow.stream(1, thread())))
    show("invoke with a mode", workflow.invoke(1, thread(), stream_mode="updates"))


@section
def stream_questions():
    """A question in each mode, and what comes after the answer."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        done = double(number).result()
        return done + interrupt("more?")

    for mode in ("updates", ["updates"]):
        config = thread()
        show("question", list(workflow.stream(1, config, stream_mode=mode)))
        show("answer", list(workflow.stream(Command(resume=1), config, stream_mode=mode)))
    show("values", list(workflow.stream(1, thread(), stream_mode="values")))


@section
def stream_tasks():
    """Starts and ends of the body and its tasks."""
    for event in streamed().stream(1, thread(), stream_mode="tasks"):
        if "input" in event:
            show("start", event["name"], event["input"])
        else:
            show("end", event["name"], event["result"], event["error"], event["interrupts"])


@section
def stream_failed_tasks():
    """The end of a task that failed, and of the body that did not catch it."""

    @entrypoint()
    def workflow(_):
        return fail("no").result()

    ends = {}
    try:
        for event in workflow.stream("go", stream_mode="tasks"):
            if "input" not in event:
                ends[event["name"]] = type(event["error"]).__name__ if event["error"] else None
    except ValueError as error:
        show("error", str(error))
    show("ends", ends)


@section
def stream_checkpoints():
    """What is said when the input, and then the result, is saved."""
    for event in streamed().stream(1, thread(), stream_mode="checkpoints"):
        show("saved", event["metadata"]["source"], event["next"], event["values"])


@section
def stream_debug():
    """Both of them with their type and time."""
    for event in streamed().stream(1, thread(), stream_mode="debug"):
        show(event["type"], sorted(event), event["payload"].get("name"))


@section
def stream_nested():
    """What happens in nested workflows, with and without their namespaces."""

    @entrypoint()
    def inner(number):
        get_stream_writer()("inner")
        return double(number).result()

    @entrypoint(checkpointer=InMemorySaver())
    def outer(number):
        return inner.invoke(number) + 1

    show("without", list(outer.stream(1, thread())))
    for namespace, chunk in outer.stream(1, thread(), subgraphs=True):
        show("with", [part.split(":")[0] for part in namespace][:1], chunk)
    for namespace, mode, chunk in outer.stream(1, thread(), subgraphs=True, stream_mode=["updates", "custom"]):
        show("modes", len(namespace), mode, chunk)


# == state ==========================================================================================================


@section
def state():
    """What is on record of a thread."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        return double(number).result() + interrupt("more?")

    config = thread()
    fresh = workflow.get_state(config)
    show("fresh", bool(fresh.values), fresh.next, fresh.tasks, fresh.interrupts)
    workflow.invoke(1, config)
    asking = workflow.get_state(config)
    show("asking", asking.values, asking.next, asking.interrupts)
    show("its address", sorted(asking.config["configurable"])[-1], asking.created_at is not None)
    workflow.invoke(Command(resume=1), config)
    done = workflow.get_state(config)
    show("done", done.values, done.next, done.interrupts)
    show("parent", done.parent_config is not None)


@section
def history():
    """The runs of a thread, newest first."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number, *, previous=None):
        return number + (previous or 0)

    config = thread()
    for number in (1, 10, 100):
        workflow.invoke(number, config)
    show("results", [found.values for found in workflow.get_state_history(config) if not found.next])
    newest = next(iter(workflow.get_state_history(config)))
    show("newest", newest.values, newest.next)
    show("limit", len(list(workflow.get_state_history(config, limit=1))))
    before = [found.values for found in workflow.get_state_history(config, before=newest.config) if not found.next]
    show("before", before)
    sources = {found.metadata["source"] for found in workflow.get_state_history(config)}
    show("sources", sorted(sources))
    show("an unknown thread", list(workflow.get_state_history(thread())))


@section
def updating():
    """A value written as if the workflow had returned it."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number, *, previous=None):
        return number + (previous or 0)

    config = thread()
    workflow.invoke(1, config)
    workflow.update_state(config, 50)
    show("state", workflow.get_state(config).values, workflow.get_state(config).next)
    show("source", workflow.get_state(config).metadata["source"])
    show("next run", workflow.invoke(1, config))
    workflow.update_state(config, entrypoint.final(value="shown", save=7))
    show("final", workflow.get_state(config).values, workflow.invoke(1, config))
    fresh = thread()
    workflow.update_state(fresh, 5)
    show("a fresh thread", workflow.invoke(1, fresh))

    @entrypoint(checkpointer=InMemorySaver())
    def asks(_, *, previous=None):
        return [interrupt("?"), previous]

    config = thread()
    asks.invoke("go", config)
    asks.update_state(config, "written")
    show("while it asks", asks.get_state(config).next, asks.get_state(config).values)


@section
def time_travel():
    """A run again from its input, and another one from a point of the past."""
    ran = []

    @task
    def work(number):
        ran.append(number)
        return number

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number, *, previous=None):
        return work(number).result() + (previous or 0)

    config = thread()
    for number in (1, 10, 100):
        workflow.invoke(number, config)
    done = [found for found in workflow.get_state_history(config) if not found.next]
    show("at a point", [workflow.get_state(found.config).values for found in done])
    begun = [found for found in workflow.get_state_history(config) if found.metadata["source"] == "input"]
    ran.clear()
    show("the second run again", workflow.invoke(None, begun[1].config), ran)
    show("it is the head", workflow.get_state(config).values, workflow.invoke(1000, config))
    show("another input after the first run", workflow.invoke(5, done[2].config))
    show("it is the head", workflow.get_state(config).values)


@section
def durability():
    """The modes of saving: all give the same result, and each can be resumed."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        return double(number).result() + interrupt("more?")

    for mode in ("sync", "async", "exit"):
        config = thread()
        show(mode, workflow.invoke(1, config, durability=mode))
        show(mode, workflow.invoke(Command(resume=1), config, durability=mode))


# == storing ========================================================================================================


@section
def storing():
    """Long-term memory."""
    store = InMemoryStore()
    for number, name in enumerate(["ann", "ben", "cat"]):
        store.put(("users", name), "profile", {"name": name, "age": 20 + number, "home": {"city": "Oslo"}})
    item = store.get(("users", "ann"), "profile")
    show("item", item.namespace, item.key, item.value, item.created_at <= item.updated_at)
    show("no such item", store.get(("users", "ann"), "nothing"))
    show("below a prefix", sorted(found.value["name"] for found in store.search(("users",))))
    show("nothing below", store.search(("nobody",)))
    show("equal", [found.value["name"] for found in store.search(("users",), filter={"age": 21})])
    show("greater", sorted(found.value["name"] for found in store.search(("users",), filter={"age": {"$gt": 20}})))
    show("not equal", sorted(found.value["name"] for found in store.search(("users",), filter={"age": {"$ne": 20}})))
    show("a page", len(store.search(("users",), limit=2)), len(store.search(("users",), limit=2, offset=2)))
    show("namespaces", sorted(store.list_namespaces(prefix=("users",))))
    show("by depth", store.list_namespaces(prefix=("users",), max_depth=1))
    show("by suffix", store.list_namespaces(suffix=("ben",)))
    show("with a wildcard", sorted(store.list_namespaces(prefix=("*", "cat"))))
    store.put(("users", "ann"), "profile", {"name": "anna"})
    show("replaced", store.get(("users", "ann"), "profile").value)
    store.delete(("users", "ann"), "profile")
    store.put(("users", "ben"), "profile", None)
    show("deleted", [found.value["name"] for found in store.search(("users",))])
    for namespace in ((), ("",)):
        show("a bad namespace", refusal_of(store.put, namespace, "key", {}))

    async def main():
        await store.aput(("async",), "key", {"a": 1})
        show("async", (await store.aget(("async",), "key")).value, len(await store.asearch(("async",))))
        await store.adelete(("async",), "key")
        show("async", await store.aget(("async",), "key"))

    asyncio.run(main())


# == describing =====================================================================================================


@section
def schemas():
    """JSON Schema of what goes in, what comes out, and the context."""

    @entrypoint(context_schema=Settings)
    def workflow(topic: str) -> entrypoint.final[list[int], int]:
        return entrypoint.final(value=[1], save=1)

    show("input", workflow.get_input_jsonschema()["type"])
    output = workflow.get_output_jsonschema()
    show("output", output["type"], output["items"])
    found = workflow.get_context_jsonschema()
    show("context", sorted(found["properties"]), found["required"])


@section
def mistakes():
    """Calls that are refused; the classes of the errors differ."""
    workflow = streamed()
    show("no thread id", refusal_of(workflow.invoke, 1))
    show("no thread id in configurable", refusal_of(workflow.invoke, 1, {"configurable": {}}))
    show("none on a fresh thread", refusal_of(workflow.invoke, None, thread()))


# == faults of LangGraph ============================================================================================


@section
def w01_a_limit_of_one():
    """One worker is enough for one task at a time."""
    results = []

    @entrypoint()
    def workflow(number):
        return double(number).result()

    def call():
        results.append(workflow.invoke(1, {"max_concurrency": 1}))

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(5)
    show("result", results or "hangs")


@section
def w02_a_late_answer():
    """An answer to a finished run answers no question of the next one."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(name):
        return [name, interrupt(f"approve {name}?")]

    config = thread()
    workflow.invoke("first", config)
    show("answered", workflow.invoke(Command(resume="yes"), config))
    show("late answer", refusal_of(workflow.invoke, Command(resume="yes, again"), config))
    show("next run", workflow.invoke("second", config))


@section
def w03_none_is_no_answer():
    """``None`` goes on; it does not answer with what was answered before."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return [interrupt("delete the draft?"), interrupt("delete the original?")]

    config = thread()
    workflow.invoke("go", config)
    show("second question", workflow.invoke(Command(resume="yes"), config))
    show("none", workflow.invoke(None, config))


@section
def w04_parallel_questions():
    """Tasks side by side all ask; one map answers them all."""

    @task
    def ask(number):
        return interrupt(f"question {number}")

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return [future.result() for future in [ask(number) for number in range(3)]]

    config = thread()
    questions = asked(workflow.invoke("go", config))
    show("shown", len(questions))
    answers = {question.id: f"answer {number}" for number, question in enumerate(questions)}
    show("all answered", type(workflow.invoke(Command(resume=answers), config)).__name__)


@section
def w05_two_answers_at_once():
    """Of two callers who answer the same question, one goes on."""
    paid, entered, gone, found = [], threading.Event(), threading.Event(), []

    @task
    def pay(amount):
        paid.append(amount)
        if len(paid) == 1:
            entered.set()
            gone.wait(30)
        return amount

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return pay(interrupt("how much?")).result()

    config = thread()
    workflow.invoke("go", config)
    first = threading.Thread(target=lambda: found.append(workflow.invoke(Command(resume=1), config)))
    first.start()
    entered.wait(30)
    show("second answer", refusal_of(workflow.invoke, Command(resume=2), config))
    gone.set()
    first.join()
    show("first answer", found)
    show("paid", paid)


@section
def w09_old_values():
    """A pause shows the question alone, not the result of the run before."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        return {"number": number} if number == 1 else {"answer": interrupt("?")}

    config = thread()
    workflow.invoke(1, config)
    show("pause", workflow.invoke(2, config))
    show("values", list(workflow.stream(Command(resume="yes"), config, stream_mode="values")))


@section
def w10_a_retried_body():
    """A body that is tried again does not do its finished tasks again."""
    ran, failed = [], []

    @task
    def charge():
        ran.append("charged")
        return "receipt"

    @entrypoint(checkpointer=InMemorySaver(), retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))
    def workflow(_):
        receipt = charge().result()
        if len(failed) < 2:
            failed.append(1)
            raise ConnectionError("not yet")
        return receipt

    show("result", workflow.invoke("go", thread()), ran)


@section
def w11_questions_nobody_waits_for():
    """A task that nobody waits for asks, too, and fails, too."""

    @task
    def ask():
        return interrupt("sure?")

    @entrypoint(checkpointer=InMemorySaver())
    def asks(number, *, previous=None):
        ask()
        return [number, previous]

    config = thread()
    show("asks", asks.invoke(1, config))
    show("is over", asks.get_state(config).next)

    @entrypoint(checkpointer=InMemorySaver())
    def fails(_):
        fail("unheard")
        return "done"

    show("fails", error_of(fails.invoke, "go", thread()))


@section
def w12_other_code():
    """A call that is not the one on record is found; it does not get the other call's result."""
    number = [1]

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return [double(number[0]).result(), interrupt("?")]

    config = thread()
    workflow.invoke("go", config)
    number[0] = 100
    show("resumed", refusal_of(workflow.invoke, Command(resume="yes"), config))


@section
def w12_a_caught_failure():
    """A failure that the body caught stays one when the body runs again."""
    calls = []

    @task
    def flaky():
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("the first time")
        return "worked"

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        outcome = error_of(flaky().result)
        return [interrupt(f"{outcome}; go on?"), outcome]

    config = thread()
    show("asked", workflow.invoke("go", config))
    show("resumed", workflow.invoke(Command(resume="yes"), config))


@section
def w12_another_workflow():
    """A thread belongs to its workflow; another one cannot take its pending run away."""
    saver = InMemorySaver()

    @entrypoint(checkpointer=saver)
    def mine(_):
        return interrupt("mine?")

    @entrypoint(checkpointer=saver)
    def other(given, *, previous=None):
        return given

    config = thread()
    mine.invoke("go", config)
    show("other", refusal_of(other.invoke, "take over", config))
    show("mine", refusal_of(mine.invoke, Command(resume="yes"), config))


@section
def w13_a_swallowed_question():
    """``except Exception`` around a question does not lose it."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        try:
            return interrupt("sure?")
        except Exception:
            return "swallowed"

    show("result", workflow.invoke("go", thread()))


@section
def w14_closures_in_a_cache():
    """Functions made by one function do not share what is cached."""

    def times(factor):
        @task(cache_policy=CachePolicy())
        def multiply(number):
            return factor * number

        return multiply

    @entrypoint(cache=InMemoryCache())
    def workflow(number):
        return [times(factor)(number).result() for factor in (2, 3)]

    show("result", workflow.invoke(10))


@section
def w14_one_call_at_a_time():
    """Equal calls at the same moment are made once."""
    ran = []

    @task(cache_policy=CachePolicy())
    def slow(number):
        ran.append(number)
        threading.Event().wait(0.1)
        return number

    @entrypoint(cache=InMemoryCache())
    def workflow(_):
        return [future.result() for future in [slow(1) for _ in range(4)]]

    show("result", workflow.invoke("go"))
    show("made once", len(ran) == 1)


@section
def w15_timeouts_of_functions():
    """A function that is not async may have a timeout."""
    held = threading.Event()

    def hang():
        held.wait(20)

    def declare():
        @entrypoint()
        def workflow(_):
            return task(hang, timeout=0.05)().result()

        try:
            return workflow.invoke("go")
        except Exception as error:
            held.set()
            return type(error).__name__

    show("result", declare())


@section
def w17_types_after_a_pause():
    """A value is after a pause what it was before."""
    seen = []

    @task
    def pair():
        return (1, (2, 3))

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        seen.append(pair().result())
        return interrupt("?")

    config = thread()
    workflow.invoke("go", config)
    workflow.invoke(Command(resume="yes"), config)
    show("seen", *seen[:1], *seen[-1:])


@section
def w17_values_that_cannot_be_kept():
    """A value that cannot be kept is refused where it is made, and the body can go on."""

    @task
    def lock():
        return threading.Lock()

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return [refusal_of(lock().result) == "refused", interrupt("go on?")]

    config = thread()
    show("asked", refusal_of(workflow.invoke, "go", config))


@section
def w21_edges():
    """Mistakes that are told."""
    workflow = streamed()
    show("an empty command", refusal_of(Command))
    show("a command on a fresh thread", refusal_of(workflow.invoke, Command(resume="yes"), thread()))
    show("an unknown stream mode", refusal_of(lambda: list(workflow.stream(1, thread(), stream_mode="bogus"))))
    show("an unknown durability", refusal_of(workflow.invoke, 1, thread(), durability="bogus"))
    modes = [chunk[0] for chunk in workflow.stream(1, thread(), stream_mode=("updates", "values"))]
    show("a tuple of modes", modes)

    @entrypoint(checkpointer=InMemorySaver())
    def asks(_):
        return [interrupt("?")]

    config = thread()
    asks.invoke("go", config)
    show("none is an answer", refusal_of(asks.invoke, Command(resume=None), config))

    @entrypoint()
    def dead_end(_):
        return interrupt("?")

    show("a question that nobody can answer", refusal_of(dead_end.invoke, "go"))
    config = thread(checkpoint_id="1f000000-0000-6000-8000-000000000000")
    show("an unknown checkpoint", refusal_of(workflow.invoke, 1, config))


@section
def w22_tasks_on_record():
    """What is on record of a run names its tasks."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        return double(number).result() + interrupt("more?")

    config = thread()
    workflow.invoke(1, config)
    names = [found.name for found in workflow.get_state(config).tasks]
    show("double is there", "double" in names)


@section
def w22_ends_of_replayed_tasks():
    """Each start in a stream has its end, after an answer, too."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        return double(number).result() + interrupt("more?")

    config = thread()
    workflow.invoke(1, config)
    open_ = {}
    for event in workflow.stream(Command(resume=1), config, stream_mode="tasks"):
        open_[event["name"]] = "input" in event
    show("without an end", sorted(name for name, is_open in open_.items() if is_open))


@section
def w23_when_an_item_was_created():
    """An item's time of creation stays when it is put again."""
    store = InMemoryStore()
    store.put(("a",), "key", {"n": 1})
    created = store.get(("a",), "key").created_at
    store.put(("a",), "key", {"n": 2})
    show("stays", store.get(("a",), "key").created_at == created)


@section
def w23_live_references():
    """What a reader does to an item's value does not change the store."""
    store = InMemoryStore()
    store.put(("a",), "key", {"n": [1]})
    store.get(("a",), "key").value["n"].append(2)
    show("value", store.get(("a",), "key").value)
    store.get(("ghost",), "key")
    show("namespaces", store.list_namespaces())
    store.put(("a",), "other", {"m": 1})
    show("a missing field", refusal_of(lambda: len(store.search(("a",), filter={"m": {"$gt": 0}}))))


@section
def w25_context_after_a_pause():
    """The context of a run is there when it goes on."""

    @entrypoint(checkpointer=InMemorySaver(), context_schema=Settings)
    def workflow(_, runtime: Runtime[Settings]):
        interrupt("go on?")
        return runtime.context and runtime.context.model

    config = thread()
    workflow.invoke("go", config, context=Settings(model="large"))
    show("after the pause", workflow.invoke(Command(resume="yes"), config))


@section
def w25_custom_events_again():
    """What the body wrote before a pause is not written again."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        get_stream_writer()("begun")
        return interrupt("go on?")

    config = thread()
    show("before", list(workflow.stream("go", config, stream_mode="custom")))
    show("after", list(workflow.stream(Command(resume="yes"), config, stream_mode="custom")))


if __name__ == "__main__":
    run(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # a worker that hangs would keep the process
