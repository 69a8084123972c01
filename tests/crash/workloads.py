"""What is run while processes are killed: workflows, and programs that see each of them through to its end.

A program decides from ``get_state`` alone, so that any process can take its part at any time.
"""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import milepost
from crash.rig import THREAD, awaited, got, here, step
from milepost import CachePolicy, Command, Decision, RetryPolicy, as_completed, entrypoint, interrupt
from milepost.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = "the quick brown fox jumps over the lazy dog; " * 8
MOVES = 60
"""How many times a program may act; far more than any needs."""


# -- steps -----------------------------------------------------------------------------------------------------------


@step
def add(x, y):
    return x + y


@step(together=5, order=(3, 0, 4, 1, 2))
def square(x):
    return [x * x]


@step(together=4, grouped=True)
def cube(x):
    return {"cube": x**3}


@step
def ask(n, name):
    return interrupt({"n": n, "question": name})


REVIEWS = {"red": None, "green": "0.0", "nothing": "3.0", "blue": "1.0"}
"""What is reviewed side by side, and after which call each goes on."""
ANSWERED = {"red": None, "green": "0", "blue": "1"}
"""After which call each ends, where all are answered at once: so every process writes the same batches."""


@step(together=4)
def review(n, name):
    here().await_call(REVIEWS[name])
    if name == "nothing":
        return "no question"
    first = got(add(n, len(name)))
    answer = interrupt({"n": n, "question": name})
    if not CASES[here().job.case].one_by_one:
        here().await_call(ANSWERED[name])
    return [first, answer]


@step
def refuse(x):
    raise ValueError(f"{x} is refused")


def _need(what):
    """Fail until somebody has repaired this."""
    if not (here().folder / f"repaired-{what}").exists():
        raise ConnectionError(f"{what} is down")


@step
def reach_service(x):
    _need("service")
    return f"service answered {x}"


@step(together=3, order=(1, 0, 2))
def reach_beside(x):
    if x == 1:
        _need("neighbour")
    return x * 10


@step
def spread(n):
    futures = [reach_beside(number) for number in range(3)]
    return [n, *(got(future) for future in futures)]


@step
def through(x):
    return ["through", got(reach_service(x))]


@step
def letter(n):
    return {"n": n, "text": f"{n}: {LONG}"}


@step
def copy(text):
    return {"copy": text}


@step(together=3, order=(2, 0, 1))
def race(x):
    return x


@step
def hold(x):
    """Keep the only worker busy, so that what is queued behind it can be cancelled."""
    here().until(lambda: here().cancelled, "the body's cancel")
    return x


# -- workflows -------------------------------------------------------------------------------------------------------


@entrypoint
def sequence(n):
    total = 0
    for number in range(6):
        total = got(add(total, number + n))
    return {"n": n, "total": total}


@entrypoint
def fan_out(n):
    futures = [square(number) for number in range(5)]
    found = {index: got(futures[index]) for index in (4, 1, 0, 3, 2)}
    found[0].append("changed by the body")
    return {
        "n": n,
        "found": [found[index] for index in range(5)],
        "sum": got(add(sum(map(len, found.values())), n)),
    }


@entrypoint
def group(n):
    futures = [cube(number) for number in range(4)]
    return {"n": n, "cubes": [got(future) for future in futures], "last": got(add(n, 1))}


@step
def leaf(x):
    return x + 1


@step
def branch(depth, x):
    below = got(leaf(x)) if depth == 0 else got(branch(depth - 1, x))
    return below + got(leaf(depth))


@entrypoint
def inner(x):
    return got(leaf(x)) + got(branch(0, x))


@entrypoint
def nested(n):
    first = got(branch(1, n))
    second = inner.invoke(first)
    return {"n": n, "first": first, "second": second, "third": got(leaf(second))}


@entrypoint
def child(x):
    return {"child": got(leaf(x)) + got(leaf(x + 10))}


@step
def delegate(x):
    return child.invoke(x, thread_id="beside")


@entrypoint
def elsewhere(n):
    first = child.invoke(n, thread_id="aside")
    second = got(delegate(n + 1))
    return {"n": n, "found": [first, second], "last": got(leaf(n))}


@entrypoint
def questions(n):
    draft = got(add(n, 1))
    style = interrupt({"n": n, "question": "style"})
    text = got(letter(n))
    title = got(ask(n, "title"))
    send = interrupt({"n": n, "question": "send"})
    return {
        "n": n,
        "draft": draft,
        "answers": [style, title, send],
        "size": len(text["text"]),
        "end": got(add(n, 2)),
    }


@entrypoint
def one_question(n):
    return {"n": n, "answer": interrupt({"n": n, "question": "well?"}), "end": got(add(n, 1))}


