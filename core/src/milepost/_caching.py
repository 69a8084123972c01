"""Which calls share a result: the key of a call, and its slot in a cache.

A key is made of the function and all that is bound to it, and of the arguments, by value. What a function closes over
counts by value where it cannot change; where it can, nothing is shared with another function of the same code.
"""

from __future__ import annotations

import functools
import json
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from milepost import serde
from milepost._flights import flights
from milepost._struct import Struct
from milepost._turn import Turn
from milepost.errors import InvalidCacheKey, MilepostError, NotSerializable, describe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from milepost._clock import Clock
    from milepost._flights import Passenger, Place
    from milepost._lease import Keeper
    from milepost._policies import Policies
    from milepost._step import Scope, Step
    from milepost.cache import Cache
    from milepost.caching import CachePolicy
    from milepost.store import Namespace

_FIXED: Final = (str, int, float, complex, bool, bytes, type(None))
_warned: set[str] = set()


def namespace(kind: str, step: Step) -> Namespace:
    """Return where the results of a function are kept; ``kind`` is ``task``, ``workflow`` or ``nested``."""
    return (kind, step.where.partition(" ")[2])


class Slot(Struct):
    """The place of one call's result in a cache."""

    cache: Cache
    namespace: Namespace
    key: str
    policy: CachePolicy
    step: Step
    save: Any = None
    """The declared type of what a workflow saves."""

    def find(self, clock: Clock, turn: Turn | None = None) -> tuple[list[Any] | None, float]:
        """Return the result, and what a workflow saves where that differs; None where there is no result.

        With ``turn``, a call without a result is claimed for this process. Where another process has claimed it, the
        second value is after how many seconds to look again, else 0.0. A cache that fails is as one that has nothing.
        """
        try:
            kept = self.cache.look(self.namespace, self.key, now=clock.now())
            if kept.text is None:
                return None, 0.0 if turn is None else turn.take(kept)
            declared = (self.step.returns, self.save)
            return [
                serde.decode(raw, of, where=self._where, identity=self._identity)
                for raw, of in zip(json.loads(kept.text), declared, strict=False)
            ], 0.0
        except Exception:  # noqa: BLE001 - whatever a cache or a codec raises, the function can still be called
            self._warn("could not be looked up, so it is called")
            return None, 0.0

    def keep(self, clock: Clock, *values: Any) -> bool:
        """Keep a result, and what a workflow saves where that differs; return whether it is kept."""
        from datetime import timedelta

        try:
            declared = (self.step.returns, self.save)
            texts = [
                serde.encode(value, of, where=self._where, identity=self._identity)
                for value, of in zip(values, declared, strict=False)
            ]
            expires = None if self.policy.ttl is None else clock.now() + timedelta(seconds=self.policy.ttl)
            self.cache.set(self.namespace, self.key, f"[{','.join(texts)}]", expires=expires)
        except Exception:  # noqa: BLE001 - likewise; a result that cannot be written is told where it is recorded
            self._warn("has a result that could not be kept")
            return False
        return True

    def turn(self, call: Passenger, keeper: Keeper, clock: Clock) -> Turn | None:
        """Return the turn of a call that leads here, where other processes share the cache.

        None also for a call made within another one that leads: whoever runs it must not wait while others wait for it.
        """
        if not self.cache.is_shared or flights.get().is_within_leader(call):
            return None
        return Turn(self.cache, self.namespace, self.key, keeper=keeper, clock=clock)

    def _end(self, turn: Turn, *, kept: bool) -> None:
        try:
            turn.end(kept=kept)
        except Exception:  # noqa: BLE001 - the claim is taken over after its lease
            self._warn("may be waited for in vain for a while")

    def lead(self, call: Passenger) -> bool:
        """Return True to the first of several equal calls, until it has :meth:`landed`."""
        return flights.get().lead(self._place, call)

    def join(self, call: Passenger) -> None:
        """Have a call told when the first one has landed."""
        flights.get().join(self._place, call)

    def landed(self, call: Passenger, turn: Turn | None, *, kept: bool) -> None:
        """Tell those who wait that the first call has ended, in other processes too where no result was ``kept``."""
        if turn is not None:
            self._end(turn, kept=kept)
        flights.get().landed(self._place, call)

    @property
    def _place(self) -> Place:
        return id(self.cache), self.namespace, self.key

    @property
    def _where(self) -> str:
        return f"the cached result of {self.step.where}"

    @property
    def _identity(self) -> str:
        return f"cache/{'/'.join(self.namespace)}/{self.key}"

    def _warn(self, what: str) -> None:
        from milepost import log

        log.logger.warning("%s %s (cache %r)", self.step.where, what, self.cache, exc_info=True)


def slot_of_call(
    step: Step, args: tuple[Any, ...], kwargs: Mapping[str, Any], scope: Scope, *, nested: bool
) -> Slot | None:
    """Return the slot of a call; None where nothing is cached.

    Raises:
        InvalidCacheKey: the call cannot be told apart from others.
    """
    policies, cache = step.policies, scope.cache
    assert policies is not None and policies.cache is not None  # noqa: S101, PT018 - who has no policy does not ask
    if cache is None:
        _warn_of_none(step)
        return None
    parts = [*_function(step, policies), *_arguments(step, policies.cache, args, kwargs)]
    parts += _surroundings(step, scope, is_workflow=nested)
    kind = "nested" if nested else "task"
    return Slot(
        cache=cache,
        namespace=namespace(kind, step),
        key=_hash(parts),
        policy=policies.cache,
        step=step,
    )


