"""Runs inputs in a process of its own, and says as JSON what came out.

``python -m tests.fuzz.worker TARGET FOLDER SEED START COUNT SECONDS``. The number of the input at
hand is always in FOLDER/at, so that whoever started it knows what killed it.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.guard import Guard
from tests.fuzz.targets import TARGETS

MOST_MEMORY = 24 << 30  # bytes of addresses: what asks for more is refused, and found out
KEPT = 20  # failures that are told


def main(name: str, folder: Path, seed: int, start: int, count: int, seconds: float) -> None:
    """Run inputs ``start`` to ``start + count``, as many as ``seconds`` allow."""
    folder.mkdir(exist_ok=True)
    os.chdir(folder)  # relative names stay below it
    guard = Guard(folder)
    target = TARGETS[name](folder)
    importlib.import_module("torch")  # resizing imports it late
    target.feed(target.make(seed, start))
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    at = os.open(folder / "at", os.O_RDWR | os.O_CREAT)
    outcomes: Counter[str] = Counter()
    failures: list[dict[str, object]] = []
    slowest, slowest_at, before, begin = 0.0, start, peak(), time.monotonic()
    growth: dict[int, int] = {}
    number = start
    for number in range(start, start + count):
        if time.monotonic() - begin > seconds:
            break
        os.pwrite(at, b"%020d" % number, 0)
        data = target.make(seed, number)
        then, had = time.monotonic(), peak()
        guard.on = True
        try:
            outcome = "accepted" if target.feed(data) else "refused"
        except BaseException as error:
            outcome = f"{type(error).__module__}.{type(error).__qualname__}"
            failures.append({"number": number, "what": f"{outcome}: {error}"[:500]})
        guard.on = False
        if guard.seen:
            outcome = "opened what it should not"
            failures.append({"number": number, "what": "; ".join(guard.seen[:4])})
            guard.seen.clear()
        outcomes[outcome] += 1
        took = time.monotonic() - then
        if took > slowest:
            slowest, slowest_at = took, number
        if peak() > had:
            growth[number] = peak() - had
    sys.stdout.write(
        json.dumps(
            {
                "outcomes": dict(outcomes),
                "failures": failures[:KEPT],
                "slowest": slowest,
                "slowest_at": slowest_at,
                "growth": peak() - before,
                "growth_at": max(growth, key=growth.__getitem__, default=start),
                "seconds": time.monotonic() - begin,
            }
        )
    )


def peak() -> int:
    """Return the most memory this process has had, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


if __name__ == "__main__":
    target, place, *numbers, limit = sys.argv[1:]
    main(target, Path(place).resolve(), *(int(number) for number in numbers), float(limit))
