"""Clauses on a driver's life: opened when first used, closed once, nothing left, nothing told that is secret."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from milepost.checkpoint import Checkpointer
from milepost.drivers import open_checkpointer
from milepost.errors import Closed, InvalidURL, SchemaTooNew, StorageError
from milepost.testing.clause import clause, not_provided
from milepost.testing.place import batch, fill, names, swap
from milepost.testing.racing import race
from milepost.url import URL

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost.testing.place import Place

WRITERS = 4
READING = 0.02
"""Seconds for which readers read on before the driver is closed under them."""
CANARY = "hunter2canary"
FINAL = (
    "append", "wake", "rest", "read", "at", "tail", "load_head", "swap_head", "list_heads", "prune", "delete",
    "delete_thread", "open", "close",
)  # fmt: skip


class Lifetime:
    """How a driver begins and ends."""

    make_newer: ClassVar[Any] = None
    patience: ClassVar[float] = 10.0
    """Seconds that the threads of a closed driver have to end."""

    @clause("C70", "lifetime", why="a second open made a second connection, and the first was never closed")
    def test_c70_opening_twice_is_harmless_and_a_with_block_closes(self, place: Place) -> None:
        """A driver may be opened often, or never before its first use; a with-block closes it."""
        thread = place.thread()
        with place.open() as driver:
            assert driver.open() is driver.open() is driver
            fill(driver, thread, 1)
        with pytest.raises(Closed):
            driver.tail(thread)
        assert names(place.open(), thread) == ["b-0"]

    @clause("C71", "lifetime", why="a call after close opened a new connection that nobody closed")
    def test_c71_a_closed_driver_says_so(self, place: Place) -> None:
        """Every call after ``close()`` raises Closed, reading on as well; closing again does nothing."""
        driver, thread = place.open(), place.thread()
        fill(driver, thread, 258)  # more than a page
        reading = driver.read(thread)
        next(reading)
        driver.close()
        driver.close()
        calls: list[Callable[[], Any]] = [
            lambda: list(reading),
            lambda: driver.append(thread, 258, batch("s-1")),
            lambda: names(driver, thread),
            lambda: driver.at(thread, 0),
            lambda: driver.tail(thread),
            lambda: driver.load_head(thread),
            lambda: driver.swap_head(swap(thread)),
            driver.list_heads,
            lambda: driver.prune(thread, 1),
            lambda: driver.delete(thread),
            driver.open,
        ]
        for call in calls:
            with pytest.raises(Closed):
                call()
        assert len(names(place.driver, thread)) == 258

    @clause(
        "C72",
        "lifetime",
        why="closing under a reader raised what the client library raises, or never returned",
    )
    def test_c72_closing_while_others_read_ends_them_with_closed(self, place: Place) -> None:
        """Who reads while the driver is closed gets whole journals, then Closed."""
        driver, thread = place.open(), place.thread()
        fill(driver, thread, 10)
        reading = threading.Barrier(3)

        def read() -> str:
            assert len(names(driver, thread)) == 10
            reading.wait()
            try:
                while True:
                    assert len(names(driver, thread)) == 10
            except Closed:
                return "closed"

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            reading.wait()
            threading.Event().wait(READING)
            driver.close()
            assert [reader.result() for reader in readers] == ["closed", "closed"]

    @clause(
        "C73",
        "lifetime",
        why="of six processes that opened an empty database at once, five failed to migrate it",
    )
    def test_c73_drivers_that_open_at_the_same_moment_all_work(self, place: Place) -> None:
        """Drivers that open one place at the same moment, and one driver's threads that do, all work."""
        opened = [place.open() for _ in range(WRITERS)]
        drivers = [*opened, opened[0], opened[0]]
        threads = [place.thread(f"{{}}-{number}") for number in range(len(drivers))]

        def use(number: int) -> Any:
            return lambda: fill(drivers[number].open(), threads[number], 2)

        done = race(*(use(number) for number in range(len(drivers))))
        assert not done.errors
        assert [names(place.driver, thread) for thread in threads] == [["b-0", "b-1"]] * len(threads)

    @clause(
        "C74", "lifetime", why="a client's monitor threads outlived it: a worker that reloads collects them"
    )
    def test_c74_no_thread_is_left_after_close(self, place: Place) -> None:
        """Threads that a driver starts have ended soon after it was closed."""
        before = {thread.ident for thread in threading.enumerate()}
        thread = place.thread()
        with place.open() as driver:
            race(*(lambda n=n: fill(driver, f"{thread}-{n}", 2) for n in range(WRITERS)))
            for number in range(WRITERS):
                driver.delete(place.thread(f"{{}}-{number}"))
        left = [one for one in threading.enumerate() if one.ident not in before]
        for one in left:
            one.join(self.patience)
        assert not [one.name for one in left if one.is_alive()]

    @clause("C75", "lifetime", why="a password in a repr is in the log of the first error, and stays there")
    def test_c75_no_secret_is_shown(self, place: Place) -> None:
        """A password in the URL, wherever it stands, is in no repr and no error."""
        if place.url is None:
            not_provided("the place has no URL")
        scheme, _, rest = str(place.url).partition("://")
        mark = "&" if "?" in rest else "?"
        for text in (
            f"{scheme}://user:{CANARY}@{rest.rpartition('@')[2]}",
            f"{scheme}://{rest}{mark}password={CANARY}",
            f"{scheme}://{rest}{mark}secret_token={CANARY}",
        ):
            try:
                driver = type(place.driver).from_url(URL.parse(text))
            except InvalidURL as error:
                said = f"{error} {error!r} {error.__cause__!r}"
            else:
                said = f"{driver} {driver!r}"
                driver.close()
            assert CANARY not in said, "the secret was shown"

    @clause(
        "C76", "lifetime", why="an old process wrote into a schema that it did not know, and lost a column"
    )
    def test_c76_what_a_later_version_wrote_is_refused(self, place: Place) -> None:
        """A place that a later version of the driver has written is SchemaTooNew for every call, and is not changed."""
        assert self.make_newer is not None, (
            "say how a place looks that a later version wrote: a method make_newer(self, url), or a string with the "
            "reason why there is none"
        )
        if isinstance(self.make_newer, str):
            not_provided(self.make_newer)
        thread = place.thread()
        fill(place.driver, thread, 1)
        self.make_newer(place.open if place.url is None else place.url)
        place.tidies = False
        for call in (
            lambda driver: driver.open(),
            lambda driver: driver.append(thread, 1, batch("b-1")),
            lambda driver: names(driver, thread),
            lambda driver: driver.load_head(thread),
        ):
            with place.open() as driver, pytest.raises(SchemaTooNew):
                call(driver)

    @clause(
        "C77", "lifetime", why="a driver that does by itself what the base class does will do it differently"
    )
    def test_c77_a_driver_fills_in_hooks_and_nothing_else(self, place: Place) -> None:
        """A driver leaves the public methods to the base class, speaks a known API and raises only StorageErrors."""
        driver = place.driver
        changed = [name for name in FINAL if getattr(type(driver), name) is not getattr(Checkpointer, name)]
        assert not changed, f"{type(driver).__qualname__} overrides final methods"
        assert type(driver).DRIVER_API == Checkpointer.DRIVER_API
        if place.url is not None:
            assert type(open_checkpointer(place.url)).__mro__.count(Checkpointer) == 1
            unknown = f"{place.url}{'&' if '?' in place.url else '?'}no-such-option=1"
            with pytest.raises(InvalidURL):
                type(driver).from_url(URL.parse(unknown))
        thread = place.thread()
        fill(driver, thread, 1)
        with pytest.raises(StorageError):
            driver.append(thread, 0, batch("rival"))
