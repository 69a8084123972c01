"""Faults of LangGraph's Functional API that do not happen here, each by the number it has in our list of them.

Parts that need async bodies, retry policies or time travel are left out; each docstring says which part is shown.
Other durability modes are in ``test_langgraph_durability_faults.py``.
"""

from __future__ import annotations

import signal
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from concurrent.futures import CancelledError
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction

import pytest

import milepost
from milepost import Command, entrypoint, events, interrupt, task
from milepost.checkpoint import Outcome, Status
from milepost.errors import (
    AlreadyAnswered,
    AmbiguousAnswer,
    DivergenceError,
    InvalidCommand,
    InvalidStreamMode,
    MissingThreadId,
    NoCheckpointer,
    NothingToResume,
    NotSerializable,
    OutsideWorkflow,
    StorageError,
    ThreadBusy,
    UnknownThread,
    WrongWorkflow,
)
from milepost.memory import MemoryCheckpointer
from other_process import OtherProcess

LOST_RACE = (ThreadBusy, AlreadyAnswered, NothingToResume)


def questions(answer):
    return answer["__interrupt__"]


def at_once(engine, count, function):
    """Call the function in so many threads at the same moment; return results and errors."""
    barrier, found = threading.Barrier(count), []

    def run(number):
        barrier.wait()
        try:
            with engine:
                found.append(function(number))
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def recorded(checkpointer, thread):
    return [
        record.call
        for _, batch in checkpointer.read(thread)
        for record in batch.records
        if type(record) is Outcome
    ]


# -- W1: deadlocks of the thread pool --------------------------------


@pytest.mark.parametrize("width", [1, 10])
def test_w01_one_worker_runs_nested_tasks_of_any_width(checkpointer, width):
    """Shown: flat and nested tasks at pool size one, where the original hangs. Left out: the asynchronous limit."""

    @task
    def leaf(number):
        return number

    @task
    def branch(number):
        return leaf(number).result() + sum(future.result() for future in [leaf(1), leaf(2)])

    @entrypoint()
    def workflow(width):
        return sum(future.result() for future in [branch(number) for number in range(width)])

    with milepost.Engine(checkpointer=checkpointer, workers=1) as engine:
        assert workflow.invoke(width, thread_id="w1") == sum(number + 3 for number in range(width))
    engine.close()


def test_w01_a_deep_chain_of_tasks_needs_no_worker_each(plain_engine):
    """Shown: recursion deeper than any pool."""

    @task
    def down(depth):
        return 0 if depth == 0 else 1 + down(depth - 1).result()

    @entrypoint()
    def workflow(depth):
        return down(depth).result()

    assert workflow.invoke(60) == 60


# -- W2, W3: answers to questions not asked --------------------------


@entrypoint()
def approval(name):
    return {"name": name, "approved": interrupt(f"approve {name}?")}


def test_w02_a_late_answer_is_refused_and_answers_no_later_question(engine):
    """Shown: an answer to a finished thread. Left out: an answer after `update_state`, which comes later."""
    approval.invoke("first", thread_id="w2")
    assert approval.invoke(Command(resume="yes"), thread_id="w2") == {"name": "first", "approved": "yes"}

    with pytest.raises(NothingToResume):
        approval.invoke(Command(resume="yes again"), thread_id="w2")

    asked = approval.invoke("second", thread_id="w2")
    assert [question.value for question in questions(asked)] == ["approve second?"]


def test_w03_going_on_with_none_answers_no_question(engine):
    """Shown: two questions, one answered, then `invoke(None)`; after a pause and after an error."""
    broken = [True]

    @task
    def send():
        if broken:
            broken.clear()
            raise ConnectionError("mail server is down")
        return "sent"

    @entrypoint()
    def two_questions(_):
        first = interrupt("first?")
        sent = send().result()
        return [first, sent, interrupt("second?")]

    two_questions.invoke("go", thread_id="w3")
    with pytest.raises(ConnectionError):
        two_questions.invoke(Command(resume="one"), thread_id="w3")
    for _ in range(3):
        asked = two_questions.invoke(None, thread_id="w3")
        assert [question.value for question in questions(asked)] == ["second?"]
    assert two_questions.invoke(Command(resume="two"), thread_id="w3") == ["one", "sent", "two"]


