"""A short ride through chaos, and what each guarantee between processes is worth; `nox -s chaos` takes the long one."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import recovery_time
from audit import audited

import chaos
import milepost
from other_process import OtherProcess

pytestmark = pytest.mark.crash

FLOW = """
    import datetime, milepost._clock

    NAME, LEASE, HOURS = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])

    class Jumping(milepost._clock.SystemClock):
        ahead = datetime.timedelta(0)

        def now(self):
            return super().now() + self.ahead

    clock = Jumping()

    @task
    def long():
        note(f"{NAME} begins")
        say("in the step")
        wait_for("go")
        return NAME

    @task
    def after():
        note(f"{NAME} goes on")
        return 1

    @entrypoint()
    def flow(_):
        return [long().result(), after().result()]

    def engine_of(**options):
        return make_engine(checkpointer="sqlite:///flow.db", lease=LEASE, poll=0.05, clock=clock, **options)

    def jump():
        wait_for("jump")
        clock.ahead = datetime.timedelta(hours=HOURS)
        say("jumped")
"""
WATCH = (
    FLOW
    + """
    engine = engine_of(recover=True)
    engine.begin()
    say("watching")
    jump()
    wait_for("end")
    engine.close()
"""
)
OWN = (
    FLOW
    + """
    import logging
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    engine = engine_of()
    run = engine.start(flow, 1, thread_id="t")
    jump()
    say(run.result(60))
    engine.close()
"""
)


@pytest.fixture(scope="session", autouse=True)
def _children_find_milepost():
    os.environ.setdefault("PYTHONPATH", os.pathsep.join(path for path in sys.path if path.endswith("src")))


def test_every_run_ends_right_though_processes_die_and_stand_still(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(chaos, "PROCESSES", 4)
    seed = int.from_bytes(os.urandom(2))
    with capsys.disabled():
        wrong = chaos.ride(f"sqlite:///{tmp_path}/chaos.db", tmp_path, seed=seed, seconds=12, runs=60)
    assert wrong == [], f"seed {seed}"


def test_a_dead_process_is_found_at_once_here_and_after_its_lease_elsewhere(tmp_path):
    url, lease, poll = f"sqlite:///{tmp_path}/runs.db", 2.0, 0.2
    here = recovery_time.measured(url, tmp_path, kills=3, lease=lease, poll=poll, apart=False)
    there = recovery_time.measured(url, tmp_path, kills=3, lease=lease, poll=poll, apart=True)
    assert min(here) < 0.4 * lease < min(there)
    assert max(here) < poll + 4.0  # and what a loaded machine takes to begin
    assert max(there) < lease + poll + 4.0


# -- one owner, its clock and its step ---------------------------------------------------------------------------------


def seconds(count):
    """Let so many seconds of other processes' time go by."""
    threading.Event().wait(count)


@pytest.mark.parametrize(("of_owner", "of_watcher"), [(0, 0), (1, 0), (-1, 1)])
def test_a_step_of_three_leases_runs_once_whatever_the_clocks_do(tmp_path, of_owner, of_watcher):
    lease = 1.5  # long enough for a loaded machine to renew it in time
    with (
        OtherProcess(WATCH, tmp_path, "watcher", str(lease), str(of_watcher)) as watcher,
        OtherProcess(WATCH, tmp_path, "another", str(lease), "0") as another,
        OtherProcess(OWN, tmp_path, "owner", str(lease), str(of_owner)) as owner,
    ):
        owner.until("in the step")
        for each in (owner, watcher, another):
            each.tell("jump")
            each.until("jumped")
        seconds(3 * lease)
        owner.tell("go")
        owner.until("['owner', 1]")
        owner.end()
        for each in (watcher, another):
            each.tell("end")
            each.end()
    assert (tmp_path / "ledger").read_text().splitlines() == ["owner begins", "owner goes on"]


def test_an_owner_that_stood_still_past_its_lease_is_replaced_and_writes_nothing_more(tmp_path):
    lease = 1.5  # long enough for a loaded machine to renew it in time
    with (
        OtherProcess(OWN, tmp_path, "owner", str(lease), "0") as owner,
        OtherProcess(WATCH, tmp_path, "watcher", str(lease), "0") as watcher,
    ):
        owner.until("in the step")
        watcher.tell("jump")
        watcher.until("jumped")
        owner.signal(signal.SIGSTOP)
        watcher.until("in the step")  # which it begins anew: that of the owner has no outcome
        watcher.tell("go")
        driver = milepost.open_checkpointer(f"sqlite:///{tmp_path}/flow.db")
        with driver, milepost.Engine(checkpointer=driver) as engine:
            run = engine.run("t")
            assert run.result(30) == ["watcher", 1]
            journal = list(driver.read("t"))
            owner.signal(signal.SIGCONT)
            for word in ("jump", "go"):
                owner.tell(word)
            owner.end()
            assert list(driver.read("t")) == journal
            found = audited(driver, ["t"])
            assert (found.wrong, found.takeovers) == ([], 1)
        engine.close()
        watcher.tell("end")
        watcher.end()
        assert "taken over" in owner.errors()
    assert (tmp_path / "ledger").read_text().splitlines() == [
        "owner begins",
        "watcher begins",
        "watcher goes on",
    ]


# -- waiting for people ------------------------------------------------------------------------------------------------

WAITING = """
    @entrypoint()
    def asks(number):
        return interrupt({"number": number})

    def count():
        opened = sum(os.readlink(f"/proc/self/fd/{fd}").endswith(".db") for fd in descriptors())
        say(f"{len(os.listdir('/proc/self/task'))} threads, {opened} connections")

    def descriptors():
        for fd in os.listdir("/proc/self/fd"):
            try:
                os.readlink(f"/proc/self/fd/{fd}")
            except OSError:
                continue
            yield fd

    engine = make_engine(checkpointer="sqlite:///waiting.db", background=4, recover=True, poll=0.2)
    run = engine.start(asks, 0, thread_id="first")
    while run.status != "interrupted":
        pass
"""
BEFORE = (
    WAITING
    + """
    count()
    runs = [engine.start(asks, number, thread_id=f"t{number:03}") for number in range(300)]
    while any(run.status != "interrupted" for run in runs):
        pass
    wait_for("count")
    count()
    os.kill(os.getpid(), signal.SIGKILL)
"""
)
AFTER = (
    WAITING
    + """
    import milepost.errors
    count()
    with engine:
        waiting = [asked for asked in milepost.pending_interrupts() if asked.thread_id != "first"]
    say(len(waiting))
    runs = []
    for asked in waiting:
        (question,) = asked.interrupts
        run = engine.run(asked.thread_id)
        run.resume({question.id: 2 * question.value["number"]})
        runs.append(run)
    say([run.result(60) for run in runs] == [2 * number for number in range(300)])
    engine.close()
"""
)


def test_three_hundred_runs_that_wait_for_a_person_hold_nothing_and_outlive_their_process(tmp_path):
    with OtherProcess(BEFORE, tmp_path) as before:
        before.tell("count")
        before.wait()
        first, second = (tuple(int(word) for word in line.split() if word.isdigit()) for line in before.heard)
    assert second[0] <= first[0] + 4  # the threads of runs under way, which end a moment later
    assert second[1] <= first[1] + 4
    with OtherProcess(AFTER, tmp_path) as after:
        heard = after.end()
    assert heard[1:] == ["300", "True"]
