"""The picture of a run, from facts made by hand: what lies where, what is said, and that nothing breaks a drawing."""

from __future__ import annotations

import datetime as dt
import re
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost.checkpoint import Owner
from milepost.state import Session, StateSnapshot, TaskState, Try
from milepost.timeline import Bar, Timeline, _svg, _words
from milepost.timeline._axis import Measure, axis, union, without
from milepost.timeline._moments import clock, coarse, duration, instant

START = dt.datetime(2026, 3, 2, 9, 0, tzinfo=dt.UTC)
ZERO = START.timestamp()
OWNER = Owner(host="h", boot="b", pid=1, started=1, session="s")
SVG = "{http://www.w3.org/2000/svg}"
NASTY = [
    '"]; click n1 "javascript:alert(1)"',
    "end",
    "subgraph end",
    "</title><script>alert(1)</script>",
    "a & b < c > d",
    "line\nbreak\ttab\r",
    "\x1b[31mred\x1b[0m \x00 \x07",
    "日本語の名前がとても長くて切られる",
    "e\u0301 \u202e reversed \ud800",
    "`code` #35; %% {{x}} |pipe| --> n9",
    "]]>",
    "",
]


def at(seconds: float) -> str:
    return (START + dt.timedelta(seconds=seconds)).isoformat()


def now(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


def call(id_: str, began: float = 0, ended: float = 1, **more) -> TaskState:
    values = {"name": f"task_{id_}", "status": "done", "attempts": 1, "session": 0} | more
    return TaskState(id=id_, began=at(began), ended=at(ended), **values)


def question(id_: str, asked: float, answered: float | None = None, **more) -> TaskState:
    came = None if answered is None else at(answered)
    status = "interrupted" if answered is None else "answered"
    return TaskState(
        id=id_, name="interrupt", kind="question", status=status, began=at(asked), answered=came, **more
    )


def session(began: float, ended: float | None, ending: str | None = None, **more) -> Session:
    values = {"how": "started", "position": 0, "owner": OWNER} | more
    return Session(began=at(began), ended=None if ended is None else at(ended), ending=ending, **values)


def picture(*calls: TaskState, sessions=(), status="done", end: float | None = None, **more) -> Timeline:
    latest = None if end is None else now(end)
    return Timeline.of(workflow="flow", status=status, calls=calls, sessions=sessions, now=latest, **more)


def bars(timeline: Timeline, id_: str) -> list[tuple[str, float, float]]:
    (row,) = (row for row in timeline.rows() if row.id == id_)
    return [(bar.kind, round(bar.began - ZERO, 3), round(bar.ended - ZERO, 3)) for bar in row.bars]


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (-1, "0 s"),
        (0.0001, "<1 ms"),
        (0.012, "12 ms"),
        (0.9996, "1.0 s"),
        (1.24, "1.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (86399, "1 d"),
        (273600, "3 d 4 h"),
        (40000000, "463 d"),
    ],
)
def test_a_span_of_time_is_said_in_at_most_two_units(seconds, said):
    assert duration(seconds) == said
    assert duration(seconds).startswith(coarse(seconds))


@given(st.floats(min_value=0, max_value=1e10))
def test_no_span_is_said_in_sixty_seconds_or_twenty_four_hours(seconds):
    assert not re.search(r"\b(60 s|60 min|24 h|1000 ms)\b", duration(seconds))
    assert len(duration(seconds)) <= 11


def test_times_are_read_as_utc_and_what_is_no_time_is_none():
    assert instant("2026-03-02T09:00:00") == instant("2026-03-02T10:00:00+01:00") == ZERO
    assert instant(None) is instant("now") is instant("") is None


def test_the_time_of_day_has_its_day_where_that_is_another():
    assert clock(ZERO) == clock(ZERO, ZERO + 60) == "09:00:00"
    assert clock(ZERO + 86400, ZERO) == "3 Mar 09:00"


def test_clean_text_is_one_line_without_control_characters():
    for name in NASTY:
        cleaned = _words.clean(name)
        assert cleaned.isprintable()
        cleaned.encode()


