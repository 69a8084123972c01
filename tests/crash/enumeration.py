"""Kill points by the hundred: count them, kill at each, resume, and compare with the run that nobody killed."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from crash import evidence
from crash.forkserver import FAULTY, NOTHING, FreshInterpreters, command, environment
from crash.rig import DATABASE, Job

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Sequence

    from crash.forkserver import ForkServer

KILLED = -9
LONGEST_SECONDS = 0.04
"""How long after it has opened its database a process may live that is killed from outside."""
TRIES = 20
"""How often a point is tried that threads may miss by their timing."""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What a case comes to when nobody kills it, and the points that it passes."""

    outcome: dict[str, object]
    effects: set[tuple[str, str, str, str]]
    points: list[str]


@dataclass(slots=True)
class Report:
    """How many kill points were there, how many were survived, and what was wrong at the others."""

    points: int = 0
    survived: int = 0
    connections: int = 0
    findings: list[str] = field(default_factory=list)

    def add(self, place: str, findings: list[str]) -> None:
        """Count one point."""
        self.points += 1
        self.survived += not findings
        self.findings += [f"killed at {place}: {finding}" for finding in findings]

    def absorb(self, other: Report) -> None:
        """Add another report's counts."""
        self.points += other.points
        self.survived += other.survived
        self.connections += other.connections
        self.findings += other.findings


