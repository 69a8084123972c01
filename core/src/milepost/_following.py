"""What is on record of a run, as events: the journal read from any position on, in any process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from milepost import events, serde
from milepost._call import raised
from milepost._journal import dereference
from milepost._run import as_interrupts
from milepost.checkpoint import (
    Abandoned,
    Attempted,
    Cancelled,
    Claimed,
    Failed,
    Finished,
    Interrupted,
    Outcome,
    Resumed,
    Retried,
    Started,
    Written,
)
from milepost.errors import SignatureInvalid, UnknownType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from milepost.checkpoint import Checkpointer, Record, Value
    from milepost.events import Event

_SHIFT: Final = 20
"""A batch has room for so many bits of records in an event's number."""


def place_of(number: int) -> tuple[int, int]:
    """Return the position in the journal, and the place in its batch, that an event's number names."""
    return number >> _SHIFT, number & ((1 << _SHIFT) - 1)


class Reader:
    """Reads one run's events. ``result`` is the declared type of what it returns, ``input`` that of its input."""

    def __init__(
        self,
        checkpointer: Checkpointer,
        thread: str,
        started: Started,
        position: int,
        *,
        result: Any,
        given: Any,
    ) -> None:
        self._checkpointer = checkpointer
        self._thread = thread
        self._started = started
        self._position = position
        self._result = result
        self._given = given

    def read(self, after: int) -> Iterator[Event]:
        """Yield what is on record of the run after the event of this number; 0 is before all of them."""
        position, index = place_of(after)
        if position < self._position:
            position, index = self._position, 0
        for found, batch in self._checkpointer.read(self._thread, position):
            begins = found == self._position
            for place, record in enumerate(batch.records, 1):
                if isinstance(record, Started) and record.run != self._started.run:
                    return
                begins = begins and not isinstance(record, Started)
                if begins or (found == position and place <= index):
                    continue  # what closed the run before, or is known
                told = self._event(record, (found << _SHIFT) + place)
                if told is not None:
                    yield told
                if isinstance(record, Abandoned):
                    return

    def _event(self, record: Record, number: int) -> Event | None:
        tell = _TOLD.get(type(record))
        return None if tell is None else tell(self, record, number)

    def _facts(self, number: int, at: str, **other: Any) -> dict[str, Any]:
        body = {"namespace": (), "call": "", "name": self._started.workflow}
        return {**body, "at": at, "position": number, **other}

    def _decoded(self, value: Value, declared: Any, place: str) -> Any:
        """Return a value, or the JSON that is on record of it where the classes in it are not known here."""
        raw = dereference(self._checkpointer, self._thread, value).raw
        where = f"thread {self._thread!r}"
        try:
            return serde.decode(raw, declared, where=where, identity=place)
        except (UnknownType, SignatureInvalid):
            return raw

    # -- records -----------------------------------------------------------------------------------------------------

    def began(self, record: Started, number: int) -> Event:
        given = self._decoded(record.input, self._given, f"{self._thread}/input")
        return events.WorkflowStarted(**self._facts(number, record.at), input=given)

    def goes_on(self, record: Claimed | Resumed | Retried, number: int) -> Event:
        actor, answered = None, tuple[str, ...]()
        if isinstance(record, Resumed):
            actor, answered = record.actor, tuple(record.answers)
        facts = self._facts(number, record.at, how=record.kind, session=str(record.owner))
        return events.WorkflowResumed(**facts, actor=actor, answered=answered)

    def came_to(self, record: Outcome, number: int) -> Event:
        kind = "Workflow" if record.workflow else "Task"
        facts = self._facts(number, record.ended, call=record.call, name=record.name, attempt=record.attempts)
        if record.error is not None:
            made: Event = getattr(events, f"{kind}Failed")(**facts, error=raised(record.error))
        elif record.result is None:
            made = getattr(events, f"{kind}Cancelled")(**facts)
        else:
            place = f"{self._thread}/{self._started.run}/{record.call}"
            result = self._decoded(record.result, Any, place)
            made = getattr(events, f"{kind}Finished")(**facts, result=result, cached=bool(record.cached))
        return made

    def failed_once(self, record: Attempted, number: int) -> Event:
        facts = self._facts(number, record.ended, call=record.call, attempt=record.number)
        return events.TaskRetried(**facts | {"name": record.name}, error=raised(record.error))

    def wrote(self, record: Written, number: int) -> Event:
        value = self._decoded(record.value, Any, f"{self._started.run}/{record.call}/custom")
        return events.CustomWritten(
            **self._facts(number, record.at, call=record.call, name=record.name), value=value
        )

    def paused(self, record: Interrupted, number: int) -> Event:
        asked = as_interrupts(record.questions)
        facts = self._facts(number, record.at)
        if record.questions and not asked:
            due = min(question.expires or "" for question in record.questions)
            return events.WorkflowSleeping(**facts, until=due)
        return events.WorkflowInterrupted(**facts, interrupts=asked)

    def finished(self, record: Finished, number: int) -> Event:
        value = self._decoded(record.result, self._result, f"{record.run}/result")
        return events.WorkflowFinished(**self._facts(number, record.at), result=value)

    def failed(self, record: Failed, number: int) -> Event:
        return events.WorkflowFailed(**self._facts(number, record.at), error=raised(record.error))

    def cancelled(self, record: Cancelled, number: int) -> Event:
        return events.WorkflowCancelled(**self._facts(number, record.at))

    def abandoned(self, record: Abandoned, number: int) -> Event:
        return events.WorkflowAbandoned(**self._facts(number, record.at))


_TOLD: Final[dict[type, Callable[[Reader, Any, int], Event]]] = {
    Started: Reader.began,
    Claimed: Reader.goes_on,
    Resumed: Reader.goes_on,
    Retried: Reader.goes_on,
    Outcome: Reader.came_to,
    Attempted: Reader.failed_once,
    Written: Reader.wrote,
    Interrupted: Reader.paused,
    Finished: Reader.finished,
    Failed: Reader.failed,
    Cancelled: Reader.cancelled,
    Abandoned: Reader.abandoned,
}
