"""Broken drivers whose journals do not hold what was appended, or show what was not."""

from __future__ import annotations

import threading
import unicodedata
from typing import TYPE_CHECKING, Any, ClassVar, Final

from milepost.errors import PositionTaken, StorageUnavailable
from milepost.testing._mutant import MOMENT, Bent, Mutant, Split

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from milepost.checkpoint import Batch, Swap

SMALL: Final = 100
"""A page that is taken for the whole."""


# -- appending -----------------------------------------------------------------------------------------------------


class Overwrites(Mutant):
    """Puts without a condition: the last writer wins."""

    caught_by: ClassVar[tuple[str, ...]] = ("C04", "C06", "C11", "C13")

    def _check_free(self, thread: str, journal: Any, position: int) -> None:
        pass


class LooksFirst(Mutant):
    """Looks whether the position is free, and writes in a second step."""

    caught_by: ClassVar[tuple[str, ...]] = ("C06", "C07")

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        with self._data.lock.get():
            free = not position < self._journal(thread).tail()
        threading.Event().wait(MOMENT)
        if not free:
            raise PositionTaken(thread_id=thread, position=position)
        with self._data.lock.get():
            self._journal(thread).batches[position] = data
            if swap is not None:
                self._set_head(swap.head, swap.head.encode(), swap.expected)


class LeavesGaps(Mutant):
    """Declares CHECKED_TAIL and does not check."""

    caught_by: ClassVar[tuple[str, ...]] = ("C05",)

    def _check_free(self, thread: str, journal: Any, position: int) -> None:
        if position < journal.floor or position in journal.batches:
            raise PositionTaken(thread_id=thread, position=position)


class ReadsPastGaps(Split):
    """Lists what there is, with no eye for gaps."""

    caught_by: ClassVar[tuple[str, ...]] = ("C05",)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        with self._data.lock.get():
            journal = self._journal(thread)
            found = sorted((p, d) for p, d in journal.batches.items() if p >= max(start, journal.floor))
        return [(start + number, data) for number, (_, data) in enumerate(found[:limit])]

    def _tail(self, thread: str, hint: int) -> int:  # noqa: ARG002 - the hook's signature
        with self._data.lock.get():
            return max([*self._journal(thread).batches, self._journal(thread).floor - 1, -1]) + 1


class LosesNulBytes(Mutant):
    """Keeps bytes as text, which ends at NUL."""

    caught_by: ClassVar[tuple[str, ...]] = ("C02",)

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        super()._append(thread, position, data.partition(b"\0")[0], swap)


class CutsLongValues(Mutant):
    """Keeps values in a column of one mebibyte."""

    caught_by: ClassVar[tuple[str, ...]] = ("C03",)

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        super()._append(thread, position, data[: 2**21], swap)


class SendsWhatIsTooLarge(Mutant):
    """Leaves the limit to the backend, which takes what fits."""

    caught_by: ClassVar[tuple[str, ...]] = ("C09", "C77")

    def append(self, thread: str, position: int, batch: Batch, swap: Swap | None = None) -> None:
        """Append, in place of the final method."""
        limit, self.max_batch_bytes = self.max_batch_bytes, None
        try:
            super().append(thread, position, batch, swap)
        finally:
            self.max_batch_bytes = limit


class TakesItselfForARival(Mutant):
    """Does not look whose the batch at a taken position is."""

    caught_by: ClassVar[tuple[str, ...]] = ("C08",)

    def _was_applied(self, *_: object, **__: object) -> bool:
        return False


class TriesTheNextPosition(Mutant):
    """Appends at the next position where this one is taken."""

    caught_by: ClassVar[tuple[str, ...]] = ("C10", "C11", "C12", "C13")

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        with self._data.lock.get():
            position = max(position, self._journal(thread).tail())
        super()._append(thread, position, data, swap)


class ReversesPages(Mutant):
    """Returns the newest batch first."""

    caught_by: ClassVar[tuple[str, ...]] = ("C01",)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        found = super()._read(thread, start, limit)
        return list(zip((p for p, _ in found), (d for _, d in reversed(found)), strict=True))


# -- reading -------------------------------------------------------------------------------------------------------


class EndsAtItsFirstPage(Mutant):
    """Reads a journal up to where the backend's first page ends."""

    caught_by: ClassVar[tuple[str, ...]] = ("C20",)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        return super()._read(thread, start, min(limit, SMALL))


