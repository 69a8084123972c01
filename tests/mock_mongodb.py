"""MongoDB inside this process: mongomock on one store, behind one lock, so that its operations are atomic."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import mongomock
from mongomock.store import ServerStore

from milepost_mongodb import _client

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDALONE = {"isWritablePrimary": True, "ok": 1.0}
REPLICA_SET = STANDALONE | {"setName": "rs0"}

_LISTS = frozenset({"find", "list_indexes"})
_numbers = itertools.count()


class Serial:
    """Passes everything on to what it wraps, one call at a time, and lets no cursor outlive the lock."""

    def __init__(self, wrapped: Any, server: MockServer) -> None:
        self._wrapped = wrapped
        self._server = server

    def __getitem__(self, name: str) -> Serial:
        return Serial(self._wrapped[name], self._server)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._wrapped, name)
        if isinstance(found, (mongomock.Collection, mongomock.Database)):
            return Serial(found, self._server)
        if not callable(found):
            return found

        def call(*args: Any, **keywords: Any) -> Any:
            with self._server.lock:
                hello = (name, args) == ("command", ("hello",))
                answer = self._server.hello if hello else found(*args, **keywords)
                if isinstance(answer, (mongomock.Collection, mongomock.Database)):
                    return Serial(answer, self._server)
                return list(answer) if name in _LISTS else answer

        return call


class MockServer:
    """What all clients of one mocked server share."""

    def __init__(self, hello: dict[str, Any]) -> None:
        self.hello = hello
        self.lock = threading.RLock()
        self.store = ServerStore()

    def client(self, *_: object, **__: object) -> Any:
        """Return a client of this server, whatever it is asked to connect to."""
        return Serial(mongomock.MongoClient(_store=self.store), self)


@contextmanager
def serving(hello: dict[str, Any] | None = None) -> Iterator[MockServer]:
    """Let every driver that opens a URL in this process meanwhile use one and the same mocked server."""
    server = MockServer(STANDALONE if hello is None else hello)
    with mock.patch.object(_client, "make_client", server.client):
        yield server


@contextmanager
def mocked() -> Iterator[str]:
    """Yield the URL of a fresh database, which is on a mocked server while the context lasts."""
    with serving():
        yield f"mongodb://mocked.invalid/mocked{next(_numbers)}"
