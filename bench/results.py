"""What was measured, kept for `python -m bench plot`: `bench/results/<name>.json`, one file a measurement."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import Effort, Row

FOLDER = Path(__file__).parent / "results"
_LIBRARIES = ("Twisted", "confluent-kafka", "kafka-python", "aiosmtpd", "cryptography")


def save(name: str, effort: Effort, rows: Sequence[Row], seconds: float) -> Path:
    """Writes the rows with the conditions they were measured under."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    told = {
        "name": name,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds),
        "effort": effort.value,
        "machine": machine(),
        "rows": [{**row._asdict(), "ratio": row.ratio, "met": row.met} for row in rows],
    }
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")
    return path


def load() -> dict[str, dict[str, Any]]:
    """Name → what `save` wrote, rows as `Row`."""
    found = {}
    for path in sorted(FOLDER.glob("*.json")):
        told = json.loads(path.read_text())
        told["rows"] = [Row(**{key: row[key] for key in Row._fields}) for row in told["rows"]]
        found[path.stem] = told
    return found


def machine() -> dict[str, Any]:
    """The conditions that figures depend on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "load": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "java": _java(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _java() -> str:
    if shutil.which("java") is None:
        return ""
    told = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    return told.splitlines()[0] if told else ""


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


if __name__ == "__main__":
    json.dump(machine(), sys.stdout, indent=1)
