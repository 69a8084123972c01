"""Classes of users that the codec takes apart by itself: dataclasses, enums, named tuples, models, structs.

Each kind gives its parts as plain data and is made of them again. Constructors are not run, so that what
comes back is what was kept; the one exception is ``__post_init__`` of a msgspec Struct, which cannot be made
without it.
"""

from __future__ import annotations

import sys
import typing
from enum import Enum, EnumMeta
from functools import cached_property, lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Parts = tuple[Any, ...]
"""What a value consists of: fields as a dict, then what is beside the fields, if anything, as another."""

_MISSING: Final = object()
_UNSET: Final = object()
"""A field that is not set and has no default: it stays unset."""


class Kind:
    """A kind of class. ``tag`` names it in the record."""

    tag: str = ""

    def pack(self, value: Any) -> Parts:
        """Take a value apart."""
        raise NotImplementedError

    def unpack(self, cls: Any, parts: Parts) -> Any:
        """Make a value of its decoded parts. Any exception means that the record does not fit the class."""
        raise NotImplementedError

    def annotations(self, cls: Any) -> Iterable[Any]:
        """Return the annotations of the fields, resolved as far as they can be."""
        raise NotImplementedError


class _EnumKind(Kind):
    """A member by its name; a combination of flags, which has none, by its value."""

    tag = "enum"

    def pack(self, value: Any) -> Parts:
        if type(value).__members__.get(value._name_) is value:
            return (value._name_,)
        return (value._value_,)

    def unpack(self, cls: Any, parts: Parts) -> Any:
        (key,) = parts
        return cls.__members__[key] if type(key) is str else cls(key)

    def annotations(self, cls: Any) -> Iterable[Any]:  # noqa: ARG002 - members have no annotations
        return ()


class _NamedTupleKind(Kind):
    tag = "namedtuple"

    def pack(self, value: Any) -> Parts:
        return _with_rest(dict(zip(value._fields, value, strict=True)), value)

    def unpack(self, cls: Any, parts: Parts) -> Any:
        fields, rest = _split(parts)
        defaults = cls._field_defaults
        values = _complete(cls, fields, {name: defaults.get(name, _MISSING) for name in cls._fields})
        made = tuple.__new__(cls, values.values())
        return _set_rest(made, rest)

    def annotations(self, cls: Any) -> Iterable[Any]:
        return _resolve(cls, cls._fields)


class _DataclassKind(Kind):
    tag = "dataclass"

    def pack(self, value: Any) -> Parts:
        present = ((name, getattr(value, name, _MISSING)) for name in type(value).__dataclass_fields__)
        cls: Any = type(value)
        names = _dataclass_names(cls)
        return _with_rest(
            {name: item for name, item in present if name in names and item is not _MISSING}, value
        )

    def unpack(self, cls: Any, parts: Parts) -> Any:
        fields, rest = _split(parts)
        specs = {name: cls.__dataclass_fields__[name] for name in _dataclass_names(cls)}
        values = _complete(cls, fields, specs, default=_dataclass_default)
        made = object.__new__(cls)
        for name, item in values.items():
            if item is not _UNSET:
                object.__setattr__(made, name, item)
        return _set_rest(made, rest)

    def annotations(self, cls: Any) -> Iterable[Any]:
        return _resolve(cls, _dataclass_names(cls))


class _ModelKind(Kind):
    """A pydantic model: its fields as they are, not dumped and validated again."""

    tag = "model"

    def pack(self, value: Any) -> Parts:
        names = type(value).model_fields
        fields = {name: item for name, item in value.__dict__.items() if name in names}
        rest: dict[str, Any] = {}
        if beside := _beside(value, fields):
            rest["beside"] = beside
        if (chosen := value.__pydantic_fields_set__) != set(fields):
            rest["set"] = sorted(chosen)
        for name in ("extra", "private"):
            if more := getattr(value, f"__pydantic_{name}__"):
                rest[name] = more
        return (fields, rest) if rest else (fields,)

    def unpack(self, cls: Any, parts: Parts) -> Any:
        fields, rest = _split(parts)
        values = _complete(cls, fields, cls.model_fields, default=_model_default)
        made = object.__new__(cls)
        state = {
            "__dict__": {**values, **rest.get("beside", {})},
            "__pydantic_fields_set__": set(rest.get("set", fields)),
            "__pydantic_extra__": rest.get("extra", {} if cls.model_config.get("extra") == "allow" else None),
            "__pydantic_private__": rest.get("private", {} if cls.__private_attributes__ else None),
        }
        for name, item in state.items():
            object.__setattr__(made, name, item)
        return made

    def annotations(self, cls: Any) -> Iterable[Any]:
        return [field.annotation for field in cls.model_fields.values()]


class _StructKind(Kind):
    tag = "struct"

    def pack(self, value: Any) -> Parts:
        return _with_rest({name: getattr(value, name) for name in value.__struct_fields__}, value)

    def unpack(self, cls: Any, parts: Parts) -> Any:
        import copy

        from msgspec import structs

        fields, rest = _split(parts)
        values = _complete(
            cls, fields, {spec.name: spec for spec in structs.fields(cls)}, default=_struct_default
        )
        # __post_init__ gets a copy to work on, in case it changes a field or what is in it
        made = cls(**(copy.deepcopy(values) if hasattr(cls, "__post_init__") else values))
        for name, item in values.items():
            structs.force_setattr(made, name, item)
        return _set_rest(made, rest)

    def annotations(self, cls: Any) -> Iterable[Any]:
        return _resolve(cls, cls.__struct_fields__)


