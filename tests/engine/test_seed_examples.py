"""The examples of LangGraph's Functional API page, adapted only in imports; placeholders are filled in."""

# ruff: noqa: PERF402, RET504 - the examples stand as they are published

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import pytest

from milepost import (
    BaseStore,
    Command,
    InMemoryStore,
    MemorySaver,
    RunnableConfig,
    StreamWriter,
    entrypoint,
    interrupt,
    task,
)
from milepost.errors import DivergenceError, NotSerializable, OutsideWorkflow

pytestmark = pytest.mark.usefixtures("engine")


class Clock:
    """Stands in for ``time``: each call tells a later time."""

    def __init__(self, *times):
        self._times = iter(times)

    def time(self):
        return next(self._times)


# -- Example -------------------------------------------------------------------------------------------------------


def test_example_shows_the_essay_and_the_question_then_the_approved_essay(capsys):
    written = []

    @task
    def write_essay(topic: str) -> str:
        """Write an essay about the given topic."""
        written.append(topic)  # A placeholder for a long-running task.
        return f"An essay about topic: {topic}"

    @entrypoint(checkpointer=MemorySaver())
    def workflow(topic: str) -> dict:
        """A simple workflow that writes an essay and asks for a review."""
        essay = write_essay("cat").result()
        is_approved = interrupt(
            {
                "essay": essay,
                "action": "Please approve/reject the essay",
            }
        )

        return {
            "essay": essay,
            "is_approved": is_approved,
        }

    thread_id = str(uuid.UUID(int=7))

    config = {"configurable": {"thread_id": thread_id}}

    for item in workflow.stream("cat", config):
        print(item)

    essay, question = capsys.readouterr().out.splitlines()
    assert essay == "{'write_essay': 'An essay about topic: cat'}"
    assert re.fullmatch(
        r"\{'__interrupt__': \(Interrupt\(value=\{'essay': 'An essay about topic: cat', "
        r"'action': 'Please approve/reject the essay'\}, id='[^']+'\),\)\}",
        question,
    )

    human_review = True

    for item in workflow.stream(Command(resume=human_review), config):
        print(item)

    assert capsys.readouterr().out.splitlines() == [
        "{'workflow': {'essay': 'An essay about topic: cat', 'is_approved': True}}"
    ]
    assert written == ["cat"]


# -- Entrypoint ----------------------------------------------------------------------------------------------------


def test_definition_makes_a_workflow_of_a_function(checkpointer):
    @entrypoint(checkpointer=checkpointer)
    def my_workflow(some_input: dict) -> int:
        return some_input["number"] + 1

    config = {"configurable": {"thread_id": "some_thread_id"}}
    assert my_workflow.invoke({"number": 41}, config) == 42


def test_requesting_injectable_parameters_gives_all_four(checkpointer):
    in_memory_store = InMemoryStore()
    seen = []

    @entrypoint(
        checkpointer=checkpointer,  # Specify the checkpointer
        store=in_memory_store,  # Specify the store
    )
    def my_workflow(
        some_input: dict,  # The input (e.g., passed via `invoke`)
        *,
        previous: Any = None,  # For short-term memory
        store: BaseStore,  # For long-term memory
        writer: StreamWriter,  # For streaming custom data
        config: RunnableConfig,  # For accessing the configuration passed to the entrypoint
    ) -> dict:
        store.put(("users",), "name", {"name": some_input["name"]})
        writer("hello")
        seen.append(config["configurable"]["thread_id"])
        return {"previous": previous}

    config = {"configurable": {"thread_id": "some_thread_id"}}
    assert my_workflow.invoke({"name": "Ada"}, config) == {"previous": None}
    chunks = list(my_workflow.stream({"name": "Bob"}, config, stream_mode=["custom", "values"]))
    assert chunks == [("custom", "hello"), ("values", {"previous": {"previous": None}})]
    assert in_memory_store.get(("users",), "name").value == {"name": "Bob"}
    assert seen == ["some_thread_id", "some_thread_id"]


def test_executing_with_invoke_and_with_stream(checkpointer):
    @entrypoint(checkpointer=checkpointer)
    def my_workflow(some_input: str) -> str:
        return some_input.upper()

    some_input = "text"
    config = {"configurable": {"thread_id": "some_thread_id"}}

    assert my_workflow.invoke(some_input, config) == "TEXT"

    chunks = []
    for chunk in my_workflow.stream(some_input, config):
        chunks.append(chunk)
    assert chunks == [{"my_workflow": "TEXT"}]


def _asking(checkpointer):
    @entrypoint(checkpointer=checkpointer)
    def my_workflow(some_input: str) -> str:
        return f"{some_input}: {interrupt('question')}"

    return my_workflow


def test_resuming_with_invoke(checkpointer):
    my_workflow = _asking(checkpointer)
    some_resume_value = "answer"
    config = {"configurable": {"thread_id": "some_thread_id"}}

    (question,) = my_workflow.invoke("text", config)["__interrupt__"]
    assert question.value == "question"
    assert my_workflow.invoke(Command(resume=some_resume_value), config) == "text: answer"