# -- W4: questions of parallel tasks ---------------------------------


@task
def ask(number):
    return interrupt(f"question {number}")


@entrypoint()
def three_at_once(_):
    return [future.result() for future in [ask(number) for number in range(3)]]


ASKED = ["question 0", "question 1", "question 2"]


def test_w04_questions_of_parallel_tasks_are_all_shown_and_answered_by_one_map(engine):
    """Shown: caller, stream and state agree on all three; a plain answer is refused; a map answers all."""
    (chunk,) = three_at_once.stream("go", thread_id="w4")
    asked = chunk["__interrupt__"]
    state = three_at_once.get_state(thread_id="w4")
    assert [question.value for question in asked] == ASKED
    assert list(state.interrupts) == list(asked) == questions(three_at_once.invoke(None, thread_id="w4"))

    with pytest.raises(AmbiguousAnswer) as caught:
        three_at_once.invoke(Command(resume="yes"), thread_id="w4")
    assert all(question.id in str(caught.value) for question in asked)

    answers = {question.id: f"answer to {question.value}" for question in asked}
    result = three_at_once.invoke(Command(resume=answers), thread_id="w4")
    assert result == [f"answer to {value}" for value in ASKED]


def test_w04_questions_of_parallel_tasks_can_be_answered_one_by_one(engine):
    """Shown: those not answered yet stay pending under the same ids."""
    asked = questions(three_at_once.invoke("go", thread_id="w4"))
    for left in (3, 2):
        assert len(asked) == left
        rest = asked[:-1]
        asked = questions(three_at_once.invoke(Command(resume={asked[-1].id: left}), thread_id="w4"))
        assert asked == rest
    assert three_at_once.invoke(Command(resume=1), thread_id="w4") == [1, 2, 3]


# -- W5: two at once -------------------------------------------------


def test_w05_double_resume_has_one_winner(engine):
    """Shown: two threads of one process resume at the same moment; other processes are shown in test_ownership."""
    paid = []

    @task
    def pay(amount):
        paid.append(amount)
        return amount

    @entrypoint()
    def payment(_):
        return pay(interrupt("how much?")).result()

    for number in range(20):
        paid.clear()
        thread = f"w5-{number}"
        payment.invoke("go", thread_id=thread)
        found = at_once(
            engine, 2, lambda mine, id_=thread: payment.invoke(Command(resume=mine), thread_id=id_)
        )
        losers = [result for result in found if isinstance(result, LOST_RACE)]
        assert len(losers) == 1, found
        (winner,) = [result for result in found if result not in losers]
        assert paid == [winner] == [payment.get_state(thread_id=thread).values]


def test_w05_of_two_runs_at_once_none_is_lost(engine):
    """Shown: runs on one thread follow one another, so each sees what the one before saved."""
    entered, gone = threading.Event(), threading.Event()

    @entrypoint()
    def append(number, *, previous):
        entered.set()
        gone.wait(30)
        return [*(previous or []), number]

    def run_first():
        with engine:
            append.invoke(1, thread_id="w5")

    first = threading.Thread(target=run_first)
    first.start()
    entered.wait(30)
    try:
        with pytest.raises(ThreadBusy):
            append.invoke(2, thread_id="w5")
    finally:
        gone.set()
        first.join()
    assert append.invoke(3, thread_id="w5") == [1, 3]


# -- W6: durable when the future resolves ----------------------------


class SlowCheckpointer(MemoryCheckpointer):
    """Takes its time for each append, as a distant backend does."""

    def _append(self, thread, position, data, swap):
        threading.Event().wait(0.03)
        super()._append(thread, position, data, swap)


