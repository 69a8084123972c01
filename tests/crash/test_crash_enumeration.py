"""SIGKILL at every append and around every task body; another process resumes, and nothing recorded runs again."""

from __future__ import annotations

import pytest

from backends import THOROUGH
from crash.grounds import INSIDE, NAMES, on
from crash.rig import Job
from crash.workloads import CASES

AT_LENGTH = NAMES if THOROUGH else ("memory", "sqlite")
"""Where what takes long on a storage server is tried, too."""

pytestmark = pytest.mark.crash

SPLIT = (
    "questions",
    "failing_beside",
    "replaced",
    "elsewhere",
    "left",
    "attempts",
    "payments",
    "cached",
    "coroutines",
)
"""Cases that are run too with journal and head written one after the other, where the backend can do better."""
DEFERRED = ("sequence", "questions", "payments", "chat", "caught", "letters", "whole", "cached", "elsewhere")
"""Cases that are run too in the other modes of durability: one call after the other, so that the queue is known."""
RESUMED = {
    "questions": "append to main of interrupted: committed",
    "retried": "append to main of failed: after #2",
    "payments": "pay_once at main:1: after",
    "attempts": "append to main of attempted: after #2",
    "whole": "append to main of attempted: committed",
    "nested": "append to main of outcome(0.0.1): after",
    "coroutines": "append to main of begun: after",
}


@on(*AT_LENGTH)
def test_the_dry_runs_count_at_least_200_kill_points(enumeration, backend):
    """The number is counted with the hooks that kill, not chosen."""
    counted = [point for name in CASES for point in enumeration.undisturbed(Job(case=name)).points]

    assert len(counted) >= 200
    for stage in ("before", INSIDE[backend], "committed", "after"):
        assert sum(point.startswith("append") and f": {stage}" in point for point in counted) >= 100


@on(*NAMES)
@pytest.mark.parametrize("name", CASES)
def test_a_run_killed_anywhere_ends_as_if_nobody_had_killed_it(name, enumeration, tell):
    job = Job(case=name)
    truth = enumeration.undisturbed(job)

    report = enumeration.at_each(job, truth)

    tell("first run", name, report)
    assert report.findings == []
    assert report.survived == report.points == len(enumeration.sampled(truth.points, job))


@on("memory", "sqlite")
@pytest.mark.parametrize("name", SPLIT)
def test_it_does_so_too_where_journal_and_head_are_written_one_after_the_other(name, enumeration, tell):
    job = Job(case=name, split=True, options=enumeration.apart)
    truth = enumeration.undisturbed(job)
    assert any(point.startswith("head of main") for point in truth.points)

    report = enumeration.at_each(job, truth)

    tell("head apart", name, report)
    assert report.findings == []
    assert report.survived == report.points == len(enumeration.sampled(truth.points, job))


@on(*AT_LENGTH)
@pytest.mark.parametrize("name", RESUMED)
def test_the_process_that_resumes_may_be_killed_anywhere_too(name, enumeration, tell):
    job = Job(case=name)
    truth = enumeration.undisturbed(job)
    assert RESUMED[name] in truth.points

    report = enumeration.at_each_while_resuming(job, truth, RESUMED[name])

    tell("resuming run", name, report)
    assert report.points >= 15 // enumeration.every
    assert report.findings == []
    assert report.survived == report.points


@on("memory", "sqlite")
@pytest.mark.parametrize("name", DEFERRED)
def test_exit_loses_what_came_since_the_last_rest_all_of_it_and_nothing_else(name, enumeration, tell):
    """What evidence holds a kill to: before the last rest, or start of a task that runs once, nothing is lost."""
    job = Job(case=name, durability="exit")
    truth = enumeration.undisturbed(job)
    assert truth.outcome == enumeration.undisturbed(Job(case=name)).outcome

    report = enumeration.at_each(job, truth)

    tell("at exit", name, report)
    assert report.findings == []
    assert report.survived == report.points == len(enumeration.sampled(truth.points, job))
    assert report.lost > 0


@on("memory", "sqlite")
@pytest.mark.parametrize("name", DEFERRED)
def test_async_loses_the_end_of_the_queue_and_nothing_else(name, enumeration, tell):
    """Which outcomes share a batch is a matter of time: so the points are those of tasks and of what all wait for."""
    job = Job(case=name, durability="async")
    truth = enumeration.undisturbed(job)
    assert truth.outcome == enumeration.undisturbed(Job(case=name)).outcome
    points = [
        p for p in truth.points if not any(part in p for part in ("outcome(", "attempted", "an append"))
    ]
    points.append("an append: before #2")

    report = enumeration.at_each(job, truth, enumeration.sampled(points, job))

    tell("in the background", name, report)
    assert report.findings == []
    assert report.survived == report.points
