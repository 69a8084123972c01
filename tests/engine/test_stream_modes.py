"""What chunks look like in each mode, in nested workflows, on standard output; and that no observer breaks a run."""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext

import pytest

from balance import check_balanced
from milepost import Command, StreamWriter, entrypoint, events, interrupt, task
from milepost.errors import InvalidStreamMode

PATIENCE = 20


@task
def upper(text: str) -> str:
    return text.upper()


@task
def fail(text: str) -> None:
    raise ValueError(text)


@entrypoint
def greeting(name: str) -> str:
    return f"Hello {upper(name).result()}"


@entrypoint
def asking(name: str) -> str:
    return f"{upper(name).result()} {interrupt('which?')}"


@entrypoint
def around(name: str) -> str:
    return upper("own").result() + greeting.invoke(name)


# -- tasks ---------------------------------------------------------------------------------------------------------


def test_tasks_show_each_calls_start_and_end(engine):
    chunks = list(greeting.stream("ada", thread_id="t", stream_mode="tasks"))
    live = {"attempt": 1, "replayed": False}
    done = {**live, "status": "done", "error": None, "exception": None, "interrupts": []}
    assert chunks == [
        {"id": "", "name": "greeting", "input": "ada", "triggers": ("__start__",), **live},
        {"id": "0", "name": "upper", "input": (("ada",), {}), "triggers": ("",), **live},
        {"id": "0", "name": "upper", "result": "ADA", **done},
        {"id": "", "name": "greeting", "result": "Hello ADA", **done},
    ]


def test_tasks_show_questions_and_failures(engine):
    @entrypoint
    def body(given) -> None:
        try:
            fail("no").result()
        except ValueError:
            interrupt("?")

    failed, paused = [
        chunk for chunk in body.stream(1, thread_id="t", stream_mode="tasks") if "status" in chunk
    ]
    assert (failed["status"], failed["error"]) == ("failed", "ValueError: no")
    assert isinstance(failed["exception"], ValueError)
    (question,) = body.get_state(thread_id="t").interrupts
    assert paused["status"] == "interrupted"
    assert paused["interrupts"] == [{"value": "?", "id": question.id}]


def test_tasks_show_what_is_replayed_and_updates_do_not(engine):
    list(asking.stream("ada", thread_id="t"))
    chunks = list(asking.stream(Command(resume="B"), thread_id="t", stream_mode=["tasks", "updates"]))
    tasks = [(chunk["id"], "input" in chunk, chunk["replayed"]) for mode, chunk in chunks if mode == "tasks"]
    assert tasks == [("", True, True), ("0", True, True), ("0", False, True), ("", False, False)]
    assert [chunk for mode, chunk in chunks if mode == "updates"] == [{"asking": "ADA B"}]


def test_the_ids_of_tasks_are_those_of_the_state(engine):
    chunks = list(asking.stream("ada", thread_id="t", stream_mode="tasks"))
    (upper_state, _) = asking.get_state(thread_id="t").tasks
    assert upper_state.id in {chunk["id"] for chunk in chunks if chunk["name"] == "upper"}


# -- checkpoints and debug -----------------------------------------------------------------------------------------


def saved(workflow, given, thread="t"):
    return list(workflow.stream(given, thread_id=thread, stream_mode="checkpoints"))


def test_checkpoints_show_the_input_and_what_the_run_came_to(engine):
    first, last = saved(greeting, "ada")
    assert first["metadata"] == {"source": "input", "step": -1, "parents": {}}
    assert (first["values"], first["next"], first["tasks"]) == (None, ("greeting",), ())
    assert last["metadata"] == {"source": "loop", "step": 0, "parents": {}}
    assert (last["values"], last["next"]) == ("Hello ADA", ())
    assert [(known["name"], known["status"]) for known in last["tasks"]] == [("upper", "done")]
    state = greeting.get_state(thread_id="t")
    for chunk in (first, last):
        assert chunk["config"] == state.config
        assert chunk["parent_config"] is None


def test_checkpoints_show_a_pause_and_no_second_input(engine):
    _, paused = saved(asking, "ada")
    state = asking.get_state(thread_id="t")
    assert paused["next"] == state.next == ("asking",)
    (question,) = state.interrupts
    assert paused["tasks"][1]["interrupts"] == ({"value": "which?", "id": question.id},)
    (last,) = saved(asking, Command(resume="B"))
    assert last["values"] == "ADA B"
    assert [known["status"] for known in last["tasks"]] == ["done"]


