"""Clauses on heads: compare and set, and its order with the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from milepost.checkpoint import Capability, Status
from milepost.errors import Corrupt, HeadMoved, PositionTaken, StorageError, StorageUnavailable
from milepost.testing.clause import clause
from milepost.testing.faulty import Faulty
from milepost.testing.place import batch, fill, head, names, swap
from milepost.testing.racing import race

if TYPE_CHECKING:
    from milepost.testing.place import Place

ROUNDS = 8
WRITERS = 4


class Heads:
    """What a backend must do with the one record of a thread that changes."""

    @clause("C30", "heads", why="a swap that does not compare lets two processes own one thread")
    def test_c30_a_head_is_set_only_at_the_expected_version(self, place: Place) -> None:
        """A head is set only where its version is the expected one, or where there is none if that is expected."""
        driver, thread = place.driver, place.thread()
        assert driver.load_head(thread) is None
        assert not driver.swap_head(swap(thread, 2))
        assert driver.load_head(thread) is None
        assert driver.swap_head(swap(thread))
        assert not driver.swap_head(swap(thread, nonce="other"))
        changed = {"status": Status.DONE, "wake": 1.5, "pending": ("q",)}
        assert driver.swap_head(swap(thread, 2, **changed))
        for version in (1, 2, 4):
            assert not driver.swap_head(swap(thread, version, nonce="other"))
        assert driver.load_head(thread) == head(thread, 2, **changed)

    @clause("C31", "heads", why="read, compare and write in three steps is no compare-and-set")
    def test_c31_of_racing_swaps_at_one_version_one_wins(self, place: Place) -> None:
        """Of several swaps at one version, through several drivers, exactly one says that it was set, and it was."""
        drivers, thread = [place.open() for _ in range(WRITERS)], place.thread()

        def swaps(number: int, version: int) -> Any:
            return lambda: drivers[number].swap_head(swap(thread, version, nonce=f"{number}"))

        for version in range(1, ROUNDS + 1):
            winner = race(*(swaps(number, version) for number in range(WRITERS))).winner
            assert drivers[0].load_head(thread) == head(thread, version, nonce=f"{winner}")

    @clause("C32", "heads", why="an owner that is told it lost its own swap gives up what it holds")
    def test_c32_a_swap_whose_answer_was_lost_counts_as_set(self, place: Place) -> None:
        """A swap whose answer was lost counts as set by its nonce, once; a rival's of the same version does not."""
        driver, thread = Faulty(place.open()), place.thread()
        driver.fail("_swap_head", "after")
        assert driver.swap_head(swap(thread))
        driver.fail("_swap_head", "before", times=2)
        assert driver.swap_head(swap(thread, 2))
        assert driver.load_head(thread) == head(thread, 2)
        driver.fail("_swap_head", "before")
        assert place.driver.swap_head(swap(thread, 3, nonce="rival"))
        assert not driver.swap_head(swap(thread, 3, nonce="mine"))
        driver.fail("_swap_head", times=9)
        with pytest.raises(StorageUnavailable):
            driver.swap_head(swap(thread, 4))
        assert place.driver.load_head(thread) == head(thread, 3, nonce="rival")

    @clause(
        "C33",
        "heads",
        needs=(Capability.ATOMIC_HEAD,),
        why="two statements in two transactions: half may stay",
    )
    def test_c33_an_append_with_a_swap_does_both_or_neither(self, place: Place) -> None:
        """An append with a swap does both or neither, whichever of the two is refused, and after a lost answer."""
        driver, thread = Faulty(place.open()), place.thread()
        driver.append(thread, 0, batch("a"), swap(thread))
        refused = (
            (HeadMoved, 1, swap(thread, 6)),
            (HeadMoved, 1, swap(thread, nonce="x")),
            (PositionTaken, 0, swap(thread, 2)),
        )
        for error, position, lost in refused:
            with pytest.raises(error):
                driver.append(thread, position, batch("b"), lost)
            assert (names(driver, thread), driver.load_head(thread)) == (["a"], head(thread))
        driver.fail("_append", "after")
        driver.append(thread, 1, batch("b"), swap(thread, 2))
        assert (names(driver, thread), driver.load_head(thread)) == (["a", "b"], head(thread, 2))

    @clause("C34", "heads", why="a driver that ignores what it cannot do reports as done what was not")
    def test_c34_a_swap_that_cannot_be_had_with_the_append_is_refused(self, place: Place) -> None:
        """Without ATOMIC_HEAD an append with a swap is a StorageError, and nothing is applied; with it, both are."""
        driver, thread = place.driver, place.thread()
        if Capability.ATOMIC_HEAD in driver.capabilities:
            driver.append(thread, 0, batch("a"), swap(thread))
            assert (driver.tail(thread), driver.load_head(thread)) == (1, head(thread))
            return
        with pytest.raises(StorageError) as caught:
            driver.append(thread, 0, batch("a"), swap(thread))
        assert not isinstance(caught.value, (StorageUnavailable, PositionTaken, HeadMoved))
        assert (driver.tail(thread), driver.load_head(thread)) == (0, None)

    @clause(
        "C35",
        "heads",
        why="an append before the head write strands the run when its process dies between them",
    )
    def test_c35_waking_takes_the_head_first(self, place: Place) -> None:
        """Waking takes head and position, or leaves the journal alone; in two steps, the head is taken first."""
        driver, thread = Faulty(place.open()), place.thread()
        atomic = Capability.ATOMIC_HEAD in driver.capabilities
        driver.wake(thread, 0, batch("a"), swap(thread))
        with pytest.raises(HeadMoved):
            driver.wake(thread, 1, batch("b"), swap(thread, 8))
        assert (names(driver, thread), driver.load_head(thread)) == (["a"], head(thread))
        with pytest.raises(PositionTaken):
            driver.wake(thread, 0, batch("b"), swap(thread, 2))
        version = 1 if atomic else 2
        assert (names(driver, thread), driver.load_head(thread)) == (["a"], head(thread, version))
        driver.fail("_append", error=StorageError("cut off"))
        with pytest.raises(StorageError, match="cut off"):
            driver.wake(thread, 1, batch("b"), swap(thread, version + 1))
        assert (names(driver, thread), driver.load_head(thread)) == (
            ["a"],
            head(thread, version if atomic else version + 1),
        )

    @clause("C36", "heads", why="a head laid down before the outcome is there shows a run that never ended")
    def test_c36_resting_appends_first_even_where_the_head_was_moved(self, place: Place) -> None:
        """Resting appends, then lays the head down; a head that was moved stays as it is, a taken position stops it."""
        driver, thread = Faulty(place.open()), place.thread()
        driver.wake(thread, 0, batch("a"), swap(thread))
        done = head(thread, 2, status=Status.DONE)
        assert driver.rest(thread, 1, batch("b"), swap(thread, 2, status=Status.DONE))
        assert driver.load_head(thread) == done
        assert not driver.rest(thread, 2, batch("c"), swap(thread, 2, status=Status.FAILED, nonce="x"))
        assert (names(driver, thread), driver.load_head(thread)) == (["a", "b", "c"], done)
        with pytest.raises(PositionTaken):
            driver.rest(thread, 2, batch("d"), swap(thread, 3))
        assert driver.load_head(thread) == done
        driver.fail("_append", error=StorageError("cut off"))
        with pytest.raises(StorageError, match="cut off"):
            driver.rest(thread, 3, batch("e"), swap(thread, 3))
        assert (names(driver, thread), driver.load_head(thread)) == (["a", "b", "c"], done)

    @clause(
        "C37",
        "heads",
        why="a head of a later version, read as far as it is understood, loses what is new in it",
    )
    def test_c37_a_damaged_head_is_reported(self, place: Place) -> None:
        """Bytes that are no head, or one of a later format, are Corrupt and name the thread."""
        driver = place.driver
        for shape, data in (("{}-cut", b'{"format":1'), ("{}-new", b'{"format":99}')):
            thread = place.thread(shape)
            assert driver._swap_head(head(thread), data, None)
            with pytest.raises(Corrupt, match=thread):
                driver.load_head(thread)
            assert driver._load_head(thread) == data
            assert driver._swap_head(head(thread, 2), head(thread, 2).encode(), 1)
            assert driver.load_head(thread) == head(thread, 2)

    @clause("C38", "heads", why="newest by time of change: after a step of the clock, the old one wins")
    def test_c38_a_clock_that_goes_backwards_changes_nothing(self, place: Place) -> None:
        """The order of heads is that of their versions; what they say of the time of day does not matter."""
        driver, thread = place.driver, place.thread()
        for version, year in enumerate(("2030", "1999", "0001", "2024", "2024"), start=1):
            changes = {"updated": f"{year}-01-01T00:00:00+00:00", "workflow": f"w{version}"}
            assert driver.swap_head(swap(thread, version, **changes))
            assert driver.load_head(thread) == head(thread, version, **changes)

    @clause("C39", "heads", why="a head kept in memory after the swap is not what the others see")
    def test_c39_head_and_journal_are_two_things(self, place: Place) -> None:
        """A head may be there without a journal and a journal without a head; neither makes or changes the other."""
        driver, other = place.driver, place.open()
        headless, only = place.thread("{}-headless"), place.thread("{}-only")
        fill(driver, headless, 2)
        assert driver.swap_head(swap(only))
        assert (other.load_head(headless), names(other, headless)) == (None, ["b-0", "b-1"])
        assert (other.load_head(only), names(other, only), other.tail(only)) == (head(only), [], 0)
        fill(other, only, 1)
        assert driver.load_head(only) == head(only)
        assert driver.swap_head(swap(only, 2))
        assert names(driver, only) == ["b-0"]
