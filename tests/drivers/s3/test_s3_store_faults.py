"""Answers to a store that are lost, refused or ask to try again: a write counts once, an error says what to do."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from milepost.errors import StorageUnavailable, VersionConflict
from milepost.operations import GetOp, PutOp
from milepost.url import URL
from milepost_s3 import AccessDenied, BucketMissing, S3Store
from s3_wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from backends import Backends
    from s3_wire import Place


def value(store: S3Store, key: str = "k") -> Any:
    found = store.get(("n",), key)
    return None if found is None else found.value


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_put_whose_answer_was_lost_counts_once(place: Place, attempts: int) -> None:
    store = place.store(f"&attempts={attempts}").open()
    wire = Wire(store)
    wire.lose_answers("PutObject")
    version = store.put(("n",), "k", {"v": 1}, if_version=0)
    wire.lose_answers("PutObject")
    assert store.put(("n",), "k", {"v": 2}, if_version=version) == version + 1
    wire.lose_answers("PutObject")
    assert store.put(("n",), "k", {"v": 3}) == version + 2
    assert value(store) == {"v": 3}


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("conditions", [True, False])
def test_a_deletion_whose_answer_was_lost_counts_once(place: Place, attempts: int, conditions: bool) -> None:
    store = place.store(f"&attempts={attempts}").open()
    store._items._deletes = conditions
    version = store.put(("n",), "k", {"v": 1})
    wire = Wire(store)
    wire.lose_answers("DeleteObject" if conditions else "PutObject")
    store.delete(("n",), "k", if_version=version)
    assert value(store) is None
    assert store.put(("n",), "k", {"v": 2}, if_version=0)


def test_a_conditional_put_whose_answer_was_lost_and_that_was_overwritten_is_unknown(place: Place) -> None:
    store, other = place.store().open(), place.store().open()
    version = store.put(("n",), "k", {"v": 1})
    wire = Wire(store)
    wire.lose_answers("PutObject")
    wire.after = lambda operation, _: (
        other.put(("n",), "k", {"v": "later"}) if operation == "PutObject" else None
    )
    with pytest.raises(StorageUnavailable, match="unknown"):
        store.put(("n",), "k", {"v": 2}, if_version=version)
    assert value(other) == {"v": "later"}


def test_of_many_puts_at_once_each_counts_once_though_answers_are_lost(
    store: S3Store, store_wire: Wire
) -> None:
    writes = [PutOp(("n",), f"k{number}", {"v": number}) for number in range(20)]
    store.batch(writes)
    versions = [found.version for found in store.search((), limit=20)]
    store_wire.lose_answers("PutObject", times=3)
    store.batch(writes)
    assert [found.version for found in store.search((), limit=20)] == [version + 1 for version in versions]
    found = store.batch([GetOp(("n",), f"k{number}") for number in range(20)])
    assert [each.value["v"] for each in found] == list(range(20))


@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (409, "ConditionalRequestConflict"), (500, "")]
)
@pytest.mark.parametrize("operation", ["PutObject", "GetObject", "ListObjectsV2", "DeleteObject"])
def test_what_asks_to_try_again_is_tried_again(
    store: S3Store, store_wire: Wire, operation: str, status: int, code: str
) -> None:
    store._items._deletes = True
    store_wire.answer(operation, status, code, times=2)
    store.put(("n",), "k", {"v": 1}, if_version=0)
    assert [found.key for found in store.search(())] == ["k"]
    store.delete(("n",), "k")
    assert value(store) is None


@pytest.mark.parametrize(
    ("operation", "permission"),
    [
        ("PutObject", "s3:PutObject"),
        ("GetObject", "s3:GetObject"),
        ("ListObjectsV2", "s3:ListBucket"),
        ("DeleteObject", "s3:DeleteObject"),
    ],
)
def test_what_is_not_permitted_names_the_permission(
    store: S3Store, store_wire: Wire, operation: str, permission: str
) -> None:
    store.put(("n",), "k", {"v": 1})
    store_wire.answer(operation, 403, "AccessDenied", times=9)
    call: dict[str, Callable[[], object]] = {
        "PutObject": lambda: store.put(("n",), "k", {}),
        "GetObject": lambda: store.get(("n",), "k"),
        "ListObjectsV2": lambda: store.search(()),
        "DeleteObject": lambda: store.delete(("n",), "k"),
    }
    with pytest.raises(AccessDenied, match=permission):
        call[operation]()


def test_a_fault_that_lasts_goes_before_one_that_may_pass_and_nothing_is_under_way_then(
    store: S3Store, store_wire: Wire
) -> None:
    store_wire.answer("PutObject", 503, "SlowDown", times=2)
    store_wire.answer("PutObject", 403, "AccessDenied", times=1)
    with pytest.raises(AccessDenied):
        store.batch([PutOp(("n",), f"k{number}", {}) for number in range(9)])
    assert len(store.search((), limit=9)) == 6


def test_what_never_gets_an_answer_is_unavailable(store: S3Store, store_wire: Wire) -> None:
    store_wire.answer("PutObject", 503, "SlowDown", times=99)
    with pytest.raises(StorageUnavailable, match="SlowDown"):
        store.put(("n",), "k", {})
    assert store_wire.count("PutObject") == 4


def test_a_bucket_that_is_gone_is_named(store: S3Store, store_wire: Wire) -> None:
    store.put(("n",), "k", {})
    store._items._deletes = True
    store_wire.answer("DeleteObject", 404, "NoSuchBucket", times=9)
    with pytest.raises(BucketMissing):
        store.delete(("n",), "k")


def test_an_object_that_is_gone_when_it_is_deleted_counts_as_deleted(
    place: Place, store: S3Store, store_wire: Wire
) -> None:
    store._items._deletes = True
    version = store.put(("n",), "k", {})
    store_wire.answer("DeleteObject", 404, "NoSuchKey")
    other = place.store().open()
    store_wire.after = lambda operation, _: other.delete(("n",), "k") if operation == "GetObject" else None
    store.delete(("n",), "k")
    assert value(other) is None
    with pytest.raises(VersionConflict):
        store.delete(("n",), "k", if_version=version)


# -- a server ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def url(backends: Backends, tmp_path: Path) -> Iterator[str]:
    with backends.fresh("s3", tmp_path) as fresh:
        yield fresh


@pytest.mark.wire
def test_of_writers_at_once_each_counts_on_a_server(url: str) -> None:
    stores = [S3Store.from_url(URL.parse(url)) for _ in range(3)]

    def count(store: S3Store) -> int:
        done = 0
        while done < 5:
            found = store.get(("n",), "k")
            version, seen = (0, 0) if found is None else (found.version, found.value["v"])
            try:
                store.put(("n",), "k", {"v": seen + 1}, if_version=version)
            except VersionConflict:
                continue
            done += 1
        return done

    with ThreadPoolExecutor(3) as pool:
        assert sum(pool.map(count, stores)) == 15
    assert value(stores[0]) == {"v": 15}
    for store in stores:
        store.close()


@pytest.mark.wire
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_connects_by_itself_and_its_parent_goes_on(url: str) -> None:
    with S3Store.from_url(URL.parse(url)) as store:
        store.batch([PutOp(("n",), f"k{number}", {"v": number}) for number in range(8)])
        child = os.fork()
        if not child:
            done = 1
            try:
                store.batch([PutOp(("n",), f"c{number}", {"v": number}) for number in range(8)])
                done = 0 if len(store.search((), limit=99)) == 16 else 1
            finally:
                os._exit(done)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(store.search((), limit=99)) == 16
