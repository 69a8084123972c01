"""Servers killed with SIGKILL: what was acknowledged is there after the restart, once, and drivers go on unopened."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from milepost import Engine, entrypoint, task
from milepost.checkpoint import Outcome
from milepost.errors import StorageUnavailable
from wire.line import batch, ids

if TYPE_CHECKING:
    from milepost.checkpoint import Checkpointer
    from wire.line import Line

pytestmark = [pytest.mark.crash, pytest.mark.wire]

PATIENCE = 60.0


class Writer(threading.Thread):
    """Appends to a thread of its own until told to stop; sends again what nobody has acknowledged."""

    def __init__(self, driver: Checkpointer, name: str) -> None:
        super().__init__(name=name)
        self.acknowledged = 0
        self.refused = 0
        self._driver = driver
        self._stop_asked = threading.Event()
        self._changed = threading.Condition()

    def run(self) -> None:
        while not self._stop_asked.is_set():
            try:
                self._driver.append(self.name, self.acknowledged, batch(f"{self.name}-{self.acknowledged}"))
            except StorageUnavailable:
                self.refused += 1
                continue
            with self._changed:
                self.acknowledged += 1
                self._changed.notify_all()

    def until(self, count: int) -> None:
        """Return when so many more were acknowledged than there are now."""
        with self._changed:
            aim = self.acknowledged + count
            assert self._changed.wait_for(lambda: self.acknowledged >= aim, PATIENCE)

    def stop(self) -> int:
        """Stop after the append under way; return how many were acknowledged."""
        self._stop_asked.set()
        self.join(PATIENCE)
        assert not self.is_alive()
        return self.acknowledged


def test_what_threads_appended_is_there_once_after_the_server_was_killed(mortal_line: Line) -> None:
    line = mortal_line
    driver = line.open(timeout=2.0, pauses=True)
    writers = [Writer(driver, f"writer-{number}") for number in range(3)]
    for writer in writers:
        writer.start()
    for _ in range(2):
        for writer in writers:
            writer.until(8)
        line.server.kill()
        line.server.start()
    for writer in writers:
        writer.until(8)
    counts = {writer.name: writer.stop() for writer in writers}
    truth = line.around()
    for name, count in counts.items():
        assert ids(truth, name) == [f"{name}-{number}" for number in range(count)]
        assert driver.tail(name) == count


def test_what_was_acknowledged_last_is_there_after_the_server_was_killed(mortal_line: Line) -> None:
    line = mortal_line
    driver = line.open(timeout=2.0, pauses=True)
    for number in range(4):
        driver.append("t", number, batch(f"t-{number}"))
        line.server.kill()
        line.server.start()
        assert ids(line.around(), "t") == [f"t-{position}" for position in range(number + 1)]


def test_a_run_whose_server_died_is_continued(mortal_line: Line) -> None:
    line = mortal_line
    ledger: Counter[str] = Counter()

    @task
    def before() -> str:
        ledger["before"] += 1
        return "before"

    @task
    def deadly() -> str:
        ledger["deadly"] += 1
        if ledger["deadly"] == 1:
            line.server.kill()
        return "deadly"

    @task
    def after() -> str:
        ledger["after"] += 1
        return "after"

    @entrypoint
    def flow(_: str) -> list[str]:
        return [before().result(), deadly().result(), after().result()]

    driver = line.open(timeout=1.0)
    with Engine(checkpointer=driver, workers=2) as engine:
        with pytest.raises(StorageUnavailable):
            flow.invoke("go", thread_id="t")
        line.server.start()
        assert flow.invoke(None, thread_id="t") == ["before", "deadly", "after"]
        assert flow.get_state(thread_id="t").status == "done"
    engine.close()
    assert ledger == {"before": 1, "deadly": 2, "after": 1}
    recorded = [
        record.call
        for _, found in line.around().read("t")
        for record in found.records
        if isinstance(record, Outcome)
    ]
    assert recorded == ["0", "1", "2"]


def test_a_frozen_server_is_named_and_used_again_when_it_thaws(mortal_line: Line) -> None:
    line = mortal_line
    driver = line.open(timeout=1.5, pauses=True)
    driver.append("t", 0, batch("first"))
    line.server.freeze()
    try:
        with pytest.raises(StorageUnavailable):
            driver.append("t", 1, batch("second"))
    finally:
        line.server.thaw()
    driver.append("t", 1, batch("second"))
    assert ids(line.around(), "t") == ["first", "second"]
