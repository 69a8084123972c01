"""The backends that crash tests run on, each set up when a test first asks for it, and which tests run on which."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import pytest

from backends import CHOSEN, Backends, parametrized
from crash.enumeration import Lane
from crash.places import S3, Memory, MongoDB, SQLite
from crash.served import remembering

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crash.forkserver import ForkServer, FreshInterpreters
    from crash.places import Ground

INSIDE = {"memory": "sent", "sqlite": "uncommitted", "s3": "sent", "mongodb": "sent"}
"""The stage at which a write has begun and is not answered."""
NAMES = tuple(INSIDE)
SHARING = 2
"""How many S3 servers share the load: one is a single Python process."""


def on(*names: str) -> pytest.MarkDecorator:
    """Run a test on these backends; those over a wire carry the mark ``wire``."""
    return pytest.mark.parametrize("backend", parametrized(tuple(name for name in names if name in CHOSEN)))


class Grounds:
    """Gives lanes on a backend, and closes what it set up for them."""

    def __init__(self, backends: Backends, folders: pytest.TempPathFactory) -> None:
        self._backends = backends
        self._folders = folders
        self._stack = ExitStack()
        self._ready: dict[str, list[Ground]] = {}
        self._make: dict[str, Callable[[], list[Ground]]] = {
            "memory": self._memory,
            "sqlite": self._sqlite,
            "s3": self._s3,
            "mongodb": self._mongodb,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def get(self, name: str) -> Ground:
        """Return a backend."""
        return self._all(name)[0]

    def lanes(self, name: str, servers: Sequence[ForkServer | FreshInterpreters]) -> list[Lane]:
        """Return a lane on a backend for each server of processes."""
        grounds = self._all(name)
        return [Lane(server, grounds[number % len(grounds)]) for number, server in enumerate(servers)]

    def _all(self, name: str) -> list[Ground]:
        if name not in self._ready:
            self._ready[name] = self._make[name]()
        return self._ready[name]

    def _memory(self) -> list[Ground]:
        return [Memory(self._stack.enter_context(remembering(self._folders.mktemp("memory"))))]

    def _sqlite(self) -> list[Ground]:
        return [SQLite(self._folders.mktemp("sqlite"))]

    def _s3(self) -> list[Ground]:
        more = [Backends(self._folders.mktemp("s3")) for _ in range(1, SHARING)]
        for backends in more:
            self._stack.callback(backends.stop)
        grounds = [S3(backends.server("s3")) for backends in (self._backends, *more)]
        for ground in grounds:
            self._stack.callback(ground.close)
        return grounds

    def _mongodb(self) -> list[Ground]:
        ground = MongoDB(self._backends.server("mongodb"))
        self._stack.callback(ground.close)
        return [ground]
