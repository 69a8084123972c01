"""The contract of checkpointers as one test class, to be subclassed with one fixture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from milepost.testing._appending import Appending
from milepost.testing._deleting import Deleting
from milepost.testing._fencing import Fencing
from milepost.testing._heads import Heads
from milepost.testing._lifetime import Lifetime
from milepost.testing._listing import Listing
from milepost.testing._processes import Processes
from milepost.testing._pruning import Pruning
from milepost.testing._reading import Reading
from milepost.testing.clause import check_final, clause
from milepost.testing.machine import agree_with_model
from milepost.testing.place import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from milepost.checkpoint import Checkpointer


class CheckpointerContract(
    Appending, Fencing, Reading, Heads, Listing, Deleting, Pruning, Lifetime, Processes
):
    """Every clause of the driver contract. Subclass it as ``TestMyDriver`` and give it the fixture ``url``.

    ``url`` returns the URL of a place, or a function that opens a new driver on the same data at each call. The place
    may hold other data: clauses use thread ids of their own, and delete them afterwards.

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
    """Whether clauses delete their threads; not needed where the place goes away after the tests."""

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        check_final(cls, CheckpointerContract, "checkpointer")

    @pytest.fixture
    def url(self) -> str | Callable[[], Checkpointer]:
        """Return the URL of a place, or a function that opens a new driver on the same data. To be overridden."""
        raise NotImplementedError(f"{type(self).__qualname__} needs a fixture `url`")

    @pytest.fixture
    def place(self, url: str | Callable[[], Checkpointer]) -> Iterator[Place]:
        """Give a clause its place, and clean up after it."""
        place = Place.of(url)
        yield place
        place.close(tidy=self.tidy)

    @clause("C90", "histories", why="most faults need a sequence of calls that nobody thought of")
    def test_c90_random_histories_agree_with_the_memory_model(self, place: Place) -> None:
        """Whatever is asked in whatever order, the driver answers as the memory driver of the same capabilities."""
        agree_with_model(place.open, examples=self.histories, steps=self.steps, shrink=self.shrink)
