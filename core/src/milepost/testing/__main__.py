"""The command ``python -m milepost.testing URL``: does the driver of this URL keep the contract?"""

from __future__ import annotations

import argparse
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from milepost.errors import MilepostError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.drivers import Kind
    from milepost.testing.report import Report

UNUSABLE: Final = 2
"""The exit code where nothing could be tried."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the contract; return 0 if the driver keeps it, 1 if it does not, 2 if that could not be found out."""
    options = _parser().parse_args(argv)
    missing = [name for name in ("pytest", "hypothesis") if find_spec(name) is None]
    if missing:
        text = f"milepost.testing needs {' and '.join(missing)}: pip install 'milepost[testing]'"
        print(text, file=sys.stderr)  # noqa: T201 - a command prints
        return UNUSABLE
    from milepost.testing.report import run

    try:
        kind: Kind = "store" if options.store else "checkpointer"
        report = run(options.url, kind=kind, only=options.k, heard=print)
    except (MilepostError, RuntimeError) as error:
        print(f"milepost.testing: {error}", file=sys.stderr)  # noqa: T201
        return UNUSABLE
    print(_summary(report))  # noqa: T201
    if options.json is not None:
        options.json.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    return 0 if report.passed else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m milepost.testing",
        description="Hold the checkpointer of a URL, or its store, to the driver contract. The place may hold other "
        "data: only threads, or items, of the contract's own are touched, and they are deleted afterwards.",
    )
    parser.add_argument("url", metavar="URL", help="the URL of a place, such as sqlite:///contract.db")
    parser.add_argument(
        "--store", action="store_true", help="hold the store of the URL to its contract, not the checkpointer"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the report to this file")
    parser.add_argument(
        "-k", default="", metavar="EXPRESSION", help="only these clauses, such as 'c04 or pruned'"
    )
    return parser


def _summary(report: Report) -> str:
    counts = ", ".join(f"{count} {outcome}" for outcome, count in report.summary.items() if count)
    return "\n".join(
        [
            "",
            f"driver        {report.driver}",
            f"distribution  {report.distribution} {report.version}".rstrip(),
            f"milepost      {report.milepost}",
            f"place         {report.url}",
            f"capabilities  {', '.join(report.capabilities) or 'none'}",
            f"clauses       {counts or 'none was tried'}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
