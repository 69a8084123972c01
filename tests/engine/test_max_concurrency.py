"""``max_concurrency``: so many tasks of a run execute at once, and no nesting of waits blocks, even with one."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import FIRST_COMPLETED, wait

import pytest

import milepost
from milepost import CachePolicy, InMemoryCache, RetryPolicy, as_completed, entrypoint, interrupt, task
from milepost.errors import InvalidConfig

PATIENCE = 20


class Crowd:
    """Counts who is inside at the same time. Nobody leaves before so many have come in all, and the door is open."""

    def __init__(self, enough, *, held=False):
        self.inside = self.most = self.come = 0
        self.full, self.door = threading.Event(), threading.Event()
        self._enough = enough
        self._lock = threading.Lock()
        if not held:
            self.door.set()

    def enter(self):
        self._count(1)
        assert self.full.wait(PATIENCE)
        assert self.door.wait(PATIENCE)
        self._count(-1)

    async def enter_soon(self):
        self._count(1)
        while not (self.full.is_set() and self.door.is_set()):  # noqa: ASYNC110 - threads set them
            await asyncio.sleep(0)
        for _ in range(20):  # turns of the loop in which others could come
            await asyncio.sleep(0)
        self._count(-1)

    def _count(self, change):
        with self._lock:
            self.inside += change
            self.come += change > 0
            self.most = max(self.most, self.inside)
            if self.come >= self._enough:
                self.full.set()


class Probe:
    """A job of the engine's workers: when it has run, a worker was free, and what was queued before it has begun."""

    def __init__(self):
        self.ran = threading.Event()

    def claim(self):
        return True

    def run(self):
        self.ran.set()


def settle(engine, crowd):
    """Wait until as many are inside as should be, and every worker has had its chance to bring in another."""
    assert crowd.full.wait(PATIENCE)
    probed(engine, 2 * engine.pool.size)


def probed(engine, times):
    for _ in range(times):
        probe = Probe()
        engine.pool.submit(probe)
        assert probe.ran.wait(PATIENCE)


@pytest.fixture
def wide(checkpointer):
    """An engine with more workers than any run here may use."""
    made = milepost.Engine(checkpointer=checkpointer, workers=8)
    with made:
        yield made
    made.close()


def limited(most):
    return {"configurable": {"thread_id": "t"}, "max_concurrency": most}


@pytest.mark.parametrize("most", [1, 2, 3])
def test_so_many_tasks_execute_at_once_and_no_more(wide, most):
    """Held inside, they fill the limit and no more come, though workers are free; let out, the others follow."""
    crowd = Crowd(most, held=True)

    @task
    def work(number: int) -> int:
        crowd.enter()
        return number

    @entrypoint
    def body(width: int) -> list[int]:
        futures = [work(number) for number in range(width)]
        settle(wide, crowd)
        assert crowd.inside == most
        crowd.door.set()
        return [future.result() for future in futures]

    assert body.invoke(12, limited(most)) == list(range(12))
    assert crowd.most == most
    assert crowd.come == 12


def test_without_a_limit_the_workers_are_the_limit(wide):
    crowd = Crowd(wide.pool.size)

    @task
    def work(number: int) -> int:
        crowd.enter()
        return number

    @entrypoint
    def body(width: int) -> int:
        return sum(future.result() for future in [work(number) for number in range(width)])

    assert body.invoke(12, thread_id="t") == 66
    assert crowd.most >= wide.pool.size


@pytest.mark.parametrize("most", [1, 2])
def test_so_many_coroutines_execute_at_once_and_no_more(wide, most):
    crowd = Crowd(most)

    @task
    async def work(number: int) -> int:
        await crowd.enter_soon()
        return number

    @entrypoint
    async def body(width: int) -> list[int]:
        return await asyncio.gather(*[work(number) for number in range(width)])

    assert asyncio.run(body.ainvoke(12, limited(most))) == list(range(12))
    assert crowd.most == most
    assert body.invoke(12, {**limited(most), "configurable": {"thread_id": "u"}}) == list(range(12))
    assert crowd.most == most


def test_functions_and_coroutines_share_the_limit(wide):
    crowd = Crowd(2, held=True)

    @task
    def work() -> None:
        crowd.enter()

    @task
    async def work_soon() -> None:
        await asyncio.to_thread(crowd.enter)

    @entrypoint
    def body(width: int) -> None:
        futures = [each() for _ in range(width) for each in (work, work_soon)]
        settle(wide, crowd)
        assert crowd.inside == 2
        crowd.door.set()
        for future in futures:
            future.result()

    body.invoke(5, limited(2))
    assert crowd.most == 2
    assert crowd.come == 10


@pytest.mark.parametrize("most", [1, 2])
def test_w01_nested_tasks_of_any_depth_and_width_end_with_any_limit(wide, most):
    @task
    def leaf(number: int) -> int:
        return number

    @task
    def tree(depth: int) -> int:
        if depth == 0:
            return leaf(1).result()
        return sum(future.result() for future in [tree(depth - 1) for _ in range(3)])

    @entrypoint
    def body(depth: int) -> int:
        return tree(depth).result()

    assert body.invoke(3, limited(most)) == 27


