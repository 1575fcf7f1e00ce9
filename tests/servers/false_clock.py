"""A program whose clock a test moves while it runs, by libfaketime: the time of day, as an administrator would.

What counts seconds since the machine started (CLOCK_MONOTONIC) goes on as ever.
"""

from __future__ import annotations

from pathlib import Path

import pytest

HOUR = 3600


class FalseClock:
    """`environment` is for a program that is started; `move` moves its clock, which is right at first."""

    def __init__(self, path: Path) -> None:
        libraries = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
        libraries += Path("/usr/lib").glob("faketime/libfaketimeMT.so.1")
        if not libraries:
            pytest.skip("there is no libfaketime: scripts/install-test-servers installs it")
        self._path = path
        self.move(0)
        self.environment = {
            "LD_PRELOAD": str(libraries[0]),
            "FAKETIME_TIMESTAMP_FILE": str(path),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def move(self, seconds: int) -> None:
        """So far from the right time."""
        # in one step: what reads meanwhile finds the old or the new one
        fresh = self._path.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}s\n")
        fresh.replace(self._path)
