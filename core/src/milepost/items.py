"""Items of a store, as users see them and as drivers keep them, and where each lies: its address.

An address is one text for namespace and key. Addresses sort as namespaces and keys do, and what lies at or below a
namespace is one range of them, so a backend needs no more than an ordered key.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from milepost._struct import Struct
from milepost.errors import Corrupt, InvalidItem

Namespace: TypeAlias = tuple[str, ...]

MAX_ADDRESS_BYTES: Final = 800
"""How long an address may be, in bytes of UTF-8: S3 has room for no more, and a store can be moved to any backend."""
END: Final = "!"
"""What ends each label of an address; a second one is before the key. It sorts before all else that an address has."""
_BEYOND: Final = '"'
"""The character after the end of a label."""
_KEPT_KEYS: Final = 32


def _spelling(char: str) -> str:
    """Return how an ASCII character stands in an address: itself, or an escape that sorts where it does."""
    if char == "-" or char.isalnum():
        return char
    escapes = (("-", "("), ("0", "."), ("A", "="), ("a", "_"))
    escape = next((escape for above, escape in escapes if char < above), "~")
    return f"{escape}{ord(char):02x}"


_SPELLINGS: Final = {code: _spelling(chr(code)) for code in range(128) if _spelling(chr(code)) != chr(code)}


class Item(Struct):
    """What a store keeps under a namespace and a key. ``value`` is the reader's own copy; times are UTC.

    ``version`` changes with every write of the item and never comes again, also after it was deleted: give it to
    ``put(if_version=…)``. ``expires_at`` is None for an item that stays.
    """

    namespace: Namespace
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    version: int = 0
    expires_at: datetime | None = None

    def dict(self) -> dict[str, Any]:
        """Return the fields as a dict; namespace as a list, times in ISO 8601 (LangGraph's method)."""
        shown = {field: getattr(self, field) for field in self.__struct_fields__}
        for field in ("created_at", "updated_at", "expires_at"):
            if shown[field] is not None:
                shown[field] = shown[field].isoformat()
        return shown | {"namespace": list(self.namespace)}


class SearchItem(Item):
    """An item that was found. ``score`` says how well it fits the ``query``, more is better; None without one."""

    score: float | None = None


class StoredItem(Struct):
    """An item as a driver keeps it. ``data`` is its value as ASCII JSON; a driver never looks inside.

    ``version`` and ``nonce`` are what a compare-and-set goes by. ``ttl`` is the life, in seconds, that each refresh
    gives. ``applied`` are the keys of the last writes that count once. ``text`` is what a full-text search looks in:
    words with a space between. ``vectors`` are the embeddings of the value. ``tag`` is the driver's own: what it needs
    to know of the state that it read, such as an ETag; it is no part of the item.
    """

    address: str
    namespace: Namespace
    key: str
    data: bytes
    created_at: datetime
    updated_at: datetime
    version: int
    nonce: str
    ttl: float | None = None
    expires_at: datetime | None = None
    applied: tuple[str, ...] = ()
    text: str = ""
    vectors: tuple[tuple[float, ...], ...] = ()
    tag: str = ""

    def is_expired(self, now: datetime) -> bool:
        """Tell whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now

    def encode(self) -> bytes:
        """Return the item as one line of ASCII JSON, without text, vectors and tag: they are for searching."""
        fields: dict[str, Any] = {
            "namespace": list(self.namespace),
            "key": self.key,
            "version": self.version,
            "nonce": self.nonce,
            "created_at": written(self.created_at),
            "updated_at": written(self.updated_at),
        }
        if self.expires_at is not None:
            fields |= {"expires_at": written(self.expires_at)}
        if self.ttl is not None:
            fields |= {"ttl": self.ttl}
        if self.applied:
            fields |= {"applied": list(self.applied)}
        return json.dumps(fields)[:-1].encode("ascii") + b', "value": ' + self.data + b"}"

    @classmethod
    def decode(cls, line: bytes, place: str, *, tag: str = "") -> StoredItem:
        """Read what :meth:`encode` wrote.

        Raises:
            Corrupt: it is no such line; ``place`` names it.
        """
        try:
            fields: dict[str, Any] = json.loads(line)
            data = line.partition(b', "value": ')[2]
            namespace, key = tuple(map(str, fields["namespace"])), str(fields["key"])
            return cls(
                address=address(namespace, key),
                namespace=namespace,
                key=key,
                data=data[:-1],
                created_at=read_time(fields["created_at"]),
                updated_at=read_time(fields["updated_at"]),
                version=int(fields["version"]),
                nonce=str(fields["nonce"]),
                ttl=fields.get("ttl"),
                expires_at=None if "expires_at" not in fields else read_time(fields["expires_at"]),
                applied=tuple(fields.get("applied", ())),
                tag=tag,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Corrupt(f"the item at {place} cannot be read: it begins with {line[:40]!r}") from error


class Change(Struct):
    """One compare-and-set: ``old`` is what was read (None: nothing was there), ``new`` what is to be (None: nothing).

    It applies if what is there now has the version of ``old``, or nothing is there where ``old`` is None.
    """

    address: str
    old: StoredItem | None
    new: StoredItem | None


def remember(applied: tuple[str, ...], key: str) -> tuple[str, ...]:
    """Return the keys of the last writes that count once, with one more."""
    return (*applied, key)[-_KEPT_KEYS:]


# -- addresses -----------------------------------------------------------------------------------------------------


def address(namespace: Namespace, key: str) -> str:
    """Return where an item lies: ``users!ann!!name`` for ``name`` in ``("users", "ann")``.

    ASCII letters, digits, ``-`` and all that is not ASCII stand for themselves; any other character is an escape and
    two hex digits. Addresses compare as namespaces and keys do, by code point and by bytes of UTF-8 alike.

    Raises:
        InvalidItem: it would be longer than ``MAX_ADDRESS_BYTES``.
    """
    made = f"{below(namespace)}{END}{key.translate(_SPELLINGS)}"
    size = len(made.encode())
    if size > MAX_ADDRESS_BYTES:
        raise InvalidItem(
            f"the key {key[:40]!r}… in namespace {str(namespace)[:80]}… is too long: with its namespace it takes "
            f"{size} bytes where {MAX_ADDRESS_BYTES} are allowed (what is no letter or digit takes three); shorten it, "
            f"or use a digest of it"
        )
    return made


def below(namespace: Namespace) -> str:
    """Return what the addresses at and below a namespace, and no others, begin with; empty for all."""
    return "".join([f"{label.translate(_SPELLINGS)}{END}" for label in namespace])


def after(prefix: str) -> str:
    """Return what sorts after all that begins with a prefix of :func:`below`, and before all else that follows."""
    return prefix[:-1] + _BEYOND if prefix else "\U0010ffff"


def after_items(namespace: Namespace) -> str:
    """Return what sorts after a namespace's own items, and before what is below it."""
    return below(namespace) + _BEYOND


def split(place: str) -> tuple[Namespace, str]:
    """Return the namespace and the key of an address."""
    labels, _, key = place.partition(END + END)
    return tuple(map(_read, labels.split(END))), _read(key)


def _read(text: str) -> str:
    return re.sub(r"[(.=_~]([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), text)


# -- times ---------------------------------------------------------------------------------------------------------


def written(time: datetime) -> str:
    """Return a time in UTC as text of one length, which sorts as the times do."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def read_time(text: str) -> datetime:
    """Return the time that :func:`written` wrote.

    Raises:
        ValueError: it is none.
    """
    return datetime.fromisoformat(text).astimezone(UTC)
