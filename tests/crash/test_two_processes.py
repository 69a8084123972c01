"""Two processes race on one backend: one wins, the other gets a typed error, and the journal stays whole."""

from __future__ import annotations

import random
import time
from collections import Counter

import pytest

from backends import pace
from crash import evidence
from crash.grounds import on
from crash.racer import HEAD_START, racing

pytestmark = [pytest.mark.crash, on("sqlite", "s3", "mongodb")]

ROUNDS = {"start": 60, "resume": 50, "continue": 30, "start and resume": 40, "start freely": 40, "usurp": 12}
DUELS = 1000
LOST = {"ThreadBusy"}
LATE = {"ThreadBusy", "AlreadyAnswered", "NothingToResume"}


@pytest.fixture
def place(backend, grounds, tmp_path):
    """Where nobody has been before."""
    given = grounds.get(backend).untouched(tmp_path / "place")
    yield given
    given.drop()


@pytest.fixture
def racers(place):
    """Two processes that open one new place at the same moment."""
    with racing(place) as one, racing(place) as other:
        yield one, other


@pytest.fixture
def chance():
    """What staggers the racers: by up to a millisecond, either way."""
    return random.Random(2)


def _race(racers, chance, *moves):
    """Have both move at the same moment; return both answers."""
    moment = time.monotonic() + HEAD_START
    for racer, move in zip(racers, moves, strict=True):
        racer.tell({**move, "at": moment + chance.uniform(0, 0.001)})
    return [racer.hear() for racer in racers]


def _one_winner(racers, answers, errors=LOST):
    """Return the racer that holds the thread, after seeing that the other was refused with a typed error."""
    winners = [racer for racer, answer in zip(racers, answers, strict=True) if answer.get("holding")]
    refused = [answer.get("error") for answer in answers if not answer.get("holding")]
    assert len(winners) == 1, answers
    assert set(refused) <= errors, answers
    return winners[0]


def _start(thread, *, asks=False, how="until told"):
    return {"thread": thread, "given": {"value": thread, "asks": asks, "how": how}}


def _answer(thread, answer, how="until told"):
    return {"thread": thread, "given": {"value": answer, "how": how}, "resumes": True}


def _journals(place):
    """Return what is on record after checking it: no gap, nothing rejected, no outcome twice."""
    found = evidence.collect(place)
    assert evidence.at_kill(found) == []
    assert all(pragmas == ["wal", 2] for pragmas in evidence.pragmas(place.folder))
    return found


def _kinds(found, thread):
    return Counter(record.kind for batch in found.batches[thread] for record in batch.records)


@pytest.mark.timeout(900)
def test_of_a_thousand_races_to_start_and_to_answer_each_has_one_winner(racers, place, backend, tally):
    """Nobody waits for a clock here: both are told through their pipes, in turns one or the other first."""
    starts, answers, refusals = Counter(), Counter(), Counter()
    duels = DUELS // pace(backend)
    began = time.monotonic()
    for number in range(duels):
        thread = f"duel-{number}"
        order = racers if number % 2 else racers[::-1]
        starts[_start_duel(racers, order, thread, refusals)] += 1
        answers[_answer_duel(racers, order, thread, refusals)] += 1
    took = time.monotonic() - began

    found = _journals(place)
    assert len(found.batches) == duels
    for thread in found.batches:
        assert _kinds(found, thread) == dict.fromkeys(
            ("started", "outcome", "interrupted", "resumed", "finished"), 1
        )
    assert len(starts) == len(answers) == 2, (starts, answers)
    refused = ", ".join(f"{name} {times} times" for name, times in sorted(refusals.items()))
    tally(
        "two processes race",
        f"{backend}: of {duels} starts one won {starts[0]}, the other {starts[1]}, of as many answers {answers[0]} and "
        f"{answers[1]}; the losers got {refused}; {took:.0f} s",
    )


def _start_duel(racers, order, thread, refusals):
    """Have both start a thread; return the number of the one that did, when its run asks its question."""
    for racer in order:
        racer.tell({"workflow": "duel", "thread": thread, "given": thread})
    heard = [racer.hear() for racer in racers]
    winner = _one_winner(racers, heard)
    refusals.update(answer["error"] for answer in heard if "error" in answer)
    assert "asks" in winner.release()
    return racers.index(winner)


def _answer_duel(racers, order, thread, refusals):
    """Have both answer the question; return the number of the one whose answer was taken."""
    for racer in order:
        racer.tell({"workflow": "duel", "thread": thread, "given": racers.index(racer), "resumes": True})
    heard = [racer.hear() for racer in racers]
    (winner,) = [number for number in range(2) if "result" in heard[number]]
    refused = heard[1 - winner]["error"]
    assert refused in LATE
    refusals[refused] += 1
    assert heard[winner]["result"] == {"kept": ["until told", thread], "answer": winner}
    return winner


