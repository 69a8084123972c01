"""What is recorded of a call's config, and the config that a body finds when its run is resumed.

As in LangGraph: tags, metadata, and of ``configurable`` the scalars whose names do not begin with ``__``. What says
where a run lives, such as the thread id, is on record already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from milepost import serde
from milepost.errors import InvalidConfig
from milepost.records import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from milepost.records import Started

_SCALARS: Final = (str, int, float, bool)
_PLACES: Final = frozenset({"thread_id", "checkpoint_id", "checkpoint_ns"})


def merged(config: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with another laid over it: tags are joined, metadata and ``configurable`` key by key."""
    found = {**config, **over}
    for name in ("metadata", "configurable"):
        if config.get(name) or over.get(name):
            found[name] = {**(config.get(name) or {}), **(over.get(name) or {})}
    if config.get("tags") and over.get("tags"):
        found["tags"] = list(dict.fromkeys([*config["tags"], *over["tags"]]))
    return found


def checked(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config if its parts have the types they must have.

    Raises:
        InvalidConfig: one has not.
    """
    tags, metadata = config.get("tags"), config.get("metadata")
    if tags is not None and not (
        isinstance(tags, list | tuple) and all(isinstance(tag, str) for tag in tags)
    ):
        raise InvalidConfig(f"config['tags'] is a list of strings, not {tags!r}")
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(k, str) for k in metadata)
    ):
        raise InvalidConfig(f"config['metadata'] is a dict whose keys are strings, not {metadata!r}")
    if not isinstance(config.get("run_name"), str | None):
        raise InvalidConfig(f"config['run_name'] is a string, not {config['run_name']!r}")
    most = config.get("max_concurrency")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise InvalidConfig(
            f'config={{"max_concurrency": …}} is how many tasks of the run execute at once, an int from 1; not {most!r}'
        )
    return config


def kept(config: Mapping[str, Any], *, where: str, whole: bool = False) -> Value | None:
    """Return what is recorded of a config with the run that it starts; None where there is nothing to record.

    ``whole`` adds how the run is to execute, for one that others than its caller go on with.

    Raises:
        NotSerializable: metadata cannot be kept.
    """
    scalars = {
        name: given
        for name, given in (config.get("configurable") or {}).items()
        if isinstance(given, _SCALARS) and not name.startswith("__") and name not in _PLACES
    }
    found = {
        "tags": list(config.get("tags") or ()),
        "metadata": config.get("metadata"),
        "configurable": scalars,
        "run_name": config.get("run_name"),
    }
    if whole:
        found |= {name: config.get(name) for name in ("max_concurrency", "durability")}
    found = {name: given for name, given in found.items() if given}
    return Value(text=serde.encode(found, where=f"the config of {where}")) if found else None


def restored(started: Started, config: Mapping[str, Any], said: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of a call that goes on with a run: what the call ``said`` itself, else what is on record.

    ``config`` is what the call would have on its own, with the workflow's defaults.
    """
    if started.config is None:
        return config
    recorded = serde.decode(started.config.raw, where=f"the config of run {started.run}")
    found = merged(merged(config, recorded), said)
    tags = said.get("tags") or recorded.get("tags") or config.get("tags")
    return {**found, "tags": list(tags)} if tags else found


def metadata(started: Started) -> dict[str, Any]:
    """Return what a run's snapshot shows as metadata: the scalars of ``configurable``, the user's metadata, tags."""
    if started.config is None:
        return {}
    recorded = serde.decode(started.config.raw, where=f"the config of run {started.run}")
    beside = {name: recorded[name] for name in ("tags", "run_name") if name in recorded}
    return {**recorded.get("configurable", {}), **recorded.get("metadata", {}), **beside}
