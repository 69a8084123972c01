"""What a run asks and how it is answered: Interrupt and Command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from milepost import _ids
from milepost._struct import Struct
from milepost.errors import InvalidCommand

if TYPE_CHECKING:
    from datetime import datetime

INTERRUPT: Final = "__interrupt__"
"""The key under which ``invoke`` and ``stream`` report pending questions (LangGraph's name)."""


class Interrupt(Struct):
    """A question that a run asks: ``value`` is what ``interrupt()`` was given, ``id`` addresses the answer.

    The id is the same each time the body re-runs.

    ``response_schema`` is the JSON Schema that an answer must satisfy, ``key`` what ``interrupt(key=…)`` was given, and
    ``expires_at`` when the question counts as expired, in UTC; each None where it was not asked for.
    """

    value: Any
    id: str
    response_schema: dict[str, Any] | None = None
    key: str | None = None
    expires_at: datetime | None = None

    def __init__(
        self,
        value: Any,
        id: str,  # noqa: A002 - LangGraph's name
        *,
        response_schema: dict[str, Any] | None = None,
        key: str | None = None,
        expires_at: datetime | None = None,
    ) -> None:
        super().__init__(value=value, id=id, response_schema=response_schema, key=key, expires_at=expires_at)

    @property
    def details(self) -> dict[str, Any]:
        """What is said of the question beside its value and its id."""
        names = self.__struct_fields__[2:]
        return {name: given for name in names if (given := getattr(self, name)) is not None}

    def __hash__(self) -> int:
        return hash((self.value, self.id))

    def __repr__(self) -> str:
        shown = "".join(f", {name}={given!r}" for name, given in self.details.items())
        return f"Interrupt(value={self.value!r}, id={self.id!r}{shown})"


class _Missing:
    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


class Command(Struct):
    """An answer to what a run asks.

    ``Command(resume=value)`` answers the only pending question. ``Command(resume={id: value, …})`` answers by id: a
    non-empty dict whose keys all have the form of an interrupt id is a map, anything else is one answer, ``None``
    and ``{}`` included.

    Raises:
        InvalidCommand: ``resume`` is missing.
    """

    resume: Any

    def __init__(self, *, resume: Any = MISSING) -> None:
        if resume is MISSING:
            raise InvalidCommand("Command() says nothing: write Command(resume=…)")
        super().__init__(resume=resume)

    @property
    def by_id(self) -> dict[str, Any] | None:
        """The answers by interrupt id, or None when ``resume`` is one plain answer."""
        value = self.resume
        if isinstance(value, dict) and value and all(_ids.is_interrupt_id(key) for key in value):
            return dict(value)
        return None
