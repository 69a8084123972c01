"""What annotations are made of: kinds of classes, their fields, and the parts of generic types."""

from __future__ import annotations

import collections
import collections.abc
import sys
import types
import typing
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from milepost._struct import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

MISSING: Final = object()

LISTS: Final[dict[Any, Any]] = {
    list: list,
    collections.deque: collections.deque,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
}
SETS: Final[dict[Any, Any]] = {
    set: set,
    frozenset: frozenset,
    collections.abc.Set: frozenset,
    collections.abc.MutableSet: set,
}
MAPPINGS: Final[dict[Any, Any]] = {
    dict: dict,
    collections.OrderedDict: collections.OrderedDict,
    collections.abc.Mapping: dict,
    collections.abc.MutableMapping: dict,
}
_QUALIFIERS: Final = frozenset({"Required", "NotRequired", "ReadOnly", "Final", "ClassVar"})


class Field(Struct):
    """A field of a class; ``default`` is MISSING where there is none, or where only a call gives it."""

    name: str
    annotation: Any
    required: bool
    default: Any = MISSING


def kind_of(cls: Any) -> str | None:
    """Return ``enum``, ``model``, ``struct``, ``dataclass``, ``namedtuple`` or ``typeddict``; None for other classes.

    A ``model`` is what pydantic validates: its models and its dataclasses; a ``struct`` is msgspec's.
    """
    if not isinstance(cls, type):
        return None
    tests = {
        "enum": issubclass(cls, Enum),
        "model": hasattr(cls, "__pydantic_validator__"),
        "struct": hasattr(cls, "__struct_config__"),
        "dataclass": hasattr(cls, "__dataclass_fields__"),
        "namedtuple": issubclass(cls, tuple) and hasattr(cls, "_field_defaults"),
        "typeddict": hasattr(cls, "__required_keys__") and hasattr(cls, "__total__"),
    }
    return next((kind for kind, holds in tests.items() if holds), None)


def origin_of(annotation: Any) -> Any:
    """Return the class or form behind a generic alias; the annotation itself where there is none."""
    return typing.get_origin(annotation) or annotation


def is_union(annotation: Any) -> bool:
    """Tell whether an annotation is ``A | B``, in either spelling."""
    return typing.get_origin(annotation) in {typing.Union, types.UnionType}


def unwrapped(annotation: Any) -> Any:
    """Return what stands behind a NewType, a type alias or a type variable; MISSING where it is none of them.

    An unbound type variable may be anything.
    """
    if isinstance(annotation, typing.TypeVar):
        if annotation.__constraints__:
            return typing.Union[annotation.__constraints__]  # noqa: UP007 - a union of any number
        return Any if annotation.__bound__ is None else annotation.__bound__
    if hasattr(annotation, "__supertype__"):
        return annotation.__supertype__
    alias = origin_of(annotation)
    if hasattr(alias, "__value__"):
        return substituted(alias.__value__, bindings(annotation))
    return MISSING


def bindings(annotation: Any) -> dict[Any, Any]:
    """Return what the type variables of a generic class or alias stand for here."""
    cls = origin_of(annotation)
    parameters = getattr(cls, "__parameters__", ()) or getattr(cls, "__type_params__", ())
    return dict(zip(parameters, typing.get_args(annotation), strict=False))


def substituted(annotation: Any, bound: Mapping[Any, Any]) -> Any:
    """Return an annotation with its type variables replaced."""
    if not bound:
        return annotation
    if isinstance(annotation, typing.TypeVar):
        return bound.get(annotation, annotation)
    parameters = getattr(annotation, "__parameters__", ())
    if parameters and not isinstance(annotation, type):
        return annotation[tuple(bound.get(parameter, parameter) for parameter in parameters)]
    return annotation


def fields_of(annotation: Any) -> tuple[Field, ...]:
    """Return the fields of a dataclass (those that its constructor takes), named tuple or TypedDict, in order."""
    cls, bound = origin_of(annotation), bindings(annotation)
    hints = _hints(cls)
    return tuple(_FIELDS[kind_of(cls) or ""](cls, {name: substituted(a, bound) for name, a in hints.items()}))


def _dataclass(cls: Any, hints: Mapping[str, Any]) -> list[Field]:
    import dataclasses

    found = []
    for field in dataclasses.fields(cls):
        made = field.default_factory is not dataclasses.MISSING
        default = MISSING if field.default is dataclasses.MISSING else field.default
        if field.init:
            annotation = _stripped(hints.get(field.name, Any))[0]
            required = default is MISSING and not made
            found.append(Field(name=field.name, annotation=annotation, required=required, default=default))
    return found


def _namedtuple(cls: Any, hints: Mapping[str, Any]) -> list[Field]:
    defaults = cls._field_defaults
    return [
        Field(
            name=name,
            annotation=hints.get(name, Any),
            required=name not in defaults,
            default=defaults.get(name, MISSING),
        )
        for name in cls._fields
    ]


def _typeddict(cls: Any, hints: Mapping[str, Any]) -> list[Field]:
    found = []
    for name, hint in hints.items():
        annotation, qualifiers = _stripped(hint)
        # A postponed annotation is text when the class is made, so the class does not see what qualifies it.
        required = "NotRequired" not in qualifiers and (
            "Required" in qualifiers or name in cls.__required_keys__
        )
        found.append(Field(name=name, annotation=annotation, required=required))
    return found


_FIELDS: Final = {"dataclass": _dataclass, "namedtuple": _namedtuple, "typeddict": _typeddict}


def _stripped(annotation: Any) -> tuple[Any, list[str]]:
    qualifiers = []
    while (name := getattr(typing.get_origin(annotation), "_name", None)) in _QUALIFIERS:
        qualifiers.append(str(name))
        annotation = typing.get_args(annotation)[0]
    return annotation, qualifiers


def _hints(cls: Any) -> dict[str, Any]:
    """Return the resolved annotations of a class's fields; one that cannot be resolved stands for itself."""
    own = {cls.__name__: cls}
    try:
        return typing.get_type_hints(cls, localns=own, include_extras=True)
    except Exception:  # noqa: BLE001 - an annotation is any expression; each is then tried alone
        import inspect

        found: dict[str, Any] = {}
        for base in reversed(cls.__mro__):
            scope = {**getattr(sys.modules.get(base.__module__), "__dict__", {}), **own}
            for name, annotation in inspect.get_annotations(base).items():
                found[name] = _hint(name, annotation, scope)
        return found


def _hint(name: str, annotation: Any, scope: dict[str, Any]) -> Any:
    alone = types.SimpleNamespace(__annotations__={name: annotation})
    try:
        return typing.get_type_hints(alone, globalns=scope, include_extras=True)[name]
    except Exception:  # noqa: BLE001 - as above
        return annotation