@given(st.text(), st.integers(0, 30))
def test_text_is_cut_to_the_columns_it_may_take(text, columns):
    assert _words.width(_words.fitted(_words.clean(text), columns)) <= columns


# -- rows and bars -------------------------------------------------------------------------------------------------


def test_rows_are_in_the_order_of_the_calls_and_nested():
    timeline = picture(call("10"), call("2.0"), call("2"), call("2.10"), call("2.9"))
    assert [row.id for row in timeline.rows()] == ["", "2", "2.0", "2.9", "2.10", "10"]


def test_attempts_and_the_waits_between_them_are_bars_of_their_own():
    tries = (
        Try(number=2, began=at(5), ended=at(6), error="again"),
        Try(number=1, began=at(0), ended=at(1), error="first"),
    )
    timeline = picture(call("0", 10, 12, attempts=3, tries=tries))
    assert bars(timeline, "0") == [
        ("failed", 0, 1),
        ("retry", 1, 5),
        ("failed", 5, 6),
        ("retry", 6, 10),
        ("work", 10, 12),
    ]
    assert "3 attempts" in timeline.text()
    assert "3 attempts" in timeline.mermaid()
    assert "waiting for the next attempt" in timeline.svg()


def test_attempts_that_began_with_the_first_are_drawn_after_the_last_failure():
    timeline = picture(call("0", 0, 12, tries=(Try(number=1, began=at(0), ended=at(3)),)))
    assert bars(timeline, "0") == [("failed", 0, 3), ("work", 3, 12)]


def test_a_call_that_was_begun_again_later_is_a_line_until_then():
    timeline = picture(call("0", 100, 101, session=1), call("0.0", 1, 2))
    assert bars(timeline, "0") == [("span", 1, 100), ("work", 100, 101)]


def test_an_answered_question_waited_and_a_pending_one_waits_until_now():
    timeline = picture(question("0", 1, 5), question("1", 2), status="interrupted", end=60)
    assert bars(timeline, "0") == [("wait", 1, 5)]
    assert bars(timeline, "1") == [("wait", 2, 60)]
    assert [row.bars[0].open for row in timeline.root.children] == [False, True]


def test_a_caller_without_record_is_drawn_by_what_it_called():
    timeline = picture(question("3.0", 2), call("4.0", 0, 1), status="interrupted", end=9)
    assert [(row.name, row.status) for row in timeline.rows() if "." not in row.id] == [
        ("flow", "interrupted"),
        ("call 3", "interrupted"),
        ("call 4", "unfinished"),
    ]
    assert bars(timeline, "3") == [("span", 2, 9)]
    assert bars(timeline, "4") == [("span", 0, 1)]


def test_what_runs_now_ends_now():
    running = TaskState(id="0", name="slow", status="running", began=at(3))
    timeline = picture(running, sessions=[session(0, None)], status="running", end=10)
    assert bars(timeline, "") == [("work", 0, 10)]
    assert bars(timeline, "0") == [("work", 3, 10)]
    assert "started: worked 10 s, still running" in timeline.text()
    assert "10 s…" in timeline.text()


def test_a_call_that_ran_at_the_last_rest_may_have_ended_since():
    running = TaskState(id="0", name="slow", status="running")
    (row,) = picture(running, question("1", 1), status="interrupted", end=5).root.children[:1]
    assert (row.status, row.bars, row.seconds) == ("unfinished", (), None)


def test_sessions_that_were_cut_off_end_with_their_last_sign_of_life():
    sessions = [session(0, None, seen=at(4)), session(10, 12, "done", how="claimed")]
    timeline = picture(call("0", 1, 4), sessions=sessions)
    assert bars(timeline, "") == [("work", 0, 4), ("gap", 4, 10), ("work", 10, 12)]
    assert [gap.why for gap in timeline.gaps] == ["nobody at work"]


