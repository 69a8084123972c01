"""Random histories: whatever is asked in whatever order, a driver answers as the memory driver does."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from milepost import _ids
from milepost.checkpoint import (
    Batch,
    Capability,
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
from milepost.memory import MemoryCheckpointer
from milepost.testing.place import AT, listed

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost.checkpoint import Checkpointer

OWNER = Owner(host="h", boot="b", pid=1, started=2, session="s")
SHAPES = st.sampled_from(
    ["{}a", "{}a/b", "{}a%", "{}A", "{}a\0", "{}\xe9", "{}\U0001f98a", "{}a' OR 1=1 --", "../{}"]
)
TEXTS = st.sampled_from(["", "x", "\0\x1f\u2028", "\xfc" * 300, "{}", '"', "\ud800"])
WORKFLOWS = st.sampled_from(["w", "W", "w%", "\N{SNOWMAN}"])
WAKES = st.none() | st.sampled_from([-1.0, 0.0, 1.5, 1e18])
RESTS = st.sampled_from([Status.INTERRUPTED, Status.DONE, Status.SLEEPING])


class CheckpointerMachine(RuleBasedStateMachine):
    """Asks a driver and the model the same, and compares answers and errors.

    The model is the memory driver with the same capabilities: it keeps tombstones and stubs as the driver must.
    Subclasses set ``open_driver``, which opens a new driver on the same data at each call.
    """

    open_driver: ClassVar[Callable[[], Checkpointer]]

    sent: Any = Bundle("sent")
    """Calls of ``append`` or ``rest`` that may be sent again."""

    @initialize()
    def open_both(self) -> None:
        """Open the driver, and the model of it."""
        self.driver = type(self).open_driver()
        able = self.driver.capabilities
        self.model: Checkpointer = MemoryCheckpointer(
            atomic_head=Capability.ATOMIC_HEAD in able, checked_tail=Capability.CHECKED_TAIL in able
        )
        self.token = _ids.token()[:12]
        self.batches = itertools.count()
        self.floors: dict[str, int] = {}
        self.kept: dict[str, set[int]] = {}

    def teardown(self) -> None:
        """Delete what this history made, and close."""
        if hasattr(self, "driver"):
            for thread in self.floors:
                self.driver.delete(thread)
            self.driver.close()

    # -- helpers -----------------------------------------------------------------------------------------------------

    def known(self, shape: str) -> str:
        """Return the thread of this shape."""
        thread = shape.replace("{}", self.token)
        self.floors.setdefault(thread, 0)
        return thread

    def ask(self, what: Callable[[Checkpointer], Any]) -> Any:
        """Ask both; return the answer that both give."""
        wanted, found = _answer(what, self.model), _answer(what, self.driver)
        assert found == wanted, "the driver answers differently from the model"
        return wanted

    def batch(self, text: str) -> Batch:
        """Return a batch of two records that is like no other."""
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
        expected = now.version if now is not None and right else None
        if now is None and not right:
            expected = 7
        head = Head(
            thread=thread,
            version=1 if now is None else now.version + 1,
            status=status,
            workflow=f"{workflow}{self.token}",
            run=0,
            nonce=f"n{next(self.batches)}",
            updated=AT,
            owner=OWNER if status is Status.RUNNING else None,
            wake=wake,
        )
        return Swap(head=head, expected=expected)

    def is_free_to_reuse(self, thread: str, position: int) -> bool:
        """Tell whether a driver that does not check the tail may have freed the position."""
        below = position < self.floors[thread] and position not in self.kept.get(thread, ())
        return below and Capability.CHECKED_TAIL not in self.model.capabilities

    # -- writing -----------------------------------------------------------------------------------------------------

    @rule(target=sent, shape=SHAPES, offset=st.sampled_from([0, 0, 0, -1, 1, 5]), text=TEXTS)
    def append(self, shape: str, offset: int, text: str) -> Any:
        """Append at the tail, before it, or behind it."""
        thread = self.known(shape)
        tail = self.model.tail(thread)
        if offset > 0 and Capability.CHECKED_TAIL not in self.model.capabilities:
            offset = 0  # it may leave a gap, which fills later: a history that no engine makes
        position = max(tail + offset, 0)
        batch = self.batch(text)
        if self.is_free_to_reuse(thread, position):
            position = tail
        answer = self.ask(lambda driver: driver.append(thread, position, batch))
        assert (answer == ("returned", None)) is (position == tail)
        return thread, position, batch, None

    @rule(
        target=sent,
        shape=SHAPES,
        right=st.booleans(),
        text=TEXTS,
        status=RESTS,
        workflow=WORKFLOWS,
        wake=WAKES,
    )
    def rest(
        self,
        shape: str,
        right: bool,  # noqa: FBT001 - Hypothesis passes what it draws
        text: str,
        status: Status,
        workflow: str,
        wake: float | None,
    ) -> Any:
        """Lay the thread down at its tail, with a swap that wins or loses."""
        thread = self.known(shape)
        position, batch = self.model.tail(thread), self.batch(text)
        swap = self.swap(thread, right=right, status=status, workflow=workflow, wake=wake)
        assert self.ask(lambda driver: driver.rest(thread, position, batch, swap)) == ("returned", right)
        assert (self.model.load_head(thread) == swap.head) is right
        return thread, position, batch, swap

    @rule(
        shape=SHAPES, text=TEXTS, swap_right=st.booleans(), position_right=st.booleans(), workflow=WORKFLOWS
    )
    def wake(self, shape: str, text: str, swap_right: bool, position_right: bool, workflow: str) -> None:  # noqa: FBT001 - likewise
        """Take the thread, at its tail or before."""
        thread = self.known(shape)
        tail = self.model.tail(thread)
        position = tail if position_right or not tail or self.is_free_to_reuse(thread, tail - 1) else tail - 1
        swap = self.swap(thread, right=swap_right, status=Status.RUNNING, workflow=workflow, wake=None)
        batch = self.batch(text)
        answer = self.ask(lambda driver: driver.wake(thread, position, batch, swap))
        assert (answer == ("returned", None)) is (swap_right and position == tail)

    @rule(
        shape=SHAPES,
        right=st.booleans(),
        status=st.sampled_from(list(Status)),
        workflow=WORKFLOWS,
        wake=WAKES,
        again=st.booleans(),
    )
    def swap_head(
        self,
        shape: str,
        right: bool,  # noqa: FBT001 - likewise
        status: Status,
        workflow: str,
        wake: float | None,
        again: bool,  # noqa: FBT001 - likewise
    ) -> None:
        """Swap the head; one's own swap whose answer was lost is recognised when it is sent again."""
        swap = self.swap(self.known(shape), right=right, status=status, workflow=workflow, wake=wake)
        for _ in range(1 + again):
            assert self.ask(lambda driver: driver.swap_head(swap)) == ("returned", right)

    @rule(call=sent)
    def send_again(self, call: Any) -> None:
        """A call whose answer was lost is sent again: it counts once, however late that is."""
        thread, position, batch, swap = call
        before = self.journal(thread)
        mine = (position, batch) in before
        if self.is_free_to_reuse(thread, position) or not (mine or swap is None):
            return
        if not mine and position >= self.model.tail(thread):
            return  # the thread was deleted: this would be a new append
        if swap is None:
            answer = self.ask(lambda driver: driver.append(thread, position, batch))
        else:
            answer = self.ask(lambda driver: driver.rest(thread, position, batch, swap))
        assert (answer[0] == "returned") is mine
        assert self.journal(thread) == before

    @precondition(lambda self: self.floors)
    @rule(data=st.data())
    def delete(self, data: Any) -> None:
        """Delete a thread; every other one stays as it is."""
        thread = data.draw(st.sampled_from(sorted(self.floors)))
        self.ask(lambda driver: driver.delete(thread))
        assert self.model.load_head(thread) is None
        assert self.journal(thread) == []
        tail = self.model.tail(thread)
        self.floors[thread], self.kept[thread] = tail, {tail - 1}

    @precondition(lambda self: self.floors)
    @rule(data=st.data(), beyond=st.integers(-3, 1), keep=st.sets(st.integers(0, 12)))
    def prune(self, data: Any, beyond: int, keep: set[int]) -> None:
        """Prune a thread, up to its tail and a little further."""
        thread = data.draw(st.sampled_from(sorted(self.floors)))
        tail = self.model.tail(thread)
        before = max(tail + beyond, 0)
        stubs = {position for position in keep if position < min(before, tail)}
        self.ask(lambda driver: driver.prune(thread, before, stubs))
        if before > self.floors[thread]:
            # A stub is made of a batch; what an earlier pruning has freed stays free.
            made = {position for position in stubs if position >= self.floors[thread]}
            self.floors[thread], self.kept[thread] = before, self.kept.get(thread, set()) | made

    @rule()
    def reopen(self) -> None:
        """What was acknowledged is there when the driver is closed and opened again."""
        self.driver.close()
        with pytest.raises(Closed):
            self.driver.tail("a")
        self.driver = type(self).open_driver()

    # -- reading -----------------------------------------------------------------------------------------------------

    def journal(self, thread: str) -> list[tuple[int, Batch]]:
        """Return what both read of a thread."""
        kind, journal = self.ask(lambda driver: list(driver.read(thread)))
        assert kind == "returned"
        found: list[tuple[int, Batch]] = journal
        return found

    @rule(shape=SHAPES, start=st.integers(0, 12), limit=st.none() | st.integers(0, 6))
    def read(self, shape: str, start: int, limit: int | None) -> None:
        """Read a part of a journal."""
        thread = self.known(shape)
        _, found = self.ask(lambda driver: list(driver.read(thread, start, limit)))
        assert found == [entry for entry in self.journal(thread) if entry[0] >= start][:limit]

    @rule(shape=SHAPES, data=st.data())
    def tail(self, shape: str, data: Any) -> None:
        """Look for the tail from a hint."""
        thread = self.known(shape)
        tail = self.model.tail(thread)
        hint = data.draw(st.integers(0, tail))
        assert self.ask(lambda driver: driver.tail(thread, hint)) == ("returned", tail)

    @rule(
        statuses=st.none() | st.lists(st.sampled_from(list(Status)), max_size=3).map(tuple),
        workflow=WORKFLOWS,
        before=st.none() | st.sampled_from([-1.0, 0.5, 2.0]),
        limit=st.integers(1, 4),
    )
    def list_heads(self, statuses: Any, workflow: str, before: float | None, limit: int) -> None:
        """List heads page by page; the place may hold others, so a workflow's name is always asked for."""
        query = HeadQuery(statuses=statuses, workflow=f"{workflow}{self.token}", wake_before=before)
        kind, found = self.ask(lambda driver: listed(driver, query, limit))
        heads = (self.model.load_head(thread) for thread in sorted(self.floors))
        wanted = [head.thread for head in heads if head is not None and query.matches(head)]
        assert (kind, found) == ("returned", wanted)

    @invariant()
    def both_hold_the_same(self) -> None:
        """Heads and tails of all threads are equal after every step."""
        for thread in getattr(self, "floors", ()):
            self.ask(partial(_head_and_tail, thread))


def agree_with_model(
    open_driver: Callable[[], Checkpointer], *, examples: int = 20, steps: int = 30, shrink: bool = True
) -> None:
    """Compare a driver with the model in random histories; raise what Hypothesis raises for the shortest that differs.

    ``steps`` is the length of a history. Without ``shrink``, the first one that differs is reported as it is.
    """
    machine = type("Histories", (CheckpointerMachine,), {"open_driver": staticmethod(open_driver)})
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            derandomize=True,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


def _head_and_tail(thread: str, driver: Checkpointer) -> tuple[Head | None, int]:
    return driver.load_head(thread), driver.tail(thread)


def _answer(what: Callable[[Checkpointer], Any], driver: Checkpointer) -> tuple[Any, ...]:
    try:
        return "returned", what(driver)
    except (PositionTaken, HeadMoved) as error:
        return "raised", type(error).__name__, str(error), error.__dict__
