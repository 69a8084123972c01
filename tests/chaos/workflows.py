"""What runs under chaos: small workflows of every kind, whose results are functions of their inputs alone."""

from __future__ import annotations

import os
import random
import threading
from typing import TYPE_CHECKING

from milepost import RetryPolicy, entrypoint, get_runtime, get_stream_writer, interrupt, sleep, task

if TYPE_CHECKING:
    from ledger import Ledger

LONGEST = float(os.environ.get("CHAOS_STEP", "0.15"))
here: dict[str, object] = {}


def begin(ledger: Ledger, process: str) -> None:
    """Say where steps are written down, and which process this is."""
    here.update(ledger=ledger, process=process)


def did(what: str) -> None:
    """Write down that a step starts or ends."""
    info, ledger = get_runtime().execution_info, here["ledger"]
    step = f"{info.task_id}#{info.node_attempt}"
    ledger.write(what, process=here["process"], thread=info.thread_id, step=step)  # type: ignore[attr-defined]


def work() -> None:
    """Take a while, as work does."""
    threading.Event().wait(random.uniform(0.01, LONGEST))


def step(function):
    """Write down when a task starts and ends."""

    def noted(*args):
        did("start")
        work()
        result = function(*args)
        did("end")
        return result

    noted.__name__ = noted.__qualname__ = function.__name__
    return noted


@task
@step
def add(one: int, two: int) -> int:
    return one + two


@task
@step
def breaks(number: int) -> int:
    raise ValueError(f"no {number}")


@task(retry_policy=RetryPolicy(max_attempts=4, initial_interval=0.05, jitter=False))
@step
def flaky(number: int) -> int:
    if get_runtime().execution_info.node_attempt < 3:
        raise ConnectionError("away")
    return number


@entrypoint()
def chain(number: int) -> int:
    total = number
    for each in range(4):
        total = add(total, each).result()
    return total


@entrypoint()
def fan(number: int) -> list:
    futures = [add(number, each) for each in range(5)]
    return [future.result() for future in futures]


@entrypoint()
def caught(number: int) -> str:
    try:
        breaks(number).result()
    except ValueError as error:
        return f"{error} {add(number, 1).result()}"
    return "it never breaks"


@entrypoint()
def retried(number: int) -> int:
    return add(flaky(number).result(), 1).result()


@entrypoint()
def naps(number: int) -> int:
    first = add(number, 1).result()
    sleep(0.5 + number % 5 / 2)
    return add(first, 1).result()


@entrypoint()
def asks(number: int) -> list:
    first = add(number, 1).result()
    answer = interrupt({"number": number})
    return [first, add(answer, 1).result()]


@entrypoint()
def inner(number: int) -> int:
    return add(add(number, 1).result(), 1).result()


@entrypoint()
def nests(number: int) -> int:
    return add(inner.invoke(number), 1).result()


@entrypoint()
def writes(number: int) -> int:
    write = get_stream_writer()
    for each in range(3):
        write({"percent": 33 * each})
        number = add(number, 1).result()
    write("done")
    return number


@entrypoint()
def cancelled(number: int) -> int:
    for _ in range(60):
        number = add(number, 1).result()
    return number


EXPECTED = {
    "chain": lambda number: number + 6,
    "fan": lambda number: [number + each for each in range(5)],
    "caught": lambda number: f"no {number} {number + 1}",
    "retried": lambda number: number + 1,
    "naps": lambda number: number + 2,
    "asks": lambda number: [number + 1, 7 * number + 1],
    "nests": lambda number: number + 3,
    "writes": lambda number: number + 3,
}
"""What each comes to; ``cancelled`` comes to nothing."""
ALL = {flow.name: flow for flow in (chain, fan, caught, retried, naps, asks, nests, writes, cancelled)}
