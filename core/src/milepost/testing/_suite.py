"""The contracts on the drivers of one URL: what ``python -m milepost.testing`` lets pytest collect."""

from __future__ import annotations

import pytest

from milepost.testing.contract import CheckpointerContract
from milepost.testing.store_contract import StoreContract

URL = pytest.StashKey[str]()


class TestCheckpointer(CheckpointerContract):
    """Every clause, on a place that may hold other data."""

    make_newer = (
        "a URL does not say how a later version writes: subclass CheckpointerContract for this clause"
    )

    @pytest.fixture
    def url(self, request: pytest.FixtureRequest) -> str:
        """Return the URL of the command line."""
        return request.config.stash[URL]


class TestStore(StoreContract):
    """Every clause, on a place that may hold other data."""

    make_newer = "a URL does not say how a later version writes: subclass StoreContract for this clause"

    @pytest.fixture
    def url(self, request: pytest.FixtureRequest) -> str:
        """Return the URL of the command line."""
        return request.config.stash[URL]
