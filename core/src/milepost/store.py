"""The contract of a store: items in namespaces; final methods, and a driver's hooks.

A store is long-term memory: JSON-like items, shared by all threads. Names and meaning are LangGraph's. A
driver subclasses :class:`Store` and fills in the hooks (``_load``, ``_swap``, ``_scan``) on bytes and plain records;
validation, encoding, versions, lives, filters and paging live here.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypedDict, cast

from milepost import _given, _ids, _writes, filters, items, serde
from milepost._clock import SystemClock
from milepost._struct import replace
from milepost._twin import twin
from milepost.backend import Backend, Capability
from milepost.errors import Corrupt, InvalidIndex, InvalidItem, ItemTooLarge, SearchUnsupported, StorageError
from milepost.items import Change, Item, Namespace, SearchItem, StoredItem
from milepost.scans import PAGE, Query, Scan, onward, passed, past

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from milepost._clock import Clock
    from milepost._embedding import Index
    from milepost._writes import Write
    from milepost.operations import Op

__all__ = ["BaseStore", "IndexConfig", "Item", "Namespace", "Page", "SearchItem", "Store", "TTLConfig"]

_SWEEP_SECONDS: Final = 60.0
_UNSET: Final[Any] = type("_Unset", (), {"__repr__": lambda _: "(the store's)"})()


class IndexConfig(TypedDict, total=False):
    """How a store embeds values for search by meaning.

    ``embed`` takes a list of str and returns for each a sequence of ``dims`` numbers; an object with LangChain's
    ``embed_documents`` and ``embed_query`` will do. ``fields`` are the paths of what is embedded, each on its own:
    ``"$"`` is the whole value (the default), then ``"title"``, ``"author.name"``, ``"parts[0]"``, ``"parts[*].text"``.
    """

    embed: Any
    dims: int
    fields: Sequence[str]


class TTLConfig(TypedDict, total=False):
    """How long items live. ``default_ttl`` is in minutes, None for ever; ``refresh_on_read`` is True unless set."""

    default_ttl: float | None
    refresh_on_read: bool


class Page(list[SearchItem]):
    """The items of a search. ``cursor`` is what finds the next page, None where this is the last."""

    cursor: str | None = None


class Store(Backend):
    """A driver that keeps items. Public methods are final; a driver fills in the hooks.

    A namespace is a non-empty tuple of non-empty str, of any characters. A value is a mapping with str keys,
    of what :mod:`milepost.serde` can keep. Methods may be called from any thread. What is written is durable when the
    call returns, and every later read of any process finds it.

    Args:
        index: how values are embedded, for search by meaning (:class:`IndexConfig`).
        ttl: how long items live (:class:`TTLConfig`).

    Raises:
        InvalidIndex: one of both is malformed.
        SearchUnsupported: this driver keeps no embeddings.
    """

    clock: Clock = SystemClock()
    """What tells ``created_at``, ``updated_at`` and when a life is over."""
    max_item_bytes: int | None = None
    """The largest value that the backend takes, in bytes of JSON; None where only memory limits it."""

    _index: Index | None = None
    _default_ttl: float | None = None
    _refreshes = True
    _swept = 0.0

    def __init__(self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> None:
        self.configure(index=index, ttl=ttl)

    def configure(self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> None:
        """Set what the constructor can set too, for a store that was opened by its URL.

        Raises:
            InvalidIndex: one of both is malformed.
            SearchUnsupported: this driver keeps no embeddings.
        """
        if index is not None:
            if Capability.VECTORS not in self.capabilities:
                raise self._unsupported("embeddings, so index= has no place here", Capability.VECTORS)
            from milepost._embedding import Index

            self._index = Index(index)
        if ttl is not None:
            unknown = sorted(set(ttl) - {"default_ttl", "refresh_on_read"})
            if unknown:
                raise InvalidIndex(f"ttl= takes default_ttl and refresh_on_read, not {unknown[0]!r}")
            self._default_ttl = _given.seconds(ttl.get("default_ttl"))
            self._refreshes = bool(ttl.get("refresh_on_read", True))

    # -- for users: final ----------------------------------------------------------------------------------

    def get(self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """Return the item, or None where there is none, or its time is over.

        ``refresh_ttl`` says whether its life begins anew; by default as ``ttl=`` of the store says.

        Raises:
            InvalidItem: the namespace or the key is malformed.
            UnknownType: the value holds a type that is not registered here.
        """
        self._check_open()
        place = items.address(_given.namespace(namespace), _given.key(key))
        return self._get([place], refresh_ttl=refresh_ttl)[0]

    def put(  # noqa: PLR0913 - LangGraph's signature, and conditions
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any] | None,
        index: Sequence[str] | bool | None = None,  # noqa: FBT001 - LangGraph's signature
        *,
        ttl: float | timedelta | None = _UNSET,
        if_version: int | None = None,
        once: bool | str = False,
    ) -> int:
        """Keep a value under a key, in place of what was there; ``created_at`` stays. ``None`` deletes.

        Args:
            namespace: where it lies.
            key: under which name.
            value: a mapping with str keys.
            index: which fields a search by ``query`` looks at: paths as in ``IndexConfig``; False for none, None for
                those of the store.
            ttl: how long it lives, in minutes or as a timedelta; None for ever. By default as ``ttl=`` of the store
                says.
            if_version: write only if the item has this version; 0 means only if there is none.
            once: True in a task: this write counts once for the call, however often the task is run again, also after
                its run was taken over; nothing happens then. A str is a key of your own. An item remembers its last 32.

        Returns:
            The item's version now; 0 where it was deleted.

        Raises:
            InvalidItem: the namespace or the key is malformed, or the value is no mapping with str keys.
            NotSerializable: something inside the value cannot be kept exactly.
            VersionConflict: ``if_version`` does not hold; nothing was written.
            ItemTooLarge: the value is over the backend's limit.
            OutsideWorkflow: ``once=True`` where no workflow runs.
        """
        self._check_open()
        write = self._write(namespace, key, value, index, ttl=ttl, if_version=if_version, once=once)
        return self._apply([write])[write.address]

    def delete(self, namespace: Namespace, key: str, *, if_version: int | None = None) -> None:
        """Delete an item; deleting an unknown one does nothing.

        Raises:
            InvalidItem: the namespace or the key is malformed.
            VersionConflict: ``if_version`` is given and not the item's; nothing was deleted.
        """
        self.put(namespace, key, None, if_version=if_version)

    def search(  # noqa: PLR0913 - LangGraph's signature, and a cursor
        self,
        namespace_prefix: Namespace,
        /,
        *,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        limit: int = 10,
        offset: int = 0,
        cursor: str | None = None,
        refresh_ttl: bool | None = None,
    ) -> Page:
        """Return the items at and below a namespace, in the order of namespace and key; ``()`` means all.

        Args:
            namespace_prefix: where to look.
            query: text to find: by meaning where the store has an ``index=``, else all of its words. The best come
                first, each with its ``score``; those that fit alike in the order of namespace and key.
            filter: what a value must match (:mod:`milepost.filters`). It comes before ``offset`` and ``limit``.
            limit: how many to return at most.
            offset: how many to pass over.
            cursor: the ``cursor`` of an earlier page: go on after it. Items written meanwhile neither repeat others nor
                hide them, unless there is a ``query``.
            refresh_ttl: whether the lives of those returned begin anew; by default as ``ttl=`` of the store says.

        Raises:
            InvalidItem: the prefix, the filter, the cursor, ``limit`` or ``offset`` is malformed.
            SearchUnsupported: there is a ``query``, and the store has neither an index nor full-text search.
        """
        self._check_open()
        prefix = items.below(_given.labels(namespace_prefix, "namespace prefix"))
        _given.check_page(limit, offset)
        width = PAGE if query is not None else min(PAGE, offset + limit + 1)
        scan = Scan(prefix=prefix, after="", limit=width, now=self.clock.now(), filter=filters.parse(filter))
        if query is None:
            if cursor is not None:
                scan = onward(scan, cursor)
            found: Iterable[tuple[StoredItem, float | None]] = ((item, None) for item in self._walk(scan))
        else:
            offset += passed(cursor)
            found = self._ranked(scan, self._asked(query))
        taken = list(islice(self._matching(found, scan), offset, offset + limit + 1))
        page = Page(self._returned(taken[:limit], refresh_ttl=refresh_ttl))
        if len(taken) > limit > 0:
            page.cursor = (
                f"after {taken[limit - 1][0].address}" if query is None else f"past {offset + limit}"
            )
        return page

    def list_namespaces(
        self,
        *,
        prefix: Namespace | None = None,
        suffix: Namespace | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Namespace]:
        """Return the namespaces that hold items, sorted, each once.

        ``prefix`` and ``suffix`` take ``"*"`` for any one label. ``max_depth`` cuts longer namespaces down
        to so many labels.

        Raises:
            InvalidItem: a prefix, suffix, depth, ``limit`` or ``offset`` is malformed.
        """
        self._check_open()
        first = _given.labels(prefix or (), "prefix")
        last = _given.labels(suffix or (), "suffix")
        _given.check_depth(max_depth)
        _given.check_page(limit, offset)
        return list(islice(self._spaces(first, last, max_depth), offset, offset + limit))

    def batch(self, ops: Iterable[Op]) -> list[Any]:
        """Do several things in their order, each seeing what those before it did; return what each gives.

        Writes side by side go to the backend together where it can take them so; each is still applied for itself:
        where a condition does not hold, the writes beside it are applied, and what comes later is not done. All are
        checked before the first is done.

        Raises:
            InvalidItem: an operation is malformed; nothing was done.
            MilepostError: what :meth:`get`, :meth:`put`, :meth:`search` and :meth:`list_namespaces` raise.
        """
        self._check_open()
        from milepost._batch import run

        return run(self, list(ops))

    def sweep_ttl(self) -> int:
        """Remove what expired, and return how many items that were. They are never returned, swept or not.

        Drivers that declare ``expiry`` sweep by the way; on others, call it now and then.
        """
        self._check_open()
        swept, scan = 0, cast("Scan | None", self._expired())
        while scan is not None:
            gone, scan = self._sweep(scan)
            swept += gone
        return swept

    # -- in coroutines -------------------------------------------------------------------------------------

    aget = twin(get)
    aput = twin(put)
    adelete = twin(delete)
    asearch = twin(search)
    alist_namespaces = twin(list_namespaces)
    abatch = twin(batch)
    asweep_ttl = twin(sweep_ttl)

    # -- for drivers: hooks --------------------------------------------------------------------------------

    @abstractmethod
    def _load(self, addresses: Sequence[str]) -> Sequence[StoredItem | None]:
        """Return what lies at each address as it was last set, expired or not; None where nothing does.

        Read-your-writes, also across processes: a stale answer is a fault.

        Raises:
            Corrupt: an item cannot be read.
            StorageUnavailable: the backend cannot now.
        """

    @abstractmethod
    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        """Apply compare-and-sets at different addresses, each for itself; return for each whether it was applied.

        A change applies where what is there has the version of ``old``, or nothing is there where ``old`` is None. It
        is durable when this returns. An item is never torn, and never seen half changed.

        Raises:
            StorageUnavailable: which of them were applied is unknown.
        """

    @abstractmethod
    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        """Return up to ``limit`` items that are asked for, by address; fewer only where there are no more.

        Addresses are compared by code point, which is by bytes of UTF-8. ``after`` is any text, empty to begin.
        """

    def _rank(self, scan: Scan, query: Query, offset: int) -> Sequence[tuple[StoredItem, float]]:  # noqa: ARG002 - a hook
        """Return items that are asked for with their scores, the highest first, then by address; from ``offset`` on.

        Only where ``FULL_TEXT`` or ``VECTORS`` is declared. ``after`` is empty here. With words, an item is meant if
        its ``text`` has them all; with a vector, if it has ``vectors``, and its score is the highest cosine of them.
        """
        raise self._unsupported("a search by query", Capability.FULL_TEXT)

    # -- reading -------------------------------------------------------------------------------------------

    def _get(self, places: Sequence[str], *, refresh_ttl: bool | None) -> list[Item | None]:
        now = self.clock.now()
        found = self._retrying(self._load, places)
        live = [(item, None) for item in found if item is not None and not item.is_expired(now)]
        kept = {item.address: item for item, _ in self._refreshed(live, refresh_ttl=refresh_ttl)}
        return [None if place not in kept else _item(kept[place]) for place in places]

    def _walk(self, scan: Scan) -> Iterator[StoredItem]:
        while True:
            page = self._retrying(self._scan, scan)
            yield from page
            if len(page) < scan.limit:
                return
            scan = replace(past(scan, page[-1].address), limit=min(PAGE, 4 * scan.limit))

    def _ranked(self, scan: Scan, query: Query) -> Iterator[tuple[StoredItem, float]]:
        if query == Query():  # a query without words finds nothing
            return
        offset = 0
        while True:
            page = self._retrying(self._rank, scan, query, offset)
            yield from page
            if len(page) < scan.limit:
                return
            offset += len(page)

    def _matching(
        self, found: Iterable[tuple[StoredItem, float | None]], scan: Scan
    ) -> Iterator[tuple[StoredItem, float | None]]:
        """Yield what a search means, whatever the driver leaves to be looked at."""
        for item, score in found:
            if not item.is_expired(scan.now) and (
                scan.filter == filters.EVERYTHING or filters.matches(scan.filter, value_of(item))
            ):
                yield item, score

    def _returned(
        self, found: Sequence[tuple[StoredItem, float | None]], *, refresh_ttl: bool | None
    ) -> Iterator[SearchItem]:
        for item, score in self._refreshed(found, refresh_ttl=refresh_ttl):
            yield SearchItem(**_fields(item), score=score)

    def _refreshed(
        self, found: Sequence[tuple[StoredItem, float | None]], *, refresh_ttl: bool | None
    ) -> Sequence[tuple[StoredItem, float | None]]:
        """Give those that expire their lives anew. One that somebody writes meanwhile has a new life already."""
        if not (self._refreshes if refresh_ttl is None else refresh_ttl):
            return found
        now = self.clock.now()
        fresh = {item.address: _writes.refreshed(item, now) for item, _ in found if item.ttl is not None}
        if not fresh:
            return found
        old = {item.address: item for item, _ in found}
        changes = [Change(address=place, old=old[place], new=new) for place, new in fresh.items()]
        self._retrying(self._swap, changes)
        return [(fresh.get(item.address, item), score) for item, score in found]

    def _asked(self, query: object) -> Query:
        if not isinstance(query, str):
            raise InvalidItem(f"a query is a str, not {query!r}")
        if self._index is not None:
            return Query(vector=self._index.embedding_of_query(query))
        if Capability.FULL_TEXT not in self.capabilities:
            raise self._unsupported(
                "full-text search; leave query= out, use filter=, or keep the items in sqlite",
                Capability.FULL_TEXT,
            )
        from milepost._words import words

        return Query(words=tuple(dict.fromkeys(words(query))))

    def _spaces(self, first: Namespace, last: Namespace, max_depth: int | None) -> Iterator[Namespace]:
        """Yield namespaces in order, each once, reading one item of each."""
        exact = first[: first.index("*")] if "*" in first else first
        scan = Scan(prefix=items.below(exact), after="", limit=1, now=self.clock.now())
        previous: Namespace | None = None
        while page := self._retrying(self._scan, scan):
            space = page[0].namespace
            shown = space[:max_depth]
            if _given.begins(space, first) and _given.ends(space, last) and shown != previous:
                previous = shown
                yield shown
            skips = max_depth is not None and not last and len(first) <= max_depth and len(space) >= max_depth
            scan = past(scan, items.after(items.below(shown)) if skips else items.after_items(space))

    # -- writing -------------------------------------------------------------------------------------------

    def _write(  # noqa: PLR0913 - what `put` takes
        self,
        namespace: object,
        key: object,
        value: object,
        index: Any = None,
        *,
        ttl: Any = _UNSET,
        if_version: Any = None,
        once: Any = False,
    ) -> Write:
        """Check a write, encode its value and embed it; nothing is written yet."""
        space, name = _given.namespace(namespace), _given.key(key)
        place = items.address(space, name)
        life = self._default_ttl if ttl is _UNSET else _given.seconds(ttl)
        _given.check_version(if_version)
        counted = _given.once(once, place)
        if value is None:
            return _writes.Write(
                address=place, namespace=space, key=name, nonce=_ids.token(), if_version=if_version
            )
        checked = _given.value(value)
        where = _where(space, name)
        data = serde.encode(checked, where=where, identity=_identity(space, name)).encode("ascii")
        if self.max_item_bytes is not None and len(data) > self.max_item_bytes:
            raise ItemTooLarge(namespace=space, key=name, size=len(data), limit=self.max_item_bytes)
        text, vectors = self._searchable(checked, index)
        return _writes.Write(
            address=place,
            namespace=space,
            key=name,
            nonce=_ids.token(),
            data=data,
            ttl=life,
            if_version=if_version,
            once=counted,
            text=text,
            vectors=vectors,
        )

    def _searchable(self, value: Any, index: Any) -> tuple[str, tuple[tuple[float, ...], ...]]:
        """Return what a search by query finds of a value: its words, and its embeddings."""
        if index is False or not self.capabilities & {Capability.FULL_TEXT, Capability.VECTORS}:
            return "", ()
        from milepost._embedding import WHOLE, checked_fields, searched, texts

        own = WHOLE if self._index is None else self._index.fields
        fields = own if index is None or index is True else checked_fields(index)
        text = searched(value, fields) if Capability.FULL_TEXT in self.capabilities else ""
        if self._index is None:
            return text, ()
        return text, tuple(self._index.embeddings(texts(value, fields)))

    def _apply(self, writes: Sequence[Write]) -> dict[str, int]:
        done = _writes.apply(self, writes, self.clock.now)
        if Capability.EXPIRY in self.capabilities:
            moment = self.clock.monotonic()
            if moment - self._swept >= _SWEEP_SECONDS or not self._swept:
                self._swept = moment
                with suppress(StorageError):  # what was written is written; the next sweep will do
                    self._sweep(self._expired())
        return done

    def _sweep(self, scan: Scan) -> tuple[int, Scan | None]:
        """Remove a page of what expired, unless somebody writes it anew; return how many, and where it goes on."""
        found = self._retrying(self._scan, scan)
        changes = [Change(address=item.address, old=item, new=None) for item in found]
        gone = self._retrying(self._swap, changes) if changes else ()
        return sum(gone), None if len(found) < scan.limit else past(scan, found[-1].address)

    def _expired(self) -> Scan:
        return Scan(prefix="", after="", limit=PAGE, now=self.clock.now(), expired=True)

    def _unsupported(self, what: str, capability: Capability) -> SearchUnsupported:
        return SearchUnsupported(f"{type(self).__name__} has no {what}", capability=str(capability))


BaseStore = Store


def _item(stored: StoredItem) -> Item:
    return Item(**_fields(stored))


def _fields(stored: StoredItem) -> dict[str, Any]:
    return {
        "namespace": stored.namespace,
        "key": stored.key,
        "value": value_of(stored),
        "created_at": stored.created_at,
        "updated_at": stored.updated_at,
        "version": stored.version,
        "expires_at": stored.expires_at,
    }


def value_of(stored: StoredItem) -> dict[str, Any]:
    """Return the value that a driver kept.

    Raises:
        Corrupt: it is no JSON.
        UnknownType: it holds a type that is not registered here.
    """
    place = (stored.namespace, stored.key)
    try:
        raw = json.loads(stored.data)
    except ValueError as error:
        raise Corrupt(f"{_where(*place)} cannot be read: its value is no JSON") from error
    return cast("dict[str, Any]", serde.decode(raw, where=_where(*place), identity=_identity(*place)))


def _where(namespace: Namespace, key: str) -> str:
    return f"item {key!r} in namespace {namespace!r}"


def _identity(namespace: Namespace, key: str) -> str:
    """Return what pickles in an item are signed with, so that none can be moved to another item."""
    return "store/" + json.dumps([namespace, key])
