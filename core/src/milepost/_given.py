"""What a store is given, checked before anything is done: names, values, lives, pages.

All of it raises :class:`~milepost.errors.InvalidItem`, which names what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from milepost.errors import InvalidItem

if TYPE_CHECKING:
    from milepost.items import Namespace

_LONGEST_LIFE: Final = 1000 * 365 * 86_400.0
"""In seconds; what begins now and lives so long ends at a time that can be written."""


def once(given: object, place: str) -> str:
    """Return the key under which a write counts once; empty where it always counts.

    Raises:
        OutsideWorkflow: the key is to be that of the running task, and none runs.
    """
    if given is False:
        return ""
    if given is True:
        from milepost import _context

        return cast("str", _context.required("put(once=True)").once(place))
    return _text(given, "once= of a put")


def check_version(given: object) -> None:
    """Check the version of a conditional write."""
    if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 0):
        raise InvalidItem(f"if_version is the version of an item, or 0 for none, not {given!r}")


def seconds(given: Any) -> float | None:
    """Return a life in seconds."""
    from datetime import timedelta
    from math import isfinite

    if given is None:
        return None
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not isfinite(seconds)
        or seconds <= 0
    ):
        raise InvalidItem(f"ttl is a number of minutes above 0, or a timedelta, not {given!r}")
    life = float(seconds) if isinstance(given, timedelta) else seconds * 60.0
    if life > _LONGEST_LIFE:
        raise InvalidItem(
            f"ttl is up to {_LONGEST_LIFE / 31_536_000:.0f} years, not {given!r}; None is for ever"
        )
    return life


def labels(value: object, what: str) -> Namespace:
    """Return a tuple of labels; ``what`` names it."""
    if not isinstance(value, (tuple, list)):
        raise InvalidItem(f"a {what} is a tuple of str, such as ('users', 'ann'), not {value!r}")
    for label in value:
        _text(label, f"a label of the {what} {value!r}")
    return tuple(value)


def namespace(value: object) -> Namespace:
    """Return a namespace that items may lie in."""
    found = labels(value, "namespace")
    if not found:
        raise InvalidItem("a namespace has at least one label, such as ('users',)")
    return found


def key(value: object) -> str:
    """Return a key."""
    return _text(value, "a key")


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidItem(f"{what} is a non-empty str, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidItem(f"{what} is not valid Unicode: {error.reason}") from None
    return value


def value(value: object) -> dict[str, Any]:
    """Return a value as a dict of its own."""
    if not isinstance(value, Mapping):
        raise InvalidItem(f"a value is a mapping with str keys, not {type(value).__name__}")
    for key in value:
        if not isinstance(key, str):
            raise InvalidItem(f"a value's keys are str; {key!r} is not")
    return dict(value)


def check_page(limit: object, offset: object) -> None:
    """Check what part of a result is wanted."""
    for name, number in (("limit", limit), ("offset", offset)):
        if not isinstance(number, int) or number < 0:
            raise InvalidItem(f"{name} is a whole number of at least 0, not {number!r}")


def check_depth(given: object) -> None:
    """Check how many labels a listing is to show."""
    if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 1):
        raise InvalidItem(f"max_depth is at least 1, not {given!r}")


def begins(namespace: Namespace, labels: Namespace) -> bool:
    """Tell whether a namespace begins with these labels; ``*`` is any one."""
    return len(namespace) >= len(labels) and all(
        wanted in ("*", label) for label, wanted in zip(namespace, labels, strict=False)
    )


def ends(namespace: Namespace, labels: Namespace) -> bool:
    """Tell whether a namespace ends with these labels; ``*`` is any one."""
    return begins(namespace[::-1], labels[::-1])
