"""A run on standard output: the chunks of stream modes, or a line for a person at each event."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from milepost import events
from milepost._chunk import CALLS, CHECKPOINTS, MODES, checked, said, shown
from milepost._struct import Struct
from milepost._watch import Listener

if TYPE_CHECKING:
    from collections.abc import Sequence

    from milepost.events import Event, Namespace

PRETTY: Final = "pretty"
_MODES: Final = (*MODES, PRETTY)
_LONGEST: Final = 60  # characters of a value on a person's line
_MARKS: Final = (
    (events.Started, "▶", ""),
    (events.TaskFinished | events.WorkflowFinished, "✓", "32"),
    (events.TaskFailed | events.WorkflowFailed, "✗", "31"),
    (events.TaskInterrupted | events.WorkflowInterrupted, "?", "33"),
    (events.Ended, "-", "2"),
    (events.CustomWritten, "·", ""),
)


class Printed(Struct):
    """What to print of a run."""

    modes: tuple[str, ...]
    subgraphs: bool

    @classmethod
    def of(cls, print_mode: str | Sequence[str], *, subgraphs: bool) -> Printed:
        """Return what is asked for.

        Raises:
            InvalidStreamMode: a mode does not exist.
        """
        return cls(modes=checked(print_mode, modes=_MODES) if print_mode else (), subgraphs=subgraphs)

    def listener(self, base: Namespace = ()) -> Listener | None:
        """Return who prints what happens in the workflow of this namespace; None where nothing is to be printed."""
        if not self.modes:
            return None
        return Listener(
            _Pages(self.modes, base, labelled=self.subgraphs).show,
            namespace=base,
            within=self.subgraphs,
            calls=not {*CALLS, PRETTY}.isdisjoint(self.modes),
            checkpoints=not CHECKPOINTS.isdisjoint(self.modes),
        )


class _Pages:
    """Prints events: one call of ``write`` for each line, so that lines stay whole."""

    def __init__(self, modes: tuple[str, ...], base: Namespace, *, labelled: bool) -> None:
        self._modes = modes
        self._base = base
        self._labelled = labelled
        self._began: dict[str, str] = {}

    def show(self, event: Event) -> None:
        out = sys.stdout
        coloured, encoding = out.isatty(), out.encoding or "utf-8"
        for mode in self._modes:
            for line in self._lines(event, mode, coloured=coloured):
                out.write(f"{line.encode(encoding, 'replace').decode(encoding)}\n")
        out.flush()

    def _lines(self, event: Event, mode: str, *, coloured: bool) -> list[str]:
        if mode == PRETTY:
            return self._pretty(event, coloured=coloured)
        place = f" {event.namespace[len(self._base) :]}" if self._labelled else ""
        label = _painted(f"[{mode}]", "1" if coloured else "")
        return [f"{label}{place} {_text(chunk)}" for chunk in shown(event, mode, self._base)]

    def _pretty(self, event: Event, *, coloured: bool) -> list[str]:
        found = [(mark, colour) for kind, mark, colour in _MARKS if isinstance(event, kind)]
        if not found:
            return []
        mark, colour = found[0]
        if isinstance(event, events.Started):
            self._began[event.call] = event.at
            if event.replayed and event.call:
                return []  # its end says it all
        depth = (event.call.count(".") + 1 - event.call.count("~") if event.call else 0) * 2
        text = f"{event.at[11:19]} {' ' * depth}{_painted(mark, colour if coloured else '')} {event.name}"
        return [text + self._details(event)]

    def _details(self, event: Event) -> str:
        parts = [_told(event)]
        if isinstance(event, events.Ended):
            began = self._began.pop(event.call, "")
            if began and not isinstance(event, events.TaskUnfinished | events.WorkflowUnfinished):
                parts.append(_duration(began, event.at))
        if event.attempt > 1:
            parts.append(f"attempt {event.attempt}")
        if event.replayed:
            parts.append("from the record" if event.call else "goes on")
        return "".join(f"  {part}" for part in parts if part)


def _told(event: Event) -> str:
    """Return what a person wants to read of an event beside its name."""
    text = ""
    if isinstance(event, events.TaskStarted):
        args, kwargs = event.input
        given = [*map(_text, args), *(f"{name}={_text(value)}" for name, value in kwargs.items())]
        text = f"({', '.join(given)})"
    elif isinstance(event, events.WorkflowStarted):
        text = f"({_text(event.input)})"
    elif isinstance(event, events.TaskFinished | events.WorkflowFinished):
        text = _text(event.result)
    elif isinstance(event, events.TaskFailed | events.WorkflowFailed):
        text = said(event.error)
    elif isinstance(event, events.TaskInterrupted | events.WorkflowInterrupted):
        text = ", ".join(_text(interrupt.value) for interrupt in event.interrupts)
    elif isinstance(event, events.CustomWritten):
        text = _text(event.value)
    else:
        text = (
            "cancelled"
            if isinstance(event, events.TaskCancelled | events.WorkflowCancelled)
            else "unfinished"
        )
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _text(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - code of the user's; the run and what else is printed do not depend on it
        return f"<{type(value).__qualname__}>"


def _painted(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def _duration(began: str, ended: str) -> str:
    seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
