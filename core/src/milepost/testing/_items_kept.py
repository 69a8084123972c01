"""Clauses on single items: what is put is got, times and versions, conditions, names of any characters, batches."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from milepost.errors import InvalidItem, NotSerializable, VersionConflict
from milepost.operations import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from milepost.testing.clause import clause
from milepost.testing.store_place import keys, value

if TYPE_CHECKING:
    from milepost.testing.store_place import StorePlace

NASTY = (
    "a", "A", "ab", "a/b", "a.b", "a%2Fb", "a!", "!", "!!", "~", "_", "a_b", "*", " ", "..", "-", "\x00", "\n", "\x1f",
    "\x7f", "\xe9", "e\u0301", "\U0001f98a", "\ufffe", "$x", "'; --", '"', "\\", "users!ann!!k", "langgraph",
)  # fmt: skip
VALUES: dict[str, Any] = {
    "none": None,
    "numbers": [0, -1, 1.5, 2**70, float("inf"), Decimal("1.10"), 1 + 2j],
    "text": "\xfc\U0001f98a\0\ud800",
    "nested": {"tuple": (1, (2,)), "set": {1}, "bytes": b"\x00\xff", 1: "key"},
    "times": [datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), date(2026, 1, 2), timedelta(microseconds=1)],
    "uuid": UUID(int=7),
    "$dollar": {"$eq": 1},
}


class Keeping:
    """What single items are."""

    @clause("S01", "items", why="lists came back for tuples, text for times, and None for a set")
    def test_s01_what_is_put_is_got_with_its_exact_types(self, place: StorePlace) -> None:
        """A value comes back equal, and each part of it in its own type."""
        space = place.space("values")
        place.driver.put(space, "k", VALUES)
        found = value(place.open(), space, "k")
        assert found == VALUES
        assert repr(found["nested"]["tuple"]) == "(1, (2,))"
        assert [type(each) for each in found["numbers"]] == [type(each) for each in VALUES["numbers"]]

    @clause("S02", "items", why="a put added to what was there instead of taking its place")
    def test_s02_a_put_takes_the_place_of_what_was_there(self, place: StorePlace) -> None:
        """The last value is the whole value; other keys and namespaces stay as they are."""
        driver, space = place.driver, place.space("x")
        for key in ("k", "l"):
            driver.put(space, key, {"old": 1})
        driver.put(place.space("y"), "k", {"old": 1})
        driver.put(space, "k", {"new": 2})
        assert value(driver, space, "k") == {"new": 2}
        assert value(driver, space, "l") == value(driver, place.space("y"), "k") == {"old": 1}

    @clause("S03", "items", why="deleting by a prefix took the neighbours along")
    def test_s03_a_delete_removes_exactly_one_item(self, place: StorePlace) -> None:
        """A deleted item is gone, by delete or by a value of None; no other is; deleting it again does nothing."""
        driver = place.driver
        spaces = [place.space("a"), place.space("a", "b"), place.space("ab")]
        for space in spaces:
            for key in ("k", "kk"):
                driver.put(space, key, {})
        driver.delete(spaces[0], "k")
        driver.delete(spaces[0], "k")
        driver.put(spaces[1], "kk", None)
        assert [keys(driver.search(space, limit=99)) for space in spaces] == [["kk", "k"], ["k"], ["k", "kk"]]
        assert driver.get(spaces[0], "k") is None

    @clause("S04", "items", why="every put set the time of creation anew")
    def test_s04_created_at_stays_and_updated_at_moves(self, place: StorePlace) -> None:
        """Times are in UTC to the microsecond; the first stays while the item does, the second never goes back."""
        driver, space, clock = place.driver, place.space("t"), place.clock
        clock.advance(0.000123)
        first = clock.now()
        driver.put(space, "k", {"n": 1})
        clock.advance(3600)
        driver.put(space, "k", {"n": 2})
        found = driver.get(space, "k")
        assert found is not None
        assert (found.created_at, found.updated_at) == (first, clock.now())
        assert found.created_at.tzinfo is UTC
        clock.advance(-1800)
        driver.put(space, "k", {"n": 3})
        again = driver.get(space, "k")
        assert again is not None
        assert (again.created_at, again.updated_at) == (first, found.updated_at)
        driver.delete(space, "k")
        driver.put(space, "k", {"n": 4})
        anew = driver.get(space, "k")
        assert anew is not None
        assert anew.created_at == anew.updated_at == clock.now()

    @clause("S05", "items", why="a version that began at 1 again made an old compare-and-set fit a new item")
    def test_s05_a_version_changes_with_every_write_and_never_comes_again(self, place: StorePlace) -> None:
        """Each write of an item gives it another version, also after it was deleted; reading gives none."""
        driver, space = place.driver, place.space("v")
        seen = []
        for number in range(12):
            seen.append(driver.put(space, "k", {"n": number % 2}, ttl=5))
            found = driver.get(space, "k")
            assert found is not None
            assert found.version == seen[-1] > 0
            if number % 4 == 3:
                driver.delete(space, "k")
        assert len(set(seen)) == len(seen)

    @clause("S06", "items", why="two processes read 5, both wrote 6, and one increment was lost")
    def test_s06_a_condition_is_on_the_version_that_was_read(self, place: StorePlace) -> None:
        """A write with a condition applies at that version only, 0 standing for no item; else nothing is changed."""
        driver, space = place.driver, place.space("c")
        for wrong in (1, 7):
            with pytest.raises(VersionConflict) as absent:
                driver.put(space, "k", {}, if_version=wrong)
            assert (absent.value.expected, absent.value.found) == (wrong, 0)
        first = driver.put(space, "k", {"n": 1}, if_version=0)
        second = place.open().put(space, "k", {"n": 2}, if_version=first)
        for late in (0, first):
            with pytest.raises(VersionConflict) as conflict:
                driver.put(space, "k", {"n": 3}, if_version=late)
            assert (conflict.value.key, conflict.value.found) == ("k", second)
            with pytest.raises(VersionConflict):
                driver.delete(space, "k", if_version=late)
        assert value(driver, space, "k") == {"n": 2}
        driver.delete(space, "k", if_version=second)
        assert driver.get(space, "k") is None

    @clause("S07", "items", why="separators inside a label made two namespaces one")
    def test_s07_names_of_any_characters_stay_apart(self, place: StorePlace) -> None:
        """Labels and keys may have any characters; no two items are one, and they sort by code point."""
        driver = place.driver
        spaces = [place.space(name) for name in NASTY] + [place.space("a", "b"), place.space("a", "b!", "c")]
        ops = [PutOp(space, "k", {"n": number}) for number, space in enumerate(spaces)]
        ops += [PutOp(place.space("keys"), name, {"n": number}) for number, name in enumerate(NASTY)]
        driver.batch(ops)
        other = place.open()
        found = other.batch([GetOp(op.namespace, op.key) for op in ops])
        assert [item.value for item in found] == [op.value for op in ops]
        assert other.list_namespaces(prefix=place.space()) == sorted([*spaces, place.space("keys")])
        assert keys(other.search(place.space("keys"), limit=99)) == sorted(NASTY)
        for space in spaces[:4]:
            other.delete(space, "k")
        assert value(other, spaces[4], "k") == {"n": 4}

    @clause("S08", "items", why="what one backend took, the next one cut off")
    def test_s08_a_name_that_is_too_long_is_refused_and_any_other_is_taken(self, place: StorePlace) -> None:
        """The longest namespace and key work; one more character is InvalidItem, on every backend alike."""
        driver = place.driver
        longest = "x" * (800 - 3 - len(place.label))
        driver.put(place.space(), longest, {"n": 1})
        assert value(driver, place.space(), longest) == {"n": 1}
        assert keys(driver.search(place.space())) == [longest]
        driver.delete(place.space(), longest)
        for call in (
            lambda: driver.put(place.space(), f"{longest}yz", {}),
            lambda: driver.get(place.space(), f"{longest}yz"),
        ):
            with pytest.raises(InvalidItem, match="too long"):
                call()

    @clause("S09", "items", why="a dict that the caller changed later changed in the store as well")
    def test_s09_what_is_given_and_what_is_returned_are_copies(self, place: StorePlace) -> None:
        """Neither the writer's object nor a reader's is the stored one."""
        driver, space = place.driver, place.space("copies")
        given = {"list": [1]}
        driver.put(space, "k", given)
        given["list"].append(2)
        for found in (driver.get(space, "k"), driver.search(space)[0], driver.batch([GetOp(space, "k")])[0]):
            assert found is not None
            assert found.value == {"list": [1]}
            found.value["list"].append(3)

    @clause("S10", "items", why="a write that failed half-way left an item without its value")
    def test_s10_what_cannot_be_kept_changes_nothing(self, place: StorePlace) -> None:
        """A malformed name, a value that is no mapping or cannot be serialized: refused, and nothing is changed."""
        driver, space = place.driver, place.space("bad")
        driver.put(space, "k", {"n": 1})
        for names in (("", "k"), ("a", "")):
            with pytest.raises(InvalidItem):
                driver.put((place.label, names[0]), names[1], {})
        for given in ([1], "text", {1: "x"}):
            with pytest.raises(InvalidItem):
                driver.put(space, "k", given)  # type: ignore[arg-type]
        with pytest.raises(NotSerializable):
            driver.put(space, "k", {"lock": object()})
        assert value(driver, space, "k") == {"n": 1}
        assert driver.list_namespaces(prefix=place.space()) == [space]

    @clause(
        "S11", "batches", why="a batch did its puts after its gets, and the last of two equal keys got lost"
    )
    def test_s11_a_batch_does_everything_in_its_order(self, place: StorePlace) -> None:
        """Each operation of a batch sees what those before it did."""
        driver, space = place.driver, place.space("batch")
        found = driver.batch(
            [
                PutOp(space, "k", {"n": 1}),
                GetOp(space, "k"),
                PutOp(space, "k", {"n": 2}),
                PutOp(space, "l", {"n": 3}),
                PutOp(space, "k", {"n": 4}),
                SearchOp(space, filter={"n": {"$gte": 3}}),
                PutOp(space, "k", None),
                GetOp(space, "k"),
                ListNamespacesOp((MatchCondition("prefix", place.space()),)),
            ]
        )
        assert found[1].value == {"n": 1}
        assert [item.value for item in found[5]] == [{"n": 4}, {"n": 3}]
        assert found[7] is None
        assert found[8] == [space]

    @clause("S12", "batches", why="of a hundred writes the first malformed one left ninety behind")
    def test_s12_a_batch_is_checked_before_anything_is_done(self, place: StorePlace) -> None:
        """A batch with a malformed operation does nothing; a large one does everything."""
        driver, space = place.driver, place.space("checked")
        ops = [PutOp(space, f"{number:04}", {"n": number}) for number in range(300)]
        with pytest.raises(InvalidItem):
            driver.batch([*ops, PutOp(space, "", {})])
        assert driver.search(space) == []
        driver.batch(ops)
        assert [item.value["n"] for item in driver.search(space, limit=999)] == list(range(300))

    @clause("S13", "batches", why="a task that ran twice added twice")
    def test_s13_a_write_under_a_key_counts_once(self, place: StorePlace) -> None:
        """A second write under the same key does nothing, also after others wrote, and from another driver."""
        driver, space = place.driver, place.space("once")
        driver.put(space, "k", {"n": 1}, once="call-1")
        version = driver.put(space, "k", {"n": 2}, once="call-2")
        for number in range(30):
            version = driver.put(space, "k", {"n": number}, once=f"other-{number}")
        for key in ("call-1", "call-2", "other-7"):
            assert place.open().put(space, "k", {"n": -1}, once=key) == version
        assert value(driver, space, "k") == {"n": 29}
        driver.put(space, "l", {"n": 5}, once="call-1")
        assert value(driver, space, "l") == {"n": 5}
