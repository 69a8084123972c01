"""A milepost driver that keeps journals and heads as files in a directory of a local disk (Linux, macOS)."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import NamedTuple

from milepost.checkpoint import Capability, Checkpointer, Head, HeadPage, HeadQuery, Swap
from milepost.errors import InvalidURL, PositionTaken, SchemaTooNew, StorageError, StorageUnavailable
from milepost.url import URL, unquote

FORMAT = b"1"


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a ``files:`` URL."""

    sync: bool = True


class State(NamedTuple):
    """What a thread's file ``state`` holds: the floor, and the head with its version."""

    floor: int = 0
    version: int | None = None
    head: bytes | None = None

    @classmethod
    def read(cls, file: Path) -> State:
        """Read the file: numbers in the first line, the head in the second."""
        numbers, _, head = file.read_bytes().partition(b"\n")
        floor, version = map(int, numbers.split())
        return cls(floor, version, head) if head else cls(floor)

    def encode(self) -> bytes:
        """Return what the file holds."""
        return b"%d %d\n%b" % (self.floor, self.version or 0, self.head or b"")


class FilesCheckpointer(Checkpointer):
    """Keeps a folder per thread: a file per batch, and ``state`` with floor and head. ``sync`` is for power cuts."""

    DRIVER_API = 1
    options = Options
    capabilities = frozenset({Capability.CHECKED_TAIL, Capability.DURABLE, Capability.MULTI_PROCESS})

    def __init__(self, root: str | os.PathLike[str], *, sync: bool = True) -> None:
        self.root = Path(root).absolute()
        self.sync = sync

    @classmethod
    def from_url(cls, url: URL) -> FilesCheckpointer:
        """Make a driver for ``files:///relative/folder`` or ``files:////absolute/folder``."""
        path = unquote(url.path.removeprefix("/"))
        if url.netloc or not path or "\0" in path:
            raise InvalidURL(f"{str(url)!r} names no folder: write files:///journals")
        return cls(path, sync=url.options(Options).sync)

    def __repr__(self) -> str:
        return f"FilesCheckpointer({str(self.root)!r})"

    def _open(self) -> None:
        with self._locked():
            pass

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        if swap is not None:
            raise StorageError(f"{self!r} cannot change a head together with an append")
        with self._locked():
            folder, floor = self._folder(thread), self._state(thread).floor
            gap = position > floor and not _batch(folder, position - 1).exists()
            if gap or position < floor or _batch(folder, position).exists():
                tail = _end(folder, floor) if gap else None
                raise PositionTaken(thread_id=thread, position=position, tail=tail)
            os.link(self._written(folder, data), _batch(folder, position))  # fails where the name exists
            self._sync(folder)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        with self._locked():
            folder, first = self._folder(thread), max(start, self._state(thread).floor)
            positions = range(first, _end(folder, first, limit))
            return [(position, _batch(folder, position).read_bytes()) for position in positions]

    def _tail(self, thread: str, hint: int) -> int:
        with self._locked():
            return _end(self._folder(thread), max(hint, self._state(thread).floor))

    def _load_head(self, thread: str) -> bytes | None:
        with self._locked():
            return self._state(thread).head

    def _swap_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        with self._locked():
            now = self._state(head.thread)
            if now.version == expected:
                self._set_state(head.thread, State(now.floor, head.version, data))
            return now.version == expected

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        with self._locked():
            found = [state.head for state in map(State.read, self.root.glob("*/state")) if state.head]
        heads = {Head.decode(data, thread="(listed)"): data for data in found}
        wanted = [head for head in heads if (cursor is None or head.thread > cursor) and query.matches(head)]
        page = sorted(wanted, key=lambda head: head.thread)[: limit + 1]
        more = page[limit - 1].thread if len(page) > limit else None
        return HeadPage(heads=tuple(heads[head] for head in page[:limit]), cursor=more)

    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:  # noqa: ARG002 - the tail is checked
        with self._locked():
            now = self._state(thread)
            self._set_state(thread, now._replace(floor=max(now.floor, before)))
            self._sweep(thread)

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        with self._locked():
            if grave is not None:
                now = self._state(thread)
                left = State() if now.version == version else now
                self._set_state(thread, left._replace(floor=max(now.floor, grave + 1)))
            self._sweep(thread)

    # -- files: all of it under the lock -----------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with (self.root / "lock").open("a+b") as lock:  # each time: so threads exclude each other, too
                fcntl.flock(lock, fcntl.LOCK_EX)
                lock.seek(0)
                if (found := lock.read()) not in {b"", FORMAT}:
                    raise SchemaTooNew(f"{self.root} has a later format: upgrade milepost-files")
                if not found:
                    lock.write(FORMAT)
                yield
        except OSError as error:
            raise StorageUnavailable(f"{self!r}: {error}") from error

    def _folder(self, thread: str) -> Path:
        return self.root / sha256(thread.encode()).hexdigest()  # an id may be longer than a file name

    def _state(self, thread: str) -> State:
        file = self._folder(thread) / "state"
        return State.read(file) if file.exists() else State()

    def _set_state(self, thread: str, state: State) -> None:
        folder = self._folder(thread)
        self._written(folder, state.encode()).replace(folder / "state")  # floor and head in one step
        self._sync(folder)

    def _sweep(self, thread: str) -> None:
        floor, folder = self._state(thread).floor, self._folder(thread)
        for file in folder.glob("[0-9]*"):
            if int(file.name) < floor:
                file.unlink()

    def _written(self, folder: Path, data: bytes) -> Path:
        folder.mkdir(exist_ok=True)
        self._sync(self.root)
        new = folder / "new"
        new.unlink(missing_ok=True)  # it may be another name of the last batch: never write into it
        new.write_bytes(data)
        self._sync(new)
        return new

    def _sync(self, path: Path) -> None:
        if self.sync:
            opened = os.open(path, os.O_RDONLY)
            os.fsync(opened)
            os.close(opened)


def _batch(folder: Path, position: int) -> Path:
    return folder / f"{position:012d}"


def _end(folder: Path, position: int, limit: float = float("inf")) -> int:
    """Return the first position from this one on that is free, at most ``limit`` further."""
    return next(at for at in count(position) if at >= position + limit or not _batch(folder, at).exists())
