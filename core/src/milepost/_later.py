"""Modules that load when they are first used: what runs a workflow is not needed to declare one.

::

    if TYPE_CHECKING:
        from milepost import _run
    else:
        _run = later("_run")

The first ``_run.Execution`` imports the module, under the interpreter's own locks and with its own errors. Type
checkers and the import contracts see an ordinary import.
"""

from __future__ import annotations

from importlib import import_module


class Later:
    """Stands for a module until and after it is loaded; what is asked of it is asked of the module."""

    __slots__ = ("_module", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: object = None

    def __getattr__(self, name: str) -> object:
        if self._module is None:
            self._module = import_module(self._name)
        return getattr(self._module, name)


def later(name: str) -> Later:
    """Return what stands for the module of milepost with this name."""
    return Later(f"milepost.{name}")
