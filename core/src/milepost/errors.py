"""Every error that milepost raises: one root, a class per remedy, facts as attributes.

A message names the thing, the place and what to do. Facts that a program may want are attributes, so that nobody has
to parse a message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class MilepostError(Exception):
    """The root of all errors of milepost."""


# -- how a workflow is written and called ------------------------------------------------------------------------


class InvalidDefinition(MilepostError, TypeError):
    """A function cannot be a workflow or a task; raised when it is decorated. Change the function as the text says."""


class InvalidPolicy(InvalidDefinition, ValueError):
    """A retry policy, a time limit or another setting of a task or workflow cannot be. Change it as the text says."""


class OutsideWorkflow(MilepostError, RuntimeError):
    """A task, ``interrupt`` or accessor was called where no workflow runs. Call it inside a workflow or a task."""


class InvalidStreamMode(MilepostError, ValueError):
    """``stream_mode`` names a mode that does not exist. Use one of ``modes``."""

    def __init__(self, mode: object, modes: Sequence[str]) -> None:
        self.mode = mode
        self.modes = tuple(modes)
        super().__init__(f"unknown stream mode {mode!r}; the modes are {', '.join(modes)}")


class InvalidDurability(MilepostError, ValueError):
    """``durability`` names a mode that does not exist. Use one of ``modes``."""

    def __init__(self, mode: object, modes: Sequence[str]) -> None:
        self.mode = mode
        self.modes = tuple(modes)
        super().__init__(f"unknown durability {mode!r}; the modes are {', '.join(modes)}")


class InvalidCommand(MilepostError, ValueError):
    """A ``Command`` that says nothing, such as ``Command()``. Give it ``resume=``."""


class DivergenceError(MilepostError):
    """The code made another call than the one on record at this place (guarantee G6).

    Put what differs between runs (time, randomness, I/O) into a task, or restore the code that began this run; then
    continue with ``invoke(None)``. ``recorded`` and ``made`` show both calls, ``call`` their place. ``began_under`` is
    the workflow's version when the run began, ``version`` what it is now; None where the workflow has none.
    """

    def __init__(
        self,
        message: str,
        *,
        call: str,
        recorded: str | None,
        made: str | None,
        began_under: int | str | None = None,
        version: int | str | None = None,
    ) -> None:
        self.call = call
        self.recorded = recorded
        self.made = made
        self.began_under = began_under
        self.version = version
        super().__init__(message)


class InvalidContext(MilepostError, TypeError):
    """``context=`` is not what ``context_schema=`` says. Nothing was recorded.

    ``path`` is the place inside the context (``$`` is the context itself), ``expected`` what was wanted there.
    """

    def __init__(self, message: str, *, path: str, expected: str) -> None:
        self.path = path
        self.expected = expected
        super().__init__(message)


class InvalidConfig(MilepostError, TypeError):
    """A config's ``tags``, ``metadata`` or ``configurable`` is of a wrong type. Nothing was recorded."""


class InvalidCacheKey(MilepostError, TypeError):
    """A call of a task or workflow with a ``cache_policy`` cannot be told apart from others. It did not run.

    ``name`` is the task's, ``argument`` what cannot be a part of the key. Give ``CachePolicy(key_func=…)``, a function
    that makes a value of the arguments which stands for them.
    """

    def __init__(self, message: str, *, name: str, argument: str) -> None:
        self.name = name
        self.argument = argument
        super().__init__(message)


class InvalidQuestion(MilepostError, ValueError):
    """``interrupt()`` was called wrongly: its schema cannot be checked, its key is in use, its default is no answer.

    Nothing was asked. Change the call as the text says.
    """


# -- configuration --------------------------------------------------------------------------------------------------


class InvalidURL(MilepostError, ValueError):
    """A driver URL is malformed or has an option the driver does not know. The text shows it with secrets masked."""


