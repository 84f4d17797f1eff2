"""The paper's figures of images: reconstructions (Fig. 4) and translations both ways (Fig. 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from srae_dist.evaluation import grids
from srae_dist.evaluation.section import Picture, Section

Pixels = NDArray[np.uint8]  # N H W 3

COLUMNS = 6  # so that six faces fill a phone
BLOCKS = 3  # rows of images of a domain, where domains are few
_FEW = 3


def figures(
    domains: Sequence[str],
    *,
    real: Sequence[Pixels],
    reconstructed: Sequence[Pixels],
    translated: Mapping[tuple[int, int], Pixels],
    split: str = "test",
) -> Section:
    """Show images of every domain, their reconstructions, and their translations.

    Args:
        real: m x N H W 3, of one size.
        reconstructed: the same images, encoded and decoded.
        translated: (s, t) -> ``real[s]`` as domain t, in their order.

    Returns:
        Section "figures". ``values``: ``shown``, the places of the images in ``real`` by domain;
        they are spread evenly over it, so nobody has picked them.
    """
    wanted = COLUMNS * (BLOCKS if len(domains) <= _FEW else 1)
    shown = [spread(len(pixels), wanted) for pixels in real]
    pictures = [
        reconstructions(
            domains,
            [pixels[places] for pixels, places in zip(real, shown, strict=True)],
            [pixels[places] for pixels, places in zip(reconstructed, shown, strict=True)],
            split=split,
        )
    ]
    for s in range(len(domains)):
        outputs = {t: pixels[shown[s]] for (source, t), pixels in translated.items() if source == s}
        pictures.append(translations(domains, s, real[s][shown[s]], outputs, split=split))
    values = {
        "split": split,
        "shown": {name: places.tolist() for name, places in zip(domains, shown, strict=True)},
    }
    text = (
        f"Images of the {split} split, spread evenly over it rather than picked. Reconstructions "
        "use an image's own two codes; translations its content code and the mean domain code of "
        "the target."
    )
    return Section("figures", "Figures: what comes out", text, values, (), pictures)


def spread(count: int, wanted: int) -> NDArray[np.int64]:
    """Return up to ``wanted`` places, evenly spread over ``count``."""
    return np.linspace(0, count - 1, min(wanted, count)).round().astype(np.int64)


def reconstructions(
    domains: Sequence[str], truth: Sequence[Pixels], output: Sequence[Pixels], *, split: str
) -> Picture:
    """Fig. 4: odd rows truth, even rows the reconstruction, under each domain's name."""
    groups = [
        (name, _blocks(images, [made]))
        for name, images, made in zip(domains, truth, output, strict=True)
    ]
    caption = (
        f"Reconstructions of {split} images of every domain. Odd rows: the image; even rows: its "
        "reconstruction (the paper's Fig. 4)."
    )
    names = ("image", "reconstruction")
    return Picture("reconstructions", caption, grids.stacked(groups, names=names))


def translations(
    domains: Sequence[str],
    source: int,
    images: Pixels,
    output: Mapping[int, Pixels],
    *,
    split: str,
) -> Picture:
    """Fig. 5: images of a domain, and below them the same in every other domain.

    Args:
        output: target -> the images as that domain.
    """
    name = domains[source]
    title = f"{name}-to-others"
    edge: tuple[str, ...] = ()
    if len(output) == 1:
        ((target, made),) = output.items()
        title, edge = f"{name}-to-{domains[target]}", ("source", f"as {domains[target]}")
        groups = [(f"{name} to {domains[target]}", _blocks(images, [made]))]
        rows = "Odd rows: the source; even rows: its translation"
    else:
        first = slice(0, COLUMNS)
        groups = [(name, [[images[first]]])]
        groups += [(f"as {domains[t]}", [[made[first]]]) for t, made in output.items()]
        rows = "First row: the source; below: its translations"
    caption = f"Translations of {split} images of {name}. {rows} (the paper's Fig. 5)."
    return Picture(f"translations-{title}", caption, grids.stacked(groups, names=edge))


def _blocks(images: Pixels, below: Sequence[Pixels]) -> list[list[Pixels]]:
    """Cut images into lines of a figure, each with what belongs below it."""
    return [
        [row[first : first + COLUMNS] for row in (images, *below)]
        for first in range(0, len(images), COLUMNS)
    ]
