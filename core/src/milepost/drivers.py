"""From a URL to a driver: the scheme names an entry point, and only that one is loaded.

``memory`` resolves from a table, so that nothing is scanned for it. What an application registers comes
before what is installed. Two packages that offer one scheme are an error, never a choice.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast, get_args, get_origin, get_type_hints

from milepost._struct import Struct
from milepost.checkpoint import Checkpointer
from milepost.errors import DriverBroken, DriverConflict, DriverNotFound, MilepostError, describe
from milepost.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

    from milepost.store import IndexConfig, TTLConfig
    from milepost.url import URL

Kind: TypeAlias = Literal["checkpointer", "store"]

_BASES: Final[dict[str, type[Any]]] = {"checkpointer": Checkpointer, "store": Store}
_GROUPS: Final = {"checkpointer": "milepost.checkpointers", "store": "milepost.stores"}
_BUILT_IN: Final = {
    ("checkpointer", "memory"): ("milepost.memory", "MemoryCheckpointer"),
    ("store", "memory"): ("milepost.memory", "MemoryStore"),
}
_KNOWN: Final = {
    "sqlite": "milepost-sqlite",
    "s3": "milepost-s3",
    "mongodb": "milepost-mongodb",
    "mongodb+srv": "milepost-mongodb",
}
_REGISTERED: Final = "(registered)"
_NOTHING: Final = object()
_OLDEST_API: Final = 1
_NEWEST_API: Final = 1

_registered: dict[tuple[str, str], type[Any]] = {}
_loaded: dict[tuple[str, str], type[Any]] = {}


class InstalledDriver(Struct):
    """A driver that could be opened: who offers it, and the class it names. Not imported yet."""

    kind: Kind
    scheme: str
    distribution: str
    version: str
    target: str


class DriverOption(Struct):
    """An option of a driver's URL: what it takes, and its default as text; ``default`` is None where it has none."""

    name: str
    type: str
    default: str | None


class DriverDetails(Struct):
    """What a driver's class declares, with the default settings; after ``error``, a driver that cannot be opened."""

    api: int | None = None
    capabilities: tuple[str, ...] = ()
    options: tuple[DriverOption, ...] = ()
    error: str | None = None


def open_checkpointer(url: str | URL | Checkpointer) -> Checkpointer:
    """Return the checkpointer of a URL, not connected yet; an opened driver is returned as it is.

    Raises:
        InvalidURL: the URL is malformed, or has an option that the driver does not know.
        DriverNotFound: no installed package offers a checkpointer for the scheme.
        DriverConflict: two packages do.
        DriverBroken: the driver cannot be imported, or was written for another version of milepost.
    """
    return cast(Checkpointer, url if isinstance(url, Checkpointer) else _open("checkpointer", url))


def open_store(
    url: str | URL | Store, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None
) -> Store:
    """Return the store of a URL, not connected yet; an opened driver is returned as it is.

    ``index`` is how values are embedded, for search by meaning: ``{"embed": function, "dims": 384}``. ``ttl`` is how
    long items live: ``{"default_ttl": minutes, "refresh_on_read": True}``.

    Raises:
        InvalidIndex: ``index`` or ``ttl`` is malformed.
        SearchUnsupported: ``index`` is given, and the driver keeps no embeddings.
        InvalidURL: the URL is malformed, or has an option that the driver does not know.
        DriverNotFound: no installed package offers a store for the scheme.
        DriverConflict: two packages do.
        DriverBroken: the driver cannot be imported, or was written for another version of milepost.
    """
    store = cast(Store, url if isinstance(url, Store) else _open("store", url))
    store.configure(index=index, ttl=ttl)
    return store


def register_driver(kind: Kind, scheme: str, cls: type[Any]) -> None:
    """Offer a driver class for a scheme in this process, before any installed one.

    Raises:
        InvalidURL: the scheme could not stand in a URL.
        DriverBroken: the class is no driver of this kind, or was written for another version of milepost.
    """
    from milepost.url import URL

    name = URL.parse(f"{scheme}://").scheme
    _registered[kind, name] = _checked(cls, kind, name, f"the registered class {describe(cls)}")


