"""The contract of stores as one test class, to be subclassed with one fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from milepost.testing._items_found import Finding
from milepost.testing._items_kept import Keeping
from milepost.testing._items_living import Living
from milepost.testing._items_shared import Sharing
from milepost.testing.clause import check_final, clause
from milepost.testing.store_machine import agree_with_store_model
from milepost.testing.store_place import StorePlace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from milepost.store import Store


class StoreContract(Keeping, Finding, Living, Sharing):
    """Every clause of the contract of stores. Subclass it as ``TestMyStore`` and give it the fixture ``url``.

    ``url`` returns the URL of a place, or a function that opens a new driver on the same data at each call. The place
    may hold other data: clauses work below a label of their own, and delete what is there afterwards.

    ``make_newer`` is a method that takes the URL (or function) and makes the place look as if a later version of the
    driver had written it; or a string that says why that cannot be. One of both must be there.

    A clause cannot be overridden or taken away: a driver either keeps the contract or it does not.
    """

    make_newer: ClassVar[Any] = None
    """``def make_newer(self, url)``, or the reason why there is none."""
    processes: ClassVar[str] = ""
    """Why other processes cannot reach the place, for a mock inside the test process; empty where they can."""
    histories: ClassVar[int] = 20
    """How many random histories the model and the driver are compared in, each of up to ``steps`` calls."""
    steps: ClassVar[int] = 30
    shrink: ClassVar[bool] = True
    """Whether a history that differs is made as short as can be before it is shown."""
    tidy: ClassVar[bool] = True
    """Whether clauses delete their items; not needed where the place goes away after the tests."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        check_final(cls, StoreContract, "store")

    @pytest.fixture
    def url(self) -> str | Callable[[], Store]:
        """Return the URL of a place, or a function that opens a new driver on the same data. To be overridden."""
        raise NotImplementedError(f"{type(self).__qualname__} needs a fixture `url`")

    @pytest.fixture
    def place(self, url: str | Callable[[], Store]) -> Iterator[StorePlace]:
        """Give a clause its place, and clean up after it."""
        place = StorePlace.of(url)
        yield place
        place.close(tidy=self.tidy)

    @clause("S90", "histories", why="most faults need a sequence of calls that nobody thought of")
    def test_s90_random_histories_agree_with_the_memory_model(self, place: StorePlace) -> None:
        """Whatever is asked in whatever order, the driver answers as the memory store."""
        agree_with_store_model(place.open, examples=self.histories, steps=self.steps, shrink=self.shrink)
