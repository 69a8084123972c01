"""From annotations to JSON Schema (draft 2020-12)."""

from __future__ import annotations

import re
import typing
from typing import Any, Final

from milepost.errors import describe as name_of
from milepost.schema._plain import enum_forms, plain
from milepost.schema._scalars import scalar_of
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
from milepost.schema._unfit import Undescribable, Unfit

Schema = dict[str, Any]

_PLACE: Final = "#/$defs/"
_BOUNDS: Final = {
    "gt": "exclusiveMinimum",
    "ge": "minimum",
    "lt": "exclusiveMaximum",
    "le": "maximum",
    "multiple_of": "multipleOf",
    "pattern": "pattern",
    "title": "title",
    "description": "description",
}
_LENGTHS: Final = {"string": "Length", "array": "Items", "object": "Properties"}
_ANNOTATING: Final = frozenset({"annotated_types", "msgspec", "pydantic"})


class Describer:
    """Describes annotations; classes are described once and then referred to.

    ``strict`` refuses what cannot be described, which is otherwise ``{}``: anything.
    """

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self._defs: dict[str, Schema] = {}
        self._named: dict[Any, str] = {}

    def root(self, annotation: Any, title: str | None) -> Schema:
        """Return the whole schema of an annotation.

        Raises:
            Undescribable: in strict mode, a type has no JSON form.
        """
        schema = self.describe(annotation)
        name = schema.get("$ref", "").removeprefix(_PLACE)
        if list(schema) == ["$ref"] and not _refers(self._defs, schema["$ref"]):
            schema = self._defs.pop(name)
        if title is not None and "title" not in schema:
            schema = {"title": title, **schema}
        return {**schema, "$defs": self._defs} if self._defs else schema

    def describe(self, annotation: Any) -> Schema:
        """Return the schema of an annotation, which may refer to the definitions."""
        if annotation is Any or annotation is object:
            return {}
        if annotation is None:
            return {"type": "null"}
        scalar = scalar_of(annotation)
        if scalar is not None:
            return {**scalar.schema}
        if hasattr(origin_of(annotation), "__value__") or kind_of(origin_of(annotation)) is not None:
            return self._reference(annotation)
        behind = unwrapped(annotation)
        return self._generic(annotation) if behind is MISSING else self.describe(behind)

    def _generic(self, annotation: Any) -> Schema:
        origin, args = origin_of(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return _constrained(self.describe(args[0]), args[1:])
        if is_union(annotation):
            return {"anyOf": [self.describe(arg) for arg in args]}
        if origin is typing.Literal:
            return self._literal(args)
        for table, make in ((LISTS, self._list), (SETS, self._set), (MAPPINGS, self._mapping)):
            if origin in table:
                return make(args)
        if origin is tuple:
            return self._tuple(annotation, args)
        return self._refused(annotation)

    def _refused(self, annotation: Any) -> Schema:
        if self._strict:
            raise Undescribable(f"{name_of(annotation)} has no form in JSON that could be checked")
        return {}

    # -- containers ----------------------------------------------------------------------------------------------

    def _literal(self, options: tuple[Any, ...]) -> Schema:
        try:
            return {"enum": [plain(option) for option in options]}
        except Unfit:
            return self._refused(typing.Literal)

    def _list(self, args: tuple[Any, ...]) -> Schema:
        items = self.describe(args[0]) if args else {}
        return {"type": "array", "items": items} if items else {"type": "array"}

    def _set(self, args: tuple[Any, ...]) -> Schema:
        return {**self._list(args), "uniqueItems": True}

    def _tuple(self, annotation: Any, args: tuple[Any, ...]) -> Schema:
        if annotation in {tuple, typing.Tuple} or (len(args) == 2 and args[1] is Ellipsis):  # noqa: PLR2004, UP006
            return self._list(args[:1])
        schema: Schema = {"type": "array", "minItems": len(args), "maxItems": len(args)}
        return {**schema, "prefixItems": [self.describe(arg) for arg in args]} if args else schema

    def _mapping(self, args: tuple[Any, ...]) -> Schema:
        key, value = args or (str, Any)
        schema: Schema = {"type": "object"}
        keys = self._keys(key)
        if keys:
            schema["propertyNames"] = keys
        values = self.describe(value)
        if values:
            schema["additionalProperties"] = values
        return schema

    def _keys(self, annotation: Any) -> Schema:
        """Describe what keys are, beside being strings."""
        if annotation in {str, Any}:
            return {}
        if annotation is int:
            return {"pattern": "^-?\\d+$"}
        schema = self.describe(annotation)
        options = self._defs.get(schema.get("$ref", "").removeprefix(_PLACE), schema).get("enum")
        strings = options is not None and all(type(option) is str for option in options)
        if strings or schema.get("type") == "string":
            return schema
        return self._refused(annotation)

    # -- classes -------------------------------------------------------------------------------------------------

    def _reference(self, annotation: Any) -> Schema:
        if annotation not in self._named:
            name = self._named[annotation] = self._free(_label(annotation), origin_of(annotation))
            self._defs[name] = {}  # the place is taken, also while the class refers to itself
            kind = kind_of(origin_of(annotation))
            make = getattr(self, f"_{kind}") if kind else self._alias
            self._defs[name] = make(annotation, name)
        return {"$ref": _PLACE + self._named[annotation]}

    def _free(self, label: str, origin: Any) -> str:
        full = re.sub(r"\W+", "_", f"{origin.__module__}.{getattr(origin, '__qualname__', label)}")
        candidates = [label, full, *(f"{full}_{number}" for number in range(2, len(self._defs) + 3))]
        return next(name for name in candidates if name not in self._defs)

    def _alias(self, annotation: Any, _name: str) -> Schema:
        return self.describe(unwrapped(annotation))

    def _enum(self, annotation: Any, _name: str) -> Schema:
        return _titled(annotation, {"enum": list(enum_forms(annotation).values())})

    def _dataclass(self, annotation: Any, _name: str) -> Schema:
        fields = fields_of(annotation)
        properties = {}
        for field in fields:
            schema = self.describe(field.annotation)
            properties[field.name] = (
                schema if field.default is MISSING else _defaulting(schema, field.default)
            )
        made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        if required := [field.name for field in fields if field.required]:
            made["required"] = required
        return _titled(annotation, made)

    _typeddict = _dataclass

    def _namedtuple(self, annotation: Any, _name: str) -> Schema:
        fields = fields_of(annotation)
        return _titled(
            annotation,
            {
                "type": "array",
                "prefixItems": [{"title": f.name, **self.describe(f.annotation)} for f in fields],
                "minItems": sum(field.required for field in fields),
                "maxItems": len(fields),
            },
        )

    def _model(self, annotation: Any, name: str) -> Schema:
        import pydantic

        return self._adopted(pydantic.TypeAdapter(annotation).json_schema(mode="validation"), name)

    def _struct(self, annotation: Any, name: str) -> Schema:
        import msgspec

        return self._adopted(msgspec.json.schema(annotation), name)

    def _adopted(self, schema: Schema, name: str) -> Schema:
        """Take over a schema that somebody else made, with its definitions, under names that are free here."""
        defs = schema.pop("$defs", {})
        names: dict[str, str] = {}
        own = schema.get("$ref", "").removeprefix(_PLACE) if list(schema) == ["$ref"] else ""
        if own in defs:
            schema, names[own] = defs.pop(own), name
        names |= {old: self._adopted_name(old, content) for old, content in defs.items()}
        for old, content in defs.items():
            self._defs[names[old]] = _renamed(content, names)
        adopted: Schema = _renamed(schema, names)
        return adopted

    def _adopted_name(self, name: str, content: Schema) -> str:
        candidates = [name, *(f"{name}_{number}" for number in range(2, len(self._defs) + 3))]
        chosen = next(free for free in candidates if self._defs.get(free, content) == content)
        self._defs[chosen] = content
        return chosen


def _label(annotation: Any) -> str:
    """Name a class or alias, and what it is applied to: ``Box_int``."""
    origin = origin_of(annotation)
    parts = [getattr(origin, "__name__", str(origin))]
    parts += [getattr(arg, "__name__", str(arg)) for arg in typing.get_args(annotation)]
    return re.sub(r"\W+", "_", "_".join(parts)).strip("_")


def _titled(annotation: Any, schema: Schema) -> Schema:
    """Add the class's name, and what its author wrote about it."""
    cls = origin_of(annotation)
    titled: Schema = {"title": cls.__name__, **schema}
    text = cls.__dict__.get("__doc__")
    if text and not text.startswith(f"{cls.__name__}("):  # the text that a dataclass or named tuple is given
        import inspect

        titled["description"] = inspect.cleandoc(text)
    return titled


def _defaulting(schema: Schema, default: Any) -> Schema:
    try:
        return {**schema, "default": plain(default)}
    except Unfit:
        return schema


def _refers(schema: Any, pointer: str) -> bool:
    """Tell whether a pointer stands anywhere in a schema."""
    if isinstance(schema, list | dict):
        parts = schema if isinstance(schema, list) else schema.values()
        return any(_refers(part, pointer) for part in parts)
    return bool(schema == pointer)


def _renamed(schema: Any, names: dict[str, str]) -> Any:
    """Return a schema in which references go to the new names of definitions."""
    if isinstance(schema, list):
        return [_renamed(item, names) for item in schema]
    if isinstance(schema, dict):
        return {key: _renamed(item, names) for key, item in schema.items()}
    if isinstance(schema, str) and schema.startswith(_PLACE):
        old = schema.removeprefix(_PLACE)
        return _PLACE + names.get(old, old)
    return schema


# -- what annotates --------------------------------------------------------------------------------------------------


def _constrained(schema: Schema, metadata: tuple[Any, ...]) -> Schema:
    """Add the constraints of annotated_types, pydantic and msgspec, which all name them alike."""
    found: Schema = {}
    for item in metadata:
        for one in (item, *getattr(item, "metadata", ())):
            if type(one).__module__.partition(".")[0] in _ANNOTATING:
                found |= _constraints(one, schema)
    return {**schema, **found}


def _constraints(item: Any, schema: Schema) -> Schema:
    given = {
        **{keyword: getattr(item, name, None) for name, keyword in _BOUNDS.items()},
        **{
            f"{end}{_LENGTHS[schema['type']]}": getattr(item, f"{end}_length", None)
            for end in ("min", "max")
            if schema.get("type") in _LENGTHS
        },
    }
    return {keyword: value for keyword, value in given.items() if type(value) in {int, float, str}}
