"""Ids, documents, filters and indexes: how batches and heads lie in MongoDB. Pure: nothing here talks to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from milepost.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from milepost.checkpoint import Head, HeadQuery

Document: TypeAlias = "dict[str, Any]"

COMPONENT: Final = "checkpointer"
"""The name under which the version document keeps this schema's version."""
SCHEMA: Final = 1
BY_ID: Final = [("_id", 1)]

HEAD_INDEXES: Final[tuple[tuple[list[tuple[str, int]], dict[str, Any]], ...]] = (
    ([("status", 1), ("_id", 1)], {}),
    ([("workflow", 1), ("_id", 1)], {}),
    ([("wake", 1)], {"sparse": True}),
)
PURGE_INDEX: Final[tuple[list[tuple[str, int]], dict[str, Any]]] = (
    [("purge", 1)],
    {"sparse": True, "expireAfterSeconds": 0},
)

NOT_STUB: Final[Document] = {"stub": {"$ne": True}}

_AFTER_SLASH: Final = "0"  # the character after "/": what sorts before it begins with "/", or lower
_OPTIONAL: Final = ("wake", "expires", "end")


# -- ids -------------------------------------------------------------------------------------------------------------


def thread_key(thread: str) -> str:
    """Return the thread's part of an id: no two threads share one, and it has no slash."""
    return thread.replace("%", "%25").replace("/", "%2F")


def batch_id(thread: str, position: int) -> str:
    """Return the ``_id`` of a batch. Within a thread, ids sort as positions do."""
    return f"{thread_key(thread)}/{position:012d}"


def position_of(batch: str) -> int:
    """Return the position that an ``_id`` of a batch tells."""
    return int(batch.rpartition("/")[2])


def ids(thread: str, start: int = 0, end: int | None = None) -> Document:
    """Return the filter for a thread's batches, or their chunks, from ``start`` up to but not at ``end``."""
    below = f"{thread_key(thread)}{_AFTER_SLASH}" if end is None else batch_id(thread, end)
    return {"_id": {"$gte": batch_id(thread, start), "$lt": below}}


def each_id(thread: str, start: int, count: int) -> Document:
    """Return the filter for so many of a thread's batches, from ``start`` on, each by its own id.

    Reading asks this way: it costs as many look-ups as there are ids, however a server plans a range, and however
    long the thread or the collection.
    """
    return {"_id": {"$in": [batch_id(thread, position) for position in range(start, start + count)]}}


def chunk_ids(prefix: str) -> Document:
    """Return the filter for the chunks of one batch."""
    return {"_id": {"$gte": f"{prefix}/", "$lt": f"{prefix}{_AFTER_SLASH}"}}


# -- documents -------------------------------------------------------------------------------------------------------


def stored(data: bytes) -> str | bytes:
    """Return bytes as text where they are ASCII, so that a person can read them in a shell; exact in both forms."""
    return data.decode("ascii") if data.isascii() else data


def loaded(value: object, what: str) -> bytes:
    """Return the bytes that were stored.

    Raises:
        Corrupt: there are none; ``what`` names the document.
    """
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return bytes(value)
    raise Corrupt(f"{what} cannot be read: its data is {type(value).__name__}")


def batch(thread: str, position: int, **content: object) -> Document:
    """Return the document of a batch; ``content`` is its ``data``, or the ``chunks`` that hold it."""
    return {"_id": batch_id(thread, position), "thread": thread, "position": position, **content}


def stub(thread: str, position: int) -> Document:
    """Return the update that leaves an occupied position with nothing in it."""
    return {
        "$set": {"thread": thread, "position": position, "stub": True},
        "$unset": {"data": "", "chunks": "", "purge": ""},
    }


# -- heads -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A head document. ``version`` is None where it is only a tombstone that keeps the floor.

    ``expires`` is when the thread is forgotten, in seconds since the epoch; ``end`` is the floor from then on.
    ``epoch`` counts how often the thread was taken up again before that time.
    """

    version: int | None = None
    floor: int = 0
    epoch: int | None = None
    expires: float | None = None
    end: int = 0
    data: Any = None

    @classmethod
    def read(cls, found: Document | None) -> Stored:
        """Return what a document says; one that is missing is like an empty one."""
        found = found or {}
        return cls(
            version=found.get("version"),
            floor=found.get("floor", 0),
            epoch=found.get("epoch"),
            expires=found.get("expires"),
            end=found.get("end", 0),
            data=found.get("data"),
        )

    def is_expired(self, now: float) -> bool:
        """Whether the thread is forgotten."""
        return self.expires is not None and self.expires <= now

    def is_head(self, now: float) -> bool:
        """Whether the thread has a head, so that it is neither deleted nor forgotten."""
        return self.version is not None and not self.is_expired(now)

    def lowest(self, now: float) -> int:
        """Return the first position that is read."""
        return max(self.floor, self.end) if self.is_expired(now) else self.floor

    def unchanged(self, thread: str) -> Document:
        """Return the filter for this document, as long as nobody changes the head."""
        return {"_id": thread, "version": self.version, "epoch": self.epoch, "expires": self.expires}


def head_fields(head: Head, data: bytes) -> Document:
    """Return what a head's document holds beside its id: the fields that are indexed, and the head itself."""
    fields: Document = {
        "version": head.version,
        "status": str(head.status),
        "workflow": head.workflow,
        "updated": head.updated,
        "data": stored(data),
    }
    if head.wake is not None:
        fields["wake"] = head.wake
    return fields


def set_head(fields: Document) -> Document:
    """Return the update that gives a head's document exactly these fields, its floor and epoch apart."""
    update: Document = {"$set": fields}
    absent = {name: "" for name in _OPTIONAL if name not in fields}
    return update | ({"$unset": absent} if absent else {})


def bury_head(floor: int) -> Document:
    """Return the update that leaves of a head the floor."""
    gone = ("version", "status", "workflow", "updated", "data", *_OPTIONAL)
    return {"$max": {"floor": floor}, "$unset": dict.fromkeys(gone, "")}


def list_heads(query: HeadQuery, cursor: str | None, now: float) -> Document:
    """Return the filter for matching heads past a cursor; tombstones and forgotten threads do not match."""
    asked: Document = {"version": {"$ne": None}, "$or": [{"expires": None}, {"expires": {"$gt": now}}]}
    if cursor is not None:
        asked["_id"] = {"$gt": cursor}
    if query.statuses is not None:
        asked["status"] = {"$in": [str(status) for status in query.statuses]}
    if query.workflow is not None:
        asked["workflow"] = {"$eq": query.workflow}
    if query.wake_before is not None:
        asked["wake"] = {"$lt": query.wake_before}
    return asked


# -- retention -------------------------------------------------------------------------------------------------------


def hold(epoch: int) -> Document:
    """Return the update that takes documents off the schedule, for good as far as earlier epochs go."""
    return {"$max": {"held": epoch}, "$unset": {"purge": ""}}


def scheduled(thread: str, end: int, epoch: int) -> Document:
    """Return the filter for what a thread that came to rest in this epoch may lose: all before its end."""
    return {**ids(thread, 0, end), "held": {"$not": {"$gt": epoch}}}


def schedule(at: float) -> Document:
    """Return the update after which the server removes a document, some time after ``at``."""
    return {"$set": {"purge": datetime.fromtimestamp(at, UTC)}}


def same_keys(index: Document, keys: Iterable[tuple[str, int]]) -> bool:
    """Whether an index as the server describes it is on these keys."""
    return list(dict(index["key"]).items()) == list(keys)
