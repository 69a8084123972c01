"""What every driver is, whatever it keeps: opened when first used, sent again after faults, closed once."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final

from milepost.errors import Closed, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from milepost.url import URL

_RESENDS: Final = (0.05, 0.2, 0.8)


class Capability(StrEnum):
    """What a driver does beyond the required hooks. Declared, never guessed."""

    ATOMIC_HEAD = "atomic-head"
    """``_append`` applies a head swap in the same step as the batch: both or neither."""
    CHECKED_TAIL = "checked-tail"
    """``_append`` refuses, in the same step, any position but the tail."""
    INDEXED_HEADS = "indexed-heads"
    """``_list_heads`` finds matching heads by an index; without it, a listing reads every head."""
    DURABLE = "durable"
    """What was acknowledged survives the process."""
    MULTI_PROCESS = "multi-process"
    """Several processes may use one backend at once."""
    MULTI_HOST = "multi-host"
    """Several hosts may."""
    FILTERS = "filters"
    """A store's ``_scan`` leaves out most of what a filter does not match; without it, all is read and looked at."""
    FULL_TEXT = "full-text"
    """A store's ``_rank`` finds words."""
    VECTORS = "vectors"
    """A store's ``_rank`` finds what is near an embedding."""
    EXPIRY = "expiry"
    """A store finds expired items by an index, or the backend removes them by itself."""


class Backend(ABC):
    """What checkpointers and stores share. Public methods are final; a driver fills in the hooks.

    Hooks are called from any worker thread, also at the same time. They translate what their backend raises into
    :class:`~milepost.errors.StorageError` and its subclasses: :class:`StorageUnavailable` when the outcome is
    unknown or the backend cannot now (time-out, throttling, 5xx; the identical call is sent again), anything else
    when trying again cannot help. They never log or show secrets.

    Nothing opens or connects before the first use; ``close()`` may be called twice; after a fork a driver opens
    again by itself (:class:`milepost.fork.PerProcess`).
    """

    DRIVER_API: ClassVar[int] = 1
    """The version of the contract that the driver was written for."""

    capabilities: frozenset[Capability] = frozenset()
    """What this driver can do beyond the required hooks; may depend on its settings."""

    options: ClassVar[Any] = None
    """None, or the class that :meth:`from_url` gives to :meth:`URL.options <milepost.url.URL.options>`; its
    fields are the options of the URL. ``milepost drivers --verbose`` lists them with their types and defaults."""

    options_prefix: ClassVar[str] = ""
    """What stands before the name of each option in a URL that carries somebody else's options, too."""

    _closed = False

    def open(self) -> Self:
        """Connect and check the schema now, instead of at the first use.

        Raises:
            SchemaTooNew: the data was written by a later version.
            Closed: the driver was closed.
        """
        self._retrying(self._open)
        return self

    def close(self) -> None:
        """Close what this driver opened. Later calls raise :class:`~milepost.errors.Closed`."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- for drivers: hooks ------------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def from_url(cls, url: URL) -> Self:
        """Make a driver from a parsed URL; do not connect.

        Raises:
            InvalidURL: an option or a part is not understood.
        """

    def _open(self) -> None:
        """Connect and check or create the schema. Idempotent, thread-safe, safe for several processes at once."""

    def _close(self) -> None:
        """Release connections and files."""

    # -- helpers -------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"{self!r} was closed")

    def _sendings(self) -> Iterator[bool]:
        """Yield for each time that a call may be sent, after a pause; True where a fault may be answered by another."""
        for delay in _RESENDS:
            self._check_open()
            yield True
            self._pause(delay)
        self._check_open()
        yield False

    def _retrying(self, hook: Any, *args: Any) -> Any:
        """Call a hook whose repetition is harmless, again after a fault."""
        for again in self._sendings():
            try:
                return hook(*args)
            except StorageUnavailable:
                if not again:
                    raise
        raise AssertionError  # pragma: no cover - the last sending returns or raises

    def _pause(self, seconds: float) -> None:
        threading.Event().wait(seconds)
