"""``Decision``: what a person says about a task whose outcome is unknown."""

from __future__ import annotations

from typing import Any, Final

from milepost.schema import Unfit

_WANTED: Final = (
    "what became of the task, Decision.rerun(), Decision.result(value) or Decision.fail(text), which are dicts such as "
    "{'action': 'rerun'}"
)
_FIELDS: Final = {"rerun": set(), "result": {"value"}, "fail": {"error"}}


class Decision:
    """Answers to the question that a task with ``on_unknown="review"`` asks; plain dicts, as a web form sends them.

    ``Command(resume=Decision.rerun())``, ``Command(resume={id: Decision.result(value)})``.
    """

    @staticmethod
    def rerun() -> dict[str, Any]:
        """Run the task once more: it did not do its work, or may do it twice."""
        return {"action": "rerun"}

    @staticmethod
    def result(value: Any) -> dict[str, Any]:
        """Take ``value`` for what the task returned: it did its work."""
        return {"action": "result", "value": value}

    @staticmethod
    def fail(error: str) -> dict[str, Any]:
        """Let the task fail with this text, as :class:`~milepost.errors.OutcomeUnknown`."""
        return {"action": "fail", "error": error}


def check(answer: Any) -> None:
    """Check an answer to such a question.

    Raises:
        Unfit: it is none of the three.
    """
    action = answer.get("action") if isinstance(answer, dict) else None
    known = isinstance(action, str) and action in _FIELDS and set(answer) == {"action", *_FIELDS[action]}
    if not known or not isinstance(answer.get("error", ""), str):
        raise Unfit("$", _WANTED, f"{answer!r:.200}")
