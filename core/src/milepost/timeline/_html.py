"""A picture and a table of the calls, for notebooks.  (timeline: layer 5)"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from milepost.timeline import _words
from milepost.timeline._folding import lines
from milepost.timeline._moments import date

if TYPE_CHECKING:
    from milepost.timeline._rows import Row

_ROWS: Final = 50
_HEADER: Final = ("call", "name", "status", "attempts", "began", "took", "error")


def html(drawing: str, root: Row) -> str:
    """Return the drawing, and its calls as a table that is folded away."""
    head = "".join(f"<th>{said}</th>" for said in _HEADER)
    body = "".join(_row(line.row) for line in lines(root, _ROWS))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div>{drawing}<details><summary>Calls</summary>{table}</details></div>"


def _row(row: Row) -> str:
    cells = (
        row.id,
        _words.label(row),
        row.status,
        f"{row.attempts:,}" if row.kind == "task" else "",
        "" if row.began is None else date(row.began),
        _words.taken(row),
        _words.fitted(_words.clean(row.error or ""), 200),
    )
    return "<tr>" + "".join(f"<td>{escape(_words.clean(cell))}</td>" for cell in cells) + "</tr>"
