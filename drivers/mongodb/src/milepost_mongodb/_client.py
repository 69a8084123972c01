"""A client per process, and what opening makes sure of: concerns, schema, indexes."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from milepost.errors import Closed, InvalidURL, SchemaTooNew, StorageError, StorageUnavailable
from milepost.fork import PerProcess
from milepost_mongodb import _layout
from milepost_mongodb._errors import asked_dns, translated

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymongo import MongoClient
    from pymongo.collection import Collection

    from milepost_mongodb._layout import Document
    from milepost_mongodb._url import Place

T = TypeVar("T")

AnyCollection: TypeAlias = "Collection[Document]"
AnyClient: TypeAlias = "MongoClient[Any]"

_ANSWER_SECONDS: Final = 30.0
"""How long a server may take to answer, at least: a large batch needs its time."""

_INDEX_CONFLICTS: Final = frozenset({85, 86})


@dataclass(frozen=True, slots=True, kw_only=True)
class Collections:
    """The collections of one checkpointer, with the concerns that its guarantees need."""

    batches: AnyCollection
    heads: AnyCollection
    chunks: AnyCollection
    schema: AnyCollection


class _Session:
    """One process's client, made at the first use under the lock, and what opening found."""

    __slots__ = ("client", "collections", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.client: AnyClient | None = None
        self.collections: Collections | None = None


class Client:
    """Runs actions on the collections of one place, from any thread; opens when first used.

    ``given`` is a client that the user brought: it is used, and not closed.
    """

    def __init__(self, place: Place, given: AnyClient | None = None) -> None:
        self._place = place
        self._given = given
        self._made_in = os.getpid()
        self._sessions = PerProcess(_Session)
        self._closed = False

    def use(self, action: Callable[[Collections], T]) -> T:
        """Do something with the collections; what pymongo raises is translated."""
        from bson.errors import BSONError
        from pymongo.errors import PyMongoError

        session = self._sessions.get()
        try:
            return action(session.collections or self._open(session))
        except (PyMongoError, BSONError, OverflowError) as error:
            caught: Exception = error
        # Out here nothing is chained that was not looked at for secrets.
        if self._closed:
            raise self._was_closed()
        raise translated(caught, self._place) from self._cause(caught)

    def open(self) -> None:
        """Connect, find the concerns that hold here, check the schema, create what is missing."""
        self.use(lambda _collections: None)

    def close(self) -> None:
        """Close this process's client, unless the user brought it."""
        self._closed = True
        session = self._sessions.peek()
        if session is None:
            return
        with session.lock:
            client, session.client, session.collections = session.client, None, None
            if client is not None and self._given is None:
                client.close()

    def _open(self, session: _Session) -> Collections:
        with session.lock:
            if self._closed:
                raise self._was_closed()
            if session.collections is None:
                if session.client is None:
                    session.client = self._client()
                session.collections = self._prepared(session.client)
            return session.collections

    def _client(self) -> AnyClient:
        if self._given is None:
            return make_client(self._place)
        if os.getpid() != self._made_in:
            raise StorageError(
                f"the MongoClient that was given for {self._place} does not survive a fork: give a URL, or make "
                f"client and checkpointer in the child process"
            )
        return self._given

    def _prepared(self, client: AnyClient) -> Collections:
        hello = client.admin.command("hello")
        replicated = "setName" in hello or hello.get("msg") == "isdbgrid"
        collections = _collections(client, self._place, replicated=replicated)
        _check_schema(collections.schema, self._place)
        _ensure_indexes(collections.heads, _layout.HEAD_INDEXES)
        if self._place.options.retention is not None:
            for collection in (collections.batches, collections.chunks):
                _ensure_indexes(collection, (_layout.PURGE_INDEX,))
        return collections

    def _was_closed(self) -> Closed:
        return Closed(f"{self._place} was closed")

    def _cause(self, error: Exception) -> Exception | None:
        """Return the error as a cause that may be shown; None where it, or what led to it, shows a secret."""
        link: BaseException | None = error
        while link is not None:
            text = f"{link} {link!r}"
            if any(secret in text for secret in self._place.secrets):
                return None
            link = link.__cause__ or link.__context__
        return error


def make_client(place: Place) -> AnyClient:
    """Make a client from a URL; the URL's own time-outs go before milepost's. The one place that makes one.

    Raises:
        InvalidURL: pymongo refuses the URL.
    """
    from pymongo import MongoClient
    from pymongo.driver_info import DriverInfo
    from pymongo.errors import ConfigurationError, InvalidURI

    seconds = place.options.timeout
    ours = {
        "serverSelectionTimeoutMS": seconds,
        "connectTimeoutMS": seconds,
        "socketTimeoutMS": max(_ANSWER_SECONDS, seconds),
    }
    chosen: dict[str, Any] = {
        name: round(value * 1000) for name, value in ours.items() if name.lower() not in place.named
    }
    try:
        return MongoClient(place.uri, driver=DriverInfo(name="milepost"), connect=False, **chosen)
    except (InvalidURI, ConfigurationError) as error:
        if asked_dns(error):
            raise
        fault = type(error).__name__
    raise InvalidURL(f"{place.shown!r}: pymongo refuses this URL ({fault}): check hosts and options")


def _collections(client: AnyClient, place: Place, *, replicated: bool) -> Collections:
    """Return the collections; concerns are set here, whatever the URL or the server's defaults say."""
    from bson.codec_options import CodecOptions
    from pymongo import ReadPreference, WriteConcern
    from pymongo.read_concern import ReadConcern

    database = client.get_database(place.database)
    patience = round(place.options.timeout * 1000)
    opened: dict[str, AnyCollection] = {
        name: database.get_collection(
            f"{place.options.prefix}{name}",
            codec_options=CodecOptions(),
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority" if replicated else "local"),
            write_concern=WriteConcern("majority", j=True, wtimeout=patience)
            if replicated
            else WriteConcern(1, j=True),
        )
        for name in _layout.COLLECTIONS
    }
    return Collections(**opened)


def _check_schema(schema: AnyCollection, place: Place) -> None:
    """Check the version document, or make it. Of several processes one makes it, and all see the same."""
    from pymongo.errors import DuplicateKeyError

    found = schema.find_one({"_id": _layout.COMPONENT})
    if found is None:
        try:
            schema.insert_one({"_id": _layout.COMPONENT, "version": _layout.SCHEMA})
        except DuplicateKeyError:
            found = schema.find_one({"_id": _layout.COMPONENT})
        else:
            return
    if found is None:
        raise StorageUnavailable(f"another process is preparing {place} and is not confirmed yet")
    version = found.get("version")
    if not isinstance(version, int) or version > _layout.SCHEMA:
        raise SchemaTooNew(
            f"the {_layout.COMPONENT} schema in {place} has version {version!r}, this driver knows up to "
            f"{_layout.SCHEMA}: upgrade milepost-mongodb"
        )


def _ensure_indexes(collection: AnyCollection, indexes: Any) -> None:
    """Create what is missing, in one command; one that is there under another name will do."""
    from pymongo import IndexModel
    from pymongo.errors import OperationFailure

    try:
        collection.create_indexes([IndexModel(keys, **options) for keys, options in indexes])
    except OperationFailure as error:
        if error.code not in _INDEX_CONFLICTS:
            raise
        for keys, options in indexes:
            _ensure_index(collection, keys, options)


def _ensure_index(collection: AnyCollection, keys: list[tuple[str, int]], options: dict[str, Any]) -> None:
    from pymongo.errors import OperationFailure

    try:
        collection.create_index(keys, **options)
    except OperationFailure as error:
        if error.code not in _INDEX_CONFLICTS:
            raise
        for index in collection.list_indexes():
            same_time = index.get("expireAfterSeconds") == options.get("expireAfterSeconds")
            if _layout.same_keys(dict(index), keys) and same_time and "partialFilterExpression" not in index:
                return
        wanted = ", ".join(f"{name}={value!r}" for name, value in options.items()) or "no options"
        raise StorageError(
            f"the collection {collection.full_name!r} has another index on {dict(keys)} than milepost needs "
            f"({wanted}): drop it, and milepost makes its own"
        ) from error
