"""What a SQLite store does in a second, and how it finds few items among many; measured for ``bench.py``."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from milepost.filters import parse
from milepost.operations import PutOp
from milepost.scans import Scan
from milepost_sqlite import SQLiteStore, _items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MANY = 100_000
OWNERS = 5_000
WRITES = 300
SPACE = ("users",)
FILTERS: dict[str, dict[str, Any]] = {
    "1 in 10, text": {"kind": "task"},
    "20 of all, text": {"owner": f"o{OWNERS - 1}"},
    "none, text": {"owner": "nobody"},
    "none, number": {"stars": {"$gt": 100}},
    "20 of all, indexed": {"keeper": f"o{OWNERS - 1}"},
    "none, indexed": {"keeper": "nobody"},
}
"""Filters of a search with the limit 10; ``keeper`` has an index, ``owner`` has the same values without."""
numbers = count()


def value(number: int) -> dict[str, Any]:
    owner = f"o{number // 20 % OWNERS}"
    return {
        "kind": "note" if number % 10 else "task",
        "owner": owner,
        "keeper": owner,
        "stars": number % 7,
        "text": f"the quick brown fox {number} jumps over word{number % 1000}",
    }


def filled(path: Path, many: int) -> SQLiteStore:
    """Return a store with so many items below one prefix, in a hundred namespaces."""
    store = SQLiteStore(path, synchronous="normal", fields=["keeper"])
    for begin in range(0, many, 1000):
        items = range(begin, min(begin + 1000, many))
        store.batch([PutOp((*SPACE, f"u{each % 100}"), f"k{each:06}", value(each)) for each in items])
    return store


def searches(store: SQLiteStore, many: int) -> Iterator[tuple[str, Callable[[], float]]]:
    """Yield what is measured of searches: a name, and a function giving seconds."""

    def searching(**asked: Any) -> Callable[[], float]:
        return lambda: _timed(lambda: store.search(SPACE, limit=10, **asked))

    yield f"first 10 of {many:,}", searching()
    for name, wanted in FILTERS.items():
        yield f"filter, {name}", searching(filter=wanted)
    yield "words, 1 in 1,000", searching(query="word7")
    yield "words, in each item", searching(query="fox")


def writes(store: SQLiteStore) -> Iterator[tuple[str, Callable[[], float]]]:
    """Yield what is measured of single items: a name, and a function giving seconds for each."""

    def each(action: Callable[[int], object]) -> Callable[[], float]:
        return lambda: _timed(lambda: [action(number) for number in range(WRITES)]) / WRITES

    def compare_and_set(_: int) -> None:
        item = store.get(("counters",), "n")
        count, version = (0, 0) if item is None else (item.value["count"], item.version)
        store.put(("counters",), "n", {"count": count + 1}, if_version=version)

    def put_many() -> float:
        first = next(numbers)
        ops = [PutOp(("batches", str(first)), f"k{each}", value(each)) for each in range(WRITES)]
        return _timed(lambda: store.batch(ops)) / WRITES

    yield "put", each(lambda number: store.put(("puts", str(next(numbers))), "k", value(number)))
    yield "put again", each(lambda number: store.put(("again",), "k", value(number)))
    yield "put in a batch of 300", put_many
    yield "get", each(lambda _: store.get(("again",), "k"))
    yield "get and compare-and-set", each(compare_and_set)


def plans(store: SQLiteStore) -> str:
    """Return how SQLite finds what each filter asks for."""
    lines = []
    for name, wanted in FILTERS.items():
        now = datetime(2030, 1, 1, tzinfo=UTC)
        scan = Scan(prefix="users!", after="", limit=256, now=now, filter=parse(wanted))
        statement, values = _items.scan(scan, store._fields)
        rows = store._client.query(f"EXPLAIN QUERY PLAN {statement}", values)
        lines += [f"plan of filter, {name}:", *(f"    {row[-1]}" for row in rows)]
    return "\n".join(lines)


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start
