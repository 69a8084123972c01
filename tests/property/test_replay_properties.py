"""Whatever the workflow, continuing it from any prefix of its journal gives what running it through gives."""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from backends import THOROUGH, parametrized
from milepost import Command, Engine, entrypoint, interrupt, open_checkpointer, serde, task
from milepost._fold import RunState, ThreadState, voided
from milepost._struct import replace
from milepost.checkpoint import (
    Batch,
    Checkpointer,
    Failed,
    HeadPage,
    HeadQuery,
    Interrupted,
    Outcome,
    Retried,
    Status,
    Swap,
)
from milepost.errors import DivergenceError
from property.programs import Change, Program, changes, is_transient, programs
from property.stages import Paper, Stage, World, answer_to, shape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from backends import Backends
    from milepost.checkpoint import Head
    from milepost.url import URL
    from tally import Tally

ASKED_FOR = os.environ.get("MILEPOST_TEST_EXAMPLES")
MOST_WORKFLOWS = {"memory": 160, "memory-split": 80, "sqlite": 70, "s3": 5, "mongodb": 10}
MOST_CHANGED = {"memory": 100, "memory-split": 30, "sqlite": 30, "s3": 2, "mongodb": 4}
WORKFLOWS = MOST_WORKFLOWS if THOROUGH else MOST_WORKFLOWS | {"memory": 120, "memory-split": 30, "sqlite": 30}
CHANGED = MOST_CHANGED if THOROUGH else MOST_CHANGED | {"memory-split": 15, "sqlite": 15}
"""How many programs are generated, unless a number is asked for: what a server takes its time for is tried less."""
ENOUGH = 100
"""From how many programs on their shares are judged."""
MODES = ("1", "2", "8", "replay-always")
TURNS = ("1", "2", "8", "replay-always", "2", "1", "8")
THREAD = "thread"
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


# -- backends --------------------------------------------------------------------------------------------------------


class Place(Checkpointer):
    """A driver on which nothing was ever kept: one thread of a driver that has many."""

    def __init__(self, driver: Checkpointer, name: str, *, slow: bool = False) -> None:
        self.capabilities = driver.capabilities
        self.max_batch_bytes = driver.max_batch_bytes
        self._driver = driver
        self._name = name
        self._slow = slow

    @classmethod
    def from_url(cls, url: URL) -> Place:
        raise NotImplementedError

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        if self._slow:  # for some appends, so that others queue up behind them
            threading.Event().wait(len(data) % 3 * 0.0004)
        if swap is not None:
            swap = Swap(head=replace(swap.head, thread=self._name), expected=swap.expected)
        self._driver._append(self._name, position, data, swap)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        return self._driver._read(self._name, start, limit)

    def _tail(self, thread: str, hint: int) -> int:
        return self._driver._tail(self._name, hint)

    def _load_head(self, thread: str) -> bytes | None:
        return self._driver._load_head(self._name)

    def _swap_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        return self._driver._swap_head(replace(head, thread=self._name), data, expected)

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        raise NotImplementedError

    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:
        raise NotImplementedError

    def _delete(self, thread: str, grave: int | None) -> None:
        raise NotImplementedError


@dataclass
class Ground:
    """A backend's name, and as many places on it as are asked for."""

    name: str
    driver: Checkpointer
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def fresh(self, kind: type[Place] = Place, **options: bool) -> Place:
        return kind(self.driver, f"{THREAD}-{next(self.numbers)}", **options)

    def examples(self, usual: dict[str, int]) -> int:
        return int(ASKED_FOR or usual[self.name])

    def varied(self, check: Callable[[], None]) -> Callable[[], None]:
        """Have a repeatable search generate other programs on each backend."""
        return check if ASKED_FOR else seed(crc32(self.name.encode()))(check)


@pytest.fixture(params=parametrized())
def ground(request: pytest.FixtureRequest, backends: Backends, tmp_path: Path) -> Iterator[Ground]:
    with backends.fresh(request.param, tmp_path) as url, open_checkpointer(url) as driver:
        yield Ground(request.param, driver)


# -- running ---------------------------------------------------------------------------------------------------------


@dataclass
class Story:
    """What callers see of a thread: how each run ended, and what each of its pauses asked."""

    ends: list[tuple[str, str]] = field(default_factory=list)
    asked: list[list[list[str]]] = field(default_factory=list)


