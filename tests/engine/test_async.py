"""Coroutines as bodies and tasks, futures that are awaited, and what cancelling means."""

from __future__ import annotations

import asyncio
import functools
import gc
import signal
import threading
from collections import Counter
from contextvars import ContextVar

import pytest

import milepost
from milepost import Command, InMemoryStore, as_completed, entrypoint, get_stream_writer, interrupt, task
from milepost.errors import WouldBlock

pytestmark = pytest.mark.usefixtures("engine")

CONFIG = {"configurable": {"thread_id": "t"}}


class Tally(Counter):
    """Counts what was done; each call returns how often by now."""

    def __call__(self, name):
        self[name] += 1
        return self[name]


def run(awaitable):
    """Run as a program would, and find what asyncio only reports."""
    gc.freeze()  # only what this makes is looked through

    async def main():
        noise = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: noise.append(context))
        try:
            return await awaitable
        finally:
            await asyncio.sleep(0)
            gc.collect()
            assert not noise, noise

    return asyncio.run(main())


@pytest.fixture
def once(engine, checkpointer):
    """The current engine, never in replay-always mode: for tasks that end only when the body goes on."""
    made = milepost.Engine(checkpointer=checkpointer, workers=2)
    with made:
        yield made
    made.close()


def outcomes(workflow, thread_id="t"):
    return {each.id: each.status for each in workflow.get_state(thread_id=thread_id).tasks}


@task
async def double(n: int) -> int:
    await asyncio.sleep(0)
    return 2 * n


@task
def increment(n: int) -> int:
    return n + 1


# -- each in each ----------------------------------------------------------------------------------------------------


@entrypoint
async def async_body(n: int) -> list[int]:
    return [await double(n), await increment(n)]


@entrypoint
def sync_body(n: int) -> list[int]:
    return [double(n).result(), increment(n).result()]


@pytest.mark.parametrize("workflow", [async_body, sync_body])
def test_coroutines_and_functions_call_each_other_however_they_are_run(workflow):
    async def streamed(thread_id):
        return [chunk async for chunk in workflow.astream(3, thread_id=thread_id)]

    chunks = [{"double": 6}, {"increment": 4}, {workflow.name: [6, 4]}]
    assert workflow.invoke(3, thread_id="invoke") == [6, 4]
    assert run(workflow.ainvoke(3, thread_id="ainvoke")) == [6, 4]
    assert list(workflow.stream(3, thread_id="stream")) == chunks
    assert run(streamed("astream")) == chunks


@pytest.mark.parametrize("workflow", [async_body, sync_body])
def test_invoke_and_stream_work_where_a_loop_runs_and_block_it(workflow):
    async def main():
        return workflow.invoke(3, thread_id="a"), list(workflow.stream(3, thread_id="b"))[-1]

    assert run(main()) == ([6, 4], {workflow.name: [6, 4]})


def test_an_async_body_and_its_async_tasks_run_in_the_callers_loop_and_functions_do_not():
    seen = {}

    def loop_here():
        try:
            return asyncio.get_running_loop()
        except RuntimeError:
            return None

    @task
    async def coroutine() -> None:
        seen["task"] = loop_here()

    @task
    def function() -> None:
        seen["function"] = loop_here()

    @entrypoint
    async def workflow(_given: None) -> None:
        seen["body"] = loop_here()
        await asyncio.gather(coroutine(), function())

    @entrypoint
    def sync_workflow(_given: None) -> None:
        seen["sync body"] = loop_here()
        coroutine().result()

    async def main():
        await workflow.ainvoke("x", thread_id="a")
        here = asyncio.get_running_loop()
        assert seen == {"body": here, "task": here, "function": None}
        await sync_workflow.ainvoke("x", thread_id="b")
        assert (seen["sync body"], seen["task"]) == (None, here)

    run(main())


def test_a_sync_body_under_ainvoke_does_not_block_the_loop():
    released = threading.Event()

    @entrypoint
    def workflow(_given: None) -> bool:
        return released.wait(60)

    async def main():
        running = asyncio.create_task(workflow.ainvoke("x", thread_id="t"))
        await asyncio.sleep(0)
        released.set()
        return await running

    assert run(main())


