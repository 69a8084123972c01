"""The checkpointer for S3: a batch is an object written once, a head is an object changed by compare-and-set."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from milepost.checkpoint import Capability, Checkpointer, Head, HeadPage
from milepost.errors import Closed, PositionTaken, StorageError
from milepost_s3 import _bucket
from milepost_s3._client import PARALLEL, Listed, Settings
from milepost_s3._heads import Heads
from milepost_s3._layout import STUB, Entry, position_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.checkpoint import HeadQuery, Swap
    from milepost.url import URL


class S3Checkpointer(Checkpointer):
    """Keeps journals and heads as objects of one bucket that any number of hosts may share.

    ``prefix`` is what all keys begin with. ``client`` is a boto3 S3 client to use instead of one made here; it is not
    closed, it brings its own endpoint, region and time-outs, and a forked process needs another. Credentials are
    boto3's own affair: environment, profile, or the machine's role.

    ``endpoint_url`` names an endpoint other than AWS, addressed in path style. ``sse`` and ``kms_key_id`` are sent with
    each write. ``timeout`` and ``connect_timeout`` are in seconds, for one sending; ``attempts`` is how often boto3
    sends a request before milepost hears of it.

    Raises:
        InvalidURL: an argument has no such value.
    """

    DRIVER_API = 1
    options = Settings
    capabilities = frozenset({Capability.DURABLE, Capability.MULTI_PROCESS, Capability.MULTI_HOST})
    max_batch_bytes: int | None = 2**30

    def __init__(  # noqa: PLR0913 - the keywords are the options of the URL
        self,
        bucket: str,
        prefix: str = "",
        *,
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
        self._client, self._keys = self._bucket.client, self._bucket.keys
        self._heads = Heads(self._client, self._keys)

    @classmethod
    def from_url(cls, url: URL) -> S3Checkpointer:
        """Make a driver for ``s3://bucket`` or ``s3://bucket/prefix``.

        Raises:
            InvalidURL: bucket or prefix cannot be, or an option is not understood.
        """
        bucket, prefix, keywords = _bucket.from_url(url)
        return cls(bucket, prefix, **keywords)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self._bucket)!r})"

    # -- hooks -----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._closed:
            raise Closed(f"{self!r} was closed")
        self._bucket.open()

    def _append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        if swap is not None:
            raise StorageError(f"{self!r} cannot change a head together with an append")
        self._open()
        # What was decided before the thread was pruned or deleted must not land in a position that is free again.
        below = position < self._heads.known_floor(thread)
        if below or self._client.create(self._keys.batch(thread, position), data) is None:
            raise PositionTaken(thread_id=thread, position=position)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        if limit <= 0:
            return []
        self._open()
        begin = max(start, self._heads.known_floor(thread))
        while True:
            batches = self._read_on(thread, begin, limit)
            floor = self._floor(thread)  # after the batches: a position that was freed meanwhile is no tail
            if floor <= begin:
                return batches
            begin = floor

    def _read_on(self, thread: str, begin: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Read in windows that grow, so that a short journal costs few requests and a long one few round trips."""
        batches: list[tuple[int, bytes]] = []
        width = 1
        while width > 0:
            tail = begin + len(batches)
            for data in self._client.together(
                [partial(self._batch, thread, position) for position in range(tail, tail + width)]
            ):
                if data == STUB:
                    return batches
                batches.append((begin + len(batches), data))
            width = min(width * 2, PARALLEL, limit - len(batches))
        return batches

    def _tail(self, thread: str, hint: int) -> int:
        self._open()
        begin = max(hint, self._heads.known_floor(thread))
        while True:
            tail = self._first_free(thread, begin)
            floor = self._floor(thread)  # after looking, as in _read
            if floor <= begin:
                return tail
            begin = floor

    def _first_free(self, thread: str, position: int) -> int:
        width = 1
        while True:
            taken = self._client.together(
                [partial(self._is_taken, thread, where) for where in range(position, position + width)]
            )
            if False in taken:
                return position + taken.index(False)
            position, width = position + width, width * 2
            if width > PARALLEL:
                position, width = self._leap(thread, position), 1

    def _leap(self, thread: str, position: int) -> int:
        """Return how far a listing shows the journal to go on without a gap: a hint, checked by the caller."""
        while True:
            page = self._client.page(self._keys.journal(thread), self._keys.batch(thread, position - 1))
            for key, _, _ in page.found:
                if position_of(key) != position:
                    return position
                position += 1
            if not page.more:
                return position

    def _load_head(self, thread: str) -> bytes | None:
        self._open()
        return self._heads.load(thread).head

    def _swap_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        self._open()
        return self._heads.swap(head, data, expected)

    def _list_heads(self, query: HeadQuery, cursor: str | None, limit: int) -> HeadPage:
        self._open()
        folder = self._keys.heads
        after = None if cursor is None else folder + cursor
        found: list[tuple[str, bytes]] = []
        while len(found) <= limit:
            page = self._client.page(folder, after, max(PARALLEL * 4, limit + 1))
            found += self._matching(query, page.found)
            if not page.more:
                break
            after = page.found[-1].key
        more = len(found) > limit
        heads = tuple(data for _, data in found[:limit])
        return HeadPage(heads=heads, cursor=found[limit - 1][0].removeprefix(folder) if more else None)

    def _matching(self, query: HeadQuery, listed: Sequence[Listed]) -> list[tuple[str, bytes]]:
        """Return key and bytes of the heads asked for; one that is gone meanwhile is left out."""
        heads = self._heads.listed(listed)
        return [
            (key, data)
            for key, data in heads
            if data is not None and query.matches(Head.decode(data, thread=f"(at {key})"))
        ]

    def _prune(self, thread: str, before: int, keep: frozenset[int]) -> None:
        self._open()

        def raised(entry: Entry) -> Entry | None:
            if entry.floor >= before:
                return None
            return replace(entry, floor=before)

        self._heads.change(thread, raised)
        self._sweep(thread, before, keep)

    def _delete(self, thread: str, grave: int | None, version: int | None) -> None:
        self._open()

        def buried(entry: Entry) -> Entry | None:
            if grave is None:
                return None
            if entry.version == version:  # nobody has taken it since
                return Entry(floor=max(entry.floor, grave + 1))
            return None if entry.floor > grave else replace(entry, floor=grave + 1)

        floor = self._heads.change(thread, buried).floor
        below = floor if grave is None else grave + 1
        if below:
            # The tombstone becomes a stub: then no later pruning takes it for a batch that may go.
            self._sweep(thread, below, frozenset({below - 1}))

    def _close(self) -> None:
        self._client.close()

    # -- parts -----------------------------------------------------------------------------------------------------

    def _floor(self, thread: str) -> int:
        return self._heads.load(thread).floor

    def _batch(self, thread: str, position: int) -> bytes:
        """Return a batch; where there is none, the same as for a stub."""
        found = self._client.get(self._keys.batch(thread, position))
        return STUB if found is None else found.data

    def _is_taken(self, thread: str, position: int) -> bool:
        return self._client.exists(self._keys.batch(thread, position))

    def _sweep(self, thread: str, before: int, keep: frozenset[int]) -> None:
        """Make stubs of the positions to keep, then delete every other batch before a position; stubs stay."""
        batches = self._below(thread, before)
        for position in sorted(keep & batches.keys()):
            self._client.put(batches[position], STUB)
        self._client.delete([key for position, key in batches.items() if position not in keep])

    def _below(self, thread: str, before: int) -> dict[int, str]:
        """Return the keys of the batches before a position, by position, without stubs."""
        batches: dict[int, str] = {}
        after = None
        while True:
            page = self._client.page(self._keys.journal(thread), after)
            for after, size, _ in page.found:
                position = position_of(after)
                if position is not None and position >= before:
                    return batches
                if position is not None and size:
                    batches[position] = after
            if not page.more:
                return batches