def test_checkpoints_of_a_later_run_know_the_result_before_it(engine):
    saved(greeting, "ada")
    before = greeting.get_state(thread_id="t").config
    first, last = saved(greeting, "bob")
    assert (first["values"], last["values"]) == ("Hello ADA", "Hello BOB")
    assert first["parent_config"] == last["parent_config"] == before
    assert first["config"] != before


def test_checkpoints_show_a_failure_and_agree_with_the_state(engine):
    @entrypoint
    def body(given) -> None:
        upper("a").result()
        fail("no").result()

    chunks = []
    with pytest.raises(ValueError, match="no"):
        chunks.extend(body.stream(1, thread_id="t", stream_mode=["checkpoints"]))
    state = body.get_state(thread_id="t")
    shown = [(known["id"], known["status"], known["error"]) for known in chunks[-1][1]["tasks"]]
    assert shown == [(known.id, known.status, known.error) for known in state.tasks]
    assert len(shown) == 2
    assert chunks[-1][1]["next"] == state.next


def test_without_a_checkpointer_nothing_is_saved_and_nothing_shown(plain_engine):
    assert list(greeting.stream("ada", stream_mode="checkpoints")) == []


def test_debug_wraps_tasks_and_checkpoints(engine):
    chunks = list(greeting.stream("ada", thread_id="t", stream_mode="debug"))
    assert [(chunk["type"], chunk["step"]) for chunk in chunks] == [
        ("checkpoint", -1),
        ("task", 0),
        ("task", 0),
        ("task_result", 0),
        ("task_result", 0),
        ("checkpoint", 0),
    ]
    assert [chunk["payload"].get("name") for chunk in chunks[1:5]] == [
        "greeting",
        "upper",
        "upper",
        "greeting",
    ]
    assert all(set(chunk) == {"step", "timestamp", "type", "payload"} for chunk in chunks)
    times = [chunk["timestamp"] for chunk in chunks]
    assert times == sorted(times)


# -- several modes, and nested workflows ---------------------------------------------------------------------------


def test_modes_agree_on_one_order(engine):
    chunks = list(greeting.stream("ada", thread_id="t", stream_mode=["events", "tasks", "updates"]))
    assert [mode for mode, _ in chunks] == [
        "events",  # the checkpoint of the input
        *("events", "tasks"),
        *("events", "tasks"),
        *("events", "tasks", "updates"),
        *("events", "tasks", "updates"),
        "events",
    ]


def test_nested_workflows_are_shown_when_asked_for(engine):
    assert list(around.stream("ada", thread_id="a")) == [{"upper": "OWN"}, {"around": "OWNHello ADA"}]
    assert list(around.stream("ada", thread_id="b", subgraphs=True)) == [
        ((), {"upper": "OWN"}),
        (("greeting:1",), {"upper": "ADA"}),
        (("greeting:1",), {"greeting": "Hello ADA"}),
        ((), {"around": "OWNHello ADA"}),
    ]
    labelled = list(around.stream("ada", thread_id="c", stream_mode=["values"], subgraphs=True))
    assert labelled == [(("greeting:1",), "values", "Hello ADA"), ((), "values", "OWNHello ADA")]


def test_namespaces_tell_calls_of_one_workflow_apart_at_any_depth(engine):
    @task
    def through(name: str) -> str:
        return around.invoke(name) + greeting.invoke(name)

    @entrypoint
    def body(given) -> str:
        return through(given).result() + greeting.invoke(given)

    told = list(body.stream("ada", thread_id="t", stream_mode="events", subgraphs=True))
    check_balanced(event for _, event in told)
    found = {namespace for namespace, event in told if isinstance(event, events.WorkflowFinished)}
    assert found == {
        (),
        ("around:0.0",),
        ("around:0.0", "greeting:0.0.1"),
        ("greeting:0.1",),
        ("greeting:1",),
    }


def test_a_nested_question_is_shown_there_and_by_the_run(engine):
    @entrypoint
    def body(given) -> str:
        return asking.invoke(given)

    chunks = list(body.stream("ada", thread_id="t", subgraphs=True))
    (question,) = body.get_state(thread_id="t").interrupts
    assert chunks == [
        (("asking:0",), {"upper": "ADA"}),
        (("asking:0",), {"__interrupt__": (question,)}),
        ((), {"__interrupt__": (question,)}),
    ]


