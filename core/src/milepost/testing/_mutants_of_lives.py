"""Broken drivers that end badly, tell secrets, or claim what they cannot do."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, ClassVar, cast

from milepost.checkpoint import Capability
from milepost.errors import StorageError
from milepost.testing._mutant import MOMENT, Mutant

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from milepost.url import URL


class StaysOpenAfterWith(Mutant):
    """Does not close at the end of a with-block."""

    caught_by: ClassVar[tuple[str, ...]] = ("C70",)

    def __exit__(self, *_: object) -> None:
        pass


class ClosesNothing(Mutant):
    """Works on after it was closed."""

    caught_by: ClassVar[tuple[str, ...]] = ("C70", "C71")

    def _check_open(self) -> None:
        pass


class BreaksUnderItsReaders(Mutant):
    """Raises what its client raises when it is closed under a reader."""

    caught_by: ClassVar[tuple[str, ...]] = ("C72",)

    def _read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        threading.Event().wait(MOMENT)
        if self._closed:
            raise OSError("bad file descriptor")
        return super()._read(thread, start, limit)


class MigratesAlone(Mutant):
    """Fails to open while another one opens."""

    caught_by: ClassVar[tuple[str, ...]] = ("C73",)
    migrating: ClassVar[Any] = threading.Lock()

    def _open(self) -> None:
        if not self.migrating.acquire(blocking=False):
            raise StorageError("database is locked")
        try:
            threading.Event().wait(MOMENT * 5)
        finally:
            self.migrating.release()


class LeavesAThread(Mutant):
    """Starts a monitor that does not hear of the end."""

    caught_by: ClassVar[tuple[str, ...]] = ("C74",)

    def __init__(self, **options: bool) -> None:
        super().__init__(**options)
        threading.Thread(target=threading.Event().wait, args=(1.0,), daemon=True).start()


class ShowsItsURL(Mutant):
    """Shows where it is connected to, and how."""

    caught_by: ClassVar[tuple[str, ...]] = ("C75",)
    _url = ""

    @classmethod
    def from_url(cls, url: URL) -> Self:
        """Make a driver, and remember the whole URL."""
        made = cast("Self", super().from_url(url))
        made._url = url.reveal()
        return made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"


class ReadsNewerSchemas(Mutant):
    """Works on what a later version wrote."""

    caught_by: ClassVar[tuple[str, ...]] = ("C76",)
    schemas: ClassVar[dict[str, int]] = {}


class ClaimsToBeShared(Mutant):
    """Declares what memory cannot do."""

    caught_by: ClassVar[tuple[str, ...]] = ("C80", "C81", "C82")

    def __init__(self, **options: bool) -> None:
        super().__init__(**options)
        self.capabilities |= {Capability.MULTI_PROCESS, Capability.DURABLE}
