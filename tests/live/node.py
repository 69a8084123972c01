"""A service made of several programs of this machine: in a temporary folder, on loopback, stopped by process id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from servers import HOST

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE = 90.0
"""Seconds that a program may take until it answers."""
_LAST_WORDS = 20.0
"""Seconds that a program has to end when asked to."""


class Missing(Exception):
    """Programs are not installed; the text says how to get them."""


class Node:
    """Starts programs one after the other, and stops them in reverse order."""

    programs: tuple[str, ...]
    packages: tuple[str, ...]
    """Where Debian and its descendants keep the programs."""
    access_key: str
    secret_key: str
    bucket = "milepost"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    @classmethod
    def check(cls) -> None:
        """Raise :class:`Missing` unless every program is installed."""
        absent = [program for program in cls.programs if shutil.which(program) is None]
        if absent:
            raise Missing(
                f"not installed: {', '.join(absent)}. On Debian: "
                f"apt-get install --no-install-recommends {' '.join(cls.packages)}"
            )

    @property
    def endpoint(self) -> str:
        """Where it speaks S3."""
        return f"http://{HOST}:{self.port}"

    def url(self, name: str) -> str:
        """Return the driver URL of a place in the bucket."""
        return f"s3://{self.bucket}/{name}?endpoint_url={self.endpoint}&region=us-east-1"

    def client(self):
        """Return a boto3 client of this service."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )

    def start(self) -> Self:
        """Start everything, and return when it answers; stop what has begun if that fails."""
        self.check()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self.start_programs()
        except BaseException:
            self.stop()
            raise
        return self

    def start_programs(self) -> None:
        """Write what the programs read, and start them in order."""
        raise NotImplementedError

    def spawn(self, name: str, *command: str) -> None:
        """Start a program; what it says goes to a file named after it."""
        with (self.folder / f"{name}.out").open("ab") as out:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=self.folder
            )
        self._running.append((name, process))

    def run(self, *command: str) -> str:
        """Run a program to its end and return what it printed."""
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-2000:]}")
        return done.stdout

    def until(self, ready: Callable[[], bool], what: str) -> None:
        """Return when this is true, which the program started last is to bring about."""
        name, process = self._running[-1]
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / f"{name}.out").read_text(errors="replace")
                raise RuntimeError(f"{name}: {what} did not come about:\n{said[-2000:]}")
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)

    def until_listening(self, port: int) -> None:
        """Return when somebody listens on a port."""

        def listening() -> bool:
            with suppress(OSError), socket.create_connection((HOST, port), timeout=1):
                return True
            return False

        self.until(listening, f"an answer on port {port}")

    def stop(self) -> None:
        """End the programs, the last one first, each before the one it needs."""
        while self._running:
            _, process = self._running.pop()
            process.terminate()
            try:
                process.wait(_LAST_WORDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    """Return a port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def settings(sections: dict[str, dict[str, object]]) -> str:
    """Return the text of a configuration file in INI form."""
    lines = []
    for section, values in sections.items():
        lines += [f"[{section}]", *(f"{name} = {value}" for name, value in values.items()), ""]
    return "\n".join(lines)


def owner() -> str:
    """Return the name of the user who runs this."""
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
