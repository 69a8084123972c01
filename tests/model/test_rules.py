"""With all rules nothing goes wrong in any state within the scopes; without any one of them something does."""

from __future__ import annotations

from pathlib import Path

import pytest

from model import scopes
from model.explorer import Model, explore
from model.rules import NAMES, Rules, describe
from model.world import ATOMIC, SPLIT, Batch, Record, State, read

PAGE = Path(__file__).parents[2] / "docs" / "model.md"
RULES = Rules()
BACKENDS = (SPLIT, ATOMIC)

COUNTED = "what was acknowledged does not count in the journal"
BELOW = "an append below the floor was acknowledged"
TAKEN_OVER = "told that it was taken over, though nobody had"

NEEDED = {  # the rule that is dropped: where that is seen, what goes wrong, after how many steps at most
    "started_is_existence": (SPLIT, scopes.STARTING, COUNTED, 6),
    "id_from_position": (SPLIT, scopes.STARTING, "two runs have one id", 14),
    "closes_predecessor": (SPLIT, scopes.RETRYING, "a run was closed for a new one, and none began", 8),
    "wakes_head_first": (SPLIT, scopes.ANSWERING, "stranded", 8),
    "rests_journal_first": (SPLIT, scopes.RECOVERING, "stranded", 6),
    "claims_before_lowering": (SPLIT, scopes.MENDING, "stranded", 12),
    "decides_again": (SPLIT, scopes.ANSWERING, COUNTED, 14),
    "knows_own_batch": (SPLIT, scopes.STARTING, TAKEN_OVER, 10),
    "pruned_is_unknown": (ATOMIC, scopes.REPEATING, "one command was carried out twice", 18),
    "one_in_flight": (SPLIT, scopes.RECOVERING, COUNTED, 6),
    "frozen_bytes": (SPLIT, scopes.RECOVERING, COUNTED, 6),
    "resumed_claims": (SPLIT, scopes.ANSWERING, "told that a command was refused, which was carried out", 14),
    "knows_own_head": (SPLIT, scopes.STARTING, "told that the thread is busy, by its own head", 8),
    "renewal_looks": (SPLIT, scopes.RENEWING, "stranded", 12),
    "versions_never_return": (SPLIT, scopes.DELETING, "stranded", 18),
    "keeps_stubs": (SPLIT, scopes.FREEZING, BELOW, 6),
    "waker_reads_back": (SPLIT, scopes.DELETING, BELOW, 14),
    "newest_stays": (SPLIT, scopes.PRUNING, "the newest run was pruned", 6),
    "previous_stays": (ATOMIC, scopes.PRUNING, "what the newest run began from was pruned", 10),
    "leaves_tombstone": (SPLIT, scopes.DELETING, COUNTED, 8),
    "positions_never_return": (ATOMIC, scopes.DELETING, COUNTED, 10),
    "deletion_keeps_stubs": (SPLIT, scopes.DELETING, BELOW, 14),
    "deletes_own_head_only": (SPLIT, scopes.DELETING, "stranded", 16),
    "journal_decides": (SPLIT, scopes.RECOVERING, COUNTED, 10),
    "unknown_is_unknown": (SPLIT, scopes.STARTING, TAKEN_OVER, 10),
}
SECOND_LINES = {"rejects_illegal", "stops_at_gap"}
"""Rules that are needed only where another was broken; each has a test of its own below."""


SEARCHES = [(scope, backend) for scope in scopes.ALL for backend in BACKENDS] + [(scopes.REPEATING, ATOMIC)]


@pytest.mark.parametrize(("scope", "backend"), SEARCHES, ids=lambda part: part.name)
def test_with_all_rules_nothing_goes_wrong(scope, backend, report):
    found = explore(Model(RULES, backend, scopes.deeper(scope)))
    assert found.violation is None, found.story()
    assert found.complete
    report(f"{scope.name}, {backend.name}: {found.states:,} states, none wrong")


@pytest.mark.parametrize("name", NEEDED)
def test_without_one_rule_something_goes_wrong(name, report):
    backend, scope, what, steps = NEEDED[name]
    found = explore(Model(RULES.without(name), backend, scope))
    assert found.violation is not None, f"dropping {name} changes nothing: {found.states} states"
    assert found.violation.startswith(what), found.story()
    assert len(found.trace) <= steps, found.story()
    assert found.steps() in PAGE.read_text(encoding="utf-8"), (
        f"docs/model.md tells another story:\n{found.steps()}"
    )
    report(f"without {describe(name)}: {found.violation} ({len(found.trace)} steps)")


def test_every_rule_is_tried():
    assert set(NAMES) == NEEDED.keys() | SECOND_LINES


def test_rejecting_what_is_illegal_saves_an_answer_that_was_appended_twice(report):
    """Alone it is never needed: what an owner decides at the tail is legal there. It limits what a fault can do."""
    alone = explore(Model(RULES.without("rejects_illegal"), SPLIT, scopes.ANSWERING))
    assert (alone.violation, alone.complete) == (None, True)
    broken = explore(Model(RULES.without("decides_again"), SPLIT, scopes.ANSWERING))
    assert broken.violation == COUNTED, (
        broken.story()
    )  # the second answer was told to be durable, and does not count
    both = explore(Model(RULES.without("decides_again", "rejects_illegal"), SPLIT, scopes.ANSWERING))
    assert both.violation is not None
    assert both.violation.startswith("an answer was consumed twice"), both.story()


def test_stopping_at_a_gap_keeps_readers_from_changing_their_mind():
    """Alone it is never needed: while one append is in flight, there are no gaps. It says what one would mean."""
    alone = explore(Model(RULES.without("stops_at_gap"), SPLIT, scopes.RECOVERING))
    assert (alone.violation, alone.complete) == (None, True)
    started, claimed, finished = (
        Batch(session, number, (Record(kind),))
        for session, number, kind in [(0, 0, "started"), (1, 0, "claimed"), (0, 2, "finished")]
    )
    gap, late = State((started, None, finished)), State((started, claimed, finished))
    assert [read(state, RULES).status for state in (gap, late)] == ["running", "running"]
    careless = RULES.without("stops_at_gap")
    assert [read(state, careless).status for state in (gap, late)] == ["done", "running"]


def test_a_story_tells_each_step_with_journal_and_head():
    found = explore(Model(RULES.without("wakes_head_first"), SPLIT, scopes.ANSWERING))
    story = found.story()
    assert story.count("journal |") == len(found.trace)
    assert story.splitlines()[0].strip() == "1  session 1 is to resume: head read"
    assert story.splitlines()[-1] == "  => stranded: the journal is running, the head says interrupted"
