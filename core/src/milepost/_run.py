"""One execution of a run: replay, run on, then pause, finish, fail or stop."""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from milepost import _claim, _config, _context, _fold, _ids, events, serde, state
from milepost._body import BodyPolicies
from milepost._caching import slot_of_run
from milepost._call import Ended, failure, shortened
from milepost._durability import Durability, journal_of
from milepost._final import Final
from milepost._frame import Frame
from milepost._journal import dereference
from milepost._saved import finished_at
from milepost._signals import Aborted, Restart, Signal, Stopped, Suspended
from milepost._step import Scope, Step
from milepost._struct import Struct, replace
from milepost._telling import Telling
from milepost.checkpoint import (
    Cancelled,
    Failed,
    Finished,
    Interrupted,
    Parent,
    Question,
    Started,
    Status,
    Value,
    Written,
)
from milepost.errors import (
    DivergenceError,
    MilepostError,
    NotSerializable,
    OwnershipLost,
    RunCancelled,
    StorageError,
    TooLarge,
    WorkflowTimeout,
)
from milepost.question import Interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from milepost._async import Loop
    from milepost._claim import Taken
    from milepost._clock import Clock
    from milepost._fold import RunState, ThreadState
    from milepost._journal import Journal
    from milepost._pool import Pool
    from milepost._watch import Watch
    from milepost.cache import Cache
    from milepost.checkpoint import Checkpointer, Owner
    from milepost.store import Store

_FAILURES = (DivergenceError, WorkflowTimeout)
"""What aborts a run and is on record as its failure."""
_SOON = 0.1
"""After how many seconds a custom event is written that nothing else has taken along."""


class Plan(Struct):
    """What an execution needs to know of its workflow and its engine."""

    step: Step
    save: Any  # the declared type of what is saved
    accepts: Any  # the declared type of the input
    config: Mapping[str, Any]
    store: Store | None
    cache: Cache | None
    pool: Pool
    loop: Loop
    clock: Clock
    engine: Any
    patience: float
    replay_always: bool = False
    said: Mapping[str, Any] = MappingProxyType({})  # of the config, without the workflow's defaults
    context: Any = None  # where nothing is recorded
    context_type: Any = Any
    version: int | str | None = None
    durability: Durability = "sync"
    background: bool = False  # nobody waits for it here: where it stops, others may go on


class Paused(Struct):
    """The run waits for these answers."""

    interrupts: tuple[Interrupt, ...]


class Asleep(Struct):
    """The run of this id waits for a time, in seconds since the epoch."""

    until: float
    run: str


Rested: TypeAlias = "Returned | Paused | Asleep"


class Returned(Struct):
    """The run is done."""

    value: Any


