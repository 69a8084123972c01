"""The routes: start a review, follow it, show what it asks, answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, abort, current_app, request, url_for

from milepost import pending_interrupts

from .workflows import review_order

if TYPE_CHECKING:
    from milepost import Engine, Interrupt, Run

blueprint = Blueprint("reviews", __name__)


def engine() -> Engine:
    made: Engine = current_app.extensions["milepost"]
    return made


def user() -> str:
    """Return who asks. A header stands for the login here: in your app, take the user of the session."""
    return request.headers.get("X-User") or abort(401)


def reviewing() -> bool:
    return user() in current_app.config["REVIEWERS"].split(",")


def visible(thread_id: str) -> Run:
    """Return a run to its owner and to reviewers; for everybody else there is none."""
    run = engine().run(thread_id)
    return run if reviewing() or run.owner == user() else abort(404)


def shown(question: Interrupt) -> dict[str, Any]:
    return {"id": question.id, "value": question.value, "response_schema": question.response_schema}


@blueprint.post("/reviews")
def start() -> tuple[dict[str, Any], int, dict[str, str]]:
    order = request.get_json()
    if not isinstance(order, dict) or not order.get("number") or not order.get("lines"):
        abort(422, "an order has a number and lines")
    key = request.headers.get("Idempotency-Key")
    run = engine().start(review_order, order, idempotency_key=key, owner=user())
    place = url_for(".status", thread_id=run.thread_id)
    return {"thread_id": run.thread_id}, 202, {"Location": place}


@blueprint.get("/reviews/<thread_id>")
def status(thread_id: str) -> dict[str, Any]:
    run = visible(thread_id)
    told: dict[str, Any] = {"thread_id": thread_id, "status": run.status, "owner": run.owner}
    if told["status"] == "done":
        told["result"] = run.result(timeout=0)
    elif told["status"] == "failed":
        try:
            run.result(timeout=0)
        except Exception as error:  # noqa: BLE001 - whatever the workflow failed with
            told["error"] = f"{type(error).__name__}: {error}"
    return told


@blueprint.get("/reviews/<thread_id>/events")
def events(thread_id: str) -> dict[str, Any]:
    """Tell what is on record after a position; the client asks again with ``next``, in whichever worker."""
    after = request.args.get("after", 0, type=int)
    found = [event.as_json() for event in visible(thread_id).events(after=after)]
    return {"events": found, "next": found[-1]["position"] if found else after}


@blueprint.get("/reviews/<thread_id>/questions")
def questions(thread_id: str) -> dict[str, Any]:
    return {"questions": [shown(question) for question in visible(thread_id).interrupts]}


@blueprint.post("/reviews/<thread_id>/questions/<question_id>")
def answer(thread_id: str, question_id: str) -> tuple[dict[str, Any], int]:
    run = visible(thread_id)
    if not reviewing():
        abort(403)
    run.resume({question_id: request.get_json()}, actor=user())
    return {"thread_id": thread_id}, 202


@blueprint.get("/inbox")
def inbox() -> dict[str, Any]:
    """Show what all reviews wait for."""
    if not reviewing():
        abort(403)
    with engine():
        waiting = list(pending_interrupts(workflow=review_order.name))
    return {
        "waiting": [
            {"thread_id": each.thread_id, "since": each.since, "questions": [*map(shown, each.interrupts)]}
            for each in waiting
        ]
    }
