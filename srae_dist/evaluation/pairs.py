"""Translations of built-in faces against the truth, beside what needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srae_dist.evaluation import grids, image_errors
from srae_dist.evaluation.counterparts import Counterparts
from srae_dist.evaluation.encode import Floats, Pixels
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.image_errors import FeatureDistance, PerImage
from srae_dist.evaluation.section import Picture, Section, Table

SHOWN = 10  # faces in the picture
_ROWS = 1024  # training images compared at a time

VERSIONS = {  # what is held against the truth, and its column
    "reconstruction": "reconstruction",
    "translation": "translation",
    "mean_code": "by mean code",
    "moved_code": "by moved code",
    "source": "source",
    "nearest": "nearest",
    "nearest_to_truth": "nearest to truth",
    "mean_image": "mean image",
}
RATIOS = {  # of which version's L1 to the reconstruction's, and its column
    "ratio": ("translation", "ratio"),
    "ratio_mean_code": ("mean_code", "mean code's ratio"),
    "ratio_moved_code": ("moved_code", "moved code's ratio"),
}
MEASURES = {
    "l1": "Mean absolute error of pixels in [0, 1] (lower is better)",
    "psnr": "PSNR in dB (higher is better)",
    "vgg": "Squared distance of features (lower is better)",
}


def against_truth(
    pairs: Sequence[Counterparts], train: Encoded, *, distance: FeatureDistance
) -> Section:
    """Hold every ordered pair's translations against the true counterparts.

    Args:
        pairs: of held-out faces.
        train: training images of the same domains, which the baselines are made of.

    Returns:
        A section "truth". ``values["pairs"]["photo_to_anime"]`` has for each of ``VERSIONS`` the
        means over faces of ``l1``, ``psnr`` and ``vgg``, and ``l1_se``, the mean's standard error;
        ``ratio``, the translation's L1 over the reconstruction's, with the true counterpart's
        domain code, ``ratio_mean_code`` and ``ratio_moved_code`` (None if the reconstruction has
        none); and ``retrieval``, the share found by ``content_code`` and by ``pixels``, beside
        ``chance``.
        ``values["ratio"]`` and the other two ratios are means over the pairs.
    """
    values = {f"{pair.source}_to_{pair.target}": _pair(pair, train, distance) for pair in pairs}
    return Section(
        name="truth",
        title="Translation against the truth",
        text=_text(pairs, train, distance.name),
        values={
            **{name: _mean([pair[name] for pair in values.values()]) for name in RATIOS},
            "extractor": distance.name,
            "train_images": len(train),
            "pairs": values,
        },
        tables=_tables(pairs, values, distance.name),
        pictures=[_picture(pairs)],
    )


def retrieval(queries: NDArray[Any], gallery: NDArray[Any]) -> float:
    """Share of N rows whose nearest of N others (cosine, each side's mean removed) is their own."""
    a, b = (_directions(rows) for rows in (queries, gallery))
    return float(((a @ b.T).argmax(axis=1) == np.arange(len(a))).mean())


def nearest(images: Pixels, among: Pixels) -> NDArray[np.int64]:
    """Return for each of N images the nearest of M others: squared distance of raw pixels."""
    wanted = _flat(images)
    best = np.full(len(images), np.inf, np.float32)
    found = np.zeros(len(images), np.int64)
    for first in range(0, len(among), _ROWS):
        some = _flat(among[first : first + _ROWS])
        distances = np.square(some).sum(axis=1) - 2.0 * wanted @ some.T  # less the image's own
        place = distances.argmin(axis=1)
        value = distances[np.arange(len(images)), place]
        better = value < best
        best[better], found[better] = value[better], first + place[better]
    return found


def _pair(pair: Counterparts, train: Encoded, distance: FeatureDistance) -> dict[str, Any]:
    versions = _versions(pair, train.of(train.domains.index(pair.target)).pixels)
    far = distance(versions, pair.truth)
    values: dict[str, Any] = {"images": len(pair)}
    for name, images in versions.items():
        errors = image_errors.l1(images, pair.truth)
        values[name] = {
            "l1": float(errors.mean()),
            "l1_se": _standard_error(errors),
            "psnr": float(image_errors.psnr(images, pair.truth).mean()),
            "vgg": float(far[name].mean()),
        }
    floor = values["reconstruction"]["l1"]
    for name, (version, _) in RATIOS.items():
        values[name] = values[version]["l1"] / floor if floor else None
    values["retrieval"] = {
        "content_code": retrieval(pair.content, pair.truth_content),
        "pixels": retrieval(pair.images, pair.truth),
        "chance": 1.0 / len(pair),
    }
    return values


def _versions(pair: Counterparts, train: Pixels) -> dict[str, Pixels]:
    """Return all that is compared; ``train`` are the target domain's training images."""
    mean = train.mean(axis=0, keepdims=True).round().astype(np.uint8)
    return {
        "reconstruction": pair.reconstruction,
        "translation": pair.by_true_code,
        "mean_code": pair.by_mean_code,
        "moved_code": pair.by_moved_code,
        "source": pair.images,
        "nearest": train[nearest(pair.images, train)],
        "nearest_to_truth": train[nearest(pair.truth, train)],
        "mean_image": np.broadcast_to(mean, pair.truth.shape),
    }


def _mean(ratios: Sequence[float | None]) -> float | None:
    """Return the mean; None where a model reconstructs a domain without any error."""
    known = [ratio for ratio in ratios if ratio is not None]
    return float(np.mean(known)) if len(known) == len(ratios) else None


def _standard_error(errors: PerImage) -> float:
    return float(errors.std(ddof=1) / len(errors) ** 0.5) if len(errors) > 1 else 0.0


def _flat(images: Pixels) -> Floats:
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255) - np.float32(0.5)


