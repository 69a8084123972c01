"""``milepost worker``: a process that only goes on with runs: recovers them, wakes them, executes them."""

from __future__ import annotations

import os
import signal
import sys
import threading
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from milepost import _known
from milepost._cli._output import say
from milepost._engine import Engine, set_engine
from milepost.errors import InvalidStart

if TYPE_CHECKING:
    import argparse

_EPILOG: Final = """\
MODULE:ENGINE names an engine, or a function that returns one; the current directory is looked in first. The worker
goes on with runs of all workflows that the imports bring. SIGTERM and SIGINT end it at task boundaries and hand its
runs on; a second one ends it at once.
"""


def add_to(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "worker", help="go on with runs, until it is told to end", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument(
        "engine", metavar="MODULE:ENGINE", help="where the engine is, such as shop.flows:engine"
    )
    parser.add_argument(
        "--import",
        action="append",
        default=[],
        dest="modules",
        metavar="MODULE",
        help="a module with workflows",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Work until a signal comes."""
    sys.path.insert(0, str(Path.cwd()))
    engine = _engine(options.engine)
    for name in options.modules:
        _module(name)
    over = threading.Event()

    def end(number: int, _frame: object) -> None:
        if over.is_set():
            os._exit(128 + number)
        over.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    set_engine(engine)
    engine.begin(recover=True)
    names = ", ".join(sorted(_known.known())) or "none"
    say(f"worker {os.getpid()} goes on with runs of: {names}")
    while not over.wait(1.0):  # waits that end now and then let handlers of signals run
        pass
    say(f"worker {os.getpid()} ends at task boundaries")
    engine.close()
    return 0


def _engine(spec: str) -> Engine:
    name, _, attribute = spec.partition(":")
    if not name or not attribute:
        raise InvalidStart(f"{spec!r} names no engine: write MODULE:ENGINE, such as shop.flows:engine")
    found: Any = _module(name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InvalidStart(
                f"module {name!r} has no {attribute!r}: write MODULE:ENGINE, with the engine's name"
            )
        found = getattr(found, part)
    made = found() if callable(found) else found
    if not isinstance(made, Engine):
        raise InvalidStart(f"{spec!r} is {type(made).__name__}, and no engine")
    if not made.slots.size:
        raise InvalidStart(f"{spec!r} has background=0, so nothing would execute in this worker")
    return made


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise
        raise InvalidStart(
            f"there is no module {name!r} here: the current directory is {Path.cwd()}"
        ) from error
