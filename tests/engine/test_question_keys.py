"""``interrupt(key=…)``: ids that survive small edits of the code while the question is pending."""

from __future__ import annotations

import pytest

from milepost import Command, RetryPolicy, entrypoint, interrupt, task
from milepost.errors import DivergenceError, InvalidQuestion


@task
def work(given: str) -> str:
    return f"did {given}"


def flow_of(body):
    return entrypoint(name="flow")(body)


def ids(answer):
    return [asked.id for asked in answer["__interrupt__"]]


def test_a_question_with_a_key_may_change_its_words_and_its_place_while_it_is_pending(engine):
    def before(given: str) -> list[object]:
        return [work("a").result(), interrupt("ok?", key="approve")]

    def after(given: str) -> list[object]:
        return [work("a").result(), work("b").result(), interrupt({"text": "Is it ok?"}, key="approve")]

    (id_,) = ids(flow_of(before).invoke("x", thread_id="t"))
    assert flow_of(after).invoke(Command(resume={id_: "yes"}), thread_id="t") == ["did a", "did b", "yes"]


def test_another_question_may_come_in_front_of_one_with_a_key(engine):
    def before(given: str) -> list[object]:
        return [interrupt("ok?", key="approve")]

    def after(given: str) -> list[object]:
        return [interrupt("who?", key="who"), interrupt("ok?", key="approve")]

    (id_,) = ids(flow_of(before).invoke("x", thread_id="t"))
    (other,) = ids(flow_of(after).invoke(Command(resume={id_: "yes"}), thread_id="t"))
    assert other != id_
    assert flow_of(after).invoke(Command(resume="ada"), thread_id="t") == ["ada", "yes"]


def test_w12_without_a_key_other_words_are_another_question(engine):
    def before(given: str) -> object:
        return interrupt("ok?")

    def after(given: str) -> object:
        return interrupt("Is it ok?")

    flow_of(before).invoke("x", thread_id="t")
    with pytest.raises(DivergenceError):
        flow_of(after).invoke(Command(resume="yes"), thread_id="t")


def test_a_question_with_a_key_that_is_no_longer_asked_is_a_divergence(engine):
    def before(given: str) -> object:
        return interrupt("ok?", key="approve")

    def after(given: str) -> object:
        return "approved by nobody"

    flow_of(before).invoke("x", thread_id="t")
    with pytest.raises(DivergenceError, match="was not made this time"):
        flow_of(after).invoke(Command(resume="yes"), thread_id="t")
    assert flow_of(before).invoke(None, thread_id="t") == "yes"


def test_a_question_may_get_a_key_while_it_is_pending_and_keeps_its_id(engine):
    def before(given: str) -> object:
        return interrupt("ok?")

    def after(given: str) -> object:
        return [interrupt("ok?", key="approve"), interrupt("sure?")]

    (id_,) = ids(flow_of(before).invoke("x", thread_id="t"))
    flow_of(after).invoke(Command(resume={id_: "yes"}), thread_id="t")
    assert flow_of(after).invoke(Command(resume="sure"), thread_id="t") == ["yes", "sure"]


def test_a_key_belongs_to_one_run_and_is_shown(engine):
    @entrypoint
    def flow(given: str) -> object:
        return interrupt("ok?", key="approve")

    (first,) = flow.invoke("x", thread_id="t")["__interrupt__"]
    (second,) = flow.invoke("x", thread_id="t")["__interrupt__"]
    (other,) = flow.invoke("x", thread_id="u")["__interrupt__"]
    assert (first.key, second.key) == ("approve", "approve")
    assert len({first.id, second.id, other.id}) == 3


@pytest.mark.parametrize("answers", [0, 1])
def test_a_key_that_is_used_twice_is_an_error_that_names_it(engine, answers):
    @entrypoint
    def flow(given: str) -> list[object]:
        return [interrupt(f"number {n}", key="approve") for n in range(2)]

    flow.invoke("x", thread_id="t")
    with pytest.raises(InvalidQuestion, match=r"key='approve'.*call 0 .*key=f'approve-\{number\}'"):
        flow.invoke(Command(resume="yes"), thread_id="t")
    with pytest.raises(InvalidQuestion):
        flow.invoke(None, thread_id="t")


def test_in_a_loop_a_key_holds_what_differs(engine):
    @entrypoint
    def flow(given: str) -> list[object]:
        return [interrupt("ok?", key=f"approve-{n}") for n in range(3)]

    flow.invoke("x", thread_id="t")
    for number in range(2):
        flow.invoke(Command(resume=number), thread_id="t")
    assert flow.invoke(Command(resume=2), thread_id="t") == [0, 1, 2]


def test_a_task_that_is_over_keeps_its_key(engine):
    @task
    def ask() -> object:
        return interrupt("ok?", key="approve")

    @entrypoint
    def flow(given: str) -> list[object]:
        found = [ask().result()]
        interrupt("between")
        try:
            found.append(interrupt("again?", key="approve"))
        except InvalidQuestion:
            found.append("refused")
        interrupt("after")
        return found

    flow.invoke("x", thread_id="t")
    for answer in ("yes", 1):
        flow.invoke(Command(resume=answer), thread_id="t")
    assert flow.invoke(Command(resume=2), thread_id="t") == ["yes", "refused"]


def test_w04_questions_with_keys_in_parallel_tasks_are_all_shown(engine):
    @task
    def ask(name: str) -> object:
        return interrupt("ok?", key=f"ask-{name}")

    @entrypoint
    def flow(given: str) -> list[object]:
        return [future.result() for future in [ask("a"), ask("b"), ask("c")]]

    asked = flow.invoke("x", thread_id="t")["__interrupt__"]
    assert [question.key for question in asked] == ["ask-a", "ask-b", "ask-c"]
    answers = {question.id: question.key for question in asked}
    assert flow.invoke(Command(resume=answers), thread_id="t") == ["ask-a", "ask-b", "ask-c"]


@pytest.mark.parametrize("key", ["", 3, "k" * 201])
def test_a_key_is_a_short_text(engine, key):
    @entrypoint
    def flow(given: str) -> object:
        return interrupt("ok?", key=key)

    with pytest.raises(InvalidQuestion, match="key="):
        flow.invoke("x", thread_id="t")


def test_a_task_that_is_tried_again_asks_under_its_key_again(engine):
    tries: list[str] = []

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    def pay() -> str:
        answer = interrupt("pay?", key="pay")
        tries.append(answer)
        if len(tries) == 1:
            raise ConnectionError("down")
        return f"{answer} after all"

    @entrypoint
    def flow(given: str) -> str:
        return pay().result()

    flow.invoke("x", thread_id="t")
    assert flow.invoke(Command(resume="yes"), thread_id="t") == "yes after all"
    assert tries[:2] == ["yes", "yes"]


def test_a_body_that_is_tried_again_asks_under_its_key_again(engine):
    tries: list[str] = []

    @entrypoint(retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    def flow(given: str) -> str:
        answer = interrupt("pay?", key="pay")
        tries.append(answer)
        if len(tries) == 1:
            raise ConnectionError("down")
        return answer

    flow.invoke("x", thread_id="t")
    assert flow.invoke(Command(resume="yes"), thread_id="t") == "yes"
