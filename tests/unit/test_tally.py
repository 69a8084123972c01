"""What tests say for the summary is shown once, with its counts added up, in however many processes they run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tally as plugin

SUITE = """
import pytest

@pytest.mark.parametrize("number", range(4))
def test_counting(number, tally):
    tally("counted", "{survived} of {points} survived", survived=number, points=3)

def test_telling(tally):
    tally("told", "a line with {braces}")

def test_failing(tally):
    tally("counted", "{survived} of {points} survived", survived=0, points=10)
    assert False
"""


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two workers"])
def test_the_summary_holds_what_every_test_said(options: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tally import pytest_terminal_summary, tally\n")
    (tmp_path / "test_suite.py").write_text(SUITE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(plugin.__file__).parent)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines.count("6 of 22 survived") == 1, done.stdout + done.stderr
    assert lines.count("a line with {braces}") == 1
    assert "1 failed, 5 passed" in done.stdout
