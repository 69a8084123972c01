"""The bridge to event loops: coroutines of a run on a loop, and a run's thread beside a loop.

A run itself is synchronous. Where a body or a task is a coroutine, it runs as an asyncio Task on the loop that the run
was given: the caller's under ``ainvoke``, else the engine's. What may block (joining, encoding, recording) stays off
the loop.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from contextvars import copy_context
from heapq import heappop, heappush
from sys import modules
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from weakref import WeakKeyDictionary

from milepost._clock import LOOK_SECONDS
from milepost._signals import Signal, Stopped, Suspended

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from contextvars import Context

    from milepost._pool import Job

T = TypeVar("T")
_ROUNDS: Final = 64
_BLIND_ROUNDS: Final = 8


class Frame(Protocol):
    """What this module asks of a frame."""

    home: Any
    over: bool
    latched: Signal | None
    ordinal: int
    strand_tasks: dict[Any, Any]

    @property
    def base(self) -> Any: ...
    @property
    def above(self) -> Any: ...
    @property
    def execution(self) -> Any: ...
    def latch(self, signal: Signal) -> Signal: ...


class Future(Protocol):
    """What this module asks of a task future."""

    _order: int

    def _is_settled(self) -> bool: ...
    def add_done_callback(self, function: Callable[[Any], None], /) -> None: ...


class Result:
    """How a coroutine ended."""

    __slots__ = ("_error", "_value")

    def __init__(self, value: Any = None, error: BaseException | None = None) -> None:
        self._value = value
        self._error = error

    def get(self) -> Any:
        """Return what it returned or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._value

    @property
    def leaves_others(self) -> bool:
        """Whether what goes on beside the coroutine may go on: it returned, or asks a question."""
        return self._error is None or isinstance(signal_in(self._error), Suspended)


class Loop:
    """An event loop that coroutines can be given to from any thread: the caller's, or else one made at first use."""

    def __init__(self, given: asyncio.AbstractEventLoop | None = None) -> None:
        self._loop = given
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @classmethod
    def here(cls) -> Loop:
        """Return the loop that runs in this thread."""
        import asyncio

        return cls(asyncio.get_running_loop())

    @property
    def is_here(self) -> bool:
        """Whether this thread runs the loop now."""
        import asyncio

        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def get(self) -> asyncio.AbstractEventLoop:
        """Return the loop; start its thread at first use."""
        with self._lock:
            if self._loop is None:
                import asyncio

                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._serve, args=(self._loop,), name="milepost-loop", daemon=True
                )
                self._thread.start()
            return self._loop

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        ended = False
        while not ended:
            with suppress(KeyboardInterrupt, SystemExit):  # raised in a Task: whoever awaits it has it, too
                loop.run_forever()
                ended = True
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    def close(self) -> None:
        """End the thread, if there is one; nothing may be under way."""
        with self._lock:
            loop, thread = self._loop, self._thread
        if loop is None or thread is None or thread is threading.current_thread():
            return
        with suppress(RuntimeError):  # closed before
            loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def submit(self, job: Job) -> None:
        """Begin a job on the loop, unless somebody else does first."""
        try:
            self.soon(_begin, job)
        except RuntimeError:  # the loop is closed; the job will say so
            _begin(job)

    def soon(self, function: Callable[..., object], *args: Any, context: Context | None = None) -> None:
        """Call a function on the loop's thread.

        Raises:
            RuntimeError: the loop is closed.
        """
        self.get().call_soon_threadsafe(function, *args, context=context)

    def run(self, frame: Frame, make: Callable[[], Awaitable[Any]], patience: float | None = None) -> Any:
        """Run a coroutine as a frame's own and block this thread until it has ended; a copy of the context goes along.

        Raises:
            BaseException: what it raised, or Ctrl-C here, after which it was cancelled and waited for.
        """
        execution, ended, results = frame.execution, threading.Event(), []

        def end(result: Result) -> None:
            results.append(result)
            ended.set()

        execution.pool.begin_wait()
        try:
            try:
                self.soon(begin, frame, make, end, patience, context=copy_context())
                self._wait(ended)
            except BaseException as cause:
                execution.stop(cause)
                self._wait(ended)
                raise
        finally:
            execution.pool.end_wait()
        return results[0].get()

    def _wait(self, ended: threading.Event) -> None:
        while not ended.wait(LOOK_SECONDS):
            if self.get().is_closed():
                raise Stopped


