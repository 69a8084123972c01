"""What a run tells those who watch it.  (layer 3)

``namespace`` names the nested workflow an event belongs to: ``()`` is the run's own body, ``("inner:3",)`` the workflow
``inner`` that call 3 invoked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from milepost.question import Interrupt

Namespace: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished:
    """A task returned and its result is recorded."""

    namespace: Namespace
    call: str
    name: str
    result: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomWritten:
    """A body or a task wrote to its :class:`~milepost.StreamWriter`."""

    namespace: Namespace
    call: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInterrupted:
    """The run pauses with these questions."""

    namespace: Namespace
    interrupts: tuple[Interrupt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFinished:
    """A workflow returned and, at the top, its result is recorded."""

    namespace: Namespace
    name: str
    result: Any


Event: TypeAlias = TaskFinished | CustomWritten | RunInterrupted | WorkflowFinished