def test_w06_an_outcome_is_durable_when_its_future_resolves():
    """Shown: with a slow backend the record is there when `.result()` returns, for tasks run anywhere."""
    checkpointer = SlowCheckpointer()
    seen = []

    @task
    def work(number):
        return number

    @entrypoint()
    def workflow(_):
        futures = [work(number) for number in range(6)]
        for number, future in enumerate(futures):
            future.result()
            seen.append(str(number) in recorded(checkpointer, "w6"))
        work(6).result()
        seen.append("6" in recorded(checkpointer, "w6"))

    with milepost.Engine(checkpointer=checkpointer, workers=3) as engine:
        workflow.invoke("go", thread_id="w6")
    engine.close()
    assert seen == [True] * 7


def test_w06_a_failing_backend_stops_the_body_at_once():
    """Shown: no further task begins after a save failed, and the caller gets the backend's error."""
    begun = []

    class FullDisk(MemoryCheckpointer):
        def _append(self, thread, position, data, swap):
            if b'"paid' in data:
                raise StorageError("the disk is full")
            super()._append(thread, position, data, swap)

    @task
    def pay(number):
        begun.append(number)
        return f"paid {number}"

    @entrypoint()
    def workflow(_):
        for number in range(5):
            try:
                pay(number).result()
            except Exception:
                begun.append("swallowed")

    with (
        milepost.Engine(checkpointer=FullDisk()) as engine,
        pytest.raises(StorageError, match="the disk is full"),
    ):
        workflow.invoke("go", thread_id="w6")
    engine.close()
    assert begun == [0]


KILLED = """
    engine = make_engine(checkpointer="sqlite:///w6.db")

    @task
    def pay():
        note("paid")
        return 100

    @entrypoint()
    def workflow(_):
        amount = pay().result()
        if sys.argv[1] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return amount

    with engine:
        say(workflow.invoke(None if sys.argv[1] == "again" else "go", thread_id="w6"))
"""


def test_w06_a_kill_right_after_the_result_repeats_nothing(tmp_path):
    """Shown: SIGKILL at the moment the future resolved; the paid task does not run twice."""
    with OtherProcess(KILLED, tmp_path, "killed") as child:
        assert child.wait() == -signal.SIGKILL
    with OtherProcess(KILLED, tmp_path, "again") as child:
        assert child.end() == ["100"]
    assert (tmp_path / "ledger").read_text() == "paid\n"


# -- W7: results are not aliases -------------------------------------


def test_w07_what_the_body_does_to_a_result_is_not_recorded(engine):
    """Shown: a body that changes a task's result in place gets the unchanged one on replay; also the task's own."""
    kept = []

    @task
    def rows():
        found = [1]
        kept.append(found)
        return found

    @entrypoint()
    def workflow(_):
        result = rows().result()
        kept[-1].append("by the task, later")
        result.append("by the body")
        return [result, interrupt("go on?")]

    for number in range(50):
        workflow.invoke("go", thread_id=f"w7-{number}")
        result = workflow.invoke(Command(resume=True), thread_id=f"w7-{number}")
        assert result == [[1, "by the body"], True]


def test_w07_an_argument_changed_after_the_call_does_not_change_the_call(engine):
    """Shown: the call's digest is taken when the call is made, so a replay does not diverge."""

    @task
    def count(rows):
        return len(rows)

    @entrypoint()
    def workflow(_):
        rows = [1, 2]
        counted = count(rows).result()
        rows.append(3)
        return [counted, interrupt("go on?"), rows]

    workflow.invoke("go", thread_id="w7")
    assert workflow.invoke(Command(resume=True), thread_id="w7") == [2, True, [1, 2, 3]]


# -- W9: old results -------------------------------------------------


def test_w09_a_later_run_says_nothing_of_an_earlier_ones_result(engine):
    """Shown: the pause and the stream after the answer hold no value of the run before. Left out: time travel."""

    @entrypoint()
    def workflow(number):
        return {"number": number} if number == 1 else {"answer": interrupt("?")}

    modes = ["values", "updates"]
    workflow.invoke(1, thread_id="w9")
    assert list(workflow.invoke(2, thread_id="w9")) == ["__interrupt__"]
    pause = list(workflow.stream(None, thread_id="w9", stream_mode=modes))
    assert [list(chunk) for _, chunk in pause] == [["__interrupt__"]] * 2
    assert list(workflow.stream(Command(resume="yes"), thread_id="w9", stream_mode=modes)) == [
        ("values", {"answer": "yes"}),
        ("updates", {"workflow": {"answer": "yes"}}),
    ]


