"""The frame that runs now, as a context variable, and who may ask for it.

A frame is one execution of a body or a task. Only milepost's own variables go along to tasks: each runs in a context
of its own, so a web framework's request does not leak into a worker thread.
"""

from __future__ import annotations

import os
import threading
from contextvars import Context, ContextVar, copy_context
from sys import modules
from typing import TYPE_CHECKING, Any, TypeVar

from milepost.errors import OutsideWorkflow

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_frame: ContextVar[Any] = ContextVar("milepost_frame", default=None)
_engines: ContextVar[tuple[Any, ...]] = ContextVar("milepost_engines", default=())


def frame() -> Any:
    """Return the frame that runs here, or None; in an asyncio Task other than the frame's own, the frame's strand."""
    found = _frame.get()
    return found if found is None or "asyncio" not in modules else _strand(found)


def _strand(found: Any) -> Any:
    """Return the frame, or the strand of it that this asyncio Task is; a Task that is none yet becomes one."""
    if not runs_loop():
        return found
    task = modules["asyncio"].current_task()
    if task is None or task is found.home:
        return found
    strand = found.strand(task)
    _frame.set(strand)
    return strand


def runs_loop() -> bool:
    """Tell whether this thread runs an event loop now, so that whatever blocks here blocks the loop."""
    asyncio = modules.get("asyncio")
    get = getattr(asyncio, "_get_running_loop", None)  # absent while another thread imports asyncio
    return get is not None and get() is not None


def engine() -> Any:
    """Return the engine of the innermost ``with engine:`` block here, or None."""
    engines = _engines.get()
    return engines[-1] if engines else None


def required(what: str) -> Any:
    """Return the frame that runs here.

    Raises:
        OutsideWorkflow: no workflow runs here; ``what`` names what was called.
    """
    found = frame()
    if found is None:
        raise OutsideWorkflow(
            f"{what} was called outside a workflow: call it in the body of an @entrypoint function or in a task, "
            f"on the thread that milepost runs them on"
        )
    return found


def run_apart(frame: Any, engine: Any, function: Callable[[], None]) -> None:
    """Run a function in a new context that holds the frame and the engine, and nothing else."""
    apart(frame, engine).run(function)


def apart(frame: Any, engine: Any) -> Context:
    """Return a new context that holds the frame and the engine, and nothing else."""
    context = Context()
    context.run(_enter, frame, engine)
    return context


def _enter(frame: Any, engine: Any) -> None:
    _engines.set((engine,) if engine is not None else ())
    _frame.set(frame)


def run_within(frame: Any, function: Callable[[], T]) -> T:
    """Run a function in a copy of the caller's context that holds the frame.

    The interpreter itself leaves the copy, so that Ctrl-C cannot leave the caller inside a frame that is over.
    """
    return copy_context().run(_enter_frame, frame, function)


def _enter_frame(frame: Any, function: Callable[[], T]) -> T:
    _frame.set(frame)
    return function()


def enter_engine(engine: Any) -> None:
    """Make an engine the current one here, until :func:`leave_engine`."""
    _engines.set((*_engines.get(), engine))


def leave_engine() -> None:
    """Go back to the engine that was current before."""
    _engines.set(_engines.get()[:-1])


def _leave() -> None:
    """A forked child is in no frame: the run goes on in its parent, and what the child calls is its own."""
    _frame.set(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)


class _Depth(threading.local):
    """How many jobs this worker thread runs inside one another."""

    waits = 0


depth = _Depth()
