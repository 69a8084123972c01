"""Every route of the Flask example and every code that it answers, through Flask's test client."""

from __future__ import annotations

import pytest

from web.serving import until

ORDER = {"number": "A-17", "lines": [{"item": "tea", "pieces": 3}, {"item": "kettle", "pieces": 1}]}


@pytest.fixture
def send(flask_app):
    """What sends a request as a user."""
    client = flask_app.test_client()

    def sent(method, path, body=None, *, user=None, key=None):
        headers = {"X-User": user, "Idempotency-Key": key}
        given = {name: value for name, value in headers.items() if value is not None}
        return client.open(path, method=method, json=body, headers=given)

    return sent


@pytest.fixture
def start(send):
    """What starts a review of Ada's and gives its path once it has the status."""

    def started(status="interrupted", order=ORDER):
        place = send("POST", "/reviews", order, user="ada").headers["Location"]
        until(lambda: send("GET", place, user="ada").json["status"] == status, f"{place} is {status}")
        return place

    return started


def test_a_started_review_is_accepted_and_says_where_it_is(send):
    answer = send("POST", "/reviews", ORDER, user="ada", key="1")
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/reviews/{answer.json['thread_id']}"
    assert send("GET", answer.headers["Location"], user="ada").json["owner"] == "ada"


def test_an_idempotency_key_gives_the_same_review_again_to_its_owner_only(send):
    first, again = (send("POST", "/reviews", ORDER, user="ada", key="1") for _ in range(2))
    other = send("POST", "/reviews", ORDER, user="bob", key="1")
    assert (again.status_code, again.json) == (202, first.json)
    assert (other.status_code, other.json != first.json) == (202, True)


def test_a_key_that_came_with_another_order_is_422(send):
    send("POST", "/reviews", ORDER, user="ada", key="1")
    answer = send("POST", "/reviews", ORDER | {"number": "A-18"}, user="ada", key="1")
    assert (answer.status_code, answer.json["error"]) == (422, "IdempotencyConflict")


@pytest.mark.parametrize("body", [[], {}, {"number": "A-17"}, {"number": "A-17", "lines": []}])
def test_what_is_no_order_is_422(send, body):
    assert send("POST", "/reviews", body, user="ada").status_code == 422


def test_who_does_not_say_who_they_are_is_401(send, start):
    assert send("GET", start()).status_code == 401
    assert send("POST", "/reviews", ORDER).status_code == 401
    assert send("GET", "/inbox").status_code == 401


@pytest.mark.parametrize("rest", ["", "/events", "/questions"])
def test_a_review_that_is_not_there_or_of_somebody_else_is_404(send, start, rest):
    assert send("GET", f"/reviews/nothing{rest}", user="ada").status_code == 404
    assert send("GET", f"{start()}{rest}", user="bob").status_code == 404


def test_progress_is_polled_from_position_to_position(send, start):
    place = start()
    whole = send("GET", f"{place}/events", user="ada").json
    told = [event for event in whole["events"] if event["kind"] == "custom_written"]
    assert len(told) == 4
    positions = [event["position"] for event in whole["events"]]
    assert positions == sorted(positions)
    assert positions[-1] == whole["next"]
    half = positions[len(positions) // 2]
    rest = send("GET", f"{place}/events?after={half}", user="ada").json
    assert rest["events"] == [event for event in whole["events"] if event["position"] > half]
    end = send("GET", f"{place}/events?after={whole['next']}", user="ada").json
    assert end == {"events": [], "next": whole["next"]}


def test_an_answered_question_lets_the_review_go_on_to_its_end(send, start):
    place = start()
    [question] = send("GET", f"{place}/questions", user="grace").json["questions"]
    assert question["value"]["total"] == 60
    assert question["response_schema"]["required"] == ["decision"]
    answered = send("POST", f"{place}/questions/{question['id']}", {"decision": "approve"}, user="grace")
    assert answered.status_code == 202
    until(lambda: send("GET", place, user="ada").json["status"] == "done", "the review is done")
    assert send("GET", place, user="ada").json["result"] == {"total": 60, "reference": "placed-A-17"}
    assert send("GET", f"{place}/questions", user="ada").json == {"questions": []}


def test_a_second_answer_is_409(send, start):
    place = start()
    [question] = send("GET", f"{place}/questions", user="grace").json["questions"]
    path = f"{place}/questions/{question['id']}"
    codes = [
        send("POST", path, {"decision": word}, user="grace").status_code for word in ("reject", "approve")
    ]
    assert codes == [202, 409]
    until(lambda: send("GET", place, user="ada").json["status"] == "done", "the review is done")
    assert send("GET", place, user="ada").json["result"] == {"total": 60, "rejected": ""}
    assert send("POST", path, {"decision": "approve"}, user="grace").status_code == 409


def test_an_answer_that_does_not_fit_is_422_and_the_question_stays(send, start):
    place = start()
    [question] = send("GET", f"{place}/questions", user="grace").json["questions"]
    answer = send("POST", f"{place}/questions/{question['id']}", {"decision": "maybe"}, user="grace")
    assert (answer.status_code, answer.json["error"]) == (422, "InvalidAnswer")
    assert send("GET", f"{place}/questions", user="grace").json["questions"] == [question]


def test_an_answer_to_an_unknown_question_is_404(send, start):
    asked = f"int_{'0' * 32}"
    for place in (start(), "/reviews/nothing"):
        path = f"{place}/questions/{asked}"
        assert send("POST", path, {"decision": "approve"}, user="grace").status_code == 404


def test_only_reviewers_answer_and_see_the_inbox(send, start):
    place = start()
    [question] = send("GET", f"{place}/questions", user="ada").json["questions"]
    path = f"{place}/questions/{question['id']}"
    assert send("POST", path, {"decision": "approve"}, user="ada").status_code == 403
    assert send("GET", "/inbox", user="ada").status_code == 403


def test_the_inbox_shows_what_all_reviews_wait_for(send, start):
    places = {start() for _ in range(3)}
    waiting = send("GET", "/inbox", user="grace").json["waiting"]
    assert {f"/reviews/{each['thread_id']}" for each in waiting} == places
    assert {len(each["questions"]) for each in waiting} == {1}


def test_a_review_that_failed_says_with_what(send, start):
    place = start("failed", ORDER | {"lines": [{"item": "anvil", "pieces": 1}]})
    assert send("GET", place, user="ada").json["error"] == "KeyError: 'anvil'"


def test_nothing_is_opened_before_the_first_request_that_needs_it(flask_app, tmp_path):
    assert flask_app.test_client().get("/inbox").status_code == 401
    assert not (tmp_path / "orders.db").exists()
