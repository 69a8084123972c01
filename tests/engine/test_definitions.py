"""What may be decorated, what it becomes, and what is refused when it is decorated."""

from __future__ import annotations

import functools
from typing import Any

import pytest

import milepost
from milepost import Command, Engine, MemorySaver, entrypoint, interrupt, task
from milepost.errors import InvalidDefinition


def run(body, given=None, **options):
    """Run a body once on a thread of its own."""
    return entrypoint(body, **options).invoke(given, thread_id="t")


# -- forms of the decorators ---------------------------------------------------------------------------------------


def test_entrypoint_works_bare_called_and_with_arguments(engine):
    @entrypoint
    def bare(number: int) -> int:
        return number + 1

    @entrypoint()
    def called(number: int) -> int:
        return number + 2

    @entrypoint(checkpointer=MemorySaver())
    def configured(number: int) -> int:
        return number + interrupt("how much?")

    assert bare.invoke(1, thread_id="a") == 2
    assert called.invoke(1, thread_id="b") == 3
    configured.invoke(1, thread_id="a")
    assert configured.invoke(Command(resume=3), thread_id="a") == 4


def test_task_works_bare_called_named_and_as_a_plain_function(engine):
    def add(number: int) -> int:
        return number + 1

    forms = [task(add), task()(add), task(name="more")(add), task(add, name="most")]

    @entrypoint
    def total(given: None) -> list[int]:
        return [form(index).result() for index, form in enumerate(forms)]

    assert [form.name for form in forms] == ["add", "add", "more", "most"]
    assert total.invoke(None or 0, thread_id="t") == [1, 2, 3, 4]


def test_a_workflow_and_a_task_keep_the_name_the_text_and_the_function():
    def body(given: int) -> int:
        """Tell what it does."""
        return given

    workflow, step = entrypoint(body), task(body)
    for made in (workflow, step):
        assert made.name == made.__name__ == "body"
        assert made.__doc__ == "Tell what it does."
        assert made.func is body
        assert made.func(3) == 3
    assert repr(workflow) == "<workflow body>"
    assert repr(step) == "<task body>"


def test_decorating_changes_nothing_on_the_function():
    def shared(given: int) -> int:
        return given

    before = dict(vars(shared)), shared.__name__, shared.__qualname__
    first, second = task(shared, name="first"), task(shared, name="second")
    entrypoint(shared)
    assert (first.name, second.name) == ("first", "second")
    assert (dict(vars(shared)), shared.__name__, shared.__qualname__) == before


def test_decorating_opens_nothing(tmp_path):
    @entrypoint(checkpointer=f"sqlite:///{tmp_path}/journal.db")
    def body(given: int) -> int:
        return given

    assert list(tmp_path.iterdir()) == []
    body.invoke(1, thread_id="t")
    assert list(tmp_path.iterdir())


# -- what may be a task --------------------------------------------------------------------------------------------


class Account:
    def __init__(self, balance: int) -> None:
        self.balance = balance

    @task
    def add(self, amount: int) -> int:
        """Return the balance after adding an amount."""
        return self.balance + amount

    @task(name="taken")
    def take(self, amount: int) -> int:
        return self.balance - amount

    def plain(self, amount: int) -> int:
        return self.balance * amount

    @staticmethod
    @task
    def free(amount: int) -> int:
        return amount


def test_a_method_in_a_class_body_is_a_task_of_its_instance(engine):
    account = Account(100)

    def body(amount: int) -> list[int]:
        return [
            account.add(amount).result(),
            account.take(amount=amount).result(),
            account.free(amount).result(),
        ]

    assert run(body, 5) == [105, 95, 5]
    assert account.add.name == "add"
    assert account.add.func is Account.add.func
    assert "add" in repr(account.add)


def test_two_instances_of_a_class_do_not_share_their_tasks(engine):
    small, large = Account(1), Account(1000)

    def body(amount: int) -> list[int]:
        futures = [small.add(amount), large.add(amount), Account.add(small, amount)]
        return [future.result() for future in futures]

    assert run(body, 5) == [6, 1005, 6]


def test_a_bound_method_is_a_task(engine):
    account = Account(7)
    step = task(account.plain)

    def body(amount: int) -> int:
        return step(amount).result()

    assert run(body, 6) == 42
    assert step.name == "plain"


def test_a_partial_is_a_task_named_after_its_function(engine):
    def power(base: int, exponent: int) -> int:
        return base**exponent

    cube = functools.partial(power, exponent=3)
    step = task(cube)

    def body(base: int) -> int:
        return step(base).result()

    assert run(body, 3) == 27
    assert step.name == "power"
    assert not hasattr(cube, "__name__")