def _directions(rows: NDArray[Any]) -> NDArray[np.float64]:
    flat = rows.reshape(len(rows), -1).astype(np.float64)
    flat -= flat.mean(axis=0)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    directions: NDArray[np.float64] = flat / np.maximum(length, 1e-12)
    return directions


def _tables(
    pairs: Sequence[Counterparts], values: Mapping[str, Mapping[str, Any]], extractor: str
) -> list[Table]:
    tables = []
    for measure, title in MEASURES.items():
        title = f"{title}: {extractor}" if measure == "vgg" else title
        digits = 2 if measure == "psnr" else 4
        ratios = RATIOS if measure == "l1" else {}
        rows = [
            [pair.source, pair.target]
            + [f"{found[name][measure]:.{digits}f}" for name in VERSIONS]
            + ["-" if found[name] is None else f"{found[name]:.2f}" for name in ratios]
            for pair, found in zip(pairs, values.values(), strict=True)
        ]
        heads = ["from", "to", *VERSIONS.values(), *(head for _, head in ratios.values())]
        tables.append(Table(title, heads, rows))
    return [*tables, _retrieval_table(pairs, values)]


def _retrieval_table(
    pairs: Sequence[Counterparts], values: Mapping[str, Mapping[str, Any]]
) -> Table:
    rows = [
        [pair.source, pair.target, f"{len(pair)}"]
        + [f"{100 * found['retrieval'][name]:.1f} %" for name in ("content_code", "pixels")]
        + [f"{100 * found['retrieval']['chance']:.1f} %"]
        for pair, found in zip(pairs, values.values(), strict=True)
    ]
    heads = ["from", "to", "faces", "by content code", "by raw pixels", "chance"]
    return Table("The same face found among the other domain's", heads, rows)


def _picture(pairs: Sequence[Counterparts]) -> Picture:
    rows: list[tuple[str, Pixels]] = []
    for pair in pairs:
        rows += [
            (pair.source, pair.images[:SHOWN]),
            (f"· as {pair.target}", pair.by_mean_code[:SHOWN]),
            ("· its style kept", pair.by_moved_code[:SHOWN]),
            (f"· true {pair.target}", pair.truth[:SHOWN]),
        ]
    caption = (
        "Held-out faces, their translations with the target domain's mean code and with their own "
        "code moved there, and what the same faces truly are in that domain."
    )
    return Picture("truth", caption, grids.grid(rows))


def _text(pairs: Sequence[Counterparts], train: Encoded, extractor: str) -> str:
    faces = ", ".join(
        f"{count} of {name}" for name, count in {pair.source: len(pair) for pair in pairs}.items()
    )
    return (
        f"Every built-in face can be drawn in every domain, so its true translation is known. "
        f"Held-out faces ({faces}) were translated into every other domain, once with the true "
        "counterpart's own domain code (translation), once with the target domain's mean code and "
        "once with the source's own code less its domain's mean plus the target's (moved code), "
        "and held against the true counterpart. Reconstruction is the true counterpart, encoded "
        "and decoded: no translation can be expected to come closer. Without any model there are: "
        "the source unchanged; of the target domain's training images the one nearest to the "
        "source by raw pixels; the one nearest to the truth itself, which no one can choose who "
        f"does not know it; and their mean image (of {len(train):,} training images in all). "
        "Ratio is the translation's mean absolute error over the reconstruction's; 1 would be "
        "perfect. The same face is found when the nearest content code among the counterparts "
        "(cosine, each domain's mean removed) is its own; for raw pixels likewise. "
        f"Features are {extractor}."
    )