def test_a_thousand_sleeping_tasks_need_no_thousand_threads():
    @entrypoint
    async def workflow(count: int) -> int:
        asked, most = asyncio.Event(), [0]

        @task
        async def sleeper(number: int) -> int:
            most[0] += 1
            if most[0] == count:
                asked.set()
            await asked.wait()
            return threading.active_count()

        return max(await asyncio.gather(*map(sleeper, range(count))))

    milepost_engine = milepost.Engine(workers=2)
    with milepost_engine:
        assert run(workflow.ainvoke(1000)) < 50
    milepost_engine.close()


# -- what waits for futures ------------------------------------------------------------------------------------------


def test_everything_of_asyncio_that_awaits_takes_task_futures():
    @entrypoint
    async def workflow(n: int) -> list:
        async with asyncio.TaskGroup() as group:
            grouped = group.create_task(strand(n))
        async with asyncio.timeout(60):
            timed = await double(n)
        ensured = asyncio.ensure_future(double(n))
        done, _ = await asyncio.wait([asyncio.ensure_future(double(n))])
        return [
            grouped.result(),
            timed,
            await ensured,
            [each.result() for each in done],
            await asyncio.gather(double(n), increment(n)),
            await asyncio.wait_for(double(n), 60),
            await asyncio.shield(double(n)),
            sorted([await each for each in asyncio.as_completed([double(n), increment(n)])]),
            [await each async for each in as_completed([double(n)])],
        ]

    async def strand(n):
        return await double(n)

    assert run(workflow.ainvoke(3, thread_id="t")) == [6, 6, 6, [6], [6, 4], 6, 6, [4, 6], [6]]


def test_awaiting_takes_at_least_one_turn_of_the_loop_also_on_replay():
    turns = []

    @entrypoint
    async def workflow(_given: str) -> None:
        turned = []
        await double(1)
        asyncio.get_running_loop().call_soon(turned.append, 1)
        await double(1)
        turns.append(len(turned))
        interrupt("go on?")

    run(workflow.ainvoke("x", CONFIG))
    run(workflow.ainvoke(Command(resume=None), CONFIG))
    assert set(turns) == {1}


def test_a_result_that_is_not_there_yet_must_be_awaited_on_a_loop():
    @entrypoint
    async def workflow(_given: str) -> list:
        future = double(1)
        with pytest.raises(WouldBlock, match="await it"):
            future.result()
        with pytest.raises(WouldBlock, match="async for"):
            next(iter(as_completed([future])))
        await future
        return [future.result(), future.exception(), future.done()]

    engine = milepost.Engine()  # replay-always mode would find it settled
    with engine:
        assert run(workflow.ainvoke("x")) == [2, None, True]
    engine.close()


def test_an_async_failure_is_raised_as_it_was_and_replayed():
    tally = Tally()

    @task
    async def fails() -> None:
        tally("fails")
        raise KeyError("lost")

    @entrypoint
    async def workflow(_given: str) -> list:
        try:
            await fails()
        except KeyError as error:
            return [*error.args, interrupt("go on?")]

    run(workflow.ainvoke("x", CONFIG))
    assert run(workflow.ainvoke(Command(resume=1), CONFIG)) == ["lost", 1]
    assert tally["fails"] == 1


def test_a_sync_body_may_run_a_loop_of_its_own():
    @entrypoint
    def workflow(n: int) -> list:
        async def main():
            return await asyncio.gather(double(n), increment(n))

        return [*asyncio.run(main()), interrupt("go on?")]

    workflow.invoke(3, CONFIG)
    assert workflow.invoke(Command(resume=1), CONFIG) == [6, 4, 1]


@pytest.mark.parametrize("workers", [1, 2])
def test_no_nesting_blocks_with_one_worker(workers):
    @task
    def waits(n: int) -> int:
        return double(n).result() + sum(future.result() for future in [deeper(n), deeper(n)])

    @task
    async def deeper(n: int) -> int:
        return sum(await asyncio.gather(increment(n), double(n), leaf.ainvoke(n), inner.ainvoke(n)))

    @entrypoint
    def inner(n: int) -> int:
        return increment(n).result() + double(n).result()

    @entrypoint
    async def leaf(n: int) -> int:
        return await increment(n)

    @entrypoint
    async def workflow(n: int) -> int:
        return sum(await asyncio.gather(*[waits(n) for _ in range(4)], leaf.ainvoke(n)))

    engine = milepost.Engine(workers=workers)
    with engine:
        assert workflow.invoke(1) == run(workflow.ainvoke(1)) == 4 * (2 + 2 * (2 + 2 + 2 + 4)) + 2
    engine.close()


