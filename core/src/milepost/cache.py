"""``Cache``: results of tasks and workflows, to be found by later calls that are equal.

A cache is kept in a :class:`~milepost.store.Store`, so every backend that has one can be a cache.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from milepost._struct import Struct
from milepost._twin import twin
from milepost.backend import Capability
from milepost.errors import VersionConflict
from milepost.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from milepost.items import Namespace

ROOT: Final = ("milepost", "cache")
"""Where a cache keeps what it has, in its store."""
_PAGE: Final = 256
_LONGEST_LABEL: Final = 120
_CLAIM_LIFE: Final = timedelta(days=1)
"""After this, a claim that nobody renews is swept away; it is taken over long before."""
_SLACK: Final = timedelta(hours=1)
_LONGEST_LIFE: Final = timedelta(days=300_000)
"""More than any store gives; what lives longer stays."""


class Kept(Struct):
    """What a cache has under a key. ``version`` is 0 where it has nothing."""

    text: str | None = None
    claim: Mapping[str, Any] | None = None
    version: int = 0


class Cache:
    """Results that later calls find again: give it to ``@entrypoint(cache=…)``.

    Args:
        store: where they are kept, below the namespace ``("milepost", "cache")``.
    """

    def __init__(self, store: Store) -> None:
        if not isinstance(store, Store):
            raise TypeError(f"a cache is kept in a store, for example InMemoryStore(); not in {store!r}")
        self.store = store

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in {self.store!r}>"

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    # -- what is kept --------------------------------------------------------------------------------------------

    @property
    def is_shared(self) -> bool:
        """Whether other processes may use it, too."""
        return Capability.MULTI_PROCESS in self.store.capabilities

    def look(self, namespace: Namespace, key: str, *, now: datetime) -> Kept:
        """Return what there is: a text whose time is not over at ``now``, or who has claimed to make one.

        Raises:
            StorageError: the store failed.
        """
        from datetime import datetime

        item = self.store.get(_space(namespace), key, refresh_ttl=False)
        if item is None:
            return Kept()
        expires = item.value.get("expires")
        is_over = expires is not None and datetime.fromisoformat(expires) <= now
        return Kept(
            text=None if is_over else item.value.get("text"),
            claim=item.value.get("claim"),
            version=item.version,
        )

    def get(self, namespace: Namespace, key: str, *, now: datetime) -> str | None:
        """Return a text that was kept; None where there is none, or its time is over at ``now``.

        Raises:
            StorageError: the store failed.
        """
        return self.look(namespace, key, now=now).text

    def set(self, namespace: Namespace, key: str, text: str, *, expires: datetime | None = None) -> None:
        """Keep a text, until a time in UTC or for as long as the store lasts.

        Raises:
            StorageError: the store failed.
        """
        until = None if expires is None else expires.isoformat()
        # Its own time is told by the engine's clock; the store's is for sweeping what nobody asks for again.
        life = None if expires is None else max(expires - self.store.clock.now(), timedelta()) + _SLACK
        if life is not None and life > _LONGEST_LIFE:
            life = None
        self.store.put(_space(namespace), key, {"text": text, "expires": until}, index=False, ttl=life)

    def claim(self, namespace: Namespace, key: str, claim: Mapping[str, Any], *, version: int) -> int | None:
        """Say who makes a text, where the item still has this version; return the new version, None where it has not.

        Raises:
            StorageError: the store failed.
        """
        try:
            return self.store.put(
                _space(namespace), key, {"claim": claim}, index=False, ttl=_CLAIM_LIFE, if_version=version
            )
        except VersionConflict:
            return None

    def release(self, namespace: Namespace, key: str, *, version: int) -> None:
        """Withdraw a claim, unless something else is there by now.

        Raises:
            StorageError: the store failed.
        """
        with suppress(VersionConflict):
            self.store.delete(_space(namespace), key, if_version=version)

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget everything, or what is kept below these namespaces.

        Raises:
            StorageError: the store failed.
        """
        from milepost.operations import PutOp

        for namespace in ((),) if namespaces is None else namespaces:
            while found := self.store.search(_space(namespace), limit=_PAGE, refresh_ttl=False):
                self.store.batch([PutOp(item.namespace, item.key, None) for item in found])

    aclear = twin(clear)


class InMemoryCache(Cache):
    """A cache in this process's memory (LangGraph's name)."""

    def __init__(self) -> None:
        from milepost.memory import InMemoryStore

        super().__init__(InMemoryStore())


def open_cache(given: str | Cache) -> Cache:
    """Return what ``cache=`` was given: a cache, or one in the store of a URL.

    Raises:
        MilepostError: what :func:`milepost.open_store` raises.
        TypeError: it is neither.
    """
    if isinstance(given, Cache):
        return given
    if not isinstance(given, str):
        raise TypeError(
            f"cache= is a Cache or the URL of a store, for example InMemoryCache(); not {given!r}"
        )
    from milepost.drivers import open_store

    return Cache(open_store(given))


def _space(namespace: Namespace) -> Namespace:
    """Return where something is kept in the store; a name that is too long is a digest there."""
    return (*ROOT, *map(_label, namespace))


def _label(name: str) -> str:
    if len(name.encode()) <= _LONGEST_LABEL:
        return name
    from hashlib import blake2b

    return f"{name[:16]}-{blake2b(name.encode(), digest_size=16).hexdigest()}"
