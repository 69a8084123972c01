"""A chat that remembers: `previous` is what the last run on the thread saved.

python chat_previous.py              # talks to itself; the history is kept in memory
python chat_previous.py chat.db      # continues the conversation in chat.db at every call
"""

from __future__ import annotations

import sys

from milepost import Engine, entrypoint, task


@task
def reply(history: list[str]) -> str:
    """Answer the newest message; put the call of a language model here."""
    return f"You said {history[-1]!r}. That is message {len(history) // 2 + 1} from you."


@entrypoint()
def chat(message: str, *, previous: list[str] | None = None) -> entrypoint.final[str, list[str]]:
    history = [*(previous or []), message]
    answer = reply(history).result()
    return entrypoint.final(value=answer, save=[*history, answer])


if __name__ == "__main__":
    url = f"sqlite:///{sys.argv[1]}" if len(sys.argv) > 1 else "memory://"
    with Engine(checkpointer=url):
        for text in ("Hello", "What did I say?"):
            print(">", text)
            print(chat.invoke(text, thread_id="talk-1"))
