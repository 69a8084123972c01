"""Clauses on answers that are lost and writers that come late: what was decided in the past is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from milepost.checkpoint import Batch, Claimed, Owner
from milepost.errors import PositionTaken, StorageUnavailable
from milepost.testing.clause import clause
from milepost.testing.faulty import Faulty
from milepost.testing.place import AT, batch, fill, head, names, swap
from milepost.testing.racing import race

if TYPE_CHECKING:
    from milepost.testing.place import Place

SENDINGS = 4
"""How often a call is sent, the first time included."""


def claim(session: str) -> Batch:
    """Return the batch by which a session takes a thread over."""
    owner = Owner(host="elsewhere", boot="b", pid=1, started=1, session=session)
    return Batch(id=f"{session}-1", records=(Claimed(at=AT, owner=owner),))


class Fencing:
    """What a writer is told who is not the only one, or does not know what became of his write."""

    @clause("C10", "fencing", why="a retried insert finds its own row and takes it for a rival's")
    def test_c10_an_append_whose_answer_was_lost_is_applied_once(self, place: Place) -> None:
        """An append whose answer was lost succeeds and is there once: applied or not, and lost several times."""
        driver = Faulty(place.open())
        thread = place.thread()
        fill(driver, thread, 1)
        for position, faults in enumerate(
            (["after"], ["before"], ["before", "after"], ["after"] * 3), start=1
        ):
            for when in faults:
                driver.fail("_append", "after" if when == "after" else "before")
            driver.append(thread, position, batch(f"s-{position}"))
        assert names(place.driver, thread) == ["b-0", "s-1", "s-2", "s-3", "s-4"]

    @clause(
        "C11", "fencing", why="a retry at the next position accepts an answer to a question that was closed"
    )
    def test_c11_an_append_that_comes_after_a_rival_is_a_loss(self, place: Place) -> None:
        """An append that was not applied, and is sent again after a rival's at this position, is a loss."""
        driver, thread = Faulty(place.open()), place.thread()
        driver.fail("_append", "before")
        place.driver.append(thread, 0, batch("rival"))
        with pytest.raises(PositionTaken):
            driver.append(thread, 0, batch("mine"))
        assert names(place.driver, thread) == ["rival"]

    @clause("C12", "fencing", why="a stopped process that goes on after another took its work writes over it")
    def test_c12_a_former_owner_that_thaws_is_refused(self, place: Place) -> None:
        """An append held back while another session claims the thread is refused when it arrives."""
        former, thread = Faulty(place.open()), place.thread()
        fill(former, thread, 2)
        gate = former.hold("_append")

        def take_over() -> None:
            gate.wait_for_arrival()
            place.driver.append(thread, 2, claim("new"))
            place.driver.append(thread, 3, batch("new-2"))
            gate.open()

        done = race(lambda: former.append(thread, 2, batch("old-9")), take_over)
        assert {number: type(error) for number, error in done.errors.items()} == {0: PositionTaken}
        assert names(place.driver, thread) == ["b-0", "b-1", "new-1", "new-2"]

    @clause(
        "C13", "fencing", why="a write that timed out lands minutes later, when nobody waits for it any more"
    )
    def test_c13_a_write_that_lands_late_changes_nothing_that_was_decided_since(self, place: Place) -> None:
        """A write on its way that lands after the writer's own retry, or after a rival's, changes nothing."""
        for rival in (False, True):
            driver, thread = Faulty(place.open()), place.thread(f"{{}}-{rival}")
            driver.delay("_append")
            if rival:
                driver.fail("_append", times=SENDINGS - 1)
                with pytest.raises(StorageUnavailable):
                    driver.append(thread, 0, batch("mine"))
                place.driver.append(thread, 0, batch("rival"))
            else:
                driver.append(thread, 0, batch("mine"))
            before = list(place.driver.read(thread))
            assert [type(answer) for answer in driver.land()] == [PositionTaken]
            assert list(place.driver.read(thread)) == before

    @clause(
        "C14", "fencing", why="deleting frees the position at which a former owner's outcome is still to land"
    )
    def test_c14_a_late_append_does_not_land_in_a_deleted_thread(self, place: Place) -> None:
        """What was on its way when a thread was deleted is never read, also after the thread was started again."""
        driver, thread = place.driver, place.thread()
        fill(driver, thread, 3)
        before, after = (_write_on_its_way(place, thread, 3) for _ in range(2))
        driver.delete(thread)
        assert [type(answer) for answer in before.land()] == [PositionTaken]
        assert names(driver, thread) == []
        begin = driver.tail(thread)
        driver.wake(thread, begin, batch("new-1"), swap(thread, nonce="new"))
        fill(driver, thread, 2, begin + 1)  # had positions begun anew, the late one would be the next
        assert [type(answer) for answer in after.land()] == [PositionTaken]
        assert names(driver, thread) == ["new-1", f"b-{begin + 1}", f"b-{begin + 2}"]
        assert driver.load_head(thread) == head(thread, nonce="new")

    @clause(
        "C15",
        "fencing",
        why="pruning freed the position at which a former owner's append was still on its way",
    )
    def test_c15_a_position_kept_by_pruning_is_refused(self, place: Place) -> None:
        """A position that pruning keeps is refused to a former owner whose driver knows nothing of the pruning."""
        former, driver, thread = place.open(), place.driver, place.thread()
        fill(former, thread, 6)
        driver.prune(thread, 4, keep=(1, 3))
        for writer in (former, driver, place.open()):
            for position in (1, 3):
                with pytest.raises(PositionTaken):
                    writer.append(thread, position, batch("old-9"))
        assert names(driver, thread) == ["b-4", "b-5"]

    @clause("C16", "fencing", why="an error answered with an empty result reads as a thread that never was")
    def test_c16_a_backend_that_stays_away_is_reported_by_every_call(self, place: Place) -> None:
        """A backend that stays away is StorageUnavailable from every call, after the resends; never an empty result."""
        thread = place.thread()
        fill(place.driver, thread, 2)
        place.driver.swap_head(swap(thread))
        driver, away = place.open(), _Away()
        for hook in (
            "_append",
            "_read",
            "_tail",
            "_load_head",
            "_swap_head",
            "_list_heads",
            "_prune",
            "_delete",
        ):
            setattr(driver, hook, away)
        for call in (
            lambda: driver.append(thread, 2, batch("b-2")),
            lambda: list(driver.read(thread)),
            lambda: driver.tail(thread),
            lambda: driver.load_head(thread),
            lambda: driver.swap_head(swap(thread, 2)),
            driver.list_heads,
            lambda: driver.prune(thread, 1),
            lambda: driver.delete(thread),
        ):
            away.calls = 0
            with pytest.raises(StorageUnavailable):
                call()
            assert away.calls == SENDINGS

    @clause("C17", "fencing", why="one lost packet ended a run that could have gone on")
    def test_c17_reading_outlives_passing_faults(self, place: Place) -> None:
        """A fault that passes is not seen by the caller: the identical call is sent again."""
        driver, thread = Faulty(place.open()), place.thread()
        fill(driver, thread, 3)
        driver.swap_head(swap(thread))
        for hook in ("_read", "_tail", "_load_head", "_list_heads", "_prune"):
            driver.fail(hook, "before", times=2)
            driver.fail(hook, "after")
        assert names(driver, thread) == ["b-0", "b-1", "b-2"]
        assert driver.tail(thread) == 3
        assert driver.load_head(thread) == head(thread)
        driver.list_heads(limit=1)
        driver.prune(thread, 1)
        assert names(driver, thread) == ["b-1", "b-2"]


class _Away:
    """Stands for every hook of a backend that does not answer."""

    calls = 0

    def __call__(self, *_: object) -> None:
        self.calls += 1
        raise StorageUnavailable("no answer")


def _write_on_its_way(place: Place, thread: str, position: int) -> Faulty:
    """Return a driver that has given up an append which is still to land."""
    driver = Faulty(place.open())
    driver.delay("_append")
    driver.fail("_append", times=SENDINGS - 1)
    with pytest.raises(StorageUnavailable):
        driver.append(thread, position, batch("old-9"))
    return driver
