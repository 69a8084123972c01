"""``@task``: functions whose calls return futures and are recorded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)

from milepost import _context, _ids, _inject
from milepost._policies import OnUnknown, Policies, policies
from milepost._step import Step
from milepost._struct import replace
from milepost._twin import twin
from milepost.errors import InvalidDefinition, InvalidPolicy, OutsideWorkflow, describe

if TYPE_CHECKING:
    from datetime import timedelta

    from milepost._future import TaskFuture
    from milepost.cache import Cache
    from milepost.caching import CachePolicy
    from milepost.retry import RetryPolicy
    from milepost.timeout import TimeoutPolicy

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
Q = ParamSpec("Q")
T = TypeVar("T")


def _kinds(name: str) -> tuple[Any, ...]:
    """Return the types that a parameter of this name may be annotated with to be filled in."""
    if name == "config":
        return dict, Mapping, _inject.RunnableConfig
    if name == "writer":
        return _inject.StreamWriter, Callable
    if name == "store":
        from milepost.store import Store

        return (Store,)
    from milepost.runtime import Runtime

    return (Runtime,)


def step_of(function: Any, *, name: str | None, kind: str, policies: Policies | None = None) -> Step:
    """Look at a function once: its name, its annotations, and what it wants injected.

    Raises:
        InvalidDefinition: it cannot be called, or is a generator function.
    """
    import inspect

    if not callable(function):
        raise InvalidDefinition(f"@{kind} needs a function, not {function!r}")
    plain = _inject.unwrap(function)
    label = name or getattr(function, "__name__", None) or getattr(plain, "__name__", None)
    if label in (None, "__call__"):
        label = type(function).__name__
    where = f"{kind} {describe(function if hasattr(function, '__qualname__') else plain)}"
    if inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain):
        raise InvalidDefinition(
            f"{where} is a generator: return a list, and write progress with `writer: StreamWriter`"
        )
    if policies is not None and policies.cache is not None:
        policies = replace(policies, token=_ids.token())  # one decorator may be applied to many functions
    signature, hints = _inject.signature(function), _inject.hints(function)
    return Step(
        name=str(label),
        where=where,
        function=function,
        signature=signature,
        hints=hints,
        injected=_inject.wanted(signature, hints, _kinds),
        returns=hints.get("return", Any),
        policies=policies,
        is_async=inspect.iscoroutinefunction(plain),
    )


class Task(Generic[P, R]):
    """A function under ``@task``. Calling it inside a workflow or another task returns a :class:`TaskFuture` at once.

    ``func`` is the function itself, for tests and for calling it outside a workflow.
    """

    def __init__(
        self, function: Callable[P, R], *, name: str | None = None, policies: Policies | None = None
    ) -> None:
        self.func = function
        self._step = step_of(function, name=name, kind="task", policies=policies)
        functools.update_wrapper(self, function, updated=())
        self.__name__ = self._step.name

    @property
    def name(self) -> str:
        """The name under which calls are recorded and streamed."""
        return self._step.name

    def clear_cache(self, cache: Cache) -> None:
        """Forget this function's results in a cache (LangGraph's name).

        Raises:
            StorageError: the cache failed.
        """
        from milepost import _caching

        cache.clear((_caching.namespace("task", self._step),))

    aclear_cache = twin(clear_cache)

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[R]:
        """Call the task.

        Raises:
            OutsideWorkflow: no workflow runs here.
            DivergenceError: the run has another call on record at this place.
        """
        frame = _context.frame()
        if frame is None:
            raise OutsideWorkflow(
                f"task {self.name!r} was called outside a workflow: call it in the body of an @entrypoint function or "
                f"in another task, on the thread that milepost runs them on; or call {self.name}.func(…) for the "
                f"plain function"
            )
        future: TaskFuture[R] = frame.call(self._step, args, kwargs)
        return future

    @overload
    def __get__(self, instance: None, owner: type) -> Task[P, R]: ...
    @overload
    def __get__(
        self: Task[Concatenate[S, Q], T], instance: S, owner: type | None = None
    ) -> BoundTask[Q, T]: ...
    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Bind to an instance, as functions in a class body do."""
        return self if instance is None else BoundTask(self, instance)