def slot_of_run(step: Step, given: Any, scope: Scope, save: Any) -> Slot | None:
    """Return the slot of a workflow's run: its input and context count, and ``previous`` where it asks for that.

    Raises:
        InvalidCacheKey: the run cannot be told apart from others.
    """
    policies, cache = step.policies, scope.cache
    assert policies is not None and policies.cache is not None  # noqa: S101, PT018 - who has no policy does not ask
    if cache is None:
        _warn_of_none(step)
        return None
    parts = [
        *_function(step, policies),
        *_arguments(step, policies.cache, (given,), {}),
        *_surroundings(step, scope, is_workflow=True),
    ]
    return Slot(
        cache=cache,
        namespace=namespace("workflow", step),
        key=_hash(parts),
        policy=policies.cache,
        step=step,
        save=save,
    )


def _warn_of_none(step: Step) -> None:
    if step.where not in _warned:
        from milepost import log

        _warned.add(step.where)
        log.logger.warning(
            "%s has a cache_policy and no cache, so it is called each time: pass cache= to @entrypoint or to the "
            "engine, for example InMemoryCache()",
            step.where,
        )


# -- arguments -----------------------------------------------------------------------------------------------------


def _arguments(
    step: Step, policy: CachePolicy, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[str]:
    if policy.key_func is not None:
        yield _written(step, "what key_func returned", policy.key_func(*args, **kwargs))
        return
    try:
        given = dict(step.signature.bind_partial(*args, **kwargs).arguments)
    except TypeError:  # the call itself will say so, or knows better
        given = {"*": args, **kwargs}
    for name, parameter in step.signature.parameters.items():
        if name not in given and name not in step.injected and _is_fixed(parameter.default):
            given[name] = parameter.default
    for name in sorted(given):
        yield f"{name}={_written(step, f'argument {name!r}', given[name])}"


def _surroundings(step: Step, scope: Scope, *, is_workflow: bool) -> Iterator[str]:
    """Yield what a function is given beside its arguments, as far as it counts."""
    if is_workflow or "runtime" in step.injected:
        yield f"context:{_written(step, 'the context of the run', scope.context())}"
    if "previous" in step.injected:
        yield f"previous:{_written(step, 'the previous of the run', scope.previous())}"


def _written(step: Step, what: str, value: Any) -> str:
    try:
        return serde.canonical(value, where=what)
    except NotSerializable as error:
        raise InvalidCacheKey(
            f"{step.where}: {error}. A call is found in the cache by the values of its arguments: give "
            f"CachePolicy(key_func=…), a function of the arguments that returns what stands for them",
            name=step.name,
            argument=what,
        ) from error


# -- the function --------------------------------------------------------------------------------------------------


def _function(step: Step, policies: Policies) -> list[str]:
    return list(_bound(step.function, policies.token, set()))


def _bound(value: Any, token: str, seen: set[int]) -> Iterator[str]:
    """Yield what a function is: its name and code, and everything bound to it."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, functools.partial):
        yield from _bound(value.func, token, seen)
        for part in (*value.args, *(part for _, part in sorted(value.keywords.items()))):
            yield from _value(part, token, seen, by_value=True)
    elif isinstance(value, MethodType):
        yield from _bound(value.__func__, token, seen)
        yield from _value(value.__self__, token, seen, by_value=True)
    elif isinstance(value, FunctionType):
        yield f"{describe(value)}:{_code(value.__code__)}"
        yield from _closure(value, token, seen)
    elif isinstance(value, BuiltinFunctionType | type):
        yield describe(value)
    else:  # an object that can be called
        yield from _bound(type(value).__call__, token, seen)
        yield from _value(value, token, seen, by_value=True)


def _closure(function: FunctionType, token: str, seen: set[int]) -> Iterator[str]:
    """Yield what a function closes over; a variable that it assigns is its memory, and no part of the key."""
    assigned = _assigned(function.__code__)
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if name in assigned:
            yield token
        else:
            yield from _value(_content(cell), token, seen, by_value=False)


def _value(value: Any, token: str, seen: set[int], *, by_value: bool) -> Iterator[str]:
    """Yield what stands for a value that is bound to a function; where nothing does, the function's ``token``."""
    step = getattr(value, "_step", None)
    if isinstance(value, FunctionType | BuiltinFunctionType | MethodType | functools.partial):
        yield from _bound(value, token, seen)
    elif isinstance(value, ModuleType):
        yield value.__name__
    elif step is not None and callable(getattr(value, "func", None)):  # a task or a workflow
        yield from _bound(value.func, token, seen)
    elif by_value or _is_fixed(value):
        try:
            yield serde.canonical(value, where="")
        except MilepostError:
            yield token
    else:
        yield token


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return None


def _is_fixed(value: Any) -> bool:
    """Tell whether a value cannot change, and can be written."""
    from datetime import date, time, timedelta
    from decimal import Decimal
    from enum import Enum
    from uuid import UUID

    if isinstance(value, tuple | frozenset):
        return all(map(_is_fixed, value))
    return isinstance(value, (*_FIXED, type, date, time, timedelta, Decimal, Enum, UUID))


@functools.lru_cache(maxsize=1024)
def _assigned(code: CodeType) -> frozenset[str]:
    """Return the variables that code binds anew."""
    import dis

    stores = {"STORE_DEREF", "DELETE_DEREF"}
    return frozenset(found.argval for found in dis.get_instructions(code) if found.opname in stores)


@functools.lru_cache(maxsize=1024)
def _code(code: CodeType) -> str:
    """Return a digest of what code does, wherever in its file it stands."""
    constants = [_code(part) if isinstance(part, CodeType) else _constant(part) for part in code.co_consts]
    return _hash([code.co_code.hex(), *code.co_names, *constants])


def _constant(value: Any) -> str:
    try:
        return serde.canonical(value, where="")
    except MilepostError:
        return repr(value)


def _hash(parts: list[str]) -> str:
    from hashlib import blake2b

    text = json.dumps(parts)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
