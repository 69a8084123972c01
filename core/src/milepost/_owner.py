"""Who we are, and whether somebody else is provably dead.

An owner is dead for certain only when it lived on this boot of this host, in this process-id namespace, and its
process is gone or its process id belongs to a later process. Everything else is left to the lease.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from milepost import _ids
from milepost.checkpoint import Owner
from milepost.fork import PerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

_PROC = "/proc"
_STARTED = 19  # where a process's start stands in its `stat`, counted from its state


class _Process:
    """This process, and the sessions that work in it now."""

    def __init__(self) -> None:
        import platform

        self.pid = os.getpid()
        self.host = platform.node()
        self.boot = _boot()
        self.started = _started(self.pid) or 0
        self.live: set[str] = set()


_process: PerProcess[_Process] = PerProcess(_Process)


def begin() -> Owner:
    """Open a session: an owner nobody was before, alive until :func:`end`."""
    owner = make()
    _process.get().live.add(owner.session)
    return owner


def make() -> Owner:
    """Name an owner nobody was before, for a session that has not begun."""
    here = _process.get()
    return Owner(host=here.host, boot=here.boot, pid=here.pid, started=here.started, session=_ids.token())


def enter(owner: Owner) -> None:
    """Begin the session of an owner made before."""
    _process.get().live.add(owner.session)


def ending(owner: Owner) -> Callable[[], None]:
    """Return what ends a session; whoever finds its name in a head may then take the thread at once.

    Calling it in a ``finally`` runs no Python code, so Ctrl-C cannot come before it has done its work.
    """
    return partial(_process.get().live.discard, owner.session)


def end(owner: Owner) -> None:
    """End a session."""
    ending(owner)()


def is_dead(owner: Owner) -> bool:
    """Tell whether an owner provably works no more. False means alive or not known."""
    here = _process.get()
    if not owner.boot or (owner.host, owner.boot) != (here.host, here.boot):
        return owner.pid == here.pid and owner.host == here.host and _is_ended_here(owner, here)
    if owner.pid == here.pid and owner.started == here.started:
        return owner.session not in here.live
    return _is_gone(owner.pid, owner.started)


def is_here(owner: Owner) -> bool:
    """Tell whether an owner works in this very process now."""
    here = _process.get()
    same = (owner.host, owner.pid, owner.started) == (here.host, here.pid, here.started)
    return same and owner.session in here.live


def _is_ended_here(owner: Owner, here: _Process) -> bool:
    """Without a boot id only this very process can be judged, and only while its start cannot be told apart."""
    return (
        not owner.boot and not here.boot and owner.started == here.started and owner.session not in here.live
    )


def _boot() -> str:
    """Name this boot of this kernel and the process-id namespace; empty where the system does not tell."""
    try:
        boot = _proc("sys/kernel/random/boot_id").strip()
        return f"{boot}/{os.readlink(f'{_PROC}/self/ns/pid')}"  # noqa: PTH115 - a namespace link names no file
    except OSError:
        return ""


def _is_gone(pid: int, started: int) -> bool:
    """Tell whether a process ended: there is none with its id, only its zombie, or one that started later.

    A process that the system hides from us (``hidepid``, another user) is not gone.
    """
    fields = _stat(pid)
    if fields:
        return fields[0] in "ZX" or started not in (0, int(fields[_STARTED]))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _started(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None where the system does not tell."""
    fields = _stat(pid)
    return int(fields[_STARTED]) if fields else None


def _stat(pid: int) -> list[str]:
    """Return what the system tells of a process, from its state on; empty where it does not."""
    try:
        return _proc(f"{pid}/stat").rpartition(")")[2].split()
    except OSError:
        return []


def _proc(name: str) -> str:
    with open(f"{_PROC}/{name}", encoding="ascii", errors="replace") as file:  # noqa: PTH123 - pathlib is slow to import
        return file.read()
