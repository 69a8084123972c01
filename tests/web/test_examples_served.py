"""The example apps under gunicorn with two workers: what one began, the other follows, answers and finishes."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from web.serving import Gunicorn, WebServer, served, until

pytestmark = pytest.mark.crash

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LEASE = 10.0


@dataclass(frozen=True)
class Example:
    """An example: what its server is told, what is reviewed, what a reviewer answers, what comes of it."""

    folder: str
    application: str
    variables: dict[str, str]
    subject: Any
    answer: Any
    result: Any


FLASK = Example(
    folder="flask_review",
    application="order_review:create_app()",
    variables={"FLASK_MILEPOST_LEASE": str(LEASE), "FLASK_MILEPOST_POLL": "0.2", "FLASK_TESTING": "true"},
    subject={"number": "A-17", "lines": [{"item": "tea", "pieces": each} for each in range(1, 9)]},
    answer={"decision": "approve"},
    result={"total": 144, "reference": "placed-A-17"},
)
DJANGO = Example(
    folder="django_review",
    application="magazine.wsgi",
    variables={"MILEPOST_LEASE": str(LEASE), "MILEPOST_POLL": "0.2", "DJANGO_DEBUG": "yes"},
    subject={"title": "On tea", "paragraphs": ["Tea is old."] * 8},
    answer={"approved": True},
    result={"words": 24, "published": "/articles/on-tea"},
)


@pytest.fixture(params=[FLASK, DJANGO], ids=["flask", "django"])
def example(request):
    """Each of the two."""
    return request.param


@pytest.fixture
def site(example, tmp_path):
    """Its server, with two workers and the example's own settings for gunicorn."""
    place = EXAMPLES / example.folder
    url = f"sqlite:///{tmp_path}/runs.db"
    server = Gunicorn(
        tmp_path / "server",
        example.application,
        *("--config", str(place / "gunicorn.conf.py"), "--chdir", str(place), "--workers", "2"),
        FLASK_MILEPOST_CHECKPOINTER=url,
        MILEPOST_CHECKPOINTER=url,
        REVIEW_SECONDS="0.2",
        **example.variables,
    )
    with served(server) as running:
        yield running


def of_worker(site: WebServer, accepted, method: str, path: str, body: Any = None, *, user: str):
    """Ask again until a worker that is accepted has answered. What is sent must be harmless to repeat."""

    def once():
        answer = site.insist(method, path, body, X_User=user)
        return answer if accepted(answer.worker) else None

    return until(once, "both workers answer")


def test_what_one_worker_began_the_other_follows_answers_and_finishes_after_a_kill(site, example):
    begun = site.insist("POST", "/reviews", example.subject, X_User="ada", Idempotency_Key="1")
    assert begun.code == 202, begun.body
    place, first = begun.headers["Location"], begun.worker

    def second(worker: int) -> bool:
        return worker != first

    # The other worker follows while the first one works.
    assert of_worker(site, second, "GET", place, user="ada").body["status"] == "running"
    seen = of_worker(site, second, "GET", f"{place}/events", user="ada").body
    after = seen["next"]

    def more():
        nonlocal after
        told = of_worker(site, second, "GET", f"{place}/events?after={after}", user="ada").body
        assert all(event["position"] > after for event in told["events"])
        after = told["next"]
        seen["events"] += told["events"]
        return [event for event in seen["events"] if event["kind"] == "custom_written"]

    until(more, "progress is seen in the other worker")
    assert of_worker(site, second, "GET", place, user="ada").body["status"] == "running"

    # It is killed in the midst of it; somebody else goes on to the question.
    os.kill(first, signal.SIGKILL)
    until(lambda: site.insist("GET", place, X_User="ada").body["status"] == "interrupted", "the run goes on")
    questions = of_worker(site, second, "GET", f"{place}/questions", user="grace").body["questions"]
    waiting = of_worker(site, second, "GET", "/inbox", user="grace").body["waiting"]
    assert [each["questions"] for each in waiting] == [questions]

    # Answered in the other worker, and by nobody a second time.
    for question in questions:
        path = f"{place}/questions/{question['id']}"
        assert site.insist("POST", path, example.answer, X_User="grace").code == 202
        assert site.insist("POST", path, example.answer, X_User="grace").code == 409
    until(lambda: site.insist("GET", place, X_User="ada").body["status"] == "done", "the run is done")
    assert site.insist("GET", place, X_User="ada").body["result"] == example.result

    # Every event is seen once, whoever told it.
    until(lambda: more() and seen["events"][-1]["kind"] == "workflow_finished", "the end is told")
    positions = [event["position"] for event in seen["events"]]
    assert positions == sorted(set(positions))
    assert seen["events"] == site.insist("GET", f"{place}/events", X_User="ada").body["events"]
    assert site.stop() < 8


def test_what_waits_for_an_answer_is_answered_after_a_restart(site, example):
    begun = site.insist("POST", "/reviews", example.subject, X_User="ada")
    place = begun.headers["Location"]
    until(lambda: site.insist("GET", place, X_User="ada").body["status"] == "interrupted", "it asks")
    site.stop()
    site.start()
    for question in site.insist("GET", f"{place}/questions", X_User="grace").body["questions"]:
        path = f"{place}/questions/{question['id']}"
        assert site.insist("POST", path, example.answer, X_User="grace").code == 202
    until(lambda: site.insist("GET", place, X_User="ada").body["status"] == "done", "the run is done")
    assert site.insist("GET", place, X_User="ada").body["result"] == example.result
