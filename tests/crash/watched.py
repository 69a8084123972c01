"""Any driver with a kill point at every stage of every write, and with the pragmas of each SQLite connection read back.

The driver is of whatever class its URL says. Its hooks are wrapped on the instance; nothing of it is replaced.
"""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import milepost_s3.checkpointer
from crash import served  # noqa: F401 - offers its scheme
from milepost import open_checkpointer
from milepost._journal import Journal
from milepost.checkpoint import Capability
from milepost_s3 import S3Checkpointer
from milepost_sqlite.checkpointer import SQLiteCheckpointer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crash.rig import Rig
    from milepost.checkpoint import Batch, Checkpointer, Head, Swap


def watched(rig: Rig) -> Checkpointer:
    """Open the driver of this process's job and watch it. There is one in a process."""
    checkpointer = open_checkpointer(rig.job.url)
    if rig.job.split:
        checkpointer.capabilities -= {Capability.ATOMIC_HEAD}
    watch = _Watch(checkpointer, rig)
    if isinstance(checkpointer, S3Checkpointer):
        milepost_s3.checkpointer.PARALLEL = 1  # guesses save waiting; here each costs a busy server its time
    if isinstance(checkpointer, SQLiteCheckpointer):
        rig.disk.checkpointer = checkpointer
        watch.connections(checkpointer)
    else:
        watch.sockets()
    return checkpointer


class _Watch:
    """The wrappers, and which write each thread is at.

    A write passes ``before``; then ``uncommitted`` where a transaction is open, or ``sent`` where a request has left
    and no answer has been read; then ``committed`` when the hook has returned, and ``after`` when the driver has.
    """

    def __init__(self, checkpointer: Checkpointer, rig: Rig) -> None:
        self.rig = rig
        self.writing = threading.local()
        self.threads: set[str] = set()
        self._append, self._hook_append = checkpointer.append, checkpointer._append
        self._hook_swap_head, self._hook_read = checkpointer._swap_head, checkpointer._read
        checkpointer.append = self.append  # type: ignore[method-assign]
        checkpointer._append = self.hook_append  # type: ignore[method-assign]
        checkpointer._swap_head = self.hook_swap_head  # type: ignore[method-assign]
        checkpointer._read = self.hook_read  # type: ignore[method-assign]

    def append(self, thread: str, position: int, batch: Batch, swap: Swap | None = None) -> None:
        self._append(thread, position, batch, swap)
        data = batch.encode()
        self.rig.acknowledged(thread, position, batch.id)
        self.rig.on_record(thread, position, data)
        self.rig.reach(f"{_describe(thread, data)}: after")

    def hook_append(self, thread: str, position: int, data: bytes, swap: Swap | None) -> None:
        self._meet(thread)
        what = _describe(thread, data)
        self.rig.reach(f"{what}: before")
        if what.endswith(f" outcome({self.rig.held})"):
            self.rig.await_company()
        if (
            self.rig.job.durability == "async"
        ):  # what a batch holds is a matter of time: it is counted, not named
            self.rig.reach("an append: before")
        self._write(what, lambda: self._hook_append(thread, position, data, swap))

    def hook_swap_head(self, head: Head, data: bytes, expected: int | None) -> bool:
        self._meet(head.thread)
        what = f"head of {head.thread} to {head.status}{'' if head.owner else ', owned by nobody'}"
        self.rig.reach(f"{what}: before")
        return self._write(what, lambda: self._hook_swap_head(head, data, expected))

    def hook_read(self, thread: str, start: int, limit: int) -> Sequence[tuple[int, bytes]]:
        page = self._hook_read(thread, start, limit)
        for position, data in page:
            self.rig.on_record(thread, position, data)
        return page

    def _meet(self, thread: str) -> None:
        """Write down once that this process writes about a thread, so that nobody needs to list them."""
        if thread not in self.threads:
            self.threads.add(thread)
            self.rig.note("meets", (thread, "", ""))

    def _write(self, what: str, write):
        self.writing.what = what
        try:
            result = write()
        finally:
            self.writing.what = None
        self.rig.reach(f"{what}: committed")
        return result

    # -- inside a write ----------------------------------------------------------------------------------------------

    def _stage(self, stage: str) -> None:
        what = getattr(self.writing, "what", None)
        if what is not None:
            self.rig.reach(f"{what}: {stage}")

    def sockets(self) -> None:
        """Hear of each answer that this process is about to read."""

        def recv_into(connection, *args):
            if getattr(self.writing, "asked", False):
                self.writing.asked = False
                self._stage("sent")
            return super(socket.socket, connection).recv_into(*args)

        def sendall(connection, data, *args):
            self.writing.asked = b"100-continue" not in bytes(data)  # else the body is still to come
            super(socket.socket, connection).sendall(data, *args)

        socket.socket.recv_into = recv_into
        socket.socket.sendall = sendall

    def connections(self, checkpointer: SQLiteCheckpointer) -> None:
        """Hear of each commit before it runs; write down which pragmas are in force on each new connection."""
        client = checkpointer._client
        connect = client._connect

        def statement(text: str) -> None:
            if text.strip() == "COMMIT":
                self._stage("uncommitted")

        def watched_connect():
            connection = connect()
            found = [
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
            ]
            with (self.rig.folder / "pragmas").open("a") as file:
                file.write(json.dumps(found) + "\n")
            connection.set_trace_callback(statement)
            return connection

        client._connect = watched_connect


def _describe(thread: str, data: bytes) -> str:
    """Name a batch by what it records, not by its number: the same in every process that gets there."""
    parts = []
    outcomes = []
    for record in json.loads(data)["records"]:
        if record["kind"] == "outcome":
            outcomes.append(record["call"])
        elif record["kind"] != "observed":
            parts.append(record["kind"])
    if outcomes:
        parts.append(f"outcome({','.join(sorted(outcomes))})")
    return f"append to {thread} of {'+'.join(parts) or 'observed'}"


def watch_queue(rig: Rig) -> None:
    """Tell the rig of each outcome that the journal has queued."""
    record = Journal.record

    def watched_record(journal, entry):
        record(journal, entry)
        rig.queue(entry.record.call)

    Journal.record = watched_record