# -- coroutines side by side -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("once")
def test_coroutines_side_by_side_replay_in_whatever_order_they_went():
    order = []

    @entrypoint
    async def workflow(_given: str) -> list:
        gates = [asyncio.Event() for _ in range(3)]
        gates[2].set()

        @task
        async def gated(number: int) -> int:
            await gates[number].wait()
            return number

        async def strand(number):
            first = await gated(number)
            order.append(first)
            gates[first - 1].set()
            return await increment(first)

        found = await asyncio.gather(*map(strand, range(3)))
        return [*found, interrupt("go on?")]

    run(workflow.ainvoke("x", CONFIG))
    assert run(workflow.ainvoke(Command(resume=9), CONFIG)) == [1, 2, 3, 9]
    calls = set(outcomes(workflow))
    assert order == [2, 1, 0, 2, 1, 0], "they go on in recorded order"
    assert calls == {f"~{strand}.{call}" for strand in range(3) for call in range(2)}


@pytest.mark.usefixtures("once")
def test_what_depends_on_which_ended_first_is_the_same_on_replay():
    gates = {}

    @task
    async def gated(name: str) -> str:
        await gates[name].wait()
        return name

    @entrypoint
    async def workflow(_given: str) -> list:
        gates.update((name, asyncio.Event()) for name in "abc")
        gates["b"].set()
        waiting = [asyncio.ensure_future(gated(name)) for name in "abc"]
        order = []
        for following in ("c", "a", "c"):
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            order += [await each for each in done]
            gates[following].set()
            await increment(len(order) + ord(order[-1]))
        return [order, interrupt("go on?")]

    run(workflow.ainvoke("x", CONFIG))
    assert run(workflow.ainvoke(Command(resume=1), CONFIG)) == [["b", "c", "a"], 1]


def test_a_strand_may_begin_strands():
    async def outer(n):
        return [await increment(n), *await asyncio.gather(inner(n), inner(n + 1))]

    async def inner(n):
        return await double(await increment(n))

    @entrypoint
    async def workflow(n: int) -> list:
        return [*await asyncio.gather(outer(n), outer(10 * n)), interrupt("go on?")]

    run(workflow.ainvoke(1, CONFIG))
    assert set(outcomes(workflow)) >= {"~0.0", "~0.~0.0", "~0.~0.1", "~0.~1.0", "~0.~1.1", "~1.~1.1"}
    assert run(workflow.ainvoke(Command(resume=0), CONFIG)) == [[2, 4, 6], [11, 22, 24], 0]


@pytest.mark.usefixtures("once")
def test_a_failed_strand_is_tried_again_and_what_it_cancelled_too():
    tally, hangs = Tally(), [True]

    @task
    async def flaky() -> str:
        if tally("flaky") == 1:
            raise OSError("down")
        return "up"

    @task
    async def long() -> str:
        tally("long")
        if hangs[0]:
            await asyncio.Event().wait()
        return "long"

    async def one():
        found = await flaky()
        await increment(1)
        return found

    async def other():
        return await long()

    @entrypoint
    async def workflow(_given: str) -> list:
        async with asyncio.TaskGroup() as group:
            strands = [group.create_task(other()), group.create_task(one())]
        return [each.result() for each in strands]

    with pytest.raises(ExceptionGroup):
        run(workflow.ainvoke("x", CONFIG))
    hangs[0] = False
    assert run(workflow.ainvoke(None, CONFIG)) == ["long", "up"]


def test_a_coroutine_that_nobody_awaits_is_waited_for_at_the_end():
    background = set()

    async def strand(n):
        return await double(await increment(n))

    @entrypoint
    async def workflow(n: int) -> int:
        background.add(asyncio.create_task(strand(n)))
        await asyncio.sleep(0)
        return n

    assert run(workflow.ainvoke(1, CONFIG)) == 1
    assert outcomes(workflow) == {"~0.0": "done", "~0.1": "done"}


# -- questions -------------------------------------------------------------------------------------------------------


@task
async def ask(what: str) -> str:
    return interrupt(what)


async def ask_here(what):
    return interrupt(what)


async def ask_later(what):
    await increment(1)
    await asyncio.sleep(0)
    return interrupt(what)


async def gathered(*asking):
    return await asyncio.gather(*asking)


