"""Tables and statements of the store: how items lie in SQLite. Pure but for the migrations."""

from __future__ import annotations

import json
import sqlite3
from array import array
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from milepost.errors import Corrupt
from milepost.items import StoredItem, after, read_time, split, written
from milepost_sqlite import _fields, _pushdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from milepost.filters import Path
    from milepost.items import Change
    from milepost.scans import Scan
    from milepost_sqlite._client import Write

COMPONENT: Final = "store"
"""The name under which the version table keeps this schema's version."""
LOADED: Final = 500
"""How many items one statement reads by their addresses."""
LARGEST_VALUE: Final = 400_000_000
"""What is taken of a value, in bytes: its words lie in the same row, and SQLite takes 1 GB."""

COLUMNS: Final = (
    "address, data, created, updated, expires, version, nonce, ttl, applied, milepost_items.text AS text"
)
"""What is read of an item, in the order of :func:`_item`."""
INSERT: Final = """
    INSERT INTO milepost_items
        (namespace, key, data, created, updated, expires, version, nonce, ttl, applied, text, address)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"""
UPDATE: Final = """
    UPDATE milepost_items SET namespace = ?, key = ?, data = ?, created = ?, updated = ?, expires = ?, version = ?,
        nonce = ?, ttl = ?, applied = ?, text = ?
    WHERE address = ? AND version = ?
"""
DELETE: Final = "DELETE FROM milepost_items WHERE address = ? AND version = ?"
FORGET_VECTORS: Final = """
    DELETE FROM milepost_vectors WHERE item = (SELECT id FROM milepost_items WHERE address = ?)
"""
KEEP_VECTOR: Final = """
    INSERT INTO milepost_vectors (item, number, vector)
    SELECT id, ?, ? FROM milepost_items WHERE address = ?
"""

_STRICT: Final = sqlite3.sqlite_version_info >= (3, 37)
_LARGEST: Final = 1e15
"""Past it, and below what divides one by it, a square no longer fits into the numbers that vectors are kept as."""

Statement = tuple[str, tuple[Any, ...]]


# -- writing -------------------------------------------------------------------------------------------------------


def change(made: Change) -> Statement:
    """Return the statement of a compare-and-set; it changes one row or none, and none where there is none yet."""
    if made.new is None:
        return DELETE, (made.address, None if made.old is None else made.old.version)
    row = _row(made.new)
    return (INSERT, row) if made.old is None else (UPDATE, (*row, made.old.version))


def vectors(made: Change) -> Iterator[Statement]:
    """Yield what sets the embeddings of an item that was just changed."""
    old, new = made.old, made.new
    if new is None or (old is not None and (old.nonce, old.vectors) == (new.nonce, new.vectors)):
        return  # a trigger removes them; a life given anew leaves them
    if old is not None:
        yield FORGET_VECTORS, (made.address,)
    for number, vector in enumerate(new.vectors):
        yield KEEP_VECTOR, (number, packed(vector), made.address)


def packed(vector: Sequence[float]) -> bytes:
    """Return a vector as 32-bit floats, shortened or stretched where they do not reach: a cosine knows no lengths."""
    largest = max(map(abs, vector), default=0.0)
    if largest and not 1 / _LARGEST < largest < _LARGEST:
        vector = [number / largest for number in vector]
    return array("f", vector).tobytes()


def _row(item: StoredItem) -> tuple[Any, ...]:
    return (
        json.dumps(item.namespace, ensure_ascii=False),
        item.key,
        item.data.decode("ascii"),
        written(item.created_at),
        written(item.updated_at),
        None if item.expires_at is None else written(item.expires_at),
        item.version,
        item.nonce,
        item.ttl,
        json.dumps(item.applied),
        item.text,
        item.address,
    )


# -- reading -------------------------------------------------------------------------------------------------------


def load(addresses: Sequence[str]) -> Statement:
    """Return the statement that reads the items at some addresses."""
    marks = ", ".join("?" * len(addresses))
    found = f"SELECT id, 0 AS score, {COLUMNS} FROM milepost_items WHERE address IN ({marks})"  # noqa: S608 - no value
    return whole(found), tuple(addresses)


def scan(asked: Scan, indexed: frozenset[Path] = frozenset()) -> Statement:
    """Return the statement that reads what a scan asks for; ``indexed`` are the fields that have an index."""
    # Few items expire: the plus makes SQLite find those by their index and sort, not walk all items.
    address = "+address" if asked.expired else "address"
    condition, values = asked_for(asked, address)
    found = f"SELECT id, 0 AS score, {COLUMNS} FROM milepost_items WHERE {condition}"  # noqa: S608 - likewise
    by_text = None if asked.expired else _fields.text_at(asked.filter, indexed)
    if by_text is not None:
        # Two ranges of one index, each in the order of addresses, which SQLite merges as far as the limit.
        field, text = by_text
        found = f"{found} AND {field} = ? UNION ALL {found} AND {field} = {_fields.OPAQUE}"
        values = (*values, text, *values)
    return whole(f"{found} ORDER BY {address} LIMIT ?"), (*values, asked.limit)


def asked_for(asked: Scan, address: str) -> Statement:
    """Return the condition on ``milepost_items`` for what a scan asks for; what surely does not match is left out."""
    clauses, values = [f"{address} > ?"], [max(asked.after, asked.prefix)]
    if asked.prefix:
        clauses.append(f"{address} < ?")
        values.append(after(asked.prefix))
    clauses.append("expires <= ?" if asked.expired else "(expires IS NULL OR expires > ?)")
    values.append(written(asked.now))
    pushed = _pushdown.condition(asked.filter)
    if pushed is not None:
        clauses.append(pushed.clause)
        values.extend(pushed.values)
    return " AND ".join(clauses), tuple(values)