def test_resuming_with_stream(checkpointer):
    my_workflow = _asking(checkpointer)
    some_resume_value = "answer"
    config = {"configurable": {"thread_id": "some_thread_id"}}

    (asked,) = list(my_workflow.stream("text", config))
    assert asked["__interrupt__"][0].value == "question"

    chunks = []
    for chunk in my_workflow.stream(Command(resume=some_resume_value), config):
        chunks.append(chunk)
    assert chunks == [{"my_workflow": "text: answer"}]


def _failing_once(checkpointer, executed):
    outcomes = iter(["the underlying error"])

    @task
    def steady() -> int:
        executed.append("steady")
        return 40

    @task
    def shaky() -> int:
        executed.append("shaky")
        for message in outcomes:
            raise ValueError(message)
        return 2

    @entrypoint(checkpointer=checkpointer)
    def my_workflow(some_input: str) -> int:
        return steady().result() + shaky().result()

    return my_workflow


def test_resuming_after_an_error_with_invoke(checkpointer):
    executed = []
    my_workflow = _failing_once(checkpointer, executed)
    config = {"configurable": {"thread_id": "some_thread_id"}}

    with pytest.raises(ValueError, match="the underlying error"):
        my_workflow.invoke("text", config)
    assert my_workflow.invoke(None, config) == 42
    assert executed == ["steady", "shaky", "shaky"]


def test_resuming_after_an_error_with_stream(checkpointer):
    executed = []
    my_workflow = _failing_once(checkpointer, executed)
    config = {"configurable": {"thread_id": "some_thread_id"}}

    with pytest.raises(ValueError, match="the underlying error"):
        list(my_workflow.stream("text", config))

    chunks = []
    for chunk in my_workflow.stream(None, config):
        chunks.append(chunk)
    assert chunks == [{"shaky": 2}, {"my_workflow": 42}]
    assert executed == ["steady", "shaky", "shaky"]


# -- Short-term memory ---------------------------------------------------------------------------------------------


def test_short_term_memory_gives_the_previous_return_value(checkpointer):
    @entrypoint(checkpointer=checkpointer)
    def my_workflow(number: int, *, previous: Any = None) -> int:
        previous = previous or 0
        return number + previous

    config = {"configurable": {"thread_id": "some_thread_id"}}

    assert my_workflow.invoke(1, config) == 1  # (previous was None)
    assert my_workflow.invoke(2, config) == 3  # (previous was 1 from the previous invocation)


def test_entrypoint_final_saves_another_value_than_it_returns(checkpointer):
    @entrypoint(checkpointer=checkpointer)
    def my_workflow(number: int, *, previous: Any = None) -> entrypoint.final[int, int]:
        previous = previous or 0
        return entrypoint.final(value=previous, save=2 * number)

    config = {"configurable": {"thread_id": "1"}}

    assert my_workflow.invoke(3, config) == 0  # (previous was None)
    assert my_workflow.invoke(1, config) == 6  # (previous was 3 * 2 from the previous invocation)


# -- Task ----------------------------------------------------------------------------------------------------------


def test_task_definition_and_synchronous_invocation(checkpointer):
    @task()
    def slow_computation(input_value):
        return input_value * 2

    @entrypoint(checkpointer=checkpointer)
    def my_workflow(some_input: int) -> int:
        future = slow_computation(some_input)
        return future.result()  # Wait for the result synchronously

    assert my_workflow.invoke(21, {"configurable": {"thread_id": "some_thread_id"}}) == 42


def test_a_task_cannot_be_called_from_the_main_application_code():
    @task()
    def slow_computation(input_value):
        return input_value * 2

    with pytest.raises(OutsideWorkflow, match="slow_computation"):
        slow_computation(1)


def test_serialization_refuses_inputs_and_outputs_that_cannot_be_kept(checkpointer):
    config = {"configurable": {"thread_id": "some_thread_id"}}

    @task
    def opened() -> object:
        return object()

    @entrypoint(checkpointer=checkpointer)
    def my_workflow(some_input: Any) -> object:
        return {"task": lambda: opened().result(), "output": object}[some_input]()

    with pytest.raises(NotSerializable, match="input"):
        my_workflow.invoke(object(), config)
    with pytest.raises(NotSerializable, match="opened"):
        my_workflow.invoke("task", config)
    with pytest.raises(NotSerializable, match="return value"):
        my_workflow.invoke("output", config)


# -- Common pitfalls -----------------------------------------------------------------------------------------------


def test_handling_side_effects_in_the_body_runs_them_again_incorrect(checkpointer, tmp_path):
    output = tmp_path / "output.txt"

    @entrypoint(checkpointer=checkpointer)
    def my_workflow(inputs: dict) -> int:
        # This code will be executed a second time when resuming the workflow.
        # Which is likely not what you want.
        with output.open("a") as f:
            f.write("Side effect executed\n")
        value = interrupt("question")
        return value

    config = {"configurable": {"thread_id": "some_thread_id"}}
    my_workflow.invoke({}, config)
    assert my_workflow.invoke(Command(resume=5), config) == 5
    assert output.read_text() == "Side effect executed\n" * 2


