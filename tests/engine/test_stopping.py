"""Stopping: Ctrl-C, SystemExit, closing engines, the interpreter's end, abandoned streams, forks.

What has begun is recorded, nothing further begins, and the thread goes on later without repeating what is on record.
"""

from __future__ import annotations

import os
import threading
from contextlib import closing

import pytest

import milepost
from milepost import Command, entrypoint, interrupt, task
from milepost.checkpoint import Outcome, Status
from milepost.errors import EngineClosed
from other_process import OtherProcess

REPLAY_ALWAYS = os.environ.get("MILEPOST_TEST_REPLAY") == "always"
WORKERS = int(os.environ.get("MILEPOST_TEST_WORKERS", "4"))

COMMON = """
    again = sys.argv[1:] == ["again"]
    begun = defaultdict(threading.Event)

    @task
    def step(name):
        note(name)
        return name

    @task
    def slow(name):
        note(name)
        begun[name].set()
        say(f"begun {name}")
        if not again:
            wait_for(name)
        return name

    def slowly(name):
        # A slow task that a worker has begun when this returns.
        future = slow(name)
        if not again:
            begun[name].wait()
        return future

    def run(flow, call=None, **options):
        given = None if again else "go"
        with make_engine(checkpointer="sqlite:///flow.db", lease=3600, **options) as engine:
            try:
                say(flow.invoke(given, thread_id="t") if call is None else call(given))
            except KeyboardInterrupt:
                say("KeyboardInterrupt")
            say(flow.get_state(thread_id="t").status)
"""
STOPPED = ["KeyboardInterrupt", "running"]


def ledger(directory):
    return (directory / "ledger").read_text().split()


def go_on(program, directory):
    """Run the program again in a new process, to its end; return its result as text."""
    with OtherProcess(program, directory, "again") as child:
        *_, result, status = child.end()
    assert status == "done"
    return result


# -- Ctrl-C ------------------------------------------------------------

IN_THE_BODY = (
    COMMON
    + """
    @entrypoint()
    def flow(_):
        first = step("first").result()
        say("in the body")
        while not again:
            pass
        return [first, step("second").result()]

    run(flow)
"""
)


def test_ctrl_c_in_the_body_ends_the_run(tmp_path):
    with OtherProcess(IN_THE_BODY, tmp_path) as child:
        child.until("in the body")
        child.ctrl_c()
        assert child.end()[-2:] == STOPPED
    assert go_on(IN_THE_BODY, tmp_path) == "['first', 'second']"
    assert ledger(tmp_path) == ["first", "second"]


IN_A_TASK = (
    COMMON
    + """
    @task
    def inline():
        note("inline")
        assert again or threading.current_thread() is threading.main_thread()
        say("in the task")
        while not again:
            pass
        return "inline"

    @entrypoint()
    def flow(_):
        futures = [slowly("beside"), step("queued"), inline()]  # the only worker is busy: the last two are not begun
        found = [future.result() for future in reversed(futures)]
        return [*found, step("last").result()]

    say_when_stopping()
    run(flow, workers=1)
"""
)


def test_ctrl_c_in_a_task_that_runs_in_the_waiting_thread_ends_the_run(tmp_path):
    with OtherProcess(IN_A_TASK, tmp_path) as child:
        child.until("in the task")
        child.stop()
        child.tell("beside")
        assert child.end()[-2:] == STOPPED
    assert ledger(tmp_path) == ["beside", "inline"]
    assert go_on(IN_A_TASK, tmp_path) == "['inline', 'queued', 'beside', 'last']"
    assert sorted(ledger(tmp_path)) == ["beside", "inline", "inline", "last", "queued"]


WAITING = (
    COMMON
    + """
    @entrypoint()
    def flow(_):
        futures = [slowly("begun"), *[step(f"queued-{number}") for number in range(3)]]
        say("waiting")
        found = [future.result() for future in futures]
        return [*found, step("last").result()]

    def press_again(number, frame):
        say("signalled again")
        raise KeyboardInterrupt

    def press(number, frame):
        if "twice" in sys.argv:
            signal.signal(signal.SIGALRM, press_again)
            signal.setitimer(signal.ITIMER_REAL, 0.3)
        on_signal(number, frame)

    signal.signal(signal.SIGINT, press)
    say_when_stopping()
    run(flow, workers=1, pause_wait=3600)
"""
)
WAITED = "['begun', 'queued-0', 'queued-1', 'queued-2', 'last']"


