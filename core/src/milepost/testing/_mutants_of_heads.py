"""Broken drivers whose heads are not compared, not current, or not in step with the journal."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

from milepost import _ids
from milepost._struct import replace
from milepost.errors import HeadMoved
from milepost.testing._mutant import MOMENT, Mutant, Split

if TYPE_CHECKING:
    from milepost.checkpoint import Batch, Head, Swap


class SwapsWithoutComparing(Mutant):
    """Sets a head whatever its version is."""

    caught_by: ClassVar[tuple[str, ...]] = ("C30", "C31", "C90")

    def _set_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        found = self._data.heads.get(head.thread)
        return super()._set_head(head, data, found[0].version if found else None) or expected is None


class ReadsStaleHeads(Mutant):
    """Answers with the head that it saw first."""

    caught_by: ClassVar[tuple[str, ...]] = ("C26", "C30")

    def __init__(self, **options: bool) -> None:
        super().__init__(**options)
        self._cache: dict[str, bytes | None] = {}

    def _load_head(self, thread: str) -> bytes | None:
        found = super()._load_head(thread)
        return self._cache.setdefault(thread, found) if found is not None else None


class TakesNewestByTime(Mutant):
    """Keeps the head whose ``updated`` is the later one."""

    caught_by: ClassVar[tuple[str, ...]] = ("C38",)

    def _set_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        found = self._data.heads.get(head.thread)
        if found is not None and found[0].version == expected and found[0].updated > head.updated:
            return True
        return super()._set_head(head, data, expected)


class ComparesInTwoSteps(Mutant):
    """Reads the version, and writes in a second step."""

    caught_by: ClassVar[tuple[str, ...]] = ("C31",)

    def _swap_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        with self._data.lock.get():
            found = self._data.heads.get(head.thread)
        if (None if found is None else found[0].version) != expected:
            return False
        threading.Event().wait(MOMENT)
        with self._data.lock.get():
            self._data.heads[head.thread] = (head, data)
        return True


class KeepsANonceOfItsOwn(Mutant):
    """Replaces the nonce by one that it makes."""

    caught_by: ClassVar[tuple[str, ...]] = ("C30", "C32")

    def _set_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        own = replace(head, nonce=_ids.token())
        return super()._set_head(own, own.encode() if data == head.encode() else data, expected)


class AppendsThenSwaps(Mutant):
    """Declares ATOMIC_HEAD and does it in two steps."""

    caught_by: ClassVar[tuple[str, ...]] = ("C33", "C35")

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        super()._append(thread, position, data, None)
        if swap is not None:
            self._swap_head(swap.head, swap.head.encode(), swap.expected)


class SwapsThenAppends(Mutant):
    """Declares ATOMIC_HEAD, and sets the head before it looks at the position."""

    caught_by: ClassVar[tuple[str, ...]] = ("C33", "C35", "C36")

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        if swap is not None and not self._swap_head(swap.head, swap.head.encode(), swap.expected):
            raise HeadMoved(thread_id=thread, expected=swap.expected)
        super()._append(thread, position, data, None)


class IgnoresTheSwap(Split):
    """Takes an append with a swap, and forgets the swap."""

    caught_by: ClassVar[tuple[str, ...]] = ("C34",)

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:  # noqa: ARG002 - the fault
        super()._append(thread, position, data, None)


class WakesInTheWrongOrder(Split):
    """Appends before it takes the head."""

    caught_by: ClassVar[tuple[str, ...]] = ("C77",)

    def wake(self, thread: str, position: int, batch: Batch, swap: Swap) -> None:
        """Take a thread, in place of the final method."""
        self.append(thread, position, batch)
        self.swap_head(swap)


class RestsInTheWrongOrder(Split):
    """Lays the head down before it appends."""

    caught_by: ClassVar[tuple[str, ...]] = ("C77",)

    def rest(self, thread: str, position: int, batch: Batch, swap: Swap) -> bool:
        """Lay a thread down, in place of the final method."""
        laid = self.swap_head(swap)
        self.append(thread, position, batch)
        return laid


class ReadsNewerHeads(Mutant):
    """Makes an empty head of one that it does not understand."""

    caught_by: ClassVar[tuple[str, ...]] = ("C37",)

    def _load_head(self, thread: str) -> bytes | None:
        found = super()._load_head(thread)
        return found if found is not None and found.startswith(b'{"format":1,') else None


class KeepsHeadAndJournalInOne(Mutant):
    """Keeps head and journal in one document, and replaces it whole."""

    caught_by: ClassVar[tuple[str, ...]] = ("C39",)

    def _swap_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        swapped = super()._swap_head(head, data, expected)
        if swapped and expected is not None:
            self._data.threads.pop(head.thread, None)
        return swapped
