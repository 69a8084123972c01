"""`import milepost` stays light: it loads nothing that a user of another backend does not need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import milepost

HEAVY = ("stevedore", "cloudpickle", "sqlite3", "asyncio", "importlib.metadata", "pydantic", "msgspec")
DRIVERS = ("milepost_sqlite", "sqlite_utils", "boto3", "pymongo")
BUDGET = 0.060  # seconds over bare Python

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
    loaded = loaded_after("import milepost")
    assert "milepost" in loaded
    assert loaded.isdisjoint((*HEAVY, *DRIVERS)), loaded & {*HEAVY, *DRIVERS}


def test_the_guard_would_see_a_heavy_module() -> None:
    assert "stevedore" in loaded_after("import milepost, stevedore")


def test_running_on_memory_loads_no_driver_and_scans_no_packages() -> None:
    loaded = loaded_after(
        "from milepost import entrypoint, task\n"
        "@task\ndef double(n): return 2 * n\n"
        "@entrypoint(checkpointer='memory://')\ndef flow(n): return double(n).result()\n"
        "assert flow.invoke(2, thread_id='t') == 4"
    )
    assert loaded.isdisjoint((*DRIVERS, *HEAVY))


def seconds_to_import() -> float:
    """Return the median of ten imports, in processor time: what waits for a disk or a turn is not counted."""
    program = "import time; start = time.process_time(); import milepost; print(time.process_time() - start)"
    return median(float(fresh_python(program)) for _ in range(10))


def test_importing_milepost_costs_little_over_bare_python() -> None:
    """Work of others on the same core adds to the figure and never takes from it: a batch above is repeated."""
    fresh_python("import milepost")  # compiles
    batches = [seconds_to_import()]
    while min(batches) > BUDGET and len(batches) < 5:
        batches.append(seconds_to_import())
    assert min(batches) <= BUDGET
