"""Chaos: many processes on one backend, killed, stopped and started at random while hundreds of runs go on.

``python chaos.py --backend sqlite --seed 1 --seconds 120 --runs 500`` prints what was done and found; exits with 1
where a guarantee was broken. Everything random but the scheduling of the machine comes from the seed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median
from typing import Self

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import recovery_time  # noqa: E402 - found beside this file
import workflows  # noqa: E402 - likewise
from audit import audited  # noqa: E402 - likewise
from ledger import Ledger, extra_starts  # noqa: E402 - likewise

from milepost import Engine, pending_interrupts  # noqa: E402
from milepost.errors import MilepostError, NotFinished, RunCancelled  # noqa: E402
from servers import CREDENTIALS, MongoServer, S3Server  # noqa: E402 - of the folder above

PROCESSES = 8
FEWEST = 2
LEASE = 3.0
POLL = 0.3
SETTLE = 180.0  # seconds that the last runs may take when all is quiet


class Herd:
    """The worker processes."""

    def __init__(self, url: str, ledger: Path, chance: random.Random) -> None:
        self._url = url
        self._ledger = ledger
        self._chance = chance
        self._notes = Ledger(ledger)
        self._numbers = itertools.count()
        self.alive: dict[str, subprocess.Popen[bytes]] = {}
        self.stopped: dict[str, float] = {}
        self.done: Counter[str] = Counter()
        self.log = ledger.with_name("workers.log").open("ab")

    def start(self) -> None:
        """Start one more."""
        name = f"p{next(self._numbers)}"
        command = [
            sys.executable,
            str(HERE / "worker.py"),
            self._url,
            str(self._ledger),
            name,
            str(LEASE),
            str(POLL),
        ]
        self.alive[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=os.environ | CREDENTIALS
        )
        self.done["started"] += 1

    def disturb(self) -> None:
        """Do something to one of them; those that were stopped for long enough go on."""
        self._thaw(time.monotonic())
        running = [name for name in self.alive if name not in self.stopped]
        what = self._chance.choice(("kill", "stop", "start", "start"))
        if what == "start" and len(self.alive) < PROCESSES:
            self.start()
        elif what == "kill" and len(running) > FEWEST:
            self._kill(self._chance.choice(running))
        elif what == "stop" and len(running) > FEWEST:
            self._stop(self._chance.choice(running))

    def _kill(self, name: str) -> None:
        process = self.alive.pop(name)
        self._notes.write("kill", process=name)
        process.kill()
        process.wait()
        self.done["killed"] += 1

    def _stop(self, name: str) -> None:
        self._notes.write("stop", process=name)
        self.alive[name].send_signal(signal.SIGSTOP)
        self.stopped[name] = time.monotonic() + self._chance.uniform(1.2, 2.5) * LEASE
        self.done["stopped"] += 1

    def _thaw(self, now: float) -> None:
        for name, until in list(self.stopped.items()):
            if until <= now:
                self.alive[name].send_signal(signal.SIGCONT)
                self._notes.write("thaw", process=name)
                del self.stopped[name]

    def calm(self) -> None:
        """Let all that are stopped go on, and have as many as there may be."""
        self._thaw(float("inf"))
        while len(self.alive) < PROCESSES // 2:
            self.start()

    def end(self) -> None:
        """End all of them, each by its own process id."""
        self._thaw(float("inf"))
        for process in self.alive.values():
            process.terminate()
        for process in self.alive.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
        self.log.close()


class Clients:
    """Those who start runs, answer their questions and cancel some."""

    def __init__(self, engine: Engine, runs: int, seconds: float, chance: random.Random) -> None:
        self._engine = engine
        self._chance = chance
        self._over = threading.Event()
        kinds = list(workflows.ALL)
        self._due = sorted(
            (chance.uniform(0, seconds * 0.9), f"run-{number:04}", kinds[number % len(kinds)], number)
            for number in range(runs)
        )
        self.started: dict[str, tuple[str, int]] = {}
        self.trouble: list[str] = []
        self._threads = [threading.Thread(target=target) for target in (self._start_all, self._answer_all)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def await_starts(self) -> None:
        """Wait until all runs are started."""
        self._threads[0].join()

    def _start_all(self) -> None:
        began = time.monotonic()
        for due, thread, kind, number in self._due:
            self._over.wait(max(0.0, began + due - time.monotonic()))
            self._insist(
                lambda k=kind, n=number, t=thread: workflows.ALL[k].start(n, thread_id=t, idempotency_key=t)
            )
            self.started[thread] = (kind, number)

    def _answer_all(self) -> None:
        while not self._over.wait(0.5):
            with suppress(MilepostError), self._engine:
                for asked in pending_interrupts():
                    self._answer(asked)
            for thread, (kind, _) in list(self.started.items()):
                if kind == "cancelled" and self._chance.random() < 0.2:
                    with suppress(MilepostError):
                        self._engine.run(thread).cancel("enough")

    def _answer(self, asked) -> None:
        for question in asked.interrupts:
            with suppress(MilepostError):  # answered before, or busy: the next round finds it
                self._engine.run(asked.thread_id).resume(
                    {question.id: 7 * question.value["number"]}, actor="chaos"
                )

    def _insist(self, call) -> None:
        for _ in range(20):
            try:
                with self._engine:
                    call()
            except MilepostError as error:
                self.trouble.append(repr(error))
                self._over.wait(0.5)
            else:
                return
        raise RuntimeError(f"a run could not be started: {self.trouble[-1]}")


def check_results(engine: Engine, started: dict[str, tuple[str, int]], seconds: float) -> list[str]:
    """Return what is wrong with the results; runs may take so many seconds more."""
    wrong, end = [], time.monotonic() + seconds
    for thread, (kind, number) in started.items():
        run = engine.run(thread)
        try:
            value = run.result(max(0.5, end - time.monotonic()))
        except RunCancelled:
            if kind != "cancelled":
                wrong.append(f"{thread}: {kind} was cancelled")
        except NotFinished as error:
            wrong.append(f"{thread}: {kind} is {error.status}")
        except Exception as error:
            wrong.append(f"{thread}: {kind} failed with {error!r}")
        else:
            expected = number + 60 if kind == "cancelled" else workflows.EXPECTED[kind](number)
            if value != expected:
                wrong.append(f"{thread}: {kind} gave {value!r} instead of {expected!r}")
    return wrong


def ride(url: str, folder: Path, *, seed: int, seconds: float, runs: int) -> list[str]:
    """Let loose for so many seconds, then check; print figures, and return what is wrong."""
    chance, path = random.Random(seed), folder / "ledger.jsonl"
    engine = Engine(checkpointer=url, background=0, lease=LEASE)
    herd = Herd(url, path, chance)
    began = time.monotonic()
    try:
        for _ in range(PROCESSES):
            herd.start()
        with Clients(engine, runs, seconds, random.Random(seed + 1)) as clients:
            while time.monotonic() - began < seconds:
                time.sleep(chance.uniform(0.1, 2.0))  # noqa: TID251 - what is random here is the time itself
                herd.disturb()
            clients.await_starts()
            herd.calm()
            wrong = check_results(engine, clients.started, SETTLE)
    finally:
        herd.end()
    lines = Ledger(path).lines()
    extra = extra_starts(lines)
    wrong += [
        f"{e.thread}: step {e.step} of {e.first} began again in {e.second}" for e in extra if e.after is None
    ]
    checkpointer = engine.checkpointer_for(engine, None)
    found = audited(checkpointer, clients.started)
    wrong += found.wrong
    steps = sum(line["what"] == "start" for line in lines)
    late = [e.after for e in extra if e.after is not None]
    print(
        f"{url.partition(':')[0]}: seed {seed}, {time.monotonic() - began:.0f} s, {len(clients.started)} runs, "
        f"processes {dict(herd.done)}, {steps} steps begun, {len(extra)} of them again (each explained by a death "
        f"{median(late) if late else 0:.1f} s before in the median, {max(late, default=0):.1f} s at most), "
        f"{found.batches} batches, {found.takeovers} takeovers, {len(clients.trouble)} starts tried again",
        flush=True,
    )
    engine.close()
    for line in wrong[:20]:
        print("  WRONG", line)
    return wrong


def place(backend: str, folder: Path, stack: ExitStack) -> str:
    """Return the URL of a fresh place, on a server of this session where the backend has one."""
    if backend == "sqlite":
        return f"sqlite:///{folder}/chaos.db"
    kind = {"s3": S3Server, "mongodb": MongoServer}[backend]
    server = kind(folder / backend).start()
    stack.callback(server.kill)
    os.environ.update(CREDENTIALS)
    return server.url("chaos")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=("sqlite", "s3", "mongodb"), action="append")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3)))
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--kills", type=int, default=50, help="of the measurement of recovery")
    options = parser.parse_args()
    broken = 0
    for backend in options.backend or ("sqlite", "s3", "mongodb"):
        with tempfile.TemporaryDirectory(prefix="milepost-chaos-") as name, ExitStack() as stack:
            folder = Path(name)
            url = place(backend, folder, stack)
            wrong = ride(url, folder, seed=options.seed, seconds=options.seconds, runs=options.runs)
            if options.kills and not recovery_time.table(url, folder, kills=options.kills):
                broken += 1
            if wrong:
                broken += 1
                print((folder / "workers.log").read_text(errors="replace")[-4000:])
    return int(broken > 0)


if __name__ == "__main__":
    raise SystemExit(main())
