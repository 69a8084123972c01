"""A workflow's threads as wholes: listing, cancelling, copying, pruning, deleting."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from milepost import _context
from milepost._declared import I, R
from milepost._later import later
from milepost._states import States
from milepost._twin import iterated_twin, twin
from milepost.errors import NoCache, NoCheckpointer, ThreadBusy, WouldBlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime, timedelta

    from milepost import _caching, _claim, _clock, _engine, _owner, _travel
    from milepost import checkpoint as _checkpoint
    from milepost._declared import Place
    from milepost._engine import Engine
    from milepost._listing import AsyncThreads, PendingInterrupts, Threads
    from milepost._retention import Pruned
    from milepost._states import Config
    from milepost.checkpoint import Checkpointer, Head, Owner
else:
    _caching = later("_caching")
    _claim = later("_claim")
    _clock = later("_clock")
    _engine = later("_engine")
    _owner = later("_owner")
    _travel = later("_travel")
    _checkpoint = later("checkpoint")

_POLL_SECONDS: Final = 0.01
_PATIENCE: Final = 5.0


class Upkeep(States[I, R]):
    """The part of a workflow that looks after whole threads."""

    # -- which there are -----------------------------------------------------------------------------------------

    def list_threads(
        self,
        *,
        status: str | Iterable[str] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Threads:
        """List this workflow's threads, in the order of their ids, as their heads show them.

        Args:
            status: one status, or several; by default all.
            limit: how many at most; the iterator's ``cursor`` then goes on.
            cursor: where an earlier listing ended.

        Raises:
            NoCheckpointer: nothing is kept for this workflow.
            ValueError: there is no such status, or ``limit`` is below 1.
        """
        from milepost import _listing

        _, checkpointer = self._backend()
        return _listing.list_threads(
            checkpointer, status=status, workflow=self.name, limit=limit, cursor=cursor
        )

    def pending_interrupts(self) -> Iterator[PendingInterrupts]:
        """Yield what this workflow's threads ask, from their journals, in the order of thread ids.

        Raises:
            NoCheckpointer: nothing is kept for this workflow.
        """
        from milepost import _listing

        _, checkpointer = self._backend()
        return _listing.pending_interrupts(checkpointer, workflow=self.name)

    def alist_threads(
        self,
        *,
        status: str | Iterable[str] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> AsyncThreads:
        """Do what :meth:`list_threads` does, for ``async for``; what it raises, it raises at the first thread."""
        from milepost import _listing

        listed = partial(self.list_threads, status=status, limit=limit, cursor=cursor)
        return _listing.AsyncThreads(listed, cursor)

    apending_interrupts = iterated_twin(pending_interrupts)

    # -- stopping ------------------------------------------------------------------------------------------------

    def cancel(
        self,
        config: Config = None,
        *,
        thread_id: str | None = None,
        reason: str | None = None,
        timeout: float | None = None,
    ) -> None:
        """Cancel a thread's newest run; when this returns, it is on record as cancelled.

        A run under way begins no further task; those that have begun are awaited and recorded, and its caller gets
        ``RunCancelled``. Another process that runs it learns of it when it renews its lease, or looks (``poll``). The
        questions of a run that waits are withdrawn. ``invoke(None)`` goes on with a cancelled run, and asks again under
        the same ids; a new input abandons it. Cancelling it again does nothing. Called from within the run, this
        returns at once, and the run stops at its next call into milepost.

        Args:
            config: the thread.
            thread_id: the thread, in place of the config's.
            reason: why; recorded, and part of what the caller gets.
            timeout: seconds to wait for tasks that have begun.

        Raises:
            NothingToCancel: the run is over.
            ThreadBusy: a call of this process holds it for longer than a moment.
            TimeoutError: it has not stopped yet, and will when its tasks return.
            WouldBlock: it runs on the event loop of this thread: await :meth:`acancel`.
            UnknownThread, WrongWorkflow, NoCheckpointer, MissingThreadId: as they say.
        """
        checkpointer, thread, place = self._kept(config, thread_id)
        clock = place.engine.clock
        began = clock.monotonic()
        while True:
            head = checkpointer.load_head(thread)
            self._check_bound(head)
            execution = _under_way(head)
            if execution is None:
                if self._cancelled_elsewhere(place, head, reason, clock.monotonic() - began):
                    return
                _check_time(place, timeout, clock.monotonic() - began)
            elif _is_within(execution):
                execution.cancel(reason)
                return
            else:
                _check_loop(execution, thread)
                left = None if timeout is None else timeout - (clock.monotonic() - began)
                _await(execution.cancel(reason), execution.session, left, place)

    acancel = twin(cancel)

    def _cancelled_elsewhere(
        self, place: Place, head: Head | None, reason: str | None, waited: float
    ) -> bool:
        """Cancel a run that nobody executes here; False where it is under way, and will hear of it."""
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        try:
            self._change(place, _travel.Cancel(workflow=self.name, reason=reason))
        except ThreadBusy as busy:
            if busy.retry_after is not None:  # another process holds it, which its lease tells
                if head is not None and head.cancel is None:
                    _claim.ask_to_cancel(place.checkpointer, place.thread, head.run, reason)
            elif waited > _PATIENCE:
                raise
            place.engine.clock.wait(threading.Event(), _POLL_SECONDS if waited < 1 else 10 * _POLL_SECONDS)
            return False
        return True

    # -- keeping and dropping ------------------------------------------------------------------------------------

    def prune(
        self,
        *,
        keep_last: int | None = None,
        older_than: timedelta | float | datetime | None = None,
        threads: str | Iterable[str] | None = None,
    ) -> Pruned:
        """Drop runs that have ended, of all this workflow's threads or of these, while everything goes on.

        Of each thread the newest ``keep_last`` runs stay, and those that have not ended before ``older_than``. The
        newest stays in any case; while it is not done, so does what its ``previous`` is.

        Args:
            keep_last: how many runs of each thread stay, at least 1; one where only the age is given.
            older_than: a timedelta or seconds before now, or a datetime.
            threads: thread ids.

        Raises:
            WrongWorkflow: one of these threads belongs to another workflow.
            NoCheckpointer: nothing is kept for this workflow.
            ValueError: nothing is said, or what cannot be; see ``Retention``.
        """
        from milepost import _retention

        retention = _retention.Retention(keep_last=keep_last, older_than=older_than)
        engine, checkpointer = self._backend()
        names = self._named(checkpointer, threads)
        return _retention.prune_threads(checkpointer, names, retention, engine.clock.now())

    aprune = twin(prune)

    def _named(self, checkpointer: Checkpointer, threads: str | Iterable[str] | None) -> Iterator[str]:
        if threads is None:
            return (info.thread_id for info in self.list_threads())
        given = [threads] if isinstance(threads, str) else list(threads)
        names = [_checkpoint.check_thread_id(thread) for thread in given]
        for thread in names:
            self._check_bound(checkpointer.load_head(thread))
        return iter(names)

    def clear_cache(self) -> None:
        """Forget the results of this workflow in its cache (LangGraph's name); its tasks' are their own.

        Raises:
            NoCache: it has none.
            StorageError: the cache failed.
        """
        cache = _engine.current_engine().cache_for(self._origin, self._options.cache)
        if cache is None:
            raise NoCache(f"workflow {self.name!r} has no cache: pass cache= to @entrypoint or to the engine")
        cache.clear([_caching.namespace(kind, self._step) for kind in ("workflow", "nested")])

    aclear_cache = twin(clear_cache)

    def copy_thread(self, source: str, target: str) -> None:
        """Make a second thread with the journal of a first, in the same backend: runs, results, open questions.

        The two go on separately from there. A run under way in the source is cut off in the copy. Run ids and
        interrupt ids are the same in both; they are always used together with a thread's id.

        Raises:
            UnknownThread: nothing is on record for the source.
            TargetDiffers: the target is there already, or was deleted; nothing was overwritten.
            SourceChanged: the source was pruned or deleted meanwhile; the target was deleted.
            WrongWorkflow: the source belongs to another workflow.
            InvalidThreadId: the two are the same, or no thread ids.
            SignatureInvalid: a value is pickled, and signed for the source alone.
        """
        from milepost import _duplicate

        engine, checkpointer = self._backend()
        source, target = _checkpoint.check_thread_id(source), _checkpoint.check_thread_id(target)
        self._check_bound(checkpointer.load_head(source))
        _duplicate.duplicate(checkpointer, source, target, engine.clock, lease=engine.lease)

    acopy_thread = twin(copy_thread)

    def delete_thread(self, thread_id: str) -> None:
        """Delete a thread with all its runs; one that nobody has started is no error.

        Whoever runs it is told at the next write (``OwnershipLost``).

        Raises:
            WrongWorkflow: the thread belongs to another workflow.
            NoCheckpointer: nothing is kept for this workflow.
        """
        _, checkpointer = self._backend()
        thread = _checkpoint.check_thread_id(thread_id)
        self._check_bound(checkpointer.load_head(thread))
        checkpointer.delete(thread)

    adelete_thread = twin(delete_thread)

    def _backend(self) -> tuple[Engine, Checkpointer]:
        engine = _engine.current_engine()
        checkpointer = engine.checkpointer_for(self, self._options.checkpointer)
        if checkpointer is None:
            raise NoCheckpointer(f"workflow {self.name!r} has no checkpointer, so nothing is on record")
        return engine, checkpointer


def _under_way(head: Head | None) -> Any:
    """Return the execution that holds a thread, if it is one of this process."""
    if head is None or head.owner is None or not _owner.is_here(head.owner):
        return None
    return _engine.execution_of(head.owner.session)


def _check_time(place: Place, timeout: float | None, waited: float) -> None:
    """Refuse to wait any longer."""
    if timeout is not None and waited >= timeout:
        raise TimeoutError(
            f"the run on thread {place.thread!r} has not stopped in {timeout} s: the process that runs it was asked to"
        )


def _check_loop(execution: Any, thread: str) -> None:
    """Refuse to wait for a run whose coroutines need the loop that would wait."""
    if execution.plan.loop.is_here:
        raise WouldBlock(
            f"cancel() would block the event loop that the run on thread {thread!r} is on, perhaps for ever: "
            f"await acancel()"
        )


def _is_within(execution: Any) -> bool:
    """Tell whether this is called from a body or a task of that execution, or of one that it waits for."""
    frame = _context.frame()
    around = None if frame is None else frame.execution
    while around is not None:
        if around is execution:
            return True
        around = around.watch.around
    return False


def _await(over: threading.Event | None, session: Owner, seconds: float | None, place: Place) -> None:
    """Wait until an execution is over; None means that it is. One that Ctrl-C cut short has ended its session."""
    left = seconds
    while over is not None and not over.is_set() and _owner.is_here(session):
        if left is not None and left <= 0:
            raise TimeoutError(
                f"the run on thread {place.thread!r} has not stopped in {seconds} s: it stops, cancelled, when the "
                f"tasks that it has begun return"
            )
        look = _clock.LOOK_SECONDS if left is None else min(_clock.LOOK_SECONDS, left)
        over.wait(look)
        left = None if left is None else left - look
