"""What new interpreters need to find these modules."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def environment() -> dict[str, str]:
    """Return the environment in which a new interpreter finds these modules, and measures no coverage."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, [str(TESTS), kept.get("PYTHONPATH")]))}
