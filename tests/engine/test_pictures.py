"""Pictures of real runs on a clock that the test moves: side by side, nested, failing, asking, resumed and crashed."""
# ruff: noqa: RUF001 - drawings are compared with the signs that they hold

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import milepost
from manual_clock import ManualClock
from milepost import Command, Engine, Timeline, entrypoint, interrupt, task
from other_process import OtherProcess

TESTS = Path(__file__).parents[1]


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def timed(checkpointer, clock):
    """The current engine, on the test's clock; without replay-always mode, where callers begin more often."""
    made = Engine(checkpointer=checkpointer, workers=2, clock=clock)
    with made:
        yield made
    made.close()


def drawn(workflow, clock, **how: Any) -> str:
    """Return the drawing of the thread, as it is written in a test between triple quotes."""
    return "\n" + workflow.get_state(thread_id="t").timeline(now=clock.now()).text(**how) + "\n"


class Crash(BaseException):
    """Stands for the end of the process at this point."""


def make_story(clock, *, crashes: bool = False):
    """Return a workflow that fetches side by side, calls another, catches a failure, asks in a task, and publishes."""
    meets = threading.Barrier(2, action=lambda: clock.advance(2))
    crashed = []

    @task
    def fetch(name: str) -> str:
        meets.wait()
        return name

    @task
    def count(text: str) -> int:
        clock.advance(0.5)
        return len(text)

    @task
    def parse(text: str) -> int:
        clock.advance(0.25)
        return int(text)

    @task
    def review(text: str) -> Any:
        count(text).result()
        return interrupt(f"Publish {text}?")

    @task
    def publish(text: str) -> str:
        clock.advance(3)
        if crashes and not crashed:
            crashed.append(text)
            raise Crash
        return text

    @entrypoint
    def measure(names: list[str]) -> int:
        return sum(count(name).result() for name in names)

    @entrypoint
    def story(names: list[str]) -> str:
        fetched = [fetch(name) for name in names]
        found = [future.result() for future in fetched]
        measure.invoke(found)
        try:
            parse(found[0]).result()
        except ValueError:
            clock.advance(0.25)
        text = " and ".join(found)
        if not review(text).result():
            return "dropped"
        return publish(text).result()

    return story


def test_a_run_is_drawn_across_its_pause(timed, clock):
    story = make_story(clock)
    story.invoke(["cats", "dogs"], thread_id="t")
    clock.advance(2 * 3600)
    assert (
        drawn(story, clock)
        == """
story: interrupted, took 2 h, 4.0 s of it at work

                                      00:00:00                                ⋯
? story                          2 h… ███████████████████████████████████████░⋯░
✓   fetch                       2.0 s ████████████████████                    ┊
✓   fetch                       2.0 s ████████████████████                    ┊
✓   measure                     1.0 s                     █████████           ┊
✓     count                    500 ms                     ████                ┊
✓     count                    500 ms                         █████           ┊
✗   parse                      250 ms                              ▒▒▒        ┊
      └ ValueError: invalid literal for int() with base 10: 'cats'
?   review                       2 h…                                   ──────⋯─
✓     count                    500 ms                                   █████ ┊
?     “Publish cats and dogs?”   2 h…                                        ░⋯░

█ work   ▒ a failed attempt   ░ waiting for an answer
─ begun, then executed again

2026-01-01 00:00:00Z  started: ran 7 calls in 4.0 s, paused to ask
                      ⋯ 2 h waiting for an answer so far ⋯
"""
    )
    clock.advance(74 * 3600)
    assert story.invoke(Command(resume=True), thread_id="t") == "cats and dogs"
    assert (
        drawn(story, clock)
        == """
story: done, took 3 d 4 h, 7.2 s of it at work

                                       00:00:00             ⋯ 4 Jan 04:00
✓ story                        3 d 4 h █████████████████████⋯░░█████████████████
✓   fetch                        2.0 s ██████████           ┊  ↺
✓   fetch                        2.0 s ██████████           ┊  ↺
✓   measure                      1.0 s           █████      ┊  ↺
✓     count                     500 ms           ███        ┊
✓     count                     500 ms              ██      ┊
✗   parse                       250 ms                ▒▒    ┊  ↺
      └ ValueError: invalid literal for int() with base 10: 'cats'
✓   review                     3 d 4 h                   ───⋯───█
✓     count                     500 ms                   ███┊  ↺
✓     “Publish cats and dogs?” 3 d 4 h                      ⋯░░
✓   publish                      3.0 s                      ┊   ████████████████

█ work   ▒ a failed attempt   ░ waiting for an answer
─ begun, then executed again   ↺ answered from the record

2026-01-01 00:00:00Z  started: ran 7 calls in 4.0 s, paused to ask
                      ⋯ 3 d 4 h waiting for an answer ⋯
2026-01-04 04:00:04Z  resumed: replayed 5 calls, ran 2 in 3.2 s, finished
"""
    )


