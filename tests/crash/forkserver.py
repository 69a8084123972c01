"""A process that has imported everything, starts no thread, and forks one child for each job.

As a program it reads jobs from its input, a line of JSON each, and answers each with how the child ended.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import milepost
from crash import rig, sabotage, workloads
from crash.interpreters import environment
from crash.rig import Job
from crash.warmth import warm_up
from crash.watched import watch_queue, watched
from milepost.errors import StorageError

if TYPE_CHECKING:
    from milepost.checkpoint import Checkpointer

FAULTY = 75
"""The exit code of a process whose disk failed, and which ended because of that."""
CHILD_SECONDS = 60
"""How long a child may take before it is ended by an alarm; no child needs a hundredth of it."""


# -- the child -------------------------------------------------------------------------------------------------------


def perform(job: Job) -> None:
    """Carry a job out in this process. A kill does not return."""
    here = rig.install(job)
    checkpointer = watched(here)
    case = workloads.CASES[job.case]
    watch_queue(here)
    if job.sabotage is not None:
        sabotage.WAYS[job.sabotage](checkpointer)
    checkpointer.open()
    (here.folder / "opened").touch()
    engine = milepost.Engine(checkpointer=checkpointer, workers=case.workers)
    try:
        with engine:
            outcome = workloads.see_through(case)
    except StorageError as error:
        if not here.disk.failed:
            raise
        if not job.stays:
            engine.close()
            checkpointer.close()
        here.disk.recover()
        _write_fault(here, checkpointer, error)
        if not job.stays:
            os._exit(FAULTY)
        with engine:
            outcome = workloads.see_through(case)
    engine.close()
    checkpointer.close()
    (here.folder / "outcome").write_text(json.dumps(outcome))


def _write_fault(here: rig.Rig, checkpointer: Checkpointer, error: StorageError) -> None:
    """Write down what the failing disk brought about, and what was on record by then."""
    facts = {
        "type": type(error).__name__,
        "text": str(error),
        "lines": len((here.folder / "ledger").read_text().splitlines()),
        "tail": None if checkpointer._closed else checkpointer.tail(rig.THREAD),
    }
    (here.folder / "fault").write_text(json.dumps(facts))


def _child(job: Job) -> None:
    status = 70
    try:
        os.dup2(2, 1)  # standard output belongs to the parent's answers
        signal.alarm(CHILD_SECONDS)
        perform(job)
        status = 0
    except BaseException:
        (Path(job.folder) / "error").write_text(traceback.format_exc())
    finally:
        os._exit(status)


# -- the parent ------------------------------------------------------------------------------------------------------


def serve() -> None:
    """Fork a child for each job read; answer with the code it exited with, or minus the signal that killed it."""
    warm_up()
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _child(Job(**json.loads(line)))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


# -- the client ------------------------------------------------------------------------------------------------------


def command(job: Job) -> list[str]:
    """Return what runs a job in an interpreter of its own."""
    return [sys.executable, "-m", "crash.forkserver", json.dumps(asdict(job))]


class FreshInterpreters:
    """Runs each job in an interpreter of its own, as a fork server would run it in a child."""

    def run(self, job: Job) -> int:
        """Run a job to its end; return the exit code, or minus the signal."""
        return subprocess.run(command(job), env=environment(), timeout=CHILD_SECONDS, check=False).returncode


class ForkServer:
    """A running fork server; jobs of several threads take turns."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lock = threading.Lock()

    def run(self, job: Job) -> int:
        """Run a job to its end; return the exit code, or minus the signal."""
        with self._lock:
            self._process.stdin.write(json.dumps(asdict(job)) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, "the fork server died"
        return int(answer)


@contextmanager
def serving():
    """Run a fork server for a block."""
    with subprocess.Popen(
        [sys.executable, "-m", "crash.forkserver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        yield ForkServer(process)
        process.stdin.close()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        perform(Job(**json.loads(sys.argv[1])))
    else:
        serve()
