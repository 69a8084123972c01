"""What a thread's past costs: the same run and the same answer after 10 and after 10,000 finished runs, on any driver.

``python tests/benchmarks/history.py URL`` prints calls of the driver's hooks, requests (S3, MongoDB), and median times,
with the ratio of long to short. ``--runs N`` takes another long history, ``--rounds N`` the median of N.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from milepost import Command, Engine, entrypoint, interrupt, open_checkpointer, task
from milepost._ids import token
from milepost._struct import replace
from milepost.checkpoint import Batch, Capability, Swap

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost.checkpoint import Checkpointer

SHORT = 10
HOOKS = ("_append", "_read", "_tail", "_load_head", "_swap_head", "_list_heads")
WRITERS = 16


@task
def double(number: int) -> int:
    return number * 2


@entrypoint()
def work(question: str) -> str:
    answer = interrupt(question) if question else "nothing"
    return f"{double(1).result()} {answer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one step took: calls of hooks, requests (0 where nobody counts them), and seconds."""

    calls: int
    requests: int
    seconds: float


class Meter:
    """Counts what an opened driver is asked for, and what it asks S3 or MongoDB for."""

    def __init__(self, url: str) -> None:
        self._counts: Counter[str] = Counter()
        self._is_s3 = url.startswith("s3:")
        if url.startswith("mongodb"):
            self._hear_commands()

    def watch(self, driver: Any) -> None:
        """Begin to count."""
        for name in HOOKS:
            setattr(driver, name, self._counted(getattr(driver, name)))
        if self._is_s3:
            driver._client._client().meta.events.register("request-created.s3", self._request)

    def _hear_commands(self) -> None:
        from pymongo import monitoring

        count = self._request

        class Commands(monitoring.CommandListener):
            def started(self, event: monitoring.CommandStartedEvent) -> None:
                count()

            def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
                pass

            def failed(self, event: monitoring.CommandFailedEvent) -> None:
                pass

        monitoring.register(Commands())

    def _counted(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            self._counts["calls"] += 1
            return hook(*args)

        return call

    def _request(self, **_: Any) -> None:
        self._counts["requests"] += 1

    def measure(self, step: Callable[[], object]) -> Cost:
        """Return what a step costs."""
        self._counts.clear()
        begin = time.perf_counter()
        step()
        seconds = time.perf_counter() - begin
        return Cost(calls=self._counts["calls"], requests=self._counts["requests"], seconds=seconds)


def lengthen(driver: Checkpointer, thread: str, runs: int) -> None:
    """Give a thread with one finished run so many more, each the same records in one batch."""
    batches = [batch for _, batch in driver.read(thread)]
    records = tuple(record for batch in batches for record in batch.records)
    begin = len(batches)

    def append(number: int) -> None:
        driver.append(thread, begin + number, Batch(id=f"history-{number}", records=records))

    writers = 1 if Capability.CHECKED_TAIL in driver.capabilities else WRITERS
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(append, range(runs - 1)))
    now = driver.load_head(thread)
    assert now is not None
    last = replace(now, version=now.version + 1, run=begin + runs - 2, nonce=token())
    assert driver.swap_head(Swap(head=last, expected=now.version))


def costs(url: str, lengths: tuple[int, ...], rounds: int) -> dict[str, list[Cost]]:
    """Return what each step costs on threads with so many finished runs: medians, and the most requests.

    All threads are there before anything is measured, and take turns: so they meet the same server.
    """
    meter = Meter(url)
    found: dict[str, dict[int, list[Cost]]] = {}
    with open_checkpointer(url) as driver, Engine(checkpointer=driver, workers=2) as engine:
        threads = {runs: f"history-{runs}-{token()}" for runs in lengths}
        for runs, thread in threads.items():
            work.invoke("", thread_id=thread)
            lengthen(driver, thread, runs)
        meter.watch(driver.open())
        for runs, thread in [*threads.items()] * rounds:
            for name, given in (("run", ""), ("pause", "who?"), ("answer", Command(resume="me"))):
                cost = meter.measure(lambda: work.invoke(given, thread_id=thread))  # noqa: B023 - called at once
                found.setdefault(name, {}).setdefault(runs, []).append(cost)
        engine.close()
    return {name: [_median(found[name][runs]) for runs in lengths] for name in found}


def _median(each: list[Cost]) -> Cost:
    return Cost(
        calls=max(cost.calls for cost in each),
        requests=max(cost.requests for cost in each),
        seconds=median(cost.seconds for cost in each),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "url", help="where to keep the runs, such as sqlite:///bench.db or s3://bucket/prefix"
    )
    parser.add_argument("--runs", type=int, default=10_000, help="finished runs of the long history")
    parser.add_argument("--rounds", type=int, default=15, help="how often each step is measured")
    given = parser.parse_args()
    lengths = (SHORT, given.runs)
    print(f"{'':8}{'runs before':>12}{'calls':>8}{'requests':>10}{'median ms':>12}{'ratio':>8}")
    for name, found in costs(given.url, lengths, given.rounds).items():
        for runs, cost in zip(lengths, found, strict=True):
            ratio = cost.seconds / found[0].seconds
            print(
                f"{name:8}{runs:12,}{cost.calls:8}{cost.requests or '-':>10}{cost.seconds * 1000:12.2f}{ratio:8.2f}"
            )


if __name__ == "__main__":
    main()
