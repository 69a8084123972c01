"""Every check of the repository. `nox` runs the default ones; `nox -l` lists them all."""

from __future__ import annotations

import json
import os
import sys
from difflib import unified_diff
from pathlib import Path
from tempfile import TemporaryDirectory

import nox

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests", "examples", "wheels"]
# uv, where there is one, is faster; virtualenv comes with nox (`venv` is a package of its own on Debian).
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = "CI" in os.environ  # at home a missing interpreter is skipped

ROOT = Path(__file__).parent
DISTRIBUTIONS = [Path("core"), *sorted(file.parent for file in Path("drivers").glob("*/pyproject.toml"))]
PACKAGES = [file.parent for folder in DISTRIBUTIONS for file in sorted(folder.glob("src/*/py.typed"))]
GROUPS = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = {"3.11": "2", "3.12": "1", "3.13": "8"}  # and the size of the pool that `matrix` runs with there
MODES = {  # beside two workers, which is what `tests` runs with
    "workers=1": {"MILEPOST_TEST_WORKERS": "1"},
    "workers=8": {"MILEPOST_TEST_WORKERS": "8"},
    "replay=always": {"MILEPOST_TEST_REPLAY": "always"},
}
PLAIN = "not crash and not wire and not search"
INSTALLS = "tests/docs/test_files_driver.py"  # makes an environment of its own
SECANTUS = "secantusdb==0.6.0b17"  # later wheels lack the server's binary; it needs none of its dependencies
LANGGRAPH = "langgraph==1.2.22"  # what tests/porting was recorded with
SERVERLESS = {"MILEPOST_TEST_BACKENDS": os.environ.get("MILEPOST_TEST_BACKENDS", "sqlite")}
WIRE = (
    "tests/wire",
    "tests/contract",
    "tests/drivers",
    "tests/unit",
    "tests/engine",
    "tests/crash/test_crash_enumeration.py",
)
IN_PROCESS = {"MILEPOST_TEST_BACKENDS": "memory,memory-split,sqlite"}
MEASURED = {"MILEPOST_TEST_BACKENDS": "sqlite"}
BRANCHES = 95.0  # per cent of each package's branches that the measured tests must take


def _install(session: nox.Session, *groups: str) -> None:
    """Install every distribution of this clone, and the tools of these dependency groups."""
    tools = nox.project.dependency_groups(GROUPS, *groups) if groups else ()
    session.install(*tools, *(f"./{folder.as_posix()}" for folder in DISTRIBUTIONS))


