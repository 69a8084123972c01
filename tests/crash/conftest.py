"""Fork servers for the crash tests, and the tally that they print at the end."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from crash.enumeration import Enumeration, Report
from crash.forkserver import serving

SERVERS = 4
_tally = pytest.StashKey[dict[str, Report]]()


def pytest_configure(config):
    config.stash[_tally] = {}


@pytest.fixture(scope="session")
def servers():
    """Processes that fork a child for each job."""
    with ExitStack() as stack:
        yield [stack.enter_context(serving()) for _ in range(SERVERS)]


@pytest.fixture
def enumeration(servers, tmp_path):
    """What kills at every point, in a folder of this test."""
    return Enumeration(servers, tmp_path)


@pytest.fixture(scope="session")
def tally(pytestconfig):
    """The reports by kind, for the summary."""
    return pytestconfig.stash[_tally]


def pytest_terminal_summary(terminalreporter, config):
    reports = config.stash[_tally]
    if not reports:
        return
    terminalreporter.section("crash enumeration")
    for kind, report in reports.items():
        terminalreporter.write_line(
            f"{kind}: {report.survived} of {report.points} kill points survived; journal_mode=wal and "
            f"synchronous=FULL read back on {report.connections} connections"
        )
