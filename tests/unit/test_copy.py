"""Copying threads between backends: equal to the byte, cut off anywhere, never over what is there."""

from __future__ import annotations

import itertools
import json
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends import CHOSEN, SPLIT, parametrized
from milepost import Command, Engine, _cli, entrypoint, interrupt, open_checkpointer, task
from milepost._copy import CopyState, copy_thread, copy_threads
from milepost.checkpoint import Abandoned, Batch, Head, Outcome, Owner, Status, Swap, Value
from milepost.errors import SourceChanged, TargetDiffers, ThreadBusy, TooLarge, UnknownThread
from milepost.memory import MemoryCheckpointer
from other_process import OtherProcess

OWNER = Owner(host="h", boot="b", pid=1, started=2, session="s")
LOCAL = ("memory", "memory-split", "sqlite")
PAIRS = [
    ("memory", "memory-split"),
    ("memory-split", "memory"),
    ("memory-split", "sqlite"),
    ("sqlite", "memory-split"),
]
_names = itertools.count()


def batch(name, text="x"):
    return Batch(id=f"session-{name}", records=(Abandoned(at="2030-01-01T00:00:00Z", run=text),))


def head(thread, version=3, **changes):
    fields = {"status": Status.DONE, "workflow": "w", "run": 0, "nonce": f"n{version}", "updated": "now"}
    return Head(thread=thread, version=version, **(fields | changes))


def fill(driver, thread, count=3, *, first=0, **changes):
    """Write a journal of a few batches and its head."""
    for position in range(first, first + count):
        driver.append(thread, position, batch(position, f"run {position}"))
    for version in range(1, 4):
        assert driver.swap_head(Swap(head=head(thread, version, **changes), expected=version - 1 or None))


def content(driver, thread="t"):
    """Return a thread as the backend keeps it: the very bytes."""
    return list(driver._read(thread, 0, 10_000)), driver._load_head(thread)


def reports(*args, **options):
    return [(report.thread, report.state.value) for report in copy_threads(*args, **options)]


@pytest.fixture
def place(backends, tmp_path):
    """Open drivers on fresh places, by the name of a backend."""
    opened = []

    def make(name):
        given = backends.fresh(name, tmp_path)
        url = given.__enter__()
        opened.append((given, open_checkpointer(url)))
        return opened[-1][1]

    yield make
    for context, driver in opened:
        driver.close()
        context.__exit__(None, None, None)


@pytest.fixture(params=PAIRS, ids="-to-".join)
def pair(request, place):
    source, target = request.param
    return place(source), place(target)


# -- equal ---------------------------------------------------------------------------------------------------------


def test_every_thread_arrives_with_the_same_bytes_at_the_same_positions(pair):
    source, target = pair
    threads = ["a/b", "é", *(f"t{n:03}" for n in range(120))]  # more than a page
    for number, thread in enumerate(threads):
        fill(source, thread, 1 + number % 3, status=Status.INTERRUPTED, pending=("int_1",))
    assert sorted(reports(source, target)) == sorted((thread, "copied") for thread in threads)
    for thread in threads:
        assert content(target, thread) == content(source, thread) != ([], None)
    assert {state for _, state in reports(source, target)} == {"equal"}


def test_a_journal_longer_than_a_page_arrives_in_order(pair):
    source, target = pair
    fill(source, "t", 600)
    wrote = []
    report = copy_thread(source, target, "t", wrote=wrote.append)
    assert (report.batches, report.size) == (600, sum(wrote))
    assert content(target) == content(source)
    assert target.tail("t") == 600


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
outcomes = st.builds(
    lambda value, text: Outcome(
        call="0", name=text, digest="d", shows=text, began="a", ended="b", result=Value(raw=value)
    ),
    values.filter(lambda value: value is not None),
    st.text(st.characters(codec="utf-8")),
)


@pytest.mark.parametrize(("source", "target"), [("", f"?{SPLIT}"), (f"?{SPLIT}", "")])
@given(
    records=st.lists(st.lists(outcomes, min_size=1, max_size=3), max_size=6),
    floor=st.integers(0, 5),
    cut=st.integers(0, 6),
    status=st.sampled_from([None, *(status for status in Status if status is not Status.RUNNING)]),
)
@settings(deadline=None, max_examples=60)
def test_any_thread_pruned_anywhere_and_copied_in_part_arrives_whole(
    source, target, records, floor, cut, status
):
    driver, other = open_checkpointer(f"memory://{source}"), open_checkpointer(f"memory://{target}")
    for position, made in enumerate(records):
        driver.append("t", position, Batch(id=f"s-{position}", records=tuple(made)))
    floor = min(floor, max(0, len(records) - 1))
    driver.prune("t", floor)
    if status is not None:
        driver.swap_head(Swap(head=head("t", 1, status=status), expected=None))
    if not records and status is None:
        return
    other.prune("t", floor)
    for position, found in itertools.islice(driver.read("t"), cut):  # what an earlier copy came to
        other.append("t", position, found)
    copy_thread(driver, other, "t")
    assert content(other) == content(driver)
    assert copy_thread(driver, other, "t").state is CopyState.EQUAL


