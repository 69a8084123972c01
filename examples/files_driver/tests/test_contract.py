"""The driver keeps the contract of milepost."""

from pathlib import Path

import pytest

from milepost.testing import CheckpointerContract


class TestFiles(CheckpointerContract):
    """All clauses of the contract, on files."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """Give each clause a folder of its own."""
        return f"files:///{tmp_path}/journals?sync=false"

    def make_newer(self, url: str) -> None:
        """Make it look as if a later version had written there."""
        Path(url.removeprefix("files:///").partition("?")[0], "lock").write_bytes(b"2")