def test_a_run_is_drawn_across_a_crash(timed, clock):
    story = make_story(clock, crashes=True)
    story.invoke(["cats", "dogs"], thread_id="t")
    clock.advance(1)
    with pytest.raises(Crash):
        story.invoke(Command(resume=True), thread_id="t")
    clock.advance(300)
    assert story.invoke(None, thread_id="t") == "cats and dogs"
    assert (
        drawn(story, clock)
        == """
story: done, took 5 min 12 s, 7.5 s of it at work

                                          00:00:00             ⋯ 00:05:08
✓ story                        5 min 12 s ████████████████░░░░█┊  ██████████████
✓   fetch                           2.0 s ████████            ↺┊  ↺
✓   fetch                           2.0 s ████████            ↺┊  ↺
✓   measure                         1.0 s         ████        ↺┊  ↺
✓     count                        500 ms         ██           ┊
✓     count                        500 ms           ██         ┊
✗   parse                          250 ms             ▒       ↺┊  ↺
      └ ValueError: invalid literal for int() with base 10: 'cats'
✓   review                          1.8 s               ───────⋯  ↺
✓     count                        500 ms               ██    ↺┊
✓     “Publish cats and dogs?”      1.0 s                 ░░░░ ┊
✓   publish                         3.0 s                      ┊   █████████████

█ work   ▒ a failed attempt   ░ waiting for an answer
─ begun, then executed again   ↺ answered from the record

2026-01-01 00:00:00Z  started: ran 7 calls in 4.0 s, paused to ask
                      ⋯ 1.0 s waiting for an answer ⋯
2026-01-01 00:00:05Z  resumed: replayed 5 calls, ran 1 in 250 ms, cut off
                      ⋯ 5 min 3 s nobody at work ⋯
2026-01-01 00:05:08Z  taken over: replayed 5 calls, ran 1 in 3.2 s, finished
"""
    )


def test_a_run_whose_process_was_killed_is_drawn_with_the_gap(tmp_path, clock):
    program = """
        sys.path.insert(0, sys.argv[1])
        from manual_clock import ManualClock

        clock = ManualClock()

        @task
        def work(number):
            clock.advance(1)
            if number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return number

        @entrypoint
        def flow(given):
            return [work(number).result() for number in range(given)]

        with milepost.Engine(checkpointer="sqlite:///runs.db", clock=clock):
            flow.invoke(4, thread_id="t")
    """
    with OtherProcess(program, tmp_path, str(TESTS)) as child:
        assert child.wait() == -9

    @task
    def work(number: int) -> int:
        clock.advance(1)
        return number

    @entrypoint
    def flow(given: int) -> list[int]:
        return [work(number).result() for number in range(given)]

    clock.advance(3 + 40)
    engine = Engine(checkpointer=f"sqlite:///{tmp_path}/runs.db", clock=clock)
    with engine:
        assert flow.get_state(thread_id="t").timeline(now=clock.now()).sessions[0].open
        assert flow.invoke(None, thread_id="t") == [0, 1, 2, 3]
        assert (
            drawn(flow, clock)
            == """
flow: done, took 45 s, 4.0 s of it at work

               00:00:00                        ⋯ 00:00:43
✓ flow    45 s ███████████████████████████████ ┊ ███████████████████████████████
✓   work 1.0 s ████████████████                ┊ ↺
✓   work 1.0 s                 ███████████████ ┊ ↺
✓   work 1.0 s                                 ┊ ████████████████
✓   work 1.0 s                                 ┊                 ███████████████

█ work   ↺ answered from the record

2026-01-01 00:00:00Z  started: ran 2 calls in 2.0 s, cut off
                      ⋯ 41 s nobody at work ⋯
2026-01-01 00:00:43Z  taken over: replayed 2 calls, ran 2 in 2.0 s, finished
"""
        )
    engine.close()


