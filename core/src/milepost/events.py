"""What a run tells those who watch it.  (layer 3)

``namespace`` names the nested workflow an event belongs to: ``()`` is the run's own body, ``("inner:3",)`` the workflow
``inner`` that call 3 invoked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from milepost._struct import Struct

if TYPE_CHECKING:
    from milepost.question import Interrupt

Namespace: TypeAlias = tuple[str, ...]


class TaskFinished(Struct):
    """A task returned and its result is recorded."""

    namespace: Namespace
    call: str
    name: str
    result: Any


class CustomWritten(Struct):
    """A body or a task wrote to its :class:`~milepost.StreamWriter`."""

    namespace: Namespace
    call: str
    value: Any


class RunInterrupted(Struct):
    """The run pauses with these questions."""

    namespace: Namespace
    interrupts: tuple[Interrupt, ...]


class WorkflowFinished(Struct):
    """A workflow returned and, at the top, its result is recorded."""

    namespace: Namespace
    name: str
    result: Any


Event: TypeAlias = TaskFinished | CustomWritten | RunInterrupted | WorkflowFinished
