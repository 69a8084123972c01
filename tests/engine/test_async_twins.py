"""What blocks has an async twin, which does the same; and what would block its own loop says so."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import milepost
from milepost import Command, StateUpdate, entrypoint, interrupt, task
from milepost.errors import NoCheckpointer, RunCancelled, UnknownThread, WouldBlock
from milepost.store import Store

NO_IO = {
    milepost: {
        "as_completed",  # is for both loops itself
        "default_retry_on",
        "entrypoint",
        "get_config",
        "get_deadline",
        "get_idempotency_key",
        "get_runtime",
        "get_store",
        "get_stream_writer",
        "get_version",
        "heartbeat",
        "interrupt",
        "open_checkpointer",  # connects at the first use
        "open_store",
        "set_engine",
        "sleep",  # suspends, as interrupt does
        "sleep_until",
        "task",
    },
    milepost.Workflow: {
        "get_context_jsonschema",
        "get_input_jsonschema",
        "get_output_jsonschema",
        "with_config",
    },
    milepost.Engine: {
        "begin",
        "cache_for",
        "checkpointer_for",
        "store_for",
        "closed_error",
        "drain",
        "executing",
    },
    milepost.Run: set(),
    Store: {"from_url", "reopened", "open", "close", "configure"},
}


def public_functions(owner):
    """Return the public functions of a class, or of the package, by name."""
    names = milepost.__all__ if owner is milepost else dir(owner)
    return {
        name for name in names if not name.startswith("_") and inspect.isroutine(getattr(owner, name, None))
    }


@pytest.mark.parametrize("owner", NO_IO, ids=lambda owner: owner.__name__)
def test_every_public_function_that_does_io_has_an_async_twin(owner):
    found = public_functions(owner)
    twins = {name for name in found if name[0] == "a" and name[1:] in found}
    blocking = found - twins - NO_IO[owner]
    assert blocking
    assert {f"a{name}" for name in blocking} == twins


@pytest.mark.parametrize("owner", NO_IO, ids=lambda owner: owner.__name__)
def test_a_twin_takes_what_its_original_takes(owner):
    found = public_functions(owner)
    for name in (name for name in found if f"a{name}" in found):
        original, twin = (inspect.signature(getattr(owner, each)) for each in (name, f"a{name}"))
        if list(twin.parameters) != ["self", "args", "kwargs"]:  # which passes on whatever it is given
            assert list(twin.parameters) == list(original.parameters), name


def test_twins_do_what_their_originals_do(engine):
    @task
    async def double(n: int) -> int:
        return 2 * n

    @entrypoint
    async def body(n: int) -> list:
        return [await double(n), interrupt("sure?") if n > 1 else None]

    @entrypoint
    def other(n: int) -> int:
        return n

    async def main():
        await body.ainvoke(1, thread_id="a")
        await body.ainvoke(2, thread_id="a")
        await other.ainvoke(1, thread_id="z")
        history = [snapshot.status async for snapshot in body.aget_state_history(thread_id="a")]
        assert history == [each.status for each in body.get_state_history(thread_id="a")]
        assert len(history) == 2
        asked = [each.interrupts[0].value async for each in body.apending_interrupts()]
        assert asked == ["sure?"]
        assert [each.thread_id async for each in milepost.apending_interrupts()] == ["a"]
        assert [each.thread_id async for each in milepost.alist_threads()] == ["a", "z"]
        assert await body.ainvoke(Command(resume="yes"), thread_id="a") == [4, "yes"]
        config = await body.aupdate_state({"configurable": {"thread_id": "a"}}, [7, "by hand"])
        assert (await body.aget_state(config)).values == [7, "by hand"]
        await body.abulk_update_state(config, [[StateUpdate([8, "by hand"])]])
        assert (await body.aget_state(thread_id="a")).values == [8, "by hand"]
        await body.acopy_thread("a", "b")
        assert [each.thread_id async for each in body.alist_threads()] == ["a", "b"]
        assert (await body.aprune(keep_last=1, threads="a")).runs == 3
        await body.adelete_thread("b")
        assert [each.thread_id async for each in body.alist_threads(status="done")] == ["a"]
        with pytest.raises(UnknownThread):
            await body.acopy_thread("nobody", "c")

    asyncio.run(main())


def test_an_async_listing_goes_on_where_it_ended(engine):
    @entrypoint
    async def body(n: int) -> int:
        return n

    async def main():
        for name in "abc":
            await body.ainvoke(1, thread_id=name)
        listed = body.alist_threads(limit=2)
        first = [each.thread_id async for each in listed]
        rest = body.alist_threads(cursor=listed.cursor)
        assert rest.cursor == listed.cursor
        assert (first, [each.thread_id async for each in rest]) == (["a", "b"], ["c"])
        assert rest.cursor is None

    asyncio.run(main())


def test_a_twin_raises_what_its_original_raises(plain_engine):
    @entrypoint
    async def body(n: int) -> int:
        return n

    async def main():
        with pytest.raises(NoCheckpointer):
            await body.acancel(thread_id="a")
        with pytest.raises(NoCheckpointer):
            await anext(body.alist_threads())
        with pytest.raises(NoCheckpointer):
            await anext(milepost.alist_threads())

    asyncio.run(main())


def begun(body, *, when):
    """Begin a run on this loop; return its asyncio Task once ``when`` is set."""

    async def begin():
        running = asyncio.ensure_future(body.ainvoke(1, thread_id="t"))
        await when.wait()
        return running

    return begin()


@pytest.fixture
def stay():
    """A workflow that stays until it is cancelled, and what is set when it has begun."""
    when = asyncio.Event()

    @task
    async def forever() -> None:
        when.set()
        await asyncio.get_running_loop().create_future()

    @entrypoint
    async def body(given) -> None:
        await forever()

    return body, when


def test_a_run_on_this_loop_is_cancelled_by_awaiting_that(engine, stay):
    body, when = stay

    async def main():
        running = await begun(body, when=when)
        with pytest.raises(WouldBlock, match="acancel"):
            body.cancel(thread_id="t")
        await body.acancel(thread_id="t", reason="enough")
        with pytest.raises(RunCancelled, match="enough"):
            await running
        return (await body.aget_state(thread_id="t")).status

    assert asyncio.run(main()) == "cancelled"


def test_an_engine_with_a_run_on_this_loop_is_closed_by_awaiting_that(checkpointer, stay):
    body, when = stay
    engine = milepost.Engine(checkpointer=checkpointer, workers=2)

    async def main():
        with engine:
            running = await begun(body, when=when)
        with pytest.raises(WouldBlock, match="aclose"):
            engine.close()
        assert not engine.closing
        closing = asyncio.ensure_future(engine.aclose())
        running.cancel()
        await asyncio.wait([running, closing])
        return engine.closing

    assert asyncio.run(main())
