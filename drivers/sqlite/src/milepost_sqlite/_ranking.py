"""The statements of ranking searches: by words, in the index of words; by nearness, over all vectors that are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost_sqlite import _items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.scans import Scan
    from milepost_sqlite._items import Statement


def worded(asked: Scan, words: Sequence[str], offset: int) -> Statement:
    """Return the statement that reads the items which have all words, the best first, from ``offset`` on."""
    condition, values = _items.asked_for(asked, "address")
    found = f"""
        SELECT id, -bm25(milepost_words) AS score, {_items.COLUMNS}
        FROM milepost_words CROSS JOIN milepost_items ON id = milepost_words.rowid
        WHERE milepost_words MATCH ? AND {condition} ORDER BY score DESC, address LIMIT ? OFFSET ?
    """  # noqa: S608 - no value
    terms = " ".join(f'"{word}"' for word in words)
    return _items.whole(found), (terms, *values, asked.limit, offset)


def near(asked: Scan, vector: Sequence[float], offset: int, cosine: str) -> Statement:
    """Return the statement that reads the items which have vectors as long as this one, the nearest first."""
    sought = _items.packed(vector)
    condition, values = _items.asked_for(asked, "address")
    found = f"""
        SELECT id, max({cosine}) AS score, {_items.COLUMNS}
        FROM milepost_items JOIN milepost_vectors ON item = id
        WHERE length(vector) = ? AND {condition} GROUP BY id ORDER BY score DESC, address LIMIT ? OFFSET ?
    """  # noqa: S608 - no value
    return _items.whole(found), (sought, len(sought), *values, asked.limit, offset)
