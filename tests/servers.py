"""Storage servers for tests: independently written, on loopback, started here and stopped by their process ids.

``ministack`` speaks S3, ``secantusd-rs`` MongoDB. Both keep what they acknowledge on disk, so both may be killed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

PATIENCE = 60.0
"""Seconds that a server may take until it answers."""
HOST = "127.0.0.1"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}
"""What boto3 finds in the environment instead of what this machine may have for the real service."""


def program(name: str) -> Path | None:
    """Return the path of a program of this environment, None where it is not installed."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    return None if found is None else Path(found)


class Server:
    """A server's process on a port of its own, with a folder that outlives it."""

    program: str
    forks = False
    """Whether it has processes of its own, which then make a group that can be ended as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, path: Path) -> list[str]:
        """Return what starts the server."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return the variables that the server reads."""
        return {}

    def start(self) -> Self:
        """Start the process and return when it answers."""
        path = program(self.program)
        if path is None:
            raise FileNotFoundError(f"{self.program} is not installed in this environment")
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(path),
                env=os.environ | self.environment(),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=self.forks,
            )
        self._await()
        return self

    def _await(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            with suppress(OSError), socket.create_connection((HOST, self.port), timeout=1):
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.02)
        log = (self.folder / "server.log").read_text(errors="replace")[-2000:]
        self.kill()
        raise RuntimeError(f"{self.program} does not answer on port {self.port}:\n{log}")

    def kill(self, with_signal: int = signal.SIGKILL) -> None:
        """End the process and return when it is gone; the folder stays."""
        if self._process is not None:
            self._process.send_signal(with_signal)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop the process where it is, until :meth:`thaw`; all its threads stand still when this returns."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


class S3Server(Server):
    """``ministack``, keeping objects on disk."""

    program = "ministack"
    bucket = "milepost"

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    def command(self, path: Path) -> list[str]:
        return [str(path)]

    def environment(self) -> dict[str, str]:
        return {
            "GATEWAY_PORT": str(self.port),
            "BIND_HOST": HOST,
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.folder / "s3"),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.folder / "state"),
            "LOG_LEVEL": "WARNING",
        }

    def start(self) -> Self:
        super().start()
        client = self.client()
        with suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=self.bucket)
        return self

    def client(self):
        """Return a client of this server."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def url(self, name: str, options: str = "") -> str:
        """Return the driver URL of a place in the bucket."""
        return f"s3://{self.bucket}/{name}?endpoint_url={self.endpoint}&region=us-east-1{options}"


class MongoServer(Server):
    """``secantusd-rs``, which syncs each write to disk before it acknowledges it."""

    program = "secantusd-rs"

    def command(self, path: Path) -> list[str]:
        options = ["--host", HOST, "--port", str(self.port), "--storage-path", str(self.folder / "data")]
        return [
            str(path), *options, "--sync-on-commit", "--log-file-max", "128MB", "--cache-size", "512M",
            "--log-level", "WARNING",
        ]  # fmt: skip

    def client(self):
        """Return a client of this server."""
        import pymongo

        return pymongo.MongoClient(HOST, self.port)

    def url(self, name: str, options: str = "") -> str:
        """Return the driver URL of a database."""
        return f"mongodb://{HOST}:{self.port}/{name}{'?' if options else ''}{options.lstrip('&')}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
