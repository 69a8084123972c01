"""Where a clause works: opens drivers on one and the same data, gives out thread ids that are nobody else's."""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from milepost import _ids
from milepost.checkpoint import MAX_THREAD_ID_BYTES, Abandoned, Batch, Head, Status, Swap
from milepost.drivers import open_checkpointer
from milepost.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from milepost.checkpoint import Checkpointer, HeadQuery

AT = "2030-01-01T00:00:00+00:00"


class Place:
    """A place of a backend. It may hold other data: a clause touches and expects nothing but its own threads.

    ``open_driver`` opens a new driver on the place; ``url`` names the place, None where no URL does.
    """

    def __init__(self, open_driver: Callable[[], Checkpointer], url: str | None = None) -> None:
        self.url = url
        self.token = _ids.token()[:12]
        self._open = open_driver
        self._opened: list[Checkpointer] = []
        self._threads: list[str] = []
        self.tidies = True

    @classmethod
    def of(cls, source: str | Callable[[], Checkpointer]) -> Place:
        """Make a place of a URL, or of a function that opens a new driver on the same data at each call."""
        if isinstance(source, str):
            return cls(lambda: open_checkpointer(source), source)
        return cls(source)

    def open(self) -> Checkpointer:
        """Return a new driver that waits for nothing between two sendings; it is closed with the place."""
        driver = self._open()
        driver._pause = lambda seconds: None  # type: ignore[method-assign]  # noqa: ARG005 - the hook's signature
        self._opened.append(driver)
        return driver

    @cached_property
    def driver(self) -> Checkpointer:
        """The driver that a clause works with."""
        return self.open()

    def thread(self, shape: str = "{}") -> str:
        """Return a thread id of this clause's own; ``shape`` is what it looks like, ``{}`` stands for what makes it so.

        The character before ``…`` is repeated, to make 512 bytes.
        """
        begin, dots, end = shape.replace("{}", self.token).partition("…")
        left = MAX_THREAD_ID_BYTES - len((begin + end).encode())
        name = begin + (begin[-1] * (left // len(begin[-1].encode())) if dots else "") + end
        self._threads.append(name)
        return name

    def close(self, *, tidy: bool = True) -> None:
        """Delete the clause's threads, where asked, and close its drivers."""
        with suppress(StorageError):  # a clause that failed may leave behind what cannot be deleted
            if tidy and self.tidies and self._threads:
                with self._open() as driver:
                    for thread in dict.fromkeys(self._threads):
                        driver.delete(thread)
        for driver in self._opened:
            driver.close()


def batch(name: str, text: str = "x", records: int = 1) -> Batch:
    """Return a batch with this id; ``text`` is its payload."""
    return Batch(id=name, records=tuple(Abandoned(at=AT, run=text) for _ in range(records)))


def head(thread: str, version: int = 1, **changes: Any) -> Head:
    """Return a head of this version."""
    fields: dict[str, Any] = {
        "status": Status.RUNNING,
        "workflow": "w",
        "run": 0,
        "nonce": f"n{version}",
        "updated": AT,
    }
    return Head(thread=thread, version=version, **(fields | changes))


def swap(thread: str, version: int = 1, **changes: Any) -> Swap:
    """Return the swap that sets a head to this version, from the one before."""
    return Swap(head=head(thread, version, **changes), expected=version - 1 or None)


def fill(driver: Checkpointer, thread: str, count: int, start: int = 0) -> None:
    """Append batches ``b-<position>``."""
    for position in range(start, start + count):
        driver.append(thread, position, batch(f"b-{position}"))


def names(driver: Checkpointer, thread: str, start: int = 0, limit: int | None = None) -> list[str]:
    """Return the ids of the batches that are read."""
    return [found.id for _, found in driver.read(thread, start, limit)]


def listed(
    driver: Checkpointer, query: HeadQuery | None, limit: int = 100, mine: Collection[str] | None = None
) -> list[str]:
    """Return the thread ids of a whole listing; with ``mine``, only those: others may use the place too."""
    found: list[str] = []
    cursor = None
    while True:
        page, cursor = driver.list_heads(query, cursor=cursor, limit=limit)
        assert len(page) <= limit, "a page is longer than it may be"
        found += [entry.thread for entry in page if mine is None or entry.thread in mine]
        if cursor is None:
            return found
