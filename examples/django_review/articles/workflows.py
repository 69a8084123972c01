"""What happens to an article: its paragraphs are checked, two people decide, it is published."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from milepost import entrypoint, get_stream_writer, interrupt, task

SECONDS = float(os.environ.get("REVIEW_SECONDS", "0.5"))
"""How long a task takes here, in place of a call to some slow service."""


@dataclass
class Opinion:
    """What a reviewer answers."""

    approved: bool
    note: str = ""


@task
def check(number: int, paragraph: str) -> int:
    """Count the words of a paragraph; what is empty fails the review."""
    time.sleep(SECONDS)
    if not paragraph.strip():
        raise ValueError(f"paragraph {number} is empty")
    get_stream_writer()({"checked": number})
    return len(paragraph.split())


@task
def ask(role: str, article: dict[str, Any], words: int) -> Opinion:
    question = {"for": role, "title": article["title"], "words": words}
    return interrupt(question, response_schema=Opinion, key=role)


@task
def publish(title: str) -> str:
    get_stream_writer()({"publishing": title})
    time.sleep(SECONDS)
    return f"/articles/{title.lower().replace(' ', '-')}"


@entrypoint()
def review_article(article: dict[str, Any]) -> dict[str, Any]:
    words = sum(check(number, text).result() for number, text in enumerate(article["paragraphs"], 1))
    asked = [ask(role, article, words) for role in ("editor", "lawyer")]  # both wait at the same time
    opinions = [each.result() for each in asked]
    if not all(each.approved for each in opinions):
        return {"words": words, "declined": [each.note for each in opinions if not each.approved]}
    return {"words": words, "published": publish(article["title"]).result()}
