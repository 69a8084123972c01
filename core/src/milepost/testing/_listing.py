"""Clauses on listing heads: filtered, then limited; ordered; every head once, whatever changes meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from milepost.checkpoint import HeadQuery, Status
from milepost.testing._reading import SHAPES
from milepost.testing.clause import clause
from milepost.testing.place import head, listed, swap

if TYPE_CHECKING:
    from milepost.testing.place import Place

COUNT = 18
SORTED_BYTES = 200
"""Ids that are longer than this may stand anywhere in a listing."""


class Listing:
    """What a listing shows."""

    @clause(
        "C40",
        "listing",
        why="a saver limited first and filtered then: of two matching threads it listed none",
    )
    def test_c40_a_listing_filters_before_it_limits(self, place: Place) -> None:
        """A listing gives exactly the heads that are asked for, by status, workflow and wake-up time, page by page."""
        threads, heads = _populate(place)
        even = f"even-{place.token}"
        queries = (
            HeadQuery(workflow=even),
            HeadQuery(workflow=even, statuses=(Status.INTERRUPTED,)),
            HeadQuery(workflow=even, statuses=(Status.DONE, Status.SLEEPING)),
            HeadQuery(workflow=even, statuses=()),
            HeadQuery(workflow=even[:-1] + "_"),
            HeadQuery(workflow=even.upper()),
            HeadQuery(workflow=even, wake_before=11.0),
            HeadQuery(workflow=even, statuses=(Status.SLEEPING,), wake_before=8.0),
        )
        for query in queries:
            wanted = [one.thread for one in heads if query.matches(one)]
            for limit in (1, 2, 100):
                assert listed(place.driver, query, limit) == wanted
        anything: tuple[HeadQuery | None, ...] = (
            None,
            HeadQuery(),
            HeadQuery(statuses=(Status.INTERRUPTED,)),
            HeadQuery(wake_before=11.0),
        )
        for asked in anything:
            wanted = [one.thread for one in heads if asked is None or asked.matches(one)]
            assert listed(place.driver, asked, 7, mine=threads) == wanted

    @clause("C41", "listing", why="an order by hash or by time of change makes cursors repeat and skip")
    def test_c41_a_listing_is_in_the_order_of_thread_ids(self, place: Place) -> None:
        """A listing shows each head once, in the order of thread ids; ids of over 200 bytes may stand anywhere."""
        workflow = f"w-{place.token}"
        threads = [place.thread(shape) for shape in SHAPES]
        for thread in reversed(threads):
            assert place.driver.swap_head(swap(thread, workflow=workflow))
        for limit in (1, 7, 100):
            found = listed(place.driver, HeadQuery(workflow=workflow), limit)
            assert sorted(found) == sorted(threads)
            short = [thread for thread in found if len(thread.encode()) <= SORTED_BYTES]
            assert short == sorted(short)

    @clause(
        "C42",
        "listing",
        why="a cursor after the last page costs a request and, in one client, an endless loop",
    )
    def test_c42_a_full_page_gives_no_cursor_where_nothing_follows(self, place: Place) -> None:
        """The cursor is None where nothing more matches, also behind a page that is just full."""
        _populate(place)
        query = HeadQuery(workflow=f"odd-{place.token}")
        for limit, more in ((COUNT // 2, False), (COUNT // 2 - 1, True), (COUNT, False)):
            page, cursor = place.driver.list_heads(query, limit=limit)
            assert (len(page), cursor is not None) == (min(limit, COUNT // 2), more)

    @clause("C43", "listing", why="cursors that count rows skip one for each that was deleted before them")
    def test_c43_paging_under_changes_neither_repeats_nor_skips(self, place: Place) -> None:
        """Heads that are there throughout are listed exactly once, while others are added, changed and deleted."""
        threads, _ = _populate(place)
        driver = place.driver
        page, cursor = driver.list_heads(limit=5)
        found = [one.thread for one in page]
        added, number = [], 0
        while cursor is not None:
            if number == 0:
                for gone in (0, 1, 9):
                    driver.delete(threads[gone])
                assert driver.swap_head(swap(threads[3], 2, status=Status.FAILED))
                added = [place.thread("!{}-before"), place.thread("{}-07x"), place.thread("{}-~after")]
                for thread in added:
                    assert driver.swap_head(swap(thread))
            number += 1
            page, cursor = driver.list_heads(cursor=cursor, limit=5)
            found += [one.thread for one in page]
        assert number, "there are several pages"
        throughout = set(threads) - {threads[0], threads[1], threads[9]}
        mine = [thread for thread in found if thread in {*threads, *added}]
        assert len(mine) == len(set(mine)), "a head was listed twice"
        assert throughout <= set(mine)

    @clause("C44", "listing", why="an index beside the head is not changed together with it")
    def test_c44_a_listing_follows_what_heads_become(self, place: Place) -> None:
        """A changed head is found by what it is now and no more by what it was; a deleted one is not found."""
        driver, workflow = place.driver, f"w-{place.token}"
        thread, gone = place.thread("{}-a"), place.thread("{}-b")
        failed, done = (
            HeadQuery(workflow=workflow, statuses=(status,)) for status in (Status.FAILED, Status.DONE)
        )
        for one in (thread, gone):
            assert driver.swap_head(swap(one, workflow=workflow, status=Status.DONE, wake=1.0))
        assert driver.swap_head(swap(thread, 2, workflow=workflow, status=Status.FAILED))
        driver.delete(gone)
        assert (listed(driver, failed), listed(driver, done)) == ([thread], [])
        assert listed(driver, HeadQuery(workflow=workflow)) == [thread]
        assert listed(driver, HeadQuery(workflow=workflow, wake_before=2.0)) == []
        found, _ = driver.list_heads(failed)
        assert found == [head(thread, 2, workflow=workflow, status=Status.FAILED)]


def _populate(place: Place) -> tuple[list[str], list[Any]]:
    """Make heads of every kind; return their threads, and them, in order."""
    statuses = (Status.DONE, Status.INTERRUPTED, Status.SLEEPING)
    swaps = []
    for number in range(COUNT):
        status = statuses[number % 3]
        kind = "odd" if number % 2 else "even"
        wake = float(number) if status is Status.SLEEPING else None
        thread = place.thread(f"{{}}-{number:02}")
        swaps.append(swap(thread, status=status, workflow=f"{kind}-{place.token}", wake=wake))
        assert place.driver.swap_head(swaps[-1])
    return [one.head.thread for one in swaps], [one.head for one in swaps]
