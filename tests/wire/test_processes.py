"""Several processes on one place: racing for positions and for threads, and going on after a fork."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from other_process import OtherProcess
from wire.line import ids

if TYPE_CHECKING:
    from pathlib import Path

    from wire.line import Line

pytestmark = pytest.mark.wire

PRELUDE = """
from milepost.checkpoint import Abandoned, Batch
from milepost.errors import MilepostError, PositionTaken, ThreadBusy

url, name = sys.argv[1:]
driver = milepost.open_checkpointer(url)

def batch(id):
    return Batch(id=id, records=(Abandoned(at="now", run="r"),))
"""


def start(program: str, line: Line, folder: Path, name: str = "p") -> OtherProcess:
    return OtherProcess(PRELUDE + program, folder, line.server.url(line.place), name)


def test_of_racing_processes_one_wins_each_position(line: Line, tmp_path: Path) -> None:
    program = """
driver.open()
say("ready")
wait_for("go")
for position in range(40):
    try:
        driver.append("t", position, batch(f"{name}-{position}"))
        say(f"won {position}")
    except PositionTaken:
        pass
driver.close()
"""
    with start(program, line, tmp_path, "p0") as one, start(program, line, tmp_path, "p1") as other:
        for process in (one, other):
            process.until("ready")
        for process in (one, other):
            process.tell("go")
        won = [
            {int(said.split()[1]) for said in process.end() if said.startswith("won")}
            for process in (one, other)
        ]
    assert sorted([*won[0], *won[1]]) == list(range(40))
    assert ids(line.around(), "t") == [f"p{int(n in won[1])}-{n}" for n in range(40)]


def test_processes_that_open_a_new_place_at_once_both_can(line: Line, tmp_path: Path) -> None:
    program = """
driver._pause = lambda seconds: sys.exit("a fault was retried")
say("ready")
wait_for("go")
driver.append(name, 0, batch("first"))
driver.close()
"""
    names = ("p0", "p1", "p2")
    processes = [start(program, line, tmp_path, name) for name in names]
    for process in processes:
        process.until("ready")
    for process in processes:
        process.tell("go")
    for process in processes:
        process.end()
        process.close()
    assert [ids(line.around(), name) for name in names] == [["first"]] * 3


def test_of_processes_that_start_a_run_on_one_thread_one_executes_it(line: Line, tmp_path: Path) -> None:
    program = """
@task
def hold():
    note(name)
    say("holding")
    wait_for("go")
    return name

@entrypoint()
def flow(_):
    return hold().result()

with make_engine(checkpointer=driver):
    say("ready")
    wait_for("start")
    try:
        say(flow.invoke("go", thread_id="t"))
    except ThreadBusy:
        say("busy")
driver.close()
"""
    with start(program, line, tmp_path, "p0") as one, start(program, line, tmp_path, "p1") as other:
        for process in (one, other):
            process.until("ready")
        one.tell("start")
        one.until("holding")
        other.tell("start")
        assert other.end()[-1] == "busy"
        one.tell("go")
        assert one.end()[-1] == "p0"
    assert (tmp_path / "ledger").read_text().split() == ["p0"]


def test_parent_and_child_go_on_after_a_fork(line: Line, tmp_path: Path) -> None:
    program = """
driver.append("t", 0, batch("parent-0"))
child = os.fork()
if child == 0:
    driver.append("t", 1, batch("child-1"))
    driver.close()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
driver.append("t", 2, batch("parent-2"))
assert [found.id for _, found in driver.read("t")] == ["parent-0", "child-1", "parent-2"]
driver.close()
"""
    with start(program, line, tmp_path) as process:
        process.end()
    assert ids(line.around(), "t") == ["parent-0", "child-1", "parent-2"]


def test_workers_forked_from_a_used_driver_write_side_by_side(line: Line, tmp_path: Path) -> None:
    """As a server does that loads the application first and forks its workers then."""
    program = """
driver.append("parent", 0, batch("parent-0"))
workers = []
for number in range(3):
    worker = os.fork()
    if worker == 0:
        for position in range(10):
            driver.append(f"w{number}", position, batch(f"w{number}-{position}"))
        os._exit(0)
    workers.append(worker)
for position in range(1, 10):
    driver.append("parent", position, batch(f"parent-{position}"))
assert [os.waitpid(worker, 0)[1] for worker in workers] == [0, 0, 0]
driver.close()
"""
    with start(program, line, tmp_path) as process:
        process.end()
    for thread in ("parent", "w0", "w1", "w2"):
        assert ids(line.around(), thread) == [f"{thread}-{n}" for n in range(10)]


def test_forking_amid_writes_of_other_threads_loses_none(line: Line, tmp_path: Path) -> None:
    program = """
driver.open()
stop = threading.Event()
counts = [0, 0]

def write(worker):
    while not stop.is_set():
        driver.append(f"w{worker}", counts[worker], batch(f"w{worker}-{counts[worker]}"))
        counts[worker] += 1

writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
for writer in writers:
    writer.start()
for number in range(4):
    child = os.fork()
    if child == 0:
        for position in range(5):
            driver.append(f"c{number}", position, batch(f"c{number}-{position}"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for writer in writers:
    writer.join()
say(" ".join(map(str, counts)))
driver.close()
"""
    with start(program, line, tmp_path) as process:
        counts = [int(count) for count in process.end()[-1].split()]
    expected = {f"w{number}": count for number, count in enumerate(counts)} | {f"c{n}": 5 for n in range(4)}
    for thread, count in expected.items():
        assert ids(line.around(), thread) == [f"{thread}-{n}" for n in range(count)]
