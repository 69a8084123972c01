"""The async twin of a blocking method: the same method, in a thread.  (layer 1)"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")


def twin(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Return a coroutine method that runs this one in a thread, in a copy of the context, and awaits it.

    ``aget = twin(get)`` in a class body; a subclass that overrides ``get`` changes ``aget``, too.
    """
    name = method.__name__

    async def awaited(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio

        return await asyncio.to_thread(getattr(self, name), *args, **kwargs)

    functools.update_wrapper(awaited, method)
    del awaited.__wrapped__  # type: ignore[attr-defined]  # it would hide that this is a coroutine function
    awaited.__name__ = f"a{name}"
    awaited.__qualname__ = f"{method.__qualname__.rpartition('.')[0]}.a{name}"
    awaited.__doc__ = f"Do what :meth:`{name}` does, without blocking the event loop."
    return awaited
