"""Values to text and back: typed JSON, exact in value and type.

Plain data is plain JSON: None, bool, int up to ±2**53, finite float, str, list, and dict whose keys are str
and do not begin with ``$``. Everything else is an object with one key, its tag: ``{"$tuple": […]}``,
``{"$decimal": "1.20"}``, ``{"$dataclass": ["Claim", {…}]}``. The exact type decides; what has no form is
refused, never changed silently.

Classes of users are found from the annotation or from :func:`register`, never from a name in the data. Opt-in
and signed, pickles hold what nothing else can: :func:`enable_pickle`.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from milepost.errors import NotSerializable, SignatureInvalid, UnknownType, describe
from milepost.question import Interrupt
from milepost.serde._digest import canonical as _canonical
from milepost.serde._digest import digest
from milepost.serde._failure import FailureFacts, failure, rebuild
from milepost.serde._pickle import SignedPickle, disable_pickle, enable_pickle
from milepost.serde._read import Reader
from milepost.serde._types import register
from milepost.serde._unfit import Refused, Unreadable
from milepost.serde._write import Writer

__all__ = [
    "FailureFacts",
    "SignedPickle",
    "canonical",
    "decode",
    "digest",
    "disable_pickle",
    "enable_pickle",
    "encode",
    "failure",
    "is_immutable",
    "rebuild",
    "register",
]

# A run on another thread may answer a call with what it asks. Said here, so that nobody takes the tag before.
register(
    "interrupt",
    Interrupt,
    encode=lambda asked: [asked.value, asked.id, *([asked.details] if asked.details else [])],
    decode=lambda kept: Interrupt(*kept[:2], **(kept[2] if len(kept) > 2 else {})),  # noqa: PLR2004
)

_IMMUTABLE: Final = frozenset({str, int, float, bool, type(None), bytes, complex, date, timedelta})


def encode(value: object, declared: Any = Any, *, where: str, identity: str = "") -> str:
    """Return a value as ASCII JSON text, from which :func:`decode` makes an equal value of the same type.

    ``declared`` is the annotation, resolved: the classes that it names may appear anywhere in the value.
    ``where`` names the task or workflow in messages. ``identity`` says where the record will live; it is
    signed with pickles. A value that appears twice is written twice.

    Raises:
        NotSerializable: a part cannot be kept exactly; the message names the part and the remedy.
    """
    try:
        return Writer(declared, identity=identity).write(value)
    except Refused as refused:
        raise _not_serializable(where, refused.path, refused.type_name, refused.reason) from refused.__cause__
    except RecursionError:
        reason = "it is nested too deeply; flatten it"
    except RuntimeError as error:
        reason = f"{error} (another thread works on it); hand over a copy"
    raise _not_serializable(where, "$", describe(type(value)), reason)


def canonical(value: object, *, where: str) -> str:
    """Return one text for all values that are equal and of equal types, in every process; nothing reads it back.

    Raises:
        NotSerializable: a part has no value that could be written; the message names it.
    """
    try:
        return _canonical(value)
    except Refused as refused:
        raise _not_serializable(where, refused.path, refused.type_name, refused.reason) from refused.__cause__
    except RecursionError:
        reason = "it is nested too deeply"
    raise _not_serializable(where, "$", describe(type(value)), reason)


def _not_serializable(where: str, path: str, type_name: str, reason: str) -> NotSerializable:
    place = "the value" if path == "$" else f"the part {path}"
    message = f"{where}: {place}, of type {type_name}, cannot be kept exactly: {reason}"
    return NotSerializable(message, where=where, path=path, type_name=type_name)


def decode(raw: object, declared: Any = Any, *, where: str, identity: str = "") -> Any:
    """Return the value of parsed JSON text (``json.loads``), made of fresh objects; ``raw`` is not changed.

    The arguments are those of :func:`encode`.

    Raises:
        UnknownType: a tag is unknown here, a class is not declared here, or the record is damaged.
        SignatureInvalid: a pickle's signature is not valid here; nothing of it was loaded.
    """
    try:
        return Reader(declared, identity=identity).read(raw)
    except Unreadable as error:
        place = "the record" if error.path == "$" else f"the record's part {error.path}"
        message = f"{where}: {place}, tagged {error.tag!r}, cannot be read: {error.reason}"
        raise UnknownType(message, where=where, path=error.path, tag=error.tag) from error.__cause__
    except SignatureInvalid as error:
        raise SignatureInvalid(f"{where}: a pickle was not loaded: {error}") from None
    except RecursionError:
        message = f"{where}: the record is nested too deeply to be read"
    raise UnknownType(message, where=where, path="$", tag="")


def is_immutable(value: object) -> bool:
    """Tell whether a value is of an immutable type, so that its decoded copy need not be made."""
    return type(value) in _IMMUTABLE
