"""What is told of each call: its start and its one end, live or from the record, however the run ends."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from balance import check_balanced
from manual_clock import ManualClock
from milepost import Command, Engine, MemorySaver, _context, entrypoint, events, interrupt, task
from milepost.errors import DivergenceError, EngineClosed, OwnershipLost
from milepost.events import (
    TaskCancelled,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TaskStarted,
    TaskUnfinished,
    WorkflowFailed,
    WorkflowFinished,
    WorkflowInterrupted,
    WorkflowStarted,
    WorkflowUnfinished,
)

PATIENCE = 20


@task
def upper(text: str) -> str:
    return text.upper()


@task
def fail(text: str) -> None:
    raise ValueError(text)


@task
def ask(text: str) -> str:
    return interrupt(text)


def watched(workflow, given, *, thread="t", raises=None, subgraphs=False):
    """Return every event of one stream, which is balanced; ``raises`` is how it ends."""
    told = []
    stream = workflow.stream(given, thread_id=thread, stream_mode=["events"], subgraphs=subgraphs)
    if raises is None:
        told.extend(chunk[-1] for chunk in stream)
    else:
        with pytest.raises(raises):
            told.extend(chunk[-1] for chunk in stream)
    check_balanced(told)
    return told


def calls(told):
    """Return what is told of calls, without inputs and times."""
    found = []
    for event in told:
        if isinstance(event, events.Started | events.Ended):
            what = getattr(event, "result", None)
            if isinstance(event, TaskFailed | WorkflowFailed):
                what = str(event.error)
            found.append((type(event), event.call, event.name, what, event.replayed))
    return found


# -- the plain way -------------------------------------------------------------------------------------------------


def test_each_call_begins_and_ends_within_the_workflow(engine):
    @entrypoint
    def body(given) -> str:
        return upper(given).result()

    assert calls(watched(body, "a")) == [
        (WorkflowStarted, "", "body", None, False),
        (TaskStarted, "0", "upper", None, False),
        (TaskFinished, "0", "upper", "A", False),
        (WorkflowFinished, "", "body", "A", False),
    ]


def test_without_a_checkpointer_as_well(plain_engine):
    @entrypoint
    def body(given) -> str:
        return upper(given).result()

    told = list(body.stream("a", stream_mode="events"))
    check_balanced(told)
    assert [kind for kind, *_ in calls(told)] == [
        WorkflowStarted,
        TaskStarted,
        TaskFinished,
        WorkflowFinished,
    ]


def test_starts_tell_what_was_given(engine):
    @task
    def add(first: int, *, second: int) -> int:
        return first + second

    @entrypoint
    def body(given) -> int:
        return add(given, second=2).result()

    starts = [event.input for event in watched(body, 1) if isinstance(event, events.Started)]
    assert starts == [1, ((1,), {"second": 2})]


def test_calls_of_one_name_have_ids_of_their_own(engine):
    """LangGraph's updates of equal names cannot be told apart (W22)."""

    @task
    def outer(text: str) -> str:
        return upper(text).result() + upper(text).result()

    @entrypoint
    def body(given) -> list[str]:
        return [future.result() for future in [outer("a"), outer("b")]]

    ended = {event.call: event.result for event in watched(body, 1) if isinstance(event, TaskFinished)}
    assert ended == {"0": "AA", "0.0": "A", "0.1": "A", "1": "BB", "1.0": "B", "1.1": "B"}


def test_times_are_those_of_the_engines_clock():
    clock = ManualClock()

    @task
    def slow() -> None:
        clock.advance(2.5)

    @entrypoint
    def body(given) -> None:
        slow().result()
        interrupt("?")

    with closing(Engine(checkpointer=MemorySaver(), workers=1, clock=clock)) as engine, engine:
        first = watched(body, 1)
        clock.advance(60)
        again = watched(body, Command(resume=1))
    expected = ["2026-01-01T00:00:00+00:00", "2026-01-01T00:00:02.500000+00:00"]
    assert [event.at for event in first if event.call == "0"] == expected
    assert [
        event.at for event in again if event.call == "0"
    ] == expected  # when it happened, not when it is told
    assert again[0].at == "2026-01-01T00:01:02.500000+00:00"


# -- pauses and the record -----------------------------------------------------------------------------------------


def test_a_task_that_asks_ends_with_its_question_and_begins_anew_with_the_answer(engine):
    @entrypoint
    def body(given) -> str:
        return upper(given).result() + ask("which?").result()

    first = watched(body, "a")
    assert [kind for kind, *_ in calls(first)][-3:] == [TaskStarted, TaskInterrupted, WorkflowInterrupted]
    of_task, of_run = first[-3:-1] if isinstance(first[-1], events.CheckpointSaved) else first[-2:]
    assert of_task.interrupts == of_run.interrupts
    assert [asked.value for asked in of_task.interrupts] == ["which?"]
    assert calls(watched(body, Command(resume="B"))) == [
        (WorkflowStarted, "", "body", None, True),
        (TaskStarted, "0", "upper", None, True),
        (TaskFinished, "0", "upper", "A", True),
        (TaskStarted, "1", "ask", None, False),
        (TaskFinished, "1", "ask", "B", False),
        (WorkflowFinished, "", "body", "AB", False),
    ]


