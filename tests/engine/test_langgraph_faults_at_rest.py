"""Faults of LangGraph in what it keeps that do not happen here: records, storage, the store, the work per task.

Named by number as in test_langgraph_faults; each docstring says which part is shown.
"""

from __future__ import annotations

import datetime as dt
import json
import pickle
import sys
import threading
from dataclasses import dataclass

import pytest

from backends import CHOSEN, parametrized
from milepost import Command, Engine, entrypoint, interrupt, open_store, task
from milepost.errors import InvalidItem, SignatureInvalid, UnknownType
from milepost.memory import MemoryCheckpointer, MemoryStore
from milepost.operations import GetOp, PutOp
from milepost.testing.store_place import HeldClock


@task
def double(number):
    return 2 * number


# -- W8: outcomes lost in memory -------------------------------------


def test_w08_no_outcome_is_lost_however_often_threads_take_turns(engine):
    """Shown: many tasks that end at the same moment are all on record, and none runs again after the pause."""
    ran = []

    @task
    def work(number):
        ran.append(number)
        return number

    @entrypoint()
    def workflow(_):
        results = [future.result() for future in [work(number) for number in range(40)]]
        return [results, interrupt("go on?")]

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for number in range(5):
            workflow.invoke("go", thread_id=f"w8-{number}")
            assert workflow.invoke(Command(resume=1), thread_id=f"w8-{number}") == [list(range(40)), 1]
    finally:
        sys.setswitchinterval(usual)
    assert sorted(ran) == sorted(list(range(40)) * 5)


# -- W18: data that runs code ----------------------------------------


class Planted(MemoryCheckpointer):
    """Gives back what somebody wrote into the storage in place of what was there."""

    there, planted = "", ""

    def _read(self, thread, start, limit):
        there, planted = self.there.encode(), self.planted.encode()
        read = super()._read(thread, start, limit)
        return [(position, data.replace(there, planted) if there else data) for position, data in read]


@dataclass
class Declared:
    number: int


class Touch:
    def __reduce__(self):
        return (open, ("w18", "w"))


PLANTED = [
    {"$antigravity.geohash": [1, 2, "3"]},
    {"$dataclass": ["antigravity.Anything", {"x": 1}]},
    {"$dataclass": ["Declared", {"number": 1}]},
    {"$exception": ["antigravity.Error", []]},
    {"$pickle": pickle.dumps(Touch()).hex()},
    {"$builtins.exec": "open('w18', 'w')"},
]


@pytest.mark.parametrize("planted", PLANTED, ids=lambda value: next(iter(value)))
def test_w18_what_stands_in_the_storage_is_never_imported_or_called(planted, tmp_path, monkeypatch):
    """Shown: records that name modules, functions, classes not declared and pickles end in a typed error."""
    monkeypatch.chdir(tmp_path)
    checkpointer = Planted()

    @task
    def fetch():
        return "MARK"

    @entrypoint()
    def workflow(_):
        return [fetch().result(), interrupt("go on?")]

    with Engine(checkpointer=checkpointer) as engine:
        workflow.invoke("go", thread_id="w18")
        checkpointer.there, checkpointer.planted = '"MARK"', json.dumps(planted)
        with pytest.raises((UnknownType, SignatureInvalid)):
            workflow.invoke(Command(resume=True), thread_id="w18")
    engine.close()
    assert "antigravity" not in sys.modules
    assert list(tmp_path.iterdir()) == []


def test_w18_a_failure_on_record_builds_no_class_that_is_not_loaded():
    """Shown: an exception's name in a record is not imported; the facts come as TaskFailed."""
    checkpointer = Planted()

    @task
    def fail():
        raise ValueError("no")

    @entrypoint()
    def workflow(_):
        error = fail().exception()
        interrupt("go on?")
        return [type(error).__name__, str(error)]

    with Engine(checkpointer=checkpointer) as engine:
        workflow.invoke("go", thread_id="w18")
        checkpointer.there, checkpointer.planted = '"ValueError"', '"antigravity.Error"'
        result = workflow.invoke(Command(resume=True), thread_id="w18")
    engine.close()
    assert result == ["TaskFailed", "antigravity.Error: no"]
    assert "antigravity" not in sys.modules


# -- W19: growth -----------------------------------------------------