def test_ctrl_c_while_waiting_for_a_workers_task_ends_when_that_task_ends(tmp_path):
    with OtherProcess(WAITING, tmp_path) as child:
        child.until("waiting")
        child.stop()
        child.tell("begun")
        assert child.end()[-2:] == STOPPED
    assert ledger(tmp_path) == ["begun"]
    assert go_on(WAITING, tmp_path) == WAITED
    assert sorted(ledger(tmp_path)) == ["begun", "last", "queued-0", "queued-1", "queued-2"]


def test_a_second_ctrl_c_does_not_wait_for_the_running_task(tmp_path):
    with OtherProcess(WAITING, tmp_path, "twice") as child:
        child.until("waiting")
        child.ctrl_c()
        child.until("signalled again")
        child.until("KeyboardInterrupt")
        child.until("running")
        child.tell("begun")
        child.end()
    assert ledger(tmp_path) == ["begun"]
    assert go_on(WAITING, tmp_path) == WAITED
    assert sorted(ledger(tmp_path)) == ["begun", "last", "queued-0", "queued-1", "queued-2"]


AT_THE_END = (
    COMMON
    + """
    @entrypoint()
    def flow(_):
        slowly("nobody-waits")
        step("queued")
        say("returning")
        return "returned"

    say_when_stopping()
    run(flow, workers=1)
"""
)


def test_ctrl_c_while_a_run_waits_for_what_nobody_awaited_records_what_has_begun(tmp_path):
    with OtherProcess(AT_THE_END, tmp_path) as child:
        child.until("returning")
        child.stop()
        child.tell("nobody-waits")
        assert child.end()[-2:] == STOPPED
    assert ledger(tmp_path) == ["nobody-waits"]
    assert go_on(AT_THE_END, tmp_path) == "returned"
    assert ledger(tmp_path) == ["nobody-waits", "queued"]


STREAMING = (
    COMMON
    + """
    @entrypoint()
    def flow(_):
        found = [step("first").result(), slowly("begun").result()]
        return [*found, step("last").result()]

    def consume(given):
        chunks = []
        for chunk in flow.stream(given, thread_id="t"):
            chunks.append(chunk)
        return chunks

    say_when_stopping()
    run(flow, consume)
"""
)


def test_ctrl_c_in_the_consumer_of_a_stream_ends_the_run_at_its_next_step(tmp_path):
    with OtherProcess(STREAMING, tmp_path) as child:
        child.until("begun begun")
        child.stop()
        child.tell("begun")
        assert child.end()[-2:] == STOPPED
    assert ledger(tmp_path) == ["first", "begun"]
    assert go_on(STREAMING, tmp_path) == "[{'step': 'last'}, {'flow': ['first', 'begun', 'last']}]"
    assert ledger(tmp_path) == ["first", "begun", "last"]


ELSEWHERE = (
    COMMON
    + """
    @entrypoint()
    def inner(_):
        return [slowly("begun").result(), step("inner-last").result()]

    @task
    def delegate():
        return inner.invoke("go", thread_id="inner")

    @entrypoint()
    def flow(_):
        future = delegate()
        if not again:
            begun["begun"].wait()
        say("waiting")
        return [future.result(), step("last").result()]

    say_when_stopping()
    run(flow, workers=2)
"""
)


def test_ctrl_c_ends_a_run_on_another_thread_that_a_worker_waits_for(tmp_path):
    with OtherProcess(ELSEWHERE, tmp_path) as child:
        child.until("waiting")
        child.stop()
        child.tell("begun")
        assert child.end()[-2:] == STOPPED
    assert ledger(tmp_path) == ["begun"]
    assert go_on(ELSEWHERE, tmp_path) == "[['begun', 'inner-last'], 'last']"
    assert ledger(tmp_path) == ["begun", "inner-last", "last"]


