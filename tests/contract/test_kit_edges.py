"""What the kit refuses of itself: a gate that nobody opens, and two clauses of one number."""

from __future__ import annotations

import pytest

from milepost.testing import CheckpointerContract, faulty
from milepost.testing.clause import clause, clauses


def test_a_gate_gives_up_waiting(monkeypatch):
    monkeypatch.setattr(faulty, "PATIENCE", 0.001)
    gate = faulty.Gate()
    with pytest.raises(TimeoutError, match="no call came"):
        gate.wait_for_arrival()
    with pytest.raises(TimeoutError, match="nobody opened"):
        gate.pass_through()


def test_two_clauses_cannot_have_one_number():
    assert CheckpointerContract  # its clauses are registered with it
    taken = clauses()[0]

    def test_another(self, place):
        """Something else."""

    with pytest.raises(ValueError, match=f"the number {taken.id}"):
        clause(taken.id, "reading", why="none")(test_another)
