"""Start a review, follow it, show what it asks, answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from milepost import pending_interrupts

from .apps import ArticlesConfig
from .workflows import review_article

if TYPE_CHECKING:
    from milepost import Interrupt, Run


def user(request: HttpRequest) -> str:
    """Return who asks. A header stands for the login here: in your app, take ``request.user``."""
    if name := request.headers.get("X-User"):
        return str(name)
    raise PermissionDenied


def reviewing(request: HttpRequest) -> bool:
    return user(request) in settings.REVIEWERS


def visible(request: HttpRequest, thread_id: str) -> Run:
    """Return a run to its owner and to reviewers; for everybody else there is none."""
    run = ArticlesConfig.installed().engine.run(thread_id)
    if reviewing(request) or run.owner == user(request):
        return run
    raise Http404


def sent(request: HttpRequest) -> Any:
    """Return the JSON that a request brings."""
    try:
        return json.loads(request.body)
    except ValueError as error:
        raise BadRequest("the body is no JSON") from error


def shown(question: Interrupt) -> dict[str, Any]:
    return {"id": question.id, "value": question.value, "response_schema": question.response_schema}


@require_POST
def start(request: HttpRequest) -> JsonResponse:
    article = sent(request)
    if not isinstance(article, dict) or not article.get("title") or not article.get("paragraphs"):
        return JsonResponse({"message": "an article has a title and paragraphs"}, status=422)
    run = ArticlesConfig.installed().engine.start(
        review_article, article, idempotency_key=request.headers.get("Idempotency-Key"), owner=user(request)
    )
    place = reverse("status", args=[run.thread_id])
    return JsonResponse({"thread_id": run.thread_id}, status=202, headers={"Location": place})


@require_GET
def status(request: HttpRequest, thread_id: str) -> JsonResponse:
    run = visible(request, thread_id)
    told = {"thread_id": thread_id, "status": run.status, "owner": run.owner}
    if told["status"] == "done":
        told["result"] = run.result(timeout=0)
    elif told["status"] == "failed":
        try:
            run.result(timeout=0)
        except Exception as error:  # noqa: BLE001 - whatever the workflow failed with
            told["error"] = f"{type(error).__name__}: {error}"
    return JsonResponse(told)


@require_GET
def events(request: HttpRequest, thread_id: str) -> JsonResponse:
    """Tell what is on record after a position; the client asks again with ``next``, in whichever worker."""
    try:
        after = int(request.GET.get("after", 0))
    except ValueError as error:
        raise BadRequest("after is a position") from error
    found = [event.as_json() for event in visible(request, thread_id).events(after=after)]
    return JsonResponse({"events": found, "next": found[-1]["position"] if found else after})


@require_GET
def questions(request: HttpRequest, thread_id: str) -> JsonResponse:
    return JsonResponse({"questions": [shown(each) for each in visible(request, thread_id).interrupts]})


@require_POST
def answer(request: HttpRequest, thread_id: str, question_id: str) -> JsonResponse:
    run = visible(request, thread_id)
    if not reviewing(request):
        raise PermissionDenied
    run.resume({question_id: sent(request)}, actor=user(request))
    return JsonResponse({"thread_id": thread_id}, status=202)


@require_GET
def inbox(request: HttpRequest) -> JsonResponse:
    """Show what all reviews wait for."""
    if not reviewing(request):
        raise PermissionDenied
    with ArticlesConfig.installed().engine:
        waiting = list(pending_interrupts(workflow=review_article.name))
    rows = [
        {"thread_id": each.thread_id, "since": each.since, "questions": [*map(shown, each.interrupts)]}
        for each in waiting
    ]
    return JsonResponse({"waiting": rows})
