"""Holding a thread: its head, the lease that says its owner lives, and watching the leases of others."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final, Protocol

from milepost import _ids, _owner
from milepost._struct import replace
from milepost.checkpoint import Status, Swap
from milepost.errors import StorageError
from milepost.fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from logging import Logger

    from milepost._clock import Clock
    from milepost.checkpoint import Batch, Checkpointer, Head, Owner


_ATTEMPTS: Final = 8
_BACK: Final[dict[str, object]] = {"owner": None, "lease": None, "since": None}
"""What no head says whose thread nobody holds."""
_DOWN: Final[dict[str, object]] = {**_BACK, "cancel": None}
"""Nor that of a run which rests: a request to cancel it came too late, or was carried out."""


class Holding:
    """A thread that a session of ours holds. Its head changes under one lock: renewal and rest never cross."""

    def __init__(self, checkpointer: Checkpointer, head: Head, owner: Owner, clock: Clock) -> None:
        self.checkpointer = checkpointer
        self.owner = owner
        self.lost = False
        self.cancel: Callable[[str | None], object] | None = None
        """What is told when somebody asks for the run to be cancelled, with the reason."""
        self.asked: str | None = None
        """The request to cancel that was found in the head as it was laid down; empty where it gives no reason."""
        self._head = head
        self._clock = clock
        self._lock = threading.Lock()
        self._renewed = clock.monotonic()
        self._over = False
        self._unsure = False
        self._process = os.getpid()

    @property
    def thread(self) -> str:
        """The id of the thread held."""
        return self._head.thread

    def _next(self, **changes: object) -> Swap:
        head = replace(
            self._head,
            version=self._head.version + 1,
            nonce=_ids.token(),
            updated=self._clock.now().isoformat(),
            **changes,
        )
        return Swap(head=head, expected=self._head.version)

    def renew(self) -> None:
        """Show that the owner lives. Losing the head means that somebody took the thread: ``lost`` is set."""
        lease = self._head.lease or 0.0
        with self._lock:
            self._over = self._over or not _owner.is_here(self.owner)
            if self._over or self.lost or self._clock.monotonic() - self._renewed < lease / 3:
                return
            try:
                self._look_if_unsure()
                if self.lost:
                    return
                swap = self._next()
                kept = self.checkpointer.swap_head(swap)
                head = swap.head if kept else self.checkpointer.load_head(self.thread)
            except StorageError as error:
                self._unsure = True  # it may have been set: the next swap looks first
                self._log("the lease of thread %r was not renewed: %s", self.thread, error)
                return
            self._adopt(head)
            if not self.lost:
                self._renewed = self._clock.monotonic()

    @property
    def is_stale(self) -> bool:
        """Whether this process stood still for so long that somebody may have taken the thread."""
        return self._clock.monotonic() - self._renewed > (self._head.lease or 0.0)

    def asked_to_cancel(self, head: Head) -> None:
        """Tell of the request to cancel that a head carries, if it does."""
        if head.cancel is not None and self.cancel is not None:
            self.cancel(head.cancel or None)

    def _adopt(self, head: Head | None) -> None:
        """Go on from the head as it is now; one with another owner means that the thread is lost."""
        if head is not None and head.owner == self.owner:
            self._head, self._unsure = head, False
            self.asked_to_cancel(head)
        elif not self.lost:
            self.lost = True
            self._log("thread %r was taken over; its run stops here", self.thread)

    def _look_if_unsure(self) -> None:
        if self._unsure:
            self._adopt(self.checkpointer.load_head(self.thread))

    def _log(self, text: str, *args: object) -> None:
        _logger().warning(text, *args, extra={"thread_id": self.thread})

    def rest(
        self,
        position: int,
        batch: Batch,
        status: Status,
        *,
        pending: tuple[str, ...] = (),
        wake: float | None = None,
    ) -> None:
        """Append the batch that ends or pauses the run, and lay the head down; ``wake`` is when to look at it again.

        Raises:
            PositionTaken: the thread was taken over.
        """
        with self._lock:
            self._look_if_unsure()
            down = {**_DOWN, "status": status, "pending": pending, "wake": wake}
            self.asked = self._head.cancel
            laid = self.checkpointer.rest(self.thread, position, batch, self._next(**down))
            self._over = True
            if not laid:
                self._lower(down)

    def release(self, *, offer: bool = False) -> None:
        """Hand a run back that is not over: it stays running, and nobody owns it; where offered, anybody may go on."""
        with self._lock:
            if not self._over and not self.lost and self._process == os.getpid():
                self._over = True
                self._look_if_unsure()
                down = {**_BACK, "offered": offer or None}
                if not self.checkpointer.swap_head(self._next(**down)):
                    self._lower(down)

    def settle(
        self, status: Status, position: int, pending: tuple[str, ...] = (), wake: float | None = None
    ) -> None:
        """Lay the head down where the batch that took the thread ended or paused its run, which began at a position."""
        with self._lock:
            self._over = True
            down = {**_DOWN, "status": status, "run": position, "pending": pending, "wake": wake}
            if not self.checkpointer.swap_head(self._next(**down)):
                self._lower(down)

    def _lower(self, down: dict[str, object]) -> None:
        """Lay the head down that somebody changed and did not take: a request to cancel comes as a change of it."""
        for _ in range(_ATTEMPTS):
            head = self.checkpointer.load_head(self.thread)
            if head is None or head.owner != self.owner:
                return
            self._head = head
            self.asked = head.cancel
            if self.checkpointer.swap_head(self._next(**down)):
                return

    def drop(self) -> None:
        """Stop renewing, without a word to the backend."""
        with self._lock:
            self._over = True


class Held(Protocol):
    """What is held for an owner, and renewed while its session lasts."""

    @property
    def owner(self) -> Owner:
        """For whom."""

    @property
    def thread(self) -> str:
        """What it is, as messages name it."""

    def renew(self) -> None:
        """Show that the owner lives, where it is time to."""

    def drop(self) -> None:
        """Stop renewing."""


class _Renewals:
    """One process's holdings and the background thread that renews them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holdings: set[Held] = set()
        self.thread: threading.Thread | None = None
        self.stop = threading.Event()


