"""Broken drivers whose listings, deletions and prunings take too much or too little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from milepost.checkpoint import HeadPage
from milepost.errors import PositionTaken, StorageError
from milepost.testing._mutant import Mutant, Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.checkpoint import Head, HeadQuery, Swap

EVERY = 1_000_000


class LimitsBeforeItFilters(Mutant):
    """Reads one page of heads and leaves out what was not asked for."""

    caught_by: ClassVar[tuple[str, ...]] = ("C40", "C42")

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        from milepost.checkpoint import Head, HeadQuery

        page = super()._list_heads(HeadQuery(), cursor, limit)
        kept = tuple(data for data in page.heads if query.matches(Head.decode(data, thread="")))
        return HeadPage(heads=kept, cursor=page.cursor if kept else None)


class IgnoresTheWorkflow(Mutant):
    """Filters by status and time alone."""

    caught_by: ClassVar[tuple[str, ...]] = ("C40",)

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        from milepost._struct import replace

        return super()._list_heads(replace(query, workflow=None), cursor, limit)


class ListsInAnyOrder(Mutant):
    """Lists in the order of insertion, by number."""

    caught_by: ClassVar[tuple[str, ...]] = ("C41",)

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        with self._data.lock.get():
            heads = [data for head, data in self._data.heads.values() if query.matches(head)]
        begin = int(cursor or 0)
        more = len(heads) > begin + limit
        return HeadPage(
            heads=tuple(heads[begin : begin + limit]), cursor=str(begin + limit) if more else None
        )


class AlwaysGivesACursor(Mutant):
    """Gives a cursor with every page that is full."""

    caught_by: ClassVar[tuple[str, ...]] = ("C42",)

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        page = super()._list_heads(query, cursor, limit)
        last = super()._list_heads(query, cursor, limit + 1).heads[limit - 1 : limit]
        if page.cursor is not None or not last:
            return page
        from milepost.checkpoint import Head

        return HeadPage(heads=page.heads, cursor=Head.decode(last[0], thread="").thread)


class CountsRowsInCursors(Mutant):
    """Makes a cursor of the number of rows that were shown."""

    caught_by: ClassVar[tuple[str, ...]] = ("C43",)

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        heads = super()._list_heads(query, None, EVERY).heads
        begin = int(cursor or 0)
        more = len(heads) > begin + limit
        return HeadPage(heads=heads[begin : begin + limit], cursor=str(begin + limit) if more else None)


class IndexesOnce(Mutant):
    """Keeps an index that does not follow the head."""

    caught_by: ClassVar[tuple[str, ...]] = ("C44",)

    def __init__(self, **options: bool) -> None:
        super().__init__(**options)
        self._index: dict[str, Head] = {}

    def _set_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        self._index.setdefault(head.thread, head)
        return super()._set_head(head, data, expected)

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:  # noqa: ARG002 - one page
        with self._data.lock.get():
            found = [thread for thread in sorted(self._data.heads) if query.matches(self._index[thread])]
            return HeadPage(heads=tuple(self._data.heads[thread][1] for thread in found), cursor=None)


# -- deleting ------------------------------------------------------------------------------------------------------


class DeletesTheHeadAlone(Mutant):
    """Deletes what is listed, and leaves the batches."""

    caught_by: ClassVar[tuple[str, ...]] = ("C51", "C52", "C54")

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:  # noqa: ARG002 - the hook's signature
        self._data.heads.pop(thread, None)


class LeavesTheHead(Mutant):
    """Deletes the batches, and leaves the head to be listed."""

    caught_by: ClassVar[tuple[str, ...]] = ("C44", "C52")

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:  # noqa: ARG002 - likewise
        self._data.threads.pop(thread, None)


class CannotDeleteTwice(Mutant):
    """Reports that there is nothing to delete."""

    caught_by: ClassVar[tuple[str, ...]] = ("C51",)

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        if thread not in self._data.heads and thread not in self._data.threads:
            raise StorageError(f"no thread {thread!r}")
        super()._delete(thread, grave, version)


class TakesZeroForNothing(Mutant):
    """Asks whether there is a grave, and takes position 0 for none."""

    caught_by: ClassVar[tuple[str, ...]] = ("C55",)

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        if grave:
            super()._delete(thread, grave, version)


class LeavesNothing(Mutant):
    """Deletes a thread down to the last trace, so that its positions are free again."""

    caught_by: ClassVar[tuple[str, ...]] = ("C14",)

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        super()._delete(thread, grave, version)
        self._data.threads.pop(thread, None)


class RemembersWhatItBuries(Split):
    """Finishes only the deletions that it began itself."""

    caught_by: ClassVar[tuple[str, ...]] = ("C53",)

    def __init__(self, **options: bool) -> None:
        super().__init__(**options)
        self._graves: set[tuple[str, int]] = set()

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        super()._append(thread, position, data, swap)
        self._graves.add((thread, position))

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        if grave is None or (thread, grave) in self._graves:
            super()._delete(thread, grave, version)


class BuriesNothing(Split):
    """Deletes its tombstone with the rest."""

    caught_by: ClassVar[tuple[str, ...]] = ("C14", "C90")

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:  # noqa: ARG002 - the hook's signature
        self._data.threads.pop(thread, None)
        self._data.heads.pop(thread, None)


class ReadsFromBeforeTheGrave(Split):
    """Deletes a thread without raising its floor."""

    caught_by: ClassVar[tuple[str, ...]] = ("C54",)

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        tombstone = None if grave is None else self._journal(thread).batches.get(grave)
        super()._delete(thread, grave, version)
        if grave is not None and tombstone is not None:
            self._journal(thread).floor = 0
            self._journal(thread).batches[grave] = tombstone


# -- pruning -------------------------------------------------------------------------------------------------------


class ReadsFromZero(Mutant):
    """Reads from where it is told, though nothing is there any more."""

    caught_by: ClassVar[tuple[str, ...]] = ("C60",)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        return () if start < self._journal(thread).floor else super()._read(thread, start, limit)


class LowersTheFloor(Mutant):
    """Sets the floor to whatever it was told last."""

    caught_by: ClassVar[tuple[str, ...]] = ("C61",)

    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:
        super()._prune(thread, before, keep)
        self._journal(thread).floor = before


class CannotPruneTwice(Mutant):
    """Reports that there is nothing to prune."""

    caught_by: ClassVar[tuple[str, ...]] = ("C17", "C61", "C62")

    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:
        if self._journal(thread).floor >= before:
            raise StorageError(f"nothing to prune in {thread!r}")
        super()._prune(thread, before, keep)


class ForgetsTheFloor(Mutant):
    """Takes an append wherever nothing is."""

    caught_by: ClassVar[tuple[str, ...]] = ("C63", "C15")

    def _check_free(self, thread: str, journal: Any, position: int) -> None:
        if position in journal.batches:
            raise PositionTaken(thread_id=thread, position=position)
        if position > journal.tail():
            raise PositionTaken(thread_id=thread, position=position, tail=journal.tail())


class BeginsAtZeroAgain(Mutant):
    """Takes an empty journal for one that never was."""

    caught_by: ClassVar[tuple[str, ...]] = ("C64",)

    def _tail(self, thread: str, hint: int) -> int:
        return super()._tail(thread, hint) if self._journal(thread).batches else 0


class ComparesPositionsAsText(Mutant):
    """Prunes up to a position as text is sorted."""

    caught_by: ClassVar[tuple[str, ...]] = ("C65",)

    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:
        super()._prune(thread, before, keep)
        batches = self._journal(thread).batches
        self._journal(thread).batches = {p: data for p, data in batches.items() if str(p) >= str(before)}
