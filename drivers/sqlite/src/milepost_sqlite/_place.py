"""Which database a URL names, and how it is opened: the same for all that lies in one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from milepost.errors import InvalidURL
from milepost.url import mask, unquote

if TYPE_CHECKING:
    from milepost.url import URL

MEMORY: Final = ":memory:"
SYNCHRONOUS: Final = {"normal": 1, "full": 2}

_MAX_TIMEOUT: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLiteOptions:
    """The options of a ``sqlite:`` URL, which are keywords of the drivers."""

    synchronous: Literal["full", "normal"] = "full"
    timeout: float = 30.0
    mkdir: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a database is opened. ``path`` is absolute or ``:memory:``; ``timeout`` is in seconds."""

    path: str
    synchronous: str
    timeout: float
    mkdir: bool


def settings(path: str | os.PathLike[str], *, synchronous: str, timeout: float, mkdir: bool) -> Settings:
    """Return checked settings; a relative path is resolved against the working directory, once and now.

    Raises:
        InvalidURL: ``synchronous`` or ``timeout`` has no such value.
    """
    if synchronous not in SYNCHRONOUS:
        raise InvalidURL(f"synchronous is 'full' or 'normal', not {synchronous!r}")
    if not 0 <= timeout <= _MAX_TIMEOUT:
        raise InvalidURL(f"timeout is between 0 and {_MAX_TIMEOUT:g} seconds, not {timeout!r}")
    name = os.fspath(path)
    whole = name if name == MEMORY else str(Path.cwd() / name)
    return Settings(path=whole, synchronous=synchronous, timeout=timeout, mkdir=mkdir)


def path_of(url: URL) -> str:
    """Return the file that a URL names.

    Raises:
        InvalidURL: it names none, or stands where a host would.
    """
    if url.netloc:
        name = mask(url.netloc + url.path)
        hint = (
            "sqlite://" if name == MEMORY else f"sqlite:///{name} (relative) or sqlite:////{name} (absolute)"
        )
        raise InvalidURL(f"{str(url)!r} names a host, and SQLite has none: write {hint}")
    path = unquote(url.path.removeprefix("/"))
    if not url.path:
        return MEMORY
    if not path or "\0" in path:
        raise InvalidURL(f"{str(url)!r} names no file: write sqlite:///runs.db")
    return path
