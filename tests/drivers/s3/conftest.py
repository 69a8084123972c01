"""A place in the S3 of this process, a driver there, and that driver's wire."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from mock_s3 import mocked
from s3_wire import Place, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from milepost_s3 import S3Checkpointer, S3Store


@pytest.fixture
def place() -> Iterator[Place]:
    with mocked() as url, mock.patch("botocore.endpoint.time", SimpleNamespace(sleep=lambda seconds: None)):
        made = Place(url)
        yield made
        for driver in made.opened:
            driver.close()


@pytest.fixture
def driver(place: Place) -> S3Checkpointer:
    """A driver that has checked its endpoint."""
    return place.driver().open()


@pytest.fixture
def wire(driver: S3Checkpointer) -> Wire:
    """What goes over the wire of ``driver``, its opening left out."""
    return Wire(driver)


@pytest.fixture
def store(place: Place) -> S3Store:
    """A store that has checked its endpoint."""
    return place.store().open()


@pytest.fixture
def store_wire(store: S3Store) -> Wire:
    """What goes over the wire of ``store``, its opening left out."""
    return Wire(store)