# -- W11: nobody waits for it ----------------------------------------


def test_w11_a_question_of_a_task_nobody_waits_for_is_asked_before_the_run_is_over(engine):
    """Shown: the caller gets the question, not the result; afterwards `previous` is the run's."""

    @entrypoint()
    def workflow(number, *, previous):
        ask(number)
        return {"number": number, "previous": previous and previous["number"]}

    asked = questions(workflow.invoke(1, thread_id="w11"))
    assert [question.value for question in asked] == ["question 1"]
    assert workflow.get_state(thread_id="w11").values is None
    assert workflow.invoke(Command(resume="yes"), thread_id="w11") == {"number": 1, "previous": None}
    workflow.invoke(2, thread_id="w11")
    assert workflow.invoke(Command(resume="yes"), thread_id="w11") == {"number": 2, "previous": 1}


def test_w11_an_error_of_a_task_nobody_waits_for_fails_the_run(engine):
    """Shown: the error reaches the caller, and the run can be continued."""
    broken = [True]

    @task
    def log():
        if broken:
            raise ConnectionError("no log server")

    @entrypoint()
    def workflow(_):
        log()
        return "done"

    with pytest.raises(ConnectionError, match="no log server"):
        workflow.invoke("go", thread_id="w11")
    broken.clear()
    assert workflow.invoke(None, thread_id="w11") == "done"


# -- W12: divergence -------------------------------------------------


@task
def double(number):
    return 2 * number


@task
def triple(number):
    return 3 * number


def other_arguments(change):
    return double(2 if change else 1).result()


def other_task(change):
    return (triple if change else double)(1).result()


def other_order(change):
    tasks = [triple, double] if change else [double, triple]
    return [made(1).result() for made in tasks]


def inserted_call(change):
    before = [triple(7).result()] if change else []
    return [*before, double(1).result()]


def removed_call(change):
    return [made.result() for made in [double(1), *([] if change else [double(2)])]]


@pytest.mark.parametrize("body", [other_arguments, other_task, other_order, inserted_call, removed_call])
def test_w12_code_that_changed_is_found_before_a_wrong_value_is_used(engine, body):
    """Shown: arguments, task, order, an inserted and a removed call; both calls are named. Left out: versions."""
    changed = []

    @entrypoint()
    def workflow(_):
        made = body(bool(changed))
        return [made, interrupt("go on?")]

    workflow.invoke("go", thread_id="w12")
    changed.append(True)
    with pytest.raises(DivergenceError) as caught:
        workflow.invoke(Command(resume=True), thread_id="w12")
    assert caught.value.recorded.startswith("double(")
    assert caught.value.recorded in str(caught.value)
    assert workflow.get_state(thread_id="w12").status is Status.FAILED

    changed.clear()
    result = workflow.invoke(None, thread_id="w12")
    assert result[1] is True


def test_w12_another_workflow_does_not_take_a_thread_over(engine):
    """Shown: a thread belongs to its workflow; the pending run is still there afterwards."""

    @entrypoint()
    def other(_):
        return "other"

    approval.invoke("first", thread_id="w12")
    for given in ("new", None, Command(resume="yes")):
        with pytest.raises(WrongWorkflow) as caught:
            other.invoke(given, thread_id="w12")
        assert caught.value.bound_to == "approval"
    assert approval.invoke(Command(resume="yes"), thread_id="w12")["approved"] == "yes"


