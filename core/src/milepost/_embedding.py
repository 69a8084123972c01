"""What a search by ``query`` looks at: the fields of a value, their text, and its embeddings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from milepost._words import words
from milepost.errors import InvalidIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WHOLE: Final = ("$",)
_STEP: Final = r"([^.\[\]]+)|\[(\d+|\*)\]"


class Index:
    """A checked :class:`~milepost.store.IndexConfig`.

    Raises:
        InvalidIndex: the config lacks something, or has something that it cannot be.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        unknown = sorted(set(config) - {"embed", "dims", "fields"})
        if unknown:
            raise InvalidIndex(f"index= takes embed, dims and fields, not {', '.join(map(repr, unknown))}")
        self.dims = config.get("dims")
        if not isinstance(self.dims, int) or isinstance(self.dims, bool) or self.dims < 1:
            raise InvalidIndex(
                f"index= needs dims, the length of an embedding, such as 384; not {self.dims!r}"
            )
        self.fields = checked_fields(config.get("fields", WHOLE))
        embed: Any = config.get("embed")
        self._embed: Callable[[list[str]], Any] = getattr(embed, "embed_documents", embed)
        self._embed_query: Callable[[str], Any] | None = getattr(embed, "embed_query", None)
        if not callable(self._embed):
            raise InvalidIndex(
                f"index= needs embed, a function that takes a list of str and returns a list of embeddings; not "
                f"{embed!r}"
            )

    def embeddings(self, texts: list[str]) -> list[tuple[float, ...]]:
        """Return the embedding of each text.

        Raises:
            InvalidIndex: ``embed`` returned something else.
        """
        if not texts:
            return []
        found = list(self._embed(texts))
        if len(found) != len(texts):
            raise InvalidIndex(f"embed returned {len(found)} embeddings for {len(texts)} texts")
        return [self._checked(each) for each in found]

    def embedding_of_query(self, query: str) -> tuple[float, ...]:
        """Return the embedding to look for."""
        if self._embed_query is None:
            return self.embeddings([query])[0]
        return self._checked(self._embed_query(query))

    def _checked(self, given: Any) -> tuple[float, ...]:
        from math import isfinite

        vector = tuple(map(float, given))
        if len(vector) != self.dims or not all(map(isfinite, vector)):
            raise InvalidIndex(
                f"embed returned an embedding of {len(vector)} numbers where dims says {self.dims}, or one that is "
                f"not finite"
            )
        return vector


def checked_fields(given: Any) -> tuple[str, ...]:
    """Return the paths of an index.

    Raises:
        InvalidIndex: they are no paths.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InvalidIndex(f"the fields of an index are a list of paths such as ['title'], not {given!r}")
    for path in given:
        if not isinstance(path, str) or not re.fullmatch(rf"\$|(?:(?:{_STEP})\.?)+(?<!\.)", path):
            raise InvalidIndex(f"{path!r} is no path of a field, such as '$', 'title' or 'parts[*].text'")
    return tuple(given)


def texts(value: Any, fields: Sequence[str]) -> list[str]:
    """Return what stands at the fields of a value as texts to embed; a field that is missing has none."""
    return [text for path in fields for found in _at(value, _steps(path)) if (text := _text(found))]


def searched(value: Any, fields: Sequence[str]) -> str:
    """Return the words at the fields of a value, with a space between; keys of mappings are no part of it."""
    leaves = (leaf for path in fields for found in _at(value, _steps(path)) for leaf in _leaves(found))
    return " ".join(word for leaf in leaves for word in words(leaf))


def _steps(path: str) -> list[str]:
    return [] if path == "$" else [name or place for name, place in re.findall(_STEP, path)]


def _at(value: Any, steps: list[str]) -> Iterator[Any]:
    if not steps:
        yield value
        return
    step, rest = steps[0], steps[1:]
    if isinstance(value, Mapping):
        parts = list(value.values()) if step == "*" else [value[step]] if step in value else []
    elif isinstance(value, list | tuple):
        parts = list(value) if step == "*" else list(value[int(step) :][:1]) if step.isdigit() else []
    else:
        parts = []
    for part in parts:
        yield from _at(part, rest)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    from json import dumps

    return dumps(value, ensure_ascii=False, default=str)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _leaves(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
