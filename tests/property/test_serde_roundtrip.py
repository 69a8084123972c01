"""Whatever the codec takes comes back exactly, in value and in type."""

from __future__ import annotations

import contextlib
import enum
import json
import os
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from datetime import timedelta, timezone
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from milepost import serde
from milepost.errors import SignatureInvalid, UnknownType


class Color(enum.Enum):
    RED = "r"
    BLUE = (1, 2)


class Point(NamedTuple):
    x: Any
    y: Any = None


@dataclass(frozen=True, slots=True)
class Leaf:
    value: Any


@dataclass
class Claim:
    id: Any
    parts: Any


Declared = Color | Point | Leaf | Claim

ZONES = st.one_of(
    st.none(),
    st.just(timezone.utc),  # noqa: UP017 - the object itself is meant
    st.sampled_from([ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York"), ZoneInfo("UTC")]),
    st.builds(
        timezone,
        st.timedeltas(min_value=timedelta(hours=-23), max_value=timedelta(hours=23)),
        st.text(max_size=3),
    ),
    st.builds(timezone, st.timedeltas(min_value=timedelta(hours=-23), max_value=timedelta(hours=23))),
)
FOLDS = st.integers(0, 1)
TEXT = st.one_of(
    st.text(st.characters(), max_size=8),
    st.text(st.sampled_from('$a"\\\n\x00é\U0001f600\ud83d\ude00\udfff'), max_size=5),
)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**40), 10**40),
    st.sampled_from([2**53, 2**53 + 1, -(2**53), -(2**53) - 1, -0.0]),
    st.builds(lambda power: 7**power, st.integers(700, 900)),
    st.floats(),
    TEXT,
    st.binary(max_size=8),
    st.complex_numbers(),
    st.decimals().filter(lambda number: not number.is_snan()),  # those cannot be hashed
    st.fractions(),
    st.uuids(),
    st.dates(),
    st.timedeltas(),
    st.builds(
        lambda moment, fold, zone: moment.replace(fold=fold, tzinfo=zone), st.datetimes(), FOLDS, ZONES
    ),
    st.builds(lambda moment, fold, zone: moment.replace(fold=fold, tzinfo=zone), st.times(), FOLDS, ZONES),
    ZONES,
    st.builds(range, st.integers(), st.integers(), st.integers().filter(bool)),
    st.builds(PurePosixPath, TEXT.filter(lambda text: "\x00" not in text)),
    st.builds(PureWindowsPath, st.text("abc/\\:.", max_size=6)).filter(
        lambda path: PureWindowsPath(str(path)) == path
    ),
    st.sampled_from(Color),
)


@st.composite
def scalars(draw):
    """Draw a scalar; a strategy of its own keeps the descriptions of the others short."""
    return draw(_SCALARS)


_HASHABLE = st.recursive(
    scalars(),
    lambda inner: st.one_of(
        st.tuples(inner, inner),
        st.frozensets(inner, max_size=3),
        st.builds(Leaf, inner),
        st.builds(Point, inner, st.none()),
    ),
    max_leaves=6,
)


@st.composite
def hashables(draw):
    """Draw a value that can be a key."""
    return draw(_HASHABLE)


def pairs(inner):
    return st.lists(st.tuples(hashables(), inner), max_size=3)


def containers(inner):
    lists = st.lists(inner, max_size=3)
    return st.one_of(
        lists,
        lists.map(tuple),
        st.sets(hashables(), max_size=3),
        st.dictionaries(TEXT, inner, max_size=3),
        pairs(inner).map(dict),
        pairs(inner).map(OrderedDict),
        st.builds(defaultdict, st.sampled_from([None, list, int, frozenset]), pairs(inner)),
        pairs(inner).map(lambda items: Counter(dict(items))),
        st.builds(deque, lists, st.one_of(st.none(), st.integers(3, 9))),
        st.binary(max_size=5).map(bytearray),
        st.builds(Claim, inner, inner),
        st.builds(Point, inner, inner),
    )


