"""How long a run lies still after kill -9: many kills in the middle of a step, with another live process beside."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from ledger import Ledger  # noqa: E402 - found beside this file

from milepost import Engine, entrypoint, task  # noqa: E402
from servers import CREDENTIALS  # noqa: E402 - of the folder above

WORKER = """
import os, platform, sys, threading
sys.path.insert(0, {here!r})
if {host!r}:
    platform.node = lambda: {host!r}
from ledger import Ledger
import recovery_time
recovery_time.HERE_NOW.update(ledger=Ledger({ledger!r}), name={name!r})
engine = recovery_time.Engine(checkpointer={url!r}, lease={lease}, poll={poll}, recover=True, max_recoveries=1000)
engine.begin()
recovery_time.HERE_NOW["ledger"].write("ready", process={name!r})
sys.stdin.read()
engine.close()
"""
HERE_NOW: dict[str, object] = {}
"""The ledger, and this process's name in it, in a worker."""


@task
def long() -> str:
    """A step that is never over: whoever runs it is killed."""
    HERE_NOW["ledger"].write("start", process=HERE_NOW["name"])  # type: ignore[attr-defined]  # set by the worker
    threading.Event().wait(3600)
    return "over"


@entrypoint()
def lies(_: int) -> str:
    return long().result()


class Processes:
    """Workers, one of which runs the step at any time."""

    def __init__(self, url: str, folder: Path, *, lease: float, poll: float, apart: bool) -> None:
        self._facts = {"url": url, "lease": lease, "poll": poll, "here": str(HERE)}
        self._ledger, self._apart = folder / f"recovery-{apart}.jsonl", apart
        self._notes = Ledger(self._ledger)
        self._names = (f"r{number}" for number in itertools.count())
        self._alive: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start one more; ``apart`` makes each a process of another host."""
        name = next(self._names)
        host = f"host-{name}" if self._apart else ""
        code = WORKER.format(**self._facts, name=name, host=host, ledger=str(self._ledger))
        self._alive[name] = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, env=os.environ | CREDENTIALS
        )
        self.line("ready", 1, process=name)

    def line(self, what: str, count: int, **facts: object) -> dict:
        """Wait for the line of this number, and return it."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = [
                line for line in self._notes.lines() if line["what"] == what and facts.items() <= line.items()
            ]
            if len(found) >= count:
                return found[count - 1]
            threading.Event().wait(0.005)
        raise TimeoutError(f"no line {count} of {what} {facts}")

    def kill(self, name: str) -> float:
        """Kill one, and return when."""
        process = self._alive.pop(name)
        killed = time.monotonic()
        _end(process)
        return killed

    def end(self) -> None:
        """End all of them."""
        for process in self._alive.values():
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()


def measured(url: str, folder: Path, *, kills: int, lease: float, poll: float, apart: bool) -> list[float]:
    """Return the seconds from each kill to the next start of the step."""
    engine = Engine(checkpointer=url, background=0)
    processes = Processes(url, folder, lease=lease, poll=poll, apart=apart)
    found = []
    try:
        for _ in range(2):
            processes.start()
        engine.start(lies, 1, thread_id=f"apart-{apart}")
        for number in range(1, kills + 1):
            running = processes.line("start", number)["process"]
            killed = processes.kill(running)
            found.append(processes.line("start", number + 1)["at"] - killed)
            processes.start()
    finally:
        processes.end()
        with suppress(Exception):
            engine.run(f"apart-{apart}").cancel()
        engine.close()
    return found


def table(url: str, folder: Path, *, kills: int = 50, lease: float = 2.0, poll: float = 0.5) -> bool:
    """Print median and maximum, on one host and as if on several; return whether all are within the bound."""
    good = True
    for apart in (False, True):
        times = measured(url, folder, kills=kills, lease=lease, poll=poll, apart=apart)
        bound = poll if not apart else lease + poll
        where = "as if on other hosts" if apart else "on one host"
        print(
            f"{url.partition(':')[0]}: {kills} kills {where}: median {median(times):.2f} s, maximum {max(times):.2f} s "
            f"(lease {lease} s, poll {poll} s: {'lease + poll' if apart else 'poll'} = {bound:.2f} s)",
            flush=True,
        )
        good = good and max(times) <= bound + 0.5
    return good
