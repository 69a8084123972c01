"""Durable workflows from ordinary synchronous functions: pause for days, survive crashes, resume in another process."""

from typing import TYPE_CHECKING, Any

from milepost import errors
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
from milepost.drivers import open_checkpointer, open_store
from milepost.memory import InMemorySaver, InMemoryStore, MemorySaver
from milepost.question import Command, Interrupt
from milepost.retry import RetryPolicy, default_retry_on
from milepost.review import Decision
from milepost.state import StateSnapshot
from milepost.store import BaseStore
from milepost.timeout import TimeoutPolicy

if TYPE_CHECKING:
    from milepost._future import TaskFuture, as_completed

__all__ = [
    "BaseStore",
    "Command",
    "Decision",
    "Engine",
    "InMemorySaver",
    "InMemoryStore",
    "Interrupt",
    "MemorySaver",
    "RetryPolicy",
    "RunnableConfig",
    "StateSnapshot",
    "StreamWriter",
    "Task",
    "TaskFuture",
    "TimeoutPolicy",
    "Workflow",
    "as_completed",
    "default_retry_on",
    "entrypoint",
    "errors",
    "get_config",
    "get_deadline",
    "get_idempotency_key",
    "get_store",
    "get_stream_writer",
    "heartbeat",
    "interrupt",
    "open_checkpointer",
    "open_store",
    "set_engine",
    "task",
]


def __getattr__(name: str) -> Any:
    """Load the futures when they are asked for: concurrent.futures and logging cost a quarter of the whole import."""
    if name in ("TaskFuture", "as_completed"):
        from milepost import _future

        return getattr(_future, name)
    raise AttributeError(f"module 'milepost' has no attribute {name!r}")
