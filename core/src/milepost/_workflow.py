"""``@entrypoint``: workflows, and the ways to run them."""

from __future__ import annotations

import functools
import types
import typing
from contextlib import closing
from typing import TYPE_CHECKING, Any, Generic, cast, overload

from milepost import _context, _ids
from milepost._background import Background
from milepost._declared import I, Options, Place, R, S
from milepost._final import Final
from milepost._later import later
from milepost._policies import policies
from milepost._signals import Stopped
from milepost._step import Scope
from milepost._struct import replace
from milepost._task import renamed
from milepost.errors import EngineClosed, InvalidCommand, NoCheckpointer, ThreadBusy
from milepost.question import INTERRUPT, Command, Interrupt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence

    from milepost import (
        _answers,
        _async,
        _chunk,
        _claim,
        _durability,
        _engine,
        _owner,
        _print,
        _stream,
        _watch,
        events,
    )
    from milepost import _run as _running
    from milepost import busy as _busy
    from milepost import checkpoint as _checkpoint
    from milepost._chunk import Chunk
    from milepost._durability import Durability
    from milepost._engine import Engine
    from milepost._fold import RunState
    from milepost._frame import Frame
    from milepost._future import TaskFuture
    from milepost._inject import RunnableConfig
    from milepost._retention import Retention
    from milepost._run import Rested
    from milepost._step import Step
    from milepost._task import Retry, Timeout
    from milepost.busy import Busy
    from milepost.cache import Cache
    from milepost.caching import CachePolicy
    from milepost.checkpoint import Checkpointer, Parent
    from milepost.events import Namespace
    from milepost.store import Store
else:
    _answers = later("_answers")
    _async = later("_async")
    _chunk = later("_chunk")
    _claim = later("_claim")
    _durability = later("_durability")
    _engine = later("_engine")
    _owner = later("_owner")
    _print = later("_print")
    _running = later("_run")
    _stream = later("_stream")
    _watch = later("_watch")
    _busy = later("busy")
    _checkpoint = later("checkpoint")
    events = later("events")


