"""Whatever the workflow, replaying it from any prefix of its journal gives what running it through gives."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from milepost import Command, Engine, open_checkpointer
from milepost._fold import RunState, ThreadState
from milepost._journal import dereference
from milepost.checkpoint import Batch, Failed, Interrupted, Observed, Outcome, Retried, Status, Swap
from milepost.errors import DivergenceError
from milepost.memory import MemoryCheckpointer
from property.programs import Block, Change, Program, changes, is_transient, programs
from property.stages import Paper, Stage, World, answer_to, shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from milepost.checkpoint import Checkpointer, Head

EXAMPLES = int(os.environ.get("MILEPOST_TEST_EXAMPLES", "550"))
MODES = ("1", "2", "8", "replay-always")
THREAD = "thread"
STEPS = 200
EMPTY = Program(runs=(Block(),))


@cache
def engine(mode: str) -> Engine:
    return Engine(workers=2) if mode == "replay-always" and False else _engine(mode)


def _engine(mode: str) -> Engine:
    if mode == "replay-always":
        return Engine(workers=2, replay_always=True)
    return Engine(workers=int(mode))


@pytest.fixture(autouse=True, scope="module")
def _engines() -> Iterator[None]:
    yield
    for mode in MODES:
        engine(mode).close()
    engine.cache_clear()


# -- running ---------------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """What callers see of a thread: how each run ended, and by run what each of its pauses asked."""

    ends: list[tuple[str, str]] = field(default_factory=list)
    asked: list[list[list[str]]] = field(default_factory=list)


def play(stage: Stage, mode: str, first: int = 0, *, resumes: bool = False) -> Story:
    """Run the program's runs from ``first`` on, to the end; ``resumes``: the first of them is on record already."""
    story = Story()
    with engine(mode):
        for number in range(first, len(stage.program.runs)):
            command: Any = {"run": number, "value": (number, "input")}
            pauses: list[list[str]] = []
            end = None if not resumes else (None, True)
            story.ends.append(_play_run(stage, None if end else command, pauses))
            story.asked.append(pauses)
            resumes = False
    return story


def _play_run(stage: Stage, command: Any, pauses: list[list[str]]) -> tuple[str, str]:
    retries = stage.program.retries
    for _ in range(STEPS):
        try:
            value = stage.workflow.invoke(command, thread_id=THREAD)
        except DivergenceError:
            raise
        except Exception as error:
            if not is_transient(error):
                if not retries:
                    return "raised", shape(error)
                retries = False
            command = None
            continue
        if not (type(value) is dict and set(value) == {"__interrupt__"}):
            return "returned", shape(value)
        pauses.append([shape(question.value) for question in value["__interrupt__"]])
        command = _answers(stage.program, value["__interrupt__"])
    raise AssertionError(f"no end after {STEPS} steps")


def _answers(program: Program, questions: list[Any]) -> Command:
    answers = {question.id: answer_to(question.value) for question in questions}
    if len(answers) == 1 and program.answers == "all":
        return Command(resume=next(iter(answers.values())))
    chosen = list(answers) if program.answers == "all" else [min(answers)]
    return Command(resume={id_: answers[id_] for id_ in chosen})


# -- journals --------------------------------------------------------------------------------------------------------


@dataclass
class Tape:
    """Keeps, beside a driver, each head that was set and how long the journal was by then."""

    heads: list[tuple[int, Head]] = field(default_factory=list)

    def watch(self, driver: Checkpointer) -> Checkpointer:
        append, swap = driver._append, driver._swap_head

        def watched_append(thread: str, position: int, data: bytes, with_swap: Swap | None) -> None:
            append(thread, position, data, with_swap)
            if with_swap is not None:
                self.heads.append((position + 1, with_swap.head))

        def watched_swap(head: Head, data: bytes, expected: int | None) -> bool:
            swapped = swap(head, data, expected)
            if swapped:
                self.heads.append((driver.tail(THREAD), head))
            return swapped

        driver._append, driver._swap_head = watched_append, watched_swap  # type: ignore[method-assign]
        return driver

    def head(self, length: int, choice: int) -> Head | None:
        """Return the head as it was when the journal had this length, an older one, or none."""
        known = [head for at, head in self.heads if at <= length]
        if not known or choice % 4 == 3:
            return None
        return known[-1] if choice % 2 == 0 else known[choice % len(known)]


