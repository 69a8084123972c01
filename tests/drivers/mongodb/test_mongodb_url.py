"""What a MongoDB URL may say, what is refused with which hint, and that no secret is shown."""

from __future__ import annotations

import subprocess
import sys
import traceback

import pymongo
import pytest

from milepost.drivers import installed_drivers, open_checkpointer, open_store
from milepost.errors import InvalidURL, MilepostError
from milepost_mongodb import MongoDBCheckpointer, MongoDBStore, _client
from milepost_mongodb._errors import translated

CANARY = "hunter2%40%2F"


def connected(url, monkeypatch):
    """Return what MongoClient is given for a URL."""
    given = {}
    monkeypatch.setattr(pymongo, "MongoClient", lambda uri, **keywords: given.update(keywords, uri=uri))
    _client.make_client(open_checkpointer(url)._place)
    return given


@pytest.mark.parametrize("scheme", ["mongodb", "mongodb+srv"])
def test_both_schemes_are_installed_and_lead_to_one_class_of_each_kind(scheme):
    rows = {(row.kind, row.distribution) for row in installed_drivers() if row.scheme == scheme}
    assert rows == {("checkpointer", "milepost-mongodb"), ("store", "milepost-mongodb")}
    assert isinstance(open_checkpointer(f"{scheme}://db.example/app"), MongoDBCheckpointer)
    assert isinstance(open_store(f"{scheme}://db.example/app"), MongoDBStore)


@pytest.mark.parametrize(
    "url",
    [
        "mongodb://localhost/app",
        "mongodb://a.example:27017,b.example:27018,[::1]:27019/app?replicaSet=rs0",
        "mongodb://user:p%40ss%2Fw%3Ard@h/app?authSource=admin&tls=true",
        "mongodb://%2Ftmp%2Fmongodb-27017.sock/app",
        "mongodb+srv://user:pass@cluster0.example/app?retryWrites=true&w=majority&appName=Cluster0",
        "mongodb://h/app?readConcernLevel=majority&readPreference=primary&journal=true&retryWrites=false",
    ],
)
def test_what_pymongo_understands_reaches_it_as_it_was_written(url, monkeypatch):
    assert connected(url, monkeypatch)["uri"] == url


def test_the_drivers_own_options_do_not_reach_pymongo(monkeypatch):
    given = connected("mongodb://h/app?milepost.prefix=p_&tls=true&milepost.timeout=2s", monkeypatch)
    assert given["uri"] == "mongodb://h/app?tls=true"
    assert given["serverSelectionTimeoutMS"] == given["connectTimeoutMS"] == 2000
    assert given["socketTimeoutMS"] == 30_000


def test_time_outs_of_the_url_go_before_those_of_the_driver(monkeypatch):
    given = connected("mongodb://h/?serverSelectionTimeoutMS=70&SOCKETTIMEOUTMS=80", monkeypatch)
    assert "serverSelectionTimeoutMS" not in given
    assert "socketTimeoutMS" not in given
    assert given["connectTimeoutMS"] == 5000


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("mongodb://h/app", "app"),
        ("mongodb://h", "milepost"),
        ("mongodb://h/", "milepost"),
        ("mongodb://h/?tls=true", "milepost"),
        ("mongodb://h/my%2Dapp", "my-app"),
    ],
)
def test_the_path_is_the_database(url, database):
    assert open_checkpointer(url)._place.database == database


def test_options_and_keywords_say_the_same():
    options = open_checkpointer(
        "mongodb://h/a?milepost.prefix=x_&milepost.retention=72h&milepost.timeout=500ms"
    )._place.options
    assert (options.prefix, options.retention, options.timeout) == ("x_", 259_200.0, 0.5)
    mixed = MongoDBCheckpointer("mongodb://h/a?milepost.prefix=y_", prefix="x_", retention=7.0)._place.options
    assert (mixed.prefix, mixed.retention, mixed.timeout) == ("y_", 7.0, 5.0)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mongodb://h/a?retryWrite=true", "unknown option 'retryWrite'; did you mean 'retryWrites'?"),
        ("mongodb://h/a?replicaset2=x", "did you mean 'replicaSet'?"),
        ("mongodb://h/a?milepost.retentions=3h", "did you mean 'milepost.retention'?"),
        ("mongodb://h/a?retention=3h", "unknown option 'retention'; did you mean 'milepost.retention'?"),
        ("mongodb://h/a?zzz=1", "see the options of pymongo's MongoClient"),
        ("mongodb://h/a?tls=maybe", "does not take the value of option 'tls'"),
        ("mongodb://h/a?tls=true&ssl=false", "do not go together"),
        ("mongodb://h/a?tls=true&TLS=true", "given twice"),
        (
            "mongodb://h/a?milepost.timeout=soon",
            "'mongodb://h/a': milepost.timeout='soon' is not a number of seconds",
        ),
        ("mongodb://h/a?milepost.timeout=1&milepost.timeout=2", "'milepost.timeout' is given twice"),
        ("mongodb://h/a?milepost.timeout=0", "milepost.timeout is a number of seconds"),
        ("mongodb://h/a?milepost.retention=0", "milepost.retention is a number of seconds above 0"),
        ("mongodb://h/a?milepost.prefix=a$b", "milepost.prefix is the beginning"),
        ("mongodb://h/a?milepost.prefix=system.", "belongs to MongoDB"),
        ("mongodb://h/a.b", "no name of a MongoDB database"),
        ("mongodb://h/a%20b", "no name of a MongoDB database"),
        ("mongodb:///app", "names no host: write mongodb://localhost"),
        ("mongodb://h:99999/app", "pymongo cannot read this URL"),
        ("mongodb://a:b:c@h/app", "percent-encode user and password"),
        ("mongodb+srv://a.example,b.example/app", "takes one host name"),
        ("mongodb+srv://a.example:27017/app", "and no port"),
    ],
)
def test_a_wrong_url_is_refused_before_anything_connects(url, said):
    with pytest.raises(InvalidURL) as caught:
        open_checkpointer(url)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("w=1", "rolled back"),
        ("w=0", "rolled back"),
        ("journal=false", "server's journal"),
        ("j=false", "server's journal"),
        ("readConcernLevel=local", "rolled back"),
        ("readPreference=secondaryPreferred", "a while ago"),
        ("readPreferenceTags=dc:ny", "only the primary"),
        ("maxStalenessSeconds=120", "only the primary"),
    ],
)
def test_an_option_that_would_weaken_the_guarantee_is_refused_with_the_reason(option, reason):
    with pytest.raises(InvalidURL, match=option.partition("=")[0]) as caught:
        open_checkpointer(f"mongodb://h/a?{option}")
    assert reason in str(caught.value)


