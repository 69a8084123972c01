"""What a clause is: a numbered test, the capability that it speaks of, and the fault that it comes from."""

from __future__ import annotations

from functools import wraps
from inspect import getdoc
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest

from milepost._struct import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost.backend import Capability
    from milepost.drivers import Kind

    Test: TypeAlias = Callable[[Any, Any], None]

FIRST: Final[dict[str, str]] = {"checkpointer": "C", "store": "S"}
"""What the numbers of the clauses for a kind of driver begin with."""

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
"""All clauses by number: ``C…`` for checkpointers, ``S…`` for stores."""


def clause(
    number: str, group: str, *, why: str, needs: tuple[Capability, ...] = ()
) -> Callable[[Test], Test]:
    """Make a test a clause: its docstring is the promise. Where a capability is not declared, it is skipped."""

    def number_it(test: Test) -> Test:
        sentence = " ".join((getdoc(test) or "").split())

        @wraps(test)
        def checked(self: Any, place: Any) -> None:
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


def clauses(kind: Kind = "checkpointer") -> list[Clause]:
    """Return the clauses for a kind of driver in the order of their numbers."""
    import milepost.testing.contract
    import milepost.testing.store_contract  # noqa: F401 - both define them

    return [CLAUSES[number] for number in sorted(CLAUSES) if number.startswith(FIRST[kind])]


def not_provided(reason: str) -> None:
    """Say that the clause could not be tried, because whoever runs it did not provide for it."""
    __tracebackhide__ = True
    pytest.skip(f"{NOT_PROVIDED}: {reason}")


def check_final(cls: type[Any], contract: type[Any], kind: Kind) -> None:
    """Refuse a subclass of a contract that overrides a clause, or takes one away.

    Raises:
        TypeError: it does.
    """
    for entry in CLAUSES.values():
        changed = getattr(cls, entry.name, None) is not getattr(contract, entry.name, None)
        if entry.id.startswith(FIRST[kind]) and changed:
            raise TypeError(
                f"{cls.__qualname__} overrides clause {entry.id} ({entry.name}): clauses are final"
            )
