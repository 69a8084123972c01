"""Small programs that stand for workflows: what they consist of, how Hypothesis makes them, how they are changed.

A program is a tree, so every call site has a name of its own. Where a failure may be caught it is permanent, else it
may also be transient: it happens once. So the value of a program does not depend on how often it is interrupted, cut
off or retried. What depends on timing (``Race``, ``Fan`` in order of completion) changes which calls are made, never
what the program returns.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -(2**70), 0.0, -0.0, 1.0, float("inf"), "", "x", "ünïcode \u2028 🦊", b"", b"\x00\xff",
    (), (1,), (1, (2, [3, ()])), [], [1, 2.0, True], ["long", *range(40)], {}, {"a": [1]}, {1: "int", (2,): "tuple"},
    {"$tuple": [1]}, set(), {1, "1", (1,)}, frozenset({b"x", None}), {"nested": ({"set": {3}}, b"y")}, 2 + 3j,
    datetime(2024, 2, 29, 12, tzinfo=UTC), datetime(2024, 2, 29, tzinfo=timezone(timedelta(1) / 9)),
    date(2000, 1, 1), timedelta(days=-1, seconds=3),
    Decimal("1.20"), uuid.UUID(int=7), PurePosixPath("a/b"), "z" * 200,
)  # fmt: skip


class Transient(Exception):
    """Happens once: the next attempt gets past it."""


class Wrapped(Exception):
    """Raised from another one; its second argument says whether that was transient."""


class Coded(Exception):
    """Has an attribute beside its arguments."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.code = {7, "seven"}


