"""Pruning: what goes, what stays, and that nothing pending is lost while runs start, pause, resume and finish."""

from __future__ import annotations

import datetime as dt
import logging
import random
import threading
from contextlib import contextmanager
from typing import Any

import pytest

import milepost
from backends import CHOSEN, SERVERS, THOROUGH
from manual_clock import ManualClock
from milepost import Command, Engine, Pruned, Retention, entrypoint, interrupt, task
from milepost.checkpoint import Started, contested
from milepost.errors import NoCheckpointer, StorageUnavailable, ThreadBusy, UnknownCheckpoint, WrongWorkflow
from mock_mongodb import mocked as mocked_mongodb
from mock_s3 import mocked as mocked_s3
from other_process import OtherProcess


@task
def double(number: int) -> int:
    return number * 2


@entrypoint
def adding(given: int, *, previous: int | None = None) -> int:
    return (previous or 0) + double(given).result()


@entrypoint
def counting(given: int, *, previous: int | None = None) -> Any:
    """Add to what the run before saved, after asking."""
    sum_ = (previous or 0) + double(given).result()
    return sum_ + interrupt({"sum": sum_})


def starts(checkpointer, thread):
    """Return the positions at which the runs began that are kept."""
    return [
        position
        for position, batch in checkpointer.read(thread)
        for record in batch.records
        if isinstance(record, Started)
    ]


def floor(checkpointer, thread):
    return next(position for position, _ in checkpointer.read(thread))


# -- what goes -----------------------------------------------------------------------------------------------------


def test_the_newest_runs_stay(engine, checkpointer):
    for given in range(1, 8):
        adding.invoke(given, thread_id="t")
    before = len(list(checkpointer.read("t")))
    report = adding.prune(keep_last=3)
    kept = list(checkpointer.read("t"))
    assert report == Pruned(threads=1, runs=4, batches=before - len(kept))
    assert len(starts(checkpointer, "t")) == 3
    assert starts(checkpointer, "t")[0] == floor(checkpointer, "t")
    assert adding.prune(keep_last=3) == Pruned(threads=1)
    assert adding.invoke(None, thread_id="t") == 56
    assert adding.invoke(1, thread_id="t") == 58


def test_storage_is_the_same_however_many_runs_there_were(engine, checkpointer):
    def kept(thread, runs):
        for _ in range(runs):
            adding.invoke(1, thread_id=thread)
        adding.prune(keep_last=2)
        return len(list(checkpointer.read(thread)))

    assert kept("few", 3) == kept("many", 12)


def test_an_open_run_stays_with_what_it_began_from(engine, checkpointer):
    counting.update_state({"configurable": {"thread_id": "t"}}, 1)
    counting.update_state({"configurable": {"thread_id": "t"}}, 100)
    counting.invoke(5, thread_id="t")
    assert counting.prune(keep_last=1).runs == 1
    assert len(starts(checkpointer, "t")) == 2
    assert counting.invoke(Command(resume=1), thread_id="t") == 111
    assert counting.prune(keep_last=1).runs == 1
    assert counting.invoke(None, thread_id="t") == 111
    counting.invoke(0, thread_id="t")
    assert counting.invoke(Command(resume=0), thread_id="t") == 111


def test_a_large_previous_that_is_kept_as_a_reference_survives(engine, checkpointer):
    large = "x" * 5000

    @task
    def write() -> str:
        return large

    @entrypoint
    def body(given, *, previous: str | None = None) -> Any:
        return write().result() if given == "write" else [previous, interrupt("?")]

    for given in ("write", "write", "ask"):
        body.invoke(given, thread_id="t")
    assert body.prune(keep_last=1).runs == 1
    assert body.get_state(thread_id="t").values == large
    assert body.invoke(Command(resume="yes"), thread_id="t") == [large, "yes"]


def test_a_thread_whose_newest_run_was_settled_keeps_its_last_result(engine):
    counting.update_state({"configurable": {"thread_id": "t"}}, 40)
    counting.invoke(5, thread_id="t")
    counting.update_state({"configurable": {"thread_id": "t"}}, None, as_node="__end__")
    counting.prune(keep_last=1)
    assert counting.get_state(thread_id="t").values == 40
    counting.invoke(1, thread_id="t")
    assert counting.invoke(Command(resume=0), thread_id="t") == 42


def test_a_run_under_way_may_be_pruned_around(engine, checkpointer):
    @task
    def prune() -> int:
        return body.prune(keep_last=1).runs

    @entrypoint
    def body(given, *, previous: int | None = None) -> Any:
        prune().result()
        return (previous or 0) + given

    for given in range(1, 6):
        assert body.invoke(given, thread_id="t") == sum(range(1, given + 1))
    assert len(starts(checkpointer, "t")) == 2


