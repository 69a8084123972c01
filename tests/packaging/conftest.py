"""These tests run where ``nox -s wheels`` has installed each distribution into an environment of its own."""

from __future__ import annotations

import os

collect_ignore_glob = [] if "MILEPOST_TEST_ENVIRONMENTS" in os.environ else ["test_*.py"]