class Odd(Exception):
    """Cannot be rebuilt from a record: a part of it cannot be kept."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.part = object()


FAILURES = {"value": ValueError, "key": KeyError, "coded": Coded, "odd": Odd}


def is_transient(error: BaseException) -> bool:
    return isinstance(error, (Transient, Wrapped)) and bool(error.args[1])


# -- what programs consist of ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Steps, and what is returned after them: ``trace``, ``last``, ``args`` or ``value``."""

    steps: tuple[Any, ...] = ()
    gives: str = "trace"
    value: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of a task or a nested workflow. ``handle``: ``bare``, ``caught``, ``chained`` or ``inspected``."""

    site: str
    name: str
    args: tuple[Any, ...] = ()
    code: Block
    kind: str = "task"
    handle: str = "bare"
    passes_last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Do:
    """Make a call and wait for it."""

    call: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Fan:
    """Begin calls, do something else, wait in this order (some twice, some never). ``how``: result, wait, completed."""

    site: str
    calls: tuple[Call, ...]
    between: Block
    order: tuple[int, ...]
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Ask a question."""

    site: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """Raise an exception: ``transient``, or one of ``FAILURES``."""

    site: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Go on according to the last value."""

    then: Block
    otherwise: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Do it several times."""

    times: int
    body: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Look at a call while it may still run, and make another call according to what was seen."""

    site: str
    how: str
    value: Any
    polls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Alter:
    """Change the last value in place, if it can be changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A block for each run on the thread.

    ``saves`` makes runs return ``final``; ``answers`` is ``all`` or ``one`` at a time; ``retries``: also a failure that
    is permanent is tried again.
    """

    runs: tuple[Block, ...]
    saves: bool = False
    answers: str = "all"
    retries: bool = False


# -- how they are made -----------------------------------------------------------------------------------------------

values = st.sampled_from(VALUES)
NAMES = ("alpha", "beta", "gamma")
_STEPS = (
    ("do",) * 5 + ("fan",) * 4 + ("ask",) * 3 + ("fail",) * 2 + ("race",) * 2 + ("branch", "loop", "alter")
)
_HANDLES = ("bare", "bare", "caught", "chained", "inspected")
_DEEPEST = 3


class _Maker:
    """Makes one program; ``left`` is how many call sites it may still have."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw
        self.left = 6
        self.sites = 0

    def pick(self, options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def site(self) -> str:
        self.sites += 1
        return f"s{self.sites}"

    def block(self, depth: int, *, caught: bool, least: int = 0, most: int = 3) -> Block:
        steps = tuple(self.step(depth, caught=caught) for _ in range(self.draw(st.integers(least, most))))
        gives = self.pick(("trace", "trace", "last", "args", "value"))
        return Block(steps=steps, gives=gives, value=self.draw(values) if gives == "value" else None)

    def step(self, depth: int, *, caught: bool) -> Any:
        kind = self.pick(_STEPS)
        if self.left <= 0 and kind in ("do", "fan", "race", "loop"):
            kind = self.pick(("ask", "alter"))
        return getattr(self, f"_{kind}")(depth, caught=caught)

    def call(self, depth: int, *, caught: bool, handle: str | None = None, kind: str = "task") -> Call:
        self.left -= 1
        handle = handle or self.pick(_HANDLES)
        inside = caught or handle in ("caught", "inspected")
        shape = self.pick(("leaf", "leaf", "ask", "fail", "steps", "steps"))
        if shape == "steps" and depth < _DEEPEST and self.left > 0:
            code = self.block(depth + 1, caught=inside, least=1)
        else:
            steps: tuple[Any, ...] = ()
            if shape in ("ask", "fail"):
                steps = (getattr(self, f"_{shape}")(depth, caught=inside),)
            code = Block(steps=steps, gives=self.pick(("value", "args")), value=self.draw(values))
        return Call(
            site=self.site(),
            name=self.pick(NAMES),
            args=tuple(self.draw(st.lists(values, max_size=2))),
            code=code,
            kind=kind,
            handle=handle,
            passes_last=self.draw(st.booleans()),
        )

    def _do(self, depth: int, *, caught: bool) -> Do:
        kind = self.pick(("task", "task", "task", "workflow"))
        return Do(call=self.call(depth, caught=caught, kind=kind))

    def _fan(self, depth: int, *, caught: bool) -> Fan:
        how = self.pick(("result", "result", "wait", "completed"))
        count = self.draw(st.integers(2, 3))
        handle = "caught" if how == "completed" else None
        calls = tuple(self.call(depth, caught=caught, handle=handle) for _ in range(count))
        most = 1 if self.left > 0 else 0
        between = self.block(depth, caught=caught, most=most)
        places = st.integers(0, count - 1)
        order = self.draw(
            st.permutations(range(count)) if how == "completed" else st.lists(places, max_size=count + 1)
        )
        return Fan(site=self.site(), calls=calls, between=between, order=tuple(order), how=how)

    def _ask(self, _depth: int, *, caught: bool) -> Ask:
        return Ask(site=self.site(), value=self.draw(values))

    def _fail(self, _depth: int, *, caught: bool) -> Fail:
        kinds = tuple(FAILURES) if caught else ("transient",) * 5 + tuple(FAILURES)
        return Fail(site=self.site(), kind=self.pick(kinds))

    def _branch(self, depth: int, *, caught: bool) -> Branch:
        return Branch(
            then=self.block(depth, caught=caught, most=1), otherwise=self.block(depth, caught=caught, most=1)
        )

    def _loop(self, depth: int, *, caught: bool) -> Loop:
        return Loop(times=2, body=self.block(depth, caught=caught, least=1, most=1))

    def _race(self, _depth: int, *, caught: bool) -> Race:
        self.left -= 1
        how = self.pick(("done", "running", "cancel", "timeout", "late"))
        return Race(site=self.site(), how=how, value=self.draw(values), polls=self.pick((1, 2, 5)))

    def _alter(self, _depth: int, *, caught: bool) -> Alter:
        return Alter()


@st.composite
def programs(draw: Callable[[Any], Any]) -> Program:
    maker = _Maker(draw)
    runs = [maker.block(0, caught=False, least=1, most=3)]
    if maker.pick((False, False, False, True)):
        maker.left = 2
        runs.append(maker.block(0, caught=False, least=1, most=2))
    return Program(
        runs=tuple(runs),
        saves=draw(st.booleans()),
        answers=maker.pick(("all", "all", "one")),
        retries=draw(st.booleans()),
    )


# -- how they are changed --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A changed program, and the first call that it makes otherwise."""

    kind: str
    site: str
    program: Program


def changes(program: Program) -> Iterator[Change]:
    """Yield the program with one call renamed, given other arguments, removed, preceded by another, or swapped."""
    for number, block in enumerate(program.runs):
        for kind, site, changed in _in_block(block):
            runs = (*program.runs[:number], changed, *program.runs[number + 1 :])
            yield Change(kind=kind, site=site, program=replace(program, runs=runs))


def _in_block(block: Block) -> Iterator[tuple[str, str, Block]]:
    for place, step in enumerate(block.steps):
        before, after = block.steps[:place], block.steps[place + 1 :]
        for kind, site, put in _in_step(step, after[:1]):
            rest = after[1:] if kind == "reordered" and isinstance(step, Do) else after
            yield kind, site, replace(block, steps=(*before, *put, *rest))


def _in_step(step: Any, following: tuple[Any, ...]) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Yield what may stand in a step's place; loops are left alone, as one site there makes several calls."""
    if isinstance(step, Do):
        for kind, call in _in_call(step.call):
            yield kind, step.call.site, (replace(step, call=call),)
        for kind, site, code in _in_block(step.call.code):
            yield kind, site, (replace(step, call=replace(step.call, code=code)),)
        yield "removed", step.call.site, ()
        yield "inserted", step.call.site, (Do(call=_new(step.call)), step)
        if following and isinstance(following[0], Do):
            yield "reordered", step.call.site, (following[0], step)
    elif isinstance(step, Fan):
        for place, call in enumerate(step.calls):
            before, after = step.calls[:place], step.calls[place + 1 :]
            for kind, changed in _in_call(call):
                yield kind, call.site, (replace(step, calls=(*before, changed, *after)),)
            for kind, site, code in _in_block(call.code):
                changed = replace(call, code=code)
                yield kind, site, (replace(step, calls=(*before, changed, *after)),)
            if after:
                yield "reordered", call.site, (replace(step, calls=(*before, after[0], call, *after[1:])),)
    elif isinstance(step, Branch):
        for kind, site, block in _in_block(step.then):
            yield kind, site, (replace(step, then=block),)
        for kind, site, block in _in_block(step.otherwise):
            yield kind, site, (replace(step, otherwise=block),)


def _in_call(call: Call) -> Iterator[tuple[str, Call]]:
    yield "renamed", replace(call, name=f"{call.name}_new")
    yield "re-argued", replace(call, args=(*call.args, "one more"))
    for place, arg in enumerate(call.args):
        if type(arg) in _LOOKALIKES:
            other = _LOOKALIKES[type(arg)](arg)
            yield "re-argued", replace(call, args=(*call.args[:place], other, *call.args[place + 1 :]))


_LOOKALIKES: dict[type, Callable[[Any], Any]] = {
    bool: int,
    int: float,
    list: tuple,
    tuple: list,
    set: frozenset,
    str: str.encode,
}
"""Makes arguments that differ in type alone, or nearly so."""


def _new(call: Call) -> Call:
    return Call(site=f"new-{call.site}", name=call.name, code=Block(gives="value"), args=call.args)
