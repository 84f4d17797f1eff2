"""Factor preservation: what a network that reads factors off true faces reads off translations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from srae_dist.core import randomness
from srae_dist.data import faces
from srae_dist.evaluation.counterparts import Counterparts
from srae_dist.evaluation.encode import Pixels
from srae_dist.evaluation.section import Section, Table
from srae_dist.evaluation.small_cnn import Fit, SmallCnn, Source, fit, read

FIT = Fit(steps=900, lr=3e-3)
READABLE = 0.5  # R2 on true images from which a factor counts as one that can be read

VERSIONS = {
    "ceiling": "true images",
    "reconstruction": "reconstructions",
    "translation": "translations",
    "mean_code": "by mean code",
    "source": "sources",
}


def preservation(
    pairs: Sequence[Counterparts],
    *,
    settings: Fit = FIT,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Section:
    """Read the factors off translations with a network trained on true images of the target.

    Returns:
        A section "factors". ``values["pairs"]["photo_to_anime"]`` has for each of ``VERSIONS`` a
        table ``r2`` by factor, ``mean`` over all factors, and ``mean_readable`` over those whose
        ceiling is at least ``READABLE`` (named in ``readable``; None if there are none).
        ``values["preserved"]`` is the mean over the pairs of ``mean_readable`` by the mean code.
    """
    targets = {pair.target: pair.truth.shape[1] for pair in pairs}
    readers = {
        target: train_reader(target, size=size, settings=settings, seed=seed, device=device)
        for target, size in targets.items()
    }
    values = {
        f"{pair.source}_to_{pair.target}": _pair(pair, readers[pair.target]) for pair in pairs
    }
    return Section(
        name="factors",
        title="Factors that a translation keeps",
        text=_text(settings),
        values={
            "preserved": _mean([pair["mean_code"]["mean_readable"] for pair in values.values()]),
            "training_images": settings.steps * settings.batch,
            "seed": seed,
            "pairs": values,
        },
        tables=_tables(pairs, values),
    )


def train_reader(
    domain: str, *, size: int, settings: Fit, seed: int, device: str | torch.device = "cpu"
) -> SmallCnn:
    """Train a network to read the factors, standardised, off true images: no face comes twice."""
    return fit(
        _drawn(domain, size=size, batch=settings.batch, seed=seed),
        outputs=len(faces.FACTORS),
        loss=F.mse_loss,
        settings=settings,
        seed=randomness.seed_of(seed, "factors", domain),
        device=device,
    )


def read_factors(reader: SmallCnn, images: Pixels) -> NDArray[np.float32]:
    """Read the factors off N images: N rows, in the order of ``faces.FACTORS``."""
    mean, scale = _moments()
    return read(reader, images) * scale + mean


def r2(got: NDArray[Any], truth: NDArray[Any]) -> NDArray[np.float64]:
    """Coefficient of determination of each column: 1 is perfect, 0 is as good as the mean."""
    residual = np.square(got.astype(np.float64) - truth).sum(axis=0)
    total = np.square(truth - truth.mean(axis=0, dtype=np.float64)).sum(axis=0)
    scores: NDArray[np.float64] = 1.0 - residual / np.maximum(total, 1e-12)
    return scores


def _drawn(domain: str, *, size: int, batch: int, seed: int) -> Source:
    """Return batches of fresh faces and their standardised factors."""
    table = randomness.seed_of(seed, "factor reader")  # no shard's: those have names of their own
    mean, scale = _moments()

    def draw(step: int) -> tuple[Pixels, NDArray[np.float32]]:
        rows = faces.sample_factors(batch, seed=table, start=step * batch)
        return faces.render(rows, domain, size=size), (rows - mean) / scale

    return draw


@cache
def _moments() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return every factor's mean and standard deviation."""
    rows = faces.sample_factors(4096, seed=0)
    return rows.mean(axis=0), rows.std(axis=0)


def _pair(pair: Counterparts, reader: SmallCnn) -> dict[str, Any]:
    images = {
        "ceiling": pair.truth,
        "reconstruction": pair.reconstruction,
        "translation": pair.by_true_code,
        "mean_code": pair.by_mean_code,
        "source": pair.images,
    }
    scores = {name: r2(read_factors(reader, some), pair.factors) for name, some in images.items()}
    readable = scores["ceiling"] >= READABLE
    values: dict[str, Any] = {
        "images": len(pair),
        "readable": [n for n, shown in zip(faces.FACTORS, readable, strict=True) if shown],
    }
    for name, score in scores.items():
        values[name] = {
            "r2": dict(zip(faces.FACTORS, score.tolist(), strict=True)),
            "mean": float(score.mean()),
            "mean_readable": _mean(score[readable].tolist()),
        }
    return values


def _mean(numbers: Sequence[float | None]) -> float | None:
    """Return the mean of those there are; None of none."""
    known = [number for number in numbers if number is not None]
    return float(np.mean(known)) if known else None


def _tables(pairs: Sequence[Counterparts], values: Mapping[str, Mapping[str, Any]]) -> list[Table]:
    heads = list(VERSIONS.values())
    summary, details = [], []
    for pair, found in zip(pairs, values.values(), strict=True):
        means = [_shown(found[name]["mean_readable"]) for name in VERSIONS]
        summary.append([pair.source, pair.target, f"{len(found['readable'])}", *means])
        rows = [
            [factor, *(_shown(found[name]["r2"][factor]) for name in VERSIONS)]
            for factor in faces.FACTORS
        ]
        title = f"{pair.source} to {pair.target}: R2 of each factor"
        details.append(Table(title, ["factor", *heads], rows))
    title = f"Mean R2 of the factors that are read off true images (R2 at least {READABLE})"
    return [Table(title, ["from", "to", "factors", *heads], summary), *details]


def _shown(number: float | None) -> str:
    return "none" if number is None else f"{number:.2f}"


def _text(settings: Fit) -> str:
    return (
        "For every target domain a small convolutional network was trained to read the factors "
        f"off true images of it ({settings.steps * settings.batch:,} fresh faces, each seen once), "
        "and then read them off held-out images. R2 is 1 when a factor is read perfectly and 0 "
        "when the reading is no better than the factor's mean; it may be far below 0. True images "
        "are the ceiling: a factor that is not read off these, hidden by the domain, by the size "
        "or by the network's short training, says nothing of a translation. "
        "Reconstructions tell what the decoder alone costs. Translations with the true "
        "counterpart's own domain code may have learnt something from that code; by the mean "
        "code all that is read came through the content code. Sources are the untranslated images."
    )
