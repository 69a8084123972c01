"""The checkpointer for MongoDB: a batch is a document, and its ``_id`` is what makes an append the only one."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from milepost.checkpoint import Capability, Checkpointer, HeadPage, check_thread_id
from milepost.errors import Corrupt, InvalidThreadId, PositionTaken, StorageError, TooLarge
from milepost.errors import StorageUnavailable as Unavailable
from milepost.fork import PerProcess
from milepost_mongodb import _chunks, _collections, _layout, _url
from milepost_mongodb._client import Client
from milepost_mongodb._errors import DocumentRefused, KeyTaken
from milepost_mongodb._heads import HeadSwap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from milepost.checkpoint import Head, HeadQuery, Swap
    from milepost.url import URL
    from milepost_mongodb._client import AnyClient
    from milepost_mongodb._collections import Collections
    from milepost_mongodb._layout import Document

_TAIL_PAGE: Final = 256
_UPSERT_TRIES: Final = 3


def _utc_now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - milepost's own clock is not part of the driver contract


class MongoDBCheckpointer(Checkpointer):
    """Keeps journals and heads in one MongoDB database that any number of processes and hosts may share.

    ``database`` is a URL (``mongodb://…`` or ``mongodb+srv://…``) whose own options go before the keywords, or the
    name of a database of ``client``, which is then used and never closed. ``prefix`` begins the names of the
    collections. ``retention`` is how long, in seconds, a thread is kept after its newest run is done; None keeps it
    for ever. ``timeout`` is how long, in seconds, to look for a server, and for a majority to confirm. ``clock`` tells
    the time for the retention.

    Raises:
        InvalidURL: the URL, or a keyword, has no such value.
    """

    DRIVER_API = 1
    options = _url.MongoDBOptions
    options_prefix = "milepost."
    capabilities = frozenset(
        {
            Capability.INDEXED_HEADS,
            Capability.DURABLE,
            Capability.MULTI_PROCESS,
            Capability.MULTI_HOST,
        }
    )
    max_batch_bytes: int | None = 256 * 1024 * 1024

    def __init__(
        self,
        database: str,
        *,
        client: AnyClient | None = None,
        prefix: str = "milepost_",
        retention: float | None = None,
        timeout: float = 5.0,
        clock: Callable[[], datetime] = _utc_now,
    ) -> None:
        options = _url.MongoDBOptions(prefix=prefix, retention=retention, timeout=timeout)
        self._place = _url.located(database, options, given=client is not None)
        self._client = Client(self._place, _collections.CHECKPOINTER, client)
        self._clock = clock
        self._known_floors = PerProcess(_Floors)

    @classmethod
    def from_url(cls, url: URL) -> MongoDBCheckpointer:
        """Make a driver for a MongoDB connection string, whose path is the database.

        Raises:
            InvalidURL: a part or an option is not understood, or would weaken what is promised.
        """
        return cls(url.reveal())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place.shown!r})"

    def _open(self) -> None:
        self._client.open()

    def _close(self) -> None:
        self._client.close()

    # -- the journal ---------------------------------------------------------------------------------------------

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        if swap is not None:
            raise StorageError(f"{self!r} cannot change a head together with an append")
        if position < self._floors.get(_checked(thread)):
            raise PositionTaken(thread_id=thread, position=position)
        try:
            self._client.use(lambda on: self._insert(on, thread, position, bytes(data)))
        except KeyTaken:
            self._check_confirmed(thread, position)
            raise PositionTaken(thread_id=thread, position=position) from None
        except DocumentRefused as error:
            limit = min(len(data) - 1, _chunks.LARGEST_DOCUMENT)
            raise TooLarge(thread_id=thread, size=len(data), limit=limit) from error

    def _insert(self, on: Collections, thread: str, position: int, data: bytes) -> None:
        if len(data) <= _chunks.LARGEST_DOCUMENT:
            content: Document = {"data": _layout.stored(data)}
        else:
            if on.batches.find_one({"_id": _layout.batch_id(thread, position)}, {"_id": 1}) is not None:
                raise KeyTaken(f"position {position} of thread {thread!r} is taken")
            content = {"chunks": _chunks.write(on.chunks, thread, position, data)}
        on.batches.insert_one(_layout.batch(thread, position, **content))

    def _check_confirmed(self, thread: str, position: int) -> None:
        """Refuse to call a position taken by what a majority does not have yet: it may still be rolled back."""
        asked = {"_id": _layout.batch_id(thread, position)}
        if self._client.use(lambda on: on.batches.find_one(asked, {"_id": 1})) is not None:
            return
        if position >= self._floor(thread):
            raise Unavailable(
                f"what is at position {position} of thread {thread!r} in {self._place} is not confirmed yet"
            )

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        _checked(thread)
        if limit <= 0:
            return []
        first = max(start, self._floors.get(thread))
        while True:
            found = self._documents(thread, first, limit)
            floor = self._floor(thread)  # after the documents: what was pruned meanwhile lies below it
            if floor <= first:
                page = self._contents(thread, first, found)
                if page is not None:
                    return page
                floor = self._floor(thread)
            first = floor

    def _documents(self, thread: str, start: int, limit: int) -> list[Document]:
        asked = _layout.each_id(thread, start, limit)
        found = self._client.use(lambda on: list(on.batches.find(asked, sort=_layout.BY_ID)))
        return [document for document in found if "stub" not in document]

    def _contents(self, thread: str, start: int, found: list[Document]) -> list[tuple[int, bytes]] | None:
        """Return the batches up to the first gap; None where one was pruned while its chunks were being read."""
        page: list[tuple[int, bytes]] = []
        for position, document in enumerate(found, start):
            if _layout.position_of(document["_id"]) != position:
                break
            try:
                page.append((position, self._content(thread, position, document)))
            except Corrupt:
                if position < self._floor(thread):
                    return None
                raise
        return page

    def _content(self, thread: str, position: int, document: Document) -> bytes:
        what = f"batch {position} of thread {thread!r} in {self._place}"
        if "chunks" in document:
            return self._client.use(lambda on: _chunks.read(on.chunks, document["chunks"], what))
        return _layout.loaded(document.get("data"), what)

    def _tail(self, thread: str, hint: int) -> int:
        _checked(thread)
        return self._client.use(lambda on: self._tail_from(on, thread, hint))

    def _tail_from(self, on: Collections, thread: str, hint: int) -> int:
        first = max(hint, self._floors.get(thread))
        while True:
            tail = _first_free(on, thread, first)
            floor = self._floor(thread)
            if floor <= first:
                return tail
            first = floor

    # -- heads ---------------------------------------------------------------------------------------------------

    def _load_head(self, thread: str) -> bytes | None:
        found = self._stored(_checked(thread))
        if not found.is_head(self._now()):
            return None
        return _layout.loaded(found.data, f"the head of thread {thread!r} in {self._place}")

    def _swap_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        _checked(head.thread)
        retention = self._place.options.retention
        return self._client.use(
            lambda on: HeadSwap(on, retention=retention, now=self._now, tail=self._tail_from).run(
                head, data, expected
            )
        )

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        for text in (cursor, query.workflow):
            if text is not None and not isinstance(text, str):
                raise StorageError(f"a listing takes a str, not {type(text).__name__}")
        asked = _layout.list_heads(query, cursor, self._now())
        fields = {"data": 1}
        found = self._client.use(
            lambda on: list(on.heads.find(asked, fields, sort=_layout.BY_ID, limit=limit + 1))
        )
        heads = tuple(
            _layout.loaded(document.get("data"), f"the head of thread {document['_id']!r} in {self._place}")
            for document in found[:limit]
        )
        return HeadPage(heads=heads, cursor=found[limit - 1]["_id"] if len(found) > limit else None)

    # -- pruning and deleting --------------------------------------------------------------------------------------

    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:
        _checked(thread)
        self._upsert("heads", {"_id": thread}, {"$max": {"floor": before}})
        self._floors.learn(thread, before)
        for position in sorted(keep):
            if 0 <= position < before:
                self._leave_stub(thread, position)
        self._client.use(lambda on: on.batches.delete_many(_layout.ids(thread, 0, before) | _layout.NOT_STUB))
        self._client.use(lambda on: on.chunks.delete_many(_layout.ids(thread, 0, before)))

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        _checked(thread)
        last = self._left_over(thread) if grave is None else grave
        if last is None:
            return
        if grave is not None:
            self._bury_head(thread, grave, version)
        self._leave_stub(thread, last)
        self._client.use(lambda on: on.batches.delete_many(_layout.ids(thread, 0, last) | _layout.NOT_STUB))
        self._client.use(lambda on: on.chunks.delete_many(_layout.ids(thread, 0, last + 1)))

    def _left_over(self, thread: str) -> int | None:
        """Return the last position of what an earlier deletion, or the retention, left; None where nothing is."""
        while True:
            found, now = self._stored(thread), self._now()
            floor = found.lowest(now)
            if not found.is_expired(now) or self._is_buried(thread, found, floor):
                return floor - 1 if floor else None

    def _is_buried(self, thread: str, found: _layout.Stored, floor: int) -> bool:
        """Turn an expired head into a tombstone; return False where somebody has used the thread since."""
        update = _layout.bury_head(floor)
        asked = found.unchanged(thread)
        return bool(self._client.use(lambda on: on.heads.update_one(asked, update).matched_count))

    def _bury_head(self, thread: str, grave: int, version: int | None) -> None:
        """Turn the head into a tombstone, unless somebody has taken the thread since, to start or to delete it."""
        asked = {"_id": thread, "version": version}
        update = _layout.bury_head(grave + 1)
        if not self._client.use(lambda on: on.heads.update_one(asked, update).matched_count):
            self._upsert("heads", {"_id": thread}, {"$max": {"floor": grave + 1}})
        self._floors.learn(thread, grave + 1)

    def _leave_stub(self, thread: str, position: int) -> None:
        asked = {"_id": _layout.batch_id(thread, position)}
        self._upsert("batches", asked, _layout.stub(thread, position))

    def _upsert(self, name: str, asked: Document, update: Document) -> None:
        """Update a document, or make it. Of two that make it at once, one is told so and updates."""
        for _ in range(_UPSERT_TRIES):
            try:
                self._client.use(lambda on: getattr(on, name).update_one(asked, update, upsert=True))
            except KeyTaken:
                continue
            return
        raise Unavailable(f"{self._place} could not decide who makes a document of {name}")

    # -- helpers -------------------------------------------------------------------------------------------------

    @property
    def _floors(self) -> _Floors:
        return self._known_floors.get()

    def _now(self) -> float:
        return self._clock().timestamp()

    def _stored(self, thread: str) -> _layout.Stored:
        found = _layout.Stored.read(self._client.use(lambda on: on.heads.find_one({"_id": thread})))
        self._floors.learn(thread, found.floor)
        return found

    def _floor(self, thread: str) -> int:
        return self._stored(thread).lowest(self._now())


class _Floors:
    """The floors that this driver has seen, of the threads used last. They only rise, so an old one is too low."""

    _MOST = 4096

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, int] = OrderedDict()

    def get(self, thread: str) -> int:
        return self._known.get(thread, 0)

    def learn(self, thread: str, floor: int) -> None:
        if floor <= self.get(thread):
            return
        with self._lock:
            self._known[thread] = max(floor, self._known.get(thread, 0))  # never popped: readers do not lock
            self._known.move_to_end(thread)
            if len(self._known) > self._MOST:
                self._known.popitem(last=False)


def _first_free(on: Collections, thread: str, start: int) -> int:
    position = start
    while True:
        asked = _layout.each_id(thread, position, _TAIL_PAGE)
        page = list(on.batches.find(asked, {"_id": 1}, sort=_layout.BY_ID))
        for document in page:
            if _layout.position_of(document["_id"]) != position:
                return position
            position += 1
        if len(page) < _TAIL_PAGE:
            return position


def _checked(thread: Any) -> str:
    """Refuse what is no thread id before it reaches a query, where a dict would be an operator.

    Raises:
        InvalidThreadId: it is no str, or none that milepost takes.
    """
    if not isinstance(thread, str):
        raise InvalidThreadId(f"a thread id is a str here, not {type(thread).__name__}")
    return check_thread_id(thread)
