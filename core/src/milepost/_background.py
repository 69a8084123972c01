"""Runs that nobody waits for: starting them, going on with them, and waiting for one all the same."""

from __future__ import annotations

import itertools
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from milepost import _context, _ids, _known
from milepost._declared import I, Options, Place, R, with_thread
from milepost._later import later
from milepost._struct import replace
from milepost._twin import twin
from milepost._upkeep import Upkeep
from milepost.errors import (
    EngineClosed,
    InvalidStart,
    MilepostError,
    NoCheckpointer,
    NothingToCancel,
    RunCancelled,
    StorageError,
    ThreadBusy,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from logging import Logger

    from milepost import (
        _adopt,
        _call,
        _claim,
        _config,
        _durability,
        _engine,
        _keys,
        _outcome,
        _owner,
        _runs,
        _travel,
        _watch,
        busy,
        run,
    )
    from milepost import _run as _running
    from milepost import checkpoint as _checkpoint
    from milepost._durability import Durability
    from milepost._engine import Engine
    from milepost._fold import RunState
    from milepost._inject import RunnableConfig
    from milepost._lease import Holding
    from milepost._run import Rested
    from milepost.checkpoint import Checkpointer
    from milepost.run import Run
else:
    _adopt = later("_adopt")
    _call = later("_call")
    _claim = later("_claim")
    _config = later("_config")
    _durability = later("_durability")
    _engine = later("_engine")
    _keys = later("_keys")
    _outcome = later("_outcome")
    _owner = later("_owner")
    _running = later("_run")
    _runs = later("_runs")
    _travel = later("_travel")
    _watch = later("_watch")
    _checkpoint = later("checkpoint")
    busy = later("busy")
    run = later("run")

_SHORTEST: Final = 0.01
_LONGEST: Final = 0.25
_GROWS: Final = 1.5


class Background(Upkeep[I, R]):
    """The part of a workflow that runs where nobody waits, and waits for what runs elsewhere."""

    def __init__(self, function: Callable[..., R], options: Options) -> None:
        super().__init__(function, options)
        self._known = Adopter(self)
        _known.add(self._known)

    def start(  # noqa: PLR0913 - every one a keyword
        self,
        input: I,  # noqa: A002 - LangGraph's name
        config: RunnableConfig | Mapping[str, Any] | None = None,
        *,
        thread_id: str | None = None,
        context: Any = None,
        idempotency_key: str | None = None,
        owner: str | None = None,
        tags: Iterable[str] = (),
        durability: Durability | None = None,
        busy: busy.Busy | str = "reject",
    ) -> Run:
        """Start a run in the background and return at once; the run is on record before this returns.

        It executes in this process, in a thread of its own, if the engine has a slot free (``Engine(background=…)``);
        else it is handed on, to this process's next free slot or to another engine with ``recover=True``. What body and
        tasks write is recorded for those who follow the run with :meth:`Run.events`.

        Within a run, a start that is made again, by a replay or another attempt, gives the run that it began before.

        Args:
            input: what the run begins with. A run that is interrupted, failed or cut off on the thread is abandoned.
            config: as for :meth:`invoke`.
            thread_id: the thread; a new one where neither this nor the config names any.
            context: as for :meth:`invoke`.
            idempotency_key: a text that names this request, of its owner: sent again with the same input, it gives the
                same run, whatever that has come to; without a thread id, the key chooses the thread, too.
            owner: for whom the run is, a text: shown in listings, and the scope of the key.
            tags: texts, shown in listings; the config's tags are added.
            durability: as for :meth:`invoke`.
            busy: what to do where a live run holds the thread: ``"reject"``, ``busy.wait(seconds)``, or ``"join"``,
                which returns that run.

        Raises:
            NoCheckpointer: nothing would be on record.
            IdempotencyConflict: the key was used for another request.
            InvalidStart: the key, the owner, a tag or ``busy`` is of a wrong type.
            ThreadBusy: a live run holds the thread, or one that sleeps.
            WrongWorkflow, NotSerializable, InvalidContext, InvalidConfig, EngineClosed: as for :meth:`invoke`.
        """
        policy, principal = _policy(busy), _keys.check("owner", owner)
        key = _keys.check("idempotency_key", idempotency_key) or self._key_within()
        tagged = _durability.in_config(_with_tags(config, tags), durability)
        said = self._with_thread(tagged, thread_id)[1]
        chosen = said
        if chosen is None:
            chosen = _ids.token() + _ids.token() if key is None else _keys.thread_of(principal, key)
        place = self._place(tagged, chosen, context=context, busy=policy)
        if place.checkpointer is None or place.thread is None:
            raise NoCheckpointer(
                f"workflow {self.name!r} has no checkpointer, so a run could not be kept: pass one"
            )
        if place.checkpoint is not None:
            raise InvalidStart(
                "start() begins a run: leave checkpoint_id out, or use invoke() to go back to a run"
            )
        request = replace(
            self._start(place, input, None),
            config=_config.kept(place.config, where=f"workflow {self.name!r}", whole=True),
            background=True,
            principal=principal,
            key=key,
            tags=tuple(place.config.get("tags") or ()),
        )
        if key is not None:
            named = None if said is None else place.thread
            where = _keys.place(place.checkpointer, request, named, place.engine.clock)
            place = replace(place, thread=where.thread)
            if where.run is not None:
                return self._handle(place, where.run)
        return self._begin(place, request)

    astart = twin(start)

    def _key_within(self) -> str | None:
        """Return a key for a start within a run, the same whenever that call is made again; None outside of runs."""
        frame = _context.frame()
        return None if frame is None else f"{frame.once(f'start {self.name}')}"

    def _begin(self, place: Place, request: _claim.Request) -> Run:
        """Carry out a request, and execute what comes of it in the background."""
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        slots, begun, offered, slot = place.engine.slots, False, False, None
        owner, executing = _owner.make(), place.engine.executing()
        end, permit = _owner.ending(owner), [True]
        try:
            executing.enter()
            _owner.enter(owner)
            taken = self._taken_or_joined(place, request, owner)
            if not isinstance(taken, _claim.Taken):
                return self._handle(place, taken)
            slot = slots.reserve()  # not before: whoever waits for a thread holds none that its run may need
            work = partial(self._execute_handed, place, taken, end, permit)
            begun = slot is not None and slots.begin(slot, work, place.engine)
            if not begun:
                taken.holding.release(offer=True)
                offered = True
            return self._handle(place, taken.run)
        finally:
            # Ctrl-C may come when the other thread has begun: whoever takes the permit has the run.
            if not begun and _taken_from(permit):
                end()
                if slot is not None:
                    slots.free(slot, place.engine)
            if offered:
                self._submit(place)
            executing.leave()

    def _submit(self, place: Place) -> None:
        """Have this process go on with a run when it has a slot, if nobody else does before."""
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        work = partial(self._take_up, self._place_of(place.engine, place.checkpointer, place.thread))
        place.engine.slots.submit((id(place.checkpointer), place.thread), work, place.engine)

    def _taken_or_joined(
        self, place: Place, request: _claim.Request, owner: _checkpoint.Owner
    ) -> _claim.Taken | RunState:
        """Take the thread, or return the run that the request leads to without."""
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        start = request if isinstance(request, _claim.Start) else None
        try:
            taken = self._take(place, request, owner)
        except ThreadBusy:
            run = _newest(place.checkpointer, place.thread)
            joins = place.busy is not None and place.busy.name == "join"
            if run is None or not (joins or (start is not None and start.is_of(run.started))):
                raise
            taken = _claim.Settled(run=run)
        if isinstance(taken, _claim.Settled):
            if start is not None and start.key is not None:
                _keys.check_same(start, taken.run, place.thread)
            return taken.run
        return taken

    def _take(
        self, place: Place, request: _claim.Request, owner: _checkpoint.Owner
    ) -> _claim.Taken | _claim.Settled:
        """Take the thread; where it is busy and that is the policy, wait for it.

        Raises:
            ThreadBusy: it is busy, and was until the time was up.
        """
        clock, taker = place.engine.clock, self._taker(place)
        policy = place.busy
        if policy is None or policy.name != "wait":
            return _claim.take(taker, request, owner)
        end = None if policy.timeout is None else clock.monotonic() + policy.timeout
        for pause in _pauses():
            try:
                return _claim.take(taker, request, owner)
            except ThreadBusy:
                left = pause if end is None else min(pause, end - clock.monotonic())
                if left <= 0:
                    raise
            if place.engine.closing:
                raise place.engine.closed_error()
            threading.Event().wait(left)
        raise AssertionError  # pragma: no cover - the pauses never end

    def _handle(self, place: Place, found: RunState) -> Run:
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        return run.Run(place.engine, place.checkpointer, place.thread, found, self._known)

    # -- executing -------------------------------------------------------------------------------------------------

    def _execute(self, place: Place, execution: _running.Execution, holding: Holding) -> Rested:
        sessions, session = place.engine.executions, holding.owner.session
        holding.cancel = execution.cancel
        place.engine.keeper.hold(holding)
        try:
            sessions[session] = execution
            ended = execution.execute()
        finally:
            sessions.pop(session, None)
            execution.over()
            place.engine.keeper.let_go(holding)
        if holding.asked is not None and not isinstance(ended, _running.Returned):
            ended = self._cancelled_at_rest(place, execution, holding, ended)
        if self._options.retention is not None:
            finished = isinstance(ended, _running.Returned)
            self._options.retention.apply(
                holding.checkpointer, execution.run, holding.thread, place.engine.clock, finished=finished
            )
        return ended

    def _cancelled_at_rest(
        self, place: Place, execution: _running.Execution, holding: Holding, ended: Rested
    ) -> Rested:
        """Cancel a run that paused while somebody asked for that; return what it came to otherwise.

        Raises:
            RunCancelled: it is cancelled.
        """
        request = _travel.Cancel(workflow=self.name, reason=holding.asked or None, run=execution.run_id)
        try:
            _claim.change(self._taker(place), request)
        except (ThreadBusy, NothingToCancel):
            return ended  # somebody went on with it
        raise RunCancelled(
            f"the run on thread {holding.thread!r} was cancelled",
            thread_id=holding.thread,
            reason=request.reason,
        )

    def _execute_handed(
        self, place: Place, taken: _claim.Taken, end: Callable[[], None], permit: list[bool]
    ) -> None:
        """Execute a run in a thread that was begun for it, unless whoever began that has the run all the same."""
        if _taken_from(permit):
            self._execute_alone(place, taken, end)

    def _execute_alone(self, place: Place, taken: _claim.Taken, end: Callable[[], None]) -> None:
        """Execute a run that this process has taken, in this thread; nobody waits for how it ends."""
        executing, thread = place.engine.executing(), taken.state.thread
        try:
            executing.enter()
            try:
                execution = self._execution_of(place, taken)
            except Exception as error:
                self._fail_before(place, taken, error)
                raise
            ended = self._execute(place, execution, taken.holding)
            if isinstance(ended, _running.Asleep):
                place.engine.recovery.wake_at(ended.until, self._known, taken.holding.checkpointer, thread)
        except EngineClosed:
            taken.holding.release(offer=True)
        except Exception as error:  # noqa: BLE001 - what a run failed with is on record
            _log().info("the run on thread %r ended with %r", thread, error, extra={"thread_id": thread})
        finally:
            end()
            executing.leave()

    def _execution_of(self, place: Place, taken: _claim.Taken) -> _running.Execution:
        """Return the execution of a run that nobody waits for, with the config that it was started with."""
        config = _config.restored(taken.run.started, place.config, place.said)
        plan = replace(self._plan(replace(place, config=config)), background=True)
        return _running.Execution(plan, _watch.Watch(), taken)

    def _fail_before(self, place: Place, taken: _claim.Taken, error: Exception) -> None:
        """Put on record that a run cannot even begin here: what it began with cannot be read."""
        where, session = f"workflow {self.name!r}", taken.holding.owner.session
        failed = _checkpoint.Failed(
            at=place.engine.clock.now().isoformat(), error=_call.failure(error, where=where)
        )
        batch = _checkpoint.Batch(id=f"{session}-b", records=(failed,))
        taken.holding.rest(taken.state.tail, batch, _checkpoint.Status.FAILED)

    def _place_of(self, engine: Engine, checkpointer: Checkpointer, thread: str) -> Place:
        return Place(
            engine=engine,
            checkpointer=checkpointer,
            thread=thread,
            checkpoint=None,
            config=self._with_thread({}, thread)[0],
            said=with_thread({}, thread)[0],
            loop=engine.loop,
        )

    def _take_up(self, place: Place) -> None:
        """Go on with a thread's run where nobody works on it; nothing is raised, as nobody waits."""
        checkpointer, thread = place.checkpointer, place.thread
        assert checkpointer is not None and thread is not None  # noqa: S101, PT018
        try:
            self._carry_on(place, self._adoption(place))
        except ThreadBusy:
            return  # somebody was faster
        except MilepostError as error:
            _log().warning("thread %r was not taken up: %s", thread, error, extra={"thread_id": thread})
            if isinstance(error, StorageError):
                place.engine.recovery.look_again(self._known, checkpointer, thread)

    def _adoption(self, place: Place, *, eager: bool = False, run: str | None = None) -> _adopt.Adopt:
        return _adopt.Adopt(workflow=self.name, most=place.engine.max_recoveries, eager=eager, run=run)

    def _carry_on(self, place: Place, request: _claim.Request) -> None:
        if place.engine.closing:
            return
        owner = _owner.begin()
        end = _owner.ending(owner)
        try:
            taken = _claim.take(self._taker(place), request, owner)
            if isinstance(taken, _claim.Settled):
                return
            if taken.run.status is not _checkpoint.Status.RUNNING:
                _claim.settle(taken)
                return
            _log().info(
                "goes on with run %s of %r on thread %r",
                taken.run.id,
                self.name,
                place.thread,
                extra={"thread_id": place.thread},
            )
            self._execute_alone(place, taken, end)
        finally:
            end()

    # -- waiting for a run -----------------------------------------------------------------------------------------

    def _see_through(self, place: Place, plan: _running.Plan, watch: _watch.Watch, ended: Rested) -> Rested:
        """Wait while a run sleeps, and go on with it, or return what becomes of it elsewhere."""
        while isinstance(ended, _running.Asleep):
            self._await_time(place, watch, ended.until)
            if watch.is_gone:
                return ended
            ended = self._join(place, plan, watch, ended.run)
        return ended

    def _await_time(self, place: Place, watch: _watch.Watch, until: float) -> None:
        """Wait until a time, or until the thread does not sleep any more."""
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        clock, pool = place.engine.clock, place.engine.pool
        looks = max(1, round(place.engine.recovery.poll / _LONGEST))
        pool.begin_wait()
        try:
            for number in itertools.count(1):
                left = until - clock.now().timestamp()
                if watch.is_gone or left <= 0:
                    return
                self._pause(place, left)
                if number % looks == 0:
                    head = place.checkpointer.load_head(place.thread)
                    if head is None or head.status is not _checkpoint.Status.SLEEPING:
                        return
        finally:
            pool.end_wait()

    def _pause(self, place: Place, seconds: float) -> None:
        """Wait a little.

        Raises:
            EngineClosed: the engine closes.
        """
        if place.engine.closing:
            raise EngineClosed(
                f"the engine was closed while the run on thread {place.thread!r} went on elsewhere, or slept: what it "
                f"comes to is on record"
            )
        threading.Event().wait(min(seconds, _LONGEST))  # by no clock: whoever closes the engine moves none

    def _join(self, place: Place, plan: _running.Plan, watch: _watch.Watch, run: str | None) -> Rested:
        """Go on with a thread's run where nobody does, or wait until it rests and return what became of it."""
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        request = self._adoption(place, eager=True, run=run)
        for pause in _pauses():
            try:
                return self._joined(place, plan, watch, request)
            except ThreadBusy:
                if watch.is_gone:
                    raise
            self._pause(place, pause)
        raise AssertionError  # pragma: no cover - the pauses never end

    def _joined(
        self, place: Place, plan: _running.Plan, watch: _watch.Watch, request: _adopt.Adopt
    ) -> Rested:
        assert place.checkpointer is not None and place.thread is not None  # noqa: S101, PT018
        owner = _owner.make()
        end = _owner.ending(owner)
        try:
            _owner.enter(owner)
            taken = _claim.take(self._taker(place), request, owner)
            if isinstance(taken, _claim.Taken):
                if taken.run.status is _checkpoint.Status.RUNNING:
                    return self._execute(place, _running.Execution(plan, watch, taken), taken.holding)
                _claim.settle(taken)
            found = taken.run
            if request.run is not None and found.id != request.run:  # a later run followed it
                found = _runs.find(place.checkpointer, place.thread, request.run)
            rested = _outcome.outcome(place.checkpointer, place.thread, found, self._step.returns)
            assert rested is not None  # noqa: S101 - an eager request takes what runs
            return rested
        finally:
            end()


class Adopter:
    """What recovery and handles of runs may do with a workflow: the other half of its part for the background."""

    def __init__(self, workflow: Background[Any, Any]) -> None:
        self._workflow = weakref.ref(workflow)
        self.name = workflow.name
        self.returns = workflow._step.returns  # noqa: SLF001 - two halves of one concept
        self.accepts = workflow._accepts  # noqa: SLF001 - likewise

    def backend(self, engine: Engine) -> Checkpointer | None:
        """Return where the workflow's threads are on record, on an engine; None where nothing is."""
        workflow = self._workflow()
        if workflow is None:
            return None
        return engine.checkpointer_for(workflow._origin, workflow._options.checkpointer)  # noqa: SLF001 - likewise

    def adopt(self, engine: Engine, checkpointer: Checkpointer, thread: str) -> None:
        """Go on with a thread's run, in this OS thread, where nobody else does."""
        workflow = self._workflow()
        if workflow is not None:
            workflow._take_up(workflow._place_of(engine, checkpointer, thread))  # noqa: SLF001 - likewise

    def go_on(self, engine: Engine, checkpointer: Checkpointer, thread: str, request: _claim.Request) -> bool:
        """Carry out a request that goes on with a thread, and execute what comes of it in the background.

        False, and nothing is done, where the workflow is gone.
        """
        workflow = self._workflow()
        if workflow is not None:
            workflow._begin(workflow._place_of(engine, checkpointer, thread), request)  # noqa: SLF001 - likewise
        return workflow is not None


def _pauses() -> Iterator[float]:
    """Yield the seconds of waits that grow."""
    pause = _SHORTEST
    while True:
        yield pause
        pause = min(pause * _GROWS, _LONGEST)


def _taken_from(permit: list[bool]) -> bool:
    """Return True to the first who asks."""
    try:
        return permit.pop()
    except IndexError:
        return False


def _newest(checkpointer: Checkpointer, thread: str) -> RunState | None:
    return _claim.read_thread(checkpointer, thread, checkpointer.load_head(thread)).run


def _policy(given: Any) -> busy.Busy:
    return busy.policy(given)


def _with_tags(config: Mapping[str, Any] | None, tags: Iterable[str]) -> Mapping[str, Any] | None:
    """Return a config with these tags, too.

    Raises:
        InvalidStart: they are no texts.
    """
    given = [tags] if isinstance(tags, str) else list(tags)
    if not all(map(_keys.is_text, given)):
        raise InvalidStart(f"start(tags=…) is a list of texts, not {tags!r}")
    return config if not given else _config.merged(config or {}, {"tags": given})


def _log() -> Logger:
    from milepost import log

    return log.logger
