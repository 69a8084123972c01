"""Conditions of SQL leave out only what a filter does not match: for any value, any filter, and any spelling."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milepost import filters, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from milepost.items import StoredItem
    from milepost.scans import Scan
    from milepost.store import Store

KEYS = st.sampled_from(
    ["a", "b", "a b", "A", "0", "$a", 'q"', "é", "", "\0", "back\\", "tab\t", "a.b", "[0]"]
)
TEXTS = st.sampled_from(
    ["", "a", "a\0", "a\0b", "ab", "A", "é", "\U0001f98a", '"', "$x", "1", "\ud800", "null", "true"]
)
NUMBERS = (
    st.integers(-3, 3)
    | st.sampled_from(
        [2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**30, 0.1, 0.3, 1e16, 1e22, 5e-324, -0.0]
    )
    | st.floats()
)
SCALARS = st.none() | st.booleans() | TEXTS | NUMBERS
ODD = st.sampled_from(
    [b"a", date(2026, 1, 2), datetime(2026, 1, 2, tzinfo=UTC), Decimal(1), Decimal("0.1"), (1, 2), 1j]
)
VALUES = st.recursive(
    SCALARS | ODD,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
MAPPINGS = st.dictionaries(KEYS, VALUES, min_size=1, max_size=4)
FIELDS = st.sampled_from(["a", "b", "a b", "A", "0", 'q"', "é", "", "\0", "back\\", "tab\t", "a.b", "[0]"])
ORDERED = TEXTS | NUMBERS | st.sampled_from([b"a", date(2026, 1, 2), Decimal("0.1")])
OPERATIONS = st.one_of(
    st.tuples(st.sampled_from(["$eq", "$ne"]), VALUES),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ORDERED),
    st.tuples(st.just("$in"), st.lists(SCALARS | ODD, max_size=3)),
    st.tuples(st.just("$exists"), st.booleans()),
).map(lambda pair: dict([pair]))
CONDITIONS = st.recursive(
    SCALARS | ODD | OPERATIONS,
    lambda inner: (
        st.dictionaries(FIELDS, inner, max_size=2)
        | st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"$or": parts})
        | inner.map(lambda part: {"$not": part})
    ),
    max_leaves=4,
)
FILTERS = st.dictionaries(FIELDS, CONDITIONS, min_size=1, max_size=3)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with open_store("sqlite://") as opened:
        yield opened


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=MAPPINGS, wanted=FILTERS)
def test_whatever_matches_is_found(store: Store, value: dict[str, Any], wanted: dict[str, Any]) -> None:
    store.put(("f",), "k", value)
    kept = store.get(("f",), "k")
    assert kept is not None
    expected = filters.matches(filters.parse(wanted), kept.value)
    assert bool(store.search(("f",), filter=wanted)) is expected


@pytest.mark.parametrize(
    ("wanted", "left_out"),
    [
        ({"kind": "x"}, True),
        ({"n": {"$gt": 500}}, True),
        ({"kind": {"$in": ["x", "y"]}}, True),
        ({"deep": {"kind": "x"}}, True),
        ({"$or": [{"kind": "x"}, {"n": -1}]}, True),
        ({"missing": {"$exists": True}}, True),
        ({"kind": {"$ne": "note"}}, False),
    ],
)
def test_rows_that_cannot_match_never_leave_sqlite(
    store: Store, wanted: dict[str, Any], left_out: bool
) -> None:
    for number in range(5):
        store.put(("rows",), str(number), {"kind": "note", "n": number, "deep": {"kind": "note"}})
    read: list[int] = []
    scan = store._scan

    def counted(asked: Scan) -> Sequence[StoredItem]:
        page = scan(asked)
        read.append(len(page))
        return page

    store._scan = counted  # type: ignore[method-assign]
    try:
        assert store.search(("rows",), filter=wanted) == []
    finally:
        del store._scan
    assert (sum(read) == 0) is left_out
