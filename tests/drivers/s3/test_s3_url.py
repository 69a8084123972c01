"""The spellings of an S3 URL, what its options do, and that no secret is ever shown."""

from __future__ import annotations

import logging
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from milepost.checkpoint import Capability
from milepost.drivers import open_checkpointer
from milepost.errors import InvalidURL, StorageError
from milepost_s3 import CredentialsInvalid, S3Checkpointer
from s3_wire import Wire

if TYPE_CHECKING:
    from s3_wire import Place


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://runs", "runs", ""),
        ("s3://runs/", "runs", ""),
        ("s3://runs/a/b", "runs", "a/b"),
        ("s3://runs/a/b/", "runs", "a/b"),
        ("s3://my.Runs_1/caf%C3%A9%20x", "my.Runs_1", "café x"),
    ],
)
def test_a_url_names_a_bucket_and_a_prefix(url: str, bucket: str, prefix: str) -> None:
    driver = open_checkpointer(url)
    assert isinstance(driver, S3Checkpointer)
    assert (driver.bucket, driver.prefix) == (bucket, prefix)
    assert repr(driver) == f"S3Checkpointer('{bucket}{'/' if prefix else ''}{prefix}')"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://", ["no name of a bucket", "s3://bucket/prefix"]),
        ("s3:///prefix", ["no name of a bucket"]),
        ("s3://key:secret@runs", ["the bucket alone", "***"]),
        ("s3://127.0.0.1:9000/runs", ["endpoint_url="]),
        ("s3://runs/a//b", ["empty"]),
        ("s3://runs/%2e%2e", ["'..'"]),
        ("s3://runs/a%00b", ["control"]),
        ("s3://runs?endpoint=http://x", ["unknown option 'endpoint'", "'endpoint_url'"]),
        ("s3://runs?endpoint_url=localhost:9000", ["http://host"]),
        ("s3://runs?endpoint_url=http://u:canary@x", ["without credentials"]),
        ("s3://runs?sse=DES", ["one of AES256, aws:kms"]),
        ("s3://runs?kms_key_id=x", ["needs sse=aws:kms"]),
        ("s3://runs?timeout=0", ["timeout is over 0"]),
        ("s3://runs?connect_timeout=2h", ["connect_timeout is over 0"]),
        ("s3://runs?attempts=0", ["attempts is between 1 and 20"]),
        ("s3://runs?aws_secret_access_key=canary", ["unknown option"]),
    ],
)
def test_a_wrong_url_is_refused_with_the_right_spelling(url: str, said: list[str]) -> None:
    with pytest.raises(InvalidURL) as caught:
        open_checkpointer(url)
    for part in said:
        assert part in str(caught.value)
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "keywords", [{"sse": "none"}, {"timeout": float("nan")}, {"attempts": 21}, {"prefix": "/a//b"}]
)
def test_a_wrong_keyword_is_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises(InvalidURL):
        S3Checkpointer("runs", **keywords)


def test_the_options_reach_the_client(place: Place) -> None:
    options = "&endpoint_url=http://127.0.0.1:9/x&timeout=7&connect_timeout=500ms&attempts=2"
    client = place.driver(options)._client._client()
    config = client.meta.config
    assert (config.read_timeout, config.connect_timeout, config.retries["total_max_attempts"]) == (
        7.0,
        0.5,
        2,
    )
    assert (client.meta.endpoint_url, client.meta.region_name) == ("http://127.0.0.1:9/x", "us-east-1")
    assert config.s3["addressing_style"] == "path"
    assert "milepost-s3" in config.user_agent_extra


def test_encryption_is_asked_for_with_each_write(place: Place) -> None:
    driver = place.driver("&sse=aws:kms&kms_key_id=my-kms")
    seen: list[dict[str, str]] = []
    client = driver._client._client()
    client.meta.events.register(
        "before-call.s3.PutObject", lambda params, **_: seen.append(dict(params["headers"]))
    )
    driver._append("t", 0, b"x", None)
    assert seen
    for headers in seen:
        assert headers["x-amz-server-side-encryption"] == "aws:kms"
        assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "my-kms"


def test_a_profile_that_does_not_exist_is_a_typed_error(place: Place) -> None:
    with pytest.raises(CredentialsInvalid, match="profile"):
        place.driver("&profile=nowhere").open()


def test_missing_credentials_are_a_typed_error(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(CredentialsInvalid, match="AWS_ACCESS_KEY_ID"):
        place.driver().open()


def test_credentials_are_in_no_repr_error_or_log(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "milepost")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "canary-token")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    driver = place.driver().open()
    wire = Wire(driver)
    shown = [repr(driver), repr(driver._client), str(vars(driver))]
    for status, code in (
        (403, "SignatureDoesNotMatch"),
        (403, "AccessDenied"),
        (400, "ExpiredToken"),
        (503, "SlowDown"),
    ):
        wire.answer("GetObject", status, code)
        with pytest.raises(StorageError) as caught:
            driver._load_head("t")
        shown.append("".join(traceback.format_exception(caught.value)))
    assert "canary" not in "".join([*shown, *(record.getMessage() for record in caplog.records)])


def test_a_client_of_ones_own_is_used_and_left_open(place: Place) -> None:
    client = boto3.client("s3", region_name="us-east-1")
    with S3Checkpointer("milepost", place.prefix, client=client) as driver:
        driver._append("t", 0, b"x", None)
        assert driver._client._client() is client
    client.list_buckets()
    assert place.objects()["journals/t/000000000000"] == b"x"


def test_it_promises_what_s3_can_keep(place: Place) -> None:
    assert place.driver().capabilities == {
        Capability.DURABLE,
        Capability.MULTI_PROCESS,
        Capability.MULTI_HOST,
    }


def test_neither_importing_nor_naming_the_driver_loads_boto3() -> None:
    program = """
import sys
import milepost
driver = milepost.open_checkpointer("s3://bucket/prefix?region=eu-west-1")
repr(driver)
driver.close()
heavy = {"boto3", "botocore", "urllib3", "concurrent.futures.thread"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
