"""The engine suite runs on every kind of backend, at several pool sizes, and in replay-always mode.

``MILEPOST_TEST_WORKERS`` sets the pool size, ``MILEPOST_TEST_REPLAY=always`` the mode; ``nox -s modes`` runs them all.
Bodies in these tests must therefore bear being run again, and so must tasks that wait for other tasks.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

import milepost
from backends import CHOSEN, THOROUGH, pace, parametrized

REPLAY_ALWAYS = os.environ.get("MILEPOST_TEST_REPLAY") == "always"
WORKERS = int(os.environ.get("MILEPOST_TEST_WORKERS", "2"))


HERE = Path(__file__).parent
SAMPLES = {} if THOROUGH else {"s3": 96, "mongodb": 24}
"""One of how many tests is run on a storage server, where the whole suite takes minutes."""


def pytest_collection_modifyitems(config, items):
    """Leave out what is not in the sample, and say so."""
    left_out = {item for item in items if zlib.crc32(item.name.encode()) % _share(item)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def _share(item):
    ours = item.path.parent == HERE and hasattr(
        item, "callspec"
    )  # a hook here is given the items of all folders
    return SAMPLES.get(item.callspec.params.get("checkpointer"), 1) if ours else 1


@pytest.fixture(params=parametrized(CHOSEN))
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