def test_w19_a_state_is_stored_once_a_run(engine, checkpointer):
    """Shown: results, return values and what is saved for the next run lie in the journal once, nested ones too."""
    size, runs = 100_000, 5

    @task
    def write(number):
        return {"number": number, "text": str(number) * size}

    @entrypoint()
    def inner(number):
        return write(number).result()

    @entrypoint()
    def workflow(number, *, previous=None):
        assert (previous or {}).get("number") == (number - 1 if number else None)
        return inner.invoke(number)

    for number in range(runs):
        workflow.invoke(number, thread_id="w19")
    stored = sum(len(data) for _, data in checkpointer._read("w19", 0, 1000))
    assert runs * size <= stored < 1.05 * runs * size


# -- W20: looking while others work ----------------------------------


def test_w20_looking_at_threads_in_the_midst_of_listing_and_reading_them_blocks_nobody(engine, checkpointer):
    """Shown: a listing and a journal that are half read, and in between reads, writes and another thread's run."""

    @entrypoint()
    def workflow(number):
        return double(number).result()

    for name in ("a", "b", "c"):
        workflow.invoke(1, thread_id=name)

    looked = []

    def run_elsewhere(name):
        with engine:
            workflow.invoke(2, thread_id=name)

    for head in checkpointer.list_heads()[0]:
        for position, _ in checkpointer.read(head.thread):
            other = threading.Thread(target=run_elsewhere, args=(f"{head.thread}-{position}",))
            other.start()
            other.join(30)
            assert not other.is_alive()
            looked.append(checkpointer.load_head(head.thread).thread)
            workflow.invoke(3, thread_id=head.thread + "-again")
    assert set(looked) == {"a", "b", "c"}


# -- W22: what can be seen of a run ----------------------------------


def test_w22_a_snapshot_tells_each_call_with_place_times_and_outcome(engine):
    """Shown: calls of one name are told apart, and times, attempts and errors are there. Left out: streams."""

    @task
    def flaky(number):
        if number == 1:
            raise ValueError("odd")
        return number

    @entrypoint()
    def workflow(_):
        errors = [flaky(number).exception() for number in range(3)]
        return [len(errors), interrupt("go on?")]

    workflow.invoke("go", thread_id="w22")
    tasks = workflow.get_state(thread_id="w22").tasks
    assert [(task.id, task.name, task.status, task.error) for task in tasks] == [
        ("0", "flaky", "done", None),
        ("1", "flaky", "failed", "ValueError: odd"),
        ("2", "flaky", "done", None),
        ("3", "interrupt", "interrupted", None),
    ]
    for call in tasks[:3]:
        assert call.attempts == 1
        assert dt.datetime.fromisoformat(call.began) <= dt.datetime.fromisoformat(call.ended)


# -- W23: the store --------------------------------------------------


@pytest.fixture(params=parametrized(tuple(name for name in CHOSEN if name != "memory-split")))
def store(request, backends, tmp_path):
    """A store on each backend, with a clock in the future: no backend removes by itself what lives there."""
    with backends.fresh(request.param, tmp_path) as url, open_store(url) as opened:
        opened.clock = HeldClock()
        yield opened


def test_w23_when_an_item_was_created_stays_and_when_it_was_updated_moves(store):
    """Shown: with microseconds and a time zone."""
    store.put(("a",), "key", {"n": 1})
    store.clock.advance(0.25)
    store.put(("a",), "key", {"n": 2})
    item = store.get(("a",), "key")
    assert item.updated_at - item.created_at == dt.timedelta(seconds=0.25)
    assert item.created_at.tzinfo is not None


def test_w23_the_store_keeps_copies(store):
    """Shown: neither the writer's object, nor a reader's, nor what a search found is the one kept."""
    written = {"list": [1]}
    store.put(("a",), "key", written)
    written["list"].append("by the writer")
    store.get(("a",), "key").value["list"].append("by a reader")
    store.search(("a",))[0].value["list"].append("by a search")
    assert store.get(("a",), "key").value == {"list": [1]}


def test_w23_namespaces_are_there_while_they_hold_something(store):
    """Shown: reading makes none, deleting the last item removes it."""
    assert store.get(("ghost",), "key") is None
    assert store.search(("ghost",)) == []
    store.put(("a",), "key", {})
    assert store.list_namespaces() == [("a",)]
    store.delete(("a",), "key")
    assert store.list_namespaces() == []


def test_w23_searching_while_others_write_is_no_error(store):
    """Shown: searches and listings in one thread, puts and deletes in others."""
    stop, errors = threading.Event(), []

    def write(name):
        try:
            number = 0
            while not stop.is_set():
                store.put((name, str(number % 7)), str(number), {"n": number})
                store.delete((name, str((number + 3) % 7)), str(number - 4))
                number += 1
        except Exception as error:
            errors.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in ("a", "b")]
    for writer in writers:
        writer.start()
    try:
        for _ in range(300 if isinstance(store, MemoryStore) else 15):
            store.search((), limit=1000)
            store.list_namespaces()
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert errors == []