UNNOTICED = (
    """
    kind = sys.argv.pop(1)
"""
    + COMMON
    + """
    from milepost import as_completed

    def interrupt_unnoticed():
        # Python's handler runs in the main thread only, which this does not wake: as if it came just before the wait.
        wait_for("interrupt")
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    threading.Thread(target=interrupt_unnoticed, daemon=True).start()

    WAITS = {
        "result": lambda future: future.result(),
        "timed": lambda future: future.result(timeout=3600),
        "as_completed": lambda future: next(as_completed([future])).result(),
        "as_completed-timed": lambda future: next(as_completed([future], timeout=3600)).result(),
    }

    @entrypoint()
    def flow(_):
        future = slowly("begun")
        say("waiting")
        return [WAITS[kind](future), step("last").result()]

    run(flow, workers=1)
"""
)


@pytest.mark.parametrize("kind", ["result", "timed", "as_completed", "as_completed-timed"])
def test_ctrl_c_that_does_not_wake_the_waiting_thread_is_noticed_all_the_same(tmp_path, kind):
    with OtherProcess(UNNOTICED, tmp_path, kind) as child:
        child.until("waiting")
        child.tell("interrupt")
        child.until("signalled")
        child.tell("begun")
        assert child.end()[-2:] == STOPPED
    assert ledger(tmp_path) == ["begun"]
    with OtherProcess(UNNOTICED, tmp_path, kind, "again") as child:
        assert child.end()[-2:] == ["['begun', 'last']", "done"]


AT_ANY_MOMENT = """
    import faulthandler
    faulthandler.dump_traceback_later(80, exit=True)

    @task
    def leaf(number):
        return [number] * 20

    @task
    def branch(number):
        return [future.result()[0] for future in [leaf(number), leaf(number + 1)]]

    @entrypoint()
    def flow(number):
        futures = [branch(number), branch(number + 1), leaf(number)]
        return [leaf(0).result()[0], *[future.result()[0] for future in futures]]

    GENERATOR = 0x20  # Python only reports what is raised in one that is being thrown away

    class Presser:
        # Raises KeyboardInterrupt when milepost calls a function of its own, or returns from one, for the n-th time.

        def __init__(self, at):
            self.left = at
            self.place = None

        def __call__(self, frame, event, arg):
            if "/milepost/" not in frame.f_code.co_filename or frame.f_code.co_flags & GENERATOR:
                return None
            frame.f_trace_lines = False
            self.left -= 1
            if self.left == 0:
                self.place = f"{event} {frame.f_code.co_qualname}"
                sys.settrace(None)
                raise KeyboardInterrupt
            return self

    def interrupted(given, thread, presser):
        try:
            sys.settrace(presser)
            return flow.invoke(given, thread_id=thread)
        except KeyboardInterrupt:
            return None
        finally:
            sys.settrace(None)

    at, step, places = 1, int(sys.argv[2]), set()
    with make_engine(checkpointer=sys.argv[1], lease=3600, pause_wait=3600) as engine:
        flow.invoke(0, thread_id="warm")
        while True:
            thread, presser = str(at), Presser(at)
            result = interrupted(at, thread, presser)
            if presser.place is None:
                break
            places.add(presser.place)
            if result is None:
                if "debug" in sys.argv:
                    say(presser.place)
                status = flow.get_state(thread_id=thread).status
                result = flow.invoke(at if status is None else None, thread_id=thread)
            assert result == [0, at, at + 1, at], (presser.place, result)
            at += step
    faulthandler.cancel_dump_traceback_later()
    say("enough places" if len(places) > 30 else f"only {len(places)} places")
"""


@pytest.mark.parametrize(
    "url", ["memory://", "memory://?atomic_head=false", "sqlite:///any.db?synchronous=normal"]
)
def test_ctrl_c_at_any_moment_leaves_a_thread_that_goes_on(tmp_path, url):
    """Wherever milepost calls a function of its own: no run hangs, none is lost, and all results are right."""
    with OtherProcess(AT_ANY_MOMENT, tmp_path, url, "61" if REPLAY_ALWAYS else "13") as child:
        assert child.end() == ["enough places"]


# -- SystemExit ------------------------------------------------------------


