"""What S3 and botocore report, as milepost's errors; decided by HTTP status, since some replies have nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from milepost.errors import StorageError, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_SHOWN: Final = 300
_READ: Final = (
    "s3:GetObject on the objects, and s3:ListBucket on the bucket (else absent objects look forbidden)"
)
_PERMISSIONS: Final = {
    "GetObject": _READ,
    "HeadObject": _READ,
    "PutObject": "s3:PutObject on the objects, and kms:GenerateDataKey where they are encrypted with a KMS key",
    "ListObjectsV2": "s3:ListBucket on the bucket",
    "DeleteObject": "s3:DeleteObject on the objects",
    "DeleteObjects": "s3:DeleteObject on the objects",
}
_CREDENTIALS: Final = {
    "InvalidAccessKeyId": "does not know the access key that boto3 found",
    "SignatureDoesNotMatch": "rejects the signature: the secret key that boto3 found is not the access key's",
    "ExpiredToken": "says that the session token has expired",
    "InvalidToken": "rejects the session token",
    "TokenRefreshRequired": "says that the session token must be refreshed",
    "RequestTimeTooSkewed": "finds this machine's clock too far off; set it",
}
_REGIONS: Final = frozenset(
    {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}
)
_TRANSIENT: Final = frozenset(
    {
        "RequestTimeout",
        "SlowDown",
        "InternalError",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "OperationAborted",
        "ConditionalRequestConflict",
    }
)
_UNKNOWN: Final = frozenset({408, 409, 425, 429})
"""Answers after which the identical request may be sent again; so are all from 500 on but 501."""
_NOT_IMPLEMENTED: Final = 501
_REDIRECTS: Final = range(300, 400)
_FORBIDDEN: Final = 403
_ABSENT: Final = 404
_ACCESS: Final = frozenset({401, _FORBIDDEN})


class BucketMissing(StorageError):
    """The bucket does not exist, or is in another account or region. Make it, or correct its name."""


class AccessDenied(StorageError):
    """The credentials do not permit a request. Grant the permission that the text names."""


class CredentialsInvalid(StorageError):
    """boto3 found no credentials, or the endpoint rejects them."""


class ConditionalWritesMissing(StorageError):
    """The endpoint ignores or refuses conditional writes, so journals are not safe there. Use another endpoint."""


class NotSupported(StorageError):
    """The endpoint does not know this kind of request, or not in this form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where requests go, as messages show it."""

    bucket: str
    endpoint: str | None
    region: str | None

    def __str__(self) -> str:
        where = self.endpoint or (f"S3 in {self.region}" if self.region else "S3")
        return f"bucket {self.bucket!r} at {where}"


def translated(error: Exception, operation: str, place: Place) -> StorageError:
    """Return the error that says what to do about what botocore raised."""
    from botocore.exceptions import ClientError

    if isinstance(error, ClientError):
        return _answered(error, operation, place)
    return _unanswered(error, operation, place)


def status_of(error: Exception) -> int:
    """Return the HTTP status of an answer, 0 where there was none."""
    response = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)


def code_of(error: Exception) -> str:
    """Return the code in an answer's body; it may be a status, or a made-up word where there was no body."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code") or "")


def is_transient(code: str) -> bool:
    """Tell whether a code asks to send the request again."""
    return code in _TRANSIENT


def partly_deleted(failures: Sequence[tuple[str, str, str]], place: Place) -> StorageError | None:
    """Return the error for what a deletion of many left, as key, code and message of each; None if nothing."""
    real = [failure for failure in failures if failure[1] != "NoSuchKey"]
    if not real:
        return None
    lasting = [failure for failure in real if not is_transient(failure[1])]
    key, code, message = (lasting or real)[0]
    text = f"{place} did not delete {len(real)} objects; the first is {key!r}: {code} {message[:_MAX_SHOWN]}"
    if not lasting:
        return StorageUnavailable(text)
    if code == "AccessDenied":
        return AccessDenied(f"{text}; grant {_PERMISSIONS['DeleteObject']}")
    return StorageError(text)


def _answered(error: Exception, operation: str, place: Place) -> StorageError:
    status, code = status_of(error), code_of(error)
    if code == "NoSuchBucket" or (status == _ABSENT and operation not in ("GetObject", "HeadObject")):
        return BucketMissing(
            f"{place} does not exist: make it, or correct the bucket, region or endpoint_url of the URL"
        )
    if code in _CREDENTIALS:
        return CredentialsInvalid(f"{place} {_CREDENTIALS[code]} ({operation}: {code})")
    if status in _UNKNOWN or is_transient(code) or (status >= 500 and status != _NOT_IMPLEMENTED):  # noqa: PLR2004 - a server's fault
        return StorageUnavailable(f"{place} answered {operation} with {_shown(error)}")
    return _refused(error, operation, place)


def _refused(error: Exception, operation: str, place: Place) -> StorageError:
    status, code = status_of(error), code_of(error)
    if code in _REGIONS or status in _REDIRECTS:
        return StorageError(
            f"{place} is in another region: set the URL's region option ({operation}: {_shown(error)})"
        )
    if status in _ACCESS:
        permission = _PERMISSIONS.get(operation, "it")
        return AccessDenied(
            f"{place} does not permit {operation}: grant {permission} (answer: {_shown(error)})"
        )
    text = f"{place} refused {operation} with {_shown(error)}"
    return NotSupported(text) if status in (400, 405, _NOT_IMPLEMENTED) else StorageError(text)


def _shown(error: Exception) -> str:
    """Return status, code and message of an answer, as far as there are any."""
    details = (getattr(error, "response", None) or {}).get("Error", {})
    parts = (str(status_of(error) or ""), code_of(error), str(details.get("Message") or ""))
    return " ".join(dict.fromkeys(part for part in parts if part))[:_MAX_SHOWN]


def _unanswered(error: Exception, operation: str, place: Place) -> StorageError:
    from botocore import exceptions as raised
    from botocore.parsers import ResponseParserError
    from urllib3.exceptions import HTTPError

    lost = (
        raised.HTTPClientError,
        raised.ConnectionError,
        raised.IncompleteReadError,
        raised.ChecksumError,
        raised.FlexibleChecksumError,
        ResponseParserError,
        HTTPError,
    )
    if isinstance(error, lost):
        return StorageUnavailable(f"{place} did not answer {operation}: {type(error).__name__}")
    if isinstance(error, (raised.CredentialRetrievalError, raised.MetadataRetrievalError)):
        return StorageUnavailable(
            f"boto3 could not fetch the credentials for {place}: {type(error).__name__}"
        )
    credentials = (
        raised.NoCredentialsError,
        raised.PartialCredentialsError,
        raised.TokenRetrievalError,
        raised.NoAuthTokenError,
        raised.SSOError,
        raised.ProfileNotFound,
    )
    if isinstance(error, credentials):
        return CredentialsInvalid(
            f"boto3 found no usable credentials for {place} ({type(error).__name__}): set AWS_ACCESS_KEY_ID and "
            f"AWS_SECRET_ACCESS_KEY, a profile, or a role of this machine"
        )
    return StorageError(f"boto3 could not send {operation} to {place}: {type(error).__name__}: {error}")
