"""Who is provably dead: only a process of this boot and namespace that is gone; never one that may be alive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from milepost import _owner
from milepost._struct import replace


@pytest.fixture
def owner():
    made = _owner.begin()
    yield made
    _owner.end(made)


@pytest.fixture
def child():
    """Another process that runs until the test ends it."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A stand-in for /proc, at first as the real one is for this process."""
    for name in ("sys/kernel/random", "self/ns", str(os.getpid())):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("boot-1\n")
    (tmp_path / "self/ns/pid").symlink_to("pid:[1]")
    show(tmp_path, os.getpid())
    monkeypatch.setattr(_owner, "_PROC", tmp_path)
    monkeypatch.setattr(_owner, "_process", _owner.PerProcess(_owner._Process))
    return tmp_path


def show(proc, pid, *, state="S", started=1000):
    """Write a process's stat, under a name that has spaces and brackets in it."""
    (proc / str(pid)).mkdir(exist_ok=True)
    fields = [state, *map(str, range(4, 22)), str(started), "0"]
    (proc / str(pid) / "stat").write_text(f"{pid} (a (b) c) {' '.join(fields)}\n")


def of(owner, child):
    return replace(owner, pid=child.pid, started=_owner._started(child.pid), session="theirs")


def test_a_session_of_this_process_is_alive_until_it_ends(owner):
    assert not _owner.is_dead(owner)
    assert _owner.is_here(owner)
    _owner.end(owner)
    assert _owner.is_dead(owner)
    assert not _owner.is_here(owner)


def test_two_sessions_of_one_process_are_told_apart(owner):
    other = _owner.begin()
    assert other != owner
    _owner.end(other)
    assert _owner.is_dead(other)
    assert not _owner.is_dead(owner)


def test_a_running_process_of_this_host_is_alive_and_elsewhere(owner, child):
    theirs = of(owner, child)
    assert not _owner.is_dead(theirs)
    assert not _owner.is_here(theirs)


def test_a_killed_process_is_dead_while_it_is_still_a_zombie(owner, child):
    theirs = of(owner, child)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}/stat").exists()
    assert _owner.is_dead(theirs)


def test_a_process_that_is_gone_is_dead(owner, child):
    theirs = of(owner, child)
    child.kill()
    child.wait()
    assert _owner.is_dead(theirs)


def test_a_process_that_got_a_dead_ones_id_is_not_that_one(owner, child):
    assert _owner.is_dead(replace(of(owner, child), started=_owner._started(child.pid) - 1))


def test_an_earlier_process_with_our_own_id_is_dead(owner):
    assert _owner.is_dead(replace(owner, started=owner.started - 1))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"host": "elsewhere"}, id="another host"),
        pytest.param({"boot": "another-boot/pid:[1]"}, id="another boot or namespace"),
        pytest.param({"boot": ""}, id="no boot id"),
    ],
)
def test_nothing_is_known_of_owners_elsewhere(owner, child, change):
    theirs = replace(of(owner, child), **change)
    child.kill()
    child.wait()
    assert not _owner.is_dead(theirs)
    assert not _owner.is_dead(replace(owner, session="never begun", **change))


def test_the_boot_names_the_process_id_namespace_too(proc):
    first = _owner._boot()
    (proc / "self/ns/pid").unlink()
    (proc / "self/ns/pid").symlink_to("pid:[2]")
    second = _owner._boot()
    assert first == "boot-1/pid:[1]"
    assert second == "boot-1/pid:[2]"


def test_the_same_process_id_in_another_namespace_tells_nothing(proc):
    ours = _owner.begin()
    theirs = replace(ours, boot="boot-1/pid:[2]", session="theirs")
    assert not _owner.is_dead(theirs)
    assert _owner.is_dead(replace(theirs, boot=ours.boot))


@pytest.mark.parametrize(
    ("state", "dead"), [("S", False), ("T", False), ("D", False), ("Z", True), ("X", True)]
)
def test_the_state_of_a_process_is_read_behind_its_name(proc, child, state, dead):
    show(proc, child.pid, state=state, started=77)
    theirs = replace(_owner.begin(), pid=child.pid, started=77, session="theirs")
    assert _owner.is_dead(theirs) is dead


def test_a_process_that_the_system_hides_is_not_taken_for_dead(proc, child):
    theirs = replace(_owner.begin(), pid=child.pid, started=77, session="theirs")
    assert not (proc / str(child.pid)).exists()
    assert not _owner.is_dead(theirs)


def test_a_process_that_we_may_not_signal_is_not_taken_for_dead(proc, monkeypatch):
    def refuse(pid, number):
        raise PermissionError(pid, number)

    monkeypatch.setattr(os, "kill", refuse)
    assert not _owner.is_dead(replace(_owner.begin(), pid=os.getpid() + 1, session="theirs"))


def test_where_the_system_tells_no_boot_only_our_own_sessions_are_judged(proc):
    (proc / "sys/kernel/random/boot_id").unlink()
    ours = _owner.begin()
    assert ours.boot == ""
    assert not _owner.is_dead(ours)
    assert not _owner.is_dead(replace(ours, pid=ours.pid + 1))
    _owner.end(ours)
    assert _owner.is_dead(ours)


def test_an_owner_is_described_by_process_and_host(owner):
    assert str(owner) == f"process {os.getpid()} on {owner.host}"
