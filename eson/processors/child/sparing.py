"""Memory: a thousand processors on one machine each pay for what they import."""

from __future__ import annotations

import importlib.util
import sys


def leave_clients_out() -> None:
    """Has `kafka.protocol` imported without kafka-python's clients, which `kafka` itself would import: 4 MB, 50 ms.

    For a process of our own that uses nothing else of the library; call it before anything imports that.
    """
    if "kafka" in sys.modules:
        return
    spec = importlib.util.find_spec("kafka")
    if spec is not None:
        # the package is known, its own code never runs
        sys.modules["kafka"] = importlib.util.module_from_spec(spec)
