"""A WSGI application whose runs write down each step in a file beside the backend, and which process began it."""

from __future__ import annotations

import json
import os
import threading
from http import HTTPStatus

from milepost import Engine, entrypoint, task
from milepost.errors import UnknownThread

LEDGER = os.environ["LEDGER"]
STEP_SECONDS = 0.1


def note(*words: object) -> None:
    """Write a line down; what is appended at once in one piece is not torn."""
    file = os.open(LEDGER, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, (" ".join(map(str, words)) + "\n").encode())
    finally:
        os.close(file)


@task
def step(name: str, number: int) -> int:
    note(name, number, os.getpid())
    threading.Event().wait(STEP_SECONDS)  # in place of work
    return number


@entrypoint()
def work(job: dict) -> int:
    return sum(step(job["name"], number).result() for number in range(job["steps"]))


@entrypoint()
def warm(name: str) -> int:
    return sum(each.result() for each in [step(name, number) for number in range(2)])


engine = Engine(
    checkpointer=os.environ["MILEPOST_CHECKPOINTER"],
    workers=4,
    lease=float(os.environ.get("LEASE", "10")),
    poll=0.2,
    recover=True,
    background=8,
)
if "WARM" in os.environ:  # used before the server forks: pool, connection and recovery are there already
    with engine:
        warm.invoke(f"warm-{os.getpid()}", thread_id=f"warm-{os.getpid()}")


def _answer(method: str, path: str, query: str) -> tuple[HTTPStatus, dict]:
    _, kind, name = path.split("/")
    if (method, kind) == ("POST", "runs"):
        run = engine.start(work, {"name": name, "steps": int(query)}, idempotency_key=name, owner="client")
        return HTTPStatus.ACCEPTED, {"thread_id": run.thread_id}
    if (method, kind) == ("GET", "runs"):
        try:
            run = engine.run(name)
        except UnknownThread:
            return HTTPStatus.NOT_FOUND, {}
        status = run.status
        return HTTPStatus.OK, {
            "status": status,
            "result": run.result(timeout=0) if status == "done" else None,
        }
    return HTTPStatus.OK, {}


def application(environ, start_response):
    """Answer a request as JSON, with the worker's process id in a header."""
    status, told = _answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"])
    body = json.dumps(told).encode()
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("X-Worker", str(os.getpid())),
    ]
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
