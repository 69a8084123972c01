"""Items of a store: one object each, changed by compare-and-set on its ETag, and deleted so too where that can be.

Where an endpoint does not keep to a condition on DeleteObject, an empty object stands for an item that was deleted.
"""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from milepost.errors import Corrupt, StorageError, StorageUnavailable
from milepost.items import StoredItem
from milepost_s3._layout import GONE
from milepost_s3._probe import deletes_on_conditions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from milepost.items import Change
    from milepost.scans import Scan
    from milepost_s3._client import Client, Object
    from milepost_s3._layout import Keys

_PAGE: Final = 1000
_WINDOW: Final = 64
"""How many objects are read side by side at most, before the next ones are asked for."""


class Items:
    """The item objects below one prefix."""

    def __init__(self, client: Client, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._deletes: bool | None = None

    # -- reading -------------------------------------------------------------------------------------------

    def load(self, addresses: Sequence[str]) -> list[StoredItem | None]:
        """Return what lies at each address."""
        if not addresses:
            return []
        return self._client.together([partial(self._at, place) for place in addresses])

    def scan(self, scan: Scan) -> list[StoredItem]:
        """Return the items that a scan asks for: keys are listed in pages, objects read in windows."""
        found: list[StoredItem] = []
        width = scan.limit
        places = self._places(scan)
        while len(found) < scan.limit:
            window = list(islice(places, min(width, _WINDOW)))
            if not window:
                break
            live = [item for item in self.load(window) if item is not None]
            found += [item for item in live if item.is_expired(scan.now) is scan.expired]
            width = max(scan.limit - len(found), 2 * width)
        return found[: scan.limit]

    def _places(self, scan: Scan) -> Iterator[str]:
        """Yield the addresses that have objects, as few as are wanted at first; empty objects are passed over."""
        folder = self._keys.item(scan.prefix)
        after = self._keys.past_item(scan.after) if scan.after else None
        width = min(scan.limit, _PAGE)
        while True:
            page = self._client.page(folder, after, width)
            for key, size, _ in page.found:
                if size:
                    yield self._keys.address(key)
            if not page.more:
                return
            after, width = page.found[-1][0], _PAGE

    def _at(self, place: str) -> StoredItem | None:
        return self._read(place, self._client.get(self._keys.item(place)))

    def _read(self, place: str, found: Object | None) -> StoredItem | None:
        if found is None or found.data == GONE:
            return None
        where = f"{self._keys.item(place)!r} in {self._client.place}"
        item = StoredItem.decode(found.data, where, tag=found.etag)
        if item.address != place:
            raise Corrupt(f"the object at {where} is item {item.key!r} in namespace {item.namespace!r}")
        return item

    # -- changing ------------------------------------------------------------------------------------------

    def change(self, changes: Sequence[Change]) -> list[bool]:
        """Apply compare-and-sets, each for itself; return when none of them is under way any more.

        Raises:
            StorageUnavailable: which of them were applied is unknown.
        """
        if not changes:
            return []
        outcomes = self._client.together([partial(self._outcome, change) for change in changes])
        faults = [outcome for outcome in outcomes if isinstance(outcome, StorageError)]
        lasting = [fault for fault in faults if not isinstance(fault, StorageUnavailable)]
        for fault in (*lasting, *faults):
            raise fault
        return [outcome is True for outcome in outcomes]

    def _outcome(self, change: Change) -> bool | StorageError:
        try:
            return self._changed(change)
        except StorageError as error:
            return error

    def _changed(self, change: Change) -> bool:
        key = self._keys.item(change.address)
        if change.old is None:
            return change.new is not None and self._create(key, change.new.encode())
        if change.new is None:
            return self._remove(key, change.old.tag)
        return self._replace(key, change.new.encode(), change.old.tag)

    def _create(self, key: str, data: bytes) -> bool:
        if self._client.create(key, data) is not None:
            return True
        found = self._client.get(key)
        return found is not None and found.data == GONE and self._replace(key, data, found.etag)

    def _replace(self, key: str, data: bytes, etag: str) -> bool:
        """Write over the object with this ETag; in its other form where it did not match and yet nobody changed it."""
        quoted = self._client.quotes_etags
        if self._client.replace(key, data, etag) is not None:
            return True
        if self._client.has_replaced or not self._is_still(key, etag):
            return False
        self._client.quotes_etags = not quoted
        return self._client.replace(key, data, etag) is not None

    def _remove(self, key: str, etag: str) -> bool:
        if self._deletes is None:
            self._deletes = deletes_on_conditions(self._client, self._keys.sample)
        if not self._deletes:
            return self._replace(key, GONE, etag)
        if self._client.remove(key, etag):
            return True
        return self._is_still(key, etag) and self._replace(key, GONE, etag)

    def _is_still(self, key: str, etag: str) -> bool:
        """Tell whether a condition was refused that does hold."""
        found = self._client.get(key)
        return found is not None and found.etag == etag
