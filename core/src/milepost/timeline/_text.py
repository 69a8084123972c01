"""A picture for the terminal.  (timeline: layer 4)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from milepost._struct import Struct
from milepost.timeline import _words
from milepost.timeline._axis import Axis, Measure, axis
from milepost.timeline._folding import lines
from milepost.timeline._moments import clock, date

if TYPE_CHECKING:
    from milepost.timeline._folding import Line
    from milepost.timeline._rows import Bar, Gap, Row, Work

LEAST: Final = 40
"""The least width that a picture is drawn in, in columns."""

_ROWS: Final = 60
_FACTS: Final = 30
_WHEN: Final = 22  # columns of a date, and two spaces
_BREAK: Final = 3
_STRETCH: Final = 4

_MARKS: Final = {
    "replay": "↺",
    "span": "─",
    "gap": " ",
    "wait": "░",
    "sleep": "╌",
    "retry": "·",
    "cancelled": "▫",
    "work": "█",
    "failed": "▒",
}
"""How each kind of bar is drawn; a later one over an earlier."""

_LEGEND: Final = {
    "work": "work",
    "failed": "a failed attempt",
    "retry": "waiting for the next attempt",
    "wait": "waiting for an answer",
    "sleep": "asleep",
    "span": "begun, then executed again",
    "cancelled": "cancelled",
    "replay": "answered from the record",
}
_COLOURS: Final = {
    "work": "34",
    "failed": "31",
    "wait": "33",
    "sleep": "33",
    "retry": "33",
    "gap": "2",
    "span": "2",
    "replay": "2",
}
_STATUS: Final = {"done": "32", "answered": "32", "failed": "31", "interrupted": "33", "running": "34"}


class Page(Struct):
    """How wide the columns of a drawing are: names, durations, and the bars."""

    width: int
    names: int
    times: int
    bars: int
    color: bool

    def paint(self, text: str, code: str | None) -> str:
        """Return text in a colour, where colours are wanted."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and code and text.strip() else text


def text(root: Row, works: tuple[Work, ...], gaps: tuple[Gap, ...], *, width: int, color: bool) -> str:
    """Draw a run in lines of at most so many columns."""
    width = max(width, LEAST)
    drawn = lines(root, _ROWS)
    names = max(2 * line.depth + _words.width(_words.label(line.row)) for line in drawn)
    times = max(_words.width(_words.taken(line.row)) for line in drawn)
    names = min(names, max(12, (width - times) * 2 // 5))
    page = Page(width=width, names=names, times=times, bars=width - names - times - 4, color=color)
    scale = axis(root, gaps, Measure(width=page.bars, least=_STRETCH, gap=_BREAK))
    found = [page.paint(_words.fitted(_words.title(root, gaps), width), "1"), "", _times(page, scale)]
    for line in drawn:
        found += _row(page, scale, line)
    found += _legend(page, drawn)
    story = _words.shortened(_words.story(works, gaps), _FACTS)
    if story:
        found.append("")
        for fact in story:
            found += [page.paint(said, "2" if fact.is_gap else None) for said in _fact(fact, width)]
    return "\n".join(line.rstrip() for line in found)


def _fact(fact: _words.Fact, width: int) -> list[str]:
    from textwrap import wrap

    when = "" if fact.at is None else date(fact.at)
    said = wrap(fact.text, width - _WHEN)
    return [
        _words.fitted(f"{when if first else '':{_WHEN}}{part}", width)
        for first, part in zip([True] + [False] * len(said), said, strict=False)
    ]


def _times(page: Page, scale: Axis) -> str:
    """Return the line above the bars: when each stretch began, and how long each break is."""
    cells = [" "] * page.bars
    free = 0
    before = scale.pieces[0][0]
    for began, _, left, _ in scale.pieces:
        at, said = int(left), clock(began, before)
        if at >= free and at + len(said) <= page.bars:
            cells[at : at + len(said)] = said
            free = at + len(said) + 1
            before = began
    for cut in scale.breaks:
        middle = int(cut.left) + 1
        if cells[middle - 1 : middle + 2] == [" ", " ", " "]:
            cells[middle] = "⋯"
    margin = " " * (page.width - page.bars)
    return page.paint(margin + "".join(cells), "2")


def _row(page: Page, scale: Axis, line: Line) -> list[str]:
    row, indent = line.row, " " * min(2 * line.depth, page.names // 2)
    sign = page.paint(_words.SIGNS.get(row.status, " "), _STATUS.get(row.status))
    room = page.names - len(indent)
    name = _words.fitted(_words.label(row), room)
    padded = f"{indent}{name}{' ' * (room - _words.width(name))}"
    found = [f"{sign} {padded} {_words.taken(row):>{page.times}} {_bars(page, scale, row)}"]
    notes = _words.remarks(row)
    if row.error is not None:
        notes.insert(0, _words.clean(row.error))
    if notes:
        note = _words.fitted(f"{indent}    └ {', '.join(notes)}", page.width)
        found.append(page.paint(note, "31" if row.status == "failed" else "2"))
    return found


def _bars(page: Page, scale: Axis, row: Row) -> str:
    cells = [" "] * page.bars
    kinds = [""] * page.bars
    order = list(_MARKS)
    for bar in sorted(row.bars, key=lambda bar: order.index(bar.kind)):
        left, right = _columns(page, scale, bar)
        for at in range(left, right):
            cells[at], kinds[at] = _MARKS[bar.kind], bar.kind
    for cut in scale.breaks:
        middle = int(cut.left) + 1
        cells[middle] = "┊" if cells[middle] == " " else "⋯"
    return "".join(page.paint(cell, _COLOURS.get(kind)) for cell, kind in zip(cells, kinds, strict=True))


def _columns(page: Page, scale: Axis, bar: Bar) -> tuple[int, int]:
    """Return the first column of a bar and the one after its last: at least one, however short it was."""
    left = min(round(scale.at(bar.began)), page.bars - 1)
    right = min(max(round(scale.at(bar.ended)), left + 1), page.bars)
    return left, right


def _legend(page: Page, drawn: list[Line]) -> list[str]:
    """Explain the marks, where there are others than of work."""
    used = {bar.kind for line in drawn for bar in line.row.bars}
    if not used - {"work", "gap"}:
        return []
    parts = [f"{_MARKS[kind]} {said}" for kind, said in _LEGEND.items() if kind in used]
    found = [""]
    for part in parts:
        if found[-1] and len(found[-1]) + len(part) + 3 > page.width:
            found.append("")
        found[-1] = f"{found[-1]}   {part}" if found[-1] else part
    return ["", *(_words.fitted(line, page.width) for line in found)]
