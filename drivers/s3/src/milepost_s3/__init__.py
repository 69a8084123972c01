"""S3 driver of milepost: journals and heads as objects of one bucket."""

from __future__ import annotations

from milepost_s3._errors import AccessDenied, BucketMissing, ConditionalWritesMissing, CredentialsInvalid
from milepost_s3.checkpointer import S3Checkpointer

__all__ = [
    "AccessDenied",
    "BucketMissing",
    "ConditionalWritesMissing",
    "CredentialsInvalid",
    "S3Checkpointer",
]
