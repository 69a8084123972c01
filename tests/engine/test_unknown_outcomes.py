"""Tasks whose process died while they ran: never guessed; and the keys that let other services recognise a call."""

from __future__ import annotations

import threading

import pytest

import milepost
from manual_clock import ManualClock
from milepost import (
    Command,
    Decision,
    RetryPolicy,
    entrypoint,
    get_idempotency_key,
    interrupt,
    task,
)
from milepost._context import required
from milepost.errors import InvalidAnswer, InvalidPolicy, OutcomeUnknown


def records(checkpointer, kind=None, thread="t"):
    found = [record for _, batch in checkpointer.read(thread) for record in batch.records]
    return [record for record in found if kind in (None, record.kind)]


class Effect:
    """Something that happens in the world, and may be cut off right after it happened."""

    def __init__(self):
        self.happened = 0
        self.cut_off: list[BaseException] = []

    def happen(self, value="done"):
        self.happened += 1
        if self.cut_off:
            raise self.cut_off.pop(0)
        return value


@pytest.fixture
def two_workers(checkpointer):
    """An engine for tasks that wait for one another outside milepost."""
    made = milepost.Engine(checkpointer=checkpointer, workers=2)
    with made:
        yield made
    made.close()


@pytest.fixture
def effect():
    return Effect()


def paying(effect, **policies):
    """Return a workflow with one payment."""

    @task(**policies)
    def pay(amount: int) -> str:
        return effect.happen(f"paid {amount}")

    @entrypoint
    def body(given) -> str:
        return pay(given).result()

    return body


def asked(result):
    (question,) = result["__interrupt__"]
    return question


@pytest.mark.parametrize("on_unknown", ["fail", "review"])
def test_the_start_is_on_record_before_the_effect(engine, checkpointer, on_unknown):
    seen = []

    @task(on_unknown=on_unknown)
    def pay(amount: int) -> int:
        seen.append([record.kind for record in records(checkpointer)])
        return amount

    @entrypoint
    def body(given) -> int:
        return pay(given).result()

    assert body.invoke(3, thread_id="t") == 3
    assert seen == [["started", "begun"]]
    (begun,) = records(checkpointer, "begun")
    assert (begun.call, begun.name, begun.number, begun.shows) == ("0", "pay", 1, "3")
    assert [record.kind for record in records(checkpointer)][1:3] == ["begun", "outcome"]


def test_by_default_a_task_that_was_cut_off_runs_again(engine, checkpointer, effect):
    effect.cut_off = [KeyboardInterrupt()]
    body = paying(effect)
    with pytest.raises(KeyboardInterrupt):
        body.invoke(3, thread_id="t")
    assert body.invoke(None, thread_id="t") == "paid 3"
    assert effect.happened == 2
    assert not records(checkpointer, "begun")


def test_a_task_that_may_run_only_once_fails_when_nobody_knows_how_it_ended(engine, checkpointer, effect):
    effect.cut_off = [KeyboardInterrupt()]
    body = paying(effect, on_unknown="fail")
    with pytest.raises(KeyboardInterrupt):
        body.invoke(3, thread_id="t")
    with pytest.raises(OutcomeUnknown, match=r"'pay' began at .* was cut off") as caught:
        body.invoke(None, thread_id="t")
    assert (caught.value.name, caught.value.call) == ("pay", "0")
    assert caught.value.idempotency_key in str(caught.value)
    with pytest.raises(OutcomeUnknown):  # continuing by hand does not make it known
        body.invoke(None, thread_id="t")
    assert effect.happened == 1
    assert len(records(checkpointer, "outcome")) == 1


