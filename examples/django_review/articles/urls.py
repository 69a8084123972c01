"""The routes."""

from __future__ import annotations

from django.urls import path

from . import views

urlpatterns = [
    path("reviews", views.start),
    path("reviews/<str:thread_id>", views.status, name="status"),
    path("reviews/<str:thread_id>/events", views.events),
    path("reviews/<str:thread_id>/questions", views.questions),
    path("reviews/<str:thread_id>/questions/<str:question_id>", views.answer),
    path("inbox", views.inbox),
]
