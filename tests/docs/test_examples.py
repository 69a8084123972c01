"""Every example runs as a user would run it: as a script, in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.py"))


def run(script: str, *arguments: str, folder: Path) -> str:
    """Run an example and return what it printed; warnings are errors there too."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("MILEPOST_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / script, *arguments],
        cwd=folder,
        env=env | {"PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_hello_task_greets_everybody(tmp_path: Path) -> None:
    assert run("hello_task.py", folder=tmp_path) == "Hello, Ada!\nHello, Grace!\n"


def test_the_essay_is_written_once_and_approved(tmp_path: Path) -> None:
    lines = run("essay_review.py", folder=tmp_path).splitlines()
    assert lines[:2] == ["(writing about cat)", "{'write_essay': 'An essay about topic: cat'}"]
    assert re.fullmatch(
        r"\{'__interrupt__': \(Interrupt\(value=\{'essay': 'An essay about topic: cat', "
        r"'action': 'Please approve/reject the essay'\}, id='int_[0-9a-f]{32}'\),\)\}",
        lines[2],
    )
    assert lines[3:] == ["{'workflow': {'essay': 'An essay about topic: cat', 'is_approved': True}}"]


def test_the_chat_goes_on_in_the_next_process(tmp_path: Path) -> None:
    first = run("chat_previous.py", "chat.db", folder=tmp_path)
    assert "message 1 from you" in first
    assert "message 2 from you" in first
    second = run("chat_previous.py", "chat.db", folder=tmp_path)
    assert "message 3 from you" in second
    assert "message 4 from you" in second


def test_progress_is_shown_while_the_workflow_runs(tmp_path: Path) -> None:
    lines = run("custom_progress.py", folder=tmp_path).splitlines()
    assert [line for line in lines if line.startswith("progress")] == [
        f"progress: {share} %" for share in (25, 50, 75, 100)
    ]
    assert lines.index("recorded: {'fetch': 10}") < lines.index("progress: 25 %")
    assert lines[-1] == "recorded: {'download': 100}"


def test_the_assistant_knows_on_one_thread_what_it_learned_on_another(tmp_path: Path) -> None:
    def say(*said: str) -> list[str]:
        return run("assistant_memory.py", "memory.db", *said, folder=tmp_path).splitlines()

    assert say("ann", "I like green tea")[-1] == "I will remember that, ann. I know 1 of your tastes."
    assert say("ann", "I like loud music", "ann", "I like green tea")[-1].endswith("I know 2 of your tastes.")
    assert say("ann", "What music is on?")[-1] == "ann, you like loud music and green tea."
    assert say("bob", "What should I drink?")[-1] == "I do not know you yet, bob."
    assert run("assistant_memory.py", folder=tmp_path).splitlines()[-1] == "ann, you like green tea."


def test_a_report_is_made_once_for_all_processes(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        waiting = [
            pool.submit(run, "cached_reports.py", "cache.db", "2026-Q1", folder=tmp_path) for _ in range(3)
        ]
        said = [each.result() for each in waiting]
    said.append(run("cached_reports.py", "cache.db", "2026-Q1", folder=tmp_path))
    assert [each.splitlines()[-1] for each in said] == ["2026-Q1: 377 orders, 7 returns"] * 4
    assert "".join(said).count("adds up 2026-Q1") == 1
    assert run("cached_reports.py", "cache.db", "--forget", folder=tmp_path) == ""
    assert "adds up 2026-Q1" in run("cached_reports.py", "cache.db", "2026-Q1", folder=tmp_path)


def test_expenses_pause_in_one_process_and_are_reported_by_another(tmp_path: Path) -> None:
    database = str(tmp_path / "claims.db")
    asked = run("expense_approval.py", "run", database, folder=tmp_path)
    large = {"C-1007", "C-1015", "C-1022", "C-1032", "C-1037"}
    assert asked.count("asks for approval") == len(large)
    assert set(re.findall(r"C-\d{4}", asked)) == large
    assert not (tmp_path / "claims.db.report.txt").exists()

    told = run("expense_approval.py", "answer", database, "C-1007", "C-1032", folder=tmp_path)
    pids = [re.search(r"process (\d+)", text).group(1) for text in (asked, told)]
    assert pids[0] != pids[1]
    report = (tmp_path / "claims.db.report.txt").read_text(encoding="utf-8")
    assert report.strip() in told
    states = [(line.split()[0], line) for line in report.splitlines()]
    assert len(states) == 46
    for claim in large:
        line = next(line for name, line in states if name == claim)
        assert line.endswith("approved" if claim in {"C-1007", "C-1032"} else "rejected")
    assert "C-1044" in report
    assert "José Álvarez" in report
    for fault in (
        "no amount",
        "handed in twice",
        "paid in USD",
        "2099-03-05 is no day",
        "'NaN' is no amount",
    ):
        assert fault in report


def test_the_claims_are_answered_once_only(tmp_path: Path) -> None:
    database = str(tmp_path / "claims.db")
    run("expense_approval.py", "run", database, folder=tmp_path)
    run("expense_approval.py", "answer", database, folder=tmp_path)
    again = subprocess.run(
        [sys.executable, EXAMPLES / "expense_approval.py", "answer", database],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert again.returncode != 0
    assert "NothingToResume" in again.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_an_example_is_short_enough_to_read(script: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 60
