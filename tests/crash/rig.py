"""The inside of a process that is to be killed: named kill points, a ledger beside the backend, watched tasks.

Nothing of the library is changed for this. The tasks' functions are wrapped here, the driver's hooks in
:mod:`crash.watched`; whether a point kills is decided by the job that the process was given.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import os
import resource
import signal
import sys
import threading
from bisect import bisect
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import milepost
from milepost import _context

if TYPE_CHECKING:
    from milepost_sqlite.checkpointer import SQLiteCheckpointer

THREAD = "main"
DATABASE = "journal.db"
PATIENCE = 30.0
"""Seconds after which a process that waits for another of its threads gives up and says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a process is to do: go on with a case on the backend of a URL, and die at a point.

    ``folder`` is for what it writes down. ``kill`` names the point, or is None; with a ``fault`` the disk fails there
    instead, and the process either ``stays`` to go on once the disk is well again, or ends. ``split`` takes the
    driver's ability away to change journal and head in one step. ``options`` are those of the URL that the case wants
    beside the place's own. ``sabotage`` names a part of the engine to break. ``counting`` writes down every point
    that is reached. ``durability`` is what its runs ask for.
    """

    case: str
    folder: str = ""
    url: str = ""
    options: str = ""
    kill: str | None = None
    split: bool = False
    sabotage: str | None = None
    counting: bool = False
    fault: str | None = None
    stays: bool = False
    durability: str = "sync"


class Rig:
    """The kill points and the ledger of this process."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.folder = Path(job.folder)
        self.begun: set[tuple[str, ...]] = set()
        self.streaming = False
        self.cancelled = False
        self.held: str | None = None  # the call whose append waits for others
        self._company = 0
        self._queued: set[str] = set()
        self._holding = False
        self._recorded: set[tuple[str, ...]] = set()
        self._runs: dict[str, list[tuple[int, str]]] = {}
        self.disk = Disk(self.folder)
        self._reached: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._ledger = os.open(self.folder / "ledger", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    # -- kill points -------------------------------------------------------------------------------------------------

    def reach(self, name: str) -> None:
        """Pass a kill point, or die there. A name that is reached again gets a number."""
        with self._changed:
            self._reached[name] += 1
            times = self._reached[name]
        label = name if times == 1 else f"{name} #{times}"
        if self.job.counting:
            with (self.folder / "points").open("a") as file:
                file.write(f"{label}\n")
        if label == self.job.kill and self.job.fault is not None:
            self.disk.fail(self.job.fault)
        elif label == self.job.kill:
            os.kill(os.getpid(), signal.SIGKILL)

    # -- the ledger --------------------------------------------------------------------------------------------------

    def note(self, event: str, call: tuple[str, ...], what: str = "") -> None:
        """Write a line that outlives this process, whatever becomes of the backend. A kill needs no fsync for that."""
        line = json.dumps([event, *call, what, os.getpid()]) + "\n"
        os.write(self._ledger, line.encode())

    def acknowledged(self, thread: str, position: int, batch: str) -> None:
        """Write down that the driver has promised a batch to be on record."""
        self.note("acknowledged", (thread, "", str(position)), batch)

    # -- what this process knows to be on record ---------------------------------------------------------------------

    def on_record(self, thread: str, position: int, data: bytes) -> None:
        """Take note of a batch that was read, or whose append was acknowledged."""
        with self._changed:
            runs = self._runs.setdefault(thread, [])
            for record in json.loads(data)["records"]:
                if record["kind"] == "started" and (position, record["run"]) not in runs:
                    runs.append((position, record["run"]))
                    runs.sort()
                elif record["kind"] == "outcome":
                    place = bisect(runs, position, key=lambda run: run[0]) - 1
                    run = runs[place][1] if place >= 0 else "?"
                    self._recorded.add((thread, run, record["call"]))
            self._changed.notify_all()

    def knows(self, call: tuple[str, ...]) -> bool:
        """Tell whether a call's outcome is on record."""
        return call in self._recorded

    def begin(self, call: tuple[str, ...], together: int) -> None:
        """Return when so many calls of the same parent have begun in this process, or are on record."""
        parent = call[2].rpartition(".")[0]
        with self._changed:
            self.begun.add(call)
            self._changed.notify_all()

        def all_there() -> bool:
            calls = self.begun | self._recorded
            siblings = [other for other in calls if other[:2] == call[:2] and _parent(other) == parent]
            return len(siblings) >= together

        if together:
            self.until(all_there, f"{together} calls beside {call}")

    def await_turn(self, call: tuple[str, ...], order: tuple[int, ...]) -> None:
        """Return when the call before this one in the given order of siblings is on record."""
        parent, _, ordinal = call[2].rpartition(".")
        place = order.index(int(ordinal)) if order else 0
        if place:
            before = f"{parent}.{order[place - 1]}" if parent else str(order[place - 1])
            self.until(
                lambda: self.disk.failed or self.knows((*call[:2], before)), f"{call} waits for call {before}"
            )

    def await_call(self, path: str | None) -> None:
        """Return when a call of the run that works here is on record."""
        frame = _context.required("await_call()")
        if path is not None:
            call = (frame.thread_id, frame.run_id, path)
            self.until(lambda: self.knows(call), f"{frame.path} waits for call {path}")

    # -- outcomes that are written together --------------------------------------------------------------------------

    def gather(self, call: tuple[str, ...], together: int) -> None:
        """Have the first sibling's append wait until all the others are queued behind it."""
        parent, _, ordinal = call[2].rpartition(".")
        first = f"{parent}.0" if parent else "0"
        if ordinal == "0":
            self.held, self._company = first, together - 1
        else:
            self.until(
                lambda: self._holding or self.knows((*call[:2], first)), f"{call} waits to follow {first}"
            )

    def queue(self, call: str) -> None:
        """Take note that a call's outcome is in the journal's queue, or already written."""
        with self._changed:
            self._queued.add(call)
            self._changed.notify_all()

    def await_company(self) -> None:
        """Return when the others are queued behind the append that is held."""
        self._holding = True
        self.until(lambda: len(self._queued) >= self._company, f"company for {self.held}")

    def until(self, condition, what: str) -> None:
        """Wait for another thread of this process; give the whole process up if that takes too long."""
        with self._changed:
            waited = 0.0
            while not condition():
                self._changed.wait(0.01)
                waited += 0.01
                if waited > PATIENCE:
                    (self.folder / "error").write_text(f"gave up waiting: {what}")
                    os._exit(97)


def _parent(call: tuple[str, ...]) -> str:
    return call[2].rpartition(".")[0]


class _Here:
    rig: Rig | None = None


def here() -> Rig:
    """Return this process's rig."""
    assert _Here.rig is not None, "this process was given no job"
    return _Here.rig


def install(job: Job) -> Rig:
    """Give this process its job."""
    _Here.rig = Rig(job)
    return _Here.rig


class Disk:
    """The disk under this process's SQLite file, which may fail and recover."""

    def __init__(self, folder: Path) -> None:
        self.failed = False
        self.checkpointer: SQLiteCheckpointer | None = None
        self._log = folder / f"{DATABASE}-wal"

    def fail(self, how: str) -> None:
        """Let no file grow any more ("file size"), or the database have no more pages than it has ("full")."""
        self.failed = True
        if how == "file size":
            size = self._log.stat().st_size if self._log.exists() else 0
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        else:
            self._limit_pages("(SELECT * FROM pragma_page_count)")

    def recover(self) -> None:
        """Let everything grow again."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        if not self.checkpointer._closed:
            self._limit_pages(str(2**30))

    def _limit_pages(self, pages: str) -> None:
        def limit(connection):
            (number,) = connection.execute(f"SELECT {pages}").fetchone()
            connection.execute(f"PRAGMA max_page_count = {number}")

        self.checkpointer._client.use(limit)


# -- tasks -----------------------------------------------------------------------------------------------------------


def step(
    function=None,
    *,
    together: int = 0,
    order: tuple[int, ...] = (),
    grouped: bool = False,
    **policies: object,
):
    """Make a task with a kill point before and after its function, whose executions are in the ledger.

    ``together``: how many siblings must have begun before any goes on. ``order``: the ordinals of siblings in the order
    in which they are to be recorded, each in a batch of its own. ``grouped``: the first sibling is recorded alone and
    all others in the batch that follows. ``policies`` are the task's.
    """
    if function is None:
        return functools.partial(step, together=together, order=order, grouped=grouped, **policies)

    if inspect.iscoroutinefunction(function):
        return milepost.task(_watched_coroutine(function, together, order), **policies)

    @functools.wraps(function)
    def watched(*args):
        rig, call, place = _begun(function, args)
        rig.begin(call, together)
        try:
            value = function(*args)
        except Exception:
            rig.note("fail", call, f"{function.__name__}{args!r}")
            rig.reach(f"{place}: after")
            rig.await_turn(call, order)
            raise
        rig.note("end", call, f"{function.__name__}{args!r}")
        rig.reach(f"{place}: after")
        rig.await_turn(call, order)
        if grouped:
            rig.gather(call, together)
        return value

    return milepost.task(watched, **policies)


def _begun(function, args):
    """Pass the kill point before a task, and put its start into the ledger."""
    rig, frame = here(), _context.required("a step")
    call = (frame.thread_id, frame.run_id, frame.path)
    place = f"{function.__name__} at {frame.thread_id}:{frame.path}"
    rig.reach(f"{place}: before")
    rig.note("start", call, f"{function.__name__}{args!r}")
    return rig, call, place


def _watched_coroutine(function, together: int, order: tuple[int, ...]):
    """Do what a step does, for a coroutine: what waits for others does so beside the loop."""

    @functools.wraps(function)
    async def watched(*args):
        rig, call, place = _begun(function, args)
        await asyncio.to_thread(rig.begin, call, together)
        event = "fail"
        try:
            value = await function(*args)
            event = "end"
        finally:
            if event == "end" or isinstance(sys.exception(), Exception):
                rig.note(event, call, f"{function.__name__}{args!r}")
                rig.reach(f"{place}: after")
                await asyncio.to_thread(rig.await_turn, call, order)
        return value

    return watched


async def awaited(future):
    """Do what :func:`got` does, in a coroutine."""
    frame = _context.required("awaited()")
    call = (frame.thread_id, frame.run_id, future._path)
    try:
        value = await future
    except Exception:
        here().note("seen", call)
        raise
    here().note("seen", call)
    return value


def got(future):
    """Wait for a future and put into the ledger that it has resolved, before anything is done with its outcome."""
    frame = _context.required("got()")
    call = (frame.thread_id, frame.run_id, future._path)
    try:
        value = future.result()
    except Exception:
        here().note("seen", call)
        raise
    here().note("seen", call)
    return value