class Execution:
    """The body of one workflow being executed, with everything it calls."""

    def __init__(self, plan: Plan, watch: Watch, taken: Taken | None = None) -> None:
        self.plan = plan
        self.watch = watch
        self.config: Mapping[str, Any] = plan.config
        self.pool = plan.pool
        self.clock = plan.clock
        self.engine = plan.engine
        self.telling = Telling(self)
        self.thread_id: str | None = None
        self.run_id: str | None = None
        self.journal: Journal | None = None
        self.asked_at: dict[str, Question] = {}
        self.asked_by_key: dict[str, Question] = {}
        self.answers: dict[str, Value] = {}
        self.expired: set[str] = set()
        self.workflow = plan.step.name
        self.version = self.code_version = plan.version
        self.started_at: str | None = None
        self._context: Any = plan.context
        self._used: dict[str, str] = {}  # the keys of questions, and who asks under them
        self._refused: Exception | None = None
        self._taken = taken
        self._lock = threading.Lock()
        self._asked: dict[str, Question] = {}
        self._written: dict[str, int] = {}
        self._shown: dict[str, int] = {}
        self._signal: Signal | None = None
        self._cause: BaseException | None = None
        self._delivered: list[tuple[BaseException, str]] = []
        self._heard: dict[str, Mapping[str, int]] = {}
        self._left: dict[str, str] = {}
        self._over: threading.Event | None = None  # set at the end, where somebody waits for it
        self._is_over = False
        self._failed = False
        self._cached = False
        self._goes_on = taken is not None and taken.run.position < taken.state.tail - 1
        self.root: Frame | None = None
        self._keys: dict[str, str] = {}  # where nothing is recorded, all attempts at a call find theirs here
        self._policies = BodyPolicies(plan.step, plan.clock)
        if taken is not None:
            self.thread_id = taken.state.thread
            self.run_id = taken.run.id
            holding, tail = taken.holding, taken.state.tail
            self.journal = journal_of(
                plan.durability, holding.checkpointer, self.thread_id, holding.owner.session, tail
            )
            self._begin(taken.run.started)
            self._load(taken.run)
            if watch.checkpoints:
                self.journal.follow = taken.state.apply

    def _begin(self, started: Started) -> None:
        """Go by what the run began with, whatever this call was given."""
        self.version, self.started_at = started.version, started.at
        self.config = _config.restored(started, self.plan.config, self.plan.said)
        self._context = None
        if started.context is not None:
            where = f"the context of {self.workflow!r}"
            declared, place = self.plan.context_type, f"{self.thread_id}/context"
            self._context = serde.decode(started.context.raw, declared, where=where, identity=place)

    def _load(self, run: RunState) -> None:
        assert self.journal is not None  # noqa: S101 - only a taken run is loaded
        self.journal.load(run)
        self._policies.load(run)
        asked = run.questions.values()
        self.asked_at = {question.call: question for question in asked if question.key is None}
        self.asked_by_key = {question.key: question for question in asked if question.key is not None}
        # A call that has an outcome does not run again, so it cannot tell that it used a key.
        self._used = {
            key: q.call for key, q in self.asked_by_key.items() if _ids.is_within_any(q.call, run.outcomes)
        }
        self.answers, self.expired = run.answers, run.expired
        self._shown = {
            path: max(self._shown.get(path, 0), run.written.get(path, 0))
            for path in {*self._shown, *run.written}
        }

    @property
    def run(self) -> RunState:
        """The run, as it was when the thread was taken."""
        assert self._taken is not None  # noqa: S101 - asked only where something is recorded
        return self._taken.run

    @property
    def session(self) -> Owner:
        """Who executes this, where something is recorded."""
        assert self._taken is not None  # noqa: S101 - likewise
        return self._taken.holding.owner

    # -- for frames ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise what stops this execution."""
        if self._signal is not None:
            raise self._signal
        if self._taken is not None:
            holding = self._taken.holding
            if holding.is_stale:
                holding.renew()  # before anything begins: this process stood still, and may have lost the thread
            if holding.lost:
                raise self.abort(_lost(self._taken.state.thread, self._taken.state.tail))
        if self.watch.is_gone or self.engine.closing:
            self.stop(None)
            raise Stopped

    @property
    def is_stopping(self) -> bool:
        """Whether this execution is to stop, and not to begin anew."""
        return isinstance(self._signal, Stopped | Aborted) or self.watch.is_gone or self.engine.closing

    def abort(self, error: Exception) -> Aborted:
        """Stop with an error; the first one counts."""
        with self._lock:
            if not isinstance(self._signal, Aborted):
                self._signal = Aborted(error)
            signal = self._signal
        self.engine.timer.look()
        return signal

    def stop(self, cause: BaseException | None) -> None:
        """Stop at the next boundary, resumable; ``cause`` is raised to the caller in the end."""
        with self._lock:
            if self._cause is None:
                self._cause = cause
            if self._signal is None or isinstance(self._signal, Restart):
                self._signal = Stopped()
        self.engine.timer.look()
        if cause is not None:
            self.watch.coroutines.cancel()

    def cancel(self, reason: str | None) -> threading.Event | None:
        """Stop at the next boundary, cancelled; return what is set when it is over, None where it is over already."""
        with self._lock:
            if self._is_over:
                return None
            if self._over is not None:
                return self._over  # asked before, as each look at the head does: what cleans up is left to it
            self._over = over = threading.Event()
        text = f"the run on thread {self.thread_id!r} was cancelled" + (
            "" if reason is None else f": {reason}"
        )
        self.stop(RunCancelled(text, thread_id=self.thread_id or "", reason=reason))
        return over

    def over(self) -> None:
        """Tell whoever cancelled that this execution has ended."""
        with self._lock:
            self._is_over = True
            if self._over is not None:
                self._over.set()
        if self.journal is not None:
            self.journal.over()

    def received(self) -> None:
        """In replay-always mode every outcome that was not on record makes the body start over."""
        if not self.plan.replay_always or self.journal is None:
            return
        with self._lock:
            if self._signal is None:
                self._signal = Restart()
            raise self._signal

    def ask(self, question: Question) -> None:
        """Keep a question for the pause."""
        with self._lock:
            self._asked[question.id] = question

    def asked_within(self, path: str) -> tuple[Interrupt, ...]:
        """Return what a call, and those it made, ask."""
        with self._lock:
            asked = [question for question in self._asked.values() if question.call.startswith(f"{path}.")]
        return as_interrupts(_in_order(asked))

    def use_key(self, key: str, call: str) -> str:
        """Return the call that asks under a key: this one, unless another came first."""
        with self._lock:
            return self._used.setdefault(key, call)

    def refuse(self, error: Exception) -> None:
        """Keep the error to raise after the pause: the body did not take an answer."""
        with self._lock:
            self._refused = self._refused or error

    def wrote(self, path: str, name: str, value: Any) -> bool:
        """Count a custom event, and record it where others may follow; return whether it is new.

        Those that were counted before a pause are not shown again.

        Raises:
            NotSerializable: it is to be recorded, and cannot be kept.
        """
        text = None
        if self.journal is not None and self.run.started.background:
            text = serde.encode(value, where=f"what {name!r} wrote", identity=f"{self.run_id}/{path}/custom")
        with self._lock:
            count = self._written[path] = self._written.get(path, 0) + 1
            if count <= self._shown.get(path, 0):
                return False
            if text is not None and self.journal is not None:
                told = Written(call=path, name=name, number=count, at=self._now(), value=Value(text=text))
                if self.journal.note(told):
                    self.engine.timer.after(_SOON, _WriteSoon(journal=self.journal))
        return True

    def left(self, path: str, name: str) -> None:
        """Remember a call that began and came to no outcome."""
        with self._lock:
            self._left[path] = name

    def ended(self, path: str) -> None:
        """Forget the counts of a frame that never runs again, and what its calls asked: nobody waits for that."""
        with self._lock:
            self._written.pop(path, None)
            self._shown.pop(path, None)
            for question in list(self._asked.values()):
                if question.call.startswith(f"{path}."):
                    del self._asked[question.id]

    def delivered(self, error: BaseException, call: str) -> None:
        """Remember that an exception came from a call."""
        with self._lock:
            self._delivered.append((error, call))

    def heard(self, call: str, made: Mapping[str, int]) -> None:
        """Remember how many calls a frame and its strands had made when it first got the failure of this one."""
        with self._lock:
            self._heard.setdefault(call, made)

    def heard_at(self, calls: tuple[str, ...]) -> dict[str, int]:
        """Return how many calls their frames had made when they got these failures, where they got them."""
        with self._lock:
            return {
                key: made for call in calls if call in self._heard for key, made in self._heard[call].items()
            }

    def sources(self, error: BaseException) -> tuple[str, ...]:
        """Return the calls whose exceptions are in this one's chain of causes and contexts."""
        chain: list[BaseException] = []
        waiting: list[BaseException | None] = [error]
        while waiting:
            found = waiting.pop()
            if found is not None and not any(found is seen for seen in chain):
                chain.append(found)
                waiting += (found.__cause__, found.__context__)
                if isinstance(found, BaseExceptionGroup):
                    waiting += found.exceptions
        with self._lock:
            return tuple(
                sorted({call for known, call in self._delivered if any(known is link for link in chain)})
            )

    def parent(self, call: str) -> Parent | None:
        """Return what names a call of this run to a run on another thread."""
        if self.thread_id is None or self.run_id is None:
            return None
        return Parent(thread=self.thread_id, run=self.run_id, call=call)

    def key_of(self, call: str, name: str, digest: str) -> str:
        """Return the idempotency key of a call: fixed by the run where that is recorded, else random."""
        if self._taken is None:
            with self._lock:
                return self._keys.setdefault(call, _ids.token() + _ids.token())
        # The session that started the run is random: a run's id comes again where a backend is made anew.
        started = self._taken.run.started
        return _ids.idempotency_key(started.run, started.owner.session, call, name, digest)

    def has_asked(self, call: str) -> bool:
        """Tell whether a call, or one that it made, asked a question that was answered: all of them for the body."""
        if self._taken is None:
            return False
        prefix = f"{call}." if call else ""
        asked = (question.call for question in self.run.questions.values() if not question.sleeps)
        return any(asks.startswith(prefix) for asks in asked)

    def try_again(self, call: str) -> None:
        """Read again what is on record within a call whose next attempt begins."""
        with self._lock:
            for counts in (self._written, self._shown):
                for path in [path for path in counts if path == call or path.startswith(f"{call}.")]:
                    del counts[path]
            self._heard = {
                path: made for path, made in self._heard.items() if not path.startswith(f"{call}.")
            }
            self._used = {key: path for key, path in self._used.items() if not path.startswith(f"{call}.")}
        if self._taken is None or self.journal is None:
            return
        run = self._read().run
        assert run is not None  # noqa: S101 - this run is on record
        self.journal.load_within(run, call)
        asked = [question for question in run.questions.values() if question.call.startswith(f"{call}.")]
        self.asked_at |= {question.call: question for question in asked if question.key is None}
        self.asked_by_key |= {question.key: question for question in asked if question.key is not None}

    # -- the whole of it -------------------------------------------------------------------------------------------

    def execute(self, given: Any = None) -> Rested:
        """Run the body to its end or its next pause; ``given`` is the input where nothing is recorded.

        Raises:
            BaseException: what the body raised, what stopped it, or what made it impossible to go on.
        """
        self._policies.begin()
        self._tell_saved("input")
        try:
            if self._taken is None:
                ended: Rested = self._conclude_unrecorded(self._run_unrecorded(given))
            else:
                ended = self._conclude(self._run_recorded())
        except BaseException as error:
            try:
                self._tell_broken_off(error)
            finally:
                self.watch.close()
            raise
        if not isinstance(ended, Asleep):  # those who watch one that sleeps are told more when it goes on
            try:
                self._tell_end(ended)
            finally:
                self.watch.close()
        return ended

    def _tell_end(self, ended: Returned | Paused) -> None:
        if isinstance(ended, Paused):
            self._tell_rest(events.WorkflowInterrupted, interrupts=ended.interrupts)
        else:
            self._tell_rest(events.WorkflowFinished, result=ended.value, cached=self._cached)
        self._tell_saved("loop")

    def _tell_broken_off(self, error: BaseException) -> None:
        if self._failed:
            self._tell_rest(events.WorkflowFailed, error=error)
            self._tell_saved("loop")
        elif isinstance(error, RunCancelled):
            self._tell_rest(events.WorkflowCancelled)
            self._tell_saved("loop")
        else:
            self._tell_rest(events.WorkflowUnfinished)

    def _tell_rest(self, kind: type[events.Ended], **what: Any) -> None:
        attempt = 1 if self.root is None else self.root.attempt
        self.telling.body_ended(self.plan.step.name, attempt, kind, **what)

    def _tell_saved(self, source: str) -> None:
        """Tell those who watch what is on record of the run: when it starts, and when it comes to rest."""
        if self._taken is None or not self.watch.checkpoints or (source == "input" and self._goes_on):
            return
        thread, run, checkpointer = self._taken.state, self._taken.run, self._taken.holding.checkpointer
        try:
            last, previous = run.finished, run.started.previous
            before = None if previous is None else finished_at(checkpointer, thread.thread, previous)
            last = last or before
            value = (
                None if last is None else returned(checkpointer, thread.thread, last, self.plan.step.returns)
            )
            tasks = state.tasks(run, pending(run))
            self.telling.saved(run, source, value, tasks, None if before is None else before.run)
        except Exception:  # noqa: BLE001 - whoever watches may miss something; the run does not depend on it
            from milepost import log

            log.logger.warning("what run %s has on record could not be shown", run.id, exc_info=True)

    def _run_unrecorded(self, given: Any) -> Ended:
        while True:
            ended = self._run_body(given)
            if not self._retries(ended):
                return ended

    def _run_body(self, given: Any) -> Ended:
        step = self.plan.step
        scope = Scope(
            loop=self.plan.loop,
            store=self.plan.store,
            cache=self.plan.cache,
            previous=self._previous,
            context=lambda: self._context,
        )
        self.root = frame = Frame(self, path=_ids.ROOT, name=step.name, scope=scope)
        frame.began = self._now()

        self.telling.body_began(frame, given, again=self._goes_on)

        def function() -> Any:
            if step.is_async:
                return scope.loop.run(frame, partial(step.invoke, frame, (given,), {}), self.plan.patience)
            return step.invoke(frame, (given,), {})

        def body() -> Ended:
            return frame.run(function, self.plan.patience)

        if step.policies is None:
            return _context.run_within(frame, body)
        run = partial(self._policies.run, self, frame, body, self.plan.patience)
        return run() if step.policies.cache is None else self._run_cached(given, scope, run)

    def _run_cached(self, given: Any, scope: Scope, run: Callable[[], Ended]) -> Ended:
        """Take the run's result from the cache, or run the body and keep what it returns."""
        try:
            slot = None if self._goes_on else slot_of_run(self.plan.step, given, scope, self.plan.save)
        except Exception as error:  # noqa: BLE001 - `key_func` is the user's
            return Ended(error=error)
        if slot is None:
            return run()
        found, land = self._policies.find(self, slot)
        kept = False
        try:
            if found is not None:
                self._cached = True
                return Ended(value=found[0] if len(found) == 1 else Final(*found))
            ended = run()
            if ended.error is None and ended.signal is None and ended.stop is None:
                value = ended.value
                parts = (value.value, value.save) if isinstance(value, Final) else (value,)
                kept = slot.keep(self.clock, *parts)
            return ended
        finally:
            land(kept)

    def _retries(self, ended: Ended) -> bool:
        """Tell whether the body runs once more; the failed attempt is on record then."""
        if ended.error is None or ended.cancelled or self._signal is not None:
            return False
        return self._policies.fails(self, ended.error)

    def _run_recorded(self) -> Ended:
        while True:
            try:
                given = self._given()
            except Exception as error:  # noqa: BLE001 - a value that cannot be read fails the run, which can be retried
                return Ended(error=error)
            ended = self._run_body(given)
            restarts = isinstance(ended.signal, Restart) or isinstance(self._signal, Restart)
            if not restarts and not self._retries(ended):
                return ended
            self._start_over()

    def _given(self) -> Any:
        """Return the input as recorded, decoded anew."""
        assert self._taken is not None  # noqa: S101
        return input_of(self._taken.run, self._taken.state.thread, self.plan.accepts)

    def _previous(self) -> Any:
        """Return what the run before saved, decoded anew for each frame that asks; None where there was none."""
        if self._taken is None:
            return None
        checkpointer, thread = self._taken.holding.checkpointer, self._taken.state.thread
        return saved(checkpointer, thread, self._taken.run.started.previous, self.plan)

    def _start_over(self) -> None:
        """Drop what is in memory and read the journal again."""
        assert self._taken is not None and self.journal is not None  # noqa: S101, PT018
        self.journal.flush()
        found = self._read()
        assert found.run is not None  # noqa: S101 - this run is on record
        with self._lock:
            self._shown = {
                path: max(self._shown.get(path, 0), self._written.get(path, 0))
                for path in {*self._shown, *self._written}
            }
            self._written, self._asked, self._delivered, self._heard, self._left = {}, {}, [], {}, {}
            self._refused = None
            if isinstance(self._signal, Restart):
                self._signal = None
        self._load(found.run)

    def _read(self) -> ThreadState:
        assert self._taken is not None and self.journal is not None  # noqa: S101, PT018
        self.journal.drain()
        holding = self._taken.holding
        head = holding.checkpointer.load_head(holding.thread)
        return _claim.read_thread(holding.checkpointer, holding.thread, head)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _conclude_unrecorded(self, ended: Ended) -> Returned:
        signal = self._ending(ended)
        if signal is not None:
            self._raise_stop(signal)
        if ended.error is not None:
            self._failed = True
            raise ended.error
        return Returned(value=ended.value.value if isinstance(ended.value, Final) else ended.value)

    def _conclude(self, ended: Ended) -> Rested:
        assert self.journal is not None  # noqa: S101 - a recorded run has one
        self.journal.before_end(rests=self._rests(ended))  # what cannot be written stops the run
        signal = self._ending(ended)
        if isinstance(signal, Aborted):
            self._conclude_aborted(signal.error)
        if isinstance(signal, Suspended):
            return self._pause()
        if signal is not None:
            if isinstance(self._cause, RunCancelled):
                written = dict(self._written)
                self._rest(
                    Cancelled(at=self._now(), reason=self._cause.reason, written=written), Status.CANCELLED
                )
            elif self.plan.background and self._cause is not None and not isinstance(signal, Aborted):
                # sys.exit() in a body that nobody waits for would only be met again by whoever goes on
                self._fail(MilepostError(f"the body of {self.workflow!r} raised {self._cause!r}"))
            else:
                self._release()
            self._raise_stop(signal)
        if ended.error is not None:
            self._fail(ended.error)
        return self._finish(ended.value)

    def _ending(self, ended: Ended) -> Signal | None:
        """Return the control flow that ends the execution; Ctrl-C counts even where no call has noticed it."""
        if isinstance(self._signal, Aborted):
            return self._signal
        return ended.signal if self._cause is None else Stopped()

    def _rests(self, ended: Ended) -> bool:
        """Tell whether a record will say how this ended; one that only stops leaves none."""
        signal = self._ending(ended)
        if isinstance(signal, Aborted):
            return isinstance(signal.error, _FAILURES)
        return signal is None or isinstance(signal, Suspended) or isinstance(self._cause, RunCancelled)

    def _raise_stop(self, signal: Signal) -> NoReturn:
        if isinstance(signal, Aborted):
            raise signal.error
        raise self._cause if self._cause is not None else self.engine.closed_error()

    def _conclude_aborted(self, error: Exception) -> NoReturn:
        """Divergence is on record, so that a person sees it; after lost ownership or storage nothing may be written."""
        if isinstance(error, _FAILURES):
            self._fail(error)
        if not isinstance(error, OwnershipLost):
            self._release()
        raise error if self._cause is None else self._cause  # Ctrl-C while writing is still Ctrl-C

    def _pause(self) -> Paused | Asleep:
        questions = _in_order(self._asked.values())
        running = self._unfinished()
        record = Interrupted(
            at=self._now(),
            questions=questions,
            written=dict(self._written),
            pending=tuple(running),
            unfinished=self._named(running, questions),
        )
        due = _fold.wake(questions) if all(question.sleeps for question in questions) else None
        try:
            self._rest(record, Status.INTERRUPTED if due is None else Status.SLEEPING)
        except TooLarge as error:
            self._fail(error)
        if self._refused is not None:
            raise self._refused
        return (
            Paused(interrupts=as_interrupts(questions))
            if due is None
            else Asleep(until=due, run=self.run_id or "")
        )

    def _finish(self, returned: Any) -> Returned:
        final = returned if isinstance(returned, Final) else None
        value = returned if final is None else final.value
        plan, journal = self.plan, self.journal
        assert journal is not None  # noqa: S101 - a recorded run has one
        where = f"the return value of {plan.step.name!r}"
        try:
            text = serde.encode(value, plan.step.returns, where=where, identity=f"{self.run_id}/result")
            result, save = journal.repeats(text), None
            if final is not None:
                saved_text = serde.encode(
                    final.save,
                    plan.save,
                    where=f"the value {plan.step.name!r} saves",
                    identity=f"{self.run_id}/save",
                )
                save = journal.repeats(saved_text)
            self._rest(Finished(run=self.run_id or "", at=self._now(), result=result, save=save), Status.DONE)
        except (NotSerializable, TooLarge) as error:
            self._fail(error)
        return Returned(value=value)

    def _fail(self, error: Exception) -> NoReturn:
        causes = self.sources(error)
        running = self._unfinished()
        record = Failed(
            at=self._now(),
            error=failure(error, where=f"workflow {self.plan.step.name!r}"),
            caused_by=causes,
            heard_at=self.heard_at(causes),
            written=dict(self._written),
            pending=tuple(running),
            unfinished=running,
        )
        try:
            self._rest(record, Status.FAILED)
        except TooLarge:
            self._rest(replace(record, error=shortened(record.error)), Status.FAILED)
        self._failed = True
        raise error

    def _rest(self, record: Interrupted | Finished | Failed | Cancelled, status: Status) -> None:
        questions = record.questions if isinstance(record, Interrupted) else ()
        assert self._taken is not None and self.journal is not None  # noqa: S101, PT018
        pending = tuple(question.id for question in questions if not question.sleeps)
        lay_down = partial(
            self._taken.holding.rest, status=status, pending=pending, wake=_fold.wake(questions)
        )
        self.journal.rest(record, lay_down)

    def _release(self) -> None:
        """Hand the thread back: what has begun is on record, and anybody may go on."""
        assert self._taken is not None and self.journal is not None  # noqa: S101, PT018
        with suppress(Exception):  # a journal that broke has nothing to write
            self.journal.flush()
        with suppress(
            StorageError
        ):  # the session ends with this call, so the thread can be taken all the same
            self._taken.holding.release(offer=self.plan.background or bool(self.run.started.background))

    def _unfinished(self) -> dict[str, str]:
        """Return the calls of the body that still run, and their names; what becomes of them is recorded later."""
        frame = self.root
        children = {} if frame is None else frame.children
        running = {path: future._name for path, future in children.items() if future.is_begun()}  # noqa: SLF001
        return dict(sorted(running.items(), key=lambda item: _ids.order(item[0])))

    def _named(self, running: dict[str, str], questions: tuple[Question, ...]) -> dict[str, str]:
        """Return what has begun and has no outcome: the calls that still run, and those that ask."""
        asking = {path for question in questions for path in _ids.callers(question.call)}
        with self._lock:
            return {path: name for path, name in self._left.items() if path in asking} | running

    def _now(self) -> str:
        return self.clock.now().isoformat()


