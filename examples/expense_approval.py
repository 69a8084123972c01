"""Check a file of expense claims, ask a person about each large one, write a report.

python expense_approval.py run claims.db              # checks, prints its questions, exits
python expense_approval.py answer claims.db C-1007    # approves these claims, rejects the others
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import expense_rules as rules

from milepost import Command, Engine, entrypoint, interrupt, task

today = task(lambda: datetime.now(UTC).date(), name="today")  # a task: a resumed run sees the same day
read_rows = task(rules.read)
check = task(rules.judge)


@task
def decide(claim: dict[str, Any]) -> bool:
    return bool(interrupt({key: str(claim[key]) for key in ("claim", "employee", "amount", "purpose")}))


@task
def write_report(path: str, claims: list[dict[str, Any]]) -> str:
    lines = [f"{c['claim']:8} {c['amount']:>9} {c['employee']:16} {c['state']}\n" for c in claims]
    Path(path).write_text("".join(lines), encoding="utf-8")
    return path


@entrypoint()
def expenses(paths: dict[str, str]) -> str:
    day: date = today().result()
    checks = [check(row, day) for row in read_rows(paths["claims"]).result()]  # side by side
    claims = [each.result() for each in checks]
    rules.mark_duplicates(claims)
    large = {c["claim"]: decide(c) for c in claims if not c["fault"] and c["amount"] > rules.LIMIT}
    for c in claims:
        approved = c["claim"] not in large or large[c["claim"]].result()
        c["state"] = c["fault"] or ("approved" if approved else "rejected")
    return write_report(paths["report"], claims).result()


if __name__ == "__main__":
    command, database, *approved = sys.argv[1:]
    print(f"process {os.getpid()}: {command}")
    order: Any = {"claims": str(Path(__file__).with_name("expenses.csv")), "report": f"{database}.report.txt"}
    with Engine(checkpointer=f"sqlite:///{database}"):
        if command == "answer":
            pending = expenses.get_state(thread_id="march").interrupts
            order = Command(resume={asked.id: asked.value["claim"] in approved for asked in pending})
        result = expenses.invoke(order, thread_id="march")
    for asked in result["__interrupt__"] if isinstance(result, dict) else []:
        print(f"  asks for approval: {asked.value}  ({asked.id})")
    print("paused; nothing is running" if isinstance(result, dict) else Path(result).read_text("utf-8"))
