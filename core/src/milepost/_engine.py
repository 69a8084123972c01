"""The running machine: worker threads, clock, drivers, leases; the one that is current here."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from milepost import _context
from milepost._async import Loop
from milepost._clock import SystemClock
from milepost._lease import Keeper, Watch
from milepost._pool import Pool
from milepost._recovery import Recovery
from milepost._slots import Slots
from milepost._timer import Timer
from milepost._twin import twin
from milepost.errors import EngineClosed, NoCheckpointer, WouldBlock
from milepost.fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

    from milepost._clock import Clock
    from milepost.cache import Cache
    from milepost.checkpoint import Checkpointer
    from milepost.run import Run
    from milepost.store import Store


class Startable(Protocol):
    """What ``@entrypoint`` makes, as far as the engine calls it."""

    @property
    def start(self) -> Callable[..., Run]:
        """What starts a run in the background."""


D = TypeVar("D")

CHECKPOINTER_VARIABLE: Final = "MILEPOST_CHECKPOINTER"
STORE_VARIABLE: Final = "MILEPOST_STORE"
LEASE_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 60.0
POLL_SECONDS: Final = 2.0
MAX_RECOVERIES: Final = 5
_POLL_SECONDS: Final = 0.01


class _Running:
    """The executions of one process's engine, and whether it lets new steps begin."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads: dict[object, int] = {}
        self.executions: dict[str, Any] = {}  # by session
        self.closing = False


class _Opened:
    """Drivers that were opened from URLs: equal URLs share one, except ``memory://``, which is its owner's own."""

    def __init__(self) -> None:
        self._lock = PerProcess(threading.Lock)
        self._drivers: dict[tuple[str, str, int], Any] = {}
        self._owners: list[Any] = []  # keeps ids from being used again
        self._closed = False

    def get(self, kind: str, given: Any, owner: object, opener: Callable[[Any], D]) -> D:
        if not isinstance(given, str):
            return opener(given)
        private = given.strip().lower().partition("?")[0] == "memory://"
        key = (kind, given, id(owner) if private else 0)
        with self._lock.get():
            if self._closed:
                raise EngineClosed("the engine is closed: make a new Engine")
            if key not in self._drivers:
                self._drivers[key] = opener(given)
                self._owners.append(owner)
            driver: D = self._drivers[key]
            return driver

    def close(self) -> None:
        with self._lock.get():
            self._closed = True
            drivers, self._drivers = list(self._drivers.values()), {}
        for driver in drivers:
            driver.close()


