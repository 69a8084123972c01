"""``milepost copy``: threads from one backend to another, with a progress bar where a person watches."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from milepost.drivers import open_checkpointer

if TYPE_CHECKING:
    import argparse
    from collections import Counter
    from typing import Self

    from milepost._copy import Copied
    from milepost.checkpoint import Checkpointer

_EPILOG = """\
Exit codes: 0 all is there, 1 a thread was refused (each is named with the reason), 2 a wrong call or a backend failed.
A copy that was cut off goes on when the same command runs again. Nothing is overwritten and nothing is deleted.
Without --thread, all threads that have a head are copied; a journal without a head is not listed by any backend.
"""


def add_to(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "copy",
        help="copy threads from one backend to another",
        description="Copy journals and heads between backends, read them back and compare.",
        epilog=_EPILOG,
    )
    parser.add_argument("source", metavar="FROM", help="URL of the checkpointer to copy from")
    parser.add_argument("target", metavar="TO", help="URL of the checkpointer to copy to")
    parser.add_argument(
        "--thread", action="append", dest="threads", metavar="ID", help="copy this thread; may be repeated"
    )
    parser.add_argument("--dry-run", action="store_true", help="write nothing; say what is missing")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each thread")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Copy; return 1 where a thread was refused."""
    from collections import Counter

    from milepost._copy import copy_threads

    done: Counter[str] = Counter()
    with (
        open_checkpointer(options.source) as source,
        open_checkpointer(options.target) as target,
        _Progress(source, options) as progress,
    ):
        reports = copy_threads(source, target, options.threads, dry_run=options.dry_run, wrote=progress.wrote)
        for report in reports:
            done[report.state] += 1
            done["batches"] += report.batches
            done["bytes"] += report.size
            progress.show(report)
    if not done:
        print(f"milepost: no thread of {source!r} has a head", file=sys.stderr)
    if not options.json:
        print(_summary(done, dry_run=options.dry_run))
    return int(done["refused"] > 0)


def _summary(done: Counter[str], *, dry_run: bool) -> str:
    written = "missing" if dry_run else "copied"
    return (
        f"{done[written]} {written} ({done['batches']} batches, {done['bytes']} bytes), "
        f"{done['equal']} there already, {done['refused']} refused"
    )


class _Progress:
    """A line for each thread; a bar of threads, batches and bytes instead, on a terminal that has ``tqdm``.

    What was refused is a line in any case.
    """

    def __init__(self, source: Checkpointer, options: argparse.Namespace) -> None:
        self._as_json: bool = options.json
        self._batches = self._bytes = 0
        self._bar = _bar(source, options) if sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def wrote(self, size: int) -> None:
        """Count an acknowledged batch."""
        self._batches += 1
        self._bytes += size
        if self._bar is not None:
            self._bar.set_postfix(batches=self._batches, bytes=self._bytes, refresh=False)
            self._bar.update(0)

    def show(self, report: Copied) -> None:
        """Say what became of a thread."""
        if self._bar is None:
            print(_json(report) if self._as_json else _line(report), flush=True)
            return
        self._bar.update()
        if self._as_json or report.error is not None:
            self._bar.write(_json(report) if self._as_json else _line(report), file=sys.stdout)


def _bar(source: Checkpointer, options: argparse.Namespace) -> Any:
    """Return a bar; None where ``tqdm`` is not installed. Only for its sake are the threads counted ahead."""
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    from milepost._copy import listed_threads

    total = sum(1 for _ in listed_threads(source)) if options.threads is None else len(options.threads)
    return tqdm(total=total, unit=" threads", file=sys.stderr)


def _line(report: Copied) -> str:
    if report.error is not None:
        return f"{report.state:8} {report.thread!r}: {report.error}"
    if not report.batches:
        return f"{report.state:8} {report.thread!r}"
    return f"{report.state:8} {report.thread!r}  {report.batches} batches, {report.size} bytes"


def _json(report: Copied) -> str:
    error = report.error
    shown = {"thread": report.thread, "state": report.state, "batches": report.batches, "bytes": report.size}
    if error is not None:
        shown |= {"error": type(error).__name__, "message": str(error)}
        shown |= {"position": getattr(error, "position", None)}
    return json.dumps(shown)
