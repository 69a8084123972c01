"""A driver's address: parsed, masked when shown, its options typed.

``scheme://[netloc][/path][?name=value&…]``. The scheme finds the driver; what netloc and path mean is the
driver's. Only scheme, netloc, path and query are told apart here: bucket names keep their case, and several
hosts keep their ports.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args, get_origin

from milepost._struct import Struct
from milepost.errors import InvalidURL

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")

_MASK: Final = "***"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_SECRET = re.compile(r"pass|pwd|secret|token|key|credential|signature|sas|mechanismproperties", re.IGNORECASE)
_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?\Z|:memory:\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_INTEGER = re.compile(r"[+-]?\d+\Z")
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?\Z")
_UNITS: Final = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_WORDS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}


class URL(Struct):
    """A driver's address.

    ``netloc`` and ``path`` are as written (see :func:`unquote`); ``query`` holds names and values
    percent-decoded, in order, a ``+`` being a plus. ``str()`` and ``repr()`` mask passwords and options that
    look like secrets.
    """

    scheme: str
    netloc: str = ""
    path: str = ""
    query: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL.

        Raises:
            InvalidURL: it is a bare path, its scheme is malformed, it has a ``#``, a password that is not
                percent-encoded, or an option without a value.
        """
        scheme, rest = _split_scheme(text)
        location, _, query = rest.partition("?")
        netloc, slash, path = location.partition("/")
        if _is_torn(netloc):
            raise InvalidURL(
                f"{mask(text)!r}: in a password, write / as %2F, ? as %3F, # as %23 and @ as %40"
            )
        try:
            pairs = tuple(_pair(part, text) for part in query.split("&") if part)
        except UnicodeDecodeError:
            raise InvalidURL(f"{mask(text)!r}: an option is not UTF-8 after percent-decoding") from None
        return cls(scheme=scheme.lower(), netloc=netloc, path=slash + path, query=pairs)

    def reveal(self) -> str:
        """Return the whole URL, secrets included: to connect with, never to show."""
        from urllib.parse import quote

        options = "&".join(f"{quote(name)}={quote(value, safe='/:,')}" for name, value in self.query)
        return f"{self.scheme}://{self.netloc}{self.path}{'?' if options else ''}{options}"

    def options(self, cls: type[T]) -> T:
        """Return the query as an instance of a dataclass, each value read as its field's annotation says.

        ``bool`` takes 1/0, true/false, yes/no, on/off; ``float`` takes seconds, or a number with ``ms``,
        ``s``, ``m``, ``h`` or ``d``; ``int``, ``str``, ``Literal[…]`` and each of these ``| None`` are understood.
        Absent options keep the field's default.

        Raises:
            InvalidURL: an option is unknown, given twice, missing, or its value does not fit.
        """
        from typing import get_type_hints

        hints = get_type_hints(cls)
        names = _optional(cls)
        values: dict[str, Any] = {}
        for name, text in self.query:
            if name not in names:
                raise InvalidURL(f"{str(self)!r}: unknown option {name!r}{_nearest(name, names)}")
            if name in values:
                raise InvalidURL(f"{str(self)!r}: option {name!r} is given twice")
            try:
                values[name] = _coerce(text, hints[name])
            except ValueError as error:
                shown = _MASK if _SECRET.search(name) else text
                raise InvalidURL(f"{str(self)!r}: option {name}={shown!r} is not {error}") from None
        for name, optional in names.items():
            if name not in values and not optional:
                raise InvalidURL(f"{str(self)!r}: option {name!r} is missing")
        return cls(**values)

    def __str__(self) -> str:
        return mask(self.reveal())

    def __repr__(self) -> str:
        return f"URL({str(self)!r})"


def _optional(cls: Any) -> dict[str, bool]:
    """Return the names of a class's fields, and whether each has a default."""
    if issubclass(cls, Struct):
        return {name: name in cls.__struct_defaults__ for name in cls.__struct_fields__}
    from dataclasses import MISSING, fields

    return {f.name: f.default is not MISSING or f.default_factory is not MISSING for f in fields(cls)}


