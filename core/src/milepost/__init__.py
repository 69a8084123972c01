"""Durable workflows from ordinary synchronous functions: pause for days, survive crashes, resume in another process."""

from typing import TYPE_CHECKING, Any

from milepost import errors
from milepost._engine import Engine, set_engine
from milepost._inject import RunnableConfig, StreamWriter
from milepost._interrupt import get_config, get_store, get_stream_writer, interrupt
from milepost._task import Task, task
from milepost._workflow import Workflow, entrypoint
from milepost.drivers import open_checkpointer, open_store
from milepost.memory import InMemorySaver, InMemoryStore, MemorySaver
from milepost.question import Command, Interrupt
from milepost.runtime import ExecutionInfo, Runtime, get_runtime, get_version
from milepost.state import StateSnapshot
from milepost.store import BaseStore

if TYPE_CHECKING:
    from milepost._future import TaskFuture, as_completed

__all__ = [
    "BaseStore",
    "Command",
    "Engine",
    "ExecutionInfo",
    "InMemorySaver",
    "InMemoryStore",
    "Interrupt",
    "MemorySaver",
    "RunnableConfig",
    "Runtime",
    "StateSnapshot",
    "StreamWriter",
    "Task",
    "TaskFuture",
    "Workflow",
    "as_completed",
    "entrypoint",
    "errors",
    "get_config",
    "get_runtime",
    "get_store",
    "get_stream_writer",
    "get_version",
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