def test_handling_side_effects_in_a_task_runs_them_once_correct(checkpointer, tmp_path):
    output = tmp_path / "output.txt"

    @task
    def write_to_file():
        with output.open("a") as f:
            f.write("Side effect executed\n")

    @entrypoint(checkpointer=checkpointer)
    def my_workflow(inputs: dict) -> int:
        # The side effect is now encapsulated in a task.
        write_to_file().result()
        value = interrupt("question")
        return value

    config = {"configurable": {"thread_id": "some_thread_id"}}
    my_workflow.invoke({}, config)
    assert my_workflow.invoke(Command(resume=5), config) == 5
    assert output.read_text() == "Side effect executed\n"


def test_non_deterministic_control_flow_in_the_body_is_found_incorrect(checkpointer):
    time = Clock(*[10.5] * 1, *[100.0] * 9)

    @task
    def slow_task(number: int) -> int:
        return number

    @entrypoint(checkpointer=checkpointer)
    def my_workflow(inputs: dict) -> dict:
        t0 = inputs["t0"]
        t1 = time.time()

        delta_t = t1 - t0

        if delta_t > 1:
            result = slow_task(1).result()
            value = interrupt("question")
        else:
            result = slow_task(2).result()
            value = interrupt("question")

        return {"result": result, "value": value}

    config = {"configurable": {"thread_id": "some_thread_id"}}
    with pytest.raises(DivergenceError, match="slow_task") as caught:
        my_workflow.invoke({"t0": 10.0}, config)
        my_workflow.invoke(Command(resume="yes"), config)
    assert (caught.value.recorded, caught.value.made) == ("slow_task(2)", "slow_task(1)")


def test_non_deterministic_control_flow_from_a_task_takes_the_same_branch_correct(checkpointer):
    time = Clock(10.5, 100.0)

    @task
    def get_time() -> float:
        return time.time()

    @task
    def slow_task(number: int) -> int:
        return number

    @entrypoint(checkpointer=checkpointer)
    def my_workflow(inputs: dict) -> dict:
        t0 = inputs["t0"]
        t1 = get_time().result()

        delta_t = t1 - t0

        if delta_t > 1:
            result = slow_task(1).result()
            value = interrupt("question")
        else:
            result = slow_task(2).result()
            value = interrupt("question")

        return {"result": result, "value": value}

    config = {"configurable": {"thread_id": "some_thread_id"}}
    my_workflow.invoke({"t0": 10.0}, config)
    assert my_workflow.invoke(Command(resume="yes"), config) == {"result": 2, "value": "yes"}


def test_a_random_number_from_a_task_stays_the_same_across_interrupts(checkpointer):
    numbers = iter([5, 7])

    @task
    def get_random_number() -> int:
        return next(numbers)

    @entrypoint(checkpointer=checkpointer)
    def my_workflow(inputs: dict) -> list:
        number = get_random_number().result()
        return [number, interrupt("first"), interrupt("second")]

    config = {"configurable": {"thread_id": "some_thread_id"}}
    my_workflow.invoke({}, config)
    my_workflow.invoke(Command(resume="a"), config)
    assert my_workflow.invoke(Command(resume="b"), config) == [5, "a", "b"]


# -- The tabs that await -----------------------------------------------------------------------------------------------


def test_async_definition_execution_and_stream(checkpointer):
    @task
    async def slow_computation(some_input: int) -> int:
        return some_input + 1

    @entrypoint(checkpointer=checkpointer)
    async def my_workflow(some_input: int) -> int:
        return await slow_computation(some_input)  # Await result asynchronously

    async def main():
        config = {"configurable": {"thread_id": "some_thread_id"}}
        assert await my_workflow.ainvoke(41, config) == 42  # Await result asynchronously
        async for chunk in my_workflow.astream(1, config):
            yield chunk

    async def collect():
        return [chunk async for chunk in main()]

    assert asyncio.run(collect()) == [{"slow_computation": 2}, {"my_workflow": 2}]


def test_async_resuming_after_an_interrupt_and_after_an_error(checkpointer):
    fails = [True]

    @task
    async def get_info() -> str:
        if fails.pop():
            fails.append(False)
            raise ValueError("Failure")
        return "OK"

    @entrypoint(checkpointer=checkpointer)
    async def my_workflow(some_input: str) -> list:
        return [interrupt(some_input), await get_info()]

    async def main():
        config = {"configurable": {"thread_id": "some_thread_id"}}
        some_resume_value = "yes"
        async for chunk in my_workflow.astream("sure?", config):
            assert chunk["__interrupt__"][0].value == "sure?"
        with pytest.raises(ValueError, match="Failure"):
            async for _chunk in my_workflow.astream(Command(resume=some_resume_value), config):
                pass
        fails[:] = [False]
        return await my_workflow.ainvoke(None, config)

    assert asyncio.run(main()) == ["yes", "OK"]
