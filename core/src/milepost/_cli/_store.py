"""``milepost store``: look into long-term memory, change it, and move it; on any backend by its URL."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from milepost import serde
from milepost.drivers import open_store
from milepost.errors import InvalidItem, UnknownType, VersionConflict
from milepost.filters import OPERATORS
from milepost.url import unquote

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from milepost.items import Item, Namespace
    from milepost.store import Store

MISSING: Final = 1
"""The exit code where there is no such item, or it is not at the version that was asked for."""
_PAGE: Final = 256

_EPILOG: Final = """\
A namespace is written with slashes: users/ann is ("users", "ann"); a slash, or a percent sign, inside a label is
%2F, or %25. Values are JSON; types that JSON lacks are written as milepost keeps them, {"$bytes": "aGk="}.
Exit codes: 0 done, 1 no such item or another version, 2 a wrong call or a backend failed.
"""


def add_to(commands: Any) -> None:
    """Add the commands to a parser's commands."""
    store: argparse.ArgumentParser = commands.add_parser(
        "store", help="look into long-term memory", description=__doc__, epilog=_EPILOG
    )
    actions = store.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(
        name: str, run: Callable[..., int], text: str, *, namespace: str = ""
    ) -> argparse.ArgumentParser:
        parser: argparse.ArgumentParser = actions.add_parser(
            name, help=text, description=text, epilog=_EPILOG
        )
        parser.add_argument("url", metavar="URL", help="URL of the store, such as sqlite:///app.db")
        if namespace:
            many = {"nargs": "?", "default": ""} if namespace == "?" else {}
            parser.add_argument(
                "namespace", metavar="NAMESPACE", help="such as users/ann", **cast("Any", many)
            )
        parser.set_defaults(run=run)
        return parser

    ls = action("ls", _ls, "list the namespaces below a namespace, and the keys in it", namespace="?")
    ls.add_argument("-r", "--recursive", action="store_true", help="list all items below it")
    ls.add_argument("--json", action="store_true", help="print a line of JSON for each")
    get = action("get", _get, "print an item's value", namespace="1")
    get.add_argument("key", metavar="KEY")
    get.add_argument("--json", action="store_true", help="print the whole item, with version and times")
    put = action("put", _put, "put a value", namespace="1")
    put.add_argument("key", metavar="KEY")
    put.add_argument("value", metavar="VALUE", help="a JSON object; - reads it from standard input")
    put.add_argument("--ttl", type=float, metavar="MINUTES", help="how long it lives; for ever unless given")
    rm = action("rm", _rm, "remove an item, or all below a namespace", namespace="1")
    rm.add_argument("key", metavar="KEY", nargs="?")
    rm.add_argument(
        "-r", "--recursive", action="store_true", help="remove all items at and below the namespace"
    )
    for parser in (put, rm):
        parser.add_argument(
            "--if-version", type=int, metavar="N", help="only at this version; 0 where there must be none"
        )
    search = action("search", _search, "find items", namespace="?")
    search.add_argument(
        "--query", metavar="TEXT", help="words to find, where the backend has full-text search"
    )
    search.add_argument("--filter", metavar="JSON", help='such as {"stars": {"$gte": 3}}')
    search.add_argument("--limit", type=int, default=10, metavar="N", help="how many at most (10)")
    search.add_argument(
        "--cursor", metavar="CURSOR", help="go on after a page; it is printed to standard error"
    )
    search.add_argument("--json", action="store_true", help="print a line of JSON for each")
    export = action("export", _export, "write all items below a namespace as lines of JSON", namespace="?")
    export.add_argument("-o", "--output", metavar="FILE", help="write to a file instead of standard output")
    load = action("import", _import, "put exported items")
    load.add_argument("file", metavar="FILE", help="what export wrote; - reads standard input")
    load.add_argument("--keep", action="store_true", help="leave items alone that are there already")


# -- looking -------------------------------------------------------------------------------------------------------


def _ls(options: argparse.Namespace) -> int:
    space = _namespace(options.namespace)
    with open_store(options.url) as store:
        for item in _items(store, space):
            if item.namespace == space or options.recursive:
                _show(item, as_json=options.json, within=space)
            else:
                break  # what lies in the namespace itself comes first
        if not options.recursive:
            for below in _below(store, space):
                shown = "/".join(map(_quoted, below[len(space) :]))
                print(json.dumps({"namespace": below}) if options.json else f"{shown}/")
    return 0


def _below(store: Store, space: Namespace) -> Iterator[Namespace]:
    offset = 0
    while found := store.list_namespaces(prefix=space, max_depth=len(space) + 1, limit=_PAGE, offset=offset):
        yield from (each for each in found if len(each) > len(space))
        offset += _PAGE


def _get(options: argparse.Namespace) -> int:
    with open_store(options.url) as store:
        item = store.get(_namespace(options.namespace), options.key, refresh_ttl=False)
    if item is None:
        print(f"milepost: no item {options.key!r} in {options.namespace!r}", file=sys.stderr)
        return MISSING
    print(_json(item) if options.json else json.dumps(_raw(item), indent=2, ensure_ascii=False))
    return 0


def _search(options: argparse.Namespace) -> int:
    asked = None if options.filter is None else _decoded(_parsed(options.filter, "--filter"))
    with open_store(options.url) as store:
        page = store.search(
            _namespace(options.namespace),
            query=options.query,
            filter=asked,
            limit=options.limit,
            cursor=options.cursor,
            refresh_ttl=False,
        )
    for item in page:
        _show(item, as_json=options.json)
    if page.cursor is not None:
        print(f"milepost: there are more: --cursor {page.cursor!r}", file=sys.stderr)
    return 0