def test_a_run_that_sleeps_is_told_from_one_that_waits_for_an_answer():
    timeline = picture(call("0"), sessions=[session(0, 2, "sleeping")], status="sleeping", end=3600)
    assert bars(timeline, "") == [("work", 0, 2), ("sleep", 2, 3600)]
    assert "59 min 58 s asleep so far" in timeline.text()
    assert ">asleep<" in timeline.svg()


def test_what_was_replayed_is_counted_for_each_session_until_its_caller_is_on_record():
    sessions = [
        session(0, 1, "interrupted"),
        session(2, 3, "interrupted", how="resumed"),
        session(4, 5, "done", how="resumed"),
    ]
    timeline = picture(
        call("0"), call("1.0"), call("1", 2, 3, session=1), call("2", 4, 5, session=2), sessions=sessions
    )
    assert {row.id: row.replays for row in timeline.rows()} == {"": 0, "0": 2, "1": 1, "1.0": 1, "2": 0}
    assert [(work.executed, work.replayed) for work in timeline.sessions] == [(2, 0), (1, 2), (1, 2)]
    assert [bar for bar in bars(timeline, "0") if bar[0] == "replay"] == [("replay", 2, 2), ("replay", 4, 4)]


def test_a_moment_at_the_end_is_drawn_before_the_end():
    check_svg(picture(call("0", 0, 9), call("1", 9, 9), call("2", 9, 9, status="cancelled")).svg())


def test_clocks_that_step_back_and_times_that_are_none_break_nothing():
    sessions = [session(100, 90, "interrupted"), session(5, 3, "done", how="resumed")]
    odd = TaskState(id="2", name="odd", status="done", began="now", ended="soon")
    asked = question("3", 50, 40)
    timeline = picture(call("0", 10, 5), call("1", 9, 2), odd, asked, sessions=sessions)
    assert all(bar.ended >= bar.began for row in timeline.rows() for bar in row.bars)
    assert timeline.gaps == ()
    check_all(timeline)


def test_a_failed_run_says_what_it_failed_with():
    timeline = picture(
        call("0", status="failed", error="ValueError: no"), status="failed", error="ValueError: no"
    )
    for drawing in (timeline.text(), timeline.svg(), timeline.mermaid(), timeline._repr_html_()):
        assert "ValueError: no" in drawing


def test_cached_and_cancelled_calls_are_told_apart():
    timeline = picture(call("0", cached=True), call("1", 1, 1, status="cancelled"))
    assert "cached" in timeline.text()
    assert "cancelled" in timeline.text()
    assert bars(timeline, "1") == [("cancelled", 1, 1)]


# -- the axis ------------------------------------------------------------------------------------------------------


def test_long_waits_are_cut_short_and_short_ones_are_drawn_to_scale():
    days = 3 * 86400
    timeline = picture(call("0", 0, 2), call("1", 3, 5), call("2", days, days + 2))
    found = axis(timeline.root, timeline.gaps, Measure(width=100, least=4, gap=3))
    assert [(cut.began - ZERO, cut.ended - ZERO) for cut in found.breaks] == [(5, days)]
    assert found.breaks[0].right - found.breaks[0].left == 3
    assert found.at(ZERO) == 0
    assert found.at(ZERO + days + 2) == 100
    one, two = found.at(ZERO + 2) - found.at(ZERO), found.at(ZERO + 5) - found.at(ZERO + 3)
    assert one == pytest.approx(two)


def test_a_wait_for_the_next_attempt_is_cut_short_although_the_body_was_there():
    retried = call("0", 3600, 3601, tries=(Try(number=1, began=at(0), ended=at(1)),))
    timeline = picture(retried, sessions=[session(0, 3601, "done")])
    found = axis(timeline.root, timeline.gaps, Measure(width=100, least=4, gap=3))
    assert [cut.why for cut in found.breaks] == ["waiting for the next attempt"]


def test_there_are_no_more_breaks_than_there_is_room_for():
    calls = [call(str(number), 1000 * number, 1000 * number + 1) for number in range(100)]
    timeline = picture(*calls)
    found = axis(timeline.root, timeline.gaps, Measure(width=40, least=4, gap=3))
    assert len(found.breaks) == 5
    places = [found.at(ZERO + 1000 * number) for number in range(100)]
    assert places == sorted(places)


