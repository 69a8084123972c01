"""A program that uses all of LangGraph's Functional API runs here with only its imports changed.

`langgraph-1.2.22.txt` is what it prints under LangGraph; `nox -s porting` makes it anew and compares. The sections
print the same here, but for those that are named after a fault or a difference; these are listed in `otherwise.py`.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from porting.otherwise import DIFFERENCES, FAULTS
from porting.runner import ported

HERE = Path(__file__).parent
PARTS = sorted(HERE.glob("program/*.py"))
RECORDED = HERE / "langgraph-1.2.22.txt"


def sections_of(transcript):
    """Return the lines of each section."""
    found = {}
    for part in transcript.split("== ")[1:]:
        name, *lines = part.splitlines()
        found[name] = lines
    return found


THEIRS = sections_of(RECORDED.read_text(encoding="utf-8"))
OTHERWISE = FAULTS | DIFFERENCES


@pytest.fixture(scope="module")
def ours():
    """What the program prints here, with its imports changed."""
    done = subprocess.run(
        [sys.executable, HERE / "runner.py", "milepost"],
        env={key: value for key, value in os.environ.items() if not key.startswith("MILEPOST_")},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sections_of(done.stdout)


@pytest.mark.parametrize("name", [name for name in THEIRS if name not in OTHERWISE])
def test_a_section_prints_what_it_prints_under_langgraph(ours, name):
    assert "\n".join(ours[name]) == "\n".join(THEIRS[name])


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_langgraph_does_not_happen_here(ours, name):
    expected, _ = FAULTS[name]
    assert ours[name] == expected
    assert THEIRS[name] != expected, "this is no fault any more: let both print the same"


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_difference_is_the_one_that_is_stated(ours, name):
    expected, _ = DIFFERENCES[name]
    assert ours[name] == expected
    assert THEIRS[name] != expected, "this is no difference any more: let both print the same"


def test_the_record_has_every_section_of_the_program_and_no_error():
    """The record was made from the program as it is, and no section of it ended before its last line."""
    written = {
        node.name
        for part in PARTS
        for node in ast.parse(part.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and any(isinstance(found, ast.Name) and found.id == "section" for found in node.decorator_list)
    }
    assert set(THEIRS) == written
    assert {name for name in written if re.match(r"w\d\d_", name)} == set(FAULTS)
    assert {name for name in written if name.startswith("d_")} == set(DIFFERENCES)
    assert not [line for lines in THEIRS.values() for line in lines if line.startswith("!")]


def test_nothing_but_imports_is_changed():
    """Each line that differs in the ported program begins an import, and nothing else names either library."""
    lines = 0
    for part in PARTS:
        source = part.read_text(encoding="utf-8")
        changed_source = ported(source)
        compared = difflib.ndiff(source.splitlines(), changed_source.splitlines())
        changed = [line[2:] for line in compared if line[:2] in ("- ", "+ ")]
        assert changed
        assert all(re.match(r"from (langgraph|langchain_core|milepost)\b.* import", line) for line in changed)
        code = re.sub(r'""".*?"""|^from \S+ import', "", changed_source, flags=re.DOTALL | re.MULTILINE)
        assert not re.search("langgraph|langchain|milepost", code, re.IGNORECASE)
        lines += len(source.splitlines())
    assert lines >= 150
