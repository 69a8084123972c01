"""Attempts, caches, time limits, durability."""

import asyncio

from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import NodeTimeoutError
from langgraph.func import entrypoint, task
from langgraph.runtime import Runtime
from langgraph.types import CachePolicy, Command, RetryPolicy, TimeoutPolicy, interrupt
from transcript import error_of, section, show, thread


@task
def double(number):
    return 2 * number


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
    show(
        "a predicate", retried(RetryPolicy(retry_on=lambda error: "yet" in str(error), **quick), KeyError, 2)
    )
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
def what_is_retried():
    """The built-in errors that are tried again without being named."""
    tried = []

    @task(retry_policy=RetryPolicy(initial_interval=0.001, jitter=False, max_attempts=2))
    def failing(error):
        tried.append(error.__name__)
        raise error("no")

    @entrypoint()
    def workflow(error):
        return repr(failing(error).exception())

    passing = [
        AssertionError,
        AttributeError,
        BufferError,
        ConnectionError,
        ConnectionResetError,
        EOFError,
        Exception,
    ]
    lasting = [
        ArithmeticError,
        FileNotFoundError,
        ImportError,
        KeyError,
        NameError,
        NotImplementedError,
        OSError,
    ]
    others = [
        MemoryError,
        RecursionError,
        ReferenceError,
        StopIteration,
        SyntaxError,
        TimeoutError,
        TypeError,
        ValueError,
    ]
    for error in passing + lasting + others:
        workflow.invoke(error)
    show("tried again", sorted({name for name in tried if tried.count(name) > 1}))
    show("not tried again", sorted({name for name in tried if tried.count(name) == 1}))


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
        except NodeTimeoutError as error:
            late = error.kind
        return [late, await alive(), await hangs_once()]

    show("result", asyncio.run(workflow.ainvoke("go")))

    @entrypoint(timeout=0.05)
    async def late(_):
        await asyncio.sleep(60)

    try:
        asyncio.run(late.ainvoke("go"))
    except NodeTimeoutError as error:
        show("a workflow", error.kind)


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
