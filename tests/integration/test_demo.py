"""`eson demo` as a newcomer runs it, with fewer events."""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("end", "words"),
    [(signal.SIGINT, ["--keep"]), (signal.SIGTERM, []), (signal.SIGHUP, ["--keep"]), (signal.SIGKILL, [])],
)
def test_a_demo_that_is_ended_early_leaves_no_process(
    tmp_path: Path, end: signal.Signals, words: list[str]
) -> None:
    """Ctrl-C, a closed terminal, a kill, each while events are carried: no traceback, no file, nothing that runs."""
    demo = subprocess.Popen(
        [ESON, "demo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
        preexec_fn=partial(signal.signal, end, signal.SIG_DFL) if end is not signal.SIGKILL else None,
    )
    assert demo.stdout is not None
    with demo, demo.stdout as output:
        said = "".join(itertools.takewhile(lambda line: "kill -9" not in line, output))
        assert "one of them as it leaves" in said
        assert _processes_in(tmp_path)
        demo.send_signal(end)
        rest = output.read()
    assert "Traceback" not in rest
    assert "Both go on running" not in rest
    if end is signal.SIGKILL:  # it cannot remove its files then
        deadline = time.monotonic() + 30
        while _processes_in(tmp_path):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return
    assert (demo.returncode, rest.splitlines()[-1]) == (1, "Aborted!")
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
