"""Coroutines side by side, in random programs: however their calls end and wherever they are stopped, replay agrees."""

from __future__ import annotations

import asyncio
import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from milepost import Command, Engine, InMemorySaver, entrypoint, interrupt, task
from milepost.checkpoint import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from milepost.checkpoint import Batch

EXAMPLES = int(os.environ.get("MILEPOST_TEST_EXAMPLES", "40"))

# -- programs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Do:
    """Call a task and await it: ``plain``, ``coroutine``, ``failing``, or one whose awaiting is ``timed`` out."""

    kind: str


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask a question."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Give the loop a turn."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other; what has been done goes into a list that all coroutines share."""

    steps: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Gather:
    """Side by side: ``gather``, ``group``, ``completed`` one by one, or ``wait`` for the first and call again."""

    how: str
    steps: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Within:
    """In a task or a nested workflow of its own."""

    how: str
    step: Any


leaves = st.one_of(
    st.sampled_from(["plain", "coroutine", "coroutine", "failing", "timed"]).map(Do),
    st.just(Ask()),
    st.just(Turn()),
)
calls = st.sampled_from(["plain", "coroutine", "failing"]).map(Do)
raced = st.one_of(calls, st.lists(calls, min_size=1, max_size=3).map(lambda steps: Sequence(tuple(steps))))
programs = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda steps: Sequence(tuple(steps))),
        st.builds(
            Gather,
            st.sampled_from(["gather", "group", "completed"]),
            st.lists(inner, min_size=2, max_size=3).map(tuple),
        ),
        st.builds(Gather, st.just("wait"), st.lists(raced, min_size=2, max_size=4).map(tuple)),
        st.builds(Within, st.sampled_from(["task", "workflow"]), inner),
    ),
    max_leaves=10,
)


class Unshared(list[Any]):
    """Stays empty."""

    def append(self, _item: Any, /) -> None:
        """Do nothing."""


class Interpreter:
    """Runs programs; ``chance`` decides how many turns each task takes, and so the order in which they end."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.executed: list[str] = []

        @task
        async def coroutine(site: str, seen: int) -> str:
            await self.work(site)
            return f"{site}:{seen}"

        @task
        def plain(site: str, seen: int) -> str:
            self.executed.append(site)
            return f"{site}:{seen}"

        @task
        async def failing(site: str, seen: int) -> str:
            await self.work(site)
            raise ValueError(f"{site}:{seen}")

        @task
        async def timed(site: str, seen: int) -> str:  # not counted: beside a question it may be begun again
            await asyncio.Event().wait()
            return f"{site}:{seen}"

        @task
        async def within(step: Any, site: str) -> Any:
            return await self.run(step, site, [])

        @entrypoint
        async def nested(asked: Any) -> Any:
            return await self.run(*asked, [])

        self.tasks = {"coroutine": coroutine, "plain": plain, "failing": failing, "timed": timed}
        self.within, self.nested = within, nested

    async def work(self, site: str) -> None:
        self.executed.append(site)
        for _ in range(self.chance.randrange(6)):
            await asyncio.sleep(0)

    async def run(self, step: Any, site: str, shared: list[Any]) -> Any:
        if any(word in repr(step) for word in ("Ask", "Turn", "timed")):
            shared = (
                Unshared()
            )  # what races with an answer, a turn of the loop or a time may not decide what is called
        found = await getattr(self, f"_{type(step).__name__.lower()}")(step, site, shared)
        shared.append(site)
        return found

    async def _do(self, step: Do, site: str, shared: list[Any]) -> Any:
        called = self.tasks[step.kind](site, len(shared))
        try:
            return await (asyncio.wait_for(called, 0.01) if step.kind == "timed" else called)
        except (ValueError, TimeoutError) as error:
            return repr(error)

    async def _ask(self, _step: Ask, site: str, _shared: list[Any]) -> Any:
        return interrupt(site)

    async def _turn(self, _step: Turn, site: str, _shared: list[Any]) -> Any:
        await asyncio.sleep(0)
        return site

    async def _sequence(self, step: Sequence, site: str, shared: list[Any]) -> Any:
        return [await self.run(each, f"{site}{n}", shared) for n, each in enumerate(step.steps)]

    async def _gather(self, step: Gather, site: str, shared: list[Any]) -> Any:
        coroutines = [self.run(each, f"{site}{n}", shared) for n, each in enumerate(step.steps)]
        if step.how == "gather":
            return await asyncio.gather(*coroutines)
        if step.how == "group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(each) for each in coroutines]
            return [each.result() for each in tasks]
        if step.how == "completed":
            tasks = [
                asyncio.create_task(each) for each in coroutines
            ]  # as_completed itself begins them at random
            return [await each for each in asyncio.as_completed(tasks)]
        waiting, found = {asyncio.ensure_future(each) for each in coroutines}, []
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            found.append(sorted(repr(each.result()) for each in done))
            found.append(await self.tasks["plain"](f"{site}!{len(found)}", len(found)))
        return found

    async def _within(self, step: Within, site: str, _shared: list[Any]) -> Any:
        if step.how == "task":
            return await self.within(step.step, f"{site}/")
        return await self.nested.ainvoke((step.step, f"{site}/"))


