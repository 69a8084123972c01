"""``milepost runs``: list runs, look at one, follow it, cancel it, go on with it; on any backend by its URL."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from milepost._cli._output import CONFLICT, NOT_FOUND, add_format, facts, rows, say
from milepost._engine import Engine
from milepost._listing import list_threads
from milepost.checkpoint import Status
from milepost.drivers import open_checkpointer
from milepost.errors import NothingToCancel, NothingToResume, ThreadBusy, UnknownCheckpoint, UnknownThread

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from milepost._listing import ThreadInfo
    from milepost.checkpoint import Head
    from milepost.events import Event
    from milepost.run import Run

RUN_FAILED: Final = 6
WAITING: Final = 7
TIMED_OUT: Final = 124

_EPILOG: Final = """\
Exit codes: 0 done, 2 a wrong call or a backend failed, 3 no such thread or run, 4 somebody works on it or it is over;
of watch: 0 the run is done, 6 it failed or was cancelled, 7 it waits for a person, 124 the time was up.
What retry and fork begin is done by live engines with recover=True, or by milepost worker.
"""
_COLUMNS: Final = ("thread", "workflow", "status", "owner", "tags", "updated", "held_by")


def add_to(commands: Any) -> None:
    """Add the commands to a parser's commands."""
    runs: argparse.ArgumentParser = commands.add_parser(
        "runs", help="look at runs, cancel them, go on with them", description=__doc__, epilog=_EPILOG
    )
    actions = runs.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(
        name: str, run: Callable[..., int], text: str, *, thread: str = "one"
    ) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=text, epilog=_EPILOG
        )
        parser.add_argument("url", metavar="URL", help="URL of the checkpointer, such as sqlite:///app.db")
        if thread == "one":
            parser.add_argument("thread", metavar="THREAD")
        parser.set_defaults(run=run)
        return parser

    ls = action("ls", _ls, "list threads with their newest runs, as their heads show them", thread="")
    ls.add_argument(
        "--status", action="append", choices=[str(each) for each in Status], help="may be repeated"
    )
    ls.add_argument("--workflow", metavar="NAME")
    ls.add_argument("--owner", metavar="NAME", help="for whom they were started")
    ls.add_argument("--tag", metavar="TAG", action="append", default=[], help="may be repeated: all of them")
    ls.add_argument("--limit", type=int, default=100, metavar="N", help="how many at most; 100 by default")
    ls.add_argument("--cursor", metavar="CURSOR", help="where an earlier listing ended")
    show = action("show", _show, "show a run: what it does, its calls, its questions")
    watch = action("watch", _watch, "follow a run until it is over or waits for a person")
    watch.add_argument("--after", type=int, default=0, metavar="POSITION", help="only what came after it")
    watch.add_argument("--timeout", type=float, metavar="SECONDS")
    cancel = action("cancel", _cancel, "ask for a run to be cancelled, wherever it executes")
    cancel.add_argument("--reason", metavar="TEXT")
    action("retry", _retry, "go on with a run that failed, was cancelled or was cut off")
    fork = action("fork", _fork, "begin a new run with the input of a recorded one")
    fork.add_argument("--to", metavar="THREAD", help="on another thread")
    rm = action("rm", _rm, "delete threads with all their runs", thread="")
    rm.add_argument("threads", metavar="THREAD", nargs="+")
    rm.add_argument("-y", "--yes", action="store_true", help="do not ask")
    rm.add_argument("--force", action="store_true", help="also where somebody works on it, who is told so")
    for parser in (show, fork):
        parser.add_argument("--run", dest="run_id", metavar="ID", help="a run's id; the newest by default")
    for parser in (ls, show, watch):
        add_format(parser)


def _opened(options: argparse.Namespace) -> closing[Engine]:
    return closing(Engine(checkpointer=options.url, background=0))


def _on_run(options: argparse.Namespace, act: Callable[[Run], int]) -> int:
    with _opened(options) as engine:
        try:
            return act(engine.run(options.thread, getattr(options, "run_id", None)))
        except (UnknownThread, UnknownCheckpoint) as error:
            say(str(error))
            return NOT_FOUND
        except (ThreadBusy, NothingToCancel, NothingToResume) as error:
            say(str(error))
            return CONFLICT


# -- looking -------------------------------------------------------------------------------------------------------


