"""Failures: raised, caught, kept and tried again; values that cannot be kept; code that differs from the record."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any

import pytest

from milepost import Command, entrypoint, interrupt, task
from milepost.errors import (
    DivergenceError,
    MilepostError,
    NotSerializable,
    TaskFailed,
    UnknownThread,
)


class Declined(Exception):
    """An exception with a constructor of its own, as applications have."""

    def __init__(self, card: str, *, limit: int) -> None:
        super().__init__(f"{card} is over {limit}")
        self.card = card
        self.limit = limit


class Lab:
    """Tasks that count their executions and fail as often as they are told."""

    def __init__(self):
        self.executed = Counter()
        self.failures: dict[str, list[Exception]] = {}

    def fail(self, name, *errors):
        self.failures[name] = list(errors)

    @task
    def step(self, name: str) -> str:
        self.executed[name] += 1
        waiting = self.failures.get(name)
        if waiting:
            raise waiting.pop(0)
        return name.upper()


@pytest.fixture
def lab():
    return Lab()


def records(checkpointer, thread="t"):
    return [record for _, batch in checkpointer.read(thread) for record in batch.records]


# -- continuing after an error -------------------------------------------------------------------------------------


def test_continuing_runs_only_what_failed(engine, checkpointer, lab):
    lab.fail("b", ValueError("no"))

    @entrypoint
    def body(given) -> list[str]:
        return [lab.step(name).result() for name in "abc"]

    with pytest.raises(ValueError, match=r"^no$"):
        body.invoke(1, thread_id="t")
    assert body.invoke(None, thread_id="t") == ["A", "B", "C"]
    assert lab.executed == {"a": 1, "b": 2, "c": 1}
    kinds = [record.kind for record in records(checkpointer)]
    assert kinds == ["started", "outcome", "outcome", "failed", "retried", "outcome", "outcome", "finished"]


def test_a_run_can_be_continued_as_often_as_it_fails(engine, lab):
    lab.fail("a", ValueError("1"), ValueError("2"), ValueError("3"))

    @entrypoint
    def body(given) -> str:
        return lab.step("a").result()

    for given, number in ((1, "1"), (None, "2"), (None, "3")):
        with pytest.raises(ValueError, match=number):
            body.invoke(given, thread_id="t")
    assert body.invoke(None, thread_id="t") == "A"


def test_siblings_of_a_failed_task_are_recorded_and_not_run_again(engine, lab):
    lab.fail("b", ValueError("no"))

    @entrypoint
    def body(given) -> list[str]:
        futures = [lab.step(name) for name in "abcdef"]
        return [future.result() for future in futures]

    with pytest.raises(ValueError, match="no"):
        body.invoke(1, thread_id="t")
    ended = {task.name for task in body.get_state(thread_id="t").tasks}
    assert ended == {"step"}
    before = Counter(lab.executed)
    assert body.invoke(None, thread_id="t") == list("ABCDEF")
    for name in "acdef":
        assert lab.executed[name] == 1, before
    assert lab.executed["b"] == 2


def test_a_failure_deep_inside_tasks_is_tried_again_and_its_siblings_are_not(engine, lab):
    lab.fail("deep", ValueError("deep down"))

    @task
    def inner() -> list[str]:
        return [lab.step("beside").result(), lab.step("deep").result()]

    @task
    def outer() -> list[str]:
        return [lab.step("above").result(), *inner().result()]

    @entrypoint
    def body(given) -> list[str]:
        return [lab.step("first").result(), *outer().result()]

    with pytest.raises(ValueError, match="deep down"):
        body.invoke(1, thread_id="t")
    assert body.invoke(None, thread_id="t") == ["FIRST", "ABOVE", "BESIDE", "DEEP"]
    assert lab.executed == {"first": 1, "above": 1, "beside": 1, "deep": 2}


def test_a_failure_in_a_nested_workflow_is_tried_again_and_its_siblings_are_not(engine, lab):
    lab.fail("inside", ValueError("inside"))

    @entrypoint
    def inner(given) -> list[str]:
        return [lab.step("beside").result(), lab.step("inside").result()]

    @entrypoint
    def body(given) -> list[str]:
        return inner.invoke(given)

    with pytest.raises(ValueError, match="inside"):
        body.invoke(1, thread_id="t")
    assert body.invoke(None, thread_id="t") == ["BESIDE", "INSIDE"]
    assert lab.executed == {"beside": 1, "inside": 2}


@pytest.mark.parametrize("how", ["from", "context", "task", "group"])
def test_a_failure_that_is_raised_as_another_is_tried_again(engine, lab, how):
    lab.fail("a", ValueError("cause"))

    @task
    def wrapping() -> str:
        try:
            return lab.step("a").result()
        except ValueError as error:
            raise RuntimeError("wrapped") from error

    def call() -> str:
        if how == "task":
            return wrapping().result()
        future = lab.step("a")
        if how == "group" and future.exception():
            raise ExceptionGroup("wrapped", [KeyError("the body's own"), future.exception()])
        try:
            return future.result()
        except ValueError as error:
            if how == "from":
                raise RuntimeError("wrapped") from error
            raise RuntimeError("wrapped")  # noqa: B904 - the context alone must do

    @entrypoint
    def body(given) -> str:
        return call()

    with pytest.raises((RuntimeError, ExceptionGroup), match="wrapped"):
        body.invoke(1, thread_id="t")
    assert body.invoke(None, thread_id="t") == "A"
    assert lab.executed == {"a": 2}


def test_a_failure_that_the_body_caught_is_replayed_and_not_tried_again(engine, lab):
    lab.fail("a", ValueError("caught"))
    lab.fail("b", KeyError("not caught"))
    caught = []

    @entrypoint
    def body(given) -> list[str]:
        try:
            first = lab.step("a").result()
        except ValueError as error:
            caught.append(error)
            first = f"instead: {error}"
        return [first, lab.step("b").result()]

    with pytest.raises(KeyError):
        body.invoke(1, thread_id="t")
    assert body.invoke(None, thread_id="t") == ["instead: caught", "B"]
    assert lab.executed == {"a": 1, "b": 2}
    assert {(type(error), error.args) for error in caught} == {(ValueError, ("caught",))}
    assert len(caught) >= 2


def test_an_error_of_the_body_itself_runs_the_body_again_and_no_task(engine, lab):
    errors = iter([RuntimeError("body")])

    @entrypoint
    def body(given) -> str:
        value = lab.step("a").result()
        for error in errors:
            raise error
        return value

    with pytest.raises(RuntimeError, match="body"):
        body.invoke(1, thread_id="t")
    assert body.invoke(None, thread_id="t") == "A"
    assert lab.executed == {"a": 1}


def test_the_error_of_a_task_nobody_waits_for_ends_the_run(engine, lab):
    lab.fail("a", ValueError("unheard"))

    @entrypoint
    def body(given) -> str:
        lab.step("a")
        return "end"

    with pytest.raises(ValueError, match="unheard"):
        body.invoke(1, thread_id="t")
    assert body.get_state(thread_id="t").status == "failed"
    assert body.invoke(None, thread_id="t") == "end"
    assert lab.executed == {"a": 2}


def test_of_several_unheard_errors_the_first_is_raised_and_the_others_are_noted(engine, lab):
    lab.fail("a", ValueError("first"))
    lab.fail("b", ValueError("second"))

    @entrypoint
    def body(given) -> str:
        lab.step("a")
        lab.step("b")
        return "end"

    with pytest.raises(ValueError, match="first") as caught:
        body.invoke(1, thread_id="t")
    assert any("second" in note for note in caught.value.__notes__)


def test_an_error_that_somebody_looked_at_does_not_end_the_run(engine, lab):
    lab.fail("a", ValueError("seen"))

    @entrypoint
    def body(given) -> str:
        return str(lab.step("a").exception())

    assert body.invoke(1, thread_id="t") == "seen"


def test_a_failed_run_has_awaited_and_recorded_what_had_begun(engine, checkpointer, lab):
    lab.fail("a", ValueError("no"))

    @entrypoint
    def body(given) -> str:
        for name in "bcd":
            lab.step(name)
        return lab.step("a").result()

    with pytest.raises(ValueError, match="no"):
        body.invoke(1, thread_id="t")
    recorded = [record for record in records(checkpointer) if record.kind == "outcome"]
    assert len(recorded) == sum(lab.executed.values())
    assert [record.kind for record in records(checkpointer)][-1] == "failed"


def test_a_new_input_abandons_a_failed_run_and_the_journal_says_so(engine, checkpointer, lab):
    lab.fail("a", ValueError("no"))

    @entrypoint
    def body(given: str) -> str:
        return lab.step(given).result()

    with pytest.raises(ValueError, match="no"):
        body.invoke("a", thread_id="t")
    assert body.invoke("b", thread_id="t") == "B"
    kinds = [record.kind for record in records(checkpointer)]
    assert kinds == ["started", "outcome", "failed", "abandoned", "started", "outcome", "finished"]


def test_an_interrupt_after_a_retry_and_a_failure_after_an_answer(engine, lab):
    lab.fail("a", ValueError("first"))
    lab.fail("b", ValueError("second"))

    @entrypoint
    def body(given) -> list[Any]:
        first = lab.step("a").result()
        answer = interrupt("?")
        return [first, answer, lab.step("b").result()]

    with pytest.raises(ValueError, match="first"):
        body.invoke(1, thread_id="t")
    assert "__interrupt__" in body.invoke(None, thread_id="t")
    with pytest.raises(ValueError, match="second"):
        body.invoke(Command(resume="x"), thread_id="t")
    assert body.invoke(None, thread_id="t") == ["A", "x", "B"]
    assert lab.executed == {"a": 2, "b": 2}


# -- another branch once the failure is gone -----------------------------------------------------------------------


def test_what_was_done_about_a_failure_does_not_bind_a_retry_that_succeeds(engine, lab):
    lab.fail("a", ValueError("no"))

    @entrypoint
    def body(given) -> list[str]:
        try:
            first = lab.step("a").result()
        except ValueError:
            lab.step("clean up").result()
            raise
        return [first, lab.step("b").result()]

    with pytest.raises(ValueError, match="no"):
        body.invoke(1, thread_id="t")
    assert body.invoke(None, thread_id="t") == ["A", "B"]
    assert lab.executed == {"a": 2, "clean up": 1, "b": 1}
    assert [(task.id, task.status) for task in body.get_state(thread_id="t").tasks] == [
        ("0", "done"),
        ("1", "done"),
    ]
    assert body.invoke(None, thread_id="t") == ["A", "B"]


def test_what_was_done_about_a_failure_is_not_done_again_when_it_fails_again(engine, lab):
    lab.fail("a", ValueError("no"), ValueError("no"))

    @entrypoint
    def body(given) -> str:
        try:
            return lab.step("a").result()
        except ValueError:
            lab.step("clean up").result()
            raise

    for given in (1, None):
        with pytest.raises(ValueError, match="no"):
            body.invoke(given, thread_id="t")
    assert lab.executed == {"a": 2, "clean up": 1}
    assert body.invoke(None, thread_id="t") == "A"
    assert lab.executed == {"a": 3, "clean up": 1}


@pytest.mark.parametrize("place", ["body", "task", "workflow"])
def test_calls_within_the_other_branch_are_forgotten_with_it(engine, lab, place):
    lab.fail("a", ValueError("no"))

    @task
    def several(*names: str) -> list[str]:
        return [lab.step(name).result() for name in names]

    def attempt() -> list[Any]:
        try:
            first = lab.step("a").result()
        except ValueError:
            several("x", "y", "z").result()
            lab.step("w").result()
            raise
        second = several("x", "q").result()
        return [first, second, interrupt("?"), lab.step("last").result()]

    in_task = task(attempt)

    @entrypoint
    def inner(given) -> list[Any]:
        return attempt()

    @entrypoint
    def body(given) -> list[Any]:
        return {"body": attempt, "task": lambda: in_task().result(), "workflow": lambda: inner.invoke(1)}[
            place
        ]()

    with pytest.raises(ValueError, match="no"):
        body.invoke(1, thread_id="t")
    assert "__interrupt__" in body.invoke(None, thread_id="t")
    assert body.invoke(Command(resume="yes"), thread_id="t") == ["A", ["X", "Q"], "yes", "LAST"]
    # `x` belongs to another call now, so it is another call.
    assert lab.executed == {"a": 2, "x": 2, "y": 1, "z": 1, "w": 1, "q": 1, "last": 1}


def test_a_question_about_a_failure_is_gone_with_the_failure(engine, lab):
    lab.fail("a", ValueError("one"), ValueError("two"), ValueError("two"))

    @entrypoint
    def body(given) -> Any:
        try:
            first = lab.step("a").result()
        except ValueError as error:
            if interrupt(f"{error}: try again?"):
                raise
            return "given up"
        return [first, interrupt("all right?")]

    def asked(given) -> str:
        (question,) = body.invoke(given, thread_id="t")["__interrupt__"]
        return question.value

    assert asked(1) == "one: try again?"
    with pytest.raises(ValueError, match="one"):
        body.invoke(Command(resume=True), thread_id="t")
    assert asked(None) == "two: try again?"
    with pytest.raises(ValueError, match="two"):
        body.invoke(Command(resume=True), thread_id="t")
    with pytest.raises(ValueError, match="two"):  # the same question again: it is answered already
        body.invoke(None, thread_id="t")
    assert asked(None) == "all right?"
    assert body.invoke(Command(resume="yes"), thread_id="t") == ["A", "yes"]
    assert lab.executed == {"a": 4}


def test_calls_made_before_a_failure_was_known_still_bind_a_retry(engine, lab):
    lab.fail("a", ValueError("no"))
    code = ["b"]

    @entrypoint
    def body(given) -> list[str]:
        futures = [lab.step("a"), lab.step(code[-1])]
        return [future.result() for future in reversed(futures)]

    with pytest.raises(ValueError, match="no"):
        body.invoke(1, thread_id="t")
    code.append("c")
    with pytest.raises(DivergenceError, match="c"):
        body.invoke(None, thread_id="t")
    code.append("b")
    assert body.invoke(None, thread_id="t") == ["B", "A"]
    assert lab.executed == {"a": 2, "b": 1}


# -- None where nothing is left to do ------------------------------------------------------------------------------


def test_none_on_a_finished_thread_gives_the_last_result_and_runs_nothing(engine, checkpointer, lab):
    @entrypoint
    def body(given) -> tuple[str, ...]:
        return (lab.step("a").result(),)

    body.invoke(1, thread_id="t")
    before = len(records(checkpointer))
    assert body.invoke(None, thread_id="t") == ("A",)
    assert len(records(checkpointer)) == before
    assert lab.executed == {"a": 1}


def test_none_on_an_unknown_thread_is_an_error_that_says_to_start_it(engine):
    @entrypoint
    def body(given) -> Any:
        return given

    with pytest.raises(UnknownThread, match=r"'nobody'.*start it with an input") as caught:
        body.invoke(None, thread_id="nobody")
    assert caught.value.thread_id == "nobody"
    assert body.get_state(thread_id="nobody").status is None


# -- exceptions at rest --------------------------------------------------------------------------------------------


REBUILT = [
    ValueError("text", 5),
    KeyError("key"),
    FileNotFoundError(2, "No such file", "name.txt"),
    UnicodeDecodeError("utf-8", b"x", 0, 1, "reason"),
    TimeoutError("the task's own"),
    StopIteration("value"),
    Declined("visa", limit=5),
]


@pytest.mark.parametrize("error", REBUILT, ids=lambda error: type(error).__name__)
def test_a_caught_exception_is_replayed_as_it_was(engine, lab, error):
    lab.fail("a", error)
    seen = []

    @entrypoint
    def body(given) -> None:
        try:
            lab.step("a").result(timeout=20)
        except Exception as caught:
            seen.append((type(caught), caught.args, str(caught), vars(caught)))
        interrupt("?")

    body.invoke(1, thread_id="t")
    body.invoke(Command(resume=1), thread_id="t")
    assert len(seen) >= 2
    assert all(what == seen[0] for what in seen)
    assert seen[0][:3] == (type(error), error.args, str(error))
    assert lab.executed == {"a": 1}


def test_an_exception_that_cannot_be_rebuilt_is_task_failed_the_first_time_as_well(engine, lab):
    class Local(Exception):
        pass

    lab.fail("a", Local("text"))
    seen = []

    @entrypoint
    def body(given) -> None:
        try:
            lab.step("a").result()
        except TaskFailed as error:
            seen.append((error.type_name.rpartition(".")[2], error.message, "Local" in error.traceback_text))
        interrupt("?")

    body.invoke(1, thread_id="t")
    body.invoke(Command(resume=1), thread_id="t")
    assert len(seen) >= 2
    assert set(seen) == {("Local", "text", True)}


def test_a_failure_that_cannot_be_rebuilt_ends_the_run_and_is_tried_again(engine, lab):
    class Local(Exception):
        pass

    lab.fail("a", Local("text"))

    @entrypoint
    def body(given) -> str:
        return lab.step("a").result()

    with pytest.raises(TaskFailed, match="Local: text"):
        body.invoke(1, thread_id="t")
    assert body.invoke(None, thread_id="t") == "A"


# -- values that cannot be kept ------------------------------------------------------------------------------------


def test_a_result_that_cannot_be_kept_is_refused_at_result_naming_task_and_path(engine):
    results = iter([{"rows": [1, object()]}, {"rows": [1, 2]}])
    executed = Counter()

    @task
    def load() -> Any:
        executed["load"] += 1
        return next(results)

    @entrypoint
    def body(given) -> Any:
        return load().result()

    with pytest.raises(NotSerializable, match=r"load.*\$\.rows\[1\].*object") as caught:
        body.invoke(1, thread_id="t")
    assert (caught.value.path, caught.value.type_name) == ("$.rows[1]", "object")
    assert "load" in caught.value.where
    assert body.invoke(None, thread_id="t") == {"rows": [1, 2]}
    assert executed == {"load": 2}


def test_a_refused_result_can_be_caught_and_is_replayed(engine):
    executed = Counter()

    @task
    def load() -> Any:
        executed["load"] += 1
        return object()

    @entrypoint
    def body(given) -> list[Any]:
        try:
            load().result()
        except NotSerializable as error:
            path = error.path
        return [path, interrupt("?")]

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="x"), thread_id="t") == ["$", "x"]
    assert executed == {"load": 1}


def test_a_return_value_that_cannot_be_kept_fails_the_run_and_the_tasks_are_not_repeated(engine, lab):
    results = iter([lambda: 1, "fine"])

    @entrypoint
    def body(given) -> Any:
        lab.step("a").result()
        return next(results)  # reached once per attempt, also when every outcome starts the body over

    with pytest.raises(NotSerializable, match=r"return value of 'body'"):
        body.invoke(1, thread_id="t")
    assert body.get_state(thread_id="t").status == "failed"
    assert body.invoke(None, thread_id="t") == "fine"
    assert lab.executed["a"] == 1


def test_an_input_that_cannot_be_kept_starts_nothing(engine, checkpointer):
    @entrypoint
    def body(given) -> Any:
        return given

    with pytest.raises(NotSerializable, match=r"input of 'body'.*\$\.a"):
        body.invoke({"a": object()}, thread_id="t")
    assert records(checkpointer) == []
    assert body.invoke(1, thread_id="t") == 1


# -- divergence ----------------------------------------------------------------------------------------------------


@task
def alpha(number: int) -> int:
    return number


@task
def beta(number: int) -> int:
    return number


def original(extra):
    return [alpha(1).result(), beta(2).result(), interrupt("?"), alpha(3).result()]


def other_name(extra):
    return [beta(1).result(), beta(2).result(), interrupt("?"), alpha(3).result()]


def other_argument(extra):
    return [alpha(1).result(), beta(99).result(), interrupt("?"), alpha(3).result()]


def other_type_of_argument(extra):
    return [alpha(1.0).result(), beta(2).result(), interrupt("?"), alpha(3).result()]


def other_order(extra):
    return [beta(2).result(), alpha(1).result(), interrupt("?"), alpha(3).result()]


def missing_first(extra):
    return [beta(2).result(), interrupt("?"), alpha(3).result()]


def missing_last(extra):
    return [alpha(1).result(), interrupt("?"), alpha(3).result()]


def missing_all(extra):
    return "nothing"


def extra_first(extra):
    return [alpha(0).result(), alpha(1).result(), beta(2).result(), interrupt("?")]


def extra_before_the_question(extra):
    return [alpha(1).result(), beta(2).result(), alpha(9).result(), interrupt("?")]


def question_first(extra):
    return [interrupt("?"), alpha(1).result(), beta(2).result()]


def no_question(extra):
    return [alpha(1).result(), beta(2).result(), "made up"]


def other_question(extra):
    return [alpha(1).result(), beta(2).result(), interrupt("another?"), alpha(3).result()]


DIVERGING = [
    (other_name, "alpha(1)", "beta(1)"),
    (other_argument, "beta(2)", "beta(99)"),
    (other_type_of_argument, "alpha(1)", "alpha(1.0)"),
    (other_order, "alpha(1)", "beta(2)"),
    (missing_first, "alpha(1)", "beta(2)"),
    (missing_last, "beta(2)", 'interrupt("?")'),
    (missing_all, "alpha(1)", None),
    (extra_first, "alpha(1)", "alpha(0)"),
    (extra_before_the_question, 'interrupt("?")', "alpha(9)"),
    (question_first, "alpha(1)", 'interrupt("?")'),
    (other_question, 'interrupt("?")', 'interrupt("another?")'),
    (no_question, 'interrupt("?")', None),
]
BY_NAME = [pytest.param(*case, id=case[0].__name__) for case in DIVERGING]


class Code:
    """A body whose code can be replaced between runs, as by a deployment."""

    def __init__(self, function, place):
        self.function = function

        @task
        def in_task() -> Any:
            return self.function(None)

        @entrypoint
        def inner(given) -> Any:
            return self.function(None)

        @entrypoint
        def body(given) -> Any:
            if place == "task":
                return in_task().result()
            if place == "workflow":
                return inner.invoke(given)
            return self.function(None)

        self.workflow = body


@pytest.mark.parametrize(("changed", "recorded", "made"), BY_NAME)
@pytest.mark.parametrize("place", ["body", "task", "workflow"])
def test_a_call_that_differs_from_the_recorded_one_is_found_and_both_are_shown(
    engine, changed, recorded, made, place
):
    code = Code(original, place)
    code.workflow.invoke(1, thread_id="t")
    code.function = changed
    with pytest.raises(DivergenceError) as caught:
        code.workflow.invoke(Command(resume="x"), thread_id="t")
    assert (caught.value.recorded, caught.value.made) == (recorded, made)
    assert recorded in str(caught.value)
    assert made is None or made in str(caught.value)
    assert "'t'" in str(caught.value)
    state = code.workflow.get_state(thread_id="t")
    assert state.status == "failed"
    assert "DivergenceError" in state.error


@pytest.mark.parametrize(("changed", "recorded", "made"), BY_NAME)
def test_the_run_continues_once_the_code_is_restored(engine, checkpointer, changed, recorded, made):
    code = Code(original, "body")
    code.workflow.invoke(1, thread_id="t")
    code.function = changed
    with pytest.raises(DivergenceError):
        code.workflow.invoke(Command(resume="x"), thread_id="t")
    with pytest.raises(DivergenceError):
        code.workflow.invoke(None, thread_id="t")
    code.function = original
    assert code.workflow.invoke(None, thread_id="t") == [1, 2, "x", 3]
    outcomes = [(record.call, record.name) for record in records(checkpointer) if record.kind == "outcome"]
    assert outcomes == [("0", "alpha"), ("1", "beta"), ("3", "alpha")]


@pytest.mark.parametrize(("changed", "recorded", "made"), BY_NAME)
def test_a_divergence_cannot_be_swallowed(engine, changed, recorded, made):
    def swallowing(extra) -> Any:
        with contextlib.suppress(BaseException):
            return changed(extra)
        with contextlib.suppress(BaseException):
            alpha(1).result()
        return "swallowed"

    code = Code(original, "body")
    code.workflow.invoke(1, thread_id="t")
    code.function = swallowing
    with pytest.raises(DivergenceError):
        code.workflow.invoke(Command(resume="x"), thread_id="t")


def test_no_task_is_executed_after_a_divergence(engine, lab):
    code = ["a"]

    @entrypoint
    def body(given) -> Any:
        with contextlib.suppress(Exception):
            lab.step(code[-1]).result()
        interrupt("?")
        return lab.step("after").result()

    body.invoke(1, thread_id="t")
    code.append("b")
    with pytest.raises(DivergenceError):
        body.invoke(Command(resume=1), thread_id="t")
    assert lab.executed == {"a": 1}


def test_a_divergence_is_a_milepost_error_with_facts_as_attributes(engine):
    code = Code(original, "task")
    code.workflow.invoke(1, thread_id="t")
    code.function = other_argument
    with pytest.raises(MilepostError) as caught:
        code.workflow.invoke(Command(resume="x"), thread_id="t")
    assert isinstance(caught.value, DivergenceError)
    assert caught.value.call == "0.1"
    assert "invoke(None)" in str(caught.value)


def test_calls_that_end_in_another_order_are_no_divergence(engine, lab):
    @task
    def parent(name: str) -> list[str]:
        return [future.result() for future in [lab.step(name + suffix) for suffix in "xyz"]]

    @entrypoint
    def body(given) -> list[Any]:
        futures = [parent(name) for name in "abcdef"]
        values = [future.result() for future in reversed(futures)]
        return [values, interrupt("?")]

    body.invoke(1, thread_id="t")
    values, _ = body.invoke(Command(resume="x"), thread_id="t")
    assert values == [[name + suffix for suffix in "XYZ"] for name in "FEDCBA"]
    assert set(lab.executed.values()) == {1}
