"""The policies of a workflow's body: run it under its time limit, and again when it fails."""

from __future__ import annotations

import threading
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from milepost import _async, _context, _ids
from milepost._call import Ended, failure, shortened
from milepost._clock import LOOK_SECONDS
from milepost._guard import Guard
from milepost._guarded import until_due
from milepost._signals import Aborted, Stopped
from milepost._timed import Timed
from milepost.checkpoint import Attempted
from milepost.errors import WorkflowTimeout

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost._caching import Slot
    from milepost._call import Execution
    from milepost._clock import Clock
    from milepost._fold import RunState
    from milepost._frame import Frame
    from milepost._policies import Policies
    from milepost._step import Step
    from milepost._turn import Turn


class Waiting(Protocol):
    """What a wait asks of the execution that waits."""

    engine: Any

    @property
    def is_stopping(self) -> bool: ...
    def stop(self, cause: BaseException) -> None: ...


class _Pause:
    """A wait of a body, that the timer or an equal run ends."""

    def __init__(self, execution: Waiting) -> None:
        self.runs_alone = False
        self._execution = execution
        self._over = threading.Event()

    @property
    def lineage(self) -> tuple[Any, str]:
        """The execution, and the body's place in it."""
        return self._execution, _ids.ROOT

    def due(self) -> None:
        self._over.set()

    def dropped(self) -> bool:
        if self._execution.is_stopping:
            self._over.set()
        return self._over.is_set()

    def wait(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            pass


class BodyPolicies:
    """The attempts at one body, and the time that its execution may take: all its attempts together."""

    def __init__(self, step: Step, clock: Clock) -> None:
        self._step = step
        self._clock = clock
        self._began = 0.0
        self._first_at = ""
        self._until: float | None = None
        self._before: tuple[int, ...] = ()

    def load(self, run: RunState) -> None:
        """Go on from the attempts on record."""
        attempts = run.attempts.get(_ids.ROOT, ())
        self._before = tuple(attempt.policy for attempt in attempts)
        if attempts:
            self._first_at = attempts[0].began
            self._until = self._clock.monotonic() + until_due(attempts[-1], self._clock.now().isoformat())

    def begin(self) -> None:
        """Let the time of this execution begin."""
        self._began = self._clock.monotonic()

    @property
    def _policies(self) -> Policies:
        assert self._step.policies is not None  # noqa: S101 - who has none does not come here
        return self._step.policies

    # -- running ---------------------------------------------------------------------------------------------------

    def run(self, execution: Execution, frame: Frame, body: Callable[[], Ended], patience: float) -> Ended:
        """Run the body once, in the caller's thread; under a time limit, in one of its own."""
        self._first_at = self._first_at or frame.began
        frame.guard = guard = self._guard()
        ended = self._await_due(execution, guard)
        if ended is not None:
            return ended
        if self._policies.timeout is None:
            return _context.run_within(frame, body)
        return self._run_timed(execution, frame, body, patience)

    def _guard(self) -> Guard:
        return Guard(
            path=_ids.ROOT,
            number=len(self._before) + 1,
            first_at=self._first_at,
            clock=self._clock,
            limits=self._policies.timeout,
            began=self._began,
        )

    def _run_timed(
        self, execution: Execution, frame: Frame, body: Callable[[], Ended], patience: float
    ) -> Ended:
        guard, name = frame.guard, self._step.name
        assert guard is not None  # noqa: S101 - `run` made it
        timed = _context.run_within(frame, lambda: Timed(body, guard, self._clock, execution.pool, name))
        try:
            in_time = _wait_out(timed, execution)
        except BaseException as again:  # noqa: BLE001 - the second Ctrl-C
            execution.stop(again)
            timed.leave()
            frame.leave()
            return Ended(signal=Stopped(), stop=again)
        if (in_time or not timed.leave()) and not guard.is_late:
            ended: Ended = timed.value
            return ended
        expired = self._expired(execution, guard)
        if self._step.is_async:
            _async.cancel(frame, frame.scope.loop)
        frame.expire(expired.error, patience)
        return Ended(signal=expired)

    def _expired(self, execution: Execution, guard: Guard) -> Aborted:
        error = self._policies.expired(self._step.name, guard.left()[1], guard.elapsed)
        return execution.abort(error)

    # -- equal runs ------------------------------------------------------------------------------------------------

    def find(self, execution: Execution, slot: Slot) -> tuple[list[Any] | None, Callable[[bool], None]]:
        """Return a run's result from the cache, after an equal run has ended, and what to call when this one has.

        That is told whether a result was kept. Of equal runs in several processes, one goes first, too.
        """
        while not execution.is_stopping:
            found = slot.find(self._clock)[0]
            if found is not None:
                return found, _nothing
            pause = _Pause(execution)
            if slot.lead(pause):
                turn = slot.turn(pause, execution.engine.keeper, self._clock)
                landed = partial(_landed, slot, pause, turn)
                try:
                    return self._await_turn(execution, slot, turn), landed
                except BaseException:
                    landed(False)
                    raise
            self._await_equal(execution, slot, pause)
            if pause.runs_alone:
                break
        return None, _nothing

    def _await_turn(self, execution: Execution, slot: Slot, turn: Turn | None) -> list[Any] | None:
        """Look again, as an equal run may have landed meanwhile, here or in another process; and claim the run."""
        while not execution.is_stopping:
            found, seconds = slot.find(self._clock, turn)
            if not seconds:
                return found
            self._sleep(execution, seconds)
        return None

    def _await_equal(self, execution: Execution, slot: Slot, pause: _Pause) -> None:
        def begin() -> None:
            execution.engine.timer.after(inf, pause)
            slot.join(pause)

        self._wait(execution, pause, begin)

    # -- again -----------------------------------------------------------------------------------------------------

    def fails(self, execution: Execution, error: Exception) -> bool:
        """Record a failed attempt where a policy has the body run again; return whether it does.

        Raises:
            Signal: the attempt could not be recorded.
        """
        if self._step.policies is None or isinstance(error, WorkflowTimeout):
            return False
        after = self._policies.after(error, self._before)
        if after is None:
            return False
        policy, delay = after
        self._until = self._clock.monotonic() + delay
        self._before = (*self._before, policy)
        if execution.journal is not None:
            self._record(execution, error, policy, delay)
        return True

    def _record(self, execution: Execution, error: Exception, policy: int, delay: float) -> None:
        from datetime import timedelta

        journal, frame, now = execution.journal, execution.root, self._clock.now()
        assert journal is not None and frame is not None  # noqa: S101, PT018 - a body has run
        causes = execution.sources(error)
        record = Attempted(
            call=_ids.ROOT,
            name=self._step.name,
            digest="",
            number=len(self._before),
            began=frame.began,
            ended=now.isoformat(),
            due=(now + timedelta(seconds=delay)).isoformat(),
            policy=policy,
            error=shortened(failure(error, where=self._step.where)),
            caused_by=causes,
            heard_at=execution.heard_at(causes),
        )
        try:
            journal.keep(record)
        except Exception as broken:
            raise execution.abort(broken) from broken

    def _await_due(self, execution: Execution, guard: Guard) -> Ended | None:
        """Wait until the next attempt is due; return how the execution ends if it does so meanwhile."""
        until, self._until = self._until, None
        seconds = 0.0 if until is None else until - self._clock.monotonic()
        left = guard.left()[0]
        if seconds > 0:
            self._sleep(execution, min(seconds, left))
        if execution.is_stopping:
            return Ended(signal=Stopped())
        return Ended(signal=self._expired(execution, guard)) if seconds > 0 and seconds >= left else None

    def _sleep(self, execution: Execution, seconds: float) -> None:
        pause = _Pause(execution)
        self._wait(execution, pause, partial(execution.engine.timer.after, seconds, pause))

    @staticmethod
    def _wait(execution: Execution, pause: _Pause, begin: Callable[[], object]) -> None:
        execution.pool.begin_wait()
        try:
            begin()
            pause.wait()
        except Exception:
            raise
        except BaseException as cause:  # noqa: BLE001 - Ctrl-C
            execution.stop(cause)
        finally:
            execution.pool.end_wait()


def _nothing(kept: bool) -> None:  # noqa: FBT001 - as the other one
    """Nobody waits for a run that leads no others."""


def _landed(slot: Slot, pause: _Pause, turn: Turn | None, kept: bool) -> None:  # noqa: FBT001 - told once
    slot.landed(pause, turn, kept=kept)


def _wait_out(timed: Timed, execution: Waiting) -> bool:
    """Wait for the body; Ctrl-C stops it at its next call into milepost."""
    try:
        return timed.wait()
    except BaseException as cause:  # noqa: BLE001 - Ctrl-C
        execution.stop(cause)
        return timed.wait()
