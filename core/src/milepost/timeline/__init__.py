"""The picture of a run: what ran, waited and failed, and when; as text, SVG and Mermaid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from milepost import _clock
from milepost._struct import Struct
from milepost.timeline import _rows
from milepost.timeline._moments import instant
from milepost.timeline._rows import Bar, Gap, Row, Work

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from milepost.trace import Session, TaskState

__all__ = ["Bar", "Gap", "Row", "Timeline", "Work"]

_LIVE: Final = ("running", "interrupted", "sleeping")


class Timeline(Struct):
    """What a run did, as rows of bars: the body first, its calls within it, in the order in which they were made.

    ``sessions`` are the times in which somebody worked on the run, ``gaps`` those in which nobody did. All times are
    seconds since 1970. Print it, or take ``text()``, ``svg()``, ``mermaid()``.
    """

    root: Row
    sessions: tuple[Work, ...] = ()
    gaps: tuple[Gap, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        workflow: str,
        status: str,
        calls: Sequence[TaskState],
        sessions: Sequence[Session] = (),
        error: str | None = None,
        now: datetime | None = None,
    ) -> Timeline:
        """Lay a run out; what is not over ends ``now``, which is the machine's time where it is not given."""
        last = max(_times(calls, sessions), default=0.0)
        horizon = last
        if status in _LIVE and (calls or sessions):
            horizon = max(last, (now or _clock.SystemClock().now()).timestamp())
        counts = [0] * len(sessions)
        for call in calls:
            if call.session is not None and 0 <= call.session < len(counts):
                counts[call.session] += 1
        again = _rows.replayed(calls, len(sessions))
        works = _rows.works(sessions, tuple(zip(counts, again, strict=True)), status=status, horizon=horizon)
        gaps = _rows.gaps(works, status=status, horizon=horizon)
        inner = _rows.rows(calls, works, status=status, horizon=horizon)
        body = Row(id="", name=workflow, kind="workflow", status=status, error=error, children=inner)
        return cls(root=_rows.body(body, works, gaps), sessions=works, gaps=gaps)

    def rows(self) -> Iterator[Row]:
        """Yield the body and all its calls, in the order in which they were made."""
        from milepost.timeline._axis import flat

        yield from flat(self.root)

    def text(self, width: int = 80, *, color: bool = False) -> str:
        """Draw the run for a terminal.

        Args:
            width: columns a line may take; below 40, 40 are taken.
            color: whether to colour it with ANSI codes. Every kind of bar has a mark of its own, too.
        """
        from milepost.timeline import _text

        return _text.text(self.root, self.sessions, self.gaps, width=width, color=color)

    def __str__(self) -> str:
        return self.text()

    def svg(self) -> str:
        """Draw the run as a standalone SVG document; it has no scripts and loads nothing."""
        from milepost.timeline import _svg

        return _svg.svg(self.root, self.sessions, self.gaps)

    def mermaid(self) -> str:
        """Write the run as a Mermaid flowchart: calls in order, those that ran at the same time side by side."""
        from milepost.timeline import _mermaid

        return _mermaid.mermaid(self.root)

    def _repr_html_(self) -> str:
        """Return the picture and a table, for notebooks."""
        from milepost.timeline import _html

        return _html.html(self.svg(), self.root)


def _times(calls: Iterable[TaskState], sessions: Iterable[Session]) -> Iterator[float]:
    texts: list[str | None] = []
    for call in calls:
        texts += (call.began, call.ended, call.answered, *(one.ended for one in call.tries))
    for session in sessions:
        texts += (session.began, session.ended, session.seen)
    return (found for found in map(instant, texts) if found is not None)
