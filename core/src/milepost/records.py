"""What stands in a journal, and the head that is an index to it: frozen records, and their one line of JSON.

Users of the contract find these names in :mod:`milepost.checkpoint`.
"""

from __future__ import annotations

import json
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias

from milepost._struct import Struct
from milepost.errors import Corrupt

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1
"""The version of the batch and head envelope. Readers refuse a higher one."""

_EMPTY: Final[tuple[Any, ...]] = ((), {})
_dumps = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_quote = json.encoder.encode_basestring_ascii


class Status(StrEnum):
    """What a run is doing. ``RUNNING`` is also a run whose process died: its head tells who held it."""

    RUNNING = "running"
    INTERRUPTED = "interrupted"
    SLEEPING = "sleeping"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ABANDONED = "abandoned"


class Value:
    """A stored value: typed JSON (see :mod:`milepost.serde`), as text when made here, parsed when read.

    A value that repeats a recorded outcome is a *reference*: ``{"$ref": {"position": 3, "call": "0"}}``.
    """

    __slots__ = ("_raw", "_text")

    def __init__(self, *, text: str | None = None, raw: Any = None) -> None:
        self._text = text
        self._raw = raw

    @property
    def text(self) -> str:
        """The JSON text, ASCII."""
        if self._text is None:
            self._text = _dumps(self._raw)
        return self._text

    @property
    def raw(self) -> Any:
        """The parsed JSON; shared, so not to be changed."""
        if self._raw is None and self._text is not None:
            self._raw = json.loads(self._text)
        return self._raw

    @classmethod
    def reference(cls, position: int, call: str) -> Value:
        """Make a reference to the outcome of a call, in the batch at this position."""
        return cls(raw={"$ref": {"position": position, "call": call}})

    @property
    def target(self) -> tuple[int, str] | None:
        """Position and call that a reference points to; None for a value that stands for itself."""
        if self._text is not None and not self._text.startswith('{"$ref"'):
            return None
        raw = self.raw
        if isinstance(raw, dict) and len(raw) == 1 and "$ref" in raw:
            return raw["$ref"]["position"], raw["$ref"]["call"]
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Value) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Value({self.text[:60]})"


def _json(value: Any) -> str:
    """Compose JSON text; values that are JSON text already are spliced, not parsed again."""
    kind = type(value)
    if kind is str:
        return _quote(value)
    if kind is Value:
        text: str = value.text
        return text
    if kind is dict:
        return "{" + ",".join(f"{_quote(key)}:{_json(item)}" for key, item in value.items()) + "}"
    if kind is tuple:
        return "[" + ",".join(map(_json, value)) + "]"
    if issubclass(kind, Struct):
        return _json_fields(value, [])
    return _dumps(value)


def _json_fields(record: Any, parts: list[str]) -> str:
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if value is not None and value not in _EMPTY:
            parts.append(f'"{name}":{_json(value)}')
    return "{" + ",".join(parts) + "}"


class Owner(Struct):
    """Who works on a thread: one session of one process of one boot of one host.

    ``boot`` changes with each boot of the machine and differs between process-id namespaces; empty where the system
    does not tell. ``started`` tells a process id from a later process with the same id, in clock ticks since boot.
    """

    host: str
    boot: str
    pid: int
    started: int
    session: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Failure(Struct):
    """An exception as data: qualified type name, message, arguments, attributes, traceback text.

    ``rebuilds`` says whether replay raises the same exception; otherwise it raises ``TaskFailed`` with these facts.
    """

    type: str
    message: str
    rebuilds: bool
    arguments: Value | None = None
    attributes: Value | None = None
    traceback: str = ""


class Question(Struct):
    """A question on record: its id, the call that asks, its value and the value's digest.

    ``schema`` is the JSON Schema of its answer. ``key`` is what its id was made from in place of the call and the
    digest. ``expires`` is when it counts as expired, ISO 8601 in UTC, and ``default`` its answer then. ``refused``
    says why the body did not take the answer on record: it is void, and the question is asked again. ``sleeps`` says
    that nobody is asked: the call waits until it ``expires``.
    """

    id: str
    call: str
    value: Value
    digest: str
    schema: Value | None = None
    key: str | None = None
    expires: str | None = None
    default: Value | None = None
    refused: str | None = None
    sleeps: bool | None = None


