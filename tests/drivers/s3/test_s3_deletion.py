"""What pruning and deleting leave behind, wherever they are cut off, and what cannot land there any more."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from milepost.checkpoint import Swap
from milepost.errors import PositionTaken, StorageError, StorageUnavailable
from milepost_s3 import AccessDenied
from s3_wire import Wire, batch, head, response

if TYPE_CHECKING:
    from milepost_s3 import S3Checkpointer
    from s3_wire import Place

ERRORS = "<DeleteResult>{}</DeleteResult>"
ERROR = "<Error><Key>journals/t/{}</Key><Code>{}</Code><Message>because</Message></Error>"


def fill(driver: S3Checkpointer, count: int, thread: str = "t") -> None:
    begin = driver.tail(thread)
    for position in range(begin, begin + count):
        driver.append(thread, position, batch(f"{thread}-{position}"))


def ids(driver: S3Checkpointer, start: int = 0) -> list[str]:
    return [found.id for _, found in driver.read("t", start)]


def sizes(place: Place) -> dict[int, int]:
    """Return the sizes of what stands at the journal's positions."""
    folder = "journals/t/"
    return {
        int(key.removeprefix(folder)): len(data)
        for key, data in place.objects().items()
        if key.startswith(folder)
    }


# -- pruning ---------------------------------------------------------------------------------------------------------


def test_pruning_raises_the_floor_keeps_stubs_and_deletes_the_rest(
    place: Place, driver: S3Checkpointer
) -> None:
    fill(driver, 6)
    driver.prune("t", 4, [1, 5])
    assert ids(driver) == ids(driver, 2) == ["t-4", "t-5"]
    assert {position: bool(size) for position, size in sizes(place).items()} == {1: False, 4: True, 5: True}
    assert driver.tail("t") == 6
    assert driver.at("t", 1) is None


def test_stubs_outlive_later_prunings_and_the_deletion(place: Place, driver: S3Checkpointer) -> None:
    fill(driver, 6)
    driver.prune("t", 3, [1])
    driver.prune("t", 5, [4])
    assert [position for position, size in sizes(place).items() if not size] == [1, 4]
    driver.delete("t")
    assert sizes(place) == {1: 0, 4: 0, 5: 0, 6: 0}


def test_a_late_append_finds_a_kept_position_taken(place: Place, driver: S3Checkpointer) -> None:
    late = place.driver().open()
    fill(driver, 4)
    driver.prune("t", 3, [1])
    with pytest.raises(PositionTaken):
        late.append("t", 1, batch("late"))


def test_pruning_keeps_the_head_and_lets_its_owner_go_on(place: Place, driver: S3Checkpointer) -> None:
    owner = place.driver().open()
    assert owner.swap_head(Swap(head=head("t"), expected=None))
    fill(driver, 3)
    driver.prune("t", 2)
    assert owner.swap_head(Swap(head=head("t", 2), expected=1))
    assert driver.load_head("t") == head("t", 2)
    assert ids(owner) == ["t-2"]


def test_a_floor_never_falls(driver: S3Checkpointer) -> None:
    fill(driver, 5)
    driver.prune("t", 4)
    driver.prune("t", 2)
    assert ids(driver) == ["t-4"]


def test_an_empty_journal_may_begin_above_zero(driver: S3Checkpointer) -> None:
    driver.prune("t", 5)
    assert (driver.tail("t"), driver.load_head("t")) == (5, None)
    with pytest.raises(PositionTaken):
        driver.append("t", 4, batch("below"))
    fill(driver, 1)
    assert ids(driver) == ["t-5"]


