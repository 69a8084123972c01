"""Stores and the model agree in random histories: ten thousand steps on each in `thorough`, a share of them always."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from backends import CHOSEN, THOROUGH, parametrized
from milepost import open_store
from milepost.testing import agree_with_store_model

if TYPE_CHECKING:
    from pathlib import Path

    from backends import Backends
    from tally import Tally

ENOUGH = 10_000
LENGTH = 30
SHARE = {"memory": 20, "sqlite": 4, "s3": 80, "mongodb": 40}
"""One of how many steps are made where not all are: each is compared with all there is, and a server takes time."""


@pytest.mark.search
@pytest.mark.parametrize("name", parametrized(tuple(name for name in CHOSEN if name in SHARE)))
def test_a_store_agrees_with_the_model(name: str, backends: Backends, tmp_path: Path, tally: Tally) -> None:
    wanted = ENOUGH // (1 if THOROUGH else SHARE[name])
    with backends.fresh(name, tmp_path) as url:
        steps = agree_with_store_model(
            lambda: open_store(url), examples=wanted // (LENGTH - 3) + 2, steps=LENGTH
        )
    tally("store histories: steps that agree with the model", f"{name:<8} {{steps}}", steps=steps)
    assert steps >= wanted
