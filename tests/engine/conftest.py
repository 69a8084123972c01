"""The engine suite runs on every kind of backend, at several pool sizes, and in replay-always mode.

``MILEPOST_TEST_WORKERS`` sets the pool size, ``MILEPOST_TEST_REPLAY=always`` the mode; ``nox -s modes`` runs them all.
Bodies in these tests must therefore bear being run again, and so must tasks that wait for other tasks.
"""

from __future__ import annotations

import os

import pytest

import milepost
from backends import CHOSEN, THOROUGH, pace, parametrized

REPLAY_ALWAYS = os.environ.get("MILEPOST_TEST_REPLAY") == "always"
WORKERS = int(os.environ.get("MILEPOST_TEST_WORKERS", "2"))


BACKENDS = CHOSEN if THOROUGH else tuple(name for name in CHOSEN if name != "s3")
"""The suite takes minutes on an S3 server, so only a thorough run has it there."""


@pytest.fixture(params=parametrized(BACKENDS))
def checkpointer(request, backends, tmp_path):
    """A fresh place on each backend: memory as one step, memory with head and journal apart, and the real ones."""
    with (
        backends.fresh(request.param, tmp_path) as url,
        milepost.open_checkpointer(url) as driver,
    ):
        yield driver


@pytest.fixture
def every(request):
    """One of how many rounds to make on the backend under test, where a test makes many."""
    return pace(request.node.callspec.params["checkpointer"])


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
