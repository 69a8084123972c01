"""What the fold keeps for those who look: sessions, questions, failures that were tried again, unfinished calls."""

from __future__ import annotations

import pytest

from milepost import state
from milepost._fold import ThreadState
from milepost.checkpoint import (
    Abandoned,
    Batch,
    Claimed,
    Failed,
    Failure,
    Finished,
    Interrupted,
    Outcome,
    Owner,
    Question,
    Resumed,
    Retried,
    Started,
    Value,
)

NULL = Value(text="null")
LOST = Failure(type="OSError", message="lost", rebuilds=False)


def owner(session):
    return Owner(host="h", boot="b", pid=1, started=1, session=session)


def started(session="a", at="10:00"):
    return Started(run="r", workflow="wf", at=at, owner=owner(session), input=NULL)


def outcome(call="0", *, name="work", ended="10:01", **what):
    if "error" not in what:
        what["result"] = NULL
    return Outcome(call=call, name=name, digest="d", shows="", began="10:00", ended=ended, **what)


def question(id_, call, value=NULL):
    return Question(id=id_, call=call, value=value, digest="d")


def folded(*batches):
    """Fold batches, each the session that wrote it and its records."""
    thread = ThreadState("t")
    for position, (session, *records) in enumerate(batches):
        thread.apply(position, Batch(id=f"{session}-1", records=tuple(records)))
    return thread


def told(thread):
    return [
        (found.how, found.position, found.began, found.seen, found.ended, found.ending)
        for found in state.sessions(thread.run)
    ]


def test_a_session_lasts_from_a_claim_to_a_rest():
    thread = folded(
        ("a", started()),
        ("a", outcome(ended="10:01"), Interrupted(at="10:02", questions=(question("q", "1"),))),
        ("b", Resumed(at="11:00", owner=owner("b"), answers={"q": NULL})),
        ("b", outcome("2", ended="11:05")),
        ("c", Claimed(at="12:00", owner=owner("c"))),
        ("c", Failed(at="12:01", error=LOST)),
        ("d", Retried(at="13:00", owner=owner("d"))),
        ("d", Finished(run="r", at="13:02", result=NULL)),
    )
    assert told(thread) == [
        ("started", 0, "10:00", "10:02", "10:02", "interrupted"),
        ("resumed", 2, "11:00", "11:05", None, None),
        ("claimed", 4, "12:00", "12:01", "12:01", "failed"),
        ("retried", 6, "13:00", "13:02", "13:02", "done"),
    ]
    assert [found.session for found in state.tasks(thread.run, ())] == [0, 1]


def test_a_claim_of_a_thread_that_rests_is_no_session():
    thread = folded(
        ("a", started()),
        ("a", Interrupted(at="10:02", questions=(question("q", "1"),))),
        ("b", Claimed(at="11:00", owner=owner("b"))),
    )
    assert len(told(thread)) == 1


def test_records_that_are_rejected_make_no_session():
    thread = folded(
        ("a", started()),
        ("b", Interrupted(at="10:02")),
        ("b", Resumed(at="10:03", owner=owner("b"), answers={"q": NULL})),
        ("b", Retried(at="10:04", owner=owner("b"))),
    )
    assert len(thread.rejected) == 3
    assert told(thread) == [("started", 0, "10:00", "10:00", None, None)]


def test_an_abandoned_run_ended_when_it_paused_or_when_it_was_closed():
    paused = folded(
        ("a", started()), ("a", Failed(at="10:02", error=LOST)), ("b", Abandoned(at="11:00", run="r"))
    )
    assert [session[-2:] for session in told(paused)] == [("10:02", "failed")]
    cut_off = folded(
        ("a", started()), ("b", Claimed(at="11:00", owner=owner("b")), Abandoned(at="11:00", run="r"))
    )
    assert [session[-2:] for session in told(cut_off)] == [(None, None), ("11:00", "abandoned")]


def test_a_question_was_asked_when_it_was_first_asked_and_is_told_when_answered():
    both = (question("q", "0"), question("p", "1"))
    thread = folded(
        ("a", started()),
        ("a", Interrupted(at="10:02", questions=both)),
        ("b", Resumed(at="11:00", owner=owner("b"), answers={"q": NULL})),
        ("b", Interrupted(at="11:01", questions=both[1:])),
        ("c", Resumed(at="12:00", owner=owner("c"), answers={"p": NULL})),
    )
    assert [(asked.id, asked.began, asked.answered) for asked in state.answered(thread.run)] == [
        ("0", "10:02", "11:00"),
        ("1", "10:02", "12:00"),
    ]
    assert state.tasks(thread.run, ()) == ()


