"""What a picture says in words, and how wide words are.  (timeline: layer 3)"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

from milepost._struct import Struct
from milepost.timeline._moments import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.timeline._rows import Gap, Row, Work

SIGNS: Final = {
    "done": "✓",
    "answered": "✓",
    "failed": "✗",
    "cancelled": "⊘",
    "interrupted": "?",
    "running": "▸",
    "sleeping": "z",
    "unfinished": "…",
    "abandoned": "⊘",
}
"""One character for each status: what is seen without colours."""

_TIMES: Final = "\N{MULTIPLICATION SIGN}"
_HOW: Final = {
    "started": "started",
    "claimed": "taken over",
    "resumed": "resumed",
    "retried": "tried again",
}
_ENDING: Final = {
    "interrupted": "paused to ask",
    "done": "finished",
    "failed": "failed",
    "sleeping": "went to sleep",
}


class Fact(Struct):
    """A line of the story of a run: a session and when it began, or a time in which nobody worked."""

    text: str
    at: float | None = None

    @property
    def is_gap(self) -> bool:
        """Whether nobody worked."""
        return self.at is None


def clean(text: str) -> str:
    """Return text on one line that does nothing to a terminal or a document: what cannot be printed is replaced."""
    return "".join(
        char if char.isprintable() else " " if char.isspace() else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def width(text: str) -> int:
    """Return the number of columns that a terminal needs for clean text."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def fitted(text: str, columns: int) -> str:
    """Return clean text that takes at most so many columns, with an ellipsis where it was cut."""
    if width(text) <= columns:
        return text
    kept, room = [], columns - 1
    for char in text:
        room -= _columns(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept) + "…" if columns > 0 else ""


def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def label(row: Row) -> str:
    """Return what a row is called: its name, or its question, and how many it stands for."""
    name = clean(row.name) or "(no name)"
    if row.kind == "question" and row.name != "interrupt":
        name = f"“{name}”"
    return f"{name} {_TIMES}{row.count:,}" if row.count > 1 and row.kind != "more" else name


def remarks(row: Row) -> list[str]:
    """Return what else there is to say of a row, without its error."""
    found = []
    if row.attempts > row.count:
        found.append(f"{row.attempts:,} attempts")
    if row.cached:
        found.append("cached")
    if row.hidden:
        found.append(f"{row.hidden:,} calls within")
    return found


def taken(row: Row) -> str:
    """Return how long a row took; ``…`` after it where it is not over."""
    if row.seconds is None:
        return ""
    return duration(row.seconds) + ("…" if any(bar.open for bar in row.bars) else "")


def counted(number: int, what: str) -> str:
    """Return a number of things: ``1 call``, ``2 calls``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def story(works: Sequence[Work], gaps: Sequence[Gap]) -> list[Fact]:
    """Return who worked when and what came between, in order."""
    after = {gap.after: gap for gap in gaps}
    found = []
    for number, work in enumerate(works):
        found.append(Fact(text=_session(work, last=number == len(works) - 1), at=work.began))
        if number in after:
            gap = after[number]
            so_far = " so far" if gap.open else ""
            text = f"⋯ {duration(gap.ended - gap.began)} {clean(gap.why)}{so_far} ⋯"
            found.append(Fact(text=text))
    return found


def _session(work: Work, *, last: bool) -> str:
    lasted = duration(work.ended - work.began)
    ran = f"{work.executed:,}" if work.replayed else counted(work.executed, "call")
    did = [f"replayed {counted(work.replayed, 'call')}"] if work.replayed else []
    did.append(f"ran {ran} in {lasted}" if work.executed else f"worked {lasted}")
    if work.open:
        ending = "still running"
    elif work.ending is None:
        ending = "not over" if last else "cut off"
    else:
        ending = _ENDING.get(work.ending, clean(work.ending))
    return f"{_HOW.get(work.how, clean(work.how))}: {', '.join(did)}, {ending}"


def shortened(facts: list[Fact], most: int) -> list[Fact]:
    """Return at most so many lines of a story: its beginning and its end."""
    if len(facts) <= most:
        return facts
    before = most // 2
    after = most - before - 1
    left_out = Fact(text=f"⋯ {len(facts) - before - after:,} more lines ⋯")
    return [*facts[:before], left_out, *facts[-after:]]


def taking(root: Row, gaps: Sequence[Gap]) -> str:
    """Return how long a run took and how much of it somebody worked."""
    if root.seconds is None:
        return "nothing on record"
    waited = sum(gap.ended - gap.began for gap in gaps)
    took = f"took {duration(root.seconds)}"
    return f"{took}, {duration(max(0.0, root.seconds - waited))} of it at work" if waited > 0 else took


def title(root: Row, gaps: Sequence[Gap]) -> str:
    """Return what became of a run, in a line."""
    return f"{label(root)}: {root.status or 'never started'}, {taking(root, gaps)}"
