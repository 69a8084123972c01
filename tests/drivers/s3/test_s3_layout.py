"""How threads, positions and entries stand in a bucket: readable, in order, and never two alike."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.checkpoint import MAX_THREAD_ID_BYTES
from milepost.errors import Corrupt, InvalidURL, SchemaTooNew
from milepost_s3._layout import (
    MARKER,
    Entry,
    Keys,
    check_marker,
    check_prefix,
    position_of,
    thread_name,
)

PIECE = re.compile(r"[!.=_~]([0-9a-f]{2})|([A-Za-z0-9-])")
LONGEST_KEY = 1024
CUT = re.compile(r"(.{700})~~[0-9a-f]{64}\Z")


def ids(size: int = 60) -> st.SearchStrategy[str]:
    texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=size)
    return texts | st.text("ab/.%_~-Zz09", min_size=1, max_size=size)


def decoded(name: str) -> str:
    """Read a name as its description says, strictly."""
    pieces = [PIECE.match(name, at) for at in _starts(name)]
    return b"".join(
        bytes.fromhex(piece[1]) if piece[1] else piece[2].encode() for piece in pieces if piece is not None
    ).decode()


def _starts(name: str) -> list[int]:
    starts, at = [], 0
    while at < len(name):
        starts.append(at)
        piece = PIECE.match(name, at)
        assert piece is not None, f"{name!r} has no piece at {at}"
        at = piece.end()
    return starts


@given(ids())
def test_a_name_stands_for_one_id_alone(thread: str) -> None:
    assert decoded(thread_name(thread)) == thread


@given(ids(4), ids(4))
def test_names_sort_as_ids_do(one: str, other: str) -> None:
    assert (thread_name(one) < thread_name(other)) == (one < other)


@given(ids())
def test_a_name_is_one_plain_segment_of_a_path(thread: str) -> None:
    name = thread_name(thread)
    assert name.isascii()
    assert name.isprintable()
    assert "/" not in name
    assert name not in {".", ".."}


@pytest.mark.parametrize(
    ("thread", "name"),
    [
        ("order-42", "order-42"),
        ("user 7", "user!207"),
        ("a/b.c", "a.2fb.2ec"),
        ("a_b", "a_5fb"),
        ("é", "~c3~a9"),
        ("..", ".2e.2e"),
    ],
)
def test_ordinary_ids_stay_readable(thread: str, name: str) -> None:
    assert thread_name(thread) == name


def test_the_longest_id_below_the_longest_prefix_fits_into_a_key() -> None:
    thread = "é" * (MAX_THREAD_ID_BYTES // 2)
    keys = Keys(check_prefix("p" * 200))
    assert len(keys.batch(thread, 10**12 - 1)) <= LONGEST_KEY
    assert CUT.match(thread_name(thread))


@given(
    st.text("é\N{FOX FACE}", min_size=176, max_size=256), st.text("é\N{FOX FACE}", min_size=176, max_size=256)
)
def test_cut_names_differ_and_sort_by_what_is_left_of_them(one: str, other: str) -> None:
    names = [thread_name(one), thread_name(other)]
    assert all(CUT.match(name) for name in names if len(name) > 700)
    assert (names[0] == names[1]) == (one == other)
    if names[0][:700] != names[1][:700]:
        assert (names[0] < names[1]) == (one < other)


@given(st.integers(0, 10**12 - 1), st.integers(0, 10**12 - 1))
def test_keys_of_batches_sort_by_position(one: int, other: int) -> None:
    keys = Keys("p")
    assert (keys.batch("t", one) < keys.batch("t", other)) == (one < other)
    assert position_of(keys.batch("t", one)) == one


@pytest.mark.parametrize(
    "key", ["p/journals/t/notes.txt", "p/journals/t/", "p/journals/t/12", "p/journals/t/00000000000x"]
)
def test_somebody_elses_object_has_no_position(key: str) -> None:
    assert position_of(key) is None


def test_no_threads_keys_begin_with_another_threads() -> None:
    keys = Keys("")
    assert not keys.batch("ab", 0).startswith(keys.journal("a"))
    assert not keys.batch("a/000000000000", 0).startswith(keys.journal("a"))


@given(st.integers(0, 10**9), st.none() | st.integers(1, 10**9), st.binary(min_size=1))
def test_an_entry_comes_back_as_it_was(floor: int, version: int | None, data: bytes) -> None:
    entry = Entry(floor=floor, version=version, head=None if version is None else data)
    assert Entry.decode(entry.encode(), "here") == entry


@pytest.mark.parametrize("data", [b"", b"{}", b'{"floor":1', b'{"floor":-1,"version":null,"head":null}'])
def test_what_is_no_entry_is_corrupt_and_named(data: bytes) -> None:
    with pytest.raises(Corrupt, match="heads/t"):
        Entry.decode(data, "heads/t")


def test_a_marker_of_a_later_format_names_the_package_to_upgrade() -> None:
    check_marker(MARKER, "here")
    with pytest.raises(SchemaTooNew, match="upgrade milepost-s3"):
        check_marker(b'{"format": 2}', "here")
    for data in (b"", b"[]", b"{}", b'{"format":null}', b"\xff"):
        with pytest.raises(Corrupt, match="choose another prefix"):
            check_marker(data, "here")


@pytest.mark.parametrize(
    ("given", "kept"), [("", ""), ("/", ""), ("/a/b", "a/b"), ("a/b/", "a/b"), ("é b", "é b")]
)
def test_a_prefix_loses_the_slashes_at_its_ends(given: str, kept: str) -> None:
    assert check_prefix(given) == kept


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("a//b", "empty"),
        ("//a", "empty"),
        ("a/./b", "'.'"),
        ("..", "'..'"),
        ("a\nb", "control"),
        ("é" * 101, "202 bytes"),
    ],
)
def test_a_prefix_that_some_tool_would_change_is_refused(prefix: str, said: str) -> None:
    with pytest.raises(InvalidURL, match=re.escape(said)):
        check_prefix(prefix)
