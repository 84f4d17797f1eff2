"""How translations look to eyes that no critic saw: ``python benchmarks/looks.py SHARDS RUN ...``.

A critic (`objective.critic_weight`) learns to please the features of VGG-16 on which
`srae-dist evaluate` measures KID. Here the features are those of a VGG-16 with random weights:
means and deviations of relu2_2 and relu3_3, each number standardised over the real images. For the
test images of every pair of domains, translated with the mean code, are printed:

* KID of translations, of the target domain's reconstructions, and of the sources unchanged, each
  against real images of the target domain (0 is like them);
* how much pictures differ, as a share of what real ones of the target domain do: the mean over
  pixels of the standard deviation over images. Far below 1, many have become one;
* how often the nearest source, by content code less its mean, is the translation's own.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
import torch
from numpy.typing import NDArray

import srae_dist
from srae_dist.data.loader import make_loader, make_order
from srae_dist.data.opened import open_split
from srae_dist.evaluation.statistics import kid
from srae_dist.model.pixels import normalise
from srae_dist.model.vgg import PerceptualNetwork
from srae_dist.runtime import console
from srae_dist.translation.translator import Translator

MOST, BATCH = 704, 64
LAYERS = ("relu2_2", "relu3_3")
COLUMNS = [
    *("run", "to", "KID", "of reconstructions", "of sources"),
    *("differ", "reconstructions differ", "found"),
]
Pixels = NDArray[np.uint8]


def main(root: str, runs: list[str]) -> None:
    """Print a table of all runs."""
    images = real_images(root)
    network = PerceptualNetwork(LAYERS, weights="random")
    real = {name: features(network, pixels) for name, pixels in images.items()}
    every = np.concatenate(list(real.values()))
    mean, deviation = every.mean(axis=0), every.std(axis=0) + 1e-6

    def distance(pixels: Pixels, target: str) -> str:
        found = features(network, pixels)
        standard = ((f - mean) / deviation for f in (found, real[target]))
        return f"{kid(*standard).mean:.2f}"

    rows = []
    for run, (source, target) in itertools.product(runs, itertools.permutations(images, 2)):
        model = srae_dist.load(run)
        made = model.translate(images[source], to=target)
        again = model.translate(images[target], to=target)
        rows.append(
            [
                run,
                target,
                *(distance(pixels, target) for pixels in (made, again, images[source])),
                *(f"{spread(p) / spread(images[target]):.2f}" for p in (made, again)),
                f"{found(model, images[source], made):.0%}",
            ]
        )
    console.table(COLUMNS, rows)


def real_images(root: str) -> dict[str, Pixels]:
    """Test images of each domain, N H W 3, at most ``MOST``."""
    opened = open_split(root, "test")
    names = opened.manifest.domains
    batch = BATCH * len(names)
    order = make_order(
        opened, seed=0, global_batch=batch, balance="domain", lanes=None, window=1024
    )
    batches = list(
        make_loader(
            opened,
            order,
            rank=0,
            world=1,
            micro_batch=batch,
            start_step=0,
            stop_step=MOST // BATCH,
            workers=0,
            pin=False,
        )
    )
    pixels = torch.cat([b.images for b in batches]).numpy()
    domains = torch.cat([b.domains for b in batches]).numpy()
    return {name: pixels[domains == i] for i, name in enumerate(names)}


@torch.no_grad()
def features(network: PerceptualNetwork, pixels: Pixels) -> NDArray[np.float32]:
    """Means and deviations over places of every channel, N d."""
    rows = []
    for images in torch.from_numpy(pixels).split(BATCH):
        layers = network(normalise(images))
        rows.append(torch.cat([s for h in layers for s in (h.mean((2, 3)), h.std((2, 3)))], dim=1))
    return torch.cat(rows).numpy()


def spread(pixels: Pixels) -> float:
    """Mean over pixels of the deviation over images, in [0, 1]."""
    return float((pixels.astype(np.float32) / 255).std(axis=0).mean())


def found(model: Translator, sources: Pixels, made: Pixels) -> float:
    """Share of translations whose nearest source, by the angle of content codes, is their own."""
    codes = []
    for pixels in (sources, made):
        z = model.encode(pixels).content.mean.flatten(1).float()
        codes.append(torch.nn.functional.normalize(z - z.mean(dim=0), dim=1))
    nearest = (codes[1] @ codes[0].T).argmax(dim=1)
    return float((nearest == torch.arange(len(nearest))).float().mean())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
