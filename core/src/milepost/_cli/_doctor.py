"""``milepost doctor``: why is it stuck? For each run that is not over: what it waits for, and whether that can come."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from milepost import _owner
from milepost._claim import read_thread
from milepost._cli._facts import heads
from milepost._cli._output import NOT_FOUND, add_format, rows, say
from milepost._clock import SystemClock
from milepost._engine import Engine
from milepost._struct import Struct
from milepost.checkpoint import Status
from milepost.errors import MilepostError, RecoveryExhausted, describe

if TYPE_CHECKING:
    import argparse

    from milepost._fold import RunState
    from milepost.checkpoint import Checkpointer, Head

STUCK: Final = 1
"""The exit code where something is stuck."""
_GRACE: Final = 15.0
"""Seconds that an engine may take until it looks, before nobody is said to."""
_PARKED: Final = describe(RecoveryExhausted)
_RECOVER: Final = (
    "have an engine with recover=True, or milepost worker, in a process that imports the workflow"
)

_EPILOG: Final = """\
Exit codes: 0 nothing is stuck, 1 something is, 2 a wrong call or the backend failed, 3 no such thread. Whether a
process of another host is alive cannot be seen from here: --lease-wait watches its lease for as long as that lasts.
"""


class Verdict(Struct):
    """What is with a thread, what to do, and whether it goes on by itself."""

    stuck: bool
    why: str
    remedy: str = ""


def add_to(commands: Any) -> None:
    """Add the command to a parser's commands."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "doctor", help="say why runs are stuck", description=__doc__, epilog=_EPILOG
    )
    parser.add_argument("url", metavar="URL", help="URL of the checkpointer, such as sqlite:///app.db")
    parser.add_argument(
        "--thread", action="append", dest="threads", metavar="ID", help="only this one; may be repeated"
    )
    parser.add_argument(
        "--lease-wait", action="store_true", help="watch leases of other hosts until they are over"
    )
    add_format(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look; return 1 where something is stuck."""
    with closing(Engine(checkpointer=options.url, background=0)) as engine:
        checkpointer = engine.checkpointer_for(engine, None)
        assert checkpointer is not None  # noqa: S101 - the engine was made with a URL
        found, missing = _heads(checkpointer, options.threads)
        still = _standing_still(checkpointer, found) if options.lease_wait else {}
        told = [row for head in found if (row := _row(checkpointer, head, still, all_=bool(options.threads)))]
    rows(told, ("thread", "workflow", "version", "status", "stuck", "why", "remedy"), options.output)
    for thread in missing:
        say(f"nothing is on record for thread {thread!r}")
    stuck = sum(row["stuck"] for row in told)
    say(f"{stuck} stuck, {len(told) - stuck} on their way or waiting")
    return STUCK if stuck else NOT_FOUND if missing else 0


def _heads(checkpointer: Checkpointer, threads: list[str] | None) -> tuple[list[Head], list[str]]:
    if threads is None:
        return [
            head for head in heads(checkpointer) if head.status not in {Status.DONE, Status.ABANDONED}
        ], []
    loaded = {thread: checkpointer.load_head(thread) for thread in threads}
    found = [head for head in loaded.values() if head is not None]
    return found, [thread for thread, head in loaded.items() if head is None]


def _standing_still(checkpointer: Checkpointer, found: list[Head]) -> dict[str, bool]:
    """Watch the heads that others hold for as long as their leases last; tell which have not changed."""
    held = [head for head in found if head.owner is not None and head.lease is not None]
    wait = max((head.lease or 0.0 for head in held), default=0.0)
    if wait:
        say(f"watches {len(held)} leases for {wait:.0f} s")
        SystemClock().wait(threading.Event(), wait)
    return {head.thread: checkpointer.load_head(head.thread) == head for head in held}


def _row(
    checkpointer: Checkpointer, head: Head, still: dict[str, bool], *, all_: bool
) -> dict[str, Any] | None:
    try:
        run = read_thread(checkpointer, head.thread, head).run
        verdict = verdict_of(head, run, SystemClock().now(), still=still.get(head.thread, False))
    except MilepostError as error:
        run, verdict = (
            None,
            Verdict(stuck=True, why=str(error), remedy="see what the backend says of this thread"),
        )
    if run is not None and run.status in {Status.FAILED, Status.CANCELLED} and not (verdict.stuck or all_):
        return None
    return {
        "thread": head.thread,
        "workflow": head.workflow,
        "version": None if run is None else run.started.version,
        "status": str(head.status if run is None else run.status),
        "stuck": verdict.stuck,
        "why": verdict.why + _asked(head),
        "remedy": verdict.remedy,
        "updated": head.updated,
        "since": head.since,
        "held_by": None if head.owner is None else str(head.owner),
    }


def _asked(head: Head) -> str:
    if head.cancel is None:
        return ""
    return f"; it was asked to be cancelled{f' ({head.cancel})' if head.cancel else ''}"


# -- judging: pure ---------------------------------------------------------------------------------------------------


def verdict_of(head: Head, run: RunState | None, now: datetime, *, still: bool = False) -> Verdict:
    """Return what is with a thread; ``still`` says that its head has not changed for its whole lease."""
    if run is None:
        return Verdict(stuck=False, why="no run is on record")
    if run.status is Status.RUNNING:
        return _running(head, now, still=still)
    if head.status is Status.RUNNING and (head.owner is None or _owner.is_dead(head.owner)):
        return Verdict(
            stuck=True,
            why=f"it is {run.status}, but its process died before the head said so",
            remedy=f"an engine that recovers mends it: {_RECOVER}",
        )
    return _resting(run, now)


def _resting(run: RunState, now: datetime) -> Verdict:
    if run.status is Status.FAILED and run.failed is not None and run.failed.error.type == _PARKED:
        return Verdict(
            stuck=True,
            why=run.failed.error.message,
            remedy="find out what kills the process; then milepost runs retry",
        )
    late = None if run.wake is None else now.timestamp() - run.wake
    if late is not None and late > _GRACE:
        what = "it should have woken" if run.status is Status.SLEEPING else "a question expired"
        return Verdict(
            stuck=True, why=f"{what} {late:.0f} s ago, and nobody went on with it", remedy=_RECOVER
        )
    if run.status is Status.SLEEPING:
        until = min(run.questions[id_].expires or "" for id_ in run.pending)
        return Verdict(stuck=False, why=f"sleeps until {until}")
    if run.status is Status.INTERRUPTED:
        why = f"waits for a person since {run.rested}: {', '.join(run.asks)}"
        return Verdict(stuck=False, why=why, remedy="milepost inbox answer URL ID VALUE")
    if run.status is Status.FAILED and run.failed is not None:
        error = run.failed.error
        return Verdict(
            stuck=False, why=f"failed with {error.type}: {error.message}", remedy="milepost runs retry"
        )
    return Verdict(stuck=False, why=f"is {run.status}")


def _running(head: Head, now: datetime, *, still: bool) -> Verdict:
    quiet = max(0.0, (now - datetime.fromisoformat(head.updated)).total_seconds())
    if head.owner is None:
        return _unheld(head, quiet)
    held, lease = f"held by {head.owner} since {head.since or head.updated}", head.lease or 0.0
    if _owner.is_dead(head.owner):
        return Verdict(stuck=True, why=f"its process died: it was {held}", remedy=_RECOVER)
    if still:
        why = f"{held}, which has given no sign of life for its whole lease"
        return Verdict(stuck=True, why=why, remedy=_RECOVER)
    if quiet > lease:
        why = f"{held}; by the clocks' word, its last sign of life was {quiet:.0f} s ago (lease {lease:g} s)"
        return Verdict(stuck=True, why=why, remedy=f"--lease-wait makes sure; if it is dead, {_RECOVER}")
    return Verdict(stuck=False, why=f"works: {held}, last sign of life {quiet:.0f} s ago")


def _unheld(head: Head, quiet: float) -> Verdict:
    if not head.offered:
        why = f"its caller stopped it, or handed the thread back, at {head.updated}"
        return Verdict(stuck=True, why=why, remedy="invoke(None) goes on with it, or milepost runs retry")
    if quiet <= _GRACE:
        return Verdict(stuck=False, why=f"was handed on {quiet:.0f} s ago")
    why = f"was handed on at {head.updated}, and no live engine knows workflow {head.workflow!r} and recovers"
    return Verdict(stuck=True, why=why, remedy=_RECOVER)
