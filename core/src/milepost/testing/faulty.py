"""A driver whose backend fails on command: before, after, late, or not at all until it is told to go on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from milepost.checkpoint import Checkpointer
from milepost.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from milepost.checkpoint import Head, HeadPage, HeadQuery, Swap
    from milepost.url import URL

When: TypeAlias = Literal["before", "after"]

PATIENCE: Final = 60.0
"""Seconds after which a gate that nobody opens gives up."""


class Gate:
    """Where a call waits until the test lets it through."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self._opened = threading.Event()

    def open(self) -> None:
        """Let the call through, now or when it comes."""
        self._opened.set()

    def wait_for_arrival(self) -> None:
        """Wait until the call is at the gate."""
        if not self.arrived.wait(PATIENCE):
            raise TimeoutError(f"no call came to the gate within {PATIENCE:g} seconds")

    def pass_through(self) -> None:
        """Wait at the gate until it is open."""
        self.arrived.set()
        if not self._opened.wait(PATIENCE):
            raise TimeoutError(f"nobody opened the gate within {PATIENCE:g} seconds")


class _Rule:
    def __init__(self, hook: str, when: str, times: int, act: Callable[[], None]) -> None:
        self.hook = hook
        self.when = when
        self.left = times
        self.act = act


class Faulty(Checkpointer):
    """Passes every hook on to another driver, and fails where it is told to. It never pauses between sendings.

    ``meet(number, when)`` is called ``"before"`` and ``"after"`` each call of a hook, with the number of the call; it
    may raise. ``calls`` counts them. The methods tell it the usual things without counting.
    """

    def __init__(self, inner: Checkpointer) -> None:
        self.inner = inner
        self.capabilities = inner.capabilities
        self.max_batch_bytes = inner.max_batch_bytes
        self.calls = 0
        self.meet: Callable[[int, When], None] = lambda number, when: None  # noqa: ARG005 - nothing happens
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._in_flight: list[Callable[[], Any]] = []

    @classmethod
    def from_url(cls, url: URL) -> Faulty:
        """Wrap the driver of a URL."""
        from milepost.drivers import open_checkpointer

        return cls(open_checkpointer(url))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    # -- what is to happen -----------------------------------------------------------------------------------------

    def fail(
        self, hook: str, when: When = "before", *, times: int = 1, error: BaseException | None = None
    ) -> None:
        """Let the next calls of a hook (``"_append"``, …) fail before they are applied, or after, the answer lost."""
        fault = StorageUnavailable(f"no answer, {when} {hook}") if error is None else error

        def fail() -> None:
            raise fault

        self._rules.append(_Rule(hook, when, times, fail))

    def hold(self, hook: str, when: When = "before") -> Gate:
        """Let the next call of a hook wait: before it is applied, or with its answer. Return the gate to open."""
        gate = Gate()
        self._rules.append(_Rule(hook, when, 1, gate.pass_through))
        return gate

    def delay(self, hook: str) -> None:
        """Let the next call of a hook time out while what it wrote is on its way, until :meth:`land`."""
        self._rules.append(_Rule(hook, "late", 1, lambda: None))

    def land(self) -> list[Any]:
        """Apply what is on its way; return an answer or error for each write."""
        landed, self._in_flight = self._in_flight, []
        return [_outcome(write) for write in landed]

    def freeze(self) -> Gate:
        """Let every call wait from now on, as in a process that was stopped; return the gate that thaws it."""
        gate = Gate()
        self._rules.insert(0, _Rule("", "before", -1, gate.pass_through))
        return gate

    # -- hooks -----------------------------------------------------------------------------------------------------

    def _passed(self, hook: str, *arguments: Any) -> Any:
        with self._lock:
            number, self.calls = self.calls, self.calls + 1
        self.meet(number, "before")
        self._act(hook, "before")
        if self._taken(hook, "late") is not None:
            self._in_flight.append(lambda: getattr(self.inner, hook)(*arguments))
            raise StorageUnavailable(f"no answer yet to {hook}")
        found = getattr(self.inner, hook)(*arguments)
        self._act(hook, "after")
        self.meet(number, "after")
        return found

    def _act(self, hook: str, when: When) -> None:
        rule = self._taken(hook, when)
        if rule is not None:
            rule.act()

    def _taken(self, hook: str, when: str) -> _Rule | None:
        with self._lock:
            for rule in self._rules:
                if rule.hook in ("", hook) and rule.when == when and rule.left:
                    rule.left -= 1
                    return rule
        return None

    def _open(self) -> None:
        self.inner._open()

    def _close(self) -> None:
        self.inner.close()

    def _pause(self, seconds: float) -> None:
        pass

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        self._passed("_append", thread, position, data, swap)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        batches: Sequence[tuple[int, bytes]] = self._passed("_read", thread, start, limit)
        return batches

    def _tail(self, thread: str, hint: int) -> int:
        tail: int = self._passed("_tail", thread, hint)
        return tail

    def _load_head(self, thread: str) -> bytes | None:
        data: bytes | None = self._passed("_load_head", thread)
        return data

    def _swap_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        swapped: bool = self._passed("_swap_head", head, data, expected)
        return swapped

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        page: HeadPage = self._passed("_list_heads", query, cursor, limit)
        return page

    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:
        self._passed("_prune", thread, before, keep)

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        self._passed("_delete", thread, grave, version)


def _outcome(write: Callable[[], Any]) -> Any:
    try:
        return write()
    except Exception as error:  # noqa: BLE001 - whatever the backend says is what the test wants to see
        return error