VALUES = st.recursive(scalars(), containers, max_leaves=12)


def facts(value: Any) -> Any:  # noqa: PLR0911 - one line per shape
    """Describe a value so that all that equality ignores shows: types, order, sign of zero, fold, zone, factory."""
    kind = type(value)
    if kind in {list, tuple, Point}:
        return kind, [facts(item) for item in value]
    if kind is deque:
        return kind, value.maxlen, [facts(item) for item in value]
    if kind in {set, frozenset}:
        return kind, sorted(repr(facts(item)) for item in value)
    if kind in {dict, OrderedDict, Counter, defaultdict}:
        return kind, getattr(value, "default_factory", 0), [(facts(k), facts(v)) for k, v in value.items()]
    if kind is Claim:
        return kind, facts(value.id), facts(value.parts)
    if kind is Leaf:
        return kind, facts(value.value)
    return kind, hex(value) if kind is int else repr(value), getattr(value, "fold", None)


def trip(value):
    text = serde.encode(value, Declared, where="w")
    return serde.decode(json.loads(text), Declared, where="w"), text


@settings(max_examples=800, deadline=None)
@given(VALUES)
def test_a_value_comes_back_exactly(value):
    again, text = trip(value)
    assert facts(again) == facts(value)
    assert text.isascii()
    assert trip(again)[1] == text


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_the_copy_shares_nothing_mutable_with_the_record(value):
    raw = json.loads(serde.encode(value, Declared, where="w"))
    before = json.dumps(raw)

    def parts(item):
        yield id(item)
        for inner in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
            if isinstance(inner, (dict, list)):
                yield from parts(inner)

    again = serde.decode(raw, Declared, where="w")
    reached, todo = set(), [again]
    while todo:
        item = todo.pop()
        if isinstance(item, (dict, list)):
            reached.add(id(item))
            todo.extend(item.values() if isinstance(item, dict) else item)
        elif isinstance(item, (tuple, deque)):
            todo.extend(item)
        elif isinstance(item, Claim):
            todo.extend([item.id, item.parts])
    assert not reached & (set(parts(raw)) if isinstance(raw, (dict, list)) else set())
    assert json.dumps(raw) == before


@settings(max_examples=200, deadline=None)
@given(st.lists(hashables(), max_size=6), st.randoms())
def test_equal_sets_have_one_text(items, random):
    def distinct(chosen):
        return {repr(facts(item)): item for item in chosen}.values()

    first = list(distinct(items))
    second = list(first)
    random.shuffle(second)
    for kind in (set, frozenset):
        left, right = kind(first), kind(second)
        if sorted(repr(facts(i)) for i in left) == sorted(repr(facts(i)) for i in right):
            assert serde.encode(left, Declared, where="w") == serde.encode(right, Declared, where="w")


@settings(max_examples=200, deadline=None)
@given(VALUES, VALUES)
def test_digests_agree_exactly_where_values_do(left, right):
    assert serde.digest((left,), {}) == serde.digest((trip(left)[0],), {})
    if serde.digest((left,), {})[0] == serde.digest((right,), {})[0]:
        texts = [serde.encode(value, Declared, where="w") for value in (left, right)]
        assert sorted(texts[0]) == sorted(texts[1])  # the same but for the order of dicts


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | TEXT, lambda v: st.lists(v) | st.dictionaries(TEXT, v), max_leaves=8
    )
)
def test_any_json_is_read_or_refused_with_a_typed_error(raw):
    with contextlib.suppress(UnknownType, SignatureInvalid):
        serde.decode(raw, Declared, where="w")


def test_digests_do_not_depend_on_the_hash_seed():
    code = (
        "from milepost import serde\n"
        "value = {'b': {'x', 'y', 'z', ('q', frozenset('pqrs'))}, 'a': frozenset({b'1', b'2'}), 1: {'k': {2.5, 'm'}}}\n"
        "print(serde.digest((value, object()), {'n': value}), serde.encode(value, where='w'))"
    )
    outputs = set()
    for seed in ("0", "1", "2", "33"):
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1
