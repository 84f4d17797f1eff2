"""Translations into a domain never trained on: ``python benchmarks/unseen.py RUN [RUN ...]``.

The domain is *blueprint*: the built-in pencil sheet in white on blue paper. Two domain codes are
got from the same sixteen of its faces: the mean of mu_d, and the one that `srae-dist add-domain`
fits. Printed are mean absolute errors of pixels in [0, 1] over 200 faces that no run has trained
on: of translations from each domain into blueprint, their ratio to reconstructions in the domains
that were trained on, and two guesses, blueprint's mean image and the source unchanged.
"""

from __future__ import annotations

import sys

import numpy as np
import torch

import srae_dist
from srae_dist.data import faces
from srae_dist.evaluation.encode import Floats, Pixels
from srae_dist.evaluation.image_errors import l1
from srae_dist.model.pixels import to_uint8
from srae_dist.runtime import console
from srae_dist.translation.fitting import fit_domain_code
from srae_dist.translation.translator import Translator

COUNT, START = 200, 500_000
EXEMPLARS, EXEMPLARS_START = 16, 700_000
PAPER, INK = np.array([24.0, 58.0, 140.0]), np.array([235.0, 240.0, 255.0])
COLUMNS = ["run", "code", "from", "translation", "reconstruction", "ratio", "mean image", "source"]


def main(runs: list[str]) -> None:
    """Print a table of all runs."""
    rows = []
    for run in runs:
        model = srae_dist.load(run)
        exemplars = draw(EXEMPLARS, start=EXEMPLARS_START, size=model.image_size)[1]
        codes = {
            "mean": model.encode(exemplars).domain.mean.mean(dim=0),
            "fitted": fit_domain_code(model, exemplars).code,
        }
        rows += [[run, kind, *row] for kind, code in codes.items() for row in measure(model, code)]
    console.table(COLUMNS, rows)


def draw(count: int, *, start: int, size: int) -> tuple[Floats, Pixels]:
    """Draw faces in the domain that nobody trains on: factors, and N H W 3."""
    factors = faces.sample_factors(count, seed=0, start=start)
    dark = 1 - faces.render(factors, "pencil", size=size).astype(np.float32).mean(3) / 255
    sheet: Pixels = (PAPER + dark[..., None] * (INK - PAPER)).round().astype(np.uint8)
    return factors, sheet


def measure(model: Translator, code: torch.Tensor) -> list[list[str]]:
    """Translate the same faces from every domain; return a row for each, and one for all."""
    factors, truth = draw(COUNT, start=START, size=model.image_size)
    guess = np.broadcast_to(truth.mean(axis=0, keepdims=True).round(), truth.shape)
    rows = []
    for name in model.domains:
        pixels = faces.render(factors, name, size=model.image_size)
        codes = model.encode(pixels)
        translated = _decode(model, codes.content.mean, code.expand(COUNT, -1))
        again = _decode(model, codes.content.mean, codes.domain.mean)
        pairs = ((translated, truth), (again, pixels), (guess, truth), (pixels, truth))
        rows.append((name, [float(l1(found, wanted).mean()) for found, wanted in pairs]))
    everything = np.array([errors for _, errors in rows])
    floor = everything[:, 1].mean()
    rows.append(("all", everything.mean(axis=0).tolist()))
    return [
        [name, f"{e[0]:.4f}", f"{e[1]:.4f}", f"{e[0] / floor:.2f}", f"{e[2]:.4f}", f"{e[3]:.4f}"]
        for name, e in rows
    ]


def _decode(model: Translator, content: torch.Tensor, domain: torch.Tensor) -> Pixels:
    return to_uint8(model.decode(content, domain))


if __name__ == "__main__":
    main(sys.argv[1:])
