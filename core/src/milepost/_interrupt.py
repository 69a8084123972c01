"""``interrupt()``, and what user code may ask about the run it is in.  (layer 11)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from milepost import _context
from milepost.errors import NoStore

if TYPE_CHECKING:
    from milepost._inject import RunnableConfig, StreamWriter
    from milepost.store import Store


def interrupt(value: Any) -> Any:
    """Ask a human, and return the answer; until there is one, the run pauses here (LangGraph's ``interrupt``).

    The first time this suspends the run: ``invoke`` returns ``{"__interrupt__": [Interrupt(value, id)]}`` and the
    process may end. ``Command(resume=answer)`` on the same thread runs the body again up to here, and this call
    returns the answer. Questions of tasks that run side by side are all asked together.

    Args:
        value: what is asked; anything the codec can keep.

    Raises:
        NoCheckpointer: nothing could keep the question.
        OutsideWorkflow: no workflow runs here.
        NotSerializable: ``value`` cannot be kept.
    """
    return _context.required("interrupt()").ask(value)


def heartbeat() -> None:
    """Give a sign of life: the idle time limits of this task, and of those around it, begin anew.

    A task whose time is up learns it here.

    Raises:
        OutsideWorkflow: no workflow runs here.
    """
    _context.required("heartbeat()").heartbeat()


def get_deadline() -> float | None:
    """Return how many seconds are left until a time limit of this task or workflow, or of one around it; None if none.

    A task that looks can end in good order before its time is up.

    Raises:
        OutsideWorkflow: no workflow runs here.
    """
    left: float | None = _context.required("get_deadline()").deadline
    return left


def get_idempotency_key() -> str:
    """Return a key of this task call: the same at every attempt, also after a crash; another for every other call.

    Give it to services that do a thing once for each key. Without a checkpointer it is random.

    Raises:
        OutsideWorkflow: no workflow runs here.
    """
    key: str = _context.required("get_idempotency_key()").idempotency_key
    return key


def get_config() -> RunnableConfig:
    """Return the config of the running workflow.

    Raises:
        OutsideWorkflow: no workflow runs here.
    """
    return cast("RunnableConfig", _context.required("get_config()").config)


def get_store() -> Store:
    """Return the store of the running workflow.

    Raises:
        OutsideWorkflow: no workflow runs here.
        NoStore: none is configured.
    """
    store: Store | None = _context.required("get_store()").store
    if store is None:
        raise NoStore("get_store(): no store is configured: pass store= to @entrypoint or to the engine")
    return store


def get_stream_writer() -> StreamWriter:
    """Return the function that writes custom events to whoever streams this run.

    Raises:
        OutsideWorkflow: no workflow runs here.
    """
    return cast("StreamWriter", _context.required("get_stream_writer()").write)
