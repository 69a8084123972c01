"""Exceptions as data: type, message, arguments, attributes, traceback text; no pickle, no constructor."""

from __future__ import annotations

import json
import sys
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, Final

from milepost._struct import Struct
from milepost.errors import describe
from milepost.serde._read import Reader
from milepost.serde._write import Writer

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement, not built in
_LONGEST_TRACEBACK: Final = 20_000
_UNSET: Final = object()
_NOT_KEPT: Final = frozenset(
    {
        "args",
        "obj",
        "__dict__",
        "__weakref__",
        "__traceback__",
        "__context__",
        "__cause__",
        "__suppress_context__",
    }
)
"""What is no state, or (``AttributeError.obj``) a live object that only serves to suggest spellings."""


class FailureFacts(Struct):
    """What is recorded of an exception.

    ``type`` is its class as ``module.qualname`` (``qualname`` for built-ins), ``message`` its text,
    ``traceback`` the formatted traceback with causes, its end if it is long. ``rebuilds`` tells whether
    :func:`rebuild` gives an equal exception; then ``arguments`` and ``attributes`` are JSON text, otherwise
    None.
    """

    type: str
    message: str
    rebuilds: bool
    arguments: str | None
    attributes: str | None
    traceback: str


def failure(error: BaseException, *, where: str) -> FailureFacts:
    """Take an exception apart, and find out now whether it can be rebuilt on replay. Never raises.

    It can if its class is found by name, its arguments and attributes can be kept exactly, and the rebuilt
    exception has the same type, arguments, attributes and text. ``where`` names the task or workflow; it is
    used where the exception cannot even give its text.
    """
    name = describe(type(error))
    arguments: str | None = None
    attributes: str | None = None
    try:
        arguments, attributes = _write(error)
        rebuilds = _is_same(error, rebuild(name, json.loads(arguments), json.loads(attributes)))
    except Exception:  # noqa: BLE001 - code of the exception's class may raise anything
        rebuilds = False
    return FailureFacts(
        type=name,
        message=_text(error, where),
        rebuilds=rebuilds,
        arguments=arguments if rebuilds else None,
        attributes=attributes if rebuilds else None,
        traceback=_traceback(error),
    )


def rebuild(type: str, arguments_raw: Any, attributes_raw: Any) -> BaseException | None:  # noqa: A002 - the fact's name
    """Make the exception again of its facts (parsed JSON), or return None where that is not possible here.

    Its class is looked up by name among the modules that are loaded, and nothing is imported. Its constructor
    is not run: the built-in base makes the object, the attributes are put into it.
    """
    if arguments_raw is None:
        return None
    try:
        cls = _find(type)
        if cls is None:
            return None
        arguments = Reader(pickles=False).read(arguments_raw)
        attributes = {} if attributes_raw is None else Reader(pickles=False).read(attributes_raw)
        return _make(cls, tuple(arguments), attributes)
    except Exception:  # noqa: BLE001 - a record that does not fit the class, or a class that resists
        return None


# -- taking apart ----------------------------------------------------------------------------------


def _write(error: BaseException) -> tuple[str, str]:
    arguments = list(_arguments(error))
    plain = _make(type(error), tuple(arguments), {})
    state = dict(_own(error))
    for name, slot in _slots(type(error)):
        value = _get(slot, error)
        if value is not _get(slot, plain) and value != _get(slot, plain):
            state[name] = value
    return Writer(pickles=False).write(arguments), Writer(pickles=False).write(state)


def _arguments(error: BaseException) -> tuple[Any, ...]:
    return BaseException.args.__get__(error)  # type: ignore[attr-defined, no-any-return]


def _own(error: BaseException) -> dict[str, Any]:
    return object.__getattribute__(error, "__dict__")  # type: ignore[no-any-return]


def _get(slot: Any, error: BaseException) -> Any:
    try:
        return slot.__get__(error)
    except AttributeError:
        return _UNSET


def _is_same(error: BaseException, again: BaseException | None) -> bool:
    return (
        again is not None
        and type(again) is type(error)
        and _write(again) == _write(error)
        and _text(again, "") == _text(error, "")
    )


def _text(error: BaseException, where: str) -> str:
    try:
        return str(error)
    except Exception as problem:  # noqa: BLE001 - __str__ is the user's
        return f"<{where}: str() of the exception raised {describe(type(problem))}>"


def _traceback(error: BaseException) -> str:
    import traceback

    try:
        text = "".join(traceback.format_exception(error))
    except Exception:  # noqa: BLE001 - formatting calls code of the exception and its causes
        text = "".join(traceback.format_tb(error.__traceback__))
    if len(text) > _LONGEST_TRACEBACK:
        text = "[…]\n" + text[-_LONGEST_TRACEBACK:]
    return text


# -- building --------------------------------------------------------------------------------------


def _find(name: str) -> type[BaseException] | None:
    """Find an exception class by its qualified name; whatever else has that name is not taken."""
    parts = name.split(".") if "." in name else ["builtins", name]
    for border in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:border]))
        if module is None:
            continue
        cls = _walk(module, parts[border:])
        if isinstance(cls, type) and issubclass(cls, BaseException) and describe(cls) == name:
            return cls
    return None


def _walk(found: Any, names: list[str]) -> Any:
    """Follow names through the namespaces themselves: no ``__getattr__`` and no descriptor is asked."""
    for name in names:
        found = vars(found).get(name)
        if not isinstance(found, type):
            return None
    return found


def _make(cls: type[BaseException], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    base: Any = cls
    while base.__flags__ & _HEAP_TYPE:
        base = base.__base__
    error: BaseException = base.__new__(cls, *arguments)
    base.__init__(error, *arguments)
    slots = dict(_slots(cls))
    for name, value in attributes.items():
        if name in slots:
            slots[name].__set__(error, value)
        else:
            _own(error)[name] = value
    return error


def _slots(cls: type) -> Iterator[tuple[str, Any]]:
    """Give the descriptors of what is held outside ``__dict__``, such as ``OSError.filename``."""
    for base in reversed(cls.__mro__[:-1]):
        for name, slot in vars(base).items():
            if isinstance(slot, (MemberDescriptorType, GetSetDescriptorType)) and name not in _NOT_KEPT:
                yield name, slot
