"""Write an essay, pause for a person's review, go on with the answer. The task runs once, not twice.

python essay_review.py
"""

from __future__ import annotations

from typing import Any

from milepost import Command, MemorySaver, entrypoint, interrupt, task


@task
def write_essay(topic: str) -> str:
    """Write an essay about the given topic."""
    print(f"(writing about {topic})")  # stands for a long-running task
    return f"An essay about topic: {topic}"


@entrypoint(checkpointer=MemorySaver())
def workflow(topic: str) -> dict[str, Any]:
    """Write an essay and ask for a review."""
    essay = write_essay(topic).result()
    is_approved = interrupt({"essay": essay, "action": "Please approve/reject the essay"})
    return {"essay": essay, "is_approved": is_approved}


if __name__ == "__main__":
    config = {"configurable": {"thread_id": "essay-1"}}
    for chunk in workflow.stream("cat", config):
        print(chunk)
    for chunk in workflow.stream(Command(resume=True), config):
        print(chunk)
