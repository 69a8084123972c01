"""The published kit itself: what a driver's author, or whoever runs it on a URL, is told."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from milepost import drivers, open_store
from milepost.errors import PositionTaken, StorageUnavailable
from milepost.memory import MemoryCheckpointer, MemoryStore
from milepost.testing import CheckpointerContract, Faulty, StoreContract, agree_with_model, race, two_writers
from milepost.testing import __main__ as command
from milepost.testing._mutants_of_journals import Overwrites
from milepost.testing.clause import CLAUSES, clauses
from milepost.testing.place import Place, batch, names, swap
from milepost.testing.store_place import StorePlace

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "driver-contract.md"
STORE_PAGE = PAGE.with_name("store-contract.md")
FIRST = clauses()[0]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(drivers._registered, ("checkpointer", "broken"), Overwrites)
    return "broken://"


# -- the class -----------------------------------------------------------------------------------------------------


def test_a_subclass_cannot_override_a_clause() -> None:
    with pytest.raises(TypeError, match="overrides clause C01"):
        type("TestMine", (CheckpointerContract,), {FIRST.name: lambda self, place: None})


def test_a_subclass_cannot_take_a_clause_away() -> None:
    with pytest.raises(TypeError, match="overrides clause C01"):
        type("TestMine", (CheckpointerContract,), {FIRST.name: None})


def test_a_mixin_cannot_override_a_clause() -> None:
    mixin = type("Mixin", (), {FIRST.name: lambda self, place: None})
    with pytest.raises(TypeError, match="overrides clause C01"):
        type("TestMine", (mixin, CheckpointerContract), {})


def test_every_clause_is_a_test_whose_name_says_its_number() -> None:
    found = [
        name
        for kind in (CheckpointerContract, StoreContract)
        for name in dir(kind)
        if name.startswith("test_")
    ]
    assert sorted(found) == sorted(clause.name for clause in CLAUSES.values())
    assert {number[0] for number in CLAUSES} == {"C", "S"}
    assert all(re.match(rf"test_{clause.id.lower()}_", clause.name) for clause in CLAUSES.values())
    assert all(clause.sentence.endswith(".") and clause.why for clause in CLAUSES.values())


def test_whether_a_later_schema_is_refused_cannot_be_passed_over() -> None:
    place = Place.of("memory://")
    test: Any = getattr(CheckpointerContract(), CLAUSES["C76"].name)
    with pytest.raises(AssertionError, match="a method make_newer"):
        test(place)


def test_an_author_sees_what_was_compared(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from milepost.testing import CheckpointerContract
        from milepost.testing._mutants_of_journals import ReversesPages
        from milepost.url import URL

        class TestReversed(CheckpointerContract):
            make_newer = "none"

            @pytest.fixture
            def url(self):
                return lambda: ReversesPages.from_url(URL.parse("memory://author"))
        """
    )
    result = pytester.runpytest_subprocess("-q", "-k", "c01 or c82", "-rs", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1, skipped=1)
    result.stdout.fnmatch_lines(["*At index 0 diff:*", "*not declared: durable*"])


