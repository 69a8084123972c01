"""A slow report that is made once: by whoever asks first, on whatever thread and in whatever process.

python cached_reports.py cache.db 2026-Q1      # makes it, and keeps it for an hour
python cached_reports.py cache.db 2026-Q1      # takes it from the cache
python cached_reports.py cache.db --forget     # forgets what this task made

Started at the same moment, one process makes the report and the others wait for it.
"""

from __future__ import annotations

import os
import sys
import threading

from milepost import CachePolicy, Engine, entrypoint, task
from milepost.cache import open_cache

SECONDS = 1.0


@task(cache_policy=CachePolicy(ttl=3600))
def figures(quarter: str) -> dict[str, int]:
    """Add up a quarter; put the slow query here."""
    print(f"(process {os.getpid()} adds up {quarter})")
    threading.Event().wait(SECONDS)
    return {"orders": sum(map(ord, quarter)), "returns": len(quarter)}


@entrypoint()
def report(quarter: str) -> str:
    found = figures(quarter).result()
    return f"{quarter}: {found['orders']} orders, {found['returns']} returns"


if __name__ == "__main__":
    file, quarter = sys.argv[1:] if len(sys.argv) > 1 else ("", "2026-Q1")
    url = f"sqlite:///{file}" if file else "memory://"
    cache = open_cache(url)
    if quarter == "--forget":
        figures.clear_cache(cache)
    else:
        with Engine(cache=cache):
            print(report.invoke(quarter))
