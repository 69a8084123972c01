"""Policies of coroutines: attempts, time limits, unknown outcomes; and that no wait blocks a loop or a worker."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from concurrent.futures import CancelledError

import pytest

import milepost
from manual_clock import ManualClock
from milepost import (
    Command,
    Decision,
    RetryPolicy,
    TimeoutPolicy,
    entrypoint,
    get_deadline,
    get_idempotency_key,
    heartbeat,
    interrupt,
    task,
)
from milepost._context import required
from milepost.errors import OutcomeUnknown, TaskTimeout, WorkflowTimeout

AT_ONCE = RetryPolicy(initial_interval=0, jitter=False, retry_on=ValueError)
LATER = RetryPolicy(initial_interval=10, jitter=False, retry_on=ValueError)


def records(checkpointer, kind=None, thread="t"):
    found = [record for _, batch in checkpointer.read(thread) for record in batch.records]
    return [record for record in found if kind in (None, record.kind)]


def until(condition):
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about")


class Lab:
    """Counts what was done, fails as often as it is told, and has coroutines that do not end by themselves."""

    def __init__(self):
        self.done = Counter()
        self.failures = Counter()

    def run(self, name):
        self.done[name] += 1
        if self.failures[name]:
            self.failures[name] -= 1
            raise ValueError(f"{name} failed")
        return name.upper()

    async def stay(self, name):
        """Stay until cancelled, and count that."""
        self.done[name] += 1
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            self.done[f"{name} cancelled"] += 1
            raise


@pytest.fixture
def lab():
    return Lab()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def held(checkpointer, clock):
    """An engine with one worker whose clock stands still."""
    made = milepost.Engine(checkpointer=checkpointer, workers=1, clock=clock, pause_wait=0.1)
    with made:
        yield made
    made.close()


@pytest.fixture
def background(held):
    """A function that awaits a call on a loop of its own, in a thread, under the engine."""
    threads = []

    def begin(function, *args, **kwargs):
        found = {}

        async def main():
            return await function(*args, **kwargs)

        def work():
            try:
                with held:
                    found["value"] = asyncio.run(main())
            except Exception as error:
                found["error"] = error

        thread = threading.Thread(target=work)
        threads.append(thread)
        thread.start()

        def result():
            thread.join(30)
            assert not thread.is_alive()
            if "error" in found:
                raise found["error"]
            return found["value"]

        return result

    yield begin
    for thread in threads:
        thread.join(30)


@pytest.fixture(params=["invoke", "ainvoke"])
def call(request):
    """Run a workflow as a program without a loop does, and as one with a loop does."""

    def invoke(workflow, given, **kwargs):
        return workflow.invoke(given, **kwargs)

    def ainvoke(workflow, given, **kwargs):
        return asyncio.run(workflow.ainvoke(given, **kwargs))

    return invoke if request.param == "invoke" else ainvoke


# -- attempts ----------------------------------------------------------------------------------------------------------


def test_a_coroutine_is_tried_again_as_its_policy_says(engine, checkpointer, lab, call):
    @task(retry_policy=AT_ONCE)
    async def shaky(n: int) -> list:
        await asyncio.sleep(0)
        return [lab.run("shaky"), n, required("a test").attempt]

    @entrypoint
    async def body(given) -> list:
        return await shaky(given)

    lab.failures["shaky"] = 2
    assert call(body, 7, thread_id="t") == ["SHAKY", 7, 3]
    assert lab.done["shaky"] == 3
    assert [record.number for record in records(checkpointer, "attempted")] == [1, 2]
    assert [outcome.attempts for outcome in records(checkpointer, "outcome")] == [3]


def test_a_coroutine_out_of_attempts_fails_with_its_last_error(engine, lab, call):
    @task(retry_policy=AT_ONCE)
    async def shaky() -> str:
        return lab.run("shaky")

    @entrypoint
    async def body(given) -> str:
        return await shaky()

    lab.failures["shaky"] = 99
    with pytest.raises(ValueError, match="shaky failed"):
        call(body, 1, thread_id="t")
    assert lab.done["shaky"] == 3


def test_what_an_attempt_recorded_side_by_side_does_not_run_again_in_the_next(engine, lab, call):
    @task
    async def part(name: str) -> str:
        return lab.run(name)

    @task(retry_policy=AT_ONCE)
    async def whole() -> list:
        async def both(name):
            return [await part(f"{name}1"), await part(f"{name}2")]

        found = await asyncio.gather(both("a"), both("b"))
        return [*found, lab.run("whole")]

    @entrypoint
    async def body(given) -> list:
        return await whole()

    lab.failures["whole"] = 1
    assert call(body, 1, thread_id="t") == [["A1", "A2"], ["B1", "B2"], "WHOLE"]
    assert {name: lab.done[name] for name in ("a1", "a2", "b1", "b2", "whole")} == {
        "a1": 1,
        "a2": 1,
        "b1": 1,
        "b2": 1,
        "whole": 2,
    }


def test_without_a_checkpointer_coroutines_are_tried_again_too(plain_engine, lab, call):
    @task(retry_policy=AT_ONCE)
    async def shaky() -> list:
        return [lab.run("shaky"), get_idempotency_key()]

    @entrypoint
    async def body(given) -> str:
        return (await shaky())[0]

    lab.failures["shaky"] = 1
    assert call(body, 1) == "SHAKY"


def test_a_wait_between_attempts_blocks_neither_the_loop_nor_a_worker(held, clock, background, lab):
    seen = []

    @task(retry_policy=LATER)
    async def shaky() -> str:
        return lab.run("shaky")

    @task
    def function() -> str:
        return lab.run("function")

    @entrypoint
    async def body(given) -> list:
        future = shaky()
        await asyncio.to_thread(until, lambda: lab.done["shaky"])
        seen.append(await function())  # the only worker does it
        seen.append("loop")
        return [await future, *seen]

    lab.failures["shaky"] = 1
    result = background(body.ainvoke, 1, thread_id="t")
    until(lambda: len(seen) == 2)
    clock.advance(9.9)
    assert lab.done["shaky"] == 1
    clock.advance(0.2)
    assert result() == ["SHAKY", "FUNCTION", "loop"]


def test_a_wait_between_attempts_goes_on_in_another_process(held, clock, background, lab, checkpointer):
    @task(retry_policy=LATER)
    async def shaky() -> str:
        return lab.run("shaky")

    @entrypoint
    async def body(given) -> str:
        return await shaky()

    lab.failures["shaky"] = 1

    async def left():
        running = asyncio.ensure_future(body.ainvoke(1, thread_id="t"))
        await asyncio.to_thread(until, lambda: records(checkpointer, "attempted"))
        running.cancel()
        await asyncio.wait([running])
        return running.cancelled()

    assert background(left)()
    result = background(body.ainvoke, None, thread_id="t")
    clock.advance(9)
    assert lab.done["shaky"] == 1
    clock.advance(2)
    assert result() == "SHAKY"
    assert lab.done["shaky"] == 2


def test_a_coroutine_that_is_cancelled_is_not_tried_again(engine, checkpointer, lab):
    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=Exception), timeout=3600)
    async def slow() -> None:
        lab.run("slow")
        await lab.stay("stays")

    @entrypoint
    async def body(given) -> str:
        waiting = asyncio.ensure_future(asyncio.wait_for(slow(), None))
        await asyncio.to_thread(until, lambda: lab.done["stays"])
        waiting.cancel()
        await asyncio.wait([waiting])
        return "gone" if waiting.cancelled() else "?"

    lab.failures["slow"] = 1
    assert asyncio.run(body.ainvoke(1, thread_id="t")) == "gone"
    (outcome,) = records(checkpointer, "outcome")
    assert outcome.cancelled
    assert outcome.attempts == 2
    assert len(records(checkpointer, "attempted")) == 1


def test_a_coroutine_is_cancelled_between_two_attempts(held, background, lab, checkpointer):
    @task(retry_policy=LATER)
    async def shaky() -> str:
        return lab.run("shaky")

    @entrypoint
    async def body(given) -> list:
        future = shaky()
        waiting = asyncio.ensure_future(asyncio.wait_for(future, None))
        await asyncio.to_thread(until, lambda: records(checkpointer, "attempted"))
        waiting.cancel()
        await asyncio.wait([waiting])
        return [waiting.cancelled()]

    lab.failures["shaky"] = 1
    assert background(body.ainvoke, 1, thread_id="t")() == [True]
    (outcome,) = records(checkpointer, "outcome")
    assert outcome.cancelled
    assert outcome.attempts == 1
    assert lab.done["shaky"] == 1


def test_those_who_watch_are_told_the_attempt_of_a_coroutine(engine, lab):
    @task(retry_policy=AT_ONCE)
    async def shaky() -> str:
        return lab.run("shaky")

    @entrypoint
    async def body(given) -> str:
        return await shaky()

    async def watch():
        chunks = body.astream(1, thread_id="t", stream_mode="events")
        return [(type(event).__name__, event.attempt) async for event in chunks if event.call]

    lab.failures["shaky"] = 1
    told = asyncio.run(watch())
    assert told[-1] == ("TaskFinished", 2)
    assert told[0] == ("TaskStarted", 1)


# -- time limits -------------------------------------------------------------------------------------------------------


def test_a_coroutine_whose_time_is_up_is_cancelled_and_the_body_goes_on(
    held, clock, background, checkpointer, lab
):
    @task(timeout=5)
    async def slow() -> None:
        await lab.stay("slow")

    @task
    async def other() -> str:
        return "other"

    @entrypoint
    async def body(given) -> list:
        try:
            await slow()
        except TaskTimeout as error:
            return [error.name, error.kind, error.limit, await other()]
        return []

    result = background(body.ainvoke, 1, thread_id="t")
    until(lambda: lab.done["slow"])
    clock.advance(4.9)
    assert not records(checkpointer, "outcome")
    clock.advance(0.2)
    assert result() == ["slow", "run", 5.0, "other"]
    assert lab.done["slow cancelled"] == 1
    assert [outcome.error is None for outcome in records(checkpointer, "outcome")] == [False, True]


def test_what_a_coroutine_does_after_its_time_does_not_count(
    held, clock, background, checkpointer, lab, caplog
):
    caplog.set_level(logging.WARNING, "milepost")
    caught = []

    @task
    async def part() -> str:
        return lab.run("part")

    @task(timeout=5)
    async def stubborn() -> str:
        try:
            await lab.stay("stubborn")
        except asyncio.CancelledError:
            try:
                await part()
            except BaseException as error:
                caught.append(type(error).__name__)
        lab.done["late"] += 1
        return "late"

    @entrypoint
    async def body(given) -> str:
        try:
            return await stubborn()
        except TaskTimeout:
            await asyncio.to_thread(until, lambda: "its result was discarded" in caplog.text)
            return "in time"

    result = background(body.ainvoke, 1, thread_id="t")
    until(lambda: lab.done["stubborn"])
    clock.advance(6)
    assert result() == "in time"
    assert (lab.done["late"], lab.done["part"], caught) == (1, 0, ["Fenced"])
    (outcome,) = records(checkpointer, "outcome")
    assert outcome.error is not None


def test_joining_what_a_coroutine_called_is_part_of_its_time(
    held, clock, background, checkpointer, lab, caplog
):
    caplog.set_level(logging.WARNING, "milepost")
    end = threading.Event()

    @task
    def left() -> None:
        lab.done["left"] += 1
        assert end.wait(30)

    @task(timeout=5)
    async def leaves() -> str:
        left()
        return "returned"

    @entrypoint
    async def body(given) -> str:
        try:
            return await leaves()
        except TaskTimeout:
            end.set()
            await asyncio.to_thread(until, lambda: "its result was discarded" in caplog.text)
            return "over"

    result = background(body.ainvoke, 1, thread_id="t")
    until(lambda: lab.done["left"])
    clock.advance(6)
    assert result() == "over"
    assert [outcome.call for outcome in records(checkpointer, "outcome")] == ["0"], records(checkpointer)


def test_a_coroutine_that_notices_itself_that_its_time_is_up_did_not_end_in_time(held, clock, lab):
    @task(timeout=5)
    async def late() -> str:
        clock.advance(6)
        try:
            heartbeat()
        except BaseException:
            return "late"
        return "?"

    @entrypoint
    async def body(given) -> str:
        try:
            return await late()
        except TaskTimeout:
            return "over"

    assert asyncio.run(body.ainvoke(1, thread_id="t")) == "over"


def test_coroutines_that_a_timed_out_one_began_are_cancelled_with_it(held, clock, background, lab):
    @task
    async def inner(name: str) -> None:
        await lab.stay(name)

    @task
    async def middle() -> None:
        await inner("awaited within")

    @task(timeout=5)
    async def outer() -> None:
        inner("beside")
        await middle()

    @entrypoint
    async def body(given) -> str:
        try:
            await outer()
        except TaskTimeout:
            await asyncio.to_thread(
                until, lambda: lab.done["beside cancelled"] and lab.done["awaited within cancelled"]
            )
            return "over"
        return "?"

    result = background(body.ainvoke, 1, thread_id="t")
    until(lambda: lab.done["beside"] and lab.done["awaited within"])
    clock.advance(6)
    assert result() == "over"


def test_a_coroutine_that_gives_signs_of_life_may_go_on(held, clock, background, lab):
    turns = [threading.Event() for _ in range(3)]

    @task(timeout=TimeoutPolicy(idle_timeout=5))
    async def slow() -> str:
        for number, turn in enumerate(turns):
            lab.done["beats"] = number + 1
            await asyncio.to_thread(turn.wait, 30)
            heartbeat()
        lab.done["beats"] = 9
        await lab.stay("slow")
        return "?"

    @entrypoint
    async def body(given) -> list:
        try:
            return [await slow()]
        except TaskTimeout as error:
            return [error.kind, error.limit]

    result = background(body.ainvoke, 1, thread_id="t")
    for number, turn in enumerate(turns):
        until(lambda number=number: lab.done["beats"] == number + 1)
        clock.advance(4)
        turn.set()
    until(lambda: lab.done["slow"])
    assert not lab.done["slow cancelled"]
    clock.advance(6)
    assert result() == ["idle", 5.0]


def test_a_strand_sees_the_deadline_and_the_key_of_its_task(held, lab):
    @task(timeout=5)
    async def look() -> list:
        async def aside():
            heartbeat()
            return [get_deadline(), get_idempotency_key() == key, required("a test").attempt]

        key = get_idempotency_key()
        return [get_deadline(), *await asyncio.create_task(aside())]

    @entrypoint
    async def body(given) -> list:
        return await look()

    assert asyncio.run(body.ainvoke(1, thread_id="t")) == [5.0, 5.0, True, 1]


def test_a_coroutine_whose_time_is_up_can_be_tried_again(held, clock, background, checkpointer, lab):
    @task(timeout=5, retry_policy=RetryPolicy(initial_interval=10, jitter=False, retry_on=TaskTimeout))
    async def slow() -> str:
        if lab.done["slow"]:
            return "second"
        await lab.stay("slow")
        return "?"

    @entrypoint
    async def body(given) -> str:
        return await slow()

    result = background(body.ainvoke, 1, thread_id="t")
    until(lambda: lab.done["slow"])
    clock.advance(6)
    until(lambda: records(checkpointer, "attempted"))
    assert lab.done["slow cancelled"] == 1
    clock.advance(11)
    assert result() == "second"


def test_a_coroutine_in_time_does_not_hear_of_the_limit(engine, lab, call):
    @task(timeout=3600)
    async def quick() -> float:
        left = get_deadline()
        assert left is not None
        return left

    @entrypoint
    async def body(given) -> bool:
        return 3500 < await quick() <= 3600

    assert call(body, 1, thread_id="t")


def test_a_function_under_a_time_limit_is_awaited_without_blocking_the_loop(held, clock, background, lab):
    end = threading.Event()

    @task(timeout=5)
    def stuck() -> None:
        lab.done["stuck"] += 1
        assert end.wait(30)

    @entrypoint
    async def body(given) -> str:
        future = stuck()
        await asyncio.to_thread(until, lambda: lab.done["stuck"])
        lab.done["loop"] += 1
        try:
            await future
        except TaskTimeout:
            return "over"
        return "?"

    result = background(body.ainvoke, 1, thread_id="t")
    until(lambda: lab.done["loop"])
    clock.advance(6)
    assert result() == "over"
    end.set()


# -- unknown outcomes --------------------------------------------------------------------------------------------------


def paying(lab, **policies):
    """Return a workflow with one payment that stays under way the first time."""

    @task(**policies)
    async def pay(amount: int) -> str:
        lab.done["keys", get_idempotency_key()] += 1
        lab.done["paid"] += 1
        if lab.done["paid"] == 1:
            await lab.stay("pay")
        return f"paid {amount}"

    @entrypoint
    async def body(given) -> str:
        return await pay(given)

    return body


def cut_off(body, lab, checkpointer):
    """Begin a payment, and cancel the run while it is under way."""

    async def main():
        running = asyncio.ensure_future(body.ainvoke(3, thread_id="t"))
        await asyncio.to_thread(until, lambda: lab.done["pay"])
        begun = [record.kind for record in records(checkpointer)]
        running.cancel()
        await asyncio.wait([running])
        assert running.cancelled()
        return begun

    return asyncio.run(main())


def test_the_start_of_a_coroutine_is_on_record_before_it_begins(engine, checkpointer, lab):
    body = paying(lab, on_unknown="fail")
    assert cut_off(body, lab, checkpointer) == ["started", "begun"]
    with pytest.raises(OutcomeUnknown, match=r"'pay' began at .* was cut off"):
        asyncio.run(body.ainvoke(None, thread_id="t"))
    assert lab.done["paid"] == 1


def test_nothing_is_recorded_on_the_thread_of_the_loop(engine, checkpointer, lab, monkeypatch):
    append, threads = checkpointer.append, []

    def watched(*args, **kwargs):
        threads.append(threading.get_ident())
        return append(*args, **kwargs)

    @task(on_unknown="fail", retry_policy=AT_ONCE)
    async def careful() -> str:
        return lab.run("careful")

    @entrypoint
    async def body(given) -> str:
        return await careful()

    lab.failures["careful"] = 1
    monkeypatch.setattr(checkpointer, "append", watched)
    assert asyncio.run(body.ainvoke(1, thread_id="t")) == "CAREFUL"
    assert len(threads) >= 4  # two starts, a failed attempt, an outcome
    assert threading.get_ident() not in threads


def test_by_default_a_coroutine_that_was_cut_off_runs_again_with_its_key(engine, checkpointer, lab):
    body = paying(lab)
    assert cut_off(body, lab, checkpointer) == ["started"]
    assert asyncio.run(body.ainvoke(None, thread_id="t")) == "paid 3"
    assert lab.done["paid"] == 2
    (key,) = [key for key in lab.done if key[0] == "keys"]
    assert lab.done[key] == 2


@pytest.mark.parametrize(
    ("decision", "result", "paid"),
    [(Decision.rerun(), "paid 3", 2), (Decision.result("by hand"), "by hand", 1)],
)
def test_a_person_decides_about_a_coroutine(engine, checkpointer, lab, call, decision, result, paid):
    body = paying(lab, on_unknown="review")
    cut_off(body, lab, checkpointer)
    (question,) = call(body, None, thread_id="t")["__interrupt__"]
    assert question.value["task"] == "pay"
    assert call(body, Command(resume=decision), thread_id="t") == result
    assert lab.done["paid"] == paid


def test_a_coroutine_that_asks_has_stopped_where_it_knows(engine, lab, call):
    @task(on_unknown="fail")
    async def careful() -> list:
        return [interrupt("sure?"), lab.run("careful")]

    @entrypoint
    async def body(given) -> list:
        return await careful()

    assert call(body, 1, thread_id="t")["__interrupt__"][0].value == "sure?"
    assert call(body, Command(resume="yes"), thread_id="t") == ["yes", "CAREFUL"]
    assert lab.done["careful"] == 1


# -- bodies ------------------------------------------------------------------------------------------------------------


def test_a_coroutine_body_is_tried_again_and_keeps_what_is_recorded(engine, lab, call):
    @task
    async def step(n: int) -> str:
        return lab.run(f"step{n}")

    @entrypoint(retry_policy=AT_ONCE)
    async def body(given) -> list:
        found = await asyncio.gather(step(1), step(2))
        return [*found, lab.run("body")]

    lab.failures["body"] = 1
    assert call(body, 1, thread_id="t") == ["STEP1", "STEP2", "BODY"]
    assert (lab.done["step1"], lab.done["step2"]) == (1, 1)


def test_a_coroutine_body_that_ends_as_cancelled_is_not_tried_again(engine, lab):
    @entrypoint(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=Exception))
    async def body(given) -> str:
        lab.run("body")
        raise asyncio.CancelledError

    with pytest.raises(CancelledError):
        body.invoke(1, thread_id="t")
    assert lab.done["body"] == 1


def test_a_wait_between_attempts_at_a_body_leaves_the_loop_alone(held, clock, background, lab, checkpointer):
    @entrypoint(retry_policy=LATER)
    async def body(given) -> str:
        return lab.run("body")

    async def main():
        running = asyncio.ensure_future(body.ainvoke(1, thread_id="t"))
        await asyncio.to_thread(until, lambda: records(checkpointer, "attempted"))
        clock.advance(11)
        return await running

    lab.failures["body"] = 1
    assert background(main)() == "BODY"


def test_a_coroutine_body_whose_time_is_up_is_cancelled_and_can_be_continued(
    held, clock, background, lab, checkpointer
):
    @task
    async def step() -> str:
        return lab.run("step")

    @entrypoint(timeout=5)
    async def body(given) -> str:
        found = await step()
        if not lab.done["body"]:
            await lab.stay("body")
        return found

    result = background(
        asyncio.to_thread, body.invoke, 1, thread_id="t"
    )  # on the engine's loop, which goes on
    until(lambda: lab.done["body"])
    clock.advance(6)
    with pytest.raises(WorkflowTimeout):
        result()
    until(lambda: lab.done["body cancelled"])
    assert records(checkpointer)[-1].kind == "failed"
    assert background(body.ainvoke, None, thread_id="t")() == "STEP"
    assert lab.done["step"] == 1


def test_a_coroutine_body_within_another_can_be_timed_out_and_tried_again(held, clock, background, lab):
    @entrypoint(timeout=5)
    async def inner(given) -> str:
        await lab.stay("inner")
        return "?"

    @entrypoint(retry_policy=AT_ONCE)
    async def shaky(given) -> str:
        return lab.run("shaky")

    @entrypoint
    async def body(given) -> list:
        try:
            await inner.ainvoke(given)
        except WorkflowTimeout as error:
            return [error.name, await shaky.ainvoke(given)]
        return []

    lab.failures["shaky"] = 1
    result = background(body.ainvoke, 1, thread_id="t")
    until(lambda: lab.done["inner"])
    clock.advance(6)
    assert result() == ["inner", "SHAKY"]
    assert lab.done["inner cancelled"] == 1
