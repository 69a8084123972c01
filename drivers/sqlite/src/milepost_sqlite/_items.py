"""Tables and statements: how items, their words and their embeddings lie in SQLite. Pure: nothing here runs one."""

from __future__ import annotations

import json
import sqlite3
from array import array
from typing import TYPE_CHECKING, Any, Final

from milepost import items
from milepost.errors import Corrupt
from milepost.items import StoredItem
from milepost_sqlite import _filters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.scans import Scan

COMPONENT: Final = "store"
"""The name under which the version table keeps this schema's version."""
AT_ONCE: Final = 500
"""How many addresses one statement asks for."""

_FIELDS: Final = (
    "namespace", "key", "value", "created", "updated", "version", "nonce", "ttl", "expires", "applied",
)  # fmt: skip
_COLUMNS: Final = ", ".join(f"i.{name}" for name in ("address", *_FIELDS))
_STRICT: Final = sqlite3.sqlite_version_info >= (3, 37)
_OPAQUE: Final = "? OR NOT json_valid(?)"

INSERT: Final = f"""
    INSERT INTO milepost_items ({", ".join(_FIELDS)}, opaque, address)
    VALUES ({", ".join("?" * len(_FIELDS))}, {_OPAQUE}, ?)
    ON CONFLICT DO NOTHING
"""  # noqa: S608 - names of columns
UPDATE: Final = f"""
    UPDATE milepost_items SET {", ".join(f"{name} = ?" for name in _FIELDS)}, opaque = {_OPAQUE}
    WHERE address = ? AND version = ?
"""  # noqa: S608 - likewise
REFRESH: Final = "UPDATE milepost_items SET expires = ? WHERE address = ? AND version = ?"
DELETE: Final = "DELETE FROM milepost_items WHERE address = ? AND version = ?"

_NUMBER: Final = "(SELECT number FROM milepost_items WHERE address = ?)"
_NUMBER_AT: Final = "(SELECT number FROM milepost_items WHERE address = ? AND version = ?)"
FORGET_WORDS: Final = f"DELETE FROM milepost_words WHERE rowid = {_NUMBER_AT}"  # noqa: S608 - no value of a user's
KEEP_WORDS: Final = f"INSERT INTO milepost_words (rowid, text) VALUES ({_NUMBER}, ?)"  # noqa: S608 - likewise
FORGET_VECTORS: Final = f"DELETE FROM milepost_vectors WHERE item = {_NUMBER_AT}"  # noqa: S608 - likewise
KEEP_VECTOR: Final = f"INSERT INTO milepost_vectors (item, vector) VALUES ({_NUMBER}, ?)"  # noqa: S608 - likewise

HAS_VEC: Final = "SELECT 1 FROM pragma_function_list WHERE name = 'vec_distance_cosine'"


def has_words(connection: sqlite3.Connection) -> bool:
    """Tell whether this SQLite has full-text search."""
    return bool(connection.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchone()[0])


def row(item: StoredItem) -> tuple[Any, ...]:
    """Return the values of an item's row, in the order of :data:`INSERT`, without the address."""
    text = item.data.decode("ascii")
    return (
        json.dumps(item.namespace),
        item.key,
        text,
        items.written(item.created_at),
        items.written(item.updated_at),
        item.version,
        item.nonce,
        item.ttl,
        expiry(item),
        json.dumps(item.applied),
        '"$' in text,
        text,
    )


def expiry(item: StoredItem) -> str | None:
    """Return when an item's life is over, as it is kept."""
    return None if item.expires_at is None else items.written(item.expires_at)


