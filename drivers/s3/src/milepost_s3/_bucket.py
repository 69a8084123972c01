"""One prefix of one bucket, as checkpointers and stores open it: arguments checked, the endpoint probed once."""

from __future__ import annotations

import re
import threading
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from milepost.errors import InvalidURL
from milepost.fork import PerProcess
from milepost.url import unquote
from milepost_s3._client import Client, Settings
from milepost_s3._layout import Keys, check_prefix
from milepost_s3._probe import probe

if TYPE_CHECKING:
    from milepost.url import URL

_MAX_SECONDS: Final = 3600.0
_MAX_ATTEMPTS: Final = 20
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}\Z")
_ENDPOINT = re.compile(r"https?://[^/@?#\s]+(/[^@?#\s]*)?\Z")


class _Opening:
    """Whether one process has checked what is below the prefix."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.done = False


class Bucket:
    """The bucket of one driver, and the prefix that is the driver's. ``given`` is a boto3 client that the user brought.

    Raises:
        InvalidURL: an argument has no such value.
    """

    def __init__(self, name: str, prefix: str, settings: Settings, given: Any = None) -> None:
        _check(name, settings)
        self.name = name
        self.prefix = check_prefix(prefix)
        self.client = Client(name, settings, given=given)
        self.keys = Keys(self.prefix)
        self.openings = PerProcess(_Opening)

    def __str__(self) -> str:
        return f"{self.name}/{self.prefix}" if self.prefix else self.name

    def open(self) -> None:
        """Check format and endpoint, once per process."""
        opening = self.openings.get()
        if opening.done:
            return
        with opening.lock:
            if not opening.done:
                probe(self.client, self.keys.marker)
                opening.done = True


def from_url(url: URL) -> tuple[str, str, dict[str, Any]]:
    """Return the bucket, the prefix and the keywords that ``s3://bucket/prefix?…`` means.

    Raises:
        InvalidURL: the URL names more than a bucket, or an option is not understood.
    """
    options = url.options(Settings)
    if "@" in url.netloc or ":" in url.netloc:
        raise InvalidURL(
            f"{str(url)!r}: after s3:// comes the bucket alone; credentials are boto3's affair (environment, "
            f"profile=…), another server is endpoint_url=…"
        )
    return url.netloc, unquote(url.path), asdict(options)


def _check(bucket: str, settings: Settings) -> None:
    """Check what can be checked without asking anybody.

    Raises:
        InvalidURL: something has no such value.
    """
    if not _BUCKET.match(bucket):
        raise InvalidURL(f"{bucket!r} is no name of a bucket: write s3://bucket or s3://bucket/prefix")
    if settings.endpoint_url is not None and not _ENDPOINT.match(settings.endpoint_url):
        raise InvalidURL(
            "endpoint_url is http://host or https://host, with a port or path, without credentials"
        )
    if settings.sse not in (None, "AES256", "aws:kms"):
        raise InvalidURL(f"sse is 'AES256' or 'aws:kms', not {settings.sse!r}")
    if settings.kms_key_id is not None and settings.sse != "aws:kms":
        raise InvalidURL("kms_key_id needs sse=aws:kms")
    for name in ("timeout", "connect_timeout"):
        if not 0 < getattr(settings, name) <= _MAX_SECONDS:
            raise InvalidURL(
                f"{name} is over 0 and up to {_MAX_SECONDS:g} seconds, not {getattr(settings, name)!r}"
            )
    if not 1 <= settings.attempts <= _MAX_ATTEMPTS:
        raise InvalidURL(f"attempts is between 1 and {_MAX_ATTEMPTS}, not {settings.attempts!r}")
