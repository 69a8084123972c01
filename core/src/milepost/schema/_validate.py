"""A validator for a subset of JSON Schema 2020-12. What it does not know it refuses beforehand, not silently."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from milepost.schema._scalars import FORMATS
from milepost.schema._unfit import Undescribable, Unfit, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ANNOTATIONS: Final = frozenset(
    (
        "$comment",
        "$defs",
        "$id",
        "$schema",
        "contentEncoding",
        "contentMediaType",
        "default",
        "definitions",
        "deprecated",
        "description",
        "discriminator",
        "else",
        "examples",
        "readOnly",
        "then",
        "title",
        "writeOnly",
    )
)
"""Keywords that ask nothing of a value by themselves. ``discriminator`` is OpenAPI's, beside ``oneOf``."""


class Site:
    """A schema where a value is held against it; ``root`` is the document that references go into."""

    __slots__ = ("path", "root", "schema")

    def __init__(self, root: Any, schema: Any, path: str) -> None:
        self.root = root
        self.schema = schema
        self.path = path

    def validate(self, value: Any, schema: Any, step: str = "") -> None:
        """Hold a part of the value against a part of the schema."""
        Site(self.root, schema, self.path + step).check(value)

    def fits(self, value: Any, schema: Any) -> bool:
        """Tell whether a value fits a schema."""
        try:
            self.validate(value, schema)
        except Unfit:
            return False
        return True

    def refuse(self, expected: str, value: Any) -> Unfit:
        """Return the error to raise."""
        return Unfit(self.path, expected, shown(value))

    def check(self, value: Any) -> None:
        """Hold a value against this schema.

        Raises:
            Unfit: it does not fit.
        """
        if self.schema is True:
            return
        if self.schema is False:
            raise self.refuse("nothing", value)
        for keyword, argument in self.schema.items():
            check = _CHECKS.get(keyword)
            if check is not None:
                check(self, argument, value)


def validate(value: Any, schema: Any) -> None:
    """Hold a JSON value against a schema that :func:`check_schema` accepts.

    Raises:
        Unfit: it does not fit; the path leads to the part that does not.
    """
    try:
        Site(schema, schema, "$").check(value)
    except RecursionError:
        raise Unfit("$", "a value that is nested less deeply", shown(value)) from None


# -- the keywords ----------------------------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    return type(value) in {int, float}


_TYPES: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "null": ("null", lambda value: value is None),
    "boolean": ("true or false", lambda value: type(value) is bool),
    "integer": ("an integer", lambda value: _is_number(value) and value == value // 1),
    "number": ("a number", _is_number),
    "string": ("a string", lambda value: type(value) is str),
    "array": ("an array", lambda value: type(value) is list),
    "object": ("an object", lambda value: type(value) is dict),
}


def _type(site: Site, names: Any, value: Any) -> None:
    wanted = [names] if isinstance(names, str) else names
    if not any(_TYPES[name][1](value) for name in wanted):
        raise site.refuse(" or ".join(_TYPES[name][0] for name in wanted), value)


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON does: 1 is 1.0, and neither is true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(item, other[key]) for key, item in one.items())
    return bool(one == other)


def _enum(site: Site, options: Any, value: Any) -> None:
    if not any(_same(option, value) for option in options):
        raise site.refuse(f"one of {', '.join(map(repr, options))}", value)


def _const(site: Site, wanted: Any, value: Any) -> None:
    _enum(site, [wanted], value)


def _comparing(text: str, holds: Callable[[Any, Any], bool]) -> Callable[[Site, Any, Any], None]:
    def check(site: Site, bound: Any, value: Any) -> None:
        if _is_number(value) and not holds(value, bound):
            raise site.refuse(f"a number {text} {bound}", value)

    return check


def _multiple(value: Any, unit: Any) -> bool:
    return Fraction(str(value)) % Fraction(str(unit)) == 0


def _sized(kind: Any, noun: str, *, most: bool) -> Callable[[Site, Any, Any], None]:
    def check(site: Site, bound: Any, value: Any) -> None:
        if type(value) is kind and (len(value) > bound if most else len(value) < bound):
            raise site.refuse(f"at {'most' if most else 'least'} {bound} {noun}", value)

    return check


def _pattern(site: Site, pattern: str, value: Any) -> None:
    if type(value) is str and re.search(pattern, value) is None:
        raise site.refuse(f"a string that matches {pattern}", value)


def _format(site: Site, name: str, value: Any) -> None:
    if type(value) is str and name in FORMATS:
        try:
            FORMATS[name](value)
        except ValueError:
            raise site.refuse(f"a {name} in ISO form" if name != "uuid" else "a UUID", value) from None