ENUM: Final = _EnumKind()
KINDS: Final = {
    kind.tag: kind for kind in (ENUM, _NamedTupleKind(), _DataclassKind(), _ModelKind(), _StructKind())
}


@lru_cache(maxsize=1024)
def kind_of(cls: type) -> Kind | None:
    """Return the kind of a class, or None where the codec cannot take it apart."""
    if isinstance(cls, EnumMeta):
        return ENUM if issubclass(cls, Enum) else None
    if _is_loaded_subclass(cls, "pydantic.main", "BaseModel"):
        return KINDS["model"]
    if _is_loaded_subclass(cls, "msgspec", "Struct"):
        return KINDS["struct"]
    if cls.__base__ is tuple and hasattr(cls, "_fields") and hasattr(cls, "_field_defaults"):
        return KINDS["namedtuple"]
    if hasattr(cls, "__dataclass_fields__") and _is_plain_object(cls):
        return KINDS["dataclass"]
    base = cls.__base__
    return KINDS["namedtuple"] if base is not None and kind_of(base) is KINDS["namedtuple"] else None


def is_typed_dict(cls: type) -> bool:
    """Tell whether a class is a TypedDict, of typing or typing_extensions."""
    return issubclass(cls, dict) and hasattr(cls, "__required_keys__") and hasattr(cls, "__total__")


def typed_dict_annotations(cls: Any) -> Iterable[Any]:
    """Return the annotations of a TypedDict's keys."""
    return _resolve(cls, [*cls.__required_keys__, *cls.__optional_keys__])


def _is_loaded_subclass(cls: type, module: str, name: str) -> bool:
    base = getattr(sys.modules.get(module), name, None)
    return isinstance(base, type) and issubclass(cls, base)


def _is_plain_object(cls: type) -> bool:
    """Tell whether instances are laid out as objects: no subclass of dict, Exception or another built-in."""
    try:
        object.__new__(cls)
    except TypeError:
        return False
    return True


@lru_cache(maxsize=1024)
def _dataclass_names(cls: Any) -> tuple[str, ...]:
    import dataclasses

    return tuple(field.name for field in dataclasses.fields(cls))


# -- defaults of fields that a record lacks --------------------------------------------------------


def _dataclass_default(field: Any) -> Any:
    import dataclasses

    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    if field.default is not dataclasses.MISSING:
        return field.default
    return _MISSING if field.init else _UNSET


def _model_default(field: Any) -> Any:
    return _MISSING if field.is_required() else field.get_default(call_default_factory=True)


def _struct_default(spec: Any) -> Any:
    from msgspec import NODEFAULT

    if spec.default_factory is not NODEFAULT:
        return spec.default_factory()
    return _MISSING if spec.default is NODEFAULT else spec.default


def _complete(
    cls: type, fields: Mapping[str, Any], specs: Mapping[str, Any], *, default: Any = lambda value: value
) -> dict[str, Any]:
    """Return a value for each field of the class, in its order: what was recorded, else the default."""
    if unknown := fields.keys() - specs.keys():
        raise ValueError(f"{cls.__qualname__} has no field {', '.join(sorted(unknown))}")
    values = {name: fields[name] if name in fields else default(spec) for name, spec in specs.items()}
    if missing := [name for name, value in values.items() if value is _MISSING]:
        raise ValueError(
            f"the record has no field {', '.join(missing)}, and {cls.__qualname__} gives no default"
        )
    return values


# -- what is beside the fields ---------------------------------------------------------------------


def _beside(value: Any, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes that are no fields, without what is computed again when it is asked for."""
    cls = type(value)
    return {
        name: item
        for name, item in getattr(value, "__dict__", {}).items()
        if name not in fields
        and name != "__orig_class__"
        and not isinstance(getattr(cls, name, None), cached_property)
    }


def _with_rest(fields: dict[str, Any], value: Any) -> Parts:
    rest = _beside(value, fields)
    return (fields, rest) if rest else (fields,)


def _split(parts: Parts) -> tuple[dict[str, Any], dict[str, Any]]:
    fields, rest = parts if len(parts) > 1 else (*parts, {})
    if type(fields) is not dict or type(rest) is not dict:
        raise TypeError("a record's fields are a mapping")
    return fields, rest


def _set_rest(made: Any, rest: dict[str, Any]) -> Any:
    if rest:
        made.__dict__.update(rest)
    return made


# -- annotations -----------------------------------------------------------------------------------


def _resolve(cls: type, names: Iterable[str]) -> list[Any]:
    """Return the resolved annotations of these fields, without those that name what is not there at run time."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is any expression; each is then tried alone
        hints = {}
        for base in reversed(cls.__mro__):
            hints.update(_resolve_each(base))
    return [hints[name] for name in names if name in hints]


def _resolve_each(base: type) -> dict[str, Any]:
    import inspect

    scope = {**getattr(sys.modules.get(base.__module__), "__dict__", {}), base.__name__: base}
    found: dict[str, Any] = {}
    for name, annotation in inspect.get_annotations(base).items():
        alone = SimpleNamespace(__annotations__={name: annotation})
        try:
            found.update(typing.get_type_hints(alone, globalns=scope, include_extras=True))
        except Exception:  # noqa: BLE001, S112 - as above
            continue
    return found
