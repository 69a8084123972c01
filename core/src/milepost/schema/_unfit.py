"""Why a value does not fit, or a type cannot be described."""

from __future__ import annotations


class Unfit(Exception):
    """A value does not fit: at ``path`` (``$`` is the value itself) ``expected`` was wanted, and ``found`` is there."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        self.path = path
        self.expected = expected
        self.found = found
        super().__init__(f"at {path}: expected {expected}, found {found}")


class Undescribable(Exception):
    """A type, or a keyword of a schema, that cannot be checked."""


def shown(value: object) -> str:
    """Show a value in a message, cut off where it is long."""
    try:
        text = repr(value)
    except RecursionError:
        return f"{type(value).__name__} nested too deeply to show"
    return text if len(text) <= 80 else f"{text[:77]}…"  # noqa: PLR2004 - a line of a message
