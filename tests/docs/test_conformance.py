"""The two pages about LangGraph name tests that exist, for every feature and every fault."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFORMANCE = ROOT / "docs" / "conformance.md"
GUIDE = ROOT / "docs" / "porting-from-langgraph.md"
PROGRAM = ROOT / "tests" / "porting" / "program"
NAMED = re.compile(r"`((?:tests|core)/[\w/]+\.py)::(\w+)`")
SECTION = re.compile(r"`porting\[(\w+)\]`")

ROWS = {
    "Declaring": 9,
    "Calling": 11,
    "Running": 22,
    "Remembering": 13,
    "Asking": 6,
    "Policies": 6,
    "Storing": 5,
}
"""How many features LangGraph has of each kind: none may get lost on the page."""


def rows(page: Path) -> dict[str, list[list[str]]]:
    """Return the cells of each row of the tables under each heading."""
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("| ") and not line.startswith("| ---"):
            found.setdefault(heading, []).append([cell.strip() for cell in line.strip("|").split(" | ")])
    return {heading: table[1:] for heading, table in found.items()}  # without the names of the columns


@cache
def functions(path: str) -> frozenset[str]:
    """Return the names of the functions in a file, and of the methods of its classes."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def sections() -> set[str]:
    """Return the names of the program's sections."""
    return {
        node.name
        for part in PROGRAM.glob("*.py")
        for node in ast.parse(part.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and any(ast.unparse(found) == "section" for found in node.decorator_list)
    }


@pytest.mark.parametrize("page", [CONFORMANCE, GUIDE], ids=lambda page: page.stem)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = NAMED.findall(text)
    assert named
    absent = [
        f"{path}::{name}" for path, name in named if not (ROOT / path).exists() or name not in functions(path)
    ]
    assert absent == []
    assert set(SECTION.findall(text)) <= sections()


def test_no_feature_is_missing_and_none_is_without_a_test_or_a_reason() -> None:
    tables = rows(CONFORMANCE)
    assert {heading: len(table) for heading, table in tables.items()} == ROWS
    unshown = [
        f"{heading}: {feature}"
        for heading, table in tables.items()
        for feature, here, *shown in table
        if not NAMED.search("".join(shown))
        and not SECTION.search("".join(shown))
        and not re.match("not applicable: .{10}", here)
    ]
    assert unshown == []


def test_every_fault_is_listed_and_has_a_regression_test_of_its_number() -> None:
    table = rows(GUIDE)["Faults of LangGraph"]
    assert [number for number, *_ in table] == [f"W{number}" for number in range(1, 26)]
    for number, _, _, shown in table:
        prefix = f"w{int(number[1:]):02}"
        tests = [name for _, name in NAMED.findall(shown) if name.startswith(f"test_{prefix}")]
        seen = [name for name in SECTION.findall(shown) if name.startswith(prefix)]
        assert tests or seen, number


def test_every_section_of_the_program_is_named_on_a_page() -> None:
    named = set(SECTION.findall(CONFORMANCE.read_text("utf-8") + GUIDE.read_text("utf-8")))
    assert sections() == named


@pytest.mark.parametrize("page", [CONFORMANCE, GUIDE], ids=lambda page: page.stem)
def test_nothing_on_a_page_is_left_open(page: Path) -> None:
    assert re.findall("<!--.*?-->", page.read_text(encoding="utf-8")) == []
