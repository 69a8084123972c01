"""What a resume brings: which question each answer is for, whether it is one, and the context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milepost import _ids, review
from milepost._asking import answer_text
from milepost._fold import CLOSED
from milepost.checkpoint import Status
from milepost.errors import (
    AlreadyAnswered,
    AmbiguousAnswer,
    ContextChanged,
    InterruptExpired,
    InvalidAnswer,
    NothingToResume,
    UnknownInterrupt,
)
from milepost.schema import Unfit

if TYPE_CHECKING:
    from milepost._fold import RunState
    from milepost.checkpoint import Question, Value
    from milepost.question import Command


class Resume:
    """Answer what is asked. A plain answer is bound to one question at the first decision, and to no other later.

    ``run`` is the run whose questions are meant, where the caller says so, and ``answered`` whether it was answered.
    ``actor`` is who answers.
    """

    __slots__ = ("actor", "answered", "bound", "command", "context", "run", "workflow")

    def __init__(
        self,
        *,
        workflow: str,
        command: Command,
        context: Value | None = None,
        run: str | None = None,
        answered: bool = False,
        actor: str | None = None,
    ) -> None:
        self.workflow = workflow
        self.command = command
        self.context = context
        self.run = run
        self.answered = answered
        self.actor = actor
        self.bound: str | None = None


def answers(thread: str, run: RunState, request: Resume, late: tuple[str, ...]) -> dict[str, Value]:
    """Return the answers to record, by question; ``late`` names questions that have expired.

    Raises:
        NothingToResume, AlreadyAnswered, UnknownInterrupt, AmbiguousAnswer, InvalidAnswer, InterruptExpired: as they
        say.
    """
    if request.run is not None and request.run != run.id:
        raise _superseded(thread, request)
    given = request.command.by_id
    if given is None:
        given = {_addressee(thread, run, request, late): request.command.resume}
    for id_ in given:
        if id_ not in run.expired:
            _check_pending(thread, run, id_)
        if id_ in late or id_ in run.expired:
            raise InterruptExpired(
                f"{id_} of thread {thread!r} could be answered until {run.questions[id_].expires}: go on with "
                f"invoke(None)",
                thread_id=thread,
                id=id_,
            )
    return {id_: _answer(thread, run.questions[id_], answer) for id_, answer in given.items()}


def check_unanswered(thread: str, run: RunState, request: Resume) -> None:
    """Check that no question that is answered by its id was answered before: that is told also while the run goes on.

    Raises:
        AlreadyAnswered: one was.
    """
    for id_ in request.command.by_id or ():
        if id_ in run.answers:
            _check_pending(thread, run, id_)


def _answer(thread: str, question: Question, answer: object) -> Value:
    described = None if question.schema is None else question.schema.raw
    try:
        if _ids.is_review(question.call):
            review.check(answer)
        return answer_text(answer, described, question.id, where=f"the answer to {question.id}")
    except Unfit as unfit:
        raise InvalidAnswer(
            f"the answer to {question.id} of thread {thread!r} is not what it asks for: {unfit}; nothing was changed, "
            f"so answer again",
            thread_id=thread,
            id=question.id,
            path=unfit.path,
            expected=unfit.expected,
        ) from unfit


def _addressee(thread: str, run: RunState, request: Resume, late: tuple[str, ...]) -> str:
    """Return the question that a plain answer is for."""
    if request.bound is None:
        pending = tuple(id_ for id_ in run.asks if id_ not in late) or run.asks
        if len(pending) > 1:
            raise AmbiguousAnswer(
                f"thread {thread!r} asks {len(pending)} questions: answer by id, Command(resume={{id: answer}}), "
                f"with the ids {', '.join(pending)}",
                thread_id=thread,
            )
        if not pending:
            raise _nothing_to_resume(thread, run)
        request.bound = pending[0]
    return request.bound


def _check_pending(thread: str, run: RunState, id_: str) -> None:
    if id_ in run.asks:
        return
    if id_ in run.answers:
        actor = run.actors.get(id_)
        who = "" if actor is None else f" by {actor}"
        raise AlreadyAnswered(
            f"{id_} of thread {thread!r} was answered before{who}", thread_id=thread, actor=actor
        )
    if not run.asks:
        raise _nothing_to_resume(thread, run)
    raise UnknownInterrupt(
        f"thread {thread!r} asks nothing under {id_}; pending: {', '.join(run.asks)}", thread_id=thread
    )


def _superseded(thread: str, request: Resume) -> NothingToResume:
    if request.answered:
        return AlreadyAnswered(
            f"run {request.run} of thread {thread!r} was answered before, and a later run followed it; to go back to "
            f"it, replay it with invoke(None, checkpoint_id=…)",
            thread_id=thread,
        )
    return NothingToResume(
        f"run {request.run} of thread {thread!r} is not its newest: it asks nothing any more",
        thread_id=thread,
    )


def _nothing_to_resume(thread: str, run: RunState) -> NothingToResume:
    remedy = {
        Status.FAILED: "it failed: continue it with invoke(None)",
        Status.CANCELLED: "the run was cancelled, its questions withdrawn: invoke(None) goes on and asks again",
        Status.RUNNING: "it was cut off: continue it with invoke(None)",
        Status.SLEEPING: "it sleeps until a time, and nobody can answer that",
    }.get(run.status, f"it is {run.status}: start a new run with an input")
    return NothingToResume(f"thread {thread!r} asks nothing; {remedy}", thread_id=thread)


def check_context(thread: str, run: RunState, context: Value | None) -> None:
    """Hold the context of a resume against the run's own, which it keeps; the same one may be given again.

    A run that was only recorded, and that nobody has begun, takes any.

    Raises:
        ContextChanged: it is another.
    """
    if context is None or run.planted or run.status in CLOSED:
        return
    if context != run.started.context:
        began = "without one" if run.started.context is None else f"with {run.started.context.text}"
        raise ContextChanged(
            f"the run of thread {thread!r} began {began} and is to go on with the context {context.text}: "
            f"leave context= out, or start a new run",
            thread_id=thread,
        )