def tell(stage: Stage, engine: Engine, first: int = 0, *, on_record: bool = False) -> Story:
    """Run the program's runs from ``first`` on; that one is continued where it is ``on_record``."""
    story = Story()
    with engine:
        for number in range(first, len(stage.program.runs)):
            given = None if on_record else {"run": number, "value": (number, "input")}
            pauses: list[list[str]] = []
            story.ends.append(_finish(stage, given, pauses))
            story.asked.append(pauses)
            on_record = False
    return story


def _finish(stage: Stage, command: Any, pauses: list[list[str]]) -> tuple[str, str]:
    """Answer, retry and continue one run until it is over."""
    retries = stage.program.retries
    for _ in range(MOST_CALLS):
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
        if not (type(value) is dict and "__interrupt__" in value):
            return "returned", shape(value)
        pauses.append([shape(question.value) for question in value["__interrupt__"]])
        command = _answers(stage.program, value["__interrupt__"])
    raise AssertionError(f"no end after {MOST_CALLS} calls")


def _answers(program: Program, questions: list[Any]) -> Command:
    if len(questions) == 1 and program.answers == "all":
        return Command(resume=answer_to(questions[0].value))
    chosen = questions if program.answers == "all" else questions[:1]
    return Command(resume={question.id: answer_to(question.value) for question in chosen})


# -- journals --------------------------------------------------------------------------------------------------------


@dataclass
class Tape:
    """Keeps each head that a driver set, and how long the journal was by then."""

    heads: list[tuple[int, Head]] = field(default_factory=list)

    @contextmanager
    def watch(self, driver: Checkpointer) -> Iterator[None]:
        append, swap_head = driver._append, driver._swap_head

        def watched_append(thread: str, position: int, data: bytes, swap: Swap | None) -> None:
            append(thread, position, data, swap)
            if swap is not None:
                self.heads.append((position + 1, swap.head))

        def watched_swap(head: Head, data: bytes, expected: int | None) -> bool:
            swapped = swap_head(head, data, expected)
            if swapped:
                self.heads.append((driver.tail(THREAD), head))
            return swapped

        driver._append, driver._swap_head = watched_append, watched_swap  # type: ignore[method-assign]
        try:
            yield
        finally:
            del driver._append, driver._swap_head

    def head(self, length: int, choice: int) -> Head | None:
        """Return the head as it was at a length of the journal, or an older one, or none."""
        known = [head for at, head in self.heads if at <= length]
        if not known or choice % 4 == 3:
            return None
        return known[-1] if choice % 2 == 0 else known[choice % len(known)]


@dataclass
class Journal:
    """A journal as it was read, folded, with the outcomes that count by run and call."""

    pages: list[bytes]
    batches: list[Batch]
    runs: list[RunState]
    state: ThreadState

    @property
    def fails(self) -> bool:
        """Whether anything ever failed."""
        records = [record for batch in self.batches for record in batch.records]
        return any(isinstance(r, Failed) or (isinstance(r, Outcome) and r.error) for r in records)

    def outcomes(self) -> dict[tuple[int, str], Outcome]:
        """Return the outcomes that count, by run and call."""
        return {
            (number, call): outcome
            for number, run in enumerate(self.runs)
            for call, (outcome, _) in run.outcomes.items()
        }

    def ending(self, outcome: Outcome) -> str:
        """Return what became of a call, as a text that is equal for equal endings."""
        if outcome.error is not None:
            return f"{outcome.error.type}: {outcome.error.message}"
        if outcome.result is None:
            return "cancelled"
        value, target = outcome.result, outcome.result.target
        if target is not None:
            records = self.batches[target[0]].records
            value = next(r.result for r in records if isinstance(r, Outcome) and r.call == target[1])
        return str(shape(serde.decode(value.raw, where=outcome.name)))


def fold(batches: list[Batch]) -> tuple[ThreadState, list[RunState]]:
    state, runs = ThreadState(thread=THREAD), []
    for position, batch in enumerate(batches):
        state.apply(position, batch)
        if state.run is not None and (not runs or runs[-1] is not state.run):
            runs.append(state.run)
    return state, runs


def read(driver: Checkpointer, known: list[Batch]) -> Journal:
    """Read the journal of a thread at rest: no gap, nothing that the rules refuse.

    If anything follows the batches that are ``known``, the head agrees with the journal.
    """
    pages = [data for _, data in driver._read(THREAD, 0, 10_000)]
    batches = [*known, *(batch for _, batch in driver.read(THREAD, len(known)))]
    assert driver.tail(THREAD) == len(batches) == len(pages)
    assert len({batch.id for batch in batches}) == len(batches)
    state, runs = fold(batches)
    assert state.rejected == []
    if len(batches) > len(known):
        head = driver.load_head(THREAD)
        assert head is not None
        assert head.owner is None
        assert (head.status, head.run, head.pending) == (state.status, runs[-1].position, runs[-1].pending)
    return Journal(pages=pages, batches=batches, runs=runs, state=state)