def test_a_run_on_another_thread_is_shown_as_the_call_that_began_it(engine):
    @entrypoint
    def body(given, *, writer: StreamWriter) -> str:
        return around.invoke(given, thread_id="other")

    told = list(body.stream("ada", thread_id="t", stream_mode="events", subgraphs=True))
    check_balanced(event for _, event in told)
    finished = [
        (namespace, event.call, event.name)
        for namespace, event in told
        if isinstance(event, events.TaskFinished | events.WorkflowFinished)
    ]
    assert finished == [
        (("around:0",), "0/0", "upper"),
        (("around:0", "greeting:1"), "0/1.0", "upper"),
        (("around:0", "greeting:1"), "0/1", "greeting"),
        (("around:0",), "0", "around"),
        ((), "", "body"),
    ]
    assert list(body.stream("ada", thread_id="u")) == [{"body": "OWNHello ADA"}]


# -- streams inside bodies -----------------------------------------------------------------------------------------


def test_a_body_that_streams_a_nested_workflow_gets_its_result_once_live_and_replayed(engine):
    seen = []

    @entrypoint
    def body(given) -> str:
        seen.append([chunk for chunk in greeting.stream(given) if "greeting" in chunk])
        return interrupt("?")

    body.invoke("ada", thread_id="t")
    assert body.invoke(Command(resume="end"), thread_id="t") == "end"
    assert seen
    assert all(chunks == [{"greeting": "Hello ADA"}] for chunks in seen)


def test_a_nested_stream_shows_its_own_workflow_and_what_is_within(engine):
    seen = []

    @entrypoint
    def body(given) -> str:
        upper("before").result()
        seen[:] = list(around.stream(given, stream_mode="events", subgraphs=True))
        return "end"

    body.invoke("ada", thread_id="t")
    check_balanced((event for _, event in seen), root="1")
    assert {namespace for namespace, _ in seen} <= {(), ("greeting:1.1",)}
    assert seen[-1][1].result == "OWNHello ADA"


@pytest.mark.parametrize("ends", ["asks", "fails", "stops"])
def test_a_nested_stream_is_balanced_however_the_nested_workflow_ends(engine, ends):
    seen = []

    @task
    def end() -> None:
        if ends == "asks":
            interrupt("?")
        raise ValueError("no") if ends == "fails" else KeyboardInterrupt

    @entrypoint
    def inner(given) -> None:
        upper(given).result()
        end().result()

    @entrypoint
    def body(given) -> None:
        seen.clear()
        seen.extend(inner.stream(given, stream_mode="events"))

    told = []
    with pytest.raises((ValueError, KeyboardInterrupt)) if ends != "asks" else nullcontext():
        told.extend(body.stream("a", thread_id="t", stream_mode="events", subgraphs=True))
    check_balanced(event for _, event in told)
    check_balanced(seen, root="0")
    kinds = {"asks": "Interrupted", "fails": "Failed", "stops": "Unfinished"}
    assert [type(event).__name__ for event in seen[-2:]] == [f"Task{kinds[ends]}", f"Workflow{kinds[ends]}"]


def test_a_nested_stream_that_its_consumer_leaves_goes_on_and_is_balanced_outside(engine):
    @entrypoint
    def body(given) -> str:
        for _ in around.stream(given, subgraphs=True):
            break
        return upper("end").result()

    told = list(body.stream("ada", thread_id="t", stream_mode="events", subgraphs=True))
    check_balanced(event for _, event in told)
    finished = {event.call for _, event in told if isinstance(event, events.TaskFinished)}
    assert finished == {"0.0", "0.1.0", "1"}


def test_a_nested_invoke_can_return_chunks_too(engine):
    @entrypoint
    def body(given) -> list:
        return greeting.invoke(given, stream_mode="values") + str(
            greeting.invoke(given, stream_mode=["values"])
        )

    assert body.invoke("ada", thread_id="t") == "Hello ADA[('values', 'Hello ADA')]"


# -- invoke --------------------------------------------------------------------------------------------------------


