"""`milepost worker` under signals: what it was working on is finished by another."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from milepost import Engine

pytestmark = pytest.mark.crash

FLOWS = """
import os, threading
from milepost import Engine, entrypoint, task

@task
def step(number):
    with open("ledger", "a") as ledger:
        ledger.write(f"{number}\\n")
    threading.Event().wait(0.2)
    return number

@entrypoint()
def counting(count):
    return [step(number).result() for number in range(count)]

engine = Engine(checkpointer=f"sqlite:///{os.getcwd()}/runs.db", poll=0.1, lease=2.0)

def make():
    return engine
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    (tmp_path / "flows.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("flows", None)


class Worker:
    def __init__(self, place, spec="flows:engine"):
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys; from milepost._cli import main; sys.exit(main())",
                "worker",
                spec,
            ],
            cwd=place,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.hello = self._process.stderr.readline()

    def signal(self, number):
        self._process.send_signal(number)

    def wait(self):
        self.said = self._process.stderr.read()
        self._process.stderr.close()
        return self._process.wait(30)


def lines(place, count):
    """Wait for so many lines of the ledger."""
    for _ in range(3_000):
        if (place / "ledger").exists() and len((place / "ledger").read_text().splitlines()) >= count:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the worker does not begin")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_at_a_task_boundary_and_another_finishes(place, number):
    web = Engine(checkpointer=f"sqlite:///{place}/runs.db", background=0)
    import flows

    run = web.start(flows.counting, 6, thread_id="t")
    first = Worker(place)
    assert "counting" in first.hello
    lines(place, 2)
    first.signal(number)
    assert first.wait() == 0
    assert "task boundaries" in first.said
    head = web.checkpointer_for(web, None).load_head("t")
    assert (head.status, head.owner, head.offered) == ("running", None, True)
    second = Worker(place, "flows:make")
    assert run.result(30) == list(range(6))
    second.signal(signal.SIGTERM)
    assert second.wait() == 0
    assert (place / "ledger").read_text().split() == [str(n) for n in range(6)]  # no step twice
    web.close()
