"""Streaming: the body runs in a thread of its own, and events become chunks as they come.  (layer 7)"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from milepost import _context
from milepost._clock import LOOK_SECONDS
from milepost.errors import InvalidStreamMode
from milepost.events import CustomWritten, RunInterrupted, TaskFinished, WorkflowFinished
from milepost.question import INTERRUPT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
    from queue import SimpleQueue

    from milepost._pool import Pool
    from milepost.events import Event

MODES: Final = ("updates", "values", "custom")

Chunk: TypeAlias = Any


class _Failed:
    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END: Final = object()


def checked(stream_mode: str | Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Return the modes asked for, and whether chunks carry their mode: a list or tuple labels them.

    Raises:
        InvalidStreamMode: a mode does not exist, or none is given.
    """
    labelled = not isinstance(stream_mode, str)
    modes = (stream_mode,) if isinstance(stream_mode, str) else tuple(stream_mode)
    for mode in modes:
        if mode not in MODES:
            raise InvalidStreamMode(mode, MODES)
    if not modes:
        raise InvalidStreamMode(stream_mode, MODES)
    return modes, labelled


def chunk(event: Event, mode: str) -> tuple[Chunk, ...]:
    """Return what an event looks like in a mode: no chunk, or one."""
    if mode == "custom":
        return (event.value,) if isinstance(event, CustomWritten) else ()
    if isinstance(event, RunInterrupted):
        return ({INTERRUPT: event.interrupts},)
    if mode == "values":
        return (event.result,) if isinstance(event, WorkflowFinished) else ()
    if isinstance(event, TaskFinished | WorkflowFinished):
        return ({event.name: event.result},)
    return ()


def iterate(
    work: Callable[[Callable[[Event], None]], None],
    leave: Callable[[], None],
    modes: tuple[str, ...],
    *,
    labelled: bool,
    pool: Pool,
) -> Iterator[Chunk]:
    """Run ``work(watch)`` in a thread and yield its events' chunks; nothing begins before the first one is asked for.

    When the consumer goes away, ``leave()`` is called and the thread is waited for.
    """
    from queue import SimpleQueue

    queue: SimpleQueue[Any] = SimpleQueue()
    thread = _begin(work, modes, queue.put)
    try:
        while (item := _next(queue, pool)) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item if labelled else item[1]
    finally:
        leave()
        thread.join()


async def aiterate(
    work: Callable[[Callable[[Event], None]], None],
    leave: Callable[[], None],
    modes: tuple[str, ...],
    *,
    labelled: bool,
) -> AsyncGenerator[Chunk, None]:
    """Do what :func:`iterate` does, for a consumer on an event loop."""
    import asyncio

    loop, queue = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def put(item: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left who could be told
            loop.call_soon_threadsafe(queue.put_nowait, item)

    _begin(work, modes, put)
    item: Any = None
    try:
        while (item := await queue.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item if labelled else item[1]
    finally:
        leave()
        while item is not _END and not isinstance(item, _Failed):
            item = await queue.get()


def _begin(
    work: Callable[[Callable[[Event], None]], None], modes: tuple[str, ...], put: Callable[[Any], None]
) -> threading.Thread:
    """Begin the work in a thread that puts ``(mode, chunk)`` pairs, and in the end how it ended."""

    def watch(event: Event) -> None:
        for mode in modes:
            for item in chunk(event, mode):
                put((mode, item))

    def body() -> None:
        try:
            work(watch)
            put(_END)
        except BaseException as error:  # noqa: BLE001 - it is raised to the consumer
            put(_Failed(error))

    frame, engine = _context.frame(), _context.engine()
    thread = threading.Thread(
        target=_context.run_apart, args=(frame, engine, body), name="milepost-body", daemon=False
    )
    thread.start()
    return thread


def _next(queue: SimpleQueue[Any], pool: Pool) -> Any:
    """Return the next item; a task that consumes a nested run's stream does not hold its worker's slot meanwhile."""
    from queue import Empty

    pool.begin_wait()
    try:
        while True:
            with suppress(Empty):
                return queue.get(timeout=LOOK_SECONDS)
    finally:
        pool.end_wait()
