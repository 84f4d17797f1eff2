"""The trainer, which writes down the keys of its batches and dies by SIGKILL where it is told:
``python -m tests.crashes.dying_train RECIPE ...``, and DIES_AT=step and KEYS=file around it.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil

from srae_dist import train
from srae_dist.core.types import Batch
from srae_dist.engine.step import Stepper, StepResult


def keys_of(file: Path) -> dict[tuple[int, int], list[str]]:
    """Return the keys of each step, in order, by (step, rank)."""
    found: dict[tuple[int, int], list[str]] = {}
    for line in file.read_text().splitlines():
        step, rank, keys = json.loads(line)
        found[step, rank] = keys
    return found


def main() -> None:
    """Train, and die."""
    dies_at, file = int(os.environ["DIES_AT"]), Path(os.environ["KEYS"])
    original = Stepper.take

    def take(self: Stepper, step: int, batches: Iterator[Batch]) -> StepResult:
        keys: list[str] = []

        def noted() -> Iterator[Batch]:
            for batch in batches:
                keys.extend(batch.keys)
                if step == dies_at:
                    kill_all()  # in the middle of a step, the first micro-batch in hand
                yield batch

        result = original(self, step, noted())
        with file.open("a") as lines:
            lines.write(json.dumps([step, self.accelerator.process_index, keys]) + "\n")
        return result

    Stepper.take = take  # type: ignore[method-assign]
    train.main()


def kill_all() -> None:
    """SIGKILL to the launcher, if there is one, and all processes below it."""
    top = psutil.Process(os.getppid()) if "WORLD_SIZE" in os.environ else psutil.Process()
    for process in [top, *top.children(recursive=True)]:
        if process.pid != os.getpid():
            process.send_signal(signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
