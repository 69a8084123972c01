"""What the explorer saw is said at the end of the test run."""

from __future__ import annotations

from functools import partial

import pytest


@pytest.fixture
def report(tally):
    """Say something at the end of the whole test run."""
    return partial(tally, "model of the journal's rules")
