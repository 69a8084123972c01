"""What is known of a run's calls and of the sessions that worked on it, for those who look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost._struct import Struct

if TYPE_CHECKING:
    from milepost.question import Interrupt
    from milepost.records import Owner


class Try(Struct):
    """An attempt of a call that was not its last: ``number`` counts from 1, times are ISO 8601 in UTC."""

    number: int
    began: str
    ended: str
    error: str | None = None


class TaskState(Struct):
    """A call of the run that has an outcome, or asks a question.

    ``id`` is the call's place (``"0"``, ``"1.2"``), ``kind`` one of ``task``, ``workflow``, ``question``, ``status``
    one of ``done``, ``failed``, ``cancelled``, ``interrupted``. Times are ISO 8601 in UTC. ``error`` is
    ``"ValueError: text"``. ``attempts`` counts all attempts, ``tries`` tells those before the last. ``cached`` says
    that the result was taken from the cache.

    A question began when the run first paused with it; ``answered`` is when its answer came, and its status is
    ``answered`` then. ``asks`` is the beginning of what it asks, as text. ``session`` is the number of the session
    that wrote the record, counted from 0; None where there is no record of it yet. ``actor`` is who answered, where the
    answer said so. A wait for a time is of the kind ``sleep``, and ``sleeping`` until it is over.
    """

    id: str
    name: str
    status: str
    attempts: int = 0
    began: str | None = None
    ended: str | None = None
    error: str | None = None
    interrupts: tuple[Interrupt, ...] = ()
    kind: str = "task"
    tries: tuple[Try, ...] = ()
    cached: bool = False
    answered: str | None = None
    asks: str | None = None
    session: int | None = None
    actor: str | None = None


class Session(Struct):
    """A time in which somebody worked on the run: from taking the thread to the next rest.

    ``how`` is the kind of the record that it began with: ``started``, ``claimed`` (after a crash or a stop),
    ``resumed`` (with answers), ``retried`` (after a failure). ``ending`` is the run's status after it; None while it
    works, and for one that was cut off. ``seen`` is the last time on record from it. Times are ISO 8601 in UTC.
    """

    how: str
    began: str
    owner: Owner
    position: int
    ended: str | None = None
    ending: str | None = None
    seen: str | None = None
