"""MongoDB driver of milepost: journals, heads and items in one database."""

from __future__ import annotations

from milepost_mongodb._errors import AccessDenied
from milepost_mongodb.checkpointer import MongoDBCheckpointer
from milepost_mongodb.store import MongoDBStore

__all__ = ["AccessDenied", "MongoDBCheckpointer", "MongoDBStore"]