def answer(asked: Any) -> Command:
    return Command(resume={each.id: each.value.upper() for each in asked["__interrupt__"]})


class Saver(InMemorySaver):
    """Keeps so many batches, after which the process counts as dead."""

    def __init__(self, kept: Iterable[tuple[int, Batch]] = ()) -> None:
        super().__init__()
        for position, batch in kept:
            self.append("t", position, batch)


def execute(program: Any, saver: Saver, seed: int, *, replay_always: bool = False) -> tuple[Any, list[str]]:
    """Run the program to its end, or on to it, answering what it asks; return its value and what was executed."""
    interpreter = Interpreter(seed)

    @entrypoint
    async def body(_given: str) -> Any:
        return await interpreter.run(program, "s", [])

    async def main() -> Any:
        noise: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: noise.append(context))
        found = await body.ainvoke(None if saver.tail("t") else "begin", thread_id="t")
        while isinstance(found, dict):
            found = await body.ainvoke(answer(found), thread_id="t")
        assert not noise
        return found

    engine = Engine(checkpointer=saver, workers=2, pause_wait=0.05, replay_always=replay_always)
    with engine:
        value = asyncio.run(main())
    engine.close()
    return value, interpreter.executed


# -- properties ------------------------------------------------------------------------------------------------------


def kept(journal: list[tuple[int, Batch]]) -> set[str]:
    """Return the sites of the calls that have a result or a failure on record."""
    records = [record for _, batch in journal for record in batch.records if isinstance(record, Outcome)]
    shown = [record.shows.partition("'")[2].partition("'")[0] for record in records if not record.cancelled]
    return set(shown)


def check(program: Any, seed: int) -> None:
    """Run through, then on from each prefix of the journal, where calls end in other orders; all of it replays."""
    with Saver() as saver:
        value, _ = execute(program, saver, seed)
        journal = list(saver.read("t"))
        assert execute(program, saver, seed + 1) == (value, [])
    for length in range(1, len(journal) + 1):
        with Saver(journal[:length]) as saver:
            _, executed = execute(program, saver, seed + length)
            assert not set(executed) & kept(journal[:length]), "nothing on record is executed again"
            assert len(executed) == len(set(executed))


@settings(max_examples=EXAMPLES)
@given(programs, st.integers(0, 99))
def test_coroutines_go_on_from_every_prefix_of_their_journal(program: Any, seed: int) -> None:
    check(program, seed)


@settings(max_examples=EXAMPLES // 4)
@given(programs.filter(lambda program: "timed" not in repr(program)), st.integers(0, 99))
def test_coroutines_bear_being_replayed_after_every_outcome(program: Any, seed: int) -> None:
    with Saver() as saver:
        _, executed = execute(program, saver, seed, replay_always=True)
    assert len(executed) == len(set(executed))
