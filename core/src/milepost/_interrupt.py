"""``interrupt()``, and what user code may ask about the run it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from milepost import _context
from milepost._later import later
from milepost.errors import NoStore
from milepost.question import MISSING

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from milepost import _asking
    from milepost._inject import RunnableConfig, StreamWriter
    from milepost.store import Store
else:
    _asking = later("_asking")


T = TypeVar("T")


@overload
def interrupt(
    value: Any,
    *,
    response_schema: type[T],
    key: str | None = None,
    expires_in: float | timedelta | None = None,
    default: Any = MISSING,
) -> T: ...
@overload
def interrupt(
    value: Any,
    *,
    response_schema: Any = None,
    key: str | None = None,
    expires_in: float | timedelta | None = None,
    default: Any = MISSING,
) -> Any: ...
def interrupt(
    value: Any,
    *,
    response_schema: Any = None,
    key: str | None = None,
    expires_in: float | timedelta | None = None,
    default: Any = MISSING,
) -> Any:
    """Ask a human, and return the answer; until there is one, the run pauses here (LangGraph's ``interrupt``).

    The first time this suspends the run: ``invoke`` returns ``{"__interrupt__": [Interrupt(value, id)]}`` and the
    process may end. ``Command(resume=answer)`` on the same thread runs the body again up to here, and this call
    returns the answer. Questions of tasks that run side by side are all asked together.

    Args:
        value: what is asked; anything the codec can keep.
        response_schema: what an answer must be: a dataclass, TypedDict, named tuple, enum, pydantic model, msgspec
            Struct, a plain or generic type, or a JSON Schema as a dict. An answer that is not is refused before the
            run resumes, with ``InvalidAnswer``; this call returns a value of the type.
        key: makes the question's id from this text, which no other question of the run uses, instead of from its place
            and its value, so that both may change in the code while it is pending.
        expires_in: seconds, or a timedelta, after which the question counts as expired: ``invoke(None)`` goes on then.
        default: the answer of an expired question; without it this call raises ``InterruptExpired``.

    Raises:
        NoCheckpointer: nothing could keep the question.
        OutsideWorkflow: no workflow runs here.
        NotSerializable: ``value`` cannot be kept.
        InvalidQuestion: the schema cannot be checked, the key is in use, or the default is no answer.
        InterruptExpired: nobody answered in time and there is no default.
    """
    return _context.required("interrupt()").ask(
        _asking.asking(
            value, response_schema=response_schema, key=key, expires_in=expires_in, default=default
        )
    )


def sleep(duration: float | timedelta) -> None:
    """Pause the run for so long, without a thread that waits: it is on record, and survives every process.

    The body, or the task, suspends here as at :func:`interrupt`, and begins again from its first line when the time has
    come; what has finished is not repeated. Whichever process then sees it due goes on with the run: the one that began
    it, any engine with ``recover=True``, or ``milepost worker``. ``invoke`` and ``stream`` wait for that; a run that
    was started in the background holds nothing meanwhile. The end is fixed when the run first pauses here, by the
    wall clock of the process that runs it. Without a checkpointer the thread sleeps; a coroutine cannot, then.

    Args:
        duration: seconds, or a timedelta; 0 does nothing.

    Raises:
        InvalidSleep: it is none of these, or less than 0.
        WouldBlock: a coroutine called it where nothing is recorded: await ``asyncio.sleep()``.
        OutsideWorkflow: no workflow runs here.
    """
    _context.required("sleep()").sleep(_asking.sleeping(duration))


def sleep_until(when: datetime) -> None:
    """Pause the run until a time, as :func:`sleep` does; a time that is over does nothing.

    Args:
        when: a datetime with a time zone.

    Raises:
        InvalidSleep: it is no datetime, or has no zone.
        OutsideWorkflow: no workflow runs here.
    """
    _context.required("sleep_until()").sleep(_asking.sleeping_until(when))


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
