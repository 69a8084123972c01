"""Leases under a clock that stands still: renewal, losing a thread, watching the leases of others."""

from __future__ import annotations

import logging
import threading

import pytest

from manual_clock import ManualClock
from milepost import _owner
from milepost._ids import token
from milepost._lease import Holding, Keeper, Watch
from milepost._struct import replace
from milepost.checkpoint import Batch, Claimed, Head, Status, Swap
from milepost.errors import PositionTaken, StorageError, StorageUnavailable
from milepost.memory import MemoryCheckpointer

LEASE = 30.0


class Backend(MemoryCheckpointer):
    """Fails as it is told: ``fault(when)`` is called before and after each swap of a head."""

    def __init__(self, *, atomic_head=True):
        super().__init__(atomic_head=atomic_head)
        self.fault = lambda when: None

    def _swap_head(self, head, data, expected):
        self.fault("before")
        swapped = super()._swap_head(head, data, expected)
        self.fault("after")
        return swapped

    def _pause(self, seconds):
        pass


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture(params=[True, False], ids=["one step", "head apart"])
def backend(request):
    return Backend(atomic_head=request.param)


def make_head(owner, **changes):
    head = Head(
        thread="t",
        version=1,
        status=Status.RUNNING,
        workflow="wf",
        run=0,
        nonce=token(),
        updated="2026-01-01T00:00:00+00:00",
        owner=owner,
        lease=LEASE,
    )
    return replace(head, **changes)


@pytest.fixture
def holding(backend, clock):
    owner = _owner.begin()
    head = make_head(owner)
    assert backend.swap_head(Swap(head=head, expected=None))
    yield Holding(backend, head, owner, clock)
    _owner.end(owner)


def take_over(backend):
    head = backend.load_head("t")
    taken = replace(head, version=head.version + 1, nonce=token(), owner=replace(head.owner, session="thief"))
    assert backend.swap_head(Swap(head=taken, expected=head.version))
    return taken


def some_batch(holding, number=1):
    return Batch(id=f"{holding.owner.session}-{number}", records=(Claimed(at="now", owner=holding.owner),))


# -- renewal ------------------------------------------------------------


def test_a_lease_is_renewed_after_a_third_of_it_and_not_before(backend, clock, holding):
    clock.advance(LEASE / 3 - 1)
    holding.renew()
    assert backend.load_head("t").version == 1
    clock.advance(1)
    holding.renew()
    renewed = backend.load_head("t")
    assert (renewed.version, renewed.owner, renewed.lease) == (2, holding.owner, LEASE)


def test_a_thread_that_was_taken_over_is_lost_at_the_next_renewal(backend, clock, holding, caplog):
    taken = take_over(backend)
    clock.advance(LEASE)
    with caplog.at_level(logging.WARNING, "milepost"):
        holding.renew()
        holding.renew()
    assert holding.lost
    assert backend.load_head("t") == taken
    assert [record.thread_id for record in caplog.records] == ["t"]


def test_a_renewal_that_failed_is_tried_again_and_loses_nothing(backend, clock, holding, caplog):
    def fault(when):
        raise StorageError("no disk")

    backend.fault = fault
    clock.advance(LEASE / 3)
    with caplog.at_level(logging.WARNING, "milepost"):
        holding.renew()
    assert "no disk" in caplog.text
    assert not holding.lost
    backend.fault = lambda when: None
    holding.renew()
    assert not holding.lost
    assert backend.load_head("t").version == 2


def lose_answers(when):
    if when == "after":
        raise StorageUnavailable("the answer was lost")


class Unreachable:
    """The backend applies the first swap and never answers again."""

    def __init__(self, backend):
        self.backend = backend
        self.applied = False

    def __call__(self, when):
        if when == "after":
            self.applied = True
        if when == "after" or self.applied:
            raise StorageUnavailable("no answer")


def test_a_renewal_whose_answer_was_lost_is_our_own(backend, clock, holding):
    backend.fault = lose_answers
    clock.advance(LEASE / 3)
    holding.renew()
    assert not holding.lost
    assert backend.load_head("t").version == 2
    backend.fault = lambda when: None
    clock.advance(LEASE / 3)
    holding.renew()
    assert not holding.lost
    assert backend.load_head("t").version == 3


