"""SQLite driver of milepost: journals and heads in one file."""

from __future__ import annotations

from milepost_sqlite._client import CannotOpen, DiskError, DiskFull, ReadOnly
from milepost_sqlite.checkpointer import SQLiteCheckpointer

__all__ = ["CannotOpen", "DiskError", "DiskFull", "ReadOnly", "SQLiteCheckpointer"]
