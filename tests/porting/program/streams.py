"""The modes of a stream."""

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.types import Command, StreamWriter, interrupt
from transcript import section, show, thread


@task
def double(number):
    return 2 * number


@task
def fail(text):
    raise ValueError(text)


def streamed():
    """Return a workflow that shows something in every mode."""

    @task
    def first(number, *, writer: StreamWriter):
        writer({"progress": number})
        return number + 1

    @task
    def second(number):
        return number * 2

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number: int):
        get_stream_writer()("from the body")
        return second(first(number).result()).result()

    return workflow


@section
def stream_modes():
    """The modes of a stream, alone and together."""
    workflow = streamed()
    for mode in ("updates", "values", "custom", ["updates", "custom", "values"]):
        show(f"mode {mode}", list(workflow.stream(1, thread(), stream_mode=mode)))
    show("by default", list(workflow.stream(1, thread())))
    show("invoke with a mode", workflow.invoke(1, thread(), stream_mode="updates"))


@section
def stream_questions():
    """A question in each mode, and what comes after the answer."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        done = double(number).result()
        return done + interrupt("more?")

    for mode in ("updates", ["updates"]):
        config = thread()
        show("question", list(workflow.stream(1, config, stream_mode=mode)))
        show("answer", list(workflow.stream(Command(resume=1), config, stream_mode=mode)))
    show("values", list(workflow.stream(1, thread(), stream_mode="values")))


@section
def stream_tasks():
    """Starts and ends of the body and its tasks."""
    for event in streamed().stream(1, thread(), stream_mode="tasks"):
        if "input" in event:
            show("start", event["name"], event["input"])
        else:
            show("end", event["name"], event["error"], event["interrupts"])


@section
def stream_failed_tasks():
    """The end of a task that failed, and of the body that did not catch it."""

    @entrypoint()
    def workflow(_):
        return fail("no").result()

    ends = {}
    try:
        for event in workflow.stream("go", stream_mode="tasks"):
            if "input" not in event:
                ends[event["name"]] = bool(event["error"])
    except ValueError as error:
        show("error", str(error))
    show("ends", ends)


@section
def stream_checkpoints():
    """What is said when the input, and then the result, is saved."""
    for event in streamed().stream(1, thread(), stream_mode="checkpoints"):
        show("saved", event["metadata"]["source"], list(event["next"]), event["values"])


@section
def stream_debug():
    """Both of them with their type and time."""
    for event in streamed().stream(1, thread(), stream_mode="debug"):
        show(event["type"], sorted(event), event["payload"].get("name"))


@section
def stream_nested():
    """What happens in nested workflows, with and without their namespaces."""

    @entrypoint()
    def inner(number):
        get_stream_writer()("inner")
        return double(number).result()

    @entrypoint(checkpointer=InMemorySaver())
    def outer(number):
        return inner.invoke(number) + 1

    show("without", list(outer.stream(1, thread())))
    for namespace, chunk in outer.stream(1, thread(), subgraphs=True):
        show("with", len(namespace), chunk)
    for namespace, mode, chunk in outer.stream(
        1, thread(), subgraphs=True, stream_mode=["updates", "custom"]
    ):
        show("modes", len(namespace), mode, chunk)
