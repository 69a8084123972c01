"""What happens to calls and bodies becomes events, where somebody watches.

Each hook looks first whether anybody does: a run that nobody watches makes no event and reads no clock for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from milepost import events
from milepost._signals import Suspended
from milepost._struct import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from milepost._clock import Clock
    from milepost._fold import RunState
    from milepost._signals import Signal
    from milepost._watch import Watch
    from milepost.events import Ended, Namespace, Started
    from milepost.question import Interrupt
    from milepost.records import Outcome


class Scope(Protocol):
    """What the frames of one workflow share."""

    @property
    def namespace(self) -> Namespace: ...


class Frame(Protocol):
    """A frame that an event is about."""

    @property
    def attempt(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def scope(self) -> Scope: ...


class Call(Protocol):
    """A call that an event is about: ``inner`` is the frame it runs in."""

    @property
    def args(self) -> tuple[Any, ...]: ...
    @property
    def kwargs(self) -> Mapping[str, Any]: ...
    @property
    def began(self) -> str: ...
    @property
    def frame(self) -> Frame: ...
    @property
    def inner(self) -> Frame: ...
    @property
    def cached(self) -> bool: ...


class Execution(Protocol):
    """The execution whose calls are told of."""

    watch: Watch
    clock: Clock
    config: Mapping[str, Any]
    thread_id: str | None

    def asked_within(self, path: str) -> tuple[Interrupt, ...]:
        """Return what a call, and those it made, ask."""


class TaskState(Protocol):
    """A call of a snapshot."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def attempts(self) -> int: ...
    @property
    def error(self) -> str | None: ...
    @property
    def interrupts(self) -> tuple[Interrupt, ...]: ...


class Kind(Struct):
    """The events of a kind of call."""

    started: type[Started]
    finished: Callable[..., Ended]
    failed: Callable[..., Ended]
    interrupted: Callable[..., Ended]
    cancelled: Callable[..., Ended]


_TASK: Final = Kind(
    started=events.TaskStarted,
    finished=events.TaskFinished,
    failed=events.TaskFailed,
    interrupted=events.TaskInterrupted,
    cancelled=events.TaskCancelled,
)
_WORKFLOW: Final = Kind(
    started=events.WorkflowStarted,
    finished=events.WorkflowFinished,
    failed=events.WorkflowFailed,
    interrupted=events.WorkflowInterrupted,
    cancelled=events.WorkflowCancelled,
)


