"""Backends for tests, by name: each gives the URL of a fresh place, which everybody who opens that URL shares.

``MILEPOST_TEST_BACKENDS`` names those that suites run on, separated by commas; by default all of them.
"""

from __future__ import annotations

import itertools
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from servers import MongoServer, S3Server, Server, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("memory", "memory-split", "sqlite", "s3", "mongodb")
SERVERS: dict[str, type[S3Server | MongoServer]] = {"s3": S3Server, "mongodb": MongoServer}
CHOSEN = tuple(
    name for name in NAMES if name in os.environ.get("MILEPOST_TEST_BACKENDS", ",".join(NAMES)).split(",")
)
THOROUGH = "MILEPOST_TEST_THOROUGH" in os.environ
"""Whether tests that try everything in turn do so on storage servers too, where each request takes milliseconds."""
SPLIT = "atomic_head=false&checked_tail=false"
"""The options with which the memory driver is the model of S3 and MongoDB."""


class Backends:
    """Gives out URLs; starts a server when the first URL of its kind is asked for, and stops it in the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._servers: dict[str, Server] = {}
        self._numbers = itertools.count()

    def server(self, name: str) -> S3Server | MongoServer:
        """Return the running server of this kind. One that is not installed skips at home and fails in CI."""
        if name not in self._servers:
            kind = SERVERS[name]
            if program(kind.program) is None and "CI" not in os.environ:
                pytest.skip(f"{kind.program} is not installed; nox -s tests installs it")
            self._servers[name] = kind(self._folder / name).start()
        return self._servers[name]  # type: ignore[return-value]

    @contextmanager
    def fresh(self, name: str, folder: Path, *, synchronous: str = "normal") -> Iterator[str]:
        """Give the URL of a place where nothing is yet; ``folder`` is for files."""
        place = f"t{os.getpid()}-{next(self._numbers)}"
        if name in SERVERS:
            server = self.server(name)
            yield server.url(place)
            if isinstance(server, MongoServer):
                with server.client() as client:
                    client.drop_database(place)
            return
        yield {
            "memory": f"memory://{place}",
            "memory-split": f"memory://{place}?{SPLIT}",
            "sqlite": f"sqlite:///{folder}/{place}.db?synchronous={synchronous}",
        }[name]

    def stop(self) -> None:
        """Stop what was started."""
        for server in self._servers.values():
            server.kill()
        self._servers.clear()


def pace(name: str) -> int:
    """Return one of how many rounds a test makes that tries everything in turn: each, but few on a slow server."""
    return 1 if THOROUGH else {"s3": 48, "mongodb": 32}.get(name, 1)


def parametrized(names: tuple[str, ...] = CHOSEN) -> list[object]:
    """Return backends as parameters of a fixture; those over a wire carry the mark ``wire``."""
    return [pytest.param(name, marks=[pytest.mark.wire] if name in SERVERS else []) for name in names]
