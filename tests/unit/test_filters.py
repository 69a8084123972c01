"""Filters: the truth table of all operators, types and missing fields; what is refused, and how it is told."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from filter_cases import CASES, MISSING, is_ordered, questions, says
from milepost.errors import InvalidItem
from milepost.filters import MAX_DEPTH, matches, parse


def holds(wanted: Any, value: Any) -> bool:
    return matches(parse(wanted), value)


@pytest.mark.parametrize(("operator", "named", "operand"), questions(), ids=lambda part: str(part)[:30])
def test_each_operator_says_of_each_value_what_the_table_says(
    operator: str, named: Any, operand: Any
) -> None:
    wrong = []
    for field in (*CASES, MISSING):
        value = {} if field == MISSING else {"x": CASES[field][0]}
        expected = says(operator, field, named)
        asked = {operator: operand}
        found = {
            "plain": holds({"x": asked}, value) is expected,
            "denied": holds({"x": {"$not": asked}}, value) is not expected,
            "denied above": holds({"$not": {"x": asked}}, value) is not expected,
            "inside": holds({"deep": {"x": asked}}, {"deep": value}) is expected,
            "below what is no mapping": holds({"deep": {"x": asked}}, {"deep": 7}) is False,
            "of two": holds({"$or": [{"y": 1}, {"x": asked}]}, value) is expected,
            "with another": holds({"$and": [{"x": asked}, {"x": asked}]}, value) is expected,
        }
        wrong += [(field, form) for form, right in found.items() if not right]
    assert not wrong


@pytest.mark.parametrize("operand", [name for name in CASES if CASES[name][1] != "mapping"])
def test_a_plain_value_means_equal(operand: str) -> None:
    for field in CASES:
        value, expected = CASES[field][0], says("$eq", field, operand)
        assert holds({"x": CASES[operand][0]}, {"x": value}) is expected, field
    assert not holds({"x": CASES[operand][0]}, {})


def test_a_mapping_means_its_fields_and_eq_means_all_of_it() -> None:
    value = {"home": {"city": "Oslo", "zip": 1}}
    assert holds({"home": {"city": "Oslo"}}, value)
    assert holds({"home": {}}, value)
    assert not holds({"home": {}}, {"home": "Oslo"})
    assert not holds({"home": {}}, {})
    assert not holds({"home": {"$eq": {"city": "Oslo"}}}, value)
    assert holds({"home": {"$eq": {"zip": 1.0, "city": "Oslo"}}}, value)
    assert holds({"home": {"$exists": True, "city": "Oslo"}}, value)
    assert not holds({"home": {"$exists": True, "city": "Rome"}}, value)
    assert holds({"$eq": value}, value)


def test_all_that_stands_side_by_side_must_hold() -> None:
    value = {"n": 3, "kind": "note"}
    assert holds({}, value)
    assert holds(None, value)
    assert holds({"n": {"$gt": 2, "$lt": 4}, "kind": "note"}, value)
    assert not holds({"n": {"$gt": 2, "$lt": 3}}, value)
    assert not holds({"n": 3, "kind": "task"}, value)
    assert holds({"$or": [{"n": 4}, {"$and": [{"n": 3}, {"$not": {"kind": "task"}}]}]}, value)
    assert holds({"n": {"$or": [4, {"$gt": 2}]}}, value)
    assert holds({"n": {"$and": [{"$gt": 2}, {"$ne": 4}]}}, value)
    assert not holds({"n": {"$not": {"$in": [3]}}}, value)


def test_an_enum_of_text_is_text() -> None:
    class Kind(StrEnum):
        NOTE = "note"

    assert holds({"kind": Kind.NOTE}, {"kind": "note"})
    assert holds({"kind": "note"}, {"kind": Kind.NOTE})


def test_what_is_no_number_is_equal_to_nothing_and_in_no_order() -> None:
    nan = float("nan")
    for operator in ("$eq", "$gt", "$gte", "$lt", "$lte"):
        for value, operand in ((nan, nan), (nan, 1.0), (1.0, nan)):
            assert not holds({"x": {operator: operand}}, {"x": value})
    assert holds({"x": {"$ne": nan}}, {"x": nan})


@pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte"])
@pytest.mark.parametrize("operand", [name for name in CASES if not is_ordered(name)])
def test_an_operand_without_an_order_is_refused(operator: str, operand: str) -> None:
    with pytest.raises(InvalidItem, match=r"filter at 'a\.x': \$\w+ takes a number, text, bytes or a time"):
        parse({"a": {"x": {operator: CASES[operand][0]}}})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ([("x", 1)], "a filter is a mapping"),
        ({1: 2}, "a field's name is a str; 1 is not"),
        ({"x": {"$gtt": 1}}, r"filter at 'x': '\$gtt' is no operator; did you mean '\$gt'"),
        ({"$xyz": 1}, r"filter at its top: '\$xyz' is no operator; the operators are \$eq"),
        ({"$gt": 1}, r"filter at its top: \$gt compares a field"),
        ({"x": {"$in": 1}}, r"\$in takes a list of values, not 1"),
        ({"x": {"$in": "abc"}}, r"\$in takes a list of values, not 'abc'"),
        ({"x": {"$exists": 1}}, r"\$exists takes True or False, not 1"),
        ({"$or": []}, r"\$or takes a list of at least one, not \[\]"),
        ({"$and": {"x": 1}}, r"\$and takes a list of at least one"),
        ({"$or": [1]}, r"a filter's \$or takes mappings"),
        ({"$not": 1}, r"a filter's \$not takes mappings"),
    ],
)
def test_a_filter_that_means_nothing_is_refused_with_its_place(given: Any, text: str) -> None:
    with pytest.raises(InvalidItem, match=text):
        parse(given)


def test_a_filter_is_nested_so_deep_and_no_deeper() -> None:
    wanted: Any = 1
    for _ in range(MAX_DEPTH):
        wanted = {"x": wanted}
    parse(wanted)
    with pytest.raises(InvalidItem, match=f"nested at most {MAX_DEPTH} deep"):
        parse({"x": wanted})
    for _ in range(100_000):
        wanted = {"$not": wanted}
    with pytest.raises(InvalidItem, match="deep"):
        parse(wanted)
