"""What a decorator says about failures, time and unknown outcomes, checked once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from milepost import _ids, caching, retry, timeout
from milepost._struct import Struct
from milepost.errors import InvalidPolicy, OutcomeUnknown, TaskTimeout, WorkflowTimeout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.caching import CachePolicy
    from milepost.retry import RetryPolicy
    from milepost.timeout import TimeoutPolicy

OnUnknown: TypeAlias = Literal["rerun", "fail", "review"]
_ON_UNKNOWN: Final = ("rerun", "fail", "review")
BY_HAND: Final = -1
"""The policy of an attempt that a person ordered."""


class Policies(Struct):
    """The policies of a task or a workflow. ``kind`` is ``"task"`` or ``"workflow"``."""

    kind: str
    retry: tuple[RetryPolicy, ...] = ()
    timeout: TimeoutPolicy | None = None
    on_unknown: OnUnknown = "rerun"
    cache: CachePolicy | None = None
    token: str = ""  # names the function that they are for, in the keys of a cache

    @property
    def keeps_starts(self) -> bool:
        """Whether a start is on record before the effect."""
        return self.on_unknown != "rerun"

    def after(self, error: Exception, before: Sequence[int]) -> tuple[int, float] | None:
        """Return which policy has a failure tried again, and after how many seconds; None where it is final.

        The first policy that the failure matches decides. Each counts the attempts that it decided on; ``before`` are
        the policies that decided on the attempts so far.
        """
        for index, policy in enumerate(self.retry):
            if policy.retries(error):
                number = before.count(index) + 1
                if number >= policy.max_attempts:
                    return None
                return index, policy.next_delay(number, _ids.chance)
        return None

    def names(self, error: type[OutcomeUnknown]) -> bool:
        """Tell whether a policy names this class itself."""
        return any(isinstance(p.retry_on, tuple) and error in p.retry_on for p in self.retry)

    def expired(self, name: str, kind: str, elapsed: float) -> TaskTimeout | WorkflowTimeout:
        """Return the error of an attempt that took too long."""
        assert self.timeout is not None  # noqa: S101 - without a limit nothing takes too long
        limit = (self.timeout.run_timeout if kind == "run" else self.timeout.idle_timeout) or 0.0
        what = "ran for" if kind == "run" else "gave no sign of life for"
        error = TaskTimeout if self.kind == "task" else WorkflowTimeout
        return error(
            f"{self.kind} {name!r} {what} more than {limit:g} seconds; what it still does counts no longer",
            name=name,
            kind=kind,
            limit=limit,
            elapsed=elapsed,
        )


def policies(
    where: str,
    kind: str,
    *,
    retry_policy: Any = None,
    time_limit: Any = None,
    on_unknown: Any = "rerun",
    cache_policy: Any = None,
) -> Policies | None:
    """Return what a decorator was given as policies; None where it says nothing.

    Raises:
        InvalidPolicy: something cannot be.
    """
    if on_unknown not in _ON_UNKNOWN:
        raise InvalidPolicy(f'{where}: on_unknown= is "rerun", "fail" or "review"; not {on_unknown!r}')
    if on_unknown == "rerun" and all(given is None for given in (retry_policy, time_limit, cache_policy)):
        return None
    return Policies(
        kind=kind,
        retry=retry.policies(retry_policy, where),
        timeout=timeout.policy(time_limit, where),
        on_unknown=on_unknown,
        cache=caching.policy(cache_policy, where),
    )
