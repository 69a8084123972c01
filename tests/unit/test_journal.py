"""The journal of one run: group commit, lost answers, failing storage, batches too large, writes cut short."""

from __future__ import annotations

import threading
from concurrent.futures import Future

import pytest

import milepost
from milepost import entrypoint, task
from milepost._journal import Entry, Journal
from milepost.checkpoint import Batch, Observed, Outcome, Value
from milepost.errors import MilepostError, OwnershipLost, StorageError, StorageUnavailable, TooLarge
from milepost.memory import MemoryCheckpointer


class Backend(MemoryCheckpointer):
    """Calls ``before`` and ``after`` around each append, which may wait or raise."""

    def __init__(self):
        super().__init__()
        self.before = lambda data: None
        self.after = lambda data: None
        self.sent = []

    def _append(self, thread, position, data, swap):
        self.sent.append(bytes(data))
        self.before(data)
        super()._append(thread, position, data, swap)
        self.after(data)

    def _pause(self, seconds):
        pass


@pytest.fixture
def backend():
    return Backend()


@pytest.fixture
def journal(backend):
    return Journal(backend, "t", "session", 0)


def outcome(call, text="1"):
    return Outcome(call=call, name="work", digest="", shows="", began="b", ended="e", result=Value(text=text))


class Waiting:
    """An entry, and what the journal tells about it: ``future`` gives its order or raises its error."""

    def __init__(self, call, text="1", *, record=None, done=None):
        self.future = Future()
        self.shrunk_by = []
        self.entry = Entry(
            record=record or outcome(call, text),
            done=done or self.future.set_result,
            failed=self.future.set_exception,
            shrunk=self._shrunk,
        )

    def _shrunk(self, error):
        self.shrunk_by.append(error)
        return outcome(self.entry.record.call, '"too large"')


def record(journal, *calls):
    waiting = [Waiting(call) for call in calls]
    for one in waiting:
        journal.record(one.entry)
    return waiting


def batches(backend):
    """Return the calls, or kinds of other records, of each batch."""
    return [
        [
            getattr(record, "call", None) if type(record) is Outcome else record.kind
            for record in batch.records
        ]
        for _, batch in backend.read("t")
    ]


# -- group commit ------------------------------------------------------------


def test_an_outcome_is_on_record_before_anybody_hears_of_it(backend, journal):
    seen = []
    waiting = Waiting("0", done=lambda order: seen.append((order, batches(backend))))
    journal.record(waiting.entry)
    assert seen == [(0, [["0"]])]


def test_what_finishes_while_an_append_is_in_flight_goes_into_one_next_batch(backend, journal):
    in_flight, go_on = threading.Event(), threading.Event()

    def block(data):
        if not in_flight.is_set():
            in_flight.set()
            go_on.wait(30)

    backend.before = block
    first = Waiting("0")
    appending = threading.Thread(target=journal.record, args=(first.entry,))
    appending.start()
    in_flight.wait(30)

    later = record(journal, "1", "2", "3")
    assert not any(one.future.done() for one in (first, *later))
    go_on.set()
    appending.join()

    assert batches(backend) == [["0"], ["1", "2", "3"]]
    assert [one.future.result(0) for one in (first, *later)] == [0, 1, 2, 3]


def test_a_thread_that_appends_for_all_is_relieved_in_the_end(backend, journal):
    threads, recorded = set(), []

    def go_on(order):
        threads.add(threading.current_thread().name)
        recorded.append(order)
        if order < 200:
            journal.record(Waiting(str(order + 1), done=go_on).entry)
        else:
            finished.set()

    finished = threading.Event()
    journal.record(Waiting("0", done=go_on).entry)
    assert finished.wait(30)
    with journal.alone():
        pass
    assert recorded == list(range(201))
    assert threads == {threading.current_thread().name, "milepost-journal"}


