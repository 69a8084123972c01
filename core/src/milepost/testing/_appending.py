"""Clauses on appending: a position is free or it is not, and bytes are bytes."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from milepost.checkpoint import Abandoned, Capability
from milepost.errors import PositionTaken, TooLarge
from milepost.testing.clause import clause
from milepost.testing.place import batch, fill, names
from milepost.testing.racing import race, two_writers

if TYPE_CHECKING:
    from milepost.checkpoint import Checkpointer
    from milepost.testing.place import Place

ROUNDS = 6
WRITERS = 4
TWENTY_MB = 20_000_000


class Appending:
    """What a backend must do with a batch."""

    @clause(
        "C01", "appending", why="an order by time of insertion differs from that of positions after a retry"
    )
    def test_c01_batches_are_read_back_in_order_with_their_positions(self, place: Place) -> None:
        """Batches are read back in the order of their positions; an unknown thread has none."""
        driver, thread = place.driver, place.thread()
        fill(driver, thread, 12)
        assert list(driver.read(thread)) == [(n, batch(f"b-{n}")) for n in range(12)]
        assert list(driver.read(place.thread("{}-unknown"))) == []

    @clause(
        "C02", "appending", why="text columns cut at NUL; collations and decoders change what is not ASCII"
    )
    def test_c02_bytes_come_back_as_they_were(self, place: Place) -> None:
        """Bytes come back as they were, whatever they are and whether one or a million."""
        driver = place.driver
        for number, data in enumerate([b"\x00", b"x", bytes(range(256)) * 4, b"\xff\xfe\r\n\x1a" * 200_000]):
            thread = place.thread(f"{{}}-{number}")
            driver._append(thread, 0, data, None)
            ((position, found),) = driver._read(thread, 0, 10)
            assert (position, type(found), len(found)) == (0, bytes, len(data))
            assert found == data

    @clause(
        "C03", "appending", why="MongoDB's documents end at 16 MB; a client buffer or a proxy ends earlier"
    )
    def test_c03_payloads_of_no_bytes_to_twenty_megabytes_are_kept(self, place: Place) -> None:
        """Payloads of 0 B, 1 B, 1 KiB, 1 MiB and 20 MB are kept exactly, or refused by the limit that is declared."""
        driver, thread = place.driver, place.thread()
        position = 0
        for size in (0, 1, 2**10, 2**20, TWENTY_MB):
            payload = ("0123456789abcdef" * (size // 16 + 1))[:size]
            if driver.max_batch_bytes is not None and size > driver.max_batch_bytes:
                with pytest.raises(TooLarge):
                    driver.append(thread, position, batch(f"b-{size}", payload))
                continue
            driver.append(thread, position, batch(f"b-{size}", payload))
            found = driver.at(thread, position)
            assert found is not None
            (record,) = found.records
            assert isinstance(record, Abandoned)
            assert sha256(record.run.encode()).digest() == sha256(payload.encode()).digest()
            position += 1

    @clause("C04", "appending", why="an upsert, or a PUT without a condition, lets the last writer win")
    def test_c04_a_taken_position_is_refused_and_keeps_its_batch(self, place: Place) -> None:
        """A taken position is refused with PositionTaken and keeps its batch."""
        driver, thread = place.driver, place.thread()
        fill(driver, thread, 2)
        for position in (0, 1):
            with pytest.raises(PositionTaken) as caught:
                driver.append(thread, position, batch("rival"))
            error = caught.value
            assert (error.thread_id, error.position, error.tail) == (thread, position, None)
        assert names(driver, thread) == ["b-0", "b-1"]

    @clause(
        "C05", "appending", why="a writer that missed a page of the journal would decide on half of the facts"
    )
    def test_c05_nothing_past_a_gap_counts(self, place: Place) -> None:
        """Where CHECKED_TAIL is declared, a position past the tail is refused; elsewhere nothing past a gap is read."""
        driver = place.driver
        checked = Capability.CHECKED_TAIL in driver.capabilities
        for length, position in ((0, 1), (2, 3), (2, 300)):
            thread = place.thread(f"{{}}-{length}-{position}")
            fill(driver, thread, length)
            if checked:
                with pytest.raises(PositionTaken, match="gap") as caught:
                    driver.append(thread, position, batch("late"))
                assert caught.value.tail == length
            else:
                driver.append(thread, position, batch("late"))
            assert names(driver, thread) == ["b-0", "b-1"][:length]
            assert driver.tail(thread) == length

    @clause("C06", "appending", why="look first, then write: between the two, somebody else does the same")
    def test_c06_of_racing_appends_at_one_position_one_wins(self, place: Place) -> None:
        """Of several appends at one position, through one driver or many, one wins; each other gets PositionTaken."""
        shared = [place.driver] * WRITERS
        for many, drivers in enumerate((shared, [place.open() for _ in range(WRITERS)])):
            thread = place.thread(f"{{}}-{many}")
            won = [_race_for(drivers, thread, position) for position in range(ROUNDS)]
            assert names(place.driver, thread) == [f"{who}-{position}" for position, who in enumerate(won)]

    @clause(
        "C07",
        "appending",
        why="the check of the tail in one statement and the insert in another lets two through",
    )
    def test_c07_of_two_writers_that_go_on_from_one_tail_one_goes_on(self, place: Place) -> None:
        """Two drivers that read the same tail and append there again and again leave a journal without a gap."""
        first, second, thread = place.open(), place.open(), place.thread()

        def go_on(driver: Checkpointer, number: int) -> list[str]:
            won = []
            for attempt in range(ROUNDS):
                name = f"{number}-{attempt}"
                try:
                    driver.append(thread, driver.tail(thread), batch(name))
                except PositionTaken:
                    continue
                won.append(name)
            return won

        done = two_writers(go_on, first, second)
        assert not done.errors
        assert sorted(names(first, thread)) == sorted(done.results[0] + done.results[1])

    @clause(
        "C08", "appending", why="an engine sends again what it has no answer to; an outcome would count twice"
    )
    def test_c08_the_same_batch_sent_again_is_no_rival_and_no_duplicate(self, place: Place) -> None:
        """The same batch at the same position, sent again, is a success and changes nothing."""
        driver, thread = place.driver, place.thread()
        for _ in range(3):
            driver.append(thread, 0, batch("s-1"))
        place.open().append(thread, 0, batch("s-1"))
        assert names(driver, thread) == ["s-1"]
        assert driver.tail(thread) == 1

    @clause(
        "C09", "appending", why="a batch that is too large failed halfway, and the pause it recorded was lost"
    )
    def test_c09_a_batch_over_the_limit_is_not_sent(self, place: Place) -> None:
        """A batch over ``max_batch_bytes`` raises TooLarge before anything is sent; one of just that size is kept."""
        driver, thread = place.open(), place.thread()
        given = batch("s-1", "x" * 500)
        size = len(given.encode())
        driver.max_batch_bytes = size - 1
        with pytest.raises(TooLarge) as caught:
            driver.append(thread, 0, given)
        assert (caught.value.size, caught.value.limit) == (size, size - 1)
        assert driver.tail(thread) == 0
        driver.max_batch_bytes = size
        driver.append(thread, 0, given)
        assert driver.at(thread, 0) == given


def _race_for(drivers: list[Any], thread: str, position: int) -> int:
    """Let every driver append at the position at once; return the number of the winner."""

    def appends(number: int) -> Any:
        return lambda: drivers[number].append(thread, position, batch(f"{number}-{position}"))

    done = race(*(appends(number) for number in range(len(drivers))))
    assert {type(error) for error in done.errors.values()} == {PositionTaken}
    return done.winner
