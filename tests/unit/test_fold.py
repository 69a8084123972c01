"""The rules of the journal: which record is legal where, and that every reader comes to the same state."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import THOROUGH
from milepost._claim import Continue, Origin, Resume, Settled, Start, decide, last_finished, read_thread
from milepost._fold import CLOSED, RunState, ThreadState, voided
from milepost._travel import Cancel, Close, Plant, Replay, Update
from milepost.checkpoint import (
    Abandoned,
    Attempted,
    Batch,
    Begun,
    Cancelled,
    Claimed,
    Deleted,
    Failed,
    Failure,
    Finished,
    Head,
    Interrupted,
    Keyed,
    Observed,
    Outcome,
    Owner,
    Question,
    Resumed,
    Retried,
    Started,
    Status,
    Value,
    Written,
    contested,
)
from milepost.errors import MilepostError
from milepost.memory import MemoryCheckpointer
from milepost.question import Command

EXAMPLES = 1000 if THOROUGH else 80
NULL = Value(text="null")
RUN = "run-1"
GONE = Origin(run=RUN, base=None)


def owner(session="a"):
    return Owner(host="h", boot="b", pid=1, started=1, session=session)


def started(run=RUN, session="a", previous=None):
    return Started(run=run, workflow="wf", at="now", owner=owner(session), input=NULL, previous=previous)


def claimed(session="a"):
    return Claimed(at="now", owner=owner(session))


def outcome(call="0", error=None, caused_by=()):
    result = NULL if error is None else None
    return Outcome(
        call=call,
        name="work",
        digest="d",
        shows="",
        began="b",
        ended="e",
        result=result,
        error=error,
        caused_by=caused_by,
    )


def observed(frame="", number=0, made=0, times=1):
    return Observed(frame=frame, number=number, made=made, what="done", call="0", answer=True, times=times)


def attempted(call="0", number=1, caused_by=(), heard_at=None, policy=0):
    return Attempted(
        call=call,
        name="work",
        digest="d",
        number=number,
        began="b",
        ended="e",
        due="f",
        policy=policy,
        error=FAILURE,
        caused_by=caused_by,
        heard_at=heard_at or {},
    )


def begun(call="0", number=1):
    return Begun(call=call, name="work", digest="d", shows="", number=number, at="b")


def question(name="q"):
    return Question(id=name, call="0", value=NULL, digest="d")


def interrupted(*names, written=None):
    return Interrupted(at="now", questions=tuple(map(question, names or ("q",))), written=written or {})


def resumed(session="a", **answers):
    return Resumed(at="now", owner=owner(session), answers=answers or {"q": NULL})


FAILURE = Failure(type="ValueError", message="no", rebuilds=False)


def failed(*caused_by):
    return Failed(at="now", error=FAILURE, caused_by=caused_by)


def retried(*voids, session="a"):
    return Retried(at="now", owner=owner(session), voids=voids)


def finished(run=RUN):
    return Finished(run=run, at="now", result=NULL)


def asked(**more):
    return Interrupted(at="now", questions=(Question(id="q", call="0", value=NULL, digest="d", **more),))


def ended(*ids, session="a", **answers):
    return Resumed(at="now", owner=owner(session), answers=answers, expired=ids)


def abandoned(run=RUN):
    return Abandoned(at="now", run=run)


def cancelled(reason=None):
    return Cancelled(at="now", reason=reason)


def folded(*batches):
    """Fold batches, each a session and its records; a lone record is a batch of session ``a``."""
    state = ThreadState(thread="t")
    for position, batch in enumerate(batches):
        session, *records = batch if isinstance(batch, tuple) else ("a", batch)
        state.apply(position, Batch(id=f"{session}-{position}", records=tuple(records)))
    return state


def data(state):
    """Return all that a state says, except what it rejected; dicts with their order, which replay follows."""
    run = state.run and {
        name: list(value.items()) if isinstance(value := getattr(state.run, name), dict) else value
        for name in RunState.__slots__
    }
    return {
        "thread": state.thread,
        "tail": state.tail,
        "owner": state.owner,
        "finished": state.finished,
        "run": run,
    }


def reasons(state):
    return [reason for _, reason in state.rejected]


# -- one record after another ------------------------------------------------------------------------------------------


def test_an_empty_journal_is_a_thread_that_nobody_started():
    state = folded()
    assert (state.status, state.tail, state.owner, state.run) == (None, 0, None, None)


def test_a_whole_run_is_legal_in_order():
    state = folded(
        started(),
        outcome("0"),
        interrupted("q", written={"": 2}),
        ("b", resumed("b")),
        ("b", outcome("1")),
        ("b", finished()),
    )
    assert state.rejected == []
    assert (state.status, state.tail, state.finished, state.owner) == (Status.DONE, 6, 5, owner("b"))
    assert list(state.run.outcomes) == ["0", "1"]
    assert (state.run.answers, state.run.pending, state.run.written) == ({"q": NULL}, (), {"": 2})


STATES = {
    "unknown": (),
    "running": (started(),),
    "interrupted": (started(), interrupted()),
    "failed": (started(), failed()),
    "done": (started(), finished()),
    "abandoned": (started(), interrupted(), abandoned()),
    "cancelled": (started(), interrupted(), cancelled()),
}
NEXT = {
    "started": (started("run-2"), {"unknown", "done", "abandoned"}),
    "claimed": (claimed(), set(STATES)),
    "outcome": (outcome("9"), {"running", "interrupted", "failed", "cancelled"}),
    "attempted": (attempted("9"), {"running", "interrupted", "failed", "cancelled"}),
    "begun": (begun("9"), {"running", "interrupted", "failed", "cancelled"}),
    "observed": (observed(), {"running", "interrupted", "failed", "cancelled"}),
    "interrupted": (interrupted(), {"running"}),
    "resumed": (resumed(), {"interrupted"}),
    "retried": (retried(), {"failed", "cancelled"}),
    "finished": (finished(), {"running"}),
    "failed": (failed(), {"running"}),
    "abandoned": (abandoned(), {"running", "interrupted", "failed", "cancelled"}),
    "cancelled": (cancelled(), {"running", "interrupted", "failed"}),
}


@pytest.mark.parametrize("before", STATES)
@pytest.mark.parametrize("kind", NEXT)
def test_what_may_follow_what(before, kind):
    record, legal_after = NEXT[kind]
    unchanged = folded(*STATES[before])
    state = folded(*STATES[before], record)
    assert (state.rejected == []) is (before in legal_after)
    if state.rejected:
        assert reasons(state)[0].startswith(f"{kind}: ")
        assert data(state) == {**data(unchanged), "tail": state.tail}
    assert state.tail == unchanged.tail + 1


@pytest.mark.parametrize(
    "record",
    [
        outcome("9"),
        attempted("9"),
        begun("9"),
        observed(),
        interrupted(),
        finished(),
        failed(),
        abandoned(),
        cancelled(),
    ],
)
def test_after_a_claim_no_record_of_the_former_owner_is_legal(record):
    state = folded(started(), ("b", claimed("b")), ("a", record))
    assert len(state.rejected) == 1
    assert state.status is Status.RUNNING
    assert (state.run.outcomes, state.run.attempts, state.run.begun) == ({}, {}, {})
    assert folded(started(), ("b", claimed("b")), ("b", record)).rejected == []


# -- attempts and starts -----------------------------------------------------------------------------------------------


def test_attempts_are_counted_and_kept_with_the_outcome():
    state = folded(started(), attempted(number=1), ("b", claimed("b")), ("b", attempted(number=2)))
    assert [record.number for record in state.run.attempts["0"]] == [1, 2]
    state.apply(4, Batch(id="b-4", records=(outcome("0"),)))
    assert state.rejected == []
    assert len(state.run.attempts["0"]) == 2


@pytest.mark.parametrize("number", [0, 1, 3])
@pytest.mark.parametrize("kind", [attempted, begun])
def test_only_the_next_attempt_may_fail_or_begin(kind, number):
    state = folded(started(), attempted(number=1), kind(number=number))
    assert reasons(state) == [f"{kind().kind}: 1 attempts are on record"]
    assert len(state.run.attempts["0"]) == 1
    assert state.run.begun == {}


@pytest.mark.parametrize("record", [attempted("0"), begun("0")])
def test_a_call_that_has_an_outcome_is_not_attempted(record):
    state = folded(started(), outcome("0"), record)
    assert reasons(state) == [f"{record.kind}: the call has an outcome"]


@pytest.mark.parametrize("ending", [outcome("0"), attempted("0")])
def test_a_start_is_in_doubt_until_its_attempt_has_ended(ending):
    state = folded(started(), begun(), begun())
    assert reasons(state) == ["begun: the attempt has begun"]
    assert state.run.begun == {"0": begun()}
    state = folded(started(), begun(), ("b", claimed("b")), ("b", ending))
    assert (state.rejected, state.run.begun) == ([], {})


@pytest.mark.parametrize(
    ("place", "in_doubt"), [("0", True), ("0.2", False), ("0.1.0", False), ("0.-1", True)]
)
def test_a_call_that_waits_for_an_answer_is_not_in_doubt(place, in_doubt):
    asked = Interrupted(at="now", questions=(Question(id="q", call=place, value=NULL, digest="d"),))
    state = folded(started(), begun("0"), begun("1"), asked)
    assert ("0" in state.run.begun) is in_doubt
    assert "1" in state.run.begun


def test_a_failed_attempt_voids_the_calls_within_that_it_failed_by_and_no_others():
    state = folded(
        started(),
        outcome("0.0"),
        outcome("0.1.0", FAILURE),
        outcome("0.1", FAILURE, ("0.1.0",)),
        outcome("1", FAILURE),
        attempted("0", caused_by=("0.1", "1")),
    )
    assert list(state.run.outcomes) == ["0.0", "1"]


def test_what_a_call_did_about_a_failure_gives_way_at_its_next_attempt():
    state = folded(
        started(),
        outcome("0.0", FAILURE),
        outcome("0.1"),
        outcome("1"),
        attempted("0", caused_by=("0.0",), heard_at={"0.0": 1}),
        outcome("0.1"),
    )
    assert state.rejected == []
    assert sorted(state.run.outcomes) == ["0.1", "1"]
    assert state.run.loose == set()


def test_an_attempt_at_the_body_voids_like_a_retry():
    state = folded(
        started(), outcome("0"), outcome("1", FAILURE), observed(made=2), attempted("", caused_by=("1",))
    )
    assert (state.status, list(state.run.outcomes), state.run.observed) == (Status.RUNNING, ["0"], {})
    state = folded(started(), attempted(""), failed(), retried())
    assert state.run.attempts == {}


def test_a_retry_by_hand_gives_all_attempts_anew():
    state = folded(started(), attempted("0"), outcome("0", FAILURE), failed("0"), retried("0"))
    assert (state.run.outcomes, state.run.attempts) == ({}, {})


def test_an_unknown_outcome_stands_for_good():
    unknown = Failure(type="milepost.errors.OutcomeUnknown", message="?", rebuilds=True)
    state = folded(started(), begun("0"), outcome("0", unknown), outcome("1", FAILURE, ("0",)))
    assert voided(state.run, ["0", "1"]) == ("1",)


def test_attempts_and_starts_read_back_as_they_were_written():
    records = (attempted("0.1", 2, ("0.1.0",), {"0.1.0": 3}), begun("2", 4), attempted(""))
    batch = Batch(id="a-1", records=records)
    assert Batch.decode(batch.encode(), thread="t", position=1) == batch


@pytest.mark.parametrize(
    "taking", [(resumed("b"), interrupted()), (retried(session="b"), failed())], ids=["resumed", "retried"]
)
def test_answers_and_retries_carry_their_claim(taking):
    record, rest = taking
    state = folded(started(), rest, ("b", record), ("a", outcome("late")))
    assert reasons(state) == ["outcome: not written by the owner"]
    assert state.owned_by("b")
    assert not state.owned_by("a")


def test_an_outcome_that_ends_after_the_pause_counts_until_somebody_takes_the_thread():
    state = folded(started(), interrupted(), outcome("0"), ("b", resumed("b")), ("a", outcome("1")))
    assert list(state.run.outcomes) == ["0"]
    assert len(state.rejected) == 1


def test_the_first_outcome_of_a_call_counts():
    first, second = outcome("0"), outcome("0", error=FAILURE)
    state = folded(started(), first, second)
    assert state.run.outcomes["0"] == (first, 1)
    assert reasons(state) == ["outcome: the call has an outcome"]


def test_an_answer_to_what_is_not_asked_rejects_the_whole_answer():
    state = folded(started(), interrupted("q", "r"), resumed(q=NULL, s=NULL))
    assert reasons(state) == ["resumed: it answers what is not asked"]
    assert (state.status, state.run.pending, state.run.answers) == (Status.INTERRUPTED, ("q", "r"), {})


def test_a_cancelled_run_asks_nothing_and_asks_again_when_it_goes_on():
    state = folded(
        started(), interrupted("q"), ("b", claimed("b"), cancelled("why")), ("c", resumed("c", q=NULL))
    )
    assert (state.status, state.run.pending, state.run.asks) == (Status.CANCELLED, (), ())
    assert reasons(state) == ["resumed: nothing is asked"]
    state.apply(4, Batch(id="d-1", records=(retried(session="d"), outcome("1"), interrupted("q"))))
    assert (state.status, state.run.asks) == (Status.INTERRUPTED, ("q",))
    assert len(state.rejected) == 1


def test_only_a_run_that_nobody_has_begun_takes_a_context_when_it_goes_on():
    given = Value(text="1")
    again = Retried(at="now", owner=owner("a"), context=given)
    planted = folded(("a", started(), Cancelled(at="now", planted=True)), again)
    assert (planted.run.started.context, planted.run.planted, reasons(planted)) == (given, False, [])
    for before in (
        [started(), cancelled()],
        [started(), failed()],
        [("a", started(), Cancelled(at="now", planted=True)), retried(), cancelled()],
    ):
        begun = folded(*before, again)
        assert reasons(begun) == ["retried: the run has begun, with the context it has"]
        assert (begun.run.started.context, begun.status in {Status.CANCELLED, Status.FAILED}) == (None, True)


def test_an_abandoned_run_remembers_what_it_asked_and_asks_nothing():
    state = folded(started(), interrupted("q"), ("b", abandoned()))
    assert (state.run.pending, state.run.asks) == (("q",), ())


def test_what_a_start_says_of_its_origin_is_read_back():
    base = Finished(run="run-0", at="then", result=NULL, save=Value(text="[1]"))
    record = Started(
        run=RUN, workflow="wf", at="now", owner=owner(), input=NULL, previous=7, after="run-0", step=3,
        source="fork", forked="run-0", base=base,
    )  # fmt: skip
    batch = Batch(id="a-1", records=(record, cancelled("why")))
    assert Batch.decode(batch.encode(), thread="t", position=7) == batch


def test_a_question_is_answered_once():
    state = folded(started(), interrupted("q"), resumed(q=NULL), interrupted("r"), resumed(q=NULL))
    assert reasons(state) == ["resumed: it answers what is not asked"]


def test_a_retry_voids_the_outcomes_it_names():
    state = folded(started(), outcome("0"), outcome("1", error=FAILURE), failed("1"), retried("1", "7"))
    assert list(state.run.outcomes) == ["0"]
    assert (state.status, state.run.failed) == (Status.RUNNING, None)
    assert folded(started(), failed(), retried(), outcome("1")).rejected == []


def test_a_retry_keeps_what_was_seen_before_a_call_on_record_and_forgets_the_rest():
    state = folded(
        started(),
        observed(number=0, made=1),
        outcome("0"),
        outcome("1"),
        observed(number=1, made=2),
        observed(number=2, made=3),
        outcome("2.0"),
        observed(frame="2", number=0, made=0),
        failed(),
        retried("1"),
    )
    assert set(state.run.observed) == {("2", 0)}


def test_an_observation_repeated_is_known_by_each_of_its_numbers():
    state = folded(started(), observed(number=3, times=4))
    assert sorted(state.run.observed) == [("", 3), ("", 4), ("", 5), ("", 6)]


def test_voided_follows_the_causes():
    state = folded(
        started(),
        outcome("0"),
        outcome("1.0", FAILURE),
        outcome("1", FAILURE, ("1.0",)),
        outcome("2", FAILURE, ("2",)),
    )
    assert voided(state.run, ["1"]) == ("1", "1.0")
    assert voided(state.run, ["2", "never made"]) == ("2",)
    assert voided(state.run, []) == ()


def test_a_run_that_was_cut_off_is_closed_by_whoever_claims_it():
    batch = ("b", claimed("b"), abandoned(), started("run-2", "b"))
    state = folded(started(), outcome("0"), batch)
    assert state.rejected == []
    assert (state.run.id, state.run.position, state.run.outcomes) == ("run-2", 2, {})
    without_claim = folded(started(), ("b", abandoned(), started("run-2", "b")))
    assert without_claim.run.id == RUN
    assert len(without_claim.rejected) == 2


def test_another_run_than_the_newest_is_not_closed():
    assert reasons(folded(started(), interrupted(), abandoned("run-0"))) == [
        "abandoned: it closes another run"
    ]


def test_the_last_finished_run_is_known_through_runs_that_did_not_finish():
    state = folded(started(), finished(), started("run-2", previous=1), interrupted())
    assert last_finished(state) == 1
    assert last_finished(folded(started("run-2", previous=7))) == 7
    assert last_finished(folded()) is None


# -- any records at all ------------------------------------------------------------------------------------------------

SESSIONS = st.sampled_from("abc")
CALLS = st.sampled_from(["0", "1", "1.0", "2"])
NAMES = st.sampled_from("qrs")
RUNS = st.sampled_from([RUN, "run-2", "run-3"])
BODY = st.one_of(
    st.builds(claimed, SESSIONS),
    st.builds(outcome, CALLS, st.sampled_from([None, FAILURE]), st.tuples(CALLS)),
    st.builds(
        attempted,
        st.one_of(CALLS, st.just("")),
        st.integers(1, 3),
        st.lists(CALLS, max_size=2).map(tuple),
        st.dictionaries(CALLS, st.integers(0, 3), max_size=2),
    ),
    st.builds(begun, CALLS, st.integers(1, 3)),
    st.builds(observed, st.sampled_from(["", "1"]), st.integers(0, 3), st.integers(0, 3), st.integers(1, 2)),
    st.builds(interrupted, NAMES, NAMES),
    st.builds(
        lambda session, names: resumed(session, **dict.fromkeys(names, NULL)), SESSIONS, st.sets(NAMES)
    ),
    st.builds(failed, CALLS),
    st.builds(retried, CALLS, session=SESSIONS),
    st.builds(finished, RUNS),
    st.builds(abandoned, RUNS),
    st.just(cancelled()),
)
STARTS = st.builds(started, RUNS, SESSIONS, st.one_of(st.none(), st.integers(0, 5)))
BATCHES = st.one_of(
    st.tuples(SESSIONS, BODY),
    st.tuples(SESSIONS, BODY, BODY),
    st.tuples(SESSIONS, STARTS),
    st.tuples(SESSIONS, BODY, STARTS),
    st.tuples(SESSIONS, BODY, BODY, STARTS),
)
JOURNALS = st.lists(BATCHES, max_size=25)


def written(journal):
    checkpointer = MemoryCheckpointer()
    for position, (session, *records) in enumerate(journal):
        checkpointer.append("t", position, Batch(id=f"{session}-{position}", records=tuple(records)))
    return checkpointer


def head_at(position):
    return Head(
        thread="t", version=1, status=Status.RUNNING, workflow="wf", run=position, nonce="n", updated="now"
    )


@settings(max_examples=EXAMPLES, deadline=None)
@given(JOURNALS)
def test_no_sequence_of_records_is_too_strange_to_fold(journal):
    state = folded(*journal)
    assert state.tail == len(journal)
    records = sum(len(records) for _, *records in journal)
    assert len(state.rejected) <= records
    if state.run is not None:
        assert set(state.run.pending) <= set(state.run.questions)
        assert (
            (state.run.status is Status.INTERRUPTED)
            or not state.run.pending
            or state.status is Status.ABANDONED
        )
        assert (state.run.finished is not None) is (state.status is Status.DONE)


@settings(max_examples=EXAMPLES, deadline=None)
@given(JOURNALS)
def test_every_reader_comes_to_the_same_state(journal):
    """From memory, from bytes, batch by batch, and from wherever a head points to: the same newest run."""
    whole = folded(*journal)
    checkpointer = written(journal)
    everything = read_thread(checkpointer, "t", None)
    assert (data(everything), everything.rejected) == (data(whole), whole.rejected)

    newest = 0 if whole.run is None else whole.run.position
    for position in {0, newest, len(journal)}:  # a head may also point where its run has not been written yet
        found = read_thread(checkpointer, "t", head_at(position))
        assert data(found)["run"] == data(whole)["run"]
        assert (found.owner, found.tail) == (whole.owner, whole.tail)


@settings(max_examples=EXAMPLES, deadline=None)
@given(JOURNALS)
def test_a_rejected_record_changes_nothing_for_anybody(journal):
    """Taking the rejected records out of a journal leaves the same state behind."""
    whole = folded(*journal)
    kept = ThreadState(thread="t")
    for number, (session, *records) in enumerate(journal):
        legal = []
        for record in records:
            trial = folded(*journal[:number], (session, *legal, record))
            if not any(at == number for at, _ in trial.rejected):
                legal.append(record)
        kept.apply(number, Batch(id=f"{session}-{number}", records=tuple(legal)))
    assert kept.rejected == []
    assert data(kept) == data(whole)


@settings(max_examples=EXAMPLES, deadline=None)
@given(JOURNALS, NAMES)
def test_whatever_is_decided_is_legal_where_it_was_decided(journal, answer):
    requests = [
        Start(workflow="wf", input=NULL),
        Continue(workflow="wf"),
        Resume(workflow="wf", command=Command(resume=answer)),
        Replay(start=Start(workflow="wf", input=NULL, origin=GONE), origin=GONE),
    ]
    for request in requests:
        state = folded(*journal)
        before = len(state.rejected)
        try:
            decided = decide(state, request, owner("new"), "now")
        except MilepostError:
            continue
        if isinstance(decided, Settled):
            assert state.status in (Status.DONE, Status.INTERRUPTED, Status.ABANDONED)
            continue
        state.apply(state.tail, Batch(id="new-t0", records=decided))
        assert len(state.rejected) == before
        assert state.status is Status.RUNNING
        assert state.owned_by("new")


@settings(max_examples=EXAMPLES, deadline=None)
@given(JOURNALS)
def test_whatever_changes_a_thread_from_outside_is_legal_and_leaves_it_at_rest(journal):
    start = Start(workflow="wf", input=NULL, origin=Origin(run=RUN, base=None))
    requests = {
        Update(workflow="wf", encode=lambda _: (NULL, None)): {Status.DONE},
        Plant(start=start, source="fork"): {Status.CANCELLED},
        Cancel(workflow="wf", reason="why"): {Status.CANCELLED},
        Close(workflow="wf"): CLOSED,
    }
    for request, left in requests.items():
        state = folded(*journal)
        before = len(state.rejected)
        try:
            decided = decide(state, request, owner("new"), "now")
        except MilepostError:
            assert state.status is None or state.status in CLOSED
            continue
        if not isinstance(decided, Settled):
            state.apply(state.tail, Batch(id="new-t0", records=decided))
        assert len(state.rejected) == before
        assert state.status in left


@pytest.mark.parametrize("before", [(), (started(),), (started(), finished()), (started(), interrupted())])
def test_after_a_tombstone_a_thread_is_as_if_nobody_had_started_it(before):
    state = folded(*before, ("x", Deleted(at="now")))
    assert (state.run, state.status, state.owner, state.finished) == (None, None, None, None)
    assert last_finished(state) is None
    assert state.tail == len(before) + 1
    again = folded(*before, ("x", Deleted(at="now")), started("run-2"))
    assert again.run.id == "run-2"
    assert again.rejected == []


def test_what_a_former_owner_writes_after_a_tombstone_is_rejected():
    state = folded(started(), ("x", Deleted(at="now")), outcome())
    assert state.run is None
    assert [reason for _, reason in state.rejected] == ["outcome: not written by the owner"]


def batches_by(*sessions, final=()):
    """Return a journal of batches by these sessions; those at the positions of ``final`` end their run."""
    return [
        (
            position,
            Batch(id=f"{session}-{position}", records=(finished() if position in final else claimed(),)),
        )
        for position, session in enumerate(sessions)
    ]


def test_a_position_is_contested_where_a_session_followed_one_that_had_not_finished():
    assert contested(batches_by("a", "a", "b", "b", "c", final=[3])) == {2}
    assert contested(batches_by()) == frozenset()


def test_the_first_position_of_a_pruned_journal_is_contested_since_nobody_knows_what_was_before():
    assert contested(batches_by("a", "b", "b")[1:]) == {1}


TIME = "2026-01-01T00:00:00+00:00"


def test_a_question_that_expires_is_answered_by_its_default_where_it_has_one():
    with_default = folded(started(), asked(expires=TIME, default=Value(text="3")), ended("q"))
    assert (with_default.run.answers, with_default.run.expired) == ({"q": Value(text="3")}, set())
    without = folded(started(), asked(expires=TIME), ended("q"))
    assert (without.run.answers, without.run.expired) == ({}, {"q"})
    assert (with_default.status, without.status) == (Status.RUNNING, Status.RUNNING)


@pytest.mark.parametrize(
    ("question", "record", "reason"),
    [
        (asked(), ended("q"), "it ends what does not expire"),
        (asked(expires=TIME), ended("p"), "it answers what is not asked"),
        (asked(expires=TIME), ended("q", p=NULL), "it answers what is not asked"),
    ],
)
def test_only_what_is_asked_and_expires_is_ended(question, record, reason):
    state = folded(started(), question, record)
    assert reasons(state) == [f"resumed: {reason}"]
    assert state.status is Status.INTERRUPTED


def test_an_answer_that_the_body_refused_is_void():
    state = folded(started(), asked(), resumed(q=NULL), asked(refused="no"))
    assert (state.run.answers, state.run.pending) == ({}, ("q",))
    kept = folded(started(), asked(), resumed(q=NULL), asked())
    assert kept.run.answers == {"q": NULL}


@pytest.mark.parametrize(
    "record",
    [
        asked(schema=Value(raw={"type": "null"}), key="k", expires=TIME, default=NULL, refused="no"),
        asked(),
        ended("q"),
        ended(q=NULL),
        Started(
            run=RUN,
            workflow="wf",
            at="now",
            owner=owner(),
            input=NULL,
            context=Value(raw={"a": 1}),
            config=Value(raw={"tags": ["a"]}),
            version="v1",
        ),
        started(),
    ],
)
def test_what_a_record_says_is_read_back_and_what_it_does_not_say_is_not_written(record):
    batch = Batch(id="a-0", records=(record,))
    assert Batch.decode(batch.encode(), thread="t", position=0) == batch
    assert batch.encode().count(b'"expired"') == bool(getattr(record, "expired", ()))


# -- custom events, sleeps, deaths, keys -------------------------------------------------------------------------------


def wrote(number, call=""):
    return Written(call=call, name="w", number=number, at="now", value=NULL)


def test_a_custom_event_is_on_record_once_and_only_of_the_owner():
    state = folded(started(), wrote(1), wrote(2), wrote(2), ("b", wrote(3)), wrote(3))
    assert reasons(state) == ["written: it is on record", "written: not written by the owner"]
    assert state.run.written == {"": 3}


def test_a_rest_takes_nothing_back_of_what_was_written():
    state = folded(started(), wrote(1), wrote(2), interrupted(written={"": 1, "0": 4}))
    assert state.run.written == {"": 2, "0": 4}
    over = folded(started(), wrote(1, "0"), wrote(1, "0.0"), wrote(1), outcome("0"))
    assert over.run.written == {"": 1}


def test_a_run_sleeps_where_all_it_waits_for_is_a_time():
    nap = Question(id="n", call="0", value=NULL, digest="d", expires="2026-01-01T00:00:00+00:00", sleeps=True)
    asleep = folded(started(), Interrupted(at="now", questions=(nap,)))
    both = folded(started(), Interrupted(at="now", questions=(nap, question("q"))))
    assert (asleep.status, asleep.run.asks, asleep.run.wake) == (Status.SLEEPING, (), 1767225600.0)
    assert (both.status, both.run.asks) == (Status.INTERRUPTED, ("q",))
    assert folded(started()).run.wake is None
    assert folded(started(), ("b", started(run="another"))).rejected
    state = folded(
        started(), Interrupted(at="now", questions=(nap,)), Resumed(at="now", owner=owner(), expired=("n",))
    )
    assert state.status is Status.RUNNING


def test_deaths_in_a_row_are_those_with_nothing_new_between():
    def died(session):
        return session, Claimed(at="now", owner=owner(session), died=True)

    state = folded(started(), died("b"), died("c"))
    assert state.run.deaths == 2
    state = folded(started(), died("b"), ("b", outcome("0")), died("c"))
    assert state.run.deaths == 1
    state = folded(started(), died("b"), ("b", failed()), ("c", retried(session="c")))
    assert state.run.deaths == 0


def test_a_key_stands_alone_in_its_journal():
    keyed = Keyed(at="now", workflow="w", thread="elsewhere", input=NULL)
    assert folded(keyed).keyed == keyed
    assert reasons(folded(keyed, keyed)) == ["keyed: the journal is in use"]
    assert reasons(folded(started(), keyed)) == ["keyed: the journal is in use"]
    assert folded(keyed, Deleted(at="now")).keyed is None