async def kept(*asking):
    found = await asyncio.gather(*asking, return_exceptions=True)
    await increment(len([str(each) for each in found]))
    return found


async def grouped(*asking):
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) if asyncio.iscoroutine(each) else each for each in asking]
    return [each.result() for each in tasks]


@pytest.mark.parametrize("together", [gathered, kept])
@pytest.mark.parametrize("asking", [ask, ask_here, ask_later])
@pytest.mark.parametrize("call", ["invoke", "ainvoke"])
def test_all_questions_asked_side_by_side_are_reported_together(together, asking, call):
    @entrypoint
    async def workflow(_given: str) -> list:
        return await together(asking("a"), asking("b"), asking("c"))

    def go_on(given):
        return workflow.invoke(given, CONFIG) if call == "invoke" else run(workflow.ainvoke(given, CONFIG))

    asked = go_on("x")["__interrupt__"]
    assert [each.value for each in asked] == ["a", "b", "c"]
    assert go_on(Command(resume={each.id: each.value.upper() for each in asked})) == ["A", "B", "C"]


@pytest.mark.parametrize("asking", [ask_here, ask_later])
def test_a_question_in_a_task_group_suspends(asking):
    @entrypoint
    async def workflow(_given: str) -> list:
        return await grouped(asking("a"), asking("b"))

    found, answers = run(workflow.ainvoke("x", CONFIG)), []
    while isinstance(found, dict):
        answers += [each.value for each in found["__interrupt__"]]
        found = run(
            workflow.ainvoke(Command(resume={i.id: i.value.upper() for i in found["__interrupt__"]}), CONFIG)
        )
    assert (found, sorted(answers)) == (["A", "B"], ["a", "b"])


@pytest.mark.usefixtures("once")
def test_a_coroutine_beside_a_question_in_a_task_group_is_recorded_and_not_executed_again():
    tally = Tally()

    @task
    async def beside() -> int:
        await asyncio.sleep(0.01)
        return tally("beside")

    async def strand():
        return await beside()

    @entrypoint
    async def workflow(_given: str) -> list:
        return await grouped(strand(), ask_here("a"))

    run(workflow.ainvoke("x", CONFIG))
    assert run(workflow.ainvoke(Command(resume="A"), CONFIG)) == [1, "A"]


def test_a_wait_that_times_out_beside_a_question_does_not_hold_up_the_pause_for_ever(checkpointer):
    @task
    async def endless() -> None:
        await asyncio.Event().wait()

    async def strand():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(endless(), 0.02)
        return await increment(1)

    @task
    async def around() -> list:
        return await asyncio.gather(ask("a"), strand())

    @entrypoint
    async def workflow(_given: str) -> list:
        return await around()

    engine = milepost.Engine(checkpointer=checkpointer, pause_wait=0.1)
    with engine:
        asked = run(workflow.ainvoke("x", CONFIG))["__interrupt__"]
        assert [each.value for each in asked] == ["a"]
        assert run(workflow.ainvoke(Command(resume="A"), CONFIG)) == ["A", 2]
    engine.close()


# -- cancelling what is awaited --------------------------------------------------------------------------------------


def test_a_timed_out_coroutine_is_cancelled_and_times_out_again_on_replay():
    tally = Tally()

    @task
    async def endless() -> None:
        tally("begun")
        try:
            await asyncio.Event().wait()
        finally:
            tally("cancelled")

    @entrypoint
    async def workflow(_given: str) -> list:
        try:
            await asyncio.wait_for(endless(), 0.05)
        except TimeoutError:
            await increment(1)
            return ["late", interrupt("go on?")]

    run(workflow.ainvoke("x", CONFIG))
    assert outcomes(workflow)["0"] == "cancelled"
    assert run(workflow.ainvoke(Command(resume=1), CONFIG)) == ["late", 1]
    assert (tally["begun"], tally["cancelled"]) == (1, 1)


def test_a_function_that_has_begun_goes_on_and_its_outcome_is_recorded_late():
    gate, began = threading.Event(), threading.Event()

    @task
    def stubborn() -> str:
        began.set()
        gate.wait(60)
        return "late"

    @entrypoint
    async def workflow(_given: str) -> list:
        future = stubborn()
        await asyncio.to_thread(began.wait, 60)
        try:
            return [await asyncio.wait_for(future, 0.05)]
        except TimeoutError:
            gate.set()
            await increment(1)
            return ["gave up", interrupt("go on?")]

    run(workflow.ainvoke("x", CONFIG))
    assert outcomes(workflow)["0"] == "done"
    assert run(workflow.ainvoke(Command(resume=1), CONFIG)) == ["gave up", 1]


