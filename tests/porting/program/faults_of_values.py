"""Faults of LangGraph in values, caches, records and edges: here, too, the lines differ."""

import threading
from dataclasses import dataclass

from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy, Command, interrupt
from transcript import error_of, refusal_of, section, show, thread


@task
def double(number):
    return 2 * number


@dataclass
class Settings:
    model: str
    limit: int = 3


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
    """A function that is not async may have a timeout, too."""
    left = threading.Event()

    def hang():
        left.wait(20)

    def call():
        @entrypoint()
        def workflow(_):
            return task(hang, timeout=0.05)().result()

        return workflow.invoke("go")

    show("result", "too late" if "Timeout" in error_of(call) else "refused")
    left.set()


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
def w21_commands():
    """A command that says nothing is refused as what it is; one on a fresh thread is no input; None is an answer."""

    @entrypoint(checkpointer=InMemorySaver())
    def echo(given):
        return type(given).__name__

    @entrypoint(checkpointer=InMemorySaver())
    def asks(_):
        return [interrupt("?")]

    config = thread()
    asks.invoke("go", config)
    show("an empty command", error_of(lambda: asks.invoke(Command(), config)).split(":")[0])
    show("None is an answer", refusal_of(asks.invoke, Command(resume=None), config))
    show("a command on a fresh thread", refusal_of(echo.invoke, Command(resume="yes"), thread()))


@section
def w21_mistakes():
    """Words that nobody knows are refused, and so is a question that nobody can answer."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number, *, previous=None):
        return [double(number).result(), previous]

    show("a stream mode", refusal_of(lambda: list(workflow.stream(1, thread(), stream_mode="bogus"))))
    show("no stream mode", refusal_of(lambda: list(workflow.stream(1, thread(), stream_mode=[]))))
    show("modes in a tuple", list(workflow.stream(1, thread(), stream_mode=("updates", "values"))))
    show("a durability", refusal_of(workflow.invoke, 1, thread(), durability="bogus"))

    config = thread()
    workflow.invoke(1, config)
    config["configurable"]["checkpoint_id"] = "1f000000-0000-6000-8000-000000000000"
    show("a checkpoint", refusal_of(workflow.invoke, 2, config))

    @entrypoint()
    def dead_end(_):
        return interrupt("?")

    show("a question without a checkpointer", refusal_of(dead_end.invoke, "go"))


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
def w23_what_readers_do():
    """A reader changes nothing: neither a value nor the list of namespaces."""
    store = InMemoryStore()
    store.put(("a",), "key", {"n": [1]})
    store.get(("a",), "key").value["n"].append(2)
    show("value", store.get(("a",), "key").value)
    store.get(("ghost",), "key")
    show("namespaces", store.list_namespaces())
    store.delete(("a",), "key")
    show("after deleting", store.list_namespaces())


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
