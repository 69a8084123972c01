"""What ``interrupt()`` was told of its question, as it goes on record; answers held against it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final

from milepost import schema, serde
from milepost._struct import Struct
from milepost.errors import InvalidQuestion, InvalidSleep
from milepost.question import MISSING
from milepost.records import Question, Value

_KEY_LENGTH: Final = 200


class Asking(Struct):
    """A question as code words it. ``expects`` is the annotation or JSON Schema of its answer, MISSING for any."""

    verb: ClassVar[str] = "interrupt"
    value: Any
    expects: Any = MISSING
    key: str | None = None
    lasts: timedelta | None = None
    default: Any = MISSING

    def question(self, *, id: str, call: str, digest: str, where: str) -> Question:  # noqa: A002
        """Return the question to put on record.

        Raises:
            InvalidQuestion: the schema cannot be checked, or the default is no answer.
            NotSerializable: its value or its default cannot be kept.
        """
        default, described = None, self._schema(where)
        if self.default is not MISSING:
            try:
                default = answer_text(self.default, described, id, where=f"the default of {where}")
            except schema.Unfit as unfit:
                raise InvalidQuestion(f"{where}: the default is no answer to it: {unfit}") from unfit
        return Question(
            id=id,
            call=call,
            value=Value(text=serde.encode(self.value, where=where, identity=id)),
            digest=digest,
            schema=None if described is None else Value(raw=described),
            key=self.key,
            default=default,
        )

    def is_over(self, now: datetime) -> bool:  # noqa: ARG002 - a wait for a time may be
        """Tell whether there is nothing to wait for: a person is always asked."""
        return False

    def _schema(self, where: str) -> dict[str, Any] | None:
        if self.expects is MISSING:
            return None
        given = self.expects
        try:
            found = given if isinstance(given, dict) else schema.json_schema(given, strict=True)
            schema.check_schema(found)
        except schema.Undescribable as error:
            raise InvalidQuestion(
                f"{where}: its answer could not be checked before the run resumes, because {error}; name what JSON "
                f"can say in response_schema"
            ) from error
        return found

    def expires(self, now: datetime) -> str | None:
        """Return when the question expires that is asked now."""
        return None if self.lasts is None else (now + self.lasts).isoformat()

    def answer(self, recorded: Value, id: str) -> Any:  # noqa: A002
        """Return a recorded answer as the body gets it.

        Raises:
            Unfit: the class of the answer refused it.
        """
        given = serde.decode(recorded.raw, where=f"the answer to {id}", identity=f"{id}/answer")
        if self.expects is MISSING or isinstance(self.expects, dict):
            return given
        return schema.convert(self.expects, given, plain_only=True)


class Sleeping(Struct):
    """A wait for a time, as code words it: a question that nobody is asked, and that expires.

    ``value`` is what was said: seconds, or a time in ISO 8601; ``until`` is the time, None where that is ``lasts`` from
    now.
    """

    verb: ClassVar[str] = "sleep"
    key: ClassVar[str | None] = None
    value: float | str
    lasts: timedelta
    until: datetime | None = None

    def question(self, *, id: str, call: str, digest: str, where: str) -> Question:  # noqa: A002
        """Return the wait to put on record."""
        value = Value(text=serde.encode(self.value, where=where, identity=id))
        return Question(id=id, call=call, value=value, digest=digest, default=Value(text="null"), sleeps=True)

    def is_over(self, now: datetime) -> bool:
        """Tell whether there is nothing to wait for."""
        return self.due(now) <= now

    def due(self, now: datetime) -> datetime:
        """Return when a wait ends that begins now."""
        return now + self.lasts if self.until is None else self.until

    def expires(self, now: datetime) -> str:
        """Return when a wait ends that begins now, as it goes on record."""
        return self.due(now).astimezone(UTC).isoformat()

    def answer(self, recorded: Value, id: str) -> None:  # noqa: A002
        """Return what the body gets when the wait is over."""


def sleeping(given: Any) -> Sleeping:
    """Return the wait that a call of ``sleep()`` words.

    Raises:
        InvalidSleep: it is no time.
    """
    if isinstance(given, int | float) and not isinstance(given, bool):
        try:
            given = timedelta(seconds=given)
        except (OverflowError, ValueError):
            given = None
    if not isinstance(given, timedelta) or given < timedelta(0):
        raise InvalidSleep("sleep() takes how long, in seconds or as a timedelta, not less than 0")
    return Sleeping(value=given.total_seconds(), lasts=given)


def sleeping_until(given: Any) -> Sleeping:
    """Return the wait that a call of ``sleep_until()`` words.

    Raises:
        InvalidSleep: it is no time, or one without a zone.
    """
    if not isinstance(given, datetime) or given.tzinfo is None:
        raise InvalidSleep(
            f"sleep_until() takes a datetime with a zone, such as datetime.now(UTC) + timedelta(days=1); not {given!r}"
        )
    return Sleeping(value=given.isoformat(), lasts=timedelta(0), until=given)


def asking(
    value: Any,
    *,
    response_schema: Any = None,
    key: Any = None,
    expires_in: Any = None,
    default: Any = MISSING,
) -> Asking:
    """Return the question that a call of ``interrupt()`` words.

    Raises:
        InvalidQuestion: an argument is of a wrong type, or contradicts another.
    """
    if key is not None and (not isinstance(key, str) or not 0 < len(key) <= _KEY_LENGTH):
        raise InvalidQuestion(f"interrupt(key=…) is a text of 1 to {_KEY_LENGTH} characters, not {key!r}")
    if default is not MISSING and expires_in is None:
        raise InvalidQuestion(
            "interrupt(default=…) is what a question gets that expires: say when, with expires_in="
        )
    return Asking(
        value=value,
        expects=MISSING if response_schema is None else response_schema,
        key=key,
        lasts=None if expires_in is None else _length(expires_in),
        default=default,
    )


def _length(given: object) -> timedelta:
    if isinstance(given, int | float) and not isinstance(given, bool):
        try:
            given = timedelta(seconds=given)
        except (OverflowError, ValueError):
            given = None
    if not isinstance(given, timedelta) or given <= timedelta(0):
        raise InvalidQuestion(
            "interrupt(expires_in=…) is a time from now, in seconds or as a timedelta, more than 0"
        )
    return given


def answer_text(answer: Any, described: Any, id: str, *, where: str) -> Value:  # noqa: A002
    """Return an answer as it is recorded: as JSON where the question has a schema, else exactly as it is.

    Raises:
        Unfit: it does not satisfy the schema.
        NotSerializable: it cannot be kept.
    """
    if described is not None:
        try:
            answer = schema.plain(answer)
        except RecursionError:
            raise schema.Unfit("$", "a value that is nested less deeply", type(answer).__name__) from None
        schema.validate(answer, described)
    return Value(text=serde.encode(answer, where=where, identity=f"{id}/answer"))
