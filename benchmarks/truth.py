"""Translations of built-in faces against the truth: ``python benchmarks/truth.py RUN [RUN ...]``.

The same factors render in every domain, so the true translation of every face is known. Printed
are mean absolute errors of pixels in [0, 1] over 200 faces that no run has trained on, beside two
guesses that need no model: the target domain's mean image, and the source. Retrieval says how
often the same face in the other domain has the nearest content code (cosine, domain means removed).
"""

from __future__ import annotations

import sys

import numpy as np
import torch

import srae_dist
from srae_dist.data import faces
from srae_dist.evaluation.counterparts import Counterparts, counterparts
from srae_dist.evaluation.encode import Floats, Pixels
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.image_errors import l1
from srae_dist.evaluation.pairs import retrieval
from srae_dist.model.pixels import to_uint8
from srae_dist.runtime import console
from srae_dist.translation.translator import Translator

COUNT, START = 200, 500_000


def main(runs: list[str]) -> None:
    """Print a table of all runs."""
    rows = [[run, *row(pair)] for run in runs for pair in measure(srae_dist.load(run))]
    columns = ["run", "from", "to", "reconstruction", "translation", "by mean code"]
    console.table([*columns, "mean image", "source", "retrieval %"], rows)


def measure(model: Translator) -> list[Counterparts]:
    """Translate the faces, drawn in every domain, into every other one."""

    def encode(pixels: Pixels) -> tuple[Floats, Floats]:
        codes = model.encode(pixels)
        return codes.content.mean.cpu().numpy(), codes.domain.mean.cpu().numpy()

    def decode(content: Floats, codes: Floats) -> Pixels:
        return to_uint8(model.decode(torch.from_numpy(content), torch.from_numpy(codes)))

    factors = faces.sample_factors(COUNT, seed=0, start=START)
    m = len(model.domains)
    pixels = np.concatenate(
        [faces.render(factors, name, size=model.image_size) for name in model.domains]
    )
    content, codes = encode(pixels)
    drawn = Encoded(
        pixels=pixels,
        content=content,
        domain_code=codes,
        domain=np.repeat(np.arange(m), COUNT),
        keys=tuple(map(str, range(m * COUNT))),
        domains=model.domains,
        labels={},
        factors=dict(zip(faces.FACTORS, np.tile(factors.T, m), strict=True)),
    )
    means = model.mean_codes.cpu().numpy()
    return counterparts(drawn, encode=encode, decode=decode, mean_codes=means)


def row(pair: Counterparts) -> list[str]:
    """Format a pair's errors, and how often the same face is found."""
    mean = pair.truth.mean(axis=0, keepdims=True).round()
    guesses = [np.broadcast_to(mean, pair.truth.shape), pair.images]
    answers = [pair.reconstruction, pair.by_true_code, pair.by_mean_code]
    errors = [l1(images, pair.truth).mean() for images in (*answers, *guesses)]
    found = 100 * retrieval(pair.content, pair.truth_content)
    return [pair.source, pair.target, *(f"{error:.4f}" for error in errors), f"{found:.0f}"]


if __name__ == "__main__":
    main(sys.argv[1:])