class Doubler:
    def __call__(self, number: int) -> int:
        return number * 2


def test_a_callable_object_is_a_task_named_after_its_class(engine):
    doubler = Doubler()
    step = task(doubler)

    def body(number: int) -> int:
        return step(number).result()

    assert run(body, 21) == 42
    assert step.name == "Doubler"
    assert vars(doubler) == {}


def test_builtins_classes_and_lambdas_are_tasks(engine):
    length, text, twice = task(len), task(str), task(lambda number: number * 2, name="twice")

    def body(given: list) -> list:
        return [length(given).result(), text(5).result(), twice(4).result()]

    assert run(body, [1, 2, 3]) == [3, "5", 8]


def test_a_method_and_a_partial_can_be_a_workflow(engine):
    class Service:
        def __init__(self, greeting: str) -> None:
            self.greeting = greeting

        def greet(self, name: str) -> str:
            return f"{self.greeting} {name}"

    def joined(name: str, *, mark: str = "?") -> str:
        return name + mark

    method = entrypoint(Service("Hello").greet)
    partial = entrypoint(functools.partial(joined, mark="!"))
    assert method.invoke("Ada", thread_id="a") == "Hello Ada"
    assert partial.invoke("Ada", thread_id="b") == "Ada!"
    assert (method.name, partial.name) == ("greet", "joined")


# -- what is refused -----------------------------------------------------------------------------------------------


def generator(given):
    yield given


async def asynchronous_generator(given):
    yield given


class GeneratorObject:
    def __call__(self, given):
        yield given


REFUSED = [generator, asynchronous_generator]


@pytest.mark.parametrize("decorate", [entrypoint, task])
@pytest.mark.parametrize("function", REFUSED)
def test_generators_are_refused_by_name(decorate, function):
    for form in (function, functools.partial(function)):
        with pytest.raises(InvalidDefinition, match=rf"\b{function.__name__}\b"):
            decorate(form)


@pytest.mark.parametrize("decorate", [entrypoint, task])
def test_a_callable_object_that_generates_is_refused_by_its_class(decorate):
    with pytest.raises(InvalidDefinition, match="GeneratorObject"):
        decorate(GeneratorObject())


@pytest.mark.parametrize("decorate", [entrypoint, task])
def test_what_cannot_be_called_is_refused(decorate):
    with pytest.raises(InvalidDefinition, match="'text'"):
        decorate("text")


def no_parameter():
    return 1


def keyword_only(*, given):
    return given


def gathered(*given):
    return given


@pytest.mark.parametrize("function", [no_parameter, keyword_only, gathered])
def test_a_workflow_without_a_positional_input_is_refused_by_name(function):
    with pytest.raises(InvalidDefinition, match=rf"{function.__name__}.*one positional argument"):
        entrypoint(function)


def test_a_workflow_with_a_second_parameter_that_nothing_fills_is_refused():
    def two(given, another):
        return given, another

    with pytest.raises(InvalidDefinition, match=r"two.*'another'"):
        entrypoint(two)


def test_a_second_parameter_with_a_default_is_left_to_its_default(engine):
    def body(given, factor=3):
        return given * factor

    assert run(body, 4) == 12


def test_final_with_one_type_is_refused_and_names_the_function():
    def half(given) -> entrypoint.final[int]:  # type: ignore[type-arg]
        return entrypoint.final(value=given, save=given)

    with pytest.raises(InvalidDefinition, match=r"half.*final\[.*two types"):
        entrypoint(half)

    half.__annotations__["return"] = entrypoint.final[int]  # as without `from __future__ import annotations`
    with pytest.raises(InvalidDefinition, match=r"half.*two types"):
        entrypoint(half)


def test_final_without_types_and_with_two_is_accepted(engine):
    def bare(given) -> entrypoint.final:
        return entrypoint.final(value=given, save=given + 1)

    def full(given, *, previous: Any = None) -> entrypoint.final[int, dict]:
        return entrypoint.final(value=given, save={"saved": given, "before": previous})

    assert run(bare, 1) == 1
    workflow = entrypoint(full)
    workflow.invoke(1, thread_id="f")
    workflow.invoke(2, thread_id="f")
    assert milepost.entrypoint(full).invoke(3, thread_id="f") == 3


def test_final_takes_keywords_only():
    with pytest.raises(TypeError):
        entrypoint.final(1, 2)  # type: ignore[misc]


def test_an_engine_refuses_sizes_that_make_no_sense():
    with pytest.raises(ValueError, match="not 0"):
        Engine(workers=0)
    with pytest.raises(ValueError, match="lease"):
        Engine(lease=0)
