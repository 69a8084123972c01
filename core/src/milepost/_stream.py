"""Streaming: the body runs in a thread of its own, and chunks come as it puts them."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from milepost import _context
from milepost._clock import LOOK_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator
    from queue import SimpleQueue

    from milepost._chunk import Chunk
    from milepost._pool import Pool


class _Failed:
    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END: Final = object()


def iterate(
    work: Callable[[Callable[[Chunk], object]], None], leave: Callable[[], None], *, pool: Pool
) -> Iterator[Chunk]:
    """Run ``work(put)`` in a thread and yield the chunks; nothing begins before the first one is asked for.

    The run does not wait for the consumer: chunks that nobody has asked for yet are kept. When the consumer goes away,
    ``leave()`` is called and the thread is waited for.
    """
    from queue import SimpleQueue

    queue: SimpleQueue[Any] = SimpleQueue()
    thread = _begin(work, queue.put)
    try:
        while (item := _next(queue, pool)) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item[0]
    finally:
        leave()
        thread.join()


async def aiterate(
    work: Callable[[Callable[[Chunk], object]], None], leave: Callable[[], None]
) -> AsyncGenerator[Chunk, None]:
    """Do what :func:`iterate` does, for a consumer on an event loop."""
    import asyncio

    loop, queue = asyncio.get_running_loop(), asyncio.Queue[Any]()

    def put(item: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left who could be told
            loop.call_soon_threadsafe(queue.put_nowait, item)

    _begin(work, put)
    item: Any = None
    try:
        while (item := await queue.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item[0]
    finally:
        leave()
        while item is not _END and not isinstance(item, _Failed):
            item = await queue.get()


def _begin(work: Callable[[Callable[[Chunk], object]], None], put: Callable[[Any], None]) -> threading.Thread:
    """Begin the work in a thread that puts the chunks, each in a tuple, and in the end how it ended."""

    def body() -> None:
        try:
            work(lambda chunk: put((chunk,)))
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
