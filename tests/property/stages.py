"""What runs generated programs: one interpreter, on milepost or on nothing at all."""

from __future__ import annotations

import concurrent.futures
import threading
from copy import deepcopy
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from zlib import crc32

from milepost import _context, as_completed, entrypoint, interrupt, task
from milepost.errors import TaskFailed, describe
from property.programs import FAILURES, VALUES, Call, Fail, Transient, Wrapped, is_transient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from milepost.checkpoint import Checkpointer
    from property.programs import Alter, Ask, Block, Branch, Do, Fan, Loop, Program, Race


def shape(value: Any) -> Any:
    """Return a text that is equal for two values only if they are equal in value and in type, all the way down."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return f"{kind}{[(shape(key), shape(item)) for key, item in value.items()]}"
    if isinstance(value, (set, frozenset)):
        return f"{kind}{sorted(map(shape, value))}"
    if isinstance(value, (list, tuple)):
        return f"{kind}{list(map(shape, value))}"
    if isinstance(value, BaseException):
        return f"{kind}{shape(value.args)}{shape(getattr(value, 'code', None))}"
    return f"{kind}:{value!r}"


def answer_to(question: tuple[str, str, Any]) -> Any:
    """Return the answer that a question gets, whoever asks and whenever."""
    return deepcopy(VALUES[crc32(question[1].encode()) % len(VALUES)])


class Code:
    """What a called task is to do, and on which stage; carried along as an argument that does not count."""

    __slots__ = ("block", "stage")

    def __init__(self, stage: Stage, block: Block | None) -> None:
        self.stage = stage
        self.block = block

    def run(self, label: str, *args: Any) -> Any:
        return self.stage.run(self.block, label, args)


@cache
def task_named(name: str) -> Any:
    return task(Code.run, name=name)


@cache
def workflow_named(name: str) -> Any:
    def nested(given: tuple[Any, ...]) -> Any:
        code, *rest = given
        value = code.run(*rest)
        return entrypoint.final(value=value, save="not kept") if len(rest) > 1 else value

    nested.__name__ = name
    return entrypoint(nested)


class World:
    """What is outside of a workflow: here transient failures happen once each, or are over."""

    def __init__(self, *, calm: bool = False) -> None:
        self.calm = calm
        self._failed: set[str] = set()
        self._lock = threading.Lock()

    def fails(self, label: str) -> bool:
        with self._lock:
            if self.calm or label in self._failed:
                return False
            self._failed.add(label)
            return True


class Play:
    """One execution of a block. It knows nothing of milepost: its stage does."""

    def __init__(self, stage: Stage | Paper, label: str, args: tuple[Any, ...]) -> None:
        self.stage = stage
        self.label = label
        self.args = args
        self.trace: list[Any] = [label]
        self.last: Any = None

    def run(self, block: Block) -> Any:
        self.steps(block, "")
        given = {"trace": self.trace, "last": self.last, "args": self.args, "value": block.value}
        return given[block.gives]

    def steps(self, block: Block, turn: str) -> None:
        for step in block.steps:
            getattr(self, f"_{type(step).__name__.lower()}")(step, turn)

    def _begin(self, call: Call, turn: str) -> Any:
        last = (self.last,) if call.passes_last else ()
        return self.stage.begin(call, self._at(call.site, turn), deepcopy((*call.args, *last)))

    def _at(self, site: str, turn: str) -> str:
        return f"{self.label}/{site}{turn}"

    def _keep(self, value: Any) -> None:
        self.last = value
        self.trace.append(value)

    def _take(self, call: Call, label: str, result: Callable[[], Any]) -> None:
        try:
            value = result()
        except Exception as error:
            if call.handle == "bare":
                raise
            if call.handle == "chained":
                raise Wrapped(label, is_transient(error)) from error
            self.trace.append(("caught", shape(error)))
            self.last = None
        else:
            self._keep(value)

    def _await(self, call: Call, turn: str, future: Any) -> None:
        if call.handle == "inspected" and (error := future.exception()) is not None:
            self.trace.append(("inspected", shape(error)))
            self.last = None
            return
        self._take(call, self._at(call.site, turn), future.result)

    def _do(self, step: Do, turn: str) -> None:
        call = step.call
        if call.kind == "task":
            self._await(call, turn, self._begin(call, turn))
        else:
            self._take(call, self._at(call.site, turn), lambda: self._begin(call, turn))

    def _fan(self, step: Fan, turn: str) -> None:
        futures = [self._begin(call, turn) for call in step.calls]
        self.steps(step.between, turn)
        if step.how == "completed":
            self._completed(step, turn, futures)
            return
        if step.how == "wait":
            self.stage.wait(futures)
        for place in step.order:
            self._await(step.calls[place], turn, futures[place])

    def _completed(self, step: Fan, turn: str, futures: list[Any]) -> None:
        found: dict[int, str] = {}
        for future in self.stage.as_completed([futures[place] for place in step.order]):
            place = next(number for number, known in enumerate(futures) if known is future)
            error = future.exception()
            found[place] = shape(future.result() if error is None else error)
            self._note(f"after-{place}", self._at(f"{step.site}.{place}", turn))
        self.trace.append(sorted(found.items()))
        self.last = found[0]

    def _note(self, name: str, label: str) -> None:
        self.stage.begin(Call(site="", name=name, code=NOTHING), label, ()).result()

    def _ask(self, step: Ask, turn: str) -> None:
        self._keep(self.stage.ask(("question", self._at(step.site, turn), deepcopy(step.value))))

    def _fail(self, step: Fail, turn: str) -> None:
        label = self._at(step.site, turn)
        if step.kind != "transient":
            raise FAILURES[step.kind](label)
        if self.stage.fails(label):
            raise Transient(label, True)

    def _branch(self, step: Branch, turn: str) -> None:
        self.steps(step.then if self.last else step.otherwise, turn)

    def _loop(self, step: Loop, turn: str) -> None:
        for number in range(step.times):
            self.steps(step.body, f"{turn}@{number}")

    def _race(self, step: Race, turn: str) -> None:
        label = self._at(step.site, turn)
        future = self.stage.begin(
            Call(site=step.site, name=f"race-{step.how}", code=NOTHING), label, (deepcopy(step.value),)
        )
        seen = self.stage.look(step, future)
        self._note("after-yes" if seen else "after-no", f"{label}.after")
        if step.how == "cancel":
            self.stage.wait([future])
            self.trace.append(("cancel() told the truth", self.stage.is_cancelled(future) is seen))
        else:
            self._keep(future.result())

    def _alter(self, _step: Alter, _turn: str) -> None:
        if type(self.last) is list:
            self.last.append("altered")
        elif type(self.last) is dict:
            self.last["altered"] = True
        elif type(self.last) is set:
            self.last.add("altered")


NOTHING: Any = None
"""The code of a leaf that gives back its arguments."""


class Executed(NamedTuple):
    """An execution of a body or a task. A leaf calls nothing and asks nothing."""

    run: str
    call: str
    label: str
    leaf: bool


class Stage:
    """Runs a program on milepost; keeps which calls were executed."""

    def __init__(self, program: Program, checkpointer: Checkpointer, world: World) -> None:
        self.program = program
        self.world = world
        self.executed: list[Executed] = []

        def program_workflow(given: dict[str, Any], *, previous: Any = None) -> Any:
            block = self.program.runs[given["run"]]
            play = self._enter(block, f"r{given['run']}", (given, previous))
            play.trace.append(previous)
            value = play.run(block)
            return entrypoint.final(value=value, save=("saved", value)) if self.program.saves else value

        self.workflow = entrypoint(checkpointer=checkpointer)(program_workflow)

    def _enter(self, block: Block | None, label: str, args: tuple[Any, ...]) -> Play:
        frame = _context.frame()
        leaf = block is None or all(isinstance(step, Fail) for step in block.steps)
        self.executed.append(Executed(frame.run_id, frame.path, label, leaf))
        return Play(self, label, args)

    def run(self, block: Block | None, label: str, args: tuple[Any, ...]) -> Any:
        play = self._enter(block, label, args)
        if block is not None:
            return play.run(block)
        threading.Event().wait(crc32(label.encode()) % 3 * 0.0004)
        return args

    def begin(self, call: Call, label: str, args: tuple[Any, ...]) -> Any:
        """Return a task's future, or a nested workflow's value."""
        code = Code(self, call.code)
        if call.kind == "workflow":
            return workflow_named(call.name).invoke((code, label, *args))
        return task_named(call.name)(code, label, *args)

    def ask(self, question: tuple[str, str, Any]) -> Any:
        return interrupt(question)

    def fails(self, label: str) -> bool:
        return self.world.fails(label)

    def wait(self, futures: list[Any]) -> None:
        concurrent.futures.wait(futures)

    def as_completed(self, futures: Iterable[Any]) -> Iterator[Any]:
        return as_completed(futures)

    def is_cancelled(self, future: Any) -> bool:
        return bool(future.cancelled())

    def look(self, step: Race, future: Any) -> bool:
        if step.how == "cancel":
            return bool(future.cancel())
        if step.how in ("timeout", "late"):
            try:
                future.result(timeout=0.0 if step.how == "timeout" else 0.0005)
            except TimeoutError:
                return True
            return False
        return any(getattr(future, step.how)() for _ in range(step.polls))


class Paper:
    """Works a program out without milepost: calls are carried out at once, and nothing fails for a time only."""

    def __init__(self) -> None:
        self.asked: set[str] = set()
        self._unseen: list[list[_Known]] = []

    def runs(self, program: Program) -> list[tuple[str, str]]:
        """Return what each run ends with: ``("returned", value)`` or ``("raised", exception)``, as shapes."""
        ends, previous = [], None
        for number, block in enumerate(program.runs):
            given = {"run": number, "value": (number, "input")}
            try:
                value = self._frame(block, f"r{number}", (given, previous), deepcopy(previous), outer=True)
            except Exception as error:
                ends.append(("raised", shape(error)))
            else:
                ends.append(("returned", shape(value)))
                previous = ("saved", value) if program.saves else value
        return ends

    def _frame(
        self, block: Block | None, label: str, args: tuple[Any, ...], *first: Any, outer: bool = False
    ) -> Any:
        if block is None:
            return deepcopy(args)
        play = Play(self, label, args)
        play.trace.extend(first)
        self._unseen.append([])
        try:
            value = play.run(block)
            for known in self._unseen[-1]:
                if known.error is not None and not known.seen:
                    raise known.error
        finally:
            self._unseen.pop()
        return value if outer else deepcopy(value)

    def begin(self, call: Call, label: str, args: tuple[Any, ...]) -> Any:
        known = _Known()
        try:
            known.value = self._frame(call.code, label, args)
        except Exception as error:
            known.error = error
            if type(error).__name__ == "Odd":
                known.error = TaskFailed(
                    type_name=describe(type(error)), message=str(error), traceback_text=""
                )
        if call.kind == "workflow":
            return known.result()
        self._unseen[-1].append(known)
        return known

    def ask(self, question: tuple[str, str, Any]) -> Any:
        self.asked.add(question[1])
        return answer_to(question)

    def fails(self, _label: str) -> bool:
        return False

    def wait(self, futures: list[Any]) -> None:
        """Everything is there already."""

    def as_completed(self, futures: Iterable[Any]) -> Iterator[Any]:
        return iter(futures)

    def look(self, _step: Race, _future: Any) -> bool:
        return True

    def is_cancelled(self, _future: Any) -> bool:
        return True


class _Known:
    """A future of :class:`Paper`."""

    value: Any = None
    error: Exception | None = None
    seen = False

    def result(self) -> Any:
        self.seen = True
        if self.error is not None:
            raise self.error
        return self.value

    def exception(self) -> Exception | None:
        self.seen = True
        return self.error
