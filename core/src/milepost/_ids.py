"""Ids: run, call and interrupt ids are the same on every replay; tokens are random."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

_INTERRUPT_ID = r"int_[0-9a-f]{32}\Z"  # compiled when first used, as its time is a part of `import milepost`

ROOT = ""
"""The path of a body. Its calls are ``0``, ``1``, …; the calls of call ``1`` are ``1.0``, ``1.1``, …

A *strand* is what a frame does in an asyncio Task of its own. Its path is that of the frame and ``~0``, ``~1``, …"""


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


def strand(parent: str, number: int) -> str:
    """Return the path of a frame's strand: ``~0``, ``1.~2``, ``~0.~1``; its calls are ``~0.0``, ``~0.1``, …"""
    return f"{parent}.~{number}" if parent else f"~{number}"


def frame_of(path: str) -> str:
    """Return the path of the body or task that a strand belongs to: the path itself where it is no strand."""
    while path.rpartition(".")[2].startswith("~"):
        path = path.rpartition(".")[0]
    return path


def split(path: str) -> tuple[str, int]:
    """Return the path of the frame or strand that makes a call, and the call's ordinal within it."""
    parent, _, last = path.rpartition(".")
    return parent, int(last)


def callers(path: str) -> list[str]:
    """Return the paths of the calls that a call is within, the outermost first."""
    parts = path.split(".")
    return [".".join(parts[:depth]) for depth in range(1, len(parts))]


def order(path: str) -> tuple[tuple[bool, int], ...]:
    """Return what sorts calls by their places: those of a frame before those of its strands."""
    return tuple((part[0] == "~", int(part.removeprefix("~"))) for part in path.split("."))


def place_in(path: str, frame: str) -> tuple[str, int] | None:
    """Return the frame's strand, or the frame, whose call this is or is within, and that call's ordinal.

    None where the path is not within the frame.
    """
    if frame and not path.startswith(f"{frame}."):
        return None
    strand, rest = frame, path[len(frame) + 1 if frame else 0 :].split(".")
    while rest[0].startswith("~"):
        strand = f"{strand}.{rest[0]}" if strand else rest[0]
        del rest[0]
    return strand, int(rest[0])


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
