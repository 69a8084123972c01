"""Many rows become few: equal calls of one caller are counted, what is too much is left out.  (timeline: layer 3)"""

from __future__ import annotations

from typing import Any

from milepost._struct import Struct, replace
from milepost.timeline._rows import Bar, Row


class Line(Struct):
    """A row to draw, and how deep it is nested."""

    depth: int
    row: Row


def lines(root: Row, most: int) -> list[Line]:
    """Return at most so many rows, in order: as they are if there is room, else folded, else cut short."""
    if size(root) > most:
        root = _folded(root)
    if size(root) > most:
        root = _cut(root, most)
    return _lines(root)


def size(root: Row) -> int:
    """Return the number of rows."""
    waiting, found = [root], 0
    while waiting:
        row = waiting.pop()
        found += 1
        waiting.extend(row.children)
    return found


def tree(root: Row, most: int) -> Row:
    """Return what :func:`lines` draws, as a tree."""
    if size(root) > most:
        root = _folded(root)
    return _cut(root, most) if size(root) > most else root


def _lines(root: Row) -> list[Line]:
    found, waiting = [], [(0, root)]
    while waiting:
        depth, row = waiting.pop()
        found.append(Line(depth=depth, row=row))
        waiting.extend((depth + 1, child) for child in reversed(row.children))
    return found


# -- folding --------------------------------------------------------------------------------------------------------


def _folded(row: Row) -> Row:
    """Count equal calls of one caller as one row, the innermost first."""
    groups: dict[Any, list[Row]] = {}
    for child in row.children:
        folded = _folded(child)
        groups.setdefault(_form(folded), []).append(folded)
    return replace(row, children=tuple(_merged(group) for group in groups.values()))


def _form(row: Row) -> Any:
    """Return what equal calls have in common."""
    name = "" if row.kind == "question" else row.name
    return (name, row.kind, row.status, row.error, row.cached, tuple(_form(child) for child in row.children))


def _merged(rows: list[Row]) -> Row:
    first = rows[0]
    if len(rows) == 1:
        return first
    began = min((row.began for row in rows if row.began is not None), default=None)
    ended = max((row.ended for row in rows if row.ended is not None), default=None)
    bars: tuple[Bar, ...] = ()
    if began is not None and ended is not None:
        kinds = [bar.kind for row in rows for bar in row.bars[-1:]]
        open_ = any(bar.open for row in rows for bar in row.bars)
        bars = (Bar(kind=kinds[0], began=began, ended=ended, open=open_),)
    return replace(
        first,
        name="interrupt" if first.kind == "question" else first.name,
        began=began,
        ended=ended,
        bars=bars,
        attempts=sum(row.attempts * (row.count if row.attempts == 1 else 1) for row in rows),
        count=sum(row.count for row in rows),
        hidden=sum(row.hidden for row in rows),
        replays=max(row.replays for row in rows),
        children=tuple(_merged(list(same)) for same in zip(*(row.children for row in rows), strict=True)),
    )


# -- cutting short --------------------------------------------------------------------------------------------------


def _cut(row: Row, most: int) -> Row:
    """Return the row with at most ``most`` rows, itself included; what went wrong or waits is kept first."""
    room = most - 1
    if room < 1:
        return replace(row, children=(), hidden=row.hidden + _calls(row.children))
    kept = sorted(range(len(row.children)), key=lambda at: (_is_quiet(row.children[at]), at))
    if len(kept) > room:
        kept = kept[: room - 1]
    shown = set(kept)
    left_out = [child for at, child in enumerate(row.children) if at not in shown]
    room -= len(kept) + bool(left_out)
    children = []
    for at in sorted(kept):
        child = row.children[at]
        given = min(size(child), room + 1)
        room -= given - 1
        children.append(_cut(child, given) if size(child) > given else child)
    if left_out:
        number = _calls(left_out)
        children.append(Row(id="", name=f"{number:,} more", kind="more", status="", count=number))
    return replace(row, children=tuple(children))


def _is_quiet(row: Row) -> bool:
    return row.status in ("done", "answered") and all(_is_quiet(child) for child in row.children)


def _calls(rows: tuple[Row, ...] | list[Row]) -> int:
    return sum(row.count + row.hidden + _calls(row.children) for row in rows)
