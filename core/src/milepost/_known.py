"""The workflows that this process knows, by name: what recovery can go on with."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from milepost.checkpoint import Checkpointer


class Known(Protocol):
    """A workflow, as far as recovery is concerned."""

    @property
    def name(self) -> str:
        """What its threads are bound to."""

    @property
    def returns(self) -> Any:
        """The declared type of what it returns."""

    @property
    def accepts(self) -> Any:
        """The declared type of its input."""

    def backend(self, engine: Any) -> Checkpointer | None:
        """Return where its threads are on record, on an engine."""

    def adopt(self, engine: Any, checkpointer: Checkpointer, thread: str) -> None:
        """Go on with a thread's run, in this OS thread, where nobody else does; raises nothing of the run's own."""

    def go_on(self, engine: Any, checkpointer: Checkpointer, thread: str, request: Any) -> Any:
        """Carry out a request that goes on with a thread, and execute what comes of it in the background."""


_known: weakref.WeakValueDictionary[str, Known] = weakref.WeakValueDictionary()


def add(workflow: Known) -> None:
    """Make a workflow known; of two with one name the newer counts, as after a module was loaded again."""
    _known[workflow.name] = workflow


def known() -> dict[str, Known]:
    """Return all workflows that this process knows, by name."""
    return dict(_known.items())


def find(name: str) -> Known | None:
    """Return the workflow of this name, or None."""
    return _known.get(name)
