"""`python -m bench [fnap names embedded bridge]`: runs the named measurements, all that are there by default."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable

from bench import Row, table

NAMES = ("fnap", "names", "embedded", "bridge")


def main(chosen: list[str]) -> int:
    """Exit status 1 if a measurement says that it missed a promise, 2 for an unknown name."""
    unknown = [name for name in chosen if name not in NAMES]
    if unknown:
        print(f"No such measurement: {', '.join(unknown)}. There are {', '.join(NAMES)}", file=sys.stderr)
        return 2
    missed = False
    for name in chosen or NAMES:
        if importlib.util.find_spec(f"bench.{name}") is None:
            continue
        print(f"== {name}", flush=True)
        result = importlib.import_module(f"bench.{name}").run()
        if isinstance(result, Iterable):
            print(table(row for row in result if isinstance(row, Row)), flush=True)
        missed = missed or result is False
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
