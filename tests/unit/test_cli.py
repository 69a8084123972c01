"""The command line: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from milepost import _cli
from milepost._cli import _drivers as drivers_command
from milepost.drivers import InstalledDriver
from milepost.errors import MilepostError
from milepost.memory import MemoryCheckpointer


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


def broken() -> InstalledDriver:
    return InstalledDriver(
        kind="checkpointer", scheme="box", distribution="acme-box", version="1.0", target="acme_box:Driver"
    )


def with_a_broken_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = drivers_command.installed_drivers()
    monkeypatch.setattr(drivers_command, "installed_drivers", lambda: [broken(), *rows])


def test_verbose_prints_options_with_types_and_defaults_and_capabilities(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert _cli.main(["drivers", "--verbose"]) == 0
    paragraphs = capsys.readouterr().out.split("\n\n")
    sqlite = next(text for text in paragraphs if text.startswith("checkpointer sqlite\n"))
    assert sqlite.splitlines()[1:] == [
        f"  from          milepost-sqlite {version('milepost-sqlite')}",
        "  class         milepost_sqlite:SQLiteCheckpointer",
        "  driver API    1",
        "  capabilities  atomic-head, checked-tail, durable, indexed-heads, multi-process",
        "  option        synchronous=full|normal (default full)",
        "  option        timeout=seconds (default 30.0)",
        "  option        mkdir=bool (default false)",
    ]


def test_verbose_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert _cli.main(["drivers", "--verbose", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    memory = next(row for row in rows if (row["kind"], row["scheme"]) == ("checkpointer", "memory"))
    assert memory["api"] == 1
    assert memory["error"] is None
    assert memory["capabilities"] == sorted(MemoryCheckpointer().capabilities)
    assert memory["options"] == [
        {"name": "atomic_head", "type": "bool", "default": "true"},
        {"name": "checked_tail", "type": "bool", "default": "true"},
    ]


def test_check_shows_a_broken_driver_in_its_row_and_lists_the_others(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _cli.main(["drivers", "--check"]) == 0
    assert all(line.endswith("works") for line in capsys.readouterr().out.splitlines()[1:])
    with_a_broken_one(monkeypatch)
    assert _cli.main(["drivers", "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "broken: no checkpointer driver for 'box'." in lines[1]
    assert all(line.endswith("works") for line in lines[2:])
    assert _cli.main(["drivers", "--verbose"]) == 1
    assert "  broken        no checkpointer driver for 'box'." in capsys.readouterr().out


def test_check_prints_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with_a_broken_one(monkeypatch)
    assert _cli.main(["drivers", "--check", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["error"].startswith("no checkpointer driver for 'box'.")
    assert {row["error"] for row in rows[1:]} == {None}


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

    monkeypatch.setattr(drivers_command, "installed_drivers", fail)
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