def test_many_abandoned_runs_can_go_though_none_has_finished_since(engine, checkpointer):
    counting.update_state({"configurable": {"thread_id": "t"}}, 1000)
    for given in range(60):
        counting.invoke(given, thread_id="t")
    before = len(list(checkpointer.read("t")))
    assert counting.get_state(thread_id="t").values == 1000
    counting.prune(keep_last=1)
    assert len(list(checkpointer.read("t"))) <= 80 < before
    assert counting.get_state(thread_id="t").values == 1000
    assert counting.invoke(Command(resume=1), thread_id="t") == 1000 + 2 * 59 + 1
    counting.prune(keep_last=1)
    assert len(starts(checkpointer, "t")) == 1


def test_only_these_threads_and_only_this_workflows(engine, checkpointer):
    for thread in ("a", "b", "c"):
        for given in (1, 2):
            adding.invoke(given, thread_id=thread)
    for given in (1, 2):
        counting.update_state({"configurable": {"thread_id": "other"}}, given)
    assert adding.prune(keep_last=1, threads=["a"]) == Pruned(threads=1, runs=1, batches=3)
    assert [len(starts(checkpointer, thread)) for thread in ("a", "b", "c")] == [1, 2, 2]
    assert adding.prune(keep_last=1, threads="b").runs == 1
    assert adding.prune(keep_last=1).runs == 1
    assert len(starts(checkpointer, "other")) == 2
    with pytest.raises(WrongWorkflow):
        adding.prune(keep_last=1, threads=["c", "other"])
    assert adding.prune(keep_last=1, threads=["nobody"]) == Pruned(threads=1)


def test_runs_go_by_their_age(checkpointer):
    clock = ManualClock()
    engine = Engine(checkpointer=checkpointer, clock=clock)
    with engine:
        for given in range(5):
            adding.invoke(given, thread_id="t")
            clock.advance(3600)
        assert adding.prune(older_than=dt.timedelta(hours=10)).runs == 0
        assert adding.prune(older_than=dt.timedelta(hours=4)).runs == 1
        assert adding.prune(older_than=3 * 3600 - 1, keep_last=4).runs == 0
        assert adding.prune(older_than=3 * 3600 - 1).runs == 2
        assert adding.prune(older_than=clock.now() - dt.timedelta(minutes=90)).runs == 1
        assert adding.prune(older_than=0).runs == 0
        assert adding.invoke(None, thread_id="t") == 20
    engine.close()


def test_what_cannot_be_meant_is_refused(plain_engine):
    for wrong in ({}, {"keep_last": 0}, {"keep_last": -1}, {"older_than": -1}):
        with pytest.raises(ValueError, match=r"keep_last|older_than"):
            Retention(**wrong)
    with pytest.raises(ValueError, match="time zone"):
        Retention(older_than=dt.datetime(2026, 1, 1))  # noqa: DTZ001 - that is the fault
    with pytest.raises(TypeError, match="older_than"):
        Retention(older_than="1 day")
    with pytest.raises(NoCheckpointer):
        adding.prune(keep_last=1)


def test_a_thread_that_cannot_be_read_does_not_keep_the_others(caplog):
    class Damaged(milepost.InMemorySaver):
        def _read(self, thread, start, limit):
            found = super()._read(thread, start, limit)
            return [(position, b"{") for position, _ in found] if thread == "b" else found

    driver = Damaged()
    workflow = entrypoint(checkpointer=driver)(adding.func)
    for thread in ("a", "b", "c"):
        for given in (1, 2):
            try:
                workflow.invoke(given, thread_id=thread)
            except milepost.errors.StorageError:
                assert thread == "b"
    report = workflow.prune(keep_last=1)
    assert (report.threads, report.runs, report.failed) == (3, 2, ("b",))
    assert "'b' was not pruned" in caplog.text


# -- retention -----------------------------------------------------------------------------------------------------


def test_a_workflow_with_a_retention_prunes_when_its_runs_finish(engine, checkpointer):
    keeping = entrypoint(retention=Retention(keep_last=3))(adding.func)
    most = 0
    for given in range(1, 20):
        assert keeping.invoke(given, thread_id="t") == given * (given + 1)
        most = max(most, len(starts(checkpointer, "t")))
    assert most < 6
    assert len(starts(checkpointer, "t")) >= 3


def test_a_retention_counts_abandoned_runs_too(engine, checkpointer):
    keeping = entrypoint(retention=Retention(keep_last=2))(counting.func)
    for given in range(1, 12):
        keeping.invoke(1000, thread_id="t")
        keeping.invoke(given, thread_id="t")
        keeping.invoke(Command(resume=0), thread_id="t")
        assert len(starts(checkpointer, "t")) <= 4
    assert keeping.get_state(thread_id="t").values == sum(2 * given for given in range(1, 12))


