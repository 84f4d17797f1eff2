"""Images per second of the quickstart's training step, by threads.

``python benchmarks/threads.py``, once on an idle machine and once beside busy processes. Rounds
alternate between the numbers of threads; printed are median, lowest and highest of seven.
"""

from __future__ import annotations

import statistics
from pathlib import Path

import torch

from srae_dist.core.machine import available_cores
from srae_dist.engine.networks import build_networks
from srae_dist.engine.probe import step_seconds
from srae_dist.recipe.load import load_recipe
from srae_dist.runtime import console
from srae_dist.runtime.launch import has_bf16

ROUNDS, SIZE = 7, 32
RECIPE = Path(__file__).parents[1] / "recipes" / "quickstart.toml"


def main() -> None:
    """Measure one thread and all cores in turn."""
    recipe = load_recipe(RECIPE).recipe
    objective = build_networks(recipe, SIZE, num_domains=2)
    images = recipe.train.global_batch
    precision = "bf16" if has_bf16(torch.device("cpu")) else "fp32"
    choices = sorted({1, available_cores()})
    rates: dict[int, list[float]] = {threads: [] for threads in choices}
    for _ in range(ROUNDS + 1):
        for threads in choices:
            torch.set_num_threads(threads)
            step_seconds(
                objective, micro_batch=images, image_size=SIZE, precision=precision
            )  # warms up
            seconds = step_seconds(
                objective, micro_batch=images, image_size=SIZE, precision=precision
            )
            rates[threads].append(images / seconds)
    rows = [
        [threads, *(round(value, 1) for value in (statistics.median(r), min(r), max(r)))]
        for threads, r in ((threads, rates[threads][1:]) for threads in choices)
    ]
    title = f"{RECIPE.stem}, {images} images a step, {precision}"
    console.table(["threads", "images/s", "lowest", "highest"], rows, title=title)


if __name__ == "__main__":
    main()