def test_w23_filters_treat_nested_and_missing_fields_alike_everywhere(store):
    """Shown: a filter inside a mapping, an item without the field, and the order of what is found."""
    store.put(("z",), "1", {"home": {"city": "Oslo", "zip": 1}})
    store.put(("a",), "2", {"home": {"city": "Oslo"}})
    store.put(("a",), "1", {"home": {"city": "Rome"}})
    store.put(("a",), "0", {"work": 1})
    found = store.search((), filter={"home": {"city": "Oslo"}})
    assert [(item.namespace, item.key) for item in found] == [(("a",), "2"), (("z",), "1")]


def test_w23_an_order_says_no_of_what_is_missing_and_ne_says_yes(store):
    """Shown: neither is an error on one backend and an answer on the next."""
    for key, value in (("one", {"n": 1}), ("none", {"n": None}), ("text", {"n": "1"}), ("missing", {})):
        store.put(("a",), key, value)

    def keys(wanted):
        return [item.key for item in store.search(("a",), filter={"n": wanted})]

    for operator in ("$gt", "$gte", "$lt", "$lte"):
        assert set(keys({operator: 1})) <= {"one"}
    assert keys({"$gte": 1}) == ["one"]
    assert keys({"$ne": 1}) == ["missing", "none", "text"]


def test_w23_what_is_found_has_one_order(store):
    """Shown: by namespace and key, whatever was written last."""
    for namespace, key in ((("b",), "1"), (("a", "x"), "1"), (("a",), "2"), (("a",), "10"), (("a",), "2")):
        store.put(namespace, key, {})
    assert [(item.namespace, item.key) for item in store.search(())] == [
        (("a",), "10"), (("a",), "2"), (("a", "x"), "1"), (("b",), "1"),
    ]  # fmt: skip


def test_w23_a_batch_works_in_its_order(store):
    """Shown: a get sees the put before it and not the one after."""
    found = store.batch(
        [GetOp(("a",), "k"), PutOp(("a",), "k", {"n": 1}), GetOp(("a",), "k"), PutOp(("a",), "k", {"n": 2})]
    )
    assert found[0] is None
    assert found[2].value == {"n": 1}
    assert store.get(("a",), "k").value == {"n": 2}


@pytest.mark.parametrize("namespace", ["users", (), ("",), ("a", 1)])
def test_w23_a_namespace_that_is_none_is_refused(store, namespace):
    """Shown: a plain text is no namespace of its letters."""
    with pytest.raises(InvalidItem):
        store.put(namespace, "key", {})


def test_w23_an_item_whose_life_is_over_is_not_returned_and_not_revived(store):
    """Shown: reading what expired neither gives it back nor gives it a new life."""
    store.put(("a",), "key", {"x": "y"}, ttl=1)
    store.clock.advance(60)
    assert store.get(("a",), "key") is None
    assert store.search(("a",)) == []
    assert store.list_namespaces() == []
    assert store.get(("a",), "key") is None


# -- W24: work per task ----------------------------------------------


def calls_of(function):
    """Return how many Python functions are called, in all threads that begin meanwhile and in this one."""
    made = []

    def count(frame, event, _):
        if event == "call":
            made.append(1)

    threading.setprofile(count)
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return len(made)


def one_by_one(count):
    return [double(number).result() for number in range(count)]


def side_by_side(count):
    return [future.result() for future in [double(number) for number in range(count)]]


@pytest.mark.parametrize("body", [one_by_one, side_by_side])
@pytest.mark.parametrize("recorded", [False, True], ids=["plain", "recorded"])
def test_w24_the_work_per_task_does_not_grow_with_the_number_of_tasks(body, recorded):
    """Shown: function calls, which no other load on the machine changes, for 4 times as many tasks."""
    with Engine(checkpointer=MemoryCheckpointer() if recorded else None, workers=1) as engine:

        @entrypoint()
        def workflow(count):
            return len(body(count))

        thread_ids = iter("abc")
        workflow.invoke(10, thread_id=next(thread_ids))
        small, large = (
            calls_of(lambda count=count: workflow.invoke(count, thread_id=next(thread_ids)))
            for count in (150, 600)
        )
    engine.close()
    assert large < 2 * 4 * small  # a look at each earlier task would make it more than ten times as many
