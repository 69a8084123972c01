"""How near two vectors are, inside SQLite: by the extension sqlite-vec where it can be loaded, else in Python."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from math import hypot
from typing import TYPE_CHECKING, Any, Final

from milepost_sqlite._items import unpacked

if TYPE_CHECKING:
    import sqlite3

IN_PYTHON: Final = "milepost_cosine(vector, ?)"
IN_SQLITE: Final = "coalesce(1 - vec_distance_cosine(vector, ?), 0.0)"
"""No length, no direction: the distance is NULL then."""


def prepare(connection: sqlite3.Connection) -> str:
    """Give a connection what tells the cosine of two vectors; return the expression for it."""
    if _loads_extension(connection):
        return IN_SQLITE
    connection.create_function("milepost_cosine", 2, _cosine, deterministic=True)
    return IN_PYTHON


def _loads_extension(connection: Any) -> bool:
    if find_spec("sqlite_vec") is None or not hasattr(connection, "enable_load_extension"):
        return False
    from sqlite_vec import load

    connection.enable_load_extension(True)
    try:
        load(connection)
    finally:
        connection.enable_load_extension(False)
    return True


def _cosine(one: bytes, other: bytes) -> float:
    left, (right, length) = unpacked(one), _measured(other)
    lengths = hypot(*left) * length
    return sum(map(float.__mul__, left, right)) / lengths if lengths else 0.0


@lru_cache(maxsize=4)
def _measured(data: bytes) -> tuple[tuple[float, ...], float]:
    vector = unpacked(data)
    return vector, hypot(*vector)
