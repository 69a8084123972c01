"""`milepost runs`, `inbox` and `doctor`: what they show, change and answer, and their exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

import milepost
from milepost import Engine, entrypoint, get_stream_writer, interrupt, sleep, task
from milepost._claim import read_thread
from milepost._cli import main
from milepost._cli._doctor import verdict_of
from milepost._ids import token
from milepost._owner import make
from milepost._struct import replace
from milepost.checkpoint import Owner, Status, Swap

PATIENCE = 30


@task
def price(order: str) -> int:
    get_stream_writer()({"pricing": order})
    return 120


@entrypoint()
def cli_review(order: str) -> str:
    amount = price(order).result()
    return f"{order} {amount} {interrupt({'order': order}, response_schema=bool, key='ok')}"


@entrypoint()
def cli_fails(number: int) -> int:
    raise LookupError(f"no {number}")


@entrypoint()
def cli_naps(number: int) -> int:
    sleep(3600)
    return number


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/runs.db"


@pytest.fixture
def engine(url):
    made = Engine(checkpointer=url, poll=0.1)
    yield made
    made.close()


@pytest.fixture
def waiting(engine):
    """A run that waits for a person."""
    run = engine.start(cli_review, "chairs", thread_id="t1", owner="ann", tags=["office", "big"])
    for _ in run.events(follow=True, timeout=PATIENCE):
        if run.status == "interrupted":
            break
    return run


@pytest.fixture
def ask(capsys):
    """Run a command; return its exit code, what it printed, and what it said beside."""

    def asked(*argv):
        code = main([str(each) for each in argv])
        told = capsys.readouterr()
        return code, told.out, told.err

    return asked


def failed(engine, thread="t2"):
    run = engine.start(cli_fails, 3, thread_id=thread)
    with pytest.raises(LookupError):
        run.result(PATIENCE)
    return run


# -- runs --------------------------------------------------------------------------------------------------------------


def test_ls_lists_and_filters(ask, url, engine, waiting):
    failed(engine)
    code, out, _ = ask("runs", "ls", url)
    assert code == 0
    header, first, second = out.splitlines()
    assert header.split() == ["THREAD", "WORKFLOW", "STATUS", "OWNER", "TAGS", "UPDATED", "HELD", "BY"]
    assert first.split()[:6] == ["t1", "cli_review", "interrupted", "ann", "office,", "big"]
    assert second.split()[:3] == ["t2", "cli_fails", "failed"]
    for said, threads in (
        (["--status", "failed"], ["t2"]),
        (["--workflow", "cli_review"], ["t1"]),
        (["--owner", "ann"], ["t1"]),
        (["--tag", "big", "--tag", "office"], ["t1"]),
        (["--tag", "small"], []),
        (["--limit", "1"], ["t1"]),
    ):
        code, out, _ = ask("runs", "ls", url, "-o", "json", *said)
        assert [row["thread"] for row in json.loads(out)] == threads
    code, out, _ = ask("runs", "ls", url, "-o", "jsonl")
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["interrupted", "failed"]


def test_nothing_is_printed_where_there_is_nothing(ask, url):
    assert ask("runs", "ls", url) == (0, "", "")
    assert ask("inbox", "ls", url) == (0, "", "")
    assert ask("runs", "ls", url, "-o", "json")[1] == "[]\n"


def test_show_tells_what_is_on_record_of_a_run(ask, url, engine, waiting):
    code, out, _ = ask("runs", "show", url, "t1", "-o", "json")
    shown = json.loads(out)
    assert code == 0
    assert (shown["status"], shown["owner"], shown["tags"]) == ("interrupted", "ann", ["office", "big"])
    assert [(call["name"], call["status"]) for call in shown["calls"]] == [
        ("price", "done"),
        ("interrupt", "interrupted"),
    ]
    assert shown["questions"][0]["value"] == {"order": "chairs"}
    code, out, _ = ask("runs", "show", url, "t1", "--run", waiting.id)
    assert "interrupted" in out
    assert "price" in out
    failed(engine)
    assert "LookupError: no 3" in ask("runs", "show", url, "t2")[1]
    assert ask("runs", "show", url, "nobody")[0] == 3
    assert ask("runs", "show", url, "t1", "--run", "000000000009-x")[0] == 3


def test_show_tells_of_an_older_run(ask, url, engine, waiting):
    failed(engine)
    first = engine.run("t2")
    engine.start(cli_fails, 4, thread_id="t2")
    code, out, _ = ask("runs", "show", url, "t2", "--run", first.id, "-o", "json")
    assert (code, json.loads(out)["run"], json.loads(out)["held_by"]) == (0, first.id, None)


def test_watch_follows_a_run_and_exits_by_how_it_rests(ask, url, engine, waiting):
    code, out, err = ask("runs", "watch", url, "t1", "-o", "jsonl")
    kinds = [json.loads(line)["kind"] for line in out.splitlines()]
    assert (code, kinds[0], kinds[-1]) == (7, "workflow_started", "workflow_interrupted")
    assert "interrupted" in err
    waiting.resume(True, actor="ben")
    waiting.result(PATIENCE)
    last = json.loads(out.splitlines()[-1])["position"]
    code, out, _ = ask("runs", "watch", url, "t1", "--after", last)
    assert code == 0
    assert "workflow_resumed" in out.splitlines()[0]
    assert 'actor="ben"' in out
    failed(engine)
    assert ask("runs", "watch", url, "t2")[0] == 6
    engine.start(cli_naps, 1, thread_id="t3")
    assert ask("runs", "watch", url, "t3", "--timeout", "0.2")[0] == 124


def test_cancel_and_retry(ask, url, engine, waiting):
    code, _, err = ask("runs", "cancel", url, "t1", "--reason", "no budget")
    assert (code, waiting.status) == (0, "cancelled")
    assert "cancelled" in err
    assert "no budget" in ask("runs", "show", url, "t1")[1]
    run = failed(engine)
    assert ask("runs", "retry", url, "t2")[0] == 0
    assert run.status == "running"
    engine.begin(recover=True)
    with pytest.raises(LookupError):
        run.result(PATIENCE)
    done = engine.start(cli_review, "x", thread_id="t4")
    for _ in done.events(follow=True, timeout=PATIENCE):
        if done.status == "interrupted":
            break
    done.resume(True)
    done.result(PATIENCE)
    assert ask("runs", "retry", url, "t4")[0] == 4
    assert ask("runs", "cancel", url, "t4")[0] == 4
    assert ask("runs", "cancel", url, "nobody")[0] == 3


def test_fork_begins_a_run_with_the_same_input(ask, url, engine, waiting, monkeypatch):
    monkeypatch.setattr("milepost._known.find", lambda _: None)  # as in a process that imports no workflow
    code, out, err = ask("runs", "fork", url, "t1", "--to", "t9")
    thread, run_id = out.split()
    assert (code, thread) == (0, "t9")
    assert "handed on" in err
    monkeypatch.undo()
    forked = engine.run("t9", run_id)
    assert (forked.status, forked.owner, forked.tags) == ("running", "ann", ("office", "big"))
    with engine:
        assert cli_review.invoke(None, thread_id="t9")["__interrupt__"][0].value == {"order": "chairs"}
        assert next(cli_review.get_state_history(thread_id="t9")).metadata["source"] == "fork"


def test_rm_asks_and_refuses_what_somebody_works_on(ask, url, engine, waiting, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("no\n"))
    assert ask("runs", "rm", url, "t1")[:2] == (0, "")
    assert waiting.status == "interrupted"
    with milepost.open_checkpointer(url) as driver:
        head = driver.load_head("t1")
        other = Owner(host="elsewhere", boot="b", pid=1, started=1, session="s")
        held = replace(
            head, version=head.version + 1, status=Status.RUNNING, owner=other, lease=60.0, nonce="n"
        )
        assert driver.swap_head(Swap(head=held, expected=head.version))
    code, _, err = ask("runs", "rm", url, "t1", "--yes")
    assert (code, "elsewhere" in err) == (4, True)
    assert ask("runs", "rm", url, "t1", "nobody", "--yes", "--force")[:2] == (3, "t1\n")
    assert ask("runs", "show", url, "t1")[0] == 3


# -- inbox -------------------------------------------------------------------------------------------------------------


def test_the_inbox_lists_shows_and_answers(ask, url, engine, waiting):
    (question,) = waiting.interrupts
    code, out, _ = ask("inbox", "ls", url, "-o", "json")
    (row,) = json.loads(out)
    assert (code, row["id"], row["thread"], row["value"]) == (0, question.id, "t1", {"order": "chairs"})
    assert question.id in ask("inbox", "ls", url)[1]
    code, out, _ = ask("inbox", "show", url, question.id, "-o", "json")
    assert json.loads(out)["schema"] == {"type": "boolean"}
    code, _, err = ask("inbox", "answer", url, question.id, '"perhaps"')
    assert (code, question.id in err, "not what it asks for" in err) == (2, True, True)
    code, _, err = ask("inbox", "answer", url, question.id, "perhaps")
    assert (code, "not JSON" in err) == (2, True)
    assert ask("inbox", "answer", url, question.id, "true", "--actor", "carla")[0] == 0
    with engine:
        assert cli_review.invoke(None, thread_id="t1", busy="join") == "chairs 120 True"
    code, _, err = ask("inbox", "answer", url, question.id, "false", "--thread", "t1")
    assert (code, "carla" in err) == (4, True)
    assert ask("inbox", "answer", url, question.id, "false")[0] == 3
    assert ask("inbox", "show", url, question.id)[0] == 3
    assert ask("inbox", "answer", url, question.id, "false", "--thread", "nobody")[0] == 3


def test_an_answer_may_come_from_standard_input(ask, url, engine, waiting, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("true\n"))
    (question,) = waiting.interrupts
    assert ask("inbox", "answer", url, question.id, "-")[0] == 0
    with engine:
        assert cli_review.invoke(None, thread_id="t1", busy="join") == "chairs 120 True"


# -- doctor ------------------------------------------------------------------------------------------------------------


def test_doctor_says_what_is_waited_for(ask, url, engine, waiting):
    engine.start(cli_naps, 1, thread_id="t3")
    failed(engine)
    code, out, err = ask("doctor", url, "-o", "json")
    told = {row["thread"]: row for row in json.loads(out)}
    assert (code, set(told)) == (0, {"t1", "t3"})
    assert "waits for a person" in told["t1"]["why"]
    assert waiting.interrupts[0].id in told["t1"]["why"]
    assert "0 stuck" in err
    code, out, _ = ask("doctor", url, "--thread", "t2", "--thread", "nobody", "-o", "json")
    assert (code, json.loads(out)[0]["why"]) == (3, "failed with LookupError: no 3")


def test_doctor_finds_what_nobody_goes_on_with(ask, url, engine, waiting):
    with milepost.open_checkpointer(url) as driver:
        head = driver.load_head("t1")
        dead = replace(make(), pid=2**22 + 1, started=1)
        held = replace(
            head,
            version=head.version + 1,
            status=Status.RUNNING,
            owner=dead,
            lease=60.0,
            nonce=token(),
            cancel="",
        )
        assert driver.swap_head(Swap(head=held, expected=head.version))
    code, out, _ = ask("doctor", url)
    assert code == 1
    assert "its process died before the head said so" in out
    assert "asked to be cancelled" in out


@pytest.mark.parametrize(
    ("changes", "stuck", "why"),
    [
        ({"owner": "dead"}, True, "its process died"),
        ({"owner": "alive"}, False, "works: held by process 1 on elsewhere"),
        ({"owner": "alive", "quiet": 100}, True, "its last sign of life was 100 s ago"),
        ({"owner": "alive", "still": True}, True, "no sign of life for its whole lease"),
        ({"offered": True}, False, "was handed on 0 s ago"),
        ({"offered": True, "quiet": 100}, True, "no live engine knows workflow 'cli_review'"),
        ({}, True, "its caller stopped it"),
    ],
)
def test_verdicts_on_what_runs(url, engine, waiting, changes, stuck, why):
    now = datetime.now(UTC)  # noqa: TID251 - a time is all that is needed
    owners = {
        "dead": replace(make(), pid=2**22 + 1, started=1),
        "alive": Owner(host="elsewhere", boot="b", pid=1, started=1, session="s"),
    }
    with milepost.open_checkpointer(url) as driver:
        head = driver.load_head("t1")
        run = read_thread(driver, "t1", head).run
    run.status = Status.RUNNING
    updated = (now - timedelta(seconds=changes.get("quiet", 0))).isoformat()
    owner = owners.get(changes.get("owner"))
    held = replace(
        head, status=Status.RUNNING, owner=owner, lease=30.0, updated=updated, offered=changes.get("offered")
    )
    told = verdict_of(held, run, now, still=changes.get("still", False))
    assert (told.stuck, why in told.why) == (stuck, True), told


def test_verdicts_on_what_rests(url, engine, waiting):
    now = datetime.now(UTC)  # noqa: TID251 - likewise
    naps = engine.start(cli_naps, 1, thread_id="t3")
    for _ in naps.events(follow=True, timeout=1):
        if naps.status == "sleeping":
            break
    with milepost.open_checkpointer(url) as driver:
        head = driver.load_head("t3")
        run = read_thread(driver, "t3", head).run
    assert "sleeps until" in verdict_of(head, run, now).why
    late = verdict_of(head, run, now + timedelta(hours=2))
    assert (late.stuck, "should have woken" in late.why) == (True, True)
    assert verdict_of(head, None, now).why == "no run is on record"


def test_doctor_watches_leases_of_other_hosts_for_as_long_as_they_last(ask, url, engine, waiting):
    with milepost.open_checkpointer(url) as driver:
        head = driver.load_head("t1")
        other = Owner(host="elsewhere", boot="b", pid=1, started=1, session="s")
        held = replace(
            head, version=head.version + 1, status=Status.RUNNING, owner=other, lease=0.1, nonce="n"
        )
        assert driver.swap_head(Swap(head=held, expected=head.version))
        run = read_thread(driver, "t1", held).run
    run.status = Status.RUNNING
    assert verdict_of(held, run, datetime.now(UTC), still=True).stuck  # noqa: TID251 - a time is all that is needed
    code, out, err = ask("doctor", url, "--lease-wait", "-o", "json")
    assert "watches 1 leases" in err
    assert code in {0, 1}
    assert json.loads(out)[0]["held_by"] == "process 1 on elsewhere"


def test_doctor_names_what_cannot_be_read(ask, url, engine, waiting, monkeypatch):
    def broken(*_):
        raise milepost.errors.Corrupt("batch 0 cannot be read")

    monkeypatch.setattr("milepost._cli._doctor.read_thread", broken)
    code, out, _ = ask("doctor", url, "-o", "json")
    assert (code, json.loads(out)[0]["why"]) == (1, "batch 0 cannot be read")


def test_doctor_tells_a_parked_run_from_one_that_failed(url, engine, waiting):
    now = datetime.now(UTC)  # noqa: TID251 - a time is all that is needed
    failed(engine)
    with milepost.open_checkpointer(url) as driver:
        head = driver.load_head("t2")
        run = read_thread(driver, "t2", head).run
    assert not verdict_of(head, run, now).stuck
    run.failed = replace(
        run.failed,
        error=replace(run.failed.error, type="milepost.errors.RecoveryExhausted", message="died 6 times"),
    )
    assert (verdict_of(head, run, now).stuck, verdict_of(head, run, now).why) == (True, "died 6 times")
    run.status = Status.CANCELLED
    assert verdict_of(head, run, now).why == "is cancelled"


def test_a_backend_that_cannot_be_reached_is_a_failure(ask):
    assert ask("doctor", "nosuch://x")[0] == 2
    assert ask("runs", "ls", "nosuch://x")[0] == 2


# -- worker ------------------------------------------------------------------------------------------------------------

FLOWS = """
import os
from milepost import Engine, entrypoint

