"""A Flask app in which orders are priced, wait for a person's verdict, and are placed."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask

from milepost import Engine, errors

from . import views

if TYPE_CHECKING:
    from flask import Response

REFUSALS: dict[type[errors.MilepostError], int] = {
    errors.UnknownThread: 404,
    errors.UnknownInterrupt: 404,
    errors.NothingToResume: 409,  # AlreadyAnswered is one of these
    errors.ThreadBusy: 409,  # another answer is just being worked on: answer again
    errors.InterruptExpired: 410,
    errors.InvalidAnswer: 422,
    errors.IdempotencyConflict: 422,
}


def create_app(config: dict[str, Any] | None = None) -> Flask:
    """Make the app. Nothing is opened and no thread begins before the first request that needs it."""
    app = Flask(__name__)
    app.config.from_mapping(
        MILEPOST_CHECKPOINTER="sqlite:///orders.db", MILEPOST_LEASE=30.0, MILEPOST_POLL=2.0, REVIEWERS="grace"
    )
    app.config.from_prefixed_env()  # FLASK_MILEPOST_CHECKPOINTER=mongodb://…
    app.config.update(config or {})
    app.extensions["milepost"] = Engine(
        checkpointer=app.config["MILEPOST_CHECKPOINTER"],
        lease=app.config["MILEPOST_LEASE"],
        poll=app.config["MILEPOST_POLL"],
        recover=True,
    )
    app.register_blueprint(views.blueprint)
    for error, code in REFUSALS.items():
        app.register_error_handler(error, partial(_refuse, code))
    if app.debug or app.testing:
        app.after_request(_tell_worker)
    return app


def _refuse(code: int, error: Exception) -> tuple[dict[str, str], int]:
    return {"error": type(error).__name__, "message": str(error)}, code


def _tell_worker(response: Response) -> Response:
    response.headers["X-Worker"] = str(os.getpid())
    return response