def installed_drivers() -> list[InstalledDriver]:
    """Return the drivers that are installed or registered, sorted. No driver is imported."""
    found = {_row(kind, point) for kind, group in _GROUPS.items() for point in _entry_points(group)}
    for (kind, scheme), (module, name) in _BUILT_IN.items():
        if not any((row.kind, row.scheme) == (kind, scheme) for row in found):
            found.add(_own_row(kind, scheme, "milepost", f"{module}:{name}"))
    for (kind, scheme), cls in _registered.items():
        found.add(_own_row(kind, scheme, _REGISTERED, f"{cls.__module__}:{cls.__qualname__}"))
    return sorted(found, key=lambda row: (row.kind, row.scheme, row.distribution, row.version, row.target))


def driver_details(row: InstalledDriver) -> DriverDetails:
    """Import a driver and return what it declares. One that cannot be used is described by ``error``."""
    try:
        cls = _registered[row.kind, row.scheme] if row.distribution == _REGISTERED else _class_of(row)
        options = () if cls.options is None else tuple(_options(cls))
    except MilepostError as error:
        return DriverDetails(error=str(error))
    except Exception as error:  # noqa: BLE001 - whatever a driver's own class raises is shown, not raised
        return DriverDetails(error=f"its options cannot be read: {error!r}")
    return DriverDetails(api=cls.DRIVER_API, capabilities=tuple(sorted(_capabilities(cls))), options=options)


def _class_of(row: InstalledDriver) -> type[Any]:
    key = (row.kind, row.scheme)
    return _find(*key) if key in _BUILT_IN else _installed(*key)


def _capabilities(cls: Any) -> Iterable[str]:
    return map(str, cls.capabilities)


def _options(cls: Any) -> Iterable[DriverOption]:
    hints = get_type_hints(cls.options)
    for name, default in _defaults(cls.options).items():
        shown = None if default is _NOTHING else _shown(default)
        yield DriverOption(name=f"{cls.options_prefix}{name}", type=_described(hints[name]), default=shown)


def _defaults(options: Any) -> dict[str, Any]:
    if issubclass(options, Struct):
        return {name: options.__struct_defaults__.get(name, _NOTHING) for name in options.__struct_fields__}
    from dataclasses import MISSING, fields

    return {f.name: _NOTHING if f.default is MISSING else f.default for f in fields(options)}


def _shown(default: Any) -> str:
    return "" if default is None else str(default).lower() if isinstance(default, bool) else str(default)


def _described(hint: Any) -> str:
    """Name what an option takes, as somebody who writes a URL would."""
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    arms = [arm for arm in get_args(hint) if arm is not type(None)]
    if arms:
        return _described(arms[0])
    return "seconds" if hint is float else str(getattr(hint, "__name__", hint))


def _open(kind: Kind, url: object) -> Any:
    from milepost.url import URL

    parsed = url if isinstance(url, URL) else URL.parse(cast(str, url))
    return _find(kind, parsed.scheme).from_url(parsed)


def _find(kind: Kind, scheme: str) -> type[Any]:
    key = (kind, scheme)
    if key in _registered:
        return _registered[key]
    if key not in _loaded:
        if key in _BUILT_IN:
            module, name = _BUILT_IN[key]
            _loaded[key] = getattr(import_module(module), name)
        else:
            _loaded[key] = _installed(kind, scheme)
    return _loaded[key]