class Parent(Struct):
    """The call that made a run on another thread."""

    thread: str
    run: str
    call: str


class Started(Struct):
    """A run begins. Legal when the thread is neither running nor sleeping.

    ``after`` is the id of the run before on the thread, ``step`` this run's number. ``source`` is ``"fork"`` or
    ``"update"`` where it was no input, ``forked`` the run that this one goes back to. What such a run sees as
    ``previous`` is not what the last run saved: ``base`` carries it, so that pruning may take the original away, and
    ``previous`` is then this record's own position. So it is where many runs were abandoned since the last finished.
    ``background`` says that nobody waits for it where it was started; what it writes for its followers is recorded.
    ``principal`` is for whom it was started, ``key`` the idempotency key given then.
    """

    kind: ClassVar[str] = "started"
    run: str
    workflow: str
    at: str
    owner: Owner
    input: Value
    previous: int | None = None  # position of the last finished run's `finished`
    parent: Parent | None = None
    after: str | None = None
    step: int | None = None
    source: str | None = None
    forked: str | None = None
    base: Finished | None = None
    context: Value | None = None
    config: Value | None = None  # what is kept of it: see `_config`
    version: int | str | None = None  # of the workflow's code that began the run
    background: bool | None = None
    principal: str | None = None
    key: str | None = None


class Claimed(Struct):
    """A session takes the thread over. From here on no record of an earlier session is legal.

    ``died`` says that the session before it did not hand the thread back: its process died, or stood still.
    """

    kind: ClassVar[str] = "claimed"
    at: str
    owner: Owner
    died: bool | None = None


class Outcome(Struct):
    """What became of a call: exactly one of ``result``, ``error``, ``cancelled``.

    ``caused_by`` names the calls whose failures an error carries, ``heard_at`` how many calls their caller had made
    when it got each: what it did after that may differ once the failure is tried again. Where the caller has strands,
    ``"call@strand"`` tells it for each other one that had made any.
    """

    kind: ClassVar[str] = "outcome"
    call: str
    name: str
    digest: str
    shows: str
    began: str
    ended: str
    attempts: int = 1
    result: Value | None = None
    error: Failure | None = None
    cancelled: bool | None = None
    caused_by: tuple[str, ...] = ()
    heard_at: Mapping[str, int] = MappingProxyType({})
    workflow: bool | None = None  # True where the call was a nested workflow
    cached: bool | None = None  # True where the result was taken from a cache


class Attempted(Struct):
    """An attempt at a call failed, and another is due at ``due``; the call ``""`` is the body.

    ``number`` counts the attempts from 1. ``policy`` is the place, among the task's or workflow's, of the retry policy
    that decided; -1 where a person did. ``caused_by`` and ``heard_at`` are those of an :class:`Outcome`: the calls
    within this one whose failures the error carries no longer count.
    """

    kind: ClassVar[str] = "attempted"
    call: str
    name: str
    digest: str
    number: int
    began: str
    ended: str
    due: str
    policy: int
    error: Failure
    caused_by: tuple[str, ...] = ()
    heard_at: Mapping[str, int] = MappingProxyType({})


class Begun(Struct):
    """An attempt at a call begins whose outcome must not be guessed: written before the effect.

    ``number`` is the attempt's. Without an outcome or an ``attempted`` after it, what it did is unknown.
    """

    kind: ClassVar[str] = "begun"
    call: str
    name: str
    digest: str
    shows: str
    number: int
    at: str


class Observed(Struct):
    """What a frame saw of a race: the answers numbered ``number`` … ``number + times - 1`` that it got about a call.

    ``made`` is how many calls the frame had made by then; of a strand, ``above`` says it for those it is a strand of.
    """

    kind: ClassVar[str] = "observed"
    frame: str
    number: int
    made: int
    what: str
    call: str
    answer: bool
    times: int = 1
    above: tuple[int, ...] = ()


class Written(Struct):
    """A custom event: the one of this ``number``, from 1, of the frame ``call``, which is "" for the body.

    It is recorded where others may follow the run than those that called it.
    """

    kind: ClassVar[str] = "written"
    call: str
    name: str
    number: int
    at: str
    value: Value


