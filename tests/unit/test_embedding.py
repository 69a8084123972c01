"""What a search by query looks at: words, fields, embeddings."""

from __future__ import annotations

import pytest

from milepost import open_store
from milepost._embedding import Index, searched, texts
from milepost._words import bm25, words
from milepost.errors import InvalidIndex, SearchUnsupported
from milepost.memory import MemoryStore
from milepost.scans import cosine


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Green TEA, please!", ["green", "tea", "please"]),
        ("Crème brûlée", ["creme", "brulee"]),
        ("e\u0301clair", ["eclair"]),
        ("STRASSE straße", ["strasse", "strasse"]),
        ("don't un-do x_y", ["don", "t", "un", "do", "x", "y"]),
        ("\uff21\uff22 \u2168", ["ab", "ix"]),
        ("42 is 4\u00bd", ["42", "is", "41", "2"]),
        ("茶 と コーヒー", ["茶", "と", "コーヒー"]),
        ("ключ ЁЛКА", ["ключ", "елка"]),
        ('" OR 1=1 -- *', ["or", "1", "1"]),
        ("", []),
        (" \x00\n", []),
    ],
)
def test_words_are_runs_of_letters_and_digits_without_case_and_accents(text, found):
    assert words(text) == found


def test_words_of_words_are_the_same():
    for text in ("Straße", "ß\u0301", "İstanbul", "ǅ", "ﬁne", "Ω\u0345"):
        assert words(" ".join(words(text))) == words(text)


def test_what_has_more_of_rarer_words_fits_better():
    kept = [
        words(text)
        for text in ("tea tea tea", "tea and cake", "cake and bread", "bread", "milk", "wine", "salt")
    ]
    weigh = bm25(kept, ["tea", "salt"])
    assert weigh(kept[6]) > weigh(kept[0]) > weigh(kept[1]) > 0
    assert weigh(kept[3]) == 0
    assert bm25([], ["tea"])(["tea"]) > 0


VALUE = {
    "title": "One",
    "author": {"name": "Ann", "age": 7},
    "parts": [{"text": "p"}, {"text": "q"}, "r"],
    "none": None,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("title", ["One"]),
        ("author.name", ["Ann"]),
        ("author.*", ["Ann", "7"]),
        ("parts[0].text", ["p"]),
        ("parts[*].text", ["p", "q"]),
        ("parts[7]", []),
        ("parts.x", []),
        ("title.x", []),
        ("none", []),
        ("missing.deep", []),
        ("author", ['{"name": "Ann", "age": 7}']),
    ],
)
def test_fields_are_found_by_their_paths(path, found):
    assert texts(VALUE, [path]) == found


def test_the_whole_value_is_one_text_for_an_embedding_and_its_leaves_are_words():
    assert texts({"a": 1}, ["$"]) == ['{"a": 1}']
    assert searched(VALUE, ["$"]) == "one ann 7 p q r"
    assert searched(VALUE, ["title", "author.name"]) == "one ann"
    assert searched({"flag": True, "set": {"x"}, "n": 1.5}, ["$"]) == "x 1 5"


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"dims": 2}, "needs embed"),
        ({"embed": "openai:model", "dims": 2}, "needs embed"),
        ({"embed": len}, "needs dims"),
        ({"embed": len, "dims": 0}, "needs dims"),
        ({"embed": len, "dims": True}, "needs dims"),
        ({"embed": len, "dims": 2, "field": ["a"]}, "not 'field'"),
        ({"embed": len, "dims": 2, "fields": "title"}, "a list of paths"),
        ({"embed": len, "dims": 2, "fields": ["a..b"]}, "no path"),
        ({"embed": len, "dims": 2, "fields": ["a."]}, "no path"),
        ({"embed": len, "dims": 2, "fields": ["a[x]"]}, "no path"),
        ({"embed": len, "dims": 2, "fields": [""]}, "no path"),
    ],
)
def test_an_index_that_cannot_be_is_refused_with_the_reason(config, text):
    with pytest.raises(InvalidIndex, match=text):
        Index(config)


@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ([[1.0]], "an embedding of 1 numbers where dims says 2"),
        ([[1.0, float("nan")]], "not finite"),
        ([], "0 embeddings for 1 texts"),
    ],
)
def test_what_an_embedding_must_not_be_is_refused_before_anything_is_written(returned, text):
    store = MemoryStore(index={"embed": lambda _: returned, "dims": 2})
    with pytest.raises(InvalidIndex, match=text):
        store.put(("a",), "k", {"x": "y"})
    assert store.search(()) == []


def test_langchains_embeddings_are_taken_as_they_are():
    class Embeddings:
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [[float(len(text)), 1.0] for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return [100.0, 1.0]

    store = open_store("memory://", index={"embed": Embeddings(), "dims": 2, "fields": ["x"]})
    store.put(("a",), "short", {"x": "y"})
    store.put(("a",), "long", {"x": "y" * 50})
    assert [item.key for item in store.search(("a",), query="whatever")] == ["long", "short"]


def test_a_store_of_several_texts_embeds_them_in_one_call():
    calls = []

    def embed(given: list[str]) -> list[list[float]]:
        calls.append(given)
        return [[1.0] for _ in given]

    store = MemoryStore(index={"embed": embed, "dims": 1, "fields": ["a", "b[*]"]})
    store.put(("n",), "k", {"a": "x", "b": ["y", "z"]})
    store.put(("n",), "none", {"c": 1})
    store.put(("n",), "unseen", {"a": "x"}, index=False)
    store.put(("n",), "other", {"c": "w"}, index=["c"])
    assert calls == [["x", "y", "z"], ["w"]]
    assert {item.key for item in store.search(("n",), query="q")} == {"k", "other"}


def test_vectors_are_compared_by_their_directions():
    assert cosine((1.0, 0.0), (5.0, 0.0)) == pytest.approx(1)
    assert cosine((1.0, 0.0), (0.0, 1.0)) == 0
    assert cosine((1.0, 1.0), (-1.0, -1.0)) == pytest.approx(-1)
    assert cosine((0.0, 0.0), (1.0, 1.0)) == 0


def test_a_driver_that_keeps_no_embeddings_refuses_an_index():
    class Plain(MemoryStore):
        capabilities = frozenset()

    with pytest.raises(SearchUnsupported, match="no embeddings"):
        Plain(index={"embed": len, "dims": 2})
    with pytest.raises(SearchUnsupported, match="full-text") as caught:
        Plain().search((), query="x")
    assert caught.value.capability == "full-text"


@pytest.mark.parametrize("ttl", [{"default": 1}, {"default_ttl": -1}, {"default_ttl": "1"}])
def test_a_malformed_ttl_is_refused(ttl):
    with pytest.raises(ValueError, match="ttl"):
        MemoryStore(ttl=ttl)
