"""What pymongo raises, told in the words of the contract; no message shows a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from milepost.errors import StorageError, StorageUnavailable

if TYPE_CHECKING:
    from milepost_mongodb._url import Place

_DENIED: Final = frozenset({13, 18, 8000})
_TOO_LARGE: Final = frozenset({10334, 17280, 17420, 17419})
_TRANSIENT: Final = frozenset({
    6, 7, 24, 43, 46, 50, 63, 64, 89, 91, 100, 112, 133, 134, 150, 175, 189, 202, 237, 262, 290, 314, 317, 358,
    365, 402, 9001, 10058, 10107, 11600, 11601, 11602, 13388, 13435, 13436, 16500,
})  # fmt: skip
"""Server error codes after which the same command may succeed: elections, shutdown, time-outs, limits, conflicts."""
_LABELS: Final = (
    "RetryableWriteError",
    "TransientTransactionError",
    "SystemOverloadedError",
    "RetryableError",
)
_FULL: Final = 14031
_SHOWN: Final = 300
"""How many characters of a server's own text a message repeats."""


class KeyTaken(StorageError):
    """A document with this ``_id`` exists. The checkpointer turns it into the contract's own error."""


class DocumentRefused(StorageError):
    """The server takes no document of this size. The checkpointer turns it into the contract's own error."""


class AccessDenied(StorageError):
    """The server refuses this user: correct the credentials, or grant readWrite on the database."""


def translated(error: Exception, place: Place) -> StorageError:
    """Return what a pymongo error means to the contract."""
    from pymongo import errors

    if isinstance(error, errors.DuplicateKeyError):
        return KeyTaken(f"a document in {place} has this id already")
    if isinstance(error, errors.DocumentTooLarge):
        return DocumentRefused(f"{place} takes no document of this size")
    if isinstance(error, (errors.ConnectionFailure, errors.WriteConcernError)):
        return StorageUnavailable(f"{place} did not answer or confirm ({type(error).__name__})")
    if isinstance(error, errors.OperationFailure):
        return _refused(error, place)
    if isinstance(error, errors.PyMongoError):
        return _reported(error, place)
    return StorageError(f"a value cannot be kept in {place} as BSON ({type(error).__name__})")


def _reported(error: Any, place: Place) -> StorageError:
    if asked_dns(error):
        return StorageUnavailable(f"no name server told the hosts of {place}: check its name and the network")
    cls = StorageUnavailable if _is_transient(error) else StorageError
    return cls(f"pymongo reported {type(error).__name__} for {place}{_shown(error, place)}")


def _is_transient(error: Any) -> bool:
    return error.timeout or any(map(error.has_error_label, _LABELS))


def _refused(error: Any, place: Place) -> StorageError:
    code = error.code
    if code in _DENIED:
        return AccessDenied(
            f"{place} refuses this user (code {code}): check name, password and authSource, and grant the user "
            f"readWrite on the database {place.database!r}"
        )
    if code in _TOO_LARGE:
        return DocumentRefused(f"{place} takes no document of this size (code {code})")
    if code == _FULL:
        return StorageError(f"{place} has no room on its disk: make room, then try again")
    if code in _TRANSIENT or _is_transient(error):
        return StorageUnavailable(f"{place} cannot do this now (code {code})")
    return StorageError(f"{place} refuses a command (code {code}){_shown(error, place)}")


def _shown(error: Exception, place: Place) -> str:
    text = str(error)
    hidden = any(secret in text for secret in place.secrets)
    return "" if hidden else f": {text[:_SHOWN]}"


def asked_dns(error: Exception) -> bool:
    """Whether pymongo reports that a name server did not tell the hosts of a mongodb+srv URL."""
    return type(error.__cause__).__module__.startswith("dns.")
