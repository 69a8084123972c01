"""Values of Python as JSON has them: what an answer is before it is compared with a schema."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from milepost.errors import describe
from milepost.schema._scalars import scalar_of
from milepost.schema._shapes import fields_of, kind_of
from milepost.schema._unfit import Unfit

if TYPE_CHECKING:
    from enum import Enum

_PLAIN: Final = frozenset({bool, int, str, type(None)})


def plain(value: Any, path: str = "$") -> Any:
    """Return a value as JSON has it: scalars, lists, and dicts with string keys.

    Dataclasses, models, structs and typed dicts become objects, named tuples and sets arrays, members of enums their
    values (their names where a value is no scalar), times and the like ISO 8601 text, bytes base64.

    Raises:
        Unfit: a part has no JSON form.
    """
    cls = type(value)
    if cls in _PLAIN:
        return value
    scalar = scalar_of(cls)
    try:
        if scalar is not None:
            return scalar.write(value)
        kind = kind_of(cls)
        if kind in _OF_KIND:
            return _OF_KIND[kind](value, path)
    except ValueError as error:
        raise Unfit(path, "what JSON can say", str(error)) from error
    return _container(value, path)


def _container(value: Any, path: str) -> Any:
    if isinstance(value, Mapping):
        return {_key(key, path): plain(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple | deque):
        return [plain(item, f"{path}[{number}]") for number, item in enumerate(value)]
    if isinstance(value, AbstractSet):
        return sorted((plain(item, f"{path}[…]") for item in value), key=json.dumps)
    for base in (str, int, float):
        if isinstance(value, base):
            return plain(base(value), path)
    raise Unfit(path, "what JSON can say", describe(type(value)))


def _key(key: Any, path: str) -> str:
    if type(key) is int:
        return str(key)
    text = plain(key, path)
    if type(text) is not str:
        raise Unfit(path, "keys that JSON can say", repr(key))
    return text


def enum_forms(cls: Any) -> dict[Any, Any]:
    """Return the members of an enum and their JSON forms: values where all are scalars, else names."""
    members = {member: member.value for member in cls}
    if all(type(value) in _PLAIN or type(value) is float for value in members.values()):
        return members
    return {member: member.name for member in cls}


def _enum(value: Enum, _path: str) -> Any:
    return enum_forms(type(value)).get(value, value.value)  # a combination of flags is no member


def _fields(value: Any, path: str) -> dict[str, Any]:
    present = (field.name for field in fields_of(type(value)) if hasattr(value, field.name))
    return {name: plain(getattr(value, name), f"{path}.{name}") for name in present}


def _model(value: Any, _path: str) -> Any:
    import pydantic

    return pydantic.TypeAdapter(type(value)).dump_python(value, mode="json", by_alias=True)


def _struct(value: Any, path: str) -> Any:
    import msgspec

    try:
        return msgspec.to_builtins(value, str_keys=True)
    except TypeError as error:
        raise Unfit(path, "what JSON can say", str(error)) from error


_OF_KIND: Final[dict[str | None, Any]] = {
    "enum": _enum,
    "dataclass": _fields,
    "model": _model,
    "struct": _struct,
}
