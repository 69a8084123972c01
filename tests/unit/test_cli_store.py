"""``milepost store``: what it prints, changes and moves, and how it exits."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from milepost import _cli, open_store
from milepost._clock import SystemClock
from milepost._moving import exported, imported
from milepost.errors import Corrupt, ItemTooLarge, UnknownType
from milepost.operations import PutOp

if TYPE_CHECKING:
    from milepost.store import Store

numbers = count()


@pytest.fixture
def url() -> str:
    return f"memory://cli-{next(numbers)}"


@pytest.fixture
def store(url: str) -> Store:
    store = open_store(url)
    store.put(("users", "ann"), "name", {"first": "Ann", "stars": 3})
    store.put(("users", "ann", "notes"), "1", {"text": "likes tea", "stars": 5})
    store.put(("users", "a/b"), "name", {"first": "Slash", "born": datetime(1990, 1, 2, tzinfo=UTC).date()})
    return store


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    code = _cli.main(["store", *argv])
    said = capsys.readouterr()
    return code, said.out, said.err


def places(out: str) -> list[str]:
    return [line.partition("\t")[0] for line in out.splitlines()]


def test_ls_lists_the_keys_of_a_namespace_and_the_namespaces_below(url, store, capsys):
    assert run(capsys, "ls", url)[1].split() == ["users/"]
    assert places(run(capsys, "ls", url, "users")[1]) == ["a%2Fb/", "ann/"]
    assert places(run(capsys, "ls", url, "users/ann")[1]) == ["name", "notes/"]
    assert places(run(capsys, "ls", url, "users", "-r")[1]) == ["a%2Fb/name", "ann/name", "ann/notes/1"]
    assert [json.loads(line) for line in run(capsys, "ls", url, "--json")[1].splitlines()] == [
        {"namespace": ["users"]}
    ]


def test_get_prints_a_value_or_the_whole_item(url, store, capsys):
    code, out, _ = run(capsys, "get", url, "users/a%2Fb", "name")
    assert (code, json.loads(out)) == (0, {"first": "Slash", "born": {"$date": "1990-01-02"}})
    item = json.loads(run(capsys, "get", url, "users/ann", "name", "--json")[1])
    assert item["namespace"] == ["users", "ann"]
    assert item["version"] == store.get(("users", "ann"), "name").version
    code, out, err = run(capsys, "get", url, "users/ann", "nothing")
    assert (code, out) == (1, "")
    assert "no item 'nothing'" in err


def test_put_takes_json_from_the_command_line_or_standard_input(url, capsys, monkeypatch):
    code, out, _ = run(capsys, "put", url, "a", "k", '{"when": {"$date": "2026-01-02"}}', "--ttl", "5")
    assert code == 0
    found = open_store(url).get(("a",), "k", refresh_ttl=False)
    assert found.value == {"when": datetime(2026, 1, 2, tzinfo=UTC).date()}
    assert found.expires_at - found.updated_at == timedelta(minutes=5)
    assert out == f"version {found.version}\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"n": 1}'))
    assert run(capsys, "put", url, "a", "k", "-", "--if-version", str(found.version))[0] == 0
    code, _, err = run(capsys, "put", url, "a", "k", '{"n": 2}', "--if-version", "0")
    assert code == 1
    assert "no item was expected" in err
    assert open_store(url).get(("a",), "k").value == {"n": 1}


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["put", "a", "k", "{"], "VALUE is no JSON"),
        (["put", "a", "k", "[1]"], "a value is a mapping"),
        (["put", "", "k", "{}"], "at least one label"),
        (["search", "a", "--filter", "{"], "--filter is no JSON"),
        (["search", "a", "--filter", '{"x": {"$near": 1}}'], "no operator"),
        (["rm", "a"], "either a KEY, or --recursive"),
        (["rm", "a", "k", "-r"], "either a KEY, or --recursive"),
        (["import", "/nowhere/at/all"], "cannot be read"),
        (["export", "-o", "/nowhere/at/all"], "cannot be written"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(url, capsys, argv, text):
    code, out, err = run(capsys, argv[0], url, *argv[1:])
    assert (code, out) == (2, "")
    assert text in err
    assert err.count("\n") == 1


def test_rm_removes_an_item_or_all_below(url, store, capsys):
    assert run(capsys, "rm", url, "users/ann", "name", "--if-version", "1")[0] == 1
    assert run(capsys, "rm", url, "users/ann", "name")[0] == 0
    assert store.get(("users", "ann"), "name") is None
    assert run(capsys, "rm", url, "users/ann", "-r")[1] == "1 removed\n"
    assert store.list_namespaces() == [("users", "a/b")]


def test_search_takes_words_a_filter_and_a_cursor(url, store, capsys):
    assert places(run(capsys, "search", url, "users", "--query", "TEA")[1]) == ["users/ann/notes/1"]
    by_date = '{"born": {"$lt": {"$date": "2000-01-01"}}}'
    assert places(run(capsys, "search", url, "--filter", by_date)[1]) == ["users/a%2Fb/name"]
    _, out, err = run(capsys, "search", url, "--limit", "1", "--json")
    assert json.loads(out)["key"] == "name"
    cursor = err.partition("--cursor ")[2].strip().strip("'")
    assert places(run(capsys, "search", url, "--cursor", cursor)[1]) == [
        "users/ann/name",
        "users/ann/notes/1",
    ]


def test_what_is_exported_can_be_imported_elsewhere_with_its_times(url, store, tmp_path, capsys):
    store.put(("lives",), "k", {"n": 1}, ttl=10)
    before = {(item.namespace, item.key): item for item in store.search((), limit=99, refresh_ttl=False)}
    file = tmp_path / "items.jsonl"
    code, out, err = run(capsys, "export", url, "-o", str(file))
    assert (code, out) == (0, "")
    assert "4 items exported" in err
    assert not Path(f"{file}.part").exists()
    other = f"{url}-other"
    assert run(capsys, "import", other, str(file))[1] == "4 written, 0 there already, 0 expired\n"
    with open_store(other) as there:
        after = {(item.namespace, item.key): item for item in there.search((), limit=99, refresh_ttl=False)}
        shown = [
            {
                place: (item.value, item.created_at, item.updated_at, item.expires_at)
                for place, item in each.items()
            }
            for each in (before, after)
        ]
        assert shown[0] == shown[1]
        assert [item.key for item in there.search((), query="tea")] == ["1"]


def test_import_keeps_or_overwrites_what_is_there(url, store, capsys, monkeypatch):
    lines = b"\n".join(exported(store))
    store.put(("users", "ann"), "name", {"first": "Anna"})
    store.delete(("users", "ann", "notes"), "1")

    def importing(*argv: str) -> str:
        monkeypatch.setattr(sys, "stdin", type("Input", (), {"buffer": io.BytesIO(lines)}))
        return run(capsys, "import", url, "-", *argv)[1]

    assert importing("--keep") == "1 written, 2 there already, 0 expired\n"
    assert store.get(("users", "ann"), "name").value == {"first": "Anna"}
    assert importing() == "3 written, 0 there already, 0 expired\n"
    assert store.get(("users", "ann"), "name").value == {"first": "Ann", "stars": 3}


def test_a_line_that_is_no_item_is_named(url, store):
    lines = [*exported(store), b'{"namespace": ["a"], "key": "k"}']
    with open_store(f"{url}-other") as other, pytest.raises(Corrupt, match="line 4 of the file"):
        list(imported(other, lines, place="the file"))


def test_what_expired_meanwhile_is_not_imported(url, store):
    class Later:
        def now(self) -> datetime:
            return SystemClock().now() + timedelta(hours=1)

        def monotonic(self) -> float:
            return 0.0

        def wait(self, event: Any, seconds: float) -> bool:
            raise AssertionError

    store.put(("lives",), "k", {"n": 1}, ttl=10)
    lines = list(exported(store, ("lives",)))
    with open_store(f"{url}-other") as other:
        other.clock = Later()
        (done,) = imported(other, lines, place="the file")
        assert (done.written, done.expired) == (0, 1)
        assert other.search(()) == []


# -- what an import meets --------------------------------------------------------------------------------------------

LINE = (
    b'{"namespace": ["a"], "key": "k", "version": 1, "nonce": "n", "created_at": "2026-01-01T00:00:00.000000+00:00", '
    b'"updated_at": "2026-01-01T00:00:00.000000+00:00", "value": %b}'
)


@pytest.mark.parametrize("value", [b"[1]", b'"text"', b"null"])
def test_a_line_whose_value_is_no_mapping_is_refused(url, value):
    with (
        open_store(url) as store,
        pytest.raises(Corrupt, match="line 2 of it cannot be read: its value is no mapping"),
    ):
        list(imported(store, [b"\n", LINE % value], place="it"))


def test_a_line_with_more_after_its_value_is_refused(url):
    with open_store(url) as store, pytest.raises(Corrupt, match="no mapping"):
        list(imported(store, [LINE % b'{"x": 1}, "more": {"y": 2}'], place="it"))


def test_a_line_that_the_backend_cannot_hold_is_refused(url):
    with open_store(url) as store:
        store.max_item_bytes = 5
        with pytest.raises(ItemTooLarge, match="over this backend's limit of 5 bytes"):
            list(imported(store, [LINE % b'{"long": "text"}'], place="it"))
        assert store.search(()) == []


def test_values_of_types_that_are_not_registered_here_move_as_they_are(url):
    with open_store(url) as store, open_store(f"{url}-other") as other:
        (done,) = imported(store, [LINE % b'{"x": {"$mystery": ["some words"]}}'], place="it")
        assert done.written == 1
        lines = list(exported(store))
        assert b'{"x": {"$mystery": ["some words"]}}' in lines[0]
        list(imported(other, lines, place="it"))
        with pytest.raises(UnknownType, match="mystery"):
            other.search((), query="words")


def test_without_tqdm_nothing_is_shown_and_all_is_done(url, store, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    code, out, err = run(capsys, "rm", url, "users", "-r")
    assert (code, out, err) == (0, "3 removed\n", "")


def test_many_namespaces_are_all_listed(url, capsys):
    with open_store(url) as store:
        store.batch([PutOp(("n", f"{number:03}", "below"), "k", {}) for number in range(300)])
    assert len(run(capsys, "ls", url, "n")[1].splitlines()) == 300
    assert len(run(capsys, "ls", url, "n", "-r")[1].splitlines()) == 300


def test_an_export_goes_to_standard_output(url, store, capfdbinary):
    assert _cli.main(["store", "export", url, "users/ann"]) == 0
    lines = capfdbinary.readouterr().out.splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["name", "1"]
