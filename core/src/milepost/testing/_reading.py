"""Clauses on reading: what was acknowledged, whole, in order, of this thread and no other."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar

import pytest

from milepost.errors import Corrupt
from milepost.testing.clause import clause
from milepost.testing.place import batch, fill, head, names, swap

if TYPE_CHECKING:
    from milepost.checkpoint import Batch
    from milepost.testing.place import Place

SHAPES = (
    "{}", "{}a", "{}A", "{}a ", " {}a", "{}a\x00", "{}a\x00b", "\x01\x7f\n{}", "{}a/b", "{}a%2Fb", "{}a%2fb", "{}ab",
    "{}\xe9", "{}e\u0301", "{}\U0001f98a", "{}..", "../{}", "{}/..", "{}a/../b", "{}/", "/{}", ".{}", "{}a:b", "{}a|b",
    "{}a+b", "{}a b", "{}a?b", "{}a#b", "{}a\\b", "$x{}", "{}$x", "{}x.y", "{}a_", "{}a%", "{}a*",
    "'; DROP TABLE heads; --{}", '"{}"', "{}x…", "{}x…y", "{}\xe9…",
)  # fmt: skip
"""Thread ids that some backend, somewhere, has taken for another one, or for a command."""


class Reading:
    """What a reader is shown."""

    long_journal: ClassVar[int] = 2500
    """How many batches the longest journal has."""

    @clause("C20", "reading", why="pages of 1,000 keys or rows ended a journal that was longer")
    def test_c20_reading_starts_and_ends_where_it_is_told(self, place: Place) -> None:
        """Of 300 batches, reading gives those from ``start`` on, ``limit`` of them at most, each once, in order."""
        driver, thread = place.driver, place.thread()
        fill(driver, thread, 300)
        every = [f"b-{n}" for n in range(300)]
        assert names(driver, thread) == every
        for start, limit in (
            (298, None),
            (3, 2),
            (1, 290),
            (0, 0),
            (300, None),
            (9999, 5),
            (255, 2),
            (0, 256),
        ):
            end = None if limit is None else start + limit
            assert names(driver, thread, start, limit) == every[start:end]
        assert driver.at(thread, 299) == batch("b-299")
        assert driver.at(thread, 300) is None

    @clause("C21", "reading", why="a tail found by listing is cut off where the backend's pages end")
    def test_c21_a_long_journal_is_read_whole(self, place: Place) -> None:
        """A journal of 2,500 batches is read whole, and its tail is found from any hint."""
        driver, thread = place.driver, place.thread()
        fill(driver, thread, self.long_journal)
        assert names(driver, thread) == [f"b-{n}" for n in range(self.long_journal)]
        hints = (0, 1, 255, 1000, self.long_journal - 1, self.long_journal)
        assert {driver.tail(thread, min(hint, self.long_journal)) for hint in hints} == {self.long_journal}

    @clause(
        "C22",
        "reading",
        why="a lock held while a listing is iterated: a saver deadlocked with its own writer",
    )
    def test_c22_a_half_consumed_read_blocks_no_writer(self, place: Place) -> None:
        """While somebody iterates over a journal, others append to it, and the reader comes to what they wrote."""
        driver, other, thread = place.driver, place.open(), place.thread()
        fill(driver, thread, 300)
        reading = driver.read(thread)
        assert next(reading)[0] == 0
        with ThreadPoolExecutor(1) as pool:
            pool.submit(driver.append, thread, 300, batch("here")).result(10)
        other.append(thread, 301, batch("there"))
        assert driver.load_head(thread) is None
        assert [found.id for _, found in reading][-2:] == ["here", "there"]

    @clause(
        "C23", "reading", why="a batch written record by record shows an outcome without the claim before it"
    )
    def test_c23_a_reader_never_sees_half_a_batch(self, place: Place) -> None:
        """While batches of several records are appended, every read is a prefix of what will be, in whole batches."""
        reader, thread = place.open(), place.thread()
        given = [batch(f"b-{n}", f"{n}" * 4000, records=5) for n in range(12)]
        acknowledged, done = [0], threading.Event()

        def write() -> None:
            try:
                for position, one in enumerate(given):
                    place.driver.append(thread, position, one)
                    acknowledged[0] = position + 1
            finally:
                done.set()

        reads = []
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            while not done.is_set():
                reads.append((acknowledged[0], [found for _, found in reader.read(thread)]))
            writing.result()
        reads.append((len(given), [found for _, found in reader.read(thread)]))
        _check_prefixes(reads, given)

    @clause("C24", "reading", why="one damaged row made every thread of the database unreadable")
    def test_c24_a_damaged_batch_is_named_and_others_stay_readable(self, place: Place) -> None:
        """Bytes that are no batch, or one of a later format, are Corrupt and name the thread; others are unharmed."""
        driver, good = place.driver, place.thread("{}-good")
        fill(driver, good, 1)
        for shape, data in (("{}-cut", b'{"format":1'), ("{}-new", b'{"format":99,"id":"x","records":[]}')):
            thread = place.thread(shape)
            driver._append(thread, 0, data, None)
            with pytest.raises(Corrupt, match=thread):
                names(driver, thread)
        assert names(driver, good) == ["b-0"]

    @clause(
        "C25",
        "reading",
        why="prefixes as patterns, folded case, normalised Unicode: deleting a took a/b with it",
    )
    def test_c25_threads_with_similar_ids_stay_apart(self, place: Place) -> None:
        """Journals and heads of ids that resemble each other, up to 512 bytes, are kept apart byte by byte."""
        driver = place.driver
        threads = [place.thread(shape) for shape in SHAPES]
        for number, thread in enumerate(threads):
            driver.append(thread, 0, batch(f"b-{number}"))
            assert driver.swap_head(swap(thread, nonce=f"{number}")), f"{thread!r} had a head"
        for number, thread in enumerate(threads):
            assert names(driver, thread) == [f"b-{number}"]
            assert driver.load_head(thread) == head(thread, nonce=f"{number}")

    @clause("C26", "reading", why="replicas and caches answer with what was true a while ago")
    def test_c26_another_driver_sees_at_once_what_was_acknowledged(self, place: Place) -> None:
        """What one driver was acknowledged, another on the same place reads at once: batches, tail and head."""
        first, second, thread = place.open(), place.open(), place.thread()
        for number in range(4):
            writer, reader = (first, second) if number % 2 else (second, first)
            assert reader.tail(thread) == number
            writer.append(thread, number, batch(f"b-{number}"))
            assert writer.swap_head(swap(thread, number + 1))
            assert names(reader, thread) == [f"b-{n}" for n in range(number + 1)]
            assert reader.tail(thread, number) == number + 1
            assert reader.load_head(thread) == head(thread, number + 1)

    @clause(
        "C27", "reading", why="a tail from a counter beside the journal is wrong after the first lost answer"
    )
    def test_c27_the_tail_is_the_first_free_position(self, place: Place) -> None:
        """The tail is the first free position, from whatever hint within the journal it is looked for."""
        driver, thread = place.driver, place.thread()
        assert driver.tail(thread) == 0
        for length in range(1, 20):
            fill(driver, thread, 1, length - 1)
            assert {driver.tail(thread, hint) for hint in (0, length - 1, length)} == {length}


def _check_prefixes(reads: list[tuple[int, list[Batch]]], given: list[Batch]) -> None:
    seen = 0
    for acknowledged, found in reads:
        assert found == given[: len(found)]
        assert len(found) >= max(acknowledged, seen), "a batch that was acknowledged, or seen, is gone"
        seen = len(found)
