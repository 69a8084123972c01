"""S3 of this process as tests look at it: its objects, and the wire of a driver, where answers can be made to fail."""

from __future__ import annotations

import io
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import boto3
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ConnectionClosedError
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends

from milepost.checkpoint import Abandoned, Batch, Head, Status
from milepost.drivers import open_checkpointer
from milepost.url import URL
from milepost_s3 import S3Store
from mock_s3 import BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from milepost_s3 import S3Checkpointer


def batch(name: str, text: str = "x") -> Batch:
    return Batch(id=name, records=(Abandoned(at="2030-01-01T00:00:00Z", run=text),))


def head(thread: str, version: int = 1, **changes: Any) -> Head:
    fields = {"status": Status.RUNNING, "workflow": "w", "run": 0, "nonce": f"n{version}", "updated": "now"}
    return Head(thread=thread, version=version, **(fields | changes))


class Wire:
    """The requests of a driver's client from here on: operation and key below the prefix, each sending.

    It stands between botocore and moto, which would carry out a request that a ``before-send`` handler has answered.
    """

    def __init__(self, driver: S3Checkpointer | S3Store) -> None:
        self._folder = f"/{driver.prefix}/"
        self.client = driver._client._client()
        self.sent: list[tuple[str, str]] = []
        self._endpoint = self.client._endpoint
        self._events = self._endpoint._event_emitter
        self._endpoint._event_emitter = self
        self._faults: list[Callable[[str, Any], Any]] = []
        self._lost: Counter[str] = Counter()
        self.after: Callable[[str, Any], Any] = lambda operation, request: None
        """Called when a request was carried out and not yet answered."""

    def count(self, *operations: str) -> int:
        """Return how many requests of these kinds were sent; all of them where none is named."""
        return sum(not operations or operation in operations for operation, _ in self.sent)

    def lose_answers(self, operation: str, times: int = 1) -> None:
        """Let the next requests of this kind be carried out, and their answers be lost."""
        self._lost[operation] += times

    def fail(self, operation: str, error: Exception, *, times: int = 1) -> None:
        """Let the next requests of this kind not be carried out, and raise an error."""
        self.intercept(lambda found, request: _raise(error) if found == operation else None, times)

    def answer(self, operation: str, status: int, code: str = "", *, times: int = 1) -> None:
        """Answer the next requests of this kind so, and do not carry them out; without a code, with no body."""
        body = f"<Error><Code>{code}</Code><Message>because</Message></Error>" if code else ""
        self.intercept(lambda found, _: response(status, body) if found == operation else None, times)

    def intercept(self, fault: Callable[[str, Any], Any], times: int = sys.maxsize) -> None:
        """Ask a function for answers, given operation and request; where it returns None, the request goes on."""
        left = [times]

        def limited(operation: str, request: Any) -> Any:
            if not left[0]:
                return None
            left[0] -= 1  # taken before the fault raises, given back where there is none
            answer = fault(operation, request)
            left[0] += answer is None
            return answer

        self._faults.append(limited)

    def emit(self, event: str, **given: Any) -> Any:
        """Pass botocore's events on; before something is sent, faults come first."""
        if not event.startswith("before-send"):
            return self._events.emit(event, **given)
        operation, request = event.rpartition(".")[2], given["request"]
        self.sent.append((operation, unquote(urlsplit(request.url).path).partition(self._folder)[2]))
        for fault in self._faults:
            if (answer := fault(operation, request)) is not None:
                return [(fault, answer)]
        answers = self._events.emit(event, **given)
        self.after(operation, request)
        if self._lost[operation]:
            self._lost[operation] -= 1
            raise ConnectionClosedError(endpoint_url=request.url)
        return answers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._events, name)


def _raise(error: Exception) -> Any:
    raise error


class _Body(io.BytesIO):
    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.getvalue()


def response(status: int, body: str = "") -> AWSResponse:
    """Return an answer as botocore gets it from the wire."""
    return AWSResponse("http://s3/", status, {}, _Body(body.encode()))


class Place:
    """One prefix, and the drivers that were opened on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = urlsplit(url).path.strip("/")
        self.opened: list[S3Checkpointer | S3Store] = []

    def driver(self, options: str = "&attempts=1") -> S3Checkpointer:
        """Return a driver that sends each request once, unless the options say otherwise, and waits for nothing."""
        driver = open_checkpointer(self.url + options)
        driver._pause = lambda seconds: None  # type: ignore[method-assign]
        self.opened.append(driver)
        return driver

    def store(self, options: str = "&attempts=1") -> S3Store:
        """Return a store that sends each request once, unless the options say otherwise, and waits for nothing."""
        store = S3Store.from_url(URL.parse(self.url + options))
        store._pause = lambda seconds: None  # type: ignore[method-assign]
        self.opened.append(store)
        return store

    def objects(self) -> dict[str, bytes]:
        """Return all objects below the prefix, by the rest of their keys."""
        client = boto3.client("s3", region_name="us-east-1")
        found = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{self.prefix}/").get("Contents", [])
        return {
            entry["Key"].removeprefix(f"{self.prefix}/"): client.get_object(Bucket=BUCKET, Key=entry["Key"])[
                "Body"
            ].read()
            for entry in found
        }

    def fill(self, objects: dict[str, bytes]) -> None:
        """Write many objects, by their whole keys, past botocore and its cost."""
        backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        for key, data in objects.items():
            backend.put_object(BUCKET, key, data)

    def put(self, key: str, data: bytes) -> None:
        """Write an object behind the driver's back."""
        boto3.client("s3", region_name="us-east-1").put_object(
            Bucket=BUCKET, Key=f"{self.prefix}/{key}", Body=data
        )
