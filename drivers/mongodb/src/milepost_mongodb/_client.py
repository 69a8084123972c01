"""A client per process, and what opening makes sure of: concerns, schema, indexes."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from milepost.errors import Closed, InvalidURL, SchemaTooNew, StorageError, StorageUnavailable
from milepost.fork import PerProcess
from milepost_mongodb import _layout
from milepost_mongodb._errors import asked_dns, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pymongo import MongoClient
    from pymongo.collection import Collection

    from milepost_mongodb._layout import Document
    from milepost_mongodb._url import MongoDBOptions, Place

T = TypeVar("T")
C = TypeVar("C", bound="Opened")

AnyCollection: TypeAlias = "Collection[Document]"
AnyClient: TypeAlias = "MongoClient[Any]"
Index: TypeAlias = tuple[list[tuple[str, int]], dict[str, Any]]

_ANSWER_SECONDS: Final = 30.0
"""How long a server may take to answer, at least: a large batch needs its time."""

_INDEX_CONFLICTS: Final = frozenset({85, 86})


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The collections of one driver, by the rest of their names, with the concerns that its guarantees need."""

    schema: AnyCollection


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Generic[C]):
    """What opening makes sure of: collections, their indexes, and the schema's version under the component's name."""

    component: str
    version: int
    collections: type[C]
    indexes: Callable[[MongoDBOptions], Sequence[tuple[str, Sequence[Index]]]]


class _Session(Generic[C]):
    """One process's client, made at the first use under the lock, and what opening found."""

    __slots__ = ("client", "collections", "lock")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.client: AnyClient | None = None
        self.collections: C | None = None


class Client(Generic[C]):
    """Runs actions on the collections of one place, from any thread; opens when first used.

    ``given`` is a client that the user brought: it is used, and not closed.
    """

    def __init__(self, place: Place, plan: Plan[C], given: AnyClient | None = None) -> None:
        self._place = place
        self._plan = plan
        self._given = given
        self._made_in = os.getpid()
        self._sessions: PerProcess[_Session[C]] = PerProcess(_Session)
        self._closed = False

    def use(self, action: Callable[[C], T]) -> T:
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

    def _open(self, session: _Session[C]) -> C:
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
                f"client and driver in the child process"
            )
        return self._given

    def _prepared(self, client: AnyClient) -> C:
        hello = client.admin.command("hello")
        replicated = "setName" in hello or hello.get("msg") == "isdbgrid"
        names = [field.name for field in fields(self._plan.collections)]
        collections = self._plan.collections(
            **_collections(client, self._place, names, replicated=replicated)
        )
        _check_schema(collections.schema, self._place, self._plan.component, self._plan.version)
        for name, indexes in self._plan.indexes(self._place.options):
            _ensure_indexes(getattr(collections, name), indexes)
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


def _collections(
    client: AnyClient, place: Place, names: Sequence[str], *, replicated: bool
) -> dict[str, AnyCollection]:
    """Return the collections; concerns are set here, whatever the URL or the server's defaults say."""
    from bson.codec_options import CodecOptions
    from pymongo import ReadPreference, WriteConcern
    from pymongo.read_concern import ReadConcern

    database = client.get_database(place.database)
    patience = round(place.options.timeout * 1000)
    return {
        name: database.get_collection(
            f"{place.options.prefix}{name}",
            codec_options=CodecOptions(),
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority" if replicated else "local"),
            write_concern=WriteConcern("majority", j=True, wtimeout=patience)
            if replicated
            else WriteConcern(1, j=True),
        )
        for name in names
    }


def _check_schema(schema: AnyCollection, place: Place, component: str, known: int) -> None:
    """Check the version document, or make it. Of several processes one makes it, and all see the same."""
    from pymongo.errors import DuplicateKeyError

    found = schema.find_one({"_id": component})
    if found is None:
        try:
            schema.insert_one({"_id": component, "version": known})
        except DuplicateKeyError:
            found = schema.find_one({"_id": component})
        else:
            return
    if found is None:
        raise StorageUnavailable(f"another process is preparing {place} and is not confirmed yet")
    version = found.get("version")
    if not isinstance(version, int) or version > known:
        raise SchemaTooNew(
            f"the {component} schema in {place} has version {version!r}, this driver knows up to "
            f"{known}: upgrade milepost-mongodb"
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
