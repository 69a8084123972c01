"""Whatever is asked of them in whatever order, all checkpointers behave as the memory checkpointer does."""

from __future__ import annotations

import itertools
import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from milepost import open_checkpointer
from milepost.checkpoint import (
    Batch,
    Claimed,
    Head,
    HeadQuery,
    Outcome,
    Owner,
    Status,
    Swap,
    Value,
)
from milepost.errors import Closed, HeadMoved, PositionTaken

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from milepost.checkpoint import Checkpointer

HISTORIES = int(os.environ.get("MILEPOST_TEST_EXAMPLES", "40"))
STEPS = 40
AT = "2030-01-01T00:00:00+00:00"
OWNER = Owner(host="h", boot="b", pid=1, started=2, session="s")
THREADS = st.sampled_from(["a", "a/b", "a%", "A", "a\0", "é", "\U0001f98a", "a' OR 1=1 --", "z" * 512])
TEXTS = st.sampled_from(["", "x", "\0\x1f\u2028", "ü" * 300, "{}", '"', "\ud800"])
WORKFLOWS = st.sampled_from(["w", "W", "w%", "\N{SNOWMAN}"])
WAKES = st.none() | st.sampled_from([-1.0, 0.0, 1.5, 1e18])

_names = itertools.count()


class Machine(RuleBasedStateMachine):
    """Asks the model and every other driver the same, and compares answers and errors."""

    folder: Path

    sent: Any = Bundle("sent")
    """Calls of ``append`` or ``rest`` that may be sent again."""

    @initialize()
    def open_all(self) -> None:
        number = next(_names)
        self.urls = {
            "model": f"memory://model-{number}",
            "split": f"memory://split-{number}?atomic_head=false",
            "sqlite": f"sqlite:///{self.folder}/{number}.db?synchronous=normal",
        }
        self.drivers = {name: open_checkpointer(url) for name, url in self.urls.items()}
        self.batches = itertools.count()
        self.threads: set[str] = set()

    def teardown(self) -> None:
        for driver in getattr(self, "drivers", {}).values():
            driver.close()

    # -- helpers -----------------------------------------------------------------------------------------------------

    @property
    def model(self) -> Checkpointer:
        return self.drivers["model"]

    def ask(self, what: Callable[[Checkpointer], Any]) -> Any:
        """Ask every driver; return the one answer that all of them give."""
        answers = {name: _answer(what, driver) for name, driver in self.drivers.items()}
        assert answers["split"] == answers["model"]
        assert answers["sqlite"] == answers["model"]
        return answers["model"]

    def batch(self, text: str) -> Batch:
        number = next(self.batches)
        outcome = Outcome(
            call=str(number),
            name=text,
            digest="d",
            shows=text,
            began=AT,
            ended=AT,
            result=Value(text="[1, null]"),
        )
        return Batch(id=f"s-{number}", records=(Claimed(at=AT, owner=OWNER), outcome))

    def swap(self, thread: str, *, right: bool, status: Status, workflow: str, wake: float | None) -> Swap:
        """Return a swap of the head as it is now, or of one that is no more."""
        now = self.model.load_head(thread)
        version = 0 if now is None else now.version
        expected = now.version if now is not None and right else None
        if now is None and not right:
            expected = 7
        head = Head(
            thread=thread,
            version=version + 1,
            status=status,
            workflow=workflow,
            run=0,
            nonce=f"n{next(self.batches)}",
            updated=AT,
            owner=OWNER if status is Status.RUNNING else None,
            wake=wake,
        )
        return Swap(head=head, expected=expected)

    # -- writing -----------------------------------------------------------------------------------------------------

    @rule(target=sent, thread=THREADS, offset=st.sampled_from([0, 0, 0, -1, 1, 5]), text=TEXTS)
    def append(self, thread: str, offset: int, text: str) -> Any:
        position = max(self.model.tail(thread) + offset, 0)
        batch = self.batch(text)
        answer = self.ask(lambda driver: driver.append(thread, position, batch))
        if answer == ("returned", None):
            assert self.model.tail(thread) == position + 1
        else:
            assert answer[1] == "PositionTaken"
            assert offset
        self.threads.add(thread)
        return thread, position, batch, None

    @rule(
        target=sent,
        thread=THREADS,
        right=st.sampled_from([True, True, False]),
        text=TEXTS,
        status=st.sampled_from([Status.INTERRUPTED, Status.DONE, Status.SLEEPING]),
        workflow=WORKFLOWS,
        wake=WAKES,
    )
    def rest(
        self, thread: str, right: bool, text: str, status: Status, workflow: str, wake: float | None
    ) -> Any:
        position, batch = self.model.tail(thread), self.batch(text)
        swap = self.swap(thread, right=right, status=status, workflow=workflow, wake=wake)
        assert self.ask(lambda driver: driver.rest(thread, position, batch, swap)) == ("returned", None)
        self.threads.add(thread)
        assert (self.model.load_head(thread) == swap.head) is right
        return thread, position, batch, swap

    @rule(
        thread=THREADS, text=TEXTS, swap_right=st.booleans(), position_right=st.booleans(), workflow=WORKFLOWS
    )
    def wake(self, thread: str, text: str, swap_right: bool, position_right: bool, workflow: str) -> None:
        """Where head and journal change in two steps, the head may be taken and the batch not applied."""
        tail = self.model.tail(thread)
        position = tail if position_right or not tail else tail - 1
        position_right = position == tail
        swap = self.swap(thread, right=swap_right, status=Status.RUNNING, workflow=workflow, wake=None)
        batch = self.batch(text)
        answers = {
            name: _answer(lambda driver: driver.wake(thread, position, batch, swap), driver)
            for name, driver in self.drivers.items()
        }
        assert answers["sqlite"] == answers["model"]
        if swap_right and position_right:
            assert set(answers.values()) == {("returned", None)}
        elif swap_right:
            assert {answer[1] for answer in answers.values()} == {"PositionTaken"}
            assert self.drivers["split"].load_head(thread) == swap.head
            for name in ("model", "sqlite"):
                assert self.drivers[name].swap_head(swap)
        else:
            assert answers["split"][1] == "HeadMoved"
            assert answers["model"][1] == ("HeadMoved" if position_right else "PositionTaken")
        self.threads.add(thread)

    @rule(
        thread=THREADS,
        right=st.booleans(),
        status=st.sampled_from(list(Status)),
        workflow=WORKFLOWS,
        wake=WAKES,
        again=st.booleans(),
    )
    def swap_head(
        self, thread: str, right: bool, status: Status, workflow: str, wake: float | None, again: bool
    ) -> None:
        swap = self.swap(thread, right=right, status=status, workflow=workflow, wake=wake)
        assert self.ask(lambda driver: driver.swap_head(swap)) == ("returned", right)
        self.threads.add(thread)
        if again:  # one's own swap whose answer was lost is recognised
            assert self.ask(lambda driver: driver.swap_head(swap)) == ("returned", right)

    @rule(call=sent)
    def send_again(self, call: Any) -> None:
        """A call whose answer was lost is sent again: it counts once, however late that is."""
        thread, position, batch, swap = call
        before = self.journal(thread)
        mine = position < len(before) and before[position].id == batch.id
        if swap is None:
            answer = self.ask(lambda driver: driver.append(thread, position, batch))
        elif mine:
            answer = self.ask(lambda driver: driver.rest(thread, position, batch, swap))
        else:
            return
        if mine:
            assert answer == ("returned", None)
            assert self.journal(thread) == before

    @rule(call=consumes(sent))
    def delete(self, call: Any) -> None:
        thread = call[0]
        self.ask(lambda driver: driver.delete(thread))
        assert self.model.load_head(thread) is None
        assert self.journal(thread) == []

    @precondition(lambda self: self.threads)
    @rule(data=st.data())
    def delete_any(self, data: Any) -> None:
        thread = data.draw(st.sampled_from(sorted(self.threads)))
        others = {other: self.journal(other) for other in self.threads - {thread}}
        self.ask(lambda driver: driver.delete(thread))
        assert {other: self.journal(other) for other in others} == others

    @rule(name=st.sampled_from(["model", "split", "sqlite"]))
    def reopen(self, name: str) -> None:
        """What was acknowledged is there when the driver is closed and opened again."""
        old = self.drivers[name]
        old.close()
        with pytest.raises(Closed):
            old.tail("a")
        self.drivers[name] = open_checkpointer(self.urls[name])

    # -- reading -----------------------------------------------------------------------------------------------------

    def journal(self, thread: str) -> list[Batch]:
        answer = self.ask(lambda driver: [batch for _, batch in driver.read(thread)])
        assert answer[0] == "returned"
        journal: list[Batch] = answer[1]
        return journal

    @rule(thread=THREADS, start=st.integers(0, 12), limit=st.none() | st.integers(0, 6))
    def read(self, thread: str, start: int, limit: int | None) -> None:
        _, found = self.ask(lambda driver: list(driver.read(thread, start, limit)))
        end = None if limit is None else start + limit
        assert found == list(enumerate(self.journal(thread)))[start:end]

    @rule(thread=THREADS, data=st.data())
    def tail(self, thread: str, data: Any) -> None:
        length = len(self.journal(thread))
        hint = data.draw(st.integers(0, max(length - 1, 0)))
        assert self.ask(lambda driver: driver.tail(thread, hint)) == ("returned", length)

    @rule(
        statuses=st.none() | st.lists(st.sampled_from(list(Status)), max_size=3).map(tuple),
        workflow=st.none() | WORKFLOWS,
        before=st.none() | st.sampled_from([-1.0, 0.5, 2.0]),
        limit=st.integers(1, 4),
    )
    def list_heads(self, statuses: Any, workflow: str | None, before: float | None, limit: int) -> None:
        query = HeadQuery(statuses=statuses, workflow=workflow, wake_before=before)
        cursor, listed = None, []
        while True:
            _, (heads, cursor) = self.ask(partial(_page, query, cursor, limit))
            listed += heads
            assert len(heads) == limit or cursor is None
            if cursor is None:
                break
        known = [self.model.load_head(thread) for thread in sorted(self.threads)]
        assert listed == [head for head in known if head is not None and query.matches(head)]

    @invariant()
    def every_driver_holds_the_same(self) -> None:
        for thread in getattr(self, "threads", ()):
            self.ask(partial(_head_and_tail, thread))


def _page(query: HeadQuery, cursor: str | None, limit: int, driver: Checkpointer) -> Any:
    return driver.list_heads(query, cursor=cursor, limit=limit)


def _head_and_tail(thread: str, driver: Checkpointer) -> tuple[Head | None, int]:
    return driver.load_head(thread), driver.tail(thread)


def _answer(what: Callable[[Checkpointer], Any], driver: Checkpointer) -> tuple[Any, ...]:
    try:
        return "returned", what(driver)
    except (PositionTaken, HeadMoved) as error:
        return "raised", type(error).__name__, str(error), error.__dict__


def test_every_checkpointer_agrees_with_the_memory_model(tmp_path: Path) -> None:
    class Here(Machine):
        folder = tmp_path

    run_state_machine_as_test(
        Here, settings=settings(max_examples=HISTORIES, stateful_step_count=STEPS, deadline=None)
    )
