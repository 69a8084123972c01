"""A line for each driver at the end of the run: how many clauses it keeps, and why others were not tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from milepost.testing.clause import NOT_DECLARED
from tally import Tally

if TYPE_CHECKING:
    from collections.abc import Generator

LINE = "{passed} passed, {failed} failed, {undeclared} not declared, {unprovided} not provided"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    name = getattr(getattr(item, "cls", None), "name", "")
    if report.when == "call" and name and hasattr(item.function, "clause"):
        reason = str(report.longrepr) if report.skipped else ""
        counts = {
            "passed": report.passed,
            "failed": report.failed,
            "undeclared": NOT_DECLARED in reason,
            "unprovided": report.skipped and NOT_DECLARED not in reason,
        }
        line = f"{name:<16}{LINE}"
        Tally(item.user_properties)("driver contract", line, **{key: int(on) for key, on in counts.items()})
    return report
