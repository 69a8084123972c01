"""What the codec keeps by itself: the text of each standard type, and what damaged records do."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from zoneinfo import ZoneInfo

import pytest

from milepost import serde
from milepost.errors import UnknownType

BERLIN = ZoneInfo("Europe/Berlin")
FOLD = datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)


def text_of(value):
    return serde.encode(value, where="task 'make'")


def back(text):
    return serde.decode(json.loads(text), where="task 'make'")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (2**53, "9007199254740992"),
        (-(2**53) - 1, '{"$int":"-9007199254740993"}'),
        (1.0, "1.0"),
        (-0.0, "-0.0"),
        (float("-inf"), '{"$float":"-inf"}'),
        ("é", '"\\u00e9"'),
        ([1, [None]], "[1,[null]]"),
        ({"a": 1, "b c": []}, '{"a":1,"b c":[]}'),
        ({}, "{}"),
        ((1, (2,)), '{"$tuple":[1,{"$tuple":[2]}]}'),
        ({3, 1, 2}, '{"$set":[1,2,3]}'),
        (frozenset({"b", "a"}), '{"$frozenset":["a","b"]}'),
        ({"$set": [1]}, '{"$dict":[["$set",[1]]]}'),
        ({1: "a", False: 2}, '{"$dict":[[1,"a"],[false,2]]}'),
        (b"\x00\xff", '{"$bytes":"AP8="}'),
        (bytearray(b"ab"), '{"$bytearray":"YWI="}'),
        (1 + 2j, '{"$complex":[1.0,2.0]}'),
        (range(1, 9, 2), '{"$range":[1,9,2]}'),
        (date(2024, 2, 29), '{"$date":"2024-02-29"}'),
        (time(1, 2, 3, 4, tzinfo=UTC), '{"$time":"01:02:03.000004+00:00"}'),
        (datetime(2024, 1, 1), '{"$datetime":"2024-01-01T00:00:00"}'),  # noqa: DTZ001
        (datetime(2024, 1, 1, fold=1), '{"$datetime":["2024-01-01T00:00:00",null,1]}'),  # noqa: DTZ001
        (FOLD, '{"$datetime":["2024-10-27T02:30:00",{"$zoneinfo":"Europe/Berlin"},1]}'),
        (timedelta(days=-1, microseconds=5), '{"$timedelta":[-1,0,5]}'),
        (timezone(timedelta(hours=1), "CET"), '{"$timezone":[{"$timedelta":[0,3600,0]},"CET"]}'),
        (Decimal("1.20"), '{"$decimal":"1.20"}'),
        (Fraction(1, 3), '{"$fraction":[1,3]}'),
        (uuid.UUID(int=1), '{"$uuid":"00000000-0000-0000-0000-000000000001"}'),
        (PurePosixPath("/a/b"), '{"$path":["PurePosixPath","/a/b"]}'),
        (PureWindowsPath(r"c:\a"), r'{"$path":["PureWindowsPath","c:\\a"]}'),
        (deque([1, 2], maxlen=3), '{"$deque":[[1,2],3]}'),
        (OrderedDict(a=1), '{"$ordereddict":[["a",1]]}'),
        (Counter("aab"), '{"$counter":[["a",2],["b",1]]}'),
        (defaultdict(list, {"a": [1]}), '{"$defaultdict":["list",[["a",[1]]]]}'),
        (defaultdict(None, {}), '{"$defaultdict":[null,[]]}'),
    ],
)
def test_a_value_has_this_text_and_comes_back_from_it(value, text):
    assert text_of(value) == text
    again = back(text)
    assert type(again) is type(value)
    assert again == value
    assert text_of(again) == text


def test_a_path_of_this_system_keeps_its_exact_type():
    again = back(text_of(Path("a/b")))
    assert type(again) is type(Path())
    assert again == Path("a/b")


def test_zones_keep_what_equality_ignores():
    again = back(text_of(FOLD))
    assert (again.fold, again.tzinfo) == (1, BERLIN)
    named = back(text_of(datetime(2024, 1, 1, tzinfo=timezone(timedelta(0), "Zulu"))))
    assert named.tzname() == "Zulu"
    assert back(text_of(timezone.utc)) is timezone.utc  # noqa: UP017 - the object itself is meant


def test_a_deque_keeps_its_limit_and_a_defaultdict_its_factory():
    assert back(text_of(deque([1], maxlen=1))).maxlen == 1
    assert back(text_of(deque([1]))).maxlen is None
    assert back(text_of(defaultdict(int))).default_factory is int


def test_ints_past_the_digit_limit_of_python_are_kept():
    value = -(7**20_000)
    assert back(text_of(value)) == value


def test_surrogates_side_by_side_stay_two_characters():
    high, low = chr(0xD83D), chr(0xDE00)
    value = {high + low: f"a{high}{low}b", low + high: "\U0001f600"}
    again = back(text_of(value))
    assert again == value
    assert text_of(high + low) == '{"$str":["\\ud83d","\\ude00"]}'


def test_floats_that_are_not_numbers_come_back_inside_containers():
    again = back(text_of([complex(float("nan"), -0.0), {float("inf")}, Decimal("sNaN12")]))
    assert str(again[0]) == "(nan-0j)"
    assert again[1] == {float("inf")}
    assert str(again[2]) == "sNaN12"


def test_every_decode_gives_fresh_objects_and_leaves_the_parsed_record_alone():
    raw = json.loads(text_of({"a": [1, {"b": [2]}], "s": {1}}))
    before = json.dumps(raw)
    first = serde.decode(raw, where="w")
    first["a"][1]["b"].append(3)
    first["s"].add(9)
    assert json.dumps(raw) == before
    assert serde.decode(raw, where="w") == {"a": [1, {"b": [2]}], "s": {1}}


@pytest.mark.parametrize("value", ["a", 1, 1.0, True, None, b"", 1j, date(2024, 1, 1), timedelta(1)])
def test_scalars_are_immutable(value):
    assert serde.is_immutable(value)


@pytest.mark.parametrize("value", [[], {}, set(), bytearray(), (), datetime.__new__, type("S", (str,), {})()])
def test_everything_else_counts_as_mutable(value):
    assert not serde.is_immutable(value)


@pytest.mark.parametrize(
    ("raw", "tag"),
    [
        ({"$invoice": {}}, "invoice"),
        ({"$ref": {"position": 1, "call": "0"}}, "ref"),
        ({"$tuple": 5}, "tuple"),
        ({"$set": [[]]}, "set"),
        ({"$dict": [["a"]]}, "dict"),
        ({"$dict": [[[], 1]]}, "dict"),
        ({"$deque": [[1]]}, "deque"),
        ({"$defaultdict": ["os.system", []]}, "defaultdict"),
        ({"$counter": {}}, "counter"),
        ({"$int": "12a"}, "int"),
        ({"$int": 12}, "int"),
        ({"$float": "1.0"}, "float"),
        ({"$float": []}, "float"),
        ({"$str": "ab"}, "str"),
        ({"$bytes": "A"}, "bytes"),
        ({"$complex": [1, 2]}, "complex"),
        ({"$fraction": [1, 0]}, "fraction"),
        ({"$range": [1, 2, 0]}, "range"),
        ({"$datetime": "yesterday"}, "datetime"),
        ({"$datetime": ["2024-01-01T00:00:00", "UTC", 0]}, "datetime"),
        ({"$date": 5}, "date"),
        ({"$timedelta": [1, 2]}, "timedelta"),
        ({"$timezone": [5]}, "timezone"),
        ({"$zoneinfo": "../../etc/passwd"}, "zoneinfo"),
        ({"$zoneinfo": "Nowhere/Town"}, "zoneinfo"),
        ({"$decimal": "x"}, "decimal"),
        ({"$uuid": [1]}, "uuid"),
        ({"$path": ["Path.home", "a"]}, "path"),
        ({"$path": ["PurePosixPath", 3]}, "path"),
        ({"$dataclass": "os.system"}, "dataclass"),
        ({"$dataclass": ["subprocess.Popen", {"args": "ls"}]}, "dataclass"),
        ({"$enum": []}, "enum"),
        ({"a": 1, "$tuple": []}, "tuple"),
    ],
)
def test_a_damaged_or_unknown_record_is_a_typed_error_with_its_place(raw, tag):
    with pytest.raises(UnknownType, match="task 'make'") as caught:
        serde.decode({"list": [0, raw]}, where="task 'make'")
    assert caught.value.tag == tag
    assert caught.value.where == "task 'make'"
    assert caught.value.path.startswith("$.list[1]")


def test_a_place_inside_tagged_values_is_found():
    with pytest.raises(UnknownType) as caught:
        back('{"$dict":[[1,{"x y":[{"$tuple":[0,{"$nope":1}]}]}]]}')
    assert caught.value.path == '$[1]["x y"][0][1]'


def test_an_unknown_tag_tells_the_line_to_add():
    with pytest.raises(UnknownType, match=r"milepost\.serde\.register\('invoice', …\)"):
        back('{"$invoice":1}')


def test_a_record_nested_too_deeply_is_a_typed_error():
    raw: list = []
    for _ in range(5000):
        raw = [raw]
    with pytest.raises(UnknownType, match="too deeply"):
        serde.decode(raw, where="w")


def test_importing_the_codec_loads_nothing_costly():
    code = (
        "import sys; from milepost import errors; before = set(sys.modules); import milepost.serde\n"
        "costly = {'cloudpickle', 'pickle', 'decimal', 'uuid', 'fractions', 'zoneinfo', 'pathlib', 'pydantic', "
        "'msgspec', 'traceback', 'hmac'}\n"
        "print(sorted(costly & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
