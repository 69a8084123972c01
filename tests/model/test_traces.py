"""Real drivers hold what the model holds, step by step, when writes come late, answers are lost and processes die."""

from __future__ import annotations

from collections import Counter

import pytest

from backends import SERVERS, parametrized
from milepost import open_checkpointer
from milepost.checkpoint import Capability
from model.replay import KINDS, Replay, walk
from model.rules import Rules
from model.world import ATOMIC, SPLIT

WALKS = 150
WALKS_OVER_A_WIRE = 50
LENGTH = 45


@pytest.fixture(params=parametrized())
def place(request, backends, tmp_path):
    with backends.fresh(request.param, tmp_path) as url:
        yield request.param, url


def test_a_driver_holds_what_the_model_holds(place, report):
    name, url = place
    kinds: Counter[str] = Counter()
    steps = 0
    with open_checkpointer(url) as driver:
        backend = ATOMIC if Capability.ATOMIC_HEAD in driver.capabilities else SPLIT
        for seed in range(WALKS_OVER_A_WIRE if name in SERVERS else WALKS):
            taken = walk(Rules(), backend, seed, LENGTH)
            Replay(driver, f"t{seed}").follow(taken.steps)
            kinds += taken.kinds
            steps += len(taken.steps)
    missing = [kind for kind in KINDS if not kinds[kind]]
    assert not missing, f"no walk contains: {', '.join(missing)}"
    report(f"{name}: {steps:,} steps of the model done to the driver")