def test_the_body_may_deal_with_an_unknown_outcome_and_replay_takes_the_same_branch(engine, effect):
    effect.cut_off = [KeyboardInterrupt()]

    @task(on_unknown="fail")
    def pay() -> str:
        return effect.happen()

    @entrypoint
    def body(given) -> str:
        try:
            return pay().result()
        except OutcomeUnknown:
            return interrupt("look it up")

    with pytest.raises(KeyboardInterrupt):
        body.invoke(3, thread_id="t")
    assert asked(body.invoke(None, thread_id="t")).value == "look it up"
    assert body.invoke(Command(resume="it was paid"), thread_id="t") == "it was paid"
    assert effect.happened == 1


def test_a_failure_is_a_known_outcome_and_continuing_tries_it_again(engine, effect):
    effect.cut_off = [ValueError("declined")]
    body = paying(effect, on_unknown="fail")
    with pytest.raises(ValueError, match="declined"):
        body.invoke(3, thread_id="t")
    assert body.invoke(None, thread_id="t") == "paid 3"
    assert effect.happened == 2


def test_each_attempt_has_a_start_of_its_own(engine, checkpointer, effect):
    effect.cut_off = [ConnectionError(), KeyboardInterrupt()]
    body = paying(
        effect, on_unknown="fail", retry_policy=RetryPolicy(initial_interval=0, jitter=False, max_attempts=9)
    )
    # The second attempt runs in a worker, where Ctrl-C does not come: the process stops there all the same.
    with pytest.raises(KeyboardInterrupt):
        body.invoke(3, thread_id="t")
    with pytest.raises(OutcomeUnknown):
        body.invoke(None, thread_id="t")
    assert [record.kind for record in records(checkpointer)][:4] == ["started", "begun", "attempted", "begun"]
    assert effect.happened == 2


def test_a_retry_policy_that_names_the_unknown_outcome_runs_the_task_once_more(engine, effect):
    effect.cut_off = [KeyboardInterrupt()]
    body = paying(
        effect,
        on_unknown="fail",
        retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=[OutcomeUnknown]),
    )
    with pytest.raises(KeyboardInterrupt):
        body.invoke(3, thread_id="t")
    assert body.invoke(None, thread_id="t") == "paid 3"
    assert effect.happened == 2


@pytest.mark.parametrize("retry_on", [Exception, lambda error: True])
def test_a_retry_policy_for_anything_does_not(engine, effect, retry_on):
    effect.cut_off = [KeyboardInterrupt()]
    body = paying(
        effect,
        on_unknown="fail",
        retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=retry_on),
    )
    with pytest.raises(KeyboardInterrupt):
        body.invoke(3, thread_id="t")
    with pytest.raises(OutcomeUnknown):
        body.invoke(None, thread_id="t")
    assert effect.happened == 1


# -- a person decides ----------------------------------------------------------------------------------------------


def cut_off(effect, **policies):
    effect.cut_off = [KeyboardInterrupt()]
    body = paying(effect, on_unknown="review", **policies)
    with pytest.raises(KeyboardInterrupt):
        body.invoke(3, thread_id="t")
    return body


def test_a_person_is_asked_and_told_what_there_is_to_know(engine, effect):
    body = cut_off(effect)
    question = asked(body.invoke(None, thread_id="t"))
    assert question.value["task"] == "pay"
    assert question.value["arguments"] == "3"
    assert question.value["attempt"] == 1
    assert len(question.value["idempotency_key"]) == 32
    assert question.value["began"].startswith("20")
    assert asked(body.invoke(None, thread_id="t")) == question
    assert effect.happened == 1


def test_a_person_may_give_the_result(engine, effect):
    body = cut_off(effect)
    question = asked(body.invoke(None, thread_id="t"))
    answer = Command(resume={question.id: Decision.result("paid by hand")})
    assert body.invoke(answer, thread_id="t") == "paid by hand"
    assert body.invoke(None, thread_id="t") == "paid by hand"
    assert effect.happened == 1


