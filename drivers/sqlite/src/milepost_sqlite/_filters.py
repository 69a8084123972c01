"""Filters of a search as conditions of SQL that leave out only what surely does not match. Pure.

All that a user sends is bound, never a part of a statement. What a condition lets through is looked at again by the
base class, so it may be wide: a row whose value SQLite cannot judge (it holds a tag of milepost's codec, or is nested
too deep for SQLite) passes, texts and numbers are compared with some slack, and what has no condition passes.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from milepost import filters

if TYPE_CHECKING:
    from collections.abc import Iterable

    from milepost.filters import Comparison, Exists, Filter, Path

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9 _.,:;/@#*+=~^&()<>|?!'\[\]{}-]+\Z")
"""Keys that stand in a JSON path, between double quotes, and in JSON text as they are."""
_EXACT: Final = 2**53
_SLACK: Final = 1e-9
_TYPES: Final = {"list": "array", "mapping": "object"}

Condition = tuple[str, tuple[Any, ...]]
"""A condition of SQL on the column ``i.value``, and what is bound to it."""


def condition(wanted: Filter) -> Condition | None:
    """Return what every row that matches fulfils; None where nothing can be said."""
    found = _of(wanted)
    if found is None:
        return None
    text, values = found
    return f"CASE WHEN i.opaque THEN 1 ELSE {text} END", values


def _of(wanted: Filter) -> Condition | None:
    if isinstance(wanted, filters.Comparison):
        return _comparison(wanted)
    if isinstance(wanted, filters.Exists):
        return _existence(wanted)
    if isinstance(wanted, filters.All):
        return _joined(" AND ", [part for part in map(_of, wanted.parts) if part is not None])
    if isinstance(wanted, filters.AnyOf):
        parts = [_of(part) for part in wanted.parts]
        known = [part for part in parts if part is not None]
        return _joined(" OR ", known) if len(known) == len(parts) else None
    return None  # the opposite of a wide condition is too narrow


def _joined(word: str, parts: Iterable[Condition]) -> Condition | None:
    found = list(parts)
    if not found:
        return None
    return f"({word.join(text for text, _ in found)})", tuple(
        value for _, values in found for value in values
    )


def _existence(wanted: Exists) -> Condition | None:
    path = _path(wanted.path)
    if path is None:
        return None
    return (
        "json_type(i.value, ?) = 'object'" if wanted.is_mapping else "json_type(i.value, ?) IS NOT NULL"
    ), (path,)


def _comparison(wanted: Comparison) -> Condition | None:
    path = _path(wanted.path)
    if path is None:
        return None
    if wanted.operator == "$eq":
        return _equal(path, wanted.operand)
    if wanted.operator == "$in":
        parts = [_equal(path, each) for each in wanted.operand]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return _joined(" OR ", known) or ("0", ())
    return _order(path, wanted.operator, wanted.operand)


def _equal(path: str, operand: Any) -> Condition | None:
    kind = filters.kind_of(operand)
    if kind == "text":
        text = str.__str__(operand)
        return ("json_extract(i.value, ?) = ?", (path, text)) if _is_bound(text) else None
    if kind == "number":
        return _near(path, operand)
    if kind == "bool":
        return "json_type(i.value, ?) = ?", (path, "true" if operand else "false")
    if kind == "none":
        return "json_type(i.value, ?) = 'null'", (path,)
    if kind in _TYPES:
        return "json_type(i.value, ?) = ?", (path, _TYPES[kind])
    return "0", ()  # values of other kinds are tagged, and rows with a tag pass


def _near(path: str, operand: Any) -> Condition | None:
    number = _number(operand)
    if number is None:
        return None
    slack = abs(number) * _SLACK + _SLACK
    return "json_extract(i.value, ?) BETWEEN ? AND ?", (path, number - slack, number + slack)


def _order(path: str, operator: str, operand: Any) -> Condition | None:
    """Return a condition with slack. SQLite may cut a text off at a NUL: it is then equal where it was greater."""
    sign = ">=" if operator.startswith("$gt") else "<="
    kind = filters.kind_of(operand)
    if kind == "text":
        text = str.__str__(operand)
        return (f"json_extract(i.value, ?) {sign} ?", (path, text)) if _is_bound(text) else None
    if kind != "number":
        return "0", ()
    number = _number(operand)
    if number is None:
        return None
    slack = abs(number) * _SLACK + _SLACK
    return f"json_extract(i.value, ?) {sign} ?", (path, number + (-slack if sign == ">=" else slack))


def _number(operand: Any) -> float | None:
    """Return a number as SQLite compares it; None where that would not be near enough."""
    if not isinstance(operand, int | float) or not math.isfinite(operand) or abs(operand) > _EXACT:
        return None
    return float(operand)


def _is_bound(text: str) -> bool:
    """Tell whether SQLite takes a text as it is."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _path(path: Path) -> str | None:
    if not path or not all(map(_PLAIN_KEY.match, path)):
        return None
    return "$" + "".join(f'."{key}"' for key in path)
