"""``@entrypoint``: workflows, and the ways to run them.  (layer 15)"""

from __future__ import annotations

import functools
import types
import typing
from contextlib import closing
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from milepost import _async, _claim, _context, _owner, _stream, serde
from milepost._call import Watch
from milepost._declared import I, Options, Place, R, S, with_thread
from milepost._engine import current_engine
from milepost._run import Execution, Final, Paused, Plan, Returned, pending, returned
from milepost._states import States
from milepost._step import Scope, Step
from milepost._struct import replace
from milepost.checkpoint import Value, check_thread_id
from milepost.errors import EngineClosed, InvalidCommand, NoCheckpointer
from milepost.events import RunInterrupted, WorkflowFinished
from milepost.question import INTERRUPT, Command

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence

    from milepost._frame import Frame
    from milepost._future import TaskFuture
    from milepost._inject import RunnableConfig
    from milepost._lease import Holding
    from milepost.checkpoint import Checkpointer, Parent
    from milepost.events import Event
    from milepost.store import Store


class Workflow(States[I, R]):
    """A function under ``@entrypoint``: call ``invoke``, ``stream`` or their async twins; ``func`` is the function."""

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
        watch = Watch()

        def run() -> Any:
            return _answer(self._run(self._place(config, thread_id), input, watch))

        return _async.off_loop(run, watch.leave) if _context.runs_loop() else run()

    async def ainvoke(
        self,
        input: I | Command | None,  # noqa: A002
        config: RunnableConfig | Mapping[str, Any] | None = None,
        *,
        thread_id: str | None = None,
    ) -> Any:
        """Do what :meth:`invoke` does, without blocking the event loop.

        A coroutine function's body runs on this loop, a function's in a thread. Cancelling stops the run at its next
        boundary: coroutines under way are cancelled and run again when it goes on, functions that have begun are waited
        for and recorded, and ``ainvoke(None)`` continues. Cancelling once more does not wait.

        Args:
            input: as for :meth:`invoke`.
            config: as for :meth:`invoke`.
            thread_id: as for :meth:`invoke`.

        Raises:
            asyncio.CancelledError: the caller was cancelled.
            MilepostError: what :meth:`invoke` raises.
        """
        frame: Frame | None = _context.frame()
        if frame is not None:
            return await self._call_nested(frame, (input, config, thread_id), frame.scope.loop)
        watch, loop = Watch(), _async.Loop.here()

        def run() -> Any:
            return _answer(self._run(self._place(config, thread_id, loop), input, watch))

        return await _async.in_thread(run, watch.leave)

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
            work = self._work_nested(frame, input, config, thread_id)
            return _stream.iterate(work, _stay, modes, labelled=labelled, pool=frame.execution.pool)
        place = self._place(config, thread_id)
        watch = Watch()

        def leave() -> None:
            watch.left = True

        work = self._work(place, input, watch)
        return _stream.iterate(work, leave, modes, labelled=labelled, pool=place.engine.pool)

    def astream(
        self,
        input: I | Command | None,  # noqa: A002
        config: RunnableConfig | Mapping[str, Any] | None = None,
        *,
        thread_id: str | None = None,
        stream_mode: str | Sequence[str] = "updates",
    ) -> AsyncGenerator[Any, None]:
        """Do what :meth:`stream` does, for ``async for``; closing it or cancelling is as for :meth:`ainvoke`.

        Args:
            input: as for :meth:`invoke`.
            config: as for :meth:`invoke`.
            thread_id: as for :meth:`invoke`.
            stream_mode: as for :meth:`stream`.

        Raises:
            InvalidStreamMode: a mode does not exist.
            MilepostError: what :meth:`invoke` raises, at the first chunk.
        """
        modes, labelled = _stream.checked(stream_mode)
        frame: Frame | None = _context.frame()
        if frame is not None:
            work = self._work_nested(frame, input, config, thread_id)
            return _stream.aiterate(work, _stay, modes, labelled=labelled)
        place, watch = self._place(config, thread_id, _async.Loop.here()), Watch()
        return _stream.aiterate(self._work(place, input, watch), watch.leave, modes, labelled=labelled)

    def _work(
        self, place: Place, given: I | Command | None, watch: Watch
    ) -> Callable[[Callable[[Event], None]], None]:
        def work(tell: Callable[[Event], None]) -> None:
            watch.functions[()] = tell
            self._run(place, given, watch)

        return work

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
        if isinstance(given, Command):
            return _claim.Resume(workflow=self.name, command=given)
        if given is None and parent is None:
            return _claim.Continue(workflow=self.name)
        where = f"the input of {self.name!r}"
        text = serde.encode(given, self._accepts, where=where, identity=f"{place.thread}/input")
        return _claim.Start(workflow=self.name, input=Value(text=text), parent=parent)

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
    ) -> Any:
        if not _context.runs_loop():
            return self._call_nested(
                frame, (given, config, thread_id), frame.scope.loop, inline=True
            ).result()
        # The loop of this thread is blocked until this returns: what is inside gets one of its own.
        with closing(_async.Loop()) as loop:

            def run() -> Any:
                return self._call_nested(frame, (given, config, thread_id), loop, inline=True).result()

            return _async.off_loop(run, frame.execution.watch.leave)

    def _call_nested(
        self,
        frame: Frame,
        asked: tuple[I | Command | None, RunnableConfig | Mapping[str, Any] | None, str | None],
        loop: _async.Loop,
        *,
        inline: bool = False,
    ) -> TaskFuture[Any]:
        """Make the call: as a part of the run around it, or as a run of its own on another thread."""
        given, config, thread_id = asked
        merged, thread = with_thread(config, thread_id)
        scope = self._scope(frame, loop)
        if self._is_elsewhere(frame, thread):
            step, arguments = self._elsewhere(given, merged, loop)
            return frame.call(step, arguments, {}, scope=scope, inline=inline)
        if isinstance(given, Command):
            raise InvalidCommand(
                f"workflow {self.name!r} runs here as part of the run around it: answers go to that run's thread"
            )
        return frame.call(self._nested, (given,), {}, scope=scope, inline=inline)

    def _is_elsewhere(self, frame: Frame, thread: Any) -> bool:
        """Tell whether a nested call names another thread, or the same id in another backend."""
        if thread is None:
            return False
        checkpointer = current_engine().checkpointer_for(self, self._options.checkpointer)
        journal = frame.execution.journal
        around = None if journal is None else journal.checkpointer
        if checkpointer is None:
            return False
        return check_thread_id(thread) != frame.thread_id or checkpointer is not around

    def _elsewhere(
        self, given: I | Command | None, config: Mapping[str, Any], loop: _async.Loop
    ) -> tuple[Step, tuple[Any, ...]]:
        place = self._place(cast("RunnableConfig", config), None, loop)

        def run_there(given: I | Command | None, _thread: str) -> Any:
            inner: Frame = _context.required("a nested workflow")
            parent = None if isinstance(given, Command) else inner.execution.parent(inner.path)
            try:
                return _answer(self._run(place, given, Watch(around=inner.execution), parent))
            except EngineClosed:
                inner.execution.check()  # the run around it stops, too: that is no outcome of this call
                raise

        step = replace(self._step, function=run_there, injected={}, is_async=False)
        return step, (given, place.thread)

    def _scope(self, frame: Frame, loop: _async.Loop) -> Scope:
        store = (
            current_engine().store_for(self, self._options.store)
            if self._options.store is not None
            else frame.store
        )
        return Scope(
            loop=loop,
            namespace=(*frame.scope.namespace, f"{self.name}:{frame.path}/{frame.ordinal}"),
            store=store,
        )

    def _work_nested(
        self,
        frame: Frame,
        given: I | Command | None,
        config: RunnableConfig | Mapping[str, Any] | None,
        thread_id: str | None,
    ) -> Callable[[Callable[[Event], None]], None]:
        def work(tell: Callable[[Event], None]) -> None:
            scope = self._scope(frame, frame.scope.loop)
            watch = frame.execution.watch
            watch.functions[scope.namespace] = tell
            try:
                value = self._invoke_nested(frame, given, config, thread_id)
            finally:
                del watch.functions[scope.namespace]
            tell(WorkflowFinished(namespace=scope.namespace, name=self.name, result=value))

        return work