def whole(found: str) -> str:
    """Return the statement that reads items with their vectors, a row for each, in the order of score and address."""
    return f"""
        WITH found AS ({found})
        SELECT found.*, milepost_vectors.vector FROM found LEFT JOIN milepost_vectors ON item = found.id
        ORDER BY score DESC, address, number
    """  # noqa: S608 - likewise


def read(rows: Iterable[Any]) -> Iterator[tuple[StoredItem, float]]:
    """Yield the items of rows that :func:`whole` found, with their scores.

    Raises:
        Corrupt: an item cannot be read.
    """
    for _, group in groupby(rows, key=lambda row: row[0]):
        same = list(group)
        yield _item(same[0], tuple(unpacked(row[-1]) for row in same if row[-1] is not None)), same[0][1]


def unpacked(data: bytes) -> tuple[float, ...]:
    """Return the vector that :func:`packed` wrote."""
    found = array("f")
    found.frombytes(data)
    return tuple(found)


def _item(row: Any, embedded: tuple[tuple[float, ...], ...]) -> StoredItem:
    _, _, place, data, created, updated, expires, version, nonce, ttl, applied, text, _ = row
    namespace, key = split(place)
    try:
        return StoredItem(
            address=place,
            namespace=namespace,
            key=key,
            data=data.encode("ascii"),
            created_at=read_time(created),
            updated_at=read_time(updated),
            version=version,
            nonce=nonce,
            ttl=ttl,
            expires_at=None if expires is None else read_time(expires),
            applied=tuple(json.loads(applied)),
            text=text,
            vectors=embedded,
        )
    except (ValueError, TypeError, AttributeError) as error:
        raise Corrupt(f"the item at {place} cannot be read: somebody else wrote it") from error


# -- tables --------------------------------------------------------------------------------------------------------


@cache
def finds_words() -> bool:
    """Tell whether this SQLite was built with FTS5."""
    connection = sqlite3.connect(":memory:")
    try:
        (found,) = connection.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchone()
    finally:
        connection.close()
    return bool(found)


def _items_and_vectors(db: Any) -> None:
    """Create the tables; ``db`` is a ``sqlite_utils.Database`` inside a transaction."""
    columns = {
        "id": int,
        "address": str,
        "namespace": str,
        "key": str,
        "data": str,
        "created": str,
        "updated": str,
        "expires": str,
        "version": int,
        "nonce": str,
        "ttl": float,
        "applied": str,
        "text": str,
    }
    needed = set(columns) - {"id", "expires", "ttl"}
    items = db.create_table("milepost_items", columns, pk="id", not_null=needed, strict=_STRICT)
    items.create_index(["address"], unique=True)
    db.conn.execute(
        "CREATE INDEX idx_milepost_items_expires ON milepost_items (expires) WHERE expires IS NOT NULL"
    )
    parts = {"item": int, "number": int, "vector": bytes}
    db.create_table("milepost_vectors", parts, pk=("item", "number"), not_null=parts, strict=_STRICT)
    db.conn.execute("""
        CREATE TRIGGER milepost_items_vectors AFTER DELETE ON milepost_items BEGIN
            DELETE FROM milepost_vectors WHERE item = old.id;
        END
    """)


def index_words(connection: sqlite3.Connection, write: Write) -> None:
    """Create the index of words where nobody did so first; triggers keep it, in the transaction that writes a row.

    It is no migration: a file that was made without FTS5 gets it from the first that has FTS5.
    """
    if lacks_words(connection):
        for statement in _WORDS:
            write(statement, ())


def lacks_words(connection: sqlite3.Connection) -> bool:
    """Tell whether a file has no index of words, and this SQLite could keep one."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'milepost_words'").fetchone()
    return known is None and finds_words()


_WORDS: Final = (
    "CREATE VIEW milepost_texts AS SELECT id, text FROM milepost_items WHERE text <> ''",
    # The words are ASCII letters and digits, and what is not ASCII: what this tokenizer takes for a word, too.
    """
    CREATE VIRTUAL TABLE milepost_words
        USING fts5(text, content = 'milepost_texts', content_rowid = 'id', tokenize = 'ascii')
    """,
    """
    CREATE TRIGGER milepost_words_insert AFTER INSERT ON milepost_items WHEN new.text <> '' BEGIN
        INSERT INTO milepost_words (rowid, text) VALUES (new.id, new.text);
    END
    """,
    """
    CREATE TRIGGER milepost_words_delete AFTER DELETE ON milepost_items WHEN old.text <> '' BEGIN
        INSERT INTO milepost_words (milepost_words, rowid, text) VALUES ('delete', old.id, old.text);
    END
    """,
    # One trigger for both: in what order SQLite runs several is not defined, and the old words must go first.
    """
    CREATE TRIGGER milepost_words_update AFTER UPDATE OF text ON milepost_items WHEN old.text <> new.text BEGIN
        INSERT INTO milepost_words (milepost_words, rowid, text)
            SELECT 'delete', old.id, old.text WHERE old.text <> '';
        INSERT INTO milepost_words (rowid, text) SELECT new.id, new.text WHERE new.text <> '';
    END
    """,
    "INSERT INTO milepost_words (rowid, text) SELECT id, text FROM milepost_texts",
)

STEPS: Final = (("items_and_vectors", _items_and_vectors),)
"""The migrations, oldest first. The schema's version is their number; a released one is never edited."""
