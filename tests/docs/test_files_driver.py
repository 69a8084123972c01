"""The driver of the tutorial is a package like anybody's: installed beside milepost, and held to the contract."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "examples" / "files_driver"
TUTORIAL = ROOT / "docs" / "writing-a-driver.md"
LIMIT = 150
BLANK = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(file: Path) -> int:
    """Count the lines that hold code: not those that are blank, comment or docstring only."""
    told: set[int] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            told |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    with tokenize.open(file) as text:
        tokens = [token for token in tokenize.generate_tokens(text.readline) if token.type not in BLANK]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    return len(lines - told)


def test_a_whole_driver_with_its_tests_is_short() -> None:
    assert 0 < sum(map(code_lines, PROJECT.rglob("*.py"))) <= LIMIT


def test_the_tutorial_shows_the_code_as_it_is() -> None:
    page = TUTORIAL.read_text(encoding="utf-8")
    shown = re.findall(
        r"`examples/files_driver/([\w./]+)`[^`]*?\n```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    assert len(shown) == page.count("```text\n") >= 6, "every block names the file that it shows"
    for name, block in shown:
        file = (PROJECT / name).read_text(encoding="utf-8")
        for piece in block.split("...\n"):
            assert piece.strip("\n") in file, f"{name} no longer holds:\n{piece}"


@pytest.mark.skipif(sys.platform == "win32", reason="flock is for Linux and macOS")
def test_the_example_keeps_the_contract_in_an_environment_of_its_own(tmp_path: Path) -> None:
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MILEPOST_", "COV_", "PYTHON", "PYTEST"))
    }

    def run(*command: str | Path, folder: Path = tmp_path) -> str:
        done = subprocess.run(
            command, cwd=folder, env=env, capture_output=True, encoding="utf-8", timeout=200, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", "--without-pip", "env")
    python = tmp_path / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "-q"]
    run(*install, f"{ROOT / 'core'}[testing]", str(PROJECT))
    place = run(python, "-I", "-c", "import milepost_files; print(milepost_files.__file__)").strip()
    assert Path(place).is_relative_to(tmp_path), "it was not installed, but found"
    assert "works" in run(tmp_path / "env" / "bin" / "milepost", "drivers", "--check")
    (tmp_path / "pytest.ini").touch()  # a project of its own, also where the folder lies inside this one
    tests = tmp_path / "test_contract.py"
    tests.write_text((PROJECT / "tests" / "test_contract.py").read_text(encoding="utf-8"), encoding="utf-8")
    told = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tests))
    passed = re.search(r"(\d+) passed", told)
    assert passed is not None, told
    assert int(passed[1]) > 40
