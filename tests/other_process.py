"""A Python program in a process of its own, that tests talk with line by line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from typing import Self

PATIENCE = (
    90.0  # seconds after which a child that does not end is killed, so that its test fails instead of hanging
)

PRELUDE = """
import os, signal, sys, threading
from collections import defaultdict
import milepost
from milepost import Command, entrypoint, interrupt, task

def make_engine(**options):
    options.setdefault("workers", int(os.environ.get("MILEPOST_TEST_WORKERS", "4")))
    return milepost.Engine(replay_always=os.environ.get("MILEPOST_TEST_REPLAY") == "always", **options)

def say(text):
    os.write(1, f"{text}\\n".encode())

def note(text):
    with open("ledger", "a") as ledger:
        ledger.write(f"{text}\\n")

told = defaultdict(threading.Event)

def listen():
    rest = b""
    while data := os.read(0, 1024):
        *lines, rest = (rest + data).split(b"\\n")
        for line in lines:
            told[line.decode()].set()

threading.Thread(target=listen, daemon=True).start()

def wait_for(word):
    told[word].wait()

def on_signal(number, frame):
    say("signalled")
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, on_signal)

def say_when_stopping():
    from milepost import _run, _stream

    stop, iterate = _run.Execution.stop, _stream.iterate

    def stop_and_say(execution, cause):
        stop(execution, cause)
        say("stopping")

    def iterate_and_say(work, leave, **options):
        def leave_and_say():
            leave()
            say("stopping")

        return iterate(work, leave_and_say, **options)

    _run.Execution.stop, _stream.iterate = stop_and_say, iterate_and_say
"""


class OtherProcess:
    """Runs a program after ``PRELUDE``: it may ``say`` a line, ``wait_for`` a word, and ``note`` in the file ledger."""

    def __init__(self, program: str, directory: os.PathLike[str], *arguments: str) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `close`
        self.heard: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(program), *arguments],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._watchdog = threading.Timer(PATIENCE, self._process.kill)
        self._watchdog.start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def until(self, line: str) -> None:
        """Wait until the child says this line."""
        for found in self._process.stdout:
            self.heard.append(found.rstrip("\n"))
            if self.heard[-1] == line:
                return
        raise AssertionError(f"it never said {line!r}, but {self.heard}; {self.errors()}")

    def tell(self, word: str) -> None:
        """Let the child go on that waits for this word."""
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    def ctrl_c(self) -> None:
        """Send SIGINT, and wait until its handler has run."""
        self.signal(signal.SIGINT)
        self.until("signalled")

    def stop(self) -> None:
        """Send SIGINT, and wait until the run knows of it; for a program that calls ``say_when_stopping()``."""
        self.ctrl_c()
        self.until("stopping")

    def end(self) -> list[str]:
        """Wait until the child has ended well; return all lines it said."""
        code = self.wait()
        assert code == 0, f"it ended with {code}, after {self.heard}; {self.errors()}"
        return self.heard

    def kill(self, *, reap: bool = True) -> None:
        """Kill the child with SIGKILL; without ``reap`` it stays a zombie until ``close``."""
        self.signal(signal.SIGKILL)
        if reap:
            self.wait()
        else:
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def errors(self) -> str:
        """Return what the child wrote to stderr."""
        self._errors.seek(0)
        return self._errors.read()

    def wait(self) -> int:
        """Wait until the child has ended; return its exit code, negative for the signal that killed it."""
        self.heard += [line.rstrip("\n") for line in self._process.stdout]
        return self._process.wait()

    def close(self) -> None:
        """Kill the child if it still runs, and release everything."""
        self._watchdog.cancel()
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
