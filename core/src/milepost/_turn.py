"""Equal calls in several processes: one of them claims the call in the cache's store, the others look again later.

A claim is renewed while the call runs. Who waits takes it over when it has not changed for a whole lease, by the
waiter's own clock, or at once when its owner is a dead process of this host.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from milepost import _ids, _owner
from milepost.checkpoint import Owner

if TYPE_CHECKING:
    from milepost._clock import Clock
    from milepost._lease import Keeper
    from milepost.cache import Cache, Kept
    from milepost.items import Namespace

_SOON: Final = 0.05
_LATER: Final = 1.0


class Turn:
    """One call's turn among the processes that share a cache: waited for, then held, then given back."""

    def __init__(self, cache: Cache, namespace: Namespace, key: str, *, keeper: Keeper, clock: Clock) -> None:
        self.owner = _owner.make()
        self._cache = cache
        self._place = (namespace, key)
        self._keeper = keeper
        self._clock = clock
        self._lock = threading.Lock()
        self._version = 0
        self._seen = (0, 0.0)
        self._looks = 0
        self._renewed = 0.0
        self._held = False

    @property
    def thread(self) -> str:
        """What is held, as messages name it."""
        return f"cache {'/'.join(self._place[0])}"

    def take(self, kept: Kept) -> float:
        """Claim the call, given what the cache has; return 0.0 where it is ours, else when to look again, in seconds.

        Raises:
            StorageError: the store failed.
        """
        if kept.claim is not None and not self._is_over(kept):
            return self._pause()
        _owner.enter(self.owner)
        version = self._cache.claim(*self._place, self._claim(), version=kept.version)
        if version is None:  # somebody else was first
            _owner.end(self.owner)
            return self._pause()
        self._version, self._held, self._renewed = version, True, self._clock.monotonic()
        self._keeper.hold(self)
        return 0.0

    def renew(self) -> None:
        """Show that the call still runs. Whoever takes it over makes it once more; both results are good."""
        with self._lock:
            now = self._clock.monotonic()
            if self._held and now - self._renewed >= self._keeper.lease / 3:
                version = self._cache.claim(*self._place, self._claim(), version=self._version)
                self._held, self._renewed = version is not None, now
                self._version = version or 0

    def drop(self) -> None:
        """Stop renewing."""
        with self._lock:
            self._held = False

    def end(self, *, kept: bool) -> None:
        """Give the turn back; where a result was ``kept``, it has taken the claim's place.

        Raises:
            StorageError: the store failed.
        """
        with self._lock:
            held, self._held = self._held, False
        self._keeper.let_go(self)
        _owner.end(self.owner)
        if held and not kept:
            self._cache.release(*self._place, version=self._version)

    def _claim(self) -> dict[str, Any]:
        fields = {name: getattr(self.owner, name) for name in self.owner.__struct_fields__}
        return fields | {"renewal": _ids.token()}

    def _is_over(self, kept: Kept) -> bool:
        """Tell whether whoever claimed the call surely works on it no more."""
        now = self._clock.monotonic()
        if self._seen[0] != kept.version:
            self._seen = (kept.version, now)
        if now - self._seen[1] >= self._keeper.lease:
            return True
        claim = dict(kept.claim or {})
        claim.pop("renewal", None)
        try:
            return _owner.is_dead(Owner(**claim))
        except TypeError:  # a later version may say it otherwise
            return False

    def _pause(self) -> float:
        self._looks += 1
        return min(_SOON * float(1 << min(self._looks, 8)), _LATER, self._keeper.lease / 3)
