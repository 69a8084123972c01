"""Every clause of the contract of stores can fail: for each there is a broken store that it catches."""

from __future__ import annotations

import itertools

import pytest

from milepost.testing import StoreContract, StorePlace
from milepost.testing._mutants_of_stores import StoreMutant, store_mutants
from milepost.testing.clause import CLAUSES, clauses
from milepost.url import URL

_numbers = itertools.count()
pytestmark = pytest.mark.search
OTHER_PROCESSES = {"S80", "S81", "S82"}
"""What one process cannot show: the memory store is in one."""


class Contract(StoreContract):
    histories = 40
    shrink = False
    patience = 0.05

    def make_newer(self, url: str) -> None:
        StoreMutant.schemas[URL.parse(url).netloc] = 99


def tried(driver: type[StoreMutant], clause: str) -> BaseException | None:
    """Run a clause on a new place of a store; return what it raised."""
    url = f"memory://store-mutant-{next(_numbers)}"
    place = StorePlace(lambda: driver.from_url(URL.parse(url)), url)
    test = getattr(Contract(), CLAUSES[clause].name)
    try:
        test(place)
    except (Exception, pytest.skip.Exception, pytest.fail.Exception) as error:
        return error
    finally:
        place.close(tidy=False)
    return None


@pytest.mark.parametrize("clause", [one.id for one in clauses("store")])
def test_a_store_without_a_fault_keeps_the_clause(clause: str) -> None:
    error = tried(StoreMutant, clause)
    assert error is None or "not declared" in str(error)


@pytest.mark.parametrize(
    ("driver", "clause"),
    [
        pytest.param(cls, clause, id=f"{clause}-{cls.__name__}")
        for cls in store_mutants()
        for clause in cls.caught_by
    ],
)
def test_a_broken_store_is_caught_by_the_clause(driver: type[StoreMutant], clause: str) -> None:
    error = tried(driver, clause)
    assert error is not None, f"{clause} does not notice that {driver.__name__} is broken: {driver.__doc__}"
    assert not isinstance(error, pytest.skip.Exception), error


def test_every_clause_catches_a_broken_store_and_none_escapes() -> None:
    caught = {number for cls in store_mutants() for number in cls.caught_by}
    assert {one.id for one in clauses("store")} - OTHER_PROCESSES - caught == set()
    assert not [cls.__name__ for cls in store_mutants() if not cls.caught_by]