@pytest.mark.parametrize("place", ["body", "task", "task of a task", "worker", "nobody waits"])
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_system_exit_ends_the_run_and_reaches_the_caller(engine, way, place):
    exits, ran = [place], []

    def leave(here):
        if exits == [here]:
            exits.clear()
            raise SystemExit(3)

    @task
    def step(name):
        leave(name)
        ran.append(name)
        return name

    @task
    def outer():
        return step("task of a task").result()

    @entrypoint()
    def flow(_):
        found = [step("first").result()]
        leave("body")
        found += [step("task").result(), outer().result()]
        working = step("worker")
        while not working.done():
            working.running()
        found.append(working.result())
        step("nobody waits")
        return found

    def run(given):
        if way == "invoke":
            return flow.invoke(given, thread_id="t")
        return list(flow.stream(given, thread_id="t"))[-1]["flow"]

    with pytest.raises(SystemExit) as caught:
        run("go")
    assert caught.value.code == 3
    state = flow.get_state(thread_id="t")
    assert (state.status, state.owner) == (Status.RUNNING, None)
    assert run(None) == ["first", "task", "task of a task", "worker"]
    assert sorted(ran) == ["first", "nobody waits", "task", "task of a task", "worker"]


# -- closing an engine ------------------------------------------------------------


def in_a_thread(function):
    """Begin a call in a thread; return what gives its result or raises its error."""
    found = []

    def run():
        try:
            found.append((function(), None))
        except BaseException as error:
            found.append((None, error))

    thread = threading.Thread(target=run)
    thread.start()

    def wait():
        thread.join(60)
        ((result, error),) = found
        if error is not None:
            raise error
        return result

    return wait


def recorded(checkpointer, thread="t"):
    return [
        record.call
        for _, batch in checkpointer.read(thread)
        for record in batch.records
        if type(record) is Outcome
    ]


@pytest.fixture
def slow_flow():
    """A workflow whose second task waits for ``release`` after it has set ``entered``."""

    class Flow:
        def __init__(self):
            self.entered, self.release, self.ran = threading.Event(), threading.Event(), []
            ran = self.ran

            @task
            def step(name):
                if name == "second":
                    self.entered.set()
                    assert self.release.wait(60)
                ran.append(name)
                return name

            @entrypoint()
            def flow(_):
                return [step(name).result() for name in ("first", "second", "third")]

            self.flow = flow

    made = Flow()
    yield made
    made.release.set()


def make_engine(checkpointer):
    return milepost.Engine(checkpointer=checkpointer, workers=WORKERS, replay_always=REPLAY_ALWAYS)


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_closing_an_engine_drains_the_runs_of_other_threads(checkpointer, slow_flow, way):
    engine = make_engine(checkpointer)

    def call():
        with engine:
            if way == "invoke":
                return slow_flow.flow.invoke("go", thread_id="t")
            return list(slow_flow.flow.stream("go", thread_id="t"))

    result = in_a_thread(call)
    assert slow_flow.entered.wait(60)
    closed = in_a_thread(engine.close)
    while not engine.closing:
        threading.Event().wait(0.001)
    slow_flow.release.set()
    closed()
    with pytest.raises(EngineClosed, match=r"invoke\(None\)"):
        result()
    assert slow_flow.ran == ["first", "second"]
    assert recorded(checkpointer) == ["0", "1"]

    with engine, pytest.raises(EngineClosed):
        slow_flow.flow.invoke(None, thread_id="t")
    with make_engine(checkpointer) as another:
        assert slow_flow.flow.get_state(thread_id="t").owner is None
        assert slow_flow.flow.invoke(None, thread_id="t") == ["first", "second", "third"]
    another.close()
    assert slow_flow.ran == ["first", "second", "third"]


def test_closing_an_engine_twice_or_before_its_first_use_is_fine(checkpointer):
    engine = make_engine(checkpointer)
    engine.close()
    engine.close()


def test_a_call_of_a_run_on_another_thread_that_a_closing_engine_stops_is_no_outcome(checkpointer, slow_flow):
    """The engine that closes stops both runs; the outer one must not record the inner one's end as a failure."""
    caught = []

    @entrypoint()
    def outer(_):
        try:
            return slow_flow.flow.invoke("go", thread_id="inner")
        except Exception as error:
            caught.append(error)
            return "another branch"

    engine = make_engine(checkpointer)

    def call():
        with engine:
            outer.invoke("go", thread_id="t")

    result = in_a_thread(call)
    assert slow_flow.entered.wait(60)
    closed = in_a_thread(engine.close)
    while not engine.closing:
        threading.Event().wait(0.001)
    slow_flow.release.set()
    closed()
    with pytest.raises(EngineClosed):
        result()
    assert recorded(checkpointer) == []
    with make_engine(checkpointer) as another:
        assert outer.invoke(None, thread_id="t") == ["first", "second", "third"]
    another.close()
    assert caught == []
    assert slow_flow.ran == ["first", "second", "third"]