def test_a_person_may_have_it_run_again_and_is_asked_anew_when_that_is_cut_off_too(
    engine, checkpointer, effect
):
    body = cut_off(effect)
    first = asked(body.invoke(None, thread_id="t"))
    effect.cut_off = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        body.invoke(Command(resume=Decision.rerun()), thread_id="t")
    second = asked(body.invoke(None, thread_id="t"))
    assert second.id != first.id
    assert second.value["attempt"] == 2
    assert second.value["idempotency_key"] == first.value["idempotency_key"]
    assert body.invoke(Command(resume=Decision.rerun()), thread_id="t") == "paid 3"
    assert effect.happened == 3
    assert records(checkpointer, "outcome")[0].attempts == 3


def test_a_person_may_say_that_it_failed(engine, effect):
    body = cut_off(effect)
    body.invoke(None, thread_id="t")
    with pytest.raises(OutcomeUnknown, match="the bank says no"):
        body.invoke(Command(resume=Decision.fail("the bank says no")), thread_id="t")
    assert effect.happened == 1


@pytest.mark.parametrize(
    "answer",
    [
        "rerun",
        None,
        {},
        {"action": "again"},
        {"action": "result"},
        {"action": "rerun", "value": 1},
        {"action": "fail", "error": 3},
        {"action": ["rerun"]},
    ],
)
def test_an_answer_that_is_no_decision_leaves_the_question_pending(engine, effect, answer):
    body = cut_off(effect)
    question = asked(body.invoke(None, thread_id="t"))
    with pytest.raises(InvalidAnswer, match="Decision"):
        body.invoke(Command(resume={question.id: answer}), thread_id="t")
    assert body.get_state(thread_id="t").interrupts == (question,)
    assert body.invoke(Command(resume=Decision.result("fine")), thread_id="t") == "fine"


def test_several_unknown_outcomes_are_all_asked_about(two_workers, effect):
    both = threading.Barrier(2)
    cut = [True]

    @task(on_unknown="review")
    def pay(amount: int) -> int:
        effect.happened += 1
        if cut:
            both.wait(30)
            raise SystemExit(3)
        return amount

    @entrypoint
    def body(given) -> list[int]:
        futures = [pay(1), pay(2)]
        return [future.result() for future in futures]

    with pytest.raises(SystemExit):
        body.invoke(1, thread_id="t")
    cut.clear()
    questions = body.invoke(None, thread_id="t")["__interrupt__"]
    assert [question.value["arguments"] for question in questions] == ["1", "2"]
    answers = {question.id: Decision.result(10 + number) for number, question in enumerate(questions)}
    assert body.invoke(Command(resume=answers), thread_id="t") == [10, 11]


def test_a_task_that_asks_in_the_middle_has_stopped_where_it_knows(engine, effect):
    @task(on_unknown="fail")
    def careful() -> str:
        answer = interrupt("sure?")
        return effect.happen(answer)

    @entrypoint
    def body(given) -> str:
        return careful().result()

    assert asked(body.invoke(1, thread_id="t")).value == "sure?"
    assert body.invoke(Command(resume="yes"), thread_id="t") == "yes"
    assert effect.happened == 1


def test_children_do_not_make_their_parent_unknown(engine, effect):
    @task
    def child(x: int) -> int:
        return x

    @task(on_unknown="fail")
    def parent() -> int:
        return child(1).result() + child(2).result()

    @entrypoint
    def body(given) -> int:
        return parent().result()

    assert body.invoke(1, thread_id="t") == 3


@pytest.mark.parametrize("on_unknown", ["fail", "review"])
def test_a_task_that_may_run_only_once_and_whose_time_is_up_is_unknown_too(checkpointer, on_unknown):
    clock, begun, end = ManualClock(), threading.Event(), threading.Event()
    engine = milepost.Engine(checkpointer=checkpointer, workers=1, clock=clock)

    @task(on_unknown=on_unknown, timeout=5, retry_policy=RetryPolicy(initial_interval=0, jitter=False))
    def pay() -> str:
        begun.set()
        end.wait(60)
        return "late"

    @entrypoint
    def body(given) -> str:
        future = pay()
        assert begun.wait(30)
        clock.advance(6)
        return future.result()

    try:
        with engine:
            if on_unknown == "fail":
                with pytest.raises(OutcomeUnknown, match="time limit"):
                    body.invoke(1, thread_id="t")
                with pytest.raises(OutcomeUnknown, match="time limit"):
                    body.invoke(None, thread_id="t")
            else:
                assert asked(body.invoke(1, thread_id="t")).value["task"] == "pay"
                answer = Command(resume=Decision.result("looked up"))
                assert body.invoke(answer, thread_id="t") == "looked up"
    finally:
        end.set()
        engine.close()
    assert len(records(checkpointer, "begun")) == 1


