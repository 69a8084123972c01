"""What does not fit the codec, and where: the path is built while the error unwinds."""

from __future__ import annotations

import json
from typing import Final

_PLAIN_KEYS: Final = frozenset({int, float, bool, type(None), bytes})
_LONGEST_KEY: Final = 40


class Unfit(Exception):
    """The root of both; each container on the way out adds its step."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.steps: list[str] = []
        super().__init__(reason)

    @property
    def path(self) -> str:
        """The place inside the value: ``$`` for the value itself, then ``$.key``, ``$[3]``."""
        return "$" + "".join(reversed(self.steps))


class Refused(Unfit):
    """A value cannot be kept exactly. ``type_name`` is what was found, ``reason`` what to do."""

    def __init__(self, type_name: str, reason: str) -> None:
        self.type_name = type_name
        super().__init__(reason)


class Unreadable(Unfit):
    """A record cannot be read. ``tag`` is the tag that was found, ``reason`` what to do."""

    def __init__(self, tag: str, reason: str) -> None:
        self.tag = tag
        super().__init__(reason)


def key_step(key: object) -> str:
    """Return the step into a mapping: ``.name`` for an identifier, else ``[key]``; bounded in length."""
    if type(key) is str:
        if key.isascii() and key.isidentifier() and len(key) <= _LONGEST_KEY:
            return f".{key}"
        return f"[{json.dumps(_shorten(key))}]"
    if type(key) in _PLAIN_KEYS:
        return f"[{_shorten(repr(key))}]"
    return f"[<{type(key).__qualname__}>]"


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_KEY else text[: _LONGEST_KEY - 3] + "..."
