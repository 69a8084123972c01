"""What ``Store.batch`` takes: operations as values. Names, fields and order are LangGraph's."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias


class GetOp(NamedTuple):
    """:meth:`Store.get <milepost.store.Store.get>`: gives an item, or None."""

    namespace: tuple[str, ...]
    key: str
    refresh_ttl: bool | None = None


class SearchOp(NamedTuple):
    """:meth:`Store.search <milepost.store.Store.search>`: gives a page of items."""

    namespace_prefix: tuple[str, ...]
    filter: dict[str, Any] | None = None
    limit: int = 10
    offset: int = 0
    query: str | None = None
    refresh_ttl: bool | None = None
    cursor: str | None = None


class PutOp(NamedTuple):
    """:meth:`Store.put <milepost.store.Store.put>`: gives None; a value of None deletes."""

    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any] | None
    index: Any = None
    ttl: Any = None
    if_version: int | None = None
    once: bool | str = False


class MatchCondition(NamedTuple):
    """What a namespace begins or ends with: ``match_type`` is ``"prefix"`` or ``"suffix"``."""

    match_type: str
    path: tuple[str, ...]


class ListNamespacesOp(NamedTuple):
    """:meth:`Store.list_namespaces <milepost.store.Store.list_namespaces>`: gives namespaces."""

    match_conditions: tuple[MatchCondition, ...] | None = None
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


Op: TypeAlias = GetOp | SearchOp | PutOp | ListNamespacesOp
