"""The same with ``async def``."""

import asyncio

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.types import Command, interrupt
from transcript import section, show, thread


@task
def double(number):
    return 2 * number


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
        return {
            "async": both,
            "sync": await double(number),
            "answer": interrupt("go on?"),
            "previous": previous,
        }

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
        show(
            "history", [found.values async for found in workflow.aget_state_history(config) if not found.next]
        )
        await workflow.aupdate_state(config, {"async": "written"})
        show("updated", (await workflow.aget_state(config)).values)
        show("a synchronous workflow", await synchronous.ainvoke(3))
        async for mode, chunk in synchronous.astream(3, stream_mode=["updates", "values"]):
            show(mode, chunk)

    asyncio.run(main())


@section
def cancelling():
    """A task that is cancelled, and the run that goes on without it."""

    @task
    async def waits():
        await asyncio.Event().wait()

    @entrypoint()
    async def workflow(_):
        future = waits()
        await asyncio.sleep(0)
        future.cancel()
        try:
            await future
        except asyncio.CancelledError:
            return ["cancelled", future.cancelled(), await async_double(2)]

    show("result", asyncio.run(workflow.ainvoke("go")))


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