def test_a_run_of_no_time_at_all_has_an_axis():
    timeline = picture(call("0", 0, 0), call("1", 0, 0))
    found = axis(timeline.root, timeline.gaps, Measure(width=40, least=4, gap=3))
    assert found.at(ZERO) == 0
    check_all(timeline)


spans = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda span: tuple(sorted(span))), max_size=8
)


@given(spans, spans)
def test_sets_of_spans_cover_what_they_should(some, others):
    def covered(found):
        return {second for began, ended in found for second in range(began, ended)}

    joined = union(some)
    assert covered(joined) == covered(some)
    assert all(one[1] < two[0] for one, two in pairwise(joined))
    assert covered(without(joined, union(others))) == covered(some) - covered(others)


# -- drawings ------------------------------------------------------------------------------------------------------


def check_all(timeline: Timeline) -> None:
    for width in (40, 57, 80, 132):
        check_text(timeline.text(width), width)
    check_svg(timeline.svg())
    check_mermaid(timeline.mermaid())
    check_html(timeline._repr_html_())


def check_text(drawn: str, width: int) -> None:
    for line in drawn.split("\n"):
        assert _words.width(line) <= width, line
        assert line.isprintable(), line
    drawn.encode()


def check_svg(drawn: str) -> None:
    """Everything lies on the canvas, columns of text do not run into each other, and nothing is loaded or run."""
    root = ET.fromstring(drawn)
    drawn.encode()
    _, _, wide, high = map(float, root.get("viewBox").split())
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert root.get("aria-labelledby").split() == [
        root.find(f"{SVG}title").get("id"),
        root.find(f"{SVG}desc").get("id"),
    ]
    allowed = {"svg", "title", "desc", "style", "defs", "pattern", "line", "rect", "g", "text", "path"}
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= allowed
    assert not re.search(
        r"https?://(?!www\.w3\.org/2000/svg)|<script|\son\w+=|@import|href", re.sub(r">[^<]*<", "><", drawn)
    )
    pattern = root.find(f"{SVG}defs")
    inside = {id(element) for element in pattern.iter()}
    for element in root.iter():
        if id(element) not in inside:
            check_place(element, wide, high)
    for names, times in columns(root):
        assert names <= times


def check_place(element, wide, high):
    number = {
        name: float(element.get(name))
        for name in ("x", "y", "x1", "x2", "y1", "y2", "width", "height")
        if element.get(name) and element.tag != f"{SVG}svg"
    }
    assert all(0 <= value <= max(wide, high) for value in number.values())
    if element.tag == f"{SVG}rect":
        assert number.get("x", 0) + number["width"] <= wide + 0.11
        assert number.get("y", 0) + number["height"] <= high + 0.11
        assert number["width"] > 0
    if element.get("class") in {"work", "body", "failed", "wait", "cancelled"}:
        assert number["x"] + number["width"] <= wide - _svg._PAD + 0.11  # where the axis ends
    if element.tag == f"{SVG}line":
        assert max(number["x1"], number["x2"]) <= wide
        assert max(number["y1"], number["y2"]) <= high
    if element.tag == f"{SVG}text":
        assert number["y"] <= high
        anchor = element.get("text-anchor")
        size = 7.25 * _words.width(element.text or "")
        left = number["x"] - {"end": size, "middle": size / 2}.get(anchor, 0)
        assert left >= 0
        assert left + size * (0.93 if element.get("class") == "title" else 1) <= wide


def columns(root):
    """Yield for each row where its name ends and where its duration begins."""
    for group in root.iter(f"{SVG}g"):
        texts = [
            text for text in group.iter(f"{SVG}text") if not (text.get("class") or "").startswith("sign")
        ]
        name, took = texts[0], texts[1]
        assert took.get("class") == "time"
        yield (
            float(name.get("x")) + 7.25 * _words.width(name.text or ""),
            float(took.get("x")) - 7.25 * _words.width(took.text or ""),
        )


