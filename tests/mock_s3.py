"""S3 in this process, by moto: one request at a time, because moto's own answers to concurrent ones are torn.

Another process, a forked one too, has nothing of it. What it cannot show (time-outs, kills, several processes) is
tested against a server of :mod:`servers`.
"""

from __future__ import annotations

import io
import itertools
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

from servers import CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "milepost"

_prefixes = itertools.count()


@contextmanager
def mocked() -> Iterator[str]:
    """Give the driver URL of a fresh prefix in a bucket that exists for the duration."""
    import boto3
    from botocore.client import BaseClient
    from moto import mock_aws

    lock = threading.RLock()
    call = BaseClient._make_api_call

    def one_at_a_time(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        with lock:
            answer = call(client, operation, parameters)
            if (
                operation == "GetObject"
            ):  # the body is read by the caller, when another one may write the object
                answer["Body"] = io.BytesIO(answer["Body"].read())
            return answer

    with (
        mock.patch.dict(os.environ, CREDENTIALS),
        mock.patch.object(BaseClient, "_make_api_call", one_at_a_time),
        mock_aws(),
        mock.patch.object(boto3, "DEFAULT_SESSION", None),
    ):
        boto3.setup_default_session()
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}/mock-{next(_prefixes)}?region=us-east-1"