if TYPE_CHECKING:

    class AsyncWorkflow(Workflow[I, R]):
        """A coroutine function under ``@entrypoint``, as a type checker sees it."""

        func: Callable[..., Coroutine[Any, Any, R]]  # type: ignore[assignment]  # the function is what was given


def _stay() -> None:
    """A nested run is part of the run around it: it goes on when nobody watches it any more."""


def _answer(ended: Returned | Paused) -> Any:
    return ended.value if isinstance(ended, Returned) else {INTERRUPT: list(ended.interrupts)}


class entrypoint:  # noqa: N801 - a decorator, named as LangGraph's
    """Make a function a workflow: ``@entrypoint``, ``@entrypoint()`` or ``@entrypoint(checkpointer=…, store=…)``.

    The function takes one positional argument, its input, and may ask for ``previous``, ``store``, ``writer`` and
    ``config`` by name.

    Args:
        checkpointer: a URL such as ``"sqlite:///app.db"``, or an opened driver; by default the current engine's.
        store: likewise for long-term memory.

    Raises:
        InvalidDefinition: the function is a generator function, or takes no input.
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
    def __new__(  # type: ignore[misc]  # a decorator class
        cls, function: Callable[..., Coroutine[Any, Any, R]], /
    ) -> AsyncWorkflow[Any, R]: ...
    @overload
    def __new__(cls, function: Callable[..., R], /) -> Workflow[Any, R]: ...  # type: ignore[misc]  # likewise
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
        options = Options(checkpointer=checkpointer, store=store)
        if function is None:
            return functools.partial(Workflow, options=options)
        return Workflow(function, options)


class _Decorator(typing.Protocol):
    @overload
    def __call__(self, function: Callable[..., Coroutine[Any, Any, R]], /) -> AsyncWorkflow[Any, R]: ...
    @overload
    def __call__(self, function: Callable[..., R], /) -> Workflow[Any, R]: ...
