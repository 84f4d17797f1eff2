"""The perceptual loss network P: VGG-16's first convolutions, frozen.

Weights come from a safetensors file with torchvision's names, from torchvision's own download
(digest checked by torch.hub), or are ``random``: He initialisation from a fixed seed,
the same for every run, said openly in the log and in every result.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import VGG16_Weights, vgg16

from srae_dist.core.errors import UserError, did_you_mean
from srae_dist.core.randomness import generator

# torchvision's ``features`` index right behind each rectifier
LAYERS = {
    **{f"relu1_{i}": index for i, index in ((1, 1), (2, 3))},
    **{f"relu2_{i}": index for i, index in ((1, 6), (2, 8))},
    **{f"relu3_{i}": index for i, index in ((1, 11), (2, 13), (3, 15))},
    **{f"relu4_{i}": index for i, index in ((1, 18), (2, 20), (3, 22))},
    **{f"relu5_{i}": index for i, index in ((1, 25), (2, 27), (3, 29))},
}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_RANDOM_SEED = 16


class PerceptualNetwork(nn.Module):
    """Images N 3 H W in [-1, 1] to the features of the named layers; frozen unless tuned."""

    mean: Tensor
    std: Tensor

    def __init__(self, layers: Sequence[str], *, weights: str, saved: bool = False) -> None:
        """Build the network up to its deepest layer.

        Args:
            layers: names, see ``LAYERS``.
            weights: a safetensors path, "torchvision" or "random".
            saved: it is a part of a model, whose state holds all that it needs.

        Raises:
            UserError: unknown layer, missing or unreadable weight file, a layer the file lacks.
        """
        super().__init__()
        for layer in layers:
            if layer not in LAYERS:
                raise UserError(
                    f"perceptual.layers: VGG-16 has no layer '{layer}'; known are "
                    f"{', '.join(LAYERS)}.{did_you_mean(layer, LAYERS)}"
                )
        self.taps = sorted({LAYERS[layer] for layer in layers})
        self.order = [self.taps.index(LAYERS[layer]) for layer in layers]
        with torch.device("meta"):  # the whole VGG-16 would be drawn at random only to be cut off
            features = vgg16(weights=None).features[: self.taps[-1] + 1]
        self.features = features.to_empty(device="cpu")
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=saved)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=saved)
        _fill(self.features, weights, layers)
        self.requires_grad_(False)
        self.eval()

    def tune(self) -> None:
        """Let every layer learn but the first block's: edges and colours are what they are, and
        where nothing below learns, no gradient goes through the largest maps."""
        self.features[LAYERS["relu1_2"] + 1 :].requires_grad_(True)

    def forward(self, x: Tensor) -> list[Tensor]:
        h = ((x + 1.0) * 0.5 - self.mean) / self.std
        taps = []
        for index, module in enumerate(self.features):
            h = module(h)
            if index in self.taps:
                taps.append(h)
        return [taps[i] for i in self.order]

    def shapes(self, image_size: int) -> list[tuple[int, int]]:
        """Channels, and height = width, of each named layer's features."""
        channels, size = 3, image_size
        taps = []
        for index, module in enumerate(self.features):
            if isinstance(module, nn.Conv2d):
                channels = module.out_channels
            elif isinstance(module, nn.MaxPool2d):
                size //= 2
            if index in self.taps:
                taps.append((channels, size))
        return [taps[i] for i in self.order]


def describe(weights: str) -> str:
    """Say where the weights of a recipe come from, and what that will cost."""
    if weights == "random":
        return "RANDOM weights (nothing pretrained; fine to try things, not for results)"
    if weights != "torchvision":
        return weights
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(VGG16_Weights.IMAGENET1K_V1.url).name
    there = "on this machine" if file.is_file() else "528 MB, which training downloads once"
    return f"torchvision's ImageNet weights ({there})"


def _fill(features: nn.Module, weights: str, layers: Sequence[str]) -> None:
    if weights == "random":
        _fill_random(features)
    elif weights == "torchvision":
        _fill_from(features, _download(), "torchvision's VGG-16", layers)
    else:
        _fill_from(features, _read(Path(weights)), weights, layers)


def _fill_random(features: nn.Module) -> None:
    source = generator(_RANDOM_SEED, "vgg16")
    with torch.no_grad():
        for parameter in features.parameters():
            if parameter.ndim == 4:  # He et al. 2015, for rectifiers
                scale = (2.0 / parameter[0].numel()) ** 0.5
                noise = source.standard_normal(tuple(parameter.shape), dtype="float32")
                parameter.copy_(torch.from_numpy(noise) * scale)
            else:
                parameter.zero_()


def _fill_from(
    features: nn.Module, tensors: dict[str, Tensor], origin: str, layers: Sequence[str]
) -> None:
    for name, parameter in features.named_parameters():
        tensor = tensors.get(f"features.{name}")
        if tensor is None:
            depth = max(
                (index for index in LAYERS.values() if f"features.{index - 1}.weight" in tensors),
                default=-1,
            )
            has = [layer for layer, index in LAYERS.items() if index <= depth]
            raise UserError(
                f"perceptual.weights: {origin} lacks features.{name}, which perceptual.layers = "
                f"{', '.join(layers)} needs; it reaches up to {has[-1] if has else 'no layer'}."
            )
        if tensor.shape != parameter.shape:
            raise UserError(
                f"perceptual.weights: features.{name} in {origin} has shape {tuple(tensor.shape)}, "
                f"VGG-16 has {tuple(parameter.shape)}; use weights with torchvision's names."
            )
        with torch.no_grad():
            parameter.copy_(tensor)


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(
            f"perceptual.weights: {path} does not exist; give a safetensors file with "
            "torchvision's VGG-16 names, 'torchvision' to download it, or 'random'."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"perceptual.weights: {path} is no safetensors file ({error}); give one with "
            "torchvision's VGG-16 names, or 'random'."
        ) from None


def _download() -> dict[str, Tensor]:
    # IMAGENET1K_FEATURES would be smaller, but expects Caffe's normalisation, not ImageNet's
    try:
        return dict(VGG16_Weights.IMAGENET1K_V1.get_state_dict(check_hash=True, weights_only=True))
    except Exception as error:  # urllib, socket and hash errors have no common base
        raise UserError(
            f"perceptual.weights: torchvision's VGG-16 could not be downloaded ({error}); give a "
            "local file with --set perceptual.weights=FILE.safetensors, or "
            "--set perceptual.weights=random."
        ) from None
