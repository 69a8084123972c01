"""A call that is not on record: claimed once, run once, its outcome recorded."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from milepost import _async, _context, _step, serde
from milepost._journal import Entry
from milepost._signals import Aborted, Signal, Stopped
from milepost._struct import replace
from milepost.checkpoint import Failure, Outcome, Question, Value
from milepost.errors import TaskFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from milepost._clock import Clock
    from milepost._future import TaskFuture
    from milepost._guard import Guard
    from milepost._journal import Journal, Tried
    from milepost._pool import Pool
    from milepost._step import Step
    from milepost._telling import Telling
    from milepost._watch import Watch
    from milepost.checkpoint import Parent


_LONGEST_TEXT = 2_000
"""How many characters of a message or a traceback are kept of a failure that is shortened."""


class Execution(Protocol):
    """What frames ask of the execution they belong to."""

    thread_id: str | None
    run_id: str | None
    config: Mapping[str, Any]
    journal: Journal | None
    pool: Pool
    clock: Clock
    engine: Any
    watch: Watch
    telling: Telling
    answers: dict[str, Value]
    asked_at: dict[str, Question]
    asked_by_key: dict[str, Question]
    expired: set[str]
    workflow: str
    version: int | str | None
    code_version: int | str | None
    root: Any

    @property
    def started_at(self) -> str | None:
        """When the run began, ISO 8601; None where nothing is recorded."""

    def use_key(self, key: str, call: str) -> str:
        """Return the call that asks under a key: this one, unless another came first."""

    def refuse(self, error: Exception) -> None:
        """Keep the error to raise after the pause: the body did not take an answer."""

    def check(self) -> None:
        """Raise the signal that stops the whole execution, if there is one."""

    @property
    def is_stopping(self) -> bool:
        """Whether the execution is to stop, and not to begin anew."""

    def abort(self, error: Exception) -> Aborted:
        """Stop the whole execution with an error; return the signal to raise."""

    def stop(self, cause: BaseException) -> None:
        """Stop the whole execution at the next boundary and leave it resumable."""

    def received(self) -> None:
        """Tell that a frame got an outcome that was not on record; raises in replay-always mode."""

    def ask(self, question: Question) -> None:
        """Keep a question for the pause."""

    def wrote(self, path: str, name: str, value: Any) -> bool:
        """Count a custom event of a frame; return whether it is new."""

    def left(self, path: str, name: str) -> None:
        """Remember a call that began and came to no outcome."""

    def ended(self, path: str) -> None:
        """Forget the counts of a frame whose outcome is recorded, and what its calls asked."""

    def delivered(self, error: BaseException, call: str) -> None:
        """Remember which call an exception came from."""

    def heard(self, call: str, made: Mapping[str, int]) -> None:
        """Remember how many calls a frame and its strands had made when it got the failure of this one."""

    def heard_at(self, calls: tuple[str, ...]) -> dict[str, int]:
        """Return what :meth:`heard` told of these calls."""

    def sources(self, error: BaseException) -> tuple[str, ...]:
        """Return the calls whose failures an exception carries."""

    def parent(self, call: str) -> Parent | None:
        """Return what names a call of this run to a run on another thread."""

    def key_of(self, call: str, name: str, digest: str) -> str:
        """Return the idempotency key of a call."""

    def has_asked(self, call: str) -> bool:
        """Tell whether a call, or one that it made, asked a question that was answered."""

    def try_again(self, call: str) -> None:
        """Read again what is on record within a call whose next attempt begins."""


class Frame(_step.Frame, Protocol):
    """What a call asks of a frame: of the one that makes it, and of the one that it runs in."""

    home: Any
    over: bool
    dropped: bool
    latched: Signal | None
    strand_tasks: dict[Any, Any]

    @property
    def base(self) -> Any: ...
    @property
    def above(self) -> Any: ...

    began: str
    name: str
    guard: Guard | None
    ordinal: int
    observations: int
    strands: int
    children: dict[str, TaskFuture[Any]]

    @property
    def execution(self) -> Execution: ...
    def latch(self, signal: Signal) -> Signal: ...
    def run(self, function: Callable[[], Any], patience: float | None = None) -> Ended: ...
    def again(self) -> Frame: ...
    def leave(self) -> None: ...


class Ended:
    """How a frame ended: with a value, an error, a signal, or an exception that is neither (``stop``).

    A coroutine that was ``cancelled`` ended with the error that says so.
    """

    __slots__ = ("cancelled", "error", "signal", "stop", "value")

    def __init__(
        self,
        *,
        value: Any = None,
        error: Exception | None = None,
        signal: Signal | None = None,
        stop: BaseException | None = None,
        cancelled: bool = False,
    ) -> None:
        self.value = value
        self.cancelled = cancelled
        self.error = error
        self.signal = signal
        self.stop = stop


class Call:
    """A call that is not on record: claimed by one thread, run once, its outcome recorded.

    A coroutine does not hold the thread that has claimed it: it runs on its loop, and a worker records what became of
    it.
    """

    __slots__ = (
        "_given_up",
        "_made",
        "_permit",
        "_task",
        "args",
        "began",
        "begun",
        "frame",
        "future",
        "inner",
        "kwargs",
        "runs_here",
        "step",
        "undecided",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        frame: Frame,
        step: Step,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        future: TaskFuture[Any],
        made: tuple[str, str],
        inner: Frame,
    ) -> None:
        self.frame = frame
        self.step = step
        self.args = args
        self.kwargs = kwargs
        self.future = future
        self.inner = inner
        self.begun = False
        self.began = ""
        self.runs_here = True
        """Whether a thread that waits for the call may run it."""
        self._made = made
        self._permit = [True]
        self._task: Any = None
        self._given_up = False
        self.undecided = (
            False  # its awaiting was cancelled while its frame suspended: by whom, the next time will tell
        )

    @property
    def cached(self) -> bool:
        """Whether the result was taken from a cache."""
        return False

    def take_up(self, tried: Tried) -> None:
        """Go on from what is on record of this call; one without policies begins anew."""

    def claim(self) -> bool:
        """Return True to exactly one caller: it runs the call, or cancels it, or sees to it that nobody does."""
        try:
            return self._permit.pop()
        except IndexError:
            return False

    def send(self) -> None:
        """Have a coroutine run on its loop, unless somebody else begins it first."""
        pool = self.frame.execution.pool
        (pool if pool.is_limited else self.inner.scope.loop).submit(self)

    def run(self) -> None:
        """Run the function in a context of its own and record what became of it; raises nothing.

        Where it is a coroutine, this returns when it is on its way.
        """
        if self.step.is_async:
            self._guarded(partial(self.inner.scope.loop.soon, self._guarded, self._begin_coroutine))
        else:
            self._guarded(self._execute)

    def _execute(self) -> None:
        self._enter()
        _context.run_apart(self.inner, self.frame.execution.engine, self._run)

    def _enter(self) -> None:
        execution = self.frame.execution
        self.begun = True
        self.began = self.inner.began = execution.clock.now().isoformat()
        execution.check()
        if self.frame.guard is not None:
            self.frame.guard.check()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do a part of the work; whatever it raises, whoever waits for the call hears of it."""
        execution = self.frame.execution
        try:
            work()
        except Signal as signal:
            self.future._settle(error=signal)  # noqa: SLF001
        except Exception as error:  # noqa: BLE001 - a fault of ours: whoever waits for the call must hear of it
            self.future._settle(error=execution.abort(error))  # noqa: SLF001
        except BaseException as cause:  # noqa: BLE001 - Ctrl-C between the function and its record
            execution.stop(cause)
            self.future._settle(error=Stopped())  # noqa: SLF001

    def cancel(self) -> None:
        """Record that the call was cancelled before it began."""
        self.began = self.frame.execution.clock.now().isoformat()
        self._record_cancelled()

    def _record_cancelled(self) -> None:
        if self.frame.execution.journal is None:
            self.frame.execution.telling.cancelled(self)
            self.future._settle_cancelled(-1)  # noqa: SLF001
        else:
            self._record(self._outcome(cancelled=True), None, None)

    def give_up(self) -> bool:
        """Cancel as asyncio does, without blocking: what has not begun, and a coroutine that has. Return whether."""
        if self.claim():
            self.frame.execution.pool.beside.submit(_Part(partial(self._guarded, self.cancel)))
            return True
        if self.step.is_async:
            self._stop_coroutine()
        return self.step.is_async

    def drop(self) -> None:
        """Cancel a coroutine and record nothing: it runs again when it is called again. A function goes on."""
        if self.step.is_async:
            self.inner.dropped = True
            if self.claim():
                self.future._settle(error=Stopped())  # noqa: SLF001
            else:
                self._stop_coroutine()

    def _stop_coroutine(self) -> None:
        self._given_up = True
        with suppress(RuntimeError):  # the loop is closed, and the coroutine has ended with it
            self.inner.scope.loop.soon(self._cancel_coroutine)

    # -- coroutines, on their loop -------------------------------------------------------------------------------

    def _begin_coroutine(self) -> None:
        self._enter()
        self.frame.execution.telling.began(self)
        self._start_coroutine(self._coroutine_ended)

    def _start_coroutine(self, end: Callable[[_async.Result], None]) -> None:
        context = _context.apart(self.inner, self.frame.execution.engine)
        make = partial(self.step.invoke, self.inner, self.args, self.kwargs)
        self._task = context.run(_async.begin, self.inner, make, end)
        if self._given_up:
            self._task.cancel()

    def _cancel_coroutine(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _coroutine_ended(self, result: _async.Result) -> None:
        """Let a worker do what may block: join what the coroutine called, encode, record."""
        self._task = None

        def conclude() -> None:
            self._conclude(self.inner.run(result.get))

        self._in_worker(conclude)

    def _in_worker(self, work: Callable[[], None]) -> None:
        run = partial(_context.run_apart, self.inner, self.frame.execution.engine, work)
        self.frame.execution.pool.beside.submit(_Part(partial(self._guarded, run)))

    # -- the outcome ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        inner, step = self.inner, self.step
        self.frame.execution.telling.began(self)
        self._conclude(inner.run(lambda: step.invoke(inner, self.args, self.kwargs)))

    def _conclude(self, ended: Ended) -> None:
        """Record how the function ended, and settle the future."""
        if ended.signal is not None:
            self.frame.execution.telling.suspended(self, ended.signal)
            self.frame.execution.left(self.future._path, self.step.name)  # noqa: SLF001
            self.future._settle(error=ended.signal)  # noqa: SLF001
        elif ended.cancelled:
            self._record_cancelled()
        elif self.frame.execution.journal is None:
            self._resolve(ended.value, ended.error, -1)
        elif ended.error is not None:
            self._record_failure(ended.error)
        else:
            self._record_result(ended.value)

    def _record_result(self, value: Any) -> None:
        step, journal = self.step, self.frame.execution.journal
        path = self.future._path  # noqa: SLF001
        try:
            place = identity(self.frame, path)
            text = serde.encode(value, step.returns, where=step.where, identity=place)
            copy = value
            if not serde.is_immutable(value):
                copy = serde.decode(json.loads(text), step.returns, where=step.where, identity=place)
        except Exception as error:  # noqa: BLE001 - codecs registered by users may raise anything
            self._record_failure(error)
            return
        assert journal is not None  # noqa: S101 - `_run` has checked
        self._record(self._outcome(result=journal.repeats(text)), copy, None, value)

    def _record_failure(self, error: Exception) -> None:
        facts = failure(error, where=self.step.where)
        heard = error if facts.rebuilds else raised(facts, error)
        causes = self.frame.execution.sources(error)
        heard_at = self.frame.execution.heard_at(causes)
        self._record(self._outcome(error=facts, caused_by=causes, heard_at=heard_at), None, heard)

    def _outcome(self, **what: Any) -> Outcome:
        return Outcome(
            call=self.future._path,  # noqa: SLF001
            name=self.step.name,
            digest=self._made[0],
            shows=self._made[1],
            began=self.began,
            ended=self.frame.execution.clock.now().isoformat(),
            workflow=None if self.inner.scope is self.frame.scope else True,
            **what,
        )

    def _record(self, outcome: Outcome, copy: Any, error: Exception | None, result: Any = None) -> None:
        journal = self.frame.execution.journal
        assert journal is not None  # noqa: S101
        heard = [error]

        def done(order: int) -> None:
            if outcome.cancelled:
                self.frame.execution.telling.cancelled(self)
                self.future._settle_cancelled(order)  # noqa: SLF001
            else:
                self._resolve(copy, heard[0], order, result)

        def failed(cause: Exception) -> None:
            self.future._settle(error=self.frame.execution.abort(cause))  # noqa: SLF001

        def shrunk(cause: Exception) -> Outcome:
            if outcome.error is None:
                heard[0] = cause
                return self._outcome(error=failure(cause, where=self.step.where))
            facts = shortened(outcome.error)
            heard[0] = raised(facts, error)
            return replace(outcome, error=facts)

        smaller = None if outcome.cancelled else shrunk
        journal.record(
            Entry(record=outcome, done=done, failed=failed, shrunk=smaller, guard=self.frame.guard)
        )

    def _resolve(self, copy: Any, error: Exception | None, order: int, result: Any = None) -> None:
        """Tell the observers, then the future."""
        execution, path = self.frame.execution, self.future._path  # noqa: SLF001
        execution.ended(path)
        if error is not None:
            execution.delivered(error, path)
            execution.telling.failed(self, error)
            self.future._settle(error=error, order=order)  # noqa: SLF001
            return
        execution.telling.finished(self, copy if result is None else result)
        self.future._settle(copy, order=order)  # noqa: SLF001


class _Part:
    """A part of a call's work, as a job of the pool."""

    __slots__ = ("run",)

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run

    def claim(self) -> bool:
        """Return True: only the pool knows of it."""
        return True


def identity(frame: Frame, call: str) -> str:
    """Name the place of a value: what a signature binds it to."""
    return f"{frame.thread_id}/{frame.run_id}/{call}"


def failure(error: BaseException, *, where: str) -> Failure:
    """Turn an exception into data."""
    facts = serde.failure(error, where=where)
    return Failure(
        type=facts.type,
        message=facts.message,
        rebuilds=facts.rebuilds,
        arguments=None if facts.arguments is None else Value(text=facts.arguments),
        attributes=None if facts.attributes is None else Value(text=facts.attributes),
        traceback=facts.traceback,
    )


def raised(facts: Failure, cause: BaseException | None = None) -> Exception:
    """Turn data into the exception to raise: the same one, or TaskFailed with the same facts."""
    if facts.rebuilds:
        found = serde.rebuild(
            facts.type,
            None if facts.arguments is None else facts.arguments.raw,
            None if facts.attributes is None else facts.attributes.raw,
        )
        if isinstance(found, Exception):
            return found
    error = TaskFailed(type_name=facts.type, message=facts.message, traceback_text=facts.traceback)
    error.__cause__ = cause
    return error


def shortened(facts: Failure) -> Failure:
    """Return a failure without what only a rebuilt exception needs, its texts cut to a bounded length."""
    return replace(
        facts,
        rebuilds=False,
        message=facts.message[:_LONGEST_TEXT],
        arguments=None,
        attributes=None,
        traceback=facts.traceback[-_LONGEST_TEXT:],
    )