@pytest.mark.parametrize("end", ["rest", "release"])
def test_after_a_renewal_that_nobody_knows_the_fate_of_the_head_is_laid_down_all_the_same(
    backend, clock, holding, end
):
    backend.fault = Unreachable(backend)
    clock.advance(LEASE / 3)
    holding.renew()
    backend.fault = lambda when: None
    assert backend.load_head("t").version == 2
    if end == "rest":
        holding.rest(0, some_batch(holding), Status.DONE)
    else:
        holding.release()
    assert backend.load_head("t").owner is None
    assert not holding.lost


# -- rest and release ------------------------------------------------------------


def test_resting_appends_and_lays_the_head_down(backend, holding):
    holding.rest(0, some_batch(holding), Status.INTERRUPTED, pending=("int_1",))
    head = backend.load_head("t")
    assert (head.status, head.owner, head.lease, head.pending) == (Status.INTERRUPTED, None, None, ("int_1",))
    assert backend.tail("t") == 1


def test_resting_on_a_position_that_is_taken_changes_nothing(backend, holding):
    backend.append("t", 0, Batch(id="thief-1", records=()))
    with pytest.raises(PositionTaken):
        holding.rest(0, some_batch(holding), Status.DONE)
    assert backend.load_head("t").status is Status.RUNNING
    assert backend.tail("t") == 1


def test_resting_leaves_a_head_alone_that_somebody_else_raised(backend, holding):
    taken = take_over(backend)
    holding.rest(0, some_batch(holding), Status.DONE)
    assert backend.load_head("t") == taken
    assert backend.tail("t") == 1


def test_a_released_thread_is_running_and_nobodys(backend, clock, holding):
    holding.release()
    head = backend.load_head("t")
    assert (head.status, head.owner, head.lease) == (Status.RUNNING, None, None)
    clock.advance(LEASE)
    holding.renew()
    holding.release()
    assert backend.load_head("t") == head


def test_a_lost_or_dropped_thread_is_not_released(backend, clock, holding):
    taken = take_over(backend)
    clock.advance(LEASE)
    holding.renew()
    holding.release()
    assert backend.load_head("t") == taken


def test_a_dropped_holding_is_renewed_no_more(backend, clock, holding):
    holding.drop()
    clock.advance(LEASE)
    holding.renew()
    assert backend.load_head("t").version == 1


# -- the keeper ------------------------------------------------------------


class Signalling(Backend):
    """Tells when a head was swapped."""

    def __init__(self):
        super().__init__()
        self.swapped = threading.Event()

    def _swap_head(self, head, data, expected):
        swapped = super()._swap_head(head, data, expected)
        self.swapped.set()
        return swapped


def hold(backend, clock, thread):
    owner = _owner.begin()
    head = make_head(owner, thread=thread)
    backend.swap_head(Swap(head=head, expected=None))
    return Holding(backend, head, owner, clock)


def test_the_keeper_renews_what_it_holds_as_time_goes_by(clock):
    backend = Signalling()
    holding = hold(backend, clock, "t")
    keeper = Keeper(LEASE, clock)
    keeper.hold(holding)
    try:
        for version in (2, 3, 4):
            backend.swapped.clear()
            while not backend.swapped.wait(0.01):
                clock.advance(LEASE / 6)
            assert backend.load_head("t").version >= version
    finally:
        keeper.let_go(holding)
        keeper.close()
    last = backend.load_head("t").version
    clock.advance(LEASE)
    assert backend.load_head("t").version == last


def test_the_keeper_goes_on_after_a_driver_raised_something_unheard_of(clock, caplog):
    backend = Signalling()
    broken, sound = Signalling(), backend

    def fault(when):
        if when == "before":
            raise ZeroDivisionError("a bug in a driver")

    first, second = hold(broken, clock, "broken"), hold(sound, clock, "sound")
    broken.fault = fault
    keeper = Keeper(LEASE, clock)
    for holding in (first, second):
        keeper.hold(holding)
    try:
        backend.swapped.clear()
        with caplog.at_level(logging.ERROR, "milepost"):
            for _ in range(2):
                backend.swapped.clear()
                while not backend.swapped.wait(0.01):
                    clock.advance(LEASE / 6)
    finally:
        keeper.close()
    assert backend.load_head("sound").version >= 3
    assert {record.thread_id for record in caplog.records} == {"broken"}