def test_w12b_a_failure_that_the_body_caught_is_replayed_and_takes_the_same_branch(engine):
    """Shown: the failed task does not run again, and the body gets the same exception."""
    calls, seen = [], []

    @task
    def flaky():
        calls.append(1)
        if len(calls) == 1:
            raise KeyError("first time only")
        return "would be another branch"

    @entrypoint()
    def workflow(_):
        try:
            branch = flaky().result()
        except KeyError as error:
            branch = f"caught {error}"
        seen.append(branch)
        return [branch, interrupt("go on?")]

    workflow.invoke("go", thread_id="w12b")
    result = workflow.invoke(Command(resume=True), thread_id="w12b")
    assert result == ["caught 'first time only'", True]
    assert set(seen) == {"caught 'first time only'"}
    assert calls == [1]


def test_w12b_a_cancellation_is_replayed(checkpointer):
    """Shown: a task cancelled before it began is cancelled on replay, too."""
    ran = []
    busy, free = threading.Event(), threading.Event()

    @task
    def hold():
        busy.set()
        free.wait(30)

    @task
    def victim():
        ran.append(1)

    @entrypoint()
    def workflow(_):
        holding = hold()
        busy.wait(30)
        cancelled = victim()
        was = cancelled.cancel()
        free.set()
        holding.result()
        try:
            cancelled.result()
        except CancelledError:
            return [was, interrupt("go on?")]
        return "it ran"

    with milepost.Engine(checkpointer=checkpointer, workers=1) as engine:
        workflow.invoke("go", thread_id="w12b")
        assert workflow.invoke(Command(resume=True), thread_id="w12b") == [True, True]
    engine.close()
    assert ran == []


# -- W13: control flow that user code swallows -----------------------


def swallow_exception():
    try:
        return interrupt("sure?")
    except Exception:
        return "swallowed"


def swallow_everything():
    try:
        return interrupt("sure?")
    except BaseException:
        return "swallowed"


def swallow_in_finally():
    try:
        return interrupt("sure?")
    finally:
        return "swallowed"  # noqa: B012, SIM107 - what people write


def swallow_from_a_task():
    try:
        return ask("sure?").result()
    except BaseException:
        return "swallowed"


@pytest.mark.parametrize(
    "body", [swallow_exception, swallow_everything, swallow_in_finally, swallow_from_a_task]
)
def test_w13_a_swallowed_question_is_asked_all_the_same(engine, body):
    """Shown: the run does not finish without an answer, whatever the body catches."""
    went_on = []

    @task
    def pay():
        went_on.append(1)

    @entrypoint()
    def workflow(_):
        answer = body()
        if answer == "swallowed":
            pay().result()
        return answer

    assert len(questions(workflow.invoke("go", thread_id="w13"))) == 1
    assert workflow.get_state(thread_id="w13").status is Status.INTERRUPTED
    assert went_on == []


def test_w13_an_answered_question_under_except_exception_gives_its_answer(engine):
    """Shown: once there is an answer, the same body goes through."""

    @entrypoint()
    def workflow(_):
        return swallow_exception()

    workflow.invoke("go", thread_id="w13")
    assert workflow.invoke(Command(resume="yes"), thread_id="w13") == "yes"


# -- W16: cancellation -----------------------------------------------


def test_w16_ctrl_c_ends_the_run_before_its_next_task(engine):
    """Shown: no later task runs, and the thread goes on where it was. Real signals are shown in test_stopping."""
    ran, pressed = [], []

    @task
    def step(number):
        if number == 2 and not pressed:
            pressed.append(1)
            raise KeyboardInterrupt
        ran.append(number)
        return number

    @entrypoint()
    def workflow(_):
        return [step(number).result() for number in range(5)]

    with pytest.raises(KeyboardInterrupt):
        workflow.invoke("go", thread_id="w16")
    assert ran == [0, 1]
    assert workflow.invoke(None, thread_id="w16") == [0, 1, 2, 3, 4]
    assert ran == [0, 1, 2, 3, 4]


def test_w16_closing_a_stream_ends_the_run_before_its_next_task(engine):
    """Shown: the abandoned run stops, and can be continued."""
    ran, left = [], threading.Event()

    @task
    def step(number):
        if number:
            left.wait(30)
        ran.append(number)
        return number

    @entrypoint()
    def workflow(_):
        return [step(number).result() for number in range(5)]

    stream = workflow.stream("go", thread_id="w16")
    assert next(stream) == {"step": 0}
    threading.Timer(0.05, left.set).start()
    stream.close()
    assert ran in ([0], [0, 1])
    assert workflow.invoke(None, thread_id="w16") == [0, 1, 2, 3, 4]
    assert ran == [0, 1, 2, 3, 4]


