"""``entrypoint.final``: one value for the caller, another for the next run."""

from __future__ import annotations

from typing import Any


class Final:
    """What ``entrypoint.final`` makes: ``value`` goes to the caller, ``save`` to the next run's ``previous``."""

    __slots__ = ("save", "value")

    def __init__(self, value: Any, save: Any) -> None:
        self.value = value
        self.save = save

    def __repr__(self) -> str:
        return f"entrypoint.final(value={self.value!r}, save={self.save!r})"