def _begin(job: Job) -> None:
    if job.claim():
        job.run()


def begin(
    frame: Frame,
    make: Callable[[], Awaitable[Any]],
    end: Callable[[Result], None],
    patience: float | None = None,
) -> asyncio.Task[Any]:
    """Begin a coroutine as a frame's own, on the loop that runs here; ``end`` is told its result, on the loop."""
    import asyncio

    def done(task: asyncio.Task[Result]) -> None:
        end(Result(error=asyncio.CancelledError()) if task.cancelled() else task.result())

    task = asyncio.get_running_loop().create_task(_drive(frame, make, patience))
    frame.home = task
    frame.execution.watch.coroutines.add(task)
    task.add_done_callback(done)
    return task


def cancel(frame: Frame, loop: Loop) -> None:
    """Cancel a frame's coroutine, from any thread."""

    def end() -> None:
        if frame.home is not None:
            frame.home.cancel()

    with suppress(RuntimeError):  # the loop is closed, and the coroutine has ended with it
        loop.soon(end)


async def _drive(frame: Frame, make: Callable[[], Awaitable[Any]], patience: float | None) -> Result:
    """Await a frame's coroutine, then see to it that none of its strands is left; raises nothing."""
    import asyncio

    frame.home = asyncio.current_task()
    try:
        result = Result(await make())
    except BaseException as error:  # noqa: BLE001 - it is raised to whoever asks for the result
        result = Result(error=error)
    try:
        if result.leaves_others:
            await _outlast(frame, patience if result._error is not None else None)  # noqa: SLF001
    except asyncio.CancelledError as error:
        result = Result(error=error)
    frame.over = True
    if frame.base.held is not None:
        _Quiet.install(asyncio.get_running_loop())
    while left := list(frame.strand_tasks):
        for task in left:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(left)
    return result


async def _outlast(frame: Frame, patience: float | None) -> None:
    """Wait for the strands that have made calls, as for tasks that nobody has waited for."""
    import asyncio

    end = None if patience is None else asyncio.get_running_loop().time() + patience
    while left := [task for task, strand in frame.strand_tasks.items() if strand.ordinal]:
        seconds = None if end is None else end - asyncio.get_running_loop().time()
        if seconds is not None and seconds <= 0:
            return
        await asyncio.wait(left, timeout=seconds)


def accompany(strand: Frame, task: asyncio.Task[Any]) -> None:
    """Keep the Task of a strand until it has ended; the signal that ended it goes to what it is a strand of."""
    base: Frame = strand.base

    def ended(task: asyncio.Task[Any]) -> None:
        del base.strand_tasks[task]
        if strand.latched is not None and not base.over:
            strand.above.latch(strand.latched)
        error = getattr(task, "_exception", None)
        if error is not None and signal_in(error) is not None:
            task.exception()  # asyncio need not report what nobody has asked for: the frame knows

    base.strand_tasks[task] = strand
    task.add_done_callback(ended)


def signal_in(error: BaseException) -> Signal | None:
    """Return the control flow that an exception is, or that a group (of ``asyncio.TaskGroup``) has within."""
    if isinstance(error, Signal):
        return error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            if (found := signal_in(inner)) is not None:
                return found
    return None


class _Quiet:
    """A loop's exception handler that does not report control flow in Tasks whose results nobody asks for any more."""

    def __init__(self, given: Callable[..., object] | None) -> None:
        self._given = given

    @classmethod
    def install(cls, loop: asyncio.AbstractEventLoop) -> None:
        """Put it before the loop's own handler, unless it is there."""
        given = loop.get_exception_handler()
        if not isinstance(given, cls):
            loop.set_exception_handler(cls(given))

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and signal_in(error) is not None:
            return
        if self._given is None:
            loop.default_exception_handler(context)
        else:
            self._given(loop, context)


