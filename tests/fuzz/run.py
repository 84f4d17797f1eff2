"""Starts workers, and goes on behind an input that killed one or made it hang."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
HANG = 60.0  # seconds beyond its time that a worker may take


@dataclass(slots=True)
class Outcome:
    """What came out of a target's inputs."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)  # number of the input, what
    slowest: float = 0.0  # seconds
    slowest_at: int = 0
    growth: int = 0  # bytes of memory beyond what the first input took
    growth_at: int = 0

    @property
    def inputs(self) -> int:
        """Number of inputs tried."""
        return sum(self.counts.values())


def run(
    target: str, folder: Path, *, seed: int = 0, start: int = 0, count: int, seconds: float = 300.0
) -> Outcome:
    """Feed ``count`` inputs to a target, or as many as ``seconds`` allow."""
    found, end, until = Outcome(), start + count, time.monotonic() + seconds
    while start < end and (left := until - time.monotonic()) > 0:
        arguments = [target, folder, seed, start, end - start, left]
        command = [sys.executable, "-m", "tests.fuzz.worker", *map(str, arguments)]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=left + HANG,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            )
            code, output, errors = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired:
            code, output, errors = -9, "", "it hangs"
        if code == 0:
            _add(found, json.loads(output))
            break
        at = folder / "at"
        if code > 0 or not at.exists():
            raise RuntimeError(f"the worker of {target} is broken: {errors[-2000:]}")
        number = int(at.read_bytes())
        at.unlink()
        found.counts["died"] += 1
        found.failures.append((number, f"the process ended with {code}: {errors[-300:]}"))
        start = number + 1
    return found


def _add(found: Outcome, said: dict[str, object]) -> None:
    found.counts.update(said["outcomes"])  # type: ignore[call-overload]
    for item in said["failures"]:  # type: ignore[attr-defined]
        found.failures.append((item["number"], item["what"]))
    if said["slowest"] > found.slowest:  # type: ignore[operator]
        found.slowest, found.slowest_at = said["slowest"], said["slowest_at"]  # type: ignore[assignment]
    if said["growth"] > found.growth:  # type: ignore[operator]
        found.growth, found.growth_at = said["growth"], said["growth_at"]  # type: ignore[assignment]