def test_closing_a_keeper_that_held_nothing_is_fine(clock):
    Keeper(LEASE, clock).close()


# -- watching others ------------------------------------------------------------


def test_an_unchanged_head_may_be_taken_after_its_own_lease(backend, clock):
    head, watch = make_head(None), Watch(clock)
    assert watch.remaining(backend, head) == LEASE
    clock.advance(LEASE - 1)
    assert watch.remaining(backend, head) == 1
    clock.advance(1)
    assert watch.remaining(backend, head) == 0


@pytest.mark.parametrize("change", [{"version": 2}, {"nonce": "another"}])
def test_a_head_that_changed_is_watched_from_the_start(backend, clock, change):
    head, watch = make_head(None), Watch(clock)
    watch.remaining(backend, head)
    clock.advance(LEASE)
    assert watch.remaining(backend, replace(head, **change)) == LEASE


def test_each_backend_and_thread_is_watched_for_itself(backend, clock):
    head, watch = make_head(None), Watch(clock)
    watch.remaining(backend, head)
    clock.advance(LEASE)
    assert watch.remaining(Backend(), head) == LEASE
    assert watch.remaining(backend, replace(head, thread="other")) == LEASE
    assert watch.remaining(backend, head) == 0


def test_a_forgotten_thread_is_watched_from_the_start(backend, clock):
    head, watch = make_head(None), Watch(clock)
    watch.remaining(backend, head)
    clock.advance(LEASE)
    watch.forget(backend, "t")
    assert watch.remaining(backend, head) == LEASE


def test_a_head_without_a_lease_may_be_taken_at_once(backend, clock):
    assert Watch(clock).remaining(backend, make_head(None, lease=None)) == 0


# -- word left in the head ----------------------------------------------


def leave_word(backend, reason="enough"):
    head = backend.load_head("t")
    asked = replace(head, version=head.version + 1, nonce=token(), cancel=reason)
    assert backend.swap_head(Swap(head=asked, expected=head.version))


def test_an_owner_hears_of_a_request_when_it_renews(backend, clock, holding):
    heard = []
    holding.cancel = heard.append
    leave_word(backend)
    clock.advance(LEASE / 3)
    holding.renew()
    assert heard == ["enough"]
    assert not holding.lost
    assert not holding.is_stale
    clock.advance(LEASE + 1)
    assert holding.is_stale


def test_a_head_with_word_left_in_it_is_laid_down_all_the_same(backend, clock, holding):
    leave_word(backend, "")
    holding.rest(0, some_batch(holding), Status.DONE)
    head = backend.load_head("t")
    assert (head.status, head.owner, head.cancel) == (Status.DONE, None, None)


def test_a_thread_is_handed_on_with_the_word_left_in_it(backend, clock, holding):
    leave_word(backend)
    holding.release(offer=True)
    head = backend.load_head("t")
    assert (head.status, head.owner, head.offered, head.cancel) == (Status.RUNNING, None, True, "enough")


def test_a_thread_is_settled_with_word_left_in_it(backend, clock, holding):
    leave_word(backend)
    holding.settle(Status.CANCELLED, 0)
    assert (backend.load_head("t").status, backend.load_head("t").owner) == (Status.CANCELLED, None)


def test_a_head_that_was_taken_is_not_laid_down(backend, clock, holding):
    taken = take_over(backend)
    holding.settle(Status.DONE, 0)
    assert backend.load_head("t") == taken


def test_a_watch_forgets_what_is_not_listed_any_more(backend, clock, holding):
    watch, head = Watch(clock), backend.load_head("t")
    assert watch.remaining(backend, head) == head.lease
    clock.advance(10)
    watch.keep_only(backend, {"t"})
    assert watch.remaining(backend, head) == head.lease - 10
    watch.keep_only(backend, set())
    assert watch.remaining(backend, head) == head.lease