def _ls(options: argparse.Namespace) -> int:
    with open_checkpointer(options.url) as checkpointer:
        threads = list_threads(
            checkpointer, status=options.status, workflow=options.workflow, cursor=options.cursor
        )
        wanted = _wanted(threads, options)
        rows(map(_row, wanted), _COLUMNS, options.output)
        if threads.cursor is not None:
            say(f"there are more: --cursor {threads.cursor}")
    return 0


def _wanted(threads: Any, options: argparse.Namespace) -> Iterator[ThreadInfo]:
    left = options.limit
    for info in threads:
        if options.owner is not None and info.principal != options.owner:
            continue
        if not set(options.tag) <= set(info.tags):
            continue
        yield info
        left -= 1
        if left <= 0:
            return


def _row(info: ThreadInfo) -> dict[str, Any]:
    return {
        "thread": info.thread_id,
        "workflow": info.workflow,
        "status": str(info.status),
        "owner": info.principal,
        "tags": list(info.tags),
        "updated": info.updated,
        "held_by": None if info.owner is None else str(info.owner),
        "pending": list(info.pending),
    }


def _show(options: argparse.Namespace) -> int:
    from milepost._cli._facts import calls_of, facts_of

    def show(run: Run) -> int:
        found, calls = facts_of(run), calls_of(run)
        if options.output != "table":
            facts(found | {"calls": calls}, options.output)
            return 0
        facts(found, options.output)
        if calls:
            print()
            rows(calls, ("call", "name", "kind", "status", "attempts", "began", "ended", "error"), "table")
        return 0

    return _on_run(options, show)


def _watch(options: argparse.Namespace) -> int:
    def watch(run: Run) -> int:
        for event in run.events(after=options.after, follow=True, timeout=options.timeout):
            print(
                json.dumps(event.as_json(), default=str) if options.output != "table" else _line(event),
                flush=True,
            )
        status = run.status
        say(f"the run is {status}")
        if status is Status.DONE:
            return 0
        if status is Status.INTERRUPTED:
            return WAITING
        return TIMED_OUT if status in {Status.RUNNING, Status.SLEEPING} else RUN_FAILED

    return _on_run(options, watch)


def _line(event: Event) -> str:
    told = event.as_json()
    beside = {"kind", "position", "at", "name", "call", "namespace", "attempt", "replayed", "cached"}
    said = ", ".join(
        f"{name}={json.dumps(value, default=str)}" for name, value in told.items() if name not in beside
    )
    place = f"{event.name} {event.call}".rstrip()
    return f"{event.position:>12}  {event.at[:19]}  {event.kind:20}  {place:24}  {said}".rstrip()


# -- acting --------------------------------------------------------------------------------------------------------


def _cancel(options: argparse.Namespace) -> int:
    def cancel(run: Run) -> int:
        run.cancel(options.reason)
        status = run.status
        say(
            "cancelled"
            if status is Status.CANCELLED
            else f"asked for; the run is {status} until its process hears of it"
        )
        return 0

    return _on_run(options, cancel)


def _retry(options: argparse.Namespace) -> int:
    def retry(run: Run) -> int:
        run.retry()
        say("handed on: a live engine with recover=True that knows the workflow goes on with it")
        return 0

    return _on_run(options, retry)


def _fork(options: argparse.Namespace) -> int:
    def fork(run: Run) -> int:
        made = run.fork(options.to)
        print(f"{made.thread_id} {made.id}")
        say("handed on: a live engine with recover=True that knows the workflow runs it")
        return 0

    return _on_run(options, fork)


def _rm(options: argparse.Namespace) -> int:
    code = 0
    with open_checkpointer(options.url) as checkpointer:
        for thread in options.threads:
            head = checkpointer.load_head(thread)
            if head is None:
                say(f"nothing is on record for thread {thread!r}")
                code = code or NOT_FOUND
            elif _is_held(head) and not options.force:
                say(
                    f"thread {thread!r} is held by {head.owner} since {head.since}: cancel it first, or use --force"
                )
                code = CONFLICT
            elif options.yes or _agreed(f"delete thread {thread!r}, which is {head.status}?"):
                checkpointer.delete(thread)
                print(thread)
    return code


def _is_held(head: Head) -> bool:
    from milepost._owner import is_dead

    return head.status is Status.RUNNING and head.owner is not None and not is_dead(head.owner)


def _agreed(question: str) -> bool:
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
