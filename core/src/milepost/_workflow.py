"""``@entrypoint``: workflows, and the ways to run them and to look at them.  (layer 13)"""

from __future__ import annotations

import functools
import types
import typing
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from milepost import _claim, _context, _inject, _owner, _stream, serde, state
from milepost._call import Watch
from milepost._engine import current_engine
from milepost._run import Execution, Final, Paused, Plan, Returned, finished_at, pending, returned
from milepost._step import Scope
from milepost._struct import Struct, replace
from milepost._task import step_of
from milepost.checkpoint import Status, Value, check_thread_id
from milepost.errors import EngineClosed, InvalidCommand, InvalidDefinition, MissingThreadId, NoCheckpointer
from milepost.events import RunInterrupted, WorkflowFinished
from milepost.question import INTERRUPT, Command

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from milepost._engine import Engine
    from milepost._frame import Frame
    from milepost._inject import RunnableConfig
    from milepost._lease import Holding
    from milepost.checkpoint import Checkpointer, Parent
    from milepost.events import Event
    from milepost.state import StateSnapshot
    from milepost.store import Store

I = TypeVar("I")  # noqa: E741 - the input
R = TypeVar("R")
S = TypeVar("S")


class _Place(Struct):
    """Where a call of a workflow runs: on which engine, backend and thread."""

    engine: Engine
    checkpointer: Checkpointer | None
    thread: str | None
    config: Mapping[str, Any]