def _decoded(asked: Any) -> Any:
    """Return a filter with its operands decoded: ``{"$gt": {"$date": "2026-01-01"}}`` compares with a date."""
    if isinstance(asked, list):
        return [_decoded(part) for part in asked]
    if not isinstance(asked, dict):
        return asked
    names = list(asked)
    if len(names) == 1 and names[0].startswith("$") and names[0] not in OPERATORS:
        with suppress(UnknownType):  # it is no operator either, and that is what will be said
            return serde.decode(asked, where="--filter")
    return {name: _decoded(part) for name, part in asked.items()}


def _items(store: Store, space: Namespace) -> Iterator[Item]:
    cursor = None
    while True:
        page = store.search(space, limit=_PAGE, cursor=cursor, refresh_ttl=False)
        yield from page
        cursor = page.cursor
        if cursor is None:
            return


def _show(item: Item, *, as_json: bool, within: Namespace = ()) -> None:
    if as_json:
        print(_json(item))
        return
    place = "/".join(map(_quoted, (*item.namespace[len(within) :], item.key)))
    text = json.dumps(_raw(item), ensure_ascii=False)
    print(f"{place}\t{item.updated_at:%Y-%m-%d %H:%M:%S}\t{text}")


def _json(item: Item) -> str:
    return json.dumps(item.dict() | {"value": _raw(item)}, ensure_ascii=False)


def _raw(item: Item) -> Any:
    """Return a value as it is written: JSON, with tags for the types that it lacks."""
    return json.loads(serde.encode(item.value, where=f"item {item.key!r}"))


# -- changing ------------------------------------------------------------------------------------------------------


def _put(options: argparse.Namespace) -> int:
    text = sys.stdin.read() if options.value == "-" else options.value
    value = serde.decode(_parsed(text, "VALUE"), where="VALUE")
    keywords = {} if options.ttl is None else {"ttl": options.ttl}
    with open_store(options.url) as store:
        try:
            version = store.put(
                _namespace(options.namespace), options.key, value, if_version=options.if_version, **keywords
            )
        except VersionConflict as error:
            return _conflict(error)
    print(f"version {version}")
    return 0


def _rm(options: argparse.Namespace) -> int:
    space = _namespace(options.namespace)
    if options.recursive == (options.key is not None):
        raise InvalidItem("give either a KEY, or --recursive to remove all at and below the namespace")
    with open_store(options.url) as store:
        if options.recursive:
            print(f"{_remove_all(store, space)} removed")
            return 0
        try:
            store.delete(space, options.key, if_version=options.if_version)
        except VersionConflict as error:
            return _conflict(error)
    return 0


def _remove_all(store: Store, space: Namespace) -> int:
    from milepost.operations import PutOp

    count = 0
    with _progress() as tell:
        while page := store.search(space, limit=_PAGE, refresh_ttl=False):
            store.batch([PutOp(item.namespace, item.key, None) for item in page])
            count += len(page)
            tell(len(page))
    return count


def _conflict(error: VersionConflict) -> int:
    print(f"milepost: {error}", file=sys.stderr)
    return MISSING


# -- moving --------------------------------------------------------------------------------------------------------


def _export(options: argparse.Namespace) -> int:
    from milepost._moving import exported

    count = 0
    with open_store(options.url) as store, _written(options.output) as out, _progress() as tell:
        for line in exported(store, _namespace(options.namespace)):
            out.write(line + b"\n")
            count += 1
            tell(1)
    print(f"milepost: {count} items exported", file=sys.stderr)
    return 0


def _import(options: argparse.Namespace) -> int:
    from milepost._moving import imported

    written = expired = kept = 0
    place = "standard input" if options.file == "-" else repr(options.file)
    with open_store(options.url) as store, _read(options.file) as lines, _progress() as tell:
        for done in imported(store, lines, place=place, overwrite=not options.keep):
            written, expired, kept = written + done.written, expired + done.expired, kept + done.kept
            tell(done.written + done.expired + done.kept)
    print(f"{written} written, {kept} there already, {expired} expired")
    return 0


@contextmanager
def _written(path: str | None) -> Iterator[BinaryIO]:
    """Give a file that is complete or not there: it is written beside its place, and moved when all is in it."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    beside = Path(f"{path}.part")
    try:
        with beside.open("wb") as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise InvalidItem(f"{path!r} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def _read(path: str) -> Iterator[Iterable[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(path).open("rb")  # noqa: SIM115 - only opening it is translated
    except OSError as error:
        raise InvalidItem(f"{path!r} cannot be read: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def _progress() -> Iterator[Callable[[int], object]]:
    """Give what counts items: a bar on a terminal that has ``tqdm``, else nothing that is seen."""
    try:
        from tqdm import tqdm
    except ImportError:
        yield int
        return
    with tqdm(unit=" items", file=sys.stderr, disable=not sys.stderr.isatty()) as bar:
        yield bar.update


# -- words ---------------------------------------------------------------------------------------------------------


def _namespace(text: str) -> Namespace:
    return tuple(map(unquote, text.strip("/").split("/"))) if text.strip("/") else ()


def _quoted(label: str) -> str:
    return label.replace("%", "%25").replace("/", "%2F")


def _parsed(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise InvalidItem(f"{what} is no JSON: {error}") from None