class Engine:
    """Runs workflows: holds the worker threads, the drivers that were named by URL, and the leases of what runs.

    Nothing opens, connects or starts a thread before the first use. ``with engine:`` makes it the current one for a
    block (and does not close it); :func:`set_engine` for the process.

    Args:
        checkpointer: a URL (``"sqlite:///app.db"``) or an opened driver, for workflows that name none.
        store: likewise for long-term memory.
        cache: likewise for results that later calls find again; a :class:`~milepost.cache.Cache`, or a store's URL.
        workers: how many tasks run at once; ``min(32, cpus + 4)`` by default.
        lease: seconds after which an owner that shows no sign of life may be replaced. Renewed every third of it.
        pause_wait: seconds for which a run that pauses or fails waits for tasks that still run. What they return later
            is recorded all the same, as long as nobody has resumed the run.
        recover: whether this engine goes on with runs that nobody works on, of the workflows that the process knows:
            those whose process died, those that were handed on, and what is due (sleep, expiring questions). It looks
            from its first use in a process on, or from :meth:`begin`.
        poll: seconds between two such looks.
        background: how many runs that were started or taken up execute at once in this process, beside those that
            somebody waits for; as many as workers by default. With 0 none does: others go on with what is started here.
        max_recoveries: how often in a row a run's process may die with nothing new on record, before the run is parked
            as failed, with ``RecoveryExhausted``.
        clock: time; for tests.
        replay_always: drop what is in memory and replay the body after every outcome. Slow; for finding bodies that are
            not deterministic.
    """

    def __init__(  # noqa: PLR0913 - every one a keyword
        self,
        *,
        checkpointer: str | Checkpointer | None = None,
        store: str | Store | None = None,
        cache: str | Cache | None = None,
        workers: int | None = None,
        lease: float = LEASE_SECONDS,
        pause_wait: float = PAUSE_SECONDS,
        recover: bool = False,
        poll: float = POLL_SECONDS,
        background: int | None = None,
        max_recoveries: int = MAX_RECOVERIES,
        clock: Clock | None = None,
        replay_always: bool = False,
    ) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"workers is the number of tasks that run at once, at least 1; not {workers}")
        if lease <= 0:
            raise ValueError(f"lease is in seconds, more than 0; not {lease}")
        if poll <= 0:
            raise ValueError(f"poll is in seconds, more than 0; not {poll}")
        if background is not None and background < 0:
            raise ValueError(
                f"background is the number of runs that execute at once here, from 0; not {background}"
            )
        if max_recoveries < 0:
            raise ValueError(
                f"max_recoveries is how often a run's process may die in a row, from 0; not {max_recoveries}"
            )
        self.clock: Clock = clock or SystemClock()
        self.lease = lease
        self.pause_wait = pause_wait
        self.replay_always = replay_always
        self.max_recoveries = max_recoveries
        self.pool = Pool(workers or min(32, (os.cpu_count() or 1) + 4))
        self.slots = Slots(self.pool.size if background is None else background)
        self.recovery = Recovery(self, poll=poll, adopts=recover)
        self.timer = Timer(self.clock)
        self._loops: PerProcess[Loop] = PerProcess(Loop)
        self.keeper = Keeper(lease, self.clock)
        self.watch = Watch(self.clock)
        self._checkpointer = checkpointer
        self._store = store
        self._cache = cache
        self._opened = _Opened()
        self._running: PerProcess[_Running] = PerProcess(_Running)
        _engines.add(self)

    def __repr__(self) -> str:
        return f"<Engine workers={self.pool.size} closed={self.closing}>"

    @property
    def loop(self) -> Loop:
        """The event loop for coroutines of runs that nobody awaits; its thread begins at first use."""
        return self._loops.get()

    # -- drivers -------------------------------------------------------------------------------------------------

    def checkpointer_for(self, owner: object, given: str | Checkpointer | None) -> Checkpointer | None:
        """Return a workflow's checkpointer: what its decorator names, else this engine's, else the environment's."""
        from milepost.drivers import open_checkpointer

        chosen = given or self._checkpointer or os.environ.get(CHECKPOINTER_VARIABLE) or None
        if chosen is None:
            return None
        self.recovery.used()
        holder = owner if chosen is given else self
        return self._opened.get("checkpointer", chosen, holder, open_checkpointer)

    def store_for(self, owner: object, given: str | Store | None) -> Store | None:
        """Return the store of a workflow, by the same order."""
        from milepost.drivers import open_store

        chosen = given if given is not None else self._store
        if chosen is None:
            chosen = os.environ.get(STORE_VARIABLE) or None
        if chosen is None:
            return None
        holder = owner if chosen is given else self
        return self._opened.get("store", chosen, holder, open_store)

    def cache_for(self, owner: object, given: str | Cache | None) -> Cache | None:
        """Return the cache of a workflow: what its decorator names, else this engine's."""
        from milepost.cache import open_cache

        chosen = given if given is not None else self._cache
        if chosen is None:
            return None
        return self._opened.get("cache", chosen, owner if chosen is given else self, open_cache)

    # -- runs in the background ------------------------------------------------------------------------------------

    def start(self, workflow: Startable, input: Any, config: Any = None, **said: Any) -> Run:  # noqa: A002 - LangGraph's name
        """Do what ``workflow.start(input, …)`` does, on this engine.

        Args:
            workflow: what ``@entrypoint`` made.
            input: as for :meth:`Workflow.start`.
            config: as for :meth:`Workflow.start`.
            **said: its other arguments.

        Raises:
            MilepostError: what :meth:`Workflow.start` raises.
        """
        with self:
            return workflow.start(input, config, **said)

    astart = twin(start)  # type: ignore[arg-type]  # mypy cannot bind `**said`

    def run(self, thread_id: str, checkpoint_id: str | None = None) -> Run:
        """Return the newest run of a thread, or the one with this id, of whatever workflow.

        Args:
            thread_id: the thread, in this engine's checkpointer.
            checkpoint_id: a run's id.

        Raises:
            NoCheckpointer: the engine has no checkpointer of its own.
            UnknownThread: nothing is on record for the thread.
            UnknownCheckpoint: the thread has no such run.
        """
        from milepost import run

        checkpointer = self.checkpointer_for(self, None)
        if checkpointer is None:
            raise NoCheckpointer("the engine has no checkpointer: make it with Engine(checkpointer=…)")
        return run.found(self, checkpointer, thread_id, checkpoint_id)

    arun = twin(run)

    def begin(self, *, recover: bool | None = None) -> None:
        """Begin to recover in this process now, and not only when the engine is first used.

        Args:
            recover: whether to recover at all, in place of what the engine was made with.
        """
        if recover is not None:
            self.recovery.adopts = recover
        self.recovery.used()

    # -- life ----------------------------------------------------------------------------------------------------

    @property
    def closing(self) -> bool:
        """Whether no further step begins in this process."""
        return self._running.get().closing

    def closed_error(self) -> EngineClosed:
        """Return what a run gets that was stopped by a closing engine."""
        return EngineClosed(
            "the engine was closed, so the run stopped at a task boundary; what had begun is recorded, and "
            "invoke(None) continues it"
        )

    def executing(self) -> _Executing:
        """Return what counts an execution in and out."""
        from milepost import log  # noqa: F401 - from now on records say which run they belong to

        return _Executing(self._running.get())

    @property
    def executions(self) -> dict[str, Any]:
        """What this process executes on this engine, by the session that owns the thread."""
        return self._running.get().executions

    def close(self) -> None:
        """Let no further step begin, wait for those that have begun and record them, and close what was opened.

        The runs stay resumable. Calling it twice does nothing. A run cannot wait for itself: called from a body or a
        task of this engine, it only drains.

        Raises:
            WouldBlock: a run is on the event loop of this thread, and it would be waited for: await :meth:`aclose`.
        """
        frame = _context.frame()
        if frame is not None and frame.execution.engine is self:
            self.drain()
            return
        running = self._running.get()
        if any(execution.plan.loop.is_here for execution in list(running.executions.values())):
            raise WouldBlock(
                "close() would block the event loop that a run of this engine is on, perhaps for ever: await aclose()"
            )
        here, never = threading.get_ident(), threading.Event()
        with running.lock:
            running.closing = True
            _debug("the engine closes; %d runs stop at their next boundary", len(running.threads))
        self.timer.look()
        self.slots.close()
        self.recovery.close()
        while any(thread != here for thread in list(running.threads.values())) or self.slots.is_alive:
            never.wait(_POLL_SECONDS)
        self.pool.close()
        self.loop.close()
        self.keeper.close()
        self._opened.close()

    aclose = twin(close)

    def drain(self) -> None:
        """Let no further step begin; returns at once."""
        self._running.get().closing = True
        self.slots.close()
        self.timer.look()

    def __enter__(self) -> Self:
        _context.enter_engine(self)
        return self

    def __exit__(self, *_: object) -> None:
        _context.leave_engine()


