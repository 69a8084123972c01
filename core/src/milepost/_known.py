"""The workflows that this process knows, by name: what recovery can go on with."""

from __future__ import annotations

import threading
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

    def go_on(self, engine: Any, checkpointer: Checkpointer, thread: str, request: Any) -> bool:
        """Carry out a request that goes on with a thread, and execute what comes of it in the background.

        False, and nothing is done, where the workflow is gone.
        """


_known: dict[str, list[weakref.ref[Known]]] = {}
_lock = threading.Lock()


def add(workflow: Known) -> None:
    """Make a workflow known; of several with one name the newest counts, as after a module was loaded again."""
    with _lock:
        alive = [known for known in _known.get(workflow.name, ()) if known() is not None]
        _known[workflow.name] = [*alive, weakref.ref(workflow)]


def known() -> dict[str, Known]:
    """Return all workflows that this process knows, by name."""
    return {name: workflow for name in list(_known) if (workflow := find(name)) is not None}


def find(name: str) -> Known | None:
    """Return the workflow of this name, or None."""
    alive = (known() for known in reversed(_known.get(name, ())))
    return next((workflow for workflow in alive if workflow is not None), None)
