"""SQLite driver of milepost: journals and heads, and the items of a store, in one file."""

from __future__ import annotations

from milepost_sqlite._client import CannotOpen, DiskError, DiskFull, ReadOnly
from milepost_sqlite.checkpointer import SQLiteCheckpointer
from milepost_sqlite.store import SQLiteStore

__all__ = ["CannotOpen", "DiskError", "DiskFull", "ReadOnly", "SQLiteCheckpointer", "SQLiteStore"]