def read(found: Sequence[Any], place: str) -> StoredItem:
    """Return the item of a row.

    Raises:
        Corrupt: it cannot be read; ``place`` names the database.
    """
    address, namespace, key, value, created, updated, version, nonce, ttl, expires, applied = found[:11]
    try:
        return StoredItem(
            address=address,
            namespace=tuple(json.loads(namespace)),
            key=key,
            data=value.encode("ascii"),
            created_at=items.read_time(created),
            updated_at=items.read_time(updated),
            version=version,
            nonce=nonce,
            ttl=ttl,
            expires_at=None if expires is None else items.read_time(expires),
            applied=tuple(json.loads(applied)),
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise Corrupt(f"the item {address!r} in {place} cannot be read: {error}") from error


def load(addresses: Sequence[str]) -> str:
    """Return the statement that reads what lies at so many addresses."""
    return (
        f"SELECT {_COLUMNS} FROM milepost_items AS i WHERE i.address IN ({', '.join('?' * len(addresses))})"  # noqa: S608
    )


def scan(asked: Scan) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that reads a range."""
    where, values = _where(asked)
    # Few items expire: the plus makes SQLite find those by their index and sort, not walk all items.
    order = "+i.address" if asked.expired else "i.address"
    statement = f"SELECT {_COLUMNS} FROM milepost_items AS i WHERE {where} ORDER BY {order} LIMIT ?"  # noqa: S608
    return statement, (*values, asked.limit)


def with_words(asked: Scan, words: Sequence[str], offset: int) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that finds words: items with their scores, the best first."""
    where, values = _where(asked)
    statement = f"""
        SELECT {_COLUMNS}, -bm25(milepost_words) AS score
        FROM milepost_words JOIN milepost_items AS i ON i.number = milepost_words.rowid
        WHERE milepost_words MATCH ? AND {where} ORDER BY score DESC, i.address LIMIT ? OFFSET ?
    """  # noqa: S608 - conditions, whose values are bound
    return statement, (" AND ".join(f'"{word}"' for word in words), *values, asked.limit, offset)


def vectors(asked: Scan) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that reads the embeddings of a range."""
    where, values = _where(asked)
    statement = f"""
        SELECT i.address, v.vector FROM milepost_items AS i JOIN milepost_vectors AS v ON v.item = i.number
        WHERE {where}
    """  # noqa: S608 - likewise
    return statement, values


def nearest(asked: Scan, vector: Sequence[float], offset: int) -> tuple[str, tuple[Any, ...]]:
    """Return the statement that finds what is near an embedding, with the functions of sqlite-vec."""
    where, values = _where(asked)
    statement = f"""
        SELECT {_COLUMNS}, max(coalesce(1 - vec_distance_cosine(v.vector, ?), 0)) AS score
        FROM milepost_items AS i JOIN milepost_vectors AS v ON v.item = i.number
        WHERE {where} GROUP BY i.number ORDER BY score DESC, i.address LIMIT ? OFFSET ?
    """  # noqa: S608 - likewise
    return statement, (packed(vector), *values, asked.limit, offset)


def packed(vector: Sequence[float]) -> bytes:
    """Return an embedding as sqlite-vec reads it: 32-bit floats."""
    return array("f", vector).tobytes()


def unpacked(data: bytes) -> array[float]:
    """Return an embedding from its bytes."""
    vector = array("f")
    vector.frombytes(data)
    return vector


def _where(asked: Scan) -> tuple[str, tuple[Any, ...]]:
    clauses: list[str] = []
    values: list[Any] = []

    def hold(clause: str, *bound: Any) -> None:
        clauses.append(clause)
        values.extend(bound)

    if asked.after >= asked.prefix:
        hold("i.address > ?", asked.after)
    else:
        hold("i.address >= ?", asked.prefix)
    if asked.prefix:
        hold("i.address < ?", items.after(asked.prefix))
    now = items.written(asked.now)
    if asked.expired:
        hold("i.expires <= ?", now)
    else:
        hold("(i.expires IS NULL OR i.expires > ?)", now)
    condition = _filters.condition(asked.filter)
    if condition is not None:
        hold(condition[0], *condition[1])
    return " AND ".join(clauses), tuple(values)


# -- the schema ----------------------------------------------------------------------------------------------------


def _create_items(db: Any) -> None:
    """Create the tables; ``db`` is a ``sqlite_utils.Database`` inside a transaction."""
    columns = {
        "number": int,
        "address": str,
        "namespace": str,
        "key": str,
        "value": str,
        "created": str,
        "updated": str,
        "version": int,
        "nonce": str,
        "ttl": float,
        "expires": str,
        "applied": str,
        "opaque": int,
    }
    optional = {"number", "ttl", "expires"}
    table = db.create_table(
        "milepost_items", columns, pk="number", not_null=set(columns) - optional, strict=_STRICT
    )
    table.create_index(["address"], unique=True)
    table.create_index(["expires"])
    found = db.create_table(
        "milepost_vectors", {"number": int, "item": int, "vector": bytes}, pk="number", strict=_STRICT
    )
    found.create_index(["item"])
    if has_words(db.conn):
        # Words come as they are to be found: the tokenizer has only to part them at spaces.
        db.execute("CREATE VIRTUAL TABLE milepost_words USING fts5 (text, tokenize = 'ascii')")


STEPS: Final = (("items", _create_items),)
"""The migrations, oldest first. The schema's version is their number; a released one is never edited."""
