"""Fuzzes targets, guided by coverage: `python -m fuzz.run [target …]` with `tests` in the module path (`make fuzz`).

ESON_FUZZ_SECONDS (60): for each target.  What it finds is written to ESON_FUZZ_FOUND (a folder of the system's temporary
directory) as `<target>-crash-…`; put it into `tests/fuzz/corpus/<target>/` under a name that says what it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.harness import CORPUS, MOST_OCTETS, TARGETS, target

SECONDS = int(os.environ.get("ESON_FUZZ_SECONDS", "60"))
MOST_MEMORY = 1024
"""MiB resident, the interpreter and its instrumented modules included."""


def fuzz(name: str) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["eson", "kafka.protocol"]):
        found = target(name)
    atheris.Setup(sys.argv, found.one_input)
    atheris.Fuzz()


def run(name: str, folder: Path) -> int:
    """One target in a process of its own; its exit status."""
    grown = folder / name
    grown.mkdir(parents=True, exist_ok=True)
    options = {
        "max_total_time": SECONDS,
        "max_len": MOST_OCTETS,
        "timeout": 10,
        "rss_limit_mb": MOST_MEMORY,
        "artifact_prefix": f"{folder}/{name}-",
        "print_final_stats": 1,
        "verbosity": 0,
    }
    words = [f"-{option}={value}" for option, value in options.items()]
    command = [sys.executable, "-m", "fuzz.run", "--one", name, *words, str(grown), str(CORPUS / name)]
    return subprocess.run(command, check=False).returncode


def main() -> int:
    if sys.argv[1:2] == ["--one"]:
        name = sys.argv[2]
        del sys.argv[1:3]
        fuzz(name)
    folder = Path(os.environ.get("ESON_FUZZ_FOUND") or tempfile.mkdtemp(prefix="eson-fuzz-"))
    bad = [name for name in sys.argv[1:] or TARGETS if run(name, folder)]
    if bad:
        print(f"{', '.join(bad)}: see {folder}", file=sys.stderr)
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