class Interrupted(Struct):
    """The run pauses with these questions; it sleeps where all of them are waits for a time.

    ``written`` counts custom events by frame, ``pending`` names calls that still run. ``unfinished`` has the names of
    these and of the calls that wait for an answer, for people who look.
    """

    kind: ClassVar[str] = "interrupted"
    at: str
    questions: tuple[Question, ...] = ()
    written: Mapping[str, int] = MappingProxyType({})
    pending: tuple[str, ...] = ()
    unfinished: Mapping[str, str] = MappingProxyType({})


class Resumed(Struct):
    """Answers by interrupt id, and the claim of the session that goes on.

    ``expired`` names questions whose time is over: their answer is the question's default, where it has one. ``actor``
    is who answered.
    """

    kind: ClassVar[str] = "resumed"
    at: str
    owner: Owner
    answers: Mapping[str, Value] = MappingProxyType({})
    expired: tuple[str, ...] = ()
    actor: str | None = None


class Retried(Struct):
    """A failed or cancelled run goes on; the outcomes of ``voids`` no longer count.

    ``context`` is in place of the one it was recorded with; legal where the run has not begun.
    """

    kind: ClassVar[str] = "retried"
    at: str
    owner: Owner
    voids: tuple[str, ...] = ()
    context: Value | None = None


class Finished(Struct):
    """The run returned ``result``; the next run's ``previous`` is ``save``, or the result where that is absent."""

    kind: ClassVar[str] = "finished"
    run: str
    at: str
    result: Value
    save: Value | None = None


class Failed(Struct):
    """An exception left the body; ``caused_by`` and ``heard_at`` are those of an :class:`Outcome`.

    ``pending`` and ``unfinished`` are those of :class:`Interrupted`.
    """

    kind: ClassVar[str] = "failed"
    at: str
    error: Failure
    caused_by: tuple[str, ...] = ()
    heard_at: Mapping[str, int] = MappingProxyType({})
    written: Mapping[str, int] = MappingProxyType({})
    pending: tuple[str, ...] = ()
    unfinished: Mapping[str, str] = MappingProxyType({})


class Cancelled(Struct):
    """Somebody stopped the run: it rests and asks nothing, until it is continued or abandoned.

    ``written`` counts custom events by frame. ``planted`` says that the run was only recorded, for another session to
    begin.
    """

    kind: ClassVar[str] = "cancelled"
    at: str
    reason: str | None = None
    written: Mapping[str, int] = MappingProxyType({})
    planted: bool = False


class Abandoned(Struct):
    """A newer input closed this run while it was interrupted, failed, cancelled or cut off."""

    kind: ClassVar[str] = "abandoned"
    at: str
    run: str


class Keyed(Struct):
    """An idempotency key is in use; it stands alone in a journal that the key names, and no run is there.

    ``thread`` is where the run is, ``input`` what it was started with.
    """

    kind: ClassVar[str] = "keyed"
    at: str
    workflow: str
    thread: str
    input: Value


class Deleted(Struct):
    """The thread was deleted: what is before counts no longer. It takes the tail, so that nothing late lands there."""

    kind: ClassVar[str] = "deleted"
    at: str


Record: TypeAlias = (
    Started
    | Claimed
    | Outcome
    | Attempted
    | Begun
    | Observed
    | Written
    | Interrupted
    | Resumed
    | Retried
    | Finished
    | Failed
    | Cancelled
    | Abandoned
    | Keyed
    | Deleted
)

_KINDS: Final[dict[str, type[Any]]] = {
    cls.kind: cls
    for cls in (
        Started,
        Claimed,
        Outcome,
        Attempted,
        Begun,
        Observed,
        Written,
        Interrupted,
        Resumed,
        Retried,
        Finished,
        Failed,
        Cancelled,
        Abandoned,
        Keyed,
        Deleted,
    )
}


def _finished(raw: dict[str, Any]) -> Finished:
    return Finished(**{key: _PARSE[key](item) if key in _PARSE else item for key, item in raw.items()})


def _failure(raw: dict[str, Any]) -> Failure:
    return Failure(**{key: _PARSE[key](item) if key in _PARSE else item for key, item in raw.items()})


def _value(raw: Any) -> Value:
    return Value(raw=raw)


def _null_value(raw: Any) -> Value:
    return Value(text="null") if raw is None else Value(raw=raw)


def _question(raw: dict[str, Any]) -> Question:
    values: dict[str, Any] = {"value": _null_value, "schema": _value, "default": _null_value}
    return Question(**{key: values[key](item) if key in values else item for key, item in raw.items()})