class Workflow(Generic[I, R]):
    """A function under ``@entrypoint``: call ``invoke`` or ``stream``; ``func`` is the function itself."""

    def __init__(
        self,
        function: Callable[..., R],
        *,
        checkpointer: str | Checkpointer | None = None,
        store: str | Store | None = None,
    ) -> None:
        self.func = function
        self._checkpointer = checkpointer
        self._store = store
        self._step = step_of(function, name=None, kind="entrypoint")
        _check_parameters(self._step.where, self._step.signature, self._step.injected)
        self._step, self._save = _split_final(self._step)
        input_name = next(iter(self._step.signature.parameters))
        self._accepts = self._step.hints.get(input_name, Any)
        self._step = replace(
            self._step, injected={name: p for name, p in self._step.injected.items() if name != input_name}
        )
        self._nested = replace(self._step, function=_without_final(function))
        functools.update_wrapper(cast(Any, self), function, updated=())
        self.__name__ = self._step.name

    @property
    def name(self) -> str:
        """The workflow's name; the key of its result in ``updates``."""
        return self._step.name

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"

    # -- running -------------------------------------------------------------------------------------------------

    def invoke(
        self,
        input: I | Command | None,  # noqa: A002 - LangGraph's name
        config: RunnableConfig | Mapping[str, Any] | None = None,
        *,
        thread_id: str | None = None,
    ) -> Any:
        """Run the workflow and return what it returns, or ``{"__interrupt__": [Interrupt, …]}`` when it asks.

        Inside a body or a task this is a recorded call of the run around it: on the same thread it is part of that
        run, on another thread it is a run of its own whose result is recorded here.

        Args:
            input: a value starts a run (and abandons one that was interrupted, failed or cut off); a ``Command``
                answers what the run asks; ``None`` continues after an error or a crash, and gives the last result,
                or the pending questions, where nothing is left to do.
            config: ``{"configurable": {"thread_id": …}, …}``; body and tasks can read it.
            thread_id: the thread, in place of the config's.

        Raises:
            MissingThreadId: there is a checkpointer and no thread id.
            ThreadBusy: a live run holds the thread.
            UnknownThread, NothingToResume, AlreadyAnswered, UnknownInterrupt, AmbiguousAnswer, WrongWorkflow: as
            they say. NotSerializable: the input, or what the body returned, cannot be kept.
            DivergenceError: the body did not repeat the calls on record.
            Exception: what the body raised; continue with ``invoke(None)``.
        """
        frame: Frame | None = _context.frame()
        if frame is not None:
            return self._invoke_nested(frame, input, config, thread_id)
        return _answer(self._run(self._place(config, thread_id), input, Watch()))

    def stream(
        self,
        input: I | Command | None,  # noqa: A002
        config: RunnableConfig | Mapping[str, Any] | None = None,
        *,
        thread_id: str | None = None,
        stream_mode: str | Sequence[str] = "updates",
    ) -> Iterator[Any]:
        """Run the workflow and yield what happens, as it happens; nothing begins before the first ``next``.

        Modes: ``"updates"`` yields ``{task: result}`` for each task once its result is recorded, at last
        ``{workflow: result}`` or ``{"__interrupt__": (Interrupt, …)}``; ``"values"`` yields the result (or the
        interrupts); ``"custom"`` what body and tasks write. A list of modes yields ``(mode, chunk)`` pairs.

        A consumer that stops early (``close()``, ``break``) stops the run at its next call into milepost; the tasks
        that have begun are recorded, and ``invoke(None)`` continues.

        Args:
            input: as for :meth:`invoke`.
            config: as for :meth:`invoke`.
            thread_id: as for :meth:`invoke`.
            stream_mode: one mode, or a list of modes.

        Raises:
            InvalidStreamMode: a mode does not exist.
            MilepostError: what :meth:`invoke` raises, at the first ``next``.
        """
        modes, labelled = _stream.checked(stream_mode)
        frame: Frame | None = _context.frame()
        if frame is not None:
            return self._stream_nested(frame, input, config, thread_id, (modes, labelled))
        place = self._place(config, thread_id)
        watch = Watch()

        def work(tell: Callable[[Event], None]) -> None:
            watch.functions[()] = tell
            self._run(place, input, watch)

        def leave() -> None:
            watch.left = True

        return _stream.iterate(work, leave, modes, labelled=labelled, pool=place.engine.pool)

    def _run(
        self, place: _Place, given: I | Command | None, watch: Watch, parent: Parent | None = None
    ) -> Returned | Paused:
        executing = place.engine.executing()
        try:
            executing.enter()
            plan = self._plan(place)
            if place.checkpointer is None:
                if isinstance(given, Command):
                    raise NoCheckpointer(
                        f"workflow {self.name!r} has no checkpointer, so there is nothing to resume"
                    )
                return Execution(plan, watch).execute(given)
            return self._run_recorded(place, plan, given, watch, parent)
        finally:
            executing.leave()

    def _run_recorded(
        self, place: _Place, plan: Plan, given: I | Command | None, watch: Watch, parent: Parent | None
    ) -> Returned | Paused:
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018 - `_place` saw to it
        taker = _claim.Taker(
            checkpointer=place.checkpointer,
            thread=place.thread,
            clock=place.engine.clock,
            watch=place.engine.watch,
            lease=place.engine.lease,
        )
        request, owner = self._request(place, given, parent), _owner.make()
        end = _owner.ending(owner)
        try:
            _owner.enter(owner)
            taken = _claim.take(taker, request, owner)
            if isinstance(taken, _claim.Settled):
                return self._settled(place, taken, watch)
            return self._execute(place, Execution(plan, watch, taken), taken.holding)
        finally:
            end()

    def _execute(self, place: _Place, execution: Execution, holding: Holding) -> Returned | Paused:
        place.engine.keeper.hold(holding)
        try:
            return execution.execute()
        finally:
            place.engine.keeper.let_go(holding)

    def _request(self, place: _Place, given: I | Command | None, parent: Parent | None) -> _claim.Request:
        if isinstance(given, Command):
            return _claim.Resume(workflow=self.name, command=given)
        if given is None and parent is None:
            return _claim.Continue(workflow=self.name)
        where = f"the input of {self.name!r}"
        text = serde.encode(given, self._accepts, where=where, identity=f"{place.thread}/input")
        return _claim.Start(workflow=self.name, input=Value(text=text), parent=parent)

    def _settled(self, place: _Place, settled: _claim.Settled, watch: Watch) -> Returned | Paused:
        run = settled.run
        if run.finished is None:
            interrupts = pending(run)
            watch.tell(RunInterrupted(namespace=(), interrupts=interrupts))
            return Paused(interrupts=interrupts)
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        value = returned(place.checkpointer, place.thread, run.finished, self._step.returns)
        return Returned(value=value)

    def _plan(self, place: _Place) -> Plan:
        return Plan(
            step=self._step,
            save=self._save,
            accepts=self._accepts,
            config=place.config,
            store=place.engine.store_for(self, self._store),
            pool=place.engine.pool,
            clock=place.engine.clock,
            engine=place.engine,
            patience=place.engine.pause_wait,
            replay_always=place.engine.replay_always,
        )

    def _place(self, config: RunnableConfig | Mapping[str, Any] | None, thread_id: str | None) -> _Place:
        engine = current_engine()
        checkpointer = engine.checkpointer_for(self, self._checkpointer)
        merged, thread = _with_thread(config, thread_id)
        if checkpointer is None:
            thread = None
        elif thread is None:
            raise MissingThreadId(
                f'workflow {self.name!r} has a checkpointer, so each call names its thread: pass thread_id="…" or '
                f'config={{"configurable": {{"thread_id": "…"}}}}'
            )
        else:
            thread = check_thread_id(thread)
        return _Place(engine=engine, checkpointer=checkpointer, thread=thread, config=merged)

    # -- inside another run --------------------------------------------------------------------------------------

    def _invoke_nested(
        self,
        frame: Frame,
        given: I | Command | None,
        config: RunnableConfig | Mapping[str, Any] | None,
        thread_id: str | None,
    ) -> Any:
        merged, thread = _with_thread(config, thread_id)
        if self._is_elsewhere(frame, thread):
            return self._call_elsewhere(frame, given, merged)
        if isinstance(given, Command):
            raise InvalidCommand(
                f"workflow {self.name!r} runs here as part of the run around it: answers go to that run's thread"
            )
        return frame.call(self._nested, (given,), {}, scope=self._scope(frame), inline=True).result()

    def _is_elsewhere(self, frame: Frame, thread: Any) -> bool:
        """Tell whether a nested call names another thread, or the same id in another backend."""
        if thread is None:
            return False
        checkpointer = current_engine().checkpointer_for(self, self._checkpointer)
        journal = frame.execution.journal
        around = None if journal is None else journal.checkpointer
        if checkpointer is None:
            return False
        return check_thread_id(thread) != frame.thread_id or checkpointer is not around

    def _call_elsewhere(self, frame: Frame, given: I | Command | None, config: Mapping[str, Any]) -> Any:
        place = self._place(cast("RunnableConfig", config), None)

        def run_there(given: I | Command | None, _thread: str) -> Any:
            inner: Frame = _context.required("a nested workflow")
            parent = None if isinstance(given, Command) else inner.execution.parent(inner.path)
            try:
                return _answer(self._run(place, given, Watch(around=inner.execution), parent))
            except EngineClosed:
                inner.execution.check()  # the run around it stops, too: that is no outcome of this call
                raise

        step = replace(self._step, function=run_there, injected={}, returns=self._step.returns)
        return frame.call(step, (given, place.thread), {}, scope=self._scope(frame), inline=True).result()

    def _scope(self, frame: Frame) -> Scope:
        store = current_engine().store_for(self, self._store) if self._store is not None else frame.store
        return Scope(
            namespace=(*frame.scope.namespace, f"{self.name}:{frame.path}/{frame.ordinal}"), store=store
        )

    def _stream_nested(
        self,
        frame: Frame,
        given: I | Command | None,
        config: RunnableConfig | Mapping[str, Any] | None,
        thread_id: str | None,
        modes: tuple[tuple[str, ...], bool],
    ) -> Iterator[Any]:
        def work(tell: Callable[[Event], None]) -> None:
            scope = self._scope(frame)
            watch = frame.execution.watch
            watch.functions[scope.namespace] = tell
            try:
                value = self._invoke_nested(frame, given, config, thread_id)
            finally:
                del watch.functions[scope.namespace]
            tell(WorkflowFinished(namespace=scope.namespace, name=self.name, result=value))

        return _stream.iterate(work, _stay, modes[0], labelled=modes[1], pool=frame.execution.pool)

    # -- looking -------------------------------------------------------------------------------------------------

    def get_state(
        self, config: RunnableConfig | Mapping[str, Any] | None = None, *, thread_id: str | None = None
    ) -> StateSnapshot:
        """Return what is on record for a thread: status, tasks and pending questions of its newest run, last result.

        For a thread nobody has started, an empty snapshot with status None.

        Raises:
            NoCheckpointer: nothing is kept for this workflow.
            MissingThreadId: no thread id was given.
        """
        place = self._place(config, thread_id)
        if place.checkpointer is None or place.thread is None:
            raise NoCheckpointer(f"workflow {self.name!r} has no checkpointer, so nothing is on record")
        head = place.checkpointer.load_head(place.thread)
        thread = _claim.read_thread(place.checkpointer, place.thread, head)
        run = thread.run
        config_of = {"configurable": {"thread_id": place.thread}}
        if run is None:
            return state.StateSnapshot(values=None, next=(), config=config_of)
        config_of["configurable"]["checkpoint_id"] = run.id
        interrupts = pending(run)
        position = _claim.last_finished(thread)
        values = None
        if position is not None:
            values = _last_result(place.checkpointer, place.thread, position, self._step.returns)
        over = run.status in (Status.DONE, Status.ABANDONED, Status.CANCELLED)
        failed = run.failed if run.status is Status.FAILED else None
        return state.StateSnapshot(
            values=values,
            next=() if over else (run.started.workflow,),
            config=config_of,
            status=run.status,
            created_at=run.started.at,
            tasks=state.tasks(run, interrupts),
            interrupts=interrupts,
            error=None if failed is None else f"{failed.error.type}: {failed.error.message}",
            owner=None if head is None else head.owner,
            workflow=run.started.workflow,
            answered=state.answered(run),
            unfinished=state.unfinished(run),
            sessions=state.sessions(run),
        )


