"""Runs the contract on the driver of a URL, and reports clause by clause."""

from __future__ import annotations

import os
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import pytest

from milepost import url as urls
from milepost._struct import Struct
from milepost.drivers import installed_drivers, open_checkpointer, open_store
from milepost.testing.clause import NOT_DECLARED, NOT_PROVIDED, Clause, clauses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from milepost.drivers import Kind

Outcome: TypeAlias = Literal["passed", "failed", "not declared", "not provided"]

OUTCOMES: Final[tuple[Outcome, ...]] = ("passed", "failed", "not declared", "not provided")


_SUITES: Final[dict[str, str]] = {"checkpointer": "TestCheckpointer", "store": "TestStore"}


class Verdict(Struct):
    """What became of one clause; ``detail`` is the assertion that failed, or why it was not tried."""

    clause: Clause
    outcome: Outcome
    detail: str = ""

    def __str__(self) -> str:
        line = f"{self.clause.id}  {self.outcome:<12}  {self.clause.sentence}"
        if self.outcome == "failed":
            return "\n".join([line, *(f"      {text}" for text in self.detail.splitlines())])
        return f"{line}  [{self.detail}]" if self.detail else line


class Report(Struct):
    """What the contract found out about a driver. ``url`` shows no secret."""

    url: str
    driver: str
    distribution: str
    version: str
    milepost: str
    capabilities: tuple[str, ...]
    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        """Whether at least one clause was tried, and none failed."""
        outcomes = [verdict.outcome for verdict in self.verdicts]
        return "passed" in outcomes and "failed" not in outcomes

    @property
    def summary(self) -> dict[str, int]:
        """How many clauses had each outcome."""
        outcomes = [verdict.outcome for verdict in self.verdicts]
        return {outcome: outcomes.count(outcome) for outcome in OUTCOMES}

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON would hold it."""
        facts = {name: getattr(self, name) for name in self.__struct_fields__ if name != "verdicts"}
        return facts | {
            "capabilities": list(self.capabilities),
            "passed": self.passed,
            "summary": self.summary,
            "clauses": [
                {
                    "id": verdict.clause.id,
                    "group": verdict.clause.group,
                    "needs": list(verdict.clause.needs),
                    "sentence": verdict.clause.sentence,
                    "outcome": verdict.outcome,
                    "detail": verdict.detail,
                }
                for verdict in self.verdicts
            ],
        }


class _Collector:
    """Hears of every clause that pytest runs."""

    def __init__(self, url: str, kind: Kind, heard: Callable[[Verdict], object]) -> None:
        self.url = url
        self.kind = kind
        self.verdicts: list[Verdict] = []
        self.problems: list[str] = []
        self._heard = heard
        self._clauses: dict[str, Clause] = {}

    def pytest_configure(self, config: pytest.Config) -> None:
        from milepost.testing import _suite

        config.stash[_suite.URL] = self.url

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: item.name)
        known = {clause.name: clause for clause in clauses(self.kind)}
        self._clauses = {item.nodeid: known[item.name] for item in items}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.problems.append(report.longreprtext)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.passed and report.when != "call":
            return
        verdict = _verdict(self._clauses[report.nodeid], report)
        earlier = self.verdicts[-1] if self.verdicts else None
        if earlier is not None and earlier.clause == verdict.clause:
            self.verdicts.pop()  # cleaning up failed after the clause was heard
        self.verdicts.append(verdict)
        self._heard(verdict)


def run(
    url: str, *, kind: Kind = "checkpointer", only: str = "", heard: Callable[[Verdict], object] = str
) -> Report:
    """Run the clauses on a driver of a URL; ``only`` chooses some, as pytest's ``-k`` does.

    ``heard`` is told of each as it is done.

    Raises:
        MilepostError: there is no such driver, or the URL is not understood.
        RuntimeError: pytest could not run them.
    """
    facts = _facts(url, kind)
    collector = _Collector(url, kind, heard)
    folder = Path(__file__).parent
    arguments = [
        f"{folder / '_suite.py'}::{_SUITES[kind]}", f"--rootdir={folder}", f"-c{os.devnull}", "--noconftest",
        "--import-mode=importlib", "-pno:cacheprovider", "-pno:terminal", *(["-k", only] if only else []),
    ]  # fmt: skip
    with _pytest_alone():
        code = pytest.main(arguments, plugins=[collector])
    if collector.problems or code not in (
        pytest.ExitCode.OK,
        pytest.ExitCode.TESTS_FAILED,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        raise RuntimeError("\n".join(["pytest could not run the clauses", *collector.problems]))
    return Report(**facts, verdicts=tuple(collector.verdicts))


@contextmanager
def _pytest_alone() -> Iterator[None]:
    """Keep plugins and options of the surroundings away while the clauses run."""
    kept = {name: os.environ.pop(name, None) for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")}
    kept["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _facts(url: str, kind: Kind) -> dict[str, Any]:
    parsed = urls.URL.parse(url)
    with open_checkpointer(url) if kind == "checkpointer" else open_store(url) as driver:
        cls, capabilities = type(driver), tuple(sorted(driver.capabilities))
    target = f"{cls.__module__}:{cls.__qualname__}"
    rows = [row for row in installed_drivers() if (row.kind, row.scheme) == (kind, parsed.scheme)]
    row = next((row for row in rows if row.distribution == "(registered)"), rows[0])
    return {
        "url": str(parsed),
        "driver": target,
        "distribution": row.distribution,
        "version": row.version,
        "milepost": version("milepost"),
        "capabilities": capabilities,
    }


def _verdict(clause: Clause, report: pytest.TestReport) -> Verdict:
    if report.passed:
        return Verdict(clause=clause, outcome="passed")
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        for outcome in (NOT_DECLARED, NOT_PROVIDED):
            if reason.startswith(outcome):
                return Verdict(
                    clause=clause, outcome="not declared" if outcome == NOT_DECLARED else "not provided",
                    detail=reason.partition(": ")[2],
                )  # fmt: skip
        return Verdict(clause=clause, outcome="failed", detail=f"skipped, which no clause may be: {reason}")
    crash = getattr(report.longrepr, "reprcrash", None)
    return Verdict(clause=clause, outcome="failed", detail=crash.message if crash else report.longreprtext)
