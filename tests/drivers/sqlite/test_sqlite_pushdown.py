"""Filters in SQL leave out nothing that matches, and nothing that a user gives becomes SQL."""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backends import THOROUGH
from milepost import filters, serde
from milepost.filters import parse
from milepost.scans import Scan
from milepost.serde import _types
from milepost_sqlite import SQLiteStore, _pushdown

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = st.sampled_from(["a", "b", "a b", "a.b", "$a", 'q"', "\\", "é", "0", "[0]", "", "\0", "\x7f"])
TEXTS = st.sampled_from(
    ["", "a", "b", "a\0", "a\0b", "é", "\ud800", "\udc00", "🦊", "\uffff", '"', "\\", "/", "{", '{"$', "$dict", "1"]
)  # fmt: skip
NUMBERS = (
    st.sampled_from(
        [0, 1, -1, 2**53 - 1, 2**53, 2**53 + 1, -(2**63), 10**400, 5e-324, 1.7976931348623157e308]
    )
    | st.sampled_from([float("inf"), float("-inf"), float("nan"), 0.1, 0.3, -0.0, 1e22, 1.5])
    | st.integers(-3, 3)
    | st.floats()
)
SCALARS = (
    st.none()
    | st.booleans()
    | TEXTS
    | NUMBERS
    | st.sampled_from(
        [b"a", date(2030, 1, 1), datetime(2030, 1, 1, tzinfo=UTC), Decimal(1), Decimal("0.1"), 1j]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.tuples(inner)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=2).map(OrderedDict)
        | st.dictionaries(KEYS, inner, max_size=2).map(lambda given: defaultdict(list, given))
        | st.dictionaries(KEYS, st.integers(0, 3), max_size=2).map(Counter)
    ),
    max_leaves=6,
)
MAPPINGS = st.dictionaries(KEYS, VALUES, max_size=3)
PLAIN_KEYS = st.sampled_from(["a", "b", "a b", "a.b", 'q"', "\\", "é", "0", "[0]", "", "\0", "\x7f"])
ORDERED = TEXTS | NUMBERS | st.sampled_from([b"a", date(2030, 1, 1), Decimal(1), Decimal("0.1")])
OPERATIONS = st.one_of(
    st.builds(lambda name, operand: {name: operand}, st.sampled_from(["$eq", "$ne"]), VALUES),
    st.builds(
        lambda name, operand: {name: operand}, st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), ORDERED
    ),
    st.builds(lambda operands: {"$in": operands}, st.lists(SCALARS, max_size=3)),
    st.builds(lambda there: {"$exists": there}, st.booleans()),
)
CONDITIONS = st.recursive(
    SCALARS | OPERATIONS,
    lambda inner: (
        st.dictionaries(PLAIN_KEYS, inner, max_size=2)
        | st.builds(lambda part: {"$not": part}, inner)
        | st.builds(
            lambda name, parts: {name: parts},
            st.sampled_from(["$and", "$or"]),
            st.lists(inner, min_size=1, max_size=2),
        )
    ),
    max_leaves=5,
)
FILTERS = st.dictionaries(PLAIN_KEYS, CONDITIONS, min_size=1, max_size=3)


@pytest.fixture(scope="module", params=[(), ("a", "b", "a.b", "b.a", "0")], ids=["walking", "by-index"])
def store(request: pytest.FixtureRequest) -> Iterator[SQLiteStore]:
    with SQLiteStore(":memory:", fields=request.param) as made:
        yield made


def found(store: SQLiteStore, wanted: filters.Filter) -> list[str]:
    """Return the keys of what SQL leaves in."""
    scan = Scan(prefix="", after="", limit=1000, now=store.clock.now(), filter=wanted)
    return [item.key for item in store._scan(scan)]