def _install_servers(session: nox.Session) -> None:
    """Install the storage servers that tests start."""
    session.install(*nox.project.dependency_groups(GROUPS, "servers"))
    session.install("--no-deps", SECANTUS)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, spelling, import contracts, changelog fragments."""
    _install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("codespell")
    session.run("lint-imports")
    session.run("towncrier", "build", "--draft", "--version", "next", silent=True)


@nox.session
def types(session: nox.Session) -> None:
    """Type-check what is shipped, the examples, and what a user's editor infers."""
    _install(session, "types")
    session.run("mypy", *(str(package) for package in PACKAGES))
    session.run("mypy", "examples", "tests/typing")
    session.run("pyright", "--project", ".")  # what other editors infer


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests on this interpreter and check the share of branches taken."""
    _install(session, "tests", "uwsgi")
    _install_servers(session)
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    two = ("-n", "2", "--dist", "worksteal")
    three = ("-n", "3", "--dist", "worksteal")  # for what waits much, for servers and dying processes
    # What tries everything in turn is sampled on the servers here, and whole in `thorough`.
    sqlite = {"MILEPOST_TEST_BACKENDS": "sqlite"}
    session.run("pytest", "-q", "-m", "crash", "--ignore=tests/wire", *three, env=sqlite)
    session.run("pytest", "-q", "-m", "wire", *WIRE, *three)
    session.run("pytest", "-q", "-m", "search", *two, env=IN_PROCESS)
    report = Path(session.create_tmp()).resolve() / "coverage.json"
    measured = (
        "-m",
        PLAIN,
        "-k",
        "not mocked",  # servers are held to the same above; mocks are as slow, and in `thorough`
        "--cov",
        "--cov-report=term",
        f"--cov-report=json:{report}",
    )
    session.run("pytest", *measured, *two, env=MEASURED)
    _check_branches(session, report)


def _check_branches(session: nox.Session, report: Path) -> None:
    files = json.loads(report.read_text(encoding="utf-8"))["files"]
    for package in PACKAGES:
        name = package.name
        parts = [data["summary"] for file, data in files.items() if f"/{name}/" in Path(file).as_posix()]
        taken = sum(part["covered_branches"] for part in parts)
        share = 100 * taken / max(1, sum(part["num_branches"] for part in parts))
        session.log(f"{name}: {share:.1f} % of the branches taken")
        if share < BRANCHES:
            session.error(f"{name}: {share:.1f} % of the branches taken, at least {BRANCHES} % wanted")


@nox.session(python=list(PYTHONS))
def matrix(session: nox.Session) -> None:
    """Run the plain suite on every interpreter, one pool size each: no crashes, servers, mocks, mutants, searches."""
    _install(session, "tests")
    plain = (
        "tests/unit",
        "tests/engine",
        "tests/drivers",
        "tests/contract",
        "-m",
        PLAIN,
        "-k",
        "not Mocked and not mutants",
        f"--ignore={INSTALLS}",
    )
    pool = {"MILEPOST_TEST_WORKERS": PYTHONS[str(session.python)]}
    session.run("pytest", *plain, *session.posargs, env=SERVERLESS | pool)


@nox.session
def modes(session: nox.Session) -> None:
    """Run the engine's tests with other pool sizes and with replay after every outcome."""
    _install(session, "tests")
    for mode in session.posargs or MODES:
        if mode not in MODES:
            session.error(f"no mode {mode!r}; the modes are {', '.join(MODES)}")
        session.log(f"mode {mode}")
        session.run(
            "pytest",
            "-q",
            "-m",
            "not wire",
            "tests/engine",
            env={"MILEPOST_TEST_BACKENDS": "memory-split"} | MODES[mode],
        )


