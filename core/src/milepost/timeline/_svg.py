"""A picture as an SVG document.  (timeline: layer 4)"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from milepost.timeline import _words
from milepost.timeline._axis import Axis, Break, Measure, axis
from milepost.timeline._folding import lines, size
from milepost.timeline._moments import clock, coarse, date, duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from milepost.timeline._folding import Line
    from milepost.timeline._rows import Bar, Gap, Row, Work

WIDTH: Final = 960
_ROWS: Final = 200
_FACTS: Final = 40
_PAD: Final = 24
_NAMES: Final = 270  # the columns of names and of durations end here
_TIMES: Final = 88
_LEFT: Final = _PAD + _NAMES + _TIMES + 20  # where bars begin
_BARS: Final = WIDTH - _PAD - _LEFT
_STEP: Final = 24  # from row to row
_BAR: Final = 12
_LEAST: Final = (2.0, 6.0)  # how wide a bar is at least, and one that is hollow
_INDENT: Final = 14
_HEAD: Final = 64
_AXIS: Final = 38  # the height of the times above the bars, and of the names of breaks above them
_TICKS: Final = 20
_CHAR: Final = 7.3  # the width of a column of the names' typeface at 12 px, with some room

_SANS: Final = 'system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif'
_MONO: Final = 'ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace'
_LIGHT: Final = {
    ".page": "fill:#fff",
    "text": f"font:12px {_MONO};fill:#1f2328",
    ".title": f"font:600 16px {_SANS}",
    ".said,.tick,.fact": f"font:12px {_SANS};fill:#57606a",
    ".tick": "font-size:11px",
    ".time,.dim,.sign-done,.sign-answered": "fill:#57606a",
    ".bad,.sign-failed": "fill:#a63c00",
    ".sign-interrupted,.sign-sleeping": "fill:#7a5200",
    ".rule": "stroke:#d0d7de",
    ".cut": "fill:#f3f4f6",
    ".edge": "stroke:#8c959f;stroke-dasharray:2 3;fill:none",
    ".work": "fill:#0b65a8",
    ".body": "fill:#424a53",
    ".failed": "fill:#fff;stroke:#a63c00",
    ".hatch": "stroke:#a63c00;stroke-width:2",
    ".wait": "fill:#fbe7c0;stroke:#a87400",
    ".retry": "stroke:#a87400;stroke-width:2;stroke-dasharray:1 4;stroke-linecap:round",
    ".sleep": "stroke:#a87400;stroke-width:2;stroke-dasharray:8 3",
    ".span": "stroke:#57606a",
    ".gap": "stroke:#8c959f;stroke-dasharray:3 3",
    ".cancelled,.replay": "fill:none;stroke:#57606a",
}
_DARK: Final = {
    ".page": "fill:#0d1117",
    "text": "fill:#e6edf3",
    ".said,.tick,.fact,.time,.dim,.sign-done,.sign-answered": "fill:#9aa4af",
    ".bad,.sign-failed": "fill:#ff9d66",
    ".sign-interrupted,.sign-sleeping": "fill:#e8bf5a",
    ".rule": "stroke:#30363d",
    ".cut": "fill:#161b22",
    ".work": "fill:#58a6ff",
    ".body": "fill:#9aa4af",
    ".failed": "fill:#0d1117;stroke:#ff9d66",
    ".hatch": "stroke:#ff9d66",
    ".wait": "fill:#3a2d0c;stroke:#e8bf5a",
    ".retry,.sleep": "stroke:#e8bf5a",
    ".span,.cancelled,.replay": "stroke:#9aa4af",
}

_LEGEND: Final = {
    "work": "work",
    "body": "makes calls",
    "failed": "failed attempt",
    "retry": "waiting for the next attempt",
    "wait": "waiting for an answer",
    "sleep": "asleep",
    "span": "begun, then executed again",
    "gap": "nobody at work",
    "cancelled": "cancelled",
    "replay": "answered from the record",
}


class _Canvas:
    """The elements of a document so far, and how high it is."""

    def __init__(self, hatch: str) -> None:
        self.parts: list[str] = []
        self.y = 0.0
        self.hatch = hatch

    def text(self, x: float, y: float, said: str, style: str = "", anchor: str = "") -> None:
        attributes = f' class="{style}"' if style else ""
        attributes += f' text-anchor="{anchor}"' if anchor else ""
        self.parts.append(f'<text x="{_n(x)}" y="{_n(y)}"{attributes}>{_safe(said)}</text>')

    def line(self, x: float, y: float, x2: float, y2: float, style: str) -> None:
        self.parts.append(f'<line class="{style}" x1="{_n(x)}" y1="{_n(y)}" x2="{_n(x2)}" y2="{_n(y2)}"/>')

    def box(self, x: float, y: float, size: tuple[float, float], style: str, fill: str = "") -> None:
        wide, high = size
        attributes = f' fill="{fill}"' if fill else ""
        self.parts.append(
            f'<rect class="{style}"{attributes} x="{_n(x)}" y="{_n(y)}" width="{_n(wide)}" height="{_n(high)}"'
            f' rx="{2 if high > 2 and wide > 4 else 0}"/>'  # noqa: PLR2004 - corners of what is large enough
        )

    def bar(self, kind: str, left: float, right: float, middle: float) -> None:
        """Draw a bar by its kind, each with a form of its own."""
        top, wide = middle - _BAR / 2, right - left
        if kind == "replay":
            self.parts.append(
                f'<path class="replay" d="M{_n(left + 4)} {_n(middle - 4)}l4 4-4 4-4-4z"/>'  # a diamond
            )
        elif kind in ("span", "gap", "retry", "sleep"):
            self.line(left, middle, left + wide, middle, kind)
        elif kind in ("work", "body"):
            self.box(left, top, (wide, _BAR), kind)
        else:
            self.box(left + 0.5, top + 0.5, (max(wide - 1, 0.5), _BAR - 1), kind)
            if kind == "failed":
                self.box(left + 0.5, top + 0.5, (max(wide - 1, 0.5), _BAR - 1), "fill", f"url(#{self.hatch})")


def svg(root: Row, works: tuple[Work, ...], gaps: tuple[Gap, ...]) -> str:
    """Draw a run; the document's height grows with its rows, of which there are at most two hundred."""
    drawn = lines(root, _ROWS)
    scale = _scale(root, gaps)
    canvas = _Canvas("mp-hatch")
    _head(canvas, root, gaps)
    _axis(canvas, scale, len(drawn) + sum(bool(_notes(line.row)) for line in drawn) * 0.75)
    for line in drawn:
        _row(canvas, scale, line)
    _legend(canvas, drawn)
    _story(canvas, works, gaps)
    return _document(canvas, root, works, gaps)


