"""Clauses on several processes: one that forks, four that race, one that comes after."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, ClassVar

from milepost.checkpoint import Capability
from milepost.testing.clause import clause, not_provided
from milepost.testing.place import batch, fill, head, names, swap

if TYPE_CHECKING:
    from milepost.testing.place import Place

PROCESSES = 4
EACH = 5
PATIENCE = 120.0
"""Seconds that another process may take."""


class Processes:
    """What several processes may rely on."""

    processes: ClassVar[str] = ""

    def _reachable(self, place: Place) -> str:
        if self.processes:
            not_provided(self.processes)
        if place.url is None:
            not_provided("the place has no URL, so no other process can open it")
        return str(place.url)

    @clause(
        "C80",
        "processes",
        needs=(Capability.MULTI_PROCESS,),
        why="connections and pools do not survive a fork: under preloading servers both sides broke",
    )
    def test_c80_a_driver_works_on_both_sides_of_a_fork(self, place: Place) -> None:
        """A driver that was used before a fork works in the child and in the parent, at the same time."""
        if self.processes:
            not_provided(self.processes)
        if not hasattr(os, "fork"):
            not_provided("this system has no fork")
        driver, thread = place.driver, place.thread()
        fill(driver, thread, 1)
        for position in (1, 3):
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # of forking beside threads: this is the point
                child = os.fork()
            if not child:
                _end_with(place, thread, position)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0, "the child could not use the driver"
            driver.append(thread, position + 1, batch(f"b-{position + 1}"))
        assert names(driver, thread) == [f"b-{n}" for n in range(5)]

    @clause(
        "C81",
        "processes",
        needs=(Capability.MULTI_PROCESS,),
        why="locks that only threads respect: each process believed that it alone had the thread",
    )
    def test_c81_processes_that_append_to_one_thread_never_both_win(self, place: Place) -> None:
        """Four processes that open a place at once and append to one thread leave each position to one of them."""
        url, thread = self._reachable(place), place.thread()
        workers = [_start("append", url, thread, f"{number}", f"{EACH}") for number in range(PROCESSES)]
        try:
            for worker in workers:
                assert _line(worker) == "ready", _complaint(worker)
            outputs = [worker.communicate("go\n", timeout=PATIENCE)[0].split() for worker in _told(workers)]
        finally:
            _stop(workers)
        assert [worker.returncode for worker in workers] == [0] * PROCESSES
        won = [entry for output in outputs for entry in output]
        assert len(won) == PROCESSES * EACH
        assert [f"{position}:{one.id}" for position, one in place.driver.read(thread)] == sorted(
            won, key=lambda entry: int(entry.partition(":")[0])
        )

    @clause(
        "C82",
        "processes",
        needs=(Capability.DURABLE,),
        why="what was acknowledged was still in a buffer of the process",
    )
    def test_c82_what_was_acknowledged_survives_the_driver_and_the_process(self, place: Place) -> None:
        """What was acknowledged is read by a driver that opens later, in this process and in another."""
        thread = place.thread()
        with place.open() as driver:
            fill(driver, thread, 3)
            assert driver.swap_head(swap(thread))
        assert names(place.open(), thread) == ["b-0", "b-1", "b-2"]
        assert place.open().load_head(thread) == head(thread)
        reader = _start("read", self._reachable(place), thread)
        try:
            output, complaint = reader.communicate(timeout=PATIENCE)
        finally:
            _stop([reader])
        assert output.split() == ["b-0", "b-1", "b-2", "version=1"], complaint


def _end_with(place: Place, thread: str, position: int) -> None:
    """Append in a forked child, and end it without any of the parent's cleaning up."""
    code = 1
    try:
        place.driver.append(thread, position, batch(f"b-{position}"))
        code = 0 if names(place.driver, thread)[-1] == f"b-{position}" else 2
    finally:
        os._exit(code)


def _start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "milepost.testing._child", *arguments]
    return subprocess.Popen(  # noqa: S603 - this interpreter, and modules of milepost
        command,
        text=True,
        encoding="utf-8",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _told(workers: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    """Tell all to begin before the first is waited for."""
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    return workers


def _line(worker: subprocess.Popen[str]) -> str:
    assert worker.stdout is not None
    return worker.stdout.readline().strip()


def _complaint(worker: subprocess.Popen[str]) -> str:
    worker.kill()
    assert worker.stderr is not None
    return worker.stderr.read()


def _stop(workers: list[subprocess.Popen[str]]) -> None:
    for worker in workers:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
        for pipe in (worker.stdin, worker.stdout, worker.stderr):
            if pipe is not None:
                pipe.close()
