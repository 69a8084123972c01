"""What a decorator says of a workflow, and where its calls run: engine, backend, thread."""

from __future__ import annotations

import functools
import typing
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from milepost import _inject
from milepost._final import Final
from milepost._later import later
from milepost._struct import Struct, replace
from milepost._task import step_of
from milepost.errors import InvalidContext, InvalidDefinition, MissingThreadId

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Mapping
    from typing import Self

    from milepost import _config, _durability, _engine, _lane, _run, schema
    from milepost import checkpoint as _checkpoint
    from milepost._async import Loop
    from milepost._engine import Engine
    from milepost._inject import RunnableConfig
    from milepost._policies import Policies
    from milepost._retention import Retention
    from milepost.busy import Busy
    from milepost.cache import Cache
    from milepost.checkpoint import Checkpointer
    from milepost.store import Store
else:
    _config = later("_config")
    _durability = later("_durability")
    _engine = later("_engine")
    _lane = later("_lane")
    _run = later("_run")
    _checkpoint = later("checkpoint")
    schema = later("schema")

I = TypeVar("I")  # noqa: E741 - the input
R = TypeVar("R")
S = TypeVar("S")


class Options(Struct):
    """What a decorator says beside the function."""

    checkpointer: str | Checkpointer | None = None
    store: str | Store | None = None
    cache: str | Cache | None = None
    retention: Retention | None = None
    policies: Policies | None = None
    context_schema: Any = None
    name: str | None = None
    version: int | str | None = None


class Place(Struct):
    """Where a call of a workflow runs: on which engine, backend, thread and event loop."""

    engine: Engine
    checkpointer: Checkpointer | None
    thread: str | None
    checkpoint: str | None
    config: Mapping[str, Any]
    said: Mapping[str, Any]  # of the config, without the workflow's defaults
    loop: Loop
    context: Any = None
    busy: Busy | None = None  # what to do where a live run holds the thread


