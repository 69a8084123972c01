"""Where a clause about stores works: opens drivers on one and the same data, below a label that is nobody else's."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from milepost import _ids
from milepost.drivers import open_store
from milepost.errors import StorageError, StorageUnavailable
from milepost.operations import PutOp

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Sequence

    from milepost.items import Item, Namespace
    from milepost.store import Store


class HeldClock:
    """A clock that moves when it is told to. It stands in the future: no backend removes by itself what lives there."""

    def __init__(self) -> None:
        self.time = datetime(2100, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        """Return the time."""
        return self.time

    def monotonic(self) -> float:
        """Return the seconds since the epoch."""
        return self.time.timestamp()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Refuse to wait: nobody else moves the clock."""
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.time += timedelta(seconds=seconds)


class StorePlace:
    """A place of a backend. It may hold other data: a clause touches and expects nothing but what is below its label.

    ``open_driver`` opens a new driver on the place; ``url`` names the place, None where no URL does. All drivers share
    ``clock``.
    """

    def __init__(self, open_driver: Callable[[], Store], url: str | None = None) -> None:
        self.url = url
        self.label = _ids.token()[:12]
        self.clock = HeldClock()
        self.tidies = True
        self._open = open_driver
        self._opened: list[Store] = []

    @classmethod
    def of(cls, source: str | Callable[[], Store]) -> StorePlace:
        """Make a place of a URL, or of a function that opens a new driver on the same data at each call."""
        if isinstance(source, str):
            return cls(lambda: open_store(source), source)
        return cls(source)

    def open(self) -> Store:
        """Return a new driver that waits for nothing between two sendings; it is closed with the place."""
        driver = self._open()
        driver._pause = lambda seconds: None  # type: ignore[method-assign]  # noqa: ARG005 - the hook's signature
        driver.clock = self.clock
        self._opened.append(driver)
        return driver

    @cached_property
    def driver(self) -> Store:
        """The driver that a clause works with."""
        return self.open()

    def space(self, *labels: str) -> Namespace:
        """Return a namespace of this clause's own."""
        return (self.label, *labels)

    def close(self, *, tidy: bool = True) -> None:
        """Delete what lies below the label, where asked, and close the drivers."""
        with suppress(StorageError):  # a clause that failed may leave behind what cannot be deleted
            if tidy and self.tidies:
                self._tidy()
        for driver in self._opened:
            driver.close()

    def _tidy(self) -> None:
        with self._open() as driver:
            driver.clock = self.clock
            while page := driver.search((self.label,), limit=200, refresh_ttl=False):
                driver.batch([PutOp(item.namespace, item.key, None) for item in page])


def keys(found: Iterable[Item]) -> list[str]:
    """Return the keys of what was found, in order."""
    return [item.key for item in found]


def places(found: Iterable[Item], label: str) -> list[tuple[Namespace, str]]:
    """Return namespaces, without the clause's label, and keys of what was found."""
    shown = []
    for item in found:
        assert item.namespace[0] == label
        shown.append((item.namespace[1:], item.key))
    return shown


def value(driver: Store, namespace: Namespace, key: str) -> Any:
    """Return the value of an item, None where there is none; it does not begin a life anew."""
    found = driver.get(namespace, key, refresh_ttl=False)
    return None if found is None else found.value


def fill(driver: Store, namespace: Namespace, values: Sequence[dict[str, Any]], **keywords: Any) -> None:
    """Put values under ``000``, ``001``, … together."""
    driver.batch([PutOp(namespace, f"{number:03}", each, **keywords) for number, each in enumerate(values)])


def lose(driver: Store, when: str, times: int = 1, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Have the answers of the next swaps get lost: ``"before"`` they are applied, or ``"after"``.

    ``meanwhile`` is called when an answer was lost.
    """
    swap, left = driver._swap, [times]

    def losing(changes: Any) -> Any:
        if not left[0]:
            return swap(changes)
        left[0] -= 1
        if when == "after":
            swap(changes)
        meanwhile()
        raise StorageUnavailable("the answer was lost")

    driver._swap = losing  # type: ignore[method-assign]
