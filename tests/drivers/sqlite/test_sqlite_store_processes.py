"""Threads and processes on one SQLite store: no error, no lost update, and after a kill whole items only."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from milepost_sqlite import SQLiteStore
from other_process import OtherProcess

if TYPE_CHECKING:
    from pathlib import Path

INCREMENT = """
from milepost.errors import VersionConflict

def increment(store, times):
    for _ in range(times):
        while True:
            item = store.get(("counters",), "n")
            count, version = (0, 0) if item is None else (item.value["count"], item.version)
            try:
                store.put(("counters",), "n", {"count": count + 1}, if_version=version)
                break
            except VersionConflict:
                pass
"""
THREADS, EACH = 16, 8
PROCESSES, OF_A_PROCESS = 4, 40


def test_16_threads_and_4_processes_lose_no_update(tmp_path: Path) -> None:
    program = f"""
    from milepost_sqlite import SQLiteStore
    {INCREMENT.replace(chr(10), chr(10) + "    ")}
    store = SQLiteStore("app.db", synchronous="normal").open()
    say("ready")
    wait_for("go")
    increment(store, {OF_A_PROCESS})
    store.close()
    say("done")
    """
    names: dict[str, object] = {}
    exec(INCREMENT, names)
    increment = names["increment"]
    others = [OtherProcess(program, tmp_path) for _ in range(PROCESSES)]
    try:
        for other in others:
            other.until("ready")
        with (
            SQLiteStore(tmp_path / "app.db", synchronous="normal") as store,
            ThreadPoolExecutor(THREADS) as pool,
        ):
            for other in others:
                other.tell("go")
            for done in [pool.submit(increment, store, EACH) for _ in range(THREADS)]:  # type: ignore[arg-type]
                done.result()
            for other in others:
                assert other.end()[-1] == "done"
            item = store.get(("counters",), "n")
        assert item is not None
        assert item.value == {"count": THREADS * EACH + PROCESSES * OF_A_PROCESS}
    finally:
        for other in others:
            other.close()


@pytest.mark.crash
@pytest.mark.parametrize("after", [1, 5, 20])
def test_a_killed_process_leaves_whole_items_and_loses_none_it_was_told_of(
    tmp_path: Path, after: int
) -> None:
    program = """
    from milepost.operations import PutOp
    from milepost_sqlite import SQLiteStore
    store = SQLiteStore("app.db", index={"embed": lambda texts: [[1.0, len(text)] for text in texts], "dims": 2})
    for number in range(100_000):
        store.batch([PutOp(("a",), f"k{place}", {"text": f"word{number}"}) for place in range(10)])
        say(f"wrote {number}")
    """
    with OtherProcess(program, tmp_path) as other:
        other.until(f"wrote {after}")
        other.kill()
        told = max(int(line.split()[1]) for line in other.heard if line.startswith("wrote "))
    with SQLiteStore(tmp_path / "app.db") as store:
        found = store.search(("a",))
        ((number,),) = {
            (item.value["text"].removeprefix("word"),) for item in found
        }  # all of one transaction
        assert len(found) == 10
        assert int(number) in (told, told + 1)
        assert len(store.search((), query=f"word{number}")) == 10
    with closing(sqlite3.connect(tmp_path / "app.db")) as db:
        db.execute("INSERT INTO milepost_words (milepost_words, rank) VALUES ('integrity-check', 1)")
        assert db.execute("SELECT count(*) FROM milepost_vectors").fetchone() == (10,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
