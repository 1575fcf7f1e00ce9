"""Writes the seeds of all targets into the corpus: `python -m fuzz.make_corpus` with `tests` in the module path.

Files whose names do not begin with `seed-` were found by a fuzzer once; they are left alone.
"""

from __future__ import annotations

from fuzz.harness import CORPUS, TARGETS, target


def main() -> None:
    for name in TARGETS:
        folder = CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("seed-*"):
            old.unlink()
        for seed, octets in target(name).seeds().items():
            (folder / f"seed-{seed}").write_bytes(octets)


if __name__ == "__main__":
    main()