# -- W17: serialisation ----------------------------------------------


class Weight(IntEnum):
    LIGHT = 1


class Text(str):
    __slots__ = ()


@dataclass
class Point:
    x: int


DELICATE = [
    ("tuple", lambda: (1, (2, 3))),
    ("ordered dict", lambda: OrderedDict(a=1)),
    ("defaultdict", lambda: defaultdict(list, a=[1])),
    ("counter", lambda: Counter("aab")),
    ("str subclass", lambda: Text("text")),
    ("int enum", lambda: Weight.LIGHT),
    ("dataclass", lambda: Point(x=1)),
    ("exception", lambda: ValueError("as a value")),
    ("surrogate", lambda: "\ud800"),
    ("bounded deque", lambda: deque([1, 2], maxlen=3)),
    ("fraction", lambda: Fraction(1, 3)),
    ("decimal", lambda: Decimal("1.10")),
    ("complex", lambda: complex(1, -0.0)),
    ("range", lambda: range(1, 9, 2)),
    ("big int", lambda: 2**200),
    ("set of tuples", lambda: {(1, 2), (3, 4)}),
    ("int keys", lambda: {1: "one", "1": "text"}),
]


@pytest.mark.parametrize("make", [make for _, make in DELICATE], ids=[name for name, _ in DELICATE])
def test_w17_a_value_comes_back_as_it_was_or_is_refused_when_it_is_made(engine, make):
    """Shown: what the body gets after the resume equals what it got before, in value and type, or it never got it."""
    seen = []

    @task
    def produce():
        return make()

    @entrypoint()
    def workflow(_):
        try:
            value = produce().result()
        except NotSerializable as error:
            seen.append((type(error), str(error)))
        else:
            seen.append((type(value), repr(value)))
        interrupt("go on?")

    workflow.invoke("go", thread_id="w17")
    workflow.invoke(Command(resume=True), thread_id="w17")
    assert len(set(seen)) == 1
    assert seen[0] == (type(make()), repr(make())) or seen[0][0] is NotSerializable


def test_w17_a_value_that_cannot_be_kept_is_refused_at_result_naming_task_and_path(engine):
    """Shown: the body hears of it at once, can go on, and a later question is asked."""

    @task
    def fetch():
        return {"rows": [1, {"handle": threading.Lock()}]}

    @entrypoint()
    def workflow(_):
        try:
            fetch().result()
        except NotSerializable as error:
            return [str(error), error.where, error.path, interrupt("go on?")]
        return "no error"

    asked = workflow.invoke("go", thread_id="w17")
    assert [question.value for question in questions(asked)] == ["go on?"]
    text, where, path, answer = workflow.invoke(Command(resume=True), thread_id="w17")
    assert "fetch" in where
    assert where in text
    assert path == "$.rows[1].handle"
    assert path in text
    assert answer is True


# -- W21: edges ------------------------------------------------------


def test_w21_an_empty_command_says_so_and_none_is_an_answer(engine):
    """Shown: `Command()` is refused where it is made; None, False and {} are answers like any other."""
    with pytest.raises(InvalidCommand, match="resume"):
        Command()
    for number, answer in enumerate([None, False, {}, []]):
        approval.invoke("x", thread_id=f"w21-{number}")
        assert approval.invoke(Command(resume=answer), thread_id=f"w21-{number}")["approved"] == answer


def test_w21_a_command_or_none_on_a_fresh_thread_runs_nothing(engine):
    """Shown: the command is never taken for an input."""
    ran = []

    @entrypoint()
    def workflow(given):
        ran.append(given)

    for given in (Command(resume="yes"), None):
        with pytest.raises(UnknownThread):
            workflow.invoke(given, thread_id="w21")
    assert ran == []


