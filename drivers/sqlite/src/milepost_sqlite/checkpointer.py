"""The checkpointer for SQLite: a batch is a row, and its head changes in the same transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from milepost.checkpoint import Capability, Checkpointer, HeadPage
from milepost.errors import HeadMoved, PositionTaken
from milepost_sqlite import _layout
from milepost_sqlite._client import Client, KeyTaken
from milepost_sqlite._place import SQLiteOptions, path_of, settings

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from milepost.checkpoint import Head, HeadQuery, Swap
    from milepost.url import URL
    from milepost_sqlite._client import Write

_IN_MEMORY = frozenset({Capability.ATOMIC_HEAD, Capability.CHECKED_TAIL, Capability.INDEXED_HEADS})


class SQLiteCheckpointer(Checkpointer):
    """Keeps journals and heads in one SQLite file that any number of processes of one host may share.

    ``path`` is resolved against the working directory once, here; ``":memory:"`` is a private database that
    dies with the driver and does not cross a fork. With ``synchronous="full"`` an acknowledged append
    survives a power cut; with ``"normal"`` it survives the process, and a power cut may take the last ones.
    ``timeout`` is how long, in seconds, to wait for another connection's write. ``mkdir`` makes the missing
    directories of the path.

    Raises:
        InvalidURL: ``synchronous`` or ``timeout`` has no such value.
    """

    DRIVER_API = 1
    options = SQLiteOptions
    capabilities = _IN_MEMORY | {Capability.DURABLE, Capability.MULTI_PROCESS}
    max_batch_bytes: int | None = _layout.LARGEST_ROW - _layout.ROW_BYTES

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        synchronous: Literal["full", "normal"] = "full",
        timeout: float = 30.0,
        mkdir: bool = False,
    ) -> None:
        place = settings(path, synchronous=synchronous, timeout=timeout, mkdir=mkdir)
        self.path = place.path
        self._client = Client(place, component=_layout.COMPONENT, steps=_layout.STEPS)
        if self._client.in_memory:
            self.capabilities = _IN_MEMORY

    @classmethod
    def from_url(cls, url: URL) -> SQLiteCheckpointer:
        """Make a driver for ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``sqlite://`` (memory).

        Raises:
            InvalidURL: the path is missing or stands where a host would, or an option is not understood.
        """
        options = url.options(SQLiteOptions)
        return cls(
            path_of(url), synchronous=options.synchronous, timeout=options.timeout, mkdir=options.mkdir
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def _open(self) -> None:
        self._client.open()

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        def write_both(write: Write) -> None:
            self._write(write, thread, position, data)
            if swap is None:
                return
            if not write(*_layout.swap_head(swap.head, swap.head.encode(), swap.expected)):
                raise HeadMoved(thread_id=thread, expected=swap.expected)

        try:
            self._client.transact(write_both)
        except KeyTaken:
            raise PositionTaken(thread_id=thread, position=position) from None

    def _write(self, write: Write, thread: str, position: int, data: bytes) -> None:
        if not write(_layout.APPEND, (thread, position, data)):
            tail = self._tail(thread, 0)
            raise PositionTaken(thread_id=thread, position=position, tail=tail if position > tail else None)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        return self._client.query(_layout.READ, (thread, start, limit))

    def _tail(self, thread: str, hint: int) -> int:
        ((tail,),) = self._client.query(_layout.TAIL, (thread,))
        return max(hint, int(tail))

    def _load_head(self, thread: str) -> bytes | None:
        for (data,) in self._client.query(_layout.LOAD_HEAD, (thread,)):
            return bytes(data)
        return None

    def _swap_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        swap = _layout.swap_head(head, data, expected)
        return self._client.transact(lambda write: write(*swap) > 0)

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        rows = self._client.query(*_layout.list_heads(query, cursor, limit + 1))
        page = rows[:limit]
        return HeadPage(
            heads=tuple(data for _, data in page), cursor=page[-1][0] if len(rows) > limit else None
        )

    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:  # noqa: ARG002 - the tail is checked
        def write_both(write: Write) -> None:
            write(_layout.PRUNE, (thread, before))
            write(_layout.STUB, (thread, before - 1))

        self._client.transact(write_both)

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        def write_all(write: Write) -> None:
            write(_layout.PRUNE, (thread, grave))
            write(_layout.EMPTY, (thread, grave))
            write(_layout.DELETE_HEAD, (thread, version))

        if grave is not None:
            self._client.transact(write_all)

    def _close(self) -> None:
        self._client.close()
