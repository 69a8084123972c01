"""Web servers for tests: gunicorn and uWSGI on loopback, started here in a group of their own, which ends with them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from crash.interpreters import environment
from servers import HOST, PATIENCE, Server, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).resolve().parent
LONGEST = 10.0
"""Seconds within which every request must be answered, and a server must have ended after SIGTERM."""


def until(condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """Return what a condition gives once it is true; it is asked again and again."""
    deadline, pause = time.monotonic() + patience, threading.Event()
    while not (given := condition()):
        assert time.monotonic() < deadline, f"after {patience} s: {what}"
        pause.wait(0.02)
    return given


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    code: int
    headers: dict[str, str]
    body: Any

    @property
    def worker(self) -> int:
        """The process that answered."""
        return int(self.headers["X-Worker"])


class WebServer(Server):
    """A web server with an application, its variables and options; the workers are in its process group."""

    forks = True

    def __init__(self, folder: Path, application: str, *options: str, **variables: str) -> None:
        super().__init__(folder)
        self.application = application
        self.options = options
        self.variables = variables
        self.slowest = 0.0

    def environment(self) -> dict[str, str]:
        return environment() | self.variables

    def start(self) -> Self:
        if program(self.program) is None and "CI" not in os.environ:
            pytest.skip(f"{self.program} is not installed; nox -s tests installs it")
        return super().start()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that was started: the parent of the workers."""
        assert self._process is not None
        return self._process

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the parent of the workers."""
        self.process.send_signal(number)

    def stop(self) -> float:
        """End it with SIGTERM, as a supervisor does, and return how many seconds it took."""
        begun = time.monotonic()
        self.send(signal.SIGTERM)
        try:
            self.process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            pytest.fail(f"{self.program} did not end within {LONGEST} s of SIGTERM:\n{self.log()}")
        finally:
            self.kill()
        return time.monotonic() - begun

    def kill(self, with_signal: int = signal.SIGKILL) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, with_signal)
            self._process.wait()
            self._process = None

    def log(self) -> str:
        """Return what it wrote last."""
        return (self.folder / "server.log").read_text(errors="replace")[-4000:]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request on a connection of its own and return the answer."""
        line = HTTPConnection(HOST, self.port, timeout=LONGEST)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        begun = time.monotonic()
        try:
            line.request(
                method,
                path,
                body=None if body is None else json.dumps(body),
                headers={"Content-Type": "application/json", **given},
            )
            response = line.getresponse()
            text = response.read()
            told = json.loads(text) if response.headers.get_content_type() == "application/json" else text
            return Answer(response.status, dict(response.headers), told)
        finally:
            line.close()
            self.slowest = max(self.slowest, time.monotonic() - begun)

    def insist(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request again while a server that changes its workers drops the connection; a hang is not accepted."""

        def once() -> Answer | None:
            try:
                return self.ask(method, path, body, **headers)
            except TimeoutError:
                pytest.fail(f"{method} {path} was not answered within {LONGEST} s:\n{self.log()}")
            except (OSError, HTTPException):
                return None

        answer: Answer = until(once, f"{method} {path} is answered")
        return answer

    def workers(self) -> set[int]:
        """Return the processes whose parent is the server's."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return {int(each) for each in children.read_text().split()}


class Gunicorn(WebServer):
    """gunicorn with an application."""

    program = "gunicorn"

    def command(self, path: Path) -> list[str]:
        options = ["--bind", f"{HOST}:{self.port}", "--no-control-socket", "--graceful-timeout", "8"]
        return [str(path), *options, *self.options, self.application]


class UWSGI(WebServer):
    """uWSGI with an application; SIGTERM ends it as a reload ends its workers: they may come to their end."""

    program = "uwsgi"

    def command(self, path: Path) -> list[str]:
        options = [
            "--http-socket", f"{HOST}:{self.port}", "--master", "--need-app",
            "--hook-master-start", "unix_signal:15 gracefully_kill_them_all",
            "--module", self.application, "--home", sys.prefix,
            "--worker-reload-mercy", "8", "--reload-mercy", "8",
        ]  # fmt: skip
        return [str(path), *options, *self.options]


@contextmanager
def served(server: WebServer) -> Iterator[WebServer]:
    """Run a server for a block; whatever happens there, its processes are gone afterwards."""
    try:
        yield server.start()
    finally:
        server.kill()
