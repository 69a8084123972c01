"""Every route of the Django example and every code that it answers, through Django's test client."""

from __future__ import annotations

import pytest

from web.serving import until

ARTICLE = {"title": "On tea", "paragraphs": ["Tea is old.", "It is drunk hot."]}


@pytest.fixture
def start(send_django):
    """What starts a review of Ada's and gives its path once it has the status."""

    def started(status="interrupted", article=ARTICLE):
        place = send_django("POST", "/reviews", article, user="ada")[2]["Location"]
        until(lambda: send_django("GET", place, user="ada")[1]["status"] == status, f"{place} is {status}")
        return place

    return started


@pytest.fixture
def asked(send_django):
    """What gives the ids of a review's questions by role."""

    def found(place):
        _, told, _ = send_django("GET", f"{place}/questions", user="grace")
        return {question["value"]["for"]: question["id"] for question in told["questions"]}

    return found


def test_a_started_article_is_accepted_and_says_where_it_is(send_django):
    code, told, response = send_django("POST", "/reviews", ARTICLE, user="ada", Idempotency_Key="1")
    assert (code, response["Location"]) == (202, f"/reviews/{told['thread_id']}")
    assert send_django("GET", response["Location"], user="ada")[1]["owner"] == "ada"


def test_an_idempotency_key_gives_the_same_article_again_to_its_owner_only(send_django):
    first, again, other = (
        send_django("POST", "/reviews", ARTICLE, user=user, Idempotency_Key="1")[:2]
        for user in ("ada", "ada", "bob")
    )
    assert first == again
    assert other[0] == 202
    assert other[1] != first[1]


def test_a_key_that_came_with_another_article_is_422(send_django):
    send_django("POST", "/reviews", ARTICLE, user="ada", Idempotency_Key="1")
    other = ARTICLE | {"title": "On cups"}
    code, told, _ = send_django("POST", "/reviews", other, user="ada", Idempotency_Key="1")
    assert (code, told["error"]) == (422, "IdempotencyConflict")


@pytest.mark.parametrize("body", [[], {}, {"title": "On tea"}, {"title": "On tea", "paragraphs": []}])
def test_what_is_no_article_is_422(send_django, body):
    assert send_django("POST", "/reviews", body, user="ada")[0] == 422


def test_a_body_that_is_no_json_is_400(send_django, start):
    assert send_django("POST", "/reviews", "{", user="ada")[0] == 400
    assert send_django("GET", f"{start()}/events?after=x", user="ada")[0] == 400


def test_who_does_not_say_who_they_are_is_403(send_django, start):
    assert send_django("GET", start())[0] == 403
    assert send_django("POST", "/reviews", ARTICLE)[0] == 403
    assert send_django("GET", "/inbox")[0] == 403


@pytest.mark.parametrize("path", ["/reviews", "/inbox", "/reviews/some/questions/some"])
def test_the_wrong_method_is_405(send_django, path):
    assert send_django("DELETE", path, user="ada")[0] == 405


@pytest.mark.parametrize("rest", ["", "/events", "/questions"])
def test_an_article_that_is_not_there_or_of_somebody_else_is_404(send_django, start, rest):
    assert send_django("GET", f"/reviews/nothing{rest}", user="ada")[0] == 404
    assert send_django("GET", f"{start()}{rest}", user="bob")[0] == 404


def test_the_checks_are_followed_from_position_to_position(send_django, start):
    place = start()
    _, whole, _ = send_django("GET", f"{place}/events", user="ada")
    assert sum(event["kind"] == "custom_written" for event in whole["events"]) == 2
    positions = [event["position"] for event in whole["events"]]
    assert positions == sorted(positions)
    half = positions[len(positions) // 2]
    _, rest, _ = send_django("GET", f"{place}/events?after={half}", user="ada")
    assert rest["events"] == [event for event in whole["events"] if event["position"] > half]
    _, end, _ = send_django("GET", f"{place}/events?after={whole['next']}", user="ada")
    assert end == {"events": [], "next": whole["next"]}


def test_both_reviewers_are_asked_at_once_and_the_article_is_published_when_both_agree(
    send_django, start, asked
):
    place = start()
    questions = asked(place)
    assert set(questions) == {"editor", "lawyer"}
    assert (
        send_django("POST", f"{place}/questions/{questions['lawyer']}", {"approved": True}, user="hedy")[0]
        == 202
    )
    until(lambda: set(asked(place)) == {"editor"}, "only the editor is still asked")
    assert asked(place)["editor"] == questions["editor"]
    assert (
        send_django("POST", f"{place}/questions/{questions['editor']}", {"approved": True}, user="grace")[0]
        == 202
    )
    until(lambda: send_django("GET", place, user="ada")[1]["status"] == "done", "the review is done")
    assert send_django("GET", place, user="ada")[1]["result"] == {"words": 7, "published": "/articles/on-tea"}


def test_a_second_answer_to_a_reviewers_question_is_409(send_django, start, asked):
    place = start()
    path = f"{place}/questions/{asked(place)['editor']}"
    codes = [send_django("POST", path, {"approved": said}, user="grace")[0] for said in (False, True)]
    assert codes == [202, 409]


def test_an_opinion_that_does_not_fit_is_422_and_the_question_stays(send_django, start, asked):
    place = start()
    questions = asked(place)
    code, told, _ = send_django(
        "POST", f"{place}/questions/{questions['editor']}", {"approved": "so"}, user="grace"
    )
    assert (code, told["error"]) == (422, "InvalidAnswer")
    assert asked(place) == questions


def test_an_opinion_on_an_unknown_question_is_404(send_django, start):
    for place in (start(), "/reviews/nothing"):
        path = f"{place}/questions/int_{'0' * 32}"
        assert send_django("POST", path, {"approved": True}, user="grace")[0] == 404


def test_only_reviewers_give_opinions_and_see_the_inbox_of_articles(send_django, start, asked):
    place = start()
    path = f"{place}/questions/{asked(place)['editor']}"
    assert send_django("POST", path, {"approved": True}, user="ada")[0] == 403
    assert send_django("GET", "/inbox", user="ada")[0] == 403


def test_the_inbox_shows_what_all_articles_wait_for(send_django, start):
    places = {start() for _ in range(2)}
    _, told, _ = send_django("GET", "/inbox", user="grace")
    assert {f"/reviews/{each['thread_id']}" for each in told["waiting"]} == places
    assert {len(each["questions"]) for each in told["waiting"]} == {2}


def test_an_article_whose_check_failed_says_with_what(send_django, start):
    place = start("failed", ARTICLE | {"paragraphs": ["Tea.", " "]})
    assert send_django("GET", place, user="ada")[1]["error"] == "ValueError: paragraph 2 is empty"


def test_nothing_is_opened_before_the_first_request_of_a_reviewer(send_django, tmp_path):
    assert send_django("GET", "/inbox", user="ada")[0] == 403
    assert not (tmp_path / "articles.db").exists()
    assert send_django("GET", "/inbox", user="grace")[0] == 200
    assert (tmp_path / "articles.db").exists()