def unquote(text: str) -> str:
    """Percent-decode a netloc or a path.

    Raises:
        InvalidURL: the bytes it stands for are not UTF-8.
    """
    from urllib.parse import unquote as decode

    try:
        return decode(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidURL(f"{mask(text)!r} is not UTF-8 after percent-decoding") from None


def mask(text: str) -> str:
    """Return the text of a URL with what may be secret replaced; also of one that does not parse.

    A password that holds ``/``, ``?`` or ``#`` unescaped, which tears the URL apart in the wrong places, is
    masked too, with all that follows.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    location, question, query = rest.partition("?")
    if _is_torn(location.partition("/")[0]) and "@" not in location:
        return f"{scheme}{separator}{location.partition(':')[0]}:{_MASK}"
    shown = "&".join(map(_mask_option, query.split("&"))) if question else ""
    return f"{scheme}{separator}{_mask_location(location)}{question}{shown}"


def _mask_location(location: str) -> str:
    if location.startswith("/"):
        return location
    info, at, host = location.rpartition("@")
    if at and (":" in info or "/" not in info):
        user, colon, _ = info.partition(":")
        return f"{user}:{_MASK}@{host}" if colon else f"{_MASK}@{host}"
    return location


def _is_torn(netloc: str) -> bool:
    """Tell whether this is no ``host:port,…`` but the beginning of ``user:password``."""
    return "@" not in netloc and not all(map(_HOST.match, netloc.split(",")))


def _mask_option(part: str) -> str:
    name, equals, value = part.partition("=")
    if not equals:
        return _MASK if part else ""
    return f"{name}={_MASK}" if _SECRET.search(name) else f"{name}={value}"


def _split_scheme(text: str) -> tuple[str, str]:
    if not isinstance(text, str):
        raise InvalidURL(f"a driver URL is a str, not {type(text).__name__}: for example sqlite:///runs.db")
    if text != text.strip() or _CONTROL.search(text):
        raise InvalidURL(f"{mask(text)!r} has white space at an end or a control character")
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise InvalidURL(f"{mask(text)!r} is no URL: write scheme://…, for example {_suggestion(text)}")
    if not _SCHEME.match(scheme):
        hint = "; an underscore is not legal in a scheme" if "_" in scheme else ""
        raise InvalidURL(
            f"{mask(text)!r}: a scheme is a letter, then letters, digits, '+', '-' and '.'{hint}"
        )
    if "#" in rest:
        raise InvalidURL(f"{mask(text)!r}: '#' would cut the URL off here; write %23")
    return scheme, rest


def _suggestion(text: str) -> str:
    from urllib.parse import quote

    plain = text and ":" not in text and "@" not in text
    return f"sqlite:///{quote(text)}" if plain else "sqlite:///runs.db"


def _pair(part: str, text: str) -> tuple[str, str]:
    from urllib.parse import unquote as decode

    name, equals, value = part.partition("=")
    if not equals or not name:
        raise InvalidURL(f"{mask(text)!r}: an option is written name=value")
    return decode(name, errors="strict"), decode(value, errors="strict")


def _nearest(name: str, known: dict[str, Any]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(name, known, n=1)
    if found:
        return f"; did you mean {found[0]!r}?"
    return f"; the options are {', '.join(sorted(known))}" if known else "; this driver has no options"


def _coerce(text: str, hint: Any) -> Any:
    """Read a value as an annotation says; the text of a ValueError completes "… is not"."""
    if get_origin(hint) is Literal:
        return _choice(text, get_args(hint))
    arms = [arm for arm in get_args(hint) if arm is not type(None)]
    if arms:
        return _coerce(text, arms[0])
    if hint in _READERS:
        return _READERS[hint](text)
    return text


def _choice(text: str, choices: tuple[Any, ...]) -> Any:
    for choice in choices:
        if str(choice) == text:
            return choice
    raise ValueError(f"one of {', '.join(map(str, choices))}")


def _bool(text: str) -> bool:
    if text.lower() not in _WORDS:
        raise ValueError("one of true, false, yes, no, on, off, 1, 0")
    return _WORDS[text.lower()]


def _int(text: str) -> int:
    if not _INTEGER.match(text):
        raise ValueError("a whole number")
    return int(text)


def _seconds(text: str) -> float:
    found = _SECONDS.match(text)
    if not found:
        raise ValueError("a number of seconds, or a number with ms, s, m, h or d")
    return float(found[1]) * _UNITS[found[2]]


_READERS: Final[dict[Any, Any]] = {bool: _bool, int: _int, float: _seconds}
