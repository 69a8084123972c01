"""The timer wakes what is due, drops what has ended otherwise, and holds no thread when nothing waits."""

from __future__ import annotations

import threading

import pytest

from manual_clock import ManualClock
from milepost._timer import Timer


class Sleeper:
    def __init__(self, woken, name="a"):
        self.woken = woken
        self.name = name
        self.gone = False
        self.looked = threading.Event()

    def due(self):
        self.woken.append(self.name)

    def dropped(self):
        self.looked.set()
        return self.gone


def until(condition):
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about")


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def timer(clock):
    return Timer(clock)


def idle(timer):
    return timer._state.get().thread is None


def test_what_waits_is_woken_in_its_time_and_in_order(timer, clock):
    woken = []
    for seconds in (3, 1, 2):
        timer.after(seconds, Sleeper(woken, seconds))
    for seconds in (1, 2, 3):
        until(lambda seconds=seconds: len(woken) == seconds - 1)
        clock.advance(1)
        until(lambda seconds=seconds: len(woken) == seconds)
    assert woken == [1, 2, 3]
    until(lambda: idle(timer))


def test_what_is_due_at_once_is_woken_at_once(timer):
    woken = []
    timer.after(0, Sleeper(woken))
    until(lambda: woken == ["a"])


def test_what_has_ended_otherwise_is_dropped_when_the_timer_is_told_to_look(timer, clock):
    woken = []
    gone, stays = Sleeper(woken, "gone"), Sleeper(woken, "stays")
    timer.after(100, gone)
    timer.after(100, stays)
    gone.gone = True
    timer.look()
    until(lambda: len(timer._state.get().heap) == 1)
    clock.advance(101)
    until(lambda: idle(timer))
    assert woken == ["stays"]


def test_a_thread_lives_only_while_something_waits(timer, clock):
    for _ in range(3):
        woken = []
        timer.after(5, Sleeper(woken))
        assert not idle(timer)
        clock.advance(6)
        until(lambda: idle(timer))
        assert woken == ["a"]


def test_to_look_where_nothing_waits_does_nothing(timer):
    timer.look()
    assert timer._state.peek() is None
