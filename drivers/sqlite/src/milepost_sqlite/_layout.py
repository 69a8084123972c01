"""Tables and statements: how batches and heads lie in SQLite. Pure: nothing here runs a statement."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from milepost.checkpoint import Head, HeadQuery

COMPONENT: Final = "checkpointer"
"""The name under which the version table keeps this schema's version: several may share one file."""

LARGEST_ROW: Final = 1_000_000_000
"""What SQLite takes in a row, unless it was built to take less; in bytes."""
ROW_BYTES: Final = 4096
"""More than a row of a batch has beside its data: the thread's id, the position, SQLite's own."""

APPEND: Final = """
    INSERT INTO milepost_batches (thread, position, data)
    SELECT new.thread, new.position, new.data
    FROM (SELECT ? AS thread, ? AS position, ? AS data) AS new
    WHERE EXISTS (
        SELECT 1 FROM milepost_batches AS old WHERE old.thread = new.thread AND old.position = new.position - 1
    ) OR (new.position = 0 AND NOT EXISTS (SELECT 1 FROM milepost_batches AS old WHERE old.thread = new.thread))
"""
"""No row where the position is not the tail; where it is taken, the primary key may refuse it first."""

READ: Final = """
    SELECT position, data FROM milepost_batches
    WHERE thread = ? AND position >= ? AND length(data) > 0 ORDER BY position LIMIT ?
"""
TAIL: Final = "SELECT coalesce(max(position) + 1, 0) FROM milepost_batches WHERE thread = ?"
LOAD_HEAD: Final = "SELECT data FROM milepost_heads WHERE thread = ?"
INSERT_HEAD: Final = """
    INSERT INTO milepost_heads (version, status, workflow, wake, updated, data, thread)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""
UPDATE_HEAD: Final = """
    UPDATE milepost_heads SET version = ?, status = ?, workflow = ?, wake = ?, updated = ?, data = ?
    WHERE thread = ? AND version = ?
"""
PRUNE: Final = "DELETE FROM milepost_batches WHERE thread = ? AND position < ?"
STUB: Final = """
    INSERT INTO milepost_batches (thread, position, data)
    SELECT new.thread, new.position, x'' FROM (SELECT ? AS thread, ? AS position) AS new
    WHERE new.position >= 0 AND NOT EXISTS (SELECT 1 FROM milepost_batches AS old WHERE old.thread = new.thread)
"""
"""Before a floor with nothing above it: so the tail is known, and no position before it can be taken again."""
EMPTY: Final = "UPDATE milepost_batches SET data = x'' WHERE thread = ? AND position = ?"
DELETE_HEAD: Final = "DELETE FROM milepost_heads WHERE thread = ? AND version = ?"

_STRICT: Final = sqlite3.sqlite_version_info >= (3, 37)


def swap_head(head: Head, data: bytes, expected: int | None) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that sets a head at an expected version; it changes one row or none."""
    row = (head.version, str(head.status), head.workflow, head.wake, head.updated, data, head.thread)
    return (INSERT_HEAD, row) if expected is None else (UPDATE_HEAD, (*row, expected))


def list_heads(query: HeadQuery, cursor: str | None, limit: int) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that lists thread and data of matching heads past the cursor, by thread id."""
    clauses: list[str] = []
    values: list[Any] = []
    if cursor is not None:
        clauses.append("thread > ?")
        values.append(cursor)
    if query.statuses is not None:
        clauses.append(f"status IN ({', '.join('?' * len(query.statuses))})")
        values.extend(map(str, query.statuses))
    if query.workflow is not None:
        clauses.append("workflow = ?")
        values.append(query.workflow)
    if query.wake_before is not None:
        clauses.append("wake < ?")
        values.append(query.wake_before)
    where = f"WHERE {' AND '.join(clauses)}" if clauses else ""
    # Few threads sleep: the plus makes SQLite find those by their index and sort, not walk all threads.
    order = "thread" if query.wake_before is None else "+thread"
    statement = f"SELECT thread, data FROM milepost_heads {where} ORDER BY {order} LIMIT ?"  # noqa: S608
    return statement, (*values, limit)


def _journals_and_heads(db: Any) -> None:
    """Create the tables; ``db`` is a ``sqlite_utils.Database`` inside a transaction."""
    batches = {"thread": str, "position": int, "data": bytes}
    db.create_table("milepost_batches", batches, pk=("thread", "position"), not_null=batches, strict=_STRICT)
    heads = {
        "thread": str,
        "version": int,
        "status": str,
        "workflow": str,
        "wake": float,
        "updated": str,
        "data": bytes,
    }
    table = db.create_table(
        "milepost_heads", heads, pk="thread", not_null=set(heads) - {"wake"}, strict=_STRICT
    )
    table.create_index(["status", "thread"])
    table.create_index(["wake"])


STEPS: Final = (("journals_and_heads", _journals_and_heads),)
"""The migrations, oldest first. The schema's version is their number; a released one is never edited."""
