"""Policies as values: delays, what is retried, and which of several decides."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from milepost import RetryPolicy, default_retry_on
from milepost._policies import policies
from milepost.errors import OutcomeUnknown, TaskTimeout, WorkflowTimeout
from milepost.review import Decision, check

SECONDS = st.floats(0, 1e6, allow_nan=False)
POLICIES = st.builds(
    RetryPolicy, SECONDS, st.floats(0.01, 1e3), SECONDS, st.integers(1, 10_000), st.booleans()
)
UNKNOWN = OutcomeUnknown("?", name="n", call="0", began="b", idempotency_key="k")
LATE = {"name": "n", "kind": "run", "limit": 1.0, "elapsed": 2.0}


@settings(max_examples=500)
@given(POLICIES, st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_never_longer_than_the_longest_and_a_second(policy, attempt, chance):
    delay = policy.next_delay(attempt, lambda: chance)
    jitter = chance if policy.jitter else 0.0
    assert jitter <= delay <= policy.max_interval + jitter
    if attempt == 1:
        assert delay == min(policy.initial_interval, policy.max_interval) + jitter


@given(POLICIES, st.integers(1, 1000))
def test_delays_grow_where_the_factor_says_so(policy, attempt):
    first, second = (policy.next_delay(number, float) for number in (attempt, attempt + 1))
    assert (second >= first) if policy.backoff_factor >= 1 else (second <= first)


@given(st.integers(1, 20), st.lists(st.sampled_from([ValueError, KeyError]), max_size=40))
def test_no_more_attempts_are_made_than_each_policy_allows(most, errors):
    both = policies(
        "here",
        "task",
        retry_policy=[
            RetryPolicy(max_attempts=most, retry_on=ValueError),
            RetryPolicy(max_attempts=3, retry_on=(ValueError, KeyError)),
        ],
    )
    before: tuple[int, ...] = ()
    for error in errors:
        after = both.after(error(), before)
        if after is None:
            break
        before = (*before, after[0])
        assert after[0] == (0 if error is ValueError else 1)
    assert before.count(0) < most
    assert before.count(1) < 3


RETRIED = [
    Exception(),
    ConnectionError(),
    AssertionError(),
    AttributeError(),
    EOFError(),
    MemoryError(),
    TaskTimeout("late", **LATE),
    WorkflowTimeout("late", **LATE),
]
LASTING = [ValueError(), KeyError(), TimeoutError(), OSError(), NotImplementedError(), StopIteration()]


@pytest.mark.parametrize("error", [*RETRIED, *LASTING, UNKNOWN], ids=lambda error: type(error).__name__)
def test_the_default_is_langgraphs(error):
    assert RetryPolicy().retries(error) is (error in RETRIED)


@pytest.mark.parametrize(
    ("module", "name"), [("httpx", "HTTPStatusError"), ("requests", "HTTPError")], ids=["httpx", "requests"]
)
@pytest.mark.parametrize(("status", "retried"), [(500, True), (503, True), (404, False), (None, False)])
def test_answers_of_servers_are_retried_where_the_server_failed(monkeypatch, module, name, status, retried):
    class Answered(OSError):
        def __init__(self):
            self.response = SimpleNamespace(status_code=status)

    monkeypatch.setitem(__import__("sys").modules, module, SimpleNamespace(**{name: Answered}))
    assert default_retry_on(Answered()) is retried


def test_an_unknown_outcome_is_retried_only_where_its_very_class_is_named():
    assert RetryPolicy(retry_on=[OutcomeUnknown]).retries(UNKNOWN)
    for wider in (Exception, [Exception, ValueError], lambda error: True):
        assert not RetryPolicy(retry_on=wider).retries(UNKNOWN)


def test_what_decides_nothing_is_no_policy():
    assert policies("here", "task") is None


@pytest.mark.parametrize("answer", [Decision.rerun(), Decision.result(None), Decision.fail("no")])
def test_decisions_are_plain_dicts_that_pass(answer):
    assert type(answer) is dict
    check(answer)
