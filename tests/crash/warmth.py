"""What a process does once before it forks children that use the drivers: import, parse, cache; open nothing."""

from __future__ import annotations

import importlib
import os
import pkgutil

import milepost
from milepost import open_checkpointer

URLS = {"sqlite": "sqlite:///warm.db", "s3": "s3://warm", "mongodb": "mongodb://localhost/warm"}
MODULES = {
    "memory": ("encodings.ascii", "encodings.idna", "concurrent.futures.thread", "http.client"),
    "sqlite": ("sqlite_utils.migrations",),
    "s3": ("urllib3", "milepost_s3.checkpointer"),
    "mongodb": ("pymongo", "milepost_mongodb.checkpointer", "milepost_mongodb._client"),
}  # fmt: skip
CHOSEN = os.environ.get("MILEPOST_TEST_BACKENDS", ",".join(MODULES)).split(",")
"""What need not be warm makes each child's fork dearer: a client library doubles what is copied."""


def warm_up() -> None:
    """Import all that a run may use on the chosen backends, and have boto3's default session load its descriptions."""
    ours = [module.name for module in pkgutil.iter_modules(milepost.__path__, "milepost.")]
    chosen = [*MODULES["memory"], *(name for backend in CHOSEN for name in MODULES.get(backend, ()))]
    for name in (*ours, *chosen):
        importlib.import_module(name)
    for backend in CHOSEN:
        if backend in URLS:
            open_checkpointer(URLS[backend])  # finds the driver, and opens nothing yet
    if "s3" in CHOSEN:
        _warm_boto3()


class _Answer:
    """The body of an answer that no server gave."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self):
        yield self._body


def _warm_boto3() -> None:
    import boto3
    from botocore.awsrequest import AWSResponse
    from botocore.config import Config

    client = boto3.client(
        "s3",
        region_name="us-east-1",
        endpoint_url="http://localhost:9",
        config=Config(s3={"addressing_style": "path"}),
    )
    empty = AWSResponse("http://localhost:9/", 200, {}, _Answer(b""))
    client.meta.events.register("before-send.s3", lambda **_: empty)
    client.put_object(Bucket="warm", Key="up", Body=b"", IfNoneMatch="*")
    client.list_objects_v2(Bucket="warm")
    client.close()