def check_same_outcomes(one: Journal, other: Journal) -> None:
    """Equal calls ended equally; other calls were made only after a look at a race, or around a failure."""
    outcomes, others = one.outcomes(), other.outcomes()
    for place in outcomes.keys() & others.keys():
        first, second = outcomes[place], others[place]
        if first is second:
            continue
        if first.name.startswith("after-"):
            assert second.name.startswith("after-")
            continue
        assert (place, first.name, first.digest) == (place, second.name, second.digest)
        if first.name != "race-cancel" or first.cancelled == second.cancelled:
            assert (place, one.ending(first)) == (place, other.ending(second))
    if not (one.fails or other.fails):
        assert outcomes.keys() == others.keys()


def check_executed_as_recorded(stage: Stage, journal: Journal, start: int = 0) -> None:
    """From batch ``start`` on, which nothing cut off, leaves executed once for each outcome that was recorded."""
    recorded: Counter[tuple[str, str]] = Counter()
    starts = [run.position for run in journal.runs]
    for position, batch in enumerate(journal.batches):
        run = journal.runs[sum(at <= position for at in starts) - 1]
        if position >= start:
            recorded.update(
                (run.id, record.call)
                for record in batch.records
                if isinstance(record, Outcome) and not record.cancelled
            )
    executed = Counter((done.run, done.call) for done in stage.executed)
    assert recorded <= executed
    for place in {(done.run, done.call) for done in stage.executed if done.leaf and done.call}:
        assert executed[place] == recorded[place]


def check_questions(story: Story, direct: Story, journal: list[Batch], first: int) -> None:
    """From the end of this journal on, the same questions are asked in the same order."""
    state, runs = fold(journal)
    shown = 0
    if runs:
        records = [record for batch in journal[runs[-1].position :] for record in batch.records]
        shown = sum(isinstance(record, Interrupted) for record in records)
        shown -= state.status is Status.INTERRUPTED
    expected = direct.asked[first:]
    assert story.asked == [expected[0][shown:], *expected[1:]]


# -- continuing from a prefix ----------------------------------------------------------------------------------------


@dataclass
class Direct:
    """A program, run through on a backend of its own."""

    program: Program
    story: Story
    journal: Journal
    tape: Tape
    executed: list[Any]

    @classmethod
    def run(cls, program: Program, engine: Engine, driver: Checkpointer) -> Direct:
        tape = Tape()
        stage = Stage(program, driver, World())
        with tape.watch(driver):
            story = tell(stage, engine)
        journal = read(driver, [])
        check_executed_as_recorded(stage, journal)
        return cls(program, story, journal, tape, stage.executed)

    def copy(self, length: int, driver: Checkpointer, choice: int) -> None:
        """Put a prefix of the journal into an empty backend, with a head that matches it, an older one, or none."""
        for position, data in enumerate(self.journal.pages[:length]):
            driver._append(THREAD, position, data, None)
        head = self.tape.head(length, choice)
        if head is not None:
            assert driver.swap_head(Swap(head=head, expected=None))


def check_prefix(direct: Direct, length: int, engine: Engine, driver: Checkpointer, choice: int) -> None:
    prefix = direct.journal.batches[:length]
    state, runs = fold(prefix)
    direct.copy(length, driver, choice)
    calm = choice % 5 == 4
    stage = Stage(direct.program, driver, World(calm=calm))
    first = max(len(runs) - 1, 0)
    story = tell(stage, engine, first, on_record=bool(runs))
    assert story.ends == direct.story.ends[first:]
    journal = read(driver, prefix)
    if (
        not calm
    ):  # where a failure does not happen again, a call may end otherwise, and a question come earlier
        check_questions(story, direct.story, prefix, first)
        check_same_outcomes(direct.journal, journal)
    check_executed_as_recorded(stage, journal, length)
    if state.run is not None:
        later = [record for batch in journal.batches[length:] for record in batch.records]
        tried_again = {call for record in later if isinstance(record, Retried) for call in record.voids}
        executed = {done.call for done in stage.executed if done.run == state.run.id}
        assert not executed & (state.run.outcomes.keys() - tried_again)


