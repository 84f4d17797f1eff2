"""t-SNE of the codes (Fig. 6 and 8): content codes, domain codes and both together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srae_dist.core.randomness import generator
from srae_dist.evaluation.encoded import Encoded
from srae_dist.evaluation.palette import BOTH, CONTENT, DOMAIN
from srae_dist.evaluation.scatter import Panel, draw
from srae_dist.evaluation.section import Picture, Section, Table
from srae_dist.evaluation.tsne import PERPLEXITY, Points, fitting_perplexity, tsne

MOST_POINTS = 2000  # of a picture in the report
NEIGHBOURS = 10
MOST_LABELS = 12  # more colours than that say nothing


@dataclass(frozen=True, slots=True)
class Embedding:
    """Places of N images in the plane, by each kind of code."""

    encoded: Encoded
    points: Mapping[str, Points]  # "content", "domain", "both"
    perplexity: float
    seed: int

    def rows(self) -> dict[str, Any]:
        """Return all places as JSON, an entry per image."""
        encoded = self.encoded
        return {
            "perplexity": self.perplexity,
            "seed": self.seed,
            "keys": list(encoded.keys),
            "domain": [encoded.domains[number] for number in encoded.domain],
            "labels": {name: values.tolist() for name, values in encoded.labels.items()},
            "points": {
                kind: np.round(points.astype(float), 3).tolist()
                for kind, points in self.points.items()
            },
        }


_KINDS = {  # what a picture shows, its title (in matplotlib's notation) and its colour
    "content": ("content codes", "Content codes $\\mathbf{z_c}$", CONTENT),
    "domain": ("domain codes", "Domain codes $\\mathbf{z_d}$", DOMAIN),
    "both": ("both codes together", "Both codes together", BOTH),
}


def codes_of(encoded: Encoded) -> dict[str, NDArray[np.float32]]:
    """Return the vectors of each kind, N d.

    The decoder sees z_d repeated over all a x b places beside z_c (Sec. 3.2). So together the
    domain code counts sqrt(a b) times: the distances are those of what the decoder sees.
    """
    repeats = float(np.sqrt(np.prod(encoded.content.shape[2:])))
    content, domain = encoded.flat_content, encoded.domain_code
    both = np.concatenate([content, domain * np.float32(repeats)], axis=1)
    return {"content": content, "domain": domain, "both": both}


def embed(encoded: Encoded, *, perplexity: float = PERPLEXITY, seed: int = 0) -> Embedding:
    """Place all images by content, domain and both codes.

    Raises:
        UserError: fewer than 8 images, or a perplexity that is not above 1.
    """
    used = fitting_perplexity(len(encoded), perplexity)
    points = {
        kind: tsne(codes, perplexity=used, seed=seed) for kind, codes in codes_of(encoded).items()
    }
    return Embedding(encoded, points, used, seed)


def same_share(points: Points, groups: NDArray[Any], *, neighbours: int = NEIGHBOURS) -> float:
    """Share of the nearest points that are of a point's own group, a mean over all points."""
    from sklearn.neighbors import NearestNeighbors

    count = min(neighbours, len(points) - 1)
    near = NearestNeighbors(n_neighbors=count).fit(points).kneighbors(return_distance=False)
    return float((groups[near] == groups[:, None]).mean())


