"""Runs in the background: starting them, following them, answering, cancelling, retrying; keys and busy threads."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest

import milepost
from milepost import Command, Engine, _engine, busy, entrypoint, events, get_stream_writer, interrupt, task
from milepost.checkpoint import Owner, Status, Swap
from milepost.errors import (
    AlreadyAnswered,
    EngineClosed,
    IdempotencyConflict,
    InvalidAnswer,
    InvalidStart,
    NoCheckpointer,
    NotFinished,
    NothingToCancel,
    NothingToResume,
    NotSerializable,
    RunAbandoned,
    RunCancelled,
    ThreadBusy,
    UnknownThread,
)

PATIENCE = 30
ran: Counter = Counter()
gate = threading.Event()
entered = threading.Event()


@pytest.fixture(autouse=True)
def _fresh():
    ran.clear()
    gate.clear()
    entered.clear()
    yield
    gate.set()


@task
def double(number: int) -> int:
    ran["double", number] += 1
    get_stream_writer()({"doubling": number})
    return 2 * number


@task
def hold(number: int) -> int:
    ran["hold"] += 1
    entered.set()
    assert gate.wait(PATIENCE)
    return number


@entrypoint()
def chain(number: int) -> int:
    get_stream_writer()("begin")
    return double(double(number).result()).result()


@entrypoint()
def asking(number: int) -> list:
    doubled = double(number).result()
    answer = interrupt({"double": doubled}, response_schema=bool, key="sure")
    get_stream_writer()("answered")
    return [doubled, answer]


@task
def ask(key: str) -> int:
    return interrupt(key, key=key)


@entrypoint()
def both(keys: tuple) -> list:
    return [each.result() for each in [ask(key) for key in keys]]


@entrypoint()
def asking_and_holding(number: int) -> int:
    return hold(interrupt(number)).result()


@dataclass
class Pair:
    left: int
    right: int


@task
def pair(number: int) -> Pair:
    return Pair(number, number)


@entrypoint()
def pairing(number: int) -> int:
    made = pair(number).result()
    return made.left + made.right


@entrypoint()
def holding(number: int) -> int:
    return double(hold(number).result()).result()


@entrypoint()
def failing(number: int) -> int:
    ran["failing"] += 1
    if ran["failing"] == 1:
        raise LookupError(f"no {number}")
    return number


@pytest.fixture(autouse=True)
def _known_here():
    """Other modules have workflows of the same names: those of this one are known in its tests."""
    for workflow in (chain, asking, holding, failing):
        milepost._known.add(workflow._known)


def asks(run):
    """Wait until a run asks something, and return its questions."""
    for event in run.events(follow=True, timeout=PATIENCE):
        if isinstance(event, events.WorkflowInterrupted) and run.status == "interrupted":
            break
    return run.interrupts


# -- starting ----------------------------------------------------------------------------------------------------------


def test_a_run_is_on_record_before_start_returns_and_gives_its_result(engine, checkpointer):
    run = holding.start(3, thread_id="t", owner="ann", tags=["nightly", "x"])
    assert checkpointer.load_head("t").status is Status.RUNNING
    assert run.status == "running"
    assert (run.thread_id, run.workflow, run.owner, run.tags) == ("t", "holding", "ann", ("nightly", "x"))
    again = engine.run("t")
    assert again.id == run.id == holding.get_state(thread_id="t").config["configurable"]["checkpoint_id"]
    with pytest.raises(NotFinished, match="running") as error:
        run.result(0)
    assert isinstance(error.value, TimeoutError)
    gate.set()
    assert run.result(PATIENCE) == 6
    assert again.result() == 6
    assert again.status == "done"
    head = checkpointer.load_head("t")
    assert (head.principal, head.tags, head.owner, head.since) == ("ann", ("nightly", "x"), None, None)


def test_a_start_without_a_thread_makes_one(engine):
    first, second = chain.start(1), chain.start(1)
    assert first.thread_id != second.thread_id
    assert [first.result(PATIENCE), second.result(PATIENCE)] == [4, 4]


def test_the_engine_starts_a_workflow_and_finds_its_run(engine, checkpointer):
    other = Engine(checkpointer=checkpointer)
    run = other.start(chain, 2, thread_id="t")
    assert run.result(PATIENCE) == 8
    assert other.run("t", run.id).result() == 8
    with pytest.raises(UnknownThread):
        other.run("nobody")
    other.close()


def test_what_cannot_be_started_says_so(engine, plain_engine):
    with plain_engine, pytest.raises(NoCheckpointer):
        chain.start(1)
    with plain_engine, pytest.raises(NoCheckpointer):
        plain_engine.run("t")
    with engine:
        for wrong in ({"idempotency_key": ""}, {"idempotency_key": 3}, {"owner": "x" * 256}, {"tags": [1]}):
            with pytest.raises(InvalidStart):
                chain.start(1, **wrong)
        with pytest.raises(InvalidStart, match="busy"):
            chain.start(1, busy="never")
        with pytest.raises(NotSerializable):
            chain.start(object())
    assert list(engine_threads(engine)) == []


def engine_threads(engine):
    with engine:
        return [info.thread_id for info in milepost.list_threads()]


def test_a_failure_is_raised_by_result_and_retried(engine):
    run = failing.start(3, thread_id="t")
    with pytest.raises(LookupError, match="no 3"):
        run.result(PATIENCE)
    assert run.status == "failed"
    run.retry()
    assert run.result(PATIENCE) == 3
    with pytest.raises(NothingToResume, match="done"):
        run.retry()


def test_a_body_that_exits_the_interpreter_fails(engine):
    @entrypoint()
    def leaving(_: int) -> None:
        raise SystemExit(3)

    run = leaving.start(1)
    with pytest.raises(milepost.errors.MilepostError, match="SystemExit"):
        run.result(PATIENCE)
    assert run.status == "failed"


def test_more_runs_than_slots_all_finish_one_after_the_other(checkpointer):
    engine, most, now = Engine(checkpointer=checkpointer, background=2), [0], [0]
    lock = threading.Lock()

    @task
    def count(number: int) -> int:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        with lock:
            now[0] -= 1
        return number

    @entrypoint()
    def counted(number: int) -> int:
        return count(number).result()

    with engine:
        runs = [counted.start(number) for number in range(12)]
        assert [run.result(PATIENCE) for run in runs] == list(range(12))
    assert most[0] <= 2
    engine.close()


def test_an_engine_without_slots_leaves_the_run_to_another(checkpointer):
    web = Engine(checkpointer=checkpointer, background=0)
    with web:
        run = chain.start(2, thread_id="t")
    head = checkpointer.load_head("t")
    assert (head.status, head.owner, head.offered) == (Status.RUNNING, None, True)
    assert run.status == "running"
    worker = Engine(checkpointer=checkpointer, recover=True, poll=0.02)
    worker.begin()
    assert run.result(PATIENCE) == 8
    worker.close()
    web.close()


def test_a_closing_engine_hands_its_runs_back_at_a_task_boundary(checkpointer):
    first = Engine(checkpointer=checkpointer)
    with first:
        run = holding.start(3, thread_id="t")
    assert entered.wait(PATIENCE)
    closing = threading.Thread(target=first.close)
    closing.start()
    while not first.closing:
        pass
    gate.set()
    closing.join()
    head = checkpointer.load_head("t")
    assert (head.status, head.owner, head.offered) == (Status.RUNNING, None, True)
    with first, pytest.raises(EngineClosed):
        chain.start(1)
    second = Engine(checkpointer=checkpointer, recover=True, poll=0.02)
    second.begin()
    assert second.run("t").result(PATIENCE) == 6
    assert ran["hold"] == 1
    assert run.status == "done"
    second.close()


def test_a_newer_input_abandons_a_run_that_waits(engine):
    run = asking.start(1, thread_id="t")
    asks(run)
    newer = asking.start(2, thread_id="t")
    with pytest.raises(RunAbandoned):
        run.result(PATIENCE)
    assert run.status == "abandoned"
    asks(newer)
    assert (run.interrupts, len(newer.interrupts)) == ((), 1)
    with pytest.raises(NothingToCancel):
        run.cancel()


# -- answering ---------------------------------------------------------------------------------------------------------


def test_a_question_is_shown_answered_once_and_by_whom(engine):
    run = asking.start(2, thread_id="t")
    (question,) = asks(run)
    assert question.value == {"double": 4}
    with pytest.raises(NotFinished) as error:
        run.result(0.01)
    assert (error.value.status, error.value.pending) == ("interrupted", (question.id,))
    with pytest.raises(InvalidAnswer):
        run.resume("perhaps")
    assert run.status == "interrupted"
    run.resume({question.id: True}, actor="ben")
    assert run.result(PATIENCE) == [4, True]
    with pytest.raises(AlreadyAnswered, match="ben") as late:
        run.resume({question.id: False}, actor="carla")
    assert late.value.actor == "ben"
    (answered,) = asking.get_state(thread_id="t").answered
    assert answered.actor == "ben"


def test_of_many_answers_at_once_one_counts(engine):
    run = asking.start(2, thread_id="t")
    (question,) = asks(run)

    def answer(number):
        with engine:
            try:
                engine.run("t").resume({question.id: True}, actor=str(number))
            except (AlreadyAnswered, NothingToResume, ThreadBusy) as error:
                return type(error)
            return None

    with ThreadPoolExecutor(8) as people:
        told = list(people.map(answer, range(8)))
    assert told.count(None) == 1
    assert run.result(PATIENCE) == [4, True]


def test_answers_to_questions_side_by_side_may_follow_at_once(engine):
    run = both.start(("left", "right"), thread_id="t")
    left, right = asks(run)
    run.resume({left.id: 1})
    run.resume({right.id: 2})
    assert run.result(PATIENCE) == [1, 2]


def test_a_second_answer_is_told_so_while_the_run_goes_on_with_the_first(engine):
    run = asking_and_holding.start(2, thread_id="t")
    (question,) = asks(run)
    run.resume({question.id: 5}, actor="ben")
    assert entered.wait(PATIENCE)
    with pytest.raises(AlreadyAnswered, match="ben"):
        run.resume({question.id: 6})
    gate.set()
    assert run.result(PATIENCE) == 5


def test_an_answer_is_taken_where_nobody_knows_the_workflow(engine, checkpointer, monkeypatch):
    run = asking.start(2, thread_id="t")
    asks(run)
    with monkeypatch.context() as patch:
        patch.setattr("milepost._known.find", lambda _: None)
        engine.run("t").resume(True, actor="cli")
    head = checkpointer.load_head("t")
    assert (head.status, head.offered) == (Status.RUNNING, True)
    worker = Engine(checkpointer=checkpointer, recover=True, poll=0.02)
    worker.begin()
    assert run.result(PATIENCE) == [4, True]
    worker.close()


# -- following ---------------------------------------------------------------------------------------------------------


def test_events_tell_what_is_on_record_from_any_position(engine):
    run = asking.start(2, thread_id="t")
    (question,) = asks(run)
    run.resume(True, actor="ben")
    run.result(PATIENCE)
    told = list(run.events())
    assert [event.kind for event in told if not isinstance(event, events.CustomWritten)] == [
        "workflow_started",
        "task_finished",
        "workflow_interrupted",
        "workflow_resumed",
        "workflow_finished",
    ]
    written = [(event.name, event.value) for event in told if isinstance(event, events.CustomWritten)]
    assert written == [("double", {"doubling": 2}), ("asking", "answered")]
    positions = [event.position for event in told]
    assert positions == sorted(set(positions))
    for number, position in enumerate(positions):
        assert list(engine.run("t").events(after=position)) == told[number + 1 :]
    shown = [event.as_json() for event in told]
    assert shown[0]["input"] == 2
    assert shown[-1] | {"at": "", "position": 0} == {
        "kind": "workflow_finished",
        "namespace": [],
        "call": "",
        "name": "asking",
        "attempt": 1,
        "replayed": False,
        "at": "",
        "position": 0,
        "result": [4, True],
        "cached": False,
    }
    (asked,) = next(event for event in shown if event["kind"] == "workflow_interrupted")["interrupts"]
    assert (asked["id"], asked["value"], asked["response_schema"]) == (
        question.id,
        {"double": 4},
        {"type": "boolean"},
    )
    resumed = next(event for event in told if isinstance(event, events.WorkflowResumed))
    assert (resumed.how, resumed.actor, resumed.answered) == ("resumed", "ben", (question.id,))


def test_events_show_the_record_of_a_value_whose_class_only_the_task_names(engine):
    run = pairing.start(2, thread_id="t")
    assert run.result(PATIENCE) == 4
    (finished,) = [event for event in run.events() if isinstance(event, events.TaskFinished)]
    assert "Pair" in str(finished.as_json()["result"])


def test_a_follower_is_told_as_it_happens_until_the_run_rests(engine):
    run = holding.start(3)
    told = run.events(follow=True)
    assert next(told).kind == "workflow_started"
    assert entered.wait(PATIENCE)
    gate.set()
    assert [event.kind for event in told][-1] == "workflow_finished"
    assert list(run.events(follow=True, timeout=PATIENCE))[-1].result == 6


def test_a_follower_stops_when_its_time_is_up(engine):
    run = holding.start(3)
    assert [event.kind for event in run.events(follow=True, timeout=0.05)] == ["workflow_started"]
    gate.set()


def test_what_a_body_wrote_is_there_before_it_goes_on(engine):
    @entrypoint()
    def slow(_: int) -> None:
        get_stream_writer()({"percent": 50})
        hold(1).result()

    run = slow.start(1)
    told = (event for event in run.events(follow=True, timeout=PATIENCE))
    assert next(event.value for event in told if isinstance(event, events.CustomWritten)) == {"percent": 50}
    gate.set()
    run.result(PATIENCE)


def test_what_a_body_wrote_is_recorded_once_however_often_it_runs(engine):
    @entrypoint()
    def writes(_: int) -> list:
        write = get_stream_writer()
        write("before")
        first = interrupt("one?")
        write("between")
        second = interrupt("two?")
        write("after")
        return [first, second]

    run = writes.start(1, thread_id="t")
    asks(run)
    run.resume(1)
    for event in run.events(follow=True, timeout=PATIENCE):
        if isinstance(event, events.WorkflowInterrupted) and event.interrupts[0].value == "two?":
            break
    while run.status != "interrupted":
        pass
    run.resume(2)
    assert run.result(PATIENCE) == [1, 2]
    written = [event.value for event in run.events() if isinstance(event, events.CustomWritten)]
    assert written == ["before", "between", "after"]


def test_what_cannot_be_kept_is_refused_where_it_is_written(engine):
    @entrypoint()
    def writes(_: int) -> str:
        try:
            get_stream_writer()(object())
        except NotSerializable as error:
            return str(error)
        return ""

    assert "writes" in writes.start(1).result(PATIENCE)
    assert writes.invoke(1, thread_id="plain") == ""


def test_events_tell_of_failures_attempts_and_cancellations(engine):
    @task(retry_policy=milepost.RetryPolicy(max_attempts=2, initial_interval=0.001))
    def flaky() -> str:
        ran["flaky"] += 1
        if ran["flaky"] == 1:
            raise ConnectionError("away")
        return "there"

    @task
    def broken() -> None:
        raise ValueError("broken")

    @entrypoint()
    def body(_: int) -> str:
        with suppress(ValueError):
            broken().result()
        return flaky().result() + str(hold(1).result())

    run = body.start(1)
    assert entered.wait(PATIENCE)
    run.cancel("enough")
    gate.set()
    with pytest.raises(RunCancelled) as error:
        run.result(PATIENCE)
    assert error.value.reason == "enough"
    told = {event.kind: event.as_json() for event in run.events()}
    assert told["task_failed"]["error"] == {"type": "ValueError", "message": "broken"}
    assert told["task_retried"]["error"] == {"type": "ConnectionError", "message": "away"}
    assert list(told)[-1] == "workflow_cancelled"


# -- cancelling --------------------------------------------------------------------------------------------------------


def test_a_run_that_waits_is_cancelled_at_once_and_may_be_retried(engine):
    run = asking.start(2, thread_id="t")
    (question,) = asks(run)
    run.cancel("no time")
    assert run.status == "cancelled"
    with pytest.raises(RunCancelled, match="cancelled"):
        run.result()
    run.cancel()
    run.retry()
    while run.status != "interrupted":
        pass
    assert [again.id for again in run.interrupts] == [question.id]


def test_a_request_to_cancel_reaches_the_process_that_runs_it(engine, checkpointer):
    """Its owner finds the request in the head, where another process left it."""
    run = holding.start(3, thread_id="t")
    assert entered.wait(PATIENCE)
    head = checkpointer.load_head("t")
    from milepost._claim import ask_to_cancel

    assert ask_to_cancel(checkpointer, "t", head.run, "from afar")
    watching = Engine(checkpointer=checkpointer, recover=True, poll=0.02)
    watching.begin()
    gate.set()
    rested = run.events(follow=True, timeout=PATIENCE)
    assert [event.kind for event in rested][-1] in {
        "workflow_cancelled",
        "workflow_finished",
    }  # if it was over before
    head = checkpointer.load_head("t")
    assert (head.owner, head.cancel, head.status) == (None, None, run.status)
    watching.close()


def test_a_request_to_cancel_outlives_the_process_it_was_for(engine, checkpointer):
    run = asking.start(2, thread_id="t")
    asks(run)
    head = checkpointer.load_head("t")
    dead = Owner(host="elsewhere", boot="b", pid=1, started=1, session="s")
    taken = milepost._struct.replace(
        head, version=head.version + 1, status=Status.RUNNING, owner=dead, lease=0.05, nonce="n"
    )
    assert checkpointer.swap_head(Swap(head=taken, expected=head.version))
    run.cancel("enough")
    while run.status != "cancelled":  # by this call, or by whoever takes the thread up
        run.cancel("enough")
    assert checkpointer.load_head("t").cancel is None


# -- keys --------------------------------------------------------------------------------------------------------------


def test_the_same_key_and_input_give_the_same_run(engine):
    first = chain.start(2, idempotency_key="order-7", owner="ann")
    again = chain.start(2, idempotency_key="order-7", owner="ann")
    assert (again.thread_id, again.id) == (first.thread_id, first.id)
    assert first.result(PATIENCE) == 8
    assert chain.start(2, idempotency_key="order-7", owner="ann").result() == 8
    assert ran["double", 2] == 1 or engine.replay_always


def test_a_key_belongs_to_its_owner(engine):
    runs = [chain.start(2, idempotency_key="k", owner=owner) for owner in (None, "ann", "ben")]
    assert len({run.thread_id for run in runs}) == 3
    for run in runs:
        run.result(PATIENCE)


def test_a_key_used_for_something_else_is_refused(engine):
    chain.start(2, idempotency_key="k").result(PATIENCE)
    for other in (
        lambda: chain.start(3, idempotency_key="k"),
        lambda: asking.start(2, idempotency_key="k"),
        lambda: chain.start(2, idempotency_key="k", thread_id="elsewhere"),
    ):
        with pytest.raises(IdempotencyConflict, match="'k'") as error:
            other()
        assert error.value.key == "k"
    assert "elsewhere" not in engine_threads(engine)


def test_a_key_finds_its_run_on_a_thread_of_ones_own(engine):
    first = chain.start(2, idempotency_key="k", thread_id="mine")
    assert first.thread_id == "mine"
    assert chain.start(2, idempotency_key="k").id == first.id
    first.result(PATIENCE)
    chain.start(9, thread_id="mine").result(PATIENCE)
    again = chain.start(2, idempotency_key="k", thread_id="mine")
    assert again.id == first.id
    assert again.result() == 8
    with pytest.raises(IdempotencyConflict):
        chain.start(2, idempotency_key="k", thread_id="other")
    with pytest.raises(IdempotencyConflict):
        chain.start(3, idempotency_key="k", thread_id="mine")
    assert engine_threads(engine) == ["mine"]


def test_a_key_whose_thread_was_deleted_starts_anew(engine):
    chain.start(2, idempotency_key="k", thread_id="mine").result(PATIENCE)
    chain.delete_thread("mine")
    assert chain.start(2, idempotency_key="k", thread_id="mine").result(PATIENCE) == 8


@pytest.mark.parametrize("thread", [None, "mine"])
def test_of_equal_starts_at_once_one_begins(engine, thread):
    def start(_):
        with engine:
            return holding.start(3, idempotency_key="k", thread_id=thread).id

    with ThreadPoolExecutor(8) as clients:
        ids = list(clients.map(start, range(8)))
    assert len(set(ids)) == 1
    gate.set()
    assert engine.run(thread or engine_threads(engine)[0]).result(PATIENCE) == 6
    assert ran["hold"] == 1 or engine.replay_always


def test_a_start_within_a_run_is_made_once_however_often_the_body_runs(engine):
    @entrypoint()
    def starts(_: int) -> list:
        threads = [chain.start(number).thread_id for number in (1, 2, 1)]
        interrupt("go on?")
        return threads

    run = starts.start(1, thread_id="t")
    asks(run)
    run.resume(True)
    threads = run.result(PATIENCE)
    assert len(set(threads)) == 3
    assert sorted(engine_threads(engine)) == sorted(["t", *threads])
    assert [engine.run(thread).result(PATIENCE) for thread in threads] == [4, 8, 4]


# -- busy threads ------------------------------------------------------------------------------------------------------


def test_a_busy_thread_says_who_holds_it_and_since_when(engine):
    run = holding.start(3, thread_id="t")
    for call in (holding.invoke, holding.start):
        with pytest.raises(ThreadBusy, match="since") as error:
            call(4, thread_id="t")
        assert error.value.since
        assert "process" in error.value.owner
    gate.set()
    assert run.result(PATIENCE) == 6


def test_waiting_for_a_busy_thread(engine):
    run = holding.start(3, thread_id="t")
    assert entered.wait(PATIENCE)
    with pytest.raises(ThreadBusy):
        chain.invoke(1, thread_id="t", busy=busy.wait(0.05))

    def later():
        with engine:
            return holding.invoke(4, thread_id="t", busy=busy.wait(PATIENCE))

    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(later)
        gate.set()
        assert waiting.result(PATIENCE) == 8
    assert run.result(PATIENCE) == 6
    assert holding.start(5, thread_id="t", busy="wait").result(PATIENCE) == 10


def test_joining_the_run_under_way(engine):
    run = holding.start(3, thread_id="t")
    assert entered.wait(PATIENCE)

    def join():
        with engine:
            return holding.invoke(99, thread_id="t", busy="join")

    with ThreadPoolExecutor(1) as other:
        joined = other.submit(join)
        assert holding.start(98, thread_id="t", busy=busy.join).id == run.id
        gate.set()
        assert joined.result(PATIENCE) == 6
    assert ran["double", 3] == 1 or engine.replay_always


def test_a_policy_that_cannot_be_is_refused(engine):
    for wrong in ("reject it", 3, None):
        with pytest.raises(InvalidStart):
            chain.invoke(1, thread_id="t", busy=wrong)
    for wrong in (-1, "soon", True):
        with pytest.raises(InvalidStart):
            busy.wait(wrong)


def test_an_interrupted_run_that_was_joined_gives_its_questions(engine):
    run = asking.start(2, thread_id="t")
    asks(run)
    assert asking.invoke(Command(resume=True), thread_id="t") == [4, True]
    assert run.result() == [4, True]


def test_who_waits_for_a_thread_holds_no_slot_that_the_thread_needs(checkpointer):
    @entrypoint()
    def naps(_: int) -> str:
        milepost.sleep(0.3)
        return "up"

    with Engine(checkpointer=checkpointer, background=1, poll=0.05) as engine:
        first = naps.start(1, thread_id="t")
        while first.status != "sleeping":
            threading.Event().wait(0.01)
        second = naps.start(2, thread_id="t", busy=busy.wait(5))
        assert first.result(PATIENCE) == second.result(PATIENCE) == "up"
    engine.close()


def test_a_request_to_cancel_is_on_record_also_where_the_run_executes_here(engine, checkpointer):
    run = holding.start(3, thread_id="t")
    assert entered.wait(PATIENCE)
    run.cancel("enough")
    assert checkpointer.load_head("t").cancel == "enough"
    gate.set()
    with pytest.raises(RunCancelled):
        run.result(PATIENCE)


@pytest.mark.parametrize("how", ["pauses", "is handed on"])
def test_a_request_to_cancel_that_nobody_has_seen_survives_that_the_run(engine, checkpointer, how):
    """The owner learns of it when its head is another than it knows, as it lays it down."""
    from milepost._claim import ask_to_cancel

    @entrypoint()
    def pausing(number: int) -> object:
        hold(number).result()
        return interrupt("sure?") if how == "pauses" else double(number).result()

    run = pausing.start(1, thread_id="t")
    assert entered.wait(PATIENCE)
    assert ask_to_cancel(checkpointer, "t", checkpointer.load_head("t").run, "enough")
    if how == "pauses":
        gate.set()
        while run.status in {"running", "interrupted"}:
            threading.Event().wait(0.01)
    else:
        engine.drain()
        gate.set()
        while (head := checkpointer.load_head("t")).owner is not None:
            threading.Event().wait(0.01)
        assert head.cancel == "enough"
        with Engine(checkpointer=checkpointer, recover=True, poll=0.02) as other:
            other.begin()
            while run.status == "running":
                threading.Event().wait(0.01)
        other.close()
    assert run.status == "cancelled"


def test_what_was_written_before_a_cancellation_is_not_recorded_again(engine, checkpointer):
    """The run is cut off after three, goes on elsewhere, and is cancelled there before it has come so far again."""
    stop = threading.Event()

    @entrypoint()
    def writes(_: int) -> str:
        for number in range(3):
            get_stream_writer()(number)
            if stop.is_set():
                _engine.current_engine().run("t").cancel()
                milepost.heartbeat()
        return double(hold(1).result()).result()

    run = writes.start(0, thread_id="t")
    assert entered.wait(PATIENCE)
    until_written(run, 3)
    engine.drain()
    gate.set()
    while checkpointer.load_head("t").owner is not None:
        threading.Event().wait(0.01)
    with Engine(checkpointer=checkpointer) as other:
        stop.set()
        run = other.run("t")
        run.retry()
        while run.status != "cancelled":
            threading.Event().wait(0.01)
        stop.clear()
        run.retry()
        run.result(PATIENCE)
        told = [event.value for event in run.events() if event.kind == "custom_written"]
        assert told == [0, 1, 2, {"doubling": 1}]
    other.close()


def until_written(run, count):
    while sum(event.kind == "custom_written" for event in run.events()) < count:
        threading.Event().wait(0.01)


def test_what_a_task_writes_when_it_is_retried_is_new(engine):
    @task
    def flaky() -> str:
        ran["flaky"] += 1
        get_stream_writer()(ran["flaky"])
        if ran["flaky"] == 1:
            raise ConnectionError("away")
        return "there"

    @entrypoint()
    def body(_: int) -> str:
        return flaky().result()

    run = body.start(1)
    with pytest.raises(ConnectionError):
        run.result(PATIENCE)
    run.retry()
    assert run.result(PATIENCE) == "there"
    assert [event.value for event in run.events() if event.kind == "custom_written"] == [1, 2]


def test_an_answer_is_on_record_also_where_the_workflow_is_gone(engine, checkpointer):
    """The handle knew a workflow that this process has dropped since."""
    import gc

    @entrypoint()
    def passing(_: int) -> str:
        return interrupt("who?")

    run = passing.start(1, thread_id="t")
    (question,) = asks(run)
    del passing
    gc.collect()
    run.resume({question.id: "ann"})
    assert run.interrupts == ()


def test_no_two_pairs_of_owner_and_key_are_one(engine):
    """Also where a text holds what separates them."""
    first = chain.start(1, owner="a", idempotency_key="b\0c", thread_id=None)
    second = chain.start(2, owner="a\0b", idempotency_key="c")
    third = chain.start(3, idempotency_key="1\0a\0b\0c")
    assert len({first.thread_id, second.thread_id, third.thread_id}) == 3
    assert [run.result(PATIENCE) for run in (first, second, third)] == [4, 8, 12]


@pytest.mark.parametrize("said", [{"idempotency_key": "\ud800"}, {"owner": "\ud800"}, {"tags": ["\ud800"]}])
def test_a_text_that_cannot_be_kept_is_refused(engine, checkpointer, said):
    with pytest.raises(InvalidStart, match="text"):
        chain.start(1, thread_id="t", **said)
    assert checkpointer.load_head("t") is None


def test_ctrl_c_as_the_thread_of_a_run_begins_leaves_the_run_to_that_thread(
    engine, checkpointer, monkeypatch
):
    start = threading.Thread.start

    def interrupted(thread):
        start(thread)
        if thread.name == "milepost-run":
            assert entered.wait(PATIENCE)
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        holding.start(3, thread_id="t")
    monkeypatch.undo()
    with pytest.raises(ThreadBusy):
        holding.invoke(None, thread_id="t")
    gate.set()
    assert engine.run("t").result(PATIENCE) == 6
    assert ran["hold"] == 1 or engine.replay_always


def test_closing_waits_for_a_run_whose_thread_has_not_come_to_it(checkpointer, monkeypatch):
    """It is handed on before the drivers are closed."""
    engine = Engine(checkpointer=checkpointer)
    execute = chain._execute_alone

    def late(*given):
        entered.set()
        assert gate.wait(PATIENCE)
        execute(*given)

    monkeypatch.setattr(chain, "_execute_alone", late)
    engine.start(chain, 1, thread_id="t")
    assert entered.wait(PATIENCE)
    closing = threading.Thread(target=engine.close)
    closing.start()
    closing.join(0.3)
    assert closing.is_alive()
    gate.set()
    closing.join(PATIENCE)
    head = checkpointer.load_head("t")
    assert (head.owner, head.offered) == (None, True)


def test_a_coroutine_that_cleans_up_is_not_cancelled_at_each_look(checkpointer):
    import asyncio

    @task
    async def cleaning() -> None:
        entered.set()
        try:
            await asyncio.sleep(PATIENCE)
        finally:
            try:
                for _ in range(20):
                    await asyncio.sleep(0.01)
                ran["cleaned"] += 1
            except asyncio.CancelledError:
                ran["again"] += 1
                raise

    @entrypoint()
    async def body(_: int) -> None:
        await cleaning()

    with Engine(checkpointer=checkpointer, recover=True, poll=0.02) as engine:
        run = body.start(1, thread_id="t")
        assert entered.wait(PATIENCE)
        run.cancel()
        with pytest.raises(RunCancelled):
            run.result(PATIENCE)
    engine.close()
    assert ran == {"cleaned": 1}
