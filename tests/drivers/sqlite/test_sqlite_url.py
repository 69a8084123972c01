"""The spellings of a SQLite URL, and what its options do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from milepost.checkpoint import Capability
from milepost.drivers import open_checkpointer
from milepost.errors import InvalidURL
from milepost_sqlite import CannotOpen, SQLiteCheckpointer

if TYPE_CHECKING:
    from pathlib import Path


def opened(url: str) -> SQLiteCheckpointer:
    driver = open_checkpointer(url)
    assert isinstance(driver, SQLiteCheckpointer)
    return driver


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///runs.db", "{cwd}/runs.db"),
        ("sqlite:///sub/runs.db?mkdir=yes", "{cwd}/sub/runs.db"),
        ("sqlite:////abs/runs.db", "/abs/runs.db"),
        ("sqlite:///my%20runs%23%3F%25.db", "{cwd}/my runs#?%.db"),
        ("sqlite:///caf%C3%A9.db", "{cwd}/café.db"),
        ("sqlite:///file:x.db", "{cwd}/file:x.db"),
        ("sqlite://", ":memory:"),
        ("sqlite:///:memory:", ":memory:"),
    ],
)
def test_a_url_names_a_file(url: str, path: str, tmp_path: Path) -> None:
    assert opened(url).path == path.format(cwd=tmp_path)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://runs.db", ["sqlite:///runs.db (relative)", "sqlite:////runs.db (absolute)"]),
        ("sqlite://sub/runs.db", ["sqlite:///sub/runs.db (relative)"]),
        ("sqlite://:memory:", ["write sqlite://"]),
        ("sqlite:///", ["names no file"]),
        ("sqlite:///a%00b", ["names no file"]),
        ("sqlite:///a%ff", ["UTF-8"]),
        ("sqlite:///a.db?sync=full", ["unknown option 'sync'", "synchronous"]),
        ("sqlite:///a.db?synchronous=off", ["one of full, normal"]),
        ("sqlite:///a.db?timeout=100h", ["timeout is between 0 and 86400 seconds"]),
    ],
)
def test_a_wrong_url_is_refused_with_the_right_spelling(url: str, said: list[str]) -> None:
    with pytest.raises(InvalidURL) as caught:
        open_checkpointer(url)
    for part in said:
        assert part in str(caught.value)


@pytest.mark.parametrize("keywords", [{"synchronous": "off"}, {"timeout": -1.0}, {"timeout": float("nan")}])
def test_a_wrong_keyword_is_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises(InvalidURL):
        SQLiteCheckpointer("a.db", **keywords)


def test_nothing_is_opened_before_the_first_use(tmp_path: Path) -> None:
    with opened("sqlite:///runs.db") as driver:
        assert list(tmp_path.iterdir()) == []
        driver.open()
        assert (tmp_path / "runs.db").exists()


def test_the_path_does_not_follow_the_working_directory(tmp_path: Path) -> None:
    with opened("sqlite:///runs.db") as driver:
        (tmp_path / "elsewhere").mkdir()
        os.chdir(tmp_path / "elsewhere")
        driver.open()
        assert repr(driver) == f"SQLiteCheckpointer('{tmp_path}/runs.db')"
    assert (tmp_path / "runs.db").exists()


def test_missing_directories_are_made_only_on_request(tmp_path: Path) -> None:
    with opened("sqlite:///a/b/runs.db") as driver, pytest.raises(CannotOpen, match="mkdir=true"):
        driver.open()
    with opened("sqlite:///a/b/runs.db?mkdir=true") as driver:
        driver.open()
    assert (tmp_path / "a/b/runs.db").exists()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        opened("sqlite:///file/sub/runs.db?mkdir=true") as driver,
        pytest.raises(CannotOpen, match="cannot be made"),
    ):
        driver.open()


def test_private_memory_is_private_and_claims_neither_durability_nor_sharing() -> None:
    with opened("sqlite://") as one, opened("sqlite://") as other:
        one._append("t", 0, b"x", None)
        assert (one.tail("t"), other.tail("t")) == (1, 0)
        assert not one.capabilities & {Capability.DURABLE, Capability.MULTI_PROCESS, Capability.MULTI_HOST}
    with opened("sqlite:///runs.db") as file:
        assert file.capabilities == one.capabilities | {Capability.DURABLE, Capability.MULTI_PROCESS}
