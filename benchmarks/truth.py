"""Translations of built-in faces against the truth: ``python benchmarks/truth.py RUN [RUN ...]``.

The same factors render in every domain, so the true translation of every face is known. Printed
are mean absolute errors of pixels in [0, 1] over 200 faces that no run has trained on, beside two
guesses that need no model: the target domain's mean image, and the source. Retrieval says how
often the same face in the other domain has the nearest content code (cosine, domain means removed).
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
import torch
from numpy.typing import NDArray

import srae_dist
from srae_dist.core.types import Codes
from srae_dist.data import faces
from srae_dist.model.pixels import to_uint8
from srae_dist.runtime import console

COUNT, START = 200, 500_000

Pixels = NDArray[np.uint8]


def main(runs: list[str]) -> None:
    """Print a table of all runs."""
    rows = [row for run in runs for row in measure(run)]
    columns = ["run", "from", "to", "reconstruction", "translation", "by mean code"]
    console.table([*columns, "mean image", "source", "retrieval %"], rows)


def measure(run: str) -> list[list[str]]:
    """A row for every ordered pair of a run's domains."""
    model = srae_dist.load(run)
    factors = faces.sample_factors(COUNT, seed=0, start=START)
    truth = {d: faces.render(factors, d, size=model.image_size) for d in model.domains}
    codes = {d: model.encode(truth[d]) for d in model.domains}

    def decoded(content: Codes, domain: Codes) -> Pixels:
        return to_uint8(model.decode(content.content.mean, domain.domain.mean))

    rows = []
    for a, b in itertools.permutations(model.domains, 2):
        errors = [
            error(decoded(codes[b], codes[b]), truth[b]),
            error(decoded(codes[a], codes[b]), truth[b]),
            error(model.translate(truth[a], to=b), truth[b]),
            error(truth[b].mean(axis=0, keepdims=True), truth[b]),
            error(truth[a], truth[b]),
        ]
        found = 100 * retrieval(codes[a].content.mean, codes[b].content.mean)
        rows.append([run, a, b, *(f"{value:.4f}" for value in errors), f"{found:.0f}"])
    return rows


def error(a: NDArray[np.generic], b: Pixels) -> float:
    """Mean absolute error of pixels in [0, 1]."""
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).mean() / 255)


def retrieval(a: torch.Tensor, b: torch.Tensor) -> float:
    """Share of faces whose nearest neighbour among the other domain's codes is the same face."""
    a, b = (torch.nn.functional.normalize((z - z.mean(0)).flatten(1)) for z in (a, b))
    return float(((a @ b.T).argmax(dim=1) == torch.arange(len(a))).float().mean())


if __name__ == "__main__":
    main(sys.argv[1:])
