"""``Runtime``: what a body or task may ask of the run it is in.

LangGraph's names, from ``langgraph.runtime``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from milepost import _context
from milepost._struct import Struct
from milepost.errors import OutsideWorkflow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from milepost._inject import StreamWriter
    from milepost.events import Namespace
    from milepost.store import Store

C = TypeVar("C")
V = TypeVar("V", int, str)


class _Scope(Protocol):
    @property
    def namespace(self) -> Namespace: ...
    @property
    def context(self) -> Callable[[], Any]: ...
    @property
    def previous(self) -> Callable[[], Any]: ...


class Frame(Protocol):
    """What a runtime asks of the frame that it is for."""

    path: str

    @property
    def scope(self) -> _Scope:
        """What it shares with the other frames of its workflow."""

    @property
    def execution(self) -> Any:
        """The execution that it belongs to."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The config of the run."""

    @property
    def store(self) -> Store | None:
        """Long-term memory."""

    @property
    def thread_id(self) -> str | None:
        """The thread's id."""

    @property
    def run_id(self) -> str | None:
        """The run's id."""

    @property
    def attempt(self) -> int:
        """Which attempt at the call it is, from 1."""

    @property
    def first_attempt_at(self) -> str:
        """When the first one began, ISO 8601 in UTC; empty where that is not known."""

    @property
    def deadline(self) -> float | None:
        """The seconds left until the call's time is over."""

    @property
    def idempotency_key(self) -> str:
        """What names the call, and no other."""

    def heartbeat(self) -> None:
        """Tell that the call is still at work."""

    def write(self, value: Any) -> None:
        """Write a custom event."""


class ExecutionInfo(Struct):
    """Where code runs.

    ``task_id`` is the call's place in its run (``"0"``, ``"1.2"``), empty in the body. ``run_id`` and ``checkpoint_id``
    are the run's id. ``checkpoint_ns`` is the path of nested workflows, ``"inner:0|deeper:0.1"``. ``node_attempt``
    counts from 1, ``node_first_attempt_time`` is in seconds since the epoch. ``version`` is that of the code which
    began the run. ``idempotency_key`` is the same for every attempt at this call and for no other call. ``deadline`` is
    when the call's time is over. What a run without a checkpointer does not have is None.
    """

    workflow: str
    task_id: str
    thread_id: str | None = None
    run_id: str | None = None
    checkpoint_id: str | None = None
    checkpoint_ns: str = ""
    node_attempt: int = 1
    node_first_attempt_time: float | None = None
    version: int | str | None = None
    idempotency_key: str = ""
    deadline: datetime | None = None


def _drop(_: Any, /) -> None:
    """Write to nobody."""


class Runtime(Generic[C]):
    """What the run gives to its body and tasks: ask for it with a parameter ``runtime: Runtime[Context]``.

    Make one yourself to call a body or task as a plain function: ``flow.func(1, runtime=Runtime(context=…))``.
    """

    __slots__ = ("_context", "_previous", "_store", "_writer")

    def __init__(
        self,
        *,
        context: C | None = None,
        store: Store | None = None,
        stream_writer: StreamWriter = _drop,
        previous: Any = None,
    ) -> None:
        self._context: Any = context
        self._store = store
        self._writer = stream_writer
        self._previous = previous

    @property
    def context(self) -> C:
        """What ``context=`` was when the run began; None where nothing was given."""
        found: C = self._context
        return found

    @property
    def store(self) -> Store | None:
        """Long-term memory; None where none is configured."""
        return self._store

    @property
    def stream_writer(self) -> StreamWriter:
        """Writes custom events to whoever streams the run."""
        return self._writer

    @property
    def previous(self) -> Any:
        """What the thread's last finished run saved; in tasks, too."""
        return self._previous

    @property
    def execution_info(self) -> ExecutionInfo:
        """Where this code runs.

        Raises:
            OutsideWorkflow: this runtime was made by hand.
        """
        raise OutsideWorkflow(
            "Runtime.execution_info: this runtime was made by hand, so it belongs to no run"
        )

    @property
    def version(self) -> int | str | None:
        """The workflow's version when this run began; None where it had none."""
        return None

    def heartbeat(self) -> None:
        """Tell that this call is still at work, and stop here if the run is to stop."""

    def __repr__(self) -> str:
        return f"<Runtime context={self.context!r}>"


class FrameRuntime(Runtime[Any]):
    """The runtime of a body or task that milepost runs."""

    __slots__ = ("_frame",)

    def __init__(self, frame: Frame) -> None:
        self._frame = frame

    @property
    def context(self) -> Any:
        """What the run began with."""
        return self._frame.scope.context()

    @property
    def store(self) -> Store | None:
        """The frame's store."""
        return self._frame.store

    @property
    def stream_writer(self) -> StreamWriter:
        """The frame's writer."""
        return self._frame.write

    @property
    def previous(self) -> Any:
        """What the last run saved, decoded anew."""
        return self._frame.scope.previous()

    @property
    def execution_info(self) -> ExecutionInfo:
        """Where the frame is."""
        from datetime import datetime, timedelta

        frame = self._frame
        first, left = frame.first_attempt_at, frame.deadline
        return ExecutionInfo(
            workflow=frame.execution.workflow,
            task_id=frame.path,
            thread_id=frame.thread_id,
            run_id=frame.run_id,
            checkpoint_id=frame.run_id,
            checkpoint_ns="|".join(frame.scope.namespace),
            node_attempt=frame.attempt,
            node_first_attempt_time=datetime.fromisoformat(first).timestamp() if first else None,
            version=frame.execution.version,
            idempotency_key=frame.idempotency_key,
            deadline=None if left is None else frame.execution.clock.now() + timedelta(seconds=left),
        )

    @property
    def version(self) -> int | str | None:
        """The version under which the run began."""
        version: int | str | None = self._frame.execution.version
        return version

    def heartbeat(self) -> None:
        """Tell the frame."""
        self._frame.heartbeat()


@overload
def get_runtime(context_schema: type[C], /) -> Runtime[C]: ...
@overload
def get_runtime() -> Runtime[Any]: ...
def get_runtime(context_schema: Any = None, /) -> Runtime[Any]:  # noqa: ARG001 - for type checkers
    """Return the runtime of the body or task that runs here; ``context_schema`` is for type checkers.

    Raises:
        OutsideWorkflow: no workflow runs here.
    """
    return FrameRuntime(_context.required("get_runtime()"))


@overload
def get_version() -> int | str | None: ...
@overload
def get_version(default: V) -> V: ...
def get_version(default: Any = None) -> Any:
    """Return the version of the workflow under which this run began, however new the code is that runs it now.

    ``if get_version(1) < 2: …`` keeps the old path for runs that are under way. Inside a workflow that another one
    calls on the same thread it is the version of the one around it.

    Args:
        default: what counts as the version of runs that began when the workflow had none.

    Raises:
        OutsideWorkflow: no workflow runs here.
    """
    version = _context.required("get_version()").execution.version
    return default if version is None else version
