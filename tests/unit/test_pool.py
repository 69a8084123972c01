"""The worker pool: any nesting of waits ends at any size, no more than ``size`` workers work, each job runs once."""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import milepost
from milepost import entrypoint, task
from milepost._pool import Pool

SIZES = [1, 2, 8]


class Meter:
    """Counts who works at the same moment, and keeps the most."""

    def __init__(self):
        self.lock = threading.Lock()
        self.now = self.most = 0

    def __enter__(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_):
        with self.lock:
            self.now -= 1


class Job:
    """Work as the engine makes it: claimed once, awaited by those who need it."""

    def __init__(self, pool, work):
        self.pool = pool
        self.work = work
        self.done = threading.Event()
        self.runs = 0
        self.thread = None
        self._permit = [True]

    def claim(self):
        try:
            return self._permit.pop()
        except IndexError:
            return False

    def run(self):
        self.runs += 1
        self.thread = threading.current_thread()
        self.work()
        self.done.set()

    def wait(self, *, help_out):
        """Wait as a future does: run it if nobody has begun it, else give the slot back meanwhile."""
        if help_out and self.claim():
            self.run()
        self.pool.begin_wait()
        try:
            assert self.done.wait(30), "the pool is stuck"
        finally:
            self.pool.end_wait()


def counts_at_rest(pool):
    """Return what the pool counts once every thread has ended; spare ones end by themselves."""
    while spare := [thread for thread in threading.enumerate() if thread.name == "milepost-spare"]:
        for thread in spare:
            thread.join(30)
    workers = pool._workers.get()
    return workers.active, workers.waking, workers.seated


@pytest.fixture(params=SIZES)
def pool(request):
    made = Pool(request.param)
    yield made
    made.close()


def test_no_thread_is_made_before_the_first_job(pool):
    before = threading.active_count()
    Pool(4).close()
    pool.begin_wait()
    pool.end_wait()
    assert threading.active_count() == before


def test_every_job_is_run_once_by_a_worker(pool):
    jobs = [Job(pool, lambda: None) for _ in range(200)]
    for job in jobs:
        pool.submit(job)
    for job in jobs:
        job.wait(help_out=False)
    assert {job.runs for job in jobs} == {1}
    assert {job.thread.name.rpartition("_")[0] for job in jobs} <= {"milepost", ""}
    assert threading.current_thread() not in {job.thread for job in jobs}


@pytest.mark.parametrize("rests", [False, True], ids=["works", "waits"])
def test_a_slot_that_was_lent_and_called_back_is_counted_once(pool, rests):
    """A worker lends its slot to a thread that is stuck, takes it back and ends; whatever the stuck one does then."""
    resting, go_on = threading.Event(), threading.Event()
    threads = []

    def stuck(loan):
        with loan:
            if rests:
                pool.begin_wait()
            resting.set()
            assert go_on.wait(30)
            if rests:
                pool.end_wait()
            pool.begin_wait()
            pool.end_wait()

    def work():
        loan = pool.lend()
        threads.append(threading.Thread(target=stuck, args=(loan,)))
        threads[-1].start()
        assert resting.wait(30)
        loan.call_back()

    job = Job(pool, work)
    pool.submit(job)
    job.wait(help_out=False)
    others = [Job(pool, lambda: None) for _ in range(3 * pool.size)]
    for other in others:
        pool.submit(other)
    for other in others:
        other.wait(help_out=False)
    go_on.set()
    for thread in threads:
        thread.join(30)
    pool.close()
    assert counts_at_rest(pool) == (0, 0, 0)


def test_a_slot_that_was_lent_is_free_while_its_thread_waits(pool):
    gate = threading.Event()

    def work():
        ended = threading.Event()

        def lent():
            with loan:
                pool.begin_wait()
                assert gate.wait(30)
                pool.end_wait()
            ended.set()

        loan = pool.lend()
        threading.Thread(target=lent).start()
        assert ended.wait(30)

    holding = [Job(pool, work) for _ in range(pool.size)]
    for job in holding:
        pool.submit(job)
    last = Job(pool, gate.set)
    pool.submit(last)
    for job in (*holding, last):
        job.wait(help_out=False)
    pool.close()
    assert counts_at_rest(pool) == (0, 0, 0)


def test_a_thread_that_is_no_worker_lends_nothing(pool):
    loan = pool.lend()
    with loan:
        pool.begin_wait()
        pool.end_wait()
    loan.call_back()


def test_a_job_that_somebody_else_claimed_is_left_alone(pool):
    gate = threading.Event()
    blockers = [Job(pool, lambda: gate.wait(30)) for _ in range(pool.size)]
    job = Job(pool, lambda: None)
    for one in (*blockers, job):
        pool.submit(one)
    assert job.claim()
    job.run()
    gate.set()
    for one in blockers:
        one.wait(help_out=False)
    pool.close()
    assert job.runs == 1
    assert job.thread is threading.current_thread()


def test_as_many_workers_work_as_there_are_slots_and_no_more(pool):
    meter, full, gate = Meter(), threading.Semaphore(0), threading.Event()

    def work():
        with meter:
            full.release()
            gate.wait(30)

    jobs = [Job(pool, work) for _ in range(3 * pool.size)]
    for job in jobs:
        pool.submit(job)
    for _ in range(pool.size):
        assert full.acquire(timeout=30)
    assert meter.now == pool.size
    gate.set()
    for job in jobs:
        job.wait(help_out=False)
    assert meter.most == pool.size


