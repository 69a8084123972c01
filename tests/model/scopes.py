"""Where the explorer looks: for everything at once there are too many states, so each scope has a theme."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Final

from model.turn import Scope

_ASKED = ("started", "interrupted")

STARTING: Final = Scope(name="starts", commands=("start",), sessions=2, calls=1)
ANSWERING: Final = Scope(name="answers", begin=_ASKED, commands=("resume", "continue"), sessions=3)
MENDING: Final = Scope(
    name="mended heads", begin=_ASKED, commands=("resume", "mend"), sessions=3, ends=("finished",)
)
RECOVERING: Final = Scope(
    name="takeovers",
    begin=("started",),
    alive=True,
    commands=("continue",),
    sessions=2,
    calls=1,
    ends=("finished",),
)
REPLACING: Final = Scope(
    name="new input", begin=("started",), alive=True, commands=("start",), sessions=1, calls=1, faults=2
)
RETRYING: Final = Scope(
    name="retries",
    begin=("started", "failed"),
    commands=("continue", "start"),
    sessions=2,
    ends=("failed", "finished"),
)
RENEWING: Final = Scope(
    name="leases",
    begin=("started",),
    alive=True,
    commands=("start", "continue"),
    sessions=1,
    ends=("finished",),
    renewals=True,
    releases=True,
)
PAUSING: Final = Scope(
    name="late outcomes",
    begin=("started",),
    alive=True,
    commands=("continue", "resume"),
    sessions=2,
    late=True,
)
PRUNING: Final = Scope(
    name="pruning",
    begin=("started", "finished"),
    commands=("start", "prune"),
    sessions=2,
    ends=("finished",),
)
REPEATING: Final = Scope(
    name="pruning what is sent again",
    begin=("started",),
    commands=("start", "prune"),
    sessions=3,
    ends=("finished",),
)
"""For the backend that does it in fewer steps: the other has too many states for every day."""
FREEZING: Final = Scope(
    name="pruning, past a frozen owner",
    begin=("started", "claimed", "finished", "started", "finished"),
    alive=True,
    commands=("start", "prune"),
    sessions=2,
    ends=("finished",),
)
DELETING: Final = Scope(
    name="deletion",
    begin=("started",),
    alive=True,
    commands=("start", "delete"),
    sessions=2,
    ends=("finished",),
)

ASKING: Final = Scope(
    name="requests to the owner",
    begin=("started",),
    alive=True,
    commands=("ask", "continue"),
    sessions=2,
    ends=("finished",),
    renewals=True,
    releases=True,
)

ALL: Final = (
    STARTING,
    ANSWERING,
    MENDING,
    RECOVERING,
    REPLACING,
    RETRYING,
    RENEWING,
    PAUSING,
    PRUNING,
    FREEZING,
    DELETING,
    ASKING,
)

MORE: Final = int(os.environ.get("MILEPOST_TEST_MODEL_DEPTH", "0"))
"""How many commands and faults more than by default: each makes a search some ten times as long."""


def deeper(scope: Scope) -> Scope:
    """Return a scope as wide as was asked for."""
    return replace(scope, sessions=scope.sessions + MORE, faults=scope.faults + MORE)
