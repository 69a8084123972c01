"""Random walks through the model, and the same steps done to a real driver."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from milepost import checkpoint as real
from milepost._fold import ThreadState
from milepost.errors import HeadMoved, PositionTaken
from model.explorer import Model
from model.turn import Scope, Step
from model.world import Append, Backend, Batch, Head, Message, Record, State, Swap, at, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from milepost.checkpoint import Checkpointer
    from model.rules import Rules

AT = "2030-01-01T00:00:00+00:00"

EVERYTHING = Scope(
    name="everything",
    commands=("start", "resume", "continue", "mend", "prune", "delete"),
    sessions=8,
    faults=4,
    calls=2,
    questions=2,
    ends=("interrupted", "finished", "failed"),
    renewals=True,
    releases=True,
    late=True,
)
KINDS = (
    "answer is lost", "held back lands", "crashes", "taken", "is to continue", "is to resume", "is to start",
    "prunes what", "is to delete", "renews its lease", "hands the thread back", "lowers the head",
)  # fmt: skip
"""What the walks together must contain, as the labels of steps say it."""


class Walk(NamedTuple):
    """A way through the model, and what it contains."""

    steps: tuple[Step, ...]
    kinds: Counter[str]


def walk(rules: Rules, backend: Backend, seed: int, length: int) -> Walk:
    """Walk at random; the same seed walks the same way. A crash, a command or a fault is less likely than going on."""
    model, chance = Model(rules, backend, EVERYTHING), random.Random(seed)
    state, steps = model.begin(), []
    while len(steps) < length:
        choices = [step for step in model.steps(state) if _is_for_drivers(state, step)]
        if not choices:
            break
        step = chance.choices(choices, [_weight(choice) for choice in choices])[0]
        steps.append(step)
        state = step.state
    kinds = Counter(kind for step in steps for kind in KINDS if kind in step.label)
    return Walk(tuple(steps), kinds)


def _weight(step: Step) -> float:
    rare = ("crashes", "prune", "delete", "hands the thread back")
    if any(word in step.label for word in rare):
        return 0.15
    return 0.4 if "held back" in step.label or "is lost" in step.label else 1.0


def _is_for_drivers(state: State, step: Step) -> bool:
    """Whether all drivers do this alike: below the floor some refuse at once."""
    return not any(
        effect[0] == "send" and isinstance(effect[1], Append) and effect[1].position < state.floor
        for effect in step.effects
    )


# -- the same with a real driver ------------------------------------------------------------------------------------


class Replay:
    """Does to a driver what the model did, and compares what is there then."""

    def __init__(self, driver: Checkpointer, thread: str) -> None:
        self.driver = driver
        self.thread = thread

    def follow(self, steps: tuple[Step, ...]) -> None:
        """Take all steps.

        Raises:
            AssertionError: the driver answered, or holds, something else than the model.
        """
        told = []
        for step in steps:
            told.append(step.label)
            for effect in step.effects:
                self._do(effect, step, told)
            there, expected = self._there(), _expected(step.state)
            assert there == expected, "\n".join(told)

    def _do(self, effect: tuple[Any, ...], step: Step, told: list[str]) -> None:
        match effect:
            case ("send", message, answer):
                told_so = self._send(message)
                assert told_so == answer or (told_so == "ok" and _is_there(step.state, message)), "\n".join(
                    told
                )
                if answer == "taken" and isinstance(message, Append) and _is_there(step.state, message):
                    self.driver.append(self.thread, message.position, _batch(message.batch))
            case ("prune", before, keep):
                self.driver.prune(self.thread, before, {position for position in keep if position < before})
            case ("erase", grave, version):
                self.driver._delete(self.thread, grave, version)

    def _send(self, message: Message) -> str:
        if isinstance(message, Swap):
            head = self._head(message.head)
            return "ok" if self.driver._swap_head(head, head.encode(), message.expected) else "moved"
        swap = None
        if message.swap is not None:
            swap = real.Swap(head=self._head(message.swap.head), expected=message.swap.expected)
        try:
            self.driver._append(self.thread, message.position, _batch(message.batch).encode(), swap)
        except PositionTaken:
            return "taken"
        except HeadMoved:
            return "moved"
        return "ok"

    def _head(self, head: Head) -> real.Head:
        return real.Head(
            thread=self.thread, version=head.version, status=real.Status(head.status), workflow="w", run=head.run,
            nonce=f"n{head.nonce}-{head.version}", updated=AT,
            owner=None if head.owner is None else _owner(head.owner),
            lease=None if head.owner is None else 30.0,
        )  # fmt: skip

    def _there(self) -> tuple[Any, ...]:
        state = ThreadState(self.thread)
        batches = []
        for position, batch in self.driver.read(self.thread):
            batches.append((position, batch.session, tuple(record.kind for record in batch.records)))
            state.apply(position, batch)
        head = self.driver.load_head(self.thread)
        index = None
        if head is not None:
            index = (head.version, str(head.status), head.run, head.owner.session if head.owner else None)
        status = None if state.status is None else str(state.status)
        owner = state.owner.session if state.owner is not None and status is not None else None
        return batches, self.driver.tail(self.thread), index, status, owner


def _is_there(state: State, message: Message) -> bool:
    """Whether a message is sent again that was applied: some drivers recognise it themselves."""
    if isinstance(message, Swap):
        return state.head == message.head
    return at(state, message.position) == message.batch


def _expected(state: State) -> tuple[Any, ...]:
    from model.rules import Rules

    view = read(state, Rules())
    batches = [
        (position, f"s{batch.session}", tuple(record.kind for record in batch.records))
        for position, batch in _readable(state)
    ]
    head = state.head
    index = None
    if head is not None:
        index = (head.version, head.status, head.run, None if head.owner is None else f"s{head.owner}")
    owner = f"s{view.owner}" if view.owner is not None and view.status is not None else None
    return batches, view.tail, index, view.status, owner


def _readable(state: State) -> Iterator[tuple[int, Batch]]:
    for position in range(state.floor, len(state.journal)):
        batch = state.journal[position]
        if batch is None:
            return
        yield position, batch


def _owner(session: int) -> real.Owner:
    return real.Owner(host="h", boot="b", pid=1, started=1, session=f"s{session}")


def _batch(batch: Batch) -> real.Batch:
    records = tuple(_record(record, _owner(batch.session)) for record in batch.records)
    return real.Batch(id=f"s{batch.session}-{batch.number}", records=records)


def _record(record: Record, owner: real.Owner) -> real.Record:
    value = real.Value(text=str(record.about))
    question = real.Question(id="q", call="0", value=value, digest="d")
    failure = real.Failure(type="builtins.ValueError", message="no", rebuilds=True)
    made: dict[str, real.Record] = {
        "started": real.Started(run=str(record.about), workflow="w", at=AT, owner=owner, input=value),
        "claimed": real.Claimed(at=AT, owner=owner),
        "outcome": real.Outcome(
            call=str(record.about), name="t", digest="d", shows="", began=AT, ended=AT, result=value
        ),
        "interrupted": real.Interrupted(at=AT, questions=(question,)),
        "resumed": real.Resumed(at=AT, owner=owner, answers={"q": value}),
        "retried": real.Retried(at=AT, owner=owner),
        "finished": real.Finished(run="r", at=AT, result=value),
        "failed": real.Failed(at=AT, error=failure),
        "abandoned": real.Abandoned(at=AT, run=str(record.about)),
        "deleted": real.Deleted(at=AT),
    }
    return made[record.kind]