class _Executing:
    """Counts one execution in (``enter``) and out (``leave``).

    Leaving in a ``finally`` runs no Python code, so Ctrl-C cannot come before it has done its work.
    """

    __slots__ = ("_running", "leave")

    def __init__(self, running: _Running) -> None:
        self._running = running
        self.leave = partial(running.threads.pop, self, None)

    def enter(self) -> None:
        """Count the execution in.

        Raises:
            EngineClosed: the engine closes, or is closed.
        """
        _drain_at_exit()
        with self._running.lock:
            if self._running.closing:
                raise EngineClosed("the engine is closed: make a new Engine")
            self._running.threads[self] = threading.get_ident()


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_default = PerProcess(Engine)


class _Chosen:
    engine: Engine | None = None


def set_engine(engine: Engine | None) -> None:
    """Make an engine the current one for this process; None goes back to the default one.

    Call it where the application starts, before or after the workflows are decorated.
    """
    _Chosen.engine = engine


def current_engine() -> Engine:
    """Return the engine in use here: the innermost ``with engine:``, else the process's, else a default one."""
    found: Engine | None = _context.engine()
    return found or _Chosen.engine or _default.get()


def execution_of(session: str) -> Any:
    """Return what this process executes under a session, on whichever engine; None where it is nothing."""
    found = (engine.executions.get(session) for engine in _live_engines())
    return next((execution for execution in found if execution is not None), None)


def _drain_all() -> None:
    for engine in _live_engines():
        engine.drain()


def _close_drivers() -> None:
    """Close what this process opened: at exit, when no thread is left that could use it."""
    for engine in _live_engines():
        with suppress(Exception):  # nobody is left to be told
            engine._opened.close()  # noqa: SLF001 - the engine's own helper


def _live_engines() -> Iterator[Engine]:
    yield from list(_engines)


def _debug(text: str, *args: object) -> None:
    from milepost import log

    log.logger.debug(text, *args)


@cache
def _drain_at_exit() -> None:
    """Drain when the interpreter ends: before the standard library's executors join their worker threads there.

    They use the same hook, which calls back in reverse order; so their module must be imported before.
    """
    with suppress(RuntimeError):  # the interpreter ends already
        from concurrent.futures import thread as _  # noqa: F401 - for its own registration

        getattr(threading, "_register_atexit", atexit.register)(_drain_all)
        atexit.register(_close_drivers)
