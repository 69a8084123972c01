"""The harness finds out what is broken; fresh interpreters and kills from outside tell the same as its forks."""

from __future__ import annotations

import random

import pytest

from crash.enumeration import Enumeration
from crash.forkserver import FreshInterpreters
from crash.grounds import INSIDE, NAMES, on
from crash.rig import Job

pytestmark = pytest.mark.crash

SABOTAGED = {
    "resolve early": ("add at main:3: before", "had resolved and is not on record"),
    "commit late": ("add at main:3: before", "had resolved and is not on record"),
    "forget records": (
        "append to main of outcome(3): after",
        "ran again: its result was on record at the kill",
    ),
    "skip positions": ("append to main of outcome(3): after", "position 1 is missing, and was acknowledged"),
    "record twice": ("append to main of outcome(3): after", "has two outcomes"),
}


@on("sqlite", "s3", "mongodb")
@pytest.mark.parametrize("way", SABOTAGED)
def test_a_broken_engine_is_caught(way, enumeration):
    point, finding = SABOTAGED[way]
    truth = enumeration.undisturbed(Job(case="sequence"))

    report = enumeration.at_each(Job(case="sequence", sabotage=way), truth, [point])

    assert report.survived == 0
    assert any(finding in found for found in report.findings), report.findings


@on("sqlite", "mongodb")
def test_an_engine_that_forgets_what_it_began_is_caught(enumeration):
    truth = enumeration.undisturbed(Job(case="payments"))

    report = enumeration.at_each(
        Job(case="payments", sabotage="forget starts"), truth, ["pay_once at main:1: after"]
    )

    assert report.survived == 0
    assert any("ran 2 times" in found for found in report.findings), report.findings


DEFERRED = {
    "queue starts": ("payments", "pay_once at main:1: after", "ran 2 times"),
    "rest first": ("questions", "append to main of interrupted: after", "had resolved and is not on record"),
}


@on("sqlite")
@pytest.mark.parametrize("way", DEFERRED)
def test_an_engine_that_defers_what_must_not_wait_is_caught(way, enumeration):
    case, point, finding = DEFERRED[way]
    truth = enumeration.undisturbed(Job(case=case, durability="exit"))

    report = enumeration.at_each(Job(case=case, durability="exit", sabotage=way), truth, [point])

    assert report.survived == 0
    assert any(finding in found for found in report.findings), report.findings


@on("sqlite")
def test_a_journal_that_may_lose_its_end_in_a_power_cut_is_caught(enumeration):
    truth = enumeration.undisturbed(Job(case="sequence"))
    weak = Job(case="sequence", options="synchronous=normal")

    report = enumeration.at_each(weak, truth, ["append to main of outcome(0): after"])

    assert any("['wal', 1]" in found for found in report.findings), report.findings


@on("sqlite", "mongodb")
def test_a_wrong_outcome_is_caught(enumeration):
    truth = enumeration.undisturbed(Job(case="sequence"))
    truth.outcome["result"]["total"] += 1

    report = enumeration.at_each(Job(case="sequence"), truth, truth.points[:1])

    assert any("the outcome is" in found for found in report.findings)


@on("sqlite")
def test_a_point_that_no_process_reaches_is_not_counted_as_survived(enumeration):
    truth = enumeration.undisturbed(Job(case="sequence"))

    report = enumeration.at_each(Job(case="sequence"), truth, ["no such point"])

    assert (report.points, report.survived) == (1, 0)


@on(*NAMES)
def test_fresh_interpreters_survive_as_forked_ones_do(backend, enumeration, grounds, tmp_path):
    job = Job(case="questions")
    truth = enumeration.undisturbed(job)
    (tmp_path / "fresh").mkdir()
    fresh = Enumeration(grounds.lanes(backend, [FreshInterpreters()] * 2), tmp_path / "fresh")
    points = [
        f"append to main of started: {INSIDE[backend]}",
        "append to main of outcome(0): committed",
        "append to main of interrupted: before",
        "append to main of resumed: after",
        "letter at main:2: after",
        "append to main of finished: committed",
    ]

    report = fresh.at_each(job, truth, points)

    assert report.findings == []
    assert report.survived == len(points)


@on(*NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_kills_from_outside_at_any_time_are_survived(seed, enumeration):
    job = Job(case=["retried", "side_by_side", "elsewhere", "chat"][seed])
    truth = enumeration.undisturbed(job)

    assert enumeration.at_random(job, truth, random.Random(seed), kills=3) == []
