"""What a driver of a store is asked for when many items may be meant, and where a search goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from milepost import filters
from milepost._struct import Struct, replace
from milepost.errors import InvalidItem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

PAGE: Final = 256
"""How many items a driver is asked for at once."""


class Scan(Struct):
    """What a driver is asked for: items whose address begins with ``prefix`` and sorts past ``after``.

    Those whose time is over at ``now`` are left out; with ``expired``, only they are meant. ``filter`` is a hint: what
    surely does not match it may be left out.
    """

    prefix: str
    after: str
    limit: int
    now: datetime
    filter: filters.Filter = filters.EVERYTHING
    expired: bool = False


class Query(Struct):
    """What a ranking search looks for: words, all of which must be there; or what is near an embedding."""

    words: tuple[str, ...] = ()
    vector: tuple[float, ...] = ()


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how much two vectors point the same way, from -1 to 1; 0 where one has no length."""
    from math import hypot

    lengths = hypot(*one) * hypot(*other)
    return sum(map(float.__mul__, one, other)) / lengths if lengths else 0.0


def past(scan: Scan, place: str) -> Scan:
    """Return the scan that goes on after an address."""
    return replace(scan, after=place)


def onward(scan: Scan, cursor: object) -> Scan:
    """Return the scan that goes on where a page ended.

    Raises:
        InvalidItem: it is no cursor of a search in the order of addresses.
    """
    if not isinstance(cursor, str) or not cursor.startswith("after "):
        raise _no_cursor(cursor)
    try:
        cursor.encode()
    except UnicodeEncodeError:
        raise _no_cursor(cursor) from None
    return past(scan, cursor.removeprefix("after "))


def passed(cursor: object) -> int:
    """Return how many items of a ranking search were on earlier pages.

    Raises:
        InvalidItem: it is no cursor of such a search.
    """
    if cursor is None:
        return 0
    number = cursor.removeprefix("past ") if isinstance(cursor, str) else ""
    if cursor != f"past {number}" or not (number.isascii() and number.isdigit()):
        raise _no_cursor(cursor)
    return int(number)


def _no_cursor(cursor: object) -> InvalidItem:
    return InvalidItem(
        f"{cursor!r} is no cursor of such a search: give the cursor of a page, with the same query"
    )
