"""Run the program under LangGraph as it stands, or under milepost with its imports changed.

``python runner.py langgraph`` and ``python runner.py milepost``; names of sections after it run those alone.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import ModuleType

PROGRAM = Path(__file__).parent / "program"
PARTS = (
    "calls",
    "questions",
    "policies",
    "asynchronous",
    "streams",
    "states",
    "differences",
    "faults_of_runs",
    "faults_of_values",
)
ERRORS = re.compile(r"^from langgraph\.errors import", re.MULTILINE)
OTHERS = re.compile(r"^from (?:langgraph|langchain_core)(?:\.\w+)* import", re.MULTILINE)


def ported(source: str) -> str:
    """Return LangGraph code as milepost code: errors come from `milepost.errors`, all other names from `milepost`."""
    return OTHERS.sub("from milepost import", ERRORS.sub("from milepost.errors import", source))


def load(target: str) -> None:
    """Import the parts of the program for ``langgraph`` or ``milepost``."""
    for name in PARTS:
        file = PROGRAM / f"{name}.py"
        source = file.read_text(encoding="utf-8")
        text = ported(source) if target == "milepost" else source
        module = sys.modules[name] = ModuleType(name)
        module.__file__ = str(file)
        exec(compile(text, file, "exec", dont_inherit=True), module.__dict__)


if __name__ == "__main__":
    import transcript  # beside this file, which is where a script looks

    _, target, *names = sys.argv
    load(target)
    transcript.run(names or transcript.SECTIONS)
    sys.stdout.flush()
    os._exit(0)  # where the program hangs (LangGraph does in one section), its threads would keep the process
