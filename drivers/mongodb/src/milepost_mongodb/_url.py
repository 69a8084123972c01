"""What a MongoDB URL says: pymongo's part as it is written, and milepost's own options; both checked ahead."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from milepost.errors import InvalidURL
from milepost.url import URL, mask, unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

DEFAULT_DATABASE: Final = "milepost"
OWN: Final = "milepost."
SLACK: Final = 3600.0
"""Seconds by which clocks of hosts and server may differ before a retention could harm."""

_MAX_SECONDS: Final = 100 * 366 * 86_400.0
_DATABASE = re.compile(r"[^/\\. \"$*<>:|?\x00-\x1f]{1,63}\Z")
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")

# What these may be, because the guarantee rests on it; the driver sets them itself.
_FIXED: Final = {
    "w": (("majority",), "an append that a majority has not confirmed may be rolled back"),
    "journal": (("true",), "an append that is not in the server's journal is lost when the server stops"),
    "j": (("true",), "an append that is not in the server's journal is lost when the server stops"),
    "fsync": (("true",), "an append that is not on disk is lost when the server stops"),
    "readconcernlevel": (("majority",), "what is read otherwise may be rolled back"),
    "readpreference": (("primary",), "a secondary answers with what was true a while ago"),
    "readpreferencetags": ((), "only the primary is read"),
    "maxstalenessseconds": ((), "only the primary is read"),
}
_DROPPED: Final = frozenset({"j"})  # a spelling of old clients that pymongo does not know
_NAMES: Final = (
    "appName", "authMechanism", "authMechanismProperties", "authSource", "compressors", "connectTimeoutMS",
    "directConnection", "heartbeatFrequencyMS", "loadBalanced", "localThresholdMS", "maxConnecting", "maxIdleTimeMS",
    "maxPoolSize", "minPoolSize", "proxyHost", "replicaSet", "retryReads", "retryWrites", "serverMonitoringMode",
    "serverSelectionTimeoutMS", "socketTimeoutMS", "srvMaxHosts", "srvServiceName", "ssl", "timeoutMS", "tls",
    "tlsAllowInvalidCertificates", "tlsAllowInvalidHostnames", "tlsCAFile", "tlsCertificateKeyFile",
    "tlsCertificateKeyFilePassword", "tlsCRLFile", "tlsDisableOCSPEndpointCheck", "tlsInsecure",
    "waitQueueTimeoutMS", "wTimeoutMS", "zlibCompressionLevel",
    "milepost.prefix", "milepost.retention", "milepost.timeout",
)  # fmt: skip
"""For the nearest name only; pymongo decides what it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MongoDBOptions:
    """The ``milepost.`` options of a URL, which are keywords of the drivers. Times are in seconds.

    A store has no use for ``retention``, and shares the URL of a checkpointer that does.
    """

    prefix: str = "milepost_"
    retention: float | None = None
    timeout: float = 5.0

    def __post_init__(self) -> None:
        if not _PREFIX.match(self.prefix) or ".." in self.prefix:
            raise InvalidURL(
                f"milepost.prefix is the beginning of collection names: letters, digits, '_', '-' and '.', "
                f"not {self.prefix!r}"
            )
        if self.prefix.startswith("system."):
            raise InvalidURL(f"milepost.prefix is {self.prefix!r}, and 'system.' belongs to MongoDB")
        if self.retention is not None and not 0 < self.retention <= _MAX_SECONDS:
            raise InvalidURL(f"milepost.retention is a number of seconds above 0, not {self.retention!r}")
        if not 0 < self.timeout <= _MAX_TIMEOUT:
            raise InvalidURL(
                f"milepost.timeout is a number of seconds up to {_MAX_TIMEOUT:g}, not {self.timeout!r}"
            )


