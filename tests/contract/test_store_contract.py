"""Every store keeps every clause: the published contract, on memory, SQLite, S3 and MongoDB, mocked and real."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import mock_mongodb
import mock_s3
from milepost import open_store
from milepost.testing import StoreContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backends import Backends

IN_PROCESS = "the mock is in this process alone"
NO_SCHEMA = "memory has no schema"


class Contract(StoreContract):
    """The contract, on places that go away after the test. ``name`` is what the summary calls the driver."""

    name = ""
    tidy = False


class TestMemoryStore(Contract):
    name = "memory store"
    make_newer = NO_SCHEMA
    backend = "memory"

    @pytest.fixture
    def url(self, backends: Backends, tmp_path: Path) -> Iterator[str]:
        with backends.fresh(self.backend, tmp_path) as url:
            yield url


class TestSQLiteStore(TestMemoryStore):
    name = "sqlite store"
    backend = "sqlite"
    histories = 10

    def make_newer(self, url: str) -> None:
        file = url.removeprefix("sqlite:///").partition("?")[0]
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE milepost_schema SET version = 99")


class _S3:
    def make_newer(self, url: str) -> None:
        with open_store(url).open() as driver:
            driver._client.put(driver._bucket.keys.marker, b'{"format":99}')


class _MongoDB:
    def make_newer(self, url: str) -> None:
        newer = {"$set": {"version": 99}}
        with open_store(url).open() as driver:
            driver._client.use(lambda on: on.schema.update_one({"_id": "store"}, newer))


class TestMockedS3Store(_S3, Contract):
    name = "s3 store, mocked"
    processes = IN_PROCESS
    histories = 3

    @pytest.fixture
    def url(self) -> Iterator[str]:
        with mock_s3.mocked() as url:
            yield url


class TestMockedMongoDBStore(_MongoDB, Contract):
    name = "mongodb store, mocked"
    processes = IN_PROCESS
    histories = 3

    @pytest.fixture
    def url(self) -> Iterator[str]:
        with mock_mongodb.mocked() as url:
            yield url


@pytest.mark.wire
class TestS3Store(_S3, TestMemoryStore):
    name = "s3 store"
    backend = "s3"
    histories = 3


@pytest.mark.wire
class TestMongoDBStore(_MongoDB, TestMemoryStore):
    name = "mongodb store"
    backend = "mongodb"
    histories = 3
