"""Equal calls of several processes that share a cache's store: one runs, the others wait for it.

Two engines stand for two processes: each has a cache of its own on the same data, so they know nothing of each other.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest

import milepost
from milepost import CachePolicy, entrypoint, interrupt, task
from milepost.backend import Capability
from milepost.cache import Cache
from milepost.errors import StorageUnavailable
from milepost.memory import MemoryStore

names = count()
POLICY = CachePolicy()


class Shared(MemoryStore):
    """A store that says that other processes share it, as two engines here do."""

    capabilities = MemoryStore.capabilities | {Capability.MULTI_PROCESS}


def on(name):
    store = Shared()
    store._data = milepost.open_store(f"memory://{name}")._data
    return Cache(store)


@pytest.fixture
def place():
    return f"between-{next(names)}"


@contextmanager
def engine(**options):
    made = milepost.Engine(workers=2, **options)
    with made:
        yield made
    made.close()


def run(cache, function, *args, **options):
    """Run a workflow that makes one call, in an engine of its own."""

    @entrypoint(cache=cache)
    def body(given: Any) -> Any:
        return function(*given).result()

    with engine(**options):
        return body.invoke(args)


def until(condition):
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about")


class Gated:
    """A task that waits inside until it is let go, and counts how often it was begun."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun: list[Any] = []

        @task(cache_policy=POLICY)
        def slow(given: Any) -> Any:
            self.begun.append(given)
            assert self.go.wait(60)
            return [given]

        self.task = slow


def claims(cache):
    return [item for item in cache.store.search(()) if "claim" in item.value]


def test_an_equal_call_of_another_process_waits_for_the_result(place):
    gated = Gated()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, on(place), gated.task, 7)
        until(lambda: gated.begun)
        second = pool.submit(run, on(place), gated.task, 7)
        other = on(place)
        until(lambda: claims(other))
        gated.go.set()
        assert first.result() == second.result() == [7]
    assert gated.begun == [7]
    assert claims(other) == []


def test_a_claim_is_given_back_when_the_call_fails_and_the_next_one_makes_it(place):
    begun = []
    gate = threading.Event()

    @task(cache_policy=POLICY)
    def fails_first() -> str:
        begun.append(1)
        if len(begun) == 1:
            assert gate.wait(60)
            raise ValueError("no")
        return "second"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, on(place), fails_first)
        until(lambda: begun)
        second = pool.submit(run, on(place), fails_first)
        gate.set()
        with pytest.raises(ValueError, match="no"):
            first.result()
        assert second.result() == "second"


def test_the_claim_of_a_dead_process_is_taken_over_at_once(place):
    cache, gated = on(place), Gated()
    gated.go.set()
    run(cache, gated.task, 1)
    (item,) = cache.store.search(())
    dead = {"host": "h", "boot": "b", "pid": 1, "started": 1, "session": "s", "renewal": "r"}
    here = milepost._owner.make()
    dead |= {
        "host": here.host,
        "boot": here.boot,
        "pid": here.pid,
        "started": here.started,
        "session": "gone",
    }
    cache.store.put(item.namespace, item.key, {"claim": dead})
    assert run(on(place), gated.task, 1, lease=3600) == [1]
    assert gated.begun == [1, 1]


def test_the_claim_of_an_unknown_process_is_taken_over_when_it_was_not_renewed_for_a_lease(place):
    cache, gated = on(place), Gated()
    gated.go.set()
    run(cache, gated.task, 1)
    (item,) = cache.store.search(())
    far = {"host": "elsewhere", "boot": "b", "pid": 1, "started": 1, "session": "s", "renewal": "r"}
    cache.store.put(item.namespace, item.key, {"claim": far})
    assert run(on(place), gated.task, 1, lease=0.3) == [1]
    assert gated.begun == [1, 1]


def test_a_claim_is_renewed_while_the_call_runs(place):
    cache, gated = on(place), Gated()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, cache, gated.task, 1, lease=0.3)
        other = on(place)
        until(lambda: claims(other))
        version = claims(other)[0].version
        until(lambda: claims(other)[0].version > version + 2)
        second = pool.submit(run, on(place), gated.task, 1, lease=30.0)
        gated.go.set()
        assert first.result() == second.result() == [1]
    assert gated.begun == [1]