def _last_result(checkpointer: Checkpointer, thread: str, position: int, declared: Any) -> Any:
    found = finished_at(checkpointer, thread, position)
    return None if found is None else returned(checkpointer, thread, found, declared)


def _stay() -> None:
    """A nested run is part of the run around it: it goes on when nobody watches it any more."""


def _answer(ended: Returned | Paused) -> Any:
    return ended.value if isinstance(ended, Returned) else {INTERRUPT: list(ended.interrupts)}


def _with_thread(
    config: RunnableConfig | Mapping[str, Any] | None, thread_id: str | None
) -> tuple[Mapping[str, Any], Any]:
    """Return the config with the thread id in it, and the thread id."""
    merged: dict[str, Any] = dict(config or {})
    configurable = dict(merged.get("configurable") or {})
    if thread_id is not None:
        configurable["thread_id"] = thread_id
    if configurable:
        merged["configurable"] = configurable
    return merged, configurable.get("thread_id")


# -- decorating ------------------------------------------------------------------------------------------------------


def _check_parameters(where: str, signature: inspect.Signature, injected: Mapping[str, Any]) -> None:
    parameters = list(signature.parameters.values())
    first = parameters[0] if parameters else None
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        raise InvalidDefinition(
            f"{where} must take one positional argument, the input: def {where.rpartition('.')[2]}(input): …; use "
            f"a dict for several values"
        )
    for parameter in parameters[1:]:
        if parameter.name in injected or parameter.default is not parameter.empty:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        raise InvalidDefinition(
            f"{where}: nothing fills parameter {parameter.name!r}. A workflow takes one input; beside it only "
            f"{', '.join(_inject.NAMES)} are filled in"
        )


