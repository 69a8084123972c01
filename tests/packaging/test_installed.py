"""Each distribution in an empty environment: what works there, and what one is told where something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backends import Backends, parametrized

if TYPE_CHECKING:
    from collections.abc import Callable

ENVIRONMENTS = Path(os.environ["MILEPOST_TEST_ENVIRONMENTS"])
DRIVERS = {"s3": "milepost-s3", "mongodb": "milepost-mongodb", "sqlite": "milepost-sqlite"}
URLS = {"s3": "s3://bucket/runs", "mongodb": "mongodb://localhost/runs", "sqlite": "sqlite:///runs.db"}

WORKFLOW = """
import sys
from milepost import Command, entrypoint, interrupt, task

@task
def double(number):
    return 2 * number

@entrypoint(checkpointer=sys.argv[1])
def flow(number):
    return [double(number).result(), interrupt("go on?"), double(1).result()]

print(flow.invoke(Command(resume="yes") if sys.argv[2] == "answer" else 21, thread_id="t"))
"""

OPEN = """
import sys
import milepost
sys.path[:0] = sys.argv[2:]
try:
    milepost.open_checkpointer(sys.argv[1])
except milepost.errors.MilepostError as error:
    print(f"{type(error).__name__}: {error}")
else:
    print("opened")
"""


def python(package: str, program: str, *arguments: str) -> str:
    """Run a program in a package's environment, away from this clone; warnings are errors."""
    programs = "Scripts" if sys.platform == "win32" else "bin"
    done = subprocess.run(
        [ENVIRONMENTS / package / programs / "python", "-I", "-W", "error", "-c", program, *arguments],
        cwd=ENVIRONMENTS,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def claim(folder: Path, distribution: str, entry_points: str) -> Path:
    """Leave what the installation of a distribution leaves behind."""
    made = folder / f"{distribution.replace('-', '_')}-2.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.0\n")
    (made / "entry_points.txt").write_text(entry_points)
    return folder


@pytest.fixture
def url_on(backends: Backends, tmp_path: Path) -> Callable[[str], str]:
    """Give the URL of a fresh place on a backend."""

    def url(name: str) -> str:
        return f"sqlite:///{tmp_path}/runs.db" if name == "sqlite" else backends.server(name).url("installed")

    return url


@pytest.mark.parametrize("name", parametrized(tuple(DRIVERS)))
def test_a_driver_and_the_core_are_all_that_a_workflow_needs(name: str, url_on: Callable[[str], str]) -> None:
    package, url = f"milepost_{name}", url_on(name)
    asked = python(package, WORKFLOW, url, "start")
    assert "go on?" in asked
    assert python(package, WORKFLOW, url, "answer") == "[42, 'yes', 2]"


def test_the_core_alone_runs_workflows_in_memory() -> None:
    assert "go on?" in python("milepost", WORKFLOW, "memory://", "start")


@pytest.mark.parametrize("name", DRIVERS)
def test_without_its_driver_a_url_is_answered_with_the_package_to_install(name: str) -> None:
    said = python("milepost", OPEN, URLS[name])
    assert said.startswith("DriverNotFound: ")
    assert f"pip install '{DRIVERS[name]}'" in said
    assert f"milepost[{name}]" in said


@pytest.mark.parametrize("name", DRIVERS)
def test_two_packages_that_claim_a_scheme_are_both_named(name: str, tmp_path: Path) -> None:
    package = f"milepost_{name}"
    rival = claim(tmp_path, f"rival-{name}", f"[milepost.checkpointers]\n{name} = rival_driver:Rival\n")
    assert python(package, OPEN, URLS[name]) == "opened"
    said = python(package, OPEN, URLS[name], str(rival))
    assert said.startswith("DriverConflict: ")
    assert DRIVERS[name] in said
    assert f"rival-{name} 2.0" in said


def test_a_driver_that_lacks_its_client_library_says_how_to_get_it(tmp_path: Path) -> None:
    claimed = claim(tmp_path, "lacking-driver", "[milepost.checkpointers]\nlacking = lacking_driver:Driver\n")
    (claimed / "lacking_driver.py").write_text("import a_client_that_nobody_installed\n")
    said = python("milepost", OPEN, "lacking://here", str(claimed))
    assert said.startswith("DriverBroken: ")
    assert "pip install --force-reinstall 'lacking-driver'" in said
