"""`eson demo` as a newcomer runs it, with fewer events."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

ESON = Path(sys.executable).parent / "eson"


def test_the_demo_carries_events_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """Exit 0, both digests equal, a killed processor came back, the credential refused; no process, no file is left."""
    started = time.monotonic()
    done = subprocess.run(
        [ESON, "demo", "--count", "2000"],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - started < 60
    assert "equal: nothing lost, nothing twice, all in order" in done.stdout
    assert re.search(r"it is back by itself after \d", done.stdout)
    assert "the same credential is refused" in done.stdout
    assert "NXDOMAIN" in done.stdout
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert not _processes_in(tmp_path)


def _processes_in(directory: Path) -> list[str]:
    found = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = cmdline.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in text:
            found.append(text)
    return found
