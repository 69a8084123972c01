"""Who watches a run, and what they have been told: each call's start and its end, once each.

An observer never breaks a run: one that raises is told nothing more.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from milepost import events
from milepost._coroutines import Coroutines
from milepost._struct import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from milepost._clock import Clock
    from milepost.events import Ended, Event, Namespace, Started

BODY: Final = ""


class Around(Protocol):
    """The execution whose call began this run."""

    @property
    def is_stopping(self) -> bool: ...
    @property
    def watch(self) -> Watch: ...


class Listener:
    """One who is told what happens, and what they have been told.

    Args:
        function: is given the events.
        namespace: the workflow that is watched.
        within: whether the workflows nested in it are watched too.
        calls: whether it wants starts, every kind of end, and what is replayed; else results and questions alone.
        checkpoints: whether it wants to know what is saved of the run as a whole.
    """

    __slots__ = ("_done", "_open", "_over", "calls", "checkpoints", "function", "namespace", "within")

    def __init__(
        self,
        function: Callable[[Event], None],
        *,
        namespace: Namespace = (),
        within: bool = False,
        calls: bool = False,
        checkpoints: bool = False,
    ) -> None:
        self.function = function
        self.namespace = namespace
        self.within = within
        self.calls = calls
        self.checkpoints = checkpoints
        self._open: dict[str, Started] = {}
        self._over: dict[str, bool] = {}  # by call: whether it ended at a question
        self._done = False

    def hears(self, namespace: Namespace) -> bool:
        """Tell whether a workflow's events are for this one."""
        if self.within:
            return namespace[: len(self.namespace)] == self.namespace
        return namespace == self.namespace

    def tell(self, event: Event) -> None:
        """Tell of an event that is neither a start nor an end."""
        if not self._done:
            self._hand(event)

    def start(self, event: Started) -> None:
        """Tell of a start, unless it was told before."""
        if self.calls and not self._done and event.call not in self._open and event.call not in self._over:
            self._open[event.call] = event
            self._hand(event)

    def end(self, event: Ended, start: Started | None) -> None:
        """Tell of an end, unless it was told before, and of a start before it that was not told.

        A call that stopped at a question runs again when the body starts over. It ends anew only if it ends otherwise.
        """
        paused = isinstance(event, events.TaskInterrupted | events.WorkflowInterrupted)
        known = self._over.get(event.call)
        if self._done or known is False or (known and paused):
            return
        if self._open.pop(event.call, None) is None and start is not None and self.calls:
            self._hand(start)
        self._over[event.call] = paused
        self._hand(event)

    def leave(self, at: str, root: str | None = None) -> None:
        """Tell that what is still open stays so, but for the ``root``."""
        for start in reversed(list(self._open.values())):
            if start.call != root:
                self.end(_unfinished(start, at), start)

    def close(self) -> None:
        """Tell nothing any more."""
        self._done = True

    def _hand(self, event: Event) -> None:
        try:
            self.function(event)
        except Exception:
            import logging

            self._done = True
            logger = logging.getLogger("milepost")
            logger.warning("an observer of the run failed, and is told nothing more", exc_info=True)


class Watch:
    """Who watches a run, and whether they have left.

    A run that a call of another run began (``around``) has nobody left to watch it when that one stops. What one thread
    tells is told before another tells the next, so a stream is in one order.
    """

    def __init__(self, *listeners: Listener | None, around: Around | None = None) -> None:
        self.listeners: tuple[Listener, ...] = ()
        self.left = False
        self.calls = False
        self.checkpoints = False
        self.around = around
        self.coroutines: Coroutines = Coroutines() if around is None else around.watch.coroutines
        self._lock = threading.RLock()  # printing runs code of the user's, which may do anything
        for listener in listeners:
            if listener is not None:
                self.add(listener)

    @property
    def is_gone(self) -> bool:
        """Whether the run is to stop because nobody waits for it any more."""
        return self.left or (self.around is not None and self.around.is_stopping)

    def leave(self) -> None:
        """Stop the run at its next boundary, and the coroutines that are under way at once."""
        self.left = True
        self.coroutines.cancel()

    def add(self, listener: Listener) -> None:
        """Tell this one, too, from now on."""
        with self._lock:
            self._keep((*self.listeners, listener))

    @contextmanager
    def joined(self, listener: Listener | None, clock: Clock) -> Iterator[None]:
        """Tell this one, too, for a block; what is still open then is told to be so."""
        if listener is None:
            yield
            return
        self.add(listener)
        try:
            yield
        finally:
            with self._lock:
                listener.leave(clock.now().isoformat())
                listener.close()
                self._keep(tuple(other for other in self.listeners if other is not listener))

    def _keep(self, listeners: tuple[Listener, ...]) -> None:
        self.listeners = listeners
        self.calls = any(listener.calls for listener in listeners)
        self.checkpoints = any(listener.checkpoints for listener in listeners)

    def forward(self, outer: Watch, namespace: Namespace, call: str) -> None:
        """Tell those who watch the run around this one, too, as of the workflow that its ``call`` runs."""
        near = [listener for listener in outer.listeners if listener.hears(namespace)]
        if near:
            self.add(
                Listener(
                    Relay(outer, namespace, call).pass_on,
                    within=any(listener.within for listener in near),
                    calls=any(listener.calls for listener in near),
                    checkpoints=any(listener.checkpoints for listener in near),
                )
            )

    def tell(self, event: Event) -> None:
        """Tell of an event that is neither a start nor an end to whoever watches its namespace."""
        with self._lock:
            for listener in self.listeners:
                if listener.hears(event.namespace):
                    listener.tell(event)

    def start(self, event: Started) -> None:
        """Tell of a start."""
        with self._lock:
            for listener in self.listeners:
                if listener.hears(event.namespace):
                    listener.start(event)

    def end(self, event: Ended, start: Started | None) -> None:
        """Tell of an end; ``start`` is for those who have not heard of one."""
        with self._lock:
            for listener in self.listeners:
                if listener.hears(event.namespace):
                    listener.end(event, start)

    def finish(self, event: Ended, start: Started) -> None:
        """Tell how the body ended, after what it began and nobody waited for."""
        with self._lock:
            for listener in self.listeners:
                listener.leave(event.at, root=event.call)
            self.end(event, start)

    def close(self) -> None:
        """Tell nothing any more: what becomes of calls that still run is told when the run goes on."""
        with self._lock:
            for listener in self.listeners:
                listener.close()


class Relay:
    """Passes on what happens in a run on another thread to those who watch the run whose ``call`` began it."""

    __slots__ = ("_call", "_namespace", "_outer")

    def __init__(self, outer: Watch, namespace: Namespace, call: str) -> None:
        self._outer = outer
        self._namespace = namespace
        self._call = call

    def pass_on(self, event: Event) -> None:
        """Tell of an event, under the place and the namespace of the call."""
        body = event.call == BODY
        place = self._call if body else f"{self._call}/{event.call}"
        told = replace(event, namespace=(*self._namespace, *event.namespace), call=place)
        if not isinstance(told, events.Started | events.Ended):
            self._outer.tell(told)
        elif body:
            return  # the call tells of that
        elif isinstance(told, events.Started):
            self._outer.start(told)
        else:
            self._outer.end(told, None)


def _unfinished(start: Started, at: str) -> Ended:
    kind = events.TaskUnfinished if isinstance(start, events.TaskStarted) else events.WorkflowUnfinished
    return kind(namespace=start.namespace, call=start.call, name=start.name, attempt=start.attempt, at=at)
