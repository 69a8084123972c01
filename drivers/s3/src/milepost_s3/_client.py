"""The only file that talks to S3: objects read, written on conditions, listed and deleted; one client per process."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from milepost.errors import Closed, StorageError, StorageUnavailable
from milepost.fork import PerProcess
from milepost_s3._errors import NotSupported, Place, code_of, partly_deleted, status_of, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
U = TypeVar("U")

PARALLEL: Final = 16
"""How many requests one process has under way at most for one driver's parallel reads."""

_PAGE: Final = 1000
_POOL_CONNECTIONS: Final = 64
_ABSENT: Final = 404
_FAILED: Final = 412
_AGENT: Final = "milepost-s3/0.1.0"

_making: Final = PerProcess(threading.Lock)
"""Making a client is not thread-safe in boto3; after a fork, nobody holds this lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a bucket is reached: the options of an ``s3:`` URL. Times are in seconds, for one sending of a request."""

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    sse: Literal["AES256", "aws:kms"] | None = None
    kms_key_id: str | None = None
    timeout: float = 20.0
    connect_timeout: float = 5.0
    attempts: int = 3


@dataclass(frozen=True, slots=True)
class Object:
    """An object's bytes, and the ETag that a condition on it names."""

    data: bytes
    etag: str


class Listed(NamedTuple):
    """An object as a listing shows it."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """What a listing found, and whether it goes on after the last of it."""

    found: list[Listed]
    more: bool


class _Session:
    """One process's boto3 client, and its threads for requests side by side."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.client: Any = None
        self.pool: ThreadPoolExecutor | None = None


