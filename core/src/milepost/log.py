"""Log records that say which thread, run and task they belong to."""

from __future__ import annotations

import logging

from milepost import _context

logger = logging.getLogger("milepost")
logger.addHandler(logging.NullHandler())


class ContextFilter(logging.Filter):
    """Adds ``thread_id``, ``run_id``, ``call`` and ``task`` to every log record, empty outside a workflow.

    milepost's own logger has one. Put one on a handler, and your application's records carry them too::

        handler.addFilter(milepost.log.ContextFilter())
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the attributes that the record does not have yet; keep every record."""
        frame = _context.frame()
        found = (
            {"thread_id": "", "run_id": "", "call": "", "task": ""}
            if frame is None
            else {
                "thread_id": frame.thread_id or "",
                "run_id": frame.run_id or "",
                "call": frame.path,
                "task": frame.name,
            }
        )
        for name, value in found.items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


logger.addFilter(ContextFilter())
