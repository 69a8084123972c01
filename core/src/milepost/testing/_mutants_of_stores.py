"""Broken stores: each has one fault that some store has had."""

from __future__ import annotations

import threading
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any, ClassVar

from milepost import items
from milepost._struct import replace
from milepost.errors import SchemaTooNew, StorageError, StorageUnavailable, VersionConflict
from milepost.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.items import Change, StoredItem
    from milepost.scans import Query, Scan
    from milepost.url import URL

_MOMENT = 0.002
_numbers = count(1)


class StoreMutant(MemoryStore):
    """The memory store with one fault; this one has none yet. ``caught_by`` names the clauses that must notice."""

    caught_by: ClassVar[tuple[str, ...]] = ()
    schemas: ClassVar[dict[str, int]] = {}

    def _check_open(self) -> None:
        super()._check_open()
        if self.schemas.get(self._name, 1) > 1:
            raise SchemaTooNew(f"{self!r} was written by a later version: upgrade milepost")

    def _kept(self, item: StoredItem) -> StoredItem:
        """Return an item as this store keeps it."""
        return item

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        kept = [
            change if change.new is None else replace(change, new=self._kept(change.new))
            for change in changes
        ]
        return super()._swap(kept)


class RoundsTimes(StoreMutant):
    """Keeps times to the second."""

    caught_by: ClassVar[tuple[str, ...]] = ("S04", "S90")

    def _kept(self, item: StoredItem) -> StoredItem:
        return replace(
            item,
            created_at=item.created_at.replace(microsecond=0),
            updated_at=item.updated_at.replace(microsecond=0),
        )


class ForgetsCreation(StoreMutant):
    """Sets the time of creation at every put."""

    caught_by: ClassVar[tuple[str, ...]] = ("S04", "S90")

    def _kept(self, item: StoredItem) -> StoredItem:
        return replace(item, created_at=item.updated_at)


class LosesTypes(StoreMutant):
    """Keeps lists where there were tuples."""

    caught_by: ClassVar[tuple[str, ...]] = ("S01",)

    def _kept(self, item: StoredItem) -> StoredItem:
        return replace(item, data=item.data.replace(b'{"$tuple":[1,{"$tuple":[2]}]}', b"[1,[2]]"))


class Merges(StoreMutant):
    """Adds to what was there."""

    caught_by: ClassVar[tuple[str, ...]] = ("S02", "S90")

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        return super()._swap([_merged(change) for change in changes])


def _merged(change: Change) -> Change:
    if change.new is None or change.old is None or b"{}" in (change.old.data, change.new.data):
        return change
    return replace(change, new=replace(change.new, data=change.old.data[:-1] + b"," + change.new.data[1:]))


class DeletesBelow(StoreMutant):
    """Deletes what begins like the item, too."""

    caught_by: ClassVar[tuple[str, ...]] = ("S03", "S90")

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        done = super()._swap(changes)
        for change in changes:
            if change.new is None:
                for place in [each for each in self._data.order if each.startswith(change.address)]:
                    self._data.order.remove(place)
                    del self._data.items[place]
        return done


class CountsVersionsAnew(StoreMutant):
    """Begins with version 1 after a deletion."""

    caught_by: ClassVar[tuple[str, ...]] = ("S05",)

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        return super()._swap([_first(change) for change in changes])


def _first(change: Change) -> Change:
    if change.new is None or change.old is not None:
        return change
    return replace(change, new=replace(change.new, version=1))


class IgnoresVersions(StoreMutant):
    """Writes whatever is there."""

    caught_by: ClassVar[tuple[str, ...]] = ("S50", "S51")

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        threading.Event().wait(_MOMENT)
        now = self._load([change.address for change in changes])
        return super()._swap([replace(change, old=old) for change, old in zip(changes, now, strict=True)])


class ChecksThenWrites(StoreMutant):
    """Looks at the version in one step and writes in another."""

    caught_by: ClassVar[tuple[str, ...]] = ("S50", "S51")

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        done = []
        for change in changes:
            (found,) = self._load([change.address])
            fits = (found and found.version) == (change.old and change.old.version)
            threading.Event().wait(_MOMENT)
            if fits:
                (found,) = self._load([change.address])
                super()._swap([replace(change, old=found)])
            done.append(fits)
        return done


class FoldsCase(StoreMutant):
    """Has one item for keys that differ in case."""

    caught_by: ClassVar[tuple[str, ...]] = ("S07", "S90")

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        return super()._swap([replace(change, address=change.address.lower()) for change in changes])

    def _load(self, addresses: Sequence[str]) -> Sequence[StoredItem | None]:
        return super()._load([place.lower() for place in addresses])


