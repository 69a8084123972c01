"""Which collections a checkpointer and a store have, and which indexes these need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from milepost_mongodb import _layout
from milepost_mongodb._client import AnyCollection, Index, Opened, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost_mongodb._url import MongoDBOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Collections(Opened):
    """The collections of one checkpointer."""

    batches: AnyCollection
    heads: AnyCollection
    chunks: AnyCollection


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemCollections(Opened):
    """The collections of one store."""

    items: AnyCollection


def _of_checkpointer(options: MongoDBOptions) -> Sequence[tuple[str, Sequence[Index]]]:
    purged = () if options.retention is None else ("batches", "chunks")
    return [("heads", _layout.HEAD_INDEXES), *((name, (_layout.PURGE_INDEX,)) for name in purged)]


def _of_store(_: MongoDBOptions) -> Sequence[tuple[str, Sequence[Index]]]:
    return [("items", (_layout.PURGE_INDEX,))]


CHECKPOINTER: Final = Plan(
    component=_layout.COMPONENT, version=_layout.SCHEMA, collections=Collections, indexes=_of_checkpointer
)
STORE: Final = Plan(component="store", version=1, collections=ItemCollections, indexes=_of_store)