class Client:
    """The objects of one bucket, from any thread. What botocore raises is translated.

    ``given`` is a boto3 client that somebody else made and closes; it cannot follow into a forked process.
    ``quotes_etags`` says in which form ETags are sent: some endpoints match them only without their quotes;
    ``has_replaced``, that one did match in this form.
    """

    def __init__(self, bucket: str, settings: Settings, given: Any = None) -> None:
        self.place = Place(bucket=bucket, endpoint=settings.endpoint_url, region=settings.region)
        self._settings = settings
        self._given = given
        self._used_in: int | None = None
        self._sessions = PerProcess(_Session)
        self.quotes_etags = True
        self.has_replaced = False
        self._closed = False

    # -- one object ------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Object | None:
        """Return an object, or None where there is none."""
        with self._translating("GetObject") as client:
            try:
                answer = client.get_object(Bucket=self.place.bucket, Key=key)
                return Object(answer["Body"].read(), str(answer.get("ETag", "")))
            except client.exceptions.ClientError as error:
                if status_of(error) == _ABSENT and code_of(error) != "NoSuchBucket":
                    return None
                raise

    def exists(self, key: str) -> bool:
        """Tell whether there is an object, without reading it."""
        with self._translating("HeadObject") as client:
            try:
                client.head_object(Bucket=self.place.bucket, Key=key)
            except client.exceptions.ClientError as error:
                if status_of(error) == _ABSENT:
                    return False
                raise
            return True

    def create(self, key: str, data: bytes) -> str | None:
        """Write an object where there is none and return its ETag; None where there is one."""
        return self._put(key, data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, etag: str) -> str | None:
        """Write an object over the one with this ETag and return the new one; None where it is another, or gone."""
        made = self._put(key, data, IfMatch=self._sent(etag))
        self.has_replaced = self.has_replaced or made is not None
        return made

    def remove(self, key: str, etag: str) -> bool:
        """Delete the object with this ETag; return False where it is another, or gone."""
        condition = {"IfMatch": self._sent(etag)}
        with self._translating("DeleteObject") as client:
            try:
                client.delete_object(Bucket=self.place.bucket, Key=key, **condition)
            except client.exceptions.ClientError as error:
                self._check_refused(error, condition, f"{key} was deleted from {self.place}")
                return False
            return True

    def put(self, key: str, data: bytes) -> None:
        """Write an object, whatever is there."""
        self._put(key, data)

    def _put(self, key: str, data: bytes, **condition: str) -> str | None:
        with self._translating("PutObject") as client:
            try:
                answer = client.put_object(
                    Bucket=self.place.bucket,
                    Key=key,
                    Body=data,
                    ContentType="application/json",
                    **self._encryption(),
                    **condition,
                )
            except client.exceptions.ClientError as error:
                self._check_refused(error, condition, f"{key} was written to {self.place}")
                return None
            return str(answer.get("ETag", ""))

    def _sent(self, etag: str) -> str:
        """Return an ETag in the form that this endpoint matches."""
        return etag if self.quotes_etags else etag.strip('"')

    def _check_refused(self, error: Any, condition: dict[str, str], what: str) -> None:
        """Return where a condition did not hold; raise where that is not it, or whether it held is unknown."""
        if not _condition_failed(error, condition):
            raise error
        if _was_sent_again(error):
            raise StorageUnavailable(f"whether {what} is unknown: boto3 sent it more than once") from error

    def _encryption(self) -> dict[str, str]:
        wanted = {
            "ServerSideEncryption": self._settings.sse,
            "SSEKMSKeyId": self._settings.kms_key_id,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    # -- many objects ----------------------------------------------------------------------------------------------

    def page(self, folder: str, after: str | None = None, limit: int = _PAGE) -> Page:
        """List up to ``limit`` (at most 1000) objects of a folder after a key, in order."""
        begin = {} if after is None else {"StartAfter": after}
        with self._translating("ListObjectsV2") as client:
            answer = client.list_objects_v2(
                Bucket=self.place.bucket, Prefix=folder, MaxKeys=min(limit, _PAGE), **begin
            )
        found = [
            Listed(entry["Key"], entry["Size"], entry.get("ETag", "")) for entry in answer.get("Contents", ())
        ]
        return Page(found, more=bool(answer.get("IsTruncated")) and bool(found))

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are gone already count as deleted.

        Raises:
            StorageUnavailable: some are left, and the endpoint asks to try again.
            StorageError: some are left, and trying again does not help.
        """
        for begin in range(0, len(keys), _PAGE):
            page = keys[begin : begin + _PAGE]
            try:
                self._delete_page(page)
            except NotSupported:
                self.together([self._deletion(key) for key in page])

    def _delete_page(self, keys: Sequence[str]) -> None:
        with self._translating("DeleteObjects") as client:
            answer = client.delete_objects(
                Bucket=self.place.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
            )
        failures = [
            (str(left.get("Key")), str(left.get("Code")), str(left.get("Message")))
            for left in answer.get("Errors", ())
        ]
        error = partly_deleted(failures, self.place)
        if error is not None:
            raise error

    def _deletion(self, key: str) -> Callable[[], None]:
        def delete() -> None:
            with self._translating("DeleteObject") as client:
                client.delete_object(Bucket=self.place.bucket, Key=key)

        return delete

    def together(self, calls: Sequence[Callable[[], T]]) -> list[T]:
        """Make calls side by side, the first one in this thread; return all answers in order.

        Raises:
            Closed: the driver was closed meanwhile.
        """
        if len(calls) == 1:
            return [calls[0]()]
        from concurrent.futures import CancelledError

        pool = self._pool()
        try:
            others = [pool.submit(call) for call in calls[1:]]
            return [calls[0](), *(other.result() for other in others)]
        except (CancelledError, RuntimeError) as error:
            if self._closed:
                raise self._closing() from error
            raise

    # -- the connection --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close this process's client and threads; requests under way end as they would."""
        self._closed = True
        session = self._sessions.peek()
        if session is None:
            return
        with session.lock:
            if session.pool is not None:
                session.pool.shutdown(wait=False, cancel_futures=True)
            if session.client is not None and self._given is None:
                session.client.close()
            session.client = session.pool = None

    def _closing(self) -> Closed:
        return Closed(f"the S3 driver for {self.place} was closed")

    def _pool(self) -> ThreadPoolExecutor:
        session = self._sessions.get()
        with session.lock:
            if self._closed:
                raise self._closing()
            if session.pool is None:
                from concurrent.futures import ThreadPoolExecutor

                session.pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="milepost-s3")
            return session.pool

    @contextmanager
    def _translating(self, operation: str) -> Iterator[Any]:
        """Give the client for one request, and translate what the request raises."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError  # a body cut off by TLS is not always translated by botocore

        try:
            yield self._client()
        except (ClientError, BotoCoreError, Boto3Error, ResponseParserError, HTTPError) as error:
            raise translated(error, operation, self.place) from error

    def _client(self) -> Any:
        session = self._sessions.get()
        with session.lock:
            if self._closed:
                raise self._closing()
            if session.client is None:
                session.client = self._made() if self._given is None else self._checked()
            return session.client

    def _checked(self) -> Any:
        """Return the client that was given, in the process that used it first: its sockets are that process's."""
        if self._used_in is None:
            self._used_in = os.getpid()
        elif self._used_in != os.getpid():
            raise StorageError(
                f"the boto3 client for {self.place} was used before a fork: give each process a client of its own, or "
                f"let the driver make it (s3://…)"
            )
        return self._given

    def _made(self) -> Any:
        import boto3
        from botocore.config import Config

        settings = self._settings
        options: dict[str, Any] = {}
        if settings.endpoint_url is not None:
            # Other endpoints than AWS often lack a name per bucket, and the newer checksums.
            options = {
                "s3": {"addressing_style": "path"},
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        config = Config(
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.timeout,
            retries={"mode": "standard", "total_max_attempts": settings.attempts},
            max_pool_connections=_POOL_CONNECTIONS,
            tcp_keepalive=True,
            user_agent_extra=_AGENT,
            **options,
        )
        try:
            with _making.get():
                # A session of its own: the default one's credentials may be locked by a thread that a fork left behind.
                return boto3.Session(profile_name=settings.profile).client(
                    "s3", endpoint_url=settings.endpoint_url, region_name=settings.region, config=config
                )
        except ValueError as error:
            raise StorageError(f"boto3 cannot make a client for {self.place}: {error}") from error


def _was_sent_again(error: Any) -> bool:
    """Tell whether boto3 had sent the same request before: then it may be its own object that is in the way."""
    return bool(error.response.get("ResponseMetadata", {}).get("RetryAttempts"))


def _condition_failed(error: Exception, condition: dict[str, str]) -> bool:
    """Tell whether a conditional write found another state: 412; or 404, where the object to replace is gone."""
    if not condition:
        return False
    gone = "IfMatch" in condition and code_of(error) != "NoSuchBucket"
    return status_of(error) == _FAILED or (gone and status_of(error) == _ABSENT)
