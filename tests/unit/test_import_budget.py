"""Importing milepost stays light: it loads nothing that a user of another backend does not need, and no engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import milepost

HEAVY = ("stevedore", "cloudpickle", "sqlite3", "asyncio", "importlib.metadata", "pydantic", "msgspec")
DRIVERS = ("milepost_sqlite", "sqlite_utils", "boto3", "pymongo")
EVERY_PROGRAM = "from milepost import Command, entrypoint, interrupt, task"
BUDGET = 22_000  # calls of functions, the import system's own among them; `import typing` makes about 10,000

PACKAGE = Path(milepost.__file__).parent
INSTALLED = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def fresh_python(program: str) -> str:
    """Run a program where only what it imports is loaded: no start-up files, no coverage."""
    env = {"PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *INSTALLED]), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


def loaded_after(imports: str) -> set[str]:
    return set(fresh_python(f"import sys\n{imports}\nprint(*sys.modules, sep='\\n')").split())


def test_importing_milepost_loads_no_driver_and_no_client_library() -> None:
    loaded = loaded_after("from milepost import *")
    assert "milepost._workflow" in loaded
    assert loaded.isdisjoint((*HEAVY, *DRIVERS)), loaded & {*HEAVY, *DRIVERS}


def test_the_guard_would_see_a_heavy_module() -> None:
    assert "stevedore" in loaded_after("import milepost, stevedore")


def test_declaring_workflows_loads_no_engine_and_no_codec() -> None:
    loaded = loaded_after(
        f"{EVERY_PROGRAM}\n@task\ndef double(n): return 2 * n\n@entrypoint\ndef flow(n): return double(n).result()"
    )
    assert loaded.isdisjoint(("milepost._run", "milepost._engine", "milepost.serde", "milepost.schema"))


def test_running_on_memory_loads_no_driver_and_scans_no_packages() -> None:
    loaded = loaded_after(
        "from milepost import entrypoint, task\n"
        "@task\ndef double(n): return 2 * n\n"
        "@entrypoint(checkpointer='memory://')\ndef flow(n): return double(n).result()\n"
        "assert flow.invoke(2, thread_id='t') == 4"
    )
    assert loaded.isdisjoint((*DRIVERS, *HEAVY))


def calls_made_by(imports: str) -> int:
    """Return how many calls an import makes, of Python functions and of C functions.

    A call takes about a microsecond, so this stands for the time; but neither a busy machine nor a slow one changes
    it, nor whether the modules had to be compiled. It would not see one call that computes for long.
    """
    return int(
        fresh_python(
            "import sys\n"
            "calls = 0\n"
            "def count(frame, event, arg):\n"
            "    global calls\n"
            "    calls += event in ('call', 'c_call')\n"
            "sys.setprofile(count)\n"
            f"{imports}\n"
            "sys.setprofile(None)\n"
            "print(calls)"
        )
    )


def test_importing_what_every_program_needs_makes_few_calls() -> None:
    assert calls_made_by(EVERY_PROGRAM) <= BUDGET


@pytest.mark.parametrize("addition", ["import milepost.serde", "import milepost._engine", "import inspect"])
def test_the_budget_would_see_a_module_too_many(addition: str) -> None:
    assert calls_made_by(f"{EVERY_PROGRAM}\n{addition}") > BUDGET
