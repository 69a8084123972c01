"""``milepost inbox``: what all runs of a backend ask, and answering it."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from milepost._cli._facts import question
from milepost._cli._output import CONFLICT, NOT_FOUND, add_format, facts, rows, say
from milepost._engine import Engine
from milepost._listing import pending_interrupts
from milepost.drivers import open_checkpointer
from milepost.errors import (
    InvalidAnswer,
    InvalidItem,
    NothingToResume,
    ThreadBusy,
    UnknownInterrupt,
    UnknownThread,
)

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from milepost.checkpoint import Checkpointer

_PREVIEW: Final = 60
_EPILOG: Final = """\
An answer is JSON: true, "yes", {"verdict": "accept"}. It is checked before the run goes on, and on record when the
command ends; live engines with recover=True go on with the run. Exit codes: 0 done, 2 a wrong call, a wrong answer or
a backend that failed, 3 no such question, 4 answered before, or somebody works on the run.
"""


def add_to(commands: Any) -> None:
    """Add the commands to a parser's commands."""
    inbox: argparse.ArgumentParser = commands.add_parser(
        "inbox", help="what runs ask, and answering it", description=__doc__, epilog=_EPILOG
    )
    actions = inbox.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=text, epilog=_EPILOG
        )
        parser.add_argument("url", metavar="URL", help="URL of the checkpointer, such as sqlite:///app.db")
        parser.set_defaults(run=run)
        return parser

    ls = action("ls", _ls, "list what is asked, the oldest threads' ids first")
    ls.add_argument("--workflow", metavar="NAME")
    show = action("show", _show, "show a question with the schema of its answer")
    answer = action("answer", _answer, "answer a question")
    for parser in (show, answer):
        parser.add_argument("id", metavar="ID", help="the question's id")
        parser.add_argument(
            "--thread", metavar="THREAD", help="its thread, where that is known: saves looking"
        )
    answer.add_argument("value", metavar="VALUE", help="JSON; - reads it from standard input")
    answer.add_argument("--actor", metavar="NAME", help="who answers; recorded with the answer")
    for parser in (ls, show):
        add_format(parser)


def _ls(options: argparse.Namespace) -> int:
    with open_checkpointer(options.url) as checkpointer:
        found = _asked(checkpointer, options.workflow)
        if options.output == "table":
            found = (row | {"value": json.dumps(row["value"], default=str)[:_PREVIEW]} for row in found)
        rows(found, ("id", "thread", "workflow", "since", "expires", "value"), options.output)
    return 0


def _asked(checkpointer: Checkpointer, workflow: str | None = None) -> Iterator[dict[str, Any]]:
    for waiting in pending_interrupts(checkpointer, workflow=workflow):
        for asked in waiting.interrupts:
            beside = {"thread": waiting.thread_id, "workflow": waiting.workflow, "since": waiting.since}
            yield question(asked) | beside


def _found(checkpointer: Checkpointer, id_: str, thread: str | None) -> dict[str, Any] | None:
    rows = (row for row in _asked(checkpointer) if row["id"] == id_ and thread in {None, row["thread"]})
    return next(rows, None)


def _show(options: argparse.Namespace) -> int:
    with open_checkpointer(options.url) as checkpointer:
        found = _found(checkpointer, options.id, options.thread)
    if found is None:
        say(f"nothing is asked under {options.id}")
        return NOT_FOUND
    facts(found, options.output)
    return 0


def _answer(options: argparse.Namespace) -> int:
    value = _value(options.value)
    with closing(Engine(checkpointer=options.url, background=0)) as engine:
        thread = options.thread
        if thread is None:
            checkpointer = engine.checkpointer_for(engine, None)
            assert checkpointer is not None  # noqa: S101 - the engine was made with a URL
            found = _found(checkpointer, options.id, None)
            if found is None:
                say(f"nothing is asked under {options.id}: it was answered, withdrawn, or never asked")
                return NOT_FOUND
            thread = found["thread"]
        try:
            engine.run(thread).resume({options.id: value}, actor=options.actor)
        except InvalidAnswer:
            raise
        except (UnknownThread, UnknownInterrupt) as error:
            say(str(error))
            return NOT_FOUND
        except (NothingToResume, ThreadBusy) as error:
            say(str(error))
            return CONFLICT
    say("answered: a live engine with recover=True that knows the workflow goes on with the run")
    return 0


def _value(text: str) -> Any:
    text = sys.stdin.read() if text == "-" else text
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidItem(
            f"the answer is not JSON ({error}); a text is written with quotes: '\"yes\"'"
        ) from error
