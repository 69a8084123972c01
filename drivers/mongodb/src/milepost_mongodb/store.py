"""The store for MongoDB: an item is a document, and a filter that names its version is the compare-and-set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from milepost.backend import Capability
from milepost.errors import ItemTooLarge
from milepost.store import Store
from milepost_mongodb import _collections, _items, _layout, _url
from milepost_mongodb._client import Client
from milepost_mongodb._errors import DocumentRefused, KeyTaken

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from milepost.items import Change, StoredItem
    from milepost.scans import Scan
    from milepost.store import IndexConfig, TTLConfig
    from milepost.url import URL
    from milepost_mongodb._client import AnyClient
    from milepost_mongodb._collections import ItemCollections


class MongoDBStore(Store):
    """Keeps items in one MongoDB database that any number of hosts may share, also with checkpointers.

    ``database``, ``client``, ``prefix`` and ``timeout`` are those of :class:`~milepost_mongodb.MongoDBCheckpointer`; a
    URL may have its ``milepost.retention``, which is about threads and means nothing here. ``ttl`` is how long items
    live; the server removes what expired. There is no ``index=``: nothing is found by meaning, nor by words.

    Raises:
        InvalidURL: the URL, or a keyword, has no such value.
        InvalidIndex: ``ttl`` is malformed.
        SearchUnsupported: there is an ``index``.
    """

    DRIVER_API = 1
    options = _url.MongoDBOptions
    options_prefix = "milepost."
    capabilities = frozenset(
        {Capability.EXPIRY, Capability.DURABLE, Capability.MULTI_PROCESS, Capability.MULTI_HOST}
    )
    max_item_bytes: int | None = _items.LARGEST

    def __init__(
        self,
        database: str,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        client: AnyClient | None = None,
        prefix: str = "milepost_",
        timeout: float = 5.0,
    ) -> None:
        options = _url.MongoDBOptions(prefix=prefix, timeout=timeout)
        self._place = _url.located(database, options, given=client is not None)
        self._client = Client(self._place, _collections.STORE, client)
        super().__init__(index=index, ttl=ttl)

    @classmethod
    def from_url(cls, url: URL) -> MongoDBStore:
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

    def _load(self, addresses: Sequence[str]) -> Sequence[StoredItem | None]:
        asked = {"_id": {"$in": list(addresses)}}
        found = {each["_id"]: each for each in self._client.use(lambda on: list(on.items.find(asked)))}
        return [None if place not in found else self._item(found[place]) for place in addresses]

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        if scan.limit <= 0:  # which means no limit to MongoDB
            return []
        asked = _items.asked(scan)
        found = self._client.use(lambda on: list(on.items.find(asked, sort=_layout.BY_ID, limit=scan.limit)))
        return [self._item(each) for each in found]

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        return [self._change(change) for change in changes]

    def _change(self, change: Change) -> bool:
        try:
            return self._client.use(_action(change))
        except KeyTaken:
            return False
        except DocumentRefused as error:
            new = change.new
            if new is None:
                raise
            size = len(new.data)
            raise ItemTooLarge(
                namespace=new.namespace, key=new.key, size=size, limit=min(size - 1, _items.LARGEST)
            ) from error

    def _item(self, found: Any) -> StoredItem:
        return _items.item(found, str(self._place))


def _action(change: Change) -> Callable[[ItemCollections], bool]:
    """Return what applies a compare-and-set, and tells whether it did."""
    old, new = change.old, change.new
    if old is None:
        if new is None:
            return lambda on: on.items.find_one({"_id": change.address}, {"_id": 1}) is None
        made = _items.document(new)
        return lambda on: bool(on.items.insert_one(made).acknowledged)
    if new is None:
        unrenewed = _items.unrenewed(old)
        return lambda on: on.items.delete_one(unrenewed).deleted_count == 1
    unchanged, made = _items.unchanged(old), _items.document(new)
    return lambda on: on.items.replace_one(unchanged, made).matched_count == 1