class Counts:
    """Counts what was generated."""

    def __init__(self) -> None:
        self.numbers = itertools.count()
        self.kinds: Counter[str] = Counter()
        self.seen: set[str] = set()
        self.prefixes = 0

    def count(self, direct: Direct) -> None:
        journal, text = direct.journal, repr(direct.program)
        if text in self.seen:
            return
        self.seen.add(text)
        self.kinds["nested"] += any("." in call for _, call in journal.outcomes())
        self.kinds["failing"] += journal.fails
        self.kinds["interrupting"] += any(direct.story.asked)
        self.kinds["racing"] += any(o.name.startswith("after-") for o in journal.outcomes().values())
        self.kinds["with several runs"] += len(direct.program.runs) > 1

    def shares(self) -> str:
        return ", ".join(f"{kind} {count / len(self.seen):.0%}" for kind, count in self.kinds.items())


@pytest.mark.no_cover  # what it runs is covered elsewhere, and measuring doubles its time
@pytest.mark.timeout(1800)
def test_continuing_from_every_prefix_equals_the_direct_run(
    engines: dict[str, Engine], ground: Ground, tally: Tally
) -> None:
    counts = Counts()

    @settings(max_examples=ground.examples(WORKFLOWS), report_multiple_bugs=False)
    @given(programs())
    def check(program: Program) -> None:
        number = next(counts.numbers)
        mode, other = MODES[number % 4], MODES[(number + 1 + number // 4 % 3) % 4]
        direct = Direct.run(program, engines[mode], ground.fresh(slow=number % 3 == 0))
        assert direct.story.ends == Paper().runs(program)
        again = Direct.run(program, engines[other], ground.fresh(slow=number % 3 == 1))
        assert again.story == direct.story
        check_same_outcomes(again.journal, direct.journal)
        counts.count(direct)
        for length in range(len(direct.journal.batches) + 1):
            choice = number + length
            check_prefix(direct, length, engines[TURNS[choice // 4 % len(TURNS)]], ground.fresh(), choice)
            counts.prefixes += 1

    ground.varied(check)()
    seen = len(counts.seen)
    tally(
        "generated workflows",
        f"{ground.name}: {seen} workflows continued from {counts.prefixes} prefixes: {counts.shares()}",
    )
    assert ASKED_FOR or seen >= 0.8 * WORKFLOWS[ground.name]
    common = ("nested", "failing", "interrupting")
    assert seen < ENOUGH or all(counts.kinds[kind] * 10 >= seen for kind in common)


# -- changed programs ------------------------------------------------------------------------------------------------


def _live_prefixes(direct: Direct, change: Change) -> list[tuple[int, str]]:
    """Return the prefixes that hold the outcome of the changed call while its caller has yet to run again."""
    calls = {
        (done.run, done.call)
        for done in direct.executed
        if done.label.rpartition("/")[2] == change.site and "@" not in done.label
    }
    found = []
    for run_id, call in calls:
        for length in range(1, len(direct.journal.batches) + 1):
            state, _ = fold(direct.journal.batches[:length])
            run = state.run
            if run is None or run.id != run_id or run.status is Status.DONE or call not in run.outcomes:
                continue
            if any(call.startswith(f"{other}.") for other in run.outcomes):
                continue
            if run.failed is not None and call in voided(run, run.failed.caused_by):
                continue
            found.append((length, call))
    return found


def check_change(
    direct: Direct, change: Change, length: int, call: str, engine: Engine, driver: Checkpointer
) -> bool:
    """Continue a changed program from a prefix, then restore it; return whether the change was found."""
    prefix = direct.journal.batches[:length]
    direct.copy(length, driver, 0)
    first = len(fold(prefix)[1]) - 1
    try:
        story = tell(Stage(change.program, driver, World()), engine, first, on_record=True)
    except DivergenceError as error:
        shown = (error.call, error.recorded is not None and error.recorded in str(error))
    else:
        check_excused(direct, change, call, story, read(driver, prefix), first)
        return False
    assert shown == (call, True)
    journal = read(driver, prefix)
    assert journal.state.status is Status.FAILED
    story = tell(Stage(direct.program, driver, World()), engine, first, on_record=True)
    assert story.ends == direct.story.ends[first:]
    check_questions(story, direct.story, journal.batches, first)
    return True


def check_excused(
    direct: Direct, change: Change, call: str, story: Story, journal: Journal, first: int
) -> None:
    """A change may go unseen only where an exception comes before it: nothing on record was used, then."""
    if story.ends[0] == direct.story.ends[first] and story.ends[0][0] == "raised":
        return
    assert change.kind == "removed"
    assert story.ends[0] == Paper().runs(change.program)[first]
    caller = call.rpartition(".")[0]
    if caller:
        assert journal.runs[first].outcomes[caller][0].error is not None
    else:
        assert story.ends[0][0] == "raised"


@pytest.mark.no_cover  # what it runs is covered elsewhere, and measuring doubles its time
@pytest.mark.timeout(1800)
def test_a_changed_call_is_found_and_the_restored_program_continues(
    engines: dict[str, Engine], ground: Ground, tally: Tally
) -> None:
    found: Counter[str] = Counter()
    unseen: Counter[str] = Counter()

    @settings(max_examples=ground.examples(CHANGED), report_multiple_bugs=False)
    @given(programs(), st.integers(0, 999), st.sampled_from(MODES))
    def check(program: Program, start: int, mode: str) -> None:
        every = list(changes(program))
        if not every:
            return
        direct = Direct.run(program, engines[mode], ground.fresh())
        for place in range(start, start + min(len(every), 6)):
            change = every[place % len(every)]
            live = _live_prefixes(direct, change)
            for length, call in live[:1] + live[1:][-1:]:
                if check_change(direct, change, length, call, engines[mode], ground.fresh()):
                    found[change.kind] += 1
                else:
                    unseen[change.kind] += 1

    ground.varied(check)()
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(found.items()))
    tally(
        "generated workflows",
        f"{ground.name}: {found.total()} continuations of changed workflows stopped ({kinds}), "
        f"{unseen.total()} failed before",
    )
    every_kind = {"renamed", "re-argued", "removed", "inserted", "reordered"}
    assert set(found) == every_kind or ground.examples(CHANGED) < ENOUGH
    assert found.total() >= ground.examples(CHANGED)
    assert found.total() >= 20 * unseen.total() or ground.examples(CHANGED) < ENOUGH


# -- what was found this way -----------------------------------------------------------------------------------------


class Gated(Place):
    """Stops in the middle of the append that records the task ``first``."""

    def __init__(self, driver: Checkpointer, name: str) -> None:
        super().__init__(driver, name)
        self.entered, self.goes_on = threading.Event(), threading.Event()

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        if b'"name":"first"' in data:
            self.entered.set()
            self.goes_on.wait(0.3)
        super()._append(thread, position, data, swap)


@task
def first() -> str:
    return "first"


@task
def second() -> str:
    return "second"


def test_what_a_body_sees_while_an_append_is_in_flight_is_recorded(
    engines: dict[str, Engine], ground: Ground
) -> None:
    driver, looked, ends = ground.fresh(Gated), threading.Event(), threading.Event()

    @task(name="first")
    def after_the_first_look() -> None:
        looked.wait()

    @task
    def third() -> None:
        ends.wait()

    @entrypoint(checkpointer=driver)
    def look_twice(_: None) -> list[bool]:
        future, begun = third(), after_the_first_look()
        seen = [future.done()]
        looked.set()
        driver.entered.wait()
        seen.append(future.done())
        driver.goes_on.set()
        ends.set()
        begun.result()
        future.result()
        return seen

    with engines["2"]:
        assert look_twice.invoke(0, thread_id=THREAD) == [False, False]
    state, _ = fold([batch for _, batch in driver.read(THREAD)])
    assert state.run is not None
    assert [state.run.observed["", number].answer for number in range(2)] == [False, False]


def test_cancel_says_that_it_cancelled_while_an_append_is_in_flight(
    engines: dict[str, Engine], ground: Ground
) -> None:
    driver = ground.fresh(Gated)

    @entrypoint(checkpointer=driver)
    def cancel_one(_: None) -> tuple[bool, bool]:
        begun = first()
        driver.entered.wait()
        future = second()
        answer = future.cancel()
        begun.result()
        return answer, future.cancelled()

    with engines["1"]:
        assert cancel_one.invoke(0, thread_id=THREAD) == (True, True)


def test_a_question_whose_asker_has_failed_is_not_asked(engines: dict[str, Engine], ground: Ground) -> None:
    begun = threading.Event()

    @task
    def ask() -> Any:
        begun.set()
        return interrupt("nobody waits for this")

    @task
    def fail() -> None:
        ask()
        begun.wait()
        raise ValueError("failed")

    @entrypoint(checkpointer=ground.fresh())
    def go_on(_: None) -> Any:
        try:
            fail().result()
        except ValueError:
            return interrupt("what now?")

    with engines["8"]:
        asked = go_on.invoke(0, thread_id=THREAD)
        assert [question.value for question in asked["__interrupt__"]] == ["what now?"]
        assert go_on.invoke(Command(resume="on"), thread_id=THREAD) == "on"
