"""How far images are from the truth, one number an image: L1, PSNR, distance of VGG features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from srae_dist.evaluation.encode import Pixels
from srae_dist.model.pixels import to_float
from srae_dist.model.vgg import PerceptualNetwork
from srae_dist.recipe.schema import Perceptual

PerImage = NDArray[np.float64]  # N

_BATCH = 64
_ROUNDING = (1 / 255) ** 2 / 12  # mean square of what is lost in 256 levels: PSNR ends at 58.9 dB


def l1(images: Pixels, truth: Pixels) -> PerImage:
    """Mean absolute error of pixels in [0, 1], one number for each of N images."""
    difference = np.abs(images.astype(np.int16) - truth.astype(np.int16))
    errors: PerImage = difference.mean(axis=(1, 2, 3), dtype=np.float64) / 255
    return errors


def psnr(images: Pixels, truth: Pixels) -> PerImage:
    """Peak signal-to-noise ratio in dB, one number for each of N images; at most 58.9."""
    difference = images.astype(np.float64) - truth.astype(np.float64)
    mse = np.square(difference / 255).mean(axis=(1, 2, 3))
    levels: PerImage = -10.0 * np.log10(np.maximum(mse, _ROUNDING))
    return levels


class FeatureDistance:
    """The squared distance of VGG-16 features that the recipe's L_r is a batch's mean of."""

    def __init__(self, perceptual: Perceptual, *, device: str | torch.device = "cpu") -> None:
        """Build the recipe's perceptual network.

        Raises:
            UserError: its weights or layers are not to be had.
        """
        self.device = torch.device(device)
        network = PerceptualNetwork(perceptual.layers, weights=perceptual.weights)
        self.network = network.to(self.device)
        self.weights = tuple(perceptual.layer_weights or [1.0] * len(perceptual.layers))
        self.name = _name(perceptual)

    @torch.inference_mode()
    def __call__(self, images: Mapping[str, Pixels], truth: Pixels) -> dict[str, PerImage]:
        """Compare several versions of N images with the truth: N numbers for each of them."""
        parts: dict[str, list[PerImage]] = {name: [] for name in images}
        for first in range(0, len(truth), _BATCH):
            here = slice(first, first + _BATCH)
            wanted = self.network(to_float(truth[here], self.device))
            for name, version in images.items():
                got = self.network(to_float(version[here], self.device))
                parts[name].append(_distance(got, wanted, self.weights))
        return {name: np.concatenate(part) for name, part in parts.items()}


def _distance(
    got: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], weights: Sequence[float]
) -> PerImage:
    """Mean over a layer's elements, weighted sum over the layers (as terms.perceptual has it)."""
    total = sum(
        weight * (a - b).square().mean(dim=(1, 2, 3))
        for a, b, weight in zip(got, wanted, weights, strict=True)
    )
    assert isinstance(total, torch.Tensor)
    distances: PerImage = total.double().cpu().numpy()
    return distances


def _name(perceptual: Perceptual) -> str:
    """Say which network, weights and layers: what a number of it may be compared with."""
    kind = perceptual.weights
    kind = f"{kind} weights" if kind in ("random", "torchvision") else Path(kind).name
    return f"VGG-16 ({kind}), {' + '.join(perceptual.layers)}"