@nox.session
def crash(session: nox.Session) -> None:
    """Run the tests that kill processes."""
    _install(session, "tests", "uwsgi")
    _install_servers(session)
    session.run("pytest", "-s", "-m", "crash", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Kill, stop and start processes while 500 runs go on, two minutes on each backend; `-- --seed N` does it again."""
    _install(session, "tests")
    _install_servers(session)
    session.run("python", "tests/chaos/chaos.py", *session.posargs)


@nox.session
def contract(session: nox.Session) -> None:
    """Hold the driver of a URL, given after `--`, to the contract."""
    _install(session, "tests")
    session.run("python", "-m", "milepost.testing", *session.posargs)


@nox.session
def thorough(session: nox.Session) -> None:
    """Run every kill point and every round of the tests that `tests` only samples on storage servers, and the mocks."""
    _install(session, "tests")
    _install_servers(session)
    searches = ("tests/crash", "tests/engine", "tests/property", "tests/model")
    histories = ("tests/unit/test_fold.py", "tests/drivers/sqlite", "tests/contract/test_store_histories.py")
    servers = ("tests/wire", "tests/contract/test_contract.py", "tests/contract/test_store_contract.py")
    session.run(
        "pytest", *searches, *histories, *servers, *session.posargs, env={"MILEPOST_TEST_THOROUGH": "yes"}
    )


@nox.session
def live(session: nox.Session) -> None:
    """Run the contract on Ceph's object gateway, and look at Swift; their Debian packages must be installed."""
    _install(session, "tests")
    session.run("pytest", "tests/live", *session.posargs, env={"MILEPOST_TEST_LIVE": "yes"})


@nox.session
def porting(session: nox.Session) -> None:
    """Run one program under LangGraph and, its imports changed, under milepost; `-- --write` records what it prints."""
    _install(session, "tests")
    folder = Path(session.create_tmp()).resolve()
    python = _environment(session, folder / "langgraph")
    session.run(python, "-m", "pip", "install", "-q", LANGGRAPH, external=True)
    printed, recorded = folder / "printed.txt", Path("tests/porting/langgraph-1.2.22.txt")
    with printed.open("w", encoding="utf-8") as out:
        session.run(python, "tests/porting/runner.py", "langgraph", stdout=out, stderr=None, external=True)
    now, before = (file.read_text(encoding="utf-8") for file in (printed, recorded))
    if "--write" in session.posargs:
        recorded.write_text(now, encoding="utf-8")
    elif now != before:
        session.error(
            "\n".join(unified_diff(before.splitlines(), now.splitlines(), "recorded", "now", lineterm=""))
        )
    session.run("pytest", "-q", "tests/porting")


@nox.session
def examples(session: nox.Session) -> None:
    """Import every example, run each as a user would, and the demo."""
    _install(session, "tests")
    for script in sorted(Path("examples").glob("*.py")):
        session.run("python", "-W", "error", "-c", f"import {script.stem}", env={"PYTHONPATH": "examples"})
    session.run("pytest", "tests/docs/test_examples.py", *session.posargs)
    if not session.posargs:
        _demonstrate(session)


@nox.session
def docs(session: nox.Session) -> None:
    """Run every code block of the documentation and check every link and anchor inside it."""
    _install(session, "tests")
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every distribution, install each from its wheel into an empty environment and use it there."""
    session.install(*nox.project.dependency_groups(GROUPS, "build", "wheels"))
    _install_servers(session)
    installer = "uv" if session.venv_backend == "uv" else "pip"
    with TemporaryDirectory() as folder:
        for distribution in DISTRIBUTIONS:
            # The wheel is built from the source distribution, so both are known to be complete.
            place = ("--outdir", f"{folder}/dist", "--installer", installer)
            session.run("python", "-m", "build", *place, str(distribution), silent=True)
        built = {wheel.name.split("-")[0]: str(wheel) for wheel in Path(folder, "dist").glob("*.whl")}
        places = Path(folder, "environments")
        for package in PACKAGES:
            # The core is taken from here too: an index might hold another version of it.
            wanted = {built["milepost"], built[package.name]}
            _try_wheel(session, package.name, sorted(wanted), places / package.name)
        session.run("pytest", "tests/packaging", env={"MILEPOST_TEST_ENVIRONMENTS": str(places)})


def _try_wheel(session: nox.Session, package: str, files: list[str], place: Path) -> None:
    python = _environment(session, place)
    if session.venv_backend == "uv":
        session.run("uv", "pip", "install", "-q", "--python", python, *files, external=True)
        session.run("uv", "pip", "check", "--python", python, external=True)
    else:
        session.run(python, "-m", "pip", "install", "-q", *files, external=True)
        session.run(python, "-m", "pip", "check", external=True)
    check = (
        f"import {package}, importlib.resources as r, sys;"
        f"typed = r.files({package!r}).joinpath('py.typed').is_file();"
        f"print({package}.__file__);"
        "sys.exit(not typed and 'py.typed is missing')"
    )
    session.run(python, "-I", "-W", "error", "-c", check, external=True)
    session.run(str(Path(python).with_name("milepost")), "drivers", external=True)


def _environment(session: nox.Session, place: Path) -> str:
    """Make an empty environment with the session's interpreter, and return its own."""
    # nox's own interpreter brings virtualenv; --python makes the environment of the session's.
    python = str(Path(session.bin) / "python")
    session.run(sys.executable, "-m", "virtualenv", "-q", "--python", python, str(place), external=True)
    return str(place / ("Scripts" if sys.platform == "win32" else "bin") / "python")


@nox.session
def demo(session: nox.Session) -> None:
    """Pause a workflow in one process and finish it in another, on one SQLite file."""
    _install(session)
    _demonstrate(session)


def _demonstrate(session: nox.Session) -> None:
    script = "examples/expense_approval.py"
    with TemporaryDirectory() as folder:
        database = str(Path(folder, "claims.db"))
        session.log("first process: checks every claim, asks about the large ones, and exits")
        session.run("python", script, "run", database)
        session.log("second process: takes the answers from the command line and finishes the run")
        session.run("python", script, "answer", database, "C-1007", "C-1032")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure; prints a table and JSON, asserts nothing."""
    _install(session)
    session.run("python", "tests/benchmarks/bench.py", *session.posargs)
