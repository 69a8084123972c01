"""Kill points by the hundred: count them, kill at each, resume, and compare with the run that nobody killed."""

from __future__ import annotations

import itertools
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from crash import evidence
from crash.forkserver import FAULTY, FreshInterpreters, command
from crash.interpreters import environment

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from crash.forkserver import ForkServer
    from crash.places import Ground, Place
    from crash.rig import Job

KILLED = -9
LONGEST_SECONDS = 0.04
"""How long after it has opened its driver a process may live that is killed from outside."""
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
    """How many kill points were there, how many were survived, and what was wrong at the others.

    ``lost`` counts calls that had resolved and were not on record after a kill.
    """

    points: int = 0
    survived: int = 0
    connections: int = 0
    lost: int = 0
    seconds: float = 0.0
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
        self.lost += other.lost
        self.seconds += other.seconds
        self.findings += other.findings


@dataclass(frozen=True, slots=True)
class Lane:
    """What carries out one job at a time: a server of processes, and the backend they work on."""

    server: ForkServer | FreshInterpreters
    ground: Ground


class Enumeration:
    """Runs jobs side by side on lanes, in folders under one root, and judges what they leave.

    ``every``: one of how many kill points to try.
    """

    def __init__(self, lanes: Sequence[Lane], root: Path, *, every: int = 1) -> None:
        self.lanes = lanes
        self.every = every
        self._root = root
        self._numbers = itertools.count()

    @property
    def apart(self) -> str:
        """The options of a URL whose driver writes journal and head one after the other; "" if that takes none."""
        return self.lanes[0].ground.apart

    def undisturbed(self, job: Job) -> Undisturbed:
        """Run a case to its end, writing down each point it passes; check that it leaves nothing to complain of."""
        with self._place(self.lanes[0], job) as place:
            points = self._count(place, job, "undisturbed")
            last = evidence.collect(place)
            assert evidence.at_end(last, kills=0, atomic=last.atomic and not job.split) == []
            return Undisturbed(_outcome(place), evidence.effects(last), points)

    def sampled(self, points: Sequence[str], job: Job) -> list[str]:
        """Return one of every few points, beginning elsewhere in each case; all of them where ``every`` is 1."""
        return list(points[sum(job.case.encode()) % self.every :: self.every])

    def at_each(self, job: Job, truth: Undisturbed, points: Iterable[str] | None = None) -> Report:
        """Kill the first process at each point; the second sees the case through."""
        chosen = self.sampled(truth.points, job) if points is None else list(points)
        return self._spread(chosen, lambda lane, point: self._kill_and_resume(lane, job, truth, point))

    def at_each_while_resuming(self, job: Job, truth: Undisturbed, first: str) -> Report:
        """Kill the first process at one point, the second at each point it passes; the third sees it through."""
        lane = self.lanes[0]
        with self._place(lane, job) as killed:
            code = lane.server.run(at(killed, job, kill=first))
            assert code == KILLED, f"{job} ended with {code}: {_error(killed)}"
            with self._place(lane, job, killed) as counted:
                points = self._count(counted, job, f"resuming after {first}")
            return self._spread(
                self.sampled(points, job),
                lambda lane, point: self._kill_and_resume(lane, job, truth, point, killed),
            )

    def disk_fails(self, job: Job, truth: Undisturbed) -> tuple[dict[str, object], list[str]]:
        """Let the disk fail and recover, and the case be seen through; return the error and what is wrong."""
        lane = self.lanes[0]
        with self._place(lane, job) as place:
            code = lane.server.run(at(place, job))
            assert code == (0 if job.stays else FAULTY), f"{job} ended with {code}: {_error(place)}"
            fault = json.loads((place.folder / "fault").read_text())
            if job.stays:
                snapshot = evidence.collect(place, lines=fault["lines"], tail=fault["tail"])
            else:
                snapshot = evidence.collect(place)
                code = lane.server.run(at(place, job, kill=None, fault=None))
                assert code == 0, f"the process that resumed ended with {code}: {_error(place)}"
            return fault, self.judge(place, truth, [snapshot], job)

    def at_random(self, job: Job, truth: Undisturbed, chance: random.Random, kills: int) -> list[str]:
        """Kill interpreters from outside, some time after each has begun to work; return what is wrong in the end."""
        for _ in range(TRIES):
            with self._place(self.lanes[0], job) as place:
                snapshots = _killed_from_outside(place, job, chance, kills)
                if snapshots:
                    return self._seen_through(FreshInterpreters(), place, truth, snapshots, job)
        return [f"{TRIES} processes ended before they could be killed"]

    def judge(
        self, place: Place, truth: Undisturbed, snapshots: list[evidence.Evidence], job: Job
    ) -> list[str]:
        """Return what is wrong with a place whose case was seen through after kills."""
        last = evidence.collect(place)
        findings = [
            finding for snapshot in snapshots for finding in evidence.at_kill(snapshot, job.durability)
        ]
        findings += [finding for snapshot in snapshots for finding in evidence.between(snapshot, last)]
        atomic = last.atomic and not job.split
        findings += evidence.at_end(last, kills=len(snapshots), atomic=atomic, durability=job.durability)
        if _outcome(place) != truth.outcome:
            findings.append(f"the outcome is {_outcome(place)}, undisturbed it is {truth.outcome}")
        differing = evidence.effects(last) ^ truth.effects
        cut_off = {effect for effect in truth.effects if effect[1:3] in evidence.unsure(last)}
        if differing - cut_off:
            findings.append(f"the side effects differ by {differing - cut_off}")
        if place.has_pragmas:
            in_force = evidence.pragmas(place.folder)
            processes = 1 if job.stays else 1 + len(snapshots)
            if len(in_force) < processes or any(found != ["wal", 2] for found in in_force):
                findings.append(f"journal_mode and synchronous were {in_force}, one pair a process")
        return findings

    # -- one point ---------------------------------------------------------------------------------------------------

    def _spread(self, points: list[str], visit: Callable[[Lane, str], tuple[list[str], int, int]]) -> Report:
        report = Report()
        began = time.monotonic()
        with ThreadPoolExecutor(len(self.lanes)) as pool:
            turns = itertools.cycle(self.lanes)
            visits = [(point, pool.submit(visit, next(turns), point)) for point in points]
            for point, found in visits:
                findings, connections, lost = found.result()
                report.add(point, findings)
                report.connections += connections
                report.lost += lost
        report.seconds = time.monotonic() - began
        return report

    def _kill_and_resume(
        self, lane: Lane, job: Job, truth: Undisturbed, point: str, origin: Place | None = None
    ) -> tuple[list[str], int, int]:
        """Kill a process at a point, in a new place or in a copy; let another see it through, and judge.

        Returns what is wrong, how many connections were checked, and how many resolved calls the kill cost.
        """
        for _ in range(TRIES):
            with self._place(lane, job, origin) as place:
                snapshots = [] if origin is None else [evidence.collect(place)]
                code = lane.server.run(at(place, job, kill=point))
                if code == 0:  # the threads' timing passed by another way
                    continue
                if code != KILLED:
                    return [f"the process to be killed ended with {code}: {_error(place)}"], 0, 0
                snapshots.append(evidence.collect(place))
                findings = self._seen_through(lane.server, place, truth, snapshots, job)
                return findings, len(evidence.pragmas(place.folder)), evidence.lost(snapshots[-1])
        return [f"the point was not reached in {TRIES} runs"], 0, 0

    def _seen_through(
        self,
        server: ForkServer | FreshInterpreters,
        place: Place,
        truth: Undisturbed,
        snapshots: list[evidence.Evidence],
        job: Job,
    ) -> list[str]:
        """Have a process see through what others left; return what is wrong then."""
        code = server.run(at(place, job))
        findings = [f"the process that resumed ended with {code}: {_error(place)}"] if code else []
        return findings + self.judge(place, truth, snapshots, job)

    def _count(self, place: Place, job: Job, what: str) -> list[str]:
        """Run a case to its end; return the points that it passed."""
        code = self.lanes[0].server.run(at(place, job, counting=True))
        assert code == 0, f"{job}, {what}, ended with {code}: {_error(place)}"
        points = (place.folder / "points").read_text().splitlines()
        assert len(points) == len(set(points))
        return points

    @contextmanager
    def _place(self, lane: Lane, job: Job, origin: Place | None = None) -> Iterator[Place]:
        place = lane.ground.place(self._root / str(next(self._numbers)), job.options)
        try:
            if origin is not None:
                place.copy(origin)
            yield place
        finally:
            place.drop()


