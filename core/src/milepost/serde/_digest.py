"""Digests of arguments: the same on every replay, whatever the arguments are."""

from __future__ import annotations

from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from milepost.errors import describe
from milepost.serde._write import Writer

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEEPEST: Final = 64  # a fixed depth, so that the digest does not depend on how deep the caller's stack is
_PREVIEW: Final = 80
_NAMED: Final = (type, FunctionType, BuiltinFunctionType, MethodType)


class _Canonical(Writer):
    """Writes anything: what has no form counts by its type's name, classes and functions by their own."""

    __slots__ = ()

    ordered = True

    def enter(self, value: Any) -> str | None:
        if id(value) in self._active:
            return "<cycle>"
        if len(self._active) >= _DEEPEST:
            return _opaque(value)
        self._active.add(id(value))
        return None

    def refuse(self, value: Any, reason: str) -> str:  # noqa: ARG002 - nothing is refused here
        return _opaque(value)

    def name_of(self, cls: type) -> str | None:
        return describe(cls)

    def _other(self, value: Any, cls: type) -> str:
        try:
            return super()._other(value, cls)
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - code of the value's class may raise anything
            return _opaque(value)

    def piece(self, value: Any) -> str:
        """Write one argument; fall back to its type's name where even this fails."""
        try:
            return self.write(value)
        except Exception:  # noqa: BLE001 - code of the arguments' classes may raise anything
            self._active.clear()
            return _opaque(value)


class _Exact(Writer):
    """Writes what counts by its value; anything else is refused. Classes count by their names."""

    __slots__ = ()

    ordered = True

    def name_of(self, cls: type) -> str | None:
        return describe(cls)

    def _other(self, value: Any, cls: type) -> str:
        return f"<{describe(value)}>" if isinstance(value, type) else super()._other(value, cls)


def canonical(value: object) -> str:
    """Return one text for all values that are equal and of equal types, in every process.

    Raises:
        Refused: a part has no value that could be written.
        RecursionError: it is nested too deeply.
    """
    return _Exact(pickles=False).write(value)


def _opaque(value: Any) -> str:
    try:
        return f"<{describe(value if issubclass(type(value), _NAMED) else type(value))}>"
    except Exception:  # noqa: BLE001 - a metaclass may raise anything
        return "<?>"


def digest(args: tuple[Any, ...], kwargs: Mapping[str, object]) -> tuple[str, str]:
    """Return a digest of a call's arguments (32 hexadecimal digits) and a preview (up to 80 characters).

    Equal arguments of equal types have equal digests in every process, whatever the order of dicts and sets.
    Parts that cannot be encoded (self, clients, locks, modules) count by the qualified name of their type,
    functions and classes by their own. Never raises.
    """
    writer = _Canonical(pickles=False)
    pieces = [writer.piece(value) for value in args]
    pieces += sorted(f"{name}={writer.piece(value)}" for name, value in kwargs.items())
    text = "\n".join(pieces)
    preview = ", ".join(piece[: _PREVIEW + 1] for piece in pieces[:_PREVIEW])
    if len(preview) > _PREVIEW:
        preview = preview[: _PREVIEW - 1] + "…"
    from hashlib import blake2b

    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest(), preview
