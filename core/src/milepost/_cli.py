"""The command line: ``milepost drivers``, ``milepost --version``.  (layer 14)"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Final

from milepost.drivers import installed_drivers
from milepost.errors import MilepostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.drivers import InstalledDriver

FAILED: Final = 2
"""The exit code of a command that failed; argparse uses it too."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code. Errors go to stderr as one line.

    ``argv`` is what follows the program's name; by default that of this process.
    """
    options = _parser().parse_args(argv)
    try:
        if options.version:
            print(f"milepost {_version()}")  # noqa: T201 - a command line prints
        elif options.command == "drivers":
            _drivers(as_json=options.json)
        else:
            _parser().error("a command is missing; try: milepost drivers")
    except MilepostError as error:
        print(f"milepost: {error}", file=sys.stderr)  # noqa: T201
        return FAILED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="milepost", description="Durable workflows from ordinary functions."
    )
    parser.add_argument("--version", action="store_true", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    drivers = commands.add_parser("drivers", help="list the installed drivers; imports none of them")
    drivers.add_argument("--json", action="store_true", help="print JSON, a list of objects")
    return parser


def _version() -> str:
    from importlib.metadata import version

    return version("milepost")


def _drivers(*, as_json: bool) -> None:
    rows = installed_drivers()
    fields = [{name: getattr(row, name) for name in row.__struct_fields__} for row in rows]
    print(json.dumps(fields, indent=2) if as_json else _table(rows))  # noqa: T201 - a command line prints


def _table(rows: Sequence[InstalledDriver]) -> str:
    lines = [("KIND", "SCHEME", "DISTRIBUTION", "VERSION", "TARGET")]
    lines += [(row.kind, row.scheme, row.distribution, row.version, row.target) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