def test_a_failed_run_that_is_tried_again_shows_both_sessions(timed, clock):
    weather = ["bad"]

    @task
    def sail(where: str) -> str:
        clock.advance(2)
        if weather:
            raise ConnectionError(f"no wind\non the way to {where}")
        return where

    @entrypoint
    def trip(where: str) -> str:
        return sail(where).result()

    with pytest.raises(ConnectionError):
        trip.invoke("Ithaca", thread_id="t")
    clock.advance(60)
    assert (
        drawn(trip, clock)
        == """
trip: failed, took 2.0 s

               00:00:00
✗ trip   2.0 s █████████████████████████████████████████████████████████████████
    └ ConnectionError: no wind on the way to Ithaca
✗   sail 2.0 s ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒
      └ ConnectionError: no wind on the way to Ithaca

█ work   ▒ a failed attempt

2026-01-01 00:00:00Z  started: ran 1 call in 2.0 s, failed
"""
    )
    weather.clear()
    trip.invoke(None, thread_id="t")
    assert (
        drawn(trip, clock, width=72)
        == """
trip: done, took 1 min 4 s, 4.0 s of it at work

                   00:00:00                  ⋯ 00:01:02
✓ trip   1 min 4 s █████████████████████████ ┊ █████████████████████████
✓   sail 1 min 4 s ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒·⋯·█████████████████████████
      └ 2 attempts

█ work   ▒ a failed attempt   · waiting for the next attempt

2026-01-01 00:00:00Z  started: worked 2.0 s, failed
                      ⋯ 1 min until it was tried again ⋯
2026-01-01 00:01:02Z  tried again: ran 1 call in 2.0 s, finished
"""
    )


def test_many_equal_calls_are_drawn_as_one_row(timed, clock):
    @task
    def step(number: int) -> int:
        clock.advance(0.125)
        return number

    @entrypoint
    def flow(given: int) -> int:
        return sum(step(number).result() for number in range(given))

    flow.invoke(80, thread_id="t")
    assert (
        drawn(flow, clock)
        == """
flow: done, took 10 s

                  00:00:00
✓ flow       10 s ██████████████████████████████████████████████████████████████
✓   step ×80 10 s ██████████████████████████████████████████████████████████████

2026-01-01 00:00:00Z  started: ran 80 calls in 10 s, finished
"""
    )
    assert len(list(flow.get_state(thread_id="t").timeline(now=clock.now()).rows())) == 81


def test_questions_side_by_side_wait_until_each_is_answered(timed, clock):
    @task
    def ask(what: str) -> Any:
        return interrupt({"who": what})

    @entrypoint
    def flow(given: list[str]) -> list[Any]:
        return [future.result() for future in [ask(what) for what in given]]

    first, second = flow.invoke(["Ada", "Bob"], thread_id="t")["__interrupt__"]
    clock.advance(60)
    flow.invoke(Command(resume={first.id: 1}), thread_id="t")
    clock.advance(60)
    snapshot = flow.get_state(thread_id="t")
    assert [(row.id, row.name, row.status) for row in snapshot.timeline(now=clock.now()).rows()] == [
        ("", "flow", "interrupted"),
        ("0", "ask", "done"),
        ("0.0", '{"who": "Ada"}', "answered"),
        ("1", "ask", "interrupted"),
        ("1.0", '{"who": "Bob"}', "interrupted"),
    ]
    seconds = [row.seconds for row in snapshot.timeline(now=clock.now()).rows() if row.kind == "question"]
    assert seconds == [60, 120]
    assert [(found.kind, found.name, found.status) for found in snapshot.unfinished] == [
        ("task", "ask", "interrupted")
    ]
    flow.invoke(Command(resume={second.id: 2}), thread_id="t")
    assert flow.get_state(thread_id="t").unfinished == ()


