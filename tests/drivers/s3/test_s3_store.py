"""Items in S3: where they lie, what each operation costs, and how they are deleted on endpoints of both kinds."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manual_clock import ManualClock
from milepost import items
from milepost.checkpoint import Swap
from milepost.errors import (
    Closed,
    Corrupt,
    InvalidItem,
    ItemTooLarge,
    SchemaTooNew,
    SearchUnsupported,
    VersionConflict,
)
from milepost.items import Change
from milepost.url import URL
from milepost_s3 import S3Store
from milepost_s3._layout import Keys
from mock_s3 import BUCKET
from s3_wire import Wire, batch, head, response

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backends import Backends
    from s3_wire import Place

LABELS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
STRANGE = [
    "a", "é", "\x85", "\x9f", "\u2028x", "\u3000", "\ufeff", "\ufffd", "\ufffd0", "\ufffe", "\uffff", "\U0010ffff",
    "a b/c", "\x00", "..", ".", "%2F", "+", " ", "!", '"', "🦊",
]  # fmt: skip


def kinds(wire: Wire) -> dict[str, int]:
    return Counter(operation for operation, _ in wire.sent)


def keys(store: S3Store) -> list[str]:
    return [found.key for found in store.search((), limit=1000)]


def ignore_conditions_on_delete(wire: Wire) -> None:
    """Let an endpoint carry out each DELETE."""

    def fault(operation: str, request: Any) -> None:
        if operation == "DeleteObject" and "If-Match" in request.headers:
            del request.headers["If-Match"]

    wire.intercept(fault)


def refuse_conditions_on_delete(wire: Wire) -> None:
    """Let an endpoint not know conditions on DELETE."""
    wire.intercept(
        lambda operation, request: (
            response(501, "<Error><Code>NotImplemented</Code></Error>")
            if operation == "DeleteObject" and "If-Match" in request.headers
            else None
        )
    )


# -- layout --------------------------------------------------------------------------------------------------------


def test_an_item_is_an_object_that_a_person_can_read(place: Place, store: S3Store) -> None:
    store.put(("users", "ann"), "name", {"first": "Ann"})
    (key,) = (key for key in place.objects() if key.startswith("items/"))
    assert key == "items/users!ann!!name"
    body = json.loads(place.objects()[key])
    assert body["namespace"] == ["users", "ann"]
    assert (body["key"], body["value"]) == ("name", {"first": "Ann"})


def test_one_url_serves_a_checkpointer_and_a_store_side_by_side(place: Place, store: S3Store) -> None:
    driver = place.driver()
    driver.append("t", 0, batch("a"))
    driver.swap_head(Swap(head=head("t"), expected=None))
    store.put(("n",), "k", {"v": 1})
    assert set(place.objects()) == {
        "milepost.json", "journals/t/000000000000", "heads/t", "items/n!!k"
    }  # fmt: skip
    driver.delete("t")
    assert keys(store) == ["k"]
    store.delete(("n",), "k")
    driver.append("u", 0, batch("b"))
    assert ([found.id for _, found in driver.read("u")], keys(store)) == (["b"], [])


@given(LABELS, LABELS)
def test_keys_sort_and_begin_as_addresses_do_and_lead_back(one: str, other: str) -> None:
    under = Keys("p")
    first, second = (items.address((label,), label) for label in (one, other))
    assert under.address(under.item(first)) == first
    assert (under.item(first).encode() < under.item(second).encode()) == (first < second)
    assert under.item(first).startswith(under.item(items.below((other,)))) == first.startswith(
        items.below((other,))
    )


@given(LABELS, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
def test_what_a_listing_goes_on_after_has_no_control_character_and_leaves_out_the_same(
    label: str, after: str
) -> None:
    under, place = Keys("p"), items.address((label,), label)
    assert (under.item(place) > under.past_item(after)) == (place > after)
    assert not any(ord(char) < 32 for char in under.past_item(after))


def check_names(store: S3Store) -> None:
    for name in STRANGE:
        store.put(("n", name), name, {"v": name})
    for name in STRANGE:
        found = store.get(("n", name), name)
        assert found is not None
        assert found.value == {"v": name}
        assert [each.key for each in store.search(("n", name))] == [name]
    assert keys(store) == sorted(STRANGE)
    page, cursor = [], None
    for _ in STRANGE:
        found_now = store.search((), limit=1, cursor=cursor)
        page += [each.key for each in found_now]
        cursor = found_now.cursor
    assert (page, cursor) == (sorted(STRANGE), None)
    assert store.list_namespaces() == [("n", name) for name in sorted(STRANGE)]
    for name in STRANGE:
        store.delete(("n", name), name)
    assert (keys(store), store.list_namespaces()) == ([], [])


def test_names_of_any_characters_are_kept_listed_and_deleted(store: S3Store) -> None:
    check_names(store)


@pytest.fixture
def served(backends: Backends, tmp_path: Path) -> Iterator[S3Store]:
    with backends.fresh("s3", tmp_path) as url, S3Store.from_url(URL.parse(url)) as store:
        yield store


@pytest.mark.wire
def test_names_of_any_characters_are_kept_listed_and_deleted_by_a_server(served: S3Store) -> None:
    check_names(served)
    assert served._items._deletes is True


# -- cost ----------------------------------------------------------------------------------------------------------


def test_what_each_operation_costs(store: S3Store, store_wire: Wire) -> None:
    def cost(*_: object) -> dict[str, int]:
        found = dict(kinds(store_wire))
        store_wire.sent.clear()
        return found

    assert cost(store.put(("n",), "k", {})) == {"GetObject": 1, "PutObject": 1}
    assert cost(store.put(("n",), "k", {"v": 1})) == {"GetObject": 1, "PutObject": 1}
    assert cost(store.get(("n",), "k")) == {"GetObject": 1}
    assert cost(store.get(("n",), "absent")) == {"GetObject": 1}
    assert cost(store.put(("n",), "l", {}, ttl=5)) == {"GetObject": 1, "PutObject": 1}
    assert cost(store.get(("n",), "l")) == {"GetObject": 1, "PutObject": 1}  # its life begins anew
    assert cost(store.get(("n",), "l", refresh_ttl=False)) == {"GetObject": 1}
    assert cost(store.delete(("n",), "k")) == {"GetObject": 1, "PutObject": 1, "DeleteObject": 2}
    assert cost(store.delete(("n",), "l")) == {"GetObject": 1, "DeleteObject": 1}
    assert cost(store.delete(("n",), "absent")) == {"GetObject": 1}


def test_a_search_reads_what_it_returns_and_one_more(store: S3Store, store_wire: Wire) -> None:
    for number in range(30):
        store.put(("n", f"{number % 3}"), f"{number:02}", {"v": number})
    store_wire.sent.clear()
    page = store.search((), limit=4)
    assert kinds(store_wire) == {"ListObjectsV2": 1, "GetObject": 5}
    store_wire.sent.clear()
    assert len(store.search((), limit=4, cursor=page.cursor)) == 4
    assert kinds(store_wire) == {"ListObjectsV2": 1, "GetObject": 5}
    store_wire.sent.clear()
    assert len(store.search((), limit=100)) == 30
    assert kinds(store_wire) == {"ListObjectsV2": 1, "GetObject": 30}
    store_wire.sent.clear()
    assert len(store.list_namespaces()) == 3
    assert kinds(store_wire) == {"ListObjectsV2": 4, "GetObject": 3}


def test_what_expired_is_passed_over_in_windows_and_only_as_far_as_needed(
    store: S3Store, store_wire: Wire
) -> None:
    store.clock = clock = ManualClock()
    for number in range(40):
        store.put(("n",), f"{number:02}", {}, ttl=1 if number < 20 else None)
    clock.advance(60)
    store_wire.sent.clear()
    assert [found.key for found in store.search((), limit=1)] == ["20"]
    assert kinds(store_wire) == {"ListObjectsV2": 2, "GetObject": 30}
    assert (store.sweep_ttl(), store.sweep_ttl()) == (20, 0)
    assert keys(store)[0] == "20"


def test_an_object_that_vanishes_between_listing_and_reading_is_left_out(
    place: Place, store: S3Store, store_wire: Wire
) -> None:
    for key in "abc":
        store.put(("n",), key, {})
    other = place.store().open()
    store_wire.after = lambda operation, _: (
        other.delete(("n",), "b") if operation == "ListObjectsV2" else None
    )
    assert keys(store) == ["a", "c"]


def test_nothing_is_asked_where_nothing_is_wanted(store: S3Store, store_wire: Wire) -> None:
    assert (store._load([]), store._swap([])) == ([], [])
    assert store_wire.sent == []


# -- deleting ------------------------------------------------------------------------------------------------------


def test_deleting_leaves_nothing_where_the_endpoint_keeps_to_conditions(place: Place, store: S3Store) -> None:
    store.put(("n",), "k", {})
    store.delete(("n",), "k")
    assert set(place.objects()) == {"milepost.json", "milepost.sample"}


@pytest.mark.parametrize("endpoint", [ignore_conditions_on_delete, refuse_conditions_on_delete])
def test_elsewhere_an_empty_object_stands_for_what_was_deleted(
    place: Place, store: S3Store, store_wire: Wire, endpoint: Any
) -> None:
    endpoint(store_wire)
    for key in "ab":
        version = store.put(("n",), key, {"v": 1})
    store.delete(("n",), "a")
    assert place.objects()["items/n!!a"] == b""
    assert (store.get(("n",), "a"), keys(store), store.list_namespaces()) == (None, ["b"], [("n",)])
    store.delete(("n",), "a")
    assert store.put(("n",), "a", {"v": 2}, if_version=0)
    assert keys(store) == ["a", "b"]
    with pytest.raises(VersionConflict):
        store.put(("n",), "a", {"v": 3}, if_version=version)
    store_wire.sent.clear()
    store.delete(("n",), "a")
    assert kinds(store_wire) == {"GetObject": 1, "PutObject": 1}
    store_wire.sent.clear()
    assert keys(store) == ["b"]
    assert kinds(store_wire) == {"ListObjectsV2": 1, "GetObject": 1}  # what is empty is not read


@pytest.mark.parametrize("endpoint", [lambda wire: None, ignore_conditions_on_delete])
def test_a_deletion_never_removes_what_somebody_wrote_since(
    place: Place, store: S3Store, store_wire: Wire, endpoint: Any
) -> None:
    endpoint(store_wire)
    version = store.put(("n",), "k", {"v": 1})
    (old,) = store._load(["n!!k"])
    assert place.store().put(("n",), "k", {"v": 2}) == version + 1
    assert store._swap([Change(address="n!!k", old=old, new=None)]) == [False]
    found = store.get(("n",), "k")
    assert found is not None
    assert found.value == {"v": 2}
    with pytest.raises(VersionConflict):
        store.delete(("n",), "k", if_version=version)


def test_a_second_deletion_from_the_same_reading_is_none(store: S3Store) -> None:
    store.put(("n",), "k", {})
    change = Change(address="n!!k", old=store._load(["n!!k"])[0], new=None)
    assert (store._swap([change]), store._swap([change])) == ([True], [False])
    nothing = Change(address="n!!k", old=None, new=None)
    assert store._swap([nothing]) == [False]


def test_an_endpoint_that_refuses_conditions_which_hold_gets_an_empty_object(
    place: Place, store: S3Store, store_wire: Wire
) -> None:
    store.put(("n",), "k", {})
    store_wire.answer("DeleteObject", 412, "PreconditionFailed", times=9)
    store.delete(("n",), "k")
    assert place.objects()["items/n!!k"] == b""
    assert store.get(("n",), "k") is None


def test_a_creation_that_finds_nothing_any_more_is_tried_again(
    place: Place, store: S3Store, store_wire: Wire
) -> None:
    other = place.store().open()
    other.put(("n",), "k", {"v": "rival"})
    (made,) = other._load(["n!!k"])
    assert made is not None
    store_wire.after = lambda operation, _: other.delete(("n",), "k") if operation == "PutObject" else None
    change = Change(address="n!!k", old=None, new=made)
    assert store._swap([change]) == [False]
    assert store._swap([change]) == [True]


# -- ETags without quotes --------------------------------------------------------------------------------------------


def match_only_bare_etags(wire: Wire) -> None:
    """Let an endpoint match ETags as Ceph RGW does."""

    def fault(operation: str, request: Any) -> Any:
        etag = request.headers.get("If-Match", "")
        if isinstance(etag, bytes):
            etag = etag.decode()
        if etag.startswith('"'):
            return response(412, "<Error><Code>PreconditionFailed</Code></Error>")
        if etag and etag != "*":
            del request.headers["If-Match"]
            request.headers["If-Match"] = f'"{etag}"'
        return None

    wire.intercept(fault)


def test_an_endpoint_that_matches_bare_etags_is_found_out_at_the_first_change(
    store: S3Store, store_wire: Wire
) -> None:
    match_only_bare_etags(store_wire)
    version = store.put(("n",), "k", {"v": 1}, ttl=1)
    assert store.put(("n",), "k", {"v": 2}) == version + 1
    store_wire.sent.clear()
    assert store.put(("n",), "k", {"v": 3}) == version + 2
    assert kinds(store_wire) == {"GetObject": 1, "PutObject": 1}
    store.delete(("n",), "k")
    assert store.get(("n",), "k") is None


def test_there_a_first_deletion_works_too(store: S3Store, store_wire: Wire) -> None:
    store.put(("n",), "k", {"v": 1})
    match_only_bare_etags(store_wire)
    store.delete(("n",), "k")
    assert (store.get(("n",), "k"), store._client.quotes_etags) == (None, False)


# -- what is refused -------------------------------------------------------------------------------------------------


def test_an_index_is_refused_and_a_query_too(place: Place, store: S3Store) -> None:
    with pytest.raises(SearchUnsupported, match="index="):
        S3Store(BUCKET, index={"dims": 1, "embed": lambda texts: [[0.0] for _ in texts]})
    with pytest.raises(SearchUnsupported, match="full-text"):
        store.search((), query="x")


def test_ttl_is_taken_by_the_constructor(place: Place) -> None:
    with S3Store(BUCKET, place.prefix, region="us-east-1", ttl={"default_ttl": 2}) as store:
        store.clock = ManualClock()
        store.put(("n",), "k", {})
        found = store.get(("n",), "k")
        assert found is not None
        assert found.expires_at is not None
        assert (found.expires_at - store.clock.now()).total_seconds() == 120


def test_a_value_over_the_limit_is_refused_before_it_is_sent(
    store: S3Store, store_wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "max_item_bytes", 100)
    with pytest.raises(ItemTooLarge) as caught:
        store.put(("n",), "k", {"v": "x" * 100})
    assert (caught.value.limit, store_wire.sent) == (100, [])


@pytest.mark.parametrize("body", [b"x", b"{}", b'{"namespace": 3, "value": {}}'])
def test_an_object_that_is_no_item_is_corrupt_and_named(place: Place, store: S3Store, body: bytes) -> None:
    place.put("items/n!!k", body)
    with pytest.raises(Corrupt, match="items/n!!k"):
        store.get(("n",), "k")


def test_an_object_under_another_items_key_is_corrupt(place: Place, store: S3Store) -> None:
    store.put(("n",), "k", {})
    place.put("items/n!!l", place.objects()["items/n!!k"])
    with pytest.raises(Corrupt, match="is item 'k' in namespace"):
        store.get(("n",), "l")


def test_a_later_format_is_refused(place: Place) -> None:
    place.put("milepost.json", b'{"driver":"milepost-s3","format":2}')
    with pytest.raises(SchemaTooNew, match="format 2"):
        place.store().open()


def test_a_cursor_of_strange_text_is_only_a_place_to_go_on_from(store: S3Store) -> None:
    store.put(("n",), "k", {})
    assert [found.key for found in store.search((), cursor="after \x00")] == ["k"]
    assert store.search((), cursor="after ~\x01") == []
    with pytest.raises(InvalidItem, match="cursor"):
        store.search((), cursor="past 1")


def test_a_closed_store_says_so(store: S3Store) -> None:
    store.close()
    store.close()
    for call in (lambda: store.get(("n",), "k"), lambda: store.search(()), store._open):
        with pytest.raises(Closed):
            call()


def test_its_name_shows_bucket_and_prefix(place: Place, store: S3Store) -> None:
    assert repr(store) == f"S3Store('{BUCKET}/{place.prefix}')"
    assert repr(S3Store("bucket")) == "S3Store('bucket')"
