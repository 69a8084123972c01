"""How the sections of the program print, so that two runs of it can be compared.

Knows neither LangGraph nor milepost. Ids of questions are numbered by their appearance in a section.
"""

from __future__ import annotations

import itertools

SECTIONS = {}
"""The sections, by name, in the order in which they run."""

_ids: dict[str, str] = {}
_threads = itertools.count(1)


def section(function):
    """Make a function a section: it runs on its own, and what it shows stands under its name."""
    SECTIONS[function.__name__] = function
    return function


def thread(**more):
    """Return the config of a thread that nobody has used."""
    return {"configurable": {"thread_id": f"thread-{next(_threads)}", **more}}


def show(label, *values):
    """Print a line."""
    print(f"{label}:", *map(_text, values), flush=True)


def _text(value):
    if type(value).__name__ == "Interrupt":
        number = _ids.setdefault(value.id, f"id {len(_ids) + 1}")
        return f"Interrupt({_text(value.value)}, {number})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_text, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def error_of(function, *args, **kwargs):
    """Call, and return the error as text, or what was returned."""
    try:
        return function(*args, **kwargs)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def refusal_of(function, *args, **kwargs):
    """Call, and return ``refused`` on an error, or what was returned: for errors whose classes differ by design."""
    try:
        return function(*args, **kwargs)
    except Exception:
        return "refused"


def asked(answer):
    """Return the questions that ``invoke`` answered with."""
    return answer["__interrupt__"]


def run(names):
    """Run these sections; an error that leaves one is printed and does not touch the others."""
    for name in names:
        _ids.clear()
        print(f"== {name}", flush=True)
        try:
            SECTIONS[name]()
        except Exception as error:
            print(f"! {type(error).__name__}: {error}".splitlines()[0], flush=True)
