"""A server, a proxy before it, and drivers that reach it through the proxy or around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from milepost import open_checkpointer
from milepost.checkpoint import Abandoned, Batch, Checkpointer, Head, Status

if TYPE_CHECKING:
    from servers import MongoServer, S3Server
    from wire.protocols import Request
    from wire.proxy import Fault, Proxy, Trap

TIMEOUTS = {
    "s3": "&timeout={seconds}",
    "mongodb": "&milepost.timeout={seconds}&socketTimeoutMS={milliseconds}",
}
"""How long a driver waits for an answer."""
ONCE = {"s3": "&attempts=1", "mongodb": "&retryWrites=false&retryReads=false"}
"""What keeps the client library from sending anything again, so that milepost alone does."""
PROXIED = {"s3": "", "mongodb": "&directConnection=true&serverMonitoringMode=poll"}
"""What keeps a client from asking the server for its address, which leads around the proxy, and from waiting there."""


@dataclass
class Line:
    """One place on a server; ``open`` gives drivers of it whose requests go through ``proxy``."""

    name: str
    server: S3Server | MongoServer
    proxy: Proxy
    place: str
    opened: list[Checkpointer] = field(default_factory=list)

    def url(self, *, timeout: float, retries: bool) -> str:
        """Return the URL of the place by way of the proxy."""
        options = PROXIED[self.name] + ("" if retries else ONCE[self.name])
        options += TIMEOUTS[self.name].format(seconds=timeout, milliseconds=round(timeout * 1000))
        return self.server.url(self.place, options).replace(f":{self.server.port}", f":{self.proxy.port}")

    def open(self, *, timeout: float = 10.0, pauses: bool = False, retries: bool = False) -> Checkpointer:
        """Return a driver behind the proxy, connected.

        ``timeout`` is in seconds; with ``pauses`` milepost waits before it sends again; with ``retries`` the client
        library sends again by itself too, as it does by default.
        """
        driver = open_checkpointer(self.url(timeout=timeout, retries=retries))
        self.opened.append(driver)
        if not pauses:
            driver._pause = lambda seconds: None  # type: ignore[method-assign]
        return driver.open()

    def around(self) -> Checkpointer:
        """Return a driver that goes around the proxy, and so sees what is there."""
        driver = open_checkpointer(self.server.url(self.place))
        self.opened.append(driver)
        return driver

    def trap_append(self, fault: Fault) -> Trap:
        """Do this to the next request that writes a batch."""
        return self.proxy.set_trap(fault, self.writes_batch)

    def trap_swap(self, fault: Fault) -> Trap:
        """Do this to the next request that writes a head."""
        return self.proxy.set_trap(fault, self.writes_head)

    def writes_batch(self, request: Request) -> bool:
        """Tell whether a request is an append."""
        return request.verb in ("PUT", "insert") and (
            "journals/" in request.target or "batches" in request.target
        )

    def writes_head(self, request: Request) -> bool:
        """Tell whether a request sets a head."""
        return request.verb in ("PUT", "insert", "update") and "heads" in request.target


def batch(name: str) -> Batch:
    """Return a small batch with this id."""
    return Batch(id=name, records=(Abandoned(at="2030-01-01T00:00:00Z", run="r"),))


def head(thread: str, version: int, nonce: str) -> Head:
    """Return a small head."""
    return Head(
        thread=thread, version=version, nonce=nonce, status=Status.RUNNING, workflow="w", run=0, updated="now"
    )


def ids(driver: Checkpointer, thread: str) -> list[str]:
    """Return the ids of a thread's batches, in order; there is no gap."""
    found = list(driver.read(thread))
    assert [position for position, _ in found] == list(range(len(found)))
    return [batch.id for _, batch in found]
