"""The disk fails in mid-run: the error names the file, and once there is room nothing recorded runs again."""

from __future__ import annotations

import pytest

from crash.grounds import on
from crash.rig import Job

pytestmark = [pytest.mark.crash, on("sqlite")]

WAYS = pytest.mark.parametrize("stays", [True, False], ids=["the same process", "another process"])


def _appends(truth, kind=""):
    """Return the points just before an append of this kind."""
    return [
        point for point in truth.points if point.startswith(f"append to main of {kind}") and "before" in point
    ]


def _fail_at_each(enumeration, job, points, truth):
    """Let the disk fail at each point; return the errors' types, after seeing that all ended well."""
    types = set()
    for point in points:
        fault, findings = enumeration.disk_fails(Job(**{**job, "kill": point}), truth)
        assert findings == [], point
        assert "journal.db" in fault["text"]
        types.add(fault["type"])
    return types


@WAYS
@pytest.mark.parametrize("name", ["sequence", "questions", "failing_beside", "chat"])
def test_files_that_cannot_grow_stop_a_run_that_goes_on_when_they_can(name, stays, enumeration):
    truth = enumeration.undisturbed(Job(case=name))
    points = _appends(truth)
    assert len(points) >= 8

    job = {"case": name, "fault": "file size", "stays": stays}

    assert _fail_at_each(enumeration, job, points, truth) == {"DiskError"}


@WAYS
def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(stays, enumeration):
    truth = enumeration.undisturbed(Job(case="library"))
    points = [point for point in _appends(truth, "outcome") if "," not in point]
    assert len(points) >= 2

    job = {"case": "library", "fault": "full", "stays": stays}

    assert _fail_at_each(enumeration, job, points, truth) == {"DiskFull"}
