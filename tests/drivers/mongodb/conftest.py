"""Drivers on a mocked MongoDB, and on a server that speaks its protocol."""

from __future__ import annotations

import pytest

from milepost_mongodb import MongoDBCheckpointer
from mock_mongodb import serving


@pytest.fixture
def mock():
    """A mocked server; every URL that is opened meanwhile leads to it."""
    with serving() as server:
        yield server


@pytest.fixture
def database(mock):
    """The database that the drivers of a test use, behind the driver's back."""
    return mock.client()["app"]


@pytest.fixture
def opened():
    """Make drivers that are closed in the end and do not wait between sendings."""
    made = []

    def make(url="mongodb://h/app", **keywords):
        driver = MongoDBCheckpointer(url, **keywords)
        driver._pause = lambda seconds: None
        made.append(driver)
        return driver

    yield make
    for driver in made:
        driver.close()


@pytest.fixture
def driver(mock, opened):
    """A driver on the mocked server."""
    return opened()


@pytest.fixture
def wire(backends, tmp_path):
    """The URL of a fresh database on a server."""
    with backends.fresh("mongodb", tmp_path) as url:
        yield url


@pytest.fixture
def wired(wire):
    """That database, behind the driver's back."""
    from pymongo import MongoClient

    with MongoClient(wire) as client:
        yield client.get_default_database()
