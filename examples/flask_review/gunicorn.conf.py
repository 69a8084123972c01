"""What gunicorn reads where it is started; see docs/deploying.md."""

from __future__ import annotations

from typing import Any

wsgi_app = "order_review:create_app()"
workers = 2


def post_worker_init(worker: Any) -> None:
    """Look for orphaned runs from the worker's start on, not only from its first request."""
    worker.wsgi.extensions["milepost"].begin()
