"""The objects of a bucket and their names: pure.

Below the prefix stand ``milepost.json``, which names the format; ``heads/{thread}``, one object per thread; and
``journals/{thread}/{position}``, one object per batch. A stub, which keeps a freed position occupied, is an empty
object. ``items/{address}`` is one object per item of a store; an empty one is no item.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from milepost.errors import Corrupt, InvalidURL, SchemaTooNew

FORMAT: Final = 1
"""The version of this layout. A driver refuses a higher one."""
MARKER: Final = b'{"driver":"milepost-s3","format":1}'
STUB: Final = b""
GONE: Final = b""
"""What stands for an item that was deleted, where an endpoint cannot delete on a condition."""
SAMPLE: Final = b"{}"
"""What an object holds on which deletion is tried: nobody needs it."""

_MAX_PREFIX_BYTES: Final = 200
_MAX_NAME: Final = 700
_DIGITS: Final = 12
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_UNFIT: Final = {0xFFFD: "\ufffd0", 0xFFFE: "\ufffd1", 0xFFFF: "\ufffd2"}
"""What cannot stand in an answer in XML, and what its escape begins with; in the order of the characters."""
_FIT: Final = {spelled: chr(code) for code, spelled in _UNFIT.items()}
_SPELLED = re.compile("\ufffd[012]")
_ENTRY = re.compile(rb'\{"floor":(\d+),"version":(\d+|null),"head":(.*)\}\Z', re.DOTALL)


def _spelling(byte: int) -> str:
    """Return how a byte stands in a name: itself, or an escape that sorts where the byte does."""
    char = chr(byte)
    if char == "-" or (char.isascii() and char.isalnum()):
        return char
    escapes = (("-", "!"), ("0", "."), ("A", "="), ("a", "_"))
    escape = next((escape for above, escape in escapes if char < above), "~")
    return f"{escape}{byte:02x}"


_SPELLINGS: Final = tuple(map(_spelling, range(256)))


def thread_name(thread: str) -> str:
    """Return how a thread id stands in a key: readable, in the same order, and never two ids alike.

    ASCII letters, digits and ``-`` stand for themselves. Each other byte of the UTF-8 form is an escape and two
    hex digits. A name that would be too long for a key is cut, and ends with ``~~`` and a digest of the id.
    """
    data = thread.encode()
    name = "".join(map(_SPELLINGS.__getitem__, data))
    return name if len(name) <= _MAX_NAME else f"{name[:_MAX_NAME]}~~{sha256(data).hexdigest()}"


def check_prefix(prefix: str) -> str:
    """Return a prefix without slashes at its ends.

    Raises:
        InvalidURL: it is too long, or has a segment that some tools or endpoints do not keep as it is.
    """
    trimmed = prefix.removeprefix("/").removesuffix("/")
    if not trimmed:
        return ""
    size = len(trimmed.encode())
    if size > _MAX_PREFIX_BYTES:
        raise InvalidURL(f"the prefix {trimmed[:40]!r}… has {size} bytes; the limit is {_MAX_PREFIX_BYTES}")
    if _CONTROL.search(trimmed):
        raise InvalidURL(f"the prefix {trimmed!r} has a control character")
    if not {"", ".", ".."}.isdisjoint(trimmed.split("/")):
        raise InvalidURL(f"the prefix {trimmed!r} has a segment that is empty, '.' or '..'")
    return trimmed


def check_marker(data: bytes, place: str) -> None:
    """Check the format that the marker names.

    Raises:
        SchemaTooNew: a later version of the driver wrote it.
        Corrupt: it is no marker.
    """
    try:
        found = int(json.loads(data)["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(
            f"{place} names no format: it was not written by milepost-s3; choose another prefix"
        ) from error
    if found > FORMAT:
        raise SchemaTooNew(
            f"{place} has format {found}, this driver knows up to {FORMAT}: upgrade milepost-s3"
        )


class Keys:
    """The keys below one prefix."""

    __slots__ = ("_base", "heads", "items", "marker", "sample")

    def __init__(self, prefix: str) -> None:
        self._base = f"{prefix}/" if prefix else ""
        self.marker = f"{self._base}milepost.json"
        self.heads = f"{self._base}heads/"
        self.items = f"{self._base}items/"
        self.sample = f"{self._base}milepost.sample"

    def head(self, thread: str) -> str:
        """Return the key of a thread's head."""
        return self.heads + thread_name(thread)

    def item(self, address: str) -> str:
        """Return the key of an item, or what begins the keys of those whose addresses begin so; sorted as those are."""
        return self.items + address.translate(_UNFIT)

    def past_item(self, address: str) -> str:
        """Return what the keys of exactly those items come after whose addresses come after some text."""
        return self.item(_CONTROL.split(address, maxsplit=1)[0])  # no address has what sorts before its END

    def address(self, key: str) -> str:
        """Return the address of which a key was made."""
        spelled = key.removeprefix(self.items)
        return _SPELLED.sub(lambda found: _FIT[found[0]], spelled) if "\ufffd" in spelled else spelled

    def journal(self, thread: str) -> str:
        """Return what the keys of a thread's batches, and no others, begin with."""
        return f"{self._base}journals/{thread_name(thread)}/"

    def batch(self, thread: str, position: int) -> str:
        """Return the key of a batch."""
        return f"{self.journal(thread)}{position:0{_DIGITS}d}"


def position_of(key: str) -> int | None:
    """Return the position that a batch's key ends with; None where somebody else's object stands among them."""
    name = key.rpartition("/")[2]
    return int(name) if len(name) == _DIGITS and name.isascii() and name.isdigit() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a head's object holds: the journal's floor, and the head as bytes with its version.

    Without a head it is all that a deleted thread leaves, or the floor of one that was pruned before it had a head.
    The floor only grows and a head's version and nonce never come again, so no two bodies of one key are alike.
    """

    floor: int = 0
    version: int | None = None
    head: bytes | None = None

    def encode(self) -> bytes:
        """Return the entry as one line of JSON."""
        version = b"null" if self.version is None else b"%d" % self.version
        head = b"null" if self.head is None else self.head
        return b'{"floor":%d,"version":%b,"head":%b}' % (self.floor, version, head)

    @classmethod
    def decode(cls, data: bytes, place: str) -> Entry:
        """Read an entry.

        Raises:
            Corrupt: the bytes are none.
        """
        found = _ENTRY.match(data)
        if found is None:
            raise Corrupt(f"the head at {place} cannot be read: it begins with {data[:40]!r}")
        if found[2] == b"null":
            return cls(floor=int(found[1]))
        return cls(floor=int(found[1]), version=int(found[2]), head=found[3])
