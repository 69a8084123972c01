"""The smallest durable workflow: one task, kept in memory.

python hello_task.py
"""

from __future__ import annotations

from milepost import entrypoint, task


@task
def greet(name: str) -> str:
    return f"Hello, {name}!"


@entrypoint(checkpointer="memory://")
def welcome(names: list[str]) -> list[str]:
    greetings = [greet(name) for name in names]  # these run side by side
    return [greeting.result() for greeting in greetings]


if __name__ == "__main__":
    for line in welcome.invoke(["Ada", "Grace"], thread_id="monday"):
        print(line)
