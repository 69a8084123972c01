"""What happens to an order: it is priced line by line, a person decides, it is placed."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any, Literal

from milepost import entrypoint, get_stream_writer, interrupt, task

PRICES = {"tea": 4, "cup": 9, "kettle": 48}
SECONDS = float(os.environ.get("REVIEW_SECONDS", "0.5"))
"""How long a task takes here, in place of a call to some slow service."""


@dataclass
class Verdict:
    """What a reviewer answers."""

    decision: Literal["approve", "reject"]
    note: str = ""


@task
def price(item: str, pieces: int) -> int:
    write = get_stream_writer()
    write({"item": item, "state": "asking for a price"})
    time.sleep(SECONDS)
    write({"item": item, "state": "priced"})
    return PRICES[item] * pieces


@task
def place(number: str, total: int) -> str:
    get_stream_writer()({"state": f"placing an order of {total}"})
    time.sleep(SECONDS)
    return f"placed-{number}"


@entrypoint()
def review_order(order: dict[str, Any]) -> dict[str, Any]:
    total = sum(price(line["item"], line["pieces"]).result() for line in order["lines"])
    question = {"title": "Place this order?", "order": order, "total": total}
    verdict = interrupt(question, response_schema=Verdict, key="verdict")
    if verdict.decision == "reject":
        return {"total": total, "rejected": verdict.note}
    return {"total": total, "reference": place(order["number"], total).result()}
