"""Where a request and its answer begin and end on the wire: HTTP as S3 clients speak it, and MongoDB's messages."""

from __future__ import annotations

import http.client
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING
from typing import Protocol as Shape

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from typing import BinaryIO


@dataclass(frozen=True, slots=True)
class Request:
    """A request in full. ``verb`` is an HTTP method or a MongoDB command; ``counts`` if a driver asked for it."""

    verb: str
    target: str
    data: bytes
    counts: bool = True
    answered: bool = True

    def __str__(self) -> str:
        return f"{self.verb} {self.target}"


class Protocol(Shape):
    """Tells one request from the next."""

    def read_request(self, stream: BinaryIO, client: socket.socket) -> Request | None:
        """Return the next request in full; None where the client has closed the connection."""

    def read_answers(self, stream: BinaryIO, request: Request) -> Iterator[bytes]:
        """Yield what the server says to a request, an answer at a time."""


class HTTP:
    """HTTP/1.1 with bodies of a known length."""

    def read_request(self, stream: BinaryIO, client: socket.socket) -> Request | None:
        line = stream.readline()
        if not line:
            return None
        verb, target, _ = line.decode("latin-1").split(" ", 2)
        headers = http.client.parse_headers(stream)
        assert "Transfer-Encoding" not in headers, "the length of this request is not known"
        if headers["Expect"] is not None:
            del headers["Expect"]  # the proxy wants the whole request before it passes on any of it
            client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = stream.read(int(headers.get("Content-Length", "0")))
        return Request(verb, target, line + _lines(headers) + body)

    def read_answers(self, stream: BinaryIO, request: Request) -> Iterator[bytes]:
        answer = http.client.HTTPResponse(_Readable(stream), method=request.verb)
        answer.begin()
        body = answer.read()
        headers = answer.msg
        if request.verb != "HEAD":
            del headers["Transfer-Encoding"], headers["Content-Length"]
            headers["Content-Length"] = str(len(body))
        yield f"HTTP/1.1 {answer.status} {answer.reason}\r\n".encode("latin-1") + _lines(headers) + body


class _Readable:
    """What http.client takes for a socket."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def makefile(self, _mode: str) -> BinaryIO:
        return _Unclosed(self._stream)  # type: ignore[return-value]


class _Unclosed:
    """The stream of a connection that outlives one answer."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def close(self) -> None:
        """Leave it open."""


def _lines(headers: http.client.HTTPMessage) -> bytes:
    text = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{text}\r\n".encode("latin-1")


class Mongo:
    """MongoDB's wire protocol. What clients say on their own account, to find out who is there, does not count."""

    _HEADER = struct.Struct("<iiii")
    _OP_MSG = 2013
    _MORE_TO_COME = 2
    _OWN_ACCOUNT = frozenset({"hello", "ismaster", "isMaster", "endSessions", "ping", "buildInfo"})

    def read_request(self, stream: BinaryIO, client: socket.socket) -> Request | None:
        data = self._message(stream)
        if data is None:
            return None
        code = self._HEADER.unpack(data[:16])[3]
        if code != self._OP_MSG:
            return Request("hello", "", data, counts=False)  # only the very first message is an OP_QUERY
        verb, target = self._command(data)
        return Request(
            verb,
            target,
            data,
            counts=verb not in self._OWN_ACCOUNT,
            answered=not self._flags(data) & self._MORE_TO_COME,
        )

    def read_answers(self, stream: BinaryIO, request: Request) -> Iterator[bytes]:
        more = request.answered
        while more:
            data = self._message(stream)
            if data is None:
                raise ConnectionResetError
            yield data
            code = self._HEADER.unpack(data[:16])[3]
            more = code == self._OP_MSG and bool(self._flags(data) & self._MORE_TO_COME)

    def _message(self, stream: BinaryIO) -> bytes | None:
        size = stream.read(4)
        if len(size) < 4:
            return None
        rest = stream.read(struct.unpack("<i", size)[0] - 4)
        return size + rest

    def _flags(self, data: bytes) -> int:
        flags: int = struct.unpack_from("<I", data, 16)[0]
        return flags

    def _command(self, data: bytes) -> tuple[str, str]:
        """Return a command's name and its collection: the first element of the first document of a message."""
        assert data[20] == 0, "the command does not come first"
        start = 21 + 4  # after the kind of the section and the length of the document
        end = data.index(b"\0", start + 1)
        name = data[start + 1 : end].decode()
        if data[start] != 2:  # the value is no string
            return name, ""
        size = struct.unpack_from("<i", data, end + 1)[0]
        return name, data[end + 5 : end + 4 + size].decode()


PROTOCOLS: dict[str, Protocol] = {"s3": HTTP(), "mongodb": Mongo()}