class BoundTask(Generic[P, R]):
    """A task that is a method, bound to its instance."""

    __slots__ = ("__self__", "_task")

    def __init__(self, task: Task[..., R], instance: Any) -> None:
        self._task = task
        self.__self__ = instance

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[R]:
        """Call the task on its instance."""
        return self._task(self.__self__, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def __repr__(self) -> str:
        return f"<task {self._task.name} of {self.__self__!r}>"


Retry: TypeAlias = "RetryPolicy | Sequence[RetryPolicy] | None"
Timeout: TypeAlias = "float | timedelta | TimeoutPolicy | None"


if TYPE_CHECKING:

    class AsyncTask(Task[P, R]):
        """A coroutine function under ``@task``, as a type checker sees it: awaiting a call gives what it returns."""

        func: Callable[P, Coroutine[Any, Any, R]]  # type: ignore[assignment]  # the function is what was given

    class _Decorator(Protocol):
        @overload
        def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
        @overload
        def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    function: Callable[P, Coroutine[Any, Any, R]],
    /,
    *,
    name: str | None = None,
    retry_policy: Retry = None,
    timeout: Timeout = None,
    on_unknown: OnUnknown = "rerun",
    cache_policy: CachePolicy | None = None,
) -> AsyncTask[P, R]: ...
@overload
def task(
    function: Callable[P, R],
    /,
    *,
    name: str | None = None,
    retry_policy: Retry = None,
    timeout: Timeout = None,
    on_unknown: OnUnknown = "rerun",
    cache_policy: CachePolicy | None = None,
) -> Task[P, R]: ...
@overload
def task(
    *,
    name: str | None = None,
    retry_policy: Retry = None,
    timeout: Timeout = None,
    on_unknown: OnUnknown = "rerun",
    cache_policy: CachePolicy | None = None,
    retry: Retry = None,
) -> _Decorator: ...
def task(  # noqa: PLR0913 - every one a keyword
    function: Any = None,
    /,
    *,
    name: str | None = None,
    retry_policy: Retry = None,
    timeout: Timeout = None,
    on_unknown: OnUnknown = "rerun",
    cache_policy: CachePolicy | None = None,
    retry: Retry = None,
) -> Any:
    """Make a function a task: ``@task``, ``@task()``, ``@task(name="…")`` or ``task(function, name="…")``.

    Works on functions and coroutine functions, methods (in the class body or bound), partials and callable objects, and
    changes none of them. A task's outcome is recorded before its future resolves, and it does not execute again in that
    run.

    Args:
        function: what to run.
        name: the name to record and stream; the function's own by default.
        retry_policy: which failures are tried again, and when; of several policies, the first that a failure matches.
        timeout: how long one attempt may take: seconds, a ``timedelta`` or a :class:`~milepost.TimeoutPolicy`. The
            task then runs in a thread of its own, a coroutine on its loop, where it is cancelled when time is up; it
            fails with :class:`~milepost.errors.TaskTimeout`.
        on_unknown: what to do about a task that had begun when its process died, so that nobody knows whether it did
            its work: run it again, let it fail with :class:`~milepost.errors.OutcomeUnknown`, or ask a person.
        cache_policy: take the result from the cache of the workflow (``@entrypoint(cache=…)``) where an equal call was
            made before, in any run.
        retry: LangGraph's former name of ``retry_policy``.

    Raises:
        InvalidDefinition: the function is a generator function, or a policy cannot be.
    """
    if retry is not None:
        retry_policy = renamed(retry, retry_policy)
    found = policies(
        "@task" if function is None else f"task {describe(function)}",
        "task",
        retry_policy=retry_policy,
        time_limit=timeout,
        on_unknown=on_unknown,
        cache_policy=cache_policy,
    )
    if function is None:
        return functools.partial(Task, name=name, policies=found)
    return Task(function, name=name, policies=found)


def renamed(retry: Retry, retry_policy: Retry) -> Retry:
    """Return what ``retry=`` was given, LangGraph's former name of ``retry_policy=``."""
    import warnings

    if retry_policy is not None:
        raise InvalidPolicy("retry= is the former name of retry_policy=: give one of them")
    warnings.warn("retry= is called retry_policy=", DeprecationWarning, stacklevel=3)
    return retry
