"""The standard types that are one JSON scalar: the schema of each, and the way there and back."""

from __future__ import annotations

import binascii
import math
import re
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from milepost._struct import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

_DURATION: Final = re.compile(
    r"(-)?P(?=.)(?:(\d+)W)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,6}))?S)?)?\Z"
)
NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
"""How a Decimal is written; those that are no number have no JSON form."""


class Scalar(Struct):
    """``schema`` describes the JSON form of one type, ``write`` makes it, ``read`` takes it back.

    ``write`` and ``read`` raise ValueError for what has no such form.
    """

    schema: dict[str, Any]
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]


# -- the way there ---------------------------------------------------------------------------------------------------


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"JSON has no {value!r}")
    return value


def _base64(value: bytes | bytearray) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _duration(value: timedelta) -> str:
    sign, value = ("-", -value) if value < timedelta(0) else ("", value)
    fraction = f".{value.microseconds:06d}" if value.microseconds else ""
    return f"{sign}P{value.days}DT{value.seconds}{fraction}S"


def _decimal_text(value: Any) -> str:
    if not value.is_finite():
        raise ValueError(f"JSON has no {value!r}")
    return str(value)


# -- the way back ----------------------------------------------------------------------------------------------------


def _nothing(value: Any) -> None:
    if value is not None:
        raise ValueError(value)


def _exactly(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise ValueError(value)
        return value

    return read


_text: Final = _exactly(str)


def _integer(value: Any) -> int:
    """JSON does not tell 1 from 1.0."""
    if type(value) is float and value.is_integer():
        return int(value)
    return int(_exactly(int)(value))


def _number(value: Any) -> float:
    return float(value if type(value) is float else _exactly(int)(value))


def _bytes(value: Any) -> bytes:
    return binascii.a2b_base64(_text(value), strict_mode=True)


def _bytearray(value: Any) -> bytearray:
    return bytearray(_bytes(value))


def _datetime(value: Any) -> datetime:
    if "T" not in _text(value).upper():
        raise ValueError(value)
    return datetime.fromisoformat(value)


def _date(value: Any) -> date:
    return date.fromisoformat(_text(value))


def _time(value: Any) -> time:
    return time.fromisoformat(_text(value))


def _timedelta(value: Any) -> timedelta:
    found = _DURATION.match(_text(value))
    if found is None:
        raise ValueError(value)
    sign, weeks, days, hours, minutes, seconds, fraction = found.groups()
    length = timedelta(
        weeks=int(weeks or 0),
        days=int(days or 0),
        hours=int(hours or 0),
        minutes=int(minutes or 0),
        seconds=int(seconds or 0),
        microseconds=int((fraction or "").ljust(6, "0")),
    )
    return -length if sign else length


def _uuid(value: Any) -> Any:
    from uuid import UUID

    return UUID(_text(value))


def _decimal(value: Any) -> Any:
    from decimal import Decimal

    if type(value) in {int, float}:
        return Decimal(str(value))
    if not re.match(NUMBER, _text(value)):
        raise ValueError(value)
    return Decimal(value)


def _path(cls_name: str) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        import pathlib

        return getattr(pathlib, cls_name)(_text(value))

    return read


def _as_is(value: Any) -> Any:
    return value


def _scalar(read: Callable[[Any], Any], write: Callable[[Any], Any] = _as_is, /, **schema: Any) -> Scalar:
    return Scalar(schema=schema, write=write, read=read)


def _iso(value: Any) -> str:
    return str(value.isoformat())


_path_names: Final = (
    "Path", "PurePath", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath",
)  # fmt: skip

_SCALARS: Final[dict[tuple[str, str], Scalar]] = {
    ("builtins", "NoneType"): _scalar(_nothing, type="null"),
    ("builtins", "bool"): _scalar(_exactly(bool), type="boolean"),
    ("builtins", "int"): _scalar(_integer, type="integer"),
    ("builtins", "float"): _scalar(_number, _finite, type="number"),
    ("builtins", "str"): _scalar(_text, type="string"),
    ("builtins", "bytes"): _scalar(_bytes, _base64, type="string", contentEncoding="base64"),
    ("builtins", "bytearray"): _scalar(_bytearray, _base64, type="string", contentEncoding="base64"),
    ("datetime", "datetime"): _scalar(_datetime, _iso, type="string", format="date-time"),
    ("datetime", "date"): _scalar(_date, _iso, type="string", format="date"),
    ("datetime", "time"): _scalar(_time, _iso, type="string", format="time"),
    ("datetime", "timedelta"): _scalar(_timedelta, _duration, type="string", format="duration"),
    ("uuid", "UUID"): _scalar(_uuid, str, type="string", format="uuid"),
    ("decimal", "Decimal"): _scalar(
        _decimal, _decimal_text, anyOf=[{"type": "number"}, {"type": "string", "pattern": NUMBER}]
    ),
    **{("pathlib", name): _scalar(_path(name), str, type="string", format="path") for name in _path_names},
}

FORMATS: Final[dict[str, Callable[[Any], Any]]] = {
    "date-time": _datetime,
    "date": _date,
    "time": _time,
    "duration": _timedelta,
    "uuid": _uuid,
}
"""The formats that are checked: reading a string of one raises ValueError where it is none."""


def scalar_of(cls: Any) -> Scalar | None:
    """Return how values of exactly this type are one JSON scalar, or None."""
    if not isinstance(cls, type):
        return None
    module = cls.__module__.partition(".")[0]  # pathlib is a package since Python 3.13
    return _SCALARS.get(("builtins" if cls is type(None) else module, cls.__name__))
