"""Distances: how near a domain's images the translations to it come, as sets of features.

Each number stands between the nearest and the farthest that could be expected: real images that
the model trained on, reconstructions, and the source images left as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srae_dist.evaluation.features import Features, Pixels, Vectors
from srae_dist.evaluation.measured import FEW, SAME, Measured, headlines, name_table, pair_table
from srae_dist.evaluation.perceptual import PairDistance
from srae_dist.evaluation.section import Section, Table
from srae_dist.evaluation.statistics import FID_NEEDS, SUBSETS, fid, kid


@dataclass(frozen=True, slots=True)
class Images:
    """What is compared: of every domain, in the domains' order."""

    real: Sequence[Pixels]  # m x N H W 3: of the scored split
    train: Sequence[Pixels]  # m x N H W 3: real images of the training split
    reconstructed: Sequence[Pixels]  # m x N H W 3: of ``real``, in its order
    translated: Mapping[tuple[int, int], Pixels]  # (s, t) -> ``real[s]`` as domain t


def distances(
    domains: Sequence[str],
    images: Images,
    *,
    features: Sequence[Features],
    pairwise: PairDistance | None = None,
    split: str = "test",
    seed: int = 0,
    done: Callable[[], None] = lambda: None,
) -> Section:
    """KID and FID of every ordered pair, beside what is the best and the worst to be expected.

    Args:
        features: extractors; the first is the one to look at.
        pairwise: compares reconstructions with their originals, and translations with their
            sources, image by image.
        split: name of the scored split.
        seed: of KID's subsets.
        done: called after every set of images that was turned into vectors.

    Returns:
        Section "distances". ``values``: ``kid_<key>``, ``fid_<key>`` and
        ``kid_<key>_over_reconstruction`` per extractor, each ``{"human_to_anime": number}`` (None
        where the reconstructions' KID is not above 0); ``measurements``, every comparison under
        its full name; ``extractors``, their names and weights; ``lpips`` if it was asked for.

    Raises:
        UserError: fewer than 4 images of a domain.
    """
    values: dict[str, Any] = {
        "split": split,
        "image_size": int(images.real[0].shape[1]),
        "subsets": SUBSETS,
        "extractors": {f.key: {"name": f.name, "weights": f.weights} for f in features},
        "measurements": [],
    }
    tables = []
    for extractor in features:
        measured = _measure(domains, images, extractor, split=split, seed=seed, done=done)
        values |= headlines(domains, measured, extractor.key)
        values["measurements"] += [item.values() for item in measured]
        tables += [pair_table(domains, measured, extractor), name_table(measured, extractor)]
    if pairwise is not None:
        values[pairwise.key], table = _pairwise(domains, images, pairwise)
        tables.append(table)
    return Section("distances", _TITLE, _text(features, split), values, tables)


_TITLE = "Distances: translations as a set, against real images of the target"


def _text(features: Sequence[Features], split: str) -> str:
    weights = "; ".join(f"{extractor.name}: {extractor.weights}" for extractor in features)
    return (
        f"Images of the {split} split, each translated with its target's mean code, against the "
        f"target's real {split} images. KID is the mean of the unbiased estimate over {SUBSETS} "
        "random subsets, and its standard deviation over them; 0 is the same distribution. Beside "
        "it stand real training images of the target (the best that could be), reconstructions of "
        "the target's own images (the floor of this decoder) and the source images left as they "
        "are (the ceiling). Features see blur, too: where reconstructions lie above the unchanged "
        "source, the number tells of the decoder rather than of the translation. Numbers of "
        f"different extractors, weights or image sizes cannot be compared. Weights: {weights}."
    )


def _measure(
    domains: Sequence[str],
    images: Images,
    extractor: Features,
    *,
    split: str,
    seed: int,
    done: Callable[[], None],
) -> list[Measured]:
    """Every comparison of one extractor; each set of images is turned into vectors once."""

    def extract(pixels: Pixels) -> Vectors:
        vectors = extractor(pixels)
        done()
        return vectors

    real, train, reconstructed = (
        [extract(pixels) for pixels in some]
        for some in (images.real, images.train, images.reconstructed)
    )

    def compare(kind: str, s: int, t: int, vectors: Vectors) -> Measured:
        paired = kind == "reconstructed"
        estimate = kid(vectors, real[t], paired=paired, seed=seed)
        few = min(len(vectors), len(real[t])) < FID_NEEDS
        return Measured(
            name=_full_name(extractor.name, domains, kind, s, t, len(vectors), len(real[t]), split),
            extractor=extractor.key,
            images=kind,
            source=domains[s],
            target=domains[t],
            count=len(vectors),
            real=len(real[t]),
            kid=estimate.mean,
            kid_std=estimate.std,
            subset_size=estimate.subset_size,
            fid=fid(vectors, real[t]),
            remarks=(FEW,) * few + (SAME,) * paired,
        )

    found = []
    for t in range(len(domains)):
        found += [
            compare("train", t, t, train[t]),
            compare("reconstructed", t, t, reconstructed[t]),
        ]
    for s, t in itertools.permutations(range(len(domains)), 2):
        found.append(compare("translated", s, t, extract(images.translated[s, t])))
        found.append(compare("source", s, t, real[s]))
    return found


def _full_name(
    extractor: str,
    domains: Sequence[str],
    kind: str,
    s: int,
    t: int,
    count: int,
    real: int,
    split: str,
) -> str:
    """Name a number after all that it depends on."""
    who = domains[t] if s == t else f"{domains[s]}-to-{domains[t]}"
    return f"{extractor}_{who}_{kind}{count}_real{real}_{split}"


def _pairwise(
    domains: Sequence[str], images: Images, compare: PairDistance
) -> tuple[dict[str, Any], Table]:
    """Image by image: reconstructions to originals, translations to sources."""

    def mean(first: Pixels, second: Pixels) -> dict[str, Any]:
        found = compare(first, second).astype(np.float64)
        return {"mean": float(found.mean()), "std": float(found.std()), "count": len(found)}

    reconstruction = {
        name: mean(images.reconstructed[t], images.real[t]) for t, name in enumerate(domains)
    }
    source = {
        f"{domains[s]}_to_{domains[t]}": mean(pixels, images.real[s])
        for (s, t), pixels in images.translated.items()
    }
    told = [
        *((f"{name}, reconstructed, to the original", v) for name, v in reconstruction.items()),
        *((f"{pair.replace('_to_', ' → ')}, to its source", v) for pair, v in source.items()),
    ]
    rows = [[what, f"{v['mean']:.4f} ± {v['std']:.4f}", f"{v['count']:,}"] for what, v in told]
    values = {
        "name": compare.name,
        "weights": compare.weights,
        "reconstruction": reconstruction,
        "translation_to_source": source,
    }
    title = f"{compare.name}, image by image, mean ± std over images ({compare.weights})"
    return values, Table(title, ["", compare.key.upper(), "images"], rows)