@pytest.mark.parametrize("operation", ["PutObject", "ListObjectsV2", "DeleteObjects"])
def test_a_pruning_that_is_cut_off_is_done_again(
    place: Place, driver: S3Checkpointer, wire: Wire, operation: str
) -> None:
    fill(driver, 6)
    wire.answer(operation, 403, "" if operation == "HeadObject" else "AccessDenied")
    with pytest.raises(AccessDenied):
        driver.prune("t", 4, [2])
    assert driver.tail("t") == 6
    driver.prune("t", 4, [2])
    assert ids(driver) == ["t-4", "t-5"]
    assert sorted(sizes(place)) == [2, 4, 5]


def test_what_a_cut_off_pruning_left_below_the_floor_is_not_read(
    place: Place, driver: S3Checkpointer, wire: Wire
) -> None:
    fill(driver, 6)
    body = ERRORS.format(ERROR.format("000000000000", "AccessDenied"))
    key = driver._keys.batch("t", 1)
    wire.intercept(
        lambda operation, _: response(200, body) if operation == "DeleteObjects" else None, times=1
    )
    with pytest.raises(AccessDenied):
        driver.prune("t", 4)
    driver._client.delete([key])
    for reader in (driver, place.driver()):
        assert ids(reader) == ids(reader, 2) == ["t-4", "t-5"]


# -- deletions that fail in part --------------------------------------------------------------------------------------


def test_what_was_not_deleted_is_counted_and_the_first_named(driver: S3Checkpointer, wire: Wire) -> None:
    fill(driver, 3)
    body = ERRORS.format(
        "".join(ERROR.format(n, code) for n, code in enumerate(["SlowDown", "MethodNotAllowed"]))
    )
    wire.intercept(
        lambda operation, _: response(200, body) if operation == "DeleteObjects" else None, times=1
    )
    with pytest.raises(
        StorageError, match="did not delete 2 objects; the first is 'journals/t/1': MethodNotAllowed because"
    ):
        driver.prune("t", 2)


@pytest.mark.parametrize("code", ["InternalError", "SlowDown"])
def test_what_may_be_deleted_later_is_tried_again(
    place: Place, driver: S3Checkpointer, wire: Wire, code: str
) -> None:
    fill(driver, 4)
    body = ERRORS.format(ERROR.format("000000000000", code))
    wire.intercept(
        lambda operation, _: response(200, body) if operation == "DeleteObjects" else None, times=2
    )
    driver.prune("t", 2)
    assert sorted(sizes(place)) == [2, 3]
    wire.intercept(
        lambda operation, _: response(200, body) if operation == "DeleteObjects" else None, times=9
    )
    with pytest.raises(StorageUnavailable, match=code):
        driver.delete("t")


def test_what_is_gone_already_counts_as_deleted(driver: S3Checkpointer, wire: Wire) -> None:
    fill(driver, 3)
    body = ERRORS.format(ERROR.format("000000000000", "NoSuchKey"))
    wire.intercept(
        lambda operation, _: response(200, body) if operation == "DeleteObjects" else None, times=1
    )
    driver.prune("t", 1)


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "MissingContentMD5")])
def test_without_deletion_of_many_objects_they_go_one_by_one(
    place: Place, driver: S3Checkpointer, wire: Wire, status: int, code: str
) -> None:
    fill(driver, 5)
    wire.answer("DeleteObjects", status, code, times=9)
    driver.prune("t", 4)
    assert sorted(sizes(place)) == [4]
    assert wire.count("DeleteObject") == 4


# -- deleting ----------------------------------------------------------------------------------------------------------


def test_a_deleted_thread_leaves_its_floor_and_one_stub(place: Place, driver: S3Checkpointer) -> None:
    fill(driver, 3)
    assert driver.swap_head(Swap(head=head("t"), expected=None))
    driver.delete("t")
    left = {key: data for key, data in place.objects().items() if key != "milepost.json"}
    assert left == {"heads/t": b'{"floor":4,"version":null,"head":null}', "journals/t/000000000003": b""}
    assert (ids(driver), driver.load_head("t"), driver.list_heads()) == ([], None, ([], None))


