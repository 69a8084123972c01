"""Swift's S3 interface has no conditional writes: the driver must not work there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from milepost import entrypoint, open_checkpointer
from milepost_s3 import ConditionalWritesMissing

if TYPE_CHECKING:
    from live.swift import Swift


@pytest.fixture
def url(swift: Swift, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", swift.access_key)
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)  # which keeps the credentials that it found first
    return swift.url("refused")


def test_swift_is_refused_at_open(url: str) -> None:
    with open_checkpointer(url) as driver, pytest.raises(ConditionalWritesMissing, match="If-None-Match"):
        driver.open()


def test_nothing_runs_and_nothing_is_written_where_swift_was_not_opened_first(url: str, swift: Swift) -> None:
    executed = []

    @entrypoint(checkpointer=url)
    def flow(_: str) -> None:
        executed.append("flow")

    with pytest.raises(ConditionalWritesMissing):
        flow.invoke("go", thread_id="t")
    assert executed == []
    assert "Contents" not in swift.client().list_objects_v2(Bucket=swift.bucket)