class CutsNames(StoreMutant):
    """Cuts long names off."""

    caught_by: ClassVar[tuple[str, ...]] = ("S08",)

    def _load(self, addresses: Sequence[str]) -> Sequence[StoredItem | None]:
        return super()._load([place[:500] for place in addresses])


class AppliesTheFirstOnly(StoreMutant):
    """Applies the first hundred changes of many, and says that it was all."""

    caught_by: ClassVar[tuple[str, ...]] = ("S12", "S22")

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        super()._swap(changes[:100])
        return [True] * len(changes)


class ForgetsKeys(StoreMutant):
    """Does not keep under which keys an item was written."""

    caught_by: ClassVar[tuple[str, ...]] = ("S13", "S90")

    def _kept(self, item: StoredItem) -> StoredItem:
        return replace(item, applied=())


class SortsByChange(StoreMutant):
    """Returns items in the order of their changes."""

    caught_by: ClassVar[tuple[str, ...]] = ("S20", "S90")

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        found = list(super()._scan(scan))
        return sorted(found, key=lambda item: item.updated_at, reverse=True) if not scan.after else found

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        self.clock.advance(0.001) if hasattr(self.clock, "advance") else None
        return super()._swap(changes)


class MatchesBeginnings(StoreMutant):
    """Takes a label that only begins like the prefix."""

    caught_by: ClassVar[tuple[str, ...]] = ("S21",)

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        return super()._scan(replace(scan, prefix=scan.prefix.removesuffix("!")))


class EndsEarly(StoreMutant):
    """Ends a listing one page early."""

    caught_by: ClassVar[tuple[str, ...]] = ("S22",)

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        return super()._scan(scan)[: max(1, scan.limit - 1)] if scan.limit > 1 else super()._scan(scan)


class SkipsBetweenPages(StoreMutant):
    """Goes on one item too late."""

    caught_by: ClassVar[tuple[str, ...]] = ("S23", "S90")

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        if len(scan.after) <= len(scan.prefix) or scan.after.endswith('"'):
            return super()._scan(scan)
        return super()._scan(replace(scan, limit=scan.limit + 1))[1:]


class FiltersTooMuch(StoreMutant):
    """Leaves out what lacks a field that a filter denies something of."""

    caught_by: ClassVar[tuple[str, ...]] = ("S24",)

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        found, asked = super()._scan(scan), repr(scan.filter)
        denied = [name for name in ("n", "y") if "Not(" in asked and f"path=('{name}',)" in asked]
        return [item for item in found if all(f'"{name}"'.encode() in item.data for name in denied)]


class KeepsEmptyNamespaces(StoreMutant):
    """Leaves something behind in a namespace whose last item went."""

    caught_by: ClassVar[tuple[str, ...]] = ("S26", "S90")

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        gone = [change for change in changes if change.new is None and change.old is not None]
        for change in gone:
            if change.old is not None and change.old.key != "ghost":
                ghost = replace(
                    change.old,
                    key="ghost",
                    address=items.address(change.old.namespace, "ghost"),
                    version=next(_numbers),
                )
                super()._swap([replace(change, address=ghost.address, old=None, new=ghost)])
        return super()._swap(changes)


class SkipsNamespaces(StoreMutant):
    """Goes on after the whole of a namespace where it should go on after its own items."""

    caught_by: ClassVar[tuple[str, ...]] = ("S27", "S90")

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        if scan.limit == 1 and scan.after.endswith('!"'):
            return super()._scan(replace(scan, after=f"{scan.after[:-2]}~"))
        return super()._scan(scan)


class FindsAnyWord(StoreMutant):
    """Finds what has one of the words."""

    caught_by: ClassVar[tuple[str, ...]] = ("S28",)

    def _rank(self, scan: Scan, query: Query, offset: int) -> Sequence[tuple[StoredItem, float]]:
        return super()._rank(scan, replace(query, words=query.words[:1]), offset)


class KeepsOldWords(StoreMutant):
    """Finds an item by the words that it had before."""

    caught_by: ClassVar[tuple[str, ...]] = ("S29", "S90")

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        return super()._swap(
            [
                change
                if change.new is None or change.old is None
                else replace(change, new=replace(change.new, text=f"{change.old.text} {change.new.text}"))
                for change in changes
            ]
        )


class LosesWordsOfWhatIsRead(StoreMutant):
    """Forgets words when a life begins anew."""

    caught_by: ClassVar[tuple[str, ...]] = ("S29",)

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        return super()._swap(
            [
                change
                if change.new is None or change.old is None or change.new.version != change.old.version
                else replace(change, new=replace(change.new, text=""))
                for change in changes
            ]
        )


