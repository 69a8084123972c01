"""A process that races another on one backend: it is told what to do and when, and tells how it fared.

As a program it reads commands from its input and writes answers to its output, a line of JSON each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import milepost
from crash import rig
from crash.interpreters import environment
from crash.rig import Job, got, here, step
from crash.watched import watched
from milepost import Command, _owner, entrypoint, interrupt
from milepost.errors import MilepostError

if TYPE_CHECKING:
    from crash.places import Place

HEAD_START = 0.002
"""Seconds between a command and the moment at which both processes carry it out."""


def say(**answer: Any) -> None:
    """Answer the parent."""
    os.write(1, (json.dumps(answer) + "\n").encode())


class _Crowd:
    """How many tasks of this process hold their threads for ever, and how many were asked to."""

    lock = threading.Lock()
    holding = 0
    expected = 0


@step
def hold(how, value):
    """End at once, or when the parent says so, or never where this process was told to be cut off."""
    if how == "until told" and not _Crowd.expected:
        say(holding=True)
        sys.stdin.readline()
    elif how == "until told":
        with _Crowd.lock:
            _Crowd.holding += 1
            everybody = _Crowd.holding == _Crowd.expected
        if everybody:
            say(holding=True)
        threading.Event().wait()
    return [how, value]


@step
def note(value):
    return value


@entrypoint
def contest(given):
    kept = got(note(given["value"]))
    if given["asks"]:
        answer = interrupt({"question": kept})
        return {"answer": answer["value"], "held": got(hold(answer["how"], answer["value"]))}
    return {"answer": kept, "held": got(hold(given["how"], kept))}


@entrypoint
def duel(given):
    """Ask after a task; the task lasts until the other racer was refused."""
    return {"kept": got(hold("until told", given)), "answer": interrupt("?")}


WORKFLOWS = {"contest": contest, "duel": duel}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One call of ``invoke``: ``given`` is the input, or the answer where ``resumes``; None continues.

    ``at`` is when to make it, in seconds of the monotonic clock; 0 is at once.
    """

    workflow: str = "contest"

    thread: str
    given: Any = None
    resumes: bool = False
    at: float = 0.0
    usurps: bool = False


def carry_out(move: Move) -> dict[str, Any]:
    """Make a move at its moment; return the result, or the name of the error."""
    given = Command(resume=move.given) if move.resumes else move.given
    while time.monotonic() < move.at:
        pass
    try:
        return {"result": WORKFLOWS[move.workflow].invoke(given, thread_id=move.thread)}
    except MilepostError as error:
        return {"error": type(error).__name__, "text": str(error)}


def cut_off(threads: list[str]) -> None:
    """Begin a run on each of these threads; tell when all of them hold. None of them ever ends."""
    _Crowd.expected = len(threads)
    for thread in threads:
        move = Move(thread=thread, given={"value": thread, "asks": False, "how": "until told"})
        threading.Thread(
            target=_in_engine, args=(here().engine, partial(carry_out, move)), daemon=True
        ).start()


def _in_engine(engine: milepost.Engine, function) -> None:
    with engine:
        function()


def _obey(order: dict[str, Any]) -> None:
    if "cut off" in order:
        cut_off(order["cut off"])
        return
    move = Move(**order)
    judge = _owner.is_dead
    if move.usurps:  # take everybody for dead
        _owner.is_dead = lambda _owner: True
    try:
        answer = carry_out(move)
    finally:
        _owner.is_dead = judge
    if isinstance(answer.get("result"), dict) and "__interrupt__" in answer["result"]:
        (question,) = answer["result"]["__interrupt__"]
        answer = {"asks": question.id}
    say(**answer)


def race(url: str, folder: str) -> None:
    """Carry out what is read from standard input, on the backend of this URL."""
    installed = rig.install(Job(case="contest", folder=folder, url=url))
    installed.engine = milepost.Engine(checkpointer=watched(installed), workers=2)
    with installed.engine:
        for line in iter(sys.stdin.readline, ""):
            _obey(json.loads(line))


class Racer:
    """A running racer, as its parent sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def tell(self, order: dict[str, Any]) -> None:
        """Have it do something."""
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Return its next answer."""
        line = self.process.stdout.readline()
        assert line, "a racer died"
        return json.loads(line)

    def do(self, **order: Any) -> dict[str, Any]:
        """Have it make a move and return its answer."""
        self.tell(order)
        return self.hear()

    def release(self) -> dict[str, Any]:
        """Let the task that holds go on, and return what became of its run."""
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()
        return self.hear()


@contextmanager
def racing(place: Place):
    """Run a racer for a block; it is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "crash.racer", place.url, str(place.folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        try:
            yield Racer(process)
        finally:
            process.kill()


if __name__ == "__main__":
    race(*sys.argv[1:])
