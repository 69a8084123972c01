"""Signed pickles: off by default, and nothing unsigned is ever loaded."""

from __future__ import annotations

import json
import os

import pytest

from milepost import serde
from milepost.errors import InvalidCodec, NotSerializable, SignatureInvalid, UnknownType
from milepost.serde import _pickle

KEY = b"a signing key of tests"
OTHER = "another signing key here"


class Grid:
    def __init__(self, cells):
        self.cells = cells

    def __eq__(self, other):
        return isinstance(other, Grid) and other.cells == self.cells

    __hash__ = None


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("it was loaded",))


class Stubborn:
    def __reduce__(self):
        raise ValueError("no")


@pytest.fixture(autouse=True)
def _off_again():
    yield
    serde.disable_pickle()


@pytest.fixture
def enabled():
    serde.enable_pickle(KEY)


def write(value, identity="thread/run/0"):
    return serde.encode(value, where="task 'grid'", identity=identity)


def read(text, identity="thread/run/0"):
    return serde.decode(json.loads(text), where="task 'grid'", identity=identity)


def forged(value, **changes):
    raw = json.loads(write(value))
    raw["$pickle"].update(changes)
    return json.dumps({"$pickle": {name: item for name, item in raw["$pickle"].items() if item is not None}})


def test_it_is_off_by_default():
    with pytest.raises(NotSerializable):
        write(Grid([1]))


def test_only_what_nothing_else_holds_is_pickled(enabled):
    text = write({"plain": (1, 2), "grid": [Grid([1])], "call": lambda: 7})
    raw = json.loads(text)
    assert raw["plain"] == {"$tuple": [1, 2]}
    assert set(raw["grid"][0]["$pickle"]) == {"data", "key", "mac", "python", "cloudpickle"}
    again = read(text)
    assert again["grid"] == [Grid([1])]
    assert again["call"]() == 7


def test_what_cannot_be_pickled_either_is_refused(enabled):
    with pytest.raises(NotSerializable, match="cannot be pickled either") as caught:
        write([Stubborn()])
    assert caught.value.path == "$[0]"


def test_a_cycle_is_refused_all_the_same(enabled):
    loop: list = []
    loop.append(loop)
    with pytest.raises(NotSerializable, match="contains itself"):
        write(loop)


def test_a_process_without_pickles_does_not_load_one(enabled):
    text = write(Trap())
    serde.disable_pickle()
    with pytest.raises(SignatureInvalid, match=r"task 'grid'.*enable_pickle"):
        read(text)


def test_a_process_with_another_key_does_not_load_one(enabled):
    text = write(Trap())
    serde.enable_pickle(OTHER)
    with pytest.raises(SignatureInvalid, match="previous_keys"):
        read(text)


def test_keys_can_be_rotated(enabled):
    text = write(Grid([1]))
    serde.enable_pickle(OTHER, previous_keys=[KEY])
    assert read(text) == Grid([1])
    assert json.loads(write(Grid([1])))["$pickle"]["key"] != json.loads(text)["$pickle"]["key"]


def test_a_record_that_was_moved_is_not_loaded(enabled):
    with pytest.raises(SignatureInvalid, match="changed or moved"):
        read(write(Trap()), identity="thread/run/1")


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "gASVBwAAAAAAAABdlC4="},
        {"data": ""},
        {"mac": "0" * 64},
        {"mac": "é"},
        {"mac": None},
        {"mac": 5},
        {"key": None},
        {"python": "9.9"},
        {"cloudpickle": "0.0"},
        {"more": "x"},
    ],
)
def test_a_record_that_was_changed_is_not_loaded(enabled, changes):
    with pytest.raises(SignatureInvalid):
        read(forged(Trap(), **changes))


@pytest.mark.parametrize("raw", [{"$pickle": "gASVBwAAAAAAAABdlC4="}, {"$pickle": []}, {"$pickle": None}])
def test_an_unsigned_pickle_is_not_loaded(enabled, raw):
    with pytest.raises(SignatureInvalid, match="without a signature"):
        serde.decode([raw], where="w")


def test_a_pickle_of_another_python_is_not_loaded(enabled, monkeypatch):
    monkeypatch.setattr(_pickle, "_PYTHON", "3.99")
    text = write(Trap())
    monkeypatch.undo()
    with pytest.raises(UnknownType, match=r"pickled by Python 3\.99.*go on with Python 3\.99"):
        read(text)


def test_a_pickle_that_no_longer_loads_is_a_typed_error(enabled, monkeypatch):
    text = write([Grid([1])])
    monkeypatch.delattr(f"{__name__}.Grid")
    with pytest.raises(UnknownType, match="cannot be unpickled") as caught:
        read(text)
    assert caught.value.path == "$[0]"
    assert isinstance(caught.value.__cause__, AttributeError)


@pytest.mark.parametrize("key", [b"", b"short", "x" * 15])
def test_a_short_key_is_refused(key):
    with pytest.raises(InvalidCodec, match="at least 16 bytes"):
        serde.enable_pickle(key)
    with pytest.raises(InvalidCodec):
        serde.enable_pickle(os.urandom(32), previous_keys=[key])


def test_the_key_is_not_in_the_record(enabled):
    assert KEY.hex() not in write(Grid([1]))
    assert KEY.decode() not in write(Grid([1]))