def test_invoke_returns_the_chunks_of_another_mode(engine):
    assert greeting.invoke("ada", thread_id="a", stream_mode="updates") == [
        {"upper": "ADA"},
        {"greeting": "Hello ADA"},
    ]
    assert greeting.invoke("ada", thread_id="b", stream_mode=["values"]) == [("values", "Hello ADA")]
    assert greeting.invoke("ada", thread_id="c", stream_mode="values") == "Hello ADA"
    (question,) = asking.invoke("ada", thread_id="d", stream_mode="updates")[-1]["__interrupt__"]
    assert question.value == "which?"


def test_invoke_refuses_an_unknown_mode(engine):
    for modes in ({"stream_mode": "bogus"}, {"print_mode": "bogus"}, {"stream_mode": "pretty"}):
        with pytest.raises(InvalidStreamMode):
            greeting.invoke("ada", thread_id="t", **modes)
    assert greeting.get_state(thread_id="t").status is None


@pytest.mark.parametrize("name", ["output_keys", "interrupt_before", "interrupt_after"])
def test_what_only_graphs_have_is_refused_by_name(engine, name):
    for call in (greeting.invoke, greeting.stream):
        with pytest.raises(TypeError, match=name):
            call("ada", thread_id="t", **{name: ["greeting"]})


# -- printing ------------------------------------------------------------------------------------------------------


def test_print_mode_prints_and_changes_nothing(engine, capsys):
    chunks = list(greeting.stream("ada", thread_id="a", print_mode=["updates", "values"]))
    assert chunks == [{"upper": "ADA"}, {"greeting": "Hello ADA"}]
    printed = "[updates] {'upper': 'ADA'}\n[updates] {'greeting': 'Hello ADA'}\n[values] 'Hello ADA'\n"
    assert capsys.readouterr().out == printed
    assert greeting.invoke("ada", thread_id="b", print_mode=("updates", "values")) == "Hello ADA"
    assert capsys.readouterr().out == printed


def test_print_mode_shows_nested_workflows_when_asked_for(engine, capsys):
    around.invoke("ada", thread_id="t", print_mode="values", subgraphs=True)
    assert capsys.readouterr().out == "[values] ('greeting:1',) 'Hello ADA'\n[values] () 'OWNHello ADA'\n"


def test_a_nested_call_can_be_printed_alone(engine, capsys):
    @entrypoint
    def body(given) -> str:
        return greeting.invoke(given, print_mode="values")

    body.invoke("ada", thread_id="t")
    assert set(capsys.readouterr().out.splitlines()) == {"[values] 'Hello ADA'"}


def test_pretty_prints_a_line_for_each_event_that_a_person_can_follow(engine, capsys):
    @entrypoint
    def body(given, *, writer: StreamWriter) -> str:
        writer("half way")
        try:
            fail("no").result()
        except ValueError:
            return upper(given).result() + interrupt("go on?")
        return ""

    def lines():
        printed = capsys.readouterr().out.splitlines()
        return [" ".join(word for word in line[9:].split() if word not in {"ms", "s"}) for line in printed]

    def without_times(found):
        return [
            " ".join(word for word in line.split() if not word.replace(".", "").isdigit()) for line in found
        ]

    body.invoke("ada", thread_id="t", print_mode="pretty")
    assert without_times(lines()) == [
        "▶ body ('ada')",
        "· body 'half way'",
        "▶ fail ('no')",
        "✗ fail ValueError: no",
        "▶ upper ('ada')",
        "✓ upper 'ADA'",
        "? body 'go on?'",
    ]
    body.invoke(Command(resume="!"), thread_id="t", print_mode="pretty")
    assert without_times(lines()) == [
        "▶ body ('ada') goes on",
        "✗ fail ValueError: no from the record",
        "✓ upper 'ADA' from the record",
        "✓ body 'ADA!'",
    ]


class Terminal:
    """A standard output that is a terminal."""

    encoding = "utf-8"

    def __init__(self):
        self.text = ""

    def isatty(self):
        return True

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_colours_are_for_terminals_alone(engine, monkeypatch, capsys):
    greeting.invoke("ada", thread_id="a", print_mode=["pretty", "values"])
    assert "\x1b" not in capsys.readouterr().out
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    greeting.invoke("ada", thread_id="b", print_mode=["pretty", "values"])
    assert "\x1b[32m✓\x1b[0m upper" in terminal.text
    assert "\x1b[1m[values]\x1b[0m 'Hello ADA'" in terminal.text