class Workflow(Background[I, R]):
    """A function under ``@entrypoint``: call ``invoke``, ``stream`` or their async twins; ``func`` is the function."""

    # -- running -------------------------------------------------------------------------------------------------

    def invoke(  # noqa: PLR0913 - every one a keyword
        self,
        input: I | Command | None,  # noqa: A002 - LangGraph's name
        config: RunnableConfig | Mapping[str, Any] | None = None,
        *,
        context: Any = None,
        thread_id: str | None = None,
        checkpoint_id: str | None = None,
        stream_mode: str | Sequence[str] = "values",
        print_mode: str | Sequence[str] = (),
        subgraphs: bool = False,
        durability: Durability | None = None,
        busy: Busy | str = "reject",
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
            checkpoint_id: a run to go back to, in place of the config's: with a value, the new run's ``previous`` is
                what that run left; with ``None``, its input runs again as a new run. The newest run, while it is
                open, goes on as without an id.
            stream_mode: with anything but ``"values"``, return the list of chunks that :meth:`stream` would yield.
            print_mode: print what happens meanwhile, as for :meth:`stream`.
            subgraphs: as for :meth:`stream`, of what is printed and of the list of chunks.
            durability: when outcomes are written: ``"sync"``, the default, before anybody sees them; ``"async"`` a
                little later, in the background; ``"exit"`` when the run ends or pauses. A crash loses what was not
                written. The config may name it, too; a nested workflow on the same thread has that of its run.
            busy: what to do where a live run holds the thread: ``"reject"``, the default, raises ``ThreadBusy``;
                ``milepost.busy.wait(seconds)`` waits for it; ``"join"`` attaches to the run under way and returns what
                that comes to.

        A run that sleeps is waited for.

        Raises:
            UnknownCheckpoint: the thread has no such run.
            RunCancelled: somebody called :meth:`cancel`; continue with ``invoke(None)``.
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
        config = _durability.in_config(config, durability)
        form = None if stream_mode == "values" else _chunk.Form.of(stream_mode, subgraphs=subgraphs)
        printed = _print.Printed.of(print_mode, subgraphs=subgraphs)
        if frame is not None:
            asked = (input, _at(config, checkpoint_id), thread_id, context)
            return self._invoke_nested(frame, asked, form, printed)
        place = functools.partial(
            self._place, config, thread_id, checkpoint_id, context=context, busy=_busy.policy(busy)
        )
        run, leave = self._alone(place, input, form, printed)
        return _async.off_loop(run, leave) if _context.runs_loop() else run()

    async def ainvoke(  # noqa: PLR0913 - every one a keyword
        self,
        input: I | Command | None,  # noqa: A002
        config: RunnableConfig | Mapping[str, Any] | None = None,
        *,
        context: Any = None,
        thread_id: str | None = None,
        checkpoint_id: str | None = None,
        stream_mode: str | Sequence[str] = "values",
        print_mode: str | Sequence[str] = (),
        subgraphs: bool = False,
        durability: Durability | None = None,
        busy: Busy | str = "reject",
    ) -> Any:
        """Do what :meth:`invoke` does, without blocking the event loop.

        A coroutine function's body runs on this loop, a function's in a thread. Cancelling stops the run at its next
        boundary: coroutines under way are cancelled and run again when it goes on, functions that have begun are waited
        for and recorded, and ``ainvoke(None)`` continues. Cancelling once more does not wait.

        Args:
            input: as for :meth:`invoke`.
            config: as for :meth:`invoke`.
            context: as for :meth:`invoke`.
            thread_id: as for :meth:`invoke`.
            checkpoint_id: as for :meth:`invoke`.
            stream_mode: as for :meth:`invoke`.
            print_mode: as for :meth:`invoke`.
            subgraphs: as for :meth:`invoke`.
            durability: as for :meth:`invoke`.
            busy: as for :meth:`invoke`.

        Raises:
            asyncio.CancelledError: the caller was cancelled.
            MilepostError: what :meth:`invoke` raises.
        """
        frame: Frame | None = _context.frame()
        config = _durability.in_config(config, durability)
        form = None if stream_mode == "values" else _chunk.Form.of(stream_mode, subgraphs=subgraphs)
        printed = _print.Printed.of(print_mode, subgraphs=subgraphs)
        if frame is not None:
            asked = (input, _at(config, checkpoint_id), thread_id, context)
            return await self._ainvoke_nested(frame, asked, form, printed)
        place = functools.partial(
            self._place,
            config,
            thread_id,
            checkpoint_id,
            loop=_async.Loop.here(),
            context=context,
            busy=_busy.policy(busy),
        )
        return await _async.in_thread(*self._alone(place, input, form, printed))

    def _alone(
        self,
        place: Callable[[], Place],
        given: I | Command | None,
        form: _chunk.Form | None,
        printed: _print.Printed,
    ) -> tuple[Callable[[], Any], Callable[[], None]]:
        """Return what runs the workflow, within no other, and gives what ``invoke`` returns; and what stops it."""
        chunks: list[Any] = []
        watch = _watch.Watch(None if form is None else form.listener(chunks.append), printed.listener())

        def run() -> Any:
            ended = self._run(place(), given, watch)
            return _answer(ended) if form is None else chunks

        return run, functools.partial(_leave, watch, _engine.current_engine())

    def stream(  # noqa: PLR0913 - every one a keyword
        self,
        input: I | Command | None,  # noqa: A002
        config: RunnableConfig | Mapping[str, Any] | None = None,
        *,
        context: Any = None,
        thread_id: str | None = None,
        checkpoint_id: str | None = None,
        stream_mode: str | Sequence[str] = "updates",
        print_mode: str | Sequence[str] = (),
        subgraphs: bool = False,
        durability: Durability | None = None,
    ) -> Iterator[Any]:
        """Run the workflow and yield what happens, as it happens; nothing begins before the first ``next``.

        Modes: ``"updates"`` yields ``{task: result}`` for each task once its result is recorded, at last
        ``{workflow: result}`` or ``{"__interrupt__": (Interrupt, …)}``; ``"values"`` yields the result (or the
        interrupts); ``"custom"`` what body and tasks write; ``"tasks"`` a dict for the start and the end of each call,
        ``"checkpoints"`` what is saved of the run when it starts and when it comes to rest, ``"debug"`` both of these;
        ``"events"`` the typed events of :mod:`milepost.events`. A list of modes yields ``(mode, chunk)`` pairs.

        A consumer that stops early (``close()``, ``break``) stops the run at its next call into milepost; the tasks
        that have begun are recorded, and ``invoke(None)`` continues.

        Args:
            input: as for :meth:`invoke`.
            config: as for :meth:`invoke`.
            context: as for :meth:`invoke`.
            thread_id: as for :meth:`invoke`.
            checkpoint_id: as for :meth:`invoke`.
            stream_mode: one mode, or a list of modes.
            print_mode: modes to print to standard output meanwhile; ``"pretty"`` prints a line for each event.
            subgraphs: show what happens in nested workflows, too, and yield ``(namespace, chunk)`` or
                ``(namespace, mode, chunk)``; the run's own namespace is ``()``.
            durability: as for :meth:`invoke`.

        Raises:
            InvalidStreamMode, InvalidDurability: a mode does not exist.
            MilepostError: what :meth:`invoke` raises, at the first ``next``.
        """
        frame: Frame | None = _context.frame()
        config = _durability.in_config(config, durability)
        form = _chunk.Form.of(stream_mode, subgraphs=subgraphs)
        printed = _print.Printed.of(print_mode, subgraphs=subgraphs)
        if frame is not None:
            asked = (input, _at(config, checkpoint_id), thread_id, context)
            return self._stream_nested(frame, asked, form, printed)
        place = self._place(config, thread_id, checkpoint_id, context=context)
        watch = _watch.Watch(printed.listener())

        def leave() -> None:
            watch.left = True
            place.engine.timer.look()

        work = self._work(lambda: place, input, watch, form)
        return _stream.iterate(work, leave, pool=place.engine.pool)

    def astream(  # noqa: PLR0913 - every one a keyword
        self,
        input: I | Command | None,  # noqa: A002
        config: RunnableConfig | Mapping[str, Any] | None = None,
        *,
        context: Any = None,
        thread_id: str | None = None,
        checkpoint_id: str | None = None,
        stream_mode: str | Sequence[str] = "updates",
        print_mode: str | Sequence[str] = (),
        subgraphs: bool = False,
        durability: Durability | None = None,
    ) -> AsyncGenerator[Any, None]:
        """Do what :meth:`stream` does, for ``async for``; closing it or cancelling is as for :meth:`ainvoke`.

        Args:
            input: as for :meth:`invoke`.
            config: as for :meth:`invoke`.
            context: as for :meth:`invoke`.
            thread_id: as for :meth:`invoke`.
            checkpoint_id: as for :meth:`invoke`.
            stream_mode: as for :meth:`stream`.
            print_mode: as for :meth:`stream`.
            subgraphs: as for :meth:`stream`.
            durability: as for :meth:`invoke`.

        Raises:
            InvalidStreamMode, InvalidDurability: a mode does not exist.
            MilepostError: what :meth:`invoke` raises, at the first chunk.
        """
        frame: Frame | None = _context.frame()
        config = _durability.in_config(config, durability)
        form = _chunk.Form.of(stream_mode, subgraphs=subgraphs)
        printed = _print.Printed.of(print_mode, subgraphs=subgraphs)
        if frame is not None:
            asked = (input, _at(config, checkpoint_id), thread_id, context)
            return _stream.aiterate(self._work_nested(frame, asked, form, printed, frame.scope.loop), _stay)
        place = functools.partial(
            self._place, config, thread_id, checkpoint_id, loop=_async.Loop.here(), context=context
        )
        watch = _watch.Watch(printed.listener())
        work = self._work(place, input, watch, form)
        return _stream.aiterate(work, functools.partial(_leave, watch, _engine.current_engine()))

    def _work(
        self, place: Callable[[], Place], given: I | Command | None, watch: _watch.Watch, form: _chunk.Form
    ) -> Callable[[Callable[[Chunk], object]], None]:
        def work(put: Callable[[Chunk], object]) -> None:
            watch.add(form.listener(put))
            self._run(place(), given, watch)

        return work

    def _run(
        self, place: Place, given: I | Command | None, watch: _watch.Watch, parent: Parent | None = None
    ) -> Rested:
        executing = place.engine.executing()
        try:
            executing.enter()
            plan = self._plan(place)
            if place.checkpointer is None:
                if isinstance(given, Command):
                    raise NoCheckpointer(
                        f"workflow {self.name!r} has no checkpointer, so there is nothing to resume"
                    )
                return _running.Execution(plan, watch).execute(given)
            try:
                ended = self._run_recorded(place, plan, given, watch, parent)
            except ThreadBusy:
                if place.busy is None or place.busy.name != "join":
                    raise
                ended = self._join(place, plan, watch, None)
            return self._see_through(place, plan, watch, ended)
        finally:
            executing.leave()

    def _run_recorded(
        self,
        place: Place,
        plan: _running.Plan,
        given: I | Command | None,
        watch: _watch.Watch,
        parent: Parent | None,
    ) -> Rested:
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018 - `_place` saw to it
        request, owner = self._request(place, given, parent), _owner.make()
        end = _owner.ending(owner)
        try:
            _owner.enter(owner)
            taken = self._take(place, request, owner)
            if isinstance(taken, _claim.Settled):
                return self._settled(place, taken, watch)
            return self._execute(place, _running.Execution(plan, watch, taken), taken.holding)
        finally:
            end()

    def _request(self, place: Place, given: I | Command | None, parent: Parent | None) -> _claim.Request:
        if place.checkpoint is not None:
            return self._request_at(place, given, parent)
        context = self._recorded_context(place)
        if isinstance(given, Command):
            return _answers.Resume(workflow=self.name, command=given, context=context)
        if given is None and parent is None:
            return _claim.Continue(workflow=self.name, context=context)
        return self._start(place, given, parent)

    def _settled(self, place: Place, settled: _claim.Settled, watch: _watch.Watch) -> Rested:
        run = settled.run
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        if run.status is _checkpoint.Status.ABANDONED:
            return _running.Returned(value=self._values(place.checkpointer, run, place.thread))
        if run.status is _checkpoint.Status.SLEEPING and run.wake is not None:
            return _running.Asleep(until=run.wake, run=run.id)
        if run.finished is None:
            interrupts = _running.pending(run)
            self._tell_settled(place, run, interrupts, watch)
            return _running.Paused(interrupts=interrupts)
        value = _running.returned(place.checkpointer, place.thread, run.finished, self._step.returns)
        return _running.Returned(value=value)

    def _tell_settled(
        self, place: Place, run: RunState, interrupts: tuple[Interrupt, ...], watch: _watch.Watch
    ) -> None:
        if watch.listeners and place.thread is not None:
            now = place.engine.clock.now().isoformat()
            facts: dict[str, Any] = {
                "namespace": (),
                "call": "",
                "name": self.name,
                "replayed": True,
                "at": now,
            }
            given = _running.input_of(run, place.thread, self._accepts) if watch.calls else None
            watch.end(
                events.WorkflowInterrupted(**facts, interrupts=interrupts),
                events.WorkflowStarted(**facts, input=given),
            )

    # -- inside another run --------------------------------------------------------------------------------------

    def _invoke_nested(
        self, frame: Frame, asked: Asked, form: _chunk.Form | None, printed: _print.Printed
    ) -> Any:
        if not _context.runs_loop():
            return self._invoke_here(frame, asked, form, printed, frame.scope.loop)
        # The loop of this thread is blocked until this returns: what is inside gets one of its own.
        with closing(_async.Loop()) as loop:
            run = functools.partial(self._invoke_here, frame, asked, form, printed, loop)
            return _async.off_loop(run, frame.execution.watch.leave)

    def _invoke_here(
        self, frame: Frame, asked: Asked, form: _chunk.Form | None, printed: _print.Printed, loop: _async.Loop
    ) -> Any:
        if form is not None:
            return list(self._stream_nested(frame, asked, form, printed, loop))
        watch, clock = frame.execution.watch, frame.execution.clock
        with watch.joined(printed.listener(self._namespace(frame)), clock):
            return self._call_nested(frame, asked, loop, inline=True).result()

    async def _ainvoke_nested(
        self, frame: Frame, asked: Asked, form: _chunk.Form | None, printed: _print.Printed
    ) -> Any:
        watch, clock, loop = frame.execution.watch, frame.execution.clock, frame.scope.loop
        if form is not None:
            work = self._work_nested(frame, asked, form, printed, loop)
            return [chunk async for chunk in _stream.aiterate(work, _stay)]
        with watch.joined(printed.listener(self._namespace(frame)), clock):
            return await self._call_nested(frame, asked, loop)

    def _stream_nested(
        self,
        frame: Frame,
        asked: Asked,
        form: _chunk.Form,
        printed: _print.Printed,
        loop: _async.Loop | None = None,
    ) -> Iterator[Any]:
        own = _async.Loop()  # for where the loop of this thread is blocked by whoever consumes the chunks
        with closing(own):
            chosen = loop or (own if _context.runs_loop() else frame.scope.loop)
            work = self._work_nested(frame, asked, form, printed, chosen)
            yield from _stream.iterate(work, _stay, pool=frame.execution.pool)

    def _call_nested(
        self, frame: Frame, asked: Asked, loop: _async.Loop, *, inline: bool = False
    ) -> TaskFuture[Any]:
        """Make the call: as a part of the run around it, or as a run of its own on another thread."""
        given, config, thread_id, context = asked
        merged, thread = self._with_thread(config, thread_id)
        if self._is_elsewhere(frame, thread):
            step, arguments, said = self._elsewhere(frame, given, merged, context, loop)
            return frame.call(step, arguments, said, scope=self._scope(frame, loop), inline=inline)
        if isinstance(given, Command):
            raise InvalidCommand(
                f"workflow {self.name!r} runs here as part of the run around it: answers go to that run's thread"
            )
        return self._call_here(frame, given, context, loop, inline=inline)

    def _call_here(
        self, frame: Frame, given: Any, context: Any, loop: _async.Loop, *, inline: bool
    ) -> TaskFuture[Any]:
        """Run the workflow as a call of the run around it; a context of its own is one of the call's arguments."""
        fitting = self._fitting(context)
        scope, step = self._scope(frame, loop, fitting), self._nested
        if fitting is None:
            return frame.call(step, (given,), {}, scope=scope, inline=inline)

        def run_here(given: Any, *, context: Any, **injected: Any) -> Any:  # noqa: ARG001 - the scope has it
            return self._nested.function(given, **injected)

        apart = replace(step, function=run_here)
        return frame.call(apart, (given,), {"context": fitting}, scope=scope, inline=inline)

    def _is_elsewhere(self, frame: Frame, thread: Any) -> bool:
        """Tell whether a nested call names another thread, or the same id in another backend."""
        if thread is None:
            return False
        checkpointer = _engine.current_engine().checkpointer_for(self._origin, self._options.checkpointer)
        journal = frame.execution.journal
        around = None if journal is None else journal.checkpointer
        if checkpointer is None:
            return False
        return _checkpoint.check_thread_id(thread) != frame.thread_id or checkpointer is not around

    def _elsewhere(
        self,
        frame: Frame,
        given: I | Command | None,
        config: Mapping[str, Any],
        context: Any,
        loop: _async.Loop,
    ) -> tuple[Step, tuple[Any, ...], dict[str, Any]]:
        said = {} if context is None else {"context": self._fitting(context)}
        if context is None and self._options.context_schema is not None and not isinstance(given, Command):
            context = frame.scope.context()
        config = _durability.inherited(config, frame.config)
        place = self._place(cast("RunnableConfig", config), None, loop=loop, context=context)

        def run_there(given: I | Command | None, _thread: str, **_said: Any) -> Any:
            inner: Frame = _context.required("a nested workflow")
            parent = None if isinstance(given, Command) else inner.execution.parent(inner.path)
            try:
                watch = _watch.Watch(around=inner.execution)
                watch.forward(inner.execution.watch, inner.scope.namespace, inner.path)
                ended = self._run(place, given, watch, parent)
            except (EngineClosed, ThreadBusy):
                inner.execution.check()  # the run around it stops, too: that is no outcome of this call
                raise
            if isinstance(ended, _running.Asleep):
                inner.execution.check()  # likewise: while that runs, it is waited for
                raise Stopped
            return _answer(ended)

        # The run there has its own policies, and sees to its own coroutines.
        step = replace(self._step, function=run_there, injected={}, is_async=False, policies=None)
        return step, (given, place.thread), said

    def _namespace(self, frame: Frame) -> Namespace:
        return (*frame.scope.namespace, f"{self.name}:{_ids.child(frame.path, frame.ordinal)}")

    def _scope(self, frame: Frame, loop: _async.Loop, context: Any = None) -> Scope:
        store = (
            _engine.current_engine().store_for(self._origin, self._options.store)
            if self._options.store is not None
            else frame.store
        )
        around = frame.scope.context

        def known() -> Any:
            return self._fitting(around()) if context is None else context

        cache = frame.scope.cache
        if self._options.cache is not None:
            cache = _engine.current_engine().cache_for(self._origin, self._options.cache)
        namespace = self._namespace(frame)
        return Scope(loop=loop, namespace=namespace, store=store, cache=cache, context=known)

    def _work_nested(
        self,
        frame: Frame,
        asked: Asked,
        form: _chunk.Form,
        printed: _print.Printed,
        loop: _async.Loop,
    ) -> Callable[[Callable[[Chunk], object]], None]:
        watch, clock = frame.execution.watch, frame.execution.clock

        def work(put: Callable[[Chunk], object]) -> None:
            base = self._namespace(frame)
            with watch.joined(form.listener(put, base), clock), watch.joined(printed.listener(base), clock):
                self._call_nested(frame, asked, loop, inline=True).result()

        return work


if TYPE_CHECKING:
    Asked: typing.TypeAlias = tuple[Any, RunnableConfig | Mapping[str, Any] | None, str | None, Any]

    class AsyncWorkflow(Workflow[I, R]):
        """A coroutine function under ``@entrypoint``, as a type checker sees it."""

        func: Callable[..., Coroutine[Any, Any, R]]  # type: ignore[assignment]  # the function is what was given


def _at(
    config: RunnableConfig | Mapping[str, Any] | None, checkpoint_id: str | None
) -> RunnableConfig | Mapping[str, Any] | None:
    """Return a config that addresses a run, where one is given."""
    if checkpoint_id is None:
        return config
    merged: dict[str, Any] = dict(config or {})
    merged["configurable"] = {**(merged.get("configurable") or {}), "checkpoint_id": checkpoint_id}
    return merged


def _leave(watch: _watch.Watch, engine: Engine) -> None:
    """Stop a run because whoever awaited it was cancelled."""
    watch.leave()
    engine.timer.look()


def _stay() -> None:
    """A nested run is part of the run around it: it goes on when nobody watches it any more."""


def _answer(ended: Rested) -> Any:
    if isinstance(ended, _running.Paused):
        return {INTERRUPT: list(ended.interrupts)}
    return ended.value if isinstance(ended, _running.Returned) else None  # nobody waits for one that sleeps


class entrypoint:  # noqa: N801 - a decorator, named as LangGraph's
    """Make a function a workflow: ``@entrypoint``, ``@entrypoint()`` or ``@entrypoint(checkpointer=…, store=…)``.

    The function takes one positional argument, its input, and may ask for ``previous``, ``store``, ``writer``,
    ``config`` and ``runtime`` by name.

    Args:
        checkpointer: a URL such as ``"sqlite:///app.db"``, or an opened driver; by default the current engine's.
        store: likewise for long-term memory.
        cache: where the results of calls with a ``cache_policy`` are found again: a :class:`~milepost.cache.Cache`, for
            example ``InMemoryCache()``, or the URL of a store.
        context_schema: the type of ``context=``: a dataclass, TypedDict, pydantic model or msgspec Struct.
        name: the workflow's name, to which its threads are bound; the function's own by default.
        version: of this code, an int or a str. It is recorded with each run that begins; see ``get_version``.
        retention: which finished runs to keep on each thread; by default all.
        retry_policy: which failures of the body are tried again; what has finished does not run again. Tasks do not
            inherit it: each has its own, or none.
        cache_policy: take the result from the cache where an equal run was made before: the same input, ``previous``
            and context.
        timeout: how long one execution may take, from its start or resume to its pause or end: seconds, a ``timedelta``
            or a :class:`~milepost.TimeoutPolicy`. The body then runs in a thread of its own, a coroutine is cancelled
            when time is up, and the run fails with :class:`~milepost.errors.WorkflowTimeout`.

    Raises:
        InvalidDefinition: the function is a generator function, or takes no input, or a policy cannot be.
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
        cls,
        *,
        checkpointer: str | Checkpointer | None = None,
        store: str | Store | None = None,
        cache: str | Cache | None = None,
        context_schema: Any = None,
        name: str | None = None,
        version: int | str | None = None,
        retention: Retention | None = None,
        retry_policy: Retry = None,
        cache_policy: CachePolicy | None = None,
        timeout: Timeout = None,
        retry: Retry = None,
    ) -> _Decorator: ...
    def __new__(  # type: ignore[misc]  # noqa: PLR0913 - likewise; every one a keyword
        cls,
        function: Callable[..., Any] | None = None,
        /,
        *,
        checkpointer: str | Checkpointer | None = None,
        store: str | Store | None = None,
        cache: str | Cache | None = None,
        context_schema: Any = None,
        name: str | None = None,
        version: int | str | None = None,
        retention: Retention | None = None,
        retry_policy: Retry = None,
        cache_policy: CachePolicy | None = None,
        timeout: Timeout = None,
        retry: Retry = None,
    ) -> Any:
        """Decorate the function, or return the decorator."""
        if retry is not None:
            retry_policy = renamed(retry, retry_policy)
        found = policies(
            "@entrypoint",
            "workflow",
            retry_policy=retry_policy,
            time_limit=timeout,
            cache_policy=cache_policy,
        )
        options = Options(
            checkpointer=checkpointer,
            store=store,
            cache=cache,
            context_schema=context_schema,
            name=name,
            version=version,
            retention=retention,
            policies=found,
        )
        if function is None:
            return functools.partial(Workflow, options=options)
        return Workflow(function, options)


class _Decorator(typing.Protocol):
    @overload
    def __call__(self, function: Callable[..., Coroutine[Any, Any, R]], /) -> AsyncWorkflow[Any, R]: ...
    @overload
    def __call__(self, function: Callable[..., R], /) -> Workflow[Any, R]: ...