def test_w21_a_question_without_a_checkpointer_fails_at_once(plain_engine):
    """Shown: the error names the remedy, and no dead end is returned."""
    with pytest.raises(NoCheckpointer, match="checkpointer="):
        approval.invoke("x")


@pytest.mark.parametrize("config", [None, {}, {"configurable": {}}, {"configurable": {"user": "me"}}])
def test_w21_a_missing_thread_id_is_one_typed_error(engine, config):
    """Shown: with and without `configurable`."""
    with pytest.raises(MissingThreadId, match="thread_id"):
        approval.invoke("x", config)


@pytest.mark.parametrize("mode", ["bogus", [], (), ["updates", "bogus"]])
def test_w21_an_unknown_stream_mode_is_an_error(engine, mode):
    """Shown: refused where the stream is asked for. Left out: version, which is no parameter."""
    with pytest.raises(InvalidStreamMode):
        approval.stream("x", thread_id="w21", stream_mode=mode)


def test_w21_several_modes_label_their_chunks_in_a_list_and_in_a_tuple(engine):
    """Shown: a tuple of modes is labelled as a list is."""
    for number, modes in enumerate([["updates", "values"], ("updates", "values")]):
        chunks = list(approval.stream("x", thread_id=f"w21-{number}", stream_mode=modes))
        assert [mode for mode, _ in chunks] == ["updates", "values"]


# -- W22: observability ----------------------------------------------


@task
def same_name(number: int) -> int:
    return number


@entrypoint
def same_name_twice(given: int) -> int:
    return sum(future.result() for future in [same_name(given), same_name(given)]) + interrupt("?")


def test_w22_starts_and_ends_balance_on_resume_and_say_what_is_replayed(engine):
    """Shown: a resume tells each recorded call's start and end. Left out: attempts, a picture."""
    list(same_name_twice.stream(1, thread_id="w22"))
    chunks = list(same_name_twice.stream(Command(resume=1), thread_id="w22", stream_mode="tasks"))
    assert [(chunk["id"], chunk.get("status"), chunk["replayed"]) for chunk in chunks] == [
        ("", None, True),
        ("0", None, True),
        ("0", "done", True),
        ("1", None, True),
        ("1", "done", True),
        ("", "done", False),
    ]


def test_w22_calls_of_one_name_can_be_told_apart(engine):
    """Shown: each event has its call's id, which the state shows, too."""
    told = list(same_name_twice.stream(1, thread_id="w22", stream_mode="events"))
    ids = {event.call for event in told if isinstance(event, events.TaskFinished)}
    assert ids == {
        known.id for known in same_name_twice.get_state(thread_id="w22").tasks if known.name == "same_name"
    }
    assert ids == {"0", "1"}


# -- W25: what a run carries along -----------------------------------


def test_w25_custom_events_are_not_written_again(engine):
    """Shown: what body and tasks wrote before a pause. Left out: the context of a run."""

    @task
    def write():
        milepost.get_stream_writer()("from a task")

    @entrypoint()
    def workflow(_):
        milepost.get_stream_writer()("from the body")
        write().result()
        interrupt("go on?")
        milepost.get_stream_writer()("after the pause")

    before = list(workflow.stream("go", thread_id="w25", stream_mode="custom"))
    after = list(workflow.stream(Command(resume=True), thread_id="w25", stream_mode="custom"))
    assert before == ["from the body", "from a task"]
    assert after == ["after the pause"]


def test_w25_a_thread_of_the_users_own_is_told_that_it_is_outside(engine):
    """Shown: a task, a writer and a question on such a thread are one typed error that says where to call them."""
    found = []

    def call():
        for function in (lambda: ask(1), milepost.get_stream_writer, lambda: interrupt("?")):
            try:
                function()
            except OutsideWorkflow as error:
                found.append("workflow" in str(error))

    @entrypoint()
    def workflow(_):
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        return "done"

    assert workflow.invoke("go", thread_id="w25") == "done"
    assert set(found) == {True}
    assert len(found) % 3 == 0