@entrypoint
def side_by_side(n):
    futures = [review(n, name) for name in REVIEWS]
    return {"n": n, "found": [got(future) for future in futures], "end": got(add(n, 1))}


@entrypoint
def caught(n):
    branches = []
    for number in range(2):
        try:
            branches.append(got(refuse(number)))
        except ValueError as error:
            branches.append([str(error), got(add(number, n))])
    return {"n": n, "branches": branches}


@entrypoint
def retried(n):
    before = got(add(n, 1))
    answered = got(through(n))
    beside = got(spread(n))
    return {"n": n, "before": before, "answered": answered, "beside": beside, "after": got(add(n, 2))}


@entrypoint
def failing_beside(n):
    futures = [reach_beside(number) for number in range(3)]
    return {"n": n, "found": [got(future) for future in futures], "after": got(add(n, 2))}


@entrypoint
def chat(n, *, previous=None):
    history = [*(previous or []), got(add(n, 100))]
    if n == 1:
        history.append(got(add(n, 200)))
    return entrypoint.final(value={"n": n, "said": len(history)}, save=history)


@entrypoint
def letters(n):
    first = got(letter(n))
    copies = [got(copy(first["text"])), got(copy(first["text"]))]
    second = got(letter(n))
    return second if copies[0] == copies[1] else copies


@entrypoint
def races(n):
    futures = [race(number) for number in range(3)]
    order = [got(future) for future in as_completed(futures)]
    return {
        "n": n,
        "order": order,
        "sums": [got(add(number, position)) for position, number in enumerate(order)],
    }


@entrypoint
def cancels(n):
    busy, late = hold(n), add(n, 1)
    cancelled = late.cancel()
    here().cancelled = True
    value = got(busy)
    try:
        got(late)
    except CancelledError:
        value += 1000
    return {"n": n, "cancelled": cancelled, "value": got(add(value, 5))}


@step
def slow(x):
    """Go on when the consumer of the stream has left, where there is one."""
    rig = here()
    watch = milepost._context.frame().execution.watch
    rig.until(lambda: watch.left or not rig.streaming, "the consumer to leave")
    return x


@entrypoint
def left(n):
    first = got(add(n, 1))
    second = got(slow(first))
    return {"n": n, "found": [first, second, got(add(second, 1))]}


@step(order=(0, 1, 2, 3))
def volume(n, number):
    """Return more than fits into what a page has left."""
    return [n, number, f"{number}: {LONG * 30}"]


@entrypoint
def library(n):
    first = got(volume(n, 0))
    beside = [got(future) for future in [volume(n, number) for number in (1, 2)]]
    return {"n": n, "sizes": [len(text) for _, _, text in (first, *beside, got(volume(n, 3)))]}


AT_ONCE = RetryPolicy(initial_interval=0, jitter=False, max_attempts=4, retry_on=ConnectionError)


def _attempt():
    """Return the number of the attempt that runs here, as it is on record."""
    return milepost._context.frame().attempt


@step(retry_policy=AT_ONCE)
def flaky(x):
    if _attempt() < 3:
        raise ConnectionError(f"attempt {_attempt()} at {x}")
    return x + 1


@step
def unsteady(x, attempt):
    if attempt < 3:
        raise ConnectionError(f"{x} is unsteady")
    return x * 2


@step(retry_policy=AT_ONCE)
def patient(x):
    """Fail by a child until the third attempt; another child finishes in the first."""
    first = got(add(x, 1))
    second = got(unsteady(first, _attempt()))
    return [first, second, got(flaky(second))]


@entrypoint
def attempts(n):
    beside = flaky(n + 10)
    found = got(patient(n))
    return {"n": n, "found": found, "beside": got(beside), "last": got(add(n, 2))}


@entrypoint(retry_policy=AT_ONCE)
def whole(n):
    before = got(add(n, 1))
    answer = interrupt({"n": n, "question": "well?"})
    found = got(unsteady(before, min(_attempt(), 3)))
    if _attempt() < 4:
        raise ConnectionError("the body is unsteady")
    return {"n": n, "answer": answer, "found": found, "last": got(add(n, 2))}


@step(timeout=0.4, retry_policy=RetryPolicy(initial_interval=0, jitter=False, max_attempts=9))
def hasty(x):
    """Be stuck at the first attempt, for good."""
    first = got(leaf(x))
    if _attempt() == 1:
        threading.Event().wait()
    return first


@step(timeout=0.1)
def stuck(x):
    threading.Event().wait()
    return x


@entrypoint
def limited(n):
    try:
        beside = got(stuck(n))
    except milepost.errors.TaskTimeout as error:
        beside = [error.kind, got(add(n, 1))]
    return {"n": n, "found": got(hasty(n)), "beside": beside}


