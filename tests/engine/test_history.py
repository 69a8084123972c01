"""History: a snapshot of each run, newest first, reading no more than is asked for."""

from __future__ import annotations

from typing import Any

import pytest

from milepost import Command, InMemorySaver, entrypoint, interrupt, task
from milepost.checkpoint import Batch, Started
from milepost.errors import MissingThreadId, UnknownCheckpoint


@task
def double(number: int) -> int:
    return number * 2


@entrypoint
def adding(given: int, *, previous: int | None = None) -> int:
    return (previous or 0) + double(given).result()


@entrypoint
def asking(given: Any) -> Any:
    return [given, interrupt(f"{given}?")]


def runs_of(workflow, thread="t"):
    """Return the ids of a thread's runs, oldest first."""
    return [
        snapshot.config["configurable"]["checkpoint_id"]
        for snapshot in workflow.get_state_history(thread_id=thread)
    ][::-1]


def test_history_has_a_snapshot_of_each_run_newest_first(engine):
    for given in (1, 2, 3):
        adding.invoke(given, thread_id="t")
    history = list(adding.get_state_history(thread_id="t"))
    assert [snapshot.values for snapshot in history] == [12, 6, 2]
    assert [snapshot.status for snapshot in history] == ["done"] * 3
    assert [snapshot.metadata for snapshot in history] == [
        {"source": "input", "step": step, "parents": {}} for step in (3, 2, 1)
    ]
    assert history[0] == adding.get_state(thread_id="t")


def test_each_snapshot_shows_the_tasks_of_its_run(engine):
    for given in (1, 2):
        adding.invoke(given, thread_id="t")
    for snapshot in adding.get_state_history(thread_id="t"):
        (shown,) = snapshot.tasks
        assert (shown.name, shown.status, shown.attempts) == ("double", "done", 1)
        assert shown.began <= shown.ended


def test_the_parent_of_a_run_is_the_run_before(engine):
    for given in (1, 2, 3):
        adding.invoke(given, thread_id="t")
    history = list(adding.get_state_history(thread_id="t"))
    configs = [snapshot.config for snapshot in history]
    assert [snapshot.parent_config for snapshot in history] == [*configs[1:], None]


def test_a_snapshot_of_a_run_is_what_its_checkpoint_id_gives(engine):
    adding.invoke(1, thread_id="t")
    for given in (2, 3):
        adding.invoke(given, thread_id="t")
    for snapshot in adding.get_state_history(thread_id="t"):
        assert adding.get_state(snapshot.config) == snapshot
        run = snapshot.config["configurable"]["checkpoint_id"]
        assert adding.get_state(thread_id="t", checkpoint_id=run) == snapshot
        assert list(adding.get_state_history(snapshot.config)) == [snapshot]


def test_an_abandoned_run_keeps_its_place_and_shows_what_it_asked(engine):
    asking.invoke("first", thread_id="t")
    asking.invoke("second", thread_id="t")
    second, first = asking.get_state_history(thread_id="t")
    assert (second.status, second.next, [q.value for q in second.interrupts]) == (
        "interrupted",
        ("asking",),
        ["second?"],
    )
    assert (first.status, first.next, first.interrupts) == ("abandoned", (), ())
    assert [q.value for task_state in first.tasks for q in task_state.interrupts] == ["first?"]


def test_an_open_run_shows_the_last_result_before_it(engine):
    @entrypoint
    def body(given: int) -> Any:
        return given if given < 3 else interrupt("?")

    for given in (1, 2, 3, 4):
        body.invoke(given, thread_id="t")
    assert [snapshot.values for snapshot in body.get_state_history(thread_id="t")] == [2, 2, 2, 1]


def test_before_limit_and_filter_choose(engine):
    for given in (1, 2, 3, 4):
        adding.invoke(given, thread_id="t")
    adding.update_state({"configurable": {"thread_id": "t"}}, 100)
    adding.invoke(1, thread_id="t")
    whole = list(adding.get_state_history(thread_id="t"))
    assert [snapshot.values for snapshot in whole] == [102, 100, 20, 12, 6, 2]

    def values(**how):
        return [snapshot.values for snapshot in adding.get_state_history(thread_id="t", **how)]

    assert values(limit=2) == [102, 100]
    assert values(limit=0) == []
    assert values(before=whole[2].config) == [12, 6, 2]
    assert values(before=whole[2].config, limit=1) == [12]
    assert values(filter={"source": "update"}) == [100]
    assert values(filter={"source": "input"}, limit=2) == [102, 20]
    assert values(filter={"step": 2}) == [6]
    assert values(filter={"nothing": None}) == []
    with pytest.raises(ValueError, match="-1"):
        values(limit=-1)


