"""Fork servers and backends for the crash tests, and the tally that they print at the end."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from backends import THOROUGH, pace
from crash.enumeration import Enumeration, Report
from crash.forkserver import serving
from crash.grounds import Grounds

LANES = 4
SHARES = {} if THOROUGH else {"memory": 3, "sqlite": 4}
"""One of how many kill points to try; all of them with ``nox -s thorough``."""


@pytest.fixture(scope="session")
def servers():
    """Processes that fork a child for each job."""
    with ExitStack() as stack:
        yield [stack.enter_context(serving()) for _ in range(LANES)]


@pytest.fixture(scope="session")
def grounds(backends, tmp_path_factory):
    """The backends on which there are places."""
    with Grounds(backends, tmp_path_factory) as given:
        yield given


@pytest.fixture
def enumeration(backend, servers, grounds, tmp_path):
    """What kills at every point, on the backend that the test is for, with the folders of this test."""
    return Enumeration(
        grounds.lanes(backend, servers), tmp_path, every=pace(backend) * SHARES.get(backend, 1)
    )


@pytest.fixture
def tell(backend, capsys, tally, enumeration):
    """What adds a report to the summary, and prints it now."""

    def told(kind: str, name: str, report: Report) -> None:
        line = f"{backend}, {kind}: {{survived}} of {{points}}, in {{seconds:.0f}} s"
        if enumeration.every > 1:
            line += f" (one of every {enumeration.every}; all with MILEPOST_TEST_THOROUGH)"
        counts = {"survived": report.survived, "points": report.points, "seconds": report.seconds}
        if report.connections:
            line += "; journal_mode=wal and synchronous=FULL read back on {connections} connections"
            counts["connections"] = report.connections
        tally("crash enumeration: kill points survived", line, **counts)
        with capsys.disabled():
            print(f" [{name}: {report.survived} of {report.points}]", end="", flush=True)

    return told
