"""From time to place: work is drawn to scale, long waits are cut short.  (timeline: layer 3)"""

from __future__ import annotations

from bisect import bisect_left
from itertools import islice
from typing import TYPE_CHECKING

from milepost._struct import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from milepost.timeline._rows import Gap, Row

Span = tuple[float, float]


class Break(Struct):
    """A wait that is cut short: when it was, why, and from where to where it is drawn."""

    began: float
    ended: float
    why: str
    left: float
    right: float


class Axis(Struct):
    """A monotone map from seconds to places between 0 and ``width``, linear in each of its pieces.

    ``pieces`` are the stretches drawn to scale: from second to second, from place to place. ``breaks`` lie between.
    """

    width: float
    pieces: tuple[tuple[float, float, float, float], ...]
    breaks: tuple[Break, ...]

    def at(self, second: float) -> float:
        """Return the place of a time; times outside are drawn at the ends."""
        stretches = (*self.pieces, *((cut.began, cut.ended, cut.left, cut.right) for cut in self.breaks))
        for began, ended, left, right in stretches:
            if began <= second <= ended:
                share = (second - began) / (ended - began) if ended > began else 0.0
                return left + share * (right - left)
        return 0.0 if second < self.pieces[0][0] else self.width


class Measure(Struct):
    """How wide an axis is, the least width of a stretch that is drawn to scale, and the width of a break."""

    width: float
    least: float
    gap: float

    @property
    def most(self) -> int:
        """How many breaks there is room for."""
        return max(0, int((self.width - self.least) // (self.least + self.gap)))


def axis(root: Row, gaps: Sequence[Gap], measure: Measure) -> Axis:
    """Lay out the time that a run took.

    A stretch in which nothing was executed is cut short where it is longer than all that was executed.
    """
    began = 0.0 if root.began is None else root.began
    times = [(bar.began, bar.ended) for row in flat(root) for bar in row.bars]
    began = min((start for start, _ in times), default=began)
    ended = max((end for _, end in times), default=began)
    busy, waits = _busy(root)
    total = sum(end - start for start, end in busy)
    idle = [span for span in without([(began, ended)], busy) if span[1] - span[0] > total]
    cuts = sorted(sorted(idle, key=lambda span: span[0] - span[1])[: measure.most])
    return _laid_out(began, ended, [(*cut, _why(cut, gaps, waits)) for cut in cuts], measure)


def flat(root: Row) -> Iterable[Row]:
    """Return a row and all within it, in order."""
    waiting = [root]
    while waiting:
        row = waiting.pop()
        yield row
        waiting.extend(reversed(row.children))


def _busy(root: Row) -> tuple[list[Span], list[Span]]:
    """Return when something was executed, and when calls waited to be tried again.

    A call that has calls was busy itself where none of them waited.
    """
    leaves: list[Span] = []
    callers: list[Span] = []
    waits: list[Span] = []
    for row in flat(root):
        for bar in row.bars:
            if bar.kind in ("retry", "wait"):
                waits.append((bar.began, bar.ended))
            elif bar.kind in ("work", "failed", "cancelled"):
                (callers if row.children else leaves).append((bar.began, bar.ended))
    return union([*leaves, *without(union(callers), union(waits))]), waits


def _why(cut: Span, gaps: Sequence[Gap], waits: list[Span]) -> str:
    for gap in gaps:
        if gap.began < cut[1] and cut[0] < gap.ended:
            return gap.why
    if any(began < cut[1] and cut[0] < ended for began, ended in waits):
        return "waiting for the next attempt"
    return "nothing ran"


def _laid_out(began: float, ended: float, cuts: list[tuple[float, float, str]], measure: Measure) -> Axis:
    starts = [began, *(cut[1] for cut in cuts)]
    ends = [*(cut[0] for cut in cuts), ended]
    shown = sum(end - start for start, end in zip(starts, ends, strict=True))
    least = [measure.least] * len(starts)
    if cuts and starts[-1] == ended:
        least[-1] = 0.0  # nothing comes after the last break
    spare = max(0.0, measure.width - measure.gap * len(cuts) - sum(least))
    pieces, breaks, left = [], [], 0.0
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        share = (end - start) / shown if shown > 0 else least[number] / sum(least)
        right = measure.width if number == len(cuts) else left + least[number] + spare * share
        pieces.append((start, end, left, right))
        if number < len(cuts):
            from_, to, why = cuts[number]
            breaks.append(Break(began=from_, ended=to, why=why, left=right, right=right + measure.gap))
        left = right + measure.gap
    return Axis(width=measure.width, pieces=tuple(pieces), breaks=tuple(breaks))


# -- sets of spans --------------------------------------------------------------------------------------------------


def union(spans: Iterable[Span]) -> list[Span]:
    """Return spans that do not touch, in order, which cover the same."""
    found: list[Span] = []
    for began, ended in sorted(spans):
        if found and began <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], ended))
        else:
            found.append((began, ended))
    return found


def without(spans: Iterable[Span], taken: Sequence[Span]) -> list[Span]:
    """Return what spans cover and others, which are in order and do not touch, do not."""
    left = []
    ends = [end for _, end in taken]
    for began, ended in spans:
        start = began
        for hole, end in islice(taken, bisect_left(ends, began), None):
            if hole > ended:
                break
            if hole > start:
                left.append((start, hole))
            start = end
        if start < ended:
            left.append((start, ended))
    return left
