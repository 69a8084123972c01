"""What a task call returns: a future that knows its call, and waits without blocking anybody."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from milepost import _async, _context
from milepost._clock import LOOK_SECONDS, wait_for
from milepost._signals import Signal
from milepost.errors import WouldBlock

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from milepost._clock import Clock
    from milepost._pool import Pool

T = TypeVar("T")
_INLINE_DEPTH = 16
_UNSET: Any = object()


class Call(Protocol):
    """The call behind a future: what a future asks of it."""

    begun: bool
    runs_here: bool
    undecided: bool
    step: Any

    def claim(self) -> bool: ...
    def run(self) -> None: ...
    def cancel(self) -> None: ...
    def give_up(self) -> bool: ...
    def drop(self) -> None: ...


class Execution(Protocol):
    """What a future asks of the execution it belongs to."""

    @property
    def pool(self) -> Pool: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def is_stopping(self) -> bool: ...


class Frame(Protocol):
    """What a future asks of the frame that made the call, and of the frame that waits for it."""

    @property
    def execution(self) -> Execution: ...
    @property
    def base(self) -> Any: ...
    def made(self, call: str) -> dict[str, int]: ...
    def enter(self) -> None: ...
    def observe(self, what: str, call: str, live: Callable[[], bool]) -> bool: ...
    def times_out(self, call: str, live: Callable[[], bool]) -> bool: ...
    def next_observation(self, what: str, call: str) -> tuple[int, Any]: ...
    def saw(self, number: int, what: str, call: str, *, answer: bool) -> None: ...
    def gave_up(self, number: int, call: str, *, known: bool) -> str: ...
    def received(self, future: TaskFuture[Any], *, live: bool) -> None: ...


class _Waiters(list[Any]):
    """The waiters that ``concurrent.futures.wait`` installs; a pool worker that installs one gives its slot back."""

    __slots__ = ("_frame",)

    def __init__(self, frame: Frame) -> None:
        super().__init__()
        self._frame = frame

    def append(self, waiter: Any) -> None:
        if _context.runs_loop():
            raise _would_block("concurrent.futures.wait()", "these task futures")
        super().append(waiter)
        self._frame.execution.pool.begin_wait()

    def remove(self, waiter: Any) -> None:
        super().remove(waiter)
        self._frame.execution.pool.end_wait_later()  # `wait` holds the lock of a future that others settle


class TaskFuture(Future[T], Generic[T]):
    """The outcome of a task call, now or later.

    It is a :class:`concurrent.futures.Future` and works with ``concurrent.futures.wait`` and ``as_completed``; prefer
    :func:`milepost.as_completed`, which delivers in recorded order and so the same on every replay. What ``done()``,
    ``running()``, ``cancelled()``, ``cancel()`` and a wait that timed out tell the body is recorded and told again
    on replay.

    In a coroutine it is awaited: ``await future``, ``asyncio.gather``, ``wait_for``, ``as_completed``, ``TaskGroup``.
    Awaiting it raises ``asyncio.CancelledError`` where it was cancelled. When the awaiting is cancelled, so is the
    call: at once if it has not begun, a coroutine where it awaits; a function that has begun goes on, and is recorded.
    That the awaiting was cancelled is recorded, too: on replay it does not return, but waits to be cancelled again.
    """

    def __init__(self, frame: Frame, path: str, name: str) -> None:
        super().__init__()
        self._waiters: list[Any] = _Waiters(frame)
        self._frame = frame
        self._path = path
        self._name = name
        self._call: Call | None = None
        self._order = -1
        self._decode: Callable[[], T] | None = None
        self.seen: Callable[[], object] = bool
        """Tells the frame that made the call that somebody has looked at its outcome."""

    def __repr__(self) -> str:
        state = "done" if self._is_settled() else "pending"
        return f"<TaskFuture {self._name} call {self._path} {state}>"

    # -- for the caller ------------------------------------------------------------------------------------------

    def result(self, timeout: float | None = None) -> T:
        """Return what the task returned; wait for it, up to ``timeout`` seconds where that is given.

        Without a timeout, a task that nobody has begun runs here, in the waiting thread.

        Raises:
            TimeoutError: it took longer.
            WouldBlock: it has not ended, and this thread runs an event loop: await it.
            concurrent.futures.CancelledError: it was cancelled before it began.
            TaskFailed: it failed with an exception that cannot be rebuilt; any other failure is raised as it was.
        """
        self._wait(timeout)
        if self._decode is not None:
            self._settle_replay()
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Return the exception the task raised, or None; wait as :meth:`result` does."""
        self._wait(timeout)
        return super().exception(0)

    def done(self) -> bool:
        """Tell whether the task has ended."""
        return self._observe("done", self._is_settled)

    def running(self) -> bool:
        """Tell whether the task has begun and not ended."""
        return self._observe("running", self.is_begun)

    def cancelled(self) -> bool:
        """Tell whether the task was cancelled before it began."""
        return self._observe("cancelled", super().cancelled)

    def cancel(self) -> bool:
        """Cancel the task if nobody has begun it; return whether it is cancelled. The cancellation is recorded.

        A coroutine that has begun is asked to stop, as an asyncio Task is; that counts as cancelled here.
        """
        return self._observe("cancel", self._cancel)

    def __await__(self) -> Generator[Any, None, T]:
        """Wait as :meth:`result` does, without blocking the event loop."""
        return self._received().__await__()

    # -- for frames ----------------------------------------------------------------------------------------------

    def _is_settled(self) -> bool:
        return super().done()

    def is_begun(self) -> bool:
        """Tell whether the task has begun and not ended, without recording that somebody asked."""
        call = self._call
        return call is not None and call.begun and not self._is_settled()

    def _signal(self) -> Signal | None:
        """Return the control flow that ended the call, if any did."""
        error = self._exception
        return error if isinstance(error, Signal) else None

    def _replay(self, decode: Callable[[], T]) -> None:
        """Settle with a recorded result, decoded when somebody asks for it."""
        self._decode = decode
        self.set_result(_UNSET)

    def _settle_replay(self) -> None:
        with self._condition:
            if self._decode is not None:
                self._result = self._decode()
                self._decode = None

    def _settle(self, result: Any = _UNSET, error: BaseException | None = None, order: int = -1) -> None:
        """Settle once; a second settling is ignored."""
        if self._is_settled():
            return
        self._order = order
        self._call = None
        if error is not None:
            self.set_exception(error)
        else:
            self.set_result(result)

    def _settle_cancelled(self, order: int) -> None:
        self._order = order
        self._call = None
        super().cancel()
        self.set_running_or_notify_cancel()

    def _cancel(self) -> bool:
        call = self._call
        if call is not None and (_context.runs_loop() or (call.step.is_async and call.begun)):
            return call.give_up()
        if call is not None and call.claim():
            call.cancel()
            self._block(None)
        return super().cancelled()

    def _observe(self, what: str, live: Callable[[], bool]) -> bool:
        frame = self._observer()
        return live() if frame is None else frame.observe(what, self._path, live)

    def _observer(self) -> Frame | None:
        """Return the frame that asks, if it belongs to the same execution."""
        frame: Frame | None = _context.frame()
        return frame if frame is not None and frame.execution is self._frame.execution else None

    def _wait(self, timeout: float | None) -> None:
        """Wait until settled; raise what must stop the frame that waits."""
        frame = self._observer()
        if frame is not None:
            frame.enter()
        live = not self._is_settled()
        if live and _context.runs_loop():
            raise _would_block("result()", repr(self))
        if timeout is not None:
            self._wait_timed(timeout, frame)
        elif live:
            self._wait_here()
        if frame is not None:
            frame.received(self, live=live)

    async def _received(self) -> T:
        """Await the outcome; what the frame that awaits it sees is recorded."""
        frame = self._observer()
        number, known = 0, None
        if frame is not None:
            frame.enter()
            number, known = frame.next_observation("await", self._path)
        live = not self._is_settled()
        try:
            if known is not None:
                await _async.never()
            await self._settled(frame if live else None)
        except BaseException as error:
            if _async.is_cancellation(error):
                self._give_up(frame, number, known=known is not None)
            raise
        if frame is not None:
            frame.received(self, live=live)
        if self._decode is not None:
            self._settle_replay()
        if super().cancelled():
            import asyncio

            raise asyncio.CancelledError
        return super().result(0)

    async def _settled(self, frame: Frame | None) -> None:
        """Await the outcome, without holding a slot among the run's ``max_concurrency``."""
        slot = None if frame is None else frame.execution.pool.slot_of(frame.base.path)
        if slot is None:
            await _async.settled(self)
            return
        async with slot.awaiting():
            await _async.settled(self)

    def _give_up(self, frame: Frame | None, number: int, *, known: bool) -> None:
        """Cancel the call because awaiting it was cancelled, unless that only means that the run stops."""
        call = self._call
        what = "cancel" if frame is None else frame.gave_up(number, self._path, known=known)
        if call is not None and what != "leave":
            if what == "cancel":
                call.give_up()
            elif what == "drop":
                call.drop()
            else:
                call.undecided = True

    def _wait_here(self) -> None:
        call = self._call
        if call is not None and not call.runs_here:
            self._wait_for_worker(call)
            return
        depth = _context.depth.waits
        if call is not None and depth < _INLINE_DEPTH and call.claim():
            _context.depth.waits = depth + 1
            try:
                call.run()
            finally:
                _context.depth.waits = depth
        self._block(None)

    def _wait_for_worker(self, call: Call) -> None:
        """Wait for a call that this thread may not run; one not begun when the run stops, does not begin."""
        while not self._block(LOOK_SECONDS):
            if self._frame.execution.is_stopping and call.claim():
                call.run()

    def _wait_timed(self, timeout: float, frame: Frame | None) -> None:
        if frame is None:
            timed_out = not self._block(timeout)
        else:
            timed_out = frame.times_out(self._path, lambda: not self._block(timeout))
        if timed_out:
            raise TimeoutError(f"task {self._name!r} did not end within {timeout} seconds")

    def _block(self, timeout: float | None) -> bool:
        """Wait for the future to settle, without holding a worker's slot; return whether it did."""
        if self._is_settled():
            return True
        pool = self._frame.execution.pool
        pool.begin_wait()
        try:
            with self._condition:
                return wait_for(self._condition, self._is_settled, timeout)
        finally:
            pool.end_wait()


