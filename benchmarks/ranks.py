"""Training speed of two CPU ranks with one thread each against one rank with one thread.

    python benchmarks/ranks.py [--rounds 7] [--steps 4] [--batch 16] [--accumulate 1]

Every measurement is a run of its own under `accelerate launch`, with gloo between two ranks: the
recipe's model, built-in faces made on the spot, the same micro-batches on every rank, so a global
batch in proportion to the ranks (weak scaling); gradients are averaged once a step. What is counted
is the steps' own time as the run's log has it, after two steps that are not; starting, and the
checkpoint at the end, are left out. Rounds alternate which goes first. The goal is 1.85 times. It
needs two idle cores: whatever else runs takes one from the two ranks.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srae_dist.bench import record
from srae_dist.bench.data import Case, make_shards
from srae_dist.core import atomic
from srae_dist.core.errors import UserError
from srae_dist.runtime import console

ROOT = Path(__file__).parents[1]
GOAL = 1.85
RANKS = (1, 2)
WARM = 2  # steps that are not counted; in the second DDP arranges its buckets anew
LAUNCHERS = {1: ("accelerate_config.yaml", "--cpu"), 2: ("docs/launch/cpu_2_ranks.yaml",)}


@dataclass(frozen=True, slots=True)
class Rates:
    """Images per second of some ranks together and their share of waiting for data, by round."""

    images: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.images)

    def row(self, ranks: int) -> list[str]:
        return [
            f"{ranks} rank{'s' * (ranks > 1)} x 1 thread",
            f"{self.median:.2f}",
            f"{min(self.images):.2f}",
            f"{max(self.images):.2f}",
            f"{statistics.median(self.waits):.1%}",
        ]


def main() -> None:
    """Measure, show and write down."""
    given = arguments()
    rates = {ranks: Rates() for ranks in RANKS}
    with tempfile.TemporaryDirectory(prefix="srae_dist-bench-") as name:
        folder = Path(name)
        shards = folder / "shards"
        case = Case("ranks", given.size, "jpg", 80, longer=1)
        make_shards(case, shards, images=max(512, 8 * given.batch * given.accumulate), folders=None)
        with console.progress(given.rounds * len(RANKS), "measurements") as advance:
            for number in range(given.rounds):
                for ranks in RANKS if number % 2 == 0 else reversed(RANKS):
                    rate, wait = measure(folder / f"{number}-{ranks}", shards, ranks, given)
                    rates[ranks].images.append(rate)
                    rates[ranks].waits.append(wait)
                    advance(1)
    tell(rates, given)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=positive, default=7)
    parser.add_argument("--steps", type=positive, default=4, help="steps that are counted, a run")
    parser.add_argument("--batch", type=positive, default=16, help="images a micro-batch")
    parser.add_argument("--accumulate", type=positive, default=1, help="micro-batches a step")
    parser.add_argument("--size", type=int, default=64, choices=(32, 64, 128, 256), help="pixels")
    parser.add_argument("--recipe", default="ffhq_getchu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path, help="write the numbers here, too")
    parser.add_argument("--record", type=Path, default=ROOT / "benchmarks", metavar="DIR")
    given = parser.parse_args()
    if given.json is not None and not given.json.parent.is_dir():
        parser.error(f"--json {given.json}: there is no folder {given.json.parent}; make it first.")
    return given


def positive(word: str) -> int:
    if (number := int(word)) < 1:
        raise ValueError
    return number


def measure(run: Path, shards: Path, ranks: int, given: argparse.Namespace) -> tuple[float, float]:
    """Train for some steps; returns images per second of all ranks, and the share of waiting."""
    values = overrides(run, shards, ranks, given)
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    command += ["--config_file", *LAUNCHERS[ranks], "--main_process_port", "0"]
    command += ["-m", "srae_dist.train", given.recipe]
    command += [word for value in (*values, *given.set) for word in ("--set", value)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )
    if done.returncode:
        raise UserError(f"A run with {ranks} ranks failed:\n{done.stdout}{done.stderr}")
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    return speed(lines[WARM:], ranks * given.batch * given.accumulate)


def speed(lines: list[dict[str, Any]], images: int) -> tuple[float, float]:
    """Images per second over steps that took ``images`` each, and the share of waiting for data."""
    seconds = [images / line["images_per_s"] for line in lines]
    waited = sum(line["data_wait"] * took for line, took in zip(lines, seconds, strict=True))
    return images * len(lines) / sum(seconds), waited / sum(seconds)


def overrides(run: Path, shards: Path, ranks: int, given: argparse.Namespace) -> list[str]:
    """The recipe's values for a short run on the machine's processor."""
    return [
        f"run.dir={run}",
        "run.trackers=[]",
        f"data.root={shards}",
        "data.domains=none",
        f"data.image_size={given.size}",
        "data.workers=0",
        "perceptual.weights=random",
        f"train.steps={WARM + given.steps}",
        f"train.global_batch={ranks * given.batch * given.accumulate}",
        f"train.micro_batch={given.batch}",
        "train.log_every=1",
        "train.mean_code_images=1",
        "engine.threads=1",
    ]


def tell(rates: dict[int, Rates], given: argparse.Namespace) -> None:
    """Show the table and write the dated result."""
    ratios = [two / one for one, two in zip(rates[1].images, rates[2].images, strict=True)]
    columns = ["", "images/s", "lowest", "highest", "waiting for data"]
    rows = [rates[ranks].row(ranks) for ranks in RANKS]
    middle = statistics.median(ratios)
    remarks = (
        f"Recipe {given.recipe}, {given.size} px, {given.batch} images a micro-batch, "
        f"{given.accumulate} a step and rank, {given.steps} steps a run after {WARM} that "
        f"are not counted, {given.rounds} rounds.",
        f"Two ranks are {middle:.2f} times one (median of the rounds' own ratios; "
        f"{min(ratios):.2f} to {max(ratios):.2f}); the goal is {GOAL}.",
    )
    console.table(columns, rows, title="training, forward, backward, all-reduce and update")
    for line in remarks:
        console.info(line)
    values = {
        "ratio": middle,
        "ratios": ratios,
        "goal": GOAL,
        "images_per_s": {str(ranks): rates[ranks].images for ranks in RANKS},
        "data_wait": {str(ranks): rates[ranks].waits for ranks in RANKS},
        **{
            name: getattr(given, name)
            for name in ("recipe", "set", "size", "batch", "accumulate", "steps")
        },
    }
    path = record.write(
        given.record, "ranks", columns=columns, rows=rows, values=values, remarks=remarks
    )
    if given.json is not None:
        atomic.write_json(given.json, values)
    console.info(f"Written to {path}.")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        console.error(str(error))
        sys.exit(int(error.exit_code))
