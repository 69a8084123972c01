"""What every checkpointer must do, whatever keeps its bytes: run on each driver, the memory driver being the model."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from milepost.checkpoint import Abandoned, Batch, Capability, Checkpointer, Head, HeadQuery, Status, Swap
from milepost.drivers import open_checkpointer
from milepost.errors import Closed, Corrupt, HeadMoved, PositionTaken, StorageUnavailable, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IDS = [
    "a", "a/b", "a%2Fb", "ab", "A", "a ", " a", "a\x00", "a\x00b", "\x01\x7f\n", "é", "e\u0301", "🦊", "..", "a/../b",
    "a:b", "a|b", "$x", "x.y", "a_", "a%", "a*", "'; DROP TABLE heads; --", "0", "x" * 512, "é" * 256,
]  # fmt: skip

_names = itertools.count()


@dataclass
class Backend:
    """Opens drivers on one and the same data."""

    url: str
    opened: list[Checkpointer] = field(default_factory=list)

    def open(self) -> Checkpointer:
        driver = open_checkpointer(self.url)
        driver._pause = lambda seconds: None  # type: ignore[method-assign]
        self.opened.append(driver)
        return driver


@pytest.fixture(params=["memory", "memory-split", "sqlite"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    name = f"contract-{next(_names)}"
    made = Backend(
        {
            "memory": f"memory://{name}",
            "memory-split": f"memory://{name}?atomic_head=false",
            "sqlite": f"sqlite:///{tmp_path}/runs.db?synchronous=normal",
        }[request.param]
    )
    yield made
    for driver in made.opened:
        driver.close()


@pytest.fixture
def driver(backend: Backend) -> Checkpointer:
    return backend.open()


def batch(name: str, text: str = "x") -> Batch:
    return Batch(id=name, records=(Abandoned(at="2030-01-01T00:00:00Z", run=text),))


def head(thread: str, version: int = 1, **changes: Any) -> Head:
    fields = {"status": Status.RUNNING, "workflow": "w", "run": 0, "nonce": f"n{version}", "updated": "now"}
    return Head(thread=thread, version=version, **(fields | changes))


def fill(driver: Checkpointer, thread: str, count: int) -> None:
    for position in range(count):
        driver.append(thread, position, batch(f"{thread[:9]}-{position}"))


def ids(driver: Checkpointer, thread: str, start: int = 0, limit: int | None = None) -> list[str]:
    return [found.id for _, found in driver.read(thread, start, limit)]


def failing(times: int, hook: Callable[..., Any], *, applied: bool) -> Callable[..., Any]:
    """Return the hook with its first answers lost: after it was applied, or before."""
    left = itertools.count()

    def call(*args: Any) -> Any:
        if next(left) < times:
            if applied:
                hook(*args)
            raise StorageUnavailable("no answer")
        return hook(*args)

    return call


# -- the journal -------------------------------------------------------------------------------------------------


def test_batches_are_read_back_in_order_with_their_positions(driver: Checkpointer) -> None:
    fill(driver, "t", 3)
    assert list(driver.read("t")) == [(n, batch(f"t-{n}")) for n in range(3)]
    assert list(driver.read("unknown")) == []


@pytest.mark.parametrize("data", [b"", b"\x00", bytes(range(256)), b"x" * 2**20], ids=len)
def test_bytes_come_back_as_they_were(driver: Checkpointer, data: bytes) -> None:
    driver._append("t", 0, data, None)
    ((position, found),) = driver._read("t", 0, 10)
    assert (position, found, type(found)) == (0, data, bytes)


def test_a_taken_position_is_refused_and_keeps_its_batch(driver: Checkpointer) -> None:
    fill(driver, "t", 2)
    for position in (0, 1):
        with pytest.raises(PositionTaken) as caught:
            driver.append("t", position, batch("rival"))
        assert (caught.value.thread_id, caught.value.position, caught.value.tail) == ("t", position, None)
    assert ids(driver, "t") == ["t-0", "t-1"]


@pytest.mark.parametrize(("length", "position"), [(0, 1), (2, 3), (2, 300)])
def test_a_position_that_would_leave_a_gap_is_refused(
    driver: Checkpointer, length: int, position: int
) -> None:
    fill(driver, "t", length)
    with pytest.raises(PositionTaken, match="gap") as caught:
        driver.append("t", position, batch("late"))
    assert caught.value.tail == length
    assert len(ids(driver, "t")) == length


def test_the_same_batch_sent_again_is_no_rival(driver: Checkpointer) -> None:
    for _ in range(2):
        driver.append("t", 0, batch("s-1"))
    assert ids(driver, "t") == ["s-1"]


@pytest.mark.parametrize("applied", [True, False])
def test_an_append_whose_answer_was_lost_succeeds_once(driver: Checkpointer, applied: bool) -> None:
    fill(driver, "t", 1)
    driver._append = failing(2, driver._append, applied=False)  # type: ignore[method-assign]
    if applied:
        driver._append = failing(1, type(driver)._append.__get__(driver), applied=True)  # type: ignore[method-assign]
    driver.append("t", 1, batch("s-1"))
    assert ids(driver, "t") == ["t-0", "s-1"]


def test_a_lost_answer_does_not_hide_a_rival(backend: Backend) -> None:
    driver, rival = backend.open(), backend.open()
    driver._append = failing(1, driver._append, applied=False)  # type: ignore[method-assign]
    driver._pause = lambda seconds: rival.append("t", 0, batch("rival"))  # type: ignore[method-assign]
    with pytest.raises(PositionTaken):
        driver.append("t", 0, batch("mine"))
    assert ids(driver, "t") == ["rival"]


def test_a_backend_that_stays_away_is_reported(driver: Checkpointer) -> None:
    driver._append = failing(99, driver._append, applied=False)  # type: ignore[method-assign]
    driver._load_head = failing(99, driver._load_head, applied=False)  # type: ignore[method-assign]
    with pytest.raises(StorageUnavailable):
        driver.append("t", 0, batch("s-1"))
    with pytest.raises(StorageUnavailable):
        driver.load_head("t")


def test_reading_outlives_faults(driver: Checkpointer) -> None:
    fill(driver, "t", 3)
    driver._read = failing(3, driver._read, applied=False)  # type: ignore[method-assign]
    assert len(ids(driver, "t")) == 3


def test_reading_starts_and_ends_where_it_is_told(driver: Checkpointer) -> None:
    fill(driver, "t", 600)
    assert ids(driver, "t", 598) == ["t-598", "t-599"]
    assert ids(driver, "t", 3, 2) == ["t-3", "t-4"]
    assert len(ids(driver, "t", 1, 300)) == 300
    assert ids(driver, "t", 0, 0) == ids(driver, "t", 600) == []
    assert len(ids(driver, "t")) == 600


def test_reading_stops_at_a_gap(driver: Checkpointer) -> None:
    pages = {0: [(0, batch("a").encode()), (2, batch("c").encode())]}
    driver._read = lambda thread, start, limit: pages.get(start, [])  # type: ignore[method-assign]
    assert ids(driver, "t") == ["a"]


def test_a_half_consumed_read_blocks_no_writer(backend: Backend) -> None:
    driver, other = backend.open(), backend.open()
    fill(driver, "t", 300)
    reading = driver.read("t")
    assert next(reading)[0] == 0
    driver.append("t", 300, batch("here"))
    other.append("t", 301, batch("there"))
    assert [found.id for _, found in reading][-2:] == ["here", "there"]


def test_the_tail_is_the_first_free_position(driver: Checkpointer) -> None:
    assert driver.tail("t") == 0
    fill(driver, "t", 300)
    assert [driver.tail("t", hint) for hint in (0, 1, 256, 299)] == [300] * 4


def test_a_batch_over_the_limit_is_not_sent(driver: Checkpointer) -> None:
    size = len(batch("s-1").encode())
    driver.max_batch_bytes = size - 1
    with pytest.raises(TooLarge) as caught:
        driver.append("t", 0, batch("s-1"))
    assert (caught.value.size, caught.value.limit) == (size, size - 1)
    assert driver.tail("t") == 0
    driver.max_batch_bytes = size
    driver.append("t", 0, batch("s-1"))


def test_a_damaged_batch_is_named_and_others_stay_readable(driver: Checkpointer) -> None:
    driver._append("bad", 0, b'{"format":1', None)
    driver._append("new", 0, b'{"format":99,"id":"x","records":[]}', None)
    fill(driver, "good", 1)
    for thread in ("bad", "new"):
        with pytest.raises(Corrupt, match=thread):
            ids(driver, thread)
    assert ids(driver, "good") == ["good-0"]


def test_threads_with_similar_ids_stay_apart(driver: Checkpointer) -> None:
    for number, thread in enumerate(IDS):
        driver.append(thread, 0, batch(f"b-{number}"))
        assert driver.swap_head(Swap(head=head(thread), expected=None))
    for number, thread in enumerate(IDS):
        assert ids(driver, thread) == [f"b-{number}"]
    assert [found.thread for found in driver.list_heads()[0]] == sorted(IDS)


def test_a_second_driver_sees_what_was_acknowledged(backend: Backend) -> None:
    first = backend.open()
    fill(first, "t", 2)
    first.swap_head(Swap(head=head("t"), expected=None))
    second = backend.open()
    assert ids(second, "t") == ["t-0", "t-1"]
    first.close()
    assert second.load_head("t") == head("t")
    second.append("t", 2, batch("more"))
    assert ids(backend.open(), "t") == ["t-0", "t-1", "more"]


# -- races -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drivers", [1, 4])
def test_of_racing_appends_at_one_position_one_wins(backend: Backend, drivers: int) -> None:
    opened = [backend.open() for _ in range(drivers)]
    barrier = threading.Barrier(4)

    def race(worker: int) -> list[int]:
        won = []
        for position in range(25):
            barrier.wait()
            try:
                opened[worker % drivers].append("t", position, batch(f"{worker}-{position}"))
                won.append(position)
            except PositionTaken:
                pass
        return won

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(race, range(4)))
    assert sorted(itertools.chain.from_iterable(won)) == list(range(25))
    winners = {position: worker for worker, positions in enumerate(won) for position in positions}
    assert ids(opened[0], "t") == [f"{winners[position]}-{position}" for position in range(25)]


def test_of_racing_swaps_at_one_version_one_wins(backend: Backend) -> None:
    driver = backend.open()
    barrier = threading.Barrier(4)

    def race(worker: int) -> int:
        won = 0
        for version in range(1, 21):
            barrier.wait()
            new = head("t", version, nonce=f"{worker}")
            won += driver.swap_head(Swap(head=new, expected=version - 1 or None))
        return won

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(race, range(4))) == 20


# -- the head ----------------------------------------------------------------------------------------------------


def test_a_head_is_set_only_at_the_expected_version(driver: Checkpointer) -> None:
    assert driver.load_head("t") is None
    assert not driver.swap_head(Swap(head=head("t", 2), expected=1))
    assert driver.swap_head(Swap(head=head("t"), expected=None))
    assert not driver.swap_head(Swap(head=head("t", nonce="other"), expected=None))
    assert driver.swap_head(Swap(head=head("t", 2, status=Status.DONE, wake=1.5, pending=("q",)), expected=1))
    assert not driver.swap_head(Swap(head=head("t", 2, nonce="other"), expected=1))
    assert driver.load_head("t") == head("t", 2, status=Status.DONE, wake=1.5, pending=("q",))


@pytest.mark.parametrize("applied", [True, False])
def test_a_swap_whose_answer_was_lost_counts_as_set(driver: Checkpointer, applied: bool) -> None:
    driver._swap_head = failing(1, driver._swap_head, applied=applied)  # type: ignore[method-assign]
    assert driver.swap_head(Swap(head=head("t"), expected=None))
    assert driver.load_head("t") == head("t")


def test_a_swap_is_given_up_when_the_backend_stays_away(driver: Checkpointer) -> None:
    driver._swap_head = failing(99, driver._swap_head, applied=False)  # type: ignore[method-assign]
    with pytest.raises(StorageUnavailable):
        driver.swap_head(Swap(head=head("t"), expected=None))


def test_an_append_with_a_swap_does_both_or_neither(backend: Backend) -> None:
    driver = backend.open()
    if Capability.ATOMIC_HEAD not in driver.capabilities:
        with pytest.raises(Exception, match="cannot change a head together"):
            driver.append("t", 0, batch("a"), Swap(head=head("t"), expected=None))
        assert (driver.tail("t"), driver.load_head("t")) == (0, None)
        return
    driver.append("t", 0, batch("a"), Swap(head=head("t"), expected=None))
    assert (ids(driver, "t"), driver.load_head("t")) == (["a"], head("t"))
    with pytest.raises(HeadMoved):
        driver.append("t", 1, batch("b"), Swap(head=head("t", 6), expected=5))
    with pytest.raises(HeadMoved):
        driver.append("t", 1, batch("b"), Swap(head=head("t", 2), expected=None))
    with pytest.raises(PositionTaken):
        driver.append("t", 0, batch("b"), Swap(head=head("t", 2), expected=1))
    with pytest.raises(PositionTaken):
        driver.append("t", 2, batch("b"), Swap(head=head("t", 2), expected=1))
    assert (ids(driver, "t"), driver.load_head("t")) == (["a"], head("t"))
    driver._append = failing(1, driver._append, applied=True)  # type: ignore[method-assign]
    driver.append("t", 1, batch("b"), Swap(head=head("t", 2), expected=1))
    assert (ids(driver, "t"), driver.load_head("t")) == (["a", "b"], head("t", 2))


def test_waking_moves_the_head_and_appends(driver: Checkpointer) -> None:
    driver.wake("t", 0, batch("a"), Swap(head=head("t"), expected=None))
    assert (ids(driver, "t"), driver.load_head("t")) == (["a"], head("t"))
    with pytest.raises(HeadMoved):
        driver.wake("t", 1, batch("b"), Swap(head=head("t", 8), expected=7))
    assert (ids(driver, "t"), driver.load_head("t")) == (["a"], head("t"))
    with pytest.raises(PositionTaken):
        driver.wake("t", 0, batch("b"), Swap(head=head("t", 2), expected=1))
    assert ids(driver, "t") == ["a"]


def test_resting_appends_even_where_the_head_was_moved(driver: Checkpointer) -> None:
    driver.wake("t", 0, batch("a"), Swap(head=head("t"), expected=None))
    driver.rest("t", 1, batch("b"), Swap(head=head("t", 2, status=Status.DONE), expected=1))
    assert driver.load_head("t") == head("t", 2, status=Status.DONE)
    driver.rest("t", 2, batch("c"), Swap(head=head("t", 2, status=Status.FAILED), expected=1))
    assert (ids(driver, "t"), driver.load_head("t")) == (["a", "b", "c"], head("t", 2, status=Status.DONE))
    with pytest.raises(PositionTaken):
        driver.rest("t", 2, batch("d"), Swap(head=head("t", 3), expected=2))
    assert driver.load_head("t") == head("t", 2, status=Status.DONE)


# -- listing -----------------------------------------------------------------------------------------------------


def listed(driver: Checkpointer, query: HeadQuery | None = None, limit: int = 100) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page, cursor = driver.list_heads(query, cursor=cursor, limit=limit)
        assert len(page) <= limit
        found += [entry.thread for entry in page]
        if cursor is None:
            return found


@pytest.fixture
def populated(driver: Checkpointer) -> Checkpointer:
    for number in range(30):
        status = (Status.DONE, Status.INTERRUPTED, Status.SLEEPING)[number % 3]
        wake = float(number) if status is Status.SLEEPING else None
        new = head(f"t{number:02}", status=status, workflow="even" if number % 2 == 0 else "odd", wake=wake)
        assert driver.swap_head(Swap(head=new, expected=None))
    return driver


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        (None, range(30)),
        (HeadQuery(), range(30)),
        (HeadQuery(statuses=(Status.INTERRUPTED,)), range(1, 30, 3)),
        (HeadQuery(statuses=(Status.DONE, Status.SLEEPING)), [n for n in range(30) if n % 3 != 1]),
        (HeadQuery(statuses=()), []),
        (HeadQuery(workflow="odd"), range(1, 30, 2)),
        (HeadQuery(workflow="od_"), []),
        (HeadQuery(wake_before=11.0), [2, 5, 8]),
        (HeadQuery(statuses=(Status.SLEEPING,), workflow="even", wake_before=21.0), [2, 8, 14, 20]),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 100])
def test_listing_filters_before_it_limits(
    populated: Checkpointer, query: HeadQuery | None, numbers: Any, limit: int
) -> None:
    assert listed(populated, query, limit) == [f"t{number:02}" for number in numbers]


def test_a_full_page_gives_no_cursor_where_nothing_follows(populated: Checkpointer) -> None:
    page, cursor = populated.list_heads(HeadQuery(workflow="odd"), limit=15)
    assert (len(page), cursor) == (15, None)
    page, cursor = populated.list_heads(HeadQuery(workflow="odd"), limit=14)
    assert (len(page), cursor) == (14, page[-1].thread)


def test_paging_under_changes_neither_repeats_nor_skips(populated: Checkpointer) -> None:
    page, cursor = populated.list_heads(limit=10)
    populated.delete("t09")
    populated.delete("t00")
    populated.delete("t15")
    assert populated.swap_head(Swap(head=head("a-before"), expected=None))
    assert populated.swap_head(Swap(head=head("t12x"), expected=None))
    rest = listed_from(populated, cursor)
    assert [entry.thread for entry in page] == [f"t{number:02}" for number in range(10)]
    assert rest == sorted([f"t{n:02}" for n in range(10, 30) if n != 15] + ["t12x"])


def listed_from(driver: Checkpointer, cursor: str | None) -> list[str]:
    found: list[str] = []
    while cursor is not None:
        page, cursor = driver.list_heads(cursor=cursor, limit=7)
        found += [entry.thread for entry in page]
    return found


def test_a_listing_follows_the_heads_changes(populated: Checkpointer) -> None:
    assert populated.swap_head(Swap(head=head("t00", 2, status=Status.FAILED), expected=1))
    assert listed(populated, HeadQuery(statuses=(Status.FAILED,))) == ["t00"]
    assert "t00" not in listed(populated, HeadQuery(statuses=(Status.DONE,)))


def test_a_damaged_head_is_reported(driver: Checkpointer) -> None:
    assert driver._swap_head(head("t"), b'{"format":99}', None)
    with pytest.raises(Corrupt, match="'t'"):
        driver.load_head("t")


# -- deletion and lifetime ---------------------------------------------------------------------------------------


def test_deleting_deletes_exactly_that_thread(driver: Checkpointer) -> None:
    for thread in IDS:
        fill(driver, thread, 2)
        driver.swap_head(Swap(head=head(thread), expected=None))
    driver.delete("a")
    assert (ids(driver, "a"), driver.load_head("a"), driver.tail("a")) == ([], None, 0)
    for thread in IDS[1:]:
        assert len(ids(driver, thread)) == 2
        assert driver.load_head(thread) == head(thread)
    driver.delete("a")
    driver.delete("never heard of")


def test_a_late_append_does_not_land_in_a_deleted_thread(driver: Checkpointer) -> None:
    fill(driver, "t", 3)
    driver.delete("t")
    with pytest.raises(PositionTaken):
        driver.append("t", 3, batch("late"))
    assert driver.tail("t") == 0
    fill(driver, "t", 1)
    assert ids(driver, "t") == ["t-0"]


def test_a_closed_driver_says_so(driver: Checkpointer) -> None:
    fill(driver, "t", 300)
    reading = driver.read("t")
    next(reading)
    driver.close()
    driver.close()
    calls: list[Callable[[], Any]] = [
        lambda: list(reading),
        lambda: driver.append("t", 300, batch("s-1")),
        lambda: ids(driver, "t"),
        lambda: driver.load_head("t"),
        lambda: driver.swap_head(Swap(head=head("t"), expected=None)),
        driver.list_heads,
        lambda: driver.delete("t"),
        lambda: driver.tail("t"),
        driver.open,
    ]
    for call in calls:
        with pytest.raises(Closed, match="was closed"):
            call()


def test_opening_twice_is_harmless_and_a_with_block_closes(backend: Backend) -> None:
    with backend.open() as driver:
        assert driver.open() is driver.open()
        fill(driver, "t", 1)
    with pytest.raises(Closed):
        driver.tail("t")


def test_closing_while_others_read_ends_them_with_a_typed_error(driver: Checkpointer) -> None:
    fill(driver, "t", 20)
    started = threading.Barrier(3)

    def read() -> str:
        started.wait()
        try:
            while True:
                assert len(ids(driver, "t")) == 20
        except Closed:
            return "closed"

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        started.wait()
        driver.close()
        assert [reader.result() for reader in readers] == ["closed", "closed"]
