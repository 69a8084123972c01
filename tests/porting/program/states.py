"""What is on record: of a thread, of its past, and in a store."""

import asyncio
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, StateUpdate, interrupt
from transcript import refusal_of, section, show, thread


@task
def double(number):
    return 2 * number


@dataclass
class Settings:
    model: str
    limit: int = 3


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


@section
def kept_types():
    """What the body gets after a pause has the types that it had before."""
    seen = []

    @task
    def settings() -> Settings:
        return Settings(model="large", limit=1)

    @task
    def several() -> dict:
        return {
            "date": date(2026, 1, 2),
            "price": Decimal("1.10"),
            "tags": {"a"},
            "raw": b"raw",
            "none": None,
        }

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        seen.append([settings().result(), several().result()])
        return interrupt("go on?")

    config = thread()
    workflow.invoke("go", config)
    workflow.invoke(Command(resume=True), config)
    show("after the pause", seen[-1], seen[-1] == seen[0])


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
    show("its address", "checkpoint_id" in asking.config["configurable"], asking.created_at is not None)
    workflow.invoke(Command(resume=1), config)
    done = workflow.get_state(config)
    show("done", done.values, done.next, done.interrupts)


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
    before = [
        found.values for found in workflow.get_state_history(config, before=newest.config) if not found.next
    ]
    show("before", before)
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
def updating_as():
    """An input that is written before it runs, a pending run that is settled, several updates at once."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number, *, previous=None):
        return number + (previous or 0)

    config = thread()
    workflow.update_state(config, 20, as_node="__input__")
    show("an input", workflow.get_state(config).next, workflow.invoke(None, config))

    @entrypoint(checkpointer=InMemorySaver())
    def asks(number, *, previous=None):
        return [previous, number if number == 1 else interrupt("?")]

    config = thread()
    show("saved", asks.invoke(1, config))
    asks.invoke(2, config)
    asks.update_state(config, None, as_node="__end__")
    show("settled", asks.get_state(config).next, asks.get_state(config).values)

    config = thread()
    workflow.bulk_update_state(config, [[StateUpdate(5, "workflow")], [StateUpdate(7, "workflow")]])
    show("several", workflow.get_state(config).values, workflow.invoke(1, config))


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
def deleting():
    """A thread that is deleted begins anew."""
    saver = InMemorySaver()

    @entrypoint(checkpointer=saver)
    def total(number, *, previous=None):
        return number + (previous or 0)

    config, other = thread(), thread()
    for number in (1, 2):
        show("total", total.invoke(number, config), total.invoke(number, other))
    saver.delete_thread(config["configurable"]["thread_id"])
    show("deleted", total.get_state(config).next, list(total.get_state_history(config)))
    show("total", total.invoke(3, config), total.invoke(3, other))


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


@section
def storing_asynchronously():
    """The same with ``await``."""
    store = InMemoryStore()

    async def main():
        await store.aput(("users",), "ann", {"age": 20})
        show("item", (await store.aget(("users",), "ann")).value)
        show("found", [item.key for item in await store.asearch(("users",))], await store.alist_namespaces())
        await store.adelete(("users",), "ann")
        show("deleted", await store.aget(("users",), "ann"))

    asyncio.run(main())


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

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        return number

    show("no thread id", refusal_of(workflow.invoke, 1))
    show("no thread id in configurable", refusal_of(workflow.invoke, 1, {"configurable": {}}))
    show("none on a fresh thread", refusal_of(workflow.invoke, None, thread()))