@settings(
    max_examples=2000 if THOROUGH else 80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(value=MAPPINGS, asked=FILTERS)
@example(value={"a": "a\0b"}, asked={"a": {"$gt": "a"}})
@example(value={"a": "\ud800"}, asked={"a": {"$lt": "\uffff"}})
@example(value={"a": "\ud800"}, asked={"a": {"$gt": "é"}})
@example(value={"a": {"$x": 1, "b": 2}}, asked={"a": {"b": 2}})
@example(value={"$x": 1, "a": "b"}, asked={"a": "b"})
@example(value={"a": OrderedDict(b="x")}, asked={"a": {"b": "x"}})
@example(value={"a": 2**60}, asked={"a": {"$gt": 5}})
@example(value={"a": 0.1}, asked={"a": {"$lte": 0.1}})
@example(value={"a": float("inf")}, asked={"a": {"$gt": 1.7976931348623157e308}})
@example(value={"a": 1.0}, asked={"a": Decimal(1)})
def test_sql_leaves_in_whatever_matches(
    store: SQLiteStore, value: dict[str, Any], asked: dict[str, Any]
) -> None:
    store.put(("values",), "k", value)
    item = store.get(("values",), "k")
    assert item is not None
    wanted = parse(asked)
    matches = filters.matches(wanted, item.value)
    assert not matches or found(store, wanted) == ["k"]
    assert [each.key for each in store.search((), filter=asked)] == ["k"] * matches
    store.delete(("values",), "k")


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ({"kind": "note"}, ["note"]),
        ({"kind": {"$in": ["note", "task"]}}, ["note", "task"]),
        ({"kind": {"$gt": "note"}}, ["task"]),
        ({"n": 1}, ["note"]),
        ({"n": {"$gte": 2, "$lt": 3.5}}, ["task"]),
        ({"done": True}, ["task"]),
        ({"done": None}, ["nothing"]),
        ({"done": {"$exists": True}}, ["nothing", "task"]),
        ({"author": {"name": "ann"}}, ["note"]),
        ({"$or": [{"n": 1}, {"done": True}]}, ["note", "task"]),
        ({"$not": {"n": 1}, "kind": "note"}, ["note"]),
        ({"tags": ["x"], "kind": "note"}, ["note"]),
        ({"kind": {"$ne": "note"}}, ["note", "nothing", "task"]),
    ],
)
def test_sql_leaves_out_what_does_not_match(asked: dict[str, Any], left: list[str]) -> None:
    with SQLiteStore(":memory:") as store:
        store.put(("a",), "note", {"kind": "note", "n": 1, "author": {"name": "ann"}})
        store.put(("a",), "task", {"kind": "task", "n": 2.5, "done": True, "author": {"name": "bob"}})
        store.put(("a",), "nothing", {"done": None})
        assert found(store, parse(asked)) == left


def test_values_with_tags_elsewhere_are_left_out_too() -> None:
    with SQLiteStore(":memory:") as store:
        store.put(("a",), "k", {"kind": "note", "at": datetime(2030, 1, 1, tzinfo=UTC)})
        assert found(store, parse({"kind": "task"})) == []
        assert found(store, parse({"kind": "note"})) == ["k"]


class Shade(str):
    """Text of a user's own, written otherwise than it reads."""

    __slots__ = ()


def test_a_registered_class_may_be_equal_to_a_text_that_the_data_does_not_show(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for table in ("_by_tag", "_by_class"):  # what is registered here stays here
        monkeypatch.setattr(_types, table, dict(getattr(_types, table)))
    serde.register("shade", Shade, encode=lambda shade: shade[::-1], decode=lambda kept: Shade(kept[::-1]))
    for fields in ((), ("color", "deep.color")):
        with SQLiteStore(":memory:", fields=fields) as store:
            store.put(("a",), "k", {"color": Shade("green"), "deep": {"color": Shade("green")}})
            assert [item.key for item in store.search((), filter={"color": "green"})] == ["k"]
            assert [item.key for item in store.search((), filter={"deep": {"color": "green"}})] == ["k"]


def test_numbers_are_compared_with_slack_because_sqlite_may_read_a_last_digit_otherwise() -> None:
    for number in (0.1, 1e308, -5e-324, 7):
        made = _pushdown.condition(parse({"a": number}))
        assert made is not None
        _, low, high, *_ = made.values
        assert low < number < high


def test_keys_and_values_are_bound_and_never_text_of_the_statement() -> None:
    hostile = "'; DROP TABLE milepost_items; --"
    asked: dict[str, Any] = {hostile: {"$in": [hostile, 7]}, "a": {hostile: {"$gt": hostile}}}
    made = _pushdown.condition(parse(asked))
    assert made is not None
    assert "DROP" not in made.clause
    assert made.clause.count("?") == len(made.values)
    with SQLiteStore(":memory:") as store:
        store.put(("a",), "k", {hostile: hostile, "a": {hostile: hostile + "!"}})
        assert [item.key for item in store.search((), filter=asked)] == ["k"]


def test_a_huge_filter_is_pushed_down_in_part_and_means_the_same() -> None:
    with SQLiteStore(":memory:") as store:
        store.put(("a",), "k", {f"f{number}": "x" for number in range(3000)})
        store.put(("a",), "l", {f"f{number}": "y" for number in range(3000)})
        every = {f"f{number}": "x" for number in range(3000)}
        assert [item.key for item in store.search((), filter=every)] == ["k"]
        any_of = {"$or": [{f"f{number}": "y"} for number in range(3000)]}
        assert [item.key for item in store.search((), filter=any_of)] == ["l"]
        assert [item.key for item in store.search((), filter={"f1": {"$in": [*range(3000), "x"]}})] == ["k"]


def test_a_value_too_deep_for_json_in_sqlite_is_left_in() -> None:
    deep: Any = "x"
    for _ in range(2500):
        deep = [deep]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(50_000)
    try:
        data = serde.encode({"a": deep, "b": 1}, where="here")
    finally:
        sys.setrecursionlimit(limit)
    with SQLiteStore(":memory:") as store:
        store.put(("a",), "k", {"b": 1})
        store._client.transact(lambda write: write("UPDATE milepost_items SET data = ?", (data,)))
        assert found(store, parse({"b": {"$gt": 2}})) == ["k"]
