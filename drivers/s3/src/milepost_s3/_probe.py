"""What is checked once per process: the format below the prefix, and that the endpoint honours conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from milepost.errors import StorageUnavailable
from milepost_s3._errors import ConditionalWritesMissing, NotSupported
from milepost_s3._layout import MARKER, SAMPLE, check_marker

if TYPE_CHECKING:
    from collections.abc import Callable

    from milepost_s3._client import Client

_NO_ETAG: Final = '"00000000000000000000000000000000"'


def probe(client: Client, key: str) -> None:
    """Check or create the marker, then write it again under conditions that do not hold.

    Where the endpoint ignores conditions, the marker is overwritten with the bytes that were there: no harm is done.

    Raises:
        SchemaTooNew: a later version of the driver wrote below this prefix.
        ConditionalWritesMissing: the endpoint does not keep to conditions.
    """
    marker = _marker(client, key)
    _expect_refusal(client, "If-None-Match", lambda: client.create(key, marker))
    _expect_refusal(client, "If-Match", lambda: client.replace(key, marker, _NO_ETAG))


def _marker(client: Client, key: str) -> bytes:
    """Return the bytes of the marker, after writing it where there is none."""
    found = client.get(key)
    if found is None:
        try:
            if client.create(key, MARKER) is not None:
                return MARKER
        except NotSupported as error:
            raise _missing(client, "If-None-Match", "refuses") from error
        found = client.get(key)
    if found is None:
        raise StorageUnavailable(
            f"{client.place}: {key!r} was there and is gone: somebody deletes below this prefix"
        )
    check_marker(found.data, f"{key!r} in {client.place}")
    return found.data


def _expect_refusal(client: Client, header: str, write: Callable[[], str | None]) -> None:
    try:
        done = write()
    except NotSupported as error:
        raise _missing(client, header, "refuses") from error
    if done is not None:
        raise _missing(client, header, "ignores")


def _missing(client: Client, header: str, how: str) -> ConditionalWritesMissing:
    return ConditionalWritesMissing(
        f"{client.place} {how} {header} on PutObject, so it cannot keep two writers from overwriting each other: "
        f"use AWS S3 or an endpoint with conditional writes, such as Ceph RGW"
    )


def deletes_on_conditions(client: Client, key: str) -> bool:
    """Tell whether the endpoint keeps to a condition on DeleteObject: try one that cannot hold, on a sample.

    Where the endpoint ignores it, only the sample is deleted.
    """
    client.put(key, SAMPLE)
    try:
        return not client.remove(key, _NO_ETAG)
    except NotSupported:
        return False