class EndsAtItsFirstThousand(Mutant):
    """Lists a thousand keys, and takes them for all."""

    caught_by: ClassVar[tuple[str, ...]] = ("C21",)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        return [entry for entry in super()._read(thread, start, limit) if entry[0] < SMALL * 10]


class ShowsHalfABatch(Mutant):
    """Writes a batch in two steps."""

    caught_by: ClassVar[tuple[str, ...]] = ("C23",)

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        super()._append(thread, position, data[: len(data) // 2], swap)
        threading.Event().wait(MOMENT)
        with self._data.lock.get():
            self._journal(thread).batches[position] = data


class LocksWhileReading(Mutant):
    """Holds its lock as long as somebody iterates."""

    caught_by: ClassVar[tuple[str, ...]] = ("C22",)

    def __init__(self, **options: bool) -> None:
        super().__init__(**options)
        self._reading = threading.Lock()

    def read(self, thread: str, start: int = 0, limit: int | None = None) -> Iterator[tuple[int, Batch]]:
        """Read, in place of the final method."""
        with self._reading:
            yield from super().read(thread, start, limit)

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        if not self._reading.acquire(timeout=1):
            raise StorageUnavailable("locked")
        self._reading.release()
        super()._append(thread, position, data, swap)


class ReadsWhatWas(Mutant):
    """Answers from a copy that it took at its first read."""

    caught_by: ClassVar[tuple[str, ...]] = ("C26",)

    def __init__(self, **options: bool) -> None:
        super().__init__(**options)
        self._seen: dict[str, Sequence[tuple[int, bytes]]] = {}

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        found = self._seen.setdefault(thread, super()._read(thread, 0, 10_000))
        return [entry for entry in found if entry[0] >= start][:limit]


class HidesDamage(Mutant):
    """Passes over batches that it cannot read."""

    caught_by: ClassVar[tuple[str, ...]] = ("C24",)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        return [
            entry for entry in super()._read(thread, start, limit) if entry[1].startswith(b'{"format":1,')
        ]


class SwallowsFaults(Mutant):
    """Answers with nothing where the backend does not answer."""

    caught_by: ClassVar[tuple[str, ...]] = ("C16",)

    def _retrying(self, hook: Any, *args: Any) -> Any:
        try:
            return hook(*args)
        except StorageUnavailable:
            return () if hook.__name__ == "_read" else None


class GivesUpAtOnce(Mutant):
    """Sends nothing again."""

    caught_by: ClassVar[tuple[str, ...]] = ("C16",)

    def _sendings(self) -> Iterator[bool]:
        self._check_open()
        yield False


class CountsItsTail(Mutant):
    """Keeps the tail in a counter that it never corrects."""

    caught_by: ClassVar[tuple[str, ...]] = ("C27", "C21")

    def _tail(self, thread: str, hint: int) -> int:
        return min(super()._tail(thread, hint), 10)


class TrustsTheHint(Mutant):
    """Takes the hint for the tail."""

    caught_by: ClassVar[tuple[str, ...]] = ("C27",)

    def _tail(self, thread: str, hint: int) -> int:
        return hint or super()._tail(thread, hint)


# -- ids -----------------------------------------------------------------------------------------------------------


class FoldsIds(Bent):
    """Compares ids as case-insensitive collations and normalising file systems do."""

    caught_by: ClassVar[tuple[str, ...]] = ("C25", "C41")

    def _key(self, thread: str) -> str:
        return unicodedata.normalize("NFC", thread).casefold().rstrip(" ").partition("\0")[0]


class CutsIds(Bent):
    """Keeps the first 200 bytes of an id."""

    caught_by: ClassVar[tuple[str, ...]] = ("C25",)

    def _key(self, thread: str) -> str:
        return thread[:200]


class DeletesByPrefix(Mutant):
    """Deletes whatever begins with the id."""

    caught_by: ClassVar[tuple[str, ...]] = ("C50",)

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        for other in [name for name in self._data.threads if name.startswith(thread)]:
            super()._delete(other, grave, version)


class PrunesByPrefix(Mutant):
    """Prunes whatever begins with the id."""

    caught_by: ClassVar[tuple[str, ...]] = ("C65",)

    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:
        for other in [name for name in self._data.threads if name.startswith(thread)]:
            super()._prune(other, before, keep)
