"""Values to text: one pass over the value, which composes the JSON directly."""

from __future__ import annotations

import json.encoder
import math
from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any, Final

from milepost.errors import describe
from milepost.serde import _forms, _pickle, _records, _types
from milepost.serde._unfit import Refused, key_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SAFE_INT: Final = 2**53
_quote: Final = json.encoder.encode_basestring_ascii

FACTORIES: Final = {
    cls.__name__: cls
    for cls in (list, dict, set, frozenset, tuple, str, bytes, bytearray, bool, int, float, complex)
}
"""The factories that a defaultdict may have."""

_DATA: Final = "return plain data instead (an id, a path, a dict)"


class Writer:
    """Writes one value. ``declared`` is its annotation; ``pickles`` tells whether they may help out."""

    __slots__ = ("_active", "_declared", "_identity", "_known", "_pickles")

    ordered = False
    """Whether mappings are written in order of their keys instead of their own."""

    def __init__(self, declared: Any = Any, *, identity: str = "", pickles: bool = True) -> None:
        self._declared = declared
        self._identity = identity
        self._pickles = pickles
        self._known: _types.Known | None = None
        self._active: set[int] = set()

    def write(self, value: Any) -> str:
        """Return the text of a value.

        Raises:
            Refused: it cannot be kept exactly.
        """
        cls = type(value)
        if cls is str and value.isascii():
            return _quote(value)
        writer = _WRITERS.get(cls)
        if writer is not None:
            return writer(self, value)
        return self._other(value, cls)

    # -- what a stricter or laxer writer changes ---------------------------------------------------

    def enter(self, value: Any) -> str | None:
        """Note that a container is being written; return a text to write instead, if any.

        The caller calls :meth:`leave` when it is done.
        """
        mark = id(value)
        if mark in self._active:
            raise Refused(describe(type(value)), "it contains itself; break the cycle, for example with ids")
        self._active.add(mark)
        return None

    def leave(self, value: Any) -> None:
        """Note that a container was written."""
        self._active.discard(id(value))

    def refuse(self, value: Any, reason: str) -> str:
        """Deal with a value that has no form: pickle it where that is enabled, else refuse it."""
        codec = _pickle.current() if self._pickles else None
        if codec is None:
            raise Refused(describe(type(value)), reason)
        try:
            return '{"$pickle":' + json.dumps(codec.dump(value, identity=self._identity)) + "}"
        except Exception as error:
            raise Refused(describe(type(value)), f"it cannot be pickled either ({error}); {_DATA}") from error

    def name_of(self, cls: type) -> str | None:
        """Return the name to record for a class of a user, or None where it is not declared here."""
        if self._known is None:
            self._known = _types.known(self._declared)
        return self._known.name(cls)

    # -- classes -----------------------------------------------------------------------------------

    def _other(self, value: Any, cls: type) -> str:
        entry = _types.by_class(cls)
        if entry is not None:
            return self._registered(value, entry)
        form = _forms.find(cls)
        if form is not None:
            writer = _WRITERS[cls] = _leaf(form)
            return writer(self, value)
        kind = _records.kind_of(cls)
        if kind is None:
            return self.refuse(value, _remedy(cls))
        name = self.name_of(cls)
        if name is None:
            return self.refuse(value, _declare(cls))
        return f'{{"${kind.tag}":[{_quote(name)},{",".join(self._parts(value, kind))}]}}'

    def _registered(self, value: Any, entry: _types.Entry) -> str:
        outer = self._known
        self._known = (outer or _types.known(self._declared)).within(entry.cls)
        try:
            return f'{{"${entry.tag}":{self._payload(value, entry)}}}'
        finally:
            self._known = outer

    def _payload(self, value: Any, entry: _types.Entry) -> str:
        if entry.encode is None:
            parts = self._parts(value, _records.kind_of(entry.cls))
            return parts[0] if len(parts) == 1 else f"[{','.join(parts)}]"
        if (instead := self.enter(value)) is not None:
            return instead
        try:
            return self.write(_called(entry.encode, value, entry.cls))
        finally:
            self.leave(value)

    def _parts(self, value: Any, kind: Any) -> list[str]:
        if (instead := self.enter(value)) is not None:
            return [instead]
        try:
            return [self.write(part) for part in _called(kind.pack, value, type(value))]
        finally:
            self.leave(value)


def _called(function: Callable[[Any], Any], value: Any, cls: type) -> Any:
    """Call code of a user's class; what it raises means that the value cannot be kept."""
    try:
        return function(value)
    except RecursionError:
        raise
    except Exception as error:
        reason = f"taking it apart raised {type(error).__name__}: {error}"
        raise Refused(describe(cls), reason) from error


def _remedy(cls: type) -> str:
    for base in (str, int, float, dict, list, tuple, set, frozenset, bytes, bytearray):
        if issubclass(cls, base):
            return (
                f"a subclass of {base.__name__} has no form of its own: convert it to {base.__name__}, "
                f"or register {cls.__name__} with milepost.serde.register()"
            )
    return f"{_DATA}, or register {cls.__name__} with milepost.serde.register(tag, cls, encode=…, decode=…)"