def _scale(root: Row, gaps: tuple[Gap, ...]) -> Axis:
    """Lay out time; few breaks are wide enough to say what they are."""
    for gap, most in ((128.0, 2), (60.0, 4), (44.0, 6)):
        scale = axis(root, gaps, Measure(width=_BARS, least=24, gap=gap))
        if len(scale.breaks) <= most:
            return scale
    return axis(root, gaps, Measure(width=_BARS, least=24, gap=16))


def _document(canvas: _Canvas, root: Row, works: tuple[Work, ...], gaps: tuple[Gap, ...]) -> str:
    from zlib import crc32

    drawing = "".join(canvas.parts)
    key = f"mp{crc32(drawing.encode()):08x}"  # ids are of the page that several pictures may stand on
    drawing = drawing.replace("url(#mp-hatch)", f"url(#{key}h)")
    told = "; ".join(fact.text for fact in _words.story(works, gaps)) or _words.counted(
        size(root) - 1, "call"
    )
    height = _n(canvas.y + _PAD)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="mp" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" role="img" aria-labelledby="{key}t {key}d">'
        f'<title id="{key}t">{_safe(_title(root))}</title><desc id="{key}d">{_safe(told)}</desc>'
        f"<style>{_rules(_LIGHT)}@media (prefers-color-scheme:dark){{{_rules(_DARK)}}}</style>"
        f'<defs><pattern id="{key}h" width="5" height="5" patternUnits="userSpaceOnUse" '
        f'patternTransform="rotate(45)"><line class="hatch" x1="1" y1="0" x2="1" y2="5"/></pattern></defs>'
        f'<rect class="page" width="{WIDTH}" height="{height}"/>{drawing}</svg>'
    )


def _rules(style: Mapping[str, str]) -> str:
    """Return style rules that hold within our drawings only, also where one stands in a page."""
    return "".join(
        f"{','.join(f'.mp {name}' for name in names.split(','))}{{{said}}}" for names, said in style.items()
    )


def _title(root: Row) -> str:
    return f"{_words.label(root)}: {root.status or 'never started'}"


def _head(canvas: _Canvas, root: Row, gaps: tuple[Gap, ...]) -> None:
    canvas.text(_PAD, _PAD + 14, _words.fitted(_title(root), 90), "title")
    canvas.text(_PAD, _PAD + 34, _words.taking(root, gaps), "said")
    canvas.y = _PAD + _HEAD - 14


def _axis(canvas: _Canvas, scale: Axis, rows: float) -> None:
    """Draw the times above the bars, and what was cut out as a band through all rows."""
    top, base = canvas.y, canvas.y + (_AXIS if scale.breaks else _TICKS)
    bottom = base + rows * _STEP + 4
    for cut in scale.breaks:
        left, wide = _LEFT + cut.left, cut.right - cut.left
        canvas.parts.append(
            f'<rect class="cut" x="{_n(left)}" y="{_n(top)}" width="{_n(wide)}" height="{_n(bottom - top)}"/>'
        )
        for x in (left, left + wide):
            canvas.line(x, top, x, bottom, "edge")
        _name_cut(canvas, cut, (left + wide / 2, top))
    free, before = 0.0, scale.pieces[0][0]
    for began, _, left, right in scale.pieces:
        said = clock(began, before)
        if _LEFT + left >= free and len(said) * _CHAR <= right - left:
            canvas.text(_LEFT + left + (4 if left else 0), base - 9, said, "tick")
            free, before = _LEFT + left + len(said) * _CHAR, began
    canvas.line(_PAD, base, WIDTH - _PAD, base, "rule")
    canvas.y = base + 4


