"""The example apps, as a test client of their framework sees them."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def flask_app(tmp_path, monkeypatch):
    """The Flask example on a database of its own; its tasks take no time."""
    monkeypatch.syspath_prepend(EXAMPLES / "flask_review")
    from order_review import create_app, workflows

    monkeypatch.setattr(workflows, "SECONDS", 0)
    url = f"sqlite:///{tmp_path}/orders.db"
    app = create_app({"TESTING": True, "MILEPOST_CHECKPOINTER": url, "MILEPOST_POLL": 0.1})
    with closing(app.extensions["milepost"]):
        yield app


@pytest.fixture(scope="session")
def django_project():
    """The Django example, set up once for this process, whose time zone it leaves alone."""
    zone = os.environ.get("TZ")
    sys.path.insert(0, str(EXAMPLES / "django_review"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "magazine.settings"
    import django
    from django.test.utils import setup_test_environment, teardown_test_environment

    django.setup()
    if zone is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = zone
    time.tzset()
    setup_test_environment()
    yield
    teardown_test_environment()


@pytest.fixture
def django_client(django_project, tmp_path, monkeypatch):
    """A client of the Django example, whose engine has a database of its own; its tasks take no time."""
    from articles import workflows
    from articles.apps import ArticlesConfig
    from django.test import Client

    from milepost import Engine

    monkeypatch.setattr(workflows, "SECONDS", 0)
    engine = Engine(checkpointer=f"sqlite:///{tmp_path}/articles.db", poll=0.1, recover=True)
    monkeypatch.setattr(ArticlesConfig.installed(), "engine", engine)
    with closing(engine):
        yield Client()


@pytest.fixture
def send_django(django_client):
    """What sends a request and gives the status code, the JSON and the headers."""

    def send(method, path, body=None, *, user=None, **headers):
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if user is not None:
            given["X-User"] = user
        data = body if isinstance(body, str) else json.dumps(body)
        response = django_client.generic(method, path, data, "application/json", headers=given)
        told = response.json() if response["Content-Type"] == "application/json" else None
        return response.status_code, told, response

    return send