class DriverNotFound(MilepostError, LookupError):
    """No installed package offers the URL's scheme. Install the package that the text names.

    ``kind`` is ``"checkpointer"`` or ``"store"``; ``installed`` lists the schemes that would work.
    """

    def __init__(self, message: str, *, kind: str, scheme: str, installed: Sequence[str]) -> None:
        self.kind = kind
        self.scheme = scheme
        self.installed = tuple(installed)
        super().__init__(message)


class DriverConflict(MilepostError):
    """Two installed packages claim one scheme. Uninstall one of ``claimants``."""

    def __init__(self, message: str, *, scheme: str, claimants: Sequence[str]) -> None:
        self.scheme = scheme
        self.claimants = tuple(claimants)
        super().__init__(message)


class DriverBroken(MilepostError, ImportError):
    """An installed driver cannot be imported, or speaks another driver API. The cause is chained."""


class NoCheckpointer(MilepostError, RuntimeError):
    """Something needs persistence and no checkpointer is configured."""


class NoCache(MilepostError):
    """A workflow's cache is to be cleared and it has none. Pass ``cache=`` to ``@entrypoint`` or to the engine."""


class NoStore(MilepostError, RuntimeError):
    """Something needs long-term memory and no store is configured."""


class MissingThreadId(MilepostError, ValueError):
    """The workflow has a checkpointer and the call named no thread. Pass ``thread_id=``."""


class InvalidThreadId(MilepostError, ValueError):
    """A thread id is empty, too long, of another type than str, or not valid Unicode."""


class EngineClosed(MilepostError, RuntimeError):
    """The engine was closed. Started tasks were recorded and the thread can be resumed by another engine."""


class WouldBlock(MilepostError, RuntimeError):
    """A wait that would block the event loop of its thread, perhaps for ever. ``await`` the task's future instead."""


# -- threads, ownership, answers ------------------------------------------------------------------------------------


