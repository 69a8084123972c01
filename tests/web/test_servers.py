"""Runs survive what servers do to their workers: recycling, reloading, more and fewer of them, the end and a new start.

While each of it happens, runs are started through HTTP. In the end each is done, no step ran twice, no request hung,
and the server ended in seconds though runs were under way, which the next one then finished.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager

import pytest

from web.serving import HERE, LONGEST, UWSGI, Gunicorn, WebServer, served, until

pytestmark = pytest.mark.crash

STEPS = 5
"""Of a run, each of a tenth of a second."""
SOON = 5.0
"""Seconds within which a server has ended: longer than any step, much shorter than all runs that are open."""


class Site:
    """A server, the runs that were started through it, and the ledger of their steps."""

    def __init__(self, server: WebServer, ledger) -> None:
        self.server = server
        self._ledger = ledger
        self.runs: dict[str, str] = {}
        self.workers: set[int] = set()
        self._lock = threading.Lock()

    def begin(self, name: str, steps: int = STEPS) -> str:
        """Start a run, in whichever worker; the key makes it harmless to send again."""
        answer = self.server.insist("POST", f"/runs/{name}?{steps}")
        assert answer.code == 202, answer.body
        with self._lock:
            self.workers.add(answer.worker)
            self.runs[name] = answer.body["thread_id"]
        return answer.body["thread_id"]

    @contextmanager
    def visited(self, prefix: str):
        """Start runs one after the other, until the block is left."""
        over, failed = threading.Event(), []

        def visit() -> None:
            number = 0
            try:
                while not over.wait(0.1):
                    self.begin(f"{prefix}-{number}")
                    number += 1
            except BaseException as error:  # raised below, in the test's own thread
                failed.append(error)

        visitor = threading.Thread(target=visit, daemon=True)
        visitor.start()
        try:
            yield
        finally:
            over.set()
            visitor.join(2 * LONGEST)
        if failed:
            raise failed[0]
        assert not visitor.is_alive()

    def seen(self) -> set[int]:
        """Return the worker that answers now, after it is noted down."""
        answer = self.server.insist("GET", "/who/")
        with self._lock:
            self.workers.add(answer.worker)
        return {answer.worker}

    def notes(self) -> list[str]:
        """Return what the steps wrote down."""
        return self._ledger.read_text().splitlines() if self._ledger.exists() else []

    def done(self, thread_id: str) -> bool:
        """Return whether a run is done, and check its result."""
        told = self.server.insist("GET", f"/runs/{thread_id}").body
        assert told["status"] in {"running", "done"}, told
        assert told["result"] in {None, sum(range(STEPS))}
        return told["status"] == "done"

    def check(self, killed: frozenset[int] = frozenset()) -> None:
        """Wait until all runs are done and compare the ledger: each step once, but for those that a kill cut off."""
        for name, thread_id in self.runs.items():
            until(lambda thread_id=thread_id: self.done(thread_id), f"{name} is done")
        began: dict[tuple[str, str], list[int]] = {}
        for line in self.notes():
            name, number, worker = line.split()
            if not name.startswith("warm"):
                began.setdefault((name, number), []).append(int(worker))
        assert set(began) == {(name, str(number)) for name in self.runs for number in range(STEPS)}
        assert {
            step: by for step, by in began.items() if len(by) > 1 and not killed.issuperset(by[:-1])
        } == {}

    def end_and_begin_anew(self, *, finishing: bool = False) -> None:
        """End the server while runs are under way; the next one finishes them.

        A parent that used the engine before it forked may finish them itself, after its workers handed them back.
        """
        late = [f"late-{number}" for number in range(4)]
        for name in late:
            self.begin(name)
        until(lambda: any(line.startswith("late") for line in self.notes()), "a late run has begun")
        assert self.server.stop() < SOON
        steps = sum(line.startswith("late") for line in self.notes())
        assert finishing or steps < len(late) * STEPS, "nothing was under way any more"
        self.server.start()
        self.check()


@pytest.fixture
def site(tmp_path):
    """What makes a site of a kind of server and its options, and ends it with the test."""
    opened = []

    @contextmanager
    def made(kind: type[WebServer], *options: str, **variables: str):
        ledger = tmp_path / "ledger"
        url = f"sqlite:///{tmp_path}/runs.db"
        with served(
            kind(
                tmp_path / "server",
                "ledger_app:application",
                *options,
                LEDGER=str(ledger),
                MILEPOST_CHECKPOINTER=url,
                **variables,
            )
        ) as server:
            opened.append(server)
            yield Site(server, ledger)

    return made


GUNICORN = {
    "sync": ["--worker-class", "sync"],
    "gthread": ["--worker-class", "gthread", "--threads", "4"],
    "sync-preload": ["--worker-class", "sync", "--preload"],
    "gthread-preload": ["--worker-class", "gthread", "--threads", "4", "--preload"],
}
UWSGIS = {
    "fork": [],
    "fork-threads": ["--enable-threads", "--threads", "4"],
    "fork-used-before": ["--enable-threads", "--py-call-osafterfork"],
    "lazy": ["--lazy-apps", "--enable-threads"],
    "lazy-threads": ["--lazy-apps", "--enable-threads", "--threads", "4"],
}
PLACE = ["--chdir", str(HERE)]


def options_of(table):
    """Return a decorator that gives a test each of these options."""
    return pytest.mark.parametrize("options", table.values(), ids=table)


@options_of(GUNICORN)
def test_gunicorn_reloads_grows_shrinks_and_ends_under_load(site, options):
    with site(Gunicorn, *PLACE, "--workers", "2", *options, WARM="yes") as it:
        with it.visited("run"):
            before = until(lambda: len(it.server.workers()) == 2 and it.server.workers(), "two workers")
            until(lambda: len(it.runs) >= 2, "runs have begun")
            it.server.send(signal.SIGHUP)
            until(lambda: len(it.server.workers() - before) == 2, "new workers after HUP")
            until(lambda: not it.server.workers() & before, "the old ones ended")
            it.server.send(signal.SIGTTIN)
            until(lambda: len(it.server.workers()) == 3, "one worker more after TTIN")
            it.server.send(signal.SIGTTOU)
            until(lambda: len(it.server.workers()) == 2, "one worker less after TTOU")
            reached = len(it.runs)
            until(lambda: len(it.runs) >= reached + 2, "runs begin afterwards")
        it.end_and_begin_anew(finishing="--preload" in options)


@options_of({name: GUNICORN[name] for name in ("sync", "gthread")})
def test_gunicorn_recycles_its_workers_after_some_requests(site, options):
    recycled = ["--max-requests", "4", "--max-requests-jitter", "0"]
    with site(Gunicorn, *PLACE, "--workers", "2", *options, *recycled) as it:
        with it.visited("run"):
            until(
                lambda: it.seen() and len(it.workers) >= 6, "six workers, one after the other, have answered"
            )
        it.check()


@options_of({name: GUNICORN[name] for name in ("sync", "gthread-preload")})
def test_what_a_killed_worker_of_gunicorn_did_not_finish_runs_again_and_nothing_else(site, options):
    with site(Gunicorn, *PLACE, "--workers", "2", *options) as it:
        with it.visited("run"):
            until(lambda: it.seen() and len(it.workers) == 2, "both workers answer")
            victim = min(it.workers)
            until(lambda: any(line.endswith(f" {victim}") for line in it.notes()), "it works on a run")
            os.kill(victim, signal.SIGKILL)
            until(lambda: it.seen() and len(it.workers) == 3, "another worker has come")
        it.check(frozenset({victim}))


@options_of(UWSGIS)
def test_uwsgi_reloads_and_ends_under_load(site, options):
    # Without the option, Python in a worker waits at its end for threads that only its parent had.
    used = {"WARM": "yes"} if "--py-call-osafterfork" in options else {}
    with site(UWSGI, *PLACE, "--processes", "2", *options, **used) as it:
        with it.visited("run"):
            # One that has not answered yet may still be loading the application, and miss the signal.
            until(lambda: it.seen() and len(it.workers) == 2, "both workers answer")
            before = set(it.workers)
            until(lambda: len(it.runs) >= 2, "runs have begun")
            it.server.send(signal.SIGHUP)
            until(lambda: len(it.server.workers() - before) == 2, "new workers after HUP")
            reached = len(it.runs)
            until(lambda: len(it.runs) >= reached + 2, "runs begin afterwards")
        it.end_and_begin_anew(finishing=bool(used))


def test_uwsgi_recycles_its_workers_after_some_requests(site):
    with site(
        UWSGI,
        *PLACE,
        "--processes",
        "2",
        "--enable-threads",
        "--max-requests",
        "4",
        "--min-worker-lifetime",
        "1",
    ) as it:
        with it.visited("run"):
            until(
                lambda: it.seen() and len(it.workers) >= 6, "six workers, one after the other, have answered"
            )
        it.check()
