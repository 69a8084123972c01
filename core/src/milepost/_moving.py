"""Items of a store as lines of JSON, the same for every backend: out of one, into another."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from milepost import _given, _ids, items
from milepost._struct import Struct
from milepost._writes import Times, Write
from milepost.errors import Corrupt, ItemTooLarge, MilepostError, VersionConflict
from milepost.items import StoredItem
from milepost.scans import PAGE, Scan
from milepost.store import value_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from milepost.items import Namespace
    from milepost.store import Store

_AT_ONCE: Final = 64
"""How many items are sent to a backend together."""


class Imported(Struct):
    """What became of some lines: ``expired`` are those whose life was over, ``kept`` those that were there already."""

    written: int = 0
    expired: int = 0
    kept: int = 0


def exported(store: Store, prefix: Namespace = ()) -> Iterator[bytes]:
    """Yield each item at and below a namespace as a line of ASCII JSON, with its times, in order.

    Raises:
        InvalidItem: the prefix is malformed.
    """
    store._check_open()  # noqa: SLF001 - a part of Store
    below = items.below(_given.labels(prefix, "namespace prefix"))
    scan = Scan(prefix=below, after="", limit=PAGE, now=store.clock.now())
    for item in store._walk(scan):  # noqa: SLF001 - likewise
        yield item.encode()


def imported(
    store: Store, lines: Iterable[bytes], *, place: str, overwrite: bool = True
) -> Iterator[Imported]:
    """Put exported items into a store, and yield what became of each batch of them.

    Times and lives stay as they were. An item is written over one that is there, unless ``overwrite`` is False.

    Raises:
        Corrupt: a line is no exported item; ``place`` names where it is from. Those before it are written.
        InvalidItem: an item's namespace or key is malformed.
        ItemTooLarge: an item is over the backend's limit.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    while batch := list(islice(numbered, _AT_ONCE)):
        found = [_read(line.strip(), f"line {number} of {place}") for number, line in batch]
        yield _write(store, found, overwrite=overwrite)


def _read(line: bytes, place: str) -> StoredItem:
    item = StoredItem.decode(line, place)
    _given.namespace(item.namespace)
    _given.key(item.key)
    try:
        valid = isinstance(json.loads(item.data), dict)
    except ValueError:
        valid = False
    if not valid:
        raise Corrupt(f"the item at {place} cannot be read: its value is no mapping")
    return item


def _write(store: Store, found: list[StoredItem], *, overwrite: bool) -> Imported:
    now = store.clock.now()
    live = {item.address: item for item in found if not item.is_expired(now)}
    writes = [_made(store, item, overwrite=overwrite) for item in live.values()]
    kept = 0
    try:
        store._apply(writes)  # noqa: SLF001 - likewise
    except VersionConflict:
        kept = sum(not _is_mine(store, write) for write in writes)
    expired = sum(item.is_expired(now) for item in found)
    return Imported(written=len(found) - expired - kept, expired=expired, kept=kept)


def _is_mine(store: Store, write: Write) -> bool:
    (found,) = store._retrying(store._load, [write.address])  # noqa: SLF001 - likewise
    return found is not None and found.nonce == write.nonce


def _made(store: Store, item: StoredItem, *, overwrite: bool) -> Write:
    limit = store.max_item_bytes
    if limit is not None and len(item.data) > limit:
        raise ItemTooLarge(namespace=item.namespace, key=item.key, size=len(item.data), limit=limit)
    text, vectors = store._searchable(_value(item), None)  # noqa: SLF001 - likewise
    return Write(
        address=item.address,
        namespace=item.namespace,
        key=item.key,
        nonce=_ids.token(),
        data=item.data,
        ttl=item.ttl,
        if_version=None if overwrite else 0,
        text=text,
        vectors=vectors,
        times=Times(created_at=item.created_at, updated_at=item.updated_at, expires_at=item.expires_at),
    )


def _value(item: StoredItem) -> Any:
    """Return what is to be searched; a value of types that are not registered here is searched as it is written."""
    try:
        return value_of(item)
    except MilepostError:
        return json.loads(item.data)