class Telling:
    """Tells those who watch an execution what happens in it."""

    __slots__ = ("_execution", "_watch")

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._watch = execution.watch

    # -- calls ---------------------------------------------------------------------------------------------------

    def began(self, call: Call) -> None:
        """Tell that a call begins."""
        if self._watch.calls:
            self._watch.start(_start(call))

    def suspended(self, call: Call, signal: Signal) -> None:
        """Tell that a call stopped at a question; of one that the run stopped, the run's end tells."""
        kind = _kind(call)
        wanted = self._watch.calls or (kind is _WORKFLOW and self._watch.listeners)
        if wanted and isinstance(signal, Suspended):
            self._end(call, kind.interrupted, interrupts=self._execution.asked_within(call.inner.path))

    def finished(self, call: Call, result: Any) -> None:
        """Tell that a call returned, and its result is recorded."""
        if self._watch.listeners:
            self._end(call, _kind(call).finished, result=result, cached=call.cached)

    def failed(self, call: Call, error: BaseException) -> None:
        """Tell that a call failed, and its failure is recorded."""
        if self._watch.calls:
            self._end(call, _kind(call).failed, error=error)

    def cancelled(self, call: Call) -> None:
        """Tell that a call was cancelled before it began."""
        if self._watch.calls:
            self._end(call, _kind(call).cancelled)

    def _end(self, call: Call, kind: Callable[..., Ended], **what: Any) -> None:
        start = _start(call) if self._watch.calls else None
        self._watch.end(kind(**_facts(call.inner), at=self._now(), **what), start)

    def recalled(self, call: Call, outcome: Outcome, end: Callable[[], Any]) -> None:
        """Tell of a call that is on record: when it began, and what became of it. ``end`` decodes its result."""
        inner, kind = call.inner, _kind(call)
        facts = {**_facts(inner), "replayed": True, "attempt": outcome.attempts}
        start = _start(call, replayed=True)
        self._watch.start(start)
        facts["at"] = outcome.ended
        try:
            value = end()
        except Exception as error:  # noqa: BLE001 - what was recorded, or why it cannot be read
            self._watch.end(kind.failed(**facts, error=error), start)
        else:
            if outcome.cancelled:
                self._watch.end(kind.cancelled(**facts), start)
            else:
                cached = bool(outcome.cached)
                self._watch.end(kind.finished(**facts, result=value, cached=cached), start)

    def wrote(self, frame: Frame, value: Any) -> None:
        """Tell that a body or a task wrote a custom event."""
        if self._watch.listeners:
            self._watch.tell(events.CustomWritten(**_facts(frame), at=self._now(), value=value))

    # -- the body ------------------------------------------------------------------------------------------------

    def body_began(self, body: Frame, given: Any, *, again: bool) -> None:
        """Tell that the body begins, or runs ``again`` because the run goes on."""
        if self._watch.calls:
            self._watch.start(
                events.WorkflowStarted(**_facts(body), replayed=again, at=self._now(), input=given)
            )

    def body_ended(self, name: str, attempt: int, kind: Callable[..., Ended], **what: Any) -> None:
        """Tell how the body ended, and that what it left open stays so."""
        if self._watch.listeners:
            facts: dict[str, Any] = {"namespace": (), "call": "", "name": name, "at": self._now()}
            self._watch.finish(
                kind(**facts, attempt=attempt, **what), events.WorkflowStarted(**facts, input=None)
            )

    def saved(
        self,
        run: RunState,
        source: str,
        values: Any,
        tasks: tuple[TaskState, ...],
        before: str | None,
    ) -> None:
        """Tell what is on record of a run; ``before`` is the run whose result it was given as ``previous``."""
        configurable = self._execution.config.get("configurable") or {}
        thread = self._execution.thread_id

        def address(run_id: str) -> dict[str, Any]:
            return {"configurable": {**configurable, "thread_id": thread, "checkpoint_id": run_id}}

        over = run.finished is not None
        self._watch.tell(
            events.CheckpointSaved(
                namespace=(),
                call="",
                name=run.started.workflow,
                at=self._now(),
                config=address(run.id),
                metadata={"source": source, "step": -1 if source == "input" else 0, "parents": {}},
                values=values,
                next=() if over else (run.started.workflow,),
                parent_config=None if before is None else address(before),
                tasks=tuple(map(_task, tasks)),
            )
        )

    def _now(self) -> str:
        return self._execution.clock.now().isoformat()


def _task(task: TaskState) -> dict[str, Any]:
    return {
        "id": task.id,
        "name": task.name,
        "status": task.status,
        "attempts": task.attempts,
        "error": task.error,
        "interrupts": tuple({"value": asked.value, "id": asked.id} for asked in task.interrupts),
    }


def _kind(call: Call) -> Kind:
    return _TASK if call.inner.scope is call.frame.scope else _WORKFLOW


def _facts(frame: Frame) -> dict[str, Any]:
    return {
        "namespace": frame.scope.namespace,
        "call": frame.path,
        "name": frame.name,
        "attempt": frame.attempt,
    }


def _start(call: Call, *, replayed: bool = False) -> Started:
    kind = _kind(call)
    given = (call.args, dict(call.kwargs)) if kind is _TASK else call.args[0]
    return kind.started(**_facts(call.inner), replayed=replayed, at=call.began, input=given)
