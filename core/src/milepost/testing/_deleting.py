"""Clauses on deleting: exactly that thread, to the end, and nothing of it comes back."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from milepost.checkpoint import HeadQuery
from milepost.errors import StorageError
from milepost.testing._reading import SHAPES
from milepost.testing.clause import clause
from milepost.testing.faulty import Faulty
from milepost.testing.place import batch, fill, head, listed, names, swap

if TYPE_CHECKING:
    from milepost.checkpoint import Checkpointer
    from milepost.testing.faulty import When
    from milepost.testing.place import Place

MANY_HOOKS = 40


class Deleting:
    """What is left of a deleted thread."""

    @clause("C50", "deleting", why="deletion by prefix: deleting a deleted a/b and ab as well")
    def test_c50_deleting_deletes_exactly_that_thread(self, place: Place) -> None:
        """Deleting takes a thread's batches and head, and leaves every thread alone whose id resembles its own."""
        driver = place.driver
        threads = [place.thread(shape) for shape in SHAPES]
        for thread in threads:
            fill(driver, thread, 1)
            assert driver.swap_head(swap(thread))
        for gone in [place.thread(shape) for shape in ("{}a", "{}a%", "../{}")]:
            driver.delete(gone)
            threads.remove(gone)
        for thread in threads:
            assert names(driver, thread) == ["b-0"], f"deleting others took batches of {thread!r}"
            assert driver.load_head(thread) == head(thread), f"deleting others took the head of {thread!r}"

    @clause(
        "C51",
        "deleting",
        why="a second deletion failed, so a deletion that was cut off could not be repeated",
    )
    def test_c51_deleting_again_and_deleting_nothing_is_harmless(self, place: Place) -> None:
        """Deleting a thread twice, or one that never was, does nothing."""
        driver, thread, never = place.driver, place.thread(), place.thread("{}-never")
        driver.delete(never)
        assert _is_empty(driver, never)
        fill(driver, thread, 3)
        assert driver.swap_head(swap(thread))
        for _ in range(3):
            driver.delete(thread)
            assert _is_empty(driver, thread)

    @clause("C52", "deleting", why="what a person asked to be erased was still shown by a listing")
    def test_c52_a_deleted_thread_leaves_no_readable_trace(self, place: Place) -> None:
        """Nothing of a deleted thread can be read, by any call and any driver, also where two delete it at once."""
        driver, thread, workflow = place.driver, place.thread(), f"w-{place.token}"
        fill(driver, thread, 3)
        assert driver.swap_head(swap(thread, workflow=workflow))
        driver.delete(thread)
        for reader in (driver, place.open()):
            assert _is_empty(reader, thread)
            assert [reader.at(thread, position) for position in range(6)] == [None] * 6
            assert [names(reader, thread, start) for start in range(6)] == [[]] * 6
            assert listed(reader, HeadQuery(workflow=workflow)) == []
        crossed = place.thread("{}-crossed")
        fill(driver, crossed, 3)
        assert driver.swap_head(swap(crossed, workflow=workflow))
        _delete_twice_at_once(driver, place.open(), crossed)
        assert _is_empty(driver, crossed)
        assert listed(driver, HeadQuery(workflow=workflow)) == []

    @clause(
        "C53", "deleting", why="a process that died while it deleted left batches that the next run then read"
    )
    def test_c53_a_deletion_that_was_cut_off_is_finished_when_repeated(self, place: Place) -> None:
        """A deletion that is cut off before or after any of its steps is finished by repeating it."""
        for number in itertools.count():
            moments: list[When] = ["before", "after"]
            cuts = [_cut_off(place, number, when) for when in moments]
            if not any(cuts):
                break
            assert number < MANY_HOOKS, "deleting never ends"
        assert number, "a deletion calls at least one hook"

    @clause("C54", "deleting", why="a new run on a deleted thread's id replayed the outcomes of the old one")
    def test_c54_a_deleted_thread_can_be_started_again_and_has_only_what_is_new(self, place: Place) -> None:
        """A thread started again after its deletion goes on from its tail, and has nothing of what was before."""
        driver, thread = place.driver, place.thread()
        for life in range(3):
            begin = driver.tail(thread)
            driver.wake(thread, begin, batch(f"life-{life}"), swap(thread, nonce=f"{life}"))
            fill(driver, thread, 2, begin + 1)
            for reader in (driver, place.open()):
                expected = [
                    (begin, f"life-{life}"),
                    (begin + 1, f"b-{begin + 1}"),
                    (begin + 2, f"b-{begin + 2}"),
                ]
                assert [(position, found.id) for position, found in reader.read(thread)] == expected
                assert reader.load_head(thread) == head(thread, nonce=f"{life}")
                assert reader.tail(thread) == begin + 3
            driver.delete(thread)

    @clause(
        "C55", "deleting", why="a deletion that was repeated late took the thread that had been started since"
    )
    def test_c55_a_thread_without_a_head_or_without_a_journal_can_be_deleted(self, place: Place) -> None:
        """A thread of which only the head, or only the journal, is there is deleted like any other."""
        driver, headless, only = place.driver, place.thread("{}-headless"), place.thread("{}-only")
        fill(driver, headless, 2)
        assert driver.swap_head(swap(only))
        for thread in (headless, only):
            driver.delete(thread)
            assert _is_empty(driver, thread)


def _delete_twice_at_once(one: Checkpointer, other: Checkpointer, thread: str) -> None:
    """Let the other take head and tail after the one has; then the one finishes before the other does."""
    finish_one, finish_other = one._delete, other._delete

    def meanwhile(*given: Any) -> None:
        def last(*then: Any) -> None:
            finish_one(*given)
            finish_other(*then)

        with patch.object(other, "_delete", last):
            other.delete(thread)

    with patch.object(one, "_delete", meanwhile):
        one.delete(thread)


def _is_empty(driver: Checkpointer, thread: str) -> bool:
    tail = driver.tail(thread)
    assert names(driver, thread) == names(driver, thread, tail) == []
    assert driver.load_head(thread) is None
    return True


def _cut_off(place: Place, number: int, when: When) -> bool:
    """Cut a deletion off at the hook of this number, repeat it, and check; tell whether it had so many."""
    thread = place.thread(f"{{}}-{number}-{when}")
    other = place.thread(f"{{}}-{number}-{when}-other")
    for one in (thread, other):
        fill(place.driver, one, 2)
        assert place.driver.swap_head(swap(one))
    driver = Faulty(place.open())

    def meet(call: int, moment: When) -> None:
        if (call, moment) == (number, when):
            raise StorageError("cut off")

    driver.meet = meet
    try:
        driver.delete(thread)
    except StorageError:
        cut = True
    else:
        cut = False
    for deleter in (place.driver, place.open()):
        deleter.delete(thread)
        assert _is_empty(deleter, thread)
    assert names(place.driver, other) == ["b-0", "b-1"]
    begin = place.driver.tail(thread)
    place.driver.append(thread, begin, batch("new"))
    assert names(place.driver, thread) == ["new"]
    return cut
