"""Faults of LangGraph in runs and questions that do not happen in milepost: here the lines differ."""

import threading

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.types import Command, RetryPolicy, interrupt
from transcript import asked, error_of, refusal_of, section, show, thread


@task
def double(number):
    return 2 * number


@task
def fail(text):
    raise ValueError(text)


@section
def w01_a_limit_of_one():
    """One worker is enough for one task at a time."""
    results = []

    @entrypoint()
    def workflow(number):
        return double(number).result()

    def call():
        results.append(workflow.invoke(1, {"max_concurrency": 1}))

    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(5)
    show("result", results or "hangs")


@section
def w02_a_late_answer():
    """An answer to a finished run answers no question of the next one."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(name):
        return [name, interrupt(f"approve {name}?")]

    config = thread()
    workflow.invoke("first", config)
    show("answered", workflow.invoke(Command(resume="yes"), config))
    show("late answer", refusal_of(workflow.invoke, Command(resume="yes, again"), config))
    show("next run", workflow.invoke("second", config))


@section
def w03_none_is_no_answer():
    """``None`` goes on; it does not answer with what was answered before."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return [interrupt("delete the draft?"), interrupt("delete the original?")]

    config = thread()
    workflow.invoke("go", config)
    show("second question", workflow.invoke(Command(resume="yes"), config))
    show("none", workflow.invoke(None, config))


@section
def w04_parallel_questions():
    """Tasks side by side all ask; one map answers them all."""

    @task
    def ask(number):
        return interrupt(f"question {number}")

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return [future.result() for future in [ask(number) for number in range(3)]]

    config = thread()
    questions = asked(workflow.invoke("go", config))
    show("shown", len(questions))
    answers = {question.id: f"answer {number}" for number, question in enumerate(questions)}
    show("all answered", type(workflow.invoke(Command(resume=answers), config)).__name__)


@section
def w05_two_answers_at_once():
    """Of two callers who answer the same question, one goes on."""
    paid, entered, gone, found = [], threading.Event(), threading.Event(), []

    @task
    def pay(amount):
        paid.append(amount)
        if len(paid) == 1:
            entered.set()
            gone.wait(30)
        return amount

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return pay(interrupt("how much?")).result()

    config = thread()
    workflow.invoke("go", config)
    first = threading.Thread(target=lambda: found.append(workflow.invoke(Command(resume=1), config)))
    first.start()
    entered.wait(30)
    show("second answer", refusal_of(workflow.invoke, Command(resume=2), config))
    gone.set()
    first.join()
    show("first answer", found)
    show("paid", paid)


@section
def w09_old_values():
    """A pause shows the question alone, not the result of the run before."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(number):
        return {"number": number} if number == 1 else {"answer": interrupt("?")}

    config = thread()
    workflow.invoke(1, config)
    show("pause", workflow.invoke(2, config))
    show("values", list(workflow.stream(Command(resume="yes"), config, stream_mode="values")))


@section
def w10_a_retried_body():
    """A body that is tried again does not do its finished tasks again."""
    ran, failed = [], []

    @task
    def charge():
        ran.append("charged")
        return "receipt"

    @entrypoint(checkpointer=InMemorySaver(), retry_policy=RetryPolicy(initial_interval=0.001, jitter=False))
    def workflow(_):
        receipt = charge().result()
        if len(failed) < 2:
            failed.append(1)
            raise ConnectionError("not yet")
        return receipt

    show("result", workflow.invoke("go", thread()), ran)


@section
def w11_questions_nobody_waits_for():
    """A task that nobody waits for asks, too, and fails, too."""

    @task
    def ask():
        return interrupt("sure?")

    @entrypoint(checkpointer=InMemorySaver())
    def asks(number, *, previous=None):
        ask()
        return [number, previous]

    config = thread()
    show("asks", asks.invoke(1, config))
    show("is over", asks.get_state(config).next)

    @entrypoint(checkpointer=InMemorySaver())
    def fails(_):
        fail("unheard")
        return "done"

    show("fails", error_of(fails.invoke, "go", thread()))


@section
def w12_other_code():
    """A call that is not the one on record is found; it does not get the other call's result."""
    number = [1]

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        return [double(number[0]).result(), interrupt("?")]

    config = thread()
    workflow.invoke("go", config)
    number[0] = 100
    show("resumed", refusal_of(workflow.invoke, Command(resume="yes"), config))


@section
def w12_a_caught_failure():
    """A failure that the body caught stays one when the body runs again."""
    calls = []

    @task
    def flaky():
        calls.append(1)
        if len(calls) == 1:
            raise ConnectionError("the first time")
        return "worked"

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        outcome = error_of(flaky().result)
        return [interrupt(f"{outcome}; go on?"), outcome]

    config = thread()
    show("asked", workflow.invoke("go", config))
    show("resumed", workflow.invoke(Command(resume="yes"), config))


@section
def w12_another_workflow():
    """A thread belongs to its workflow; another one cannot take its pending run away."""
    saver = InMemorySaver()

    @entrypoint(checkpointer=saver)
    def mine(_):
        return interrupt("mine?")

    @entrypoint(checkpointer=saver)
    def other(given, *, previous=None):
        return given

    config = thread()
    mine.invoke("go", config)
    show("other", refusal_of(other.invoke, "take over", config))
    show("mine", refusal_of(mine.invoke, Command(resume="yes"), config))


@section
def w13_a_swallowed_question():
    """``except Exception`` around a question does not lose it."""

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(_):
        try:
            return interrupt("sure?")
        except Exception:
            return "swallowed"

    show("result", workflow.invoke("go", thread()))
