"""Declared fields: an index of the file, made once, used by all who search it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from milepost.errors import InvalidURL
from milepost.filters import parse
from milepost.scans import Scan
from milepost.url import URL
from milepost_sqlite import SQLiteStore, _items

if TYPE_CHECKING:
    from pathlib import Path


def plan(store: SQLiteStore, asked: dict[str, Any]) -> str:
    """Return how SQLite finds what a filter asks for."""
    scan = Scan(prefix="a!", after="", limit=10, now=datetime(2030, 1, 1, tzinfo=UTC), filter=parse(asked))

    def explain(connection: Any) -> list[Any]:
        statement, values = _items.scan(scan, store._fields)
        return list(connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall())

    return "\n".join(row[-1] for row in store._client.use(explain))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "app.db"


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"owner": "ann"}, "milepost_field:owner (<expr>=? AND address>? AND address<?)"),
        (
            {"n": 1, "author": {"name": "ann"}},
            "milepost_field:author.name (<expr>=? AND address>? AND address<?)",
        ),
        ({"owner": {"$gt": "ann"}}, "idx_milepost_items_address"),
        ({"other": "ann"}, "idx_milepost_items_address"),
        ({"$or": [{"owner": "ann"}, {"n": 1}]}, "idx_milepost_items_address"),
        ({"owner": "a\0"}, "idx_milepost_items_address"),
    ],
)
def test_a_text_at_a_declared_field_is_found_by_its_index(
    path: Path, asked: dict[str, Any], index: str
) -> None:
    with SQLiteStore(path, fields=("owner", "author.name")) as store:
        store.put(("a",), "k", {"owner": "ann"})
        found = plan(store, asked)
    assert index in found
    assert ("MERGE" in found) == ("milepost_field" in index)


def test_the_index_is_the_files_and_kept_by_those_who_declare_nothing(path: Path) -> None:
    with SQLiteStore(path) as plain:
        plain.put(("a",), "before", {"owner": "ann"})
        with SQLiteStore.from_url(URL.parse(f"sqlite:///{path}?fields=owner,kind")) as declaring:
            declaring.open()
            plain.put(("a",), "after", {"owner": "ann"})
            assert [item.key for item in declaring.search((), filter={"owner": "ann"})] == ["after", "before"]
    with SQLiteStore(path) as later:
        later.open()
        assert "milepost_field:owner" in plan(later, {"owner": "ann"})
        assert "milepost_field:kind" in plan(later, {"kind": "note"})


def test_pages_by_an_index_go_on_in_the_order_of_addresses(path: Path) -> None:
    with SQLiteStore(path, fields=("owner",), synchronous="normal") as store:
        from milepost.operations import PutOp

        ops = [
            PutOp(
                ("a", str(number % 3)),
                f"{number:03}",
                {"owner": "ann" if number % 2 else ["ann"], "n": number},
            )
            for number in range(900)
        ]
        store.batch(ops)
        keys: list[str] = []
        cursor = None
        while True:
            page = store.search(("a", "1"), filter={"owner": "ann"}, limit=40, cursor=cursor)
            keys += [item.key for item in page]
            cursor = page.cursor
            if cursor is None:
                break
    assert keys == [f"{number:03}" for number in range(900) if number % 3 == 1 and number % 2]


def test_long_texts_are_told_apart_beyond_what_the_index_has(path: Path) -> None:
    with SQLiteStore(path, fields=("owner",)) as store:
        for end in "xyz":
            store.put(("a",), end, {"owner": "é" * 200 + end})
        assert [item.key for item in store.search((), filter={"owner": "é" * 200 + "y"})] == ["y"]


@pytest.mark.parametrize("field", ["", "a b", "a..b", ".a", 'a"b', "a'b", "a\n", "$", "é", "tags[0]"])
def test_what_is_no_plain_path_is_refused(path: Path, field: str) -> None:
    with pytest.raises(InvalidURL, match="fields are paths"):
        SQLiteStore(path, fields=(field,))


def test_an_index_with_a_foreign_name_is_left_alone(path: Path) -> None:
    with SQLiteStore(path).open() as store:
        index = 'CREATE INDEX "milepost_field:it\'s" ON milepost_items (nonce)'
        store._client.transact(lambda write: write(index, ()))
    with SQLiteStore(path).open() as store:
        assert store._fields == frozenset()
