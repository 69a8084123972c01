"""Show progress while a workflow runs: what `writer` is given comes out of `stream` at once.

python custom_progress.py
"""

from __future__ import annotations

from milepost import StreamWriter, entrypoint, get_stream_writer, task


@task
def fetch(page: int) -> int:
    """Fetch a page and return how many records it held."""
    write = get_stream_writer()
    write({"page": page, "state": "fetching"})
    return page * 10


@entrypoint(checkpointer="memory://")
def download(pages: int, *, writer: StreamWriter) -> int:
    total = 0
    for page in range(1, pages + 1):
        total += fetch(page).result()
        writer({"percent": 100 * page // pages})
    return total


if __name__ == "__main__":
    for mode, chunk in download.stream(4, thread_id="nightly", stream_mode=["custom", "updates"]):
        if mode == "updates":
            print("recorded:", chunk)
        elif "percent" in chunk:
            print(f"progress: {chunk['percent']} %")
