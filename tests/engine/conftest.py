"""The engine suite runs on every kind of backend, at several pool sizes, and in replay-always mode.

``MILEPOST_TEST_WORKERS`` sets the pool size, ``MILEPOST_TEST_REPLAY=always`` the mode; ``nox -s modes`` runs them all.
Bodies in these tests must therefore bear being run again, and so must tasks that wait for other tasks.
"""

from __future__ import annotations

import os

import pytest

import milepost
from milepost.memory import MemoryCheckpointer

REPLAY_ALWAYS = os.environ.get("MILEPOST_TEST_REPLAY") == "always"
WORKERS = int(os.environ.get("MILEPOST_TEST_WORKERS", "2"))


@pytest.fixture(params=["memory", "memory-split", "sqlite"])
def checkpointer(request, tmp_path):
    """A fresh backend: memory as one step, memory with head and journal apart, and a SQLite file."""
    if request.param == "sqlite":
        driver = milepost.open_checkpointer(f"sqlite:///{tmp_path}/journal.db?synchronous=normal")
    else:
        driver = MemoryCheckpointer(atomic_head=request.param == "memory")
    yield driver
    driver.close()


@pytest.fixture
def engine(checkpointer):
    """The current engine of the test, on the backend under test."""
    made = milepost.Engine(checkpointer=checkpointer, workers=WORKERS, replay_always=REPLAY_ALWAYS)
    with made:
        yield made
    made.close()


@pytest.fixture
def plain_engine():
    """The current engine of the test, without a checkpointer."""
    made = milepost.Engine(workers=WORKERS)
    with made:
        yield made
    made.close()
