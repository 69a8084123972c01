"""Frozen keyword-only records that cost nothing to define.

A dataclass compiles six methods when its class is made: half a millisecond each, and fifty records made up half of what
``import milepost`` cost. These share their methods.
"""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar, dataclass_transform

_set = object.__setattr__


@dataclass_transform(kw_only_default=True, frozen_default=True)
class _StructType(type):
    """Turns a class's annotations into its fields, and their defaults into defaults."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> _StructType:
        annotations = namespace.get("__annotations__", {})
        fields = [field for field, kind in annotations.items() if not str(kind).startswith("ClassVar")]
        defaults = {field: namespace.pop(field) for field in fields if field in namespace}
        made = super().__new__(cls, name, bases, {"__slots__": tuple(fields), **namespace})
        base = bases[0] if bases else object
        inherited = getattr(base, "__struct_fields__", ())
        made.__struct_fields__ = (*inherited, *fields)  # type: ignore[attr-defined]  # declared on Struct
        made.__struct_defaults__ = getattr(base, "__struct_defaults__", {}) | defaults  # type: ignore[attr-defined]  # likewise
        return made


class Struct(metaclass=_StructType):
    """The base of all records: annotate the fields, give defaults that nobody changes."""

    __struct_fields__: ClassVar[tuple[str, ...]]
    __struct_defaults__: ClassVar[dict[str, Any]]

    def __init__(self, **given: Any) -> None:
        values = {**self.__struct_defaults__, **given}
        try:
            for field in self.__struct_fields__:
                _set(self, field, values[field])
        except KeyError as error:
            raise TypeError(f"{type(self).__name__} needs {error}") from None
        if len(values) != len(self.__struct_fields__):
            unknown = sorted(values.keys() - set(self.__struct_fields__))
            raise TypeError(f"{type(self).__name__} has no field {', '.join(unknown)}")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name!r} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name!r} cannot be deleted")

    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field) for field in self.__struct_fields__)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def __repr__(self) -> str:
        shown = (f"{field}={getattr(self, field)!r}" for field in self.__struct_fields__)
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(zip(self.__struct_fields__, self._values(), strict=True)))


S = TypeVar("S", bound=Struct)


def replace(record: S, /, **changes: Any) -> S:
    """Return a copy of a record with other values in some fields."""
    return type(record)(**dict(zip(record.__struct_fields__, record._values(), strict=True)) | changes)  # noqa: SLF001


def _rebuild(kind: type[S], values: dict[str, Any]) -> S:
    return kind(**values)
