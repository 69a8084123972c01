"""Slots of a run under ``max_concurrency``, step by step: who has one, who waits, who gets the next."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from milepost._lane import LimitedPool
from milepost._pool import Pool


class Workers(Pool):
    """Workers that work when they are told to."""

    def __init__(self):
        super().__init__(4)
        self.turns = []

    def submit(self, job):
        self.turns.append(job)

    def work(self):
        """Give every worker that was asked for its turn."""
        turns, self.turns = self.turns, []
        for turn in turns:
            assert turn.claim()
            assert not turn.claim()
            turn.run()


class Job:
    """A call of a coroutine, or of a function, that only says that it ran."""

    def __init__(self, path, ran, *, is_async=True, free=True):
        self.step = SimpleNamespace(is_async=is_async)
        self.inner = SimpleNamespace(path=path)
        self.future = SimpleNamespace(add_done_callback=lambda _: None)
        self._ran = ran
        self._free = free

    def claim(self):
        return self._free

    def run(self):
        self._ran.append(self.inner.path)


@pytest.fixture
def workers():
    return Workers()


@pytest.fixture
def ran():
    return []


@pytest.fixture
def one(workers):
    return LimitedPool(workers, 1)


def begin(pool, workers, job):
    pool.submit(job)
    workers.work()


def test_a_coroutine_keeps_its_slot_until_it_has_ended(one, workers, ran):
    begin(one, workers, Job("0", ran))
    begin(one, workers, Job("1", ran))
    assert ran == ["0"]
    one.ended("0")
    workers.work()
    assert ran == ["0", "1"]
    one.ended("0")  # a second time, and of what never had one
    one.ended("7")
    assert one.slot_of("0") is None


def test_what_somebody_else_has_claimed_is_passed_over(one, workers, ran):
    one.submit(Job("0", ran, is_async=False, free=False))
    one.submit(Job("1", ran, is_async=False))
    workers.work()
    assert ran == ["1"]


def test_who_awaits_gives_its_slot_away_and_waits_until_it_is_free_again(one, workers, ran):
    begin(one, workers, Job("0", ran))
    slot = one.slot_of("0")

    async def main():
        async with slot.awaiting():
            begin(one, workers, Job("1", ran))
            assert ran == ["0", "1"]
            asyncio.get_running_loop().call_later(0.01, one.ended, "1")
        assert slot.held

    asyncio.run(main())


def test_parts_of_one_coroutine_share_its_slot_and_it_has_none_while_one_awaits(one, workers, ran):
    begin(one, workers, Job("0", ran))
    slot, gate = one.slot_of("0"), asyncio.Event()

    async def part():
        async with slot.awaiting():
            await gate.wait()
        return slot.held

    async def main():
        parts = [asyncio.ensure_future(part()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not slot.held
        begin(one, workers, Job("1", ran))
        gate.set()
        await asyncio.sleep(0)
        one.ended("1")
        assert await asyncio.gather(*parts) == [False, False, True]

    asyncio.run(main())


def test_a_part_that_begins_to_await_while_another_waits_for_the_slot_gets_it_free(one, workers, ran):
    begin(one, workers, Job("0", ran))
    slot, gate = one.slot_of("0"), asyncio.Event()

    async def waits(until):
        async with slot.awaiting():
            await until.wait()

    async def main():
        now = asyncio.Event()
        first = asyncio.ensure_future(waits(now))
        await asyncio.sleep(0)
        begin(one, workers, Job("1", ran))
        now.set()
        await asyncio.sleep(0)  # the first part waits for a slot now
        second = asyncio.ensure_future(waits(gate))
        await asyncio.sleep(0)
        one.ended("1")
        await first
        assert not slot.held
        gate.set()
        await second
        assert slot.held

    asyncio.run(main())


def test_who_is_cancelled_while_it_waits_for_a_slot_waits_no_more(one, workers, ran):
    begin(one, workers, Job("0", ran))
    slot = one.slot_of("0")

    async def part():
        async with slot.awaiting():
            begin(one, workers, Job("1", ran))

    async def main():
        waiting = asyncio.ensure_future(part())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        one.ended("0")
        one.ended("1")
        begin(one, workers, Job("2", ran))
        assert ran == ["0", "1", "2"]

    asyncio.run(main())


def test_who_was_left_behind_needs_no_slot(one, workers, ran):
    begin(one, workers, Job("0", ran))
    slot = one.slot_of("0")

    async def part():
        async with slot.awaiting():
            begin(one, workers, Job("1", ran))

    async def main():
        waiting = asyncio.ensure_future(part())
        await asyncio.sleep(0)
        one.ended("0")  # its time is up
        await waiting
        assert not slot.held
        async with slot.awaiting():
            pass

    asyncio.run(main())
    assert one.beside is workers
    assert workers.beside is workers
    assert workers.slot_of("0") is None
