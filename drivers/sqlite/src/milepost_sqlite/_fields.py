"""Indexes of fields that a store was told to search often: found by text, in the order of addresses.

An index belongs to the file: once it is there, SQLite keeps it for whoever writes, and each search of any process may
use it. What it has for an item is the text at the field, or a mark where the field may mean anything: an object, an
array, or what lies below a tag. Any other value has no place in it: it equals no text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from milepost.errors import InvalidURL
from milepost.filters import All, Comparison
from milepost_sqlite import _pushdown

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

    from milepost.filters import Filter, Path

_NAME: Final = "milepost_field:"
_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
"""Paths that may stand in a statement: an index has no place for bound values."""
_LENGTH: Final = 64
"""How much of a text is in an index, in characters; the rest is looked at in the item."""

OPAQUE: Final = "x'00'"
"""The mark, which no text is equal to."""


def checked(given: Iterable[str]) -> tuple[str, ...]:
    """Return the paths of fields to be indexed.

    Raises:
        InvalidURL: one is no path.
    """
    fields = (given,) if isinstance(given, str) else tuple(given)
    for field in fields:
        if not _PATH.fullmatch(field):
            raise InvalidURL(
                f"fields are paths of letters, digits, _ and -, such as 'author.name', not {field!r}"
            )
    return fields


def prepare(connection: sqlite3.Connection, declared: Iterable[str]) -> frozenset[Path]:
    """Make the indexes that were declared and are missing; return the paths that the file has an index of."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'").fetchall()
    found = {name.removeprefix(_NAME) for (name,) in names if name.startswith(_NAME)}
    for field in declared:
        if field not in found:
            indexed = expression(tuple(field.split(".")))
            connection.execute(
                f'CREATE INDEX IF NOT EXISTS "{_NAME}{field}" ON milepost_items ({indexed}, address)'
            )
            found.add(field)
    return frozenset(tuple(field.split(".")) for field in found if _PATH.fullmatch(field))


def expression(path: Path) -> str:
    """Return what an index has for an item: text that the statement must repeat for SQLite to use the index."""
    at, *above = ["$" + "".join(f'."{key}"' for key in path[:depth]) for depth in range(len(path), 0, -1)]
    tagged = [
        "substr(data, 1, 3) = '{\"$'",
        *(f"substr(json_extract(data, '{place}'), 1, 3) = '{{\"$'" for place in above),
    ]
    return (
        f"CASE WHEN NOT json_valid(data) THEN {OPAQUE} "
        f"WHEN json_type(data, '{at}') = 'text' THEN substr(json_extract(data, '{at}'), 1, {_LENGTH}) "
        f"WHEN json_type(data, '{at}') IN ('object', 'array') OR {' OR '.join(tagged)} THEN {OPAQUE} END"
    )


def text_at(wanted: Filter, indexed: frozenset[Path]) -> tuple[str, str] | None:
    """Return the expression of an index by which a filter's items can be found, and the text that they have there."""
    for path, text in _texts(wanted):
        if path in indexed and _pushdown.is_safe(text):
            return expression(path), text[:_LENGTH]
    return None


def _texts(wanted: Filter) -> Iterator[tuple[Path, str]]:
    if isinstance(wanted, All):
        for part in wanted.parts:
            yield from _texts(part)
    elif isinstance(wanted, Comparison) and wanted.operator == "$eq" and type(wanted.operand) is str:
        yield wanted.path, wanted.operand