_MAX_TIMEOUT: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a driver keeps what it keeps. ``uri`` holds the password, ``shown`` and ``repr()`` do not.

    ``uri`` is None where the user brought a client. ``secrets`` are texts that no message may show.
    """

    database: str
    options: MongoDBOptions
    uri: str | None = None
    shown: str = ""
    named: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Place({self.shown!r})"

    def __str__(self) -> str:
        return f"the MongoDB database {self.shown!r}"


def located(database: object, options: MongoDBOptions, *, given: bool) -> Place:
    """Return the place that a URL names; or a database, where the user brings a client.

    Raises:
        InvalidURL: it is no such URL, or no such name.
    """
    if given:
        return in_database(database, options)
    if not isinstance(database, str) or "://" not in database:
        raise InvalidURL("give a URL such as mongodb://localhost/app, or the name of a database and client=")
    return from_url(URL.parse(database), options)


def from_url(url: URL, keywords: MongoDBOptions) -> Place:
    """Return the place that a URL names, without connecting. Its own options go before the keywords.

    Raises:
        InvalidURL: a part or an option is not understood, or would weaken what is promised.
    """
    shown = mask(f"{url.scheme}://{url.netloc}{url.path}")
    names = [name.lower() for name, _ in url.query]
    for name in names:
        if names.count(name) > 1:
            raise InvalidURL(f"{shown!r}: option {name!r} is given twice")
    own = tuple(pair for pair in url.query if pair[0].startswith(OWN))
    theirs = tuple(pair for pair in url.query if not pair[0].startswith(OWN))
    options = _own_options(own, keywords, shown)
    kept = _checked(theirs, shown)
    plain = URL(scheme=url.scheme, netloc=url.netloc, path=url.path or "/", query=kept)
    name = unquote(url.path.removeprefix("/")) or DEFAULT_DATABASE
    place = in_database(name, options)
    _check_hosts(plain, shown)
    return replace(
        place,
        uri=plain.reveal(),
        shown=shown if url.path.strip("/") else f"{shown.rstrip('/')}/{name}",
        named=frozenset(name.lower() for name, _ in kept),
        secrets=_secrets(url),
    )


def in_database(name: object, options: MongoDBOptions) -> Place:
    """Return the place for a database of a client that the user brings.

    Raises:
        InvalidURL: no database can have this name.
    """
    if not isinstance(name, str) or not _DATABASE.match(name):
        raise InvalidURL(
            f'{name!r} is no name of a MongoDB database: up to 63 characters, none of them / \\ . " $ * < > : | ? '
            f"or white space"
        )
    return Place(database=name, options=options, shown=name)


def _own_options(pairs: tuple[tuple[str, str], ...], keywords: MongoDBOptions, shown: str) -> MongoDBOptions:
    for name, _ in pairs:
        if name.removeprefix(OWN) not in MongoDBOptions.__dataclass_fields__:
            raise _unknown(name, shown)
    bare = tuple((name.removeprefix(OWN), value) for name, value in pairs)
    try:
        given = URL(scheme="milepost", query=bare).options(MongoDBOptions)
    except InvalidURL as error:
        _, option, reason = str(error).rpartition(": option ")
        raise InvalidURL(f"{shown!r}: {OWN if option else ''}{reason}") from None
    return replace(keywords, **{name: getattr(given, name) for name, _ in bare})


def _checked(pairs: tuple[tuple[str, str], ...], shown: str) -> tuple[tuple[str, str], ...]:
    """Return the options that pymongo gets; it would only warn about one that it does not know."""
    from pymongo.uri_parser import split_options

    for name, value in pairs:
        _refuse_weaker(name, value, shown)
    kept = tuple(pair for pair in pairs if pair[0].lower() not in _DROPPED)
    for pair in kept:
        fault = _fault(split_options, _query((pair,)), validate=True, warn=False)
        if fault == "ConfigurationError":
            raise _unknown(pair[0], shown)
        if fault:
            raise InvalidURL(f"{shown!r}: pymongo does not take the value of option {pair[0]!r} ({fault})")
    fault = _fault(split_options, _query(kept), validate=True, warn=False) if kept else None
    if fault:
        names = ", ".join(name for name, _ in kept)
        raise InvalidURL(f"{shown!r}: these options do not go together ({fault}): {names}")
    return kept


def _fault(call: Callable[..., Any], *args: Any, **keywords: Any) -> str | None:
    """Return what kind of error a call raises; neither its text nor the error itself, which may hold a secret."""
    try:
        call(*args, **keywords)
    except Exception as error:  # noqa: BLE001 - PyMongoError, ValueError, TypeError and more, by option
        return type(error).__name__
    return None


def _refuse_weaker(name: str, value: str, shown: str) -> None:
    if name.lower() not in _FIXED:
        return
    allowed, reason = _FIXED[name.lower()]
    if value.lower() not in allowed:
        what = f"{name} can only be {allowed[0]!r} here" if allowed else f"{name} has no place here"
        raise InvalidURL(f"{shown!r}: {what}: {reason}. Leave the option out")


def _check_hosts(url: URL, shown: str) -> None:
    """Let pymongo read hosts, credentials and all options; where DNS names the hosts, only what needs no DNS."""
    from pymongo.uri_parser import parse_uri

    hosts = url.netloc.rpartition("@")[2]
    if not hosts:
        raise InvalidURL(f"{shown!r} names no host: write mongodb://localhost/{DEFAULT_DATABASE}")
    if url.scheme.endswith("+srv"):
        if "," in hosts or ":" in hosts:
            raise InvalidURL(f"{shown!r}: mongodb+srv:// takes one host name, and no port")
        return
    fault = _fault(parse_uri, url.reveal(), validate=True, warn=False)
    if fault:
        raise InvalidURL(
            f"{shown!r}: pymongo cannot read this URL ({fault}): write hosts as host:port, divided by commas, and "
            f"percent-encode user and password"
        )


def _query(pairs: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{quote(name)}={quote(value, safe='/:,')}" for name, value in pairs)


def _secrets(url: URL) -> frozenset[str]:
    """Return what no message may show: the password, as written and decoded, and secret options."""
    info, at, _ = url.netloc.rpartition("@")
    _, colon, password = info.partition(":")
    found: set[str] = {password, unquote(password)} if at and colon else set()
    for name, value in url.query:
        if name.lower() in {"tlscertificatekeyfilepassword", "authmechanismproperties", "proxypassword"}:
            found |= {value, *(part.partition(":")[2] for part in value.split(","))}
    return frozenset(text for text in found if text)


def _unknown(name: str, shown: str) -> InvalidURL:
    from difflib import get_close_matches

    spelled: dict[str, Any] = {known.lower(): known for known in _NAMES}
    found = get_close_matches(name.lower(), spelled, n=1)
    hint = f"; did you mean {spelled[found[0]]!r}?" if found else "; see the options of pymongo's MongoClient"
    return InvalidURL(f"{shown!r}: unknown option {name!r}{hint}")
