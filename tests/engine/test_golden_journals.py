"""Journals written by every format stay here as files; this version opens them and goes on with their runs.

A file is one line of JSON per batch, as it lies in the backend. A new format adds a file; none is ever changed.
"""

from __future__ import annotations

import datetime as dt  # noqa: TC003 - the annotation is resolved at run time
from pathlib import Path

import pytest

import milepost
from milepost import Command, as_completed, entrypoint, interrupt, task
from milepost.checkpoint import Batch, Head, Status, Swap
from milepost.memory import MemoryCheckpointer

FOLDER = Path(__file__).with_name("golden")
FILES = sorted(FOLDER.glob("*.jsonl"))
THREAD = "golden"
WEATHER = {"fails": False}


@task
def fetch(name: str) -> tuple[str, dt.date]:
    raise AssertionError(f"{name} is on record and must not run again")


@task
def approve(name: str) -> bool:
    return bool(interrupt({"approve": name}))


@task
def parse(text: str) -> int:
    raise AssertionError("its failure is on record")


@task
def publish(names: list[str]) -> str:
    if WEATHER["fails"]:
        raise ConnectionError("the press is offline")
    return ", ".join(names)


def body(names: list[str], *, previous: object = None) -> object:
    fetched = [fetch(name) for name in names]
    found = [future.result()[0] for future in as_completed(fetched)]
    try:
        parse("twelve").result()
    except ValueError as error:
        found.append(str(error))
    asked = [approve(name) for name in names]
    if not all(future.result() for future in asked):
        return entrypoint.final(value="dropped", save=previous)
    return entrypoint.final(value=publish(found).result(), save={"runs": 1, "before": previous})


def load(file: Path) -> MemoryCheckpointer:
    """Put a golden journal into a fresh backend; its head is made anew, as after a crash that lost it."""
    backend = MemoryCheckpointer()
    for position, line in enumerate(file.read_bytes().splitlines()):
        batch = Batch.decode(line, thread=THREAD, position=position)
        assert batch.encode() == line, "what is read is written back to the letter"
        backend.append(THREAD, position, batch)
    head = Head(
        thread=THREAD, version=1, status=Status.INTERRUPTED, workflow="body", run=0, nonce="n", updated="then"
    )
    assert backend.swap_head(Swap(head=head, expected=None))
    return backend


def test_there_is_a_golden_journal_for_every_format():
    from milepost.checkpoint import FORMAT

    assert {f"format{number}" for number in range(1, FORMAT + 1)} <= {file.stem for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_golden_journal_is_opened_and_its_run_goes_on(file: Path):
    workflow = entrypoint(checkpointer=load(file))(body)
    with milepost.Engine():
        state = workflow.get_state(thread_id=THREAD)
        assert state.status == Status.INTERRUPTED
        assert [task.status for task in state.tasks if task.name == "parse"] == ["failed"]
        (question,) = state.interrupts
        assert question.value == {"approve": "b"}
        result = workflow.invoke(Command(resume={question.id: True}), thread_id=THREAD)
        assert result == "A of b, A of a, invalid literal for int() with base 10: 'twelve'"
        assert workflow.invoke(None, thread_id=THREAD) == result
