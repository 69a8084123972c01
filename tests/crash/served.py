"""A memory that survives the processes that use it: memory drivers in a server, their hooks called over a socket.

As a program it serves on the socket that it is given until its input ends.
"""

from __future__ import annotations

import pickle
import socket
import socketserver
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from crash.interpreters import environment
from milepost.checkpoint import Checkpointer
from milepost.drivers import register_driver
from milepost.errors import StorageError, StorageUnavailable
from milepost.memory import MemoryCheckpointer
from milepost.url import URL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FORGET = "forget"
SETTLE = "settle"


# -- the client ------------------------------------------------------------------------------------------------------


def ask(address: str, *question: Any) -> Any:
    """Send one question over a connection of its own; return the answer, or raise it."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        connection.sendall(pickle.dumps(question))
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            error, answer = pickle.load(stream)
    if error is not None:
        raise error(**answer)
    return answer


def _elsewhere(hook: str) -> Callable[..., Any]:
    def call(self: ServedCheckpointer, *args: Any) -> Any:
        try:
            return ask(self.address, hook, self.place, *args)
        except (OSError, EOFError) as error:
            raise StorageUnavailable(f"{self.address} gives no answer: {error}") from error

    return call


class ServedCheckpointer(Checkpointer):
    """The memory driver of a place as a server keeps it: ``served:///path/to/socket/place``, options as of memory."""

    def __init__(self, address: str, place: URL) -> None:
        self.address, self.place = address, place
        self.capabilities = MemoryCheckpointer.from_url(place).capabilities

    @classmethod
    def from_url(cls, url: URL) -> ServedCheckpointer:
        address, _, name = url.path.rpartition("/")
        return cls(address, URL(scheme="memory", netloc=name, query=url.query))

    _append = _elsewhere("_append")
    _read = _elsewhere("_read")
    _tail = _elsewhere("_tail")
    _load_head = _elsewhere("_load_head")
    _swap_head = _elsewhere("_swap_head")
    _list_heads = _elsewhere("_list_heads")
    _prune = _elsewhere("_prune")
    _delete = _elsewhere("_delete")


register_driver("checkpointer", "served", ServedCheckpointer)


# -- the server ------------------------------------------------------------------------------------------------------


class _Memory(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: str) -> None:
        super().__init__(address, _Call)
        self.places: dict[str, MemoryCheckpointer] = {}
        self._quiet = threading.Condition()
        self._asked: list[object] = []

    def process_request(self, request, client_address) -> None:
        with self._quiet:
            self._asked.append(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        with self._quiet:
            self._asked.remove(request)
            self._quiet.notify_all()
        super().shutdown_request(request)

    def settle(self, own: object) -> None:
        """Wait until all that was asked before is carried out: whoever asked may be dead by now."""
        with self._quiet:
            before = self._asked[: self._asked.index(own)]
            self._quiet.wait_for(lambda: not any(request in self._asked for request in before))

    def answer(self, hook: str, place: URL, *args: Any) -> Any:
        """Carry a hook out on the driver of a place; a place that nobody named before is empty."""
        if hook == FORGET:
            return self.places.pop(place.netloc, None) and None
        driver = self.places.get(place.netloc)
        if driver is None:  # of two that come first, both get the same
            driver = self.places.setdefault(place.netloc, MemoryCheckpointer.from_url(place))
        return getattr(driver, hook)(*args)


class _Call(socketserver.StreamRequestHandler):
    server: _Memory

    def handle(self) -> None:
        try:
            question = pickle.load(self.rfile)
        except EOFError:
            return  # killed before it asked
        try:
            if question == (SETTLE,):
                self.server.settle(self.request)
                answer: tuple[Any, Any] = (None, None)
            else:
                answer = (None, self.server.answer(*question))
        except StorageError as error:
            answer = (type(error), vars(error))
        with suppress(OSError):  # whoever asked may be dead by now
            self.wfile.write(pickle.dumps(answer))


@contextmanager
def remembering(folder: Path) -> Iterator[str]:
    """Run a server for a block; give its address."""
    address = folder / "socket"
    with subprocess.Popen(
        [sys.executable, "-m", "crash.served", str(address)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        yield str(address)
        process.stdin.close()


def serve(address: str) -> None:
    """Answer until standard input ends."""
    with _Memory(address) as memory:
        threading.Thread(target=memory.serve_forever, daemon=True).start()
        print("ready", flush=True)
        sys.stdin.read()
        memory.shutdown()


if __name__ == "__main__":
    serve(sys.argv[1])
