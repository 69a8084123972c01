"""What all broken drivers are before they are broken: the memory driver, with a schema and with keys to bend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from milepost.errors import SchemaTooNew
from milepost.memory import MemoryCheckpointer, _Journal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.checkpoint import Head, Swap

MOMENT: Final = 0.002
"""Seconds for which what is half done can be seen."""

SCHEMA: Final = 1


class Mutant(MemoryCheckpointer):
    """The memory driver with one fault that some driver has had; this one has none yet.

    ``caught_by`` names the clauses that must notice. ``schemas`` holds the schema version of each place by name.
    """

    caught_by: ClassVar[tuple[str, ...]] = ()
    schemas: ClassVar[dict[str, int]] = {}

    def _check_open(self) -> None:
        super()._check_open()
        if self.schemas.get(self._name, SCHEMA) > SCHEMA:
            raise SchemaTooNew(f"{self!r} was written by a later version: upgrade milepost")

    def _journal(self, thread: str) -> _Journal:
        return self._data.threads.setdefault(thread, _Journal())


class Split(Mutant):
    """The same without ATOMIC_HEAD and CHECKED_TAIL."""

    def __init__(self, **_: Any) -> None:
        super().__init__(atomic_head=False, checked_tail=False)


class Bent(Mutant):
    """The same with keys that are not the thread ids."""

    def _key(self, thread: str) -> str:
        return thread

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        super()._append(self._key(thread), position, data, swap)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        return super()._read(self._key(thread), start, limit)

    def _tail(self, thread: str, hint: int) -> int:
        return super()._tail(self._key(thread), hint)

    def _load_head(self, thread: str) -> bytes | None:
        return super()._load_head(self._key(thread))

    def _set_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        key = self._key(head.thread)
        found = self._data.heads.get(key)
        if (None if found is None else found[0].version) != expected:
            return False
        self._data.heads[key] = (head, data)
        return True