def test_an_unknown_run_is_an_error_and_never_a_fresh_start(engine):
    adding.invoke(1, thread_id="t")
    known = runs_of(adding)[0]
    for wrong in ("nonsense", "000000000099-123456789abc", known[:-1] + "x", "", "²-1"):
        addressed = {"configurable": {"thread_id": "t", "checkpoint_id": wrong}}
        for attempt in (
            lambda config=addressed: adding.get_state(config),
            lambda config=addressed: list(adding.get_state_history(config)),
            lambda config=addressed: list(adding.get_state_history(thread_id="t", before=config)),
            lambda config=addressed: adding.invoke(5, config),
            lambda config=addressed: adding.invoke(None, config),
            lambda config=addressed: adding.invoke(Command(resume=1), config),
            lambda config=addressed: list(adding.stream(5, config)),
            lambda config=addressed: adding.update_state(config, 5),
        ):
            with pytest.raises(UnknownCheckpoint) as caught:
                attempt()
            assert (caught.value.thread_id, caught.value.checkpoint_id) == ("t", wrong)
    assert runs_of(adding) == [known]
    assert adding.get_state(thread_id="t").values == 2


def test_a_thread_nobody_has_started_has_no_history(engine):
    assert list(adding.get_state_history(thread_id="nobody")) == []
    with pytest.raises(MissingThreadId):
        adding.get_state_history()


def test_history_ends_at_the_journals_floor(engine):
    for given in (1, 2, 3, 4):
        adding.invoke(given, thread_id="t")
    adding.prune(keep_last=2)
    history = list(adding.get_state_history(thread_id="t"))
    assert [snapshot.values for snapshot in history] == [20, 12]
    with pytest.raises(UnknownCheckpoint):
        adding.get_state(history[-1].parent_config)


def test_history_does_not_reach_behind_a_deletion(engine, checkpointer):
    for given in (1, 2):
        adding.invoke(given, thread_id="t")
    old = runs_of(adding)
    checkpointer.delete("t")
    assert list(adding.get_state_history(thread_id="t")) == []
    adding.invoke(7, thread_id="t")
    (snapshot,) = adding.get_state_history(thread_id="t")
    assert (snapshot.values, snapshot.metadata["step"], snapshot.parent_config) == (14, 1, None)
    for run in old:
        with pytest.raises(UnknownCheckpoint):
            adding.get_state(thread_id="t", checkpoint_id=run)


class Counting(InMemorySaver):
    """Counts the batches that are read."""

    reads = 0

    def _read(self, thread, start, limit):
        found = super()._read(thread, start, limit)
        self.reads += len(found)
        return found


def test_a_small_limit_reads_no_whole_journal():
    driver = Counting()
    workflow = entrypoint(checkpointer=driver)(adding.func)
    for given in range(100):
        workflow.invoke(given, thread_id="t")
    driver.reads = 0
    assert len(list(workflow.get_state_history(thread_id="t", limit=3))) == 3
    assert driver.reads <= 20
    driver.reads = 0
    assert len(list(workflow.get_state_history(thread_id="t"))) == 100
    assert driver.reads <= 100 * 6


def test_runs_that_do_not_name_the_one_before_are_found_by_reading_the_whole(engine, checkpointer):
    """Journals written before runs named each other."""
    for given in (1, 2, 3):
        adding.invoke(given, thread_id="new")
    for position, batch in checkpointer.read("new"):
        records = tuple(
            type(record)(
                **{
                    name: getattr(record, name)
                    for name in record.__struct_fields__
                    if name not in {"after", "step"}
                }
            )
            if isinstance(record, Started)
            else record
            for record in batch.records
        )
        checkpointer.append("old", position, Batch(id=batch.id, records=records))
    history = list(adding.get_state_history(thread_id="old"))
    assert [snapshot.values for snapshot in history] == [12, 6, 2]
    assert [snapshot.metadata for snapshot in history] == [{"source": "input", "parents": {}}] * 3
    adding.invoke(4, thread_id="old")
    assert [snapshot.values for snapshot in adding.get_state_history(thread_id="old")] == [20, 12, 6, 2]


class PrunedAtOnce(InMemorySaver):
    """Loses everything before a position as soon as a value is looked up that lies there."""

    before = None

    def _read(self, thread, start, limit):
        if limit == 1 and self.before is not None and start < self.before:
            self._prune(thread, self.before, frozenset())
        return super()._read(thread, start, limit)


def test_what_is_pruned_while_history_is_read_is_no_longer_shown():
    driver = PrunedAtOnce()

    @task
    def write(given: str) -> str:
        return given * 1000

    @entrypoint(checkpointer=driver)
    def body(given: str) -> str:
        return write(given).result()

    for given in ("a", "b", "c"):
        body.invoke(given, thread_id="t")
    history = body.get_state_history(thread_id="t")
    assert next(history).values == "c" * 1000
    first = body.get_state_history(thread_id="t", filter={"step": 1})
    driver.before = driver.load_head("t").run
    assert list(history) == []
    assert list(first) == []
    with pytest.raises(UnknownCheckpoint):
        body.invoke(None, thread_id="t", checkpoint_id=runs_of(body)[0])


def test_metadata_of_the_config_choose(engine):
    for given, user in ((1, "ann"), (2, "ben"), (3, "ann")):
        adding.invoke(
            given, {"configurable": {"thread_id": "t", "user": user}, "metadata": {"odd": given % 2}}
        )
    ann = adding.get_state_history(thread_id="t", filter={"user": "ann", "odd": 1, "source": "input"})
    assert [snapshot.values for snapshot in ann] == [12, 2]
