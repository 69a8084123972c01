"""What a run asks and how it is answered: Interrupt and Command.  (layer 2)"""

from __future__ import annotations

from typing import Any, Final

from milepost import _ids
from milepost._struct import Struct
from milepost.errors import InvalidCommand

INTERRUPT: Final = "__interrupt__"
"""The key under which ``invoke`` and ``stream`` report pending questions (LangGraph's name)."""


class Interrupt(Struct):
    """A question that a run asks: ``value`` is what ``interrupt()`` was given, ``id`` addresses the answer.

    The id is the same each time the body re-runs.
    """

    value: Any
    id: str

    def __init__(self, value: Any, id: str) -> None:  # noqa: A002 - LangGraph's name
        super().__init__(value=value, id=id)


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
