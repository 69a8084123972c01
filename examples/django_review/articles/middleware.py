"""What milepost refuses, as HTTP says it; and which process answered, where DEBUG is on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from django.http import JsonResponse

from milepost import errors

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

    Handler = Callable[[HttpRequest], HttpResponse]

REFUSALS: dict[type[errors.MilepostError], int] = {
    errors.UnknownThread: 404,
    errors.UnknownInterrupt: 404,
    errors.NothingToResume: 409,  # AlreadyAnswered is one of these
    errors.ThreadBusy: 409,  # another answer is just being worked on: answer again
    errors.InterruptExpired: 410,
    errors.InvalidAnswer: 422,
    errors.IdempotencyConflict: 422,
}


class Refusals:
    """Answers with a code in place of an error that milepost raised in a view."""

    def __init__(self, get_response: Handler) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass the request on."""
        return self._get_response(request)

    def process_exception(self, _request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Say what was refused; other errors are Django's."""
        code = next((code for kind, code in REFUSALS.items() if isinstance(error, kind)), None)
        told = {"error": type(error).__name__, "message": str(error)}
        return None if code is None else JsonResponse(told, status=code)


def tell_worker(get_response: Handler) -> Handler:
    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Worker"] = str(os.getpid())
        return response

    return answer