def test_without_new_threads_the_appending_goes_on_in_the_same_one(backend, journal, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    seen = []

    def go_on(order):
        seen.append(order)
        if order < 200:
            journal.record(Waiting(str(order + 1), done=go_on).entry)

    journal.record(Waiting("0", done=go_on).entry)
    assert seen == list(range(201))


def test_observations_go_along_with_the_next_record_before_it(backend, journal):
    for number in range(3):
        journal.observe(Observed(frame="", number=number, made=1, what="done", call="0", answer=False))
    journal.observe(Observed(frame="", number=3, made=1, what="done", call="0", answer=True))
    record(journal, "0")
    assert batches(backend) == [["observed", "observed", "0"]]
    (_, batch), *_ = backend.read("t")
    assert [(seen.number, seen.times) for seen in batch.records[:2]] == [(0, 3), (3, 1)]


def test_observations_that_no_record_took_along_are_flushed(backend, journal):
    journal.flush()
    journal.observe(Observed(frame="", number=0, made=1, what="done", call="0", answer=True))
    journal.flush()
    journal.flush()
    assert batches(backend) == [["observed"]]


# -- lost answers ------------------------------------------------------------


def test_an_append_whose_answer_was_lost_is_sent_again_unchanged_and_is_no_duplicate(backend, journal):
    lost = []

    def lose_once(data):
        if not lost:
            lost.append(data)
            raise StorageUnavailable("the answer was lost")

    backend.after = lose_once
    (first,) = record(journal, "0")
    (second,) = record(journal, "1")
    assert (first.future.result(0), second.future.result(0)) == (0, 1)
    assert batches(backend) == [["0"], ["1"]]
    assert backend.sent[0] == backend.sent[1]


def test_a_rivals_batch_at_the_position_is_lost_ownership(backend, journal):
    backend.append("t", 0, Batch(id="rival-1", records=()))
    (one,) = record(journal, "0")
    with pytest.raises(OwnershipLost) as caught:
        one.future.result(0)
    assert (caught.value.thread_id, caught.value.position) == ("t", 0)
    (later,) = record(journal, "1")
    assert later.future.exception(0) is caught.value
    assert len(batches(backend)) == 1


# -- failing storage ------------------------------------------------------------


def test_after_a_failed_append_nothing_is_written_and_everybody_hears_the_first_error(backend, journal):
    def fail(data):
        raise StorageError("the disk is full")

    backend.before = fail
    (one,) = record(journal, "0")
    backend.before = lambda data: None
    (later,) = record(journal, "1")
    assert str(one.future.exception(0)) == "the disk is full"
    assert later.future.exception(0) is one.future.exception(0)
    with pytest.raises(StorageError, match="the disk is full"), journal.alone():
        journal.closing()
    assert batches(backend) == []


def test_those_who_wait_behind_a_failing_append_fail_with_it(backend, journal):
    in_flight, go_on = threading.Event(), threading.Event()

    def block_and_fail(data):
        in_flight.set()
        go_on.wait(30)
        raise StorageError("the disk is full")

    backend.before = block_and_fail
    first = Waiting("0")
    appending = threading.Thread(target=journal.record, args=(first.entry,))
    appending.start()
    in_flight.wait(30)
    waiting = record(journal, "1", "2")
    go_on.set()
    appending.join()
    assert {str(one.future.exception(0)) for one in (first, *waiting)} == {"the disk is full"}
    assert len(backend.sent) == 1


def test_a_failing_backend_stops_the_run_at_once_and_the_caller_gets_its_error(backend):
    begun = []

    @task
    def work(number):
        begun.append(number)
        return number

    @entrypoint()
    def workflow(_):
        try:
            return [work(number).result() for number in range(5)]
        except Exception:
            return "swallowed"

    def fail(data):
        if b'"outcome"' in data:
            raise StorageUnavailable("no answer")

    backend.before = fail
    with milepost.Engine(checkpointer=backend) as engine:
        with pytest.raises(StorageUnavailable, match="no answer"):
            workflow.invoke("go", thread_id="t")
        assert begun == [0]
        backend.before = lambda data: None
        assert workflow.invoke(None, thread_id="t") == [0, 1, 2, 3, 4]
    engine.close()


# -- too large ------------------------------------------------------------


def test_a_batch_that_is_too_large_is_split(backend, journal):
    backend.max_batch_bytes = 700
    in_flight, go_on = threading.Event(), threading.Event()

    def block(data):
        if not in_flight.is_set():
            in_flight.set()
            go_on.wait(30)

    backend.before = block
    first = Waiting("0")
    appending = threading.Thread(target=journal.record, args=(first.entry,))
    appending.start()
    in_flight.wait(30)
    waiting = [Waiting(str(number), f'"{"x" * 200}"') for number in range(1, 6)]
    for one in waiting:
        journal.record(one.entry)
    go_on.set()
    appending.join()
    assert [one.future.result(0) for one in waiting] == [1, 2, 3, 4, 5]
    assert not any(one.shrunk_by for one in waiting)
    assert sum(batches(backend), []) == ["0", "1", "2", "3", "4", "5"]  # noqa: RUF017 - a handful
    assert len(batches(backend)) > 2


def test_a_result_that_is_too_large_for_itself_fails_only_its_own_task(backend, journal):
    backend.max_batch_bytes = 700
    large = Waiting("0", f'"{"x" * 1000}"')
    journal.record(large.entry)
    (small,) = record(journal, "1")
    assert (large.future.result(0), small.future.result(0)) == (0, 1)
    assert [type(error) for error in large.shrunk_by] == [TooLarge]
    assert batches(backend) == [["0"], ["1"]]


def test_a_task_whose_result_is_too_large_fails_and_its_siblings_do_not(backend):
    backend.max_batch_bytes = 5000

    @task
    def produce(size):
        return "x" * size

    @entrypoint()
    def workflow(_):
        found = []
        for future in [produce(size) for size in (10, 10_000, 20)]:
            try:
                found.append(len(future.result()))
            except TooLarge as error:
                found.append(error.limit)
        return found

    with milepost.Engine(checkpointer=backend, workers=2) as engine:
        assert workflow.invoke("go", thread_id="t") == [10, 5000, 20]
    engine.close()


def test_a_record_that_cannot_be_made_smaller_stops_the_run(backend, journal):
    backend.max_batch_bytes = 10
    cancelled = Outcome(call="0", name="work", digest="", shows="", began="b", ended="e", cancelled=True)
    one = Waiting("0", record=cancelled)
    journal.record(one.entry)
    assert isinstance(one.future.exception(0), TooLarge)
    assert batches(backend) == []


# -- cut short ------------------------------------------------------------


@pytest.mark.parametrize("moment", ["before", "after"])
def test_nothing_follows_an_append_that_ctrl_c_cut_short(backend, journal, moment):
    def press(data):
        raise KeyboardInterrupt

    setattr(backend, moment, press)
    one = Waiting("0")
    with pytest.raises(KeyboardInterrupt):
        journal.record(one.entry)
    setattr(backend, moment, lambda data: None)
    (later,) = record(journal, "1")
    error = one.future.exception(0)
    assert isinstance(error, MilepostError)
    assert isinstance(error.__cause__, KeyboardInterrupt)
    assert later.future.exception(0) is error
    with pytest.raises(MilepostError, match="cut short"):
        journal.closing()
    assert batches(backend) == ([] if moment == "before" else [["0"]])


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("kind", ["started", "outcome", "finished"])
def test_ctrl_c_in_an_append_reaches_the_caller_and_the_thread_goes_on(backend, moment, kind):
    ran, pressed = [], []

    @task
    def work(number):
        ran.append(number)
        return number

    @entrypoint()
    def workflow(_):
        return [work(number).result() for number in range(3)]

    def press(data):
        if f'"kind":"{kind}"'.encode() in data and not pressed:
            pressed.append(1)
            raise KeyboardInterrupt

    setattr(backend, moment, press)
    with milepost.Engine(checkpointer=backend) as engine:
        with pytest.raises(KeyboardInterrupt):
            workflow.invoke("go", thread_id="t")
        given = "go" if (kind, moment) == ("started", "before") else None
        assert workflow.invoke(given, thread_id="t") == [0, 1, 2]
    engine.close()
    assert sorted(set(ran)) == [0, 1, 2]
    assert len(ran) == (4 if (kind, moment) == ("outcome", "before") else 3)


# -- alone ------------------------------------------------------------


def test_what_finishes_while_the_run_is_laid_down_is_written_behind_it(backend, journal):
    with journal.alone():
        (late,) = record(journal, "0")
        assert not late.future.done()
        position, batch = journal.closing()
        backend.append("t", position, batch)
        journal.closed(batch)
    assert late.future.result(0) == 0
    assert batches(backend) == [[], ["0"]]


def test_nothing_follows_a_closing_batch_whose_fate_is_unknown(backend, journal):
    with pytest.raises(StorageUnavailable), journal.alone():
        (late,) = record(journal, "0")
        raise StorageUnavailable("no answer")
    assert isinstance(late.future.exception(0), StorageUnavailable)
    assert batches(backend) == []


def test_a_closing_batch_that_was_too_large_leaves_the_journal_open(backend, journal):
    with pytest.raises(TooLarge), journal.alone():
        raise TooLarge(thread_id="t", size=2, limit=1)
    (one,) = record(journal, "0")
    assert one.future.result(0) == 0


def test_a_closing_batch_at_a_taken_position_is_lost_ownership(backend, journal):
    backend.append("t", 0, Batch(id="rival-1", records=()))
    with pytest.raises(OwnershipLost), journal.alone():
        position, batch = journal.closing()
        backend.append("t", position, batch)


def test_a_task_that_ends_while_its_run_pauses_does_not_disturb_the_pause(backend):
    """The pause is bounded; what ends later is recorded behind it, and does not run again."""
    ran, resting, ended = [], threading.Event(), threading.Event()

    @task
    def slow():
        resting.wait(30)
        ran.append("slow")
        return "slow"

    @entrypoint()
    def workflow(_):
        future = slow()
        while not future.running() and not future.done():
            pass
        answer = milepost.interrupt("go on?")
        return [answer, future.result()]

    def meet(data):
        if b'"interrupted"' in data:
            resting.set()
            ended.wait(0.3)  # the task ends and wants to be recorded while this append is in flight

    def told(data):
        if b'"outcome"' in data:
            ended.set()

    backend.before, backend.after = meet, told
    with milepost.Engine(checkpointer=backend, workers=2, pause_wait=0.05) as engine:
        paused = workflow.invoke("go", thread_id="t")
        assert [question.value for question in paused["__interrupt__"]] == ["go on?"]
        assert ended.wait(30)
        assert workflow.invoke(milepost.Command(resume=True), thread_id="t") == [True, "slow"]
    engine.close()
    assert ran == ["slow"]
