"""Servers with a proxy before them, and servers that a test may kill."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from backends import CHOSEN, SERVERS, Backends, parametrized
from milepost.errors import MilepostError
from wire.line import Line
from wire.protocols import PROTOCOLS
from wire.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_numbers = itertools.count()

WIRED = parametrized(tuple(name for name in CHOSEN if name in SERVERS))


@pytest.fixture(params=WIRED)
def line(request: pytest.FixtureRequest, backends: Backends) -> Iterator[Line]:
    """A fresh place on the server of the session."""
    yield from _line(request.param, backends)


@pytest.fixture(params=WIRED)
def mortal_line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Line]:
    """A fresh place on a server of this test, which may be killed."""
    own = Backends(tmp_path)
    yield from _line(request.param, own)
    own.stop()


def _line(name: str, backends: Backends) -> Iterator[Line]:
    server = backends.server(name)
    with Proxy(PROTOCOLS[name], server.port) as proxy:
        made = Line(name, server, proxy, f"wire{os.getpid()}-{next(_numbers)}")
        yield made
        for driver in made.opened:
            with suppress(MilepostError):
                driver.close()
