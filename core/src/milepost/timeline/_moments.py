"""Times and spans of time as people read them.  (timeline: layer 1)"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def instant(text: str | None) -> float | None:
    """Return a record's time in seconds since 1970; None where there is none, or it is no time."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def duration(seconds: float) -> str:
    """Return a span in at most two units: ``12 ms``, ``1.2 s``, ``3 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if round(seconds) < _MINUTE:
        return _short(seconds)
    if round(seconds) < _HOUR:
        return _two(round(seconds), _MINUTE, "min", "s")
    if round(seconds / _MINUTE) < _DAY // _MINUTE:
        return _two(round(seconds / _MINUTE), _HOUR // _MINUTE, "h", "min")
    if round(seconds / _DAY) < 100:  # noqa: PLR2004 - hours matter no more
        return _two(round(seconds / _HOUR), _DAY // _HOUR, "d", "h")
    return f"{round(seconds / _DAY)} d"


def _short(seconds: float) -> str:
    if seconds < 0.0005:  # noqa: PLR2004 - less than what is shown of a millisecond
        return "0 s" if seconds <= 0 else "<1 ms"
    if seconds < 0.9995:  # noqa: PLR2004 - what does not round to a second
        return f"{round(seconds * 1000)} ms"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{round(seconds)} s"  # noqa: PLR2004 - to two digits


def _two(parts: int, size: int, unit: str, smaller: str) -> str:
    whole, rest = divmod(parts, size)
    return f"{whole} {unit} {rest} {smaller}" if rest else f"{whole} {unit}"


def coarse(seconds: float) -> str:
    """Return a span in one unit."""
    first = duration(seconds).split()
    return " ".join(first[:2])


def date(seconds: float) -> str:
    """Return day and time in UTC, as ``2026-03-02 09:00:00Z``."""
    return _utc(seconds).strftime("%Y-%m-%d %H:%M:%SZ")


def clock(seconds: float, before: float | None = None) -> str:
    """Return the time of day in UTC, with the day where it is another than ``before``'s."""
    found = _utc(seconds)
    if before is None or _utc(before).date() == found.date():
        return found.strftime("%H:%M:%S")
    return f"{found.day} {found.strftime('%b')} {found.strftime('%H:%M')}"


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
