"""What things cost: requests are what S3 bills and what takes the time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

import milepost
from milepost import Command, entrypoint, interrupt, task
from milepost._struct import replace
from milepost.checkpoint import HeadQuery, Swap
from milepost_s3._client import Page
from s3_wire import Wire, head

if TYPE_CHECKING:
    from collections.abc import Iterator

    from milepost_s3 import S3Checkpointer
    from s3_wire import Place

WRITES = ("PutObject", "DeleteObject", "DeleteObjects", "ListObjectsV2")
THREAD = {"configurable": {"thread_id": "t"}}


def kinds(wire: Wire) -> dict[str, int]:
    return Counter(operation for operation, _ in wire.sent)


@task
def double(number: int) -> int:
    return number * 2


@entrypoint()
def doubling(count: int) -> int:
    return sum(double(number).result() for number in range(count))


@entrypoint()
def asking(question: str) -> str:
    answer = interrupt(question) if question else "nothing"
    return f"{double(1).result()} {answer}"


@pytest.fixture
def engine(driver: S3Checkpointer) -> Iterator[milepost.Engine]:
    made = milepost.Engine(checkpointer=driver, workers=2)
    with made:
        yield made
    made.close()


def test_opening_costs_four_requests_the_first_time_and_three_later(place: Place) -> None:
    for expected in (Counter(GetObject=1, PutObject=3), Counter(GetObject=1, PutObject=2)):
        driver = place.driver()
        wire = Wire(driver)
        driver.open()
        driver.open()
        assert kinds(wire) == expected


@pytest.mark.parametrize("tasks", [0, 1, 7])
def test_a_run_writes_once_per_task_and_four_times_more(
    engine: milepost.Engine, wire: Wire, tasks: int
) -> None:
    for _ in range(2):
        wire.sent.clear()
        doubling.invoke(tasks, THREAD)
        assert wire.count(*WRITES) == tasks + 4


def repeat_the_run(place: Place, driver: S3Checkpointer, times: int) -> None:
    """Put a thread's only run into its journal so many times more, and let the head say that it is the last one."""
    run = [found.encode() for _, found in driver.read("t")]
    positions = range(len(run), len(run) * (times + 1))
    place.fill({driver._keys.batch("t", position): run[position % len(run)] for position in positions})
    now = driver.load_head("t")
    assert now is not None
    assert driver.swap_head(
        Swap(head=replace(now, version=now.version + 1, run=len(run) * times), expected=now.version)
    )


@pytest.mark.parametrize("runs", [1, 10, 300])
def test_an_answer_costs_the_same_however_many_runs_were_before(
    engine: milepost.Engine, place: Place, driver: S3Checkpointer, wire: Wire, runs: int
) -> None:
    asking.invoke("", THREAD)
    repeat_the_run(place, driver, runs - 1)
    asking.invoke("who?", THREAD)
    wire.sent.clear()
    assert asking.invoke(Command(resume="me"), THREAD) == "2 me"
    assert kinds(wire) == {"PutObject": 5, "GetObject": 7}


def test_a_swap_on_a_head_that_was_just_read_is_one_request(place: Place, driver: S3Checkpointer) -> None:
    assert driver.swap_head(Swap(head=head("t"), expected=None))
    other = place.driver().open()
    wire = Wire(other)
    other.load_head("t")
    for version in range(2, 5):
        assert other.swap_head(Swap(head=head("t", version), expected=version - 1))
    assert kinds(wire) == {"GetObject": 1, "PutObject": 3}


@pytest.mark.parametrize(("length", "expected"), [(0, 2), (1, 4), (7, 16), (300, 304)])
def test_reading_asks_for_the_floor_and_for_windows_that_grow(
    place: Place, driver: S3Checkpointer, wire: Wire, length: int, expected: int
) -> None:
    place.fill({driver._keys.batch("t", position): b"x" for position in range(length)})
    wire.sent.clear()
    assert len(driver._read("t", 0, 1000)) == length
    assert kinds(wire) == {"GetObject": expected}


def test_reading_so_many_batches_fetches_no_more_than_these(driver: S3Checkpointer, wire: Wire) -> None:
    for position in range(12):
        driver._append("t", position, b"x", None)
    wire.sent.clear()
    assert [position for position, _ in driver._read("t", 2, 5)] == [2, 3, 4, 5, 6]
    assert kinds(wire) == {"GetObject": 6}


def test_the_tail_of_a_long_journal_is_found_by_listings(
    place: Place, driver: S3Checkpointer, wire: Wire
) -> None:
    place.fill({driver._keys.batch("t", position): b"x" for position in range(1500)})
    wire.sent.clear()
    assert driver.tail("t") == 1500
    assert kinds(wire) == {"GetObject": 1, "HeadObject": 32, "ListObjectsV2": 2}
    wire.sent.clear()
    assert driver.tail("t", 1499) == 1500
    assert kinds(wire) == {"GetObject": 1, "HeadObject": 3}


def test_a_listing_that_shows_nothing_hides_no_batch(
    driver: S3Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for position in range(70):
        driver._append("t", position, b"x", None)
    monkeypatch.setattr(driver._client, "page", lambda *_: Page([], more=False))
    assert driver.tail("t") == 70


def test_listing_costs_a_listing_and_a_request_per_head(driver: S3Checkpointer, wire: Wire) -> None:
    for number in range(10):
        driver.swap_head(Swap(head=head(f"t{number}", workflow="wv"[number % 2]), expected=None))
    wire.sent.clear()
    found, cursor = driver.list_heads(HeadQuery(workflow="v"))
    assert ([entry.thread for entry in found], cursor) == (["t1", "t3", "t5", "t7", "t9"], None)
    assert kinds(wire) == {"ListObjectsV2": 1, "GetObject": 10}


def test_pruning_deletes_a_thousand_batches_per_request(
    place: Place, driver: S3Checkpointer, wire: Wire
) -> None:
    place.fill({driver._keys.batch("t", position): b"x" for position in range(1100)})
    wire.sent.clear()
    driver.prune("t", 1050, [10])
    assert kinds(wire) == {"GetObject": 1, "PutObject": 2, "ListObjectsV2": 2, "DeleteObjects": 2}
