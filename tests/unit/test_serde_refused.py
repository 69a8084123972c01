"""What the codec refuses, and how it says so."""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from datetime import datetime, timedelta, tzinfo
from http import HTTPStatus
from pathlib import PurePosixPath
from zoneinfo import ZoneInfo, available_timezones

import pytest

from milepost import serde
from milepost.errors import NotSerializable
from milepost.serde import _forms, _types
from milepost.serde._unfit import Refused


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(_types, "_by_tag", dict(_types._by_tag))
    monkeypatch.setattr(_types, "_by_class", dict(_types._by_class))


class Name(str):
    __slots__ = ()


class Rows(list):
    pass


class Odd(tzinfo):
    def utcoffset(self, moment):
        return timedelta(hours=1)


def refused(value):
    with pytest.raises(NotSerializable) as caught:
        serde.encode(value, where="task 'send'")
    assert str(caught.value).startswith("task 'send': ")
    assert caught.value.where == "task 'send'"
    return caught.value


@pytest.mark.parametrize(
    ("value", "path", "type_name"),
    [
        (object(), "$", "object"),
        ({"a": [1, {2: threading.Event()}]}, "$.a[1][2]", "threading.Event"),
        ({"two words": object()}, '$["two words"]', "object"),
        ({"x" * 99: object()}, f'$["{"x" * 37}..."]', "object"),
        ({object: 1}, "$[<type>]", "type"),
        ({(1, 2): object()}, "$[<tuple>]", "object"),
        ((1, deque([0, object()])), "$[1][1]", "object"),
        ([{frozenset({print})}], "$[0][…][…]", "builtin_function_or_method"),
        ([HTTPStatus.OK], "$[0]", "http.HTTPStatus"),
        (memoryview(b""), "$", "memoryview"),
        (ValueError("x"), "$", "ValueError"),
        (iter([]), "$", "list_iterator"),
    ],
)
def test_a_value_without_a_form_is_refused_with_its_place_and_type(value, path, type_name):
    error = refused(value)
    assert (error.path, error.type_name) == (path, type_name)


@pytest.mark.parametrize(("value", "base"), [(Name("a"), "str"), (Rows([1]), "list")])
def test_a_subclass_of_a_standard_type_is_refused_and_told_to_convert(value, base):
    assert f"convert it to {base}" in str(refused([value]))


def test_a_key_that_only_looks_like_a_str_is_refused():
    assert refused({Name("a"): 1}).path == "$[<Name>]"


def test_a_cycle_is_refused_where_it_closes():
    loop: dict = {"a": [1]}
    loop["a"].append({"again": loop})
    error = refused(loop)
    assert error.path == "$.a[1].again"
    assert "contains itself" in str(error)


def test_a_cycle_through_pairs_is_refused():
    loop: dict = {1: None}
    loop[1] = (loop,)
    assert refused(loop).path == "$[1][0]"


def test_a_value_that_appears_twice_is_written_twice():
    shared = [1]
    assert serde.encode([shared, shared], where="w") == "[[1],[1]]"


def test_deep_nesting_is_refused_not_a_recursion_error():
    value: list = []
    for _ in range(5000):
        value = [value]
    assert "too deeply" in str(refused(value))


def test_a_factory_of_ones_own_is_refused():
    assert "factory" in str(refused(defaultdict(lambda: 1)))


def test_a_time_zone_that_is_neither_named_nor_fixed_is_refused():
    error = refused({"at": datetime(2024, 1, 1, tzinfo=Odd())})
    assert error.path == "$.at"
    assert "Odd" in str(error)


def test_a_zone_without_a_key_is_refused(tmp_path):
    from importlib import resources

    assert "Europe/Berlin" in available_timezones()
    with (resources.files("tzdata.zoneinfo") / "Europe" / "Berlin").open("rb") as file:
        zone = ZoneInfo.from_file(file)
    assert "has no key" in str(refused(datetime(2024, 1, 1, tzinfo=zone)))


def test_a_path_that_text_does_not_hold_is_refused():
    class Lossy(PurePosixPath):
        def __eq__(self, other):
            return False

        __hash__ = None

    with pytest.raises(Refused, match="does not survive"):
        _forms._path(Lossy("a"))


def test_recursion_in_registered_functions_is_refused(registry):
    class Deep:
        pass

    def descend(value):
        return descend(value)

    serde.register("test-deep", Deep, encode=descend, decode=lambda _: Deep())
    assert "too deeply" in str(refused([Deep()]))


def test_a_value_that_changes_while_it_is_written_is_refused(registry):
    victim: dict = {}

    class Grow:
        pass

    def grow(_):
        victim["more"] = 1
        return 0

    serde.register("test-grow", Grow, encode=grow, decode=lambda _: Grow())
    victim["first"] = Grow()
    assert "hand over a copy" in str(refused(victim))
