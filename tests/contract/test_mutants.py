"""Every clause of the contract can fail: for each there is a broken driver that it catches, and none escapes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from milepost.testing import CheckpointerContract, Place
from milepost.testing.clause import CLAUSES, clauses
from milepost.testing.mutants import Mutant, mutants
from milepost.url import URL

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS = [one.id for one in clauses()]

_numbers = itertools.count()
pytestmark = pytest.mark.search


class Contract(CheckpointerContract):
    histories = 12
    patience = 0.05
    shrink = False
    long_journal = 1001

    def make_newer(self, url: str) -> None:
        Mutant.schemas[URL.parse(url).netloc] = 99


def tried(driver: type[Mutant], clause: str) -> BaseException | None:
    """Run a clause on a new place of a driver; return what it raised."""
    url = f"memory://mutant-{next(_numbers)}"
    place = Place(lambda: driver.from_url(URL.parse(url)), url)
    test: Callable[[Place], Any] = getattr(Contract(), CLAUSES[clause].name)
    try:
        test(place)
    except (Exception, pytest.skip.Exception, pytest.fail.Exception) as error:
        return error
    finally:
        place.close(tidy=False)
    return None


@pytest.mark.parametrize("clause", NUMBERS)
def test_a_driver_without_a_fault_keeps_the_clause(clause: str) -> None:
    error = tried(Mutant, clause)
    assert error is None or "not declared" in str(error)


@pytest.mark.parametrize(
    ("driver", "clause"),
    [
        pytest.param(cls, clause, id=f"{clause}-{cls.__name__}")
        for cls in mutants()
        for clause in cls.caught_by
    ],
)
def test_a_broken_driver_is_caught_by_the_clause(driver: type[Mutant], clause: str) -> None:
    error = tried(driver, clause)
    assert error is not None, f"{clause} does not notice that {driver.__name__} is broken: {driver.__doc__}"
    assert not isinstance(error, pytest.skip.Exception), error


def test_every_clause_catches_a_broken_driver_and_none_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    caught = {number: [cls.__name__ for cls in mutants() if number in cls.caught_by] for number in NUMBERS}
    with capsys.disabled():
        print()
        for number, names in caught.items():
            print(f"  {number} catches {', '.join(names)}")
    assert not [number for number, names in caught.items() if not names]
    assert not [cls.__name__ for cls in mutants() if not cls.caught_by]
    assert len(mutants()) >= len(NUMBERS) * 0.8
