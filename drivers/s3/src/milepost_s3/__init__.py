"""S3 driver of milepost: journals, heads and items as objects of one bucket."""

from __future__ import annotations

from milepost_s3._errors import AccessDenied, BucketMissing, ConditionalWritesMissing, CredentialsInvalid
from milepost_s3.checkpointer import S3Checkpointer
from milepost_s3.store import S3Store

__all__ = [
    "AccessDenied",
    "BucketMissing",
    "ConditionalWritesMissing",
    "CredentialsInvalid",
    "S3Checkpointer",
    "S3Store",
]