NODE = re.compile(r'^ +(n\d+)(?:\(\[|\[\[|\(\(|\[|\{)"[^"\n]*"(?:\]\)|\]\]|\)\)|\]|\})$')
SUBGRAPH = re.compile(r'^ +subgraph (n\d+)\["[^"\n]*"\]$')
LINK = re.compile(r"^  (n\d+) --> (n\d+)$")
LABEL = re.compile(r'"([^"]*)"')


def check_mermaid(drawn: str) -> None:
    """Each line is one of the few that we write; identifiers are unique and known; labels hold nothing that acts."""
    first, *lines = drawn.removesuffix("\n").split("\n")
    assert first == "flowchart TD"
    made, open_ = [], 0
    for line in lines:
        if found := SUBGRAPH.match(line) or NODE.match(line):
            made.append(found[1])
            open_ += line.lstrip().startswith("subgraph ")
            (label,) = LABEL.findall(line)
            assert not set(label.replace("<br/>", "")) & set('"<>`&[]{}|\\\n\x1b')
            assert re.sub(r"#\d+;", "", label).count("#") == 0
        elif found := LINK.match(line):
            assert {found[1], found[2]} <= set(made)
        elif line.strip() == "end":
            open_ -= 1
        else:
            assert re.match(r"^  (classDef \w+ [\w#:,\- ]+|class n\d+(,n\d+)* \w+)$", line), line
    assert len(made) == len(set(made))
    assert open_ == 0


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.add(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def check_html(drawn: str) -> None:
    tags = _Tags()
    tags.feed(drawn)
    assert tags.open == []
    assert "script" not in tags.seen
    assert {"svg", "table", "details"} <= tags.seen


@pytest.mark.parametrize("name", NASTY)
def test_names_errors_and_questions_do_nothing_to_a_drawing(name):
    calls = [
        call("0", name=name, status="failed", error=name),
        call("1", name=name, kind="workflow"),
        call("1.0", name=name),
        question("2", 3, asks=name),
    ]
    timeline = Timeline.of(workflow=name, status="interrupted", calls=calls, error=name, now=now(9))
    check_all(timeline)
    check_text(re.sub(r"\x1b\[[\d;]*m", "", timeline.text(color=True)), 80)


def test_colours_add_nothing_but_colours():
    timeline = picture(call("0", status="failed", error="no"), question("1", 3), status="interrupted", end=9)
    coloured = timeline.text(color=True)
    assert "\x1b[31m" in coloured
    plain = "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[\d;]*m", "", coloured).split("\n"))
    assert plain == timeline.text()


def test_no_kind_of_bar_looks_like_another_without_colours():
    from milepost.timeline._text import _MARKS

    assert len(set(_MARKS.values())) == len(_MARKS)


def test_a_drawing_narrower_than_forty_columns_takes_forty():
    timeline = picture(call("0"))
    assert timeline.text(1) == timeline.text(40)


def test_a_snapshot_made_by_hand_is_drawn():
    snapshot = StateSnapshot(
        values=None, next=(), config={}, workflow="flow", status="done", tasks=(call("0"),)
    )
    assert "task_0" in str(snapshot.timeline())
    check_html(snapshot._repr_html_())


def test_a_timeline_draws_until_the_machines_time_where_no_other_is_given():
    timeline = picture(question("0", 0), status="interrupted")
    assert timeline.root.bars[0].ended >= ZERO
    assert timeline.root.bars[0].open


# -- many calls ----------------------------------------------------------------------------------------------------


def test_equal_calls_are_one_row_with_their_number_and_trouble_is_kept():
    calls = [call(str(number), number, number + 2, name="fetch") for number in range(4000)]
    calls[1234] = call("1234", 1234, 1235, name="fetch", status="failed", error="OSError: lost")
    drawn = picture(*calls).text()
    assert "fetch ×3,999" in drawn  # noqa: RUF001 - the sign that is drawn
    assert "OSError: lost" in drawn
    assert len(drawn.split("\n")) < 15


