"""The contract of a store: items in namespaces; final methods, and a driver's hooks.

A store is long-term memory: JSON-like items, shared by all threads. Names and meaning are LangGraph's. A
driver subclasses :class:`Store` and fills in the hooks (``_get``, ``_put``, …) on bytes; validation,
encoding, filters and paging live here.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from milepost import serde
from milepost._clock import SystemClock
from milepost._struct import Struct
from milepost._twin import twin
from milepost.backend import Backend
from milepost.errors import InvalidItem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from milepost._clock import Clock

Namespace: TypeAlias = tuple[str, ...]

_PAGE: Final = 256


class Item(Struct):
    """What a store keeps under a namespace and a key. ``value`` is the reader's own copy; times are UTC."""

    namespace: Namespace
    key: str
    value: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class StoredItem(Struct):
    """An item as a driver keeps it: ``data`` is ASCII JSON."""

    namespace: Namespace
    key: str
    data: bytes
    created_at: datetime
    updated_at: datetime


class Store(Backend):
    """A driver that keeps items. Public methods are final; a driver fills in the hooks.

    A namespace is a non-empty tuple of non-empty str, of any characters. A value is a mapping with str keys,
    of what :mod:`milepost.serde` can keep. Methods may be called from any thread.
    """

    clock: Clock = SystemClock()
    """What tells ``created_at`` and ``updated_at``."""

    # -- for users: final ----------------------------------------------------------------------------------

    def get(self, namespace: Namespace, key: str) -> Item | None:
        """Return the item, or None where there is none.

        Raises:
            InvalidItem: the namespace or the key is malformed.
            UnknownType: the value holds a type that is not registered here.
        """
        self._check_open()
        found = self._get(_namespace(namespace), _key(key))
        return None if found is None else _item(found)

    def put(self, namespace: Namespace, key: str, value: Mapping[str, Any] | None) -> None:
        """Keep a value under a key, in place of what was there; ``created_at`` stays. ``None`` deletes.

        Raises:
            InvalidItem: the namespace or the key is malformed, or the value is no mapping with str keys.
            NotSerializable: something inside the value cannot be kept exactly.
        """
        if value is None:
            self.delete(namespace, key)
            return
        self._check_open()
        space, name = _namespace(namespace), _key(key)
        text = serde.encode(_value(value), where=_where(space, name), identity=_identity(space, name))
        self._put(space, name, text.encode("ascii"), self.clock.now())

    def delete(self, namespace: Namespace, key: str) -> None:
        """Delete an item; deleting an unknown one does nothing.

        Raises:
            InvalidItem: the namespace or the key is malformed.
        """
        self._check_open()
        self._delete(_namespace(namespace), _key(key))

    def search(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        limit: int = 10,
        offset: int = 0,
    ) -> list[Item]:
        """Return the items at and below a namespace, in the order of namespace and key; ``()`` means all.

        ``filter`` keeps items whose value has each of its keys with an equal value; a mapping inside it is
        matched the same way. Filtering comes before ``offset`` and ``limit``.

        Raises:
            InvalidItem: the prefix, the filter, ``limit`` or ``offset`` is malformed.
        """
        self._check_open()
        prefix = _labels(namespace_prefix, "namespace prefix")
        wanted = _filter(filter or {})
        _check_page(limit, offset)
        matching = (item for item in self._walk(prefix) if _matches(item.value, wanted))
        return _slice(matching, limit, offset)

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
        first = _labels(prefix or (), "prefix")
        last = _labels(suffix or (), "suffix")
        if max_depth is not None and max_depth < 1:
            raise InvalidItem(f"max_depth is at least 1, not {max_depth!r}")
        _check_page(limit, offset)
        found = (space for space in self._namespaces() if _begins(space, first) and _ends(space, last))
        return sorted({space[:max_depth] for space in found})[offset : offset + limit]

    # -- in coroutines -------------------------------------------------------------------------------------

    aget = twin(get)
    aput = twin(put)
    adelete = twin(delete)
    asearch = twin(search)
    alist_namespaces = twin(list_namespaces)

    # -- for drivers: hooks --------------------------------------------------------------------------------

    @abstractmethod
    def _get(self, namespace: Namespace, key: str) -> StoredItem | None:
        """Return the item as it was last put, or None."""

    @abstractmethod
    def _put(self, namespace: Namespace, key: str, data: bytes, now: datetime) -> None:
        """Set the item; in the same step, keep its ``created_at`` where it exists."""

    @abstractmethod
    def _delete(self, namespace: Namespace, key: str) -> None:
        """Delete exactly this item."""

    @abstractmethod
    def _scan(
        self, prefix: Namespace, after: tuple[Namespace, str] | None, limit: int
    ) -> Sequence[StoredItem]:
        """Return up to ``limit`` items at and below the prefix, past ``after``, by namespace, then key.

        Labels are compared whole: ``("a",)`` is no prefix of ``("ab",)``.
        """

    @abstractmethod
    def _namespaces(self) -> Sequence[Namespace]:
        """Return each namespace that holds an item, once."""

    # -- helpers -------------------------------------------------------------------------------------------

    def _walk(self, prefix: Namespace) -> Iterator[Item]:
        after: tuple[Namespace, str] | None = None
        while True:
            page = self._scan(prefix, after, _PAGE)
            yield from map(_item, page)
            if len(page) < _PAGE:
                return
            after = (page[-1].namespace, page[-1].key)


