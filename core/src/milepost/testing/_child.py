"""What the clauses on several processes run in the other one: appends against its siblings, or reads."""

from __future__ import annotations

import sys

from milepost.drivers import open_checkpointer
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


if __name__ == "__main__":
    if sys.argv[1] == "append":
        append(*sys.argv[2:])
    else:
        read(*sys.argv[2:])
