"""What is on record across threads: which there are, and what they ask.

Heads are what is listed, and heads are hints: one may lag behind its journal for the moment between an append and the
head's change, or for longer where a process died in it. Pending questions are therefore read from the journals.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from milepost import _claim
from milepost._engine import current_engine
from milepost._run import pending
from milepost._struct import Struct
from milepost._twin import Iterated
from milepost.checkpoint import HeadQuery, Status
from milepost.errors import NoCheckpointer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from milepost.checkpoint import Checkpointer, Head, Owner
    from milepost.question import Interrupt

_PAGE = 100


class ThreadInfo(Struct):
    """A thread as its head shows it.

    ``updated`` is when the head last changed, ISO 8601 in UTC; ``pending`` the ids of what is asked; ``owner`` who
    works on it now. A ``running`` thread without a living owner was cut off: ``invoke(None)`` goes on with it, or an
    engine that recovers. ``principal`` is for whom its newest run was started (``start(owner=…)``), ``tags`` its tags.
    """

    thread_id: str
    workflow: str
    status: Status
    updated: str
    pending: tuple[str, ...] = ()
    owner: Owner | None = None
    principal: str | None = None
    tags: tuple[str, ...] = ()


class PendingInterrupts(Struct):
    """What a thread asks: answer with ``Command(resume=…)`` on that thread. ``since`` is ISO 8601 in UTC."""

    thread_id: str
    workflow: str
    checkpoint_id: str
    since: str
    interrupts: tuple[Interrupt, ...]


class Threads:
    """An iterator over :class:`ThreadInfo`, in the order of thread ids.

    ``cursor`` goes on after what was yielded, in any process: pass it to the same listing. None at the end.
    """

    def __init__(
        self, checkpointer: Checkpointer, query: HeadQuery, *, limit: int | None, cursor: str | None
    ) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit is how many threads to list, at least 1; not {limit}")
        self.cursor = cursor
        self._heads = self._listed(checkpointer, query, limit)

    def __iter__(self) -> Iterator[ThreadInfo]:
        return self

    def __next__(self) -> ThreadInfo:
        head = next(self._heads)
        return ThreadInfo(
            thread_id=head.thread,
            workflow=head.workflow,
            status=head.status,
            updated=head.updated,
            pending=head.pending,
            owner=head.owner,
            principal=head.principal,
            tags=head.tags,
        )

    def _listed(self, checkpointer: Checkpointer, query: HeadQuery, limit: int | None) -> Iterator[Head]:
        left = limit
        while left is None or left > 0:
            size = _PAGE if left is None else min(_PAGE, left)
            heads, self.cursor = checkpointer.list_heads(query, cursor=self.cursor, limit=size)
            yield from heads
            if self.cursor is None:
                return
            left = None if left is None else left - len(heads)


class AsyncThreads(Iterated[ThreadInfo]):
    """An asynchronous iterator over :class:`ThreadInfo`; ``cursor`` as :class:`Threads` has it."""

    def __init__(self, begin: Callable[[], Threads], cursor: str | None) -> None:
        super().__init__(begin)
        self._given = cursor

    @property
    def cursor(self) -> str | None:
        """What goes on after what was yielded, in any process. None at the end."""
        return self._iterator.cursor if isinstance(self._iterator, Threads) else self._given


def list_threads(
    checkpointer: str | Checkpointer | None = None,
    *,
    status: str | Iterable[str] | None = None,
    workflow: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> Threads:
    """List the threads of a backend, those of all workflows.

    Args:
        checkpointer: an opened driver or a URL; by default the current engine's.
        status: one status, or several.
        workflow: a workflow's name.
        limit: how many at most; the iterator's ``cursor`` then goes on.
        cursor: where an earlier listing ended.

    Raises:
        NoCheckpointer: none is given and the engine has none.
        ValueError: there is no such status, or ``limit`` is below 1.
    """
    query = HeadQuery(statuses=_statuses(status), workflow=workflow)
    return Threads(_opened(checkpointer), query, limit=limit, cursor=cursor)


def pending_interrupts(
    checkpointer: str | Checkpointer | None = None, *, workflow: str | None = None
) -> Iterator[PendingInterrupts]:
    """Yield what all threads of a backend ask, from their journals, in the order of thread ids.

    A thread whose process died between asking and saying so in the head counts, too.

    Args:
        checkpointer: an opened driver or a URL; by default the current engine's.
        workflow: only the threads of this workflow.

    Raises:
        NoCheckpointer: none is given and the engine has none.
    """
    return _asked(_opened(checkpointer), workflow)


def alist_threads(
    checkpointer: str | Checkpointer | None = None,
    *,
    status: str | Iterable[str] | None = None,
    workflow: str | None = None,
    limit: int | None = None,
    cursor: str | None = None,
) -> AsyncThreads:
    """Do what :func:`list_threads` does, for ``async for``; what it raises, it raises at the first thread."""
    listed = partial(list_threads, checkpointer, status=status, workflow=workflow, limit=limit, cursor=cursor)
    return AsyncThreads(listed, cursor)


def apending_interrupts(
    checkpointer: str | Checkpointer | None = None, *, workflow: str | None = None
) -> Iterated[PendingInterrupts]:
    """Do what :func:`pending_interrupts` does, for ``async for``; what it raises, it raises at the first thread."""
    return Iterated(partial(pending_interrupts, checkpointer, workflow=workflow))


def _asked(checkpointer: Checkpointer, workflow: str | None) -> Iterator[PendingInterrupts]:
    query = HeadQuery(statuses=(Status.INTERRUPTED, Status.RUNNING), workflow=workflow)
    for head in Threads(checkpointer, query, limit=None, cursor=None)._heads:  # noqa: SLF001 - its own module's
        run = _claim.read_thread(checkpointer, head.thread, head).run
        if run is not None and run.status is Status.INTERRUPTED:
            yield PendingInterrupts(
                thread_id=head.thread,
                workflow=run.started.workflow,
                checkpoint_id=run.id,
                since=run.rested or run.started.at,
                interrupts=pending(run),
            )


def _statuses(given: str | Iterable[str] | None) -> tuple[Status, ...] | None:
    if given is None:
        return None
    names = (given,) if isinstance(given, str) else tuple(given)
    for name in names:
        if name not in set(Status):
            raise ValueError(f"there is no status {name!r}; there are {', '.join(Status)}")
    return tuple(map(Status, names))


def _opened(given: str | Checkpointer | None) -> Checkpointer:
    engine = current_engine()
    found = engine.checkpointer_for(engine, given)
    if found is None:
        raise NoCheckpointer(
            "no checkpointer is given, and the current engine has none: nothing is on record"
        )
    return found