def test_a_pruned_journal_begins_at_its_floor_in_the_target(pair):
    source, target = pair
    fill(source, "t", 6)
    source.prune("t", before=4)
    assert reports(source, target) == [("t", "copied")]
    assert content(target) == content(source)
    assert [position for position, _ in target.read("t")] == [4, 5]
    target.append("t", 6, batch("next"))


@pytest.mark.parametrize("name", LOCAL)
def test_a_thread_that_was_deleted_and_started_again_goes_on_where_it_did(place, name):
    source, target = place("memory-split"), place(name)
    fill(source, "t", 2)
    source.delete("t")
    first = source.tail("t")
    assert first == 3  # after the tombstone
    fill(source, "t", 2, first=first)
    assert reports(source, target) == [("t", "copied")]
    assert content(target) == content(source)


def test_a_journal_without_a_head_is_copied_where_it_is_named(pair):
    source, target = pair
    source.append("lost", 0, batch(0))
    fill(source, "t")
    assert reports(source, target) == [("t", "copied")]
    assert reports(source, target, ["lost"]) == [("lost", "copied")]
    assert content(target, "lost") == content(source, "lost")


def test_a_head_whose_journal_is_empty_is_copied(pair):
    source, target = pair
    fill(source, "t", 0)
    assert reports(source, target) == [("t", "copied")]
    assert content(target) == content(source)


def test_a_dry_run_says_what_is_missing_and_writes_nothing(pair):
    source, target = pair
    fill(source, "t")
    (report,) = copy_threads(source, target, dry_run=True)
    assert (report.state, report.batches) == (CopyState.MISSING, 3)
    assert report.size == sum(len(data) for _, data in content(source)[0])
    assert content(target) == ([], None)
    target.append("t", 0, batch(0, "run 0"))
    (report,) = copy_threads(source, target, dry_run=True)
    assert (report.state, report.batches) == (CopyState.MISSING, 2)


# -- refused -------------------------------------------------------------------------------------------------------


def test_a_thread_that_runs_is_refused_and_the_others_are_copied(pair):
    source, target = pair
    fill(source, "runs", status=Status.RUNNING, owner=OWNER, lease=10.0)
    fill(source, "rests")
    found = list(copy_threads(source, target))
    assert [(each.thread, each.state) for each in found] == [("rests", "copied"), ("runs", "refused")]
    assert isinstance(found[1].error, ThreadBusy)
    assert found[1].error.owner == "process 1 on h"
    assert content(target, "runs") == ([], None)


def test_a_thread_whose_deletion_was_cut_off_is_refused(place):
    source, target = place("memory-split"), place("memory")
    fill(source, "t", status=Status.RUNNING)
    with pytest.raises(ThreadBusy, match="delete it again"):
        copy_thread(source, target, "t")


def test_other_content_is_named_by_its_first_position_and_left_alone(pair):
    source, target = pair
    fill(source, "t", 4)
    for position in range(2):
        target.append("t", position, batch(position, f"run {position}"))
    target.append("t", 2, batch("rival"))
    before = content(target)
    with pytest.raises(TargetDiffers, match="'t' differs from the source at position 2") as caught:
        copy_thread(source, target, "t")
    assert (caught.value.thread_id, caught.value.position) == ("t", 2)
    assert content(target) == before


def test_a_target_that_went_on_is_left_alone(pair):
    source, target = pair
    fill(source, "t", 2)
    copy_thread(source, target, "t")
    target.append("t", 2, batch("later"))
    with pytest.raises(TargetDiffers) as caught:
        copy_thread(source, target, "t")
    assert caught.value.position == 2


def test_a_target_with_another_head_is_left_alone(pair):
    source, target = pair
    fill(source, "t")
    copy_thread(source, target, "t")
    assert target.swap_head(Swap(head=head("t", 4), expected=3))
    with pytest.raises(TargetDiffers, match="has another head") as caught:
        copy_thread(source, target, "t")
    assert caught.value.position is None
    source.append("t", 3, batch("late"))
    with pytest.raises(TargetDiffers) as caught:
        copy_thread(source, target, "t")
    assert caught.value.position == 3
    assert target.tail("t") == 3


