"""Which classes of users may appear: those that the annotation names, and those that are registered.

Nothing here looks a class up by a name from data in a module; a name in a record is compared with the classes
that the program itself declared.
"""

from __future__ import annotations

import re
import threading
import typing
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from milepost._struct import Struct
from milepost.errors import InvalidCodec
from milepost.serde import _forms, _records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TAG: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.:/-]{0,99}\Z")
_CONTAINERS: Final = {
    "list": list,
    "dict": dict,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": None,
    "ordereddict": None,
    "defaultdict": None,
    "counter": None,
}
_RESERVED: Final = frozenset({*_forms.BY_TAG, *_CONTAINERS, *_records.KINDS, "pickle", "ref", "none", "bool"})

# -- the registry ----------------------------------------------------------------------------------


class Entry(Struct):
    """A registered class. Without functions, its kind takes it apart."""

    tag: str
    cls: type
    encode: Callable[[Any], Any] | None
    decode: Callable[[Any], Any] | None


_lock: Final = threading.Lock()
_by_tag: dict[str, Entry] = {}
_by_class: dict[type, Entry] = {}


def register(
    tag: str,
    cls: type,
    *,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> None:
    """Let values of exactly this class be kept anywhere, under a stable tag of yours.

    ``encode`` returns what the codec can hold (plain data, standard types, other registered classes);
    ``decode`` gets that back and returns the value. Both may be left out for dataclasses, enums, named
    tuples, pydantic models and msgspec Structs. The tag is what records hold, so classes may be renamed and
    moved as long as the tag stays.

    Registering a class again under its tag replaces its functions (a reloaded module, a notebook cell).

    Raises:
        InvalidCodec: the tag is malformed or taken, or the class is registered already, has a form of its
        own, or
            needs functions.
    """
    if type(tag) is not str or not _TAG.match(tag):
        raise InvalidCodec(f"{tag!r} is no tag: use up to 100 letters, digits and _.:/-, a letter first")
    if tag in _RESERVED:
        raise InvalidCodec(f"the tag {tag!r} is the codec's own; choose another, such as 'my-{tag}'")
    _check_class(tag, cls)
    if (encode is None) != (decode is None):
        raise InvalidCodec(f"register({tag!r}, …) needs both encode= and decode=, or neither")
    if encode is None and _records.kind_of(cls) is None:
        raise InvalidCodec(f"{_full(cls)} cannot be taken apart by itself: give encode= and decode=")
    entry = Entry(tag=tag, cls=cls, encode=encode, decode=decode)
    with _lock:
        _check_clash(entry)
        if known := _by_tag.get(tag):
            _by_class.pop(known.cls, None)
        _by_tag[tag] = entry
        _by_class[cls] = entry


def _check_class(tag: str, cls: object) -> None:
    if not isinstance(cls, type):
        raise InvalidCodec(f"register({tag!r}, …) takes a class, not {cls!r}")
    if cls in {bool, type(None), *_CONTAINERS.values()} or _forms.find(cls):
        raise InvalidCodec(f"{_full(cls)} has a form of its own; there is no need to register it")


def _check_clash(entry: Entry) -> None:
    known = _by_tag.get(entry.tag)
    if known is not None and _full(known.cls) != _full(entry.cls):
        raise InvalidCodec(f"the tag {entry.tag!r} is taken by {_full(known.cls)}; choose another")
    other = _by_class.get(entry.cls)
    if other is not None and other.tag != entry.tag:
        raise InvalidCodec(f"{_full(entry.cls)} is registered already, under the tag {other.tag!r}")


def by_class(cls: type) -> Entry | None:
    """Return the entry of exactly this class."""
    return _by_class.get(cls)


def by_tag(tag: str) -> Entry | None:
    """Return the entry under a tag."""
    return _by_tag.get(tag)


def _full(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# -- what an annotation names ----------------------------------------------------------------------

Names = dict[str, type | None]
"""Classes by qualified name; None where two classes share it."""


class Known:
    """The classes known at a place: those of the annotation, and of the registered classes around it."""

    __slots__ = ("_names",)

    def __init__(self, names: Names) -> None:
        self._names = names

    def name(self, cls: type) -> str | None:
        """Return the name under which :meth:`find` gives exactly this class, or None."""
        name = cls.__qualname__
        return name if self._names.get(name) is cls else None

    def find(self, name: str) -> type | None:
        """Return the class of this name; registered classes count too, for what was kept before they were."""
        found = self._names.get(name)
        if found is None:
            registered = [cls for cls in list(_by_class) if cls.__qualname__ == name]
            found = registered[0] if len(registered) == 1 else None
        return found

    def within(self, cls: type) -> Known:
        """Return what is known inside a value of a registered class: its own fields' classes as well."""
        return Known({**self._names, **_named_by(cls)})


def known(declared: Any) -> Known:
    """Return the classes that an annotation names, at any depth: generics, unions, fields, keys."""
    if declared is Any:
        return Known({})
    try:
        return Known(_named_by(declared))
    except TypeError:  # metadata of Annotated need not be hashable
        return Known(_named_by.__wrapped__(declared))


@lru_cache(maxsize=1024)
def _named_by(declared: Any) -> Names:
    names: Names = {}
    seen: dict[int, Any] = {}
    todo = [declared]
    while todo:
        annotation = todo.pop()
        if id(annotation) in seen:
            continue
        seen[id(annotation)] = annotation
        if isinstance(annotation, type) and typing.get_origin(annotation) is None:
            todo.extend(_inside_class(annotation, names))
        else:
            todo.extend(_inside(annotation))
    return names


def _inside_class(cls: type, names: Names) -> Iterator[Any]:
    if _records.is_typed_dict(cls):
        yield from _records.typed_dict_annotations(cls)
    elif (kind := _records.kind_of(cls)) is not None:
        name = cls.__qualname__
        names[name] = cls if names.get(name, cls) is cls else None
        yield from kind.annotations(cls)


def _inside(annotation: Any) -> Iterator[Any]:
    """Give what a non-class annotation is made of: arguments, aliases, bounds, literal members."""
    if typing.get_origin(annotation) is typing.Literal:
        yield from (type(value) for value in typing.get_args(annotation) if isinstance(value, Enum))
        return
    if not hasattr(annotation, "__metadata__"):  # what annotates is no type
        for part in typing.get_args(annotation):
            yield from part if isinstance(part, list) else [part]
    for name in ("__origin__", "__value__", "__supertype__", "__bound__"):
        part = getattr(annotation, name, None)
        if part is not None:
            yield part
    yield from getattr(annotation, "__constraints__", ())
