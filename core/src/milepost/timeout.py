"""``TimeoutPolicy``: how long a task or a workflow may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from milepost._struct import Struct
from milepost.errors import InvalidPolicy

if TYPE_CHECKING:
    from datetime import timedelta

Seconds: TypeAlias = "float | timedelta"


class TimeoutPolicy(Struct):
    """Time limits, in seconds (LangGraph's names).

    Args:
        run_timeout: how long one attempt may take in all; a number of seconds or a ``timedelta``.
        idle_timeout: for how long it may show no sign of life. Signs are :func:`milepost.heartbeat`, what is written to
            the stream, and calls into milepost.
        refresh_on: ``"heartbeat"`` lets :func:`milepost.heartbeat` alone count as a sign of life, ``"auto"`` all of
            them.

    Raises:
        InvalidPolicy: a limit is not above 0, or there is none; ``refresh_on`` is another word.
    """

    run_timeout: float | None = None
    idle_timeout: float | None = None
    refresh_on: str = "auto"

    def __init__(
        self,
        *,
        run_timeout: Seconds | None = None,
        idle_timeout: Seconds | None = None,
        refresh_on: Literal["auto", "heartbeat"] = "auto",
    ) -> None:
        if run_timeout is None and idle_timeout is None:
            raise InvalidPolicy("TimeoutPolicy() limits nothing: give it run_timeout= or idle_timeout=")
        if refresh_on not in {"auto", "heartbeat"}:
            raise InvalidPolicy(f'TimeoutPolicy(refresh_on={refresh_on!r}): it is "auto" or "heartbeat"')
        super().__init__(
            run_timeout=_seconds(run_timeout, "TimeoutPolicy(run_timeout=…)"),
            idle_timeout=_seconds(idle_timeout, "TimeoutPolicy(idle_timeout=…)"),
            refresh_on=refresh_on,
        )


def _seconds(given: Any, what: str) -> float | None:
    if given is None:
        return None
    seconds = given.total_seconds() if hasattr(given, "total_seconds") else given
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise InvalidPolicy(f"{what} is in seconds, a number above 0 or a timedelta; not {given!r}")
    return float(seconds)


def policy(given: Any, where: str) -> TimeoutPolicy | None:
    """Return what ``timeout=`` was given as a policy.

    Raises:
        InvalidPolicy: it is no time above 0.
    """
    if given is None or isinstance(given, TimeoutPolicy):
        return given
    return TimeoutPolicy(run_timeout=_seconds(given, f"{where}: timeout="))