def is_cancellation(error: BaseException) -> bool:
    """Tell whether it is ``asyncio.CancelledError``."""
    return "asyncio" in modules and isinstance(error, modules["asyncio"].CancelledError)


# -- awaiting --------------------------------------------------------------------------------------------------------


class _Turns:
    """Lets those who await task futures on one loop go on one at a time, in the order of the outcomes' records.

    Each goes on only when the one before has come to its next wait. So several coroutines of one body go on in the same
    order live and on replay, where all outcomes are there at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._number = 0
        self._rounds = 0
        self._ready: Any = getattr(loop, "_ready", None)

    def take(self, order: int, waiter: asyncio.Future[None]) -> None:
        """Queue a waiter; its turn comes after this round of the loop at the earliest."""
        self._number += 1
        heappush(self._waiting, (order, self._number, waiter))
        if len(self._waiting) == 1:
            waiter.get_loop().call_soon(self._next)

    def _next(self) -> None:
        waiter = self._waiting[0][2]
        self._rounds += 1
        if waiter.done() or self._is_quiet():
            heappop(self._waiting)
            self._rounds = 0
            if not waiter.done():
                waiter.set_result(None)
        if self._waiting:
            self._waiting[0][2].get_loop().call_soon(self._next)

    def _is_quiet(self) -> bool:
        if self._ready is None:
            return self._rounds >= _BLIND_ROUNDS
        return not self._ready or self._rounds >= _ROUNDS


_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, _Turns] = WeakKeyDictionary()
_turns_lock = threading.Lock()


def _turns_of(loop: asyncio.AbstractEventLoop) -> _Turns:
    with _turns_lock:
        found = _turns.get(loop)
        if found is None:
            found = _turns[loop] = _Turns(loop)
        return found


async def settled(future: Future) -> None:
    """Wait until a task future has settled and its turn has come; never returns without a turn of the loop."""
    import asyncio

    loop = asyncio.get_running_loop()
    waiter, turns = loop.create_future(), _turns_of(loop)

    def wake(future: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(turns.take, future._order, waiter)  # noqa: SLF001

    if future._is_settled():  # noqa: SLF001 - one concept, two halves
        turns.take(future._order, waiter)  # noqa: SLF001
    else:
        future.add_done_callback(wake)
    await waiter


async def never() -> None:
    """Wait until cancelled."""
    import asyncio

    await asyncio.get_running_loop().create_future()


# -- threads beside a loop -------------------------------------------------------------------------------------------


async def in_thread(function: Callable[[], T], leave: Callable[[], None]) -> T:
    """Run a function in a thread of its own, in a copy of the context, and await it.

    When the awaiter is cancelled, ``leave()`` is called and the thread waited for; a second time ends that.

    Raises:
        asyncio.CancelledError: the awaiter was cancelled, whatever became of the function.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    ended, results = asyncio.Event(), []

    def work() -> None:
        try:
            results.append(Result(function()))
        except BaseException as error:  # noqa: BLE001 - it is raised to the awaiter
            results.append(Result(error=error))
        with suppress(RuntimeError):  # the loop is closed: nobody awaits
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=copy_context().run, args=(work,), name="milepost-body", daemon=False).start()
    try:
        await ended.wait()
    except asyncio.CancelledError:
        leave()
        await ended.wait()
        raise
    value: T = results[0].get()
    return value


def off_loop(function: Callable[[], T], leave: Callable[[], None]) -> T:
    """Run a function in a thread of its own while this one, which runs an event loop, blocks.

    Raises:
        BaseException: what it raised; Ctrl-C here, after ``leave()`` was called and the function has ended.
    """
    results: list[Result] = []

    def work() -> None:
        try:
            results.append(Result(function()))
        except BaseException as error:  # noqa: BLE001 - it is raised here
            results.append(Result(error=error))

    thread = threading.Thread(target=copy_context().run, args=(work,), name="milepost-body", daemon=False)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(LOOK_SECONDS)
    except BaseException:
        leave()
        thread.join()
        raise
    value: T = results[0].get()
    return value
