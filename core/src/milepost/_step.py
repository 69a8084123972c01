"""A function as milepost calls it: its normal arguments, and what is injected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from milepost import _inject, runtime
from milepost._struct import Struct
from milepost.errors import NoStore

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Mapping

    from milepost._async import Loop
    from milepost._policies import Policies
    from milepost.cache import Cache
    from milepost.events import Namespace
    from milepost.store import Store


class Frame(runtime.Frame, Protocol):
    """What a step asks of the frame it runs in."""

    @property
    def scope(self) -> Scope: ...


_GIVEN: Final[dict[str, Callable[[Frame], Any]]] = {
    "config": lambda frame: frame.config,
    "runtime": runtime.FrameRuntime,
    "writer": lambda frame: frame.write,
}
"""What every frame has to give."""


class Step(Struct):
    """A function as milepost calls it: its name, its declared result, and what it wants injected.

    Where it ``is_async``, what :meth:`invoke` returns is to be awaited on an event loop.
    """

    name: str
    where: str
    function: Callable[..., Any]
    signature: inspect.Signature
    hints: Mapping[str, Any]
    injected: Mapping[str, inspect.Parameter]
    returns: Any = Any
    is_async: bool = False
    policies: Policies | None = None

    def bound(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """Return the arguments in one normal form: ``f(1)`` and ``f(x=1)`` are the same call."""
        if not kwargs:
            return args, kwargs
        try:
            found = self.signature.bind_partial(*args, **kwargs)
        except TypeError:  # the call itself will say so
            return args, kwargs
        return found.args, found.kwargs

    def invoke(self, frame: Frame, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call the function with what it wants injected; an argument given by the caller wins."""
        if not self.injected:
            return self.function(*args, **kwargs)
        given = {**kwargs}
        names = list(self.signature.parameters)
        for name, parameter in self.injected.items():
            positional = parameter.kind is parameter.POSITIONAL_OR_KEYWORD and names.index(name) < len(args)
            if name not in kwargs and not positional:
                self._fill(frame, parameter, given)
        return self.function(*args, **given)

    def _fill(self, frame: Frame, parameter: inspect.Parameter, given: dict[str, Any]) -> None:
        name = parameter.name
        if name in _GIVEN:
            given[name] = _GIVEN[name](frame)
        elif name == "previous":
            previous = frame.scope.previous()
            if previous is not None or parameter.default is parameter.empty:
                given[name] = previous
        elif frame.store is not None:
            given[name] = frame.store
        elif parameter.default is parameter.empty:
            if not _inject.is_optional(parameter, self.hints):
                raise NoStore(
                    f"{self.where} asks for a store and none is configured: pass store= to @entrypoint or to the "
                    f"engine, or set MILEPOST_STORE"
                )
            given[name] = None


def _nothing() -> None:
    return None


class Scope(Struct):
    """What the frames of one workflow share: its place among nested ones, store, cache, ``previous`` and context.

    ``loop`` is the event loop that its coroutines run on.
    """

    loop: Loop
    namespace: Namespace = ()
    store: Store | None = None
    cache: Cache | None = None
    previous: Callable[[], Any] = _nothing
    context: Callable[[], Any] = _nothing
