"""What gunicorn reads where it is started; see docs/deploying.md."""

from __future__ import annotations

from typing import Any

wsgi_app = "magazine.wsgi"
workers = 2


def post_worker_init(worker: Any) -> None:  # noqa: ARG001 - gunicorn's hook
    """Look for orphaned runs from the worker's start on, not only from its first request."""
    from django.apps import apps  # set up by now

    apps.get_app_config("articles").engine.begin()