def test_deleting_again_or_the_unknown_changes_nothing(
    place: Place, driver: S3Checkpointer, wire: Wire
) -> None:
    fill(driver, 3)
    driver.delete("t")
    before = place.objects()
    wire.sent.clear()
    driver.delete("t")
    driver.delete("unknown")
    assert place.objects() == before
    assert wire.count("PutObject", "DeleteObjects", "DeleteObject") == 0


def test_an_append_that_comes_late_lands_neither_at_the_tail_nor_below(
    place: Place, driver: S3Checkpointer
) -> None:
    late = place.driver().open()
    fill(driver, 3)
    driver.delete("t")
    with pytest.raises(PositionTaken):
        late.append("t", 3, batch("late"))
    for position in range(4):
        with pytest.raises(PositionTaken):
            driver.append("t", position, batch("late"))


def test_an_owner_who_slept_through_takeover_and_deletion_is_told(
    place: Place, driver: S3Checkpointer
) -> None:
    sleeper = place.driver().open()
    assert sleeper.swap_head(Swap(head=head("t"), expected=None))
    sleeper.append("t", 0, batch("sleeper-0"))
    driver.append("t", 1, batch("follower-claims"))
    driver.append("t", 2, batch("follower-ends"))
    driver.delete("t")
    with pytest.raises(PositionTaken):
        sleeper.append("t", 1, batch("sleeper-1"))
    assert ids(driver) == []


def test_a_start_decided_before_the_deletion_does_not_land_in_a_freed_position(
    place: Place, driver: S3Checkpointer
) -> None:
    slow = place.driver().open()
    assert (slow.load_head("t"), slow.tail("t")) == (None, 0)
    fill(driver, 2)
    driver.delete("t")
    with pytest.raises(PositionTaken):
        slow.wake("t", 0, batch("late"), Swap(head=head("t"), expected=None))
    assert slow.load_head("t") == head("t")
    assert (slow.tail("t"), ids(slow)) == (3, [])


def test_a_thread_started_again_goes_on_after_its_grave(driver: S3Checkpointer) -> None:
    fill(driver, 2)
    assert driver.swap_head(Swap(head=head("t"), expected=None))
    driver.delete("t")
    driver.wake("t", 3, batch("new"), Swap(head=head("t", nonce="second"), expected=None))
    assert ids(driver) == ["new"]
    assert driver.load_head("t") == head("t", nonce="second")


def test_a_former_owner_cannot_take_the_head_of_a_thread_started_again(
    place: Place, driver: S3Checkpointer
) -> None:
    former = place.driver().open()
    assert former.swap_head(Swap(head=head("t", nonce="former"), expected=None))
    driver.delete("t")
    assert driver.swap_head(Swap(head=head("t", nonce="second"), expected=None))
    assert not former.swap_head(Swap(head=head("t", 2, nonce="stolen"), expected=1))
    assert driver.load_head("t") == head("t", nonce="second")


@pytest.mark.parametrize("nth", range(8))
@pytest.mark.parametrize("applied", [True, False])
def test_a_deletion_that_is_cut_off_anywhere_is_done_again(
    place: Place, driver: S3Checkpointer, nth: int, applied: bool
) -> None:
    fill(driver, 3)
    assert driver.swap_head(Swap(head=head("t"), expected=None))
    dying = place.driver().open()
    wire = Wire(dying)
    writes = iter(range(99))

    def die(operation: str, request: object) -> None:
        if operation not in {"GetObject", "HeadObject"} and next(writes) == nth:
            raise Dead

    if applied:
        wire.after = die
    else:
        wire.intercept(die)
    with suppress(Dead):
        dying.delete("t")
    driver.delete("t")
    assert (ids(driver), driver.load_head("t")) == ([], None)
    assert all(size == 0 for size in sizes(place).values())
    with pytest.raises(PositionTaken):
        place.driver().append("t", driver.tail("t") - 1, batch("late"))


class Dead(BaseException):
    """The process is gone."""