def _would_block(what: str, on: str) -> WouldBlock:
    return WouldBlock(
        f"{what} would block the event loop of this thread, perhaps for ever, until {on} ends: await it, or for "
        f"several use asyncio.gather or `async for` over milepost.as_completed"
    )


def as_completed(futures: Iterable[TaskFuture[T]], timeout: float | None = None) -> Completed[T]:
    """Yield task futures in the order in which their outcomes were recorded; the same on every replay.

    For ``for`` and, in a coroutine, for ``async for``.

    Args:
        futures: task futures of one workflow.
        timeout: seconds for all of them together; None waits without end.

    Raises:
        TimeoutError: some were not done in time. Replayed like any other observation.
        WouldBlock: ``for`` would have to wait on a thread that runs an event loop.
    """
    return Completed(list(dict.fromkeys(futures)), timeout)


class Completed(Generic[T]):
    """Task futures in the order in which their outcomes were recorded: an iterator, and an asynchronous one."""

    def __init__(self, futures: list[TaskFuture[T]], timeout: float | None) -> None:
        self._pending = futures
        self._total = len(futures)
        self._timeout = timeout
        self._deadline: float | None = None

    def __iter__(self) -> Completed[T]:
        self._start()
        return self

    def __aiter__(self) -> Completed[T]:
        self._start()
        return self

    def _start(self) -> None:
        if self._timeout is not None and self._pending and self._deadline is None:
            self._deadline = _clock(self._pending).monotonic() + self._timeout

    def __next__(self) -> TaskFuture[T]:
        if not self._pending:
            raise StopIteration
        frame: Frame | None = _context.frame()
        if _out_of_time(self._pending, self._deadline, frame):
            raise self._timed_out()
        return self._taken()

    async def __anext__(self) -> TaskFuture[T]:
        if not self._pending:
            raise StopAsyncIteration
        frame: Frame | None = _context.frame()
        number, known = 0, None
        if frame is not None and self._deadline is not None:
            frame.enter()
            number, known = frame.next_observation("timeout", "")
        if known is not None or not await self._await_next():
            if frame is not None and known is None:
                frame.saw(number, "timeout", "", answer=True)
            raise self._timed_out()
        return self._taken()

    async def _await_next(self) -> bool:
        """Await an outcome, and the loop in any case; return False when time is up."""
        import asyncio

        waits = [asyncio.ensure_future(_async.settled(future)) for future in self._pending]
        try:
            while not any(map(_is_ready, self._pending)):
                left = None if self._deadline is None else self._deadline - _clock(self._pending).monotonic()
                if left is not None and left <= 0:
                    return False
                unsettled = [wait for wait in waits if not wait.done()]
                if not unsettled:
                    return True
                await asyncio.wait(unsettled, timeout=left, return_when=FIRST_COMPLETED)
            await asyncio.wait(waits, return_when=FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return True

    def _taken(self) -> TaskFuture[T]:
        pending = self._pending
        ready = min(filter(_is_ready, pending), key=lambda future: future._order, default=pending[0])  # noqa: SLF001
        pending.remove(ready)
        return ready

    def _timed_out(self) -> TimeoutError:
        return TimeoutError(
            f"{len(self._pending)} of {self._total} tasks did not end within {self._timeout} seconds"
        )


def _clock(futures: list[TaskFuture[T]]) -> Clock:
    return futures[0]._frame.execution.clock  # noqa: SLF001


def _is_ready(future: TaskFuture[Any]) -> bool:
    return future._is_settled() and future._signal() is None  # noqa: SLF001 - one concept, two halves


def _out_of_time(pending: list[TaskFuture[Any]], deadline: float | None, frame: Frame | None) -> bool:
    def live() -> bool:
        return not _await_next(pending, deadline)

    if frame is None or deadline is None:
        return live()
    return frame.times_out("", live)


def _await_next(pending: list[TaskFuture[Any]], deadline: float | None) -> bool:
    """Wait until one has an outcome, or all are settled; return False when time is up."""
    while not any(map(_is_ready, pending)):
        unsettled = [future for future in pending if not future._is_settled()]  # noqa: SLF001
        if not unsettled:
            return True
        if _context.runs_loop():
            raise _would_block("as_completed()", "one of these tasks")
        left = LOOK_SECONDS if deadline is None else min(LOOK_SECONDS, deadline - _clock(pending).monotonic())
        if left <= 0:
            return False
        wait(unsettled, left, return_when=FIRST_COMPLETED)
        unsettled[0]._frame.execution.pool.catch_up()  # noqa: SLF001 - likewise
    return True


__all__ = ["CancelledError", "TaskFuture", "as_completed"]
