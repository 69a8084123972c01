"""The S3 driver on Ceph's object gateway: the whole contract, and a workflow."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from milepost import Command, Engine, entrypoint, interrupt, open_checkpointer, task
from milepost.testing import CheckpointerContract

if TYPE_CHECKING:
    from live.rgw import RGW

_numbers = itertools.count()


class TestS3OnRGW(CheckpointerContract):
    @pytest.fixture
    def url(self, rgw: RGW) -> str:
        type(self).node = rgw
        return rgw.url(f"contract-{next(_numbers)}")

    def make_newer(self, url: str) -> None:
        prefix = url.partition("?")[0].rpartition("/")[2]
        marker = b'{"driver":"milepost-s3","format":1000}'
        self.node.client().put_object(Bucket=self.node.bucket, Key=f"{prefix}/milepost.json", Body=marker)


def test_a_workflow_is_paused_by_one_driver_and_finished_by_another(rgw: RGW) -> None:
    ledger: Counter[int] = Counter()

    @task
    def double(number: int) -> int:
        ledger[number] += 1
        return 2 * number

    @entrypoint
    def flow(number: int) -> list[object]:
        futures = [double(n) for n in range(number)]
        answer = interrupt("go on?")
        return [*(future.result() for future in futures), answer, double(100).result()]

    url = rgw.url("workflow")
    with open_checkpointer(url) as driver, Engine(checkpointer=driver, workers=4) as engine:
        asked = flow.invoke(5, thread_id="t")
        assert [question.value for question in asked["__interrupt__"]] == ["go on?"]
        engine.close()
    with open_checkpointer(url) as driver, Engine(checkpointer=driver, workers=4) as engine:
        assert flow.invoke(Command(resume="yes"), thread_id="t") == [0, 2, 4, 6, 8, "yes", 200]
        engine.close()
    assert set(ledger.values()) == {1}
    assert len(ledger) == 6
