"""The compare-and-set of a head, and what it does for threads that are kept for a time only.

A thread whose newest run is done is *scheduled*: its head says when it expires and where its journal ends, and its
documents get a date after which the server removes them. Each step is one atomic change of one document, in an order
that holds against processes that stop anywhere:

1. The head is lowered first, by a compare-and-set. Only who won it schedules the documents before the end.
2. Whoever takes the thread up again first marks its documents as held, in an epoch above that of the head, which
   takes them off the schedule. Then it looks at the clock, and then it wins the head or not.
3. A scheduling that comes late finds its documents held in a later epoch, and leaves them alone.

A stop between 1 and the scheduling leaves documents that nobody reads once the head has expired; they go when the
thread is next done, started or deleted. A head that expired counts as none; it stays as a tombstone, so that positions
only grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost.checkpoint import Status
from milepost_mongodb import _layout
from milepost_mongodb._url import SLACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost.checkpoint import Head
    from milepost_mongodb._collections import Collections
    from milepost_mongodb._layout import Document, Stored


class HeadSwap:
    """One compare-and-set of a thread's head. ``now`` tells the time, ``tail`` a journal's first free position."""

    def __init__(
        self,
        collections: Collections,
        *,
        retention: float | None,
        now: Callable[[], float],
        tail: Callable[[Collections, str, int], int],
    ) -> None:
        self._collections = collections
        self._retention = retention
        self._now = now
        self._tail = tail

    def run(self, head: Head, data: bytes, expected: int | None) -> bool:
        """Set the head if its version is ``expected``; return whether it was set."""
        fields = _layout.head_fields(head, data)
        finishes = self._retention is not None and head.status is Status.DONE
        if not finishes and self._is_set_at_once(head.thread, fields, expected):
            return True
        return self._is_set_with_care(head, fields, expected, finishes=finishes)

    def _is_set_at_once(self, thread: str, fields: Document, expected: int | None) -> bool:
        """Set a head that is not there, or that no retention holds."""
        if expected is None:
            return self._is_inserted({"_id": thread, **fields})
        asked = {"_id": thread, "version": expected, "expires": None}
        return self._collections.heads.update_one(asked, _layout.set_head(fields)).matched_count > 0

    def _is_inserted(self, document: Document) -> bool:
        from pymongo.errors import DuplicateKeyError

        try:
            self._collections.heads.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    def _is_set_with_care(
        self, head: Head, fields: Document, expected: int | None, *, finishes: bool
    ) -> bool:
        thread = head.thread
        document = self._collections.heads.find_one({"_id": thread})
        found = _layout.Stored.read(document)
        lives = found.is_head(self._now())
        if (found.version if lives else None) != expected:
            return self._is_ours(thread, found, fields, finishes=finishes)
        changes = dict(fields)
        if lives and found.expires is not None:
            changes["epoch"] = self._hold(thread, found)
            if found.is_expired(self._now()):  # some documents may have gone before they were held
                return False
        if finishes:
            changes |= self._ending(head, found, changes)
        if document is None:
            is_set = self._is_inserted({"_id": thread, **changes})
        else:
            is_set = self._is_updated(thread, found, changes, lives=lives)
        if is_set and finishes:
            self._schedule(thread, changes)
        return is_set

    def _ending(self, head: Head, found: Stored, changes: Document) -> Document:
        """Return what a head says beside its fields when its thread is done: when it is forgotten, and up to where."""
        return {
            "end": self._tail(self._collections, head.thread, max(head.run, found.floor)),
            "expires": self._now() + (self._retention or 0.0),
            "epoch": changes.get("epoch", found.epoch or 0),
        }

    def _is_updated(self, thread: str, found: Stored, changes: Document, *, lives: bool) -> bool:
        """Set a head as long as nobody changed it; one that expired leaves its end as the floor, and nothing else."""
        update = _layout.set_head(changes)
        forgets = found.version is not None and not lives
        if forgets:
            update["$max"] = {"floor": found.end}
        if not self._collections.heads.update_one(found.unchanged(thread), update).matched_count:
            return False
        if forgets:
            for collection in (self._collections.batches, self._collections.chunks):
                collection.delete_many(_layout.ids(thread, 0, found.end))
        return True

    def _is_ours(self, thread: str, found: Stored, fields: Document, *, finishes: bool) -> bool:
        """Tell whether this very swap was applied and only its answer was lost; then do what follows it."""
        if found.version != fields["version"] or found.data != fields["data"]:
            return False
        if finishes and found.expires is not None:
            self._schedule(thread, {"end": found.end, "epoch": found.epoch or 0, "expires": found.expires})
        return True

    def _hold(self, thread: str, found: Stored) -> int:
        """Take a thread's documents off the schedule; return the epoch in which they are held."""
        epoch = (found.epoch or 0) + 1
        for collection in (self._collections.batches, self._collections.chunks):
            collection.update_many(_layout.ids(thread), _layout.hold(epoch))
        return epoch

    def _schedule(self, thread: str, lowered: Document) -> None:
        asked = _layout.scheduled(thread, lowered["end"], lowered["epoch"])
        for collection in (self._collections.batches, self._collections.chunks):
            collection.update_many(asked, _layout.schedule(lowered["expires"] + SLACK))
