"""``Cache``: results of tasks and workflows, to be found by later calls that are equal.

A cache is kept in a :class:`~milepost.store.Store`, so every backend that has one can be a cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from milepost._twin import twin
from milepost.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from milepost.store import Namespace

ROOT: Final = ("milepost", "cache")
"""Where a cache keeps what it has, in its store."""
_PAGE: Final = 256


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

    def get(self, namespace: Namespace, key: str, *, now: datetime) -> str | None:
        """Return a text that was kept; None where there is none, or its time is over at ``now``.

        Raises:
            StorageError: the store failed.
        """
        from datetime import datetime

        item = self.store.get((*ROOT, *namespace), key)
        if item is None:
            return None
        expires = item.value.get("expires")
        if expires is not None and datetime.fromisoformat(expires) <= now:
            return None
        text: str = item.value["text"]
        return text

    def set(self, namespace: Namespace, key: str, text: str, *, expires: datetime | None = None) -> None:
        """Keep a text, until a time in UTC or for as long as the store lasts.

        Raises:
            StorageError: the store failed.
        """
        until = None if expires is None else expires.isoformat()
        self.store.put((*ROOT, *namespace), key, {"text": text, "expires": until})

    def clear(self, namespaces: Sequence[Namespace] | None = None) -> None:
        """Forget everything, or what is kept below these namespaces.

        Raises:
            StorageError: the store failed.
        """
        for namespace in ((),) if namespaces is None else namespaces:
            while found := self.store.search((*ROOT, *namespace), limit=_PAGE):
                for item in found:
                    self.store.delete(item.namespace, item.key)

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