def _pay(n):
    return ["paid", n]


@step(on_unknown="fail")
def pay_once(n):
    return _pay(n)


@step(on_unknown="review", retry_policy=AT_ONCE)
def pay_surely(n):
    if _attempt() < 2:
        raise ConnectionError("no connection")
    return _pay(n)


@entrypoint
def payments(n):
    before = got(add(n, 1))
    try:
        first = got(pay_once(n))
    except milepost.errors.OutcomeUnknown:
        first = _pay(n)  # somebody looked it up
    return {"n": n, "before": before, "first": first, "second": got(pay_surely(n)), "last": got(add(n, 2))}


class Shelf(milepost.InMemoryStore):
    """A store whose items are files beside the ledger: what was kept outlives the process."""

    def _file(self, namespace, key):
        return here().folder / f"kept-{namespace[-1].rpartition('.')[2]}-{key}"

    def _get(self, namespace, key):
        file = self._file(namespace, key)
        if file.exists():
            super()._put(namespace, key, file.read_bytes(), self.clock.now())
        return super()._get(namespace, key)

    def _put(self, namespace, key, data, now):
        rig, file = here(), self._file(namespace, key)
        rig.reach(f"keep {file.name}: before")
        unfinished = file.with_suffix(".unfinished")
        unfinished.write_bytes(data)
        unfinished.rename(file)
        rig.reach(f"keep {file.name}: after")


@step(cache_policy=CachePolicy())
def price(x):
    return {"price": [100 * x]}


@step(cache_policy=CachePolicy(), retry_policy=AT_ONCE)
def rate(x):
    if _attempt() < 2:
        raise ConnectionError("no rates")
    return got(price(x))["price"][0] / 4


@entrypoint(cache=Cache(Shelf()), cache_policy=CachePolicy())
def cached(n):
    first = got(price(1))
    first["price"].append("changed by the body")
    again, other = got(price(1)), got(rate(2))
    answer = interrupt({"n": n, "question": "buy?"}) if n == 0 else "not asked"
    return {"n": n, "found": [first, again, other, got(price(2)), got(rate(2))], "answer": answer}


# -- coroutines ------------------------------------------------------------------------------------------------------


@step(together=3, order=(2, 0, 1))
async def fetch(x):
    await asyncio.sleep(0)
    return [x, x * x]


@step
async def along(n, after):
    """Go on when a call of a coroutine beside this one is on record, so that all is recorded in one order."""
    await asyncio.to_thread(here().await_call, after)
    return n + 1


@step(retry_policy=AT_ONCE)
async def flaky_soon(x):
    first = await awaited(along(x, None))
    if _attempt() < 3:
        raise ConnectionError(f"attempt {_attempt()} at {x}")
    return first


@step(on_unknown="fail")
async def pay_once_soon(n):
    return _pay(n)


async def _branch(n, *after):
    for before in after:
        n = await awaited(along(n, before))
    return n


@entrypoint
async def coroutines(n):
    found = await asyncio.gather(*[awaited(future) for future in [fetch(number) for number in range(3)]])
    beside = await asyncio.gather(_branch(n, None, "~4.0"), _branch(n, "~3.0", "~3.1"))
    try:
        paid = await awaited(pay_once_soon(n))
    except milepost.errors.OutcomeUnknown:
        paid = _pay(n)  # somebody looked it up
    answer = interrupt({"n": n, "question": "well?"})
    return {
        "n": n,
        "found": found,
        "beside": beside,
        "paid": paid,
        "answer": answer,
        "last": await awaited(flaky_soon(n)),
    }


@entrypoint(retry_policy=AT_ONCE)
async def coroutine_whole(n):
    before = await awaited(along(n, None))
    if _attempt() < 3:
        raise ConnectionError("the body is unsteady")
    return {"n": n, "before": before, "last": await awaited(flaky_soon(n))}


# -- programs --------------------------------------------------------------------------------------------------------


def _answer(question):
    if "idempotency_key" in question:
        return _decision(question["task"])
    return f"answer to {question['question']}"


