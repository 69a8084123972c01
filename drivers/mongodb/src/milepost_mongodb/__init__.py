"""MongoDB driver of milepost: journals and heads in one database."""

from __future__ import annotations

from milepost_mongodb._errors import AccessDenied
from milepost_mongodb.checkpointer import MongoDBCheckpointer

__all__ = ["AccessDenied", "MongoDBCheckpointer"]
