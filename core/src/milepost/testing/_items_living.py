"""Clauses on the lives of items: over at their time and not before, begun anew by reading, swept without harm."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from milepost.backend import Capability
from milepost.errors import InvalidItem, VersionConflict
from milepost.operations import GetOp
from milepost.testing.clause import clause
from milepost.testing.store_place import keys, value

if TYPE_CHECKING:
    from milepost.testing.store_place import StorePlace


class Living:
    """What a life promises."""

    @clause("S40", "lives", why="what had expired was returned until somebody swept it")
    def test_s40_what_expired_is_never_returned(self, place: StorePlace) -> None:
        """An item is there until its life is over, and then for no method; one without a life stays."""
        driver, space, clock = place.driver, place.space("lives"), place.clock
        driver.put(space, "1", {"text": "word"}, ttl=1)
        driver.put(space, "2", {"text": "word"}, ttl=timedelta(seconds=61))
        driver.put(place.space("stays"), "3", {"text": "word"})
        clock.advance(59.999999)
        assert value(driver, space, "1") == {"text": "word"}
        clock.advance(0.000001)
        assert driver.get(space, "1") is None
        assert driver.batch([GetOp(space, "1")]) == [None]
        assert keys(driver.search(place.space(), refresh_ttl=False)) == ["2", "3"]
        clock.advance(1)
        assert keys(driver.search(place.space())) == ["3"]
        assert driver.list_namespaces(prefix=place.space()) == [place.space("stays")]
        if Capability.FULL_TEXT in driver.capabilities:
            assert keys(driver.search(place.space(), query="word")) == ["3"]
        assert keys(place.open().search(place.space())) == ["3"]

    @clause("S41", "lives", why="reading what had expired gave it a new life")
    def test_s41_reading_begins_a_life_anew_unless_it_is_over(self, place: StorePlace) -> None:
        """Get and search begin the lives anew of what they return, where that is wanted; versions and times stay."""
        driver, space, clock = place.driver, place.space("anew"), place.clock
        driver.configure(ttl={"default_ttl": 1})
        version = driver.put(space, "k", {})
        born = clock.now()
        for read in (
            lambda: driver.get(space, "k"),
            lambda: driver.search(space)[0],
            lambda: driver.batch([GetOp(space, "k")])[0],
        ):
            clock.advance(40)
            found = read()
            assert found is not None
            assert (found.version, found.updated_at) == (version, born)
            assert found.expires_at == clock.now() + timedelta(minutes=1)
        driver.put(space, "k", {}, if_version=version)
        clock.advance(40)
        assert driver.get(space, "k", refresh_ttl=False) is not None
        assert driver.search(space, refresh_ttl=False)
        clock.advance(20)
        assert driver.get(space, "k", refresh_ttl=True) is None
        driver.configure(ttl={"default_ttl": 1, "refresh_on_read": False})
        driver.put(space, "k", {})
        clock.advance(40)
        assert driver.get(space, "k") is not None
        clock.advance(20)
        assert driver.get(space, "k") is None

    @clause("S42", "lives", why="the remains of what had expired stood in the way of what came after")
    def test_s42_what_expired_is_as_good_as_gone(self, place: StorePlace) -> None:
        """An item put where one expired is new: created now, with another version; 0 is the condition that holds."""
        driver, space, clock = place.driver, place.space("gone"), place.clock
        old = driver.put(space, "k", {"n": 1}, ttl=1, once="one")
        clock.advance(60)
        with pytest.raises(VersionConflict) as caught:
            driver.put(space, "k", {"n": 2}, if_version=old)
        assert caught.value.found == 0
        new = driver.put(space, "k", {"n": 2}, if_version=0, once="one")
        found = driver.get(space, "k")
        assert found is not None
        assert (found.value, found.created_at, found.expires_at) == ({"n": 2}, clock.now(), None)
        assert new not in (0, old)
        driver.put(space, "l", {}, ttl=1)
        clock.advance(60)
        driver.delete(space, "l")
        driver.put(space, "k", {"n": 3}, ttl=1)
        driver.put(space, "k", {"n": 4})
        clock.advance(60)
        assert value(driver, space, "k") == {"n": 4}

    @clause("S43", "lives", why="a sweep removed an item that somebody had just written anew")
    def test_s43_a_sweep_removes_what_expired_and_nothing_else(self, place: StorePlace) -> None:
        """A sweep removes what expired, and not what was put, or read, in time or anew."""
        driver, space, clock = place.driver, place.space("swept"), place.clock
        for number in range(5):
            driver.put(space, f"dead-{number}", {}, ttl=1)
        for key in ("read", "anew"):
            driver.put(space, key, {}, ttl=1)
        driver.put(space, "stays", {})
        clock.advance(30)
        driver.get(space, "read")
        clock.advance(30)
        driver.put(space, "anew", {}, ttl=1)
        driver.sweep_ttl()
        assert keys(driver.search(space, refresh_ttl=False)) == ["anew", "read", "stays"]
        clock.advance(-60)  # what is left behind would show now
        assert keys(driver.search(space, refresh_ttl=False)) == ["anew", "read", "stays"]
        assert driver.sweep_ttl() == 0

    @clause("S44", "lives", why="a life of zero, or of minus one, was one for ever")
    def test_s44_a_life_that_cannot_be_is_refused(self, place: StorePlace) -> None:
        """A life is a number of minutes above zero, or a timedelta."""
        for wrong in (0, -1, float("nan"), float("inf"), "1", True, timedelta(0)):
            with pytest.raises(InvalidItem, match="ttl"):
                place.driver.put(place.space("wrong"), "k", {}, ttl=wrong)  # type: ignore[arg-type]
        assert place.driver.search(place.space()) == []
