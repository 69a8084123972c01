"""A call under policies: its attempts, its time limit, and whether its start is on record.

Between two attempts a call is as if nobody had begun it: it can be claimed by whoever wants to cancel or drop it. Only
the timer has it run, so that nobody who waits for it runs it before its time.
"""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

from milepost import _context, _ids, serde
from milepost._caching import slot_of_call
from milepost._call import Call, Ended, failure, shortened
from milepost._guard import Guard
from milepost._limit import Limit
from milepost._policies import BY_HAND, Policies
from milepost._signals import Restart, Stopped, Suspended
from milepost._timed import Timed
from milepost.checkpoint import Attempted, Begun, Outcome, Question, Value
from milepost.errors import OutcomeUnknown

if TYPE_CHECKING:
    from milepost._async import Result
    from milepost._caching import Slot
    from milepost._call import Frame
    from milepost._journal import Tried
    from milepost._turn import Turn


class GuardedCall(Call):
    """A call of a task or a nested workflow that has policies."""

    __slots__ = (
        "_attempts",
        "_begun",
        "_cached",
        "_first_at",
        "_is_waiting",
        "_kept",
        "_leads",
        "_made_calls",
        "_policies_before",
        "_slot",
        "_turn",
        "_unkeyed",
        "_until",
        "runs_alone",
    )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._attempts = 0
        self._policies_before: tuple[int, ...] = ()
        self._first_at = ""
        self._made_calls = False
        self._until: float | None = None
        self._begun: Begun | None = None
        self.runs_here = self._policies.timeout is None
        self._slot: Slot | None = None
        self._unkeyed: Exception | None = None
        self._leads = self._is_waiting = self._kept = self._cached = False
        self._turn: Turn | None = None
        self.runs_alone = False
        if self._policies.cache is not None:
            self._find_slot()

    @property
    def _policies(self) -> Policies:
        assert self.step.policies is not None  # noqa: S101 - so the frame found
        return self.step.policies

    def take_up(self, tried: Tried) -> None:
        """Go on from the attempts on record: after the rest of the last one's wait, and knowing what has begun."""
        clock = self.frame.execution.clock
        self._attempts = len(tried.attempts)
        self._policies_before = tuple(attempt.policy for attempt in tried.attempts)
        self._begun = tried.begun
        if tried.attempts:
            self._first_at = tried.attempts[0].began
            self._until = clock.monotonic() + until_due(tried.attempts[-1], clock.now().isoformat())
            self.runs_here = False

    # -- waiting for the next attempt ------------------------------------------------------------------------------

    def due(self) -> None:
        """Have a worker run the next attempt."""
        self.frame.execution.pool.submit(self)

    def dropped(self) -> bool:
        """Tell whether nothing waits for the attempt any more; where the run stops, so does the call."""
        if self.frame.execution.is_stopping and self.claim():
            self.future._settle(error=Stopped())  # noqa: SLF001 - a future and its call are one concept
        return not self._permit

    def _rest(self, seconds: float) -> None:
        """Wait without a worker; from here on anybody may claim the call."""
        execution, before = self.frame.execution, self.inner
        if before.guard is not self.frame.guard:  # an attempt ran in it
            self._made_calls = before.ordinal + before.observations + before.strands > 0
            self.inner = before.again()
            self.inner.guard = self.frame.guard
        execution.pool.ended(before.path)
        self.runs_here = False
        self.begun = False
        self._permit.append(True)
        execution.engine.timer.after(seconds, self)

    def send(self) -> None:
        """Have a worker begin a coroutine: what comes before it on the loop may block."""
        self.frame.execution.pool.submit(self)

    def run(self) -> None:
        """Do what comes before an attempt, and the attempt; a coroutine is on its way when this returns."""
        self._guarded(self._execute)

    # -- equal calls -----------------------------------------------------------------------------------------------

    @property
    def cached(self) -> bool:
        """Whether the result was taken from a cache."""
        return self._cached

    @property
    def lineage(self) -> tuple[Any, str]:
        """The execution that it belongs to, and its path there."""
        return self.frame.execution, self.inner.path

    def _find_slot(self) -> None:
        """Make the key now: the caller may change the arguments later."""
        scope = self.inner.scope
        try:
            nested = scope is not self.frame.scope
            self._slot = slot_of_call(self.step, self.args, self.kwargs, scope, nested=nested)
        except Exception as error:  # noqa: BLE001 - `key_func` is the user's; whoever waits for the call hears of it
            self._unkeyed = error

    def _is_seen_to(self) -> bool:
        """Take the result from the cache, or wait for an equal call; False where this call is to run."""
        clock, slot = self.frame.execution.clock, self._slot
        if self._unkeyed is not None:
            self.frame.execution.telling.began(self)
            super()._conclude(Ended(error=self._unkeyed))
            return True
        if slot is None or (self._leads and not self._is_waiting):
            return False
        found, seconds = self._lead(slot) if self._leads else (slot.find(clock)[0], 0.0)
        if found is None and not self._leads and not self.runs_alone:
            if not slot.lead(self):
                self._rest(inf)
                slot.join(self)
                return True
            found, seconds = self._lead(slot)
        if seconds:
            self._rest(seconds)
            return True
        if found is None:
            return False
        self._cached = True
        self.frame.execution.telling.began(self)
        super()._conclude(Ended(value=found[0]))
        return True

    def _lead(self, slot: Slot) -> tuple[list[Any] | None, float]:
        """Look again, as an equal call may have landed meanwhile, here or in another process; and claim the call.

        Another process may have claimed it: then it is waited for, and the second value says how long.
        """
        execution = self.frame.execution
        if not self._leads:
            self._leads = True
            self._turn = turn = slot.turn(self, execution.engine.keeper, execution.clock)
            self.future.add_done_callback(lambda _: slot.landed(self, turn, kept=self._kept))
        found, seconds = slot.find(execution.clock, self._turn)
        self._is_waiting = seconds > 0
        return found, seconds

    def _keep(self, ended: Ended) -> None:
        """Keep a result for equal calls; what a person answered is for this run alone."""
        execution, slot = self.frame.execution, self._slot
        returned = ended.error is None and ended.signal is None and not ended.cancelled
        if slot is not None and returned and not execution.has_asked(self.inner.path):
            self._kept = slot.keep(execution.clock, ended.value)

    # -- an attempt ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        clock = self.frame.execution.clock
        left = 0.0 if self._until is None else self._until - clock.monotonic()
        if left > 0:
            self._rest(left)
            return
        if self._is_unknown() and not self._decide(self._unknown("was cut off")):
            return
        if self._policies.cache is not None and self._is_seen_to():
            return
        self._begin_attempt()
        if self.step.is_async:
            self._send_attempt()
        elif self._policies.timeout is None:
            super()._run()
        else:
            self.frame.execution.telling.began(self)
            self._run_timed()

    def _begin_attempt(self) -> None:
        execution, path = self.frame.execution, self.inner.path
        if self._made_calls:
            execution.try_again(path)
            self._made_calls = False
        number = self._attempts + 1
        self._first_at = self._first_at or self.began
        self.inner.began = self.began
        if execution.journal is not None and self._policies.keeps_starts:
            self._keep_start(number)
        self.inner.guard = Guard(
            path=path,
            number=number,
            first_at=self._first_at,
            clock=execution.clock,
            limits=self._policies.timeout,
            around=self.frame.guard,
        )

    def _keep_start(self, number: int) -> None:
        """See to it that the start of an attempt is on record; one that this process broke off just goes on."""
        execution, path = self.frame.execution, self.inner.path
        assert execution.journal is not None  # noqa: S101 - the caller has checked
        execution.asked_at.pop(_ids.review(path), None)
        if self._begun is None or self._begun.number != number:
            digest, shows = self._made
            self._begun = Begun(
                call=path, name=self.step.name, digest=digest, shows=shows, number=number, at=self.began
            )
            self._write(self._begun)
        execution.journal.broken_off.discard(path)

    def _run_timed(self) -> None:
        inner, execution, guard = self.inner, self.frame.execution, self.inner.guard
        assert guard is not None  # noqa: S101 - `_begin_attempt` made it
        timed = Timed(
            lambda: inner.run(lambda: self.step.invoke(inner, self.args, self.kwargs)),
            guard,
            execution.clock,
            execution.pool,
            self.step.name,
        )
        in_time = timed.wait()
        kind, elapsed = guard.left()[1], guard.elapsed
        if (in_time or not timed.leave()) and not guard.is_late:
            self._conclude(timed.value)
        else:
            self._leave_behind(guard, self._policies.expired(self.step.name, kind, elapsed))

    def _leave_behind(self, guard: Guard, error: Exception) -> None:
        """End an attempt whose time is up; what it still does, and what it called, counts no longer."""
        self.inner.leave()
        if self.frame.execution.journal is None:
            guard.close()
        else:
            self.frame.execution.journal.fence(guard)
        for future in list(self.inner.children.values()):
            if future._call is not None:  # noqa: SLF001 - a future and its call are one concept
                future._call.drop()  # noqa: SLF001
        self._time_is_up(error)

    # -- an attempt of a coroutine ---------------------------------------------------------------------------------

    def _send_attempt(self) -> None:
        execution, loop, guard = self.frame.execution, self.inner.scope.loop, self.inner.guard
        assert guard is not None  # noqa: S101 - `_begin_attempt` made it
        execution.telling.began(self)
        limit = Limit(guard, execution.engine.timer, loop, self.step.name, self._overran)
        limit.begin()
        loop.soon(self._guarded, partial(self._start_attempt, limit))

    def _start_attempt(self, limit: Limit) -> None:
        if not limit.is_over:
            self._start_coroutine(partial(self._attempt_ended, limit))
            limit.task = self._task

    def _attempt_ended(self, limit: Limit, result: Result) -> None:
        if limit.is_over:
            limit.report(result)
        else:
            self._in_worker(partial(self._conclude_attempt, limit, self.inner, result))

    def _conclude_attempt(self, limit: Limit, inner: Frame, result: Result) -> None:
        """Join what the coroutine called, which is part of its time."""
        ended = inner.run(result.get)
        if not limit.decide():
            limit.report(result)
        elif limit.guard.is_late:
            self._leave_behind(limit.guard, self._expired(limit.guard))
        else:
            self._conclude(ended)

    def _overran(self, limit: Limit) -> None:
        """Cancel a coroutine whose time is up; a thread sees to what becomes of the call, for workers may be stuck."""
        from threading import Thread

        leave = partial(self._leave_behind, limit.guard, self._expired(limit.guard))
        limit.cancel()
        work = partial(_context.run_apart, self.inner, self.frame.execution.engine, leave)
        try:
            Thread(target=self._guarded, args=(work,), name="milepost-late", daemon=True).start()
        except RuntimeError:  # no new thread while the interpreter ends
            self._in_worker(leave)

    def _expired(self, guard: Guard) -> Exception:
        return self._policies.expired(self.step.name, guard.left()[1], guard.elapsed)

    # -- how an attempt ended --------------------------------------------------------------------------------------

    def _time_is_up(self, error: Exception) -> None:
        if self._policies.keeps_starts and self.frame.execution.journal is not None:
            unknown = self._unknown("took longer than its time limit")
            unknown.__cause__ = error
            if not self._decide(unknown):
                return
            self._until = None
            self._rest(0.0)
        else:
            self._conclude(Ended(error=error))

    def _conclude(self, ended: Ended) -> None:
        if isinstance(ended.signal, Restart) and self.frame.execution.journal is not None:
            self.frame.execution.journal.broken_off.add(self.inner.path)
        after = None
        if ended.error is not None and not ended.cancelled:
            try:
                after = self._policies.after(ended.error, self._policies_before)
            except Exception as error:  # noqa: BLE001 - `retry_on` is the user's
                error.__context__ = ended.error
                ended = Ended(error=error)
        if after is None or ended.error is None:
            self._keep(ended)
            super()._conclude(ended)
        else:
            self._fail_attempt(ended.error, *after)
            self._rest(after[1])

    def _fail_attempt(self, error: Exception, policy: int, delay: float) -> None:
        """Record that the attempt failed and when the next one is due, and see to it that this is durable."""
        from datetime import timedelta

        execution, path = self.frame.execution, self.inner.path
        now = execution.clock.now()
        self._attempts += 1
        self._policies_before = (*self._policies_before, policy)
        self._until = execution.clock.monotonic() + delay
        execution.ended(path)  # what its calls asked, the next attempt asks again
        if execution.journal is None:
            return
        causes = tuple(call for call in execution.sources(error) if call.startswith(f"{path}."))
        self._write(
            Attempted(
                call=path,
                name=self.step.name,
                digest=self._made[0],
                number=self._attempts,
                began=self.began,
                ended=now.isoformat(),
                due=(now + timedelta(seconds=delay)).isoformat(),
                policy=policy,
                error=shortened(failure(error, where=self.step.where)),
                caused_by=causes,
                heard_at=execution.heard_at(causes),
            )
        )

    def _outcome(self, **what: Any) -> Outcome:
        over = self.begun or not what.get(
            "cancelled"
        )  # what is cancelled between two attempts had no further one
        if self._cached:
            what["cached"] = True
        return super()._outcome(attempts=max(1, self._attempts + over), **what)

    def _write(self, record: Attempted | Begun) -> None:
        """Write a record and wait until it is durable.

        Raises:
            Signal: it never will be.
        """
        execution = self.frame.execution
        assert execution.journal is not None  # noqa: S101 - the callers have checked
        try:
            execution.journal.keep(record, self.frame.guard)
        except Exception as error:
            raise execution.abort(error) from error

    # -- an outcome that nobody knows ------------------------------------------------------------------------------

    def _is_unknown(self) -> bool:
        """Tell whether this attempt began, in a process that left no word of how it ended."""
        journal, begun = self.frame.execution.journal, self._begun
        if begun is None or journal is None or not self._policies.keeps_starts:
            return False
        return begun.number == self._attempts + 1 and self.inner.path not in journal.broken_off

    def _unknown(self, what: str) -> OutcomeUnknown:
        began = self.began if self._begun is None else self._begun.at
        return OutcomeUnknown(
            f"task {self.step.name!r} began at {began} and {what}: whether it did its work is unknown, so it was not "
            f"run again. Find out, with its idempotency key {self.inner.idempotency_key} where it gave that away",
            name=self.step.name,
            call=self.inner.path,
            began=began,
            idempotency_key=self.inner.idempotency_key,
        )

    def _decide(self, error: OutcomeUnknown) -> bool:
        """See to an unknown outcome; return whether the task is to run once more now."""
        if self._policies.on_unknown == "review":
            return self._review(error)
        after = self._policies.after(error, self._policies_before)
        if after is None:
            super()._conclude(Ended(error=error))
        else:
            self._fail_attempt(error, *after)
            self._rest(after[1])
        return False

    def _review(self, error: OutcomeUnknown) -> bool:
        """Do as a person decided, or ask."""
        execution = self.frame.execution
        question = self._question(error)
        answer = execution.answers.get(question.id)
        if answer is None:
            execution.ask(question)
            self.future._settle(error=Suspended())  # noqa: SLF001
            return False
        decided = serde.decode(
            answer.raw, where=f"the answer to {question.id}", identity=f"{question.id}/answer"
        )
        if decided["action"] == "rerun":
            self._fail_attempt(error, BY_HAND, 0.0)
            return True
        execution.asked_at.pop(question.call, None)
        if decided["action"] == "result":
            self._record_result(decided["value"])
        else:
            decision = self._unknown(f"a person decided that it failed: {decided['error']}")
            super()._conclude(Ended(error=decision))
        return False

    def _question(self, error: OutcomeUnknown) -> Question:
        execution, path = self.frame.execution, self.inner.path
        asked = {
            "task": self.step.name,
            "arguments": self._made[1],
            "idempotency_key": error.idempotency_key,
            "began": error.began,
            "attempt": self._attempts + 1,
            "question": f"{error}",
        }
        digest, _ = serde.digest((self._attempts + 1, error.began), {})
        place = _ids.review(path)
        id_ = _ids.interrupt_id(execution.run_id or "", place, digest)
        text = serde.encode(asked, where=f"the review of {self.step.name!r}", identity=id_)
        return Question(id=id_, call=place, value=Value(text=text), digest=digest)


def until_due(last: Attempted, now: str) -> float:
    """Return what is left of the wait after an attempt, by the wall clock; never longer than the whole wait."""
    from datetime import datetime

    due, ended = datetime.fromisoformat(last.due), datetime.fromisoformat(last.ended)
    left = due - datetime.fromisoformat(now)
    return max(0.0, min(left, due - ended).total_seconds())