class Declared(Generic[I, R]):
    """A workflow as its decorator and its function declare it."""

    def __init__(self, function: Callable[..., R], options: Options) -> None:
        self.func = function
        self._options = options
        self._defaults: Mapping[str, Any] = {}
        self._origin: object = self  # what holds the drivers: copies with another config share them
        self._step = step_of(
            function, name=_checked_name(options.name), kind="entrypoint", policies=options.policies
        )
        _check_version(self._step.where, options.version)
        _check_parameters(self._step.where, self._step.signature, self._step.injected)
        self._step, self._save = _split_final(self._step)
        input_name = next(iter(self._step.signature.parameters))
        self._accepts = self._step.hints.get(input_name, Any)
        self._step = replace(
            self._step, injected={name: p for name, p in self._step.injected.items() if name != input_name}
        )
        self._nested = replace(self._step, function=_without_final(function, is_async=self._step.is_async))
        functools.update_wrapper(cast(Any, self), function, updated=())
        self.__name__ = self._step.name

    @property
    def name(self) -> str:
        """The workflow's name: the key of its result in ``updates``, and what its threads are bound to."""
        return self._step.name

    @property
    def version(self) -> int | str | None:
        """The version of this code; None where none was given."""
        return self._options.version

    def with_config(self, config: RunnableConfig | Mapping[str, Any]) -> Self:
        """Return a copy of the workflow whose calls have this config unless they say otherwise (LangGraph's name).

        Tags are joined, metadata and ``configurable`` key by key; a call's own values win.

        Raises:
            InvalidConfig: a part is of a wrong type.
            InvalidDurability: it names a mode that does not exist.
        """
        import copy

        _durability.in_config(config, None)

        made = copy.copy(self)
        made._defaults = _config.merged(self._defaults, _config.checked(config))  # noqa: SLF001 - a copy of ours
        return made

    # -- what it takes and returns -------------------------------------------------------------------------------

    def get_input_jsonschema(self) -> dict[str, Any]:
        """Return the JSON Schema of the input, from its annotation; ``{}`` beside the title takes anything."""
        return schema.json_schema(self._accepts, title=next(iter(self._step.signature.parameters)))

    def get_output_jsonschema(self) -> dict[str, Any]:
        """Return the JSON Schema of what the workflow returns; of ``entrypoint.final[value, saved]`` the value."""
        return schema.json_schema(self._step.returns, title=self.name)

    def get_context_jsonschema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of ``context_schema``; None where there is none."""
        declared = self._options.context_schema
        return None if declared is None else schema.json_schema(declared, title="context")

    def __repr__(self) -> str:
        return f"<workflow {self.name}>"

    def _plan(self, place: Place) -> _run.Plan:
        return _run.Plan(
            step=self._step,
            save=self._save,
            accepts=self._accepts,
            config=place.config,
            store=place.engine.store_for(self._origin, self._options.store),
            cache=place.engine.cache_for(self._origin, self._options.cache),
            pool=_lane.limited(place.engine.pool, place.config),
            loop=place.loop,
            clock=place.engine.clock,
            engine=place.engine,
            patience=place.engine.pause_wait,
            replay_always=place.engine.replay_always,
            said=place.said,
            context=place.context,
            context_type=self._context_type,
            version=self._options.version,
            durability=_durability.chosen(place.config),
        )

    @property
    def _context_type(self) -> Any:
        return Any if self._options.context_schema is None else self._options.context_schema

    def _fitting(self, context: Any) -> Any:
        """Return a context as ``context_schema`` has it.

        Raises:
            InvalidContext: it does not fit.
        """
        if context is None:
            return None
        try:
            return schema.convert(self._context_type, context)
        except schema.Unfit as unfit:
            raise InvalidContext(
                f"the context of workflow {self.name!r} is not what its context_schema says: {unfit}",
                path=unfit.path,
                expected=unfit.expected,
            ) from unfit

    def _with_thread(
        self, config: RunnableConfig | Mapping[str, Any] | None, thread_id: str | None
    ) -> tuple[Mapping[str, Any], Any]:
        if self._defaults:
            config = _config.merged(self._defaults, config or {})
        return with_thread(config, thread_id)

    def _place(
        self,
        config: RunnableConfig | Mapping[str, Any] | None,
        thread_id: str | None,
        checkpoint_id: str | None = None,
        *,
        loop: Loop | None = None,
        context: Any = None,
        busy: Busy | None = None,
    ) -> Place:
        engine = _engine.current_engine()
        checkpointer = engine.checkpointer_for(self._origin, self._options.checkpointer)
        merged, thread = self._with_thread(_config.checked(config or {}), thread_id)
        merged, checkpoint = _without_checkpoint(merged)
        if checkpointer is None:
            thread = None
        elif thread is None:
            raise MissingThreadId(
                f'workflow {self.name!r} has a checkpointer, so each call names its thread: pass thread_id="…" or '
                f'config={{"configurable": {{"thread_id": "…"}}}}'
            )
        else:
            thread = _checkpoint.check_thread_id(thread)
        fitting = self._fitting(context)
        return Place(
            engine=engine,
            checkpointer=checkpointer,
            thread=thread,
            checkpoint=checkpoint if checkpoint_id is None else checkpoint_id,
            config=merged,
            said=_without_checkpoint(with_thread(config, thread_id)[0])[0],
            loop=engine.loop if loop is None else loop,
            context=fitting,
            busy=busy,
        )


def with_thread(
    config: RunnableConfig | Mapping[str, Any] | None, thread_id: str | None
) -> tuple[Mapping[str, Any], Any]:
    """Return the config with the thread id in it, and the thread id."""
    merged: dict[str, Any] = dict(config or {})
    configurable = dict(merged.get("configurable") or {})
    if thread_id is not None:
        configurable["thread_id"] = thread_id
    if configurable:
        merged["configurable"] = configurable
    return merged, configurable.get("thread_id")


def _without_checkpoint(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], Any]:
    """Return the config that a body reads, and the run that the caller addresses: that is for this call only."""
    configurable = dict(config.get("configurable") or {})
    if "checkpoint_id" not in configurable:
        return config, None
    checkpoint = configurable.pop("checkpoint_id")
    return {**config, "configurable": configurable}, checkpoint


# -- decorating ------------------------------------------------------------------------------------------------------


def _checked_name(name: Any) -> str | None:
    if name is not None and (not isinstance(name, str) or not name):
        raise InvalidDefinition(f"@entrypoint(name=…) is a text, not {name!r}")
    return name


def _check_version(where: str, version: Any) -> None:
    if version is not None and (isinstance(version, bool) or not isinstance(version, int | str)):
        raise InvalidDefinition(f"{where}: version= is an int or a str, not {version!r}")


def _check_parameters(where: str, signature: inspect.Signature, injected: Mapping[str, Any]) -> None:
    parameters = list(signature.parameters.values())
    first = parameters[0] if parameters else None
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        raise InvalidDefinition(
            f"{where} must take one positional argument, the input: def {where.rpartition('.')[2]}(input): …; use "
            f"a dict for several values"
        )
    for parameter in parameters[1:]:
        if parameter.name in injected or parameter.default is not parameter.empty:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        raise InvalidDefinition(
            f"{where}: nothing fills parameter {parameter.name!r}. A workflow takes one input; beside it only "
            f"{', '.join(_inject.NAMES)} are filled in"
        )


def _split_final(step: Any) -> tuple[Any, Any]:
    """Return the step with its plain return type, and the declared type of what is saved."""
    declared = step.returns
    if _is_final(declared):
        return replace(step, returns=Any), Any
    if _is_final(typing.get_origin(declared)):
        given = typing.get_args(declared)
        if len(given) != 2:  # noqa: PLR2004 - the value's type and the saved one's
            raise InvalidDefinition(
                f"{step.where}: entrypoint.final[…] takes two types, of the value and of what is saved: write "
                f"entrypoint.final[ValueType, SavedType]"
            )
        value, save = given
        return replace(step, returns=value), save
    return step, declared


def _is_final(declared: Any) -> bool:
    return isinstance(declared, type) and issubclass(declared, Final)


def _without_final(function: Callable[..., Any], *, is_async: bool) -> Callable[..., Any]:
    if is_async:

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            value = await function(*args, **kwargs)
            return value.value if isinstance(value, Final) else value

        return awaited

    @functools.wraps(function)
    def unwrapped(*args: Any, **kwargs: Any) -> Any:
        value = function(*args, **kwargs)
        return value.value if isinstance(value, Final) else value

    return unwrapped
