"""Credentials that are nobody's, and the storage servers of the test session."""

from __future__ import annotations

import functools
import gc
import os

import botocore.session
import pytest

from backends import Backends
from servers import CREDENTIALS
from tally import pytest_terminal_summary, tally

SEARCHES = {"property", "model"}
"""The folders whose tests search at length: they are not measured, which takes twice as long."""

__all__ = ["backends", "pytest_terminal_summary", "tally"]


def pytest_configure(config):
    """Keep boto3 from whatever credentials and settings this machine has."""
    os.environ.update(CREDENTIALS)
    os.environ.pop("AWS_PROFILE", None)
    # The description of S3 is read once for all tests: that is most of what a client costs.
    botocore.session.create_loader = functools.cache(botocore.session.create_loader)


def pytest_collection_modifyitems(items):
    """Mark what searches at length."""
    for item in items:
        if item.path.parent.name in SEARCHES:
            item.add_marker("search")


def pytest_collection_finish():
    """Let the garbage collector pass over what stays until the end, which is most of what there is."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def backends(tmp_path_factory):
    """Whatever keeps journals, as URLs of fresh places."""
    given = Backends(tmp_path_factory.mktemp("backends"))
    yield given
    given.stop()
