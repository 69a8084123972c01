"""What the files say after a kill, read without the library's help but for its fold."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from crash.rig import DATABASE, THREAD
from milepost._fold import ThreadState
from milepost.checkpoint import Batch

Call = tuple[str, str, str]
"""Thread, run and path: what names a call for ever."""


@dataclass(slots=True)
class Evidence:
    """A folder's database and ledger at one moment. ``findings`` tells what the database alone has wrong."""

    batches: dict[str, list[tuple[int, dict]]] = field(default_factory=dict)
    heads: dict[str, dict] = field(default_factory=dict)
    results: set[Call] = field(default_factory=set)
    standing: dict[Call, str] = field(default_factory=dict)
    ever: set[Call] = field(default_factory=set)
    voids: Counter[Call] = field(default_factory=Counter)
    ledger: list[tuple[str, Call, str, int]] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


def collect(folder: Path, *, lines: int | None = None, tail: int | None = None) -> Evidence:
    """Read a copy of a folder's files, so that it is the next process that recovers the originals.

    With ``lines`` and ``tail``: what they said when the ledger had so many lines and the main thread so many batches.
    """
    found = Evidence(ledger=_ledger(folder))
    if not (folder / DATABASE).exists():
        return found
    with TemporaryDirectory(dir=folder) as copy:
        for name in (DATABASE, f"{DATABASE}-wal"):
            if (folder / name).exists():
                shutil.copy(folder / name, copy)
        _read(found, Path(copy) / DATABASE)
    if tail is not None:
        found.ledger = found.ledger[:lines]
        found.batches[THREAD] = found.batches.get(THREAD, [])[:tail]
    for thread in found.batches:
        _scan(found, thread)
        _fold(found, thread)
    return found


def _ledger(folder: Path) -> list[tuple[str, Call, str, int]]:
    lines = (folder / "ledger").read_text().splitlines() if (folder / "ledger").exists() else []
    parsed = [json.loads(line) for line in lines]
    return [(event, (thread, run, path), what, pid) for event, thread, run, path, what, pid in parsed]


def _read(found: Evidence, database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            found.findings.append(f"integrity_check: {verdict}")
        tables = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
        if not {"milepost_batches", "milepost_heads"} <= tables:
            return
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            found.findings.append(f"the database's journal mode is {mode}")
        rows = connection.execute(
            "SELECT thread, position, data FROM milepost_batches ORDER BY thread, position"
        )
        for thread, position, data in rows:
            found.batches.setdefault(thread, []).append((position, json.loads(data)))
        for thread, data in connection.execute("SELECT thread, data FROM milepost_heads"):
            found.heads[thread] = json.loads(data)


def _scan(found: Evidence, thread: str) -> None:
    """Check by hand what the journal promises: no gap, and one outcome for each call unless it was voided."""
    run = "?"
    for expected, (position, batch) in enumerate(found.batches[thread]):
        if position != expected:
            found.findings.append(f"thread {thread}: position {expected} is missing before {position}")
            return
        for record in batch["records"]:
            if record["kind"] == "started":
                run = record["run"]
            elif record["kind"] == "outcome":
                call = (thread, run, record["call"])
                if call in found.standing:
                    found.findings.append(f"{call} has two outcomes")
                found.standing[call] = "result" if "result" in record else "error"
                found.ever.add(call)
            elif record["kind"] == "retried":
                for path in record.get("voids", ()):
                    call = (thread, run, path)
                    if found.standing.pop(call, None) != "error":
                        found.findings.append(f"{call} was voided and has no error on record")
                    found.voids[call] += 1


def _fold(found: Evidence, thread: str) -> None:
    state = ThreadState(thread=thread)
    for position, raw in found.batches[thread]:
        state.apply(position, Batch.decode(json.dumps(raw).encode(), thread=thread, position=position))
    found.findings += [f"thread {thread}: the fold rejects {rejected}" for rejected in state.rejected]


# -- what may not have happened --------------------------------------------------------------------------------------


def at_kill(snapshot: Evidence) -> list[str]:
    """Return what is wrong with the files as a killed process left them."""
    unkept = {call for event, call, _, _ in snapshot.ledger if event == "seen"} - snapshot.ever
    return snapshot.findings + [f"{call} had resolved and is not on record" for call in sorted(unkept)]


def between(snapshot: Evidence, last: Evidence) -> list[str]:
    """Return what ran after a kill although its outcome was on record when the process died, and what was lost."""
    voided = last.voids - snapshot.voids
    again = [
        f"{call} ran again: its {snapshot.standing[call]} was on record at the kill"
        for event, call, _, _ in last.ledger[len(snapshot.ledger) :]
        if event == "start" and call in snapshot.standing and not voided[call]
    ]
    lost = [
        f"thread {thread}: what was on record at the kill has changed"
        for thread, batches in snapshot.batches.items()
        if last.batches.get(thread, [])[: len(batches)] != batches
    ]
    return again + lost


def at_end(last: Evidence, *, kills: int, atomic: bool) -> list[str]:
    """Return what is wrong with the files of a case that was seen through."""
    ended = Counter(call for event, call, _, _ in last.ledger if event in {"end", "fail"})
    often = [
        f"{call} ended {times} times after {kills} kills"
        for call, times in ended.items()
        if times > 1 + kills + last.voids[call]
    ]
    heads = [
        f"the head of {thread} says {head['status']}, owned by {head.get('owner')}"
        for thread, head in last.heads.items()
        if atomic and (head["status"] != "done" or head.get("owner"))
    ]
    return at_kill(last) + often + heads


def effects(last: Evidence) -> set[tuple[str, str, str, str]]:
    """Return which side effects there were, but for how often and in which run: kills move a run's id."""
    return {
        (event, call[0], call[2], what) for event, call, what, _ in last.ledger if event in {"end", "fail"}
    }


def pragmas(folder: Path) -> list[list[object]]:
    """Return journal mode and synchronous as they were in force on each connection, as the processes read them."""
    file = folder / "pragmas"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