def test_a_call_within_a_claimed_one_never_waits_for_another_process(place):
    """Else two processes could wait for each other: each in a call that the other one needs."""
    inner, started, go = [], threading.Event(), threading.Event()

    @task(cache_policy=POLICY)
    def part(given: str) -> str:
        inner.append(given)
        return given

    @task(cache_policy=POLICY)
    def whole(given: str) -> str:
        started.set()
        assert go.wait(60)
        return part(given).result()

    cache = on(place)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, cache, whole, "a")
        assert started.wait(60)
        gated = on(place)
        run(gated, part, "a")
        (kept,) = [item for item in gated.store.search(()) if "text" in item.value]
        far = {"host": "far", "boot": "b", "pid": 1, "started": 1, "session": "s", "renewal": "r"}
        gated.store.put(kept.namespace, kept.key, {"claim": far})
        go.set()
        assert first.result(60) == "a"
    assert inner == ["a", "a"]


def test_a_workflow_with_a_policy_goes_first_in_one_process_only(place):
    begun, go = [], threading.Event()

    @entrypoint(cache_policy=POLICY)
    def report(given: int) -> list[int]:
        begun.append(given)
        assert go.wait(60)
        return [given]

    def serve(cache):
        with engine(cache=cache):
            return report.invoke(3)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(serve, on(place))
        until(lambda: begun)
        second = pool.submit(serve, on(place))
        go.set()
        assert first.result() == second.result() == [3]
    assert begun == [3]


def test_a_call_that_pauses_for_a_person_gives_its_claim_back(place):
    @task(cache_policy=POLICY)
    def asks() -> str:
        return str(interrupt("well?"))

    cache = on(place)

    @entrypoint(cache=cache, checkpointer="memory://")
    def body(_: Any) -> Any:
        return asks().result()

    with engine():
        assert "__interrupt__" in body.invoke(0, thread_id="t")
        until(lambda: cache.store.search(()) == [])  # whoever waits for the call may hear of it first


def test_a_store_that_fails_at_a_claim_is_as_no_cache(place, monkeypatch):
    gated = Gated()
    gated.go.set()
    cache = on(place)

    def broken(*_: Any, **__: Any) -> None:
        raise StorageUnavailable("down")

    monkeypatch.setattr(cache, "claim", broken)
    assert run(cache, gated.task, 1) == [1]


def test_a_result_that_lives_for_ages_is_kept_for_good(place):
    @task(cache_policy=CachePolicy(ttl=3e10))
    def once() -> int:
        return next(names)

    cache = on(place)
    assert run(cache, once) == run(on(place), once)
    (item,) = cache.store.search(())
    assert item.expires_at is None


def test_ctrl_c_while_a_workflow_waits_for_its_turn_leaves_no_claim_and_blocks_nobody(place, monkeypatch):
    @entrypoint(cache_policy=POLICY)
    def report(given: int) -> int:
        return given

    cache, looks = on(place), count()
    look = cache.look

    def pressed(*args: Any, **keywords: Any) -> Any:
        if next(looks) == 1:
            raise KeyboardInterrupt
        return look(*args, **keywords)

    monkeypatch.setattr(cache, "look", pressed)
    with engine(cache=cache):
        with pytest.raises(KeyboardInterrupt):
            report.invoke(3)
        assert claims(cache) == []
        assert report.invoke(3) == 3


def test_a_claim_that_cannot_be_withdrawn_is_told_and_harms_nothing(place, monkeypatch, caplog):
    @task(cache_policy=POLICY)
    def fails() -> None:
        raise ValueError("no")

    cache = on(place)

    def broken(*_: Any, **__: Any) -> None:
        raise StorageUnavailable("down")

    monkeypatch.setattr(cache, "release", broken)
    with pytest.raises(ValueError, match="no"):
        run(cache, fails)
    until(lambda: "may be waited for in vain for a while" in caplog.text)
