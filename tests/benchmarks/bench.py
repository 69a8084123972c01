"""What durability and a store cost, beside what the machine can do at best; both measured in one run.

Prints a table and then JSON. `--json FILE` writes the JSON there, `--quick` measures less,
`--rounds N` takes the median of N.
Figures drift between machines and days: read the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import stores

from milepost import Command, Engine, entrypoint, interrupt, open_checkpointer, task
from milepost_sqlite import SQLiteStore

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (10, 100, 1_000, 3_000)
FAN = 1_000
INVOCATIONS = 200
BARE = 300
threads = (f"bench-{number}" for number in count())


@task
def step(number: int) -> int:
    return number + 1


@entrypoint()
def sequence(size: int) -> int:
    number = 0
    for _ in range(size):
        number = step(number).result()
    return number


@entrypoint()
def fan_out(size: int) -> int:
    return sum(future.result() for future in [step(number) for number in range(size)])


@entrypoint()
def pausing(size: int) -> int:
    number = 0
    for _ in range(size):
        number = step(number).result()
    return number if interrupt("Go on?") else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured thing: seconds (or bytes) a unit, the median of the rounds and their spread."""

    what: str
    backend: str
    unit: str
    median: float
    low: float
    high: float
    ratio: float | None = None
    bare: str | None = None


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def bare_insert(folder: Path, synchronous: str) -> float:
    """Seconds for one committed insert of a small row into SQLite with a write-ahead log."""
    connection = sqlite3.connect(folder / f"bare-{next(threads)}.db", isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute(
            "CREATE TABLE rows (thread TEXT, position INTEGER, data BLOB, PRIMARY KEY (thread, position))"
        )
        rows = [("thread", position, b"x" * 200) for position in range(BARE)]
        return (
            timed(lambda: [connection.execute("INSERT INTO rows VALUES (?, ?, ?)", row) for row in rows])
            / BARE
        )
    finally:
        connection.close()


def bare_submit() -> float:
    """Seconds for one submit to a thread pool and its result."""
    with ThreadPoolExecutor(2) as pool:
        pool.submit(int).result()
        return timed(lambda: [pool.submit(int).result() for _ in range(BARE)]) / BARE


def bare_import(program: str) -> float:
    return timed(lambda: subprocess.run([sys.executable, "-c", program], check=True))


def replay(size: int) -> float:
    """Seconds for each recorded call that is replayed; the rest of the resume counts too."""
    thread = next(threads)
    pausing.invoke(size, thread_id=thread)
    return timed(lambda: pausing.invoke(Command(resume=True), thread_id=thread)) / size


def workloads(sizes: tuple[int, ...], fan: int, invocations: int) -> dict[str, Callable[[], float]]:
    """Return what is measured on each backend: a name, and a function giving seconds a unit of work."""

    def tasks(size: int) -> Callable[[], float]:
        return lambda: timed(lambda: sequence.invoke(size, thread_id=next(threads))) / size

    def invoke_many() -> None:
        for _ in range(invocations):
            sequence.invoke(1, thread_id=next(threads))

    return {
        **{f"sequential task, {size:,} in a run": tasks(size) for size in sizes},
        f"task in a fan-out of {fan:,}": lambda: (
            timed(lambda: fan_out.invoke(fan, thread_id=next(threads))) / fan
        ),
        f"replayed task, {fan:,} on record": lambda: replay(fan),
        "invocation with one task": lambda: timed(invoke_many) / invocations,
    }


def journal_bytes(url: str) -> dict[str, float]:
    """Bytes in the journal of one run of one task, and for each task of a run of a hundred."""
    checkpointer = open_checkpointer(url)
    with checkpointer, Engine(checkpointer=checkpointer):
        sizes = {}
        for size in (1, 101):
            thread = next(threads)
            sequence.invoke(size, thread_id=thread)
            sizes[size] = sum(len(batch.encode()) for _, batch in checkpointer.read(thread))
    return {"run with one task": sizes[1], "each further task": (sizes[101] - sizes[1]) / 100}


def rounds_of(actions: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Measure everything once a round, so that a slow minute falls on all of it."""
    measured: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            measured[name].append(action())
    return measured


def figure(what: str, backend: str, values: list[float], bare: tuple[str, float] | None = None) -> Figure:
    middle = median(values)
    return Figure(
        what=what,
        backend=backend,
        unit="s",
        median=middle,
        low=min(values),
        high=max(values),
        ratio=middle / bare[1] if bare else None,
        bare=bare[0] if bare else None,
    )


def figures_of_stores(
    folder: Path, rounds: int, bare: dict[str, list[float]], *, quick: bool
) -> list[Figure]:
    """Measure SQLite stores, and print how the large one finds what is searched."""
    figures = []
    for backend, synchronous in (("store, FULL", "full"), ("store, NORMAL", "normal")):
        path = folder / f"{synchronous}-store.db"
        with SQLiteStore(path, synchronous=synchronous) as store:
            limit = f"committed insert, {synchronous.upper()}"
            reference = (limit, median(bare[limit]))
            measured = rounds_of(dict(stores.writes(store)), rounds)
            figures += [figure(what, backend, values, reference) for what, values in measured.items()]
    many = stores.MANY // 100 if quick else stores.MANY
    with stores.filled(folder / "many.db", many) as store:
        measured = rounds_of(dict(stores.searches(store, many)), rounds)
        print(stores.plans(store))
    return figures + [figure(what, "store, search", values) for what, values in measured.items()]


def measure(folder: Path, rounds: int, *, quick: bool) -> list[Figure]:
    bare = rounds_of(
        {
            "committed insert, FULL": lambda: bare_insert(folder, "FULL"),
            "committed insert, NORMAL": lambda: bare_insert(folder, "NORMAL"),
            "pool submit and result": bare_submit,
            "start of bare Python": lambda: bare_import("pass"),
            "start with `import milepost`": lambda: bare_import("import milepost"),
        },
        rounds,
    )
    figures = [figure(what, "bare", values) for what, values in bare.items()]
    backends = {
        "memory": ("memory://bench", "pool submit and result"),
        "sqlite, FULL": (f"sqlite:///{folder}/full.db", "committed insert, FULL"),
        "sqlite, NORMAL": (f"sqlite:///{folder}/normal.db?synchronous=normal", "committed insert, NORMAL"),
    }
    work = workloads(SIZES[:2], 100, 20) if quick else workloads(SIZES, FAN, INVOCATIONS)
    for backend, (url, limit) in backends.items():
        with Engine(checkpointer=url):
            sequence.invoke(1, thread_id=next(threads))
            measured = rounds_of(work, rounds)
        reference = (limit, median(bare[limit]))
        figures += [figure(what, backend, values, reference) for what, values in measured.items()]
        for what, size in journal_bytes(url).items():
            figures.append(
                Figure(
                    what=f"journal, {what}", backend=backend, unit="bytes", median=size, low=size, high=size
                )
            )
    return figures + figures_of_stores(folder, rounds, bare, quick=quick)


def table(figures: list[Figure]) -> str:
    lines = [f"{'backend':15} {'what':34} {'median':>12} {'range':>21} {'per second':>11} {'x bare':>7}"]
    for row in figures:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        if row.unit == "bytes":
            lines.append(f"{row.backend:15} {row.what:34} {row.median:10.0f} B")
            continue
        low, middle, high = (f"{1e6 * value:,.1f}" for value in (row.low, row.median, row.high))
        spread = f"{low} to {high}"
        rate = f"{1 / row.median:,.0f}"
        lines.append(f"{row.backend:15} {row.what:34} {middle:>9} µs {spread:>21} {rate:>11} {ratio:>7}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures there instead of printing them"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.rounds, quick=arguments.quick)
    machine = {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
        "rounds": arguments.rounds,
    }
    text = json.dumps({"machine": machine, "figures": [asdict(row) for row in figures]}, indent=1)
    print(table(figures))
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
