"""The command line: ``milepost drivers``, ``copy``, ``store``, ``runs``, ``inbox``, ``doctor``, ``worker``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from milepost._cli import _copy, _doctor, _drivers, _inbox, _runs, _store, _worker
from milepost.errors import MilepostError

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED: Final = 2
"""The exit code of a command that failed; argparse uses it too."""
INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code. Errors go to stderr as one line.

    ``argv`` is what follows the program's name; by default that of this process.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    if options.version:
        print(f"milepost {_version()}")
        return 0
    if options.command is None:
        parser.error("a command is missing; try: milepost drivers")
    try:
        code: int = options.run(options)
    except MilepostError as error:
        print(f"milepost: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("milepost: interrupted", file=sys.stderr)
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="milepost", description="Durable workflows from ordinary functions."
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    _drivers.add_to(commands)
    _copy.add_to(commands)
    _store.add_to(commands)
    _runs.add_to(commands)
    _inbox.add_to(commands)
    _doctor.add_to(commands)
    _worker.add_to(commands)
    return parser


def _version() -> str:
    from importlib.metadata import version

    return version("milepost")