class ThreadBusy(MilepostError):
    """A live run holds the thread (guarantee G3). Wait for it, or try again after ``retry_after`` seconds.

    ``owner`` describes who holds it, ``since`` is when it took the thread, ISO 8601 in UTC by its clock; for a run that
    sleeps there is no owner, and ``since`` is when it began to. ``retry_after`` is None when the owner is known to be
    alive.
    """

    def __init__(
        self,
        message: str,
        *,
        thread_id: str,
        owner: str | None = None,
        since: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.thread_id = thread_id
        self.owner = owner
        self.since = since
        self.retry_after = retry_after
        super().__init__(message)


class OwnershipLost(MilepostError):
    """Another process took this thread over; nothing further was written here. Look at the thread's state."""

    def __init__(self, message: str, *, thread_id: str, position: int) -> None:
        self.thread_id = thread_id
        self.position = position
        super().__init__(message)


class _ThreadError(MilepostError):
    """An error about one thread."""

    def __init__(self, message: str, *, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(message)


class UnknownThread(_ThreadError, LookupError):
    """Nothing is on record for this thread. Start it with an input."""


class NothingToResume(_ThreadError):
    """A ``Command`` came to a thread that asks nothing: it is finished, failed, or was cut off."""


class NothingToCancel(_ThreadError):
    """The thread's newest run is over, so there is nothing to cancel."""


class UnknownCheckpoint(_ThreadError, LookupError):
    """The thread has no run with this ``checkpoint_id``, or pruning took it. Nothing was started.

    ``get_state_history`` lists the runs that there are.
    """

    def __init__(self, message: str, *, thread_id: str, checkpoint_id: str) -> None:
        self.checkpoint_id = checkpoint_id
        super().__init__(message, thread_id=thread_id)


class InvalidUpdate(MilepostError, ValueError):
    """``update_state`` was told to write as something that is not there. ``choices`` are the values that exist."""

    def __init__(self, message: str, *, choices: Sequence[str]) -> None:
        self.choices = tuple(choices)
        super().__init__(message)


class RunCancelled(_ThreadError):
    """The run was cancelled. What had begun is recorded; ``invoke(None)`` goes on. ``reason`` is as given."""

    def __init__(self, message: str, *, thread_id: str, reason: str | None) -> None:
        self.reason = reason
        super().__init__(message, thread_id=thread_id)


class RunAbandoned(_ThreadError):
    """A newer input closed the run before it was over: it has no result."""


class RecoveryExhausted(_ThreadError):
    """The run's process died again and again, with nothing new on record: the run failed, and nobody takes it up.

    Find out what kills the process; then ``runs retry``, ``Run.retry()`` or ``invoke(None)`` goes on with the run.
    ``deaths`` is how many died in a row.
    """

    def __init__(self, message: str, *, thread_id: str, deaths: int) -> None:
        self.deaths = deaths
        super().__init__(message, thread_id=thread_id)


class NotFinished(_ThreadError, TimeoutError):
    """A run was not over within the time that was given. It goes on, or waits on; ask again.

    ``status`` is what it is doing, ``pending`` the ids of what it asks.
    """

    def __init__(self, message: str, *, thread_id: str, status: str, pending: Sequence[str] = ()) -> None:
        self.status = status
        self.pending = tuple(pending)
        super().__init__(message, thread_id=thread_id)


class InvalidStart(MilepostError, ValueError):
    """An idempotency key, an owner, tags or a policy for busy threads is of a wrong type. Nothing was started."""


class InvalidSleep(MilepostError, ValueError):
    """``sleep`` or ``sleep_until`` was given no time, or ``sleep_until`` one without a zone. The run did not pause."""


class IdempotencyConflict(_ThreadError):
    """The idempotency key was used before, with another input, workflow or thread. Nothing was started.

    Use a new key for a new request. ``key`` is the key, ``thread_id`` where its run is.
    """

    def __init__(self, message: str, *, thread_id: str, key: str) -> None:
        self.key = key
        super().__init__(message, thread_id=thread_id)


class AlreadyAnswered(NothingToResume):
    """An interrupt id in the command was answered before (guarantee G4). Nothing was changed.

    ``actor`` is who answered, where the answer said so.
    """

    def __init__(self, message: str, *, thread_id: str, actor: str | None = None) -> None:
        self.actor = actor
        super().__init__(message, thread_id=thread_id)


class UnknownInterrupt(_ThreadError, LookupError):
    """An interrupt id in the command was never asked in this run. Nothing was changed."""


class WrongWorkflow(_ThreadError):
    """The thread belongs to another workflow. Use that workflow, or another thread id.

    ``bound_to`` names the workflow that the thread belongs to.
    """

    def __init__(self, message: str, *, thread_id: str, bound_to: str) -> None:
        self.bound_to = bound_to
        super().__init__(message, thread_id=thread_id)


class InvalidAnswer(_ThreadError, ValueError):
    """An answer is not what the question asks for, by its ``response_schema`` or its kind. It is still pending.

    ``id`` is the question's, ``path`` the place inside the answer (``$`` is the answer itself), ``expected`` what was
    wanted there.
    """

    def __init__(self, message: str, *, thread_id: str, id: str, path: str, expected: str) -> None:  # noqa: A002
        self.id = id
        self.path = path
        self.expected = expected
        super().__init__(message, thread_id=thread_id)


class InterruptExpired(_ThreadError):
    """A question's time is over. Raised to whoever answers it too late, and in the body where it has no default.

    ``id`` is the question's. The run goes on with ``invoke(None)``.
    """

    def __init__(self, message: str, *, thread_id: str, id: str) -> None:  # noqa: A002
        self.id = id
        super().__init__(message, thread_id=thread_id)


class ContextChanged(_ThreadError):
    """A run was resumed with another context than it began with; nothing was changed.

    A run keeps its context. Leave ``context=`` out when you resume, or start a new run.
    """


class AmbiguousAnswer(_ThreadError):
    """Several questions are pending and the command gives one plain answer. Use ``Command(resume={id: answer})``."""


# -- time limits and unknown outcomes --------------------------------------------------------------------------------


class _TimeIsUp(MilepostError, TimeoutError):
    """``kind`` is ``"run"`` or ``"idle"``, ``limit`` and ``elapsed`` are in seconds."""

    def __init__(self, message: str, *, name: str, kind: str, limit: float, elapsed: float) -> None:
        self.name = name
        self.kind = kind
        self.limit = limit
        self.elapsed = elapsed
        super().__init__(message)


class TaskTimeout(_TimeIsUp):
    """An attempt at a task took longer than its time limit. What it returns later is discarded.

    ``name`` is the task's, ``kind`` is ``"run"`` (it took too long) or ``"idle"`` (it showed no sign of life),
    ``limit`` and ``elapsed`` are in seconds.
    """


NodeTimeoutError = _TimeIsUp
"""LangGraph's name for both time-outs."""


class WorkflowTimeout(_TimeIsUp):
    """A workflow's execution took longer than its time limit. ``invoke(None)`` goes on; attributes as TaskTimeout's."""


class OutcomeUnknown(MilepostError):
    """A task with ``on_unknown=`` began and left no outcome: whether it did its work is unknown.

    It was not run again: find out, and go on by hand. ``name`` is the task's, ``call`` its place, ``began`` when it
    began, ``idempotency_key`` what it could give to the services that it calls.
    """

    def __init__(self, message: str, *, name: str, call: str, began: str, idempotency_key: str) -> None:
        self.name = name
        self.call = call
        self.began = began
        self.idempotency_key = idempotency_key
        super().__init__(message)


# -- values ---------------------------------------------------------------------------------------------------------


class NotSerializable(MilepostError, TypeError):
    """A value cannot be kept exactly (guarantee G2).

    ``where`` names the task or workflow, ``path`` the place inside the value (``$`` is the value itself, then
    ``$.key``, ``$[3]``), ``type_name`` what was found there.
    """

    def __init__(self, message: str, *, where: str, path: str, type_name: str) -> None:
        self.where = where
        self.path = path
        self.type_name = type_name
        super().__init__(message)


class UnknownType(MilepostError, ValueError):
    """A stored value names a type that is neither declared nor registered here. Register it as the text says."""

    def __init__(self, message: str, *, where: str, path: str, tag: str) -> None:
        self.where = where
        self.path = path
        self.tag = tag
        super().__init__(message)


class InvalidItem(MilepostError, ValueError):
    """A store was given a namespace, key, value or filter that it does not take. Nothing was changed."""


class InvalidIndex(MilepostError, ValueError):
    """What ``index=`` or ``ttl=`` of a store says cannot be, or ``embed`` returned what it must not."""


class InvalidCodec(MilepostError, ValueError):
    """A type or a signing key cannot be given to the codec so. Change the call as the text says."""


class SignatureInvalid(MilepostError):
    """A pickled value's signature does not match; it was not loaded (guarantee G10)."""


class TaskFailed(MilepostError):
    """A task failed with an exception that cannot be rebuilt from its record.

    ``type_name`` is the original's qualified name, ``message`` its text, ``traceback_text`` where it came from.
    """

    def __init__(self, *, type_name: str, message: str, traceback_text: str) -> None:
        self.type_name = type_name
        self.message = message
        self.traceback_text = traceback_text
        super().__init__(f"{type_name}: {message}")


# -- storage --------------------------------------------------------------------------------------------------------


class StorageError(MilepostError):
    """The root of what a driver reports."""


class StorageUnavailable(StorageError):
    """The backend did not answer, or answered that it cannot now. Whether the write was applied may be unknown."""


class PositionTaken(StorageError):
    """An append came second: the journal already has a batch at ``position``, or was deleted and ends before it.

    ``tail`` is the journal's first free position where the append would have left a gap, else None.
    """

    def __init__(self, *, thread_id: str, position: int, tail: int | None = None) -> None:
        self.thread_id = thread_id
        self.position = position
        self.tail = tail
        super().__init__(
            f"thread {thread_id!r} already has a batch at position {position}"
            if tail is None
            else f"the journal of thread {thread_id!r} ends at {tail}: position {position} would leave a gap"
        )


class HeadMoved(StorageError):
    """A compare-and-set of a head lost: its version is no longer the expected one."""

    def __init__(self, *, thread_id: str, expected: int | None) -> None:
        self.thread_id = thread_id
        self.expected = expected
        super().__init__(f"the head of thread {thread_id!r} is no longer at version {expected}")


class TooLarge(StorageError):
    """A batch is larger than the backend takes; nothing was written. ``size`` and ``limit`` are in bytes.

    ``position`` is that of a batch which is on record elsewhere and does not fit here; None for a new one.
    """

    def __init__(self, *, thread_id: str, size: int, limit: int, position: int | None = None) -> None:
        self.thread_id = thread_id
        self.size = size
        self.limit = limit
        self.position = position
        what = "a batch" if position is None else f"the batch at position {position}"
        remedy = (
            "keep large values elsewhere and return a reference to them"
            if position is None
            else "choose a backend with a higher limit"
        )
        super().__init__(
            f"{what} of {size} bytes for thread {thread_id!r} is over this backend's limit of {limit} bytes; {remedy}"
        )


class ItemTooLarge(StorageError):
    """An item is larger than the backend takes; nothing was written. ``size`` and ``limit`` are in bytes."""

    def __init__(self, *, namespace: tuple[str, ...], key: str, size: int, limit: int) -> None:
        self.namespace = namespace
        self.key = key
        self.size = size
        self.limit = limit
        super().__init__(
            f"item {key!r} in namespace {namespace!r} has {size} bytes, over this backend's limit of {limit} bytes; "
            f"keep large values elsewhere and put a reference to them"
        )


class VersionConflict(StorageError):
    """A write with ``if_version=`` came too late: somebody else wrote the item. Read it, and decide again.

    ``expected`` is the version that was asked for, ``found`` the item's; 0 where there is no item.
    """

    def __init__(self, *, namespace: tuple[str, ...], key: str, expected: int, found: int) -> None:
        self.namespace = namespace
        self.key = key
        self.expected = expected
        self.found = found
        now = f"is at version {found}" if found else "does not exist"
        wanted = f"version {expected}" if expected else "no item"
        super().__init__(
            f"item {key!r} in namespace {namespace!r} {now}, and {wanted} was expected: read it again, then decide"
        )


class SearchUnsupported(StorageError):
    """The store has no search of this kind. ``capability`` is what a driver with it declares."""

    def __init__(self, message: str, *, capability: str) -> None:
        self.capability = capability
        super().__init__(message)


class TargetDiffers(StorageError):
    """A thread that was to be copied has other content in the target. Nothing was overwritten.

    ``position`` is the first that differs; None where only the heads do.
    """

    def __init__(self, message: str, *, thread_id: str, position: int | None) -> None:
        self.thread_id = thread_id
        self.position = position
        super().__init__(message)


class SourceChanged(StorageError):
    """A thread went on in the source while it was copied. Copy it again when it rests."""

    def __init__(self, message: str, *, thread_id: str) -> None:
        self.thread_id = thread_id
        super().__init__(message)


class Corrupt(StorageError):
    """A stored batch or head cannot be read. Other threads are not affected."""


class SchemaTooNew(StorageError):
    """The data was written by a later version. Upgrade the driver package that the text names."""


class Closed(StorageError):
    """The driver was closed. Open it again."""


def describe(value: Any) -> str:
    """Name a callable or a type the way messages do: ``module.qualname``."""
    cls = value if hasattr(value, "__qualname__") else type(value)
    module = getattr(cls, "__module__", None)
    name = getattr(cls, "__qualname__", repr(cls))
    return name if module in (None, "builtins") else f"{module}.{name}"
