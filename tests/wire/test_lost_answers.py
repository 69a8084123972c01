"""Answers that are lost or late, requests that are cut off or late, servers that stay away: one write is one write."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from backends import THOROUGH
from milepost import Command, Engine, entrypoint, interrupt, task
from milepost.checkpoint import Outcome, Swap
from milepost.errors import PositionTaken, StorageUnavailable
from wire.line import batch, head, ids
from wire.proxy import Fault

if TYPE_CHECKING:
    from wire.line import Line

pytestmark = pytest.mark.wire

SHORT = 1.0
"""Seconds after which a driver gives an answer up that this module holds back."""


RESENDING = pytest.mark.parametrize("retries", [False, True], ids=["milepost alone", "the client too"])
"""Who sends again: a client library that does so on its own account may be told that it lost against itself."""


@RESENDING
def test_an_append_whose_answer_is_lost_is_one_batch_and_a_success(line: Line, retries: bool) -> None:
    driver, truth = line.open(retries=retries), line.around()
    driver.append("t", 0, batch("first"))
    trap = line.trap_append(Fault.LOSE_ANSWER)
    driver.append("t", 1, batch("second"))
    assert trap.sprung.is_set()
    assert ids(truth, "t") == ["first", "second"]
    with pytest.raises(PositionTaken):
        truth.append("t", 1, batch("rival"))
    driver.append("t", 2, batch("third"))
    assert ids(truth, "t") == ["first", "second", "third"]


def test_an_append_that_is_cut_off_before_it_arrives_is_sent_again(line: Line) -> None:
    driver, truth = line.open(), line.around()
    trap = line.trap_append(Fault.CUT_OFF)
    driver.append("t", 0, batch("first"))
    assert trap.sprung.is_set()
    assert ids(truth, "t") == ["first"]


def test_an_append_that_did_not_arrive_is_refused_where_a_rival_came_first(line: Line) -> None:
    driver, truth = line.open(), line.around()
    line.trap_append(Fault.CUT_OFF)
    driver._pause = lambda seconds: truth.append("t", 0, batch("rival"))  # type: ignore[method-assign]
    with pytest.raises(PositionTaken):
        driver.append("t", 0, batch("mine"))
    assert ids(truth, "t") == ["rival"]


def test_an_answer_that_comes_late_and_the_resend_together_make_one_batch(line: Line) -> None:
    driver, truth = line.open(timeout=SHORT), line.around()
    trap = line.trap_append(Fault.HOLD_ANSWER)
    driver.append("t", 0, batch("first"))
    assert trap.sprung.is_set()
    trap.release()
    driver.append("t", 1, batch("second"))
    assert ids(truth, "t") == ["first", "second"]


def test_a_request_that_arrives_after_its_resend_changes_nothing(line: Line) -> None:
    driver, truth = line.open(timeout=SHORT), line.around()
    trap = line.trap_append(Fault.HOLD_REQUEST)
    driver.append("t", 0, batch("first"))
    driver.append("t", 1, batch("second"))
    assert ids(truth, "t") == ["first", "second"]
    trap.release()
    assert ids(truth, "t") == ["first", "second"]


@RESENDING
@pytest.mark.parametrize("fault", [Fault.LOSE_ANSWER, Fault.CUT_OFF], ids=["lost answer", "cut off"])
@pytest.mark.parametrize("expected", [None, 1], ids=["the first head", "a later head"])
def test_a_swap_whose_answer_is_lost_counts_as_set(
    line: Line, expected: int | None, fault: Fault, retries: bool
) -> None:
    driver, truth = line.open(retries=retries), line.around()
    if expected is not None:
        assert driver.swap_head(Swap(head=head("t", expected, "old"), expected=None))
    version = (expected or 0) + 1
    trap = line.trap_swap(fault)
    assert driver.swap_head(Swap(head=head("t", version, "mine"), expected=expected))
    assert trap.sprung.is_set()
    assert truth.load_head("t") == head("t", version, "mine")
    assert not truth.swap_head(Swap(head=head("t", version, "rival"), expected=expected))
    assert driver.swap_head(Swap(head=head("t", version + 1, "next"), expected=version))


def test_a_swap_that_arrives_after_its_resend_does_not_set_the_head_back(line: Line) -> None:
    driver, truth = line.open(timeout=SHORT), line.around()
    assert driver.swap_head(Swap(head=head("t", 1, "one"), expected=None))
    trap = line.trap_swap(Fault.HOLD_REQUEST)
    assert driver.swap_head(Swap(head=head("t", 2, "two"), expected=1))
    assert driver.swap_head(Swap(head=head("t", 3, "three"), expected=2))
    trap.release()
    assert truth.load_head("t") == head("t", 3, "three")


def test_a_server_that_stays_away_is_named_and_the_journal_stays_whole(line: Line) -> None:
    driver, truth = line.open(timeout=SHORT), line.around()
    driver.append("t", 0, batch("first"))
    line.proxy.refuse()
    for call in (lambda: driver.append("t", 1, batch("second")), lambda: driver.tail("t")):
        with pytest.raises(StorageUnavailable) as caught:
            call()
        assert "127.0.0.1" in str(caught.value)
    assert ids(truth, "t") == ["first"]
    line.proxy.accept()
    driver.append("t", 1, batch("second"))
    assert ids(driver, "t") == ids(truth, "t") == ["first", "second"]


def test_reading_goes_on_where_an_answer_was_lost(line: Line) -> None:
    driver = line.open()
    for position in range(5):
        driver.append("t", position, batch(f"b-{position}"))
    begun = len(line.proxy.requests)
    assert ids(driver, "t") == [f"b-{position}" for position in range(5)]
    for number in range(len(line.proxy.requests) - begun):
        first = len(line.proxy.requests)
        trap = line.proxy.set_trap(
            Fault.LOSE_ANSWER, lambda _, at=first + number: len(line.proxy.requests) > at
        )
        assert ids(driver, "t") == [f"b-{position}" for position in range(5)]
        assert trap.sprung.is_set()


@pytest.mark.parametrize(
    ("fault", "first"), [(Fault.LOSE_ANSWER, 0), (Fault.CUT_OFF, 1)], ids=["lost answer", "cut off"]
)
def test_a_workflow_does_not_notice_the_loss_of_any_one_answer(line: Line, fault: Fault, first: int) -> None:
    """Every answer with ``nox -s thorough``; else one fault for those with even numbers, one for the others."""
    ledger: Counter[tuple[str, str]] = Counter()

    @task
    def double(thread: str, number: int) -> int:
        ledger[thread, f"double {number}"] += 1
        return 2 * number

    @entrypoint
    def flow(thread: str) -> list[object]:
        first, second = double(thread, 1), double(thread, 2)
        answer = interrupt("go on?")
        return [first.result(), second.result(), answer, double(thread, 3).result()]

    def run(thread: str) -> None:
        asked = flow.invoke(thread, thread_id=thread)
        assert [question.value for question in asked["__interrupt__"]] == ["go on?"]
        assert flow.invoke(Command(resume="yes"), thread_id=thread) == [2, 4, "yes", 6]

    driver, truth = line.open(), line.around()
    with Engine(checkpointer=driver, workers=1) as engine:
        begun = len(line.proxy.requests)
        run("undisturbed")
        count = len(line.proxy.requests) - begun
        assert (
            count >= 8
        )  # of each of two calls: the head taken, the journal read and appended to, the head laid down
        for number in range(count) if THOROUGH else range(first, count, 2):
            thread = f"t{number}"
            at = len(line.proxy.requests) + number
            trap = line.proxy.set_trap(fault, lambda _, at=at: len(line.proxy.requests) > at)
            run(thread)
            assert trap.sprung.is_set(), f"request {number} was not made"
            recorded = [
                record.call
                for _, found in truth.read(thread)
                for record in found.records
                if isinstance(record, Outcome)
            ]
            assert sorted(recorded) == ["0", "1", "3"]  # the question is call 2
            assert [ledger[thread, f"double {n}"] for n in (1, 2, 3)] == [1, 1, 1]
    engine.close()