def test_a_task_that_waits_for_one_that_asks_ends_with_its_question_too(engine):
    @task
    def outer() -> str:
        return ask("inner?").result()

    @entrypoint
    def body(given) -> list[str]:
        return [future.result() for future in [outer(), ask("own?")]]

    told = watched(body, 1)
    asked = {
        event.call: [interrupt.value for interrupt in event.interrupts]
        for event in told
        if isinstance(event, TaskInterrupted | WorkflowInterrupted)
    }
    assert asked == {"0.0": ["inner?"], "0": ["inner?"], "1": ["own?"], "": ["inner?", "own?"]}


def test_failures_are_told_live_and_from_the_record(engine):
    @entrypoint
    def body(given) -> str:
        try:
            fail("no").result()
        except ValueError as error:
            return str(error) + interrupt("?")
        return ""

    first = watched(body, 1)
    again = watched(body, Command(resume="!"))
    assert (TaskFailed, "0", "fail", "no", False) in calls(first)
    assert (TaskFailed, "0", "fail", "no", True) in calls(again)
    assert calls(again)[-1] == (WorkflowFinished, "", "body", "no!", False)


def test_a_cancelled_task_begins_and_ends_at_once(checkpointer):
    begun, go = threading.Event(), threading.Event()

    @task
    def hold() -> None:
        begun.set()
        assert go.wait(PATIENCE)

    @entrypoint
    def body(given) -> bool:
        running = hold()
        assert begun.wait(PATIENCE)
        cancelled = upper("x").cancel()  # the only worker is busy
        go.set()
        running.result()
        interrupt("?")
        return cancelled

    with closing(Engine(checkpointer=checkpointer, workers=1)) as engine, engine:
        first, again = calls(watched(body, 1)), calls(watched(body, Command(resume=1)))
    assert first[2:4] == [
        (TaskStarted, "1", "upper", None, False),
        (TaskCancelled, "1", "upper", None, False),
    ]
    assert again[3:5] == [(TaskStarted, "1", "upper", None, True), (TaskCancelled, "1", "upper", None, True)]
    assert again[-1] == (WorkflowFinished, "", "body", True, False)


def test_a_result_that_is_changed_later_is_told_as_it_was(engine):
    @task
    def numbers() -> list[int]:
        return [1]

    @entrypoint
    def body(given) -> None:
        numbers().result().append(2)
        interrupt("?")
        numbers().result().append(3)

    told = [*watched(body, 1), *watched(body, Command(resume=1))]
    assert [event.result for event in told if isinstance(event, TaskFinished)] == [[1], [1], [1]]


def test_a_thread_that_waits_tells_what_it_waits_for_and_a_finished_one_nothing(engine):
    @entrypoint
    def body(given) -> str:
        return interrupt("?")

    first = watched(body, "in")
    assert calls(watched(body, None)) == [
        (WorkflowStarted, "", "body", None, True),
        (WorkflowInterrupted, "", "body", None, True),
    ]
    settled = [e for e in watched(body, None) if isinstance(e, WorkflowInterrupted)]
    assert settled[0].interrupts == next(e for e in first if isinstance(e, WorkflowInterrupted)).interrupts
    watched(body, Command(resume=1))
    assert watched(body, None) == []


# -- other ends ----------------------------------------------------------------------------------------------------


def test_a_failed_run_ends_with_the_exception_that_the_caller_gets(engine):
    @entrypoint
    def body(given) -> str:
        return upper(given).result() + (fail("no").result() or "")

    told = []
    with pytest.raises(ValueError, match="no") as caught:
        told.extend(body.stream("a", thread_id="t", stream_mode="events"))
    check_balanced(told)
    (failed,) = [event for event in told if isinstance(event, WorkflowFailed)]
    assert failed.error is caught.value
    again = watched(body, None, raises=ValueError)
    assert calls(again)[:4] == [
        (WorkflowStarted, "", "body", None, True),
        (TaskStarted, "0", "upper", None, True),
        (TaskFinished, "0", "upper", "A", True),
        (TaskStarted, "1", "fail", None, False),
    ]


def test_divergence_fails_the_run_and_is_told(engine):
    name = ["a"]

    @entrypoint
    def body(given) -> str:
        return upper(name[0]).result() + interrupt("?")

    watched(body, 1)
    name[0] = "b"
    told = watched(body, Command(resume=1), raises=DivergenceError)
    (failed,) = [event for event in told if isinstance(event, WorkflowFailed)]
    assert isinstance(failed.error, DivergenceError)


def test_an_input_that_cannot_be_read_fails_the_run_in_balance(engine, monkeypatch):
    @entrypoint
    def body(given) -> str:
        return given

    def broken(*_args, **_options):
        raise ValueError("unreadable")

    monkeypatch.setattr("milepost._run.input_of", broken)
    assert [kind for kind, *_ in calls(watched(body, 1, raises=ValueError))] == [
        WorkflowStarted,
        WorkflowFailed,
    ]


