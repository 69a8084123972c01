"""The closed table of standard types: the tag of each, and how it becomes plain data and back.

Modules that are costly to import are looked at only where they are loaded already (a value of their type
exists), or where a record holds their tag. The exact type decides; subclasses have no form.
"""

from __future__ import annotations

import binascii
import re
import sys
from datetime import date, datetime, time, timedelta, timezone
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from milepost._struct import Struct
from milepost.serde._unfit import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

_DECIMAL_BITS: Final = 2048  # 617 digits: under every limit that sys.set_int_max_str_digits() accepts
_ZONE_KEY: Final = re.compile(r"[A-Za-z0-9_+\-]+(/[A-Za-z0-9_+\-]+)*\Z")
_PAIR: Final = re.compile("(?<=[\ud800-\udbff])(?=[\udc00-\udfff])")


class Form(Struct):
    """How values of one exact type are kept: ``encode`` gives what the codec can hold, ``decode`` takes it back.

    ``module`` and ``name`` say where the type lives; they are constants of this file, never read from data.
    """

    tag: str
    module: str
    name: str
    encode: Callable[[Any], Any]
    decode: Callable[[type, Any], Any]

    def loaded(self) -> type | None:
        """Return the type if its module is loaded."""
        return getattr(sys.modules.get(self.module), self.name, None)

    def read(self, payload: Any) -> Any:
        """Build the value from its decoded payload; any exception means that the payload is malformed."""
        return self.decode(getattr(import_module(self.module), self.name), payload)


# -- numbers and text ------------------------------------------------------------------------------


def integer_text(value: int) -> str:
    """Write an int of any size: decimal digits, or hexadecimal past some 600 digits (those have no limit)."""
    return str(value) if value.bit_length() <= _DECIMAL_BITS else hex(value)


def _integer(_: type, payload: Any) -> int:
    text = _of(str, payload)
    return int(text, 16) if "0x" in text else int(text)


def _float(_: type, payload: Any) -> float:
    if payload not in {"nan", "inf", "-inf"}:
        raise ValueError(payload)
    return float(payload)


def surrogate_parts(value: str) -> list[str]:
    """Split between a high and a low lone surrogate: side by side, JSON would make them one character."""
    return _PAIR.split(value)


def _joined(_: type, payload: Any) -> str:
    return "".join(_of(list, payload))


def _complex(cls: type, payload: Any) -> Any:
    real, imag = payload
    return cls(_of(float, real), _of(float, imag))


def _fraction(cls: type, payload: Any) -> Any:
    numerator, denominator = payload
    return cls(_of(int, numerator), _of(int, denominator))


def _range(_: type, payload: Any) -> range:
    start, stop, step = payload
    return range(start, stop, step)


def _base64(value: bytes | bytearray) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


def _bytes(cls: type, payload: Any) -> Any:
    return cls(binascii.a2b_base64(_of(str, payload), strict_mode=True))


def _from_text(cls: type, payload: Any) -> Any:
    return cls(_of(str, payload))


def _of(cls: type, payload: Any) -> Any:
    if type(payload) is not cls:
        raise TypeError(payload)
    return payload


# -- time ------------------------------------------------------------------------------------------


def _date(_: type, payload: Any) -> date:
    return date.fromisoformat(payload)


def _moment(value: datetime | time) -> Any:
    """Write ISO text where it says everything, else ``[text without zone, zone, fold]``."""
    zone, fold = value.tzinfo, value.fold
    if not fold and (zone is None or (type(zone) is timezone and not _zone_name(zone))):
        return value.isoformat()
    return [value.replace(tzinfo=None, fold=0).isoformat(), zone, fold]


def _moment_back(cls: Any, payload: Any) -> Any:
    if type(payload) is str:
        return cls.fromisoformat(payload)
    text, zone, fold = payload
    return cls.fromisoformat(text).replace(tzinfo=zone, fold=fold)


def _zone_name(zone: timezone) -> tuple[str, ...]:
    return zone.__getinitargs__()[1:]  # type: ignore[attr-defined, no-any-return]


def _timezone(value: timezone) -> Any:
    return [value.utcoffset(None), *_zone_name(value)]


def _timezone_back(cls: type, payload: Any) -> Any:
    offset, *name = payload
    return cls(_of(timedelta, offset), *name)


def _zoneinfo(value: Any) -> str:
    if value.key is None:
        raise Refused("zoneinfo.ZoneInfo", "this time zone has no key; make it with ZoneInfo('Region/City')")
    return str(value.key)


def _zoneinfo_back(cls: type, payload: Any) -> Any:
    if not _ZONE_KEY.match(_of(str, payload)):
        raise ValueError(payload)
    return cls(payload)


def _timedelta(cls: type, payload: Any) -> Any:
    days, seconds, microseconds = payload
    return cls(days=_of(int, days), seconds=_of(int, seconds), microseconds=_of(int, microseconds))


# -- paths -----------------------------------------------------------------------------------------


def _path(value: Any) -> list[str]:
    cls, text = type(value), str(value)
    if cls(text) != value:
        raise Refused(f"pathlib.{cls.__name__}", "this path does not survive being written as text")
    return [cls.__name__, text]


def _path_back(_: type, payload: Any) -> Any:
    name, text = payload
    if name not in _PATHS:
        raise ValueError(name)
    return getattr(import_module("pathlib"), name)(_of(str, text))


_PATHS: Final = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")


def _form(tag: str, where: str, encode: Callable[[Any], Any], decode: Callable[[type, Any], Any]) -> Form:
    module, _, name = where.rpartition(".")
    return Form(tag=tag, module=module, name=name, encode=encode, decode=decode)


FORMS: Final = (
    _form("int", "builtins.int", integer_text, _integer),
    _form("float", "builtins.float", float.__repr__, _float),
    _form("str", "builtins.str", surrogate_parts, _joined),
    _form("complex", "builtins.complex", lambda value: [value.real, value.imag], _complex),
    _form("bytes", "builtins.bytes", _base64, _bytes),
    _form("bytearray", "builtins.bytearray", _base64, _bytes),
    _form("range", "builtins.range", lambda value: [value.start, value.stop, value.step], _range),
    _form("datetime", "datetime.datetime", _moment, _moment_back),
    _form("time", "datetime.time", _moment, _moment_back),
    _form("date", "datetime.date", date.isoformat, _date),
    _form("timedelta", "datetime.timedelta", lambda d: [d.days, d.seconds, d.microseconds], _timedelta),
    _form("timezone", "datetime.timezone", _timezone, _timezone_back),
    _form("zoneinfo", "zoneinfo.ZoneInfo", _zoneinfo, _zoneinfo_back),
    _form("decimal", "decimal.Decimal", str, _from_text),
    _form("fraction", "fractions.Fraction", lambda value: [value.numerator, value.denominator], _fraction),
    _form("uuid", "uuid.UUID", str, _from_text),
    *(_form("path", f"pathlib.{name}", _path, _path_back) for name in _PATHS),
)

BY_TAG: Final = {form.tag: form for form in FORMS}
_BY_NAME: Final = {form.name: form for form in FORMS}


def find(cls: type) -> Form | None:
    """Return the form of exactly this type."""
    form = _BY_NAME.get(cls.__name__)
    return form if form is not None and form.loaded() is cls else None
