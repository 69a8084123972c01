"""What an event looks like in each stream mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from milepost import _ids, events
from milepost._struct import Struct
from milepost._watch import Listener
from milepost.errors import InvalidStreamMode
from milepost.question import INTERRUPT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from milepost.events import Event, Namespace
    from milepost.question import Interrupt

MODES: Final = ("updates", "values", "custom", "tasks", "checkpoints", "debug", "events")
CALLS: Final = frozenset({"tasks", "debug", "events"})
CHECKPOINTS: Final = frozenset({"checkpoints", "debug", "events"})

_STATUS: Final[dict[type[events.Ended], str]] = {
    events.TaskFinished: "done",
    events.TaskFailed: "failed",
    events.TaskInterrupted: "interrupted",
    events.TaskCancelled: "cancelled",
    events.TaskUnfinished: "unfinished",
    events.WorkflowFinished: "done",
    events.WorkflowFailed: "failed",
    events.WorkflowInterrupted: "interrupted",
    events.WorkflowCancelled: "cancelled",
    events.WorkflowUnfinished: "unfinished",
}

Chunk: TypeAlias = Any


class Form(Struct):
    """How a consumer wants its chunks: in which modes, each with its mode, each with its namespace."""

    modes: tuple[str, ...]
    labelled: bool = False
    subgraphs: bool = False

    @classmethod
    def of(cls, stream_mode: str | Sequence[str], *, subgraphs: bool) -> Form:
        """Return the form asked for: a list of modes labels its chunks.

        Raises:
            InvalidStreamMode: a mode does not exist, or none is given.
        """
        labelled = not isinstance(stream_mode, str)
        return cls(modes=checked(stream_mode), labelled=labelled, subgraphs=subgraphs)

    def listener(self, put: Callable[[Chunk], object], base: Namespace = ()) -> Listener:
        """Return who puts the chunks somewhere, of the workflow in this namespace."""

        def listen(event: Event) -> None:
            for mode in self.modes:
                for chunk in shown(event, mode, base):
                    put(self._labelled(event.namespace[len(base) :], mode, chunk))

        return Listener(
            listen,
            namespace=base,
            within=self.subgraphs,
            calls=base != () or not CALLS.isdisjoint(self.modes),
            checkpoints=not CHECKPOINTS.isdisjoint(self.modes),
        )

    def _labelled(self, namespace: Namespace, mode: str, chunk: Chunk) -> Chunk:
        labels: tuple[Any, ...] = (namespace,) if self.subgraphs else ()
        if self.labelled:
            labels = (*labels, mode)
        return (*labels, chunk) if labels else chunk


def checked(stream_mode: str | Sequence[str], *, modes: tuple[str, ...] = MODES) -> tuple[str, ...]:
    """Return the modes asked for.

    Raises:
        InvalidStreamMode: a mode does not exist, or none is given.
    """
    given = (stream_mode,) if isinstance(stream_mode, str) else tuple(stream_mode)
    for mode in given:
        if mode not in modes:
            raise InvalidStreamMode(mode, modes)
    if not given:
        raise InvalidStreamMode(stream_mode, modes)
    return given


def shown(event: Event, mode: str, base: Namespace = ()) -> tuple[Chunk, ...]:
    """Return what an event looks like in a mode: no chunk, or one."""
    return _SHOWN[mode](event, base)


def _events(event: Event, _base: Namespace) -> tuple[Chunk, ...]:
    return (event,)


def _custom(event: Event, _base: Namespace) -> tuple[Chunk, ...]:
    return (event.value,) if isinstance(event, events.CustomWritten) else ()


def _updates(event: Event, base: Namespace) -> tuple[Chunk, ...]:
    if isinstance(event, events.TaskFinished) and not event.replayed:
        return (_update(event),)
    if isinstance(event, events.WorkflowFinished) and _is_told(event, base):
        return (_update(event),)
    return _question(event, base)


def _update(event: events.TaskFinished | events.WorkflowFinished) -> dict[str, Any]:
    found = {event.name: event.result}
    return {**found, "__metadata__": {"cached": True}} if event.cached else found


def _values(event: Event, base: Namespace) -> tuple[Chunk, ...]:
    if isinstance(event, events.WorkflowFinished) and _is_told(event, base):
        return (event.result,)
    return _question(event, base)


def _is_told(event: Event, base: Namespace) -> bool:
    """A result on record is not told again, but to the body that consumes the stream of the workflow it is from."""
    return not event.replayed or (event.namespace == base and base != ())


def _question(event: Event, base: Namespace) -> tuple[Chunk, ...]:
    """Questions are for the run's caller: a body that consumes a nested workflow's stream stops there itself."""
    asked = isinstance(event, events.WorkflowInterrupted) and base == ()
    return ({INTERRUPT: event.interrupts},) if asked else ()  # type: ignore[attr-defined]  # `asked` says which it is


def _tasks(event: Event, _base: Namespace) -> tuple[Chunk, ...]:
    facts = {"id": event.call, "name": event.name, "attempt": event.attempt, "replayed": event.replayed}
    if isinstance(event, events.Started):
        return ({**facts, "input": event.input, "triggers": _triggers(event)},)
    if isinstance(event, events.Ended):
        error = getattr(event, "error", None)
        outcome = {
            "status": _STATUS[type(event)],
            "result": getattr(event, "result", None),
            "error": None if error is None else said(error),
            "exception": error,
            "interrupts": [_asked(interrupt) for interrupt in getattr(event, "interrupts", ())],
        }
        return ({**facts, **outcome},)
    return ()


def said(error: BaseException) -> str:
    """Return the text of an exception; its ``__str__`` is code of the user's, which may fail."""
    try:
        return f"{type(error).__qualname__}: {error}"
    except Exception:  # noqa: BLE001 - whatever it raises
        return type(error).__qualname__


def _triggers(event: Event) -> tuple[str, ...]:
    """Return the id of the call that made this one; LangGraph's name for it where there is none."""
    return (_ids.frame_of(event.call.rpartition(".")[0]),) if event.call else ("__start__",)


def _asked(interrupt: Interrupt) -> dict[str, Any]:
    return {"value": interrupt.value, "id": interrupt.id}


def _checkpoints(event: Event, _base: Namespace) -> tuple[Chunk, ...]:
    if not isinstance(event, events.CheckpointSaved):
        return ()
    return (
        {
            "config": event.config,
            "metadata": event.metadata,
            "values": event.values,
            "next": event.next,
            "parent_config": event.parent_config,
            "tasks": event.tasks,
        },
    )


def _debug(event: Event, base: Namespace) -> tuple[Chunk, ...]:
    for kind, payloads in (("checkpoint", _checkpoints(event, base)), ("task", _tasks(event, base))):
        for payload in payloads:
            type_ = "task_result" if isinstance(event, events.Ended) else kind
            step = payload["metadata"]["step"] if kind == "checkpoint" else 0
            return ({"step": step, "timestamp": event.at, "type": type_, "payload": payload},)
    return ()


_SHOWN: Final[dict[str, Callable[[Event, Namespace], tuple[Chunk, ...]]]] = {
    "updates": _updates,
    "values": _values,
    "custom": _custom,
    "tasks": _tasks,
    "checkpoints": _checkpoints,
    "debug": _debug,
    "events": _events,
}
