"""What is rare: a client from before a fork, a driver closed meanwhile, heads that never hold still."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import CredentialRetrievalError, InvalidConfigError
from botocore.response import StreamingBody
from urllib3.exceptions import SSLError

from milepost.checkpoint import HeadQuery, Swap
from milepost.errors import Closed, StorageError, StorageUnavailable
from milepost_s3 import S3Checkpointer
from milepost_s3 import _client as s3_client
from milepost_s3 import _heads as s3_heads
from s3_wire import Place, Wire, batch, head

if TYPE_CHECKING:
    from milepost_s3._client import Client


def raw(driver: S3Checkpointer) -> Client:
    return driver._client


def test_a_client_that_was_given_is_refused_after_a_fork(
    place: Place, driver: S3Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = S3Checkpointer(driver.bucket, driver.prefix, client=raw(driver)._client())
    given.append("t", 0, batch("a"))
    given.append("t", 1, batch("b"))
    here = os.getpid()
    monkeypatch.setattr(s3_client.os, "getpid", lambda: here + 1)
    with pytest.raises(StorageError, match="before a fork"):
        given.tail("t")


def test_each_driver_has_a_boto3_session_of_its_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    place.driver().append("t", 0, batch("a"))
    assert boto3.DEFAULT_SESSION is None, "a fork would copy the locks of a session that others use"


def test_a_body_that_tls_cuts_off_is_unavailability(
    driver: S3Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.append("t", 0, batch("a"))

    def read(*_: Any, **__: Any) -> bytes:
        raise SSLError("bad record mac")

    monkeypatch.setattr(StreamingBody, "read", read)
    with pytest.raises(StorageUnavailable, match="did not answer GetObject: SSLError"):
        driver.at("t", 0)


def test_reading_that_is_cut_short_by_closing_says_closed(
    driver: S3Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = raw(driver)
    pool = client._pool()
    pool.shutdown()
    with pytest.raises(RuntimeError):
        client.together([int, int])
    monkeypatch.setattr(client, "_pool", lambda: pool)
    driver.close()
    with pytest.raises(Closed):
        client.together([int, int])
    with pytest.raises(Closed):
        driver._open()


def test_a_pool_is_not_made_by_a_closed_client(driver: S3Checkpointer) -> None:
    driver.close()
    with pytest.raises(Closed):
        raw(driver)._pool()
    driver._close()


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (CredentialRetrievalError(provider="p", error_msg="no"), StorageUnavailable),
        (InvalidConfigError(error_msg="no"), StorageError),
    ],
)
def test_what_boto3_cannot_send_is_a_storage_error(
    driver: S3Checkpointer, wire: Wire, error: Exception, becomes: type[StorageError]
) -> None:
    wire.fail("GetObject", error, times=99)
    with pytest.raises(becomes, match="boto3 could not") as caught:
        driver.load_head("t")
    assert type(caught.value) is becomes


def test_a_marker_that_is_there_and_gone_is_reported(
    place: Place, driver: S3Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = place.driver()
    monkeypatch.setattr(raw(other), "create", lambda key, data: None)
    monkeypatch.setattr(raw(other), "get", lambda key: None)
    with pytest.raises(StorageUnavailable, match="somebody deletes"):
        other.open()


def test_nothing_is_asked_where_no_batch_is_wanted(driver: S3Checkpointer, wire: Wire) -> None:
    assert driver._read("t", 0, 0) == []
    assert wire.sent == []


def test_a_listing_goes_on_over_its_pages_and_ends(driver: S3Checkpointer) -> None:
    threads = [f"t{number:03}" for number in range(70)]
    for thread in threads:
        assert driver.swap_head(Swap(head=head(thread), expected=None))
    listed, cursor = driver.list_heads(limit=100)
    assert ([found.thread for found in listed], cursor) == (threads, None)
    first, cursor = driver.list_heads(HeadQuery(workflow="w"), limit=66)
    rest, end = driver.list_heads(HeadQuery(workflow="w"), cursor=cursor, limit=66)
    assert ([found.thread for found in (*first, *rest)], end) == (threads, None)
    assert driver.list_heads(HeadQuery(workflow="other"), limit=5) == ([], None)


def test_a_gap_in_a_listing_is_where_the_tail_may_be(driver: S3Checkpointer) -> None:
    for position in (*range(40), *range(41, 44)):
        driver._append("t", position, b"{}", None)
    assert driver._leap("t", 20) == 40
    assert driver.tail("t") == 40


def test_a_thread_that_was_started_again_keeps_its_head_when_it_is_buried(driver: S3Checkpointer) -> None:
    driver.append("t", 0, batch("a"))
    assert driver.swap_head(Swap(head=head("t", 7), expected=None))
    driver._delete("t", 0, 6)
    assert (driver.load_head("t"), driver.tail("t")) == (head("t", 7), 1)
    driver._delete("t", 0, 6)  # the floor is above the grave: it was done before
    assert driver.load_head("t") == head("t", 7)


def test_the_later_of_two_deletions_at_once_removes_the_head(driver: S3Checkpointer) -> None:
    driver.append("t", 0, batch("a"))
    assert driver.swap_head(Swap(head=head("t", 7), expected=None))
    driver._delete("t", 0, 6)
    driver._delete(
        "t", 0, 7
    )  # above the grave is the floor, and yet the head is the one that this deletion took
    assert (driver.load_head("t"), driver.tail("t")) == (None, 1)


def test_a_head_that_never_holds_still_is_reported(
    driver: S3Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert driver.swap_head(Swap(head=head("t"), expected=None))
    monkeypatch.setattr(driver._heads, "_write", lambda *_: False)
    with pytest.raises(StorageUnavailable, match="changes too fast"):
        driver.prune("t", 3)
    with pytest.raises(StorageUnavailable, match="changes too fast"):
        driver.swap_head(Swap(head=head("t", 2), expected=1))


def test_few_threads_are_remembered(driver: S3Checkpointer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_heads, "_REMEMBERED", 2)
    driver.prune("a", 5)
    for thread in ("b", "c"):
        driver.load_head(thread)
    assert (driver._heads.known_floor("a"), driver.tail("a")) == (0, 5)
