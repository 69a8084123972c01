"""What the clauses on several processes run in the other one: writes against its siblings, or reads."""

from __future__ import annotations

import sys

from milepost.drivers import open_checkpointer, open_store
from milepost.errors import PositionTaken
from milepost.testing.place import batch, names


def append(url: str, thread: str, worker: str, times: str) -> None:
    """Append so many batches, each at the tail; print the position and id of each that won."""
    print("ready", flush=True)  # noqa: T201 - the parent reads it
    sys.stdin.readline()
    with open_checkpointer(url) as driver:
        for number in range(int(times)):
            name, position = f"{worker}-{number}", driver.tail(thread)
            while True:
                try:
                    driver.append(thread, position, batch(name))
                except PositionTaken:
                    position = driver.tail(thread, position)
                else:
                    break
            print(f"{position}:{name}", flush=True)  # noqa: T201 - likewise


def read(url: str, thread: str) -> None:
    """Print the ids of the thread's batches, and the version of its head."""
    with open_checkpointer(url) as driver:
        head = driver.load_head(thread)
        print(*names(driver, thread), f"version={head.version if head else None}")  # noqa: T201 - likewise


def count(url: str, label: str, times: str) -> None:
    """Add to a number in a store, beside its siblings."""
    from milepost.testing._items_shared import count as add

    print("ready", flush=True)  # noqa: T201 - the parent reads it
    sys.stdin.readline()
    with open_store(url) as driver:
        add(driver, (label,), int(times))


def items(url: str, label: str) -> None:
    """Print the keys of the items in a namespace."""
    with open_store(url) as driver:
        print(*(item.key for item in driver.search((label,))))  # noqa: T201 - likewise


if __name__ == "__main__":
    {"append": append, "read": read, "count": count, "items": items}[sys.argv[1]](*sys.argv[2:])  # type: ignore[operator]  # their numbers of arguments differ