def _split_final(step: Any) -> tuple[Any, Any]:
    """Return the step with its plain return type, and the declared type of what is saved."""
    declared = step.returns
    if declared is entrypoint.final:
        return replace(step, returns=Any), Any
    if typing.get_origin(declared) is entrypoint.final:
        given = typing.get_args(declared)
        if len(given) != 2:  # noqa: PLR2004 - the value's type and the saved one's
            raise InvalidDefinition(
                f"{step.where}: entrypoint.final[…] takes two types, of the value and of what is saved: write "
                f"entrypoint.final[ValueType, SavedType]"
            )
        value, save = given
        return replace(step, returns=value), save
    return step, declared


def _without_final(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def unwrapped(*args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        return value.value if isinstance(value, Final) else value

    return unwrapped


class entrypoint:  # noqa: N801 - a decorator, named as LangGraph's
    """Make a function a workflow: ``@entrypoint``, ``@entrypoint()`` or ``@entrypoint(checkpointer=…, store=…)``.

    The function takes one positional argument, its input, and may ask for ``previous``, ``store``, ``writer`` and
    ``config`` by name.

    Args:
        checkpointer: a URL such as ``"sqlite:///app.db"``, or an opened driver; by default the current engine's.
        store: likewise for long-term memory.

    Raises:
        InvalidDefinition: the function is a generator or coroutine function, or takes no input.
    """

    class final(Final, Generic[R, S]):  # noqa: N801 - LangGraph's name
        """Return this from a body to give the caller one value and keep another for the next run's ``previous``.

        ``entrypoint.final(value=…, save=…)``; annotate the body ``-> entrypoint.final[ValueType, SavedType]``.
        """

        __slots__ = ()

        if not TYPE_CHECKING:

            def __class_getitem__(cls, given: Any) -> Any:
                """Take any number of types, so that the decorator can say which function has a wrong one."""
                return types.GenericAlias(cls, given)

        def __init__(self, *, value: R, save: S) -> None:
            super().__init__(value, save)

    @overload
    def __new__(cls, function: Callable[..., R], /) -> Workflow[Any, R]: ...  # type: ignore[misc]  # a decorator class
    @overload
    def __new__(  # type: ignore[misc]  # likewise
        cls, *, checkpointer: str | Checkpointer | None = None, store: str | Store | None = None
    ) -> _Decorator: ...
    def __new__(  # type: ignore[misc]  # likewise
        cls,
        function: Callable[..., Any] | None = None,
        /,
        *,
        checkpointer: str | Checkpointer | None = None,
        store: str | Store | None = None,
    ) -> Any:
        """Decorate the function, or return the decorator."""
        if function is None:
            return functools.partial(Workflow, checkpointer=checkpointer, store=store)
        return Workflow(function, checkpointer=checkpointer, store=store)


class _Decorator(typing.Protocol):
    def __call__(self, function: Callable[..., R], /) -> Workflow[Any, R]: ...
