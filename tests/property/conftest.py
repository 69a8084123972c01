"""Property tests are repeatable; ``MILEPOST_TEST_EXAMPLES`` asks for other, and for so many, generated workflows."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

_common = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.register_profile("repeatable", _common, derandomize=True)
settings.register_profile("searching", _common, derandomize=False, print_blob=True)
settings.load_profile("searching" if "MILEPOST_TEST_EXAMPLES" in os.environ else "repeatable")

_lines = pytest.StashKey[list[str]]()


@pytest.fixture
def report(request):
    """Say something at the end of the whole test run."""
    return request.config.stash.setdefault(_lines, []).append


def pytest_terminal_summary(terminalreporter, config):
    lines = config.stash.get(_lines, [])
    if lines:
        terminalreporter.section("generated workflows")
        for line in lines:
            terminalreporter.write_line(line)