def at(place: Place, job: Job, **changes: object) -> Job:
    """Return a job for a place; it kills nowhere unless told to."""
    return replace(job, folder=str(place.folder), url=place.url, **changes)


def _killed_from_outside(
    place: Place, job: Job, chance: random.Random, kills: int
) -> list[evidence.Evidence]:
    """Kill so many interpreters, one after the other, unless one of them is done first; return what each left."""
    snapshots: list[evidence.Evidence] = []
    while len(snapshots) < kills:
        with subprocess.Popen(command(at(place, job)), env=environment()) as process:
            _await_work(process, place)
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, LONGEST_SECONDS))
            process.kill()
        if process.returncode != KILLED:
            break
        snapshots.append(evidence.collect(place))
    return snapshots


def _await_work(process: subprocess.Popen[bytes], place: Place) -> None:
    """Return when a process has opened its driver, or is over."""
    opened = place.folder / "opened"
    opened.unlink(missing_ok=True)
    while process.poll() is None and not opened.exists():
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.002)


def _outcome(place: Place) -> dict[str, object]:
    file = place.folder / "outcome"
    return json.loads(file.read_text()) if file.exists() else {}


def _error(place: Place) -> str:
    file = place.folder / "error"
    return file.read_text() if file.exists() else "no error was written"