def test_a_snapshot_tells_sessions_answered_questions_and_the_workflow(timed, clock):
    @entrypoint
    def flow(given: int) -> Any:
        return interrupt("Go on?")

    flow.invoke(1, thread_id="t")
    clock.advance(5)
    flow.invoke(Command(resume=True), thread_id="t")
    snapshot = flow.get_state(thread_id="t")
    assert snapshot.workflow == "flow"
    assert snapshot.tasks == ()
    (asked,) = snapshot.answered
    assert (asked.id, asked.kind, asked.status, asked.asks) == ("0", "question", "answered", "Go on?")
    assert (asked.began, asked.answered) == ("2026-01-01T00:00:00+00:00", "2026-01-01T00:00:05+00:00")
    assert [(found.how, found.ending, found.position) for found in snapshot.sessions] == [
        ("started", "interrupted", 0),
        ("resumed", "done", 2),
    ]


def test_nested_workflows_and_questions_have_a_kind(timed, clock):
    @task
    def work() -> int:
        return 1

    @entrypoint
    def inner(given: int) -> int:
        return work().result()

    @entrypoint
    def flow(given: int) -> Any:
        return [inner.invoke(given), work().result(), interrupt("?")]

    flow.invoke(1, thread_id="t")
    kinds = [(found.id, found.kind) for found in flow.get_state(thread_id="t").tasks]
    assert kinds == [("0", "workflow"), ("0.0", "task"), ("1", "task"), ("2", "question")]


def test_a_call_that_still_runs_when_its_run_pauses_is_known_by_its_name(checkpointer, clock):
    begun, go_on = threading.Event(), threading.Event()

    @task
    def slow() -> int:
        begun.set()
        go_on.wait()
        return 1

    @entrypoint
    def flow(given: int) -> Any:
        future = slow()
        begun.wait()
        return [interrupt("?"), future.result()]

    engine = Engine(checkpointer=checkpointer, workers=2, pause_wait=0.0, clock=clock)
    with engine:
        flow.invoke(1, thread_id="t")
        found = [(call.id, call.name, call.status) for call in flow.get_state(thread_id="t").unfinished]
        go_on.set()
    engine.close()
    assert found == [("0", "slow", "running")]


def test_every_form_of_a_real_run_can_be_taken(timed, clock):
    story = make_story(clock)
    story.invoke(["cats", "dogs"], thread_id="t")
    snapshot = story.get_state(thread_id="t")
    timeline = snapshot.timeline(now=clock.now())
    assert isinstance(timeline, Timeline)
    assert milepost.Timeline is Timeline
    assert ET.fromstring(timeline.svg()).tag == "{http://www.w3.org/2000/svg}svg"
    assert str(timeline) == timeline.text(80)
    assert "<svg" in snapshot._repr_html_()
    assert (
        timeline.mermaid()
        == """\
flowchart TD
  n1(["story"])
  n2["fetch<br/>✓ done 2.0 s"]
  n3["fetch<br/>✓ done 2.0 s"]
  subgraph n4["measure<br/>✓ done 1.0 s"]
    n5["count<br/>✓ done 500 ms"]
    n6["count<br/>✓ done 500 ms"]
  end
  n7["parse<br/>✗ failed 250 ms<br/>ValueError: invalid literal for int() with base 10: 'cats'"]
  subgraph n8["review<br/>? interrupted 500 ms…"]
    n9["count<br/>✓ done 500 ms"]
    n10{"“Publish cats and dogs?”<br/>? waiting 0 s…"}
  end
  n11(["interrupted"])
  n1 --> n2
  n1 --> n3
  n5 --> n6
  n2 --> n4
  n3 --> n4
  n4 --> n7
  n9 --> n10
  n7 --> n8
  n8 --> n11
  classDef done fill:#dbeafe,stroke:#0b65a8,color:#1f2328
  classDef failed fill:#ffe3d1,stroke:#a63c00,stroke-width:3px,color:#1f2328
  classDef waits fill:#fbe7c0,stroke:#a87400,stroke-dasharray:5 3,color:#1f2328
  classDef other fill:#f3f4f6,stroke:#57606a,stroke-dasharray:2 2,color:#1f2328
  class n2,n3,n5,n6,n4,n9 done
  class n7 failed
  class n1 other
  class n10,n8,n11 waits
"""
    )


def test_a_thread_that_nobody_has_started_can_be_drawn_too(timed, clock):
    flow = make_story(clock)
    timeline = flow.get_state(thread_id="nobody").timeline()
    assert str(timeline).splitlines()[0] == "(no name): never started, nothing on record"
    ET.fromstring(timeline.svg())
    assert timeline.mermaid().startswith("flowchart TD\n")
