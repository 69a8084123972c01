"""The truth table of filters is the same on every backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import mock_mongodb
import mock_s3
from backends import CHOSEN, THOROUGH, parametrized
from filter_cases import CASES, MISSING, questions, says
from milepost import open_store
from milepost.operations import PutOp

if TYPE_CHECKING:
    from pathlib import Path

    from backends import Backends

PLACES = tuple(name for name in CHOSEN if name != "memory-split")
SHARE = {"s3": 12, "mongodb": 2}
"""One of how many questions is asked of a server, where S3 reads each item for each of them."""


def check(url: str, share: int) -> None:
    """Ask every question of a store that holds every case, or a share of them; each names the items that it finds."""
    with open_store(url) as store:
        fields: dict[str, Any] = {
            name: {"x": value, "deep": {"x": value}} for name, (value, _, _) in CASES.items()
        }
        fields[MISSING] = {"deep": 7}
        store.batch([PutOp(("cases",), name, value) for name, value in fields.items()])
        wrong = []
        for number, (operator, named, operand) in enumerate(questions()):
            if number % share:
                continue
            asked = {operator: operand}
            there = {name for name in fields if says(operator, name, named)}
            inside = {name for name in fields if name != MISSING and name in there}
            for wanted, expected in (
                ({"x": asked}, there),
                ({"deep": {"x": asked}}, inside),
                ({"x": {"$not": asked}}, fields.keys() - there),
            ):
                found = {item.key for item in store.search(("cases",), filter=wanted, limit=999)}
                if found != expected:
                    wrong.append((wanted, found ^ expected))
        assert not wrong


@pytest.mark.parametrize("name", parametrized(PLACES))
def test_every_question_has_the_same_answer(name: str, backends: Backends, tmp_path: Path) -> None:
    with backends.fresh(name, tmp_path) as url:
        check(url, 1 if THOROUGH else SHARE.get(name, 1))


@pytest.mark.parametrize(
    "mocked", [mock_s3.mocked, mock_mongodb.mocked], ids=["s3, mocked", "mongodb, mocked"]
)
def test_every_question_has_the_same_answer_on_a_mock(mocked: Any) -> None:
    with mocked() as url:
        check(url, 1 if THOROUGH else 24)
