"""Filters as SQL conditions: what surely does not match is left out in SQLite; all else is looked at in Python.

A condition never leaves out an item that matches. Values that are no plain JSON are objects with a tag, and what they
mean is not known here: so objects and arrays always stay in, and what lies below a tagged object does. All that
a user gives is bound, never text of a statement.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from milepost._struct import Struct
from milepost.filters import All, AnyOf, Comparison, Exists

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost.filters import Filter, Path

_MOST: Final = 50
"""How many comparisons are pushed down: SQLite takes expressions of some depth only."""
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]+")
"""Keys that stand in JSON text and in a path as they are."""
_ASCII: Final = re.compile(r"[ !#-.0-\[\]-~]*")
"""Texts that JSON has one spelling for."""
_SLACK: Final = 1e-9
"""How inexactly numbers are compared: SQLite may read the last digits of a float otherwise than Python."""
_LEAST_SLACK: Final = 1e-290
_UNSAFE: Final = re.compile("[\0\ud800-\udfff]")
"""What SQLite's text has no place for."""


class Condition(Struct):
    """A condition on a row of ``milepost_items``, what is bound in it, and of how many comparisons it is made."""

    clause: str
    values: tuple[Any, ...]
    size: int = 1


def condition(wanted: Filter) -> Condition | None:
    """Return what holds for each item that matches a filter, or None where nothing can be said."""
    made = _part(wanted)
    if made is None:
        return None
    # CASE is sure to take its branches in order: most items lack a text that must be there, and no JSON is read for
    # them; and SQLite reads JSON to a depth of its own, past which nothing is known.
    absent = [text for text in _required(wanted) if _ASCII.fullmatch(text)][:_MOST]
    lacking = " OR ".join(["instr(data, ?) = 0"] * len(absent))
    first = f"WHEN ({lacking}) AND instr(data, '{{\"$') = 0 THEN 0 " if absent else ""
    return Condition(
        clause=f"CASE {first}WHEN json_valid(data) THEN {made.clause} ELSE 1 END",
        values=(*(f'"{text}"' for text in absent), *made.values),
    )


def _required(wanted: Filter) -> list[str]:
    """Return texts that each value which matches has somewhere, unless it has a tag somewhere."""
    if isinstance(wanted, All):
        return [text for part in wanted.parts for text in _required(part)]
    if isinstance(wanted, Comparison) and wanted.operator == "$eq" and type(wanted.operand) is str:
        return [wanted.operand]
    return []


def _part(wanted: Filter) -> Condition | None:
    if isinstance(wanted, Comparison):
        return _comparison(wanted)
    if isinstance(wanted, Exists):
        return _exists(wanted)
    if isinstance(wanted, All):
        return _all(wanted)
    return _any(wanted) if isinstance(wanted, AnyOf) else None


def _all(wanted: All) -> Condition | None:
    kept: list[Condition] = []
    for part in map(_part, wanted.parts):
        if part is not None and part.size + sum(each.size for each in kept) <= _MOST:
            kept.append(part)
    return _joined(" AND ", kept) if kept else None


def _any(wanted: AnyOf) -> Condition | None:
    parts: list[Condition] = []
    for part in map(_part, wanted.parts[: _MOST + 1]):
        if part is None:
            return None
        parts.append(part)
    made = _joined(" OR ", parts)
    return made if made.size <= _MOST else None


def _joined(word: str, parts: list[Condition]) -> Condition:
    return Condition(
        clause=f"({word.join(part.clause for part in parts)})",
        values=tuple(value for part in parts for value in part.values),
        size=sum(part.size for part in parts),
    )


# -- fields --------------------------------------------------------------------------------------------------------


def _exists(wanted: Exists) -> Condition | None:
    path = _spelled(wanted.path)
    if path is None:
        return None
    if wanted.is_mapping:
        return _or_unknown(wanted.path, "json_type(data, ?) = 'object'", path)
    return _or_unknown(wanted.path, "json_type(data, ?) IS NOT NULL", path)


def _comparison(wanted: Comparison) -> Condition | None:
    path = _spelled(wanted.path)
    if path is None:
        return None
    operands = wanted.operand if wanted.operator == "$in" else (wanted.operand,)
    if len(operands) > _MOST:
        return None
    operator = "$eq" if wanted.operator == "$in" else wanted.operator
    tests = [_test(path, operator, operand) for operand in operands]
    found = [test for test in tests if test is not None]
    if len(found) < len(tests):
        return None
    stays = Condition(clause="json_type(data, ?) IN ('object', 'array')", values=(path,))
    either = _joined(" OR ", [*found, stays])
    made = _or_unknown(wanted.path, either.clause, *either.values)
    return Condition(clause=made.clause, values=made.values, size=len(tests) or 1)


def _or_unknown(path: Path, clause: str, *values: Any) -> Condition:
    """Return a condition on a field, which also holds where the field may lie in an object with a tag."""
    above = [_spelled(path[:depth]) for depth in range(1, len(path))]
    tags = ["substr(data, 1, 3) = '{\"$'"] + ["substr(json_extract(data, ?), 1, 3) = '{\"$'"] * len(above)
    return Condition(clause=f"({' OR '.join((clause, *tags))})", values=(*values, *above))


def _spelled(path: Path) -> str | None:
    """Return a path as SQLite has it; None where a key is none that stands for itself, or there is no key."""
    if not path or not all(map(_PLAIN.fullmatch, path)):
        return None
    return "$" + "".join([f'."{key}"' for key in path])


def is_safe(text: str) -> bool:
    """Tell whether SQLite compares a text with what JSON has as Python does."""
    return not _UNSAFE.search(text)


# -- values --------------------------------------------------------------------------------------------------------


def _test(path: str, operator: str, operand: Any) -> Condition | None:
    """Return a condition on the plain value at a path."""
    kind = type(operand)
    if operand is None or kind is bool:
        return _constant(path, operator, operand)
    test = _TESTS.get(kind)
    return None if test is None else test(path, operator, operand)


def _constant(path: str, operator: str, operand: bool | None) -> Condition | None:  # noqa: FBT001 - an operand
    if operator != "$eq":
        return None
    name = {True: "true", False: "false", None: "null"}[operand]
    return Condition(clause="json_type(data, ?) = ?", values=(path, name))


def _text(path: str, operator: str, operand: str) -> Condition | None:
    if not is_safe(operand):
        return None
    if operator == "$eq":
        return Condition(clause="json_extract(data, ?) = ?", values=(path, operand))
    # How SQLite reads an escaped NUL or half of a pair is its own affair: such values stay in.
    return Condition(
        clause=f"(json_extract(data, ?) {_SIGNS[operator]} ? OR instr(data, '\\u0000') OR instr(data, '\\ud'))",
        values=(path, operand),
    )


def _number(path: str, operator: str, operand: float) -> Condition | None:
    try:
        number = float(operand)
    except OverflowError:
        return None
    slack = abs(number) * _SLACK + _LEAST_SLACK
    low, high = number - slack, number + slack
    if not isfinite(low) or not isfinite(high):
        return None
    if operator == "$eq":
        return Condition(clause="json_extract(data, ?) BETWEEN ? AND ?", values=(path, low, high))
    bound = low if operator.startswith("$gt") else high
    return Condition(clause=f"json_extract(data, ?) {_SIGNS[operator]} ?", values=(path, bound))


_TESTS: Final[dict[type, Callable[[str, str, Any], Condition | None]]] = {
    str: _text,
    int: _number,
    float: _number,
}
_SIGNS: Final = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