def test_a_drained_engine_lets_no_further_step_begin(engine, slow_flow):
    def call():
        with engine:
            slow_flow.flow.invoke("go", thread_id="t")

    result = in_a_thread(call)
    assert slow_flow.entered.wait(60)
    engine.drain()
    slow_flow.release.set()
    with pytest.raises(EngineClosed):
        result()
    assert slow_flow.ran == ["first", "second"]


# -- the end of the interpreter ------------------------------------------------------------

EXITING = (
    COMMON
    + """
    @task
    def quick(number):
        note(f"begun-{number}")
        threading.Event().wait(0.01)
        note(f"ended-{number}")
        return number

    @entrypoint()
    def flow(_):
        if sys.argv[1] == "fan-out":
            return sum(future.result() for future in [quick(number) for number in range(2000)])
        return sum(quick(number).result() for number in range(2000))

    engine = make_engine(checkpointer="sqlite:///flow.db?synchronous=normal", lease=3600)
    milepost.set_engine(engine)
    stream = flow.stream("go", thread_id="t")
    say(next(stream))
"""
)


@pytest.mark.parametrize("shape", ["fan-out", "one by one"])
def test_the_end_of_the_interpreter_drains_a_stream_that_nobody_finished(tmp_path, shape):
    with OtherProcess(EXITING, tmp_path, shape) as child:
        child.end()
        assert "Traceback" not in child.errors()
    noted = ledger(tmp_path)
    began = sum(line.startswith("begun") for line in noted)
    ended = sum(line.startswith("ended") for line in noted)
    assert began == ended < 1000
    driver = milepost.open_checkpointer(f"sqlite:///{tmp_path}/flow.db")
    assert len(recorded(driver)) == began
    assert driver.load_head("t").owner is None
    driver.close()


# -- abandoned streams ------------------------------------------------------------


@pytest.mark.parametrize("leave", ["close", "break", "error"])
def test_an_abandoned_stream_records_what_has_begun_and_begins_nothing(
    engine, checkpointer, slow_flow, leave
):
    def abandon():
        with engine, closing(slow_flow.flow.stream("go", thread_id="t")) as stream:
            for chunk in stream:
                assert chunk == {"step": "first"}
                assert slow_flow.entered.wait(60)
                threading.Timer(0.05, slow_flow.release.set).start()
                if leave == "error":
                    raise KeyError("the consumer's own")
                if leave == "close":
                    stream.close()
                break

    result = in_a_thread(abandon)
    if leave == "error":
        with pytest.raises(KeyError):
            result()
    else:
        result()
    state = slow_flow.flow.get_state(thread_id="t")
    assert (state.status, state.owner) == (Status.RUNNING, None)
    assert slow_flow.ran == ["first", "second"]
    assert recorded(checkpointer) == ["0", "1"]
    assert slow_flow.flow.invoke(None, thread_id="t") == ["first", "second", "third"]


def test_a_stream_that_nobody_asked_for_a_chunk_runs_nothing(engine, slow_flow):
    slow_flow.flow.stream("go", thread_id="t").close()
    assert slow_flow.flow.get_state(thread_id="t").status is None
    assert slow_flow.ran == []


def test_a_stream_closed_at_the_question_leaves_the_run_paused(engine):
    @entrypoint()
    def flow(_):
        return interrupt("?")

    stream = flow.stream("go", thread_id="t")
    assert "__interrupt__" in next(stream)
    stream.close()
    assert flow.get_state(thread_id="t").status is Status.INTERRUPTED
    assert flow.invoke(Command(resume="yes"), thread_id="t") == "yes"


# -- forks ------------------------------------------------------------