def test_callers_that_did_the_same_are_one_row_with_the_calls_within():
    calls = [call(f"{number}", name="page") for number in range(100)]
    calls += [call(f"{number}.{inner}", name="line") for number in range(100) for inner in range(3)]
    drawn = picture(*calls).text()
    assert "page ×100" in drawn  # noqa: RUF001 - the sign that is drawn
    assert "line ×300" in drawn  # noqa: RUF001 - the sign that is drawn


def test_what_is_too_much_is_left_out_and_counted_but_never_what_went_wrong():
    calls = [call(str(number), number, number + 1) for number in range(10_000)]
    calls[9000] = call("9000", 9000, 9001, name="bad", status="failed", error="OSError: lost")
    timeline = picture(*calls)
    drawn = timeline.text()
    assert "bad" in drawn
    assert re.search(r"9,9\d\d more", drawn)
    assert len(drawn) < 10_000
    assert len(timeline.svg()) < 150_000
    assert len(timeline.mermaid()) < 20_000
    assert len(timeline._repr_html_()) < 170_000
    check_all(timeline)


def test_calls_nested_very_deep_are_counted_where_they_are():
    path, calls = "0", [call("0")]
    for _ in range(200):
        path += ".0"
        calls.append(call(path))
    timeline = picture(*calls)
    assert "177 calls within" in timeline.text(200)
    check_all(timeline)


def test_many_sessions_are_told_from_both_ends():
    sessions = [session(2 * number, 2 * number + 1, "interrupted", how="resumed") for number in range(500)]
    timeline = picture(call("0"), sessions=sessions)
    assert "more lines" in timeline.text()
    assert len(timeline.text().split("\n")) < 60
    assert len(timeline.svg()) < 150_000
    check_all(timeline)


# -- anything ------------------------------------------------------------------------------------------------------

texts = st.one_of(st.sampled_from(NASTY), st.text(max_size=40), st.just("fetch"))
seconds = st.one_of(st.floats(-10, 100), st.floats(-1e8, 1e8), st.integers(0, 5))
moments = st.one_of(seconds.map(at), st.none(), st.sampled_from(["now", "9999-12-31T23:59:59", "0001-01-01"]))
tries = st.builds(Try, number=st.integers(1, 5), began=seconds.map(at), ended=seconds.map(at), error=texts)
places = st.lists(st.integers(0, 12), min_size=1, max_size=5).map(lambda place: ".".join(map(str, place)))
calls = st.builds(
    TaskState,
    id=places,
    name=texts,
    kind=st.sampled_from(["task", "workflow", "question"]),
    status=st.sampled_from(["done", "failed", "cancelled", "interrupted", "answered", "running", "odd"]),
    attempts=st.integers(0, 5),
    began=moments,
    ended=moments,
    answered=moments,
    error=st.one_of(st.none(), texts),
    asks=st.one_of(st.none(), texts),
    cached=st.booleans(),
    tries=st.lists(tries, max_size=3).map(tuple),
    session=st.one_of(st.none(), st.integers(0, 3)),
)
endings = st.one_of(
    st.none(), st.sampled_from(["interrupted", "failed", "done", "abandoned", "sleeping", "odd"])
)
sessions_ = st.builds(
    Session,
    how=st.sampled_from(["started", "claimed", "resumed", "retried", "odd"]),
    began=moments.map(lambda text: text or "now"),
    ended=moments,
    seen=moments,
    ending=endings,
    owner=st.just(OWNER),
    position=st.integers(0, 9),
)


@settings(deadline=None, max_examples=75)
@given(
    name=texts,
    status=st.sampled_from(
        ["running", "interrupted", "sleeping", "done", "failed", "cancelled", "abandoned", ""]
    ),
    made=st.lists(calls, max_size=25),
    worked=st.lists(sessions_, max_size=5),
    end=seconds,
)
def test_any_run_can_be_drawn(name, status, made, worked, end):
    timeline = Timeline.of(
        workflow=name, status=status, calls=made, sessions=worked, error=name, now=now(end)
    )
    assert all(isinstance(bar, Bar) and bar.ended >= bar.began for row in timeline.rows() for bar in row.bars)
    check_all(timeline)