def test_a_waiting_worker_gives_its_slot_to_the_job_it_waits_for(pool):
    inner = [Job(pool, lambda: None) for _ in range(pool.size)]

    def outer_work(job):
        pool.submit(job)
        job.wait(help_out=False)

    outer = [Job(pool, lambda job=job: outer_work(job)) for job in inner]
    for job in outer:
        pool.submit(job)
    for job in outer:
        job.wait(help_out=False)
    assert {job.runs for job in (*inner, *outer)} == {1}


def test_waits_within_waits_give_the_slot_back_once(pool):
    meter = Meter()

    def work():
        pool.begin_wait()
        pool.begin_wait()
        pool.end_wait()
        pool.end_wait()
        with meter:
            pass

    jobs = [Job(pool, work) for _ in range(50)]
    for job in jobs:
        pool.submit(job)
    for job in jobs:
        job.wait(help_out=False)
    pool.close()
    assert counts_at_rest(pool) == (0, 0, 0)


def nested(depth, width):
    return [] if depth == 0 else [nested(depth - 1, width) for _ in range(width)]


TREES = st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=4), max_leaves=40)


@pytest.mark.parametrize("size", SIZES)
@settings(max_examples=60, deadline=None)
@given(tree=TREES, seed=st.integers(0, 2**32))
def test_any_nesting_of_waits_ends_with_every_job_run_once(size, tree, seed):
    pool, meter, choose = Pool(size), Meter(), random.Random(seed)
    jobs = []

    def make(tree):
        help_out = [choose.random() < 0.5 for _ in tree]

        def work():
            children = [make(branch) for branch in tree]
            for child in children:
                pool.submit(child)
            for child, helps in zip(children, help_out, strict=True):
                child.wait(help_out=helps)
            if not tree:
                with meter:
                    threading.Event().wait(0.0001)

        jobs.append(Job(pool, work))
        return jobs[-1]

    root = make(tree)
    pool.submit(root)
    root.wait(help_out=True)
    pool.close()
    assert {job.runs for job in jobs} == {1}
    assert counts_at_rest(pool) == (0, 0, 0)


@pytest.mark.parametrize("size", SIZES)
def test_leaves_of_a_wide_tree_never_work_on_more_threads_than_there_are_slots(size):
    """Leaves never wait, so those at work in workers are workers at work; the caller's thread is no worker."""
    pool, meter = Pool(size), Meter()
    caller = threading.current_thread()

    def leaf():
        if threading.current_thread() is caller:
            return
        with meter:
            threading.Event().wait(0.0005)

    def branch():
        leaves = [Job(pool, leaf) for _ in range(5)]
        for job in leaves:
            pool.submit(job)
        for job in leaves:
            job.wait(help_out=False)

    branches = [Job(pool, branch) for _ in range(20)]
    for job in branches:
        pool.submit(job)
    for job in branches:
        job.wait(help_out=False)
    pool.close()
    # A worker whose wait ends goes on at once and may exceed the size for as long as its own job lasts; leaves do not.
    assert meter.most <= size


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("depth", "width"), [(1, 30), (3, 4), (12, 1), (2, 8)])
def test_workflows_of_any_shape_end_at_any_size(size, depth, width):
    ran = []

    @task
    def node(tree):
        ran.append(1)
        return 1 + sum(future.result() for future in [node(branch) for branch in tree])

    @entrypoint()
    def workflow(tree):
        return node(tree).result()

    with milepost.Engine(workers=size) as engine:
        total = workflow.invoke(nested(depth, width))
    engine.close()
    assert total == len(ran) == sum(width**level for level in range(depth + 1))


def test_workers_end_when_there_is_nothing_to_do_and_come_back(pool):
    for _ in range(20):
        job = Job(pool, lambda: None)
        pool.submit(job)
        job.wait(help_out=False)
    assert job.runs == 1


def test_several_threads_that_submit_at_once_lose_no_job(pool):
    jobs = [[Job(pool, lambda: None) for _ in range(100)] for _ in range(4)]

    def submit(mine):
        for job in mine:
            pool.submit(job)

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(submit, jobs))
    for mine in jobs:
        for job in mine:
            job.wait(help_out=False)
    assert {job.runs for mine in jobs for job in mine} == {1}


def test_a_closed_pool_leaves_its_jobs_to_those_who_wait_for_them(pool):
    first = Job(pool, lambda: None)
    pool.submit(first)
    first.wait(help_out=False)
    pool.close()
    job = Job(pool, lambda: None)
    pool.submit(job)
    job.wait(help_out=True)
    assert job.thread is threading.current_thread()


def test_a_forked_child_of_a_worker_is_no_worker(pool):
    """The hook that runs in the child is called by hand: what it forgets must be this thread's place in the pool."""
    from milepost import _pool

    seen = []

    def work():
        seen.append(_pool._here.workers is not None)
        here = _pool._here.workers
        _pool._leave()
        seen.append(_pool._here.workers is None)
        pool.begin_wait()
        pool.end_wait()
        _pool._here.workers = here

    job = Job(pool, work)
    pool.submit(job)
    job.wait(help_out=False)
    assert seen == [True, True]
    assert os.getpid() in pool._workers._values
