"""Settings; what differs between machines comes from the environment."""

from __future__ import annotations

import os

DEBUG = os.environ.get("DJANGO_DEBUG") == "yes"
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "for trials only")
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "testserver"]
ROOT_URLCONF = "magazine.urls"
WSGI_APPLICATION = "magazine.wsgi.application"
INSTALLED_APPS = ["articles"]
# No CsrfViewMiddleware: nothing here trusts a cookie. With the users of a session, add it.
MIDDLEWARE = ["articles.middleware.Refusals", *(["articles.middleware.tell_worker"] if DEBUG else [])]
USE_TZ = True

MILEPOST = {  # the arguments of the engine
    "checkpointer": os.environ.get("MILEPOST_CHECKPOINTER", "sqlite:///articles.db"),
    "lease": float(os.environ.get("MILEPOST_LEASE", "30")),
    "poll": float(os.environ.get("MILEPOST_POLL", "2")),
    "recover": True,
}
REVIEWERS = os.environ.get("REVIEWERS", "grace,hedy").split(",")
