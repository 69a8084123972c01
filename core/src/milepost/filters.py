"""Filters of a store's search: what may be asked of a value, and what it means; the same on every backend.

A filter is a mapping of fields. What stands under a field is a value, which must be equal; a mapping of fields inside
it; or a mapping of operators::

    {"kind": "note", "author": {"name": "ann"}, "stars": {"$gte": 3, "$lt": 5}, "$not": {"draft": True}}

``$eq $ne $gt $gte $lt $lte`` compare, ``$in`` takes a list of values, ``$exists`` a bool; ``$and`` and ``$or`` take a
list of what could stand in their place, ``$not`` one such. All that stands side by side must hold.

What a comparison means where types differ or a field is missing:

- Two values are equal where they are of one kind and equal: numbers (``1`` equals ``1.0``), text, bytes, booleans
  (``True`` is no number), times, None, lists and tuples (item by item), mappings (key by key).
- One is greater than another only where both are numbers, text (by code point), bytes, or times of one sort, with or
  without a zone. Any other pair is neither greater nor smaller nor equal.
- A field that is missing is equal to nothing, not even to None, and neither greater nor smaller than anything.
- ``$ne`` and ``$not`` hold exactly where what they deny does not: so for a missing field, too.

The names are MongoDB's and LangGraph's; the meaning of mixed types is MongoDB's without its arrays and its null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from milepost._struct import Struct
from milepost.errors import InvalidItem

if TYPE_CHECKING:
    from collections.abc import Callable

Path: TypeAlias = tuple[str, ...]
"""The keys that lead from a value to a field; empty for the value itself."""

MAX_DEPTH: Final = 32
"""How deep a filter may be nested."""

_MISSING: Final = object()


class Comparison(Struct):
    """A field compared with an operand: ``operator`` is ``$eq``, ``$gt``, ``$gte``, ``$lt``, ``$lte`` or ``$in``."""

    path: Path
    operator: str
    operand: Any


class Exists(Struct):
    """A field is there; with ``is_mapping``, and is a mapping."""

    path: Path
    is_mapping: bool = False


class All(Struct):
    """Each part holds; without parts, it holds."""

    parts: tuple[Filter, ...]


class AnyOf(Struct):
    """A part holds."""

    parts: tuple[Filter, ...]


class Not(Struct):
    """A part does not hold."""

    part: Filter


Filter: TypeAlias = "Comparison | Exists | All | AnyOf | Not"
"""A filter as it was understood. A driver may use it to leave out what cannot match; what it returns is checked."""

EVERYTHING: Final = All(parts=())
"""The filter that all values match."""


# -- reading -------------------------------------------------------------------------------------------------------


def parse(given: Mapping[str, Any] | None) -> Filter:
    """Return the filter that a mapping means.

    Raises:
        InvalidItem: it has an unknown operator, an operand that the operator does not take, or is nested too deep.
    """
    if given is None:
        return EVERYTHING
    if not isinstance(given, Mapping):
        raise InvalidItem(f"a filter is a mapping such as {{'kind': 'note'}}, not {given!r}")
    if not given:
        return EVERYTHING
    return _condition((), given, 0)


def _condition(path: Path, given: Any, depth: int) -> Filter:
    """Return what must hold of the field at a path."""
    if depth > MAX_DEPTH:
        raise InvalidItem(f"a filter is nested at most {MAX_DEPTH} deep; at {_shown(path)} it goes on")
    if not isinstance(given, Mapping):
        return Comparison(path=path, operator="$eq", operand=given)
    for name in given:
        if not isinstance(name, str):
            raise InvalidItem(f"filter at {_shown(path)}: a field's name is a str; {name!r} is not")
    operators = [name for name in given if name.startswith("$")]
    if not operators:
        parts = [_condition((*path, name), part, depth + 1) for name, part in given.items()]
        return All(parts=(Exists(path=path, is_mapping=True), *parts)) if path else All(parts=tuple(parts))
    fields = [name for name in given if not name.startswith("$")]
    parts = [_operation(path, name, given[name], depth) for name in operators]
    parts += [_condition((*path, name), given[name], depth + 1) for name in fields]
    return parts[0] if len(parts) == 1 else All(parts=tuple(parts))


def _operation(path: Path, name: str, operand: Any, depth: int) -> Filter:
    if name in _ORDERS:
        _check_ordered(path, name, operand)
        return Comparison(path=path, operator=name, operand=operand)
    read = _READERS.get(name)
    if read is None:
        from difflib import get_close_matches

        near = get_close_matches(name, OPERATORS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the operators are {' '.join(OPERATORS)}"
        raise InvalidItem(f"filter at {_shown(path)}: {name!r} is no operator; {hint}")
    return read(path, name, operand, depth)


def _check_ordered(path: Path, name: str, operand: Any) -> None:
    if not path:
        raise InvalidItem(f"filter at its top: {name} compares a field: write {{'stars': {{{name!r}: 3}}}}")
    if kind_of(operand) not in _ORDERED:
        raise InvalidItem(
            f"filter at {_shown(path)}: {name} takes a number, text, bytes or a time, not {operand!r}"
        )


def _read_eq(path: Path, name: str, operand: Any, depth: int) -> Filter:  # noqa: ARG001 - one of a table
    return Comparison(path=path, operator="$eq", operand=operand)


def _read_ne(path: Path, name: str, operand: Any, depth: int) -> Filter:  # noqa: ARG001 - likewise
    return Not(part=Comparison(path=path, operator="$eq", operand=operand))


def _read_in(path: Path, name: str, operand: Any, depth: int) -> Filter:  # noqa: ARG001 - likewise
    if not isinstance(operand, list | tuple | set | frozenset):
        raise InvalidItem(f"filter at {_shown(path)}: $in takes a list of values, not {operand!r}")
    return Comparison(path=path, operator="$in", operand=tuple(operand))


def _read_exists(path: Path, name: str, operand: Any, depth: int) -> Filter:  # noqa: ARG001 - likewise
    if not isinstance(operand, bool):
        raise InvalidItem(f"filter at {_shown(path)}: $exists takes True or False, not {operand!r}")
    there = Exists(path=path)
    return there if operand else Not(part=there)


def _read_parts(path: Path, name: str, operand: Any, depth: int) -> Filter:
    if not isinstance(operand, list | tuple) or not operand:
        raise InvalidItem(f"filter at {_shown(path)}: {name} takes a list of at least one, not {operand!r}")
    parts = tuple(_part(path, name, part, depth) for part in operand)
    return All(parts=parts) if name == "$and" else AnyOf(parts=parts)


def _read_not(path: Path, name: str, operand: Any, depth: int) -> Filter:
    return Not(part=_part(path, name, operand, depth))


def _part(path: Path, name: str, given: Any, depth: int) -> Filter:
    if not path and not isinstance(given, Mapping):
        raise InvalidItem(f"a filter's {name} takes mappings such as {{'kind': 'note'}}, not {given!r}")
    return _condition(path, given, depth + 1)


_READERS: Final[dict[str, Callable[[Path, str, Any, int], Filter]]] = {
    "$eq": _read_eq,
    "$ne": _read_ne,
    "$in": _read_in,
    "$exists": _read_exists,
    "$and": _read_parts,
    "$or": _read_parts,
    "$not": _read_not,
}


def _shown(path: Path) -> str:
    return repr(".".join(path)) if path else "its top"


# -- matching ------------------------------------------------------------------------------------------------------


def matches(wanted: Filter, value: Any) -> bool:
    """Tell whether a value matches a filter."""
    if isinstance(wanted, Comparison):
        return _compares(wanted, _field(value, wanted.path))
    if isinstance(wanted, Exists):
        found = _field(value, wanted.path)
        return isinstance(found, Mapping) if wanted.is_mapping else found is not _MISSING
    if isinstance(wanted, Not):
        return not matches(wanted.part, value)
    parts = (matches(part, value) for part in wanted.parts)
    return all(parts) if isinstance(wanted, All) else any(parts)


def _compares(wanted: Comparison, found: Any) -> bool:
    if found is _MISSING:
        return False
    if wanted.operator == "$eq":
        return equal(found, wanted.operand)
    if wanted.operator == "$in":
        return any(equal(found, each) for each in wanted.operand)
    kind = kind_of(found)
    return (
        kind in _ORDERED
        and kind == kind_of(wanted.operand)
        and bool(_ORDERS[wanted.operator](found, wanted.operand))
    )


def _field(value: Any, path: Path) -> Any:
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return _MISSING
        value = value[name]
    return value


def equal(one: Any, other: Any) -> bool:
    """Tell whether two values are equal, as filters understand it."""
    kind = kind_of(one)
    if kind != kind_of(other):
        return False
    if kind == "list":
        return len(one) == len(other) and all(map(equal, one, other))
    if kind == "mapping":
        return one.keys() == other.keys() and all(equal(part, other[key]) for key, part in one.items())
    return bool(one == other)


def kind_of(value: Any) -> str:
    """Return the kind of a value: only values of one kind compare."""
    for kind, types in _KINDS:
        if isinstance(value, types):
            return kind
    return _kind_of_time(value) or type(value).__qualname__


def _kind_of_time(value: Any) -> str | None:
    from datetime import date, datetime, time, timedelta
    from decimal import Decimal

    if isinstance(value, datetime | time):
        return f"{type(value).__name__}{'' if value.utcoffset() is None else ' with a zone'}"
    if isinstance(value, Decimal):
        return "number" if not value.is_snan() else "Decimal"
    names = ((date, "date"), (timedelta, "timedelta"))
    return next((name for cls, name in names if isinstance(value, cls)), None)


_KINDS: Final = (
    ("text", str),
    ("bool", bool),
    ("number", (int, float)),
    ("none", type(None)),
    ("mapping", Mapping),
    ("list", (list, tuple)),
    ("bytes", bytes),
)
_ORDERED: Final = frozenset({
    "text", "number", "bytes", "datetime", "datetime with a zone", "time", "time with a zone", "date", "timedelta",
})  # fmt: skip
_ORDERS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$gt": lambda one, other: one > other,
    "$gte": lambda one, other: one >= other,
    "$lt": lambda one, other: one < other,
    "$lte": lambda one, other: one <= other,
}
OPERATORS: Final = ("$eq", "$ne", *_ORDERS, "$in", "$exists", "$and", "$or", "$not")
"""All operators."""