def _name_cut(canvas: _Canvas, cut: Break, where: tuple[float, float]) -> None:
    middle, top = where
    wide, lasted = cut.right - cut.left, cut.ended - cut.began
    whole, short = duration(lasted), coarse(lasted)
    if wide > 100:  # noqa: PLR2004 - room for a sentence
        canvas.text(middle, top + 13, f"⋯ {whole} ⋯", "tick", "middle")
        canvas.text(middle, top + 28, _words.fitted(_words.clean(cut.why), 22), "tick", "middle")
    elif wide > 40:  # noqa: PLR2004 - room for a number
        canvas.text(middle, top + 13, short, "tick", "middle")
        canvas.text(middle, top + 28, "⋯", "tick", "middle")
    else:
        canvas.text(middle, top + 28, "⋯", "tick", "middle")


def _row(canvas: _Canvas, scale: Axis, line: Line) -> None:
    row, middle = line.row, canvas.y + _STEP / 2
    indent = min(line.depth * _INDENT, _NAMES // 2)
    notes = _notes(row)
    canvas.parts.append(f"<g><title>{_safe(_told(row))}</title>")
    sign = _words.SIGNS.get(row.status)
    if sign is not None:
        canvas.text(_PAD, middle + 4, sign, f"sign-{row.status}")
    style = "dim" if row.kind in ("more", "question") else ""
    room = int((_NAMES - 18 - indent) / _CHAR)
    canvas.text(_PAD + 18 + indent, middle + 4, _words.fitted(_words.label(row), room), style)
    canvas.text(_PAD + _NAMES + _TIMES, middle + 4, _words.taken(row), "time", "end")
    for bar in row.bars:
        left, right = _LEFT + scale.at(bar.began), _LEFT + scale.at(bar.ended)
        least = _LEAST[bar.kind == "cancelled"]
        right = min(max(right, left + least), _LEFT + _BARS)
        canvas.bar(_kind(row, bar), min(left, right - least), right, middle)
    canvas.y += _STEP
    if notes:
        most = int((WIDTH - 2 * _PAD - 18 - indent - 12) / _CHAR)
        said = _words.fitted(", ".join(notes), most)
        canvas.text(_PAD + 18 + indent + 12, canvas.y + 8, said, "bad" if row.status == "failed" else "dim")
        canvas.y += _STEP * 0.75
    canvas.parts.append("</g>")


def _kind(row: Row, bar: Bar) -> str:
    return "body" if row.children and bar.kind == "work" else bar.kind


def _notes(row: Row) -> list[str]:
    error = [] if row.error is None else [_words.clean(row.error)]
    return error + _words.remarks(row)


def _told(row: Row) -> str:
    """Return what is read out of a row, and shown when a pointer rests on it."""
    parts = [f"{_words.label(row)}: {row.status or 'not shown'}", _words.taken(row)]
    parts += [f"call {row.id}"] if row.id else []
    parts += [f"answered from the record {row.replays} times"] if row.replays else []
    return _words.fitted(", ".join(part for part in (*parts, *_notes(row)) if part), 400)


def _legend(canvas: _Canvas, drawn: list[Line]) -> None:
    used = {_kind(line.row, bar) for line in drawn for bar in line.row.bars}
    if not used - {"work", "body"}:
        return
    canvas.y += 20
    x = float(_PAD)
    for kind, said in _LEGEND.items():
        if kind not in used:
            continue
        wide = 28 + len(said) * 7 + 22
        if x + wide > WIDTH - _PAD:
            x, canvas.y = float(_PAD), canvas.y + 20
        canvas.bar(kind, x, x + 22, canvas.y)
        canvas.text(x + 28, canvas.y + 4, said, "said")
        x += wide
    canvas.y += 8


def _story(canvas: _Canvas, works: tuple[Work, ...], gaps: tuple[Gap, ...]) -> None:
    facts = _words.shortened(_words.story(works, gaps), _FACTS)
    if not facts:
        return
    canvas.y += 12
    canvas.line(_PAD, canvas.y, WIDTH - _PAD, canvas.y, "rule")
    for fact in facts:
        canvas.y += 20
        if fact.at is not None:
            canvas.text(_PAD, canvas.y, date(fact.at), "time")
        canvas.text(_PAD + 172, canvas.y, _words.fitted(fact.text, 100), "fact")


def _n(number: float) -> str:
    """Return a coordinate to a tenth of a pixel."""
    return f"{number:.1f}".removesuffix(".0")


def _safe(said: str) -> str:
    return escape(_words.clean(said), {'"': "&quot;"})
