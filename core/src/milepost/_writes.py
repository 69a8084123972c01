"""How a store writes: read, decide, compare and set; again where somebody else was first or an answer was lost."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from milepost import _ids
from milepost._struct import Struct, replace
from milepost.errors import StorageUnavailable, VersionConflict
from milepost.items import Change, StoredItem, remember

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from milepost.items import Namespace

_PATIENT: Final = 3
"""How often a write that came second tries again at once; after that, it waits a moment each time."""
_MOMENT: Final = 0.02


class Write(Struct):
    """One item to be written; ``data`` is None where it is to be deleted.

    ``ttl`` is its life in seconds, None for ever. ``if_version`` is what must be there, 0 for nothing, None for
    whatever there is. ``once`` is the key under which it counts once; empty for a write that always counts.
    """

    address: str
    namespace: Namespace
    key: str
    nonce: str
    data: bytes | None = None
    ttl: float | None = None
    if_version: int | None = None
    once: str = ""
    text: str = ""
    vectors: tuple[tuple[float, ...], ...] = ()
    times: Times | None = None
    """None for a write of here and now."""


class Times(Struct):
    """When an item that comes from elsewhere was made and written there, and when its life is over."""

    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None


class _Hooks(Protocol):
    def _load(self, addresses: Sequence[str]) -> Sequence[StoredItem | None]: ...
    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]: ...
    def _retrying(self, hook: Any, *args: Any) -> Any: ...
    def _sendings(self) -> Iterator[bool]: ...
    def _pause(self, seconds: float) -> None: ...


def apply(store: _Hooks, writes: Sequence[Write], now: Callable[[], datetime]) -> dict[str, int]:
    """Apply writes of different addresses, each for itself; return the version that each item has then, 0 for none.

    A write whose answer was lost is recognised by its nonce; where it was overwritten meanwhile and has no condition,
    it is done again.

    Raises:
        VersionConflict: a condition does not hold; the other writes are applied.
        StorageUnavailable: whether some were applied is unknown.
    """
    done: dict[str, int] = {}
    conflicts: list[VersionConflict] = []
    unsure: set[str] = set()
    sendings = store._sendings()  # noqa: SLF001 - the other half of Store
    left, again, rounds = list(writes), next(sendings), 0
    while left:
        decided = _decide(store, left, now(), done, conflicts, unsure)
        try:
            swapped = store._swap([change for _, change in decided]) if decided else ()  # noqa: SLF001 - likewise
        except StorageUnavailable:
            if not again:
                raise
            again = next(sendings)
            unsure.update(write.address for write, _ in decided)
            left = [write for write, _ in decided]
            continue
        left = []
        for (write, change), won in zip(decided, swapped, strict=True):
            if won:
                done[write.address] = 0 if change.new is None else change.new.version
            else:
                left.append(write)
        rounds += 1
        if left and rounds > _PATIENT:
            store._pause(_MOMENT * _ids.chance())  # noqa: SLF001 - likewise
    if conflicts:
        raise conflicts[0]
    return done


def _decide(
    store: _Hooks,
    writes: Sequence[Write],
    now: datetime,
    done: dict[str, int],
    conflicts: list[VersionConflict],
    unsure: set[str],
) -> list[tuple[Write, Change]]:
    """Return what is still to be changed, after a look at what there is."""
    found = store._retrying(store._load, [write.address for write in writes])  # noqa: SLF001 - likewise
    decided = []
    for write, old in zip(writes, found, strict=True):
        present = None if old is None or old.is_expired(now) else old
        version = 0 if present is None else present.version
        if present is not None and (present.nonce == write.nonce or write.once in present.applied):
            done[write.address] = version
        elif old is None and write.data is None and (write.address in unsure or not write.if_version):
            done[write.address] = 0
        elif write.if_version not in (None, version):
            if write.address in unsure:
                raise _unknown(write)
            conflicts.append(_conflict(write, version))
        else:
            decided.append((write, Change(address=write.address, old=old, new=_made(write, old, now))))
    return decided


def _made(write: Write, old: StoredItem | None, now: datetime) -> StoredItem | None:
    """Return the item as it is to be. What expired is as good as gone, but its version goes on."""
    if write.data is None:
        return None
    lives = old is not None and not old.is_expired(now)
    applied = old.applied if old is not None and lives else ()
    times = write.times or _times(write, old if lives else None, now)
    return StoredItem(
        address=write.address,
        namespace=write.namespace,
        key=write.key,
        data=write.data,
        created_at=times.created_at,
        updated_at=times.updated_at,
        version=_ids.first_version() if old is None else old.version + 1,
        nonce=write.nonce,
        ttl=write.ttl,
        expires_at=times.expires_at,
        applied=remember(applied, write.once) if write.once else applied,
        text=write.text,
        vectors=write.vectors,
    )


def _times(write: Write, old: StoredItem | None, now: datetime) -> Times:
    """Return the times of an item written now over this one; hosts' clocks may differ, and times never go back."""
    at = now if old is None else max(now, old.updated_at)
    return Times(
        created_at=at if old is None else old.created_at,
        updated_at=at,
        expires_at=None if write.ttl is None else now + timedelta(seconds=write.ttl),
    )


def refreshed(item: StoredItem, now: datetime) -> StoredItem:
    """Return an item that was just read, with its life given anew; the version stays."""
    assert item.ttl is not None  # noqa: S101 - only what expires is refreshed
    return replace(item, expires_at=now + timedelta(seconds=item.ttl))


def _conflict(write: Write, found: int) -> VersionConflict:
    return VersionConflict(
        namespace=write.namespace, key=write.key, expected=write.if_version or 0, found=found
    )


def _unknown(write: Write) -> StorageUnavailable:
    return StorageUnavailable(
        f"whether item {write.key!r} in namespace {write.namespace!r} was written is unknown: the answer was lost, and "
        f"somebody has written the item since; read it"
    )
