"""A picture as a Mermaid flowchart.  (timeline: layer 4)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from milepost.timeline import _words
from milepost.timeline._folding import tree

if TYPE_CHECKING:
    from milepost.timeline._rows import Row

_ROWS: Final = 60
_LABEL: Final = 48  # columns of a name
_ERROR: Final = 72
_PLAIN: Final = frozenset(" .,:!?+=*/'()_-…×✓✗–▸“”")  # noqa: RUF001 - signs of ours

_CLASSES: Final = (
    "classDef done fill:#dbeafe,stroke:#0b65a8,color:#1f2328",
    "classDef failed fill:#ffe3d1,stroke:#a63c00,stroke-width:3px,color:#1f2328",
    "classDef waits fill:#fbe7c0,stroke:#a87400,stroke-dasharray:5 3,color:#1f2328",
    "classDef other fill:#f3f4f6,stroke:#57606a,stroke-dasharray:2 2,color:#1f2328",
)
_CLASS: Final = {
    "done": "done",
    "answered": "done",
    "failed": "failed",
    "interrupted": "waits",
    "sleeping": "waits",
}


class _Chart:
    """The lines of a chart so far; nodes are numbered as they are made."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.links: list[str] = []
        self.styled: dict[str, list[str]] = {}
        self._number = 0

    def name(self) -> str:
        """Return an identifier that nothing else has."""
        self._number += 1
        return f"n{self._number}"

    def node(self, shape: tuple[str, str], label: str, status: str, depth: int) -> str:
        """Add a node and return its identifier."""
        name = self.name()
        self.lines.append(f'{"  " * depth}{name}{shape[0]}"{label}"{shape[1]}')
        self.style(name, status)
        return name

    def style(self, name: str, status: str) -> None:
        """Draw a node as its status asks."""
        self.styled.setdefault(_CLASS.get(status, "other"), []).append(name)


def mermaid(root: Row) -> str:
    """Write a run: begin, its calls in the order of their times, end; at most sixty calls, which Mermaid can draw."""
    chart = _Chart()
    root = tree(root, _ROWS)
    start = chart.node(("([", "])"), _label(_words.label(root)), "other", 1)
    last = _calls(chart, root.children, [start], 1)
    end = chart.node(("([", "])"), _ending(root), root.status, 1)
    _link(chart, last, [end], 1)
    used = [f"  {line}" for line in _CLASSES if line.split()[1] in chart.styled]
    styled = [f"  class {','.join(names)} {kind}" for kind, names in sorted(chart.styled.items())]
    return "\n".join(["flowchart TD", *chart.lines, *chart.links, *used, *styled]) + "\n"


def _ending(root: Row) -> str:
    said = root.status or "never started"
    if root.error is not None:
        said = f"{said}: {_words.fitted(_words.clean(root.error), _ERROR)}"
    return _label(said)


def _calls(chart: _Chart, rows: tuple[Row, ...], before: list[str], depth: int) -> list[str]:
    """Add the calls of one caller, and the links from what was before to the first; return the last."""
    for stage in _stages(rows):
        names = [_call(chart, row, depth) for row in stage]
        if before:
            _link(chart, before, names, depth)
        before = names
    return before


def _stages(rows: tuple[Row, ...]) -> list[list[Row]]:
    """Part calls into those that ran one after the other; what overlapped in time is one stage.

    A call without times stands alone, where it was made.
    """
    stages: list[list[Row]] = []
    ended: float | None = None
    for row in rows:
        overlaps = stages and ended is not None and row.began is not None and row.began < ended
        if overlaps:
            stages[-1].append(row)
        else:
            stages.append([row])
        if row.ended is not None:
            ended = max(row.ended, ended) if overlaps and ended is not None else row.ended
    return stages


def _call(chart: _Chart, row: Row, depth: int) -> str:
    if row.kind == "question":
        return chart.node(("{", "}"), _label(_words.label(row), _state(row)), row.status, depth)
    if not row.children:
        shape = ("[[", "]]") if row.kind == "workflow" else ("[", "]")
        return chart.node(shape, _label(_words.label(row), *_facts(row)), row.status, depth)
    name = chart.name()
    indent = "  " * depth
    chart.lines.append(f'{indent}subgraph {name}["{_label(_words.label(row), *_facts(row))}"]')
    _calls(chart, row.children, [], depth + 1)
    chart.lines.append(f"{indent}end")
    chart.style(name, row.status)
    return name


def _state(row: Row) -> str:
    if row.status == "interrupted":
        return f"? waiting {_words.taken(row)}".rstrip()
    return f"{_words.SIGNS.get(row.status, '')} {row.status} after {_words.taken(row)}".strip()


def _facts(row: Row) -> list[str]:
    """Return the lines under a name: what became of it, how long it took, what went wrong."""
    sign = _words.SIGNS.get(row.status, "")
    found = [" ".join(part for part in (sign, row.status, _words.taken(row)) if part)]
    found += _words.remarks(row)
    if row.error is not None:
        found.append(_words.fitted(_words.clean(row.error), _ERROR))
    return found


def _link(chart: _Chart, before: list[str], after: list[str], depth: int) -> None:
    """Link each of some nodes with each of others, through a junction where both are several."""
    if len(before) > 1 and len(after) > 1:
        junction = chart.node(("((", "))"), " ", "other", depth)
        _link(chart, before, [junction], depth)
        before = [junction]
    chart.links += [f"  {one} --> {other}" for one in before for other in after]


def _label(name: str, *lines: str) -> str:
    """Return the text of a node, safe between quotes; lines are broken with ``<br/>``."""
    parts = [_words.fitted(name, _LABEL), *(line for line in lines if line)]
    return "<br/>".join(map(_escaped, parts))


def _escaped(said: str) -> str:
    """Return text in which everything but letters, digits and a few signs is written by its number."""
    return "".join(char if char in _PLAIN or char.isalnum() else f"#{ord(char)};" for char in said)
