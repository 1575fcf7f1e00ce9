"""`python -m bench [--quick | --long] [NAME …]`: runs the named measurements, all by default; `python -m bench plot`.

Exit status 1 if a gate was missed, 2 for an unknown name.  What was measured is kept in `bench/results/`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time

from bench import Effort, show
from bench.results import save

NAMES = ("fnap", "names", "embedded", "agent", "bridge")


def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)} or plot")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--quick", action="store_const", dest="effort", const=Effort.QUICK, help="no figures, a try"
    )
    how.add_argument(
        "--long", action="store_const", dest="effort", const=Effort.LONG, help="also what takes long"
    )
    parser.set_defaults(effort=Effort.USUAL)
    asked = parser.parse_args(words)
    if unknown := [name for name in asked.names if name not in (*NAMES, "plot")]:
        parser.error(f"no such measurement: {', '.join(unknown)}")
    missed = False
    for name in asked.names or NAMES:
        if name == "plot":
            importlib.import_module("bench.plot").draw()
            continue
        print(f"== {name}", flush=True)
        began = time.monotonic()
        rows = list(importlib.import_module(f"bench.{name}").run(asked.effort))
        show(rows)
        print(f"kept in {save(name, asked.effort, rows, time.monotonic() - began)}", flush=True)
        missed = missed or any(row.gate and row.met is False for row in rows)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
