"""One execution of a body or a task: numbers its calls, compares them with the record, joins them.  (layer 7)"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from milepost import _context, _ids, _inject, serde
from milepost._journal import Entry
from milepost._signals import Aborted, Signal, Stopped, Suspended
from milepost._struct import Struct
from milepost.checkpoint import Failure, Observed, Outcome, Question, Value
from milepost.errors import DivergenceError, NoCheckpointer, NoStore, TaskFailed
from milepost.events import CustomWritten, TaskFinished, WorkflowFinished

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Mapping

    from milepost._clock import Clock
    from milepost._future import TaskFuture
    from milepost._journal import Journal
    from milepost._pool import Pool
    from milepost.checkpoint import Parent
    from milepost.events import Event, Namespace
    from milepost.store import Store


class Watch:
    """Who watches a run, and whether they have left: one function per namespace.

    A run that a call of another run began (``around``) has nobody left to watch it when that one stops.
    """

    def __init__(
        self, function: Callable[[Event], None] | None = None, *, around: Execution | None = None
    ) -> None:
        self.functions: dict[Namespace, Callable[[Event], None]] = {}
        self.left = False
        self._around = around
        if function is not None:
            self.functions[()] = function

    @property
    def is_gone(self) -> bool:
        """Whether the run is to stop because nobody waits for it any more."""
        return self.left or (self._around is not None and self._around.is_stopping)

    def tell(self, event: Event) -> None:
        """Hand an event to whoever watches its namespace."""
        function = self.functions.get(event.namespace)
        if function is not None:
            function(event)


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
    answers: dict[str, Value]
    asked_at: dict[str, Question]

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

    def emit(self, event: Event) -> None:
        """Tell the observers."""

    def wrote(self, path: str) -> bool:
        """Count a custom event of a frame; return whether it is new."""

    def ended(self, path: str) -> None:
        """Forget the counts of a frame whose outcome is recorded, and what its calls asked."""

    def delivered(self, error: BaseException, call: str) -> None:
        """Remember which call an exception came from."""

    def heard(self, call: str, made: int) -> None:
        """Remember how many calls a frame had made when it got the failure of this one."""

    def heard_at(self, calls: tuple[str, ...]) -> dict[str, int]:
        """Return what :meth:`heard` told of these calls."""

    def sources(self, error: BaseException) -> tuple[str, ...]:
        """Return the calls whose failures an exception carries."""

    def parent(self, call: str) -> Parent | None:
        """Return what names a call of this run to a run on another thread."""


class Step(Struct):
    """A function as milepost calls it: its name, its declared result, and what it wants injected."""

    name: str
    where: str
    function: Callable[..., Any]
    signature: inspect.Signature
    hints: Mapping[str, Any]
    injected: Mapping[str, inspect.Parameter]
    returns: Any = Any

    def bound(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Return the arguments in one normal form: ``f(1)`` and ``f(x=1)`` are the same call."""
        if not kwargs:
            return args, kwargs
        try:
            found = self.signature.bind_partial(*args, **kwargs)
        except TypeError:  # the call itself will say so
            return args, kwargs
        return found.args, found.kwargs

    def invoke(self, frame: Frame, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the function with what it wants injected; an argument given by the caller wins."""
        if not self.injected:
            return self.function(*args, **kwargs)
        given = {**kwargs}
        names = list(self.signature.parameters)
        for name, parameter in self.injected.items():
            positional = parameter.kind is parameter.POSITIONAL_OR_KEYWORD and names.index(name) < len(args)
            if name not in kwargs and not positional:
                self._fill(frame, parameter, given)
        return self.function(*args, **given)

    def _fill(self, frame: Frame, parameter: inspect.Parameter, given: dict[str, Any]) -> None:
        name = parameter.name
        if name == "config":
            given[name] = frame.config
        elif name == "writer":
            given[name] = frame.write
        elif name == "previous":
            previous = frame.scope.previous()
            if previous is not None or parameter.default is parameter.empty:
                given[name] = previous
        elif frame.store is not None:
            given[name] = frame.store
        elif parameter.default is parameter.empty:
            if not _inject.is_optional(parameter, self.hints):
                raise NoStore(
                    f"{self.where} asks for a store and none is configured: pass store= to @entrypoint or to the "
                    f"engine, or set MILEPOST_STORE"
                )
            given[name] = None


def _nothing() -> None:
    return None


class Scope(Struct):
    """What the frames of one workflow share: its place among nested ones, its store, how to get its ``previous``."""

    namespace: Namespace = ()
    store: Store | None = None
    previous: Callable[[], Any] = _nothing


class Ended:
    """How a frame ended: with a value, an error, a signal, or an exception that is neither (``stop``)."""

    __slots__ = ("error", "signal", "stop", "value")

    def __init__(
        self,
        *,
        value: Any = None,
        error: Exception | None = None,
        signal: Signal | None = None,
        stop: BaseException | None = None,
    ) -> None:
        self.value = value
        self.error = error
        self.signal = signal
        self.stop = stop


class Frame:
    """One execution of a body, a task or a nested workflow."""

    __slots__ = (
        "children",
        "execution",
        "latched",
        "name",
        "observations",
        "ordinal",
        "path",
        "scope",
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
        """Write a custom event, unless this frame wrote it before the run paused."""
        if self.execution.wrote(self.path):
            self.execution.emit(CustomWritten(namespace=self.scope.namespace, call=self.path, value=value))

    # -- calls ---------------------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Begin any call into milepost: what stops this frame is raised here, again and again."""
        if self.latched is not None:
            raise self.latched
        try:
            self.execution.check()
        except Signal as signal:
            self.latched = signal
            raise

    def latch(self, signal: Signal) -> Signal:
        """Remember the signal that ends this frame, in case user code swallows it."""
        if self.latched is None:
            self.latched = signal
        return signal

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
        ordinal, self.ordinal = self.ordinal, self.ordinal + 1
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
        if recorded is not None:
            self._replay(future, *recorded, step)
            return future
        call = Call(self, step, args, kwargs, future, (digest, shows), scope)
        future._call = call  # noqa: SLF001 - a future and its call are one concept in two halves
        if not inline:
            self.execution.pool.submit(call)
        elif call.claim():
            call.run()
        return future

    def ask(self, value: Any) -> Any:
        """Return the answer to a question, or suspend until there is one."""
        self.enter()
        journal = self.execution.journal
        if journal is None or self.execution.run_id is None:
            raise NoCheckpointer(
                f"interrupt() in {self.name!r} needs a checkpointer to keep the question: pass checkpointer= to "
                f'@entrypoint (for example "sqlite:///app.db") or to the engine, or set MILEPOST_CHECKPOINTER'
            )
        ordinal, self.ordinal = self.ordinal, self.ordinal + 1
        path = _ids.child(self.path, ordinal)
        digest, shows = serde.digest((value,), {})
        recorded = journal.recall(self.path, ordinal)
        known = self.execution.asked_at.pop(path, None)
        if journal.is_loose(path):
            journal.give_way(path)
        elif recorded is not None:
            self.diverge(path, _show(recorded[0].name, recorded[0].shows), _show("interrupt", shows))
        elif known is not None and known.digest != digest:
            self.diverge(path, _show_question(known), _show("interrupt", shows))
        same = known if known is not None and known.digest == digest else None
        id_ = _ids.interrupt_id(self.execution.run_id, path, digest) if same is None else same.id
        answer = self.execution.answers.get(id_)
        if answer is not None:
            return serde.decode(answer.raw, where=f"the answer to {id_}", identity=f"{id_}/answer")
        return self._suspend(Question(id=id_, call=path, value=self._encoded(value, id_), digest=digest))

    def _encoded(self, value: Any, id_: str) -> Value:
        return Value(text=serde.encode(value, where=f"interrupt() in {self.name!r}", identity=id_))

    def _suspend(self, question: Question) -> NoReturn:
        self._check_forgotten(question.call)
        self.execution.ask(question)
        raise self.latch(Suspended())

    # -- what a frame sees of races ------------------------------------------------------------------------------

    def observe(self, what: str, call: str, live: Callable[[], bool]) -> bool:
        """Answer as recorded, or look and record it."""
        self.enter()
        number, known = self._next_observation(what, call)
        if known is not None:
            return known.answer
        answer = live()
        self._record_observation(number, what, call, answer=answer)
        return answer

    def times_out(self, call: str, live: Callable[[], bool]) -> bool:
        """Tell whether a wait timed out: as recorded, or by waiting. Only time-outs are recorded."""
        number, known = self._next_observation("timeout", call)
        if known is not None:
            return True
        timed_out = live()
        if timed_out:
            self._record_observation(number, "timeout", call, answer=True)
        return timed_out

    def _next_observation(self, what: str, call: str) -> tuple[int, Observed | None]:
        number, self.observations = self.observations, self.observations + 1
        journal = self.execution.journal
        known = None if journal is None else journal.observed(self.path, number)
        if known is not None and (known.what, known.call) != (what, call):
            self.diverge(known.call, f"{known.what} of call {known.call}", f"{what} of call {call}")
        return number, known

    def _record_observation(self, number: int, what: str, call: str, *, answer: bool) -> None:
        journal = self.execution.journal
        if journal is not None:
            journal.observe(
                Observed(
                    frame=self.path, number=number, made=self.ordinal, what=what, call=call, answer=answer
                )
            )

    def received(self, future: TaskFuture[Any], *, live: bool) -> None:
        """Tell that this frame has waited for a future; a suspended one suspends this frame too."""
        future.seen()
        if isinstance(future._exception, Exception) and _ids.split(future._path)[0] == self.path:  # noqa: SLF001
            self.execution.heard(future._path, self.ordinal)  # noqa: SLF001
        signal = future._signal()  # noqa: SLF001
        if signal is not None:
            raise self.latch(signal)
        if live:
            try:
                self.execution.received()
            except Signal as restart:
                raise self.latch(restart) from None

    # -- divergence ----------------------------------------------------------------------------------------------

    def diverge(self, call: str, recorded: str | None, made: str | None) -> NoReturn:
        """Stop the run: the code does not do what it did."""
        place = f"thread {self.thread_id!r}, run {self.run_id}, in {self.name!r}"
        if made is None:
            text = f"{place}: call {call} is on record as {recorded} and was not made this time"
        else:
            text = f"{place}: call {call} is on record as {recorded} and was now made as {made}"
        error = DivergenceError(
            f"{text}. Put what differs between runs (time, randomness, I/O) into a task, or run the code that began "
            f"this run; then continue with invoke(None)",
            call=call,
            recorded=recorded,
            made=made,
        )
        raise self.latch(self.execution.abort(error))

    def _check_forgotten(self, before: str | None = None) -> None:
        """Find recorded calls and questions that were not made, when the frame returns or asks ``before`` them."""
        journal = self.execution.journal
        if journal is None:
            return
        found = {outcome.call: _show(outcome.name, outcome.shows) for outcome in journal.forgotten(self.path)}
        for call, question in list(self.execution.asked_at.items()):
            if _ids.split(call)[0] == self.path and not journal.is_loose(call):
                found[call] = _show_question(question)
        if found:
            first = min(found, key=lambda call: _ids.split(call)[1])
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
            return self._stopped(cause)

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


class Call:
    """A call that is not on record: claimed by one thread, run once, its outcome recorded."""

    __slots__ = ("_made", "_permit", "args", "began", "begun", "frame", "future", "inner", "kwargs", "step")

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place
        self,
        frame: Frame,
        step: Step,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        future: TaskFuture[Any],
        made: tuple[str, str],
        scope: Scope | None,
    ) -> None:
        self.frame = frame
        self.step = step
        self.args = args
        self.kwargs = kwargs
        self.future = future
        self.inner = Frame(
            frame.execution,
            path=future._path,  # noqa: SLF001
            name=step.name,
            scope=frame.scope if scope is None else scope,
        )
        self.begun = False
        self.began = ""
        self._made = made
        self._permit = [True]

    def claim(self) -> bool:
        """Return True to exactly one caller: it runs the call, or cancels it, or sees to it that nobody does."""
        try:
            return self._permit.pop()
        except IndexError:
            return False

    def run(self) -> None:
        """Run the function in a context of its own and record what became of it; raises nothing."""
        execution = self.frame.execution
        try:
            self.begun = True
            self.began = execution.clock.now().isoformat()
            execution.check()
            _context.run_apart(self.inner, execution.engine, self._run)
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
        if self.frame.execution.journal is None:
            self.future._settle_cancelled(-1)  # noqa: SLF001
        else:
            self._record(self._outcome(cancelled=True), None, None)

    def _run(self) -> None:
        inner, step = self.inner, self.step
        ended = inner.run(lambda: step.invoke(inner, self.args, self.kwargs))
        if ended.signal is not None:
            self.future._settle(error=ended.signal)  # noqa: SLF001
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
            **what,
        )

    def _record(self, outcome: Outcome, copy: Any, error: Exception | None, result: Any = None) -> None:
        journal = self.frame.execution.journal
        assert journal is not None  # noqa: S101
        heard = [error]

        def done(order: int) -> None:
            if outcome.cancelled:
                self.future._settle_cancelled(order)  # noqa: SLF001
            else:
                self._resolve(copy, heard[0], order, result)

        def failed(cause: Exception) -> None:
            self.future._settle(error=self.frame.execution.abort(cause))  # noqa: SLF001

        def shrunk(cause: Exception) -> Outcome:
            heard[0] = cause
            return self._outcome(error=failure(cause, where=self.step.where))

        journal.record(Entry(record=outcome, done=done, failed=failed, shrunk=shrunk))

    def _resolve(self, copy: Any, error: Exception | None, order: int, result: Any = None) -> None:
        """Tell the observers, then the future."""
        execution, path = self.frame.execution, self.future._path  # noqa: SLF001
        execution.ended(path)
        if error is not None:
            execution.delivered(error, path)
            self.future._settle(error=error, order=order)  # noqa: SLF001
            return
        shown = copy if result is None else result
        if self.inner.scope is self.frame.scope:
            event: Event = TaskFinished(
                namespace=self.frame.scope.namespace, call=path, name=self.step.name, result=shown
            )
        else:
            event = WorkflowFinished(namespace=self.inner.scope.namespace, name=self.step.name, result=shown)
        execution.emit(event)
        self.future._settle(copy, order=order)  # noqa: SLF001


def _show(name: str, shows: str) -> str:
    return f"{name}({shows})"


def _show_question(question: Question) -> str:
    return f"interrupt({question.value.text})"


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
