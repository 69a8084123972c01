"""The command line: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from milepost import _cli
from milepost.errors import MilepostError


def test_drivers_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["drivers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["KIND", "SCHEME", "DISTRIBUTION", "VERSION", "TARGET"]
    assert [
        "checkpointer",
        "memory",
        "milepost",
        version("milepost"),
        "milepost.memory:MemoryCheckpointer",
    ] in [line.split() for line in lines]
    assert all(line == line.rstrip() for line in lines)


def test_drivers_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["drivers", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    sqlite = next(row for row in rows if row["scheme"] == "sqlite")
    assert sqlite == {
        "kind": "checkpointer",
        "scheme": "sqlite",
        "distribution": "milepost-sqlite",
        "version": version("milepost-sqlite"),
        "target": "milepost_sqlite:SQLiteCheckpointer",
    }


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"milepost {version('milepost')}\n"


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["drivers", "--yaml"]])
def test_a_wrong_call_exits_with_2_and_says_so_on_stderr(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        _cli.main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "milepost: error:" in err


def test_an_error_of_milepost_is_one_line_on_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise MilepostError("the reason")

    monkeypatch.setattr(_cli, "installed_drivers", fail)
    assert _cli.main(["drivers"]) == 2
    assert capsys.readouterr() == ("", "milepost: the reason\n")


def test_listing_drivers_in_a_fresh_process_imports_none() -> None:
    program = (
        "import sys; from milepost._cli import main; main(['drivers']);"
        "sys.exit(bool({'milepost_sqlite', 'sqlite3', 'sqlite_utils', 'stevedore'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path}; {program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "milepost_sqlite:SQLiteCheckpointer" in done.stdout
