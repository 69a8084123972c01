"""Short-term memory: what one run of a thread leaves for the next."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import Command, entrypoint, interrupt, task
from milepost.errors import NotSerializable


@entrypoint
def total(number: int, *, previous: int | None = None) -> int:
    if number < 0:
        raise ValueError("negative")
    return number + (previous or 0)


def test_previous_is_the_last_return_value_of_the_thread(engine):
    assert [total.invoke(number, thread_id="t") for number in (1, 2, 3)] == [1, 3, 6]
    assert total.invoke(5, thread_id="another") == 5


def test_previous_is_none_on_the_first_run_and_without_a_checkpointer(plain_engine):
    @entrypoint
    def body(given, *, previous: Any) -> Any:
        return [given, previous]

    assert body.invoke(1) == [1, None]
    assert body.invoke(2) == [2, None]


def test_previous_comes_back_in_value_and_type_and_as_a_copy(engine):
    @entrypoint
    def body(given: int, *, previous: Any = None) -> Any:
        before = previous
        if previous is not None:
            before = (type(previous).__name__, sorted(previous[0]))
            previous[0].add(99)
        return ({given}, before)

    body.invoke(1, thread_id="t")
    assert body.invoke(2, thread_id="t") == ({2}, ("tuple", [1]))
    assert body.invoke(3, thread_id="t") == ({3}, ("tuple", [2]))


def test_a_failed_run_leaves_previous_as_it_was(engine):
    total.invoke(5, thread_id="t")
    with pytest.raises(ValueError, match="negative"):
        total.invoke(-1, thread_id="t")
    assert total.get_state(thread_id="t").values == 5
    assert total.invoke(2, thread_id="t") == 7


def test_an_abandoned_run_leaves_previous_as_it_was(engine):
    @entrypoint
    def body(given: int, *, previous: int | None = None) -> int:
        if given == 0:
            interrupt("?")
        return given + (previous or 0)

    body.invoke(5, thread_id="t")
    for _ in range(3):
        body.invoke(0, thread_id="t")
    assert body.invoke(2, thread_id="t") == 7
    assert body.invoke(1, thread_id="t") == 8


def test_previous_is_the_same_each_time_the_body_runs_again(engine):
    seen = []

    @entrypoint
    def body(given: int, *, previous: list[int] | None = None) -> list[int]:
        seen.append(list(previous or []))
        items = previous or []
        items.append(given)
        interrupt("?")
        return items

    for given in (1, 2):
        body.invoke(given, thread_id="t")
        body.invoke(Command(resume=None), thread_id="t")
    body.invoke(3, thread_id="t")
    assert body.invoke(Command(resume=None), thread_id="t") == [1, 2, 3]
    assert seen == [[], [], [1], [1], [1, 2], [1, 2]]


def test_body_and_tasks_each_get_a_previous_of_their_own(engine):
    @task
    def look(previous: Any) -> Any:
        return previous

    @entrypoint
    def body(given: int, *, previous: list[int] | None = None) -> list[int]:
        if previous is not None:
            previous.append(99)
        return [*(look().result() or []), given]

    body.invoke(1, thread_id="t")
    assert body.invoke(2, thread_id="t") == [1, 2]


def test_a_failing_run_that_is_retried_sees_the_same_previous(engine):
    failures = iter([ValueError("once")])

    @entrypoint
    def body(given: int, *, previous: int | None = None) -> int:
        if given == 2:
            for error in failures:
                raise error
        return given + (previous or 0)

    body.invoke(1, thread_id="t")
    with pytest.raises(ValueError, match="once"):
        body.invoke(2, thread_id="t")
    assert body.invoke(None, thread_id="t") == 3
    assert body.invoke(10, thread_id="t") == 13


# -- final ---------------------------------------------------------------------------------------------------------


def test_final_gives_one_value_and_saves_another(engine):
    @entrypoint
    def body(number: int, *, previous: Any = None) -> entrypoint.final[int | None, int]:
        return entrypoint.final(value=previous, save=2 * number)

    assert [body.invoke(number, thread_id="t") for number in (3, 1, 0)] == [None, 6, 2]
    state = body.get_state(thread_id="t")
    assert state.values == 2


@pytest.mark.parametrize(("value", "save"), [(None, 1), (1, None), (None, None)])
def test_final_keeps_none_as_none(engine, value, save):
    @entrypoint
    def body(given: bool, *, previous: Any = "no previous") -> Any:
        return entrypoint.final(value=value, save=save) if given else [previous]

    assert body.invoke(True, thread_id="t") == value
    # A saved None is as good as nothing saved: the default holds.
    assert body.invoke(False, thread_id="t") == ["no previous" if save is None else save]


def test_final_works_without_a_checkpointer(plain_engine):
    @entrypoint
    def body(given) -> entrypoint.final[int, object]:
        return entrypoint.final(value=given, save=object())

    assert body.invoke(1) == 1


def test_final_after_a_pause_and_on_a_finished_thread(engine):
    @entrypoint
    def body(given, *, previous: Any = None) -> entrypoint.final[Any, Any]:
        return entrypoint.final(value=[interrupt("?"), previous], save={"saved": given})

    body.invoke(1, thread_id="t")
    assert body.invoke(Command(resume="a"), thread_id="t") == ["a", None]
    assert body.invoke(None, thread_id="t") == ["a", None]
    body.invoke(2, thread_id="t")
    assert body.invoke(Command(resume="b"), thread_id="t") == ["b", {"saved": 1}]


def test_final_of_a_nested_workflow_gives_its_value(engine):
    @entrypoint
    def inner(given: int) -> entrypoint.final[int, str]:
        return entrypoint.final(value=given * 2, save="saved")

    @entrypoint
    def outer(given: int) -> int:
        return inner.invoke(given) + 1

    assert outer.invoke(4, thread_id="t") == 9


def test_a_saved_value_that_cannot_be_kept_is_refused_and_named(engine):
    @entrypoint
    def body(given) -> entrypoint.final[int, Any]:
        return entrypoint.final(value=1, save={"a": object()})

    with pytest.raises(NotSerializable, match=r"saves.*\$\.a"):
        body.invoke(1, thread_id="t")
    assert body.get_state(thread_id="t").status == "failed"
