"""Keys of a cache: equal for what is equal in value and type, whatever its order, and for nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost import serde
from milepost.errors import NotSerializable

pytestmark = pytest.mark.search

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
HASHED = st.recursive(
    PLAIN, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(HASHED, inner, max_size=4)
        | st.sets(HASHED, max_size=4)
        | st.tuples(inner, inner)
    ),
    max_leaves=12,
)


def typed(value: Any) -> Any:
    """Return what is equal for two values that are equal in value and in all their types."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return kind, frozenset((typed(key), typed(part)) for key, part in value.items())
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(typed, value))
    if isinstance(value, list | tuple):
        return kind, tuple(map(typed, value))
    return kind, repr(value)


def shuffled(value: Any) -> Any:
    """Return an equal value whose dicts and sets were filled the other way round, of objects made anew."""
    if isinstance(value, dict):
        return {shuffled(key): shuffled(part) for key, part in reversed(value.items())}
    if isinstance(value, set | frozenset):
        return type(value)(shuffled(part) for part in sorted(value, key=repr, reverse=True))
    if isinstance(value, list | tuple):
        return type(value)(shuffled(part) for part in value)
    return "".join(list(value)) if isinstance(value, str) else value


def key(value: Any) -> str:
    return serde.canonical(value, where="here")


@settings(max_examples=500)
@given(VALUES)
def test_what_is_equal_has_one_key_however_it_was_made(value):
    assert key(shuffled(value)) == key(value)


@settings(max_examples=1000)
@given(VALUES, VALUES)
def test_what_differs_in_value_or_type_has_two_keys(one, other):
    assert (key(one) == key(other)) == (typed(one) == typed(other))


@settings(max_examples=200)
@given(VALUES)
def test_what_has_no_value_anywhere_has_no_key(value):
    with pytest.raises(NotSerializable, match="object"):
        key([value, {"deep": (object(),)}])
