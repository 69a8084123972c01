"""What tests found out beside passing: counted in whichever process ran them, shown at the end of the whole run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME = "tally"


class Tally:
    """Takes lines for the summary of the test run, on the report of the test that asks for it.

    Test reports are what a worker process of pytest-xdist sends to the process that writes the summary.
    """

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def __call__(self, section: str, line: str, **counts: float) -> None:
        """Show a line; in equal lines of one section, counts of one name are added up and stand for ``{name}``."""
        self._properties.append((_NAME, [section, line, counts]))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    """Say something at the end of the whole test run."""
    return Tally(request.node.user_properties)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Write what was said in this process and in all workers, section by section."""
    for section, lines in collected(_reports(terminalreporter)).items():
        terminalreporter.section(section)
        for line, counts in lines.items():
            terminalreporter.write_line(line.format(**counts) if counts else line)


def collected(reports: Iterable[pytest.TestReport]) -> dict[str, dict[str, Counter[str]]]:
    """Add up what is on reports: by section, then by line."""
    found: dict[str, dict[str, Counter[str]]] = {}
    for report in reports:
        for name, said in report.user_properties:
            if name == _NAME:
                section, line, counts = said
                found.setdefault(section, {}).setdefault(line, Counter()).update(counts)
    return found


def _reports(terminalreporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    """Return a report for each test: the one of its last phase, which has all that was said."""
    every = [report for found in terminalreporter.stats.values() for report in found]
    return [report for report in every if getattr(report, "when", None) == "teardown"]
