"""Questions and answers: in sequence, side by side, nested; each answered once, none lost, none swallowed."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from typing import Any

import pytest

from milepost import Command, Engine, Interrupt, MemorySaver, entrypoint, interrupt, task
from milepost.errors import (
    AlreadyAnswered,
    AmbiguousAnswer,
    DivergenceError,
    InvalidCommand,
    MilepostError,
    NothingToResume,
    NotSerializable,
    UnknownInterrupt,
    UnknownThread,
    WrongWorkflow,
)

PATIENCE = 20
UNASKED = "int_" + "0" * 32


@task
def ask(question: str) -> Any:
    return interrupt(question)


def questions(result):
    """Return the questions of a paused run by their values."""
    assert list(result) == ["__interrupt__"]
    return {question.value: question for question in result["__interrupt__"]}


def records(checkpointer, thread="t"):
    return [record for _, batch in checkpointer.read(thread) for record in batch.records]


# -- in sequence ---------------------------------------------------------------------------------------------------


def test_a_question_pauses_the_run_and_shows_value_and_id(engine):
    @entrypoint
    def body(given) -> str:
        return interrupt({"really": given})

    result = body.invoke(1, thread_id="t")
    assert list(result) == ["__interrupt__"]
    (question,) = result["__interrupt__"]
    assert isinstance(question, Interrupt)
    assert question.value == {"really": 1}
    assert question.id.startswith("int_")
    assert body.invoke(Command(resume="yes"), thread_id="t") == "yes"


def test_several_questions_in_sequence_are_answered_one_by_one(engine):
    @entrypoint
    def body(given) -> list[Any]:
        return [interrupt(number) for number in range(4)]

    result, ids = body.invoke(1, thread_id="t"), []
    for number in range(4):
        (question,) = result["__interrupt__"]
        assert question.value == number
        ids.append(question.id)
        result = body.invoke(Command(resume=number * 10), thread_id="t")
    assert result == [0, 10, 20, 30]
    assert len(set(ids)) == 4


def test_a_question_can_be_asked_until_the_answer_will_do(engine):
    @entrypoint
    def body(given) -> int:
        text = "how old?"
        while True:
            answer = interrupt(text)
            if isinstance(answer, int):
                return answer
            text = f"{answer!r} is no age: how old?"

    body.invoke(1, thread_id="t")
    again = questions(body.invoke(Command(resume="old"), thread_id="t"))
    assert list(again) == ["'old' is no age: how old?"]
    assert body.invoke(Command(resume=42), thread_id="t") == 42


@pytest.mark.parametrize(
    "answer", [True, False, None, {}, [], 0, "", "text", {"a": {"b": [1]}}, (1, 2), b"x", {"int_": 1}]
)
def test_any_value_is_an_answer_the_empty_ones_included(engine, answer):
    @entrypoint
    def body(given) -> Any:
        first = interrupt("first")
        interrupt("second")
        return first

    body.invoke(1, thread_id="t")
    assert list(questions(body.invoke(Command(resume=answer), thread_id="t"))) == ["second"]
    got = body.invoke(Command(resume="go on"), thread_id="t")
    assert got == answer
    assert type(got) is type(answer)


def test_a_dict_with_one_ordinary_key_is_one_answer(engine):
    @entrypoint
    def body(given) -> Any:
        return interrupt("?")

    body.invoke(1, thread_id="t")
    answer = {UNASKED: 1, "key": 2}
    assert body.invoke(Command(resume=answer), thread_id="t") == answer


def test_an_answer_changed_by_the_body_is_unchanged_on_replay(engine):
    @entrypoint
    def body(given) -> Any:
        answer = interrupt("?")
        answer.append("changed")
        interrupt("again")
        return answer

    body.invoke(1, thread_id="t")
    body.invoke(Command(resume=["given"]), thread_id="t")
    assert body.invoke(Command(resume=1), thread_id="t") == ["given", "changed"]


def test_what_is_asked_may_be_built_from_results(engine):
    @task
    def prepare() -> dict[str, int]:
        return {"amount": 5}

    @entrypoint
    def body(given) -> Any:
        return interrupt({"approve": prepare().result()})

    result = body.invoke(1, thread_id="t")
    assert result["__interrupt__"][0].value == {"approve": {"amount": 5}}
    assert body.invoke(Command(resume=1), thread_id="t") == 1


def test_an_id_stays_the_same_however_often_it_is_shown(engine):
    @entrypoint
    def body(given) -> Any:
        return interrupt("?")

    (question,) = body.invoke(1, thread_id="t")["__interrupt__"]
    assert body.invoke(None, thread_id="t") == {"__interrupt__": [question]}
    assert body.get_state(thread_id="t").interrupts == (question,)
    assert list(body.stream(None, thread_id="t")) == [{"__interrupt__": (question,)}]


def test_ids_differ_between_threads_and_between_runs(engine):
    @entrypoint
    def body(given) -> Any:
        return interrupt("?")

    ids = [body.invoke(1, thread_id=thread)["__interrupt__"][0].id for thread in ("a", "b", "a")]
    assert len(set(ids)) == 3


def test_none_answers_nothing_and_executes_nothing(engine, checkpointer):
    executed = Counter()

    @task
    def step() -> None:
        executed["step"] += 1

    @entrypoint
    def body(given) -> Any:
        step().result()
        return interrupt("?")

    first = body.invoke(1, thread_id="t")
    before = len(records(checkpointer))
    assert body.invoke(None, thread_id="t") == first
    assert len(records(checkpointer)) == before
    assert executed["step"] == 1
    assert body.invoke(Command(resume="x"), thread_id="t") == "x"


def test_a_pause_is_never_mixed_with_an_older_result(engine):
    @entrypoint
    def body(given: int) -> Any:
        return {"result": interrupt("?")} if given else {"earlier": True}

    assert body.invoke(0, thread_id="t") == {"earlier": True}
    paused = body.invoke(1, thread_id="t")
    assert list(paused) == ["__interrupt__"]


def test_a_question_that_cannot_be_kept_is_refused_and_named(engine):
    @entrypoint
    def body(given) -> Any:
        return interrupt({"ask": [1, object()]})

    with pytest.raises(NotSerializable, match=r"body.*\$\.ask\[1\]"):
        body.invoke(1, thread_id="t")


def test_an_answer_that_cannot_be_kept_is_refused_and_changes_nothing(engine, checkpointer):
    @entrypoint
    def body(given) -> Any:
        return interrupt("?")

    paused = body.invoke(1, thread_id="t")
    before = len(records(checkpointer))
    with pytest.raises(NotSerializable, match="answer"):
        body.invoke(Command(resume=object()), thread_id="t")
    assert len(records(checkpointer)) == before
    assert body.invoke(None, thread_id="t") == paused
    assert body.invoke(Command(resume=5), thread_id="t") == 5


def test_a_question_that_differs_when_the_body_runs_again_is_a_divergence(engine):
    words = iter(["first", "second"])

    @entrypoint
    def body(given) -> Any:
        return interrupt(next(words))

    body.invoke(1, thread_id="t")
    with pytest.raises(DivergenceError) as caught:
        body.invoke(Command(resume="yes"), thread_id="t")
    assert caught.value.recorded == 'interrupt("first")'
    assert caught.value.made == 'interrupt("second")'


# -- side by side --------------------------------------------------------------------------------------------------


def test_questions_of_tasks_side_by_side_are_all_shown_in_the_order_of_the_calls(engine):
    @entrypoint
    def body(given) -> list[Any]:
        futures = [ask(name) for name in "abcdefghijkl"]
        return [future.result() for future in futures]

    result = body.invoke(1, thread_id="t")
    assert [question.value for question in result["__interrupt__"]] == list("abcdefghijkl")
    answers = {question.id: question.value.upper() for question in result["__interrupt__"]}
    assert body.invoke(Command(resume=answers), thread_id="t") == list("ABCDEFGHIJKL")


def test_some_answers_leave_the_other_questions_as_they_were(engine):
    executed = Counter()

    @task
    def note(name: str, answer: Any) -> Any:
        executed[name] += 1
        return answer

    @task
    def step(name: str) -> Any:
        return note(name, interrupt(name)).result()

    @entrypoint
    def body(given) -> list[Any]:
        return [future.result() for future in [step("a"), step("b"), step("c")]]

    first = questions(body.invoke(1, thread_id="t"))
    second = questions(body.invoke(Command(resume={first["b"].id: "B"}), thread_id="t"))
    assert second == {"a": first["a"], "c": first["c"]}
    assert executed == {"b": 1}
    answers = {first["c"].id: "C", first["a"].id: "A"}
    assert body.invoke(Command(resume=answers), thread_id="t") == ["A", "B", "C"]
    assert executed == {"a": 1, "b": 1, "c": 1}


def test_a_plain_answer_to_several_questions_is_ambiguous_and_changes_nothing(engine, checkpointer):
    @entrypoint
    def body(given) -> list[Any]:
        return [future.result() for future in [ask("a"), ask("b")]]

    paused = body.invoke(1, thread_id="t")
    before = len(records(checkpointer))
    with pytest.raises(AmbiguousAnswer, match=questions(paused)["a"].id) as caught:
        body.invoke(Command(resume="A"), thread_id="t")
    assert caught.value.thread_id == "t"
    assert len(records(checkpointer)) == before
    assert body.invoke(None, thread_id="t") == paused


def test_the_questions_of_body_and_tasks_are_shown_together(engine):
    @entrypoint
    def body(given) -> list[Any]:
        future = ask("task")
        return [interrupt("body"), future.result()]

    found = questions(body.invoke(1, thread_id="t"))
    assert set(found) == {"task", "body"}
    answers = {question.id: value.upper() for value, question in found.items()}
    assert body.invoke(Command(resume=answers), thread_id="t") == ["BODY", "TASK"]


def test_a_question_of_a_task_nobody_waits_for_pauses_the_run_instead_of_finishing_it(engine, checkpointer):
    @entrypoint
    def body(given) -> str:
        ask("unheard")
        return "end"

    found = questions(body.invoke(1, thread_id="t"))
    assert list(found) == ["unheard"]
    assert [record.kind for record in records(checkpointer)][-1] == "interrupted"
    assert body.invoke(Command(resume=1), thread_id="t") == "end"


def test_tasks_that_run_when_the_run_pauses_are_waited_for_and_recorded():
    go, begun, executed = threading.Event(), threading.Event(), Counter()

    @task
    def slow() -> str:
        executed["slow"] += 1
        begun.set()
        assert go.wait(PATIENCE)
        return "slow"

    @task
    def release() -> Any:
        assert begun.wait(PATIENCE)
        go.set()
        return interrupt("?")

    @entrypoint
    def body(given) -> list[Any]:
        future = slow()
        return [release().result(), future.result()]

    backend = MemorySaver()
    engine = Engine(checkpointer=backend, workers=2)
    with engine:
        body.invoke(1, thread_id="t")
        assert [task.name for task in body.get_state(thread_id="t").tasks if task.status == "done"] == [
            "slow"
        ]
        assert body.invoke(Command(resume="x"), thread_id="t") == ["x", "slow"]
    engine.close()
    assert executed == {"slow": 1}


class Impatient:
    """A workflow that asks while a task of its own still runs, on an engine that does not wait for it."""

    def __init__(self, checkpointer):
        self.begun, self.go = threading.Event(), threading.Event()
        self.executed, self.futures = Counter(), []
        self.engine = Engine(checkpointer=checkpointer, workers=2, pause_wait=0.01)

        @task
        def slow() -> str:
            self.executed["slow"] += 1
            self.begun.set()
            assert self.go.wait(PATIENCE)
            return "slow"

        @entrypoint
        def body(given) -> list[Any]:
            self.futures.append(slow())
            assert self.begun.wait(PATIENCE)
            answer = interrupt("?")
            self.go.set()
            return [answer, self.futures[-1].result()]

        self.workflow = body


def test_a_task_that_outlasts_the_pause_is_pending_and_its_late_outcome_counts(checkpointer):
    flow = Impatient(checkpointer)
    with flow.engine:
        flow.workflow.invoke(1, thread_id="t")
        assert records(checkpointer)[-1].pending == ("0",)
        flow.go.set()
        assert flow.futures[0].result(PATIENCE) == "slow"
        assert flow.workflow.invoke(Command(resume="x"), thread_id="t") == ["x", "slow"]
    flow.engine.close()
    assert flow.executed == {"slow": 1}


def test_a_late_outcome_is_discarded_once_the_run_goes_on_without_it(checkpointer):
    flow = Impatient(checkpointer)
    with flow.engine:
        flow.workflow.invoke(1, thread_id="t")
        assert flow.workflow.invoke(Command(resume="x"), thread_id="t") == ["x", "slow"]
        with contextlib.suppress(BaseException):
            flow.futures[0].result(PATIENCE)
    flow.engine.close()
    assert flow.executed == {"slow": 2}  # it had no outcome when the run went on
    assert [record.call for record in records(checkpointer) if record.kind == "outcome"] == ["0"]


# -- nested --------------------------------------------------------------------------------------------------------


def test_a_task_that_asks_runs_again_and_its_own_tasks_do_not(engine):
    executed = Counter()

    @task
    def leaf(name: str) -> str:
        executed[name] += 1
        return name

    @task
    def parent() -> list[Any]:
        before = leaf("before").result()
        answer = interrupt("?")
        return [before, answer, leaf("after").result()]

    @entrypoint
    def body(given) -> Any:
        return parent().result()

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="x"), thread_id="t") == ["before", "x", "after"]
    assert executed == {"before": 1, "after": 1}


def test_questions_from_deep_inside_are_shown_and_answered(engine):
    @task
    def deep(level: int) -> list[Any]:
        if level == 0:
            return [interrupt("bottom")]
        return [*deep(level - 1).result(), interrupt(level)]

    @entrypoint
    def body(given) -> Any:
        return deep(3).result()

    result = body.invoke(1, thread_id="t")
    asked = []
    while isinstance(result, dict):
        (question,) = result["__interrupt__"]
        asked.append(question.value)
        result = body.invoke(Command(resume=str(question.value)), thread_id="t")
    assert asked == ["bottom", 1, 2, 3]
    assert result == ["bottom", "1", "2", "3"]


def test_questions_of_nested_workflows_belong_to_the_run_around_them(engine):
    @entrypoint
    def inner(name: str) -> Any:
        return [interrupt(name), ask(f"{name} task").result()]

    @task
    def through_task() -> Any:
        return inner.invoke("in task")

    @entrypoint
    def outer(given) -> list[Any]:
        future = through_task()
        return [inner.invoke("in body"), future.result()]

    result = outer.invoke(1, thread_id="t")
    assert set(questions(result)) == {"in body", "in task"}
    while isinstance(result, dict):
        answers = {question.id: question.value.upper() for question in result["__interrupt__"]}
        result = outer.invoke(Command(resume=answers), thread_id="t")
    assert result == [["IN BODY", "IN BODY TASK"], ["IN TASK", "IN TASK TASK"]]


# -- answered once -------------------------------------------------------------------------------------------------


def test_an_answer_counts_once(engine):
    @entrypoint
    def body(given) -> list[Any]:
        return [interrupt("one"), interrupt("two")]

    (first,) = body.invoke(1, thread_id="t")["__interrupt__"]
    body.invoke(Command(resume={first.id: 1}), thread_id="t")
    with pytest.raises(AlreadyAnswered, match=first.id):
        body.invoke(Command(resume={first.id: "late"}), thread_id="t")
    assert body.invoke(Command(resume=2), thread_id="t") == [1, 2]
    with pytest.raises(AlreadyAnswered, match=first.id):
        body.invoke(Command(resume={first.id: "later"}), thread_id="t")


def test_an_answer_to_what_nobody_asked_is_refused_and_changes_nothing(engine, checkpointer):
    @entrypoint
    def body(given) -> list[Any]:
        return [future.result() for future in [ask("a"), ask("b")]]

    paused = body.invoke(1, thread_id="t")
    found, before = questions(paused), len(records(checkpointer))
    for answers in ({UNASKED: 1}, {found["a"].id: 1, UNASKED: 2}):
        with pytest.raises(UnknownInterrupt, match=UNASKED):
            body.invoke(Command(resume=answers), thread_id="t")
    assert len(records(checkpointer)) == before
    assert body.invoke(None, thread_id="t") == paused


def test_an_answer_is_not_kept_for_a_later_question(engine):
    @entrypoint
    def body(given) -> list[Any]:
        return [interrupt("one"), interrupt("two")]

    other = body.invoke(1, thread_id="other")
    body.invoke(Command(resume=1), thread_id="other")
    (later,) = body.invoke(None, thread_id="other")["__interrupt__"]
    assert later.value == "two"
    body.invoke(1, thread_id="t")
    for early in (later.id, questions(other)["one"].id):
        with pytest.raises(UnknownInterrupt):
            body.invoke(Command(resume={early: "early"}), thread_id="t")
    assert list(questions(body.invoke(Command(resume=1), thread_id="t"))) == ["two"]


def test_a_command_where_nothing_is_asked_says_what_to_do(engine):
    @entrypoint
    def body(given: str) -> str:
        if given == "fail":
            raise ValueError(given)
        return given

    with pytest.raises(UnknownThread, match="start it with an input"):
        body.invoke(Command(resume=1), thread_id="unknown")
    body.invoke("done", thread_id="finished")
    for command in (Command(resume=1), Command(resume={UNASKED: 1})):
        with pytest.raises(NothingToResume, match="done"):
            body.invoke(command, thread_id="finished")
    with pytest.raises(ValueError, match="fail"):
        body.invoke("fail", thread_id="failed")
    with pytest.raises(NothingToResume, match=r"failed.*invoke\(None\)"):
        body.invoke(Command(resume=1), thread_id="failed")


def test_an_empty_command_is_refused_when_it_is_made():
    with pytest.raises(InvalidCommand, match="resume"):
        Command()


def test_a_question_is_answered_by_its_own_workflow_only(engine):
    @entrypoint
    def asks(given) -> Any:
        return interrupt("?")

    @entrypoint
    def other(given) -> Any:
        return given

    asks.invoke(1, thread_id="t")
    for given in (Command(resume=1), None, "input"):
        with pytest.raises(WrongWorkflow, match=r"'asks'.*'other'") as caught:
            other.invoke(given, thread_id="t")
        assert caught.value.bound_to == "asks"
    assert asks.invoke(Command(resume=1), thread_id="t") == 1


def test_a_workflow_made_anew_from_the_same_code_answers_the_question(engine):
    def make():
        @entrypoint
        def body(given) -> Any:
            return [ask("?").result(), given]

        return body

    make().invoke(1, thread_id="t")
    assert make().invoke(Command(resume="x"), thread_id="t") == ["x", 1]


# -- a new input instead of an answer ------------------------------------------------------------------------------


def test_a_new_input_abandons_the_run_that_asks_and_the_journal_says_so(engine, checkpointer):
    @entrypoint
    def body(given: int, *, previous: Any = None) -> Any:
        return [interrupt(given), previous] if given < 3 else [given, previous]

    (first,) = body.invoke(1, thread_id="t")["__interrupt__"]
    (second,) = body.invoke(2, thread_id="t")["__interrupt__"]
    kinds = [record.kind for record in records(checkpointer)]
    assert kinds == ["started", "interrupted", "abandoned", "started", "interrupted"]
    abandoned = records(checkpointer)[2]
    assert abandoned.run == records(checkpointer)[0].run
    with pytest.raises(MilepostError):
        body.invoke(Command(resume={first.id: "late"}), thread_id="t")
    assert body.invoke(Command(resume={second.id: "in time"}), thread_id="t") == ["in time", None]
    body.invoke(1, thread_id="t")
    assert body.invoke(3, thread_id="t") == [3, ["in time", None]]


# -- nothing is swallowed ------------------------------------------------------------------------------------------


def swallow_exception(question):
    try:
        return interrupt(question)
    except Exception:
        return "swallowed"


def swallow_base_exception(question):
    try:
        return interrupt(question)
    except BaseException:
        return "swallowed"


def swallow_in_finally(question):
    try:
        return interrupt(question)
    finally:
        return "swallowed"  # noqa: B012, SIM107 - what must not work


def swallow_in_context(question):
    with contextlib.suppress(BaseException):
        return interrupt(question)
    return "swallowed"


def swallow_and_fail(question):
    try:
        return interrupt(question)
    except BaseException:
        raise ValueError("swallowed") from None


def swallow_and_go_on(question):
    try:
        return interrupt(question)
    except BaseException:
        with contextlib.suppress(BaseException):
            ask("never asked").result()
        with contextlib.suppress(BaseException):
            interrupt("never asked either")
        return "swallowed"


SWALLOWING = [
    swallow_exception,
    swallow_base_exception,
    swallow_in_context,
    swallow_and_fail,
    swallow_and_go_on,
]


@pytest.mark.parametrize("swallow", SWALLOWING, ids=lambda function: function.__name__)
@pytest.mark.parametrize("place", ["body", "task", "workflow"])
def test_nothing_that_user_code_catches_swallows_a_question(engine, swallow, place):
    @task
    def in_task(question: str) -> Any:
        return swallow(question)

    @entrypoint
    def inner(question: str) -> Any:
        return swallow(question)

    @entrypoint
    def body(given) -> Any:
        ways = {
            "body": swallow,
            "task": lambda question: in_task(question).result(),
            "workflow": inner.invoke,
        }
        return ways[place](given)

    assert list(questions(body.invoke("really?", thread_id="t"))) == ["really?"]
    assert body.invoke(Command(resume="yes"), thread_id="t") == "yes"


@pytest.mark.parametrize("place", ["body", "task"])
def test_a_return_in_finally_does_not_swallow_a_question(engine, place):
    executed = Counter()

    @task
    def in_task(question: str) -> Any:
        return swallow_in_finally(question)

    @task
    def after() -> None:
        executed["after"] += 1

    @entrypoint
    def body(given) -> Any:
        value = swallow_in_finally(given) if place == "body" else in_task(given).result()
        after().result()
        return value

    assert list(questions(body.invoke("really?", thread_id="t"))) == ["really?"]
    assert executed == {}
    # Once answered, `finally: return` wins over the answer: that is what Python does with it.
    assert body.invoke(Command(resume="yes"), thread_id="t") == "swallowed"


def test_a_pause_that_comes_through_a_future_is_not_swallowed(engine):
    @entrypoint
    def body(given) -> Any:
        try:
            return ask(given).result()
        except BaseException:
            return "swallowed"

    assert list(questions(body.invoke("really?", thread_id="t"))) == ["really?"]
    assert body.invoke(Command(resume="yes"), thread_id="t") == "yes"


def test_a_pause_never_leaves_the_run_as_an_exception(engine):
    @entrypoint
    def body(given) -> Any:
        return ask("?").exception()

    assert list(questions(body.invoke(1, thread_id="t"))) == ["?"]
    assert body.invoke(Command(resume=1), thread_id="t") is None
