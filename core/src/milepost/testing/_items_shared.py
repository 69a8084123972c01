"""Clauses on stores that several use at once: threads, processes, lost answers, opening and closing."""

from __future__ import annotations

import os
import threading
import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from milepost.backend import Capability
from milepost.errors import Closed, InvalidURL, SchemaTooNew, StorageUnavailable, VersionConflict
from milepost.operations import PutOp
from milepost.store import Store
from milepost.testing._lifetime import CANARY
from milepost.testing._processes import PATIENCE, _complaint, _line, _start, _stop, _told
from milepost.testing.clause import clause, not_provided
from milepost.testing.racing import race
from milepost.testing.store_place import fill, keys, lose, value
from milepost.url import URL

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost.items import Namespace
    from milepost.testing.store_place import StorePlace

WRITERS = 6
EACH = 5
WRITING = 3
PROCESSES = 4
FINAL = (
    "get", "put", "delete", "search", "list_namespaces", "batch", "sweep_ttl", "configure",
    "aget", "aput", "adelete", "asearch", "alist_namespaces", "abatch", "asweep_ttl", "open", "close",
)  # fmt: skip


def count(driver: Store, space: Namespace, times: int) -> None:
    """Add one to a number so many times, each time again where somebody else was first."""
    for _ in range(times):
        while True:
            found = driver.get(space, "count")
            number, version = (0, 0) if found is None else (found.value["n"], found.version)
            try:
                driver.put(space, "count", {"n": number + 1}, if_version=version)
            except VersionConflict:
                continue
            break


def _putting(driver: Store, space: Namespace, number: int, version: int) -> Callable[[], int]:
    return lambda: driver.put(space, "k", {"n": number}, if_version=version)


