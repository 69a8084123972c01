"""``max_concurrency``: how many tasks of one run execute at once, in front of the engine's workers.

A task takes a slot before it begins. One that waits for others gives its slot back, and has one again before it goes
on: so whatever is waited for gets its turn, even with one slot. The body holds none.

A coroutine holds its slot from its beginning to its outcome, but for the times when it, or a part of it that runs
beside others, awaits a task.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from milepost._clock import wait_for
from milepost._pool import Loan, Pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from milepost._pool import Job


def limited(pool: Pool, config: Mapping[str, Any]) -> Pool:
    """Return the workers for a run: the engine's, or where its config has ``max_concurrency`` so many of them."""
    most = config.get("max_concurrency")
    return pool if most is None else LimitedPool(pool, most)


class _Slot:
    """The right of a thread to execute a task. ``gone``: the thread was left behind, and has no right any more."""

    __slots__ = ("_limit", "_waits", "gone", "held", "owed")

    def __init__(self, limit: LimitedPool) -> None:
        self._limit = limit
        self._waits = 0
        self.gone = False
        self.held = True
        self.owed = False  # the thread goes on, and is to take a slot as soon as it may wait for one

    @asynccontextmanager
    async def awaiting(self) -> AsyncIterator[None]:
        """Give the slot back while a part of a coroutine awaits a task, and have it again when no part does."""
        self._waits += 1
        if self.held:
            self._limit.give_back(self)
        try:
            yield
        finally:
            self._waits -= 1
        if self._waits == 0:
            await self._take_again()
            if self._waits and self.held:  # meanwhile another part has begun to wait
                self._limit.give_back(self)

    def rest(self) -> None:
        """Give the slot back: the thread is about to wait."""
        self._waits += 1
        self.owed = False
        if self._waits == 1 and self.held:
            self._limit.give_back(self)

    def go_on(self, *, later: bool) -> None:
        """Have a slot again; ``later``, where nobody may wait now, at the next :meth:`catch_up`."""
        self._waits -= 1
        if self._waits == 0:
            self.owed = True
            if not later:
                self.catch_up()

    def catch_up(self) -> None:
        """Wait for the slot that is owed."""
        if self.owed and not self._waits:
            self.owed = False
            self._limit.take_again(self)

    async def _take_again(self) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        turn = loop.create_future()

        def come() -> None:
            if not turn.done():
                turn.set_result(None)

        wake = partial(loop.call_soon_threadsafe, come)
        if self._limit.take_soon(self, wake):
            return
        try:
            await turn
        except BaseException:
            self._limit.forget(self, wake)
            raise

    def lend(self) -> _Slot:
        """Return the slot of a thread that works in this one's place."""
        return _Slot(self._limit)

    def call_back(self, lent: _Slot) -> None:
        """Take back the slot that was lent; the other thread may have given it back, to wait."""
        self.held = self._limit.leave(lent)
        self.owed = not self.held
        self._limit.catch_up()


class _Local(threading.local):
    slot: _Slot | None = None


_here = _Local()


class _Turn:
    """A worker's turn: it runs what is queued in front of the workers."""

    __slots__ = ("_limit", "_permit")

    def __init__(self, limit: LimitedPool) -> None:
        self._limit = limit
        self._permit = [True]

    def claim(self) -> bool:
        """Return True to exactly one caller."""
        try:
            return self._permit.pop()
        except IndexError:
            return False

    def run(self) -> None:
        """Run jobs until there are none, or somebody who has waited wants to go on."""
        _here.slot = slot = _Slot(self._limit)
        try:
            while slot.held and (job := self._limit.next()) is not None:
                if job.claim():
                    if self._limit.hands_over(job):
                        _here.slot = None
                        job.run()
                        return
                    job.run()
                del job
        finally:
            _here.slot = None


class _LimitedLoan(Loan):
    """A worker's loan together with its slot."""

    __slots__ = ("_lent", "_loan", "_slot")

    def __init__(self, loan: Loan, slot: _Slot) -> None:
        super().__init__(None)
        self._loan = loan
        self._slot = slot
        self._lent = slot.lend()

    def __enter__(self) -> None:
        self._loan.__enter__()
        _here.slot = self._lent

    def __exit__(self, *given: object) -> None:
        _here.slot = None
        if self._lent.owed:  # it ended without the slot that it had lent, and so has the worker none
            self._slot.held = False
        self._loan.__exit__(*given)

    def call_back(self) -> None:
        self._loan.call_back()
        self._slot.call_back(self._lent)


