"""Services of this machine; ``nox -s live`` runs these tests, and nothing else does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from live.rgw import RGW
from live.swift import Swift

if TYPE_CHECKING:
    from collections.abc import Iterator

collect_ignore_glob = [] if "MILEPOST_TEST_LIVE" in os.environ else ["test_*.py"]


@pytest.fixture(scope="session")
def rgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RGW]:
    """Ceph's object gateway, with a bucket."""
    node = RGW(tmp_path_factory.mktemp("rgw")).start()
    node.client().create_bucket(Bucket=node.bucket)
    yield node
    node.stop()


@pytest.fixture(scope="session")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    """Swift, with a bucket."""
    node = Swift(tmp_path_factory.mktemp("swift")).start()
    node.client().create_bucket(Bucket=node.bucket)
    yield node
    node.stop()
