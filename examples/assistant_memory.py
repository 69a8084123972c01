"""An assistant that remembers people: what it learns on one thread, it knows on every other.

python assistant_memory.py                       # both conversations in one process, in memory
python assistant_memory.py memory.db ann "I like green tea"
python assistant_memory.py memory.db ann "What should I drink?"    # another process, another thread
"""

from __future__ import annotations

import sys
from uuid import uuid4

from milepost import Engine, entrypoint, get_store, task

NOTED = "I like "
COMMON = frozenset({"i", "is", "should", "the", "what"})


@task
def recall(user: str, message: str) -> list[str]:
    """Find what is known about somebody: notes with a word of the message first."""
    store = get_store()
    words = [word for word in message.split() if word.lower() not in COMMON]
    best = [note for word in words for note in store.search(("users", user, "likes"), query=word)]
    others = store.search(("users", user, "likes"), filter={"strength": {"$gte": 1}}, limit=5)
    return list(dict.fromkeys(note.value["text"] for note in [*best, *others]))


@task
def learn(user: str, text: str) -> int:
    """Keep a note, or make a known one stronger; return how many there are.

    A task may run again after a crash: `once=True` makes its write count once all the same.
    """
    store = get_store()
    known = store.get(("users", user, "likes"), text)
    strength = known.value["strength"] + 1 if known else 1
    store.put(("users", user, "likes"), text, {"text": text, "strength": strength}, once=True)
    return len(store.search(("users", user, "likes"), limit=100))


@entrypoint()
def assistant(message: dict[str, str]) -> str:
    user, text = message["user"], message["text"]
    if text.startswith(NOTED):
        count = learn(user, text.removeprefix(NOTED)).result()
        return f"I will remember that, {user}. I know {count} of your tastes."
    likes = recall(user, text).result()
    return f"{user}, you like {' and '.join(likes)}." if likes else f"I do not know you yet, {user}."


if __name__ == "__main__":
    file, *said = sys.argv[1:] or ["", "ann", "I like green tea", "ann", "What should I drink?"]
    url = f"sqlite:///{file}" if file else "memory://"
    with Engine(checkpointer=url, store=url):
        for user, text in zip(said[::2], said[1::2], strict=True):
            print(f"{user}> {text}")
            print(assistant.invoke({"user": user, "text": text}, thread_id=f"{user}-{uuid4()}"))