class Enumeration:
    """Runs jobs on fork servers, in folders under one root, and judges what they leave."""

    def __init__(self, servers: Sequence[ForkServer | FreshInterpreters], root: Path) -> None:
        self._servers = servers
        self._root = root
        self._template = root / "template"
        self._template.mkdir()
        assert servers[0].run(Job(case=NOTHING, folder=str(self._template))) == 0
        self._numbers = itertools.count()

    def undisturbed(self, job: Job) -> Undisturbed:
        """Run a case to its end, writing down each point it passes; check that it leaves nothing to complain of."""
        folder = self._folder()
        code = self._servers[0].run(replace(job, folder=str(folder), counting=True))
        assert code == 0, f"{job} ended with {code}: {_error(folder)}"
        last = evidence.collect(folder)
        assert evidence.at_end(last, kills=0, atomic=not job.split) == []
        points = (folder / "points").read_text().splitlines()
        assert len(points) == len(set(points))
        return Undisturbed(_outcome(folder), evidence.effects(last), points)

    def at_each(self, job: Job, truth: Undisturbed, points: Iterable[str] | None = None) -> Report:
        """Kill the first process at each point; the second sees the case through."""
        chosen = truth.points if points is None else list(points)
        return self._spread(chosen, lambda server, point: self._kill_and_resume(server, job, truth, point))

    def at_each_while_resuming(self, job: Job, truth: Undisturbed, first: str) -> Report:
        """Kill the first process at one point, the second at each point it passes; the third sees it through."""
        folder = self._folder()
        self._kill(self._servers[0], replace(job, folder=str(folder), kill=first))
        counted = self._folder(folder)
        code = self._servers[0].run(replace(job, folder=str(counted), counting=True))
        assert code == 0, f"resuming after {first} ended with {code}: {_error(counted)}"
        points = (counted / "points").read_text().splitlines()
        return self._spread(
            points, lambda server, point: self._kill_and_resume(server, job, truth, point, folder)
        )

    def disk_fails(self, job: Job, truth: Undisturbed) -> tuple[dict[str, object], list[str]]:
        """Let the disk fail and recover, and the case be seen through; return the error and what is wrong."""
        folder = self._folder()
        work = replace(job, folder=str(folder))
        code = self._servers[0].run(work)
        assert code == (0 if job.stays else FAULTY), f"{job} ended with {code}: {_error(folder)}"
        fault = json.loads((folder / "fault").read_text())
        if job.stays:
            snapshot = evidence.collect(folder, lines=fault["lines"], tail=fault["tail"])
        else:
            snapshot = evidence.collect(folder)
            code = self._servers[0].run(replace(work, kill=None, fault=None))
            assert code == 0, f"the process that resumed ended with {code}: {_error(folder)}"
        return fault, self.judge(folder, truth, [snapshot], job)

    def at_random(self, job: Job, truth: Undisturbed, chance: random.Random, kills: int) -> list[str]:
        """Kill interpreters from outside, some time after each has begun to work; return what is wrong in the end."""
        for _ in range(TRIES):
            work = replace(job, folder=str(self._folder()))
            snapshots = _killed_from_outside(work, chance, kills)
            if snapshots:
                code = FreshInterpreters().run(work)
                folder = Path(work.folder)
                findings = [f"the process that resumed ended with {code}: {_error(folder)}"] if code else []
                return findings + self.judge(folder, truth, snapshots, job)
        return [f"{TRIES} processes ended before they could be killed"]

    def judge(
        self, folder: Path, truth: Undisturbed, snapshots: list[evidence.Evidence], job: Job
    ) -> list[str]:
        """Return what is wrong with a folder whose case was seen through after kills."""
        last = evidence.collect(folder)
        findings = [finding for snapshot in snapshots for finding in evidence.at_kill(snapshot)]
        findings += [finding for snapshot in snapshots for finding in evidence.between(snapshot, last)]
        findings += evidence.at_end(last, kills=len(snapshots), atomic=not job.split)
        if _outcome(folder) != truth.outcome:
            findings.append(f"the outcome is {_outcome(folder)}, undisturbed it is {truth.outcome}")
        if evidence.effects(last) != truth.effects:
            findings.append(f"the side effects differ by {evidence.effects(last) ^ truth.effects}")
        in_force = evidence.pragmas(folder)
        processes = 1 if job.stays else 1 + len(snapshots)
        if len(in_force) < processes or any(found != ["wal", 2] for found in in_force):
            findings.append(f"journal_mode and synchronous were {in_force}, one pair a process")
        return findings

    # -- one point ---------------------------------------------------------------------------------------------------

    def _spread(self, points: list[str], visit) -> Report:
        report = Report()
        with ThreadPoolExecutor(len(self._servers)) as pool:
            turns = itertools.cycle(self._servers)
            visits = [(point, pool.submit(visit, next(turns), point)) for point in points]
            for point, found in visits:
                findings, connections = found.result()
                report.add(point, findings)
                report.connections += connections
        return report

    def _kill_and_resume(
        self,
        server: ForkServer | FreshInterpreters,
        job: Job,
        truth: Undisturbed,
        point: str,
        origin: Path | None = None,
    ) -> tuple[list[str], int]:
        """Kill a process at a point, in a new folder or in a copy; let another see it through, and judge."""
        for _ in range(TRIES):
            folder = self._folder(origin)
            snapshots = [] if origin is None else [evidence.collect(folder)]
            code = server.run(replace(job, folder=str(folder), kill=point))
            if code == 0:  # the threads' timing passed by another way
                continue
            if code != KILLED:
                return [f"the process to be killed ended with {code}: {_error(folder)}"], 0
            snapshots.append(evidence.collect(folder))
            code = server.run(replace(job, folder=str(folder)))
            findings = [f"the process that resumed ended with {code}: {_error(folder)}"] if code else []
            findings += self.judge(folder, truth, snapshots, job)
            connections = len(evidence.pragmas(folder))
            if not findings:
                shutil.rmtree(folder)
            return findings, connections
        return [f"the point was not reached in {TRIES} runs"], 0

    def _kill(self, server: ForkServer | FreshInterpreters, job: Job) -> None:
        code = server.run(job)
        assert code == KILLED, f"{job} ended with {code}: {_error(Path(job.folder))}"

    def _folder(self, origin: Path | None = None) -> Path:
        folder = self._root / str(next(self._numbers))
        if origin is not None:
            shutil.copytree(origin, folder)
            return folder
        folder.mkdir()
        shutil.copy(self._template / DATABASE, folder)
        return folder


def _killed_from_outside(job: Job, chance: random.Random, kills: int) -> list[evidence.Evidence]:
    """Kill so many interpreters, one after the other, unless one of them is done first; return what each left."""
    folder = Path(job.folder)
    snapshots: list[evidence.Evidence] = []
    while len(snapshots) < kills:
        with subprocess.Popen(command(job), env=environment()) as process:
            _await_work(process, folder)
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, LONGEST_SECONDS))
            process.kill()
        if process.returncode != KILLED:
            break
        snapshots.append(evidence.collect(folder))
    return snapshots


def _await_work(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Return when a process has opened its database, or is over."""
    opened = len(evidence.pragmas(folder))
    while process.poll() is None and len(evidence.pragmas(folder)) == opened:
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.002)


def _outcome(folder: Path) -> dict[str, object]:
    file = folder / "outcome"
    return json.loads(file.read_text()) if file.exists() else {}


def _error(folder: Path) -> str:
    file = folder / "error"
    return file.read_text() if file.exists() else "no error was written"
