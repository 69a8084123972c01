"""Digests of arguments: the same on every replay, different for different calls, never an error."""

from __future__ import annotations

import functools
import json
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

import pytest

from milepost import serde
from milepost.serde import _types


@dataclass
class Claim:
    id: int
    lock: object = None


class Hostile:
    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __repr__(self):
        raise RuntimeError

    def __eq__(self, other):
        raise RuntimeError

    __hash__ = None


class Proxy:
    def __getattr__(self, name):
        return "anything"


class Meta(type):
    def __getattribute__(cls, name):
        if name in {"__name__", "__qualname__", "__module__"}:
            raise RuntimeError(name)
        return super().__getattribute__(name)


class Unnamed(metaclass=Meta):
    pass


def of(*args, **kwargs):
    return serde.digest(args, kwargs)[0]


def preview(*args, **kwargs):
    return serde.digest(args, kwargs)[1]


def test_it_is_sixteen_bytes_of_hexadecimal():
    assert len(bytes.fromhex(of(1, a=2))) == 16


def test_equal_looking_values_of_different_types_differ():
    values = [1, True, 1.0, "1", b"1", (1,), [1], {1}, frozenset({1}), {"1": None}, None, 1j, HTTPStatus(100)]
    assert len({of(value) for value in values}) == len(values)


def test_places_count():
    calls = [of(1, 2), of(2, 1), of((1, 2)), of(1, b=2), of(a=1, b=2), of("1, 2"), of("1\n2"), of()]
    assert len(set(calls)) == len(calls)


def test_the_order_of_dicts_and_keywords_does_not_count_but_that_of_ordered_dicts_does():
    assert of({"a": 1, "b": {2: 3, 1: 4}}, x=1, y=2) == of({"b": {1: 4, 2: 3}, "a": 1}, y=2, x=1)
    assert of(OrderedDict(a=1, b=2)) != of(OrderedDict(b=2, a=1))


def test_what_cannot_be_encoded_counts_by_the_name_of_its_type():
    assert of(threading.Lock()) == of(threading.Lock())
    assert of(threading.Lock()) != of(threading.Event())
    assert of(Claim(1, threading.Lock())) == of(Claim(1, threading.Lock()))
    assert of(Claim(1, threading.Lock())) != of(Claim(2, threading.Lock()))
    assert of(math) == of(json)


def test_functions_and_classes_count_by_their_own_names():
    assert len({of(math.sin), of(len), of(of), of(preview), of(Claim), of(Enum), of([].append)}) == 7
    assert preview(of, Claim) == f"<{__name__}.of>, <{__name__}.Claim>"
    assert of(functools.partial(of)) == of(functools.partial(preview))


def test_values_of_classes_count_by_their_content():
    assert of(Claim(1)) != of(Claim(2))
    assert of(HTTPStatus.OK) != of(HTTPStatus.CREATED)
    assert of(HTTPStatus.OK) == of(HTTPStatus.OK)


@pytest.mark.parametrize(
    "make",
    [Hostile, Proxy, Unnamed, lambda: Hostile, lambda: Unnamed, lambda: [{Unnamed: [Hostile()]}]],
    ids=range(6),
)
def test_objects_that_resist_are_survived(make):
    value = make()
    assert of(value) == of(value)
    assert len(preview(value)) <= 80


def test_a_registered_function_that_fails_is_survived(monkeypatch):
    monkeypatch.setattr(_types, "_by_tag", {})
    monkeypatch.setattr(_types, "_by_class", {})
    serde.register("proxy", Proxy, encode=lambda _: 1 / 0, decode=str)
    assert preview([Proxy()]) == f"[<{__name__}.Proxy>]"


def test_cycles_and_depth_are_survived():
    loop: list = [1]
    loop.append(loop)
    other: list = [2]
    other.append(other)
    assert of(loop) == of(loop)
    assert of(loop) != of(other)
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    assert of(deep) == of(deep)


def test_cycles_through_every_kind_of_container_are_survived(monkeypatch):
    monkeypatch.setattr(_types, "_by_tag", {})
    monkeypatch.setattr(_types, "_by_class", {})
    serde.register("proxy", Proxy, encode=lambda proxy: proxy.__dict__["inner"], decode=str)
    pairs: dict = {}
    pairs[1] = pairs
    names: dict = {}
    names["a"] = names
    claim = Claim(1)
    claim.lock = claim
    proxy = Proxy()
    proxy.inner = proxy
    shown = [preview(value) for value in (pairs, names, claim, proxy)]
    assert shown == [
        '{"$dict":[[1,{"$dict":<cycle>}]]}',
        '{"a":<cycle>}',
        f'{{"$dataclass":["{__name__}.Claim",{{"id":1,"lock":{{"$dataclass":["{__name__}.Claim"'[:79] + "…",
        '{"$proxy":{"$proxy":<cycle>}}',
    ]


def test_recursion_in_registered_functions_is_survived(monkeypatch):
    monkeypatch.setattr(_types, "_by_tag", {})
    monkeypatch.setattr(_types, "_by_class", {})

    def descend(value):
        return descend(value)

    serde.register("proxy", Proxy, encode=descend, decode=str)
    assert preview([Proxy()], 2) == "<list>, 2"


def test_the_depth_of_the_callers_stack_does_not_count():
    deep: list = []
    for _ in range(100):
        deep = [deep]

    def below(levels):
        return of(deep) if not levels else below(levels - 1)

    assert below(300) == below(0)


def test_a_dict_that_changes_meanwhile_is_survived(monkeypatch):
    monkeypatch.setattr(_types, "_by_tag", {})
    monkeypatch.setattr(_types, "_by_class", {})
    victim: dict = {"a": Proxy(), "b": 1}
    serde.register("proxy", Proxy, encode=lambda _: victim.update(c=1), decode=str)
    assert preview(victim, 1) == "<dict>, 1"


def test_the_preview_reads_like_the_call_and_is_short():
    assert preview("cat", 3, ok=True, at={"a": [1.5]}) == '"cat", 3, at={"a":[1.5]}, ok=true'
    assert preview() == ""
    long = preview("x" * 500, "y")
    assert (len(long), long[-1]) == (80, "…")
    assert len(preview(*range(1000))) == 80


def test_lone_surrogates_are_survived():
    assert of("\ud800") != of("\udc00")
    assert of(**{"\ud800": 1})
