"""Whatever the workflow and however its runs end, each start that is told has one end, and nothing is told twice."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balance import check_balanced
from milepost import Command, Engine, events, open_checkpointer
from property.programs import Program, is_transient, programs
from property.stages import Stage, World, answer_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tally import Tally

EXAMPLES = int(os.environ.get("MILEPOST_TEST_EXAMPLES", "300"))
MODES = ("1", "2", "8", "replay-always")
MOST_CALLS = 200


@pytest.fixture(scope="module")
def engines() -> Iterator[dict[str, Engine]]:
    made = {
        mode: Engine(workers=2, replay_always=True) if mode == "replay-always" else Engine(workers=int(mode))
        for mode in MODES
    }
    yield made
    for engine in made.values():
        engine.close()


class Audience:
    """Watches every run of a program, and leaves some of the streams early."""

    def __init__(self, stage: Stage, leaves: list[int]) -> None:
        self.stage = stage
        self.leaves = leaves
        self.has_left = False
        self.kinds: Counter[str] = Counter()
        self._ended: set[str] = set()

    def watch(self, command: Any) -> Any:
        """Consume one stream, and return what to go on with; None where the run is over."""
        stream = self.stage.workflow.stream(command, thread_id="thread", stream_mode="events", subgraphs=True)
        told: list[events.Event] = []
        leave = self.leaves.pop() if self.leaves else 0
        error = None
        try:
            for namespace, event in stream:
                assert namespace == event.namespace
                told.append(event)
                if len(told) == leave:
                    break
        except Exception as raised:
            error = raised
        stream.close()
        check_balanced(told, whole=len(told) != leave)
        self._check_replayed(told, left=len(told) == leave)
        return self._next(told, error, left=len(told) == leave)

    def _check_replayed(self, told: list[events.Event], *, left: bool) -> None:
        """What is told from the record was told as it happened, unless nobody was there."""
        ended = {event.call for event in told if isinstance(event, events.Ended) and not event.replayed}
        replayed = {event.call for event in told if isinstance(event, events.Ended) and event.replayed}
        assert self.has_left or replayed <= self._ended
        self._ended |= ended
        self.has_left |= left
        self.kinds.update(type(event).__name__ for event in told)
        self.kinds["replayed"] += len(replayed)
        self.kinds["left"] += left

    def _next(self, told: list[events.Event], error: Exception | None, *, left: bool) -> Any:
        if left:
            return "again"
        last = next(event for event in reversed(told) if isinstance(event, events.Ended))
        assert last.call == ""
        if error is not None:
            assert isinstance(last, events.WorkflowFailed)
            assert last.error is error
            return "again" if is_transient(error) else None
        if isinstance(last, events.WorkflowInterrupted):
            return self._answers(last)
        assert isinstance(last, events.WorkflowFinished)
        return None

    def _answers(self, last: events.WorkflowInterrupted) -> Command:
        asked = last.interrupts if self.stage.program.answers == "all" else last.interrupts[:1]
        return Command(resume={question.id: answer_to(question.value) for question in asked})


def play(program: Program, engine: Engine, leaves: list[int]) -> Counter[str]:
    with open_checkpointer("memory://") as driver, engine:
        audience = Audience(Stage(program, driver, World()), leaves)
        for number in range(len(program.runs)):
            audience._ended.clear()
            command: Any = {"run": number, "value": (number, "input")}
            for _ in range(MOST_CALLS):
                command = audience.watch(command)
                if command is None:
                    break
                command = None if command == "again" else command
                state = audience.stage.workflow.get_state(thread_id="thread")
                if command is None and state.status == "done":
                    break  # the consumer left when there was nothing left to do
                if command is None and state.status == "interrupted":
                    command = Command(resume={asked.id: answer_to(asked.value) for asked in state.interrupts})
            else:
                raise AssertionError(f"no end after {MOST_CALLS} calls")
        return audience.kinds


@pytest.mark.no_cover  # what it runs is covered elsewhere, and measuring doubles its time
@pytest.mark.timeout(1800)
def test_every_start_has_one_end_however_runs_end(engines: dict[str, Engine], tally: Tally) -> None:
    kinds: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, report_multiple_bugs=False)
    @given(programs(), st.sampled_from(MODES), st.lists(st.integers(0, 12), max_size=3))
    def check(program: Program, mode: str, leaves: list[int]) -> None:
        kinds.update(play(program, engines[mode], [*leaves]))

    check()
    seen = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    tally("balanced events", seen)
    wanted = {"TaskFailed", "TaskInterrupted", "TaskCancelled", "WorkflowFailed", "replayed", "left"}
    assert wanted <= kinds.keys() or EXAMPLES < 100