class RanksBackwards(StoreMutant):
    """Returns the worst first."""

    caught_by: ClassVar[tuple[str, ...]] = ("S30", "S31")

    def _rank(self, scan: Scan, query: Query, offset: int) -> Sequence[tuple[StoredItem, float]]:
        found = list(super()._rank(replace(scan, limit=999), query, 0))
        return found[::-1][offset : offset + scan.limit]


class ComparesOneVector(StoreMutant):
    """Looks at the first field only."""

    caught_by: ClassVar[tuple[str, ...]] = ("S31",)

    def _kept(self, item: StoredItem) -> StoredItem:
        return replace(item, vectors=item.vectors[:1])


class AnswersAnyQuery(StoreMutant):
    """Says that it has no full-text search, and answers queries with everything."""

    caught_by: ClassVar[tuple[str, ...]] = ("S32",)
    capabilities = frozenset()

    def _asked(self, query: object) -> Any:
        return super()._asked(query) if not isinstance(query, str) else None

    def _ranked(self, scan: Scan, query: Query) -> Any:  # noqa: ARG002 - it ignores it
        return ((item, 1.0) for item in self._walk(scan))


class ForgetsLives(StoreMutant):
    """Keeps for ever what should expire."""

    caught_by: ClassVar[tuple[str, ...]] = ("S40", "S42", "S90")

    def _kept(self, item: StoredItem) -> StoredItem:
        return replace(item, expires_at=None)


def _is_refresh(change: Change) -> bool:
    return change.old is not None and change.new is not None and change.old.version == change.new.version


class NeverRefreshes(StoreMutant):
    """Says that it began a life anew, and did not."""

    caught_by: ClassVar[tuple[str, ...]] = ("S41",)

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        real = [change for change in changes if not _is_refresh(change)]
        done = iter(super()._swap(real))
        return [next(done) if change in real else True for change in changes]


class SweepsTooMuch(StoreMutant):
    """Removes what expires within the minute."""

    caught_by: ClassVar[tuple[str, ...]] = ("S43",)

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        soon = replace(scan, now=scan.now + timedelta(seconds=60))
        return super()._scan(soon if scan.expired else scan)

    def sweep_ttl(self) -> int:
        """Remove by a rule of its own."""
        found = self._scan(self._expired())
        for item in found:
            self._data.order.remove(item.address)
            del self._data.items[item.address]
        return len(found)


class ForgetsToSweep(StoreMutant):
    """Counts what expired, and leaves it where it is."""

    caught_by: ClassVar[tuple[str, ...]] = ("S43",)

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        return [] if scan.expired else super()._scan(scan)


class TearsItems(StoreMutant):
    """Writes an item in two steps."""

    caught_by: ClassVar[tuple[str, ...]] = ("S52",)

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        for change in changes:
            if change.new is not None and b'"b"' in change.new.data and change.address in self._data.items:
                found = self._data.items[change.address]
                half = found.data.partition(b'"b"')[0] + b'"b"' + change.new.data.partition(b'"b"')[2]
                self._data.items[change.address] = replace(found, data=half)
                threading.Event().wait(_MOMENT)
        return super()._swap(changes)


class RefusesTheSecond(StoreMutant):
    """Fails a plain put that came at the same moment as another."""

    caught_by: ClassVar[tuple[str, ...]] = ("S53",)
    busy = threading.Lock()

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        if not self.busy.acquire(blocking=False):
            raise StorageError("somebody else is writing")
        try:
            threading.Event().wait(_MOMENT)
            return super()._swap(changes)
        finally:
            self.busy.release()


class ForgetsNonces(StoreMutant):
    """Does not keep who wrote an item last."""

    caught_by: ClassVar[tuple[str, ...]] = ("S60",)

    def _kept(self, item: StoredItem) -> StoredItem:
        return replace(item, nonce="")


class SaysRefused(StoreMutant):
    """Says that a write was refused where nobody can know."""

    caught_by: ClassVar[tuple[str, ...]] = ("S61",)

    def _apply(self, writes: Any) -> Any:
        try:
            return super()._apply(writes)
        except StorageUnavailable as error:
            if "unknown" not in str(error):
                raise
            write = writes[0]
            raise VersionConflict(namespace=write.namespace, key=write.key, expected=0, found=0) from error


class WritesUnseen(StoreMutant):
    """Says that a write was refused when nobody answered."""

    caught_by: ClassVar[tuple[str, ...]] = ("S62",)

    def _apply(self, writes: Any) -> Any:
        try:
            return super()._apply(writes)
        except StorageUnavailable:
            return {write.address: 1 for write in writes}


class OpensAgain(StoreMutant):
    """Works on after it was closed."""

    caught_by: ClassVar[tuple[str, ...]] = ("S70", "S90")

    def _check_open(self) -> None:
        """Let everything through."""