def test_a_late_outcome_in_the_source_is_copied_behind_an_equal_head(pair):
    source, target = pair
    fill(source, "t")
    copy_thread(source, target, "t")
    source.append("t", 3, batch("late"))
    assert reports(source, target) == [("t", "copied")]
    assert content(target) == content(source)


def test_a_target_where_the_thread_was_deleted_says_so(place):
    source, target = place("sqlite"), place("memory-split")
    fill(source, "t")
    fill(target, "t", 1)
    target.delete("t")
    with pytest.raises(TargetDiffers, match="was deleted in the target, where its positions go on at 2"):
        copy_thread(source, target, "t")
    assert content(target) == ([], None)


def test_a_batch_over_the_targets_limit_is_named_before_anything_is_written(pair):
    source, target = pair
    fill(source, "t")
    source.append("t", 3, batch("large", "x" * 500))
    target.max_batch_bytes = 400
    with pytest.raises(TooLarge, match=r"the batch at position 3 of .* bytes for thread 't'") as caught:
        copy_thread(source, target, "t")
    assert (caught.value.thread_id, caught.value.position, caught.value.limit) == ("t", 3, 400)
    assert content(target) == ([], None)


def test_an_unknown_thread_is_refused(pair):
    with pytest.raises(UnknownThread, match="'nobody'"):
        copy_thread(*pair, "nobody")


def test_a_corrupt_batch_stops_its_own_thread_only(pair):
    source, target = pair
    fill(source, "a")
    source._append("a", 3, b"nonsense", None)
    fill(source, "b")
    assert reports(source, target) == [("a", "refused"), ("b", "copied")]


def test_a_target_that_keeps_something_else_is_found_when_it_is_read_back(pair):
    source, target = pair
    fill(source, "t")
    keep = target._append
    target._append = lambda thread, position, data, swap: keep(
        thread, position, data.replace(b"run 1", b"run 7"), swap
    )
    with pytest.raises(TargetDiffers) as caught:
        copy_thread(source, target, "t")
    assert caught.value.position == 1
    assert target.load_head("t") is None


# -- the source moves -----------------------------------------------------------------------------------------------


def test_a_source_that_goes_on_meanwhile_is_reported_and_the_next_copy_goes_on(pair):
    source, target = pair
    fill(source, "t")

    def grow(_size):
        if source.tail("t") == 3:
            source.append("t", 3, batch("late"))

    with pytest.raises(SourceChanged, match="copy it again when it rests"):
        copy_thread(source, target, "t", wrote=grow)
    assert target.load_head("t") is None
    assert reports(source, target) == [("t", "copied")]
    assert content(target) == content(source)


def test_a_source_that_moves_between_comparison_and_head_is_reported(pair):
    source, target = pair
    fill(source, "t")
    swap = target._swap_head

    def late(*args):
        source.append("t", 3, batch("late"))
        return swap(*args)

    target._swap_head = late
    with pytest.raises(SourceChanged, match="delete it in the target"):
        copy_thread(source, target, "t")


def test_a_source_that_is_pruned_meanwhile_leaves_no_gap(pair):
    source, target = pair
    fill(source, "t", 600)
    with pytest.raises(SourceChanged):
        copy_thread(source, target, "t", wrote=lambda _: source.prune("t", before=500))
    assert target.load_head("t") is None


def test_a_rival_in_the_target_is_not_overwritten(pair):
    source, target = pair
    fill(source, "t")

    def rival(_size):
        if target.tail("t") == 1:
            target.append("t", 1, batch("rival"))

    with pytest.raises(TargetDiffers) as caught:
        copy_thread(source, target, "t", wrote=rival)
    assert caught.value.position == 1
    assert target.at("t", 1) == batch("rival")


# -- cut off ---------------------------------------------------------------------------------------------------------


class Cut(BaseException):
    """The process ends here."""


HOOKS = ("_append", "_read", "_tail", "_load_head", "_swap_head", "_list_heads", "_prune")


