"""How ids, bytes and heads lie in MongoDB: no two threads share an id, and each thread's documents lie together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.checkpoint import Head, HeadQuery, Status
from milepost.errors import Corrupt
from milepost_mongodb import _layout

# What escaping, ranges and sorting could get wrong is likelier than among all of Unicode.
TRICKY = st.text(st.sampled_from("a/%2F50.\x00~é🦊"), min_size=1, max_size=8)
THREADS = TRICKY | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
POSITIONS = st.integers(0, 10**12 - 1)


def is_in(asked, found):
    """Whether a filter finds an id; the server compares as Python does, by code point."""
    return asked["_id"]["$gte"] <= found < asked["_id"]["$lt"]


@given(THREADS, THREADS, POSITIONS, POSITIONS)
def test_an_id_is_shared_only_by_the_same_thread_and_position(one, other, here, there):
    same = (one, here) == (other, there)
    assert (_layout.batch_id(one, here) == _layout.batch_id(other, there)) == same


@given(THREADS, THREADS, POSITIONS)
def test_a_threads_range_holds_exactly_its_documents(one, other, position):
    for found in (_layout.batch_id(other, position), f"{_layout.batch_id(other, position)}/ab12/0003"):
        assert is_in(_layout.ids(one), found) == (one == other)


@given(THREADS, POSITIONS)
def test_reading_asks_for_each_batch_by_its_id(thread, start):
    asked = _layout.each_id(thread, start, 3)["_id"]["$in"]
    assert asked == [_layout.batch_id(thread, start + number) for number in range(3)]


@given(THREADS, POSITIONS, POSITIONS)
def test_ids_sort_as_positions_do_and_a_range_ends_before_its_end(thread, one, other):
    ids = _layout.batch_id(thread, one), _layout.batch_id(thread, other)
    assert (ids[0] < ids[1]) == (one < other)
    assert _layout.position_of(ids[0]) == one
    assert is_in(_layout.ids(thread, other), ids[0]) == (one >= other)
    assert is_in(_layout.ids(thread, 0, other), ids[0]) == (one < other)
    assert is_in(_layout.ids(thread, 0, other), f"{ids[0]}/ab12/0003") == (one < other)


@given(st.binary() | st.text().filter(str.isascii).map(str.encode))
def test_bytes_come_back_exactly_and_ascii_lies_as_text(data):
    kept = _layout.stored(data)
    assert isinstance(kept, str) == data.isascii()
    assert _layout.loaded(kept, "it") == data


@pytest.mark.parametrize("value", [None, 3, {"$ne": ""}, ["x"]])
def test_what_is_neither_text_nor_bytes_is_corrupt(value):
    with pytest.raises(Corrupt, match="batch 3"):
        _layout.loaded(value, "batch 3")


def test_a_heads_document_gets_exactly_its_fields():
    fields = {
        "thread": "t", "version": 2, "status": Status.SLEEPING, "workflow": "w", "run": 0, "nonce": "n",
        "updated": "now",
    }  # fmt: skip
    asleep = _layout.head_fields(Head(**fields, wake=1.5), b"{}")
    assert asleep == {
        "version": 2, "status": "sleeping", "workflow": "w", "updated": "now", "wake": 1.5, "data": "{}",
    }  # fmt: skip
    assert _layout.set_head(asleep)["$unset"].keys() == {"expires", "end"}
    awake = _layout.head_fields(Head(**fields), b"{}")
    assert _layout.set_head(awake)["$unset"].keys() == {"wake", "expires", "end"}
    assert _layout.set_head(awake | {"expires": 1.0, "end": 3})["$unset"].keys() == {"wake"}


def test_a_listing_compares_a_workflow_and_never_runs_it_as_an_operator():
    asked = _layout.list_heads(HeadQuery(workflow={"$ne": ""}), None, 0.0)
    assert asked["workflow"] == {"$eq": {"$ne": ""}}


@given(
    st.none() | st.integers(1, 9),
    st.none() | st.floats(0, 9),
    st.integers(0, 9),
    st.integers(0, 9),
    st.floats(0, 9),
)
def test_a_head_is_one_until_it_expires_and_its_floor_never_falls(version, expires, floor, end, now):
    found = _layout.Stored(version=version, expires=expires, floor=floor, end=end)
    expired = expires is not None and expires <= now
    assert found.is_head(now) == (version is not None and not expired)
    assert found.lowest(now) == (max(floor, end) if expired else floor)
    assert found.lowest(now + 1) >= found.lowest(now)
