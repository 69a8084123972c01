"""What happened outside the backend: one line for each step's start and end, and for all that was done to processes.

Lines of a file opened with ``O_APPEND`` do not tear, and the monotonic clock is one for all processes of a host.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path


class Ledger:
    """A file that many processes write lines to."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, what: str, **facts: object) -> None:
        """Write a line; it is whole or not there, whatever happens to this process."""
        line = json.dumps({"what": what, "at": time.monotonic(), **facts})
        os.write(self._file, f"{line}\n".encode())

    def lines(self) -> list[dict]:
        """Return what is written, in the order of its times."""
        found = [json.loads(line) for line in self._path.read_text().splitlines()]
        return sorted(found, key=lambda line: line["at"])


@dataclass(frozen=True)
class Extra:
    """A step that was started once more: by whom, and how long after the death that explains it."""

    thread: str
    step: str
    first: str
    second: str
    after: float | None


class Deaths:
    """When each process was killed, and when it stood still."""

    def __init__(self, lines: list[dict]) -> None:
        self.killed = {line["process"]: line["at"] for line in lines if line["what"] == "kill"}
        self.stopped: dict[str, list[list[float]]] = {}
        for line in lines:
            if line["what"] == "stop":
                self.stopped.setdefault(line["process"], []).append([line["at"], float("inf")])
            elif line["what"] == "thaw":
                self.stopped[line["process"]][-1][1] = line["at"]

    def explains(self, process: str, begin: float, end: float) -> float | None:
        """Return how long before ``end`` a process died or was stopped, after ``begin``; None where it did not."""
        killed = self.killed.get(process)
        if killed is not None and begin <= killed <= end:
            return end - killed
        spans = self.stopped.get(process, ())
        return next((end - stop for stop, thaw in spans if stop <= end and thaw >= begin), None)


def extra_starts(lines: list[dict]) -> list[Extra]:
    """Return every start of a step after its first, with the death that explains it."""
    deaths, starts = Deaths(lines), dict[tuple[str, str], list[dict]]()
    for line in lines:
        if line["what"] == "start":
            starts.setdefault((line["thread"], line["step"]), []).append(line)
    found = []
    for (thread, step), times in starts.items():
        for before, again in pairwise(times):
            after = deaths.explains(before["process"], before["at"], again["at"])
            if after is None:  # a process that was thawed goes on with what it had decided to begin
                after = deaths.explains(again["process"], before["at"], again["at"])
            found.append(Extra(thread, step, before["process"], again["process"], after))
    return found