def cut_at(driver, number, *, applied):
    """Let the driver's hook call with this number be the last: after it was applied, or before."""
    calls = itertools.count()

    def wrap(hook):
        def call(*args):
            if next(calls) != number:
                return hook(*args)
            if applied:
                hook(*args)
            raise Cut

        return call

    for name in HOOKS:
        setattr(driver, name, wrap(getattr(driver, name)))


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("kind", ["memory", "memory-split"])
def test_a_copy_cut_off_at_any_call_goes_on(kind, applied):
    source = MemoryCheckpointer(checked_tail=False, atomic_head=False)
    fill(source, "pruned", 4)
    source.prune("pruned", before=2)
    fill(source, "t", 3)
    for number in itertools.count():
        url = f"memory://copy-{next(_names)}?{SPLIT if kind == 'memory-split' else ''}"
        target, again = open_checkpointer(url), open_checkpointer(url)
        cut_at(target, number, applied=applied)
        try:
            list(copy_threads(source, target))
            break
        except Cut:
            assert {state for _, state in reports(source, again)} <= {"copied", "equal"}
            for thread in ("pruned", "t"):
                assert content(again, thread) == content(source, thread)
    assert number >= 20


@pytest.mark.crash
def test_a_copy_that_is_killed_goes_on(tmp_path):
    with open_checkpointer(f"sqlite:///{tmp_path}/from.db") as source:
        for thread in ("a", "b"):
            fill(source, thread, 5)
        program = """
        from milepost import open_checkpointer
        from milepost._copy import copy_threads
        count = 0
        def wrote(size):
            global count
            count += 1
            if count == 8:
                say("killed here")
                wait_for("nothing")
        list(copy_threads(open_checkpointer("sqlite:///from.db"), open_checkpointer("sqlite:///to.db"), wrote=wrote))
        """
        with OtherProcess(program, tmp_path) as other:
            other.until("killed here")
            other.kill()
        with open_checkpointer(f"sqlite:///{tmp_path}/to.db") as target:
            assert [target.tail(thread) for thread in ("a", "b")] == [5, 3]
            assert target.load_head("b") is None
            assert reports(source, target) == [("a", "equal"), ("b", "copied")]
            for thread in ("a", "b"):
                assert content(target, thread) == content(source, thread)


# -- workflows -------------------------------------------------------------------------------------------------------


@task
def count_up(number):
    counted.append(number)
    return {"number": number, "third": number / 3, "name": "José"}


counted = []


@entrypoint()
def review(number):
    made = count_up(number).result()
    first = interrupt("first?")
    again = count_up(number + 1).result()
    return [made, first, again, interrupt("second?")]


@pytest.fixture(params=parametrized())
def paused_at(request):
    return request.param


@pytest.fixture
def journey(place, paused_at):
    """A workflow paused on SQLite, to be copied to each backend and from there to MongoDB."""
    counted.clear()
    return place("sqlite"), place(paused_at)


def test_a_workflow_paused_on_sqlite_goes_on_where_it_was_copied_to_and_comes_back(journey, place):
    home, away = journey
    with Engine(checkpointer=home) as engine:
        review.invoke(1, thread_id="t")
        engine.close()
    assert reports(home, away) == [("t", "copied")]
    assert content(away) == content(home)
    with Engine(checkpointer=away) as engine:
        review.invoke(Command(resume="yes"), thread_id="t")
        engine.close()
    back = place("sqlite")
    assert reports(away, back) == [("t", "copied")]
    assert content(back) == content(away)
    with Engine(checkpointer=back) as engine:
        result = review.invoke(Command(resume="done"), thread_id="t")
        engine.close()
    assert counted == [1, 2]
    expected = [{"number": n, "third": n / 3, "name": "José"} for n in (1, 2)]
    assert result == [expected[0], "yes", expected[1], "done"]


@pytest.mark.wire
@pytest.mark.skipif(not {"s3", "mongodb"} <= set(CHOSEN), reason="MILEPOST_TEST_BACKENDS names others")
def test_a_workflow_goes_from_sqlite_over_s3_to_mongodb_and_is_finished_there(place):
    counted.clear()
    stations = [place(name) for name in ("sqlite", "s3", "mongodb")]
    orders = [1, Command(resume="yes"), Command(resume="done")]
    result = None
    for number, (driver, order) in enumerate(zip(stations, orders, strict=True)):
        if number:
            assert reports(stations[number - 1], driver) == [("t", "copied")]
            assert content(driver) == content(stations[number - 1])
        with Engine(checkpointer=driver) as engine:
            result = review.invoke(order, thread_id="t")
            engine.close()
    assert counted == [1, 2]
    assert result[1::2] == ["yes", "done"]
    assert stations[2].load_head("t").status is Status.DONE


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def urls(tmp_path):
    return f"sqlite:///{tmp_path}/from.db", f"memory://copied-{next(_names)}?{SPLIT}"


