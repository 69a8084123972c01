"""What commands print: a table for people, JSON for programs; data on standard output, all else on standard error."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping, Sequence

NOT_FOUND: Final = 3
"""The exit code where there is no such thread, run or question."""
CONFLICT: Final = 4
"""The exit code where somebody else was first, or works on it: answered before, busy, over."""
FORMATS: Final = ("table", "json", "jsonl")

Row = dict[str, Any]


def add_format(parser: argparse.ArgumentParser) -> None:
    """Let a command be told how to print."""
    parser.add_argument(
        "-o", "--output", choices=FORMATS, default="table", help="how to print; a table by default"
    )


def rows(found: Iterable[Mapping[str, Any]], columns: Sequence[str], form: str) -> int:
    """Print rows, as a table of these columns or whole as JSON; return how many."""
    count = 0
    if form == "jsonl":
        for row in found:
            print(json.dumps(row, default=str), flush=True)
            count += 1
        return count
    listed = list(found)
    if form == "json":
        print(json.dumps(listed, indent=2, default=str))
    elif listed:
        print(table([[_cell(row.get(name)) for name in columns] for row in listed], columns))
    return len(listed)


def table(lines: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    """Return lines below a header, in columns as wide as what is in them."""
    whole = [[name.upper().replace("_", " ") for name in columns], *lines]
    widths = [max(map(len, column)) for column in zip(*whole, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in whole
    )


def facts(found: Mapping[str, Any], form: str) -> None:
    """Print one thing's facts: a line each, or JSON."""
    if form != "table":
        print(json.dumps(found, indent=2 if form == "json" else None, default=str))
        return
    width = max(map(len, found), default=0)
    for name, value in found.items():
        if value not in (None, "", [], ()):
            print(f"{name.replace('_', ' ').ljust(width)}  {_cell(value)}")


def say(text: str) -> None:
    """Tell the person who called, beside the data."""
    print(f"milepost: {text}", file=sys.stderr)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, default=str)
