"""Log records say which thread, run, call and task they belong to."""

from __future__ import annotations

import logging

import pytest

import milepost
from milepost import Command, entrypoint, interrupt, task
from milepost._struct import replace
from milepost.checkpoint import Swap
from milepost.errors import OwnershipLost
from milepost.log import ContextFilter

application = logging.getLogger("application")


class Kept(logging.Handler):
    """Keeps each record's text and context."""

    def __init__(self):
        super().__init__()
        self.addFilter(ContextFilter())
        self.found = {}
        self.records = []

    def emit(self, record):
        self.records.append(record)
        self.found[record.getMessage()] = (record.thread_id, record.run_id, record.call, record.task)


@pytest.fixture
def kept():
    handler = Kept()
    for name in ("application", "milepost"):
        logging.getLogger(name).addHandler(handler)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    yield handler
    logging.getLogger().setLevel(level)
    for name in ("application", "milepost"):
        logging.getLogger(name).removeHandler(handler)


@task
def leaf(name):
    application.info("in %s", name)
    return name


@task
def branch():
    application.info("in branch")
    return [leaf("first leaf").result(), leaf("second leaf").result()]


@entrypoint()
def inner(_):
    application.info("in inner")


@entrypoint()
def flow(_):
    application.info("in the body")
    working = leaf("a worker")
    while not working.done():
        working.running()
    branch().result()
    inner.invoke("x")
    application.info("asking")
    return interrupt("?")


def test_records_of_bodies_tasks_and_nested_workflows_carry_their_place(engine, kept):
    flow.invoke("go", thread_id="t")
    run = flow.get_state(thread_id="t").config["configurable"]["checkpoint_id"]
    assert kept.found == {
        "in the body": ("t", run, "", "flow"),
        "in a worker": ("t", run, "0", "leaf"),
        "in branch": ("t", run, "1", "branch"),
        "in first leaf": ("t", run, "1.0", "leaf"),
        "in second leaf": ("t", run, "1.1", "leaf"),
        "in inner": ("t", run, "2", "inner"),
        "asking": ("t", run, "", "flow"),
    }
    kept.found.clear()
    flow.invoke(Command(resume="yes"), thread_id="t")
    assert set(kept.found) == {"in the body", "asking"}
    assert {run_id for _, run_id, _, _ in kept.found.values()} == {run}


def test_records_of_a_stream_carry_their_place_too(engine, kept):
    list(flow.stream("go", thread_id="t"))
    assert {thread for thread, *_ in kept.found.values()} == {"t"}


def test_records_outside_a_workflow_have_empty_places(engine, kept):
    application.info("outside")
    flow.invoke("go", thread_id="t")
    application.info("outside again")
    assert kept.found["outside"] == kept.found["outside again"] == ("", "", "", "")


def test_without_a_checkpointer_thread_and_run_are_empty(plain_engine, kept):
    @entrypoint()
    def plain(_):
        return leaf("leaf").result()

    plain.invoke("go")
    assert kept.found == {"in leaf": ("", "", "0", "leaf")}


def test_what_a_record_says_by_itself_is_left_alone(kept):
    application.info("of another", extra={"thread_id": "u", "task": "mine"})
    assert kept.found == {"of another": ("u", "", "", "mine")}


def test_a_thread_that_was_taken_over_is_logged_with_its_id(checkpointer, kept):
    def steal():
        head = checkpointer.load_head("t")
        thief = replace(head.owner, session="thief")
        stolen = replace(head, version=head.version + 1, nonce="stolen", owner=thief)
        return checkpointer.swap_head(Swap(head=stolen, expected=head.version))

    @entrypoint()
    def robbed(_):
        while not steal():  # a renewal may come first
            pass
        while not any("taken over" in record.getMessage() for record in kept.records):
            pass
        return leaf("never").result()

    engine = milepost.Engine(checkpointer=checkpointer, lease=0.1)
    with engine, pytest.raises(OwnershipLost):
        robbed.invoke("go", thread_id="t")
    engine.close()
    assert "in never" not in kept.found
    (record,) = [record for record in kept.records if "taken over" in record.getMessage()]
    assert (record.name, record.levelname, record.thread_id) == ("milepost", "WARNING", "t")


def test_a_closing_engine_tells_how_many_runs_it_stops(checkpointer, kept):
    engine = milepost.Engine(checkpointer=checkpointer)
    with engine:
        flow.invoke("go", thread_id="t")
    engine.close()
    assert "the engine closes; 0 runs stop at their next boundary" in kept.found


def test_milepost_is_silent_where_nobody_configured_logging(capsys):
    logger = logging.getLogger("milepost")
    assert any(isinstance(handler, logging.NullHandler) for handler in logger.handlers)
    logger.warning("nobody listens")
    assert capsys.readouterr().err == ""
