"""Documents and filters: how the items of a store lie in MongoDB. Pure: nothing here talks to it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from milepost import items
from milepost.errors import Corrupt
from milepost.items import StoredItem
from milepost_mongodb import _layout
from milepost_mongodb._url import SLACK

if TYPE_CHECKING:
    from datetime import datetime

    from milepost.scans import Scan
    from milepost_mongodb._layout import Document

LARGEST: Final = 15 * 1024 * 1024
"""Bytes of a value that go into one document; MongoDB's limit is 16 MiB with everything around them."""

_MILLISECOND: Final = 1000


def document(item: StoredItem) -> Document:
    """Return the document of an item; its times as text, which compares as they do and loses nothing."""
    made: Document = {
        "_id": item.address,
        "namespace": list(item.namespace),
        "key": item.key,
        "data": _layout.stored(item.data),
        "version": item.version,
        "nonce": item.nonce,
        "created": items.written(item.created_at),
        "updated": items.written(item.updated_at),
    }
    if item.ttl is not None:
        made["ttl"] = item.ttl
    if item.expires_at is not None:
        made |= _life(item.expires_at)
    if item.applied:
        made["applied"] = list(item.applied)
    return made


def _life(expires: datetime) -> Document:
    """Return when an item expires, and the date after which the server may remove it."""
    try:
        return {"expires": items.written(expires), "purge": _purged(expires)}
    except OverflowError:  # never, then
        return {"expires": items.written(expires)}


def _purged(time: datetime) -> datetime:
    """Return when the server may remove what expires then: later, as clocks differ; BSON has no more than ms."""
    return time + timedelta(microseconds=-time.microsecond % _MILLISECOND, seconds=SLACK)


def item(found: Any, where: str) -> StoredItem:
    """Return the item that a document is.

    Raises:
        Corrupt: it is none; ``where`` names its place.
    """
    try:
        expires = found.get("expires")
        read = StoredItem(
            address=items.address(tuple(map(str, found["namespace"])), str(found["key"])),
            namespace=tuple(map(str, found["namespace"])),
            key=str(found["key"]),
            data=_layout.loaded(found.get("data"), f"item {found['_id']!r} in {where}"),
            created_at=items.read_time(found["created"]),
            updated_at=items.read_time(found["updated"]),
            version=int(found["version"]),
            nonce=str(found["nonce"]),
            ttl=found.get("ttl"),
            expires_at=None if expires is None else items.read_time(expires),
            applied=tuple(found.get("applied", ())),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"item {found.get('_id')!r} in {where} cannot be read: {error!r}") from error
    if read.address != found["_id"]:
        raise Corrupt(
            f"item {found['_id']!r} in {where} is item {read.key!r} in namespace {read.namespace!r}"
        )
    return read


def unchanged(old: StoredItem) -> Document:
    """Return the filter for an item of this version."""
    return {"_id": old.address, "version": old.version}


def unrenewed(old: StoredItem) -> Document:
    """Return the filter for an item of this version whose life was not given anew: such a one is not to be removed."""
    return unchanged(old) | {"expires": None if old.expires_at is None else items.written(old.expires_at)}


def asked(scan: Scan) -> Document:
    """Return the filter for what a scan asks for: a range of ids, those that live or those that expired."""
    bounds: Document = {"$gt": scan.after} if scan.after >= scan.prefix else {"$gte": scan.prefix}
    if scan.prefix:
        bounds["$lt"] = items.after(scan.prefix)
    now = items.written(scan.now)
    if scan.expired:
        # The date is there for its index; the text is exact.
        return {"_id": bounds, "purge": {"$lte": _purged(scan.now)}, "expires": {"$lte": now}}
    return {"_id": bounds, "$or": [{"expires": None}, {"expires": {"$gt": now}}]}