@dataclass
class Record:
    """A journal, read and folded."""

    batches: list[Batch]
    runs: list[RunState]
    state: ThreadState
    outcomes: dict[tuple[int, str], tuple[str, str, str]]


def read(driver: Checkpointer) -> Record:
    """Read a journal; whatever happened, it holds no gap and no record that the rules refuse."""
    batches = [batch for _, batch in driver.read(THREAD)]
    assert driver.tail(THREAD) == len(batches)
    assert len({batch.id for batch in batches}) == len(batches)
    state, runs = fold(batches)
    assert state.rejected == []
    outcomes = {
        (number, call): (outcome.name, outcome.digest, _what(driver, outcome))
        for number, run in enumerate(runs)
        for call, (outcome, _) in run.outcomes.items()
    }
    return Record(batches=batches, runs=runs, state=state, outcomes=outcomes)


def fold(batches: list[Batch]) -> tuple[ThreadState, list[RunState]]:
    state, runs = ThreadState(thread=THREAD), []
    for position, batch in enumerate(batches):
        state.apply(position, batch)
        if state.run is not None and (not runs or runs[-1] is not state.run):
            runs.append(state.run)
    return state, runs


def _what(driver: Checkpointer, outcome: Outcome) -> str:
    if outcome.result is not None:
        return dereference(driver, THREAD, outcome.result).text
    if outcome.error is not None:
        return f"{outcome.error.type}: {outcome.error.message}"
    return "cancelled"


def check_at_rest(driver: Checkpointer, record: Record) -> None:
    """A thread that nobody works on has a head that tells what the journal tells."""
    head = driver.load_head(THREAD)
    assert head is not None
    assert (head.status, head.run) == (record.state.status, record.runs[-1].position)
    assert head.pending == record.runs[-1].pending
    assert head.owner is None


def check_same_outcomes(one: Record, other: Record) -> None:
    """Equal calls ended equally. What was called may differ only where the body looked at a race, or a run failed."""
    for place in one.outcomes.keys() & other.outcomes.keys():
        (name, digest, what), (other_name, other_digest, other_what) = (
            one.outcomes[place],
            other.outcomes[place],
        )
        if name.startswith("after-"):
            assert other_name.startswith("after-")
            continue
        assert (name, digest) == (other_name, other_digest)
        assert what == other_what or "cancelled" in (what, other_what)
    if not fails(one):
        assert one.outcomes.keys() == other.outcomes.keys()


def fails(record: Record) -> bool:
    records = [record for batch in record.batches for record in batch.records]
    return any(isinstance(r, Failed) or (isinstance(r, Outcome) and r.error is not None) for r in records)


def check_executed_once(stage: Stage, record: Record) -> None:
    """In runs that nothing cut off, a leaf executes once for each time that its outcome was recorded."""
    recorded = Counter(
        (run, r.call)
        for run, batch in _with_runs(record)
        for r in batch.records
        if isinstance(r, Outcome) and not r.cancelled
    )
    executed = Counter((run, path) for run, path, _ in stage.executed)
    for place, times in recorded.items():
        assert executed[place] >= times
    leaves = {(run, path) for run, path, label in stage.executed if _is_leaf(stage.program, label)}
    for place in leaves & recorded.keys():
        assert executed[place] == recorded[place]


def _with_runs(record: Record) -> Iterator[tuple[str, Batch]]:
    run = iter([*record.runs, None])
    now = following = next(run)
    for position, batch in enumerate(record.batches):
        if following is not None and position == following.position:
            now, following = following, next(run)
        yield now.id if now is not None else "", batch


def _is_leaf(program: Program, label: str) -> bool:
    site = label.rpartition("/")[2].partition("@")[0]
    return site in _leaves(program)


@cache
def _leaves(program_text: Any) -> frozenset[str]:
    raise NotImplementedError
