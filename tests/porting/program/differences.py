"""What milepost does otherwise on purpose, where LangGraph does no harm: here, too, the lines differ."""

import contextvars
import threading
from dataclasses import dataclass

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.store.memory import InMemoryStore
from transcript import error_of, refusal_of, section, show, thread

USER = contextvars.ContextVar("USER", default="nobody")


@task
def double(number):
    return 2 * number


@task
def fail(text):
    raise ValueError(text)


@section
def d_names():
    """A workflow bears the name of its function."""

    @entrypoint()
    def workflow(_):
        """Do it."""

    show("name", workflow.name)
    show("doc", workflow.__doc__ == "Do it.")


@section
def d_definitions():
    """What cannot work is refused where it is written."""

    @task()
    def rows(number):
        return [number]

    def generates(number):
        yield number

    def takes_two(number, other):
        return number

    show("a task that generates", refusal_of(lambda: task(generates) and "taken"))
    show("a second input", refusal_of(lambda: entrypoint()(takes_two) and "taken"))


@section
def d_default_of_previous():
    """On the first run, ``previous`` has its default."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number: int, *, previous: int = 100):
        return number + (previous or 0)

    show("first run", workflow.invoke(1, thread()))


@section
def d_parameters():
    """What is filled in goes by what an annotation means, not by its letters."""

    @entrypoint(checkpointer=InMemorySaver(), store=InMemoryStore())
    def workflow(_, *, store: "InMemoryStore | None" = None):
        return store is not None

    show("a store that may be missing", workflow.invoke("go", thread()))


@section
def d_context_variables():
    """A task does not see the context variables of whoever called the workflow."""

    @task
    def look():
        return USER.get()

    @entrypoint()
    def workflow(_):
        return [USER.get(), look().result()]

    USER.set("ann")
    show("body and task", workflow.invoke("go"))


@section
def d_where_the_body_runs():
    """The body runs in the thread of whoever called ``invoke``."""

    @entrypoint()
    def workflow(_):
        return threading.current_thread() is threading.main_thread()

    show("in the caller's thread", workflow.invoke("go"))


@dataclass
class Plain:
    number: int


@section
def d_classes():
    """A class of one's own is kept where an annotation names it, or it is registered."""

    @task
    def undeclared():
        return Plain(1)

    @task
    def declared() -> Plain:
        return Plain(1)

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return [refusal_of(undeclared().result) == Plain(1), declared().result() == Plain(1)]

    show("as good as before", workflow.invoke("go", thread()))


@section
def d_copies():
    """A mutable result is the body's own: not the task's object."""
    made = []

    @task
    def rows() -> list:
        made.append([1])
        return made[-1]

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return rows().result() is made[-1]

    show("the same object", workflow.invoke("go", thread()))


@section
def d_unknown_threads():
    """A thread nobody has started has no values."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return 1

    show("values", workflow.get_state(thread()).values)


@section
def d_history():
    """A run is one entry in the history of its thread, from its input to its result."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        return double(number).result()

    config = thread()
    for number in (1, 2):
        workflow.invoke(number, config)
    for found in workflow.get_state_history(config):
        show(found.metadata["source"], found.values, found.next)


@section
def d_streamed_tasks():
    """The end of a task tells its result as it is, and its error as text."""

    @entrypoint()
    def workflow(number):
        fail("odd").exception()
        return double(number).result()

    for event in workflow.stream(1, stream_mode="tasks"):
        if "input" not in event:
            show(event["name"], event["result"], error_of(str, event["error"]))


@section
def d_namespaces():
    """The namespace of a nested workflow's events names that workflow, not the one around it."""

    @entrypoint()
    def inner(number):
        get_stream_writer()("inside")
        return number

    @entrypoint()
    def outer(number):
        return inner.invoke(number)

    for namespace, chunk in outer.stream(1, subgraphs=True, stream_mode="custom"):
        show("namespace", [part.split(":")[0] for part in namespace], chunk)


@section
def d_errors_of_mistakes():
    """Each mistake has a class of its own, and is of the built-in class, too, that fits it."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        return number

    def mistaken(function):
        try:
            return function()
        except Exception as error:
            return [type(error).__name__, isinstance(error, RuntimeError | ValueError | LookupError)]

    show("a task outside", mistaken(lambda: double(1)))
    show("no thread id", mistaken(lambda: workflow.invoke(1)))
    show("none on a fresh thread", mistaken(lambda: workflow.invoke(None, thread())))
