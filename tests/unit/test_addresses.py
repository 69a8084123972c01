"""Addresses of items: they sort as namespaces and keys do, nothing shares one, and a namespace is one range."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost import items
from milepost.errors import Corrupt, InvalidItem
from milepost.items import StoredItem

LABELS = st.text(
    st.sampled_from("aAb09-_!'\"(.=~/%* \x00\x1f\x7fé\U0001f98a\ufffe\u0301") | st.characters(codec="utf-8"),
    min_size=1,
    max_size=6,
)
NAMESPACES = st.lists(LABELS, min_size=1, max_size=4).map(tuple)
PLACES = st.tuples(NAMESPACES, LABELS)


@given(PLACES, PLACES)
def test_addresses_sort_as_namespaces_and_keys_do_and_none_is_shared(one, other):
    first, second = items.address(*one), items.address(*other)
    assert (first < second) is (one < other)
    assert (first == second) is (one == other)
    assert (first.encode() < second.encode()) is (one < other)


@given(PLACES)
def test_an_address_tells_namespace_and_key(place):
    assert items.split(items.address(*place)) == place


@given(PLACES, NAMESPACES)
def test_what_is_at_and_below_a_namespace_is_one_range(place, prefix):
    address, begin = items.address(*place), items.below(prefix)
    is_below = place[0][: len(prefix)] == prefix
    assert address.startswith(begin) is is_below
    assert (begin <= address < items.after(begin)) is is_below
    is_in = place[0] == prefix
    assert (begin <= address < items.after_items(prefix)) is is_in


def test_an_address_can_be_read_by_a_person_and_stand_in_any_key():
    assert items.address(("users", "ann"), "likes") == "users!ann!!likes"
    assert items.address(("a/b", "c_d"), "x y") == "a.2fb!c_5fd!!x(20y"
    assert items.address(("größe",), "鍵") == "größe!!鍵"


def test_an_address_that_is_too_long_is_refused_and_says_how_long_it_is():
    assert items.address(("a" * 700,), "b" * 98)
    with pytest.raises(InvalidItem, match=r"takes 801 bytes where 800 are allowed"):
        items.address(("a" * 700,), "b" * 99)
    with pytest.raises(InvalidItem, match=r"takes 903 bytes"):
        items.address(("/" * 300,), "b")


# -- lines -----------------------------------------------------------------------------------------------------------

AT = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)


def stored(**changes):
    fields = {
        "namespace": ("a", 'b", "value": '),
        "key": "k\\",
        "data": b'{"x": 1, "value": {"value": 2}}',
        "created_at": AT,
        "updated_at": AT,
        "version": 7,
        "nonce": "n",
    } | changes
    return StoredItem(address=items.address(fields["namespace"], fields["key"]), **fields)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ttl": 90.5, "expires_at": AT + timedelta(seconds=90.5)},
        {"applied": ("one", "two")},
        {"tag": "etag"},
    ],
)
def test_an_item_comes_back_from_its_line(changes):
    item = stored(**changes)
    line = item.encode()
    assert line.isascii()
    assert b"\n" not in line
    assert json.loads(line)["value"] == {"x": 1, "value": {"value": 2}}
    assert StoredItem.decode(line, "here", tag=item.tag) == item


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"namespace": ["a"], "key": "k"}',
        stored().encode().replace(b"2026-03-04", b"soon"),
    ],
)
def test_a_line_that_is_no_item_is_corrupt_and_names_the_place(line):
    with pytest.raises(Corrupt, match="the item at here cannot be read"):
        StoredItem.decode(line, "here")


def test_times_are_of_one_length_in_utc():
    assert items.written(AT) == "2026-03-04T05:06:07.000089+00:00"
    assert items.written(AT.replace(microsecond=0)) == "2026-03-04T05:06:07.000000+00:00"
    assert items.read_time("2026-03-04T07:06:07.000089+02:00") == AT
