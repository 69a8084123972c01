"""Property tests are repeatable; ``MILEPOST_TEST_EXAMPLES`` asks for other, and for so many, generated workflows."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

_common = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
settings.register_profile("repeatable", _common, derandomize=True)
settings.register_profile("searching", _common, derandomize=False, print_blob=True)
settings.load_profile("searching" if "MILEPOST_TEST_EXAMPLES" in os.environ else "repeatable")