@pytest.mark.parametrize("most", [1, 2])
def test_w01_nested_coroutines_of_any_depth_and_width_end_with_any_limit(wide, most):
    @task
    def leaf(number: int) -> int:
        return number

    @task
    async def tree(depth: int) -> int:
        if depth == 0:
            return await leaf(1)
        return sum(await asyncio.gather(*[tree(depth - 1) for _ in range(3)]))

    @entrypoint
    async def body(depth: int) -> int:
        return await tree(depth)

    assert asyncio.run(body.ainvoke(3, limited(most))) == 27


def test_a_task_that_waits_does_not_count_and_counts_again_when_it_goes_on(wide):
    crowd = Crowd(1)

    @task
    def leaf() -> None:
        crowd.enter()

    @task
    def parent() -> None:
        crowd.enter()
        leaf().result()
        crowd.enter()

    @entrypoint
    def body(width: int) -> None:
        for future in [parent() for _ in range(width)]:
            future.result()

    body.invoke(6, limited(1))
    assert crowd.most == 1


def test_a_coroutine_that_awaits_does_not_count_and_counts_again_when_it_goes_on(wide):
    crowd = Crowd(1)

    @task
    async def leaf() -> None:
        await crowd.enter_soon()

    @task
    async def parent() -> None:
        await crowd.enter_soon()
        await leaf()
        await crowd.enter_soon()

    @entrypoint
    async def body(width: int) -> None:
        await asyncio.gather(*[parent() for _ in range(width)])

    asyncio.run(body.ainvoke(6, limited(1)))
    assert crowd.most == 1


def test_a_coroutine_of_several_parts_gives_its_place_away_while_one_awaits(wide):
    @task
    def leaf(number: int) -> int:
        return number

    @task
    async def parent(number: int) -> int:
        async def part(times: int) -> int:
            total = 0
            for _ in range(times):
                await asyncio.sleep(0)
                total += await leaf(number)
            return total

        return sum(await asyncio.gather(part(1), part(3), part(0), part(2)))

    @entrypoint
    async def body(width: int) -> list[int]:
        return await asyncio.gather(*[parent(number) for number in range(width)])

    assert asyncio.run(body.ainvoke(4, limited(1))) == [0, 6, 12, 18]


@pytest.mark.parametrize("timeout", [None, 30])
def test_who_waits_for_several_keeps_none_of_them_from_ending(wide, timeout):
    """Woken by the first, it waits for its turn while the second has it: without a lock that the second needs."""

    @task
    def leaf(number: int) -> int:
        probed(wide, 4 * number)  # the first has long ended when the others do
        return number

    @task
    def parent(count: int) -> list[int]:
        return [future.result() for future in as_completed([leaf(number) for number in range(count)])]

    @task(timeout=timeout)
    def waits(count: int) -> bool:
        futures = [leaf(number) for number in range(count)]
        return len(wait(futures, return_when=FIRST_COMPLETED).done) > 0

    @entrypoint
    def body(count: int) -> list[object]:
        futures = [parent(count), waits(count), parent(count)]
        return [future.result() for future in futures]

    for _ in range(5):
        first, second, third = body.invoke(4, limited(1))
        assert (sorted(first), second, sorted(third)) == ([0, 1, 2, 3], True, [0, 1, 2, 3])


def test_what_waits_for_its_next_attempt_or_an_equal_call_does_not_count(wide):
    tries: list[int] = []

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=ValueError))
    async def flaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")
        return "yes"

    @task(cache_policy=CachePolicy())
    def equal() -> str:
        return "same"

    @entrypoint(cache=InMemoryCache())
    def body(_: int) -> list[str]:
        return [future.result() for future in [flaky(), *(equal() for _ in range(4)), flaky()]]

    assert body.invoke(1, limited(1)) == ["yes", *["same"] * 4, "yes"]


def test_a_task_whose_time_is_up_gives_its_place_away(wide):
    end = threading.Event()

    @task(timeout=0.05)
    def stuck() -> None:
        end.wait(30)

    @task
    def quick() -> str:
        return "done"

    @entrypoint
    def body(_: int) -> list[str]:
        first, second = stuck(), quick()
        return [type(first.exception()).__name__, second.result()]

    try:
        assert body.invoke(1, limited(1)) == ["TaskTimeout", "done"]
    finally:
        end.set()


def test_a_pause_a_failure_and_a_nested_workflow_leave_no_place_taken(wide):
    @task
    def ask(number: int) -> str:
        return interrupt(f"{number}?")

    @entrypoint
    def inner(number: int) -> int:
        return double(number).result()

    @task
    def double(number: int) -> int:
        return 2 * number

    @entrypoint
    def body(_: int) -> list[object]:
        asked = [ask(number) for number in range(3)]
        return [inner.invoke(4), *[future.result() for future in asked]]

    asked = body.invoke(1, limited(1))["__interrupt__"]
    assert len(asked) == 3
    answers = {each.id: each.value for each in asked}
    assert body.invoke(milepost.Command(resume=answers), limited(1)) == [8, "0?", "1?", "2?"]


@pytest.mark.parametrize("given", [0, -1, "2", 1.5, True])
def test_what_is_no_number_of_tasks_is_refused(wide, given):
    @entrypoint
    def body(_: int) -> None:
        return None

    for call in (body.invoke, body.stream):
        with pytest.raises(InvalidConfig, match="max_concurrency"):
            call(1, limited(given))
    with pytest.raises(InvalidConfig, match="max_concurrency"):
        body.with_config(limited(given))
    assert body.get_state(thread_id="t").status is None
