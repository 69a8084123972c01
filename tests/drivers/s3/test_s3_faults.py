"""Answers that are lost, refused, empty or wrong: each ends as the error that says what to do, or as none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError, ReadTimeoutError

from milepost.checkpoint import Swap
from milepost.drivers import open_checkpointer
from milepost.errors import (
    Corrupt,
    PositionTaken,
    SchemaTooNew,
    StorageError,
    StorageUnavailable,
)
from milepost_s3 import AccessDenied, BucketMissing, ConditionalWritesMissing, CredentialsInvalid
from s3_wire import Wire, batch, head, response

if TYPE_CHECKING:
    from milepost_s3 import S3Checkpointer
    from s3_wire import Place

URL = "http://s3/"
OPERATIONS = ["GetObject", "PutObject", "ListObjectsV2", "HeadObject", "DeleteObjects"]
LOST = [
    ReadTimeoutError(endpoint_url=URL),
    ConnectTimeoutError(endpoint_url=URL),
    EndpointConnectionError(endpoint_url=URL),
]


def ids(driver: S3Checkpointer, thread: str = "t") -> list[str]:
    return [found.id for _, found in driver.read(thread)]


# -- answers that are lost, and those that ask to try again --------------------------------------------------------


@pytest.mark.parametrize(("attempts", "sendings"), [(1, 2), (3, 3)])
def test_an_append_whose_answer_was_lost_is_recognised(place: Place, attempts: int, sendings: int) -> None:
    """Where it is boto3 that sends again, milepost does too: only then does it know that it was not the first time."""
    driver = place.driver(f"&attempts={attempts}").open()
    wire = Wire(driver)
    wire.lose_answers("PutObject")
    driver.append("t", 0, batch("s-1"))
    assert ids(driver) == ["s-1"]
    assert wire.count("PutObject") == sendings


def test_what_boto3_sent_again_to_a_position_that_was_freed_is_unknown(place: Place) -> None:
    driver = place.driver("&attempts=3").open()
    driver.append("t", 0, batch("s-0"))
    other = place.driver().open()
    wire = Wire(driver)
    wire.lose_answers("PutObject")
    wire.after = lambda operation, _: other.prune("t", 2, keep={1}) if operation == "PutObject" else None
    with pytest.raises(StorageUnavailable, match="unknown"):
        driver.append("t", 1, batch("s-1"))


def test_a_lost_answer_does_not_hide_a_rival(driver: S3Checkpointer, wire: Wire) -> None:
    driver.append("t", 0, batch("rival"))
    wire.fail("PutObject", LOST[0])
    with pytest.raises(PositionTaken):
        driver.append("t", 0, batch("s-1"))
    assert ids(driver) == ["rival"]


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_swap_whose_answer_was_lost_is_recognised_and_the_next_one_works(
    place: Place, attempts: int
) -> None:
    driver = place.driver(f"&attempts={attempts}").open()
    wire = Wire(driver)
    for version in (1, 2):
        wire.lose_answers("PutObject")
        assert driver.swap_head(Swap(head=head("t", version), expected=version - 1 or None))
    wire.sent.clear()
    assert driver.swap_head(Swap(head=head("t", 3), expected=2))
    assert wire.sent == [("PutObject", "heads/t")]
    assert not driver.swap_head(Swap(head=head("t", 3, nonce="other"), expected=2))


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "operation", ["GetObject", "PutObject", "ListObjectsV2", "HeadObject", "DeleteObjects"]
)
def test_no_answer_is_unavailable(
    driver: S3Checkpointer, wire: Wire, operation: str, error: Exception
) -> None:
    wire.fail(operation, error, times=99)
    with pytest.raises(StorageUnavailable, match=f"did not answer {operation}: {type(error).__name__}"):
        request(driver, operation)


AGAIN = [
    (409, "ConditionalRequestConflict"),
    (409, ""),
    (400, "RequestTimeout"),
    (408, ""),
    (429, "TooManyRequests"),
    (500, "InternalError"),
    (502, ""),
    (503, "SlowDown"),
    (503, ""),
]
ASKED = [
    *[(operation, *answer) for operation in OPERATIONS if operation != "HeadObject" for answer in AGAIN],
    *[("HeadObject", status, "") for status in (409, 429, 500, 503)],  # an answer to HEAD has no body
]


@pytest.mark.parametrize(("operation", "status", "code"), ASKED)
def test_an_answer_that_asks_to_try_again_is_unavailable(
    driver: S3Checkpointer, wire: Wire, operation: str, status: int, code: str
) -> None:
    wire.answer(operation, status, code)
    with pytest.raises(StorageUnavailable, match=str(status)):
        request(driver, operation)


def request(driver: S3Checkpointer, operation: str) -> Any:
    client = driver._client
    return {
        "GetObject": lambda: client.get("k"),
        "PutObject": lambda: client.create("k", b"x"),
        "ListObjectsV2": lambda: client.page("k"),
        "HeadObject": lambda: client.exists("k"),
        "DeleteObjects": lambda: client.delete(["k"]),
    }[operation]()


def test_throttling_is_outlived_by_sending_the_same_again(driver: S3Checkpointer, wire: Wire) -> None:
    wire.answer("PutObject", 503, "SlowDown", times=2)
    driver.append("t", 0, batch("s-1"))
    wire.answer("PutObject", 409, "ConditionalRequestConflict", times=2)
    assert driver.swap_head(Swap(head=head("t"), expected=None))
    wire.answer("GetObject", 500, "InternalError", times=3)
    assert (ids(driver), driver.load_head("t")) == (["s-1"], head("t"))


def test_a_body_that_breaks_off_is_unavailable(driver: S3Checkpointer, wire: Wire) -> None:
    def cut(operation: str, request: Any) -> Any:
        if operation != "GetObject":
            return None
        answer = response(200, "{}")
        answer.headers["Content-Length"] = "100"
        return answer

    wire.intercept(cut)
    with pytest.raises(StorageUnavailable, match="GetObject"):
        driver._client.get("k")


# -- answers that decide by their status ----------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["PreconditionFailed", "UnknownError", ""])
def test_412_is_taken_whatever_its_body_says(driver: S3Checkpointer, wire: Wire, code: str) -> None:
    driver.append("t", 0, batch("rival"))
    wire.answer("PutObject", 412, code)
    with pytest.raises(PositionTaken):
        driver.append("t", 0, batch("s-1"))


def test_a_batch_that_cannot_be_there_is_told_from_a_bucket_that_cannot(
    driver: S3Checkpointer, wire: Wire
) -> None:
    wire.answer("GetObject", 404)
    assert driver._client.get("k") is None
    wire.answer("GetObject", 404, "NoSuchKey")
    assert driver._client.get("k") is None
    wire.answer("GetObject", 404, "NoSuchBucket")
    with pytest.raises(BucketMissing, match=r"'milepost' at S3 in us-east-1 does not exist: make it"):
        driver._client.get("k")
    wire.answer("PutObject", 404, "NoSuchBucket")
    with pytest.raises(BucketMissing):
        driver._client.replace("k", b"x", '"e"')
    wire.answer("PutObject", 404)
    with pytest.raises(BucketMissing):
        driver._client.create("k", b"x")


def test_a_head_that_is_gone_was_moved(place: Place, driver: S3Checkpointer, wire: Wire) -> None:
    assert driver.swap_head(Swap(head=head("t"), expected=None))
    boto3.client("s3").delete_object(Bucket="milepost", Key=f"{place.prefix}/heads/t")
    assert not driver.swap_head(Swap(head=head("t", 2), expected=1))
    assert driver.load_head("t") is None
    assert driver.swap_head(Swap(head=head("t"), expected=None))


def test_a_bucket_that_does_not_exist_is_named_with_the_remedy(place: Place) -> None:
    with (
        open_checkpointer("s3://no-such-bucket/x?region=us-east-1&attempts=1") as driver,
        pytest.raises(BucketMissing, match="no-such-bucket"),
    ):
        driver.open()


@pytest.mark.parametrize(
    ("operation", "permission"),
    [
        ("GetObject", "s3:ListBucket"),
        ("GetObject", "s3:GetObject"),
        ("HeadObject", "s3:GetObject"),
        ("PutObject", "s3:PutObject"),
        ("ListObjectsV2", "s3:ListBucket"),
        ("DeleteObjects", "s3:DeleteObject"),
    ],
)
def test_what_is_not_permitted_names_the_permission(
    driver: S3Checkpointer, wire: Wire, operation: str, permission: str
) -> None:
    wire.answer(operation, 403, "" if operation == "HeadObject" else "AccessDenied")
    with pytest.raises(AccessDenied, match=f"does not permit {operation}: grant .*{permission}"):
        request(driver, operation)
    assert wire.count(operation) == 1


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "InvalidAccessKeyId", "does not know the access key"),
        (403, "SignatureDoesNotMatch", "rejects the signature"),
        (400, "ExpiredToken", "has expired"),
        (403, "RequestTimeTooSkewed", "clock"),
    ],
)
def test_credentials_that_are_rejected_say_why(
    driver: S3Checkpointer, wire: Wire, status: int, code: str, said: str
) -> None:
    wire.answer("PutObject", status, code)
    with pytest.raises(CredentialsInvalid, match=said):
        driver.append("t", 0, batch("s-1"))


def test_a_wrong_region_says_which_option_to_set(driver: S3Checkpointer, wire: Wire) -> None:
    wire.answer("PutObject", 400, "AuthorizationHeaderMalformed", times=2)
    with pytest.raises(StorageError, match="region option"):
        driver.append("t", 0, batch("s-1"))


@pytest.mark.parametrize("code", ["InvalidRequest", ""])
def test_a_request_that_is_refused_is_not_sent_again(driver: S3Checkpointer, wire: Wire, code: str) -> None:
    wire.answer("PutObject", 400, code, times=9)
    with pytest.raises(StorageError, match="refused PutObject with 400") as caught:
        driver.append("t", 0, batch("s-1"))
    assert not isinstance(caught.value, StorageUnavailable)
    assert wire.count("PutObject") == 1


def test_what_is_no_head_is_corrupt_and_named(place: Place, driver: S3Checkpointer) -> None:
    place.put("heads/t", b"{}")
    for ask in (lambda: driver.load_head("t"), driver.list_heads, lambda: driver.delete("t")):
        with pytest.raises(Corrupt, match="heads/t"):
            ask()


# -- endpoints that cannot be used, or only so ------------------------------------------------------------------------


def without(header: str, wire: Wire) -> None:
    """Let an endpoint ignore a condition."""

    def strip(params: dict[str, Any], **_: Any) -> None:
        params["headers"].pop(header, None)

    wire.client.meta.events.register("before-call.s3.PutObject", strip)


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_an_endpoint_that_ignores_a_condition_is_refused_and_nothing_is_harmed(
    place: Place, header: str
) -> None:
    place.driver().open()
    before = place.objects()
    driver = place.driver()
    without(header, Wire(driver))
    for _ in range(2):
        with pytest.raises(ConditionalWritesMissing, match=f"ignores {header} on PutObject"):
            driver.append("t", 0, batch("s-1"))
    assert place.objects() == before


def test_an_endpoint_that_ignores_conditions_is_found_out_in_an_empty_bucket_too(place: Place) -> None:
    driver = place.driver()
    without("If-None-Match", Wire(driver))
    with pytest.raises(ConditionalWritesMissing):
        driver.load_head("t")


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument")])
def test_an_endpoint_that_refuses_a_condition_is_refused(
    place: Place, header: str, status: int, code: str
) -> None:
    driver = place.driver()
    body = f"<Error><Code>{code}</Code><Message>because</Message></Error>"
    Wire(driver).intercept(lambda _, request: response(status, body) if header in request.headers else None)
    with pytest.raises(ConditionalWritesMissing, match=f"refuses {header}"):
        driver.open()


def test_an_endpoint_that_wants_etags_without_quotes_gets_them(place: Place) -> None:
    driver = place.driver()
    wire = Wire(driver)
    quoted = []

    def picky(operation: str, request: Any) -> Any:
        etag = request.headers.get("If-Match")
        if operation != "PutObject" or etag is None:
            return None
        text = etag.decode() if isinstance(etag, bytes) else etag
        quoted.append(text.startswith('"'))
        if quoted[-1]:
            return response(412)
        del request.headers["If-Match"]
        request.headers["If-Match"] = f'"{text}"'
        return None

    wire.intercept(picky)
    for version in range(1, 5):
        assert driver.swap_head(Swap(head=head("t", version), expected=version - 1 or None))
    assert not driver.swap_head(Swap(head=head("t", 4, nonce="other"), expected=3))
    driver.prune("t", 3)
    assert driver.load_head("t") == head("t", 4)
    assert quoted == [True, True, False, False, False, False]


def test_an_etag_that_never_matches_is_given_up(driver: S3Checkpointer, wire: Wire) -> None:
    assert driver.swap_head(Swap(head=head("t"), expected=None))
    wire.intercept(lambda operation, request: response(412) if "If-Match" in request.headers else None)
    with pytest.raises(StorageUnavailable, match="never matches"):
        driver.swap_head(Swap(head=head("t", 2), expected=1))


def test_data_of_a_later_format_is_refused_and_left_alone(place: Place) -> None:
    place.put("milepost.json", b'{"format":2}')
    with pytest.raises(SchemaTooNew, match="upgrade milepost-s3"):
        place.driver().append("t", 0, batch("s-1"))
    assert place.objects() == {"milepost.json": b'{"format":2}'}


def test_a_first_opening_beside_another_one_ends_well(place: Place) -> None:
    driver = place.driver()
    wire = Wire(driver)
    wire.answer("PutObject", 409, "ConditionalRequestConflict")

    def other_was_first(operation: str, request: Any) -> Any:
        if operation == "PutObject" and not place.objects():
            place.driver().open()
        return None

    wire.intercept(other_was_first)
    driver.append("t", 0, batch("s-1"))
    assert ids(driver) == ["s-1"]


def test_an_opening_that_failed_is_done_again(place: Place) -> None:
    driver = place.driver()
    Wire(driver).answer("GetObject", 403, "AccessDenied")
    with pytest.raises(AccessDenied):
        driver.tail("t")
    assert driver.tail("t") == 0