def test_a_function_that_has_not_begun_is_cancelled():
    gate, tally = threading.Event(), Tally()

    @task
    def blocks() -> None:
        gate.wait(60)

    @task
    def late() -> None:
        tally("late")

    @entrypoint
    async def workflow(_given: str) -> list:
        blocker = blocks()
        future = late()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.05)
        gate.set()
        await blocker
        return [interrupt("go on?")]

    engine = milepost.Engine(checkpointer="memory://", workers=1)
    with engine:
        run(workflow.ainvoke("x", CONFIG))
        assert outcomes(workflow)["1"] == "cancelled"
        assert run(workflow.ainvoke(Command(resume=1), CONFIG)) == [1]
    engine.close()
    assert tally["late"] == 0


def test_a_coroutine_that_survives_being_cancelled_has_returned():
    @task
    async def survivor() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "alive"

    @entrypoint
    async def workflow(_given: str) -> str:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(survivor(), 0.05)
        return interrupt("go on?")

    run(workflow.ainvoke("x", CONFIG))
    assert outcomes(workflow)["0"] == "done"
    assert run(workflow.ainvoke(Command(resume=1), CONFIG)) == 1


def test_cancelling_goes_down_to_the_calls_of_what_is_cancelled():
    tally = Tally()

    @task
    async def leaf() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tally("leaf")

    @task
    async def middle() -> None:
        await asyncio.gather(leaf(), leaf())

    @entrypoint
    async def workflow(_given: str) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await middle()
        interrupt("go on?")

    run(workflow.ainvoke("x", CONFIG))
    assert outcomes(workflow) == {
        "0": "cancelled",
        "0.0": "cancelled",
        "0.1": "cancelled",
        "1": "interrupted",
    }
    run(workflow.ainvoke(Command(resume=1), CONFIG))
    assert tally["leaf"] == 2


@pytest.mark.usefixtures("once")
@pytest.mark.parametrize("call", ["invoke", "ainvoke"])
def test_cancel_stops_a_coroutine_that_has_begun(call):
    @task
    async def endless(begun: list) -> None:
        begun.append(1)
        await asyncio.Event().wait()

    @entrypoint
    async def workflow(_given: str) -> list:
        begun = []
        future = endless(begun)
        await increment(1)
        cancelled = future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        return [cancelled, future.cancelled(), interrupt("go on?")]

    def go_on(given):
        return workflow.invoke(given, CONFIG) if call == "invoke" else run(workflow.ainvoke(given, CONFIG))

    go_on("x")
    assert go_on(Command(resume=1)) == [True, True, 1]


def test_a_task_that_raises_cancelled_itself_is_recorded_as_cancelled():
    @task
    async def gives_up() -> None:
        raise asyncio.CancelledError

    @entrypoint
    async def workflow(_given: str) -> list:
        seen = []
        for _ in range(2):
            try:
                await gives_up()
            except asyncio.CancelledError:
                seen.append("cancelled")
        return [*seen, interrupt("go on?")]

    run(workflow.ainvoke("x", CONFIG))
    assert outcomes(workflow)["0"] == "cancelled"
    assert run(workflow.ainvoke(Command(resume=1), CONFIG)) == ["cancelled", "cancelled", 1]


# -- cancelling a run ------------------------------------------------------------------------------------------------


def stoppable():
    """Return a workflow that begins a function and a coroutine which end when told, and what it has done."""
    tally, began, gate, ready = Tally(), threading.Event(), threading.Event(), []

    @task
    async def coroutine() -> str:
        if tally("coroutine") == 1:
            ready[0].set()
            await asyncio.Event().wait()
        return "coroutine"

    @task
    def function() -> str:
        tally("function")
        began.set()
        gate.wait(60)
        return "function"

    @entrypoint
    async def workflow(_given: str) -> list:
        second = function()
        await asyncio.to_thread(began.wait, 60)
        return await asyncio.gather(coroutine(), second)

    return workflow, tally, gate, ready


