"""A proxy that passes whole requests and whole answers on, and loses, holds or cuts off those that it is told to."""

from __future__ import annotations

import itertools
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Self

from servers import HOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from wire.protocols import Protocol, Request

PATIENCE = 30.0
"""Seconds after which whoever waits here gives up, so that a test fails instead of hanging."""


class Fault(Enum):
    """What becomes of a request."""

    LOSE_ANSWER = auto()
    """The server answers, then the connection breaks before the client has a byte of it."""
    CUT_OFF = auto()
    """The connection breaks before the server has a byte of the request."""
    HOLD_ANSWER = auto()
    """The server answers, and the client gets it when it is let go, if it still waits."""
    HOLD_REQUEST = auto()
    """The server gets it when it is let go, whether the client still waits or not."""


@dataclass
class Trap:
    """Waits for a request to which something is to happen, once."""

    matches: Callable[[Request], bool]
    fault: Fault
    sprung: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def release(self) -> None:
        """Let go what is held, and return when it has been passed on, or found that nobody waits for it."""
        self.let_go.set()
        assert self.over.wait(PATIENCE)


class Proxy:
    """Listens on a port of its own for one server; counts requests and may do harm to each."""

    def __init__(self, protocol: Protocol, port: int) -> None:
        self.requests: list[Request] = []
        self._protocol = protocol
        self._server = (HOST, port)
        self._numbers = itertools.count()
        self._traps: list[Trap] = []
        self._changed = threading.Condition()
        self._open: dict[int, list[socket.socket]] = {}
        self._listener = _listening(0)
        self.port: int = self._listener.getsockname()[1]
        self._serve()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for trap in self._traps:
            trap.let_go.set()
        self.refuse()

    # -- what tests ask for ----------------------------------------------------------------------------------------

    def set_trap(self, fault: Fault, matches: Callable[[Request], bool]) -> Trap:
        """Do this to the next request that matches."""
        trap = Trap(matches, fault)
        with self._changed:
            self._traps.append(trap)
        return trap

    def refuse(self) -> None:
        """Break all connections, and take no new ones."""
        with self._changed:
            self._listener.close()
            for side in itertools.chain.from_iterable(self._open.values()):
                with suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
        self.until_idle()

    def accept(self) -> None:
        """Take connections again."""
        self._listener = _listening(self.port)
        self._serve()

    def until_idle(self) -> None:
        """Return when no connection is open any more."""
        with self._changed:
            assert self._changed.wait_for(lambda: not self._open, PATIENCE), f"{len(self._open)} are open"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        with self._changed:
            return len(self._open)

    # -- one thread that listens, and one for each connection ------------------------------------------------------

    def _serve(self) -> None:
        threading.Thread(target=self._listen, args=(self._listener,), daemon=True).start()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            number = next(self._numbers)
            with self._changed:
                if listener.fileno() < 0:
                    client.close()
                    return
                self._open[number] = [client]
            threading.Thread(target=self._attend, args=(number, client), daemon=True).start()

    def _attend(self, number: int, client: socket.socket) -> None:
        try:
            with client, socket.create_connection(self._server, timeout=PATIENCE) as server:
                self._open[number].append(server)
                self._pass_on(client, server)
        except OSError:
            pass  # one side has gone: so has the other now
        finally:
            with self._changed:
                del self._open[number]
                self._changed.notify_all()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with client.makefile("rb") as requests, server.makefile("rb") as answers:
            while (request := self._protocol.read_request(requests, client)) is not None:
                trap = self._trap(request)
                try:
                    if not self._exchange(request, trap, client, server, answers):
                        return
                finally:
                    if trap is not None:
                        trap.over.set()

    def _exchange(self, request: Request, trap: Trap | None, client, server, answers) -> bool:
        """Pass a request on and its answer back; return whether the connection stays."""
        fault = None if trap is None else trap.fault
        if fault is Fault.CUT_OFF:
            return False
        if trap is not None and fault is Fault.HOLD_REQUEST:
            trap.let_go.wait(PATIENCE)
        server.sendall(request.data)
        for answer in self._protocol.read_answers(answers, request):
            if trap is not None and fault is Fault.HOLD_ANSWER:
                trap.let_go.wait(PATIENCE)
            if fault is Fault.LOSE_ANSWER:
                return False
            client.sendall(answer)
        return True

    def _trap(self, request: Request) -> Trap | None:
        if not request.counts:
            return None
        with self._changed:
            self.requests.append(request)
            for trap in self._traps:
                if not trap.sprung.is_set() and trap.matches(request):
                    trap.sprung.set()
                    return trap
        return None


def _listening(port: int) -> socket.socket:
    return socket.create_server((HOST, port))