FORKING = """
    import faulthandler
    faulthandler.dump_traceback_later(60, exit=True)
    made_in = {}

    @task
    def where(number):
        threading.Event().wait(0.01)
        return [number, os.getpid(), threading.current_thread() is threading.main_thread()]

    @entrypoint()
    def flow(count):
        return [future.result() for future in [where(number) for number in range(count)]]

    def in_child(thread):
        # Everything works in the child: its own pool, its own lease, its own sessions.
        for attempt in range(2):
            found = flow.invoke(12, thread_id=f"{thread}-{attempt}")
            assert [number for number, _, _ in found] == list(range(12))
            assert {pid for _, pid, _ in found} == {os.getpid()}
            assert not all(inline for _, _, inline in found)
        assert list(flow.stream(1, thread_id=f"{thread}-stream"))[-1]["flow"][0][1] == os.getpid()

    def forked(function, *arguments):
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        code = 1
        try:
            function(*arguments)
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            os._exit(code)
"""

FORK_BETWEEN = (
    FORKING
    + """
    with make_engine(checkpointer=sys.argv[1], workers=4) as engine:
        assert len(flow.invoke(12, thread_id="before")) == 12
        say(forked(in_child, "child"))
        found = flow.invoke(12, thread_id="after")
        assert {pid for _, pid, _ in found} == {os.getpid()}
        say(len(found))
        kept = flow.get_state(thread_id="child-0").status
        say(kept)
        engine.close()
"""
)


@pytest.mark.parametrize(("url", "kept"), [("sqlite:///flow.db", "done"), ("memory://", "None")])
def test_a_forked_child_works_with_a_pool_of_its_own_and_the_parent_goes_on(tmp_path, url, kept):
    with OtherProcess(FORK_BETWEEN, tmp_path, url) as child:
        assert child.end() == ["0", "12", kept], child.errors()


FORK_WITHIN = (
    FORKING
    + """
    @entrypoint()
    def forking(place):
        before = where(1).result()[0]
        code = in_task(place).result() if place == "task" else forked(in_child, "child")
        return [before, code, where(2).result()[0]]

    @task
    def in_task(place):
        return forked(in_child, "child")

    with make_engine(checkpointer=sys.argv[1], workers=4) as engine:
        say(forking.invoke(sys.argv[2], thread_id="t"))
        engine.close()
"""
)


@pytest.mark.parametrize("place", ["body", "task"])
@pytest.mark.parametrize("url", ["sqlite:///flow.db", "memory://"])
def test_a_child_forked_in_a_run_is_outside_of_it(tmp_path, url, place):
    """What the child calls is its own; the run goes on in the parent alone."""
    with OtherProcess(FORK_WITHIN, tmp_path, url, place) as child:
        assert child.end() == ["[1, 0, 2]"], child.errors()


FORK_AND_RETURN = (
    FORKING
    + """
    @entrypoint()
    def flow_of_both(_):
        first = where(1).result()[0]
        pid = os.fork()
        return [first, "parent" if pid else "child"]

    parent = os.getpid()
    engine = make_engine(checkpointer="sqlite:///flow.db")
    with engine:
        try:
            result = flow_of_both.invoke("go", thread_id="t")
        except milepost.errors.OwnershipLost as lost:
            assert "forked" in str(lost)
            os._exit(0 if os.getpid() != parent else 1)
        if os.getpid() != parent:
            os._exit(1)
        say(os.waitstatus_to_exitcode(os.wait()[1]))
        say(result)
        say(flow_of_both.invoke(None, thread_id="t"))
"""
)


def test_a_child_that_returns_from_the_forked_body_writes_nothing(tmp_path):
    with OtherProcess(FORK_AND_RETURN, tmp_path) as child:
        assert child.end() == ["0", "[1, 'parent']", "[1, 'parent']"], child.errors()


def test_an_engine_that_a_task_closes_drains_and_does_not_wait_for_itself(checkpointer):
    engine = milepost.Engine(checkpointer=checkpointer, workers=WORKERS)

    @task
    def close():
        engine.close()
        return "closed"

    @task
    def after():
        return "after"

    @entrypoint()
    def body(given):
        return [close().result(), after().result()]

    with engine, pytest.raises(EngineClosed):
        body.invoke(1, thread_id="t")
    engine.close()
    again = milepost.Engine(checkpointer=checkpointer)
    with again:
        assert body.invoke(None, thread_id="t") == ["closed", "after"]
    again.close()
