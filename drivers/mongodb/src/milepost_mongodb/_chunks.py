"""Batches over the size of a document: cut into chunks that are written before the batch which names them."""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from milepost.errors import Corrupt
from milepost_mongodb import _layout

if TYPE_CHECKING:
    from milepost_mongodb._client import AnyCollection

LARGEST_DOCUMENT: Final = 15 * 1024 * 1024
"""Bytes of a batch that go into one document; MongoDB's limit is 16 MiB with everything around them."""
CHUNK: Final = 8 * 1024 * 1024


def write(chunks: AnyCollection, thread: str, position: int, data: bytes) -> dict[str, Any]:
    """Write the chunks of a batch and return what its document says of them.

    The ids come from the content: what an earlier attempt left is found there, and a rival's is never touched.
    """
    from pymongo.errors import DuplicateKeyError

    digest = sha256(data).hexdigest()
    prefix = f"{_layout.batch_id(thread, position)}/{digest[:32]}"
    pieces = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    for number, piece in enumerate(pieces):
        document = {"_id": f"{prefix}/{number:04d}", "thread": thread, "data": _layout.stored(piece)}
        with suppress(DuplicateKeyError):
            chunks.insert_one(document)
    return {"prefix": prefix, "count": len(pieces), "size": len(data), "sha256": digest}


def read(chunks: AnyCollection, named: Any, what: str) -> bytes:
    """Return the bytes of a batch.

    Raises:
        Corrupt: a chunk is missing or was changed; ``what`` names the batch.
    """
    try:
        prefix, count, size = str(named["prefix"]), int(named["count"]), int(named["size"])
        digest = str(named["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"{what} cannot be read: it does not say what its chunks are") from error
    found = list(chunks.find(_layout.chunk_ids(prefix), sort=_layout.BY_ID, limit=count + 1))
    data = b"".join(_layout.loaded(piece.get("data"), what) for piece in found)
    if len(found) != count or len(data) != size:
        raise Corrupt(
            f"{what} cannot be read: it has {len(found)} chunks with {len(data)} bytes instead of {count} with {size}"
        )
    if sha256(data).hexdigest() != digest:
        raise Corrupt(f"{what} cannot be read: its chunks were changed")
    return data
