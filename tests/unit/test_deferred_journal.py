"""The journal that writes later: what it acknowledges, what a rest takes along, what Ctrl-C leaves behind."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

from milepost._durability import Deferred, journal_of
from milepost._journal import Entry, Journal
from milepost.checkpoint import Begun, Cancelled, Outcome, Value
from milepost.errors import MilepostError, OwnershipLost, StorageUnavailable, TooLarge
from milepost.memory import MemoryCheckpointer

REST = Cancelled(at="a", reason=None, written={})
PATIENCE = 20


@pytest.fixture
def backend():
    return MemoryCheckpointer()


def deferred(backend, mode="exit"):
    return journal_of(mode, backend, "t", "session", 0)


class Waiting:
    """An entry, and what the journal tells about it: ``future`` gives its order or raises its error."""

    def __init__(self, record, done=None):
        self.future = Future()
        self.entry = Entry(record=record, done=done or self.future.set_result, failed=self._failed)

    def _failed(self, error):
        if not self.future.done():  # as with a task's future, the first settling counts
            self.future.set_exception(error)


def outcome(call):
    return Outcome(
        call=call, name="work", digest="", shows="", began="b", ended="e", result=Value(text='"a result"')
    )


def begun(call):
    return Begun(call=call, name="work", digest="", shows="", number=1, at="a")


def recorded(journal, *calls):
    waiting = [Waiting(outcome(call)) for call in calls]
    for one in waiting:
        journal.record(one.entry)
    return [one.future.result(0) for one in waiting]


def rest(journal, backend):
    journal.rest(REST, lambda position, batch: backend.append("t", position, batch))


def written(backend):
    return [
        [getattr(record, "call", record.kind) for record in batch.records] for _, batch in backend.read("t")
    ]


def test_a_mode_has_its_journal(backend):
    assert type(deferred(backend, "sync")) is Journal
    assert type(deferred(backend, "async")) is type(deferred(backend, "exit")) is Deferred


def test_at_rest_everything_is_in_one_batch_with_the_last_record(backend):
    journal = deferred(backend)
    assert recorded(journal, "0", "1", "2") == [0, 1, 2]
    assert written(backend) == []
    rest(journal, backend)
    assert written(backend) == [["0", "1", "2", "cancelled"]]


def test_what_comes_after_a_rest_is_written_at_once(backend):
    journal = deferred(backend)
    rest(journal, backend)
    recorded(journal, "0")
    assert written(backend) == [["cancelled"], ["0"]]


def test_a_start_is_written_at_once_with_all_before_it(backend):
    journal = deferred(backend)
    recorded(journal, "0", "1")
    journal.keep(begun("2"))
    recorded(journal, "2")
    assert written(backend) == [["0", "1", "2"]]


def test_a_start_that_comes_as_the_run_comes_to_rest_goes_along_and_is_told(backend):
    """It finds the journal taken, so that whoever has it is to write it."""
    journal, late = deferred(backend), Waiting(begun("1"))
    recorded(journal, "0")
    close = journal.closing

    def closing(*records):
        journal.closing = close
        return close(*records)

    alone = Journal.alone

    def slipped(self):
        held = alone(self)

        class Held:
            def __enter__(self):
                held.__enter__()
                journal.record(late.entry)

            def __exit__(self, *given):
                return held.__exit__(*given)

        return Held()

    journal.closing = closing
    Journal.alone = slipped
    try:
        rest(journal, backend)
    finally:
        Journal.alone = alone
    assert written(backend) == [["0", "1", "cancelled"]]
    late.future.result(0)


@pytest.mark.parametrize("error", [StorageUnavailable("gone"), KeyboardInterrupt()])
def test_a_rest_that_cannot_be_written_fails_and_nothing_follows(backend, error):
    journal = deferred(backend)
    recorded(journal, "0")

    def write(position, batch):
        raise error

    with pytest.raises(type(error)):
        journal.rest(REST, write)
    late = Waiting(outcome("1"))
    journal.record(late.entry)
    assert isinstance(late.future.exception(0), MilepostError)
    assert any("not durable" in note for note in late.future.exception(0).__notes__)
    assert written(backend) == []


def test_a_rest_that_meets_another_owner_says_so(backend):
    ours, theirs = deferred(backend), Journal(backend, "t", "theirs", 0)
    recorded(ours, "0")
    theirs.record(Waiting(outcome("9")).entry)
    with pytest.raises(OwnershipLost) as found:
        rest(ours, backend)
    assert any("not durable" in note for note in found.value.__notes__)
    assert written(backend) == [["9"]]


def test_a_rest_too_large_for_one_batch_is_written_in_several(backend):
    journal = deferred(backend)
    recorded(journal, *map(str, range(12)))
    backend.max_batch_bytes = 700
    rest(journal, backend)
    found = written(backend)
    assert [call for batch in found for call in batch] == [*map(str, range(12)), "cancelled"]
    assert 3 <= len(found) <= 12


def test_a_last_record_too_large_leaves_the_journal_open_behind_what_was_queued(backend):
    journal = deferred(backend)
    recorded(journal, "0")

    def write(position, batch):
        raise TooLarge(thread_id="t", size=2, limit=1)

    with pytest.raises(TooLarge):
        journal.rest(REST, write)
    rest(journal, backend)
    assert written(backend) == [["0"], ["cancelled"]]


@pytest.mark.parametrize("mode", ["async", "exit"])
def test_ctrl_c_while_telling_leaves_nobody_waiting_and_what_was_queued_is_written(backend, mode):
    journal = deferred(backend, mode)
    beside = Waiting(outcome("1"))

    def interrupted(_order):
        journal.record(beside.entry)  # this thread tells, so it is to tell of this one, too
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.record(Waiting(outcome("0"), interrupted).entry)
    assert isinstance(beside.future.exception(0), MilepostError)
    assert recorded(journal, "2") == [2]
    journal.flush()
    assert [call for batch in written(backend) for call in batch] == ["0", "1", "2"]


def test_ctrl_c_before_the_writer_has_begun_ends_writing_and_draining_does_not_hang(backend, monkeypatch):
    journal = deferred(backend, "async")

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(journal, "_hand_over", interrupted)
    first = Waiting(outcome("0"))
    with pytest.raises(KeyboardInterrupt):
        journal.record(first.entry)
    assert isinstance(first.future.exception(0), MilepostError)
    drained = threading.Thread(target=journal.drain)
    drained.start()
    drained.join(PATIENCE)
    assert not drained.is_alive()