# -- the command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_the_report_on_a_good_driver(scheme: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = {"memory": "memory://reported", "sqlite": f"sqlite:///{tmp_path}/runs.db?synchronous=normal"}[
        scheme
    ]
    file = tmp_path / "report.json"
    only = "c0 and not c03 or c4 or c76 or c82"
    assert command.main([url, "--json", str(file), "-k", only]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^C04  passed        A taken position", said, re.MULTILINE)
    assert re.search(r"^C76  not provided ", said, re.MULTILINE)
    report = json.loads(file.read_text())
    outcomes = {clause["id"]: clause["outcome"] for clause in report["clauses"]}
    assert outcomes["C82"] == ("passed" if scheme == "sqlite" else "not declared")
    assert report["passed"]
    assert report["summary"]["failed"] == 0
    assert report["summary"]["passed"] == sum(outcome == "passed" for outcome in outcomes.values())
    assert list(outcomes) == sorted(outcomes)
    assert (report["distribution"], "atomic-head" in report["capabilities"]) == (
        {"memory": "milepost", "sqlite": "milepost-sqlite"}[scheme],
        True,
    )


@pytest.mark.parametrize("scheme", ["memory", "sqlite"])
def test_the_report_on_a_store(scheme: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = {"memory": "memory://reported", "sqlite": f"sqlite:///{tmp_path}/app.db?synchronous=normal"}[scheme]
    file = tmp_path / "report.json"
    assert command.main([url, "--store", "--json", str(file), "-k", "s0 or s28 or s73 or s82"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^S06  passed        A write with a condition", said, re.MULTILINE)
    assert re.search(r"^S73  not provided ", said, re.MULTILINE)
    report = json.loads(file.read_text())
    outcomes = {clause["id"]: clause["outcome"] for clause in report["clauses"]}
    assert outcomes["S82"] == ("passed" if scheme == "sqlite" else "not declared")
    assert outcomes["S28"] == "passed"
    assert all(number.startswith("S") for number in outcomes)
    assert report["distribution"] == {"memory": "milepost", "sqlite": "milepost-sqlite"}[scheme]


def test_the_store_command_leaves_other_items_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/app.db"
    with open_store(url) as store:
        store.put(("mine",), "k", {"n": 1})
        assert command.main([url, "--store", "-k", "s03 or s20 or s90"]) == 0
        assert [(item.namespace, item.key) for item in store.search(())] == [(("mine",), "k")]


def test_what_a_store_does_not_have_must_be_refused() -> None:
    class Plain(MemoryStore):
        capabilities = frozenset()

    class Quiet(Plain):
        def search(self, *args: Any, query: Any = None, **keywords: Any) -> Any:
            return super().search(*args, **keywords)

    test: Any = getattr(StoreContract(), CLAUSES["S32"].name)
    test(StorePlace(Plain))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test(StorePlace(Quiet))


def test_a_store_contract_cannot_be_weakened() -> None:
    first = clauses("store")[0]
    with pytest.raises(TypeError, match="overrides clause S01"):
        type("TestMine", (StoreContract,), {first.name: None})


def test_the_report_on_a_broken_driver_names_the_clause(
    broken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    assert command.main([f"{broken}place", "--json", str(file), "-k", "c01 or c04"]) == 1
    said = capsys.readouterr().out
    assert "C01  passed" in said
    assert re.search(r"^C04  failed .*\n +Failed: DID NOT RAISE", said, re.MULTILINE)
    report = json.loads(file.read_text())
    assert [(clause["id"], clause["outcome"]) for clause in report["clauses"]] == [
        ("C01", "passed"),
        ("C04", "failed"),
    ]
    assert (report["passed"], report["distribution"]) == (False, "(registered)")


def test_the_command_leaves_other_data_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs.db"
    with Place.of(url).open() as driver:
        driver.append("mine", 0, batch("b-0"))
        driver.swap_head(swap("mine"))
        run = [sys.executable, "-m", "milepost.testing", url, "-k", "c43 or c50 or c25"]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [head.thread for head in driver.list_heads()[0]] == ["mine"]
        assert names(driver, "mine") == ["b-0"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(["nowhere://x"], "no checkpointer driver for 'nowhere'"), (["memory://x?colour=1"], "colour")],
)
def test_a_url_that_cannot_be_opened_is_said_in_one_line(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    assert text in capsys.readouterr().err


def test_nothing_tried_is_not_passed() -> None:
    assert command.main(["memory://x", "-k", "no_such_clause"]) == 1


def test_a_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None if name == "hypothesis" else name)
    assert command.main(["memory://x"]) == 2
    assert "needs hypothesis: pip install 'milepost[testing]'" in capsys.readouterr().err


# -- its tools -----------------------------------------------------------------------------------------------------


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    with Faulty(MemoryCheckpointer()) as driver:
        yield driver


def test_a_call_fails_before_or_after_it_was_applied(faulty: Faulty) -> None:
    faulty.fail("_append", "before", times=4)
    with pytest.raises(StorageUnavailable):
        faulty.append("t", 0, batch("b-0"))
    assert names(faulty, "t") == []
    faulty.fail("_append", "after", error=OSError("cut"))
    with pytest.raises(OSError, match="cut"):
        faulty.append("t", 0, batch("b-0"))
    assert names(faulty, "t") == ["b-0"]


def test_a_write_is_held_back_until_it_lands(faulty: Faulty) -> None:
    faulty.delay("_append")
    faulty.fail("_append", times=3)
    with pytest.raises(StorageUnavailable):
        faulty.append("t", 0, batch("b-0"))
    assert names(faulty, "t") == []
    assert faulty.land() == [None]
    assert names(faulty, "t") == ["b-0"]
    assert faulty.land() == []


def test_an_answer_comes_late_and_a_frozen_driver_waits(faulty: Faulty) -> None:
    held = faulty.hold("_append", "after")
    writer = threading.Thread(target=faulty.append, args=("t", 0, batch("b-0")))
    writer.start()
    held.wait_for_arrival()
    assert writer.is_alive()
    assert names(faulty.inner, "t") == ["b-0"]
    held.open()
    writer.join(30)
    frozen = faulty.freeze()
    writer = threading.Thread(target=faulty.append, args=("t", 1, batch("b-1")))
    writer.start()
    frozen.wait_for_arrival()
    assert names(faulty.inner, "t") == ["b-0"]
    frozen.open()
    writer.join(30)
    assert names(faulty, "t") == ["b-0", "b-1"]


def test_two_writers_meet_and_the_race_tells_who_won() -> None:
    driver = MemoryCheckpointer()
    done = two_writers(lambda one, number: one.append("t", 0, batch(f"{number}")), driver)
    assert names(driver, "t") == [str(done.winner)]
    assert [type(error) for error in done.errors.values()] == [PositionTaken]
    swaps = race(*(lambda n=n: driver.swap_head(swap("t", nonce=f"{n}")) for n in range(3)))
    assert driver.load_head("t").nonce == str(swaps.winner)
    with pytest.raises(AssertionError, match="all got through"):
        _ = race(lambda: 1, lambda: 2).winner


def test_a_history_that_differs_is_shown() -> None:
    data = MemoryCheckpointer(atomic_head=False, checked_tail=False)

    def swapped() -> Overwrites:
        made = Overwrites()
        made._data = data._data
        return made

    with pytest.raises(AssertionError, match="answers differently from the model"):
        agree_with_model(swapped, shrink=False)


# -- the page ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "page"), [("checkpointer", PAGE), ("store", STORE_PAGE)])
def test_the_page_says_what_the_code_says(kind: Any, page: Path) -> None:
    begin = f"| {clauses(kind)[0].id[0]}"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith(begin)]
    assert rows == [
        f"| {one.id} | {one.sentence} | {', '.join(need.name for need in one.needs) or 'all'} | {one.why} |"
        for one in clauses(kind)
    ]


def test_importing_milepost_loads_nothing_of_the_kit() -> None:
    names = "('milepost.testing', 'pytest', 'hypothesis')"
    code = f"import sys, milepost; sys.exit(any(name.startswith({names}) for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
