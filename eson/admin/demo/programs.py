"""The programs of this installation, as the person at this terminal can type them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def program(name: str) -> Path | None:
    """Where `name` is installed: beside this Python, else on the path; None if nowhere."""
    beside = Path(sys.executable).parent / name
    if beside.exists():
        return beside
    found = shutil.which(name)
    return None if found is None else Path(found)


def typed(name: str) -> str:
    """What to type for `name`: the bare word if the path leads to it, else a path, relative where that is shorter."""
    found = program(name)
    on_path = shutil.which(name)
    if found is None or (on_path is not None and Path(on_path).resolve() == found.resolve()):
        return name
    relative = os.path.relpath(found)
    return relative if len(relative) < len(str(found)) else str(found)
