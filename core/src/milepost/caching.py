"""``CachePolicy``: which calls are equal, and for how long a result is found again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from milepost._struct import Struct
from milepost.errors import InvalidPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta


class CachePolicy(Struct):
    """Take a call's result from the cache where an equal call was made before (LangGraph's name and arguments).

    Args:
        key_func: gets the call's arguments and returns what makes calls equal: any value that can be kept. By default
            that is all arguments, by value.
        ttl: for how many seconds (or a ``timedelta``) a result is found again; None for as long as the cache keeps it.

    Raises:
        InvalidPolicy: ``key_func`` cannot be called, or ``ttl`` is no time above 0.
    """

    key_func: Callable[..., Any] | None = None
    ttl: float | None = None

    def __init__(
        self, key_func: Callable[..., Any] | None = None, ttl: float | timedelta | None = None
    ) -> None:
        if key_func is not None and not callable(key_func):
            raise InvalidPolicy(f"CachePolicy(key_func=…) is a function of the arguments, not {key_func!r}")
        super().__init__(key_func=key_func, ttl=_seconds(ttl))


def _seconds(given: Any) -> float | None:
    if given is None:
        return None
    seconds = given.total_seconds() if hasattr(given, "total_seconds") else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise InvalidPolicy(
            f"CachePolicy(ttl=…) is in seconds, a number above 0 or a timedelta; not {given!r}"
        )
    return float(seconds)


def policy(given: Any, where: str) -> CachePolicy | None:
    """Return what ``cache_policy=`` was given.

    Raises:
        InvalidPolicy: it is no policy.
    """
    if given is None or isinstance(given, CachePolicy):
        return given
    raise InvalidPolicy(
        f"{where}: cache_policy= is a CachePolicy, for example CachePolicy(ttl=60); not {given!r}"
    )
