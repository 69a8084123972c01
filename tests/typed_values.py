"""Types and values of them, generated together."""

from __future__ import annotations

import collections
import dataclasses
import keyword
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any, Literal, NamedTuple, NotRequired, Required, TypedDict
from uuid import UUID

import msgspec
import pydantic
from hypothesis import strategies as st


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Size(IntEnum):
    SMALL = 1
    LARGE = 2


class Shape(Enum):
    ROUND = (1, 2)
    FLAT = (3, 4)


class Pair(NamedTuple):
    low: int
    label: str = "none"


class Typed(TypedDict, total=False):
    name: Required[str]
    size: int
    color: NotRequired[Color]


@dataclasses.dataclass
class Tree:
    """A tree of numbers."""

    value: int
    left: Tree | None = None
    right: Tree | None = None


class Model(pydantic.BaseModel):
    name: str
    level: int = pydantic.Field(default=1, ge=0, le=10)
    children: list[Model] = []


class Struct(msgspec.Struct):
    name: str
    when: timedelta | None = None
    parts: list[Struct] = []


ZONES = st.none() | st.builds(
    timezone, st.integers(-82_800, 82_800).map(lambda seconds: timedelta(seconds=seconds))
)
"""Whole seconds: Python itself reads an offset of less than one as UTC."""
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.from_regex(r"[a-z]{1,6}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))


def trees(depth: int = 3) -> st.SearchStrategy[Tree]:
    below = st.none() if depth == 0 else st.none() | trees(depth - 1)
    return st.builds(Tree, st.integers(), below, below)


def models(depth: int = 2) -> st.SearchStrategy[Model]:
    below = st.just([]) if depth == 0 else st.lists(models(depth - 1), max_size=2)
    return st.builds(Model, name=TEXT, level=st.integers(0, 10), children=below)


def structs(depth: int = 2) -> st.SearchStrategy[Struct]:
    below = st.just([]) if depth == 0 else st.lists(structs(depth - 1), max_size=2)
    durations = st.timedeltas(timedelta(0), timedelta(days=10))
    return st.builds(Struct, name=TEXT, when=st.none() | durations, parts=below)


SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (bool, st.booleans()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (str, TEXT),
    (bytes, st.binary(max_size=8)),
    (bytearray, st.binary(max_size=8).map(bytearray)),
    (type(None), st.none()),
    (datetime, st.datetimes(timezones=ZONES)),
    (date, st.dates()),
    (time, st.times(timezones=ZONES)),
    (timedelta, st.timedeltas()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (UUID, st.uuids()),
    (PurePosixPath, st.from_regex(r"[a-z/]{1,8}", fullmatch=True).map(PurePosixPath)),
    (Color, st.sampled_from(Color)),
    (Size, st.sampled_from(Size)),
    (Shape, st.sampled_from(Shape)),
    (Literal["a", 1, True], st.sampled_from(["a", 1, True])),
    (Pair, st.builds(Pair, st.integers(), TEXT)),
    (Typed, st.fixed_dictionaries({"name": TEXT}, optional={"size": st.integers(), "color": st.sampled_from(Color)})),
    (Tree, trees()),
    (Model, models()),
    (Struct, structs()),
]  # fmt: skip
HASHABLE = SCALARS[:5] + SCALARS[6:16]
KEYS = [SCALARS[number] for number in (0, 3, 7, 8, 12, 14)]

Typing = tuple[Any, st.SearchStrategy[Any]]


def _lists(inner: Typing) -> list[Typing]:
    kind, values = inner
    items = st.lists(values, max_size=3)
    return [
        (list[kind], items),
        (tuple[kind, ...], items.map(tuple)),
        (tuple[int, kind], st.tuples(st.integers(), values)),
        (collections.deque[kind], items.map(collections.deque)),
        (collections.abc.Sequence[kind], items),
        (dict[str, kind], st.dictionaries(TEXT, values, max_size=3)),
    ]


@st.composite
def _fields(draw: st.DrawFn, inner: st.SearchStrategy[Typing]) -> Typing:
    fields = draw(st.dictionaries(NAMES, inner, min_size=1, max_size=3))
    made = dataclasses.make_dataclass("Made", [(name, kind) for name, (kind, _) in fields.items()])
    return made, st.builds(made, **{name: values for name, (_, values) in fields.items()})


def _wider(inner: st.SearchStrategy[Typing]) -> st.SearchStrategy[Typing]:
    optional = inner.filter(lambda typing: typing[0] is not type(None)).map(
        lambda typing: (typing[0] | None, st.none() | typing[1])
    )
    return inner.flatmap(lambda typing: st.sampled_from(_lists(typing))) | optional | _fields(inner)


def _sets(typing: Typing) -> Typing:
    return set[typing[0]], st.sets(typing[1], max_size=3)


def _dicts(typing: Typing) -> Typing:
    return dict[typing[0], int], st.dictionaries(typing[1], st.integers(), max_size=3)


typings: st.SearchStrategy[Typing] = st.recursive(
    st.sampled_from(SCALARS) | st.sampled_from(HASHABLE).map(_sets) | st.sampled_from(KEYS).map(_dicts),
    _wider,
    max_leaves=4,
)
"""A type and a strategy for values of it."""


@st.composite
def typed_values(draw: st.DrawFn) -> tuple[Any, Any]:
    """Return a type and a value of it."""
    kind, values = draw(typings)
    return kind, draw(values)
