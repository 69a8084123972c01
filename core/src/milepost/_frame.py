"""One execution of a body or a task: numbers its calls, compares them with the record, joins them."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, TypeAlias

from milepost import _async, _context, _ids, schema, serde
from milepost._asking import Sleeping
from milepost._call import Call, Ended, identity, raised
from milepost._clock import LOOK_SECONDS
from milepost._guarded import GuardedCall
from milepost._signals import Aborted, Fenced, Signal, Stopped, Suspended
from milepost._struct import replace
from milepost.checkpoint import Observed, Outcome, Question
from milepost.errors import (
    DivergenceError,
    InterruptExpired,
    InvalidAnswer,
    InvalidQuestion,
    NoCheckpointer,
    WouldBlock,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from milepost._asking import Asking
    from milepost._call import Execution
    from milepost._future import TaskFuture
    from milepost._guard import Guard
    from milepost._journal import Journal, Tried
    from milepost._step import Scope, Step
    from milepost.store import Store


_NO_TASKS: Final[dict[Any, Any]] = {}  # most frames have no strands
Gave: TypeAlias = Literal["cancel", "undecided", "drop", "leave"]


class Frame:
    """One execution of a body, a task or a nested workflow.

    What it does in an asyncio Task other than its own is a *strand*: a frame that numbers its calls for itself, and
    whose calls are the frame's to join. So the calls of coroutines side by side have the same places in every order.
    """

    __slots__ = (
        "_base",
        "_key",
        "above",
        "began",
        "children",
        "counted",
        "digest",
        "dropped",
        "execution",
        "family",
        "guard",
        "held",
        "home",
        "latched",
        "name",
        "observations",
        "ordinal",
        "over",
        "path",
        "scope",
        "strand_tasks",
        "strands",
    )

    def __init__(self, execution: Execution, *, path: str, name: str, scope: Scope) -> None:
        self.execution = execution
        self.path = path
        self.name = name
        self.scope = scope
        self.ordinal = 0
        self.observations = 0
        self.children: dict[str, TaskFuture[Any]] = {}
        self.latched: Signal | None = None
        self.guard: Guard | None = None
        self.digest = ""
        self.began = ""
        self._key = ""
        self.home: Any = None  # the asyncio Task that runs it, if one does
        self.above: Frame | None = None  # what it is a strand of
        self.strands = 0
        self.dropped = False  # its coroutine is cancelled, and that is no outcome
        self.over = False  # its coroutine has ended: what its strands still do does not count
        self.strand_tasks: dict[Any, Any] = _NO_TASKS
        self.counted: dict[str, int] | None = None  # how many writes that count once it made, by item
        self._base: Frame | None = None
        self.family: tuple[Frame, ...] = ()  # its strands that have made calls
        self.held: Signal | None = None  # the first signal that it or one of its strands has latched

    @property
    def base(self) -> Frame:
        """The frame that this is a strand of, in the end; itself where it is none."""
        return self if self._base is None else self._base

    def strand(self, task: Any) -> Frame:
        """Begin a strand for an asyncio Task."""
        made = Frame(
            self.execution, path=_ids.strand(self.path, self.strands), name=self.name, scope=self.scope
        )
        self.strands += 1
        made.home, made.above, made._base = task, self, self.base
        made.children, made.guard, made.began = self.children, self.guard, self.began
        if self.base.strand_tasks is _NO_TASKS:
            self.base.strand_tasks = {}
        _async.accompany(made, task)
        return made

    # -- what user code may learn --------------------------------------------------------------------------------

    @property
    def thread_id(self) -> str | None:
        """The thread's id."""
        return self.execution.thread_id

    @property
    def run_id(self) -> str | None:
        """The run's id."""
        return self.execution.run_id

    @property
    def config(self) -> Mapping[str, Any]:
        """The config of the call that started or resumed the run."""
        return self.execution.config

    @property
    def store(self) -> Store | None:
        """The store, or None."""
        return self.scope.store

    def write(self, value: Any) -> None:
        """Write a custom event, unless this frame wrote it before the run paused, or its time is up."""
        if isinstance(self.latched, Fenced):
            return
        if self.guard is not None:
            try:
                self.guard.check()
            except Fenced:
                return
        if self.execution.wrote(self.path, self.name, value):
            self.execution.telling.wrote(self.base, value)

    @property
    def attempt(self) -> int:
        """Which attempt at the task or the body this is, from 1."""
        return self.guard.number if self.guard is not None and self.guard.path == self.base.path else 1

    @property
    def first_attempt_at(self) -> str:
        """When the first attempt began, ISO 8601 in UTC; for the body, when the run began."""
        path = self.base.path
        if self.guard is not None and self.guard.path == path:
            return self.guard.first_at
        return (self.execution.started_at if path == _ids.ROOT else None) or self.began

    @property
    def deadline(self) -> float | None:
        """The seconds left until a time limit of this frame, or of one around it; None where there is none."""
        return None if self.guard is None else self.guard.deadline()

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts at this call, also after a crash; another for every other call and run."""
        if not self._key:
            base = self.base
            self._key = self.execution.key_of(base.path, base.name, base.digest)
        return self._key

    def once(self, place: str) -> str:
        """Return the key of this frame's next write of an item that counts once: the same at every attempt."""
        if self.counted is None:
            self.counted = {}
        number = self.counted[place] = self.counted.get(place, 0) + 1
        strand = self.path[len(self.base.path) :]
        return f"{self.idempotency_key}{strand}{'' if number == 1 else f'#{number}'}"

    def heartbeat(self) -> None:
        """Give a sign of life; a frame that is to stop learns it here."""
        self.enter()
        if self.guard is not None:
            self.guard.beat(is_heartbeat=True)

    # -- calls ---------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Begin any call into milepost: what stops this frame is raised here, again and again."""
        if self.latched is not None:
            raise self.latched
        if self._base is not None and self._base.over:
            raise self.latch(Stopped())
        if self.execution.pool.is_limited:
            self.execution.pool.catch_up()
        try:
            self.execution.check()
            if self.guard is not None:
                self.guard.check()
        except Signal as signal:
            self.latched = signal
            raise

    def _check(self) -> None:
        self.execution.check()
        if self.guard is not None:
            self.guard.check()

    def latch(self, signal: Signal) -> Signal:
        """Remember the signal that ends this frame, in case user code swallows it."""
        if self.latched is None:
            self.latched = signal
        base = self.base
        if base.held is None:
            base.held = signal
        return signal

    def _next(self) -> int:
        """Return the next call's ordinal."""
        ordinal, self.ordinal = self.ordinal, self.ordinal + 1
        if ordinal == 0 and self._base is not None:
            self._base.family += (self,)
        return ordinal

    def call(
        self,
        step: Step,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        scope: Scope | None = None,
        inline: bool = False,
    ) -> TaskFuture[Any]:
        """Make a call: answer it from the record, or begin it; ``inline`` runs it here and now."""
        from milepost._future import TaskFuture

        self.enter()
        ordinal = self._next()
        path = _ids.child(self.path, ordinal)
        future: TaskFuture[Any] = TaskFuture(self, path, step.name)
        digest = shows = ""
        recorded = None
        journal = self.execution.journal
        if journal is not None:
            digest, shows = serde.digest(*step.bound(args, kwargs))
            recorded = self._recalled(journal, ordinal, step, (digest, shows))
        self.children[path] = future
        future.seen = partial(self.children.pop, path, None)
        scope = self.scope if scope is None else scope
        if recorded is not None:
            self._replay(future, *recorded, step)
            if self.execution.watch.calls:
                inner = Frame(self.execution, path=path, name=step.name, scope=scope)
                self._tell_replay(Call(self, step, args, kwargs, future, (digest, shows), inner), recorded[0])
            return future
        call = self._begun(future, step, (args, kwargs), (digest, shows), scope)
        future._call = call  # noqa: SLF001 - a future and its call are one concept in two halves
        if self.execution.pool.is_limited:
            call.runs_here = False
        if step.is_async:
            call.send()
        elif not inline or not call.runs_here:
            self.execution.pool.submit(call)
        elif call.claim():
            call.run()
        return future

    def _begun(
        self,
        future: TaskFuture[Any],
        step: Step,
        given: tuple[tuple[Any, ...], Mapping[str, Any]],
        made: tuple[str, str],
        scope: Scope,
    ) -> Call:
        """Return the call of what has no outcome on record; attempts at it may be."""
        path, journal = future._path, self.execution.journal  # noqa: SLF001
        inner = Frame(self.execution, path=path, name=step.name, scope=scope)
        inner.digest, inner.guard = made[0], self.guard
        kind = Call if step.policies is None else GuardedCall
        call = kind(self, step, *given, future, made, inner)
        tried = None
        if journal is not None and journal.unsettled:
            tried = self._tried(journal, path, step, made)
        if tried is not None:
            call.take_up(tried)
        return call

    # -- questions -----------------------------------------------------------------------------------------------

    def sleep(self, wait: Sleeping) -> None:
        """Suspend until a time; where nothing is recorded, wait for it here."""
        execution = self.execution
        if execution.journal is not None:
            self.ask(wait)
            return
        if _context.runs_loop():
            raise WouldBlock(
                "sleep() without a checkpointer would block the event loop: await asyncio.sleep() instead"
            )
        end = wait.due(execution.clock.now())
        execution.pool.begin_wait()
        try:
            while True:
                self.enter()
                left = (end - execution.clock.now()).total_seconds()
                if left <= 0:
                    return
                execution.clock.wait(threading.Event(), min(left, LOOK_SECONDS))
        finally:
            execution.pool.end_wait()

    def ask(self, asking: Asking | Sleeping) -> Any:
        """Return the answer to a question, or suspend until there is one."""
        self.enter()
        execution = self.execution
        if execution.journal is None or execution.run_id is None:
            raise NoCheckpointer(
                f"interrupt() in {self.name!r} needs a checkpointer to keep the question: pass checkpointer= to "
                f'@entrypoint (for example "sqlite:///app.db") or to the engine, or set MILEPOST_CHECKPOINTER'
            )
        ordinal = self._next()
        path = _ids.child(self.path, ordinal)
        digest, shows = serde.digest((asking.value,), {})
        known = self._known(asking, path, digest, shows)
        id_ = self._id_of(asking, known, path, digest)
        if id_ in execution.expired:
            raise InterruptExpired(
                f"nobody answered {id_}, asked in {self.name!r}, in time",
                thread_id=self.thread_id or "",
                id=id_,
            )
        answer = execution.answers.get(id_)
        refused: str | None = None
        where = f"{asking.verb}() in {self.name!r}"
        if answer is None and known is None and asking.is_over(execution.clock.now()):
            return None
        if answer is not None:
            try:
                return asking.answer(answer, id_)
            except schema.Unfit as unfit:
                refused = self._refuse(id_, unfit)
        question = asking.question(id=id_, call=path, digest=digest, where=where)
        expires = asking.expires(execution.clock.now())
        if known is not None and known.expires is not None and expires is not None:
            expires = known.expires
        return self._suspend(replace(question, expires=expires, refused=refused))

    def _id_of(self, asking: Asking | Sleeping, known: Question | None, path: str, digest: str) -> str:
        run = self.execution.run_id or ""
        if known is not None:
            return known.id
        if asking.key is not None:
            return _ids.keyed_interrupt_id(run, asking.key)
        return _ids.interrupt_id(run, path, digest)

    def _known(self, asking: Asking | Sleeping, path: str, digest: str, shows: str) -> Question | None:
        """Return the same question as it is on record; find another call or question in its place."""
        execution, journal = self.execution, self.execution.journal
        assert journal is not None  # noqa: S101 - `ask` has checked
        recorded = journal.recall(self.path, _ids.split(path)[1])
        known = execution.asked_at.pop(path, None)
        if journal.is_loose(path):
            journal.give_way(path)
        elif recorded is not None:
            self.diverge(path, _show(recorded[0].name, recorded[0].shows), _show(asking.verb, shows))
        elif known is not None and not _is_same(known, asking, digest):
            self.diverge(path, _show_question(known), _show(asking.verb, shows))
        if known is not None and not _is_same(known, asking, digest):
            known = None  # on a branch that may differ
        return known if asking.key is None else self._keyed(asking.key, path) or known

    def _keyed(self, key: str, path: str) -> Question | None:
        """Return what is on record under a key, which no other call of the run may use."""
        first = self.execution.use_key(key, path)
        if first != path:
            raise InvalidQuestion(
                f"interrupt(key={key!r}) in {self.name!r}: call {first} of this run has asked under this key; in a "
                f"loop, make what differs a part of it: key=f'{key}-{{number}}'"
            )
        return self.execution.asked_by_key.pop(key, None)

    def _refuse(self, id_: str, unfit: schema.Unfit) -> str:
        """Keep what the body says of an answer, for whoever gave it."""
        error = InvalidAnswer(
            f"the answer to {id_} of thread {self.thread_id!r} does not do: {unfit}. The question is pending again",
            thread_id=self.thread_id or "",
            id=id_,
            path=unfit.path,
            expected=unfit.expected,
        )
        error.__cause__ = unfit.__cause__
        self.execution.refuse(error)
        return str(unfit)

    def _suspend(self, question: Question) -> NoReturn:
        self._check_forgotten(question.call)
        self.execution.ask(question)
        raise self.latch(Suspended())

    # -- what a frame sees of races ------------------------------------------------------------------------------

    def observe(self, what: str, call: str, live: Callable[[], bool]) -> bool:
        """Answer as recorded, or look and record it."""
        self.enter()
        number, known = self.next_observation(what, call)
        if known is not None:
            return known.answer
        answer = live()
        self.saw(number, what, call, answer=answer)
        return answer

    def times_out(self, call: str, live: Callable[[], bool]) -> bool:
        """Tell whether a wait timed out: as recorded, or by waiting. Only time-outs are recorded."""
        number, known = self.next_observation("timeout", call)
        if known is not None:
            return True
        timed_out = live()
        if timed_out:
            self.saw(number, "timeout", call, answer=True)
        return timed_out

    def next_observation(self, what: str, call: str) -> tuple[int, Observed | None]:
        """Return the number of the frame's next observation, and what is on record for it."""
        number, self.observations = self.observations, self.observations + 1
        journal = self.execution.journal
        known = None if journal is None else journal.observed(self.path, number)
        if known is not None and (known.what, known.call) != (what, call):
            self.diverge(known.call, f"{known.what} of call {known.call}", f"{what} of call {call}")
        return number, known

    def saw(self, number: int, what: str, call: str, *, answer: bool) -> None:
        """Record an observation."""
        journal = self.execution.journal
        if journal is not None:
            journal.observe(
                Observed(
                    frame=self.path,
                    number=number,
                    made=self.ordinal,
                    what=what,
                    call=call,
                    answer=answer,
                    above=self._made_above(),
                )
            )

    def _made_above(self) -> tuple[int, ...]:
        made, frame = [], self.above
        while frame is not None:
            made.append(frame.ordinal)
            frame = frame.above
        return tuple(made)

    def gave_up(self, number: int, call: str, *, known: bool) -> Gave:
        """Tell that awaiting a call was cancelled; return what becomes of the call.

        Where the run stops or this frame has ended, the call is left alone; where the frame's time is up, it is
        dropped. Where the frame suspends, or is itself
        dropped, it is not known whether the awaiting would have been cancelled but for that (``asyncio.TaskGroup``
        cancels what is beside a question): the call goes on for as long as a pause waits, is then dropped, and runs
        again when it is awaited again. Otherwise the call is cancelled, and what cancelled it is recorded.
        """
        base = self.base
        try:
            self._check()
        except Signal as signal:
            self.latch(signal)
            return "drop" if isinstance(signal, Fenced) else "leave"
        if base.dropped or base.held is not None:
            self.latch(base.held or Stopped())
            return "undecided"
        if base.over:
            return "leave"
        if not known:
            self.saw(number, "await", call, answer=True)
        return "cancel"

    def received(self, future: TaskFuture[Any], *, live: bool) -> None:
        """Tell that this frame has waited for a future; a suspended one suspends this frame too."""
        future.seen()
        if isinstance(future._exception, Exception) and future._frame.base is self.base:  # noqa: SLF001
            self.execution.heard(future._path, future._frame.made(future._path))  # noqa: SLF001
        signal = future._signal()  # noqa: SLF001
        if signal is not None:
            raise self.latch(signal)
        if live:
            try:
                self.execution.received()
            except Signal as restart:
                raise self.latch(restart) from None

    def made(self, call: str) -> dict[str, int]:
        """Return how many calls this frame, which made ``call``, and its strands have made, as ``heard_at`` has it."""
        base, made = self.base, {call: self.ordinal}
        if base.strands:
            made |= {f"{call}@{each.path}": each.ordinal for each in (base, *base.family) if each is not self}
        return made

    # -- divergence ----------------------------------------------------------------------------------------------

    def diverge(self, call: str, recorded: str | None, made: str | None) -> NoReturn:
        """Stop the run: the code does not do what it did."""
        place = f"thread {self.thread_id!r}, run {self.run_id}, in {self.name!r}"
        if made is None:
            text = f"{place}: call {call} is on record as {recorded} and was not made this time"
        else:
            text = f"{place}: call {call} is on record as {recorded} and was now made as {made}"
        began_under, version = self.execution.version, self.execution.code_version
        if began_under != version:
            text += f". The run began under version {began_under!r}, and this code is version {version!r}"
        error = DivergenceError(
            f"{text}. Put what differs between runs (time, randomness, I/O) into a task, or run the code that began "
            f"this run; then continue with invoke(None)",
            call=call,
            recorded=recorded,
            made=made,
            began_under=began_under,
            version=version,
        )
        raise self.latch(self.execution.abort(error))

    def _check_forgotten(self, before: str | None = None) -> None:
        """Find recorded calls and questions that were not made, when the frame returns or asks ``before`` them."""
        journal = self.execution.journal
        if journal is None:
            return
        parents = [self.path] if before is not None else journal.strands_of(self.path)
        found = {
            outcome.call: _show(outcome.name, outcome.shows)
            for parent in parents
            for outcome in journal.forgotten(parent)
        }
        for parent in parents:
            for call, tried in journal.forgotten_attempts(parent).items():
                found[call] = _show(tried.name, tried.shows)
        asked = list(self.execution.asked_at.values())
        if before is None:  # where a question with a key is asked is free; that it is asked is not
            asked += self.execution.asked_by_key.values()
        for question in asked:
            parent = _ids.split(question.call)[0]
            mine = parent if before is not None else _ids.frame_of(parent)
            if mine == self.path and not journal.is_loose(question.call):
                found[question.call] = _show_question(question)
        if found:
            first = min(found, key=_ids.order)
            self.diverge(first, found[first], None if before is None else f"interrupt (call {before})")

    def _recalled(
        self, journal: Journal, ordinal: int, step: Step, made: tuple[str, str]
    ) -> tuple[Outcome, int] | None:
        """Return what is on record for a call; find another call in its place."""
        path = _ids.child(self.path, ordinal)
        recorded = journal.recall(self.path, ordinal)
        question = self.execution.asked_at.get(path)
        if recorded is not None and (recorded[0].name, recorded[0].digest) == (step.name, made[0]):
            return recorded
        if journal.is_loose(path):
            journal.give_way(path)
        elif recorded is not None:
            self.diverge(path, _show(recorded[0].name, recorded[0].shows), _show(step.name, made[1]))
        elif question is not None:
            self.diverge(path, _show_question(question), _show(step.name, made[1]))
        return None

    def _tried(self, journal: Journal, path: str, step: Step, made: tuple[str, str]) -> Tried | None:
        """Return what is on record of a call without an outcome; find another call in its place."""
        tried = journal.tried(path)
        if tried is None or (tried.name, tried.digest) == (step.name, made[0]):
            return tried
        if not journal.is_loose(path):
            self.diverge(path, _show(tried.name, tried.shows), _show(step.name, made[1]))
        journal.give_way(path)
        return None

    def again(self) -> Frame:
        """Return a frame for the next attempt at what this one ran."""
        frame = Frame(self.execution, path=self.path, name=self.name, scope=self.scope)
        frame.digest, frame.dropped = self.digest, self.dropped
        return frame

    def leave(self) -> None:
        """Leave this frame behind: its time is up, and what its thread still does counts no longer."""
        self.latched = Fenced()

    def expire(self, error: Exception, patience: float) -> None:
        """Leave this body behind, and wait for the tasks that have begun; ``patience`` bounds that, in seconds."""
        self.leave()
        self._join(Ended(error=error), patience)

    def _replay(self, future: TaskFuture[Any], outcome: Outcome, order: int, step: Step) -> None:
        """Settle a future as recorded."""
        future._order = order  # noqa: SLF001
        if outcome.error is not None:
            error = raised(outcome.error)
            self.execution.delivered(error, outcome.call)
            future._settle(error=error, order=order)  # noqa: SLF001
        elif outcome.cancelled:
            future._settle_cancelled(order)  # noqa: SLF001
        else:
            future._replay(partial(self._decoded, outcome, step))  # noqa: SLF001

    def _tell_replay(self, call: Call, outcome: Outcome) -> None:
        """Tell those who watch; they get a copy of the result, since the body may change its own."""

        def end() -> Any:
            if outcome.error is not None:
                raise raised(outcome.error)
            return None if outcome.cancelled else self._decoded(outcome, call.step)

        call.began = outcome.began
        self.execution.telling.recalled(call, outcome, end)

    def _decoded(self, outcome: Outcome, step: Step) -> Any:
        journal = self.execution.journal
        assert journal is not None  # noqa: S101 - a recorded outcome has one
        assert outcome.result is not None  # noqa: S101 - so `_replay` found
        value = journal.resolve(outcome.result)
        return serde.decode(value.raw, step.returns, where=step.where, identity=identity(self, outcome.call))

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, function: Callable[[], Any], patience: float | None = None) -> Ended:
        """Run the function and join what it called; ``patience`` bounds the wait at a pause, in seconds."""
        ended = self._run(function)
        if self.latched is not None and ended.stop is None:
            ended = Ended(signal=self.latched)
        try:
            self._join(ended, patience)
            return self._surfaced(ended)
        except Signal as signal:
            return Ended(signal=signal)
        except Exception:
            raise
        except BaseException as cause:  # noqa: BLE001 - Ctrl-C while joining
            return self._stopped_again(cause, patience) if ended.stop is None else self._stopped(cause)

    def _stopped_again(self, cause: BaseException, patience: float | None) -> Ended:
        """Stop while joining: begin nothing, and wait for what has begun; being stopped once more ends that, too."""
        ended = self._stopped(cause)
        try:
            self._join(ended, patience)
        except BaseException as again:  # noqa: BLE001 - the second Ctrl-C
            return self._stopped(again)
        return ended

    def _run(self, function: Callable[[], Any]) -> Ended:
        try:
            return Ended(value=function())
        except Signal as signal:
            return Ended(signal=signal)
        except Exception as error:  # noqa: BLE001 - a task's failure is an outcome
            return Ended(error=error)
        except BaseException as cause:  # noqa: BLE001 - Ctrl-C and SystemExit stop the run, they are no outcome
            return self._unusual(cause)

    def _unusual(self, cause: BaseException) -> Ended:
        signal = _async.signal_in(cause)
        if signal is not None:
            return Ended(signal=signal)
        return self._cancelled(cause) if _async.is_cancellation(cause) else self._stopped(cause)

    def _cancelled(self, cause: BaseException) -> Ended:
        """Tell a coroutine that was cancelled because the run stops from one that ended as cancelled."""
        from concurrent.futures import CancelledError

        try:
            self._check()
        except Signal as signal:
            return Ended(signal=self.latch(signal))
        if self.dropped:
            return Ended(signal=self.latch(Stopped()))
        error = CancelledError(f"{self.name!r} was cancelled")
        error.__cause__ = cause
        return Ended(error=error, cancelled=True)

    def _stopped(self, cause: BaseException) -> Ended:
        self.execution.stop(cause)
        return Ended(signal=self.latch(Stopped()), stop=cause)

    def _join(self, ended: Ended, patience: float | None) -> None:
        """Wait for this frame's calls: on return and on a pause for all of them, else for those that have begun."""
        everything = ended.error is None and (ended.signal is None or isinstance(ended.signal, Suspended))
        stopped = isinstance(ended.signal, Stopped | Aborted)
        resting = ended.error is not None or ended.signal is not None
        deadline = self.execution.clock.monotonic() + patience if resting and patience is not None else None
        for future in list(self.children.values()):
            call = future._call  # noqa: SLF001
            if call is None:
                continue
            if not everything and call.claim():
                future._settle(error=Stopped())  # noqa: SLF001
            elif stopped and not call.begun:
                continue  # whoever has claimed it finds that the run stops; nobody has, if Ctrl-C came in between
            elif call.undecided and not future._block(self.execution.engine.pause_wait):  # noqa: SLF001
                call.drop()
            elif deadline is None:
                future._wait_here()  # noqa: SLF001
            elif not future._block(max(0.0, deadline - self.execution.clock.monotonic())):  # noqa: SLF001
                call.claim()  # what has not begun by now does not begin any more

    def _surfaced(self, ended: Ended) -> Ended:
        """Let what nobody asked about surface: on return, a child's question, signal or failure is this frame's own."""
        if ended.error is not None or ended.signal is not None:
            return ended
        unseen = list(self.children.values())
        signals = [signal for future in unseen if (signal := future._signal()) is not None]  # noqa: SLF001
        if signals:
            return Ended(signal=min(signals, key=lambda signal: isinstance(signal, Suspended)))
        self._check_forgotten()
        errors = [error for future in unseen if isinstance(error := future._exception, Exception)]  # noqa: SLF001
        if errors:
            for other in errors[1:]:
                errors[0].add_note(f"another task failed that nobody waited for: {other!r}")
            return Ended(error=errors[0])
        return ended


def _show(name: str, shows: str) -> str:
    return f"{name}({shows})"


def _show_question(question: Question) -> str:
    return f"{'sleep' if question.sleeps else 'interrupt'}({question.value.text})"


def _is_same(known: Question, asking: Asking | Sleeping, digest: str) -> bool:
    return known.digest == digest and bool(known.sleeps) == isinstance(asking, Sleeping)
