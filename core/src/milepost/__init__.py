"""Durable workflows from ordinary synchronous functions: pause for days, survive crashes, resume in another process."""

from typing import TYPE_CHECKING, Any

from milepost import errors, events
from milepost._engine import Engine, set_engine
from milepost._inject import RunnableConfig, StreamWriter
from milepost._interrupt import (
    get_config,
    get_deadline,
    get_idempotency_key,
    get_store,
    get_stream_writer,
    heartbeat,
    interrupt,
)
from milepost._task import Task, task
from milepost._workflow import Workflow, entrypoint
from milepost.caching import CachePolicy
from milepost.drivers import open_checkpointer, open_store
from milepost.memory import InMemorySaver, InMemoryStore, MemorySaver
from milepost.question import Command, Interrupt
from milepost.retry import RetryPolicy, default_retry_on
from milepost.review import Decision
from milepost.runtime import ExecutionInfo, Runtime, get_runtime, get_version
from milepost.state import StateSnapshot, StateUpdate
from milepost.store import BaseStore
from milepost.timeout import TimeoutPolicy

if TYPE_CHECKING:
    from milepost._future import TaskFuture, as_completed
    from milepost._listing import (
        PendingInterrupts,
        ThreadInfo,
        alist_threads,
        apending_interrupts,
        list_threads,
        pending_interrupts,
    )
    from milepost._retention import Pruned, Retention
    from milepost.cache import InMemoryCache
    from milepost.timeline import Timeline

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
    "task",
]

_LATER = {
    "TaskFuture": "milepost._future",
    "as_completed": "milepost._future",
    "PendingInterrupts": "milepost._listing",
    "ThreadInfo": "milepost._listing",
    "alist_threads": "milepost._listing",
    "apending_interrupts": "milepost._listing",
    "list_threads": "milepost._listing",
    "pending_interrupts": "milepost._listing",
    "Pruned": "milepost._retention",
    "Retention": "milepost._retention",
    "Timeline": "milepost.timeline",
    "InMemoryCache": "milepost.cache",
}


def __getattr__(name: str) -> Any:
    """Load what not every program uses when it is asked for: futures and logging cost a quarter of the whole import."""
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'milepost' has no attribute {name!r}")