def test_what_is_asked_is_told_by_its_beginning():
    values = [
        Value(raw="Go\non?"),
        Value(raw={"who": ["Ada", 1]}),
        Value(raw="x" * 1000),
        Value(raw=["y"] * 1000),
    ]
    thread = folded(
        ("a", started()),
        (
            "a",
            Interrupted(
                at="10:02", questions=tuple(question(str(n), str(n), v) for n, v in enumerate(values))
            ),
        ),
        ("b", Resumed(at="11:00", owner=owner("b"), answers={str(n): NULL for n in range(4)})),
    )
    texts = [asked.asks for asked in state.answered(thread.run)]
    assert texts[:2] == ["Go\non?", '{"who": ["Ada", 1]}']
    assert [len(text) for text in texts[2:]] == [120, 120]


def test_failures_that_were_tried_again_are_attempts_of_the_call_that_took_their_place():
    def failing(**more):
        return (
            ("a", started()),
            ("a", outcome(error=LOST, ended="10:01"), Failed(at="10:02", error=LOST, caused_by=("0",))),
            ("b", Retried(at="11:00", owner=owner("b"), voids=("0",))),
            ("b", outcome(ended="11:01", **more)),
        )

    (again,) = state.tasks(folded(*failing()).run, ())
    assert [(found.number, found.ended, found.error) for found in again.tries] == [
        (1, "10:01", "OSError: lost")
    ]
    assert (again.status, again.attempts) == ("done", 1)
    (other,) = state.tasks(folded(*failing(name="other", result=NULL)).run, ())
    assert other.tries == ()


@pytest.mark.parametrize("rest", [Interrupted, Failed])
def test_a_call_is_unfinished_until_its_outcome(rest):
    more = {"error": LOST} if rest is Failed else {"questions": (question("q", "0.0"),)}
    paused = rest(at="10:02", unfinished={"0": "asks", "3": "slow"}, **more)
    before = (("a", started()), ("a", paused))
    expected = ["running", "running"] if rest is Failed else ["interrupted", "running"]
    assert [(call.id, call.status) for call in state.unfinished(folded(*before).run)] == list(
        zip(["0", "3"], expected, strict=True)
    )
    thread = folded(*before, ("a", outcome("3")))
    assert [call.name for call in state.unfinished(thread.run)] == ["asks"]


def test_a_finished_run_has_no_unfinished_calls():
    thread = folded(
        ("a", started()),
        ("a", Interrupted(at="10:02", questions=(question("q", "0"),), unfinished={"3": "slow"})),
        ("b", Resumed(at="11:00", owner=owner("b"), answers={"q": NULL})),
        ("b", Finished(run="r", at="11:01", result=NULL)),
    )
    assert state.unfinished(thread.run) == ()


def test_a_question_on_the_branch_of_a_failure_is_forgotten_with_its_time():
    thread = folded(
        ("a", started()),
        ("a", outcome("0", error=LOST), Interrupted(at="10:02", questions=(question("q", "1"),))),
        ("b", Resumed(at="11:00", owner=owner("b"), answers={"q": NULL})),
        ("b", Failed(at="11:02", error=LOST, caused_by=("0",), heard_at={"0": 1})),
        ("c", Retried(at="12:00", owner=owner("c"), voids=("0",))),
        ("c", outcome("0"), outcome("1", name="other")),
    )
    assert thread.rejected == []
    assert thread.run.asked == {}
    assert state.answered(thread.run) == ()


def test_what_is_kept_for_those_who_look_is_written_only_where_there_is_something():
    written = Batch(id="a-1", records=(outcome(), Interrupted(at="10:02"), Failed(at="10:03", error=LOST)))
    assert b"unfinished" not in written.encode()
    assert b"workflow" not in written.encode()
    named = Batch(
        id="a-1", records=(outcome(workflow=True), Interrupted(at="10:02", unfinished={"0": "asks"}))
    )
    assert Batch.decode(named.encode(), thread="t", position=0) == named
