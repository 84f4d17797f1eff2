"""A long run of hostile input: ``python benchmarks/fuzz.py --seconds 600 --target all``.

The inputs of a seed are always the same, made one by one (tests/fuzz), and run in a process of
their own. Printed is what came out of them, by target; what should not have come out is kept in a
folder, with the input that did it. Exit code 1 if there is any.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from srae_dist.runtime import console
from tests.fuzz.run import Outcome, run
from tests.fuzz.targets import TARGETS

_PACKAGES = ("pillow", "simplejpeg", "imagecodecs", "numpy", "safetensors", "webdataset", "torch")
_ENDLESS = 1 << 40
_CHOICES = tuple(name for name in TARGETS if name != "bombs")  # they are few, and tested


def main() -> int:
    """Run the targets that the command line names, an equal time each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="in all")
    parser.add_argument("--target", choices=(*_CHOICES, "all"), default="all")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="default: the clock")
    parser.add_argument("--start", type=int, default=0, help="number of the first input")
    parser.add_argument("--keep", type=Path, help="folder for what was found (default: temporary)")
    given = parser.parse_args()
    keep = given.keep or Path(tempfile.mkdtemp(prefix="srae-dist-fuzz-"))
    keep.mkdir(parents=True, exist_ok=True)
    targets = _CHOICES if given.target == "all" else (given.target,)
    rows, failed = [], 0
    for target in targets:
        with tempfile.TemporaryDirectory() as work:
            found = run(
                target,
                Path(work) / "work",
                seed=given.seed,
                start=given.start,
                count=_ENDLESS,
                seconds=given.seconds / len(targets),
            )
        rows.append(row_of(target, found))
        failed += len(found.failures)
        save(keep, target, found, given.seed)
    console.table(("target", "inputs", "outcomes", "slowest s", "memory MB"), rows)
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    console.info(f"seed {given.seed}; Python {platform.python_version()}, {versions}")
    if failed:
        console.warn(f"{failed} inputs came to what they should not; see {keep}.")
    return 1 if failed else 0


def row_of(target: str, found: Outcome) -> tuple[object, ...]:
    """A row of the table."""
    outcomes = ", ".join(f"{count:,} {name}" for name, count in sorted(found.counts.items()))
    return target, found.inputs, outcomes, f"{found.slowest:.2f}", f"{found.growth / 1e6:.0f}"


def save(keep: Path, target: str, found: Outcome, seed: int) -> None:
    """Keep each input that was found, and beside it what it did."""
    with tempfile.TemporaryDirectory() as work:
        maker = TARGETS[target](Path(work))
        for number, what in found.failures:
            name = f"{target}-{seed}-{number}"
            (keep / f"{name}.bin").write_bytes(maker.make(seed, number))
            (keep / f"{name}.txt").write_text(f"{what}\n", encoding="utf-8")
            console.warn(f"{target} {number}: {what}")


if __name__ == "__main__":
    sys.exit(main())
