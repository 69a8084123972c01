"""Where a database is and how it is opened: what a URL or the keywords of a driver say."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from milepost.errors import InvalidURL
from milepost.url import mask, unquote
from milepost_sqlite._client import MEMORY, SYNCHRONOUS, Settings

if TYPE_CHECKING:
    from milepost.url import URL

MAX_TIMEOUT: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLiteOptions:
    """The options of a ``sqlite:`` URL, which are keywords of checkpointer and store."""

    synchronous: Literal["full", "normal"] = "full"
    timeout: float = 30.0
    mkdir: bool = False


def settings(path: str | os.PathLike[str], options: SQLiteOptions) -> Settings:
    """Return how to open a database; its path is resolved against the working directory here, once.

    Raises:
        InvalidURL: ``synchronous`` or ``timeout`` has no such value.
    """
    if options.synchronous not in SYNCHRONOUS:
        raise InvalidURL(f"synchronous is 'full' or 'normal', not {options.synchronous!r}")
    if not 0 <= options.timeout <= MAX_TIMEOUT:
        raise InvalidURL(f"timeout is between 0 and {MAX_TIMEOUT:g} seconds, not {options.timeout!r}")
    name = os.fspath(path)
    return Settings(
        path=name if name == MEMORY else str(Path.cwd() / name),
        synchronous=options.synchronous,
        timeout=options.timeout,
        mkdir=options.mkdir,
    )


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