@pytest.mark.parametrize("given", ["retry", None, 3])
def test_what_is_no_way_to_deal_with_it_is_refused_at_the_decorator(given):
    with pytest.raises(InvalidPolicy, match="on_unknown"):
        task(on_unknown=given)


# -- idempotency keys ----------------------------------------------------------------------------------------------


def test_a_key_is_the_same_for_all_attempts_and_another_for_every_other_call(engine):
    keys = []

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=ValueError))
    def step(x: int) -> str:
        keys.append(get_idempotency_key())
        if required("test").attempt < 3:
            raise ValueError
        return get_idempotency_key()

    @entrypoint
    def body(given) -> list[str]:
        return [step(1).result(), step(1).result(), step(2).result()]

    first = body.invoke(1, thread_id="t")
    assert len(set(first)) == 3
    assert set(keys) == set(first)
    assert len(keys) == 9
    second = body.invoke(1, thread_id="t")
    other = body.invoke(1, thread_id="u")
    assert len({*first, *second, *other}) == 9


def test_a_key_is_the_same_after_a_crash_and_after_an_answer(engine):
    keys, cut = [], [KeyboardInterrupt()]

    @task
    def step() -> str:
        keys.append(get_idempotency_key())
        if cut:
            raise cut.pop()
        return interrupt("?")

    @entrypoint
    def body(given) -> str:
        return step().result()

    with pytest.raises(KeyboardInterrupt):
        body.invoke(1, thread_id="t")
    body.invoke(None, thread_id="t")
    assert body.invoke(Command(resume="yes"), thread_id="t") == "yes"
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_a_place_that_begins_anew_has_new_keys():
    keys = []

    @task
    def step() -> None:
        keys.append(get_idempotency_key())

    @entrypoint
    def body(given) -> None:
        step().result()

    for _ in range(2):
        engine = milepost.Engine(checkpointer="memory://")
        with engine:
            body.invoke(1, thread_id="t")
        engine.close()
    assert len(set(keys)) == 2


def test_another_call_in_the_place_of_one_that_is_gone_has_another_key(engine):
    keys, failures = [], [ValueError()]

    @task
    def step(x: str) -> str:
        keys.append((x, get_idempotency_key()))
        if x == "a" and failures:
            raise failures.pop()
        return x

    @entrypoint
    def body(given) -> list[str]:
        try:
            first = step("a").result()
        except ValueError:
            step("clean up").result()
            raise
        return [first, step("b").result()]

    with pytest.raises(ValueError):
        body.invoke(1, thread_id="t")
    assert body.invoke(None, thread_id="t") == ["a", "b"]
    found = dict(keys)
    assert len(set(found.values())) == 3
    assert [key for name, key in keys if name == "a"] == [found["a"]] * 2


def test_without_a_checkpointer_a_key_is_random_and_the_same_for_all_attempts(plain_engine):
    keys = []

    @task(retry_policy=RetryPolicy(initial_interval=0, jitter=False, retry_on=ValueError))
    def step() -> str:
        keys.append(get_idempotency_key())
        if len(keys) < 3:
            raise ValueError
        return keys[-1]

    @entrypoint
    def body(given) -> str:
        return step().result()

    first, second = body.invoke(1), body.invoke(1)
    assert keys == [first] * 3 + [second]
    assert first != second
