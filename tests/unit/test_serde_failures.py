"""Exceptions as data: what is recorded, and what is raised again on replay."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import types
import zipimport
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from milepost import errors, serde


class Declined(Exception):
    made = 0

    def __init__(self, code, *, hint=None):
        type(self).made += 1
        self.code = code
        self.hint = hint
        super().__init__(f"declined with {code}")


class Quiet(Exception):
    def __init__(self, a, b=2):
        self.total = a + b


class Shouting(ValueError, errors.MilepostError):
    def __str__(self):
        return f"{self.args[0]}!"


class Speechless(Exception):
    def __str__(self):
        raise ZeroDivisionError


class Slotted(Exception):
    __slots__ = ("__own", "where")

    def __init__(self, where):
        self.where = where
        self.__own = 1


class Outer:
    class Inner(OSError):
        pass


class Missing(OSError):
    def __init__(self, name):
        super().__init__(2, "gone", name)


class Eager(Exception):
    def __new__(cls, *args):
        raise AssertionError("constructors are not run")


@dataclass
class Coded(Exception):
    code: int
    parts: tuple = ()


def caught(function):
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError


def facts_of(error):
    return serde.failure(error, where="task 'pay'")


def again_of(error):
    facts = facts_of(error)
    assert facts.rebuilds
    again = serde.rebuild(facts.type, json.loads(facts.arguments), json.loads(facts.attributes))
    assert type(again) is type(error)
    assert (again.args, vars(again), str(again)) == (error.args, vars(error), str(error))
    return again


def noted():
    error = ValueError("x")
    error.add_note("while paying")
    return error


def later(error, **attributes):
    for name, value in attributes.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        ValueError("a", 1, (2.5, None), b"x"),
        KeyError("k"),
        KeyError(("a", 1)),
        IndexError(3),
        StopIteration(5),
        SystemExit(3),
        KeyboardInterrupt(),
        OSError(),
        OSError("plain"),
        FileNotFoundError(2, "No such file", "a.txt"),
        OSError(18, "cross", "a", None, "b"),
        OSError(2, "x", PurePosixPath("p")),
        OSError(99999, "own number"),
        later(BlockingIOError(11, "wait", 5), extra={1: (2,)}),
        ImportError("cannot", name="pkg.mod", path="/x.py"),
        ModuleNotFoundError("no", name="pkg"),
        NameError("n", name="thing"),
        AttributeError("a", name="thing"),
        SyntaxError("bad", ("f.py", 1, 2, "x = ", 1, 3)),
        caught(b"\xff".decode),
        caught(lambda: "\u0100".encode("latin-1")),
        UnicodeTranslateError("abc", 0, 1, "why"),
        caught(lambda: 1 / 0),
        caught(lambda: {}["k"]),
        caught(lambda: Path("/nowhere/at/all").read_text()),
        caught(lambda: None.nothing),
        caught(lambda: compile("x = = 1", "f.py", "exec")),
        caught(lambda: int("x")),
        caught(lambda: json.loads("{")),
        zipimport.ZipImportError("z"),
        asyncio.CancelledError("why"),
        TimeoutError("late"),
        noted(),
        Declined(5, hint=["a"]),
        Quiet(1),
        Shouting("loud"),
        Slotted("here"),
        Outer.Inner(5, "io"),
        Missing("name"),
        Coded(5, (1,)),
        later(Coded(5), code=6),
        errors.PositionTaken(thread_id="t", position=3),
        errors.NotSerializable("m", where="w", path="$", type_name="T"),
        later(ValueError("a"), args=("b", 1)),
        later(KeyError("a"), nested={"x": {1, 2}}),
    ],
    ids=repr,
)
def test_an_exception_comes_back_equal(error):
    again_of(error)


@pytest.mark.parametrize(
    ("error", "names"),
    [
        (FileNotFoundError(2, "No such file", "a.txt"), "errno strerror filename filename2"),
        (OSError(18, "cross", "a", None, "b"), "errno filename filename2"),
        (Missing("name"), "errno strerror filename"),
        (later(BlockingIOError(11, "wait", 5)), "characters_written"),
        (ImportError("cannot", name="pkg.mod", path="/x.py"), "msg name path"),
        (NameError("n", name="thing"), "name"),
        (AttributeError("a", name="thing"), "name"),
        (SyntaxError("bad", ("f.py", 1, 2, "x = ", 1, 3)), "msg filename lineno offset text end_lineno"),
        (caught(b"\xff".decode), "encoding object start end reason"),
        (StopIteration(5), "value"),
        (SystemExit(3), "code"),
        (Slotted("here"), "where _Slotted__own"),
    ],
    ids=repr,
)
def test_what_is_outside_the_attributes_comes_back_too(error, names):
    again = again_of(error)
    for name in names.split():
        assert getattr(again, name) == getattr(error, name)


def test_the_constructor_is_not_run_again():
    error = Declined(5)
    made = Declined.made
    again = again_of(error)
    assert (again.code, again.hint, Declined.made) == (5, None, made)
    assert type(serde.rebuild(f"{__name__}.Eager", [], {})) is Eager


def local_error():
    class Local(Exception):
        pass

    return Local("x")


@pytest.mark.parametrize(
    "error",
    [
        local_error(),
        ValueError(object()),
        later(ValueError("x"), response=object()),
        ExceptionGroup("several", [ValueError("a")]),
        later(ValueError("x"), other=ValueError("y")),
        type("Renamed", (Exception,), {})("x"),
        type("Declined", (Exception,), {"__module__": __name__})("x"),
        type("Lost", (Exception,), {"__module__": "no.such.module"})("x"),
        type("Broken", (Exception,), {"__module__": None})("x"),
        type("ValueError", (Exception,), {"__module__": "builtins"})("x"),
    ],
    ids=lambda error: re.sub(" at 0x[0-9a-f]+", "", repr(error)),
)
def test_what_will_not_rebuild_is_known_at_once_and_keeps_its_facts(error):
    facts = facts_of(error)
    assert (facts.rebuilds, facts.arguments, facts.attributes) == (False, None, None)
    assert facts.message == str(error)
    assert type(error).__qualname__ in facts.type
    assert type(error).__name__ in facts.traceback
    assert serde.rebuild(facts.type, None, None) is None


def test_attributes_are_never_pickled():
    serde.enable_pickle(b"k" * 32)
    try:
        assert not facts_of(ValueError(object())).rebuilds
    finally:
        serde.disable_pickle()


def test_the_facts_name_type_message_and_place():
    def fail():
        raise Declined(7) from KeyError("first")

    facts = facts_of(caught(fail))
    assert facts.type == f"{__name__}.Declined"
    assert facts.message == "declined with 7"
    assert (json.loads(facts.arguments), json.loads(facts.attributes)) == (
        ["declined with 7"],
        {"code": 7, "hint": None},
    )
    assert "in fail" in facts.traceback
    assert "KeyError: 'first'" in facts.traceback
    assert facts_of(KeyError("k")).type == "KeyError"


def test_an_exception_that_cannot_give_its_text_is_survived():
    facts = facts_of(Speechless("x"))
    assert facts.message == "<task 'pay': str() of the exception raised ZeroDivisionError>"
    assert facts.rebuilds
    assert "Speechless" in facts.traceback


def test_a_long_traceback_keeps_its_end():
    facts = facts_of(ValueError("x" * 50_000 + "the end"))
    assert facts.traceback.startswith("[…]")
    assert facts.traceback.endswith("the end\n")
    assert len(facts.traceback) < 21_000


def test_a_traceback_that_cannot_be_formatted_is_survived(monkeypatch):
    import traceback

    def refuse(*_):
        raise RuntimeError

    monkeypatch.setattr(traceback, "format_exception", refuse)
    facts = facts_of(caught(lambda: 1 / 0))
    assert "in caught" in facts.traceback


@pytest.mark.parametrize(
    ("name", "arguments", "attributes"),
    [
        ("os.system", ["true"], {}),
        ("builtins.int", [1], {}),
        ("builtins.ValueError", ["x"], {}),
        ("int", [1], {}),
        ("subprocess.Popen", ["true"], {}),
        ("json.decoder.NoSuch", [], {}),
        ("json.tool.Anything", [], {}),
        ("os.error", [], {}),
        ("", [], {}),
        (".", [], {}),
        ("ValueError.__init__", [], {}),
        ("ValueError", "$nonsense", 3),
        ("ValueError", [{"$tuple": 1}], {}),
        ("ValueError", [{"$pickle": {}}], {}),
        ("ValueError", 5, {}),
        ("UnicodeDecodeError", ["too few"], {}),
        ("OSError", [1, 2], {"characters_written": "x"}),
    ],
)
def test_a_record_that_names_something_else_builds_nothing(name, arguments, attributes):
    assert serde.rebuild(name, arguments, attributes) is None


def test_looking_a_class_up_imports_nothing_and_asks_no_module(monkeypatch):
    module = types.ModuleType("sneaky")
    module.__getattr__ = lambda name: pytest.fail("asked")  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "sneaky", module)
    assert serde.rebuild("sneaky.Error", [], {}) is None
    before = set(sys.modules)
    assert serde.rebuild("xmlrpc.client.Fault", [1, "x"], {}) is None or "xmlrpc.client" in before
    assert set(sys.modules) == before


def test_attributes_from_a_record_do_not_run_the_classes_code():
    error = serde.rebuild("ValueError", ["x"], {"args": ["other"], "__notes__": ["n"], "__class__": "int"})
    assert type(error) is ValueError
    assert error.args == ("x",)
