"""Durable workflows from ordinary synchronous functions: pause for days, survive crashes, resume in another process.

Each name is loaded when it is first asked for, so that a program pays for what it uses, and ``import milepost.errors``
or a driver does not load the engine.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milepost import busy, errors, events
    from milepost._engine import Engine, set_engine
    from milepost._future import TaskFuture, as_completed
    from milepost._inject import RunnableConfig, StreamWriter
    from milepost._interrupt import (
        get_config,
        get_deadline,
        get_idempotency_key,
        get_store,
        get_stream_writer,
        heartbeat,
        interrupt,
        sleep,
        sleep_until,
    )
    from milepost._listing import (
        PendingInterrupts,
        ThreadInfo,
        alist_threads,
        apending_interrupts,
        list_threads,
        pending_interrupts,
    )
    from milepost._retention import Pruned, Retention
    from milepost._task import Task, task
    from milepost._workflow import Workflow, entrypoint
    from milepost.cache import InMemoryCache
    from milepost.caching import CachePolicy
    from milepost.drivers import open_checkpointer, open_store
    from milepost.memory import InMemorySaver, InMemoryStore, MemorySaver
    from milepost.question import Command, Interrupt
    from milepost.retry import RetryPolicy, default_retry_on
    from milepost.review import Decision
    from milepost.run import Run
    from milepost.runtime import ExecutionInfo, Runtime, get_runtime, get_version
    from milepost.state import StateSnapshot, StateUpdate
    from milepost.store import BaseStore
    from milepost.timeline import Timeline
    from milepost.timeout import TimeoutPolicy

__all__ = [
    "BaseStore",
    "CachePolicy",
    "Command",
    "Decision",
    "Engine",
    "ExecutionInfo",
    "InMemoryCache",
    "InMemorySaver",
    "InMemoryStore",
    "Interrupt",
    "MemorySaver",
    "PendingInterrupts",
    "Pruned",
    "Retention",
    "RetryPolicy",
    "Run",
    "RunnableConfig",
    "Runtime",
    "StateSnapshot",
    "StateUpdate",
    "StreamWriter",
    "Task",
    "TaskFuture",
    "ThreadInfo",
    "Timeline",
    "TimeoutPolicy",
    "Workflow",
    "alist_threads",
    "apending_interrupts",
    "as_completed",
    "busy",
    "default_retry_on",
    "entrypoint",
    "errors",
    "events",
    "get_config",
    "get_deadline",
    "get_idempotency_key",
    "get_runtime",
    "get_store",
    "get_stream_writer",
    "get_version",
    "heartbeat",
    "interrupt",
    "list_threads",
    "open_checkpointer",
    "open_store",
    "pending_interrupts",
    "set_engine",
    "sleep",
    "sleep_until",
    "task",
]

_HOMES = {
    "_engine": ("Engine", "set_engine"),
    "_future": ("TaskFuture", "as_completed"),
    "_inject": ("RunnableConfig", "StreamWriter"),
    "_interrupt": (
        "get_config",
        "get_deadline",
        "get_idempotency_key",
        "get_store",
        "get_stream_writer",
        "heartbeat",
        "interrupt",
        "sleep",
        "sleep_until",
    ),
    "_listing": (
        "PendingInterrupts",
        "ThreadInfo",
        "alist_threads",
        "apending_interrupts",
        "list_threads",
        "pending_interrupts",
    ),
    "_retention": ("Pruned", "Retention"),
    "_task": ("Task", "task"),
    "_workflow": ("Workflow", "entrypoint"),
    "cache": ("InMemoryCache",),
    "caching": ("CachePolicy",),
    "drivers": ("open_checkpointer", "open_store"),
    "memory": ("InMemorySaver", "InMemoryStore", "MemorySaver"),
    "question": ("Command", "Interrupt"),
    "retry": ("RetryPolicy", "default_retry_on"),
    "review": ("Decision",),
    "run": ("Run",),
    "runtime": ("ExecutionInfo", "Runtime", "get_runtime", "get_version"),
    "state": ("StateSnapshot", "StateUpdate"),
    "store": ("BaseStore",),
    "timeline": ("Timeline",),
    "timeout": ("TimeoutPolicy",),
}
"""Where the names of ``__all__`` live, beside the modules among them; a test compares it with the imports above."""


def __getattr__(name: str) -> Any:
    """Load a name of ``__all__`` and keep it, so that this is not asked for it again."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'milepost' has no attribute {name!r}")
    for home, names in _HOMES.items():
        if name in names:
            found = globals()[name] = getattr(import_module(f"milepost.{home}"), name)
            return found
    return import_module(f"milepost.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