BaseStore = Store


def _item(stored: StoredItem) -> Item:
    place = (stored.namespace, stored.key)
    value = serde.decode(json.loads(stored.data), where=_where(*place), identity=_identity(*place))
    return Item(
        namespace=stored.namespace,
        key=stored.key,
        value=value,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
    )


def _where(namespace: Namespace, key: str) -> str:
    return f"item {key!r} in namespace {namespace!r}"


def _identity(namespace: Namespace, key: str) -> str:
    """Return what pickles in an item are signed with, so that none can be moved to another item."""
    return "store/" + json.dumps([namespace, key])


def _labels(value: object, what: str) -> Namespace:
    if not isinstance(value, (tuple, list)):
        raise InvalidItem(f"a {what} is a tuple of str, such as ('users', 'ann'), not {value!r}")
    for label in value:
        _text(label, f"a label of the {what} {value!r}")
    return tuple(value)


def _namespace(value: object) -> Namespace:
    labels = _labels(value, "namespace")
    if not labels:
        raise InvalidItem("a namespace has at least one label, such as ('users',)")
    return labels


def _key(value: object) -> str:
    return _text(value, "a key")


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidItem(f"{what} is a non-empty str, not {value!r}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidItem(f"{what} is not valid Unicode: {error.reason}") from None
    return value


def _value(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidItem(f"a value is a mapping with str keys, not {type(value).__name__}")
    for key in value:
        if not isinstance(key, str):
            raise InvalidItem(f"a value's keys are str; {key!r} is not")
    return dict(value)


def _filter(value: Mapping[str, Any]) -> Mapping[str, Any]:
    for key, wanted in _value(value).items():
        if key.startswith("$"):
            raise InvalidItem(f"filter {key!r}: operators are not understood, only equality")
        if isinstance(wanted, Mapping):
            _filter(wanted)
    return value


def _check_page(limit: object, offset: object) -> None:
    for name, number in (("limit", limit), ("offset", offset)):
        if not isinstance(number, int) or number < 0:
            raise InvalidItem(f"{name} is a whole number of at least 0, not {number!r}")


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(value, Mapping) and all(
            key in value and _matches(value[key], item) for key, item in wanted.items()
        )
    if isinstance(value, bool) != isinstance(wanted, bool):
        return False
    return bool(value == wanted)


def _slice(items: Iterator[Item], limit: int, offset: int) -> list[Item]:
    from itertools import islice

    return list(islice(items, offset, offset + limit))


def _begins(namespace: Namespace, labels: Namespace) -> bool:
    return len(namespace) >= len(labels) and all(
        wanted in ("*", label) for label, wanted in zip(namespace, labels, strict=False)
    )


def _ends(namespace: Namespace, labels: Namespace) -> bool:
    return _begins(namespace[::-1], labels[::-1])
