"""Closing a driver leaves no connection and no thread, whatever it was doing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from milepost.errors import Closed, StorageUnavailable
from wire.line import batch, ids
from wire.proxy import Fault

if TYPE_CHECKING:
    from wire.line import Line

pytestmark = pytest.mark.wire

PATIENCE = 10.0


def others(before: set[threading.Thread]) -> set[threading.Thread]:
    """Return the threads that were started since, but for those of the proxy."""
    return {thread for thread in set(threading.enumerate()) - before if "_attend" not in thread.name}


def test_closing_ends_every_connection_and_every_thread(line: Line) -> None:
    before = set(threading.enumerate())
    driver = line.open()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: driver.append(f"t{n}", 0, batch("first")), range(8)))
    assert [ids(driver, f"t{n}") for n in range(8)] == [["first"]] * 8
    assert line.proxy.connections > 0
    driver.close()
    line.proxy.until_idle()
    for thread in others(before):
        thread.join(PATIENCE)
    assert others(before) == set()
    driver.close()
    with pytest.raises(Closed):
        driver.tail("t0")


def test_closing_amid_appends_ends_every_connection_and_loses_nothing_acknowledged(line: Line) -> None:
    driver, acknowledged, busy = line.open(), [0, 0], threading.Barrier(3)

    def write(worker: int) -> None:
        with suppress(Closed, StorageUnavailable):
            while True:
                position = acknowledged[worker]
                driver.append(f"w{worker}", position, batch(f"w{worker}-{position}"))
                acknowledged[worker] += 1
                if position == 5:
                    busy.wait(PATIENCE)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    busy.wait(PATIENCE)
    driver.close()
    for writer in writers:
        writer.join(PATIENCE)
        assert not writer.is_alive()
    line.proxy.until_idle()
    for number, count in enumerate(acknowledged):
        found = ids(line.around(), f"w{number}")
        assert found == [f"w{number}-{n}" for n in range(len(found))]
        assert count <= len(found) <= count + 1


def test_opening_against_a_server_that_hangs_up_leaves_nothing_behind(line: Line) -> None:
    before = set(threading.enumerate())
    line.proxy.refuse()
    with pytest.raises(StorageUnavailable):
        line.open(timeout=0.5)
    line.opened[-1].close()
    for thread in others(before):
        thread.join(PATIENCE)
    assert others(before) == set()
    line.proxy.accept()


def test_a_driver_is_used_by_many_threads_while_one_answer_is_held(line: Line) -> None:
    driver = line.open()
    trap = line.trap_append(Fault.HOLD_ANSWER)
    with ThreadPoolExecutor(4) as pool:
        held = pool.submit(driver.append, "held", 0, batch("first"))
        assert trap.sprung.wait(PATIENCE)
        list(pool.map(lambda n: driver.append(f"t{n}", 0, batch("first")), range(6)))
        assert not held.done()
        trap.release()
        held.result(PATIENCE)
    assert ids(driver, "held") == ["first"]
