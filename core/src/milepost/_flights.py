"""Equal calls at the same moment: the first one runs, the others wait for it without a thread.

A call never waits for one that itself waits for it, through the calls that it made: it runs beside it then.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from milepost.fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

Place: TypeAlias = tuple[int, tuple[str, ...], str]
"""A cache, by its id (whoever is in flight keeps it alive), a namespace and a key."""


class Passenger(Protocol):
    """A call, or a body, that is about to run."""

    runs_alone: bool
    """Whether it must not wait: set where it would wait for itself."""

    @property
    def lineage(self) -> tuple[Any, str]:
        """The execution that it belongs to, and its path there; the body's is empty."""

    def due(self) -> None:
        """Look again: the first call has ended, or this one must not wait. Returns soon."""


class _Flight:
    """A call that runs, and the equal ones that wait for it."""

    def __init__(self, leader: Passenger) -> None:
        self.leader = leader
        self.waiting: list[Passenger] = []


class Flights:
    """What this process runs of cached calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[Place, _Flight] = {}

    def lead(self, place: Place, call: Passenger) -> bool:
        """Return True to the first of equal calls, until it has :meth:`landed`."""
        with self._lock:
            if place in self._flights:
                return False
            self._flights[place] = _Flight(call)
            return True

    def join(self, place: Place, call: Passenger) -> None:
        """Have a call told when the first one has landed; at once where it has, or where it must not wait."""
        with self._lock:
            flight = self._flights.get(place)
            if flight is not None:
                call.runs_alone = self._waits_for(flight.leader, call, set())
                if not call.runs_alone:
                    flight.waiting.append(call)
                    return
        call.due()

    def landed(self, place: Place, call: Passenger) -> None:
        """Tell those who wait that the first call has ended, however it did."""
        with self._lock:
            flight = self._flights.get(place)
            if flight is None or flight.leader is not call:
                return
            del self._flights[place]
        for each in flight.waiting:
            each.due()

    def is_within_leader(self, call: Passenger) -> bool:
        """Tell whether a call was made within another one that leads."""
        with self._lock:
            leaders = [flight.leader for flight in self._flights.values()]
        return any(leader is not call and _is_within(call, leader) for leader in leaders)

    def _waits_for(self, leader: Passenger, call: Passenger, seen: set[int]) -> bool:
        """Tell whether a call that runs waits, through the calls that it made, for this one. The lock is held."""
        if id(leader) in seen:
            return False
        seen.add(id(leader))
        if _is_within(call, leader):
            return True
        return any(self._waits_for(ahead, call, seen) for ahead in self._awaited_by(leader))

    def _awaited_by(self, leader: Passenger) -> Iterator[Passenger]:
        for flight in self._flights.values():
            if any(_is_within(each, leader) for each in flight.waiting):
                yield flight.leader


def _is_within(call: Passenger, outer: Passenger) -> bool:
    """Tell whether a call is another one, or was made by it; any call of a run that the other's run began may be."""
    execution, path = call.lineage
    around, place = outer.lineage
    if execution is around:
        return not place or path == place or path.startswith(f"{place}.")
    while execution is not None and execution is not around:
        execution = execution.watch.around
    return execution is not None


flights: PerProcess[Flights] = PerProcess(Flights)
