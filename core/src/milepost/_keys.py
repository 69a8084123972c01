"""Idempotency keys of starts: one request, one run, however often it is sent.

A key belongs to whom the run is started for. It names a thread; the run is there, or that thread's journal holds one
record that says where it is. So two processes that bring one key at once meet at one append.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from milepost import _claim, _ids, _runs
from milepost._struct import Struct
from milepost.checkpoint import Batch, Keyed
from milepost.errors import IdempotencyConflict, InvalidStart, PositionTaken

if TYPE_CHECKING:
    from milepost._claim import Start
    from milepost._clock import Clock
    from milepost._fold import RunState
    from milepost.checkpoint import Checkpointer

_LONGEST: Final = 255
_ATTEMPTS: Final = 8


class Place(Struct):
    """Where a keyed run is to be, and the run where it is there already."""

    thread: str
    run: RunState | None = None


def check(name: str, given: object) -> str | None:
    """Return a key or an owner as it is kept.

    Raises:
        InvalidStart: it is no text of 1 to 255 characters.
    """
    if given is None or (isinstance(given, str) and 0 < len(given) <= _LONGEST and is_text(given)):
        return given
    raise InvalidStart(f"start({name}=…) is a text of 1 to {_LONGEST} characters, not {given!r}")


def is_text(given: object) -> bool:
    """Tell whether this is a text that every backend can keep: half a surrogate pair is none."""
    try:
        return isinstance(given, str) and given.encode() is not None
    except UnicodeEncodeError:
        return False


def thread_of(principal: str | None, key: str) -> str:
    """Return the thread that a key names."""
    # With its length, as either may hold anything.
    whose = ("-",) if principal is None else (f"{len(principal)}", principal)
    return f"key-{_ids.idempotency_key('start', *whose, key)}"


def place(checkpointer: Checkpointer, start: Start, thread: str | None, clock: Clock) -> Place:
    """Return where a keyed start belongs; ``thread`` is what the caller says of it.

    Raises:
        IdempotencyConflict: the key was used for something else.
    """
    assert start.key is not None  # noqa: S101 - asked only for starts with a key
    anchor = thread_of(start.principal, start.key)
    for attempt in range(_ATTEMPTS):
        state = _claim.read_thread(checkpointer, anchor, checkpointer.load_head(anchor))
        keyed = state.keyed
        if keyed is not None:
            same = (keyed.workflow, keyed.input) == (start.workflow, start.input)
            return _found(checkpointer, start, thread, keyed.thread, same=same)
        if state.run is not None or thread is None or thread == anchor:
            return _found(checkpointer, start, thread, anchor, same=True)
        now = clock.now().isoformat()
        record = Keyed(at=now, workflow=start.workflow, thread=thread, input=start.input)
        batch = Batch(id=f"{_ids.token()}-k{attempt}", records=(record,))
        try:
            checkpointer.append(anchor, state.tail, batch)
        except PositionTaken:
            continue
        return Place(thread=thread)
    raise conflict(start, anchor)


def _found(checkpointer: Checkpointer, start: Start, said: str | None, thread: str, *, same: bool) -> Place:
    """Return the place that a key has, with its run, if the request is the same."""
    if not same or said not in {None, thread}:
        raise conflict(start, thread)
    run = find(checkpointer, thread, start)
    if run is not None:
        check_same(start, run, thread)
    return Place(thread=thread, run=run)


def find(checkpointer: Checkpointer, thread: str, start: Start) -> RunState | None:
    """Return the run of a thread that a keyed start began, or None."""
    return next((run for run in _runs.walk(checkpointer, thread) if start.is_of(run.started)), None)


def check_same(start: Start, run: RunState, thread: str) -> None:
    """Refuse a key whose run is another.

    Raises:
        IdempotencyConflict: it began with another input or workflow.
    """
    if (run.started.workflow, run.started.input) != (start.workflow, start.input):
        raise conflict(start, thread)


def conflict(start: Start, thread: str) -> IdempotencyConflict:
    """Return what a request gets whose key is another's."""
    whose = "" if start.principal is None else f" of {start.principal!r}"
    return IdempotencyConflict(
        f"idempotency key {start.key!r}{whose} was used for another request, on thread {thread!r}: a request that is "
        f"sent again has the same workflow, input and thread; a new one has a new key",
        thread_id=thread,
        key=start.key or "",
    )