def embedding(
    encoded: Encoded,
    *,
    split: str = "test",
    perplexity: float = PERPLEXITY,
    seed: int = 0,
    most: int = MOST_POINTS,
) -> Section:
    """Draw the codes of images as the paper does, coloured by domain, and by label if there is one.

    Args:
        most: images at most, as many of every domain, drawn from them all: more take longer and
            show less.

    Returns:
        Section "embedding". ``values``: ``images`` per domain, ``perplexity``, ``seed``,
        ``same_domain`` (share of a point's 10 nearest points that are of its domain, by kind of
        code) beside ``chance``, and ``same_<label>`` for every label that was drawn.

    Raises:
        UserError: fewer than 8 images, or a perplexity that is not above 1.
    """
    few = drawn(encoded, per_domain=most // len(encoded.domains))
    return section_of(embed(few, perplexity=perplexity, seed=seed), split=split)


def drawn(encoded: Encoded, *, per_domain: int) -> Encoded:
    """Return at most so many images of every domain, in their order; the same ones every time."""
    chosen = []
    for number in range(len(encoded.domains)):
        mine = np.flatnonzero(encoded.domain == number)
        chosen.append(generator(0, "embedding", number).permutation(mine)[:per_domain])
    return encoded.take(np.sort(np.concatenate(chosen)))


def section_of(found: Embedding, *, split: str) -> Section:
    """Draw an embedding; see ``embedding``."""
    encoded = found.encoded
    names = np.array(encoded.domains)[encoded.domain]
    groupings = {"domain": (names, list(encoded.domains)), **_labels(encoded)}
    values: dict[str, Any] = {
        "images": {name: int((names == name).sum()) for name in encoded.domains},
        "perplexity": found.perplexity,
        "seed": found.seed,
        "split": split,
    }
    rows, pictures = [], []
    for by, (groups, order) in groupings.items():
        known = groups != ""
        shares = {k: same_share(p[known], groups[known]) for k, p in found.points.items()}
        values[f"same_{by}"] = {**shares, "chance": _chance(groups[known])}
        rows.append([by, *(f"{100 * value:.1f} %" for value in values[f"same_{by}"].values())])
        pictures += [
            Picture(
                f"tsne-{kind}" + f"-by-{by}" * (by != "domain"),
                f"t-SNE of {_KINDS[kind][0]} of {split} images, coloured by {by}.",
                draw([panel(found, kind, groups, order)]),
            )
            for kind in found.points
        ]
    table = Table(
        f"Of a point's {NEIGHBOURS} nearest points in the picture, so many share its group",
        ["group", "content codes", "domain codes", "both", "by chance"],
        rows,
    )
    return Section(
        "embedding", "The codes, seen: t-SNE", _text(found, split), values, [table], pictures
    )


def side_by_side(found: Embedding) -> Image.Image:
    """Draw all three kinds of codes in one picture, coloured by domain, as the paper does."""
    domains = found.encoded.domains
    names = np.array(domains)[found.encoded.domain]
    return draw([panel(found, kind, names, domains) for kind in found.points])


def panel(found: Embedding, kind: str, groups: NDArray[np.str_], order: Sequence[str]) -> Panel:
    """One picture's content: points of a kind of code, in groups."""
    _, title, colour = _KINDS[kind]
    return Panel(title, colour, found.points[kind], groups, order)


def _labels(encoded: Encoded) -> dict[str, tuple[NDArray[np.str_], list[str]]]:
    """Return the labels worth a colouring: known for most images, of few values."""
    found = {}
    for name, values in encoded.labels.items():
        order = sorted(set(values.tolist()) - {""})
        if 2 <= len(order) <= MOST_LABELS and (values != "").mean() > 0.5:
            found[name] = (values, order)
    return found


def _chance(groups: NDArray[np.str_]) -> float:
    """Share of a point's group among all others: what neighbours drawn at random would show."""
    counts = np.unique(groups, return_counts=True)[1]
    total = counts.sum()
    return float((counts * (counts - 1)).sum() / (total * (total - 1)))


def _text(found: Embedding, split: str) -> str:
    return (
        f"Means of the codes of {len(found.encoded):,} images of the {split} split, placed in the "
        f"plane by t-SNE (perplexity {found.perplexity:g}, seed {found.seed}, from the principal "
        "components). Content codes should mix the domains and domain codes part them. The picture "
        "is an impression, not a measurement: t-SNE can hide what a probe reads, and distances "
        "between clusters mean nothing."
    )