def everything_about(error):
    """Return all that a log could show of an error, what it hides from tracebacks included."""
    shown = ["".join(traceback.format_exception(error))]
    while error is not None:
        shown.append(f"{error} {error!r} {error.args}")
        error = error.__cause__ or error.__context__
    return "\n".join(shown)


@pytest.mark.parametrize(
    "rest",
    [
        "@h:99999/app", "@h/a.b", "@h/app?zzz=1", "@h/app?tls=maybe", "@/app", "@h/app?w=1", "@h:x/app",
        "@h/app?milepost.timeout=x", "@h/app?tls=true&ssl=false", "@h,h:0/app", "@h/app?milepost.zzz=1",
        "@h/app?authMechanism=nonsense",
    ],
)  # fmt: skip
@pytest.mark.parametrize("scheme", ["mongodb", "mongodb+srv"])
def test_no_error_about_a_url_shows_its_password(scheme, rest):
    shown = ""
    try:
        shown = repr(open_checkpointer(f"{scheme}://user:{CANARY}{rest}"))  # what only one scheme refuses
    except InvalidURL as error:
        shown = everything_about(error)
    assert "h" in shown
    assert "hunter2" not in shown


def test_a_secret_in_an_option_is_never_shown():
    url = f"mongodb://u@h/app?tlsCertificateKeyFilePassword={CANARY}"
    driver = open_checkpointer(url)
    assert "hunter2" not in f"{driver!r} {driver._place} {driver._place!r}"
    assert "hunter2@/" in driver._place.secrets
    with pytest.raises(InvalidURL) as caught:
        open_checkpointer(f"{url}&zzz=1")
    assert "hunter2" not in everything_about(caught.value)


def test_a_cause_that_shows_the_password_is_dropped_and_any_other_is_kept(mock, opened):
    driver = opened(f"mongodb://user:{CANARY}@h/app")
    for secret in ("hunter2@/", CANARY):
        telling = pymongo.errors.OperationFailure(f"cannot log {secret} in", 96)

        def fail(collections, error=telling):
            try:
                raise ValueError("innocent")
            except ValueError:
                raise error from None

        with pytest.raises(MilepostError) as caught:
            driver._client.use(fail)
        assert caught.value.__cause__ is None
        assert "hunter2" not in everything_about(caught.value)

    def fail_silently(collections):
        raise pymongo.errors.OperationFailure("no", 96)

    with pytest.raises(MilepostError, match="code 96") as caught:
        driver._client.use(fail_silently)
    assert isinstance(caught.value.__cause__, pymongo.errors.OperationFailure)
    assert "hunter2" not in str(translated(telling, driver._place))


def test_the_repr_shows_where_but_not_how_to_get_in():
    driver = open_checkpointer(f"mongodb://user:{CANARY}@h1,h2:1/app?tls=true")
    assert repr(driver) == "MongoDBCheckpointer('mongodb://user:***@h1,h2:1/app')"
    assert repr(open_checkpointer("mongodb://h")) == "MongoDBCheckpointer('mongodb://h/milepost')"


@pytest.mark.parametrize("given", ["app", 3, None])
def test_a_database_without_a_client_is_refused(given):
    with pytest.raises(InvalidURL, match="client="):
        MongoDBCheckpointer(given)


def test_neither_listing_nor_importing_the_driver_loads_pymongo():
    program = (
        "import sys\n"
        "from milepost.drivers import installed_drivers\n"
        "assert any(row.scheme == 'mongodb' for row in installed_drivers())\n"
        "import milepost_mongodb\n"
        "assert not {'pymongo', 'bson', 'dns'} & set(sys.modules), sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
