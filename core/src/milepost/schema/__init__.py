"""Types as JSON Schema, values held against it, and values made of JSON.

:func:`json_schema` describes an annotation. :func:`plain` gives a value its JSON form, :func:`validate` holds that
against a schema, and :func:`convert` makes a value of the annotation's type of it. For every type that is described,
``convert(T, plain(value)) == value``, unless T is a union in which two members have the same JSON form: then the first
one written is chosen.

pydantic models and dataclasses, and msgspec Structs, are described and made by their own library, which is there when
such a class is.
"""

from __future__ import annotations

from typing import Any

from milepost.schema._convert import Converter
from milepost.schema._describe import Describer
from milepost.schema._plain import plain
from milepost.schema._unfit import Undescribable, Unfit
from milepost.schema._validate import KEYWORDS, check_schema, validate

__all__ = [
    "KEYWORDS",
    "Undescribable",
    "Unfit",
    "check_schema",
    "convert",
    "json_schema",
    "plain",
    "validate",
]


def json_schema(annotation: Any, *, title: str | None = None, strict: bool = False) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an annotation, resolved; the same one for the same annotation.

    Classes that are used more than once, or refer to themselves, stand in ``$defs``. A class that has no JSON form is
    ``{}``, anything.

    Args:
        annotation: a type, as ``typing.get_type_hints(…, include_extras=True)`` gives it.
        title: the title where the type has none of its own.
        strict: refuse what has no JSON form.

    Raises:
        Undescribable: in strict mode.
    """
    return Describer(strict=strict).root(annotation, title)


def convert(annotation: Any, value: Any, *, plain_only: bool = False) -> Any:
    """Return a value as an annotation has it: mappings become dataclasses, models, structs, named tuples.

    Args:
        annotation: a type, resolved.
        value: what to convert; it is not changed.
        plain_only: take nothing but JSON. Else instances of the classes that the annotation names are taken as they
            are.

    Raises:
        Unfit: a part does not fit, or a class refused it.
    """
    return Converter(plain_only=plain_only).convert(annotation, value)