def _prefix_items(site: Site, schemas: Any, value: Any) -> None:
    if type(value) is list:
        for number, (schema, item) in enumerate(zip(schemas, value, strict=False)):
            site.validate(item, schema, f"[{number}]")


def _items(site: Site, schema: Any, value: Any) -> None:
    if type(value) is list:
        first = len(site.schema.get("prefixItems", ()))
        for number, item in enumerate(value[first:], first):
            site.validate(item, schema, f"[{number}]")


def _unique(site: Site, wanted: Any, value: Any) -> None:
    if type(value) is list and wanted:
        for number, item in enumerate(value):
            if any(_same(item, other) for other in value[:number]):
                raise site.refuse("items that differ", value)


def _properties(site: Site, schemas: Any, value: Any) -> None:
    if type(value) is dict:
        for name, schema in schemas.items():
            if name in value:
                site.validate(value[name], schema, f".{name}")


def _pattern_properties(site: Site, schemas: Any, value: Any) -> None:
    if type(value) is dict:
        for pattern, schema in schemas.items():
            for name in value:
                if re.search(pattern, name):
                    site.validate(value[name], schema, f".{name}")


def _additional(site: Site, schema: Any, value: Any) -> None:
    if type(value) is not dict:
        return
    patterns = tuple(site.schema.get("patternProperties", ()))
    for name in value:
        known = name in site.schema.get("properties", ()) or any(re.search(p, name) for p in patterns)
        if known:
            continue
        if schema is False:
            raise site.refuse(f"an object without {name!r}", value)
        site.validate(value[name], schema, f".{name}")


def _names(site: Site, schema: Any, value: Any) -> None:
    if type(value) is dict:
        for name in value:
            site.validate(name, schema, f".{name}")


def _required(site: Site, names: Any, value: Any) -> None:
    if type(value) is dict:
        for name in names:
            if name not in value:
                raise site.refuse(f"an object with {name!r}", value)


def _any_of(site: Site, schemas: Any, value: Any) -> None:
    refusals = []
    for schema in schemas:
        try:
            site.validate(value, schema)
        except Unfit as unfit:
            refusals.append(unfit)
        else:
            return
    deeper = [unfit for unfit in refusals if unfit.path != site.path]
    if len(deeper) == 1:  # one option fits on the outside: what is wrong is within it
        raise deeper[0]
    raise site.refuse(" or ".join(dict.fromkeys(unfit.expected for unfit in refusals)), value)


def _one_of(site: Site, schemas: Any, value: Any) -> None:
    _any_of(site, schemas, value)
    if sum(site.fits(value, schema) for schema in schemas) > 1:
        raise site.refuse("what fits exactly one of the forms", value)


def _all_of(site: Site, schemas: Any, value: Any) -> None:
    for schema in schemas:
        site.validate(value, schema)


def _not(site: Site, schema: Any, value: Any) -> None:
    if site.fits(value, schema):
        raise site.refuse("something else", value)


def _if(site: Site, schema: Any, value: Any) -> None:
    branch = "then" if site.fits(value, schema) else "else"
    site.validate(value, site.schema.get(branch, True))


def _ref(site: Site, pointer: str, value: Any) -> None:
    site.validate(value, resolve(site.root, pointer))


_CHECKS: Final[dict[str, Callable[[Site, Any, Any], None]]] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "minimum": _comparing("of at least", lambda value, bound: value >= bound),
    "maximum": _comparing("of at most", lambda value, bound: value <= bound),
    "exclusiveMinimum": _comparing("above", lambda value, bound: value > bound),
    "exclusiveMaximum": _comparing("below", lambda value, bound: value < bound),
    "multipleOf": _comparing("that is a multiple of", _multiple),
    "minLength": _sized(str, "characters", most=False),
    "maxLength": _sized(str, "characters", most=True),
    "pattern": _pattern,
    "format": _format,
    "prefixItems": _prefix_items,
    "items": _items,
    "minItems": _sized(list, "items", most=False),
    "maxItems": _sized(list, "items", most=True),
    "uniqueItems": _unique,
    "required": _required,
    "properties": _properties,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional,
    "propertyNames": _names,
    "minProperties": _sized(dict, "properties", most=False),
    "maxProperties": _sized(dict, "properties", most=True),
    "anyOf": _any_of,
    "oneOf": _one_of,
    "allOf": _all_of,
    "not": _not,
    "if": _if,
    "$ref": _ref,
}

KEYWORDS: Final = frozenset(_CHECKS) | _ANNOTATIONS
"""Every keyword that a schema may use."""