class LimitedPool(Pool):
    """The engine's workers, of which one run uses at most so many at a time."""

    is_limited = True

    @property
    def beside(self) -> Pool:
        """The engine's workers, for work that holds no slot."""
        return self._pool

    def __init__(self, pool: Pool, most: int) -> None:
        super().__init__(pool.size)
        self._pool = pool
        self._most = most
        self._taken = 0
        self._returning = 0  # threads that have waited and want to go on: they come first
        self._queue: deque[Job] = deque()
        self._coroutines: dict[str, _Slot] = {}
        self._coming: deque[tuple[_Slot, Callable[[], object]]] = (
            deque()
        )  # coroutines among those that return
        self._changed = threading.Condition()

    # -- what the run asks of its workers --------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Queue a job."""
        with self._changed:
            self._queue.append(job)
        self._begin()

    def begin_wait(self) -> None:
        """Tell that this thread is about to wait."""
        if _here.slot is not None:
            _here.slot.rest()
        self._pool.begin_wait()

    def end_wait(self) -> None:
        """Tell that this thread goes on; it waits for its turn."""
        if _here.slot is not None:
            _here.slot.go_on(later=False)
        self._pool.end_wait()

    def end_wait_later(self) -> None:
        """Tell that this thread goes on, where it holds a lock and so must not wait for its turn yet."""
        if _here.slot is not None:
            _here.slot.go_on(later=True)
        self._pool.end_wait()

    def catch_up(self) -> None:
        """Wait for the turn that this thread has gone on without; a worker's place is free meanwhile."""
        if _here.slot is not None and _here.slot.owed:
            self._pool.begin_wait()
            try:
                _here.slot.catch_up()
            finally:
                self._pool.end_wait()

    def lend(self) -> Loan:
        """Return this thread's slot for another thread to work in."""
        loan = self._pool.lend()
        return loan if _here.slot is None else _LimitedLoan(loan, _here.slot)

    # -- slots -----------------------------------------------------------------------------------------------------

    def next(self) -> Job | None:
        """Return what a worker does next; without a job, or where somebody wants to go on, its slot is free."""
        with self._changed:
            if self._queue and self._taken + self._returning <= self._most:
                return self._queue.popleft()
            self._free()
        self._begin()  # for what came in between
        return None

    def give_back(self, slot: _Slot) -> None:
        """Free a slot."""
        with self._changed:
            if slot.gone:
                return
            slot.held = False
            self._free()
        self._begin()

    def take_again(self, slot: _Slot) -> None:
        """Wait for a slot to be free; a thread that was left behind needs none."""
        with self._changed:
            self._returning += 1
            try:
                wait_for(self._changed, lambda: slot.gone or self._taken < self._most)
                slot.held = not slot.gone
                self._taken += slot.held
            finally:
                self._returning -= 1
        self._begin()

    def _free(self) -> None:
        """Give a slot to whoever waits for one. The lock is held."""
        self._taken -= 1
        while self._coming and self._taken < self._most:
            slot, wake = self._coming.popleft()
            self._returning -= 1
            if not slot.gone and not slot.held:
                slot.held = True
                self._taken += 1
            wake()
            for other in [entry for entry in self._coming if entry[0] is slot]:  # its other strands
                self._coming.remove(other)
                self._returning -= 1
                other[1]()
        self._changed.notify_all()

    # -- coroutines --------------------------------------------------------------------------------------------------

    def hands_over(self, job: Any) -> bool:
        """Hand a worker's slot over to a coroutine that it begins; return whether the job is one."""
        step = getattr(job, "step", None)
        if step is None or not step.is_async:
            return False
        path, slot = job.inner.path, _Slot(self)
        self._coroutines[path] = slot
        job.future.add_done_callback(lambda _: self.ended(path))
        return True

    def slot_of(self, path: str) -> _Slot | None:
        """Return the slot of the coroutine that is this call; None for the body and for functions."""
        return self._coroutines.get(path)

    def ended(self, path: str) -> None:
        """Free the slot of a coroutine that has ended, or waits for its next attempt."""
        slot = self._coroutines.pop(path, None)
        if slot is None:
            return
        with self._changed:
            slot.gone = True
            for other in [entry for entry in self._coming if entry[0] is slot]:
                self._coming.remove(other)
                self._returning -= 1
                other[1]()
            if slot.held:
                slot.held = False
                self._free()
        self._begin()

    def take_soon(self, slot: _Slot, wake: Callable[[], object]) -> bool:
        """Take a slot for a coroutine; where none is free, return False and wake it once it has one."""
        with self._changed:
            if slot.held or slot.gone:
                return True
            if self._taken < self._most:
                slot.held = True
                self._taken += 1
                return True
            self._coming.append((slot, wake))
            self._returning += 1
            return False

    def forget(self, slot: _Slot, wake: Callable[[], object]) -> None:
        """Let a coroutine that was cancelled while it waited for a slot wait no more."""
        with self._changed:
            if (slot, wake) in self._coming:
                self._coming.remove((slot, wake))
                self._returning -= 1
        self._begin()

    def leave(self, lent: _Slot) -> bool:
        """Let a thread that was lent a slot have none any more; return whether it held one."""
        with self._changed:
            lent.gone = True
            self._changed.notify_all()
            return lent.held

    def _begin(self) -> None:
        with self._changed:
            if not self._queue or self._taken + self._returning >= self._most:
                return
            self._taken += 1
        self._pool.submit(_Turn(self))
