"""Text back to values: always fresh objects, nothing imported or called because data says so."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from typing import TYPE_CHECKING, Any, Final

from milepost.errors import SignatureInvalid
from milepost.serde import _forms, _pickle, _records, _types
from milepost.serde._unfit import Unreadable, key_step
from milepost.serde._write import FACTORIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Reader:
    """Reads one value. ``declared`` is its annotation; ``pickles`` tells whether it may hold signed pickles."""

    __slots__ = ("_declared", "_identity", "_known", "_pickles")

    def __init__(self, declared: Any = Any, *, identity: str = "", pickles: bool = True) -> None:
        self._declared = declared
        self._identity = identity
        self._pickles = pickles
        self._known: _types.Known | None = None

    def read(self, raw: Any) -> Any:
        """Return the value of parsed JSON, which is not changed.

        Raises:
            Unreadable: a tag is unknown or a payload malformed.
            SignatureInvalid: a pickle's signature is not valid.
        """
        cls = type(raw)
        if cls is list:
            return _list(self, raw)
        if cls is not dict:
            return raw
        if len(raw) == 1:
            ((tag, payload),) = raw.items()
            if tag[:1] == "$":
                return self._tagged(tag[1:], payload)
        return _object(self, raw)

    def known(self) -> _types.Known:
        """Return the classes that are known at this place."""
        if self._known is None:
            self._known = _types.known(self._declared)
        return self._known

    def _tagged(self, tag: str, payload: Any) -> Any:
        read = self._reader(tag)
        try:
            return read(payload)
        except (Unreadable, SignatureInvalid, RecursionError):
            raise
        except Exception as error:
            problem = f": {error}" if str(error) else ""
            raise Unreadable(tag, f"its content does not fit ({type(error).__name__}{problem})") from error

    def _reader(self, tag: str) -> Callable[[Any], Any]:
        container = _READERS.get(tag)
        if container is not None:
            return lambda payload: container(self, payload)
        form = _forms.BY_TAG.get(tag)
        if form is not None:
            return lambda payload: form.read(self.read(payload))
        kind = _records.KINDS.get(tag)
        if kind is not None:
            return lambda payload: self._declared_class(kind, payload)
        if tag == "pickle":
            return self._pickle
        entry = _types.by_tag(tag)
        if entry is not None:
            return lambda payload: self._registered(entry, payload)
        raise Unreadable(
            tag,
            f"no class is registered under this tag here; add milepost.serde.register({tag!r}, …) "
            f"where the workflow is defined, before it runs",
        )

    def _declared_class(self, kind: _records.Kind, payload: Any) -> Any:
        name, *parts = _checked(list, payload)
        cls = self.known().find(_checked(str, name))
        if cls is None or _records.kind_of(cls) is not kind:
            raise Unreadable(
                kind.tag,
                f"it is a {kind.tag} {name!r}, which the annotation here does not name; "
                f"name it there, or add milepost.serde.register({name.lower()!r}, {name})",
            )
        return kind.unpack(cls, tuple(map(self.read, parts)))

    def _registered(self, entry: _types.Entry, payload: Any) -> Any:
        outer = self._known
        self._known = self.known().within(entry.cls)
        try:
            if entry.decode is not None:
                return entry.decode(self.read(payload))
            kind = _records.kind_of(entry.cls)
            parts = payload if type(payload) is list else [payload]
            return None if kind is None else kind.unpack(entry.cls, tuple(map(self.read, parts)))
        finally:
            self._known = outer

    def _pickle(self, payload: Any) -> Any:
        codec = _pickle.current()
        if codec is None or not self._pickles:
            raise SignatureInvalid(
                "it is a pickle, and pickles are not enabled in this process; "
                "call milepost.serde.enable_pickle(key) with the key that signed it"
            )
        return codec.load(payload, identity=self._identity)


def _checked(cls: type, payload: Any) -> Any:
    if type(payload) is not cls:
        raise TypeError(f"{cls.__name__} expected, not {type(payload).__name__}")
    return payload


def _object(reader: Reader, raw: dict[str, Any]) -> dict[str, Any]:
    for key in raw:
        if key[:1] == "$":
            raise Unreadable(key[1:], "a tag has nothing beside it; the record is damaged")
    result = {}
    read = reader.read
    key = ""
    try:
        for key, item in raw.items():
            result[key] = read(item)
    except Unreadable as error:
        error.steps.append(key_step(key))
        raise
    return result


def _list(reader: Reader, raw: Any) -> list[Any]:
    result: list[Any] = []
    read = reader.read
    try:
        for item in _checked(list, raw):
            result.append(read(item))  # noqa: PERF401 - the length tells where an error was
    except Unreadable as error:
        error.steps.append(f"[{len(result)}]")
        raise
    return result


def _pairs(reader: Reader, raw: Any) -> Iterable[tuple[Any, Any]]:
    for pair in _checked(list, raw):
        key, item = _checked(list, pair)
        made = reader.read(key)
        try:
            yield made, reader.read(item)
        except Unreadable as error:
            error.steps.append(key_step(made))
            raise


def _tuple(reader: Reader, raw: Any) -> tuple[Any, ...]:
    return tuple(_list(reader, raw))


def _set(reader: Reader, raw: Any) -> set[Any]:
    return set(_list(reader, raw))


def _frozenset(reader: Reader, raw: Any) -> frozenset[Any]:
    return frozenset(_list(reader, raw))


def _deque(reader: Reader, raw: Any) -> deque[Any]:
    items, limit = _checked(list, raw)
    return deque(_list(reader, items), None if limit is None else reader.read(limit))


def _dict(reader: Reader, raw: Any) -> dict[Any, Any]:
    return dict(_pairs(reader, raw))


def _ordereddict(reader: Reader, raw: Any) -> OrderedDict[Any, Any]:
    return OrderedDict(_pairs(reader, raw))


def _counter(reader: Reader, raw: Any) -> Counter[Any]:
    result: Counter[Any] = Counter()
    dict.update(result, _pairs(reader, raw))
    return result


def _defaultdict(reader: Reader, raw: Any) -> defaultdict[Any, Any]:
    factory, pairs = _checked(list, raw)
    return defaultdict(None if factory is None else FACTORIES[factory], _pairs(reader, pairs))


_READERS: Final[dict[str, Callable[[Reader, Any], Any]]] = {
    "tuple": _tuple,
    "set": _set,
    "frozenset": _frozenset,
    "deque": _deque,
    "dict": _dict,
    "ordereddict": _ordereddict,
    "counter": _counter,
    "defaultdict": _defaultdict,
}