def _decision(name):
    """Look into the ledger, as a person would ask the bank: was it paid?"""
    lines = [json.loads(line) for line in (here().folder / "ledger").read_text().splitlines()]
    paid = any(event == "end" and what.startswith(f"{name}(") for event, _, _, _, what, _ in lines)
    return Decision.result(_pay(0)) if paid else Decision.rerun()


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A workflow, the inputs of its runs, and how a program treats it.

    ``one_by_one``: questions asked together are answered one at a time. ``replaces``: the run of this input is given up
    for the next where it asks. ``streams``: the first run's consumer leaves after one chunk. ``awaits``: the program
    has an event loop.
    """

    name: str
    workflow: milepost.Workflow
    inputs: tuple[int, ...] = (0,)
    workers: int = 4
    one_by_one: bool = False
    replaces: int | None = None
    streams: bool = False
    awaits: bool = False

    def move(self, state) -> Callable[[], object] | None:
        """Return what to do next about a thread in this state; None when all is done."""
        if state.status is None:
            return self._begin if self.streams else lambda: self._invoke(self.inputs[0])
        if state.status == "interrupted":
            asked = [question.value for question in state.interrupts]
            if self.replaces is not None and asked[0]["n"] == self.replaces:
                return lambda: self._invoke(self._after(self.replaces))
            answers = {question.id: _answer(question.value) for question in state.interrupts}
            if self.one_by_one:
                answers = dict([min(answers.items())])
            return lambda: self._invoke(Command(resume=answers))
        if state.status == "done":
            following = self._after(state.values["n"])
            return None if following is None else lambda: self._invoke(following)
        if state.status == "failed":
            return lambda: self._repair(state.error)
        return lambda: self._invoke(None)

    def is_last(self, result: object) -> bool:
        """Tell whether a call returned what the last run came to; that saves asking for the state."""
        return isinstance(result, dict) and "n" in result and self._after(result["n"]) is None

    def _after(self, number: int) -> int | None:
        place = self.inputs.index(number) + 1
        return self.inputs[place] if place < len(self.inputs) else None

    def _invoke(self, given) -> object:
        durability = here().job.durability
        if self.awaits:
            return asyncio.run(self.workflow.ainvoke(given, thread_id=THREAD, durability=durability))
        return self.workflow.invoke(given, thread_id=THREAD, durability=durability)

    def _repair(self, error: str) -> object:
        """Repair what the error names, and go on."""
        what = error.removesuffix(" is down").rpartition(" ")[2]
        (here().folder / f"repaired-{what}").touch()
        return self._invoke(None)

    def _begin(self) -> None:
        here().streaming = True
        stream = self.workflow.stream(self.inputs[0], thread_id=THREAD)
        next(stream)
        stream.close()
        here().streaming = False


def see_through(case: Case) -> dict[str, object]:
    """Go on with a case until it is done, from wherever it stands; return what came of it."""
    state = None
    for _ in range(MOVES):
        state = state or case.workflow.get_state(thread_id=THREAD)
        move = case.move(state)
        if move is None:
            return _outcome(case, state.values)
        try:
            result = move()
        except (ConnectionError, milepost.errors.EngineClosed):
            state = None
            continue
        if case.is_last(result):
            return _outcome(case, result)
        state = _asking(result)
    raise AssertionError(f"{case.name} did not end within {MOVES} moves")


def _asking(result: object) -> SimpleNamespace | None:
    """Return what a result says about the thread's state; None where it does not ask."""
    if not isinstance(result, dict) or "__interrupt__" not in result:
        return None
    return SimpleNamespace(status="interrupted", interrupts=result["__interrupt__"])


def _outcome(case: Case, result: object) -> dict[str, object]:
    again = case.workflow.invoke(None, thread_id=THREAD)
    assert again == result, (again, result)
    return {"result": json.loads(json.dumps(result))}


CASES = {
    case.name: case
    for case in (
        Case(name="sequence", workflow=sequence),
        Case(name="fan_out", workflow=fan_out, workers=5),
        Case(name="group", workflow=group),
        Case(name="nested", workflow=nested),
        Case(name="elsewhere", workflow=elsewhere),
        Case(name="questions", workflow=questions),
        Case(name="side_by_side", workflow=side_by_side),
        Case(name="side_by_side_one_by_one", workflow=side_by_side, one_by_one=True),
        Case(name="replaced", workflow=one_question, inputs=(0, 1, 2), replaces=1),
        Case(name="caught", workflow=caught),
        Case(name="retried", workflow=retried),
        Case(name="failing_beside", workflow=failing_beside),
        Case(name="chat", workflow=chat, inputs=(0, 1, 2)),
        Case(name="letters", workflow=letters),
        Case(name="races", workflow=races),
        Case(name="cancels", workflow=cancels, workers=1),
        Case(name="library", workflow=library),
        Case(name="attempts", workflow=attempts, workers=1),
        Case(name="whole", workflow=whole),
        Case(name="limited", workflow=limited),
        Case(name="payments", workflow=payments),
        Case(name="cached", workflow=cached, inputs=(0, 1)),
        Case(name="coroutines", workflow=coroutines, awaits=True),
        Case(name="coroutines_invoked", workflow=coroutines),
        Case(name="coroutine_whole", workflow=coroutine_whole, awaits=True),
        Case(name="left", workflow=left, streams=True),
    )
}
