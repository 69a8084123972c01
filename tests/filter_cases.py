"""The truth table of filters: what each operator says of each value and operand, written out by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

HOUR = timezone(timedelta(hours=1))
MISSING = "missing"
"""Stands for a field that is not there."""

# By name: a value, its kind, and its place among those of its kind. What has the same kind and place is equal.
CASES: dict[str, tuple[Any, str, float]] = {
    "none": (None, "none", 0),
    "false": (False, "bool", 0),
    "true": (True, "bool", 1),
    "minus": (-1, "number", -1),
    "zero": (0, "number", 0),
    "half": (0.5, "number", 0.5),
    "decimal half": (Decimal("0.5"), "number", 0.5),
    "one": (1, "number", 1),
    "real one": (1.0, "number", 1),
    "decimal one": (Decimal(1), "number", 1),
    "large": (2**70, "number", 2.0**70),
    "infinite": (float("inf"), "number", float("inf")),
    "empty text": ("", "text", 0),
    "digit": ("1", "text", 1),
    "upper": ("A", "text", 2),
    "lower": ("a", "text", 3),
    "longer": ("ab", "text", 4),
    "accent": ("\xe9", "text", 5),
    "fox": ("\U0001f98a", "text", 6),
    "bytes": (b"a", "bytes", 0),
    "more bytes": (b"b", "bytes", 1),
    "naive": (datetime(2026, 1, 2, 3), "naive", 0),  # noqa: DTZ001 - that is the case
    "aware": (datetime(2026, 1, 2, 3, tzinfo=UTC), "aware", 0),
    "same moment": (datetime(2026, 1, 2, 4, tzinfo=HOUR), "aware", 0),
    "later": (datetime(2026, 1, 2, 4, tzinfo=UTC), "aware", 1),
    "date": (date(2026, 1, 2), "date", 0),
    "later date": (date(2026, 1, 3), "date", 1),
    "time": (time(3), "time", 0),
    "duration": (timedelta(hours=3), "duration", 0),
    "list": ([1], "list", 0),
    "tuple": ((1.0,), "list", 0),
    "longer list": ([1, 2], "list", 1),
    "empty mapping": ({}, "mapping", 0),
    "mapping": ({"x": 1}, "mapping", 1),
    "uuid": (UUID(int=1), "uuid", 0),
}
ORDERED = {"number", "text", "bytes", "naive", "aware", "date", "time", "duration"}
"""The kinds in which one is greater than another."""


def equal(one: str, other: str) -> bool:
    """Tell whether two cases are equal."""
    return MISSING not in (one, other) and CASES[one][1:] == CASES[other][1:]


def is_ordered(operand: str) -> bool:
    """Tell whether something may be greater or smaller than this."""
    return CASES[operand][1] in ORDERED


def says(operator: str, field: str, operand: Any) -> bool:
    """Return what an operator says of a case, given the name of another, names, or a bool."""
    if operator == "$exists":
        return (field != MISSING) is operand
    if operator == "$in":
        return any(equal(field, each) for each in operand)
    if operator in ("$eq", "$ne"):
        return equal(field, operand) is (operator == "$eq")
    if field == MISSING or CASES[field][1] != CASES[operand][1]:
        return False
    place, bound = CASES[field][2], CASES[operand][2]
    return {"$gt": place > bound, "$gte": place >= bound, "$lt": place < bound, "$lte": place <= bound}[
        operator
    ]


def questions() -> list[tuple[str, Any, Any]]:
    """Return all questions: an operator, what :func:`says` is given, and what a filter is given."""
    asked: list[tuple[str, Any, Any]] = [("$exists", flag, flag) for flag in (True, False)]
    for name, (value, _, _) in CASES.items():
        asked += [(operator, name, value) for operator in ("$eq", "$ne")]
        if is_ordered(name):
            asked += [(operator, name, value) for operator in ("$gt", "$gte", "$lt", "$lte")]
    names = list(CASES)
    for begin in range(0, len(names), 4):
        some = names[begin : begin + 4]
        asked.append(("$in", some, [CASES[name][0] for name in some]))
    asked.append(("$in", [], []))
    return asked
