"""What is on record for a workflow's threads, and changing it from outside a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from milepost._declared import Declared, I, R
from milepost._final import Final
from milepost._later import later
from milepost._twin import iterated_twin, twin
from milepost.errors import (
    InvalidUpdate,
    MilepostError,
    NoCheckpointer,
    NotSerializable,
    WrongWorkflow,
)
from milepost.question import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from milepost import (
        _answers,
        _claim,
        _config,
        _run,
        _runs,
        _saved,
        _travel,
        serde,
        state,
    )
    from milepost import checkpoint as _checkpoint
    from milepost._declared import Place
    from milepost._fold import RunState
    from milepost._inject import RunnableConfig
    from milepost.checkpoint import Checkpointer, Head, Parent
    from milepost.state import StateSnapshot, StateUpdate

    Config = RunnableConfig | Mapping[str, Any] | None
else:
    _answers = later("_answers")
    _claim = later("_claim")
    _config = later("_config")
    _run = later("_run")
    _runs = later("_runs")
    _saved = later("_saved")
    _travel = later("_travel")
    _checkpoint = later("checkpoint")
    serde = later("serde")
    state = later("state")

_WRITERS = ("__input__", "__copy__", "__end__")


class States(Declared[I, R]):
    """The part of a workflow that looks at threads, and changes them where no body runs."""

    def _kept(
        self, config: Config, thread_id: str | None, checkpoint_id: str | None = None
    ) -> tuple[Checkpointer, str, Place]:
        """Return the backend and the thread that a call is about.

        Raises:
            NoCheckpointer, MissingThreadId: as they say.
        """
        place = self._place(config, thread_id, checkpoint_id)
        if place.checkpointer is None or place.thread is None:
            raise NoCheckpointer(f"workflow {self.name!r} has no checkpointer, so nothing is on record")
        return place.checkpointer, place.thread, place

    def _check_bound(self, head: Head | None) -> None:
        """Refuse a thread that belongs to another workflow, as far as its head tells."""
        if head is not None and head.workflow not in {"", self.name}:
            raise WrongWorkflow(
                f"thread {head.thread!r} belongs to workflow {head.workflow!r}, not to {self.name!r}",
                thread_id=head.thread,
                bound_to=head.workflow,
            )

    # -- looking -------------------------------------------------------------------------------------------------

    def get_state(
        self, config: Config = None, *, thread_id: str | None = None, checkpoint_id: str | None = None
    ) -> StateSnapshot:
        """Return what is on record for a run: its status, tasks and pending questions, and the last result.

        It is the thread's newest run, or the one that ``checkpoint_id`` names, here or in the config. For a thread
        nobody has started, an empty snapshot with status None.

        Raises:
            NoCheckpointer: nothing is kept for this workflow.
            MissingThreadId: no thread id was given.
            UnknownCheckpoint: the thread has no such run.
        """
        checkpointer, thread, place = self._kept(config, thread_id, checkpoint_id)
        head = checkpointer.load_head(thread)
        if place.checkpoint is not None:
            return self._snapshot(
                checkpointer, _runs.find(checkpointer, thread, place.checkpoint), thread, head
            )
        read = _claim.read_thread(checkpointer, thread, head)
        if read.run is None:
            return state.StateSnapshot(values=None, next=(), config={"configurable": {"thread_id": thread}})
        return self._snapshot(checkpointer, read.run, thread, head)

    def get_state_history(
        self,
        config: Config = None,
        *,
        thread_id: str | None = None,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: Mapping[str, Any] | None = None,
        limit: int | None = None,
    ) -> Iterator[StateSnapshot]:
        """Yield a snapshot of each run of a thread, newest first, as far back as they are kept.

        Only what is yielded is read. A ``checkpoint_id`` in the config names the only run to show.

        Args:
            config: the thread.
            thread_id: the thread, in place of the config's.
            filter: metadata that a snapshot must have, by key.
            before: the config of a run; only those before it.
            limit: how many at most.

        Raises:
            NoCheckpointer, MissingThreadId: as for :meth:`get_state`.
            UnknownCheckpoint: the thread has no such run.
            ValueError: ``limit`` is negative.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"limit is how many snapshots to yield, not {limit}")
        checkpointer, thread, place = self._kept(config, thread_id)
        if place.checkpoint is not None:
            runs = iter((_runs.find(checkpointer, thread, place.checkpoint),))
        elif before is not None:
            addressed = (before.get("configurable") or {}).get("checkpoint_id")
            runs = _runs.walk_before(checkpointer, thread, _runs.find(checkpointer, thread, addressed))
        else:
            runs = _runs.walk(checkpointer, thread)
        return self._history(checkpointer, thread, runs, dict(filter or {}), limit)

    def _history(
        self,
        checkpointer: Checkpointer,
        thread: str,
        runs: Iterator[RunState],
        wanted: dict[str, Any],
        limit: int | None,
    ) -> Iterator[StateSnapshot]:
        head, left = checkpointer.load_head(thread), limit
        while left is None or left > 0:
            run = next(runs, None)
            if run is None:
                return
            told = state.metadata(run)
            if all(key in told and told[key] == value for key, value in wanted.items()):
                try:
                    snapshot = self._snapshot(checkpointer, run, thread, head)
                except MilepostError:
                    if _runs.is_kept(checkpointer, thread, run):
                        raise
                    return  # pruned between two readings, and all before it
                yield snapshot
                left = None if left is None else left - 1

    def _snapshot(
        self, checkpointer: Checkpointer, run: RunState, thread: str, head: Head | None
    ) -> StateSnapshot:
        asked = _run.pending(run)
        failed = run.failed if run.status is _checkpoint.Status.FAILED else None
        newest = head is not None and head.run == run.position
        return state.StateSnapshot(
            values=self._values(checkpointer, run, thread),
            next=()
            if run.status in {_checkpoint.Status.DONE, _checkpoint.Status.ABANDONED}
            else (run.started.workflow,),
            config=state.address(thread, run.id),
            status=run.status,
            created_at=run.started.at,
            tasks=state.tasks(run, asked),
            interrupts=asked if run.status is _checkpoint.Status.INTERRUPTED else (),
            error=None if failed is None else f"{failed.error.type}: {failed.error.message}",
            workflow=run.started.workflow,
            answered=state.answered(run),
            unfinished=state.unfinished(run),
            sessions=state.sessions(run),
            owner=head.owner if head is not None and newest else None,
            metadata=state.metadata(run),
            parent_config=state.parent_config(thread, run),
        )

    def _values(self, checkpointer: Checkpointer, run: RunState, thread: str) -> Any:
        """Return the run's result, or the last one before it."""
        finished, previous = run.finished, run.started.previous
        if finished is None and previous is not None:
            finished = _saved.finished_at(checkpointer, thread, previous)
        return None if finished is None else _run.returned(checkpointer, thread, finished, self._step.returns)

    aget_state = twin(get_state)
    aget_state_history = iterated_twin(get_state_history)

    # -- writing a state -----------------------------------------------------------------------------------------

    def update_state(
        self,
        config: Config,
        values: Any,
        as_node: str | None = None,
        *,
        thread_id: str | None = None,
    ) -> dict[str, Any]:
        """Write a result as if the workflow had returned it, and return the config of the run that it makes.

        It becomes the thread's last result and the next run's ``previous``; ``entrypoint.final`` writes them apart. A
        run that is interrupted, failed, cancelled or cut off is abandoned. A thread nobody has started will do.

        Args:
            config: the thread; a ``checkpoint_id`` in it names the new run's parent.
            values: the result.
            as_node: the workflow's name, like None. ``"__input__"`` records ``values`` as the input of a run that
                ``invoke(None)`` begins, with the ``context`` it gives; ``"__copy__"`` likewise a run with the input of
                the addressed run, or the newest; ``"__end__"`` with None abandons an open run and writes nothing.
            thread_id: the thread, in place of the config's.

        Raises:
            InvalidUpdate: ``as_node`` is none of these, or takes no values.
            ThreadBusy: a live run holds the thread.
            UnknownThread, UnknownCheckpoint, WrongWorkflow, NotSerializable, NoCheckpointer, MissingThreadId: as they
            say.
        """
        checkpointer, thread, place = self._kept(config, thread_id)
        found = None if place.checkpoint is None else _runs.find(checkpointer, thread, place.checkpoint)
        request = self._update(place, values, as_node, found)
        changed = self._change(place, request)
        assert changed is not None  # noqa: S101 - each of these requests leaves a run
        return state.address(thread, changed.id)

    def bulk_update_state(
        self,
        config: Config,
        supersteps: Iterable[Iterable[StateUpdate]],
        *,
        thread_id: str | None = None,
    ) -> dict[str, Any]:
        """Do what :meth:`update_state` does, several times; return the config of the last run.

        A ``checkpoint_id`` in the config is the first one's parent. Each update is on record when it is made: one that
        fails leaves those before it.

        Args:
            config: the thread.
            supersteps: one update each; a workflow has no more to update at once.
            thread_id: the thread, in place of the config's.

        Raises:
            InvalidUpdate: there is no update, or a step has not just one.
            MilepostError: what :meth:`update_state` raises.
        """
        steps = [tuple(step) for step in supersteps]
        if not steps or any(len(step) != 1 for step in steps):
            raise InvalidUpdate(
                "a workflow is updated one result at a time: give at least one step, and one update in each",
                choices=(),
            )
        told = config
        for (update,) in steps:
            told = self.update_state(told, update.values, update.as_node, thread_id=thread_id)
        return cast("dict[str, Any]", told)

    aupdate_state = twin(update_state)
    abulk_update_state = twin(bulk_update_state)

    def _update(
        self, place: Place, values: Any, as_node: str | None, found: RunState | None
    ) -> _claim.Request:
        if as_node in {None, self.name}:
            return self._written(values, None if found is None else found.id)
        if as_node == "__input__":
            return _travel.Plant(start=self._start(place, values, None, found), source=None)
        if as_node in {"__copy__", "__end__"} and values is not None:
            raise InvalidUpdate(f"as_node={as_node!r} writes no values: pass None", choices=_WRITERS)
        if as_node == "__copy__":
            return self._copied(place, found)
        if as_node == "__end__":
            return _travel.Close(workflow=self.name)
        choices = (self.name, *_WRITERS)
        raise InvalidUpdate(
            f"as_node={as_node!r}: workflow {self.name!r} can be updated as {', '.join(map(repr, choices))}",
            choices=choices,
        )

    def _written(self, values: Any, forked: str | None) -> _travel.Update:
        where = f"the value that update_state writes for {self.name!r}"

        def encode(run: str) -> tuple[_checkpoint.Value, _checkpoint.Value | None]:
            if not isinstance(values, Final):
                return text(values, self._step.returns, f"{run}/result"), None
            saved = text(values.save, self._save, f"{run}/save")
            return text(values.value, self._step.returns, f"{run}/result"), saved

        def text(value: Any, declared: Any, identity: str) -> _checkpoint.Value:
            return _checkpoint.Value(text=serde.encode(value, declared, where=where, identity=identity))

        return _travel.Update(workflow=self.name, encode=encode, forked=forked)

    def _copied(self, place: Place, found: RunState | None) -> _travel.Plant:
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        if found is None:
            read = _claim.read_thread(
                place.checkpointer, place.thread, place.checkpointer.load_head(place.thread)
            )
            if read.run is None:
                raise _claim.unknown_thread(place.thread)
            found = read.run
        return _travel.Plant(start=self._replay(place, found, None).start, source="fork")

    def _change(self, place: Place, request: _claim.Request) -> RunState | None:
        """Take the thread, write what the request says, and lay the thread down again; return its newest run."""
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        executing = place.engine.executing()
        try:
            executing.enter()
            return _claim.change(self._taker(place), request)
        finally:
            executing.leave()

    def _taker(self, place: Place) -> _claim.Taker:
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        return _claim.Taker(
            checkpointer=place.checkpointer,
            thread=place.thread,
            clock=place.engine.clock,
            watch=place.engine.watch,
            lease=place.engine.lease,
        )

    # -- requests that address a run -----------------------------------------------------------------------------

    def _start(
        self, place: Place, given: Any, parent: Parent | None, found: RunState | None = None
    ) -> _claim.Start:
        where = f"the input of {self.name!r}"
        text = serde.encode(given, self._accepts, where=where, identity=f"{place.thread}/input")
        origin = None
        if found is not None:
            assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
            base = _runs.left(place.checkpointer, place.thread, found)
            origin = _claim.Origin(run=found.id, base=base)
        return _claim.Start(
            workflow=self.name,
            input=_checkpoint.Value(text=text),
            parent=parent,
            origin=origin,
            context=self._recorded_context(place),
            config=_config.kept(place.config, where=f"workflow {self.name!r}"),
            version=self._options.version,
        )

    def _recorded_context(self, place: Place) -> _checkpoint.Value | None:
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
        return _checkpoint.Value(text=text)

    def _replay(self, place: Place, found: RunState, parent: Parent | None) -> _travel.Replay:
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        base = _runs.seen(place.checkpointer, place.thread, found)
        origin = _claim.Origin(run=found.id, base=base)
        context = self._recorded_context(place)
        config = _config.restored(found.started, place.config, place.said)
        start = _claim.Start(
            workflow=self.name,
            input=found.started.input,
            parent=parent,
            origin=origin,
            context=found.started.context if context is None else context,
            config=_config.kept(config, where=f"workflow {self.name!r}"),
            version=self._options.version,
        )
        has_input = found.started.source != "update"
        return _travel.Replay(start=start, origin=origin, context=context, has_input=has_input)

    def _request_at(self, place: Place, given: Any, parent: Parent | None) -> _claim.Request:
        """Return the request of a call that names a run."""
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        found = _runs.find(place.checkpointer, place.thread, place.checkpoint)
        if isinstance(given, Command):
            answered = bool(found.answers)
            context = self._recorded_context(place)
            return _answers.Resume(
                workflow=self.name, command=given, context=context, run=found.id, answered=answered
            )
        if given is not None:
            return self._start(place, given, parent, found)
        return self._replay(place, found, parent)