def _in_order(questions: Iterable[Question]) -> tuple[Question, ...]:
    return tuple(sorted(questions, key=lambda question: _ids.order(question.call)))


def _lost(thread: str, position: int) -> OwnershipLost:
    return OwnershipLost(
        f"thread {thread!r} was taken over by another process; nothing further was written here: look at its state",
        thread_id=thread,
        position=position,
    )


class _WriteSoon(Struct):
    """What has a journal write what is queued, after a while."""

    journal: Journal

    def due(self) -> None:
        """Write."""
        self.journal.write_soon()

    def dropped(self) -> bool:
        """Wait on."""
        return False


def as_interrupts(questions: tuple[Question, ...]) -> tuple[Interrupt, ...]:
    """Return questions as callers see them; waits for a time are none."""
    from datetime import datetime

    return tuple(
        Interrupt(
            value=serde.decode(question.value.raw, where=f"question {question.id}", identity=question.id),
            id=question.id,
            response_schema=None if question.schema is None else question.schema.raw,
            key=question.key,
            expires_at=None if question.expires is None else datetime.fromisoformat(question.expires),
        )
        for question in questions
        if not question.sleeps
    )


def input_of(run: RunState, thread: str, declared: Any) -> Any:
    """Return the input of a run as recorded, decoded anew."""
    where, identity = f"the input of {run.started.workflow!r}", f"{thread}/input"
    return serde.decode(run.started.input.raw, declared, where=where, identity=identity)


def pending(run: RunState) -> tuple[Interrupt, ...]:
    """Return the questions that a run waits for."""
    return as_interrupts(tuple(run.questions[id_] for id_ in run.pending))


def saved(checkpointer: Checkpointer, thread: str, position: int | None, plan: Plan) -> Any:
    """Return what the run that finished at this position saved for the next; None where there was none."""
    finished = None if position is None else finished_at(checkpointer, thread, position)
    if finished is None:
        return None
    if finished.save is None:
        return returned(checkpointer, thread, finished, plan.step.returns)
    return _value(checkpointer, thread, finished.save, plan.save, f"{finished.run}/save")


def returned(checkpointer: Checkpointer, thread: str, record: Finished, declared: Any) -> Any:
    """Return a recorded return value."""
    return _value(checkpointer, thread, record.result, declared, f"{record.run}/result")


def _value(checkpointer: Checkpointer, thread: str, value: Value, declared: Any, place: str) -> Any:
    found = dereference(checkpointer, thread, value)
    return serde.decode(found.raw, declared, where=f"a value saved on thread {thread!r}", identity=place)