# -- looking at a schema beforehand ----------------------------------------------------------------------------------


def resolve(root: Any, pointer: str) -> Any:
    """Return the part of a document that ``#/…`` points to.

    Raises:
        Undescribable: it points elsewhere, or to nothing.
    """
    found = root
    if pointer != "#" and not pointer.startswith("#/"):
        raise Undescribable(f"$ref {pointer!r} leads out of the schema")
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            raise Undescribable(f"$ref {pointer!r} leads nowhere")
        found = found[key]
    return found


def check_schema(schema: Any) -> None:
    """Look a schema over.

    Raises:
        Undescribable: it uses a keyword that is not known here, or a known one wrongly.
    """
    try:
        for path, part in _parts(schema, "#"):
            _check_part(schema, part, path)
        for _, part in _parts(schema, "#"):
            _check_loops(schema, part)
    except RecursionError:
        raise Undescribable("the schema is nested too deeply") from None


def _parts(schema: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Give a schema and all within it."""
    yield path, schema
    if not isinstance(schema, dict):
        return
    for keyword, argument in schema.items():
        for step, part in _SUBSCHEMAS.get(keyword, _none)(argument):
            yield from _parts(part, f"{path}/{keyword}{step}")


def _none(_: Any) -> list[tuple[str, Any]]:
    return []


def _one(argument: Any) -> list[tuple[str, Any]]:
    return [("", argument)]


def _listed(argument: Any) -> list[tuple[str, Any]]:
    return (
        [(f"/{n}", part) for n, part in enumerate(argument)] if isinstance(argument, list) else [("", None)]
    )


def _keyed(argument: Any) -> list[tuple[str, Any]]:
    return [(f"/{k}", part) for k, part in argument.items()] if isinstance(argument, dict) else [("", None)]


_SUBSCHEMAS: Final[dict[str, Callable[[Any], list[tuple[str, Any]]]]] = {
    **dict.fromkeys(("items", "additionalProperties", "propertyNames", "not", "if", "then", "else"), _one),
    **dict.fromkeys(("prefixItems", "anyOf", "oneOf", "allOf"), _listed),
    **dict.fromkeys(("properties", "patternProperties", "$defs", "definitions"), _keyed),
}
_NUMBERS: Final = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_COUNTS: Final = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")


def _is_names(argument: Any) -> bool:
    return isinstance(argument, list) and all(isinstance(name, str) for name in argument)


def _is_type(argument: Any) -> bool:
    names = [argument] if isinstance(argument, str) else argument
    return _is_names(names) and bool(names) and set(names) <= _TYPES.keys()


def _is_pattern(argument: Any) -> bool:
    try:
        re.compile(argument)
    except (re.error, TypeError):
        return False
    return True


_ARGUMENTS: Final[dict[str, Callable[[Any], bool]]] = {
    "type": _is_type,
    "enum": lambda argument: isinstance(argument, list),
    "required": _is_names,
    "pattern": _is_pattern,
    "patternProperties": lambda argument: all(map(_is_pattern, argument)),
    "uniqueItems": lambda argument: isinstance(argument, bool),
    "format": lambda argument: isinstance(argument, str),
    "multipleOf": lambda argument: _is_number(argument) and argument > 0,
    **dict.fromkeys(_NUMBERS[:-1], _is_number),
    **dict.fromkeys(_COUNTS, lambda argument: type(argument) is int and argument >= 0),
}


def _check_part(root: Any, schema: Any, path: str) -> None:
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise Undescribable(f"{path} is no schema: {shown(schema)}")
    for keyword, argument in schema.items():
        if keyword not in KEYWORDS:
            raise Undescribable(f"{path} uses {keyword!r}, which is not checked here")
        if not _ARGUMENTS.get(keyword, lambda _: True)(argument):
            raise Undescribable(f"{path}/{keyword} cannot be {shown(argument)}")
    if "$ref" in schema:
        resolve(root, str(schema["$ref"]))


def _check_loops(root: Any, schema: Any, around: tuple[int, ...] = ()) -> None:
    """Find a schema that is held against the same value again and again without end."""
    if not isinstance(schema, dict):
        return
    if id(schema) in around:
        raise Undescribable("a $ref leads back to itself")
    inside = [resolve(root, schema["$ref"])] if "$ref" in schema else []
    for keyword in ("anyOf", "oneOf", "allOf", "not", "if", "then", "else"):
        if keyword in schema:
            inside += [part for _, part in _SUBSCHEMAS[keyword](schema[keyword])]
    for part in inside:
        _check_loops(root, part, (*around, id(schema)))