def test_what_standard_output_cannot_encode_is_replaced(engine, monkeypatch):
    terminal = Terminal()
    terminal.encoding = "ascii"
    monkeypatch.setattr("sys.stdout", terminal)
    greeting.invoke("ada", thread_id="t", print_mode="values")
    greeting.invoke("ädä", thread_id="t", print_mode="pretty")
    assert "'Hello ADA'" in terminal.text
    assert terminal.text.isascii()
    assert "greeting  'Hello ?D?'" in terminal.text


# -- observers never break a run -----------------------------------------------------------------------------------


class Closed(Terminal):
    """A standard output that nobody reads any more."""

    def write(self, text):
        raise BrokenPipeError("nobody reads")


def test_a_standard_output_that_fails_costs_the_output_alone(engine, monkeypatch, caplog):
    monkeypatch.setattr("sys.stdout", Closed())
    with caplog.at_level(logging.WARNING, logger="milepost"):
        chunks = list(around.stream("ada", thread_id="t", print_mode="pretty"))
    assert chunks == [{"upper": "OWN"}, {"around": "OWNHello ADA"}]
    assert [record.message for record in caplog.records] == [
        "an observer of the run failed, and is told nothing more"
    ]


class Shy:
    """Cannot be shown."""

    def __repr__(self):
        raise RuntimeError("do not look")


@pytest.mark.parametrize(
    ("mode", "shows"),
    [("pretty", "(<Shy>)"), ("custom", " <Shy>"), ("tasks", " <dict>"), ("events", " <TaskStarted>")],
)
def test_what_cannot_be_shown_is_named_by_its_type(plain_engine, capsys, mode, shows):
    @task
    def shown(value: Shy) -> str:
        return "end"

    @entrypoint
    def body(given, *, writer: StreamWriter) -> str:
        writer(Shy())
        return shown(Shy()).result()

    assert body.invoke(1, print_mode=mode) == "end"
    assert shows in capsys.readouterr().out


class Speechless(Exception):
    """Cannot be said."""

    def __str__(self):
        raise RuntimeError("no words")


def test_a_failure_that_cannot_be_said_is_shown_all_the_same(plain_engine, capsys):
    @task
    def fails() -> None:
        raise Speechless

    @entrypoint
    def body(given) -> str:
        try:
            fails().result()
        except Speechless:
            return "caught"
        return ""

    chunks = list(body.stream(1, stream_mode="tasks", print_mode="pretty"))
    assert [chunk["error"] for chunk in chunks if chunk.get("status") == "failed"] == ["Speechless"]
    assert chunks[-1]["result"] == "caught"
    assert "✗ fails  Speechless" in capsys.readouterr().out


def test_a_failing_observer_that_was_there_first_keeps_nothing_from_the_others(engine, monkeypatch):
    monkeypatch.setattr("sys.stdout", Closed())
    chunks = greeting.invoke("ada", thread_id="t", stream_mode=["tasks"], print_mode="tasks")
    assert len(chunks) == 4


def test_the_run_does_not_wait_for_who_watches_it(engine):
    finished = threading.Event()

    @entrypoint
    def body(given) -> None:
        for number in range(20):
            upper(str(number)).result()
        finished.set()

    stream = body.stream(1, thread_id="t", stream_mode="tasks")
    assert next(stream)["name"] == "body"
    assert finished.wait(PATIENCE)
    assert len(list(stream)) == 41


def test_nothing_is_made_for_nobody(engine, monkeypatch):
    """An event is made when somebody wants it, not before."""
    made = []

    class Spy(events.TaskStarted):
        def __init__(self, **given):
            made.append(given)
            super().__init__(**given)

    monkeypatch.setattr("milepost._telling._TASK", _with_start(Spy))
    greeting.invoke("ada", thread_id="a")
    list(greeting.stream("ada", thread_id="b", stream_mode=["updates", "values", "custom", "checkpoints"]))
    assert made == []
    list(greeting.stream("ada", thread_id="c", stream_mode="tasks"))
    assert len(made) >= 1


def _with_start(kind):
    from milepost import _telling
    from milepost._struct import replace

    return replace(_telling._TASK, started=kind)
