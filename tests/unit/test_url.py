"""A driver's URL: parsed as written, its options typed, its secrets never shown."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from typing import Literal

import pytest

from milepost.errors import InvalidURL
from milepost.url import URL, mask, unquote

CANARY = "canary-7f3a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    region: str = "eu"
    timeout: float = 30.0
    retries: int = 3
    verify: bool = True
    mode: Literal["full", "normal"] = "full"
    level: int | None = None
    secret_key: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Required:
    collection: str


def options(query: str) -> Options:
    return URL.parse(f"x://h?{query}").options(Options)


def test_a_url_falls_into_scheme_netloc_path_and_query() -> None:
    url = URL.parse("MongoDB+srv://Ann@H1:27017,h2:27018/Runs/a%20b?x=1&y=a%26b")
    assert (url.scheme, url.netloc, url.path) == ("mongodb+srv", "Ann@H1:27017,h2:27018", "/Runs/a%20b")
    assert url.query == (("x", "1"), ("y", "a&b"))


@pytest.mark.parametrize(
    "text",
    [
        "memory://",
        "s3://My_Bucket/pre@fix",
        "sqlite:////abs/runs.db",
        "http://[::1]:9000/x",
        "x://h?y=a%26b%3Dc",
        "mongodb://u:p%40ss@h1:1,h2:2/db?x=1",
    ],
)
def test_revealing_gives_the_url_back(text: str) -> None:
    assert URL.parse(text).reveal() == text
    assert URL.parse(URL.parse(text).reveal()) == URL.parse(text)


def test_a_plus_in_an_option_stays_a_plus() -> None:
    url = URL.parse("x://h?token=a+b")
    assert url.query == (("token", "a+b"),)
    assert url.reveal() == "x://h?token=a%2Bb"


def test_equal_urls_are_equal_and_can_be_keys() -> None:
    assert len({URL.parse("s3://b/p?x=1"), URL.parse("S3://b/p?x=1"), URL.parse("s3://b/q?x=1")}) == 2


def test_a_url_survives_pickling() -> None:
    url = URL.parse("s3://b/p?x=1")
    assert pickle.loads(pickle.dumps(url)) == url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("runs.db", "sqlite:///runs.db"),
        ("/var/lib/my runs.db", "sqlite:////var/lib/my%20runs.db"),
        ("", "scheme://"),
        ("my_driver://x", "underscore"),
        ("1s3://x", "a scheme is a letter"),
        ("s3://b/p#x?region=y", "%23"),
        ("s3://b\n", "white space"),
        (" s3://b", "white space"),
        ("s3://b/\x00", "control character"),
        ("s3://b?region", "name=value"),
        ("s3://b?=eu", "name=value"),
        ("s3://b?region=%ff", "not UTF-8"),
        ("mongodb://u:pa/ss@h/db", "%2F"),
    ],
)
def test_a_malformed_url_is_refused_with_the_remedy(text: str, said: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        URL.parse(text)
    assert said in str(caught.value)


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidURL, match="str, not int"):
        URL.parse(7)  # type: ignore[arg-type]


def test_percent_decoding_refuses_what_is_not_utf_8() -> None:
    assert unquote("/a%20b%23") == "/a b#"
    with pytest.raises(InvalidURL, match="UTF-8"):
        unquote("/%ff")


@pytest.mark.parametrize(
    "text",
    [
        f"x://user:{CANARY}@h/db",
        f"x://{CANARY}@h/db",
        f"x://h?password={CANARY}",
        f"x://h?AWS_SECRET_ACCESS_KEY={CANARY}&region=eu",
        f"x://h?sas={CANARY}&token={CANARY}&signature={CANARY}",
        f"x://user:12/{CANARY}@h/db",
    ],
)
def test_secrets_are_masked_wherever_a_url_is_shown(text: str) -> None:
    url = URL.parse(text)
    for shown in (str(url), repr(url), f"{url}", f"{[url]}"):
        assert CANARY not in shown
        assert "***" in shown
    assert CANARY in url.reveal()


@pytest.mark.parametrize(
    "text",
    [
        f"x://user:{CANARY}/y@h/db",
        f"x://user:y/{CANARY}@h/db",
        f"x://user:{CANARY}?y@h/db",
        f"x://user:y?{CANARY}@h/db",
        f"x://user:y?z={CANARY}@h/db",
        f"x://user:{CANARY}#y@h/db",
        f"x://user:y#{CANARY}@h/db",
        f"x_y://user:{CANARY}@h/db",
        f"user:{CANARY}@h/db",
        f"x://user:{CANARY}@h/db\n",
        f"x://h?token={CANARY}#",
        f"x://h?{CANARY}",
        f"x://user:{CANARY}@h?x=%ff",
    ],
)
def test_secrets_are_masked_in_the_errors_of_urls_that_do_not_parse(text: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        URL.parse(text)
    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert CANARY not in mask(text)


@pytest.mark.parametrize(
    "query", ["regoin=eu", "region=eu&region=us", "timeout=soon", "secret_key=" + CANARY]
)
def test_secrets_are_masked_in_the_errors_of_options(query: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        URL.parse(f"x://user:{CANARY}@h?{query}&api_token={CANARY}").options(Options)
    assert CANARY not in str(caught.value)


def test_options_are_read_as_their_annotations_say() -> None:
    assert options("region=us&timeout=1.5&retries=-2&verify=no&mode=normal&level=7") == Options(
        region="us", timeout=1.5, retries=-2, verify=False, mode="normal", level=7
    )
    assert options("") == Options()
    assert options("region=007").region == "007"


@pytest.mark.parametrize(
    ("text", "value"), [("1", True), ("YES", True), ("on", True), ("False", False), ("0", False)]
)
def test_a_bool_is_read_from_words(text: str, value: bool) -> None:
    assert options(f"verify={text}").verify is value


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30.0), ("2m", 120.0), ("1.5h", 5400.0), ("7", 7.0)]
)
def test_a_float_takes_a_unit_of_time(text: str, seconds: float) -> None:
    assert options(f"timeout={text}").timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("regoin=eu", "did you mean 'region'"),
        ("zzz=1", "the options are level, mode, region"),
        ("region=a&region=b", "given twice"),
        ("verify=maybe", "verify='maybe' is not one of true, false"),
        ("retries=1.5", "a whole number"),
        ("retries=1_0", "a whole number"),
        ("timeout=-1", "a number of seconds"),
        ("timeout=inf", "a number of seconds"),
        ("mode=FULL", "one of full, normal"),
        ("level=x", "a whole number"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(query: str, said: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        options(query)
    assert said in str(caught.value)


def test_a_missing_option_is_named() -> None:
    assert URL.parse("x://h?collection=c").options(Required) == Required(collection="c")
    with pytest.raises(InvalidURL, match="'collection' is missing"):
        URL.parse("x://h").options(Required)


def test_a_driver_without_options_says_so() -> None:
    @dataclass
    class Empty:
        pass

    with pytest.raises(InvalidURL, match="no options"):
        URL.parse("x://h?a=1").options(Empty)