@pytest.fixture
def source(urls):
    with open_checkpointer(urls[0]) as driver:
        yield driver


def test_the_command_copies_prints_a_line_each_and_exits_with_0(urls, source, capsys):
    fill(source, "a", 1)
    fill(source, "b\n", 2)
    assert _cli.main(["copy", *urls]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("  ")[0] for line in lines[:-1]] == ["copied   'a'", r"copied   'b\n'"]
    assert lines[-1].startswith("2 copied (3 batches, ")
    assert lines[-1].endswith("0 there already, 0 refused")
    assert _cli.main(["copy", *urls]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "equal    'a'", r"equal    'b\n'", "0 copied (0 batches, 0 bytes), 2 there already, 0 refused",
    ]  # fmt: skip
    with open_checkpointer(urls[1]) as target:
        assert content(target, "b\n") == content(source, "b\n")


def test_the_command_exits_with_1_and_names_what_was_refused(urls, source, capsys):
    fill(source, "a", status=Status.RUNNING, owner=OWNER)
    fill(source, "b")
    assert _cli.main(["copy", *urls]) == 1
    out = capsys.readouterr().out
    assert "refused  'a': thread 'a' runs, held by process 1 on h" in out
    assert out.endswith("0 there already, 1 refused\n")


def test_the_command_prints_json_lines(urls, source, capsys):
    fill(source, "a")
    fill(source, "b")
    with open_checkpointer(urls[1]) as target:
        target.append("b", 0, batch("rival"))
    assert _cli.main(["copy", *urls, "--json", "--thread", "b", "--thread", "a"]) == 1
    refused, copied = map(json.loads, capsys.readouterr().out.splitlines())
    assert (refused["thread"], refused["state"], refused["error"], refused["position"]) == (
        "b", "refused", "TargetDiffers", 0,
    )  # fmt: skip
    size = sum(len(data) for _, data in content(source, "a")[0])
    assert copied == {"thread": "a", "state": "copied", "batches": 3, "bytes": size}


def test_a_dry_run_of_the_command_writes_nothing(urls, source, capsys):
    fill(source, "a")
    assert _cli.main(["copy", *urls, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 missing (3 batches, ")
    with open_checkpointer(urls[1]) as target:
        assert content(target, "a") == ([], None)


@pytest.mark.parametrize(
    "wrong", [["sqlite:///x.db"], ["no-url", "memory://"], ["memory://", "sqllite:///x"]]
)
def test_a_wrong_call_exits_with_2(wrong, capsys):
    try:
        code = _cli.main(["copy", *wrong])
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    assert capsys.readouterr().err


def test_a_source_without_threads_is_said_to_be_empty(tmp_path, urls, capsys):
    assert _cli.main(["copy", f"sqlite:///{tmp_path}/typo.db", urls[1]]) == 0
    assert re.search(r"no thread of SQLiteCheckpointer.*typo\.db.*has a head", capsys.readouterr().err)


def test_a_backend_that_fails_exits_with_2(urls, tmp_path, capsys):
    assert _cli.main(["copy", f"sqlite:///{tmp_path}/no/folder.db", urls[1]]) == 2
    assert "folder.db" in capsys.readouterr().err


def test_ctrl_c_ends_the_command_with_130_and_one_line(urls, source, capsys, monkeypatch):
    fill(source, "a")
    monkeypatch.setattr(
        "milepost._copy.copy_thread", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert _cli.main(["copy", *urls]) == 130
    assert capsys.readouterr().err == "milepost: interrupted\n"


class _Terminal:
    def __init__(self, stream):
        self._stream = stream

    def isatty(self):
        return True

    def __getattr__(self, name):
        return getattr(self._stream, name)


def test_on_a_terminal_a_bar_counts_threads_batches_and_bytes(urls, source, capsys, monkeypatch):
    fill(source, "a", status=Status.RUNNING, owner=OWNER)
    fill(source, "b", 4)
    monkeypatch.setattr(sys, "stderr", _Terminal(sys.stderr))
    assert _cli.main(["copy", *urls]) == 1
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["refused", "1"]
    size = sum(len(data) for _, data in content(source, "b")[0])
    assert "2/2" in err
    assert f"batches=4, bytes={size}" in err


def test_without_tqdm_a_terminal_gets_lines(urls, source, capsys, monkeypatch):
    fill(source, "a")
    monkeypatch.setattr(sys, "stderr", _Terminal(sys.stderr))
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert _cli.main(["copy", *urls]) == 0
    assert capsys.readouterr().out.startswith("copied   'a'  3 batches, ")
