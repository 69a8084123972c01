"""What loads when it is first used: the names of ``milepost``, and the modules that run a workflow."""

from __future__ import annotations

import ast
import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import milepost
from milepost import _later

PACKAGE = Path(milepost.__file__).parent


def seen_by_type_checkers(source: Path) -> dict[str, str]:
    """Return what a module imports from milepost for type checkers alone: each name, and where it comes from."""
    found = {}
    for block in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for line in block.body:
                if isinstance(line, ast.ImportFrom) and (line.module or "").startswith("milepost"):
                    found |= {
                        alias.asname or alias.name: f"{line.module}.{alias.name}" for alias in line.names
                    }
    return found


def test_every_public_name_is_where_type_checkers_see_it() -> None:
    seen = seen_by_type_checkers(PACKAGE / "__init__.py")
    assert sorted(seen) == milepost.__all__
    for name, place in seen.items():
        module, _, attribute = place.rpartition(".")
        expected = getattr(importlib.import_module(module), attribute)
        assert milepost.__getattr__(name) is expected, name
        assert getattr(milepost, name) is expected, name


def test_every_later_module_is_the_one_that_type_checkers_see() -> None:
    checked = []
    for file in PACKAGE.rglob("*.py"):
        module = (
            importlib.import_module(".".join(("milepost", *file.relative_to(PACKAGE).with_suffix("").parts)))
            if file.name not in {"__init__.py", "__main__.py"}
            else None
        )
        for name, value in vars(module).items() if module else ():
            if isinstance(value, _later.Later):
                assert seen_by_type_checkers(file)[name] == value._name, f"{name} in {file}"
                checked.append(name)
    assert "_claim" in checked


def test_star_and_dir_give_every_public_name() -> None:
    program = (
        "import milepost\n"
        "assert set(milepost.__all__) < set(dir(milepost))\n"
        "assert 'Engine' not in vars(milepost)\n"
        "from milepost import *\n"
        "assert set(milepost.__all__) < set(globals())"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'milepost' has no attribute 'absent'"):
        milepost.absent  # noqa: B018 - looking is the test
    with pytest.raises(ImportError, match="cannot import name 'absent' from 'milepost'"):
        exec("from milepost import absent")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _later.later("_ids").nothing  # noqa: B018 - likewise


def test_public_classes_are_pickled_by_the_module_they_live_in() -> None:
    assert pickle.loads(pickle.dumps(milepost.Engine)) is milepost.Engine
    assert pickle.loads(pickle.dumps(milepost.Command(resume=1))) == milepost.Command(resume=1)


def test_threads_that_load_at_once_get_the_same() -> None:
    program = (
        "import threading, milepost\n"
        "from milepost import entrypoint\n"
        "@entrypoint(checkpointer='memory://')\n"
        "def flow(n): return n + 1\n"
        "start, got = threading.Barrier(8), []\n"
        "def work(n):\n"
        "    start.wait()\n"
        "    got.append((milepost.Engine, flow.invoke(n, thread_id=str(n)) - n))\n"
        "threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "assert got == [(milepost.Engine, 1)] * 8, got"
    )
    for _ in range(5):
        subprocess.run([sys.executable, "-c", program], check=True)


def test_a_later_module_shows_what_is_put_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = _later.later("_ids")
    assert ids.child("1", 2) == "1.2"
    monkeypatch.setattr("milepost._ids.child", lambda *_: "another")
    assert ids.child("1", 2) == "another"


def test_the_tag_of_questions_is_taken_before_a_run_is_loaded() -> None:
    program = (
        "import sys\n"
        "from milepost import serde\n"
        "assert 'milepost._run' not in sys.modules\n"
        "class Mine: pass\n"
        "serde.register('interrupt', Mine, encode=str, decode=str)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "the tag 'interrupt' is taken by milepost.question.Interrupt" in done.stderr
