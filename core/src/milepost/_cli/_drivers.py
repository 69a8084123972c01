"""``milepost drivers``: what is installed and, where asked, what each can do and whether it works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from milepost.drivers import driver_details, installed_drivers

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from milepost._struct import Struct
    from milepost.drivers import DriverDetails, InstalledDriver


def add_to(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "drivers",
        help="list the installed drivers",
        description="List the installed drivers. Without --verbose and --check, none of them is imported. Exits with 1 "
        "where one that was imported is broken.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, a list of objects")
    parser.add_argument(
        "--verbose", action="store_true", help="show each driver's options, capabilities and driver API"
    )
    parser.add_argument("--check", action="store_true", help="import each and show what is wrong with it")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List the drivers; return 1 where one is broken."""
    rows = installed_drivers()
    details = [driver_details(row) for row in rows] if options.verbose or options.check else None
    if options.json:
        print(json.dumps(_objects(rows, details, verbose=options.verbose), indent=2))
    elif options.verbose and details is not None:
        print("\n\n".join(map(_paragraph, rows, details)))
    else:
        print(_table(rows, details))
    return int(any(found.error is not None for found in details or ()))


def _objects(
    rows: Sequence[InstalledDriver], details: Sequence[DriverDetails] | None, *, verbose: bool
) -> list[dict[str, Any]]:
    objects = [_fields(row) for row in rows]
    for shown, found in zip(objects, details or (), strict=False):
        if verbose:
            shown.update(_fields(found), options=[_fields(option) for option in found.options])
        else:
            shown["error"] = found.error
    return objects


def _fields(record: Struct) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _paragraph(row: InstalledDriver, found: DriverDetails) -> str:
    lines = [f"{row.kind} {row.scheme}", f"  from          {row.distribution} {row.version}".rstrip()]
    lines.append(f"  class         {row.target}")
    if found.error is not None:
        return "\n".join([*lines, f"  broken        {found.error}"])
    lines.append(f"  driver API    {found.api}")
    lines.append(f"  capabilities  {', '.join(found.capabilities) or 'none'}")
    lines += [
        f"  option        {option.name}={option.type}"
        + (" (required)" if option.default is None else f" (default {option.default or 'none'})")
        for option in found.options
    ]
    return "\n".join(lines)


def _table(rows: Sequence[InstalledDriver], details: Sequence[DriverDetails] | None) -> str:
    lines = [("KIND", "SCHEME", "DISTRIBUTION", "VERSION", "TARGET")]
    lines += [(row.kind, row.scheme, row.distribution, row.version, row.target) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    states = ["" if found.error is None else f"broken: {found.error}" for found in details or ()]
    states = ["STATE", *(state or "works" for state in states)] if details is not None else [""] * len(lines)
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(line, widths, strict=True)), state]).rstrip()
        for line, state in zip(lines, states, strict=True)
    )
