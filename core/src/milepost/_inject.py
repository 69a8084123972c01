"""Which parameters are filled in: ``config``, ``previous``, ``runtime``, ``store``, ``writer``.

By name, as LangGraph does; but the annotation is resolved, not compared as text, so ``X | None``, aliases and
``from __future__ import annotations`` work. A parameter annotated as something else of the user's is left alone.
"""

from __future__ import annotations

import sys
import types
import typing
from typing import TYPE_CHECKING, Any, Final, TypedDict

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Mapping

NAMES: Final = ("config", "previous", "runtime", "store", "writer")


class RunnableConfig(TypedDict, total=False):
    """The config dict of a call: ``configurable`` holds ``thread_id``; other keys go to the body and tasks."""

    configurable: dict[str, Any]
    tags: list[str]
    metadata: dict[str, Any]
    run_name: str
    max_concurrency: int
    durability: str


class StreamWriter(typing.Protocol):
    """Writes one custom event to whoever streams the run with ``stream_mode="custom"``."""

    def __call__(self, value: Any, /) -> None:
        """Write ``value`` to the stream, as it is."""
        ...


def unwrap(function: Any) -> Any:
    """Return the function or method behind a partial or a callable object, for its signature and annotations."""
    import functools
    import inspect

    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function) and not inspect.isclass(function):
        return type(function).__call__
    return function


def hints(function: Any) -> dict[str, Any]:
    """Return the resolved annotations of a function; one that cannot be resolved is left out, not an error."""
    import inspect

    target = inspect.unwrap(unwrap(function))
    annotations = getattr(target, "__annotations__", None) or {}
    scope = getattr(sys.modules.get(getattr(target, "__module__", "")), "__dict__", {})
    scope = {**scope, **getattr(target, "__globals__", {})}
    local = _closure(target)
    found: dict[str, Any] = {}
    for name, annotation in annotations.items():
        try:
            holder = types.SimpleNamespace(__annotations__={name: annotation})
            found[name] = typing.get_type_hints(holder, scope, local, include_extras=True)[name]
        except Exception:  # noqa: BLE001, S112 - annotations are arbitrary user expressions; typing-only names raise
            continue
    return found


def _closure(target: Any) -> dict[str, Any]:
    code, cells = getattr(target, "__code__", None), getattr(target, "__closure__", None)
    if code is None or not cells:
        return {}
    found = {}
    for name, cell in zip(code.co_freevars, cells, strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


def wanted(
    signature: inspect.Signature, resolved: Mapping[str, Any], kinds: Callable[[str], tuple[Any, ...]]
) -> dict[str, inspect.Parameter]:
    """Return the parameters to fill in, by name; ``kinds`` tells the types each name may be annotated with."""
    found = {}
    for name in NAMES:
        parameter = signature.parameters.get(name)
        if parameter is None or parameter.kind not in (
            parameter.KEYWORD_ONLY,
            parameter.POSITIONAL_OR_KEYWORD,
        ):
            continue
        if name == "previous" or _fits(parameter, name, resolved, kinds(name)):
            found[name] = parameter
    return found


def _fits(
    parameter: inspect.Parameter, name: str, resolved: Mapping[str, Any], kinds: tuple[Any, ...]
) -> bool:
    if parameter.annotation is parameter.empty:
        return True
    if name not in resolved:  # an annotation only a type checker can see: the name decides
        return True
    return any(_is_kind(option, kinds) for option in _options(resolved[name]))


def _options(annotation: Any) -> list[Any]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _options(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [option for arg in typing.get_args(annotation) for option in _options(arg)]
    return [annotation]


def _is_kind(annotation: Any, kinds: tuple[Any, ...]) -> bool:
    origin = typing.get_origin(annotation) or annotation
    if annotation is Any or origin in kinds:
        return True
    import inspect

    # An ABC among the kinds (Store) also stands for its subclasses; a dict or a protocol for itself alone.
    bases = tuple(kind for kind in kinds if inspect.isabstract(kind))
    return isinstance(origin, type) and issubclass(origin, bases)


def is_optional(parameter: inspect.Parameter, resolved: Mapping[str, Any]) -> bool:
    """Tell whether a parameter can do without a value: it has a default, or None is among its types."""
    if parameter.default is not parameter.empty:
        return True
    return type(None) in _options(resolved.get(parameter.name)) or resolved.get(parameter.name, 0) is None


def signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return a callable's signature; an empty one where the interpreter has none (some builtins)."""
    import inspect

    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        anything = [
            inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
            inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
        ]
        return inspect.Signature(anything)
