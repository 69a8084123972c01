"""Several processes on one file: opening it first, racing, dying, forking."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from milepost.checkpoint import Abandoned, Batch
from milepost_sqlite import CannotOpen, SQLiteCheckpointer, _client

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import os, sys, threading
from milepost.checkpoint import Abandoned, Batch
from milepost.errors import PositionTaken
from milepost_sqlite import SQLiteCheckpointer

path, name = sys.argv[1:]

def batch(id):
    return Batch(id=id, records=(Abandoned(at="now", run="r" * 200),))

def ready():
    print("ready", flush=True)
    sys.stdin.readline()

"""


def start(program: str, path: Path, name: str = "p") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program, str(path), name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def run_together(program: str, path: Path, count: int) -> list[str]:
    """Run a program so many times at once, each let go only when all are ready."""
    processes = [start(program, path, f"p{number}") for number in range(count)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [finish(process) for process in processes]


def ids(path: Path, thread: str) -> list[str]:
    with SQLiteCheckpointer(path) as driver:
        return [batch.id for _, batch in driver.read(thread)]


@pytest.mark.parametrize("attempt", range(2))
def test_six_processes_can_open_a_new_file_at_once(tmp_path: Path, attempt: int) -> None:
    program = """
import sqlite_utils.migrations
driver = SQLiteCheckpointer(path)
driver._pause = lambda seconds: sys.exit("a fault was retried")
ready()
driver.append(name, 0, batch("first"))
driver.close()
"""
    run_together(program, tmp_path / "runs.db", 6)
    for number in range(6):
        assert ids(tmp_path / "runs.db", f"p{number}") == ["first"]


def test_of_racing_processes_one_wins_each_position(tmp_path: Path) -> None:
    program = """
driver = SQLiteCheckpointer(path, synchronous="normal").open()
ready()
for position in range(60):
    try:
        driver.append("t", position, batch(f"{name}-{position}"))
        print(position)
    except PositionTaken:
        pass
"""
    outputs = run_together(program, tmp_path / "runs.db", 2)
    won = [[int(line) for line in out.split()] for out in outputs]
    assert sorted(won[0] + won[1]) == list(range(60))
    winners = {position: number for number in (0, 1) for position in won[number]}
    assert ids(tmp_path / "runs.db", "t") == [f"p{winners[n]}-{n}" for n in range(60)]


def test_another_process_sees_everything_acknowledged(tmp_path: Path) -> None:
    with SQLiteCheckpointer(tmp_path / "runs.db") as driver:
        for position in range(3):
            driver.append(
                "t", position, Batch(id=f"here-{position}", records=(Abandoned(at="now", run="r"),))
            )
        out = finish(
            start("print(*(b.id for _, b in SQLiteCheckpointer(path).read('t')))", tmp_path / "runs.db")
        )
    assert out.split() == ["here-0", "here-1", "here-2"]


@pytest.mark.crash
@pytest.mark.parametrize("after", [1, 7, 40])
def test_a_killed_process_loses_nothing_it_was_told_is_kept(tmp_path: Path, after: int) -> None:
    program = """
driver = SQLiteCheckpointer(path)
for position in range(100_000):
    driver.append("t", position, batch(f"{name}-{position}"))
    print(position, flush=True)
"""
    with start(program, tmp_path / "runs.db") as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.readlines()
    acknowledged = sum(line.endswith("\n") for line in told)
    found = ids(tmp_path / "runs.db", "t")
    assert found == [f"p-{position}" for position in range(len(found))]
    assert acknowledged <= len(found) <= acknowledged + 1


def test_parent_and_child_go_on_after_a_fork(tmp_path: Path) -> None:
    program = """
driver = SQLiteCheckpointer(path)
driver.append("t", 0, batch("parent-0"))
child = os.fork()
if child == 0:
    driver.append("t", 1, batch("child-1"))
    driver.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
driver.append("t", 2, batch("parent-2"))
driver.close()
"""
    finish(start(program, tmp_path / "runs.db"))
    assert ids(tmp_path / "runs.db", "t") == ["parent-0", "child-1", "parent-2"]


def test_forking_amid_writes_of_other_threads_loses_none(tmp_path: Path) -> None:
    program = """
driver = SQLiteCheckpointer(path, synchronous="normal").open()
stop = threading.Event()
counts = [0, 0]

def write(worker):
    while not stop.is_set():
        driver.append(f"w{worker}", counts[worker], batch(f"w-{counts[worker]}"))
        counts[worker] += 1

workers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
for worker in workers:
    worker.start()
for number in range(8):
    child = os.fork()
    if child == 0:
        for position in range(20):
            driver.append(f"c{number}", position, batch(f"c-{position}"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for worker in workers:
    worker.join()
print(*counts)
"""
    counts = [int(count) for count in finish(start(program, tmp_path / "runs.db")).split()]
    for worker, count in enumerate(counts):
        assert ids(tmp_path / "runs.db", f"w{worker}") == [f"w-{n}" for n in range(count)]
    for number in range(8):
        assert ids(tmp_path / "runs.db", f"c{number}") == [f"c-{n}" for n in range(20)]


def test_a_fork_that_python_does_not_announce_gets_its_own_connection(tmp_path: Path) -> None:
    program = """
driver = SQLiteCheckpointer(path).open()
mine = driver._client._sessions.get().connection
own = os.getpid()
os.getpid = lambda: own + 1
driver.append("t", 0, batch("child-0"))
assert driver._client._sessions.get().connection is not mine
os.getpid = lambda: own
assert driver._client._sessions.get().connection is mine
driver.append("t", 1, batch("parent-1"))
"""
    finish(start(program, tmp_path / "runs.db"))
    assert ids(tmp_path / "runs.db", "t") == ["child-0", "parent-1"]


def test_a_fork_closes_idle_connections_and_leaves_busy_ones(tmp_path: Path) -> None:
    with SQLiteCheckpointer(tmp_path / "idle.db") as idle, SQLiteCheckpointer(tmp_path / "busy.db") as busy:
        idle.open()

        def fork_meanwhile(write):
            write("DELETE FROM milepost_heads", ())
            _client._forks._before()
            _client._forks._in_parent()
            assert idle._client._sessions.get().connection is None
            assert busy._client._sessions.get().connection is not None

        busy._client.transact(fork_meanwhile)
        assert (idle.tail("t"), busy.tail("t")) == (0, 0)


def test_private_memory_of_another_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with SQLiteCheckpointer(":memory:").open() as driver, monkeypatch.context() as patch:
        patch.setattr(_client.os, "getpid", lambda: 0)
        with pytest.raises(CannotOpen, match="before a fork"):
            driver.tail("t")


def test_private_memory_does_not_cross_a_fork(tmp_path: Path) -> None:
    program = """
from milepost_sqlite import CannotOpen
driver = SQLiteCheckpointer(":memory:")
late = SQLiteCheckpointer(":memory:")
driver.append("t", 0, batch("parent-0"))
child = os.fork()
if child == 0:
    late.append("t", 0, batch("child-0"))
    try:
        driver.tail("t")
    except CannotOpen as error:
        os._exit(0 if "fork" in str(error) else 2)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
assert driver.tail("t") == 1
"""
    finish(start(program, tmp_path / "unused"))


def test_closing_moves_the_log_into_the_file(tmp_path: Path) -> None:
    with (
        SQLiteCheckpointer(tmp_path / "runs.db") as driver,
        SQLiteCheckpointer(tmp_path / "runs.db") as other,
    ):
        other.open()
        driver.append("t", 0, Batch(id="s-1", records=(Abandoned(at="now", run="r"),)))
        log = tmp_path / "runs.db-wal"
        assert log.stat().st_size > 0
        driver.close()
        assert log.stat().st_size == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["runs.db"]


def test_closing_what_was_never_opened_or_belongs_to_another_process_is_harmless(tmp_path: Path) -> None:
    SQLiteCheckpointer(tmp_path / "runs.db").close()
    driver = SQLiteCheckpointer(tmp_path / "runs.db").open()
    child = os.fork() if sys.version_info < (3, 12) else None
    if child == 0:
        driver.close()
        os._exit(0)
    if child is not None:
        assert os.waitpid(child, 0)[1] == 0
    driver.append("t", 0, Batch(id="s-1", records=(Abandoned(at="now", run="r"),)))
    driver.close()
