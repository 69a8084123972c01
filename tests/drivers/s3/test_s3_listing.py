"""Listing heads again and again: only what changed is read."""

from __future__ import annotations

import pytest

import milepost
from milepost.checkpoint import Head, HeadQuery, Status, Swap
from mock_s3 import mocked


def head(thread, version, status=Status.RUNNING):
    return Head(
        thread=thread,
        version=version,
        status=status,
        workflow="w",
        run=0,
        nonce=str(version),
        updated="2026-01-01",
    )


@pytest.fixture
def driver():
    with mocked() as url, milepost.open_checkpointer(url) as opened:
        yield opened


def test_a_second_listing_reads_what_changed_and_nothing_else(driver, monkeypatch):
    for number in range(12):
        assert driver.swap_head(Swap(head=head(f"t{number:02}", 1), expected=None))
    query = HeadQuery(statuses=(Status.RUNNING,))
    first, _ = driver.list_heads(query)
    assert [each.thread for each in first] == [f"t{number:02}" for number in range(12)]
    read, get = [], driver._client.get
    monkeypatch.setattr(driver._client, "get", lambda key: read.append(key) or get(key))
    assert driver.list_heads(query) == (first, None)
    assert read == []
    assert driver.swap_head(Swap(head=head("t03", 2, Status.DONE), expected=1))
    assert driver.swap_head(Swap(head=head("t12", 1), expected=None))
    driver.delete("t05")
    read.clear()
    again, _ = driver.list_heads(query)
    assert [each.thread for each in again] == [f"t{n:02}" for n in range(13) if n not in {3, 5}]
    assert len(read) <= 3
