"""What must not cross a fork: a value made anew in each process.

The process id is compared at every access. ``os.register_at_fork`` alone is not enough: it does not fire under every
server (uWSGI forks in C).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class PerProcess(Generic[T]):
    """One value per process, made by ``factory`` at the first access in that process.

    A parent's value stays referenced in the child and is never finalised there: closing a SQLite connection in a
    forked child would drop the parent's locks.
    """

    __slots__ = ("_factory", "_values")

    def __init__(self, factory: Callable[[], T]) -> None:
        self._factory = factory
        self._values: dict[int, T] = {}

    def get(self) -> T:
        """Return this process's value; of two threads that come first, both get the same."""
        pid = os.getpid()
        try:
            return self._values[pid]
        except KeyError:
            return self._values.setdefault(pid, self._factory())

    def peek(self) -> T | None:
        """Return this process's value if there is one."""
        return self._values.get(os.getpid())