@entrypoint()
def worked(number):
    return 2 * number

engine = Engine(checkpointer=f"sqlite:///{os.getcwd()}/runs.db", poll=0.05)
"""


@pytest.fixture
def handlers():
    """Handlers of signals as they were before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)
    milepost.set_engine(None)


@pytest.fixture
def flows(tmp_path, monkeypatch):
    """A folder with a module that has an engine and a workflow, in which the worker is started."""
    (tmp_path / "cli_flows.py").write_text(FLOWS)
    (tmp_path / "cli_more.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    yield tmp_path
    for name in ("cli_flows", "cli_more", "cli_webs"):
        sys.modules.pop(name, None)


def test_a_worker_goes_on_with_runs_until_a_signal_comes(flows, tmp_path, handlers, ask):
    web = Engine(checkpointer=f"sqlite:///{tmp_path}/runs.db", background=0)
    found = []

    def client():
        while signal.getsignal(signal.SIGINT) == handlers[signal.SIGINT]:
            pass
        found.append(web.start(sys.modules["cli_flows"].worked, 21).result(PATIENCE))
        os.kill(os.getpid(), signal.SIGTERM)

    calling = threading.Thread(target=client)
    calling.start()
    code, _, err = ask("worker", "cli_flows:engine", "--import", "cli_more")
    calling.join()
    assert (code, found) == (0, [42])
    assert "worked" in err
    assert "ends at task boundaries" in err
    assert "cli_more" in sys.modules
    web.close()


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("cli_flows", "names no engine"),
        ("nowhere:engine", "there is no module"),
        ("cli_flows:nothing", "has no"),
        ("cli_flows:os", "and no engine"),
    ],
)
def test_a_wrong_spec_is_named(flows, ask, spec, why):
    code, _, err = ask("worker", spec)
    assert (code, why in err) == (2, True)


def test_a_module_that_cannot_be_imported_for_a_reason_of_its_own_says_that(flows, ask):
    (flows / "cli_webs.py").write_text("import nowhere_at_all\n")
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        ask("worker", "cli_webs:engine")


def test_a_worker_that_could_execute_nothing_says_so(flows, ask):
    (flows / "cli_webs.py").write_text("import milepost\nengine = milepost.Engine(background=0)\n")
    code, _, err = ask("worker", "cli_webs:engine")
    assert (code, "background=0" in err) == (2, True)