class Keeper:
    """Renews the leases of all threads held, from one background thread, however long their tasks run."""

    def __init__(self, lease: float, clock: Clock) -> None:
        self.lease = lease
        self._clock = clock
        self._state: PerProcess[_Renewals] = PerProcess(_Renewals)

    def hold(self, holding: Held) -> None:
        """Begin to renew a holding's lease."""
        state = self._state.get()
        with state.lock:
            state.holdings.add(holding)
            if state.thread is None:
                state.thread = threading.Thread(
                    target=self._renew_all, args=(state,), name="milepost-lease", daemon=True
                )
                state.thread.start()

    def let_go(self, holding: Held) -> None:
        """Stop renewing a holding's lease."""
        holding.drop()
        state = self._state.get()
        with state.lock:
            state.holdings.discard(holding)

    def close(self) -> None:
        """End the background thread."""
        state = self._state.peek()
        if state is not None:
            state.stop.set()
            if state.thread is not None:
                state.thread.join()

    def _renew_all(self, state: _Renewals) -> None:
        while not self._clock.wait(state.stop, self.lease / 6):
            with state.lock:
                state.holdings -= {holding for holding in state.holdings if not _owner.is_here(holding.owner)}
                holdings = list(state.holdings)
            for holding in holdings:
                try:
                    holding.renew()
                except Exception:  # noqa: BLE001 - whatever a driver raises, the other leases are renewed
                    extra = {"thread_id": holding.thread}
                    _logger().exception("the lease of thread %r was not renewed", holding.thread, extra=extra)


class Watch:
    """Remembers since when a foreign head has not changed, on our own clock: hosts' clocks are never compared."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[int, str], tuple[int, str, float]] = {}

    def remaining(self, checkpointer: Checkpointer, head: Head) -> float:
        """Return for how many seconds more the head must stay unchanged before its lease is known to be over."""
        key, now = (id(checkpointer), head.thread), self._clock.monotonic()
        with self._lock:
            version, nonce, since = self._seen.get(key, (-1, "", now))
            if (version, nonce) != (head.version, head.nonce):
                since = now
                self._seen[key] = (head.version, head.nonce, since)
        return max(0.0, (head.lease or 0.0) - (now - since))

    def forget(self, checkpointer: Checkpointer, thread: str) -> None:
        """Forget a thread that was taken or is gone."""
        with self._lock:
            self._seen.pop((id(checkpointer), thread), None)

    def keep_only(self, checkpointer: Checkpointer, threads: Container[str]) -> None:
        """Forget all threads of a backend but these."""
        with self._lock:
            gone = [key for key in self._seen if key[0] == id(checkpointer) and key[1] not in threads]
            for key in gone:
                del self._seen[key]


def _logger() -> Logger:
    import logging

    return logging.getLogger("milepost")
