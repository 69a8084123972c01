"""The async twins of blocking methods: the same methods, in a thread."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, Final, Generic, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from typing import Self

S = TypeVar("S")
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
_END: Final[Any] = object()


def twin(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Return a coroutine method that runs this one in a thread, in a copy of the context, and awaits it.

    ``aget = twin(get)`` in a class body; a subclass that overrides ``get`` changes ``aget``, too.
    """
    name = method.__name__

    async def awaited(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        import asyncio

        return await asyncio.to_thread(getattr(self, name), *args, **kwargs)

    return cast("Callable[Concatenate[S, P], Coroutine[Any, Any, R]]", _named(awaited, method))


class Iterated(Generic[T]):
    """An asynchronous iterator over what ``begin()`` returns, which is called, and read, in threads."""

    def __init__(self, begin: Callable[[], Iterator[T]]) -> None:
        self._begin = begin
        self._iterator: Iterator[T] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        import asyncio

        found = await asyncio.to_thread(self._next)
        if found is _END:
            raise StopAsyncIteration
        return found

    def _next(self) -> T:
        if self._iterator is None:
            self._iterator = self._begin()
        return next(self._iterator, _END)


def iterated_twin(
    method: Callable[Concatenate[S, P], Iterator[T]],
) -> Callable[Concatenate[S, P], Iterated[T]]:
    """Return a method for ``async for`` that does what this one, which returns an iterator, does for ``for``.

    What it raises, it raises at the first element.
    """
    name = method.__name__

    def iterated(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Iterated[T]:
        return Iterated(functools.partial(getattr(self, name), *args, **kwargs))

    return cast("Callable[Concatenate[S, P], Iterated[T]]", _named(iterated, method))


def _named(made: Any, method: Callable[..., Any]) -> Any:
    """Give a twin the name and the signature of its method."""
    name = method.__name__
    functools.update_wrapper(made, method)
    del made.__wrapped__  # it would hide whether this is a coroutine function
    made.__name__ = f"a{name}"
    made.__qualname__ = f"{method.__qualname__.rpartition('.')[0]}.a{name}".removeprefix(".")
    made.__doc__ = f"Do what :meth:`{name}` does, without blocking the event loop."
    return made
