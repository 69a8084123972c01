"""A process that takes up runs, until it is killed: ``worker.py URL LEDGER PROCESS LEASE POLL [HOST]``."""

from __future__ import annotations

import platform
import signal
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def main() -> None:
    url, ledger, process, lease, poll, *host = sys.argv[1:]
    if host:  # as if on another host: nobody can see that this process died
        platform.node = lambda: host[0]
    import workflows
    from ledger import Ledger

    from milepost import Engine

    workflows.begin(Ledger(ledger), process)
    engine = Engine(
        checkpointer=url,
        lease=float(lease),
        poll=float(poll),
        recover=True,
        workers=2,
        background=6,
        max_recoveries=50,
    )
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    engine.begin()
    Ledger(ledger).write("ready", process=process)
    over.wait()
    engine.close()


if __name__ == "__main__":
    main()
