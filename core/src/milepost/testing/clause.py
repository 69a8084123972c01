"""What a clause is: a numbered test, the capability that it speaks of, and the fault that it comes from."""

from __future__ import annotations

from functools import wraps
from inspect import getdoc
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest

from milepost._struct import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost.checkpoint import Capability
    from milepost.testing.place import Place

    Test: TypeAlias = Callable[[Any, Place], None]

NOT_DECLARED: Final = "not declared"
NOT_PROVIDED: Final = "not provided"


class Clause(Struct):
    """One promise of a driver. ``why`` names the fault that shows why somebody must check it."""

    id: str
    group: str
    name: str
    sentence: str
    why: str
    needs: tuple[Capability, ...] = ()


CLAUSES: Final[dict[str, Clause]] = {}
"""All clauses by number."""


def clause(
    number: str, group: str, *, why: str, needs: tuple[Capability, ...] = ()
) -> Callable[[Test], Test]:
    """Make a test a clause: its docstring is the promise. Where a capability is not declared, it is skipped."""

    def number_it(test: Test) -> Test:
        sentence = " ".join((getdoc(test) or "").split())

        @wraps(test)
        def checked(self: Any, place: Place) -> None:
            __tracebackhide__ = True
            missing = [need for need in needs if need not in place.driver.capabilities]
            if missing:
                pytest.skip(f"{NOT_DECLARED}: {', '.join(missing)}")
            test(self, place)

        made = Clause(id=number, group=group, name=test.__name__, sentence=sentence, why=why, needs=needs)
        if number in CLAUSES and CLAUSES[number] != made:
            raise ValueError(f"two clauses have the number {number}")
        CLAUSES[number] = made
        checked.clause = made  # type: ignore[attr-defined]
        return checked

    return number_it


def clauses() -> list[Clause]:
    """Return all clauses in the order of their numbers."""
    import milepost.testing.contract  # noqa: F401 - defines them

    return [CLAUSES[number] for number in sorted(CLAUSES)]


def not_provided(reason: str) -> None:
    """Say that the clause could not be tried, because whoever runs it did not provide for it."""
    __tracebackhide__ = True
    pytest.skip(f"{NOT_PROVIDED}: {reason}")