class Sharing:
    """What threads, processes and those who lose answers may rely on."""

    make_newer: ClassVar[Any] = None
    processes: ClassVar[str] = ""
    patience: ClassVar[float] = 5.0
    """How long threads may take to end, in seconds."""

    # -- at once -----------------------------------------------------------------------------------------------------

    @clause("S50", "races", why="of two that created one item at once, both were told that it was theirs")
    def test_s50_of_several_at_once_one_wins(self, place: StorePlace) -> None:
        """Of writers with the same condition at the same moment exactly one gets through; the others are told."""
        space = place.space("race")
        drivers = [place.open() for _ in range(WRITERS // 2)]
        version = 0
        for number in range(3):
            steps = [_putting(drivers[n % len(drivers)], space, n, version) for n in range(WRITERS)]
            done = race(*steps)
            assert all(isinstance(error, VersionConflict) for error in done.errors.values()), done.errors
            assert value(place.driver, space, "k") == {"n": done.winner}, number
            version = done.results[done.winner]

    @clause(
        "S51", "races", why="reads and writes without a condition between them lost every second increment"
    )
    def test_s51_no_update_is_lost(self, place: StorePlace) -> None:
        """Threads that read, add and compare-and-set, through one driver and through several, lose nothing."""
        space = place.space("count")
        drivers = [place.open(), place.open()]
        done = race(*((lambda d=drivers[n % 2]: count(d, space, EACH)) for n in range(WRITERS)))
        assert not done.errors
        assert value(place.driver, space, "count") == {"n": WRITERS * EACH}

    @clause("S52", "races", why="a dictionary changed its size while it was read")
    def test_s52_readers_and_writers_do_not_disturb_each_other(self, place: StorePlace) -> None:
        """While items come, change and go, searches find whole ones, in order, and none that never was."""
        driver, space = place.driver, place.space("busy")
        ended: list[int] = []

        def write(worker: int) -> Callable[[], None]:
            def run() -> None:
                for number in range(12):
                    driver.put((*space, f"{worker}"), f"{number % 3}", {"a": number, "b": [number] * 20})
                    if number % 4 == 1:
                        driver.delete((*space, f"{worker}"), f"{(number + 1) % 3}")
                ended.append(worker)

            return run

        def read() -> None:
            while len(ended) < WRITING:
                found = driver.search(space, limit=99)
                order = [(item.namespace, item.key) for item in found]
                assert order == sorted(order)
                assert all(item.value["b"] == [item.value["a"]] * 20 for item in found)
                driver.list_namespaces(prefix=space)

        done = race(*(write(n) for n in range(WRITING)), read, read)
        assert not done.errors
        assert len(driver.list_namespaces(prefix=space)) == WRITING

    @clause("S53", "races", why="of those that wrote without a condition, some were told that they could not")
    def test_s53_writes_without_a_condition_all_succeed(self, place: StorePlace) -> None:
        """Plain puts and deletes of one item at the same moment all return; the last one stays."""
        space = place.space("blind")
        drivers = [place.open(), place.open()]
        done = race(*((lambda n=n: drivers[n % 2].put(space, "k", {"n": n})) for n in range(WRITERS)))
        assert not done.errors
        found = place.driver.get(space, "k")
        assert found is not None
        assert found.version == done.results[found.value["n"]]
        assert len(set(done.results.values())) == WRITERS

    # -- lost answers ------------------------------------------------------------------------------------------------

    @clause(
        "S60", "faults", why="a compare-and-set whose answer was lost was sent again, and lost against itself"
    )
    def test_s60_a_write_whose_answer_was_lost_counts_once(self, place: StorePlace) -> None:
        """Whether a lost write was applied or not, the one sent again is recognised; conditions hold once."""
        driver, space = place.driver, place.space("lost")
        version = 0
        for number, when in enumerate(("before", "after", "before", "after")):
            lose(driver, when)
            version = driver.put(space, "k", {"n": number}, if_version=version)
            assert value(driver, space, "k") == {"n": number}
        lose(driver, "after")
        driver.delete(space, "k", if_version=version)
        assert driver.get(space, "k") is None
        lose(driver, "after", times=2)
        driver.batch([PutOp(space, f"{number}", {"n": number}) for number in range(5)])
        assert keys(driver.search(space)) == [f"{number}" for number in range(5)]

    @clause(
        "S61", "faults", why="a write of which nobody knew was reported as refused, and made again by hand"
    )
    def test_s61_what_nobody_can_know_is_said(self, place: StorePlace) -> None:
        """A lost write with a condition that somebody has since written over is told as unknown, not as refused."""
        driver, space = place.driver, place.space("unknown")
        other = place.open()
        version = driver.put(space, "k", {"n": 0})
        lose(driver, "after", meanwhile=lambda: other.put(space, "k", {"n": 2}))
        with pytest.raises(StorageUnavailable, match="unknown"):
            driver.put(space, "k", {"n": 1}, if_version=version)
        assert value(driver, space, "k") == {"n": 2}
        lose(driver, "after", meanwhile=lambda: other.put(space, "k", {"n": 4}))
        driver.put(space, "k", {"n": 3})
        assert value(driver, space, "k") == {"n": 3}

    @clause("S62", "faults", why="a backend that did not answer was asked for ever, or only once")
    def test_s62_a_backend_that_is_away_is_told(self, place: StorePlace) -> None:
        """A write that never gets an answer ends with StorageUnavailable; the driver works on afterwards."""
        driver, space = place.driver, place.space("away")
        lose(driver, "before", times=4)
        with pytest.raises(StorageUnavailable):
            driver.put(space, "k", {"n": 1})
        assert driver.get(space, "k") is None
        driver.put(space, "k", {"n": 2})
        assert value(driver, space, "k") == {"n": 2}

    # -- opening and closing -----------------------------------------------------------------------------------------

    @clause("S70", "lifetime", why="a closed store opened itself again, and nobody closed that")
    def test_s70_a_closed_store_says_so(self, place: StorePlace) -> None:
        """Close may be called twice; afterwards each method raises Closed, and a new driver finds what there was."""
        space = place.space("closed")
        driver = place.open()
        assert driver.open() is driver
        driver.put(space, "k", {"n": 1})
        driver.close()
        driver.close()
        for call in (
            lambda: driver.get(space, "k"),
            lambda: driver.put(space, "k", {}),
            lambda: driver.delete(space, "k"),
            lambda: driver.search(space),
            driver.list_namespaces,
            lambda: driver.batch([]),
            driver.sweep_ttl,
            driver.open,
        ):
            with pytest.raises(Closed):
                call()
        assert value(place.open(), space, "k") == {"n": 1}

    @clause(
        "S71",
        "lifetime",
        why="of several that opened an empty place at once, one made it and the others failed",
    )
    def test_s71_drivers_that_open_at_the_same_moment_all_work(self, place: StorePlace) -> None:
        """Drivers that open one place at the same moment all work."""
        drivers = [place.open() for _ in range(WRITERS)]
        done = race(
            *((lambda n=n: drivers[n].open().put(place.space("open"), f"{n}", {})) for n in range(WRITERS))
        )
        assert not done.errors
        assert len(place.driver.search(place.space())) == WRITERS

    @clause("S72", "lifetime", why="a password in a repr is in the log of the first error, and stays there")
    def test_s72_no_secret_is_shown(self, place: StorePlace) -> None:
        """A password in the URL, wherever it stands, is in no repr and no error."""
        if place.url is None:
            not_provided("the place has no URL")
        scheme, _, rest = str(place.url).partition("://")
        mark = "&" if "?" in rest else "?"
        for text in (
            f"{scheme}://user:{CANARY}@{rest.rpartition('@')[2]}",
            f"{scheme}://{rest}{mark}password={CANARY}",
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
        "S73", "lifetime", why="an old process wrote into a schema that it did not know, and lost a column"
    )
    def test_s73_what_a_later_version_wrote_is_refused(self, place: StorePlace) -> None:
        """A place that a later version of the driver has written is SchemaTooNew for every call."""
        assert self.make_newer is not None, (
            "say how a place looks that a later version wrote: a method make_newer(self, url), or a string with the "
            "reason why there is none"
        )
        if isinstance(self.make_newer, str):
            not_provided(self.make_newer)
        place.driver.put(place.space("newer"), "k", {})
        self.make_newer(place.open if place.url is None else place.url)
        place.tidies = False
        space = place.space("newer")
        calls: tuple[Callable[[Store], Any], ...] = (
            lambda driver: driver.open(),
            lambda driver: driver.get(space, "k"),
            lambda driver: driver.put(space, "k", {}),
            lambda driver: driver.search(space),
        )
        for call in calls:
            with place.open() as driver, pytest.raises(SchemaTooNew):
                call(driver)

    @clause(
        "S74", "lifetime", why="a driver that does by itself what the base class does will do it differently"
    )
    def test_s74_a_driver_fills_in_hooks_and_nothing_else(self, place: StorePlace) -> None:
        """A driver leaves the public methods to the base class, speaks a known API and refuses unknown options."""
        driver = place.driver
        changed = [name for name in FINAL if getattr(type(driver), name) is not getattr(Store, name)]
        assert not changed, f"{type(driver).__qualname__} overrides final methods"
        assert type(driver).DRIVER_API == Store.DRIVER_API
        if place.url is not None:
            unknown = f"{place.url}{'&' if '?' in place.url else '?'}no-such-option=1"
            with pytest.raises(InvalidURL):
                type(driver).from_url(URL.parse(unknown))

    @clause(
        "S75", "lifetime", why="a client's monitor threads outlived it: a worker that reloads collects them"
    )
    def test_s75_no_thread_is_left_after_close(self, place: StorePlace) -> None:
        """Threads that a driver starts have ended soon after it was closed."""
        before = {thread.ident for thread in threading.enumerate()}
        with place.open() as driver:
            race(*((lambda n=n: fill(driver, place.space(f"{n}"), [{}] * 3)) for n in range(WRITERS)))
            driver.search(place.space(), limit=99)
        left = [one for one in threading.enumerate() if one.ident not in before]
        for one in left:
            one.join(self.patience)
        assert not [one.name for one in left if one.is_alive()]

    # -- processes ---------------------------------------------------------------------------------------------------

    def _reachable(self, place: StorePlace) -> str:
        if self.processes:
            not_provided(self.processes)
        if place.url is None:
            not_provided("the place has no URL, so no other process can open it")
        return str(place.url)

    @clause(
        "S80",
        "processes",
        needs=(Capability.MULTI_PROCESS,),
        why="locks that only threads respect: each process believed that it alone had the item",
    )
    def test_s80_processes_lose_no_update(self, place: StorePlace) -> None:
        """Four processes that open a place at once and add to one number lose no increment."""
        url = self._reachable(place)
        workers = [_start("count", url, place.label, f"{EACH}") for _ in range(PROCESSES)]
        try:
            for worker in workers:
                assert _line(worker) == "ready", _complaint(worker)
            for worker in _told(workers):
                _, complaint = worker.communicate(timeout=PATIENCE)
                assert worker.returncode == 0, complaint
        finally:
            _stop(workers)
        assert value(place.driver, place.space(), "count") == {"n": PROCESSES * EACH}

    @clause(
        "S81",
        "processes",
        needs=(Capability.MULTI_PROCESS,),
        why="connections and pools do not survive a fork: under preloading servers both sides broke",
    )
    def test_s81_a_store_works_on_both_sides_of_a_fork(self, place: StorePlace) -> None:
        """A driver that was used before a fork works in the child and in the parent."""
        if self.processes:
            not_provided(self.processes)
        if not hasattr(os, "fork"):
            not_provided("this system has no fork")
        driver, space = place.driver, place.space("fork")
        driver.put(space, "0", {})
        for number in (1, 3):
            with warnings.catch_warnings():
                warnings.simplefilter(
                    "ignore", DeprecationWarning
                )  # of forking beside threads: this is the point
                child = os.fork()
            if not child:
                _end_with(driver, space, f"{number}")
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 0, "the child could not use the driver"
            driver.put(space, f"{number + 1}", {})
        assert keys(driver.search(space)) == [f"{number}" for number in range(5)]

    @clause(
        "S82",
        "processes",
        needs=(Capability.DURABLE,),
        why="what was acknowledged was still in a buffer of the process",
    )
    def test_s82_what_was_acknowledged_survives_the_driver_and_the_process(self, place: StorePlace) -> None:
        """What was acknowledged is read by a driver that opens later, in this process and in another."""
        space = place.space()
        with place.open() as driver:
            fill(driver, space, [{"n": number} for number in range(3)])
        assert keys(place.open().search(space)) == ["000", "001", "002"]
        reader = _start("items", self._reachable(place), place.label)
        try:
            output, complaint = reader.communicate(timeout=PATIENCE)
        finally:
            _stop([reader])
        assert output.split() == ["000", "001", "002"], complaint


def _end_with(driver: Store, space: Namespace, key: str) -> None:
    """Put in a forked child, and end it without any of the parent's cleaning up."""
    code = 1
    try:
        driver.put(space, key, {})
        code = 0 if keys(driver.search(space))[-1] == key else 2
    finally:
        os._exit(code)
