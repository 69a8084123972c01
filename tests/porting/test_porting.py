"""A program that uses all of LangGraph's Functional API runs here with only its imports changed.

`langgraph-1.2.22.txt` is what it prints under LangGraph; `nox -s porting` makes it anew and compares. The sections
print the same here, but for those named after a fault of LangGraph: what they print, and why, stands in ``FAULTS``.
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

LABELLED = [("updates", {"double": 2}), ("updates", {"workflow": [2, None]}), ("values", [2, None])]

FAULTS = {
    "w01_a_limit_of_one": (
        ["result: [2]"],
        "a body and a task that waits hold no slot, so one is enough",
    ),
    "w02_a_late_answer": (
        [
            "answered: ['first', 'yes']",
            "late answer: 'refused'",
            "next run: {'__interrupt__': [Interrupt('approve second?', id 1)]}",
        ],
        "an answer belongs to one question, and is not kept for another",
    ),
    "w03_none_is_no_answer": (
        [
            "second question: {'__interrupt__': [Interrupt('delete the original?', id 1)]}",
            "none: {'__interrupt__': [Interrupt('delete the original?', id 1)]}",
        ],
        "an answer is used up; going on answers nothing",
    ),
    "w04_parallel_questions": (
        ["shown: 3", "all answered: 'list'"],
        "every question of tasks side by side is shown and can be answered",
    ),
    "w05_two_answers_at_once": (
        ["second answer: 'refused'", "first answer: [1]", "paid: [1]"],
        "a thread has one owner; the second caller is told",
    ),
    "w09_old_values": (
        ["pause: {'__interrupt__': [Interrupt('?', id 1)]}", "values: [{'answer': 'yes'}]"],
        "a pause shows questions alone, and a stream what happens in it alone",
    ),
    "w10_a_retried_body": (
        ["result: 'receipt' ['charged']"],
        "a finished task is on record, for another attempt of the body, too",
    ),
    "w11_questions_nobody_waits_for": (
        [
            "asks: {'__interrupt__': [Interrupt('sure?', id 1)]}",
            "is over: ('asks',)",
            "fails: 'ValueError: unheard'",
        ],
        "what a run has begun is part of it: its questions are asked and its errors are raised",
    ),
    "w12_other_code": (
        ["resumed: 'refused'"],
        "a call with other arguments than the one on record does not get that one's result",
    ),
    "w12_a_caught_failure": (
        [
            "asked: {'__interrupt__': [Interrupt('ConnectionError: the first time; go on?', id 1)]}",
            "resumed: ['yes', 'ConnectionError: the first time']",
        ],
        "a failure that the body caught is an outcome: the branch it took is taken again",
    ),
    "w12_another_workflow": (
        ["other: 'refused'", "mine: 'yes'"],
        "a thread belongs to its workflow",
    ),
    "w13_a_swallowed_question": (
        ["result: {'__interrupt__': [Interrupt('sure?', id 1)]}"],
        "a pause is no Exception",
    ),
    "w14_closures_in_a_cache": (
        ["result: [20, 30]"],
        "what a function closes over is part of the cache's key",
    ),
    "w14_one_call_at_a_time": (
        ["result: [1, 1, 1, 1]", "made once: True"],
        "equal calls at the same moment wait for the first",
    ),
    "w15_timeouts_of_functions": (
        ["result: 'too late'"],
        "the caller goes on and the late outcome is discarded",
    ),
    "w17_types_after_a_pause": (
        ["seen: (1, (2, 3)) (1, (2, 3))"],
        "a value comes back in value and type",
    ),
    "w17_values_that_cannot_be_kept": (
        ["asked: {'__interrupt__': [Interrupt('go on?', id 1)]}"],
        "the error is raised at result(), where the body can handle it",
    ),
    "w21_commands": (
        [
            "an empty command: 'InvalidCommand'",
            "None is an answer: [None]",
            "a command on a fresh thread: 'refused'",
        ],
        "a command is never an input, and None is an answer like others",
    ),
    "w21_mistakes": (
        [
            "a stream mode: 'refused'",
            "no stream mode: 'refused'",
            f"modes in a tuple: {LABELLED}",
            "a durability: 'refused'",
            "a checkpoint: 'refused'",
            "a question without a checkpointer: 'refused'",
        ],
        "a word that nobody knows is an error, and so is a dead end",
    ),
    "w22_tasks_on_record": (
        ["double is there: True"],
        "a snapshot shows the calls of the run",
    ),
    "w22_ends_of_replayed_tasks": (
        ["without an end: []"],
        "starts and ends balance, after an answer, too",
    ),
    "w23_when_an_item_was_created": (
        ["stays: True"],
        "putting an item again changes when it was updated, not when it was created",
    ),
    "w23_what_readers_do": (
        ["value: {'n': [1]}", "namespaces: [('a',)]", "after deleting: []"],
        "a reader gets a copy and leaves no trace",
    ),
    "w25_context_after_a_pause": (
        ["after the pause: 'large'"],
        "the context is recorded with the run",
    ),
    "w25_custom_events_again": (
        ["before: ['begun']", "after: []"],
        "what was written before a pause is not written again",
    ),
}


@pytest.fixture(scope="module")
def ours():
    """What the program prints here, with its imports changed."""
    done = subprocess.run(
        [sys.executable, HERE / "porting.py", "milepost"],
        env={key: value for key, value in os.environ.items() if not key.startswith("MILEPOST_")},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sections_of(done.stdout)


@pytest.mark.parametrize("name", [name for name in THEIRS if name not in FAULTS])
def test_a_section_prints_what_it_prints_under_langgraph(ours, name):
    assert "\n".join(ours[name]) == "\n".join(THEIRS[name])


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_langgraph_does_not_happen_here(ours, name):
    expected, _ = FAULTS[name]
    assert ours[name] == expected
    assert THEIRS[name] != expected, "this is no fault any more: let both print the same"


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
    assert not [line for lines in THEIRS.values() for line in lines if line.startswith("!")]


def test_nothing_but_imports_is_changed(monkeypatch):
    """Each line that differs in the ported program begins an import, and nothing else names either library."""
    monkeypatch.syspath_prepend(HERE)
    import porting

    lines = 0
    for part in PARTS:
        source = part.read_text(encoding="utf-8")
        ported = porting.ported(source)
        compared = difflib.ndiff(source.splitlines(), ported.splitlines())
        changed = [line[2:] for line in compared if line[:2] in ("- ", "+ ")]
        assert changed
        assert all(re.match(r"from (langgraph|langchain_core|milepost)\b.* import", line) for line in changed)
        code = re.sub(r'""".*?"""|^from \S+ import', "", ported, flags=re.DOTALL | re.MULTILINE)
        assert not re.search("langgraph|langchain|milepost", code, re.IGNORECASE)
        lines += len(source.splitlines())
    assert lines >= 150
