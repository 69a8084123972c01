"""Asking and answering; failing and going on."""

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.types import Command, interrupt
from transcript import asked, error_of, refusal_of, section, show, thread


@task
def fail(text):
    raise ValueError(text)


@task
def double(number):
    return 2 * number


@section
def one_question():
    """A question, and the work before it that is not done again."""
    ran = []

    @task
    def write(topic):
        ran.append(topic)
        return f"essay on {topic}"

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(topic):
        essay = write(topic).result()
        return {"essay": essay, "approved": interrupt({"essay": essay, "action": "approve?"})}

    config = thread()
    for chunk in workflow.stream("cats", config):
        show("chunk", chunk)
    show("next", workflow.get_state(config).next)
    show("pending", workflow.get_state(config).interrupts)
    for chunk in workflow.stream(Command(resume=True), config):
        show("chunk", chunk)
    show("next", workflow.get_state(config).next)
    show("ran", ran)


@section
def several_questions():
    """Questions one after the other, in a loop, and in tasks; every kind of answer."""

    @task
    def ask(text):
        return interrupt(text)

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(name):
        first = interrupt(f"first of {name}?")
        second = ask("second?").result()
        while not isinstance(number := interrupt("a number?"), int):
            pass
        return [first, second, number]

    config = thread()
    for given in (
        "ann",
        Command(resume={"any": "dict"}),
        Command(resume=""),
        Command(resume="no"),
        Command(resume=7),
    ):
        show("result", workflow.invoke(given, config))

    @entrypoint(checkpointer=InMemorySaver())
    def one(_):
        return [interrupt("?")]

    for answer in (False, 0, "", []):
        config = thread()
        one.invoke("go", config)
        show("answer", one.invoke(Command(resume=answer), config))


@section
def answers_by_id():
    """An answer that names its question."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return [interrupt("one?"), interrupt("two?")]

    config = thread()
    (question,) = asked(workflow.invoke("go", config))
    show("question", question)
    (question,) = asked(workflow.invoke(Command(resume={question.id: "by id"}), config))
    show("question", question)
    show("result", workflow.invoke(Command(resume={question.id: None}), config))


@section
def abandoning():
    """A new input gives the question up that the run before asks; what was saved before it stays."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number, *, previous=None):
        return [previous, number if number < 2 else interrupt("more?")]

    config = thread()
    show("saved", workflow.invoke(1, config))
    show("asking", len(asked(workflow.invoke(2, config))))
    show("given up", workflow.invoke(0, config))
    show("asks nothing", workflow.get_state(config).interrupts)


@section
def typed_questions():
    """An answer that must fit a type; one that does not is refused, and the question stays."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return 2 * interrupt("how many?", response_schema=int)

    config = thread()
    (question,) = asked(workflow.invoke("go", config))
    show("question", question)
    show("a text", refusal_of(workflow.invoke, Command(resume="many"), config))
    show("still pending", [pending.value for pending in workflow.get_state(config).interrupts])
    show("a number", workflow.invoke(Command(resume=4), config))


@section
def errors():
    """An error ends the run; ``None`` goes on with what has not been done."""
    ran, broken = [], [True]

    @task
    def work(name):
        ran.append(name)
        return name

    @task
    def flaky():
        ran.append("flaky")
        if broken:
            broken.clear()
            raise ConnectionError("down")
        return "up"

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_, *, previous=None):
        return [work("before").result(), flaky().result(), work("after").result(), previous and previous[:1]]

    config = thread()
    show("error", error_of(workflow.invoke, "go", config))
    show("next", workflow.get_state(config).next)
    show("again", workflow.invoke(None, config))
    show("ran", ran)
    show("finished", workflow.invoke(None, config))

    broken.append(True)
    show("error", error_of(workflow.invoke, "go", config))
    show("a new input", workflow.invoke("new", config))
    show("none on a fresh thread", refusal_of(workflow.invoke, None, thread()))

    @entrypoint()
    def catches(_):
        return [error_of(fail("caught").result), double(1).result()]

    show("caught in the body", catches.invoke("go"))
