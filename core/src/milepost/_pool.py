"""Worker threads: a bounded ThreadPoolExecutor that no nesting of waits can block.

A worker that waits gives its slot back, and a spare thread takes its place for as long as it waits; so there are never
more than ``size`` workers at work, and never fewer while there is work. Whoever waits for a job that nobody has begun
runs it himself, so most jobs never meet this pool at all.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from milepost.fork import PerProcess

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class Job(Protocol):
    """Work that several threads may want to begin; the first to claim it does."""

    def claim(self) -> bool:
        """Return True to exactly one caller."""
        ...

    def run(self) -> None:
        """Do the work; raises nothing."""
        ...


class _Workers:
    """One process's threads and queue."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queue: deque[Job] = deque()
        self.active = 0  # workers that may run jobs: neither waiting nor idle
        self.waking = 0  # of those, the ones that have not looked at the queue yet
        self.seated = 0  # workers that sit in the executor, waiting ones included
        self.executor: ThreadPoolExecutor | None = None


class Loan:
    """A worker's slot, lent to a thread that works in its place until the worker calls it back."""

    __slots__ = ("_called_back", "_resting", "_workers")

    def __init__(self, workers: _Workers | None) -> None:
        self._workers = workers
        self._called_back = False
        self._resting = False

    def __enter__(self) -> None:
        _here.workers, _here.waits, _here.loan = self._workers, 0, self

    def __exit__(self, *_: object) -> None:
        _here.workers, _here.waits, _here.loan = None, 0, None

    def rest(self, change: int) -> int:
        """Return what a wait's begin (-1) or end (1) changes in the count of workers at work; its lock is held."""
        self._resting = change < 0
        return 0 if self._called_back else change

    def call_back(self) -> None:
        """Take the slot back, into this thread; from now on the other has none."""
        if self._workers is not None:
            with self._workers.lock:
                self._called_back = True
                self._workers.active += self._resting


class _Local(threading.local):
    workers: _Workers | None = None
    waits = 0
    loan: Loan | None = None


_here = _Local()


def _leave() -> None:
    """A forked child of a worker is no worker: the pool stayed with its parent."""
    _here.workers, _here.waits, _here.loan = None, 0, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave)


class Pool:
    """At most ``size`` workers at work at any time, made at the first job and made again after a fork."""

    is_limited = False
    """Whether whoever waits for a job must leave it to the workers."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._workers: PerProcess[_Workers] = PerProcess(_Workers)

    @property
    def beside(self) -> Pool:
        """The workers for what is no task."""
        return self

    def slot_of(self, path: str) -> Any:  # noqa: ARG002 - without a limit there are none
        """Return the slot of a call that runs as a coroutine; None where it needs none."""
        return None

    def ended(self, path: str) -> None:
        """Free the slot of a call that has ended as a coroutine, or waits for its next attempt."""

    def submit(self, job: Job) -> None:
        """Queue a job; some worker will claim it, unless somebody else does first."""
        workers = self._workers.get()
        with workers.lock:
            workers.queue.append(job)
            wake = self._may_wake(workers)
        if wake:
            self._start(workers)

    def begin_wait(self) -> None:
        """Tell that this thread is about to wait; in a worker that frees its slot."""
        workers = _here.workers
        if workers is None:
            return
        _here.waits += 1
        if _here.waits == 1:
            with workers.lock:
                workers.active += -1 if _here.loan is None else _here.loan.rest(-1)
                wake = self._may_wake(workers)
            if wake:
                self._start(workers)

    def end_wait(self) -> None:
        """Tell that this thread goes on; for a while there may be a worker too many."""
        workers = _here.workers
        if workers is None or _here.waits == 0:
            return
        _here.waits -= 1
        if _here.waits == 0:
            with workers.lock:
                workers.active += 1 if _here.loan is None else _here.loan.rest(1)

    def end_wait_later(self) -> None:
        """Tell that this thread goes on, where it holds a lock and so must not wait for its turn; here nobody does."""
        self.end_wait()

    def catch_up(self) -> None:
        """Wait for the turn that this thread has gone on without; here there is none."""

    def lend(self) -> Loan:
        """Return this thread's slot for another thread to work in; a thread that is no worker lends none."""
        return Loan(_here.workers)

    def close(self) -> None:
        """Let the threads end; running jobs are waited for."""
        workers = self._workers.peek()
        if workers is not None and workers.executor is not None:
            workers.executor.shutdown(wait=True)

    def _may_wake(self, workers: _Workers) -> bool:
        # One waking worker is enough: it wakes the next when it finds more than one job.
        if not workers.queue or workers.waking or workers.active >= self.size:
            return False
        workers.active += 1
        workers.waking += 1
        return True

    def _start(self, workers: _Workers) -> None:
        with workers.lock:
            seat = workers.seated < self.size
            if seat:
                workers.seated += 1
                if workers.executor is None:
                    from concurrent.futures import ThreadPoolExecutor

                    workers.executor = ThreadPoolExecutor(self.size, thread_name_prefix="milepost")
        try:
            if seat and workers.executor is not None:
                workers.executor.submit(self._work, workers, seat)
            else:
                threading.Thread(target=self._work, args=(workers, seat), name="milepost-spare").start()
        except RuntimeError:
            # No new thread while the interpreter ends. Whoever waits for the queued jobs runs them.
            with workers.lock:
                workers.active -= 1
                workers.waking -= 1
                workers.seated -= seat

    def _work(self, workers: _Workers, seat: bool) -> None:  # noqa: FBT001 - an executor passes positionally
        _here.workers, _here.waits = workers, 0
        first = True
        try:
            while (job := self._next(workers, seat, first)) is not None:
                first = False
                if job.claim():
                    job.run()
                del job
        finally:
            _here.workers = None

    def _next(self, workers: _Workers, seat: bool, first: bool) -> Job | None:  # noqa: FBT001
        with workers.lock:
            workers.waking -= first
            if workers.active > self.size or not workers.queue:
                workers.active -= 1
                workers.seated -= seat
                return None
            job = workers.queue.popleft()
            wake = self._may_wake(workers)
        if wake:
            self._start(workers)
        return job