_PARSE: Final[dict[str, Any]] = {
    "owner": lambda raw: Owner(**raw),
    "parent": lambda raw: Parent(**raw),
    "error": _failure,
    "base": _finished,
    "input": _null_value,
    "value": _null_value,
    "result": _null_value,
    "save": _null_value,
    "context": _null_value,
    "config": _value,
    "expired": tuple,
    "arguments": _value,
    "attributes": _value,
    "caused_by": tuple,
    "above": tuple,
    "pending": tuple,
    "tags": tuple,
    "voids": tuple,
    "answers": lambda raw: {key: _null_value(item) for key, item in raw.items()},
    "questions": lambda raw: tuple(map(_question, raw)),
}


def _record(raw: dict[str, Any]) -> Record:
    cls = _KINDS[raw.pop("kind")]
    record: Record = cls(**{key: _PARSE[key](item) if key in _PARSE else item for key, item in raw.items()})
    return record


class Batch(Struct):
    """Records appended together. ``id`` is ``<session>-<number>`` and tells a retried append from a rival's."""

    id: str
    records: tuple[Record, ...]

    @property
    def session(self) -> str:
        """The session that wrote the batch."""
        return self.id.partition("-")[0]

    @property
    def is_final(self) -> bool:
        """Whether its session wrote nothing after it: the run is finished."""
        return any(isinstance(record, Finished) for record in self.records)

    @property
    def is_tombstone(self) -> bool:
        """Whether it marks the end of a deleted thread."""
        return any(isinstance(record, Deleted) for record in self.records)

    def encode(self) -> bytes:
        """Return the batch as one line of ASCII JSON."""
        records = ",".join(_json_fields(record, [f'"kind":"{record.kind}"']) for record in self.records)
        return f'{{"format":{FORMAT},"id":{_dumps(self.id)},"records":[{records}]}}'.encode("ascii")

    @classmethod
    def decode(cls, data: bytes, *, thread: str, position: int) -> Batch:
        """Read a batch.

        Raises:
            Corrupt: the bytes are no batch, or one of a later format.
        """
        try:
            raw = json.loads(data)
            if raw["format"] > FORMAT:
                raise Corrupt(
                    f"batch {position} of thread {thread!r} has format {raw['format']}, this version reads up to "
                    f"{FORMAT}: upgrade milepost"
                )
            return cls(id=raw["id"], records=tuple(map(_record, raw["records"])))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Corrupt(f"batch {position} of thread {thread!r} cannot be read: {error!r}") from error


class Head(Struct):
    """The one mutable record of a thread: an index to its journal, and the lease. It decides nothing.

    ``version`` grows by one at each compare-and-set. It begins at random: a swap from before a deletion must not fit
    the head of the thread that was started again. ``run`` is the position of the newest run's ``started``, as a hint.
    ``owner`` is None when nobody works on the thread; ``lease`` is how long, in seconds, a watcher must see the head
    unchanged before it may take a running thread over. ``nonce`` recognises one's own compare-and-set whose answer was
    lost. ``since`` is when the owner took the thread, ISO 8601 in UTC. ``offered`` says that nobody holds a running
    thread and whoever knows its workflow may go on with it; ``cancel`` that somebody asks the owner to cancel the run,
    and why. ``principal`` and ``tags`` are the newest run's, for listings.
    """

    thread: str
    version: int
    status: Status
    workflow: str
    run: int
    nonce: str
    updated: str
    owner: Owner | None = None
    lease: float | None = None
    pending: tuple[str, ...] = ()
    wake: float | None = None
    since: str | None = None
    offered: bool | None = None
    cancel: str | None = None
    principal: str | None = None
    tags: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the head as one line of ASCII JSON."""
        return _json_fields(self, [f'"format":{FORMAT}']).encode("ascii")

    @classmethod
    def decode(cls, data: bytes, *, thread: str) -> Head:
        """Read a head.

        Raises:
            Corrupt: the bytes are no head, or one of a later format.
        """
        try:
            raw = json.loads(data)
            if raw.pop("format") > FORMAT:
                raise Corrupt(f"the head of thread {thread!r} has a later format: upgrade milepost")
            raw["status"] = Status(raw["status"])
            return cls(**{key: _PARSE[key](item) if key in _PARSE else item for key, item in raw.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Corrupt(f"the head of thread {thread!r} cannot be read: {error!r}") from error