def test_a_retention_works_where_no_run_finishes(engine, checkpointer):
    keeping = entrypoint(retention=Retention(keep_last=2))(counting.func)
    for given in range(12):
        keeping.invoke(given, thread_id="t")
        assert len(starts(checkpointer, "t")) < 4
    assert keeping.invoke(Command(resume=0), thread_id="t") == 22


def test_a_retention_that_fails_does_not_fail_the_run(caplog):
    class Stuck(milepost.InMemorySaver):
        def _prune(self, thread, before, keep):
            raise StorageUnavailable("gone")

        def _pause(self, seconds):
            """Send again at once."""

    keeping = entrypoint(checkpointer=Stuck(), retention=Retention(keep_last=1))(adding.func)
    with caplog.at_level(logging.WARNING, "milepost"):
        assert [keeping.invoke(1, thread_id="t") for _ in range(3)] == [2, 4, 6]
    assert "was not pruned: gone" in caplog.text


# -- under load ----------------------------------------------------------------------------------------------------

ROUNDS = 40 if THOROUGH else 10
FEW = {} if THOROUGH else {"s3-mocked": 4, "s3": 4, "mongodb": 6}
"""Rounds on backends where each request takes milliseconds."""
WRITERS = 3


@contextmanager
def _place(name, backends, folder):
    """Give the URL of a fresh place, by whatever is quickest for this backend."""
    if name == "s3-mocked":
        with mocked_s3() as url:
            yield url
    elif name == "mongodb-mocked":
        with mocked_mongodb() as url:
            yield url
    else:
        with backends.fresh(name, folder) as url:
            yield url


PLACES = [
    pytest.param(name, marks=[pytest.mark.wire] if name in SERVERS else [])
    for name in (*CHOSEN, "s3-mocked", "mongodb-mocked")
]


class Writer:
    """Starts, abandons, cancels, resumes, writes and goes back on a thread of its own; knows what each must give."""

    def __init__(self, url: str, number: int, rounds: int) -> None:
        self.thread = f"thread-{number}"
        self.sum: int | None = None  # what the last run saved
        self.error: BaseException | None = None
        self._url = url
        self._random = random.Random(number)
        self._rounds = rounds
        self._worker = threading.Thread(target=self._work)

    def start(self) -> None:
        self._worker.start()

    def end(self) -> None:
        self._worker.join(240)
        assert not self._worker.is_alive()
        if self.error is not None:
            raise self.error

    @property
    def is_alive(self) -> bool:
        return self._worker.is_alive()

    def _work(self) -> None:
        moves = (self._plain, self._abandoning, self._back, self._cancelling, self._writing)
        try:
            with milepost.open_checkpointer(self._url) as driver:
                engine = Engine(checkpointer=driver, workers=1)
                with engine:
                    for given in range(self._rounds):
                        self._random.choice(moves)(given)
                engine.close()
        except BaseException as error:
            self.error = error

    def _plain(self, given: int) -> None:
        (question,) = counting.invoke(given, thread_id=self.thread)["__interrupt__"]
        sum_ = (self.sum or 0) + 2 * given
        assert question.value == {"sum": sum_}
        self._answer(sum_)

    def _abandoning(self, given: int) -> None:
        for left in range(self._random.randrange(1, 3)):
            counting.invoke(1000 + left, thread_id=self.thread)
        assert counting.get_state(thread_id=self.thread).values == self.sum
        self._plain(given)

    def _cancelling(self, given: int) -> None:
        asked = counting.invoke(given, thread_id=self.thread)
        counting.cancel(thread_id=self.thread)
        assert counting.invoke(None, thread_id=self.thread) == asked
        self._answer((self.sum or 0) + 2 * given)

    def _writing(self, given: int) -> None:
        counting.invoke(1000, thread_id=self.thread)
        self.sum = (self.sum or 0) + given
        counting.update_state({"configurable": {"thread_id": self.thread}}, self.sum)
        self._plain(given)

    def _back(self, given: int) -> None:
        """Go on from an older run, unless it was pruned: then that is said, and nothing happened."""
        older = [
            (snapshot.config, snapshot.values)
            for snapshot in counting.get_state_history(thread_id=self.thread, limit=4)
            if snapshot.status == "done"
        ]
        if not older:
            return self._plain(given)
        config, left = self._random.choice(older)
        try:
            (question,) = counting.invoke(given, config)["__interrupt__"]
        except UnknownCheckpoint:
            return self._plain(given)
        assert question.value == {"sum": left + 2 * given}
        return self._answer(left + 2 * given)

    def _answer(self, sum_: int) -> None:
        extra = self._random.randrange(5)
        again = counting.invoke(None, thread_id=self.thread)["__interrupt__"]
        assert [question.value for question in again] == [{"sum": sum_}]
        self.sum = counting.invoke(Command(resume=extra), thread_id=self.thread)
        assert self.sum == sum_ + extra


