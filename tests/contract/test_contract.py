"""Every driver keeps every clause: the published contract, on memory, SQLite, S3 and MongoDB, mocked and real."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import mock_mongodb
import mock_s3
from milepost import open_checkpointer
from milepost.testing import CheckpointerContract

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from backends import Backends

IN_PROCESS = "the mock is in this process alone"
NO_SCHEMA = "memory has no schema"


class Contract(CheckpointerContract):
    """The contract, on places that go away after the test. ``name`` is what the summary calls the driver."""

    name = ""
    tidy = False


class TestMemory(Contract):
    name = "memory"
    make_newer = NO_SCHEMA

    @pytest.fixture
    def url(self, backends: Backends, tmp_path: Path) -> Iterator[str]:
        with backends.fresh(self.name, tmp_path) as url:
            yield url


class TestMemorySplit(TestMemory):
    name = "memory-split"


class TestSQLite(TestMemory):
    name = "sqlite"
    histories = 10

    def make_newer(self, url: str) -> None:
        file = url.removeprefix("sqlite:///").partition("?")[0]
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute("UPDATE milepost_schema SET version = 99")


class _S3:
    def make_newer(self, url: str) -> None:
        with open_checkpointer(url).open() as driver:
            driver._client.put(driver._keys.marker, b'{"format":99}')


class _MongoDB:
    def make_newer(self, url: str) -> None:
        newer = {"$set": {"version": 99}}
        with open_checkpointer(url).open() as driver:
            driver._client.use(lambda on: on.schema.update_one({"_id": "checkpointer"}, newer))


class TestMockedS3(_S3, Contract):
    name = "s3, mocked"
    processes = IN_PROCESS
    histories = 3
    long_journal = 300

    @pytest.fixture
    def url(self) -> Iterator[str]:
        with mock_s3.mocked() as url:
            yield url


class TestMockedMongoDB(_MongoDB, Contract):
    name = "mongodb, mocked"
    processes = IN_PROCESS
    histories = 3
    long_journal = 300

    @pytest.fixture
    def url(self) -> Iterator[str]:
        with mock_mongodb.mocked() as url:
            yield url


@pytest.mark.wire
class TestS3(_S3, TestMemory):
    name = "s3"
    histories = 3
    long_journal = 1100  # more than a listing's page


@pytest.mark.wire
class TestMongoDB(_MongoDB, TestMemory):
    name = "mongodb"
    histories = 3