def test_of_two_starts_one_wins(racers, chance, place):
    winners = Counter()
    for number in range(ROUNDS["start"]):
        thread = f"start-{number}"
        winner = _one_winner(racers, _race(racers, chance, _start(thread), _start(thread)))
        winners[racers.index(winner)] += 1
        assert winner.release()["result"]["answer"] == thread

    found = _journals(place)
    assert len(found.batches) == ROUNDS["start"]
    for thread in found.batches:
        assert _kinds(found, thread) == {"started": 1, "outcome": 2, "finished": 1}
    assert max(Counter(call for event, call, _, _ in found.ledger if event == "start").values()) == 1
    assert len(winners) == 2, "the race was never close"


def test_of_two_answers_to_one_question_one_is_taken(racers, chance, place):
    winners = Counter()
    for number in range(ROUNDS["resume"]):
        thread = f"resume-{number}"
        question = racers[number % 2].do(**_start(thread, asks=True))["asks"]
        answers = _race(racers, chance, _answer(thread, "one"), _answer(thread, "other"))
        winner = _one_winner(racers, answers)
        winners[racers.index(winner)] += 1
        taken = ["one", "other"][racers.index(winner)]
        assert winner.release()["result"] == {"answer": taken, "held": ["until told", taken]}
        late = {"thread": thread, "given": {question: {"value": "late", "how": "at once"}}, "resumes": True}
        assert racers[number % 2].do(**late)["error"] == "AlreadyAnswered"
        assert racers[number % 2].do(**_answer(thread, "later", "at once"))["error"] == "NothingToResume"

    found = _journals(place)
    for thread in found.batches:
        assert _kinds(found, thread) == {
            "started": 1, "outcome": 2, "interrupted": 1, "resumed": 1, "finished": 1
        }  # fmt: skip
    assert len(winners) == 2, "the race was never close"


def test_of_two_that_continue_a_dead_process_s_run_one_wins(racers, chance, place):
    threads = [f"continue-{number}" for number in range(ROUNDS["continue"])]
    with racing(place) as victim:
        victim.tell({"cut off": threads})
        assert victim.hear() == {"holding": True}
    dead = _journals(place)
    released = {"thread": None, "given": None}

    for thread in threads:
        answers = _race(racers, chance, *[{**released, "thread": thread}] * 2)
        refused = [answer for answer in answers if "error" in answer]
        assert [answer["error"] for answer in refused] == ["ThreadBusy"]
        (held,) = [answer for answer in answers if answer not in refused]
        assert held == {"holding": True}
        winner = _one_winner(racers, answers)
        assert winner.release()["result"]["answer"] == thread

    found = _journals(place)
    assert evidence.between(dead, found) == []
    for thread in threads:
        assert _kinds(found, thread) == {"started": 1, "outcome": 2, "claimed": 1, "finished": 1}


def test_a_new_input_and_an_answer_never_both_win(racers, chance, place):
    ways = Counter()
    for number in range(ROUNDS["start and resume"]):
        thread = f"both-{number}"
        question = racers[0].do(**_start(thread, asks=True))["asks"]
        winner = _one_winner(racers, _race(racers, chance, _start(thread), _answer(thread, "answer")))
        ways[racers.index(winner)] += 1
        assert winner.release()["result"]["answer"] in {thread, "answer"}
        late = {"thread": thread, "given": {question: {"value": "late", "how": "at once"}}, "resumes": True}
        assert racers[0].do(**late)["error"] in {"AlreadyAnswered", "NothingToResume", "UnknownInterrupt"}

    found = _journals(place)
    for thread in found.batches:
        kinds = _kinds(found, thread)
        assert (kinds["resumed"], kinds["abandoned"]) in {(1, 0), (0, 1)}
        assert kinds["started"] == 1 + kinds["abandoned"]
    assert len(ways) == 2, "the race was never close"


def test_starts_that_do_not_wait_follow_one_another_or_are_refused(racers, chance, place):
    won = Counter()
    for number in range(ROUNDS["start freely"]):
        thread = f"free-{number}"
        for answer in _race(racers, chance, *[_start(thread, how="at once")] * 2):
            assert "result" in answer or answer["error"] in LATE, answer
            won[thread] += "result" in answer

    found = _journals(place)
    for thread in found.batches:
        runs = won[thread]
        assert runs in {1, 2}
        assert _kinds(found, thread) == {"started": runs, "outcome": 2 * runs, "finished": runs}


def test_an_owner_that_was_wrongly_taken_for_dead_is_told_and_changes_nothing(racers, chance, place):
    """The lease keeps two processes from working at once; the journal keeps them from both being believed."""
    for number in range(ROUNDS["usurp"]):
        thread = f"usurp-{number}"
        owner, usurper = racers if number % 2 else racers[::-1]
        assert owner.do(**_start(thread)) == {"holding": True}
        assert usurper.do(thread=thread, usurps=True) == {"holding": True}
        if number % 4 < 2:
            assert owner.release()["error"] == "OwnershipLost"
            assert usurper.release()["result"]["answer"] == thread
        else:
            assert usurper.release()["result"]["answer"] == thread
            assert owner.release()["error"] == "OwnershipLost"

    found = _journals(place)
    for thread in found.batches:
        assert _kinds(found, thread) == {"started": 1, "outcome": 2, "claimed": 1, "finished": 1}
