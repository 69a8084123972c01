"""Words and vectors: kept with their item in one transaction, found as in memory, by whichever way there is."""

from __future__ import annotations

import sqlite3
from importlib.util import find_spec
from math import isclose
from typing import TYPE_CHECKING, Any

import pytest

from milepost.backend import Capability
from milepost.memory import MemoryStore
from milepost.scans import cosine
from milepost_sqlite import SQLiteStore, _items, _nearness

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from milepost.store import Store

TEXTS = {
    "fox": "The quick brown fox, the fox",
    "dog": "A lazy dog; a QUICK dog",
    "umlaut": "Grüße aus Köln",
    "chinese": "狐狸 跳",
    "emoji": "fox🦊fox",
    "operators": 'NEAR AND OR NOT * ^ "quoted" col:umn',
}
QUERIES = [
    "fox",
    "quick",
    "quick dog",
    "grusse",
    "KÖLN",
    "狐狸",
    "near",
    "and or",
    "not",
    "quoted",
    "col umn",
    "o",
    "-",
]
LOADABLE = find_spec("sqlite_vec") is not None and hasattr(sqlite3.Connection, "enable_load_extension")


def axes(texts: list[str]) -> list[list[float]]:
    """Embed a text as how often it has each of some letters."""
    return [[float(text.lower().count(letter)) for letter in "aeiou"] for text in texts]


@pytest.fixture
def store() -> Iterator[SQLiteStore]:
    with SQLiteStore(":memory:") as made:
        yield made


def fill(*stores: Store) -> None:
    for each in stores:
        for name, text in TEXTS.items():
            each.put(("texts",), name, {"text": text, "words": len(text.split())})


def sound(store: SQLiteStore) -> None:
    """Check that index and items say the same."""
    check = "INSERT INTO milepost_words (milepost_words, rank) VALUES ('integrity-check', 1)"
    store._client.transact(lambda write: write(check, ()))


def count(store: SQLiteStore, table: str) -> int:
    ((number,),) = store._client.query(f"SELECT count(*) FROM {table}", ())
    return int(number)


@pytest.mark.parametrize("query", QUERIES)
def test_words_are_found_and_scored_as_in_memory(store: SQLiteStore, query: str) -> None:
    with MemoryStore() as model:
        fill(store, model)
        got, expected = store.search((), query=query), model.search((), query=query)
    assert [item.key for item in got] == [item.key for item in expected]
    for one, other in zip(got, expected, strict=True):
        assert isclose(one.score or 0, other.score or 0, rel_tol=1e-9)
        assert (one.score or 0) > 0


def test_words_follow_their_item(store: SQLiteStore) -> None:
    fill(store)
    store.put(("texts",), "fox", {"text": "a cat"})
    store.delete(("texts",), "dog")
    store.put(("texts",), "umlaut", {"text": "quick"}, index=False)
    store.put(("texts",), "umlaut", {"text": "slow"})
    assert store.search((), query="quick") == []
    assert [item.key for item in store.search((), query="cat")] == ["fox"]
    assert [item.key for item in store.search((), query="slow")] == ["umlaut"]
    sound(store)


def test_a_ranked_search_takes_prefix_filter_and_pages(store: SQLiteStore) -> None:
    for number in range(600):
        store.put(("many", str(number % 2)), f"{number:03}", {"text": "fox", "n": number})
    asked: dict[str, Any] = {"query": "fox", "filter": {"n": {"$gte": 10}}, "limit": 100}
    keys: list[str] = []
    page = store.search(("many", "1"), **asked)
    while page:
        keys += [item.key for item in page]
        page = store.search(("many", "1"), cursor=page.cursor, **asked) if page.cursor else page[:0]
    assert keys == [f"{number:03}" for number in range(11, 600, 2)]


def test_a_query_of_thousands_of_words_is_only_a_query(store: SQLiteStore) -> None:
    text = " ".join(f"w{number}" for number in range(3000))
    store.put(("a",), "k", {"text": text})
    assert [item.key for item in store.search((), query=text)] == ["k"]
    assert store.search((), query=f"{text} missing") == []


def test_without_fts5_nothing_is_indexed_and_with_it_the_index_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Capability.FULL_TEXT in SQLiteStore.capabilities
    with monkeypatch.context() as patch:
        patch.setattr(_items, "finds_words", lambda: False)
        with SQLiteStore(tmp_path / "app.db") as store:
            store.put(("a",), "k", {"text": "fox"})
            assert store._client.query("SELECT 1 FROM sqlite_master WHERE name = 'milepost_words'", ()) == []
    with SQLiteStore(tmp_path / "app.db") as one, SQLiteStore(tmp_path / "app.db") as other:
        one.put(("a",), "l", {"text": "fox"})
        assert [item.key for item in other.search((), query="fox")] == ["k", "l"]
        sound(other)


