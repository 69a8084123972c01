"""Streams: which chunks, in which order, when they come, and what leaving early does."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from milepost import (
    Command,
    Engine,
    MemorySaver,
    StreamWriter,
    entrypoint,
    get_stream_writer,
    interrupt,
    task,
)
from milepost.errors import InvalidStreamMode, MissingThreadId
from milepost.memory import MemoryCheckpointer

PATIENCE = 20
MODES = ("updates", "values", "custom", "tasks", "checkpoints", "debug", "events")


@pytest.fixture
def two_workers():
    """The current engine, with two workers and a memory backend."""
    made = Engine(checkpointer=MemorySaver(), workers=2)
    with made:
        yield made
    made.close()


@task
def upper(text: str) -> str:
    return text.upper()


@task
def fail(text: str) -> None:
    raise ValueError(text)


@entrypoint
def greeting(name: str, *, writer: StreamWriter) -> str:
    writer({"working on": name})
    return f"Hello {upper(name).result()}"


@entrypoint
def asking(name: str) -> str:
    return f"{upper(name).result()} {interrupt('which?')}"


# -- modes ---------------------------------------------------------------------------------------------------------


def test_updates_are_the_default_and_name_task_and_workflow(engine):
    expected = [{"upper": "ADA"}, {"greeting": "Hello ADA"}]
    assert list(greeting.stream("ada", thread_id="a")) == expected
    assert list(greeting.stream("ada", thread_id="b", stream_mode="updates")) == expected


def test_values_give_the_result_alone(engine):
    assert list(greeting.stream("ada", thread_id="t", stream_mode="values")) == ["Hello ADA"]


def test_custom_gives_what_was_written_alone(engine):
    assert list(greeting.stream("ada", thread_id="t", stream_mode="custom")) == [{"working on": "ada"}]


@pytest.mark.parametrize("kind", [list, tuple])
def test_several_modes_label_their_chunks(engine, kind):
    chunks = list(greeting.stream("ada", thread_id="t", stream_mode=kind(["custom", "updates", "values"])))
    assert chunks == [
        ("custom", {"working on": "ada"}),
        ("updates", {"upper": "ADA"}),
        ("updates", {"greeting": "Hello ADA"}),
        ("values", "Hello ADA"),
    ]


def test_a_list_of_one_mode_labels_its_chunks_too(engine):
    assert list(greeting.stream("ada", thread_id="t", stream_mode=["values"])) == [("values", "Hello ADA")]


@pytest.mark.parametrize("mode", ["bogus", "update", ["updates", "bogus"], [], ["updates", None]])
def test_an_unknown_mode_is_an_error_at_the_call_that_lists_the_modes(engine, mode):
    with pytest.raises(InvalidStreamMode, match="updates, values, custom") as caught:
        greeting.stream("ada", thread_id="t", stream_mode=mode)
    assert caught.value.modes == MODES


def test_a_question_is_a_chunk_of_updates_and_of_values(engine):
    for mode in ("updates", "values"):
        last = list(asking.stream("ada", thread_id=mode, stream_mode=mode))[-1]
        ((question,),) = last.values()
        assert list(last) == ["__interrupt__"]
        assert isinstance(last["__interrupt__"], tuple)
        assert question.value == "which?"
        assert asking.invoke(Command(resume={question.id: "B"}), thread_id=mode) == "ADA B"


def test_what_was_recorded_before_is_not_streamed_again(engine):
    list(asking.stream("ada", thread_id="t"))
    assert list(asking.stream(Command(resume="B"), thread_id="t")) == [{"asking": "ADA B"}]


def test_none_on_a_paused_thread_streams_its_questions_and_on_a_finished_one_nothing(engine):
    first = list(asking.stream("ada", thread_id="t"))[-1]
    assert list(asking.stream(None, thread_id="t")) == [first]
    asking.invoke(Command(resume="B"), thread_id="t")
    assert list(asking.stream(None, thread_id="t")) == []


def test_a_failed_task_streams_nothing_and_the_error_ends_the_stream(engine):
    @entrypoint
    def body(given) -> None:
        upper("a").result()
        fail("no").result()

    stream, chunks = body.stream(1, thread_id="t"), []
    with pytest.raises(ValueError, match="no"):
        for chunk in stream:
            chunks.append(chunk)  # noqa: PERF402 - what came before the error counts
    assert chunks == [{"upper": "A"}]
    assert list(stream) == []


def test_a_caught_failure_streams_nothing_and_the_stream_goes_on(engine):
    @entrypoint
    def body(given) -> str:
        try:
            fail("no").result()
        except ValueError:
            return upper("caught").result()
        return ""

    assert list(body.stream(1, thread_id="t")) == [{"upper": "CAUGHT"}, {"body": "CAUGHT"}]


def test_tasks_of_tasks_are_streamed_before_the_task_that_called_them(engine):
    @task
    def outer() -> str:
        return upper("in").result() + "!"

    @entrypoint
    def body(given) -> str:
        return outer().result()

    assert list(body.stream(1, thread_id="t")) == [{"upper": "IN"}, {"outer": "IN!"}, {"body": "IN!"}]


def test_tasks_nobody_waits_for_are_streamed_before_the_workflow(engine):
    @entrypoint
    def body(given) -> str:
        upper("a")
        upper("b")
        return "end"

    chunks = list(body.stream(1, thread_id="t"))
    assert sorted(chunk["upper"] for chunk in chunks[:-1]) == ["A", "B"]
    assert chunks[-1] == {"body": "end"}


def test_what_entrypoint_final_saves_is_not_streamed(engine):
    @entrypoint
    def body(given) -> entrypoint.final[int, int]:
        return entrypoint.final(value=1, save=2)

    assert list(body.stream(1, thread_id="t", stream_mode=["updates", "values"])) == [
        ("updates", {"body": 1}),
        ("values", 1),
    ]


# -- when ----------------------------------------------------------------------------------------------------------


def test_nothing_begins_before_the_first_chunk_is_asked_for(engine):
    began = []

    @entrypoint
    def body(given) -> int:
        began.append(given)
        return given

    stream = body.stream(1, thread_id="t")
    assert began == []
    assert body.get_state(thread_id="t").status is None
    assert next(stream) == {"body": 1}
    stream.close()


def test_a_stream_that_was_never_asked_for_anything_can_be_closed(engine):
    stream = greeting.stream("ada", thread_id="t")
    stream.close()
    assert greeting.get_state(thread_id="t").status is None


def test_what_the_call_does_wrong_is_said_at_the_call(engine):
    with pytest.raises(MissingThreadId, match="thread_id"):
        greeting.stream("ada")


def test_chunks_come_before_the_run_ends(two_workers):
    go = threading.Event()

    @task
    def slow() -> str:
        assert go.wait(PATIENCE)
        return "slow"

    @entrypoint
    def body(given, *, writer: StreamWriter) -> str:
        upper("first").result()
        writer("between")
        return slow().result()

    stream = body.stream(1, thread_id="t", stream_mode=["updates", "custom"])
    assert next(stream) == ("updates", {"upper": "FIRST"})
    assert next(stream) == ("custom", "between")
    go.set()
    assert list(stream) == [("updates", {"slow": "slow"}), ("updates", {"body": "slow"})]


def test_what_a_task_writes_comes_while_it_runs(two_workers):
    go = threading.Event()

    @task
    def slow(writer: StreamWriter) -> str:
        writer("half way")
        assert go.wait(PATIENCE)
        get_stream_writer()("nearly there")
        return "slow"

    @entrypoint
    def body(given) -> str:
        return slow().result()

    stream = body.stream(1, thread_id="t", stream_mode="custom")
    assert next(stream) == "half way"
    go.set()
    assert list(stream) == ["nearly there"]


class Slow(MemoryCheckpointer):
    """Keeps an append waiting until it is let through, and notes what is durable."""

    def __init__(self):
        super().__init__()
        self.asked, self.go = threading.Event(), threading.Event()
        self.hold = b'"outcome"'

    def _append(self, thread, position, data, swap):
        if self.hold in data:
            self.asked.set()
            assert self.go.wait(PATIENCE)
        super()._append(thread, position, data, swap)


@pytest.mark.parametrize("hold", [b'"outcome"', b'"finished"', b'"interrupted"'])
def test_a_chunk_does_not_come_before_its_record_is_durable(hold):
    backend = Slow()
    backend.hold = hold
    chunks, told = [], threading.Event()
    kind = {b'"outcome"': "upper", b'"finished"': "asking", b'"interrupted"': "__interrupt__"}[hold]
    given: Any = "ada"

    def consume() -> None:
        with engine:
            for chunk in asking.stream(given, thread_id="t"):
                chunks.extend(chunk)
                if kind in chunk:
                    told.set()

    engine = Engine(checkpointer=backend, workers=2)
    if kind == "asking":
        with engine:
            asking.invoke("ada", thread_id="t")
        given = Command(resume="B")
    consumer = threading.Thread(target=consume)
    consumer.start()
    assert backend.asked.wait(PATIENCE)
    assert not told.wait(0.05)
    assert kind not in chunks
    backend.go.set()
    assert told.wait(PATIENCE)
    consumer.join(PATIENCE)
    engine.close()


def test_a_future_does_not_resolve_before_its_outcome_is_durable():
    backend, resolved = Slow(), threading.Event()

    @entrypoint
    def body(given) -> str:
        future = upper(given)
        future.add_done_callback(lambda _: resolved.set())
        return future.result()

    engine = Engine(checkpointer=backend, workers=2)

    def run() -> None:
        with engine:
            body.invoke("a", thread_id="t")

    runner = threading.Thread(target=run)
    runner.start()
    assert backend.asked.wait(PATIENCE)
    assert not resolved.wait(0.05)
    backend.go.set()
    assert resolved.wait(PATIENCE)
    runner.join(PATIENCE)
    engine.close()


def test_the_consumer_may_be_slower_than_the_run(two_workers):
    finished = threading.Event()

    @entrypoint
    def body(given) -> None:
        for number in range(50):
            upper(str(number)).result()
        finished.set()

    stream = body.stream(1, thread_id="t")
    assert next(stream) == {"upper": "0"}
    assert finished.wait(PATIENCE)  # nobody reads meanwhile
    assert len(list(stream)) == 50


# -- custom events and pauses --------------------------------------------------------------------------------------


def test_what_a_body_wrote_before_a_pause_is_not_written_again(engine):
    @entrypoint
    def body(given, *, writer: StreamWriter) -> str:
        writer("one")
        upper("x").result()
        writer("two")
        first = interrupt("?")
        writer(f"three {first}")
        second = interrupt("?")
        writer(f"four {second}")
        return "end"

    def custom(given):
        return list(body.stream(given, thread_id="t", stream_mode="custom"))

    assert custom(1) == ["one", "two"]
    assert custom(Command(resume="a")) == ["three a"]
    assert custom(Command(resume="b")) == ["four b"]


def test_what_a_paused_task_wrote_is_not_written_again(engine):
    @task
    def ask(name: str, writer: StreamWriter) -> str:
        writer(f"{name} asks")
        answer = interrupt(name)
        writer(f"{name} heard {answer}")
        return answer

    @entrypoint
    def body(given) -> list[str]:
        return [future.result() for future in [ask("a"), ask("b")]]

    assert sorted(body.stream(1, thread_id="t", stream_mode="custom")) == ["a asks", "b asks"]
    questions = body.get_state(thread_id="t").interrupts
    answers = {question.id: question.value.upper() for question in questions}
    chunks = list(body.stream(Command(resume=answers), thread_id="t", stream_mode="custom"))
    assert sorted(chunks) == ["a heard A", "b heard B"]


def test_what_was_written_before_a_failure_is_not_written_again_by_the_body(engine):
    failures = iter([ValueError("no")])

    @task
    def shaky() -> None:
        for error in failures:
            raise error

    @entrypoint
    def body(given, *, writer: StreamWriter) -> None:
        writer("before")
        shaky().result()
        writer("after")

    chunks = []
    with pytest.raises(ValueError, match="no"):
        for chunk in body.stream(1, thread_id="t", stream_mode="custom"):
            chunks.append(chunk)  # noqa: PERF402 - what came before the error counts
    assert chunks == ["before"]
    assert list(body.stream(None, thread_id="t", stream_mode="custom")) == ["after"]


def test_a_pause_under_invoke_counts_as_written_too(engine):
    @entrypoint
    def body(given, *, writer: StreamWriter) -> None:
        writer("before")
        interrupt("?")
        writer("after")

    body.invoke(1, thread_id="t")
    assert list(body.stream(Command(resume=1), thread_id="t", stream_mode="custom")) == ["after"]


def test_custom_events_need_not_be_serializable(plain_engine):
    item = object()

    @entrypoint
    def body(given, *, writer: StreamWriter) -> None:
        writer(item)

    assert list(body.stream(1, stream_mode="custom")) == [item]


def test_writing_without_a_custom_stream_does_nothing(engine):
    assert greeting.invoke("ada", thread_id="t") == "Hello ADA"


# -- leaving early -------------------------------------------------------------------------------------------------


class Leaving:
    """Stands in for ``threading`` in the stream: lets a gate open once the consumer has left and waits."""

    def __init__(self, monkeypatch):
        self.gone = threading.Event()
        gone = self.gone

        class Body(threading.Thread):
            def join(self, timeout=None):
                gone.set()
                super().join(timeout)

        monkeypatch.setattr("milepost._stream.threading", SimpleNamespace(Thread=Body))


@pytest.mark.parametrize("how", ["close", "break", "collect"])
def test_an_abandoned_stream_records_what_has_begun_then_stops_and_can_be_resumed(
    two_workers, monkeypatch, how
):
    left, begun, executed = Leaving(monkeypatch), threading.Event(), Counter()

    @task
    def step(name: str) -> str:
        executed[name] += 1
        if name == "begun":
            begun.set()
            assert left.gone.wait(PATIENCE)
        return name

    @entrypoint
    def body(given) -> list[str]:
        return [step(name).result() for name in ("first", "begun", "later")]

    stream = body.stream(1, thread_id="t")
    if how == "break":
        for chunk in stream:
            assert chunk == {"step": "first"}
            assert begun.wait(PATIENCE)
            break
    else:
        assert next(stream) == {"step": "first"}
        assert begun.wait(PATIENCE)
    if how == "close":
        stream.close()
    del stream
    gc.collect()
    assert left.gone.is_set()
    state = body.get_state(thread_id="t")
    assert executed == {"first": 1, "begun": 1}
    assert [(task.name, task.status) for task in state.tasks] == [("step", "done")] * 2
    assert (state.status, state.next, state.owner) == ("running", ("body",), None)
    assert body.invoke(None, thread_id="t") == ["first", "begun", "later"]
    assert executed == {"first": 1, "begun": 1, "later": 1}


def test_a_stream_left_at_its_question_is_interrupted_all_the_same(engine):
    stream = asking.stream("ada", thread_id="t")
    while "__interrupt__" not in next(stream):
        pass
    stream.close()
    assert asking.get_state(thread_id="t").status == "interrupted"
    assert asking.invoke(Command(resume="B"), thread_id="t") == "ADA B"


def test_an_abandoned_stream_makes_way_for_a_new_input(two_workers, monkeypatch):
    left, begun = Leaving(monkeypatch), threading.Event()

    @task
    def step(number: int) -> int:
        if number:
            begun.set()
            assert left.gone.wait(PATIENCE)
        return number

    @entrypoint
    def body(given: list[int]) -> int:
        return sum(step(number).result() for number in given)

    stream = body.stream([0, 5, 5], thread_id="t")
    next(stream)
    assert begun.wait(PATIENCE)
    stream.close()
    assert body.invoke([0, 0], thread_id="t") == 0


# -- workflows inside ----------------------------------------------------------------------------------------------


def test_what_happens_inside_a_nested_workflow_is_not_in_the_outer_stream(engine):
    @entrypoint
    def outer(name: str) -> str:
        return greeting.invoke(name).lower()

    modes = ["updates", "values", "custom"]
    assert list(outer.stream("ada", thread_id="t", stream_mode=modes)) == [
        ("updates", {"outer": "hello ada"}),
        ("values", "hello ada"),
    ]


def test_a_body_can_stream_a_nested_workflow(engine):
    seen = []

    @entrypoint
    def outer(name: str) -> str:
        seen.append(list(greeting.stream(name, stream_mode=["custom", "updates"])))
        return interrupt("?")

    outer.invoke("ada", thread_id="t")
    assert outer.invoke(Command(resume="x"), thread_id="t") == "x"
    assert ("updates", {"greeting": "Hello ADA"}) in seen[0]
    assert [chunk for chunk in seen[-1] if chunk[0] == "updates"][-1] == (
        "updates",
        {"greeting": "Hello ADA"},
    )