def _installed(kind: Kind, scheme: str) -> type[Any]:
    claims = {point.value: point for point in _entry_points(_GROUPS[kind]) if point.name == scheme}
    if not claims:
        raise _not_found(kind, scheme)
    if len(claims) > 1:
        who = sorted(f"{_distribution(point)} ({target})" for target, point in claims.items())
        text = f"{scheme!r} is claimed by {' and '.join(who)}: uninstall one of them"
        raise DriverConflict(text, scheme=scheme, claimants=who)
    point = next(iter(claims.values()))
    source = _distribution(point)
    try:
        cls = _load(kind, scheme, point)
    except Exception as error:
        raise DriverBroken(
            f"{kind} driver {scheme!r} from {source} cannot be imported: {error}{_missing(error, point)}"
        ) from error
    return _checked(cls, kind, scheme, source)


def _load(kind: Kind, scheme: str, point: EntryPoint) -> Any:
    """Load one entry point with stevedore; by hand where its cache on disk is older than the installation."""
    from stevedore.driver import DriverManager
    from stevedore.exception import NoMatches

    try:
        manager: DriverManager[Any] = DriverManager(_GROUPS[kind], scheme)
    except NoMatches:
        return point.load()
    return manager.extensions[0].plugin  # not .driver: an instance that is falsy would come back as its class


def _checked(driver: Any, kind: Kind, scheme: str, source: str) -> type[Any]:
    base = _BASES[kind]
    if not (isinstance(driver, type) and issubclass(driver, base)):
        raise DriverBroken(f"{kind} driver {scheme!r} from {source} is no {describe(base)}")
    cls: Any = driver
    spoken: int = cls.DRIVER_API
    if not _OLDEST_API <= spoken <= _NEWEST_API:
        remedy = "milepost" if spoken > _NEWEST_API else source.partition(" ")[0]
        raise DriverBroken(
            f"{source} speaks driver API {spoken}, this milepost speaks {_NEWEST_API}: upgrade {remedy}"
        )
    return driver


def _not_found(kind: Kind, scheme: str) -> DriverNotFound:
    rows = installed_drivers()
    schemes = sorted({row.scheme for row in rows if row.kind == kind})
    others = [row for row in rows if row.scheme == scheme]
    listing = ", ".join(schemes)
    if others:
        other = others[0]
        text = (
            f"{other.distribution} provides a {other.kind} for {scheme!r} but no {kind}; "
            f"{kind}s installed: {listing}"
        )
    else:
        text = f"no {kind} driver for {scheme!r}.{_remedy(scheme, schemes)} Installed: {listing}."
    return DriverNotFound(text, kind=kind, scheme=scheme, installed=schemes)


def _remedy(scheme: str, installed: Iterable[str]) -> str:
    from difflib import get_close_matches

    if scheme in _KNOWN:
        package = _KNOWN[scheme]
        extra = package.removeprefix("milepost-")
        return f" Install it: pip install '{package}' (or 'milepost[{extra}]')."
    near = get_close_matches(scheme, {*installed, *_KNOWN}, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _missing(error: Exception, point: EntryPoint) -> str:
    """Name the remedy where the driver lacks a module that is not its own."""
    own = point.value.partition(":")[0].partition(".")[0]
    if not isinstance(error, ModuleNotFoundError) or not error.name or error.name.partition(".")[0] == own:
        return ""
    name = point.dist.name if point.dist is not None else own
    return f". Install it again with what it needs: pip install --force-reinstall '{name}'"


def _entry_points(group: str) -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return list(entry_points(group=group))


def _distribution(point: EntryPoint) -> str:
    return "an unknown distribution" if point.dist is None else f"{point.dist.name} {point.dist.version}"


def _row(kind: str, point: EntryPoint) -> InstalledDriver:
    return InstalledDriver(
        kind=cast(Kind, kind),
        scheme=point.name,
        distribution="" if point.dist is None else point.dist.name,
        version="" if point.dist is None else point.dist.version,
        target=point.value,
    )


def _own_row(kind: str, scheme: str, distribution: str, target: str) -> InstalledDriver:
    return InstalledDriver(
        kind=cast(Kind, kind), scheme=scheme, distribution=distribution, version="", target=target
    )
