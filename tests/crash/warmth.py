"""What a process does once before it forks children that use boto3 and pymongo: import, parse, cache; open nothing."""

from __future__ import annotations

import importlib
import pkgutil

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config

import milepost
from milepost import open_checkpointer

URLS = ("sqlite:///warm.db", "s3://warm", "mongodb://localhost/warm")
MODULES = (
    "encodings.ascii", "encodings.idna", "concurrent.futures.thread", "sqlite_utils.migrations",
    "http.client", "urllib3", "milepost.memory", "milepost_s3.checkpointer", "pymongo",
    "milepost_mongodb.checkpointer", "milepost_mongodb._client",
)  # fmt: skip


class _Answer:
    """The body of an answer that no server gave."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self):
        yield self._body


def warm_up() -> None:
    """Import all that a run may use, and have boto3's default session load its descriptions."""
    ours = (module.name for module in pkgutil.iter_modules(milepost.__path__, "milepost."))
    for name in (*ours, *MODULES):
        importlib.import_module(name)
    for url in URLS:
        open_checkpointer(url)  # finds the driver, and opens nothing yet
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