@pytest.mark.parametrize("name", PLACES)
def test_pruning_under_load_loses_nothing_and_leaves_what_it_promises(name, backends, tmp_path):
    with _place(name, backends, tmp_path) as url, milepost.open_checkpointer(url) as driver:
        writers = [Writer(url, number, FEW.get(name, ROUNDS)) for number in range(WRITERS)]
        engine = Engine(checkpointer=driver)
        with engine:
            for writer in writers:
                writer.start()
            pruned = 0
            while any(writer.is_alive for writer in writers):
                report = counting.prune(keep_last=2)
                assert report.failed == ()
                pruned += report.runs
            for writer in writers:
                writer.end()
            pruned += counting.prune(keep_last=2).runs
            for writer in writers:
                _check_kept(driver, writer.thread, keep_last=2)
                assert counting.invoke(None, thread_id=writer.thread) == writer.sum
                counting.invoke(1, thread_id=writer.thread)
                assert counting.invoke(Command(resume=0), thread_id=writer.thread) == writer.sum + 2
            assert pruned
        engine.close()


def _check_kept(driver, thread, *, keep_last):
    """A journal begins with the oldest run kept; nothing lies before it that anybody reads."""
    found = starts(driver, thread)
    assert len(found) == keep_last
    journal = list(driver.read(thread))
    assert journal[0][0] == found[0]
    assert [position for position, _ in journal] == list(range(found[0], driver.tail(thread)))
    assert contested(journal) <= set(range(found[0], driver.tail(thread)))


CHILD = """
from milepost.errors import ThreadBusy

@task
def double(number):
    return number * 2

@entrypoint
def counting(given, *, previous=None):
    sum_ = (previous or 0) + double(given).result()
    return sum_ + interrupt({"sum": sum_})

url, name, rounds = sys.argv[1:]
with milepost.open_checkpointer(url) as driver, make_engine(checkpointer=driver) as engine:
    say("ready")
    wait_for("go")
    total = 0
    for given in range(int(rounds)):
        if given % 3 == 0:
            counting.invoke(1000, thread_id=name)
        counting.invoke(given, thread_id=name)
        result = counting.invoke(Command(resume=1), thread_id=name)
        total += 2 * given + 1
        assert result == total, (result, total)
    counting.invoke(5, thread_id=name)  # left for the parent to answer
    say(total)
"""


@pytest.mark.parametrize(
    "name",
    ["sqlite", *(pytest.param(n, marks=[pytest.mark.wire]) for n in CHOSEN if n in SERVERS)],
)
def test_a_process_prunes_what_others_write(name, backends, tmp_path):
    rounds = 20 if THOROUGH else 4
    with backends.fresh(name, tmp_path) as url, milepost.open_checkpointer(url) as driver:
        driver.open()
        names = ("one", "two")
        children = [OtherProcess(CHILD, tmp_path, url, name, str(rounds)) for name in names]
        ended: dict[str, int] = {}
        engine = Engine(checkpointer=driver)
        try:
            for child in children:
                child.until("ready")
            for child in children:
                child.tell("go")
            readers = [
                threading.Thread(target=lambda n=n, c=c: ended.update({n: int(c.end()[-1])}))
                for n, c in zip(names, children, strict=True)
            ]
            for reader in readers:
                reader.start()
            with engine:
                while any(reader.is_alive() for reader in readers):
                    counting.prune(keep_last=1)
                for reader in readers:
                    reader.join()
                for thread in names:
                    assert counting.invoke(Command(resume=1), thread_id=thread) == ended[thread] + 11
                    counting.prune(keep_last=1)
                    _check_kept(driver, thread, keep_last=1)
        finally:
            engine.close()
            for child in children:
                child.close()


def test_writers_that_contend_for_a_thread_lose_nothing_to_pruning(checkpointer):
    """Each start that was accepted counts in the sum, whoever made it, and in whatever order."""
    engine = Engine(checkpointer=checkpointer)
    accepted: list[int] = []
    stop = threading.Event()

    def write(number: int) -> None:
        with engine:
            for given in range(number, number + ROUNDS):
                try:
                    adding.invoke(given, thread_id="t")
                except ThreadBusy:
                    continue
                accepted.append(2 * given)

    def prune() -> None:
        with engine:
            while not stop.is_set():
                adding.prune(keep_last=1)

    writers = [threading.Thread(target=write, args=(100 * number,)) for number in range(1, 4)]
    pruner = threading.Thread(target=prune)
    for thread in (*writers, pruner):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    pruner.join()
    with engine:
        adding.prune(keep_last=1)
        assert adding.invoke(None, thread_id="t") == sum(accepted)
        _check_kept(checkpointer, "t", keep_last=1)
    engine.close()
