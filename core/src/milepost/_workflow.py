"""``@entrypoint``: workflows, and the ways to run them.  (layer 15)"""

from __future__ import annotations

import functools
import types
import typing
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from milepost import _claim, _config, _context, _owner, _stream, serde
from milepost._answers import Resume
from milepost._call import Watch
from milepost._declared import I, Options, Place, R, S
from milepost._engine import current_engine
from milepost._run import Execution, Final, Paused, Plan, Returned, pending, returned
from milepost._states import States
from milepost._step import Scope
from milepost._struct import replace
from milepost.checkpoint import Value, check_thread_id
from milepost.errors import EngineClosed, InvalidCommand, NoCheckpointer, NotSerializable
from milepost.events import RunInterrupted, WorkflowFinished
from milepost.question import INTERRUPT, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from milepost._frame import Frame
    from milepost._inject import RunnableConfig
    from milepost._lease import Holding
    from milepost.checkpoint import Checkpointer, Parent
    from milepost.events import Event, Namespace
    from milepost.store import Store


class Workflow(States[I, R]):
    """A function under ``@entrypoint``: call ``invoke`` or ``stream``; ``func`` is the function itself."""

    # -- running -------------------------------------------------------------------------------------------------

    def invoke(
        self,
        input: I | Command | None,  # noqa: A002 - LangGraph's name
        config: RunnableConfig | Mapping[str, Any] | None = None,
        *,
        context: Any = None,
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
            context: what the run is to know, as ``context_schema`` says; a dict becomes an instance of it. It is
                recorded with the run, so that a resume has it and need not pass it.
            thread_id: the thread, in place of the config's.

        Raises:
            MissingThreadId: there is a checkpointer and no thread id.
            ThreadBusy: a live run holds the thread.
            UnknownThread, NothingToResume, AlreadyAnswered, UnknownInterrupt, AmbiguousAnswer, WrongWorkflow: as
            they say. NotSerializable: the input, the context, or what the body returned, cannot be kept.
            InvalidAnswer, InterruptExpired: the answer does not fit its question, or comes too late.
            InvalidContext, ContextChanged: the context does not fit, or is not the one that the run began with.
            InvalidConfig: tags or metadata are of a wrong type.
            DivergenceError: the body did not repeat the calls on record.
            Exception: what the body raised; continue with ``invoke(None)``.
        """
        frame: Frame | None = _context.frame()
        if frame is not None:
            return self._invoke_nested(frame, input, config, thread_id, context)
        return _answer(self._run(self._place(config, thread_id, context), input, Watch()))

    def stream(
        self,
        input: I | Command | None,  # noqa: A002
        config: RunnableConfig | Mapping[str, Any] | None = None,
        *,
        context: Any = None,
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
            context: as for :meth:`invoke`.
            thread_id: as for :meth:`invoke`.
            stream_mode: one mode, or a list of modes.

        Raises:
            InvalidStreamMode: a mode does not exist.
            MilepostError: what :meth:`invoke` raises, at the first ``next``.
        """
        modes, labelled = _stream.checked(stream_mode)
        frame: Frame | None = _context.frame()
        if frame is not None:
            call = functools.partial(self._invoke_nested, frame, input, config, thread_id, context)
            return self._stream_nested(frame, call, modes, labelled=labelled)
        place = self._place(config, thread_id, context)
        watch = Watch()

        def work(tell: Callable[[Event], None]) -> None:
            watch.functions[()] = tell
            self._run(place, input, watch)

        def leave() -> None:
            watch.left = True

        return _stream.iterate(work, leave, modes, labelled=labelled, pool=place.engine.pool)

    def _run(
        self, place: Place, given: I | Command | None, watch: Watch, parent: Parent | None = None
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
        self, place: Place, plan: Plan, given: I | Command | None, watch: Watch, parent: Parent | None
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

    def _execute(self, place: Place, execution: Execution, holding: Holding) -> Returned | Paused:
        place.engine.keeper.hold(holding)
        try:
            return execution.execute()
        finally:
            place.engine.keeper.let_go(holding)

    def _request(self, place: Place, given: I | Command | None, parent: Parent | None) -> _claim.Request:
        context = self._recorded_context(place)
        if isinstance(given, Command):
            return Resume(workflow=self.name, command=given, context=context)
        if given is None and parent is None:
            return _claim.Continue(workflow=self.name, context=context)
        where = f"the input of {self.name!r}"
        text = serde.encode(given, self._accepts, where=where, identity=f"{place.thread}/input")
        return _claim.Start(
            workflow=self.name,
            input=Value(text=text),
            parent=parent,
            context=context,
            config=_config.kept(place.config, where=f"workflow {self.name!r}"),
            version=self._options.version,
        )

    def _recorded_context(self, place: Place) -> Value | None:
        if place.context is None:
            return None
        where = f"the context of {self.name!r}"
        identity = f"{place.thread}/context"
        try:
            text = serde.encode(place.context, self._context_type, where=where, identity=identity)
        except NotSerializable as error:
            error.add_note(
                "a context is recorded with its run, so that a resume in another process has it; make what cannot be "
                "kept (a client, a connection) in a module of yours, and put into the context what names it"
            )
            raise
        return Value(text=text)

    def _settled(self, place: Place, settled: _claim.Settled, watch: Watch) -> Returned | Paused:
        run = settled.run
        if run.finished is None:
            interrupts = pending(run)
            watch.tell(RunInterrupted(namespace=(), interrupts=interrupts))
            return Paused(interrupts=interrupts)
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        value = returned(place.checkpointer, place.thread, run.finished, self._step.returns)
        return Returned(value=value)

    # -- inside another run --------------------------------------------------------------------------------------

    def _invoke_nested(
        self,
        frame: Frame,
        given: I | Command | None,
        config: RunnableConfig | Mapping[str, Any] | None,
        thread_id: str | None,
        context: Any,
    ) -> Any:
        merged, thread = self._with_thread(config, thread_id)
        if self._is_elsewhere(frame, thread):
            return self._call_elsewhere(frame, given, merged, context)
        if isinstance(given, Command):
            raise InvalidCommand(
                f"workflow {self.name!r} runs here as part of the run around it: answers go to that run's thread"
            )
        return self._call_here(frame, given, context)

    def _call_here(self, frame: Frame, given: Any, context: Any) -> Any:
        """Run the workflow as a call of the run around it; a context of its own is one of the call's arguments."""
        fitting = self._fitting(context)
        scope, step = self._scope(frame, fitting), self._nested
        if fitting is None:
            return frame.call(step, (given,), {}, scope=scope, inline=True).result()

        def run_here(given: Any, *, context: Any, **injected: Any) -> Any:  # noqa: ARG001 - the scope has it
            return self._nested.function(given, **injected)

        apart = replace(step, function=run_here)
        return frame.call(apart, (given,), {"context": fitting}, scope=scope, inline=True).result()

    def _is_elsewhere(self, frame: Frame, thread: Any) -> bool:
        """Tell whether a nested call names another thread, or the same id in another backend."""
        if thread is None:
            return False
        checkpointer = current_engine().checkpointer_for(self._origin, self._options.checkpointer)
        journal = frame.execution.journal
        around = None if journal is None else journal.checkpointer
        if checkpointer is None:
            return False
        return check_thread_id(thread) != frame.thread_id or checkpointer is not around

    def _call_elsewhere(
        self, frame: Frame, given: I | Command | None, config: Mapping[str, Any], context: Any
    ) -> Any:
        said = {} if context is None else {"context": self._fitting(context)}
        if context is None and self._options.context_schema is not None and not isinstance(given, Command):
            context = frame.scope.context()
        place = self._place(cast("RunnableConfig", config), None, context)

        def run_there(given: I | Command | None, _thread: str, **_said: Any) -> Any:
            inner: Frame = _context.required("a nested workflow")
            parent = None if isinstance(given, Command) else inner.execution.parent(inner.path)
            try:
                return _answer(self._run(place, given, Watch(around=inner.execution), parent))
            except EngineClosed:
                inner.execution.check()  # the run around it stops, too: that is no outcome of this call
                raise

        step = replace(self._step, function=run_there, injected={}, returns=self._step.returns)
        return frame.call(step, (given, place.thread), said, scope=self._scope(frame), inline=True).result()

    def _namespace(self, frame: Frame) -> Namespace:
        return (*frame.scope.namespace, f"{self.name}:{frame.path}/{frame.ordinal}")

    def _scope(self, frame: Frame, context: Any = None) -> Scope:
        store = (
            current_engine().store_for(self._origin, self._options.store)
            if self._options.store is not None
            else frame.store
        )
        around = frame.scope.context

        def known() -> Any:
            return self._fitting(around()) if context is None else context

        return Scope(namespace=self._namespace(frame), store=store, context=known)

    def _stream_nested(
        self, frame: Frame, call: Callable[[], Any], modes: tuple[str, ...], *, labelled: bool
    ) -> Iterator[Any]:
        def work(tell: Callable[[Event], None]) -> None:
            namespace = self._namespace(frame)
            watch = frame.execution.watch
            watch.functions[namespace] = tell
            try:
                value = call()
            finally:
                del watch.functions[namespace]
            tell(WorkflowFinished(namespace=namespace, name=self.name, result=value))

        return _stream.iterate(work, _stay, modes, labelled=labelled, pool=frame.execution.pool)


def _stay() -> None:
    """A nested run is part of the run around it: it goes on when nobody watches it any more."""


def _answer(ended: Returned | Paused) -> Any:
    return ended.value if isinstance(ended, Returned) else {INTERRUPT: list(ended.interrupts)}


class entrypoint:  # noqa: N801 - a decorator, named as LangGraph's
    """Make a function a workflow: ``@entrypoint``, ``@entrypoint()`` or ``@entrypoint(checkpointer=…, store=…)``.

    The function takes one positional argument, its input, and may ask for ``previous``, ``store``, ``writer``,
    ``config`` and ``runtime`` by name.

    Args:
        checkpointer: a URL such as ``"sqlite:///app.db"``, or an opened driver; by default the current engine's.
        store: likewise for long-term memory.
        context_schema: the type of ``context=``: a dataclass, TypedDict, pydantic model or msgspec Struct.
        name: the workflow's name, to which its threads are bound; the function's own by default.
        version: of this code, an int or a str. It is recorded with each run that begins; see ``get_version``.

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
        cls,
        *,
        checkpointer: str | Checkpointer | None = None,
        store: str | Store | None = None,
        context_schema: Any = None,
        name: str | None = None,
        version: int | str | None = None,
    ) -> _Decorator: ...
    def __new__(  # type: ignore[misc]  # likewise
        cls,
        function: Callable[..., Any] | None = None,
        /,
        *,
        checkpointer: str | Checkpointer | None = None,
        store: str | Store | None = None,
        context_schema: Any = None,
        name: str | None = None,
        version: int | str | None = None,
    ) -> Any:
        """Decorate the function, or return the decorator."""
        options = Options(
            checkpointer=checkpointer,
            store=store,
            context_schema=context_schema,
            name=name,
            version=version,
        )
        if function is None:
            return functools.partial(Workflow, options=options)
        return Workflow(function, options)


class _Decorator(typing.Protocol):
    def __call__(self, function: Callable[..., R], /) -> Workflow[Any, R]: ...