def test_a_cancelled_ainvoke_stops_and_can_be_continued():
    workflow, tally, gate, ready = stoppable()

    async def main():
        ready.append(asyncio.Event())
        running = asyncio.create_task(workflow.ainvoke("x", CONFIG))
        await ready[0].wait()
        running.cancel()
        asyncio.get_running_loop().call_later(0.05, gate.set)
        with pytest.raises(asyncio.CancelledError):
            await running
        assert gate.is_set(), "the function was waited for"
        assert outcomes(workflow) == {"0": "done"}
        return await workflow.ainvoke(None, CONFIG)

    assert run(main()) == ["coroutine", "function"]
    assert (tally["coroutine"], tally["function"]) == (2, 1)


def test_cancelling_twice_does_not_wait():
    workflow, _tally, gate, ready = stoppable()

    async def main():
        ready.append(asyncio.Event())
        running = asyncio.create_task(workflow.ainvoke("x", CONFIG))
        await ready[0].wait()
        running.cancel()
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not gate.is_set()
        gate.set()

    run(main())


def test_closing_an_async_stream_stops_the_run_and_it_can_be_continued():
    workflow, tally, gate, ready = stoppable()

    @entrypoint
    async def outer(given: str) -> list:
        get_stream_writer()("begun")
        return await workflow.ainvoke(given)

    async def main():
        ready.append(asyncio.Event())
        chunks = outer.astream("x", CONFIG, stream_mode="custom")
        assert await anext(chunks) == "begun"
        await ready[0].wait()
        gate.set()
        await chunks.aclose()
        return await outer.ainvoke(None, CONFIG)

    assert run(main()) == ["coroutine", "function"]
    assert tally["function"] == 1


def test_ctrl_c_under_asyncio_run_stops_the_run_and_it_can_be_continued():
    tally = Tally()

    @task
    async def interrupted() -> str:
        if tally("call") == 1:
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()
        return "done"

    @entrypoint
    async def workflow(_given: str) -> str:
        await increment(1)
        return await interrupted()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(workflow.ainvoke("x", CONFIG))
    assert run(workflow.ainvoke(None, CONFIG)) == "done"


def test_ctrl_c_in_invoke_stops_an_async_body_and_it_can_be_continued():
    tally = Tally()

    @task
    async def interrupted() -> str:
        if tally("call") == 1:
            signal.raise_signal(signal.SIGINT)  # the main thread runs the handler: it waits in invoke
            await asyncio.Event().wait()
        return "done"

    @entrypoint
    async def workflow(_given: str) -> str:
        return await interrupted()

    with pytest.raises(KeyboardInterrupt):
        workflow.invoke("x", CONFIG)
    assert workflow.invoke(None, CONFIG) == "done"


# -- nested workflows ------------------------------------------------------------------------------------------------


@entrypoint
async def inner_async(n: int) -> list:
    return [await double(n), await increment(n)]


@entrypoint
def inner_sync(n: int) -> list:
    return [double(n).result(), increment(n).result()]


@pytest.mark.parametrize("inner", [inner_async, inner_sync])
@pytest.mark.parametrize("how", ["await", "blocking", "stream", "elsewhere", "blocking elsewhere"])
@pytest.mark.parametrize("call", ["invoke", "ainvoke"])
def test_workflows_nest_in_coroutines(inner, how, call):
    @entrypoint
    async def outer(n: int) -> list:
        if how == "await":
            found = await inner.ainvoke(n)
        elif how == "blocking":
            found = inner.invoke(n)
        elif how == "stream":
            (found,) = [chunk async for chunk in inner.astream(n, stream_mode="values")]
        elif how == "elsewhere":
            found = await inner.ainvoke(n, thread_id="other")
        else:
            found = inner.invoke(n, thread_id="other")
        return [*found, await increment(0), interrupt("go on?")]

    def go_on(given):
        return outer.invoke(given, CONFIG) if call == "invoke" else run(outer.ainvoke(given, CONFIG))

    go_on(3)
    assert go_on(Command(resume=9)) == [6, 4, 1, 9]


# -- the rest --------------------------------------------------------------------------------------------------------

request = ContextVar("request", default="none")


def test_a_body_sees_the_callers_context_and_a_task_does_not():
    @task
    async def seen() -> str:
        return request.get()

    @entrypoint
    async def workflow(_given: str) -> list:
        return [request.get(), await seen()]

    @entrypoint
    def sync_workflow(_given: str) -> list:
        return [request.get(), seen().result()]

    async def main():
        request.set("mine")
        return [
            await workflow.ainvoke("x", thread_id="a"),
            await sync_workflow.ainvoke("x", thread_id="b"),
            workflow.invoke("x", thread_id="c"),
        ]

    assert run(main()) == [["mine", "none"]] * 3


