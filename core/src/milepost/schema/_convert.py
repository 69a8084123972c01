"""From JSON, or from a dict of Python values, to values of a declared type."""

from __future__ import annotations

import json
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from milepost.errors import describe
from milepost.schema._plain import enum_forms, plain
from milepost.schema._scalars import Scalar, scalar_of
from milepost.schema._shapes import (
    LISTS,
    MAPPINGS,
    MISSING,
    SETS,
    fields_of,
    is_union,
    kind_of,
    origin_of,
    unwrapped,
)
from milepost.schema._unfit import Unfit, shown

if TYPE_CHECKING:
    from collections.abc import Callable


class Converter:
    """Makes values of declared types. With ``plain_only`` they come from JSON and nothing else.

    Otherwise instances of the declared classes are taken as they are.
    """

    def __init__(self, *, plain_only: bool) -> None:
        self._plain_only = plain_only

    def convert(self, annotation: Any, value: Any, path: str = "$") -> Any:
        """Return the value as the annotation has it.

        Raises:
            Unfit: it does not fit, or a class refused it.
        """
        if annotation is Any or annotation is object:
            return value
        origin = origin_of(annotation)
        scalar = scalar_of(type(None) if annotation is None else annotation)
        if scalar is not None:
            return self._scalar(annotation, scalar, value, path)
        kind = kind_of(origin)
        if kind is not None:
            return self._class(kind, annotation, value, path)
        behind = unwrapped(annotation)
        return (
            self._generic(annotation, value, path) if behind is MISSING else self.convert(behind, value, path)
        )

    def _scalar(self, annotation: Any, scalar: Scalar, value: Any, path: str) -> Any:
        if not self._plain_only and _is_exactly(value, annotation):
            return value
        try:
            return scalar.read(value)
        except (ValueError, ArithmeticError) as error:
            raise Unfit(path, _wanted(annotation), shown(value)) from error

    # -- forms ---------------------------------------------------------------------------------------------------

    def _generic(self, annotation: Any, value: Any, path: str) -> Any:
        origin, args = origin_of(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return self.convert(args[0], value, path)
        if origin is typing.Literal:
            return _chosen([(option, plain(option)) for option in args], annotation, value, path)
        make = self._union if is_union(annotation) else self._container(origin)
        if make is not None:
            return make(annotation, args, value, path)
        if isinstance(origin, type) and not isinstance(value, origin):
            raise Unfit(path, _wanted(annotation), shown(value))
        return value

    def _container(self, origin: Any) -> Callable[[Any, Any, Any, str], Any] | None:
        if origin is tuple:
            return self._tuple
        return (
            self._mapping
            if origin in MAPPINGS
            else self._items
            if origin in LISTS or origin in SETS
            else None
        )

    def _union(self, annotation: Any, options: tuple[Any, ...], value: Any, path: str) -> Any:
        """The option whose own type the value has; else the first that fits, in the order written."""
        refused = []
        for option in sorted(options, key=lambda option: not _is_exactly(value, option)):
            try:
                return self.convert(option, value, path)
            except Unfit as unfit:
                refused.append(unfit)
        real = [unfit for unfit, option in zip(refused, options, strict=False) if option is not type(None)]
        if len(real) == 1 and value is not None:
            raise real[0]
        raise Unfit(path, _wanted(annotation), shown(value))

    def _items(self, annotation: Any, args: tuple[Any, ...], value: Any, path: str) -> Any:
        origin = origin_of(annotation)
        make = LISTS.get(origin) or SETS[origin]
        items = self._sequence(annotation, value, path)
        kind = args[0] if args else Any
        try:
            return make([self.convert(kind, item, f"{path}[{number}]") for number, item in enumerate(items)])
        except TypeError as error:  # items of a set that have no hash
            raise Unfit(path, _wanted(annotation), str(error)) from error

    def _sequence(self, annotation: Any, value: Any, path: str) -> list[Any]:
        kinds = (list,) if self._plain_only else (list, tuple, set, frozenset, *LISTS)
        if not isinstance(value, kinds) or isinstance(value, str | bytes | Mapping):
            raise Unfit(path, _wanted(annotation), shown(value))
        return list(value)

    def _tuple(self, annotation: Any, args: tuple[Any, ...], value: Any, path: str) -> Any:
        items = self._sequence(annotation, value, path)
        if annotation in {tuple, typing.Tuple} or (len(args) == 2 and args[1] is Ellipsis):  # noqa: PLR2004, UP006
            args = tuple(args[:1] or (Any,)) * len(items)
        if len(items) != len(args):
            raise Unfit(path, f"{len(args)} items", shown(value))
        parts = zip(args, items, strict=True)
        return tuple(self.convert(arg, item, f"{path}[{n}]") for n, (arg, item) in enumerate(parts))

    def _mapping(self, annotation: Any, args: tuple[Any, ...], value: Any, path: str) -> Any:
        if not isinstance(value, Mapping):
            raise Unfit(path, _wanted(annotation), shown(value))
        keys, values = args or (Any, Any)
        return MAPPINGS[origin_of(annotation)](
            (self._key(keys, key, path), self.convert(values, item, f"{path}.{key}"))
            for key, item in value.items()
        )

    def _key(self, annotation: Any, key: Any, path: str) -> Any:
        """JSON has only strings for keys."""
        if annotation is int and isinstance(key, str):
            try:
                return int(key)
            except ValueError as error:
                raise Unfit(path, "keys that are integers", shown(key)) from error
        return self.convert(annotation, key, path)

    # -- classes -------------------------------------------------------------------------------------------------

    def _class(self, kind: str, annotation: Any, value: Any, path: str) -> Any:
        cls = origin_of(annotation)
        if kind == "enum":
            return _chosen([*enum_forms(cls).items()], annotation, value, path)
        if kind != "typeddict" and not self._plain_only and isinstance(value, cls):
            return value
        make = {"model": self._model, "struct": _struct, "namedtuple": self._namedtuple}.get(
            kind, self._object
        )
        try:
            return make(annotation, value, path)
        except Unfit:
            raise
        except Exception as error:
            # What code of the user's raises about a value means that it does not fit.
            raise Unfit(path, _wanted(annotation), f"{shown(value)}, which it refused: {error}") from error

    def _model(self, annotation: Any, value: Any, _path: str) -> Any:
        import pydantic

        adapter = pydantic.TypeAdapter(annotation)
        if self._plain_only:  # a model's strict mode takes from JSON what it does not take from Python
            return adapter.validate_json(json.dumps(value))
        return adapter.validate_python(value)

    def _namedtuple(self, annotation: Any, value: Any, path: str) -> Any:
        fields = fields_of(annotation)
        if isinstance(value, Mapping):
            return self._object(annotation, value, path)
        items = self._sequence(annotation, value, path)
        if len(items) > len(fields):
            raise Unfit(path, f"at most {len(fields)} items", shown(value))
        named = {field.name: item for field, item in zip(fields, items, strict=False)}
        return self._object(annotation, named, path)

    def _object(self, annotation: Any, value: Any, path: str) -> Any:
        if not isinstance(value, Mapping):
            raise Unfit(path, _wanted(annotation), shown(value))
        fields = {field.name: field for field in fields_of(annotation)}
        if unknown := [key for key in value if key not in fields]:
            raise Unfit(path, f"{_wanted(annotation)}, which has no {unknown[0]!r}", shown(value))
        if missing := [name for name, field in fields.items() if field.required and name not in value]:
            raise Unfit(path, f"{_wanted(annotation)}, which needs {missing[0]!r}", shown(value))
        parts = {
            key: self.convert(fields[key].annotation, item, f"{path}.{key}") for key, item in value.items()
        }
        return origin_of(annotation)(**parts)


def _struct(annotation: Any, value: Any, _path: str) -> Any:
    import msgspec

    return msgspec.convert(value, annotation)


def _chosen(options: list[tuple[Any, Any]], annotation: Any, value: Any, path: str) -> Any:
    """Return the option that the value is, or whose JSON form it is; ``1``, ``1.0`` and ``True`` are told apart."""
    for option, form in options:
        if value is option or (type(form) is type(value) and form == value):
            return option
    expected = ", ".join(repr(form) for _, form in options)
    raise Unfit(path, f"one of {expected}" if options else _wanted(annotation), shown(value))


def _is_exactly(value: Any, annotation: Any) -> bool:
    return isinstance(annotation, type) and type(value) is annotation


def _wanted(annotation: Any) -> str:
    """Name what was wanted: the class, or the annotation as it is written."""
    if typing.get_origin(annotation) is None and isinstance(annotation, type):
        return describe(annotation)
    return str(annotation).replace("typing.", "")
