"""``RetryPolicy``: which failures are tried again, how often, and after how long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from milepost._struct import Struct
from milepost.errors import (
    DivergenceError,
    InvalidPolicy,
    NotSerializable,
    OutcomeUnknown,
    TaskTimeout,
    WorkflowTimeout,
    describe,
)

if TYPE_CHECKING:
    from typing import TypeGuard

RetryOn: TypeAlias = "type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool]"

_LASTING: Final = (
    ArithmeticError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    ReferenceError,
    RuntimeError,
    StopAsyncIteration,
    StopIteration,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What the default policy takes for lasting: the same arguments would fail the same way."""
_NEVER: Final = (DivergenceError, NotSerializable)
_SERVER_ERRORS: Final = range(500, 600)
_RESPONSES: Final = (("httpx", "HTTPStatusError"), ("requests", "HTTPError"))


def default_retry_on(error: Exception) -> bool:
    """Tell whether a failure may pass (LangGraph's default).

    Yes: ``ConnectionError``, answers 5xx of httpx and requests, a time limit of milepost's, and whatever is not one of
    ``ArithmeticError``, ``ImportError``, ``LookupError``, ``NameError``, ``OSError``, ``ReferenceError``,
    ``RuntimeError``, ``StopAsyncIteration``, ``StopIteration``, ``SyntaxError``, ``TypeError``, ``ValueError``.
    """
    if isinstance(error, ConnectionError | TaskTimeout | WorkflowTimeout):
        return True
    for module, name in _RESPONSES:
        known = getattr(sys.modules.get(module), name, None)
        if isinstance(known, type) and isinstance(error, known):
            status = getattr(getattr(error, "response", None), "status_code", None)
            return status in _SERVER_ERRORS
    return not isinstance(error, _LASTING)


class RetryPolicy(Struct):
    """How failures are tried again (LangGraph's names and meanings).

    Args:
        initial_interval: seconds before the second attempt.
        backoff_factor: by how much each further wait is longer than the one before.
        max_interval: the longest wait in seconds, jitter not counted.
        max_attempts: how often the function runs at most, the first time included.
        jitter: whether up to one second of chance is added to each wait, so that many clients do not come back at once.
        retry_on: an exception class, several of them, or a function that is given the exception;
            :func:`default_retry_on` by default.

    Raises:
        InvalidPolicy: a number is out of range, or ``retry_on`` is none of these.
    """

    initial_interval: float = 0.5
    backoff_factor: float = 2.0
    max_interval: float = 128.0
    max_attempts: int = 3
    jitter: bool = True
    retry_on: RetryOn = default_retry_on

    def __init__(
        self,
        initial_interval: float = 0.5,
        backoff_factor: float = 2.0,
        max_interval: float = 128.0,
        max_attempts: int = 3,
        jitter: bool = True,  # noqa: FBT001, FBT002 - likewise
        retry_on: RetryOn = default_retry_on,
    ) -> None:
        for name, seconds in (("initial_interval", initial_interval), ("max_interval", max_interval)):
            _check(_is_number(seconds) and seconds >= 0, name, "seconds, 0 or more", seconds)
        _check(
            _is_number(backoff_factor) and backoff_factor > 0, "backoff_factor", "more than 0", backoff_factor
        )
        _check(
            _is_number(max_attempts) and max_attempts >= 1 and max_attempts == int(max_attempts),
            "max_attempts",
            "how often the function runs, the first time included: 1 or more",
            max_attempts,
        )
        super().__init__(
            initial_interval=initial_interval,
            backoff_factor=backoff_factor,
            max_interval=max_interval,
            max_attempts=max_attempts,
            jitter=jitter,
            retry_on=_checked(retry_on),
        )

    def next_delay(self, attempt: int, random: Callable[[], float]) -> float:
        """Return how many seconds to wait after this attempt, counted from 1; ``random()`` is in [0, 1)."""
        try:
            delay = min(self.max_interval, self.initial_interval * self.backoff_factor ** (attempt - 1))
        except OverflowError:
            delay = self.max_interval
        return delay + random() if self.jitter else delay

    def retries(self, error: Exception) -> bool:
        """Tell whether a failure is one to try again.

        ``DivergenceError`` and ``NotSerializable`` never are: the next attempt would end the same way. An
        ``OutcomeUnknown`` is only where ``retry_on`` names that very class: nothing else may say that a task which ran
        at most once so far may run once more.
        """
        if isinstance(error, _NEVER):
            return False
        classes = self.retry_on if isinstance(self.retry_on, tuple) else ()
        if isinstance(error, OutcomeUnknown):
            return OutcomeUnknown in classes
        if classes:
            return isinstance(error, classes)
        return callable(self.retry_on) and bool(self.retry_on(error))


def _checked(retry_on: Any) -> Any:
    """Return classes as a tuple, a function as it is."""
    if _is_exception(retry_on):
        return (retry_on,)
    if isinstance(retry_on, Sequence) and not isinstance(retry_on, str):
        classes = tuple(retry_on)
        if classes and all(map(_is_exception, classes)):
            return classes
    elif callable(retry_on) and not isinstance(retry_on, type):
        return retry_on
    raise InvalidPolicy(
        f"RetryPolicy(retry_on=…) takes a class of exceptions, several of them, or a function of an exception that "
        f"says whether to try again; not {retry_on!r}"
    )


def _is_exception(value: Any) -> TypeGuard[type[Exception]]:
    return isinstance(value, type) and issubclass(value, Exception)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN


def _check(holds: bool, name: str, what: str, given: object) -> None:  # noqa: FBT001 - a check takes what it checks
    if not holds:
        raise InvalidPolicy(f"RetryPolicy({name}=…) is {what}; not {given!r}")


def policies(given: object, where: str) -> tuple[RetryPolicy, ...]:
    """Return what ``retry_policy=`` was given as a tuple.

    Raises:
        InvalidPolicy: it is neither a policy nor several.
    """
    if given is None:
        return ()
    several = (given,) if isinstance(given, RetryPolicy) else given
    if isinstance(several, Sequence) and all(isinstance(policy, RetryPolicy) for policy in several):
        return tuple(several)
    raise InvalidPolicy(
        f"{where}: retry_policy= takes a RetryPolicy or a list of them, not a {describe(type(given))}"
    )