def _declare(cls: type) -> str:
    name = cls.__name__
    return (
        f"name {name} in the annotation of what holds it, such as '-> {name}', "
        f"or register it: milepost.serde.register({name.lower()!r}, {name})"
    )


# -- the standard types ----------------------------------------------------------------------------


def _str(_: Writer, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        parts = _forms.surrogate_parts(value)
        if len(parts) > 1:
            return f'{{"$str":[{",".join(map(_quote, parts))}]}}'
    return _quote(value)


def _none(_: Writer, value: None) -> str:  # noqa: ARG001 - writers are called alike
    return "null"


def _bool(_: Writer, value: bool) -> str:  # noqa: FBT001 - likewise
    return "true" if value else "false"


def _int(_: Writer, value: int) -> str:
    if -_SAFE_INT <= value <= _SAFE_INT:
        return str(value)
    return f'{{"$int":"{_forms.integer_text(value)}"}}'


def _float(_: Writer, value: float) -> str:
    return repr(value) if math.isfinite(value) else f'{{"$float":"{value!r}"}}'


def _leaf(form: _forms.Form) -> Callable[[Writer, Any], str]:
    opening = f'{{"${form.tag}":'

    def write(writer: Writer, value: Any) -> str:
        try:
            return f"{opening}{writer.write(form.encode(value))}}}"
        except Refused as refused:
            return writer.refuse(value, refused.reason)

    return write


def _list(writer: Writer, value: Iterable[Any]) -> str:
    if (instead := writer.enter(value)) is not None:
        return instead
    parts: list[str] = []
    write = writer.write
    try:
        for item in value:
            parts.append(write(item))  # noqa: PERF401 - the length tells where an error was
    except Refused as refused:
        refused.steps.append(f"[{len(parts)}]")
        raise
    finally:
        writer.leave(value)
    return f"[{','.join(parts)}]"


def _tuple(writer: Writer, value: tuple[Any, ...]) -> str:
    return f'{{"$tuple":{_list(writer, value)}}}'


def _deque(writer: Writer, value: deque[Any]) -> str:
    limit = "null" if value.maxlen is None else _int(writer, value.maxlen)
    return f'{{"$deque":[{_list(writer, value)},{limit}]}}'


def _set(writer: Writer, value: set[Any] | frozenset[Any]) -> str:
    tag = type(value).__name__
    try:
        return f'{{"${tag}":[{",".join(sorted(map(writer.write, value)))}]}}'
    except Refused as refused:
        refused.steps.append("[…]")
        raise


def _dict(writer: Writer, value: dict[Any, Any]) -> str:
    if not all(map(_is_plain_key, value)):
        return f'{{"$dict":{_pairs(writer, value)}}}'
    if (instead := writer.enter(value)) is not None:
        return instead
    parts: list[str] = []
    write = writer.write
    key = None
    try:
        for key, item in value.items():
            parts.append(f"{_quote(key)}:{write(item)}")
    except Refused as refused:
        refused.steps.append(key_step(key))
        raise
    finally:
        writer.leave(value)
    if writer.ordered:
        parts.sort()
    return f"{{{','.join(parts)}}}"


def _is_plain_key(key: Any) -> bool:
    if type(key) is not str or key[:1] == "$":
        return False
    return key.isascii() or len(_forms.surrogate_parts(key)) == 1


def _pairs(writer: Writer, value: dict[Any, Any]) -> str:
    if (instead := writer.enter(value)) is not None:
        return instead
    parts: list[str] = []
    key = None
    try:
        for key, item in value.items():
            parts.append(f"[{writer.write(key)},{writer.write(item)}]")
    except Refused as refused:
        refused.steps.append(key_step(key))
        raise
    finally:
        writer.leave(value)
    if writer.ordered and type(value) is not OrderedDict:
        parts.sort()
    return f"[{','.join(parts)}]"


def _tagged_pairs(writer: Writer, value: dict[Any, Any]) -> str:
    return f'{{"${type(value).__name__.lower()}":{_pairs(writer, value)}}}'


def _defaultdict(writer: Writer, value: defaultdict[Any, Any]) -> str:
    factory = value.default_factory
    name = getattr(factory, "__name__", "")
    if factory is not None and FACTORIES.get(name) is not factory:
        return writer.refuse(
            value, "its factory is not a built-in type such as list; convert it with dict(…)"
        )
    return f'{{"$defaultdict":[{_quote(name) if factory else "null"},{_pairs(writer, value)}]}}'


_WRITERS: Final[dict[type, Callable[[Writer, Any], str]]] = {
    str: _str,
    type(None): _none,
    bool: _bool,
    int: _int,
    float: _float,
    list: _list,
    dict: _dict,
    tuple: _tuple,
    set: _set,
    frozenset: _set,
    deque: _deque,
    OrderedDict: _tagged_pairs,
    Counter: _tagged_pairs,
    defaultdict: _defaultdict,
}
