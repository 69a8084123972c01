"""Clauses on finding items: order, prefixes, pages, filters, namespaces, words, embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from milepost.backend import Capability
from milepost.errors import InvalidItem, SearchUnsupported
from milepost.testing.clause import clause
from milepost.testing.store_place import fill, keys, places, value

if TYPE_CHECKING:
    from milepost.testing.store_place import StorePlace

MANY = 300
"""More than one page that a driver is asked for."""
TABLE: tuple[tuple[dict[str, Any], list[str]], ...] = (
    ({}, ["bool", "deep", "int", "list", "none", "real", "text"]),
    ({"x": 1}, ["int", "real"]),
    ({"x": True}, ["bool"]),
    ({"x": "1"}, ["text"]),
    ({"x": None}, ["none"]),
    ({"x": [1, 2]}, ["list"]),
    ({"y": None}, []),
    ({"x": {"$ne": 1}}, ["bool", "deep", "list", "none", "text"]),
    ({"y": {"$ne": 1}}, ["bool", "deep", "int", "list", "none", "real", "text"]),
    ({"x": {"$gt": 0}}, ["int", "real"]),
    ({"x": {"$gte": "1", "$lt": "2"}}, ["text"]),
    ({"x": {"$lt": 1}}, []),
    ({"y": {"$lte": 1}}, []),
    ({"x": {"$in": ["1", True, [1, 2]]}}, ["bool", "list", "text"]),
    ({"x": {"$in": []}}, []),
    ({"x": {"$exists": True}}, ["bool", "deep", "int", "list", "none", "real", "text"]),
    ({"y": {"$exists": False}}, ["bool", "deep", "int", "list", "none", "real", "text"]),
    ({"x": {"y": {"z": 3}}}, ["deep"]),
    ({"x": {"y": {"z": {"$gt": 2}}}}, ["deep"]),
    ({"x": {"y": {"z": {"$exists": False}}}}, []),
    ({"x": {"$eq": {"y": {"z": 3}, "w": 1}}}, ["deep"]),
    ({"x": {"$eq": {"y": {"z": 3}}}}, []),
    ({"$or": [{"x": None}, {"x": {"$gt": 0}}]}, ["int", "none", "real"]),
    ({"$and": [{"x": {"$gt": 0}}, {"tag": {"$exists": True}}]}, ["int"]),
    ({"$not": {"x": {"$gt": 0}}}, ["bool", "deep", "list", "none", "text"]),
    ({"x": {"$not": {"$in": [1, None]}}, "tag": {"$ne": "a"}}, ["bool", "deep", "list", "text"]),
)


class Finding:
    """What a search returns."""

    @clause("S20", "searches", why="items came in the order of their last change on one backend only")
    def test_s20_items_come_in_the_order_of_namespace_and_key(self, place: StorePlace) -> None:
        """A search returns what lies at and below a namespace, by namespace, then key, by code point."""
        driver = place.driver
        below = [(("a",), "10"), (("a",), "1"), (("a", "x"), "2")]
        given = [(("b",), "1"), *below, (("a!",), "0"), (("A",), "z"), ((), "k")]
        for labels, key in given:
            driver.put(place.space(*labels), key, {})
        assert places(driver.search(place.space()), place.label) == sorted(given)
        assert places(driver.search(place.space("a")), place.label) == sorted(below)

    @clause("S21", "searches", why="a search below 'cat' returned what was below 'catnip'")
    def test_s21_a_prefix_is_of_whole_labels(self, place: StorePlace) -> None:
        """A namespace is no prefix of one whose label only begins like its own; wildcards mean nothing."""
        driver = place.driver
        for labels in (("cat",), ("catnip",), ("cat", "nip"), ("cat_",), ("cat%",), ("*",), ("CAT",)):
            driver.put(place.space(*labels), "k", {"at": "/".join(labels)})
        for prefix, found in (
            (("cat",), ["cat", "cat/nip"]),
            (("ca",), []),
            (("cat_",), ["cat_"]),
            (("*",), ["*"]),
        ):
            assert [item.value["at"] for item in driver.search(place.space(*prefix))] == found

    @clause("S22", "searches", why="the limit was applied before the filter, and pages came back half empty")
    def test_s22_a_filter_comes_before_offset_and_limit(self, place: StorePlace) -> None:
        """Offset and limit count what matches, also beyond a driver's page."""
        driver, space = place.driver, place.space("pages")
        fill(driver, space, [{"even": number % 2 == 0} for number in range(MANY)])
        assert keys(driver.search(space, filter={"even": True}, limit=2, offset=MANY // 2 - 3)) == [
            "294",
            "296",
        ]
        assert len(driver.search(space)) == 10
        assert len(driver.search(space, limit=999)) == MANY
        assert driver.search(space, limit=0) == driver.search(space, offset=MANY) == []

    @clause(
        "S23",
        "searches",
        why="items that were added while somebody read page by page were skipped or came twice",
    )
    def test_s23_a_cursor_goes_on_whatever_is_written_meanwhile(self, place: StorePlace) -> None:
        """Pages by cursor give each item once that is there all the time; the last page has no cursor."""
        driver, space = place.driver, place.space("cursor")
        fill(driver, space, [{"n": number} for number in range(25)])
        found, cursor, rounds = [], None, 0
        while True:
            page = driver.search(space, limit=5, cursor=cursor)
            found += keys(page)
            cursor = page.cursor
            if cursor is None:
                break
            driver.put(space, f"00{rounds}-early", {})
            driver.delete(space, found[-1])
            rounds += 1
        assert [key for key in found if "early" not in key] == [f"{number:03}" for number in range(25)]
        assert driver.search(space, limit=999).cursor is None
        for wrong in ("x", "past 3", ""):
            with pytest.raises(InvalidItem, match="cursor"):
                driver.search(space, cursor=wrong)

    @clause("S24", "filters", why="a missing field was an error on one backend and a match on the next")
    def test_s24_a_filter_means_the_same_everywhere(self, place: StorePlace) -> None:
        """Each operator, on each kind of value, nested, missing and denied, finds what its definition says."""
        driver, space = place.driver, place.space("filters")
        kept: dict[str, Any] = {
            "int": {"x": 1, "tag": "a"},
            "real": {"x": 1.0},
            "bool": {"x": True},
            "text": {"x": "1"},
            "none": {"x": None},
            "list": {"x": [1, 2]},
            "deep": {"x": {"y": {"z": 3}, "w": 1}},
        }
        for key, given in kept.items():
            driver.put(space, key, given)
        found = {str(wanted): keys(driver.search(space, filter=wanted)) for wanted, _ in TABLE}
        wrong = {str(wanted): found[str(wanted)] for wanted, right in TABLE if found[str(wanted)] != right}
        assert not wrong
        with pytest.raises(InvalidItem, match=r"did you mean '\$exists'"):
            driver.search(space, filter={"x": {"$exist": 1}})

    @clause("S25", "filters", why="an operator or a field's name that a user sent became part of a statement")
    def test_s25_nothing_that_is_sent_becomes_a_query(self, place: StorePlace) -> None:
        """Texts that are syntax to a backend are only texts, in names, fields, operands and queries."""
        driver = place.driver
        texts = [
            "' OR 1=1 --", '" OR ""="', "$where", "'); DROP TABLE milepost_items; --", '{"$ne": 1}', "%", "a* OR b",
            "NEAR(a)",
        ]  # fmt: skip
        for number, text in enumerate(texts):
            driver.put(place.space(text), text, {text: text, "n": number, "t": text})
        for number, text in enumerate(texts):
            assert value(driver, place.space(text), text) == {text: text, "n": number, "t": text}
            assert keys(driver.search(place.space(), filter={"t": text})) == [text]
            if not text.startswith("$"):
                assert keys(driver.search(place.space(), filter={text: text})) == [text]
            if Capability.FULL_TEXT in driver.capabilities:
                driver.search(place.space(), query=text)
        assert len(driver.search(place.space(), limit=99)) == len(texts)

    @clause(
        "S26",
        "namespaces",
        why="reading made namespaces that were never written, and deleting left them behind",
    )
    def test_s26_a_namespace_is_there_while_it_holds_an_item(self, place: StorePlace) -> None:
        """Reads make no namespace; one whose last item went is gone."""
        driver = place.driver
        driver.get(place.space("ghost"), "k")
        driver.search(place.space("ghost"))
        assert driver.list_namespaces(prefix=place.space()) == []
        for key in ("k", "l"):
            driver.put(place.space("a"), key, {})
        driver.delete(place.space("a"), "k")
        assert driver.list_namespaces(prefix=place.space()) == [place.space("a")]
        driver.delete(place.space("a"), "l")
        assert driver.list_namespaces(prefix=place.space()) == []

    @clause("S27", "namespaces", why="a depth that cut namespaces down gave one of them several times")
    def test_s27_namespaces_are_listed_by_prefix_suffix_and_depth(self, place: StorePlace) -> None:
        """Each is listed once, sorted, also where it is cut down; a star is any one label."""
        driver = place.driver
        for labels in ("abf", "abc", "acf", "abdi", "abde", "ab", "b"):
            for key in ("k", "l"):
                driver.put(place.space(*labels), key, {})

        def listed(
            prefix: str = "", suffix: str | None = None, depth: int | None = None, **page: int
        ) -> list[str]:
            ending = None if suffix is None else tuple(suffix)
            found = driver.list_namespaces(
                prefix=place.space(*prefix),
                suffix=ending,
                max_depth=None if depth is None else depth + 1,
                **page,
            )
            return ["".join(space[1:]) for space in found]

        assert listed() == ["ab", "abc", "abde", "abdi", "abf", "acf", "b"]
        assert listed("ab", depth=3) == ["ab", "abc", ("abd"), "abf"]
        assert listed("a*f") == ["abf", "acf"]
        assert listed(suffix="f") == ["abf", "acf"]
        assert listed(suffix="d*", depth=2) == ["ab"]
        assert listed(depth=1) == ["a", "b"]
        assert listed(limit=2, offset=1) == ["abc", "abde"]

    @clause(
        "S28", "words", needs=(Capability.FULL_TEXT,), why="a query was ignored, and everything was found"
    )
    def test_s28_a_query_finds_all_of_its_words(self, place: StorePlace) -> None:
        """All words must be there, in any text of the value; case and accents do not count; a filter holds, too."""
        driver, space = place.driver, place.space("words")
        driver.put(space, "1", {"text": "Green Tea", "tags": ["Crème brûlée", {"deep": "drinks"}], "n": 1})
        driver.put(space, "2", {"text": "tea", "n": 2})
        driver.put(place.space("elsewhere"), "3", {"text": "green tea"})
        driver.put(space, "4", {"green": "key of a mapping"})
        driver.put(space, "5", {"text": "green tea"}, index=False)
        driver.put(space, "6", {"title": "green tea", "text": "cup"}, index=["text"])
        for query, found in (
            ("tea", {"1", "2"}), ("TEA green", {"1"}), ("creme", {"1"}), ("drinks!", {"1"}), ("gree", set()),
            ("", set()), ("cup", {"6"}), ("tea -green", {"1"}), ("\xe9 *", set()), ("mapping", {"4"}),
        ):  # fmt: skip
            assert set(keys(driver.search(space, query=query))) == found, query
        assert keys(driver.search(space, query="tea", filter={"n": {"$gt": 1}})) == ["2"]

    @clause(
        "S29", "words", needs=(Capability.FULL_TEXT,), why="an item was found by words that it no longer had"
    )
    def test_s29_words_follow_the_item(self, place: StorePlace) -> None:
        """What was overwritten, deleted or refreshed is found by the words that it has now."""
        driver, space = place.driver, place.space("follow")
        driver.put(space, "k", {"text": "old words"}, ttl=5)
        driver.get(space, "k", refresh_ttl=True)
        assert keys(driver.search(space, query="old")) == ["k"]
        driver.put(space, "k", {"text": "new words"})
        assert driver.search(space, query="old") == []
        assert keys(driver.search(space, query="new")) == ["k"]
        driver.delete(space, "k")
        driver.put(space, "l", {"text": "other"})
        assert driver.search(space, query="new") == []

    @clause(
        "S30",
        "words",
        needs=(Capability.FULL_TEXT,),
        why="what was found came in no order, and pages overlapped",
    )
    def test_s30_the_best_comes_first_and_ties_by_place(self, place: StorePlace) -> None:
        """Scores fall; what fits alike comes in the order of namespace and key; pages go on where they ended."""
        driver, space = place.driver, place.space("ranked")
        fill(driver, space, [{"text": "tea and much else beside it"} for _ in range(7)])
        driver.put(space, "best", {"text": "tea tea tea"})
        page = driver.search(space, query="tea", limit=99)
        scores = [item.score or 0.0 for item in page]
        assert keys(page) == ["best", *(f"{number:03}" for number in range(7))]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) > 0
        walked, cursor = [], None
        while True:
            part = driver.search(space, query="tea", limit=3, cursor=cursor)
            walked += keys(part)
            cursor = part.cursor
            if cursor is None:
                break
        assert walked == keys(page)

    @clause(
        "S31", "embeddings", needs=(Capability.VECTORS,), why="only the first field of an item was looked at"
    )
    def test_s31_what_is_nearest_comes_first(self, place: StorePlace) -> None:
        """Items come by the cosine of their nearest field; a filter holds, and what was not embedded is not found."""
        driver, space = place.driver, place.space("near")
        driver.configure(index={"embed": embed, "dims": 3, "fields": ["title", "parts[*]"]})
        driver.put(space, "1", {"title": "aab", "parts": []})
        driver.put(space, "2", {"title": "ccc", "parts": ["cc", "aaaa"]})
        driver.put(space, "3", {"title": "bbb", "n": 1})
        driver.put(space, "4", {"other": "aaa"})
        driver.put(space, "5", {"title": "aaa"}, index=False)
        page = driver.search(space, query="a")
        assert keys(page)[:2] == ["2", "1"]
        assert set(keys(page)) == {"1", "2", "3"}
        assert [round(item.score or 0, 3) for item in page[:2]] == [1.0, 0.894]
        assert keys(driver.search(space, query="b", filter={"n": 1})) == ["3"]
        assert keys(driver.search(space, query="a", limit=1, offset=1)) == ["1"]
        driver.put(space, "2", {"title": "ccc"})
        assert keys(driver.search(space, query="a"))[0] == "1"
        driver.delete(space, "1")
        assert "1" not in keys(driver.search(space, query="a"))

    @clause("S32", "embeddings", why="a query was ignored without a word where nothing could answer it")
    def test_s32_what_a_driver_does_not_have_is_refused(self, place: StorePlace) -> None:
        """Without full-text search a query is refused, without embeddings an index is; nothing is ignored."""
        driver = place.open()
        if Capability.FULL_TEXT not in driver.capabilities:
            with pytest.raises(SearchUnsupported, match="full-text"):
                driver.search(place.space(), query="tea")
        if Capability.VECTORS not in driver.capabilities:
            with pytest.raises(SearchUnsupported, match="embeddings"):
                driver.configure(index={"embed": embed, "dims": 3})


def embed(texts: list[str]) -> list[list[float]]:
    """Return how often the letters a, b and c stand in each text."""
    return [[float(text.count(letter)) for letter in "abc"] for text in texts]
