"""What a run tells those who watch it: each event a frozen record with typed fields.

``stream_mode="events"`` yields them as they are::

    for event in flow.stream(given, thread_id="t", stream_mode="events"):
        match event:
            case TaskFinished(name=name, result=result): ...
            case TaskFailed(name=name, error=error): ...

Every call that a :class:`Started` tells of has exactly one :class:`Ended` after it in the same stream, however the run
ends; and no :class:`Ended` comes without its :class:`Started`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from milepost import errors
from milepost._struct import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

    from milepost.question import Interrupt

Namespace: TypeAlias = tuple[str, ...]


class Event(Struct):
    """Something that happened in a run.

    Args:
        namespace: the nested workflow it belongs to: ``()`` is the run itself, ``("inner:3",)`` the workflow ``inner``
            that call 3 invoked.
        call: the place of the call, the same on every replay and unique in the run: ``"0"``, ``"1.2"``; ``""`` is the
            body. A call of a run on another thread has the place of the call that began that run before it: ``"3/0"``.
        name: of the task or workflow.
        attempt: which attempt, from 1; for an end, the last one.
        replayed: whether it is told from the record; what it tells of happened before.
        at: when, as ISO 8601 in UTC on the engine's clock. For a replayed event, when it happened.
        position: the event's number in the thread's journal, where it is told from there by :meth:`Run.events`: it
            grows, and ``events(after=position)`` goes on after it, in any process.
    """

    namespace: Namespace
    call: str
    name: str
    attempt: int = 1
    replayed: bool = False
    at: str = ""
    position: int | None = None

    @property
    def kind(self) -> str:
        """The event's class as a word: ``task_finished`` for :class:`TaskFinished`."""
        words = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__)
        return words.removeprefix("_")

    def as_json(self) -> dict[str, Any]:
        """Return the event as JSON has it, its ``kind`` included: scalars, lists, and dicts with string keys.

        Times are ISO 8601 text, bytes base64; an exception is an object with ``type`` and ``message``, and what JSON
        cannot say is its ``repr``.
        """
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return {"kind": self.kind, **{name: _plain(value) for name, value in fields.items()}}


class Started(Event):
    """A task or a workflow began with ``input``: for a task its arguments, ``(args, kwargs)``."""

    input: Any


class Ended(Event):
    """A task or a workflow came to an end, or as far as this execution of the run takes it."""


class TaskStarted(Started):
    """A task began."""


class TaskFinished(Ended):
    """A task returned and its result is recorded; ``cached`` where it was taken from a cache."""

    result: Any
    cached: bool = False


class TaskFailed(Ended):
    """A task failed; where the run is recorded, its failure is. ``error`` is the exception itself."""

    error: BaseException


class TaskInterrupted(Ended):
    """A task stopped at questions of its own, or of tasks it called; it runs again when they are answered."""

    interrupts: tuple[Interrupt, ...]


class TaskCancelled(Ended):
    """A task was cancelled before it began; its start is told with its end."""


class TaskUnfinished(Ended):
    """The run came to rest before the task had an outcome. One is recorded later, or the task runs again."""


class WorkflowStarted(Started):
    """A workflow's body began: ``input`` is what it was given; ``replayed`` tells that the run goes on."""


class WorkflowFinished(Ended):
    """A workflow returned and its result is recorded; ``cached`` where it was taken from a cache."""

    result: Any
    cached: bool = False


class WorkflowFailed(Ended):
    """An exception left a workflow's body, and is recorded; the run can be continued."""

    error: BaseException


class WorkflowInterrupted(Ended):
    """A workflow pauses with these questions."""

    interrupts: tuple[Interrupt, ...]


class WorkflowCancelled(Ended):
    """A nested workflow was cancelled before it began; its start is told with its end."""


class WorkflowUnfinished(Ended):
    """The run stopped at a boundary, and can be continued: Ctrl-C, an abandoned stream, a closed engine."""


class TaskRetried(Event):
    """An attempt at a task failed with ``error``, and another is due, ``at`` the time the failed one ended."""

    error: BaseException


class WorkflowResumed(Event):
    """A session goes on with the run.

    ``how`` is ``claimed`` (after a crash, or handed on), ``resumed`` (with answers, or because a time has come) or
    ``retried``; ``session`` says which process, ``actor`` who answered, ``answered`` which questions.
    """

    how: str
    session: str
    actor: str | None = None
    answered: tuple[str, ...] = ()


class WorkflowSleeping(Ended):
    """A workflow waits until a time, ISO 8601 in UTC."""

    until: str


class WorkflowAbandoned(Ended):
    """A newer input closed the run."""


class CustomWritten(Event):
    """A body or a task wrote to its :class:`~milepost.StreamWriter`."""

    value: Any


class CheckpointSaved(Event):
    """The run's input, or what it came to, is on record (the fields are those of LangGraph's ``checkpoints``).

    ``metadata["source"]`` is ``"input"`` when the run starts and ``"loop"`` when it pauses, finishes or fails.
    ``tasks`` are the calls that have an outcome or ask something.
    """

    config: Mapping[str, Any]
    metadata: Mapping[str, Any]
    values: Any
    next: tuple[str, ...]
    parent_config: Mapping[str, Any] | None
    tasks: tuple[Mapping[str, Any], ...]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, or its ``repr``."""
    from milepost import schema

    if isinstance(value, errors.TaskFailed):
        return {"type": value.type_name, "message": value.message}
    if isinstance(value, BaseException):
        return {"type": errors.describe(type(value)), "message": str(value)}
    if isinstance(value, Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple) and any(isinstance(item, Struct) for item in value):
        return [_plain(item) for item in value]
    try:
        return schema.plain(value)
    except (schema.Unfit, RecursionError):
        return repr(value)
