"""Several processes on one prefix, over a real wire: opening it first, racing, forking."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import boto3
import pytest

from milepost.drivers import open_checkpointer
from milepost.errors import StorageError
from milepost_s3 import S3Checkpointer
from s3_wire import batch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from backends import Backends

pytestmark = [pytest.mark.wire, pytest.mark.crash]

PRELUDE = """
import sys
from milepost import open_checkpointer
from milepost.checkpoint import Abandoned, Batch
from milepost.errors import PositionTaken

url, name = sys.argv[1:]
driver = open_checkpointer(url)
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def url(backends: Backends, tmp_path: Path) -> Iterator[str]:
    with backends.fresh("s3", tmp_path) as fresh:
        yield fresh


def run_together(program: str, url: str, count: int) -> list[str]:
    """Run a program so many times at once, each let go only when all are ready; return what they printed."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PRELUDE + program, url, f"p{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    with ThreadPoolExecutor(count) as pool:
        said = list(pool.map(lambda process: process.communicate("go\n", timeout=120)[0], processes))
    assert [process.returncode for process in processes] == [0] * count
    return said


def test_four_processes_can_open_an_empty_prefix_at_once(url: str) -> None:
    program = """
driver.append(name, 0, Batch(id=name, records=(Abandoned(at="now", run="r"),)))
"""
    run_together(program, url, 4)
    with open_checkpointer(url) as driver:
        assert [driver.tail(f"p{number}") for number in range(4)] == [1, 1, 1, 1]


def test_of_racing_processes_one_wins_each_position(url: str) -> None:
    program = """
won = []
for position in range(10):
    try:
        driver.append("t", position, Batch(id=f"{name}-{position}", records=(Abandoned(at="now", run="r"),)))
        won.append(f"{name}-{position}")
    except PositionTaken:
        pass
print(" ".join(won))
"""
    won = [name for said in run_together(program, url, 3) for name in said.split()]
    with open_checkpointer(url) as driver:
        assert sorted(found.id for _, found in driver.read("t")) == sorted(won)
    assert len(won) == 10


def in_child(action: Callable[[], bool]) -> bool:
    """Do something in a forked process; return whether it was true there."""
    child = os.fork()
    if not child:
        done = 1
        try:
            done = 0 if action() else 1
        finally:
            os._exit(done)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_connects_by_itself_and_its_parent_goes_on(url: str) -> None:
    with open_checkpointer(url) as driver:
        for position in range(8):
            driver.append("t", position, batch(f"parent-{position}"))
        assert len(list(driver.read("t"))) == 8  # the pool of the parent has threads now
        parents = driver._client._client()

        def child() -> bool:
            driver.append("t", 8, batch("child"))
            return len(list(driver.read("t"))) == 9 and driver._client._client() is not parents

        assert in_child(child)
        driver.append("t", 9, batch("parent-9"))
        assert [found.id for _, found in driver.read("t", 8)] == ["child", "parent-9"]
        assert driver._client._client() is parents


def test_a_client_of_ones_own_does_not_follow_into_a_child(backends: Backends) -> None:
    server = backends.server("s3")
    client = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1")
    with S3Checkpointer(server.bucket, "own-client", client=client) as driver:
        assert driver.tail("t") == 0

        def child() -> bool:
            with pytest.raises(StorageError, match="before a fork"):
                driver.tail("t")
            return True

        assert in_child(child)
        assert driver.tail("t") == 0