def test_a_task_that_still_runs_at_the_pause_ends_unfinished_and_is_told_when_it_is_on_record(checkpointer):
    go, begun = threading.Event(), threading.Event()

    @task
    def slow() -> str:
        begun.set()
        assert go.wait(PATIENCE)
        return "slow"

    @entrypoint
    def body(given) -> str:
        future = slow()
        assert begun.wait(PATIENCE)
        interrupt("?")
        return future.result()

    with closing(Engine(checkpointer=checkpointer, workers=2, pause_wait=0.01)) as engine, engine:
        first = calls(watched(body, 1))
        assert first[1:] == [
            (TaskStarted, "0", "slow", None, False),
            (TaskUnfinished, "0", "slow", None, False),
            (WorkflowInterrupted, "", "body", None, False),
        ]
        go.set()
        waiting = threading.Event()
        while body.get_state(thread_id="t").tasks[0].status != "done":
            waiting.wait(0.01)
        again = calls(watched(body, Command(resume=1)))
    assert again[1:3] == [
        (TaskStarted, "0", "slow", None, True),
        (TaskFinished, "0", "slow", "slow", True),
    ]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_run_that_is_stopped_from_within_ends_unfinished(engine, stop):
    @task
    def stopped() -> None:
        raise stop

    @entrypoint
    def body(given) -> None:
        upper("a").result()
        stopped().result()

    told = watched(body, 1, raises=stop)
    assert calls(told)[-2:] == [
        (TaskUnfinished, "1", "stopped", None, False),
        (WorkflowUnfinished, "", "body", None, False),
    ]


def test_a_run_that_a_closing_engine_stops_ends_unfinished(checkpointer):
    @entrypoint
    def body(given) -> None:
        upper("a").result()
        engine.drain()
        upper("b").result()

    with closing(Engine(checkpointer=checkpointer, workers=2)) as engine, engine:
        told = watched(body, 1, raises=EngineClosed)
    assert calls(told)[-1] == (WorkflowUnfinished, "", "body", None, False)


def test_a_run_that_lost_its_thread_ends_unfinished(checkpointer):
    @entrypoint
    def body(given) -> None:
        upper("a").result()
        _context.frame().execution._taken.holding.lost = (
            True  # what its keeper finds when the head has another owner
        )
        upper("b").result()

    with closing(Engine(checkpointer=checkpointer, workers=2)) as engine, engine:
        told = watched(body, 1, raises=OwnershipLost)
    assert calls(told)[-1] == (WorkflowUnfinished, "", "body", None, False)


@pytest.mark.parametrize("after", range(1, 9))
def test_an_abandoned_stream_ends_nothing_twice_and_goes_on_in_balance(engine, after):
    @entrypoint
    def body(given) -> str:
        return "".join(upper(text).result() for text in "abc")

    stream, told = body.stream(1, thread_id="t", stream_mode="events"), []
    for event in stream:
        told.append(event)
        if len(told) == after:
            break
    stream.close()
    check_balanced(told, whole=False)
    if body.get_state(thread_id="t").status != "done":
        assert calls(watched(body, None))[-1] == (WorkflowFinished, "", "body", "ABC", False)


def test_siblings_of_a_failure_end_before_the_run_does(checkpointer):
    begun, go = threading.Event(), threading.Event()

    @task
    def slow() -> str:
        begun.set()
        assert go.wait(PATIENCE)
        return "slow"

    @entrypoint
    def body(given) -> None:
        slow()
        assert begun.wait(PATIENCE)
        go.set()
        raise ValueError("no")

    with closing(Engine(checkpointer=checkpointer, workers=2)) as engine, engine:
        assert calls(watched(body, 1, raises=ValueError))[-2:] == [
            (TaskFinished, "0", "slow", "slow", False),
            (WorkflowFailed, "", "body", "no", False),
        ]


def test_a_run_started_over_at_every_outcome_is_told_once(checkpointer):
    @task
    def outer(text: str) -> str:
        return upper(text).result() + ask(text).result()

    @entrypoint
    def body(given) -> list[str]:
        return [future.result() for future in [outer("a"), outer("b")]]

    with closing(Engine(checkpointer=checkpointer, workers=2, replay_always=True)) as engine, engine:
        first = watched(body, 1)
        asked = first[-2].interrupts
        again = watched(body, Command(resume={question.id: question.value for question in asked}))
    live = [call for kind, call, _, _, known in calls(first + again) if kind is TaskFinished and not known]
    assert sorted(live) == ["0", "0.0", "0.1", "1", "1.0", "1.1"]


def test_a_result_that_cannot_be_read_any_more_is_told_as_a_failure(engine, monkeypatch):
    def unreadable(*_args):
        raise ValueError("unreadable")

    @entrypoint
    def body(given) -> str:
        upper("a")
        return interrupt("?")

    watched(body, 1)
    monkeypatch.setattr("milepost._frame.Frame._decoded", unreadable)
    told = calls(watched(body, Command(resume="on")))
    assert (TaskFailed, "0", "upper", "unreadable", True) in told
    assert told[-1] == (WorkflowFinished, "", "body", "on", False)  # nobody asked for it
