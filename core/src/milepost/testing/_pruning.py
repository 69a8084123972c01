"""Clauses on pruning: the floor rises, never falls, and nothing is read or written below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from milepost.errors import PositionTaken, StorageError
from milepost.testing._reading import SHAPES
from milepost.testing.clause import clause
from milepost.testing.faulty import Faulty
from milepost.testing.place import batch, fill, head, names, swap

if TYPE_CHECKING:
    from milepost.testing.place import Place


class Pruning:
    """What is left of a pruned journal."""

    @clause(
        "C60", "pruning", why="a journal that begins anywhere but at 0 looked like one with a gap, and empty"
    )
    def test_c60_a_pruned_journal_begins_at_its_floor(self, place: Place) -> None:
        """After pruning, reading from anywhere below gives what is from the floor on; head and tail are unchanged."""
        driver, thread = place.driver, place.thread()
        fill(driver, thread, 8)
        assert driver.swap_head(swap(thread))
        driver.prune(thread, 5, keep=(2, 4))
        for reader in (driver, place.open()):
            for start in range(6):
                assert [position for position, _ in reader.read(thread, start)] == [5, 6, 7]
            assert [position for position, _ in reader.read(thread, 0, 2)] == [5, 6]
            assert [reader.at(thread, position) for position in range(5)] == [None] * 5
            assert reader.at(thread, 5) == batch("b-5")
            assert {reader.tail(thread, hint) for hint in (0, 3, 5, 8)} == {8}
            assert reader.load_head(thread) == head(thread)
        fill(driver, thread, 2, 8)
        assert names(driver, thread) == [f"b-{n}" for n in range(5, 10)]

    @clause(
        "C61", "pruning", why="a second pruning with an older position brought pruned batches back to count"
    )
    def test_c61_a_floor_never_falls(self, place: Place) -> None:
        """Pruning again, at the same position or a lower one, changes nothing; also by a driver that opens later."""
        driver, thread = place.driver, place.thread()
        fill(driver, thread, 8)
        for before in (5, 5, 3, 0, 1):
            (place.open() if before % 2 else driver).prune(
                thread, before, keep=(before - 1,) if before else ()
            )
            assert names(driver, thread) == ["b-5", "b-6", "b-7"]
            assert driver.tail(thread) == 8

    @clause(
        "C62", "pruning", why="batches deleted before the floor was raised: the reader stopped at the hole"
    )
    def test_c62_pruning_that_was_cut_off_is_finished_when_repeated(self, place: Place) -> None:
        """Pruning that was cut off before or after its step loses nothing, and is finished by repeating it."""
        for when in ("before", "after"):
            driver, thread = Faulty(place.open()), place.thread(f"{{}}-{when}")
            fill(driver, thread, 6)
            driver.fail("_prune", "after" if when == "after" else "before", error=StorageError("cut off"))
            with pytest.raises(StorageError, match="cut off"):
                driver.prune(thread, 4, keep=(3,))
            assert names(place.driver, thread)[-2:] == ["b-4", "b-5"]
            for pruner in (driver, place.open()):
                pruner.prune(thread, 4, keep=(3,))
                assert names(pruner, thread) == ["b-4", "b-5"]

    @clause(
        "C63", "pruning", why="a driver that forgot the floor took an append where nobody would ever read it"
    )
    def test_c63_an_append_below_the_floor_is_refused(self, place: Place) -> None:
        """The driver that pruned refuses an append anywhere below the floor."""
        driver, thread = place.driver, place.thread()
        fill(driver, thread, 6)
        driver.prune(thread, 4, keep=(3,))
        for position in range(6):
            with pytest.raises(PositionTaken):
                driver.append(thread, position, batch("late"))
        assert names(driver, thread) == ["b-4", "b-5"]

    @clause("C64", "pruning", why="a journal pruned to its end began at 0 again, below what others had seen")
    def test_c64_a_journal_pruned_to_its_end_goes_on_there(self, place: Place) -> None:
        """A journal whose floor is at its tail or above is empty, and goes on at the floor."""
        for before in (4, 6):
            driver, thread = place.driver, place.thread(f"{{}}-{before}")
            fill(driver, thread, 4)
            driver.prune(thread, before, keep=(before - 1,))
            for reader in (driver, place.open()):
                assert names(reader, thread) == []
                assert reader.tail(thread) == before
            fill(place.open(), thread, 2, before)
            assert list(driver.read(thread)) == [(n, batch(f"b-{n}")) for n in (before, before + 1)]

    @clause("C65", "pruning", why="a range of keys that was compared as text took 10 for less than 9")
    def test_c65_pruning_touches_exactly_that_prefix_of_that_thread(self, place: Place) -> None:
        """Pruning takes nothing of threads whose ids resemble this one's, and no position from the floor on."""
        driver = place.driver
        threads = [place.thread(shape) for shape in SHAPES]
        for thread in threads:
            fill(driver, thread, 1)
        pruned = place.thread("{}a")
        fill(driver, pruned, 11, 1)
        driver.prune(pruned, 9, keep=(8,))
        assert names(driver, pruned) == ["b-9", "b-10", "b-11"]
        for thread in threads:
            if thread != pruned:
                assert names(driver, thread) == ["b-0"], f"pruning {pruned!r} took batches of {thread!r}"
