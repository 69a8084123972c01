"""The store for S3: an item is an object, changed by compare-and-set; listing a prefix is how items are found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from milepost.backend import Capability
from milepost.errors import Closed
from milepost.store import Store
from milepost_s3 import _bucket
from milepost_s3._client import Settings
from milepost_s3._items import Items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.items import Change, StoredItem
    from milepost.scans import Scan
    from milepost.store import IndexConfig, TTLConfig
    from milepost.url import URL


class S3Store(Store):
    """Keeps items as objects of one bucket that any number of hosts may share, also with checkpointers.

    Arguments are those of :class:`~milepost_s3.S3Checkpointer`, and ``ttl`` is how long items live. There is no
    ``index=``: S3 finds nothing by meaning, nor by words. What expired is removed by ``sweep_ttl()``.

    Raises:
        InvalidURL: an argument has no such value.
        InvalidIndex: ``ttl`` is malformed.
        SearchUnsupported: there is an ``index``.
    """

    DRIVER_API = 1
    options = Settings
    capabilities = frozenset({Capability.DURABLE, Capability.MULTI_PROCESS, Capability.MULTI_HOST})
    max_item_bytes: int | None = 2**30

    def __init__(  # noqa: PLR0913 - the keywords are the options of the URL, and those of every store
        self,
        bucket: str,
        prefix: str = "",
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        client: Any = None,
        endpoint_url: str | None = None,
        region: str | None = None,
        profile: str | None = None,
        sse: Literal["AES256", "aws:kms"] | None = None,
        kms_key_id: str | None = None,
        timeout: float = 20.0,
        connect_timeout: float = 5.0,
        attempts: int = 3,
    ) -> None:
        settings = Settings(
            endpoint_url=endpoint_url,
            region=region,
            profile=profile,
            sse=sse,
            kms_key_id=kms_key_id,
            timeout=timeout,
            connect_timeout=connect_timeout,
            attempts=attempts,
        )
        self._bucket = _bucket.Bucket(bucket, prefix, settings, client)
        self.bucket, self.prefix = self._bucket.name, self._bucket.prefix
        self._client = self._bucket.client
        self._items = Items(self._client, self._bucket.keys)
        super().__init__(index=index, ttl=ttl)

    @classmethod
    def from_url(cls, url: URL) -> S3Store:
        """Make a driver for ``s3://bucket`` or ``s3://bucket/prefix``, with the options of the checkpointer.

        Raises:
            InvalidURL: bucket or prefix cannot be, or an option is not understood.
        """
        bucket, prefix, keywords = _bucket.from_url(url)
        return cls(bucket, prefix, **keywords)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._bucket)!r})"

    def _open(self) -> None:
        if self._closed:
            raise Closed(f"{self!r} was closed")
        self._bucket.open()

    def _load(self, addresses: Sequence[str]) -> Sequence[StoredItem | None]:
        self._open()
        return self._items.load(addresses)

    def _swap(self, changes: Sequence[Change]) -> Sequence[bool]:
        self._open()
        return self._items.change(changes)

    def _scan(self, scan: Scan) -> Sequence[StoredItem]:
        self._open()
        return self._items.scan(scan)

    def _close(self) -> None:
        self._client.close()