class StartsEmpty(StoreMutant):
    """Forgets everything when a second driver opens."""

    caught_by: ClassVar[tuple[str, ...]] = ("S70", "S71", "S90")

    @classmethod
    def from_url(cls, url: URL) -> StartsEmpty:
        """Empty the place."""
        made = super().from_url(url)
        made._data.items.clear()
        made._data.order.clear()
        return made  # type: ignore[return-value]


class ShowsPasswords(StoreMutant):
    """Shows the whole URL."""

    caught_by: ClassVar[tuple[str, ...]] = ("S72",)

    @classmethod
    def from_url(cls, url: URL) -> ShowsPasswords:
        """Remember the URL as it was written."""
        made = cls()
        made.shown = url.reveal()  # type: ignore[attr-defined]
        return made

    def __repr__(self) -> str:
        return f"ShowsPasswords({getattr(self, 'shown', '')!r})"


class ReadsNewerSchemas(StoreMutant):
    """Writes into a schema that it does not know."""

    caught_by: ClassVar[tuple[str, ...]] = ("S73",)

    def _check_open(self) -> None:
        MemoryStore._check_open(self)


class OverridesGet(StoreMutant):
    """Does by itself what the base class does."""

    caught_by: ClassVar[tuple[str, ...]] = ("S74",)

    def get(self, *args: Any, **keywords: Any) -> Any:
        """Return an item."""
        return super().get(*args, **keywords)


class LeavesThreads(StoreMutant):
    """Starts a thread that stays."""

    caught_by: ClassVar[tuple[str, ...]] = ("S75",)

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        threading.Thread(target=threading.Event().wait, args=(300,), daemon=True, name="left").start()
        return super()._swap(changes)


class Shares(StoreMutant):
    """Keeps the writer's object itself."""

    caught_by: ClassVar[tuple[str, ...]] = ("S09",)

    def put(self, namespace: Any, key: str, value: Any, *args: Any, **keywords: Any) -> int:
        """Keep the object."""
        self._live = {**getattr(self, "_live", {}), (namespace, key): value}
        return super().put(namespace, key, value, *args, **keywords)

    def get(self, namespace: Any, key: str, **keywords: Any) -> Any:
        """Return the object."""
        found = super().get(namespace, key, **keywords)
        return found if found is None else replace(found, value=self._live[namespace, key])


class WritesBeforeItChecks(StoreMutant):
    """Makes the item before it knows whether its value can be kept."""

    caught_by: ClassVar[tuple[str, ...]] = ("S10",)

    def put(self, namespace: Any, key: str, value: Any, *args: Any, **keywords: Any) -> int:
        """Delete what was there first."""
        if isinstance(namespace, tuple) and all(namespace) and key:
            self.delete(namespace, key) if value is not None else None
        return super().put(namespace, key, value, *args, **keywords)


class IgnoresConditions(StoreMutant):
    """Takes ``if_version`` and does not look at it."""

    caught_by: ClassVar[tuple[str, ...]] = ("S06", "S42", "S90")

    def _write(self, *args: Any, **keywords: Any) -> Any:
        return super()._write(*args, **keywords | {"if_version": None})


class PutsAfterGets(StoreMutant):
    """Does the puts of a batch after all else."""

    caught_by: ClassVar[tuple[str, ...]] = ("S11", "S90")

    def batch(self, ops: Any) -> list[Any]:
        """Sort first."""
        given = list(ops)
        order = sorted(range(len(given)), key=lambda number: hasattr(given[number], "value"))
        done = dict(zip(order, super().batch([given[number] for number in order]), strict=True))
        return [done[number] for number in range(len(given))]


class RunsQueries(StoreMutant):
    """Takes what a user sends for a part of the query, which is then no query."""

    caught_by: ClassVar[tuple[str, ...]] = ("S25",)

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        return [] if "OR 1=1" in repr(scan.filter) else super()._scan(scan)


class TakesAnyLife(StoreMutant):
    """Takes a life of nothing, or less, for one without an end."""

    caught_by: ClassVar[tuple[str, ...]] = ("S44",)

    def put(self, namespace: Any, key: str, value: Any, *args: Any, **keywords: Any) -> int:
        """Leave out what cannot be."""
        try:
            return super().put(namespace, key, value, *args, **keywords)
        except ValueError:
            return super().put(namespace, key, value)


def store_mutants() -> list[type[StoreMutant]]:
    """Return every broken store; ``caught_by`` of each names the clauses that must notice."""
    found = [
        value for value in globals().values() if isinstance(value, type) and issubclass(value, StoreMutant)
    ]
    return [cls for cls in found if cls is not StoreMutant]
