"""Ids: run, call and interrupt ids are the same on every replay; tokens are random.  (layer 1)"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

_INTERRUPT_ID = r"int_[0-9a-f]{32}\Z"  # compiled when first used, as its time is a part of `import milepost`

ROOT = ""
"""The path of a body. Its calls are ``0``, ``1``, …; the calls of call ``1`` are ``1.0``, ``1.1``, …"""


def run_id(thread: str, position: int) -> str:
    """Return the id of the run that started at this position of the thread's journal; sorts by position."""
    return f"{position:012d}-{_hash(thread, 6)}"


def run_position(run: object) -> int | None:
    """Return the position that a run's id names; None for what is no such id."""
    digits = run.partition("-")[0] if isinstance(run, str) else ""
    return int(digits) if digits.isascii() and digits.isdigit() else None


def child(parent: str, ordinal: int) -> str:
    """Return the path of a frame's call with this ordinal: its lineage."""
    return f"{parent}.{ordinal}" if parent else str(ordinal)


def split(path: str) -> tuple[str, int]:
    """Return the parent's path and the ordinal within it."""
    parent, _, last = path.rpartition(".")
    return parent, int(last)


def callers(path: str) -> list[str]:
    """Return the paths of the calls that a call is within, the outermost first."""
    parts = path.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def is_within(path: str, parent: str, ordinal: int) -> bool:
    """Tell whether a call is the parent's call with this ordinal, a later one, or within one of them."""
    if parent and not path.startswith(f"{parent}."):
        return False
    own = path.split(".")[parent.count(".") + 1 if parent else 0]
    return int(own) >= ordinal


def is_within_any(path: str, calls: Container[str]) -> bool:
    """Tell whether a call was made within one of these calls."""
    parts = path.split(".")
    return any(".".join(parts[:length]) in calls for length in range(1, len(parts)))


def interrupt_id(run: str, call: str, digest: str) -> str:
    """Return the id of the question with this digest asked at this call; :func:`is_interrupt_id` knows the form."""
    return "int_" + _hash(f"{run}/{call}/{digest}", 16)


def keyed_interrupt_id(run: str, key: str) -> str:
    """Return the id of the question that the run asks under this key."""
    return "int_" + _hash(f"{run}/key/{key}", 16)


def is_interrupt_id(value: object) -> bool:
    """Tell whether a value has the form of an interrupt id."""
    return isinstance(value, str) and re.match(_INTERRUPT_ID, value) is not None


def review(call: str) -> str:
    """Return the place of the question what became of a call: before all that the call itself may make."""
    return child(call, -1)


def is_review(path: str) -> bool:
    """Tell whether a question at this place asks what became of a call."""
    return path.endswith(".-1")


def idempotency_key(*parts: str) -> str:
    """Return 32 hexadecimal digits that are always the same for the same parts."""
    return _hash("\0".join(parts), 16)


def chance() -> float:
    """Return a random number in [0, 1)."""
    return (int.from_bytes(os.urandom(7)) >> 3) / 2**53


def token() -> str:
    """Return 16 random hexadecimal digits: for sessions, batches and compare-and-set nonces."""
    return os.urandom(8).hex()


def first_version() -> int:
    """Return the version that a new head begins with, of 40 random bits."""
    return int.from_bytes(os.urandom(5)) or 1


def _hash(text: str, size: int) -> str:
    from hashlib import blake2b

    return blake2b(text.encode(), digest_size=size).hexdigest()
