"""What makes an expense claim valid: plain functions, used by the tasks of expense_approval.py."""

from __future__ import annotations

import csv
import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

LIMIT = Decimal(500)  # a person decides about what costs more
AMOUNT = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?|\d+(\.\d+)?")


def read(path: str) -> list[dict[str, str]]:
    """Return the rows that hold anything; a line that is not UTF-8 is read as Windows-1252."""
    lines = []
    for line in Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines():
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            lines.append(line.decode("cp1252"))
    return [row for row in csv.DictReader(lines, restval="") if any(row.values())]


def judge(row: dict[str, str], today: date) -> dict[str, Any]:
    """Return the claim with its amount as a Decimal and what is wrong with it; "" if nothing is."""
    text = row["amount"].strip()
    amount = Decimal(text.replace(",", "")) if AMOUNT.fullmatch(text) else Decimal(0)
    try:
        day = date.fromisoformat(row["spent_on"])
    except ValueError:
        day = date.max
    faults = {
        "nobody is named": not row["employee"],
        "no amount": not text,
        f"{text!r} is no amount above zero": bool(text) and amount == 0,
        f"paid in {row['currency'] or 'an unknown currency'}": row["currency"].upper() != "EUR",
        f"{row['spent_on']} is no day up to today": day > today,
        "no purpose": not row["purpose"],
    }
    return {**row, "amount": amount, "fault": "; ".join(text for text, found in faults.items() if found)}


def mark_duplicates(claims: list[dict[str, Any]]) -> None:
    """Give every claim that was handed in before a fault."""
    seen = set()
    for claim in claims:
        if claim["claim"] in seen:
            claim["fault"] = "handed in twice"
        seen.add(claim["claim"])
