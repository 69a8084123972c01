"""Parts of the engine broken on purpose, to see that the harness finds out."""

from __future__ import annotations

from milepost._durability import Deferred
from milepost._journal import Entry, Journal
from milepost._policies import Policies
from milepost._struct import replace
from milepost.checkpoint import Capability


def resolve_early(_checkpointer) -> None:
    """Resolve each future before its outcome is appended; the append happens with the next."""
    record, closing = Journal.record, Journal.closing
    late = []

    def behind(journal, entry):
        entry.done(journal.outcomes)
        late.append(replace(entry, done=lambda _order: None))
        while len(late) > 1:
            record(journal, late.pop(0))

    def caught_up(journal, *records):
        while late and not journal._appending:
            record(journal, late.pop(0))
        return closing(journal, *records)

    Journal.record, Journal.closing = behind, caught_up


def forget_records(_checkpointer) -> None:
    """Execute again what is on record."""
    Journal.recall = lambda _journal, _parent, _ordinal: None


def commit_late(checkpointer) -> None:
    """Acknowledge each append while its transaction has not begun."""
    append, read, load = checkpointer._append, checkpointer._read, checkpointer._load_head
    late = []

    def flush():
        while late:
            append(*late.pop(0))

    def behind(*write):
        flush()
        late.append(write)

    def caught_up(hook):
        def hooked(*args):
            flush()
            return hook(*args)

        return hooked

    checkpointer._append = behind
    checkpointer._read, checkpointer._load_head = caught_up(read), caught_up(load)


def skip_positions(checkpointer) -> None:
    """Leave gaps in the journal; where the driver refuses that, with a hand on its table."""
    if Capability.CHECKED_TAIL not in checkpointer.capabilities:
        append = checkpointer._append
        checkpointer._append = lambda thread, position, *rest: append(
            thread, position + (position > 0), *rest
        )
        return
    client = checkpointer._client
    connect = client._connect

    def without_guard():
        connection = connect()
        connection.execute(
            "CREATE TEMP TRIGGER IF NOT EXISTS gap AFTER INSERT ON main.milepost_batches WHEN new.position = 2 "
            "BEGIN DELETE FROM milepost_batches WHERE thread = new.thread AND position = 1; END"
        )
        return connection

    client._connect = without_guard


def record_twice(_checkpointer) -> None:
    """Append every outcome two times."""
    record = Journal.record

    def twice(journal, entry):
        record(journal, entry)
        record(journal, replace(entry, done=lambda _order: None))

    Journal.record = twice


def forget_starts(_checkpointer) -> None:
    """Keep no starts, so that nobody knows of a task that was cut off."""
    Policies.keeps_starts = False


def queue_starts(_checkpointer) -> None:
    """Let the start of a task that runs once wait in the queue like an outcome."""

    def queued(journal, record, guard=None):
        journal._queue.append(Entry(record=record, done=lambda _order: None, failed=lambda _error: None))

    Deferred.keep = queued


def rest_first(_checkpointer) -> None:
    """Write that a run rests before what is queued."""

    def rest(journal, record, write):
        with Journal.alone(journal):  # which writes what is queued when it ends
            journal._close(record, write)

    Deferred.rest = rest


WAYS = {
    "queue starts": queue_starts,
    "rest first": rest_first,
    "forget starts": forget_starts,
    "record twice": record_twice,
    "resolve early": resolve_early,
    "forget records": forget_records,
    "commit late": commit_late,
    "skip positions": skip_positions,
}