def test_partials_methods_and_callable_objects_may_be_coroutines():
    class Caller:
        async def __call__(self, n: int) -> int:
            return n + 3

        @task
        async def method(self, n: int) -> int:
            return n + 4

    async def add(m: int, n: int) -> int:
        return m + n

    partial, caller = task(functools.partial(add, 2), name="partial"), task(Caller(), name="caller")

    @entrypoint
    async def workflow(n: int) -> list:
        return [await partial(n), await caller(n), await Caller().method(n)]

    assert run(workflow.ainvoke(1, CONFIG)) == [3, 4, 5]


def test_states_and_stores_have_async_twins():
    store = InMemoryStore()

    @entrypoint(store=store)
    async def workflow(
        n: int, *, store: milepost.BaseStore, previous: int | None = None
    ) -> entrypoint.final[int, int]:
        await store.aput(("a",), "k", {"n": n})
        found = await store.aget(("a",), "k")
        return entrypoint.final(value=found.value["n"] + (previous or 0), save=n)

    async def main():
        await workflow.ainvoke(1, CONFIG)
        assert await workflow.ainvoke(2, CONFIG) == 3
        assert (await workflow.aget_state(CONFIG)).values == 3
        assert [item.key for item in await store.asearch(("a",))] == ["k"]
        assert await store.alist_namespaces() == [("a",)]
        await store.adelete(("a",), "k")
        return await store.aget(("a",), "k")

    assert run(main()) is None


def test_an_outcome_of_a_coroutine_that_cannot_be_kept_fails_where_it_is_awaited():
    @task
    async def bad() -> object:
        return object()

    @entrypoint
    async def workflow(_given: str) -> str:
        with pytest.raises(milepost.errors.NotSerializable, match="bad"):
            await bad()
        return "refused"

    assert run(workflow.ainvoke("x", CONFIG)) == "refused"


def test_a_closing_engine_stops_an_async_body_at_its_next_call(checkpointer):
    engine = milepost.Engine(checkpointer=checkpointer)

    @entrypoint
    async def workflow(given: str) -> str:
        await double(1)
        if given == "first" and not engine.closing:
            engine.drain()
        await double(2)
        return "done"

    with engine, pytest.raises(milepost.errors.EngineClosed):
        run(workflow.ainvoke("first", CONFIG))
    engine.close()
    assert run(workflow.ainvoke(None, CONFIG)) == "done"


def test_custom_chunks_of_coroutines_arrive_as_they_are_written():
    @task
    async def writes(n: int) -> int:
        get_stream_writer()(n)
        return n

    @entrypoint
    async def workflow(_given: str) -> list:
        return await asyncio.gather(writes(1), writes(2))

    async def main():
        return [chunk async for chunk in workflow.astream("x", CONFIG, stream_mode=["custom", "values"])]

    found = run(main())
    assert sorted(found[:-1]) == [("custom", 1), ("custom", 2)]
    assert found[-1] == ("values", [1, 2])


def test_a_wait_for_several_that_runs_out_of_time_does_so_on_replay(engine):
    go = threading.Event()

    @task
    def slow() -> str:
        assert go.wait(30)
        return "late"

    @entrypoint
    async def body(_: int) -> list:
        future, told = slow(), []
        try:
            told += [await each async for each in as_completed([future], timeout=0.02)]
        except TimeoutError as error:
            told.append(type(error).__name__)
        go.set()
        return [told, await future, interrupt("?")]

    assert "__interrupt__" in body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="yes"), thread_id="t") == [["TimeoutError"], "late", "yes"]


def test_a_wait_for_several_gives_them_in_the_order_of_their_outcomes_while_there_is_time(engine):
    @task
    async def soon(number: int) -> int:
        return number

    @entrypoint
    async def body(width: int) -> list:
        futures = [soon(number) for number in range(width)]
        return [await each async for each in as_completed(futures, timeout=60)] + [interrupt("?")]

    body.invoke(4, thread_id="t")
    *found, answer = body.invoke(Command(resume="yes"), thread_id="t")
    assert (sorted(found), answer) == ([0, 1, 2, 3], "yes")
