"""Where the routes of the app begin."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [path("", include("articles.urls"))]