def stands_in(connection: sqlite3.Connection) -> bool:
    """Give a connection the function of the extension in Python: NULL where there is no direction."""

    def distance(one: bytes, other: bytes) -> float | None:
        left, right = _items.unpacked(one), _items.unpacked(other)
        return 1 - cosine(left, right) if any(left) and any(right) else None

    connection.create_function("vec_distance_cosine", 2, distance, deterministic=True)
    return True


@pytest.fixture(
    params=[
        "python",
        "stand-in",
        pytest.param("sqlite", marks=pytest.mark.skipif(not LOADABLE, reason="needs sqlite-vec")),
    ]
)
def near(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[SQLiteStore]:
    """A store that tells nearness in Python, one by the extension's function, and one by the extension itself."""
    if request.param == "python":
        monkeypatch.setattr(_nearness, "_loads_extension", lambda _connection: False)
    elif request.param == "stand-in":
        monkeypatch.setattr(_nearness, "_loads_extension", stands_in)
    with SQLiteStore(
        ":memory:", index={"embed": axes, "dims": 5, "fields": ["text", "more[*]"]}
    ).open() as made:
        assert made._cosine == (_nearness.IN_PYTHON if request.param == "python" else _nearness.IN_SQLITE)
        yield made


def test_nearness_is_the_highest_cosine_of_an_items_vectors(near: SQLiteStore) -> None:
    with MemoryStore(index={"embed": axes, "dims": 5, "fields": ["text", "more[*]"]}) as model:
        fill(near, model)
        for each in (near, model):
            each.put(("texts",), "several", {"text": "zzz", "more": ["aaa", "eio", "uuu"]})
        for query in ("a", "fox u", "eio", "zzz"):
            got = {item.key: item.score for item in near.search((), query=query)}
            expected = {item.key: item.score for item in model.search((), query=query)}
            assert got == pytest.approx(expected, abs=1e-6)
    assert near.search((), query="eio")[0].key == "several"
    assert near.search((), query="eio", filter={"text": "zzz"})[0].key == "several"


def test_ties_go_by_address_and_pages_do_not_overlap(near: SQLiteStore) -> None:
    for key in "cabd":
        near.put(("same",), key, {"text": "aei"})
    page = near.search((), query="aei", limit=3)
    rest = near.search((), query="aei", limit=3, cursor=page.cursor)
    assert [item.key for item in (*page, *rest)] == ["a", "b", "c", "d"]


def test_vectors_follow_their_item_and_stay_when_its_life_is_renewed(near: SQLiteStore) -> None:
    near.put(("a",), "k", {"text": "aei", "more": ["o", "u"]}, ttl=5)
    assert count(near, "milepost_vectors") == 3
    assert near.get(("a",), "k", refresh_ttl=True) is not None
    assert count(near, "milepost_vectors") == 3
    near.put(("a",), "k", {"text": "ooo"})
    assert count(near, "milepost_vectors") == 1
    assert near.search((), query="o")[0].score == pytest.approx(1.0)
    near.delete(("a",), "k")
    assert count(near, "milepost_vectors") == 0


def test_vectors_of_any_size_keep_their_direction(near: SQLiteStore) -> None:
    near._index = None
    near.configure(
        index={"embed": lambda texts: [[float(text), 0, 0, 0, 1e-300] for text in texts], "dims": 5}
    )
    for text in ("1e300", "-1e300", "1e-280", "0"):
        near.put(("a",), text, {"n": "x"}, index=False)
        near.configure(
            index={"embed": lambda texts, text=text: [[float(text), 0, 0, 0, 0] for _ in texts], "dims": 5}
        )
        near.put(("a",), text, {"n": "x"})
    near.configure(index={"embed": lambda texts: [[1e200, 0, 0, 0, 0] for _ in texts], "dims": 5})
    scores = {item.key: round(item.score or 0, 5) for item in near.search((), query="x")}
    assert scores == {"1e300": 1, "-1e300": -1, "1e-280": 1, "0": 0}


def test_vectors_of_another_length_are_not_compared(near: SQLiteStore) -> None:
    near.put(("a",), "old", {"text": "aei"})
    near.configure(index={"embed": lambda texts: [[1.0, 2.0] for _ in texts], "dims": 2})
    near.put(("a",), "new", {"text": "aei"})
    assert [item.key for item in near.search((), query="x")] == ["new"]
